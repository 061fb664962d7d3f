"""Counting text: exact for what people write, bounded for what attackers write."""

from __future__ import annotations

import random
import string
from typing import get_args

import pytest
import tiktoken
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.policy import encodings, tokens
from streamrouter.policy.encodings import EncodingName
from streamrouter.policy.tokens import PIECE_CHARS, count_text

NAMES: tuple[EncodingName, ...] = get_args(EncodingName)
O200K = encodings.load("o200k_base")

PROSE = "The quick brown fox doesn't jump over the lazy dog; it's raining, and we'll see what 1,234.5 km/h can do!\n\n"
CODE = (
    'def f(x: int) -> str:\n    """Say it."""\n\tif x_1 == 0x1F and y["k"] != \'\':\n        return f"{x!r}//\\n"\n\r\n'
)
CHINESE = "今天的天气很好，我们去公园散步吧。他说：“可以！”然后（慢慢地）走了；第3号线——没有人？\n"
JAPANESE = "お誕生日おめでとう、「テスト」です。カタカナも漢字もあります！\n"
MARKDOWN = (
    "# Title\n\n* **bold** `code` [link](https://example.com/a/b?c=d&e=f#g)\n| a | b |\n|---|---|\n> quote\n\n---\n"
)
MIXED = (
    "Ünïcödé e\u0301 नमस्ते สวัสดี مرحبا 😀👨\u200d👩\u200d👧 \u00a0\u3000 ½ Ⅷ ²³ <|endoftext|> \x00\x1c \t  x\n \n/\n!\n/a"
)
CORPUS = {"prose": PROSE, "code": CODE, "chinese": CHINESE, "japanese": JAPANESE, "markdown": MARKDOWN, "mixed": MIXED}
SCRAPS = [
    *CORPUS.values(),
    "a",
    " ",
    "\n",
    "'s",
    "'",
    ".",
    "/",
    "7",
    "é",
    "中",
    "。",
    "\r\n",
    "\t",
    " the",
    "://",
    "Zed",
]

RANDOM = random.Random(7)
WALLS = {
    "a": "a" * 300_000,
    "spaces": " " * 300_000,
    "spaces before a letter": " " * 300_000 + "x",
    "newlines": "\n" * 200_000,
    "tabs and spaces": "\t " * 150_000,
    "emoji": "😀" * 100_000,
    "combining": "e" + "\u0301\u0308" * 100_000,
    "letters": "".join(RANDOM.choices(string.ascii_letters, k=300_000)),
    "chinese": "".join(chr(RANDOM.randrange(0x4E00, 0x9FFF)) for _ in range(100_000)),
    "nul": "\0" * 100_000,
}


class Recorder:
    """An encoding that notes what it is asked to encode."""

    def __init__(self, encoding: tiktoken.Encoding = O200K) -> None:
        self.encoding = encoding
        self.pieces: list[str] = []

    def encode_ordinary(self, text: str) -> list[int]:
        self.pieces.append(text)
        return self.encoding.encode_ordinary(text)


class PanicException(BaseException):
    """What pyo3 raises is named like this, and is no Exception either."""


class Raises:
    def __init__(self, error: BaseException) -> None:
        self.error = error

    def encode_ordinary(self, text: str) -> list[int]:
        raise self.error


def whole(text: str, encoding: tiktoken.Encoding = O200K) -> int:
    return len(encoding.encode_ordinary(text))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", CORPUS)
def test_long_ordinary_text_is_counted_exactly(name: EncodingName, kind: str) -> None:
    encoding = encodings.load(name)
    for text in (CORPUS[kind], CORPUS[kind] * 600, "x" + CORPUS[kind] * 601):
        assert count_text(encoding, text) == whole(text, encoding)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(st.lists(st.sampled_from(SCRAPS), min_size=1, max_size=12).map("".join), st.integers(0, 60))
def test_every_cut_of_mixed_text_is_a_boundary_of_the_tokenizer(name: EncodingName, text: str, shift: int) -> None:
    encoding = encodings.load(name)
    text = "x" * shift + text * (2 * PIECE_CHARS // len(text) + 1)
    cuts = list(tokens.pieces(text))
    assert "".join(piece for piece, _ in cuts) == text
    if not any(hard for _, hard in cuts):
        assert count_text(encoding, text) == whole(text, encoding)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None)
@given(st.text(min_size=1, max_size=40), st.integers(0, 50))
def test_the_count_is_never_below_the_whole(name: EncodingName, text: str, shift: int) -> None:
    encoding = encodings.load(name)
    text = "x" * shift + text * (2 * PIECE_CHARS // len(text) + 1)
    assert whole(text, encoding) <= count_text(encoding, text) <= len(text.encode())


@pytest.mark.parametrize("kind", WALLS)
def test_a_wall_of_text_is_encoded_in_bounded_pieces(kind: str) -> None:
    recorder = Recorder()
    counted = count_text(recorder, WALLS[kind])
    assert "".join(recorder.pieces) == WALLS[kind]
    assert max(map(len, recorder.pieces)) == PIECE_CHARS
    assert len(recorder.pieces) <= len(WALLS[kind]) // PIECE_CHARS + 2
    exact = whole(WALLS[kind])
    assert exact <= counted <= exact + 6 * len(recorder.pieces)


def test_a_boundary_before_each_wall_does_not_multiply_the_pieces() -> None:
    recorder = Recorder()
    text = ("a" * 100 + " " + "b" * 8190) * 40
    assert whole(text) <= count_text(recorder, text)
    assert len(recorder.pieces) <= 2 * len(text) // PIECE_CHARS + 2


def test_special_tokens_in_text_are_text() -> None:
    assert count_text(O200K, "<|endoftext|>") == 7


@pytest.mark.parametrize("text", ["\ud800", "a\udfffb", "\ud83d\ude00", "x\ud800" * 10_000])
def test_lone_surrogates_are_counted(text: str) -> None:
    assert 1 <= count_text(O200K, text) <= 3 * len(text)


def test_empty_text() -> None:
    assert count_text(O200K, "") == 0


@pytest.mark.parametrize(("text", "count"), [("abc", 3), ("é中😀", 2 + 3 + 4), ("\ud800", 3), ("a" * 20_000, 20_000)])
def test_a_panic_counts_as_the_bytes(text: str, count: int) -> None:
    assert count_text(Raises(PanicException("called `Result::unwrap()` on an `Err` value")), text) == count


def test_a_real_panic_is_survived(capfd: pytest.CaptureFixture[str]) -> None:
    assert tokens._count_piece(O200K, " " * 1_000_000) >= 1_000_000 // 128
    capfd.readouterr()  # Rust writes about it to stderr


@pytest.mark.parametrize("error", [KeyboardInterrupt(), SystemExit(), MemoryError(), GeneratorExit(), ValueError()])
def test_nothing_but_a_panic_is_caught(error: BaseException) -> None:
    with pytest.raises(type(error)):
        count_text(Raises(error), "abc")


def test_needs_thread() -> None:
    assert not tokens.needs_thread(64 * 1024)
    assert tokens.needs_thread(64 * 1024 + 1)
