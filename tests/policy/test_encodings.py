"""The packaged tokenizers: complete, verified, and the same as what tiktoken would download."""

from __future__ import annotations

import hashlib
import inspect
import lzma
import re
import subprocess
import sys
import threading
from importlib import resources
from typing import get_args

import pytest
import tiktoken
from tiktoken_ext import openai_public  # type: ignore[import-untyped]

from streamrouter.errors import StreamrouterError
from streamrouter.policy import encodings
from streamrouter.policy.encodings import SPECS, EncodingName

NAMES: tuple[EncodingName, ...] = get_args(EncodingName)
DATA = resources.files("streamrouter").joinpath("data")


def packed(text: bytes) -> tuple[bytes, str]:
    return lzma.compress(text), hashlib.sha256(text).hexdigest()


@pytest.mark.parametrize(
    ("name", "text", "tokens"),
    [
        # the values in OpenAI's cookbook, "How to count tokens with tiktoken"
        ("cl100k_base", "tiktoken is great!", [83, 1609, 5963, 374, 2294, 0]),
        ("cl100k_base", "antidisestablishmentarianism", [519, 85342, 34500, 479, 8997, 2191]),
        ("o200k_base", "antidisestablishmentarianism", [493, 129901, 376, 160388, 21203, 2367]),
        ("cl100k_base", "2 + 2 = 4", [17, 489, 220, 17, 284, 220, 19]),
        ("o200k_base", "hello world", [24912, 2375]),
        ("cl100k_base", "hello world", [15339, 1917]),
    ],
)
def test_known_tokens(name: EncodingName, text: str, tokens: list[int]) -> None:
    assert encodings.load(name).encode_ordinary(text) == tokens


@pytest.mark.parametrize("name", NAMES)
def test_every_token_has_its_line_number_as_rank(name: EncodingName) -> None:
    compressed = DATA.joinpath(f"{name}.tiktoken.xz").read_bytes()
    ranks = encodings.parse_ranks(compressed, SPECS[name].sha256)
    fields = lzma.decompress(compressed).split()
    assert list(map(int, fields[1::2])) == list(ranks.values()) == list(range(len(ranks)))
    assert {bytes([byte]) for byte in range(256)} <= ranks.keys()  # so any bytes can be encoded


@pytest.mark.parametrize("name", NAMES)
def test_facts_are_those_of_tiktoken(name: EncodingName) -> None:
    source = inspect.getsource(openai_public.ENCODING_CONSTRUCTORS[name])
    spec = SPECS[name]
    assert spec.sha256 in source
    assert "|".join(re.findall(r'r"""(.*?)"""', source)) == spec.pattern
    written = {
        getattr(openai_public, constant): int(token) for constant, token in re.findall(r"([A-Z]+\w+): (\d+)", source)
    }
    assert written == spec.special_tokens


@pytest.mark.parametrize("name", NAMES)
def test_a_second_load_is_the_same_object_from_any_thread(name: EncodingName) -> None:
    found: list[tiktoken.Encoding] = []
    threads = [threading.Thread(target=lambda: found.append(encodings.load(name))) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 4
    assert all(encoding is encodings.load(name) for encoding in found)


def test_no_network() -> None:
    script = (
        "import os, sys\n"
        "sys.addaudithook(lambda event, args: os._exit(7) if event.startswith('socket.') else None)\n"
        "from streamrouter.policy.encodings import load\n"
        "print(load('cl100k_base').encode_ordinary(' token'))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "[4037]\n", "")


def test_the_rest_of_the_encoding_works_without_its_python_ranks() -> None:
    encoding = encodings.load("cl100k_base")
    assert encoding.decode(encoding.encode("a <|endoftext|> b", disallowed_special=())) == "a <|endoftext|> b"
    assert encoding.n_vocab == 100_277


def test_parse_ranks() -> None:
    compressed, sha256 = packed(b"IQ== 0\nIg== 1\nYWJj 2\n")
    assert encodings.parse_ranks(compressed, sha256) == {b"!": 0, b'"': 1, b"abc": 2}


@pytest.mark.parametrize("damage", ["cut", "other", "not xz"])
def test_a_damaged_file_is_refused(damage: str) -> None:
    compressed, sha256 = packed(b"IQ== 0\nIg== 1\n")
    data = {"cut": compressed[:-9], "other": packed(b"IQ== 1\nIg== 0\n")[0], "not xz": b"hello"}[damage]
    with pytest.raises(StreamrouterError, match="reinstall streamrouter"):
        encodings.parse_ranks(data, sha256)


def test_the_readme_names_the_files_and_hashes() -> None:
    readme = DATA.joinpath("README.md").read_text()
    for name, spec in SPECS.items():
        assert f"`{name}.tiktoken.xz`" in readme
        assert f"`{spec.sha256}`" in readme
    assert "MIT License" in readme
