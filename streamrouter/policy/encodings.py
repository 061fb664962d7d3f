"""The tokenizers, built from rank files inside the package: a fresh install counts tokens without any network.

tiktoken's own loader downloads its ranks at first use; this one never does. The hashes, the split patterns and the
special tokens are facts of ``tiktoken_ext/openai_public.py`` (tiktoken 0.14.0, MIT). Origin and licence of the files:
``streamrouter/data/README.md``.

Loading o200k_base takes about 0.27 s (xz 0.08, hash 0.003, parsing 0.08, tiktoken's own tables 0.11) and leaves
50 MB resident, so it belongs into a thread after the server listens. tiktoken builds its tables in one call that
holds the GIL for ~0.1 s.
"""

from __future__ import annotations

import hashlib
import lzma
import threading
from binascii import a2b_base64
from importlib import resources
from typing import Literal

import tiktoken
from msgspec import Struct

from streamrouter.errors import StreamrouterError

EncodingName = Literal["o200k_base", "cl100k_base"]


class Spec(Struct, frozen=True):
    """What makes an encoding besides its ranks. ``sha256`` is that of the decompressed rank file."""

    sha256: str
    pattern: str
    special_tokens: dict[str, int]


SPECS: dict[EncodingName, Spec] = {
    "o200k_base": Spec(
        sha256="446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d",
        pattern="|".join(
            [
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?",
                r"\p{N}{1,3}",
                r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
                r"\s*[\r\n]+",
                r"\s+(?!\S)",
                r"\s+",
            ]
        ),
        special_tokens={"<|endoftext|>": 199999, "<|endofprompt|>": 200018},
    ),
    "cl100k_base": Spec(
        sha256="223921b76ee99bde995b7ff738513eef100fb51d18c93597a113bcffe865b2a7",
        pattern="|".join(
            [
                r"'(?i:[sdmt]|ll|ve|re)",
                r"[^\r\n\p{L}\p{N}]?+\p{L}++",
                r"\p{N}{1,3}+",
                r" ?[^\s\p{L}\p{N}]++[\r\n]*+",
                r"\s++$",
                r"\s*[\r\n]",
                r"\s+(?!\S)",
                r"\s",
            ]
        ),
        special_tokens={
            "<|endoftext|>": 100257,
            "<|fim_prefix|>": 100258,
            "<|fim_middle|>": 100259,
            "<|fim_suffix|>": 100260,
            "<|endofprompt|>": 100276,
        },
    ),
}

_lock = threading.Lock()
_loaded: dict[EncodingName, tiktoken.Encoding] = {}


def load(name: EncodingName) -> tiktoken.Encoding:
    """The encoding, built once per process; callable from any thread. StreamrouterError if the package is damaged."""
    with _lock:  # two threads at the same time would otherwise hold two copies of everything
        encoding = _loaded.get(name)
        if encoding is None:
            encoding = _loaded[name] = _build(name)
        return encoding


def parse_ranks(compressed: bytes, sha256: str) -> dict[bytes, int]:
    """An xz-compressed rank file as {token: rank}. StreamrouterError if it is not exactly the file with that hash."""
    try:
        plain = lzma.decompress(compressed)
    except lzma.LZMAError as error:
        raise StreamrouterError("a tokenizer's rank file is damaged: reinstall streamrouter") from error
    if hashlib.sha256(plain).hexdigest() != sha256:
        raise StreamrouterError("a tokenizer's rank file does not have its known hash: reinstall streamrouter")
    # The hash vouches for the form: "<base64> <rank>" lines whose ranks count up from 0, so no rank needs parsing.
    return {token: rank for rank, token in enumerate(map(a2b_base64, plain.split()[::2]))}


def _build(name: EncodingName) -> tiktoken.Encoding:
    spec = SPECS[name]
    packaged = resources.files("streamrouter").joinpath("data", f"{name}.tiktoken.xz")
    ranks = parse_ranks(packaged.read_bytes(), spec.sha256)
    encoding = tiktoken.Encoding(name, pat_str=spec.pattern, mergeable_ranks=ranks, special_tokens=spec.special_tokens)
    # tiktoken keeps this dict only for pickling; its Rust core has a copy of its own. Emptying it frees 27 MB.
    ranks.clear()
    return encoding
