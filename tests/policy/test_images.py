"""Image headers in, tokens out."""

from __future__ import annotations

import base64
import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamrouter.policy import images


def png(width: int, height: int) -> bytes:
    return b"\x89PNG\r\n\x1a\n" + struct.pack(">I4sII5B", 13, b"IHDR", width, height, 8, 2, 0, 0, 0)


def gif(width: int, height: int) -> bytes:
    return b"GIF89a" + struct.pack("<HH3B", width, height, 0, 0, 0)


def jpeg(width: int, height: int, *, before: bytes = b"", frame: int = 0xC0) -> bytes:
    return b"\xff\xd8" + before + struct.pack(">BBHBHHB", 0xFF, frame, 17, 8, height, width, 3) + bytes(9)


def segment(marker: int, size: int) -> bytes:
    return struct.pack(">BBH", 0xFF, marker, size) + bytes(size - 2)


def webp(kind: bytes, payload: bytes) -> bytes:
    chunk = kind + struct.pack("<I", len(payload)) + payload
    return b"RIFF" + struct.pack("<I", 4 + len(chunk)) + b"WEBP" + chunk


def vp8(width: int, height: int) -> bytes:
    return webp(b"VP8 ", b"\x30\x01\x00\x9d\x01\x2a" + struct.pack("<HH", width | 0x4000, height) + bytes(8))


def vp8l(width: int, height: int) -> bytes:
    return webp(b"VP8L", b"\x2f" + struct.pack("<I", (width - 1) | (height - 1) << 14) + bytes(8))


def vp8x(width: int, height: int) -> bytes:
    return webp(b"VP8X", bytes(4) + struct.pack("<I", width - 1)[:3] + struct.pack("<I", height - 1)[:3])


def data_url(data: bytes, kind: str = "image/png") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


EXIF = segment(0xE1, 30_000) + b"\xff" + segment(0xE2, 65_535) + b"\xff\x01" + segment(0xC4, 30)


@pytest.mark.parametrize(
    "data",
    [
        png(1200, 700),
        gif(1200, 700),
        jpeg(1200, 700),
        jpeg(1200, 700, frame=0xC2),
        jpeg(1200, 700, before=EXIF),
        vp8(1200, 700),
        vp8l(1200, 700),
        vp8x(1200, 700),
    ],
)
def test_the_size_is_read_from_the_header(data: bytes) -> None:
    assert images.header_size(data) == (1200, 700)
    assert images.data_url_size(data_url(data)) == (1200, 700)
    assert images.data_url_size(data_url(data + bytes(900_000))) == (1200, 700)


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (1024, 1024, 765),  # OpenAI's examples: 4 tiles, and 6 tiles
        (2048, 4096, 1105),
        (4096, 8192, 1105),
        (512, 512, 255),
        (513, 512, 425),
        (1, 1, 255),
        (0, 0, 255),
        (768, 2048, 1445),
        (2048, 768, 1445),
        (100_000, 1, 765),
        (2**32 - 1, 2**32 - 1, 765),
    ],
)
def test_the_tile_rule(width: int, height: int, tokens: int) -> None:
    assert images.tile_tokens(width, height) == tokens


@settings(deadline=None)
@given(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1))
def test_nothing_costs_more_than_the_most(width: int, height: int) -> None:
    assert 255 <= images.tile_tokens(width, height) <= images.MOST_TOKENS
    assert images.tile_tokens(width, height) == images.tile_tokens(height, width)


def test_detail() -> None:
    url = data_url(png(1024, 1024))
    assert images.image_tokens(url, "low") == 85
    assert [images.image_tokens(url, detail) for detail in ("high", "auto", None, "other")] == [765] * 4
    assert images.image_tokens("https://example.com/a.png", "low") == 85


@pytest.mark.parametrize(
    "url",
    [
        "https://example.com/a.png",
        "",
        "data:",
        "data:image/png,%89PNG",
        "data:image/png;base64,",
        "data:image/png;base64,!!!!",
        "data:image/png;base64,ééé",
        "data:image/png;base64,\ud800aaa",
        data_url(b"BM" + bytes(100)),
        data_url(png(5, 5)[:20]),
        data_url(gif(5, 5)[:9]),
        data_url(webp(b"VP8 ", bytes(20))),
        data_url(webp(b"VP9 ", bytes(20))),
        data_url(webp(b"VP8L", bytes(20))),
        data_url(b"\xff\xd8"),
        data_url(b"\xff\xd8\xff\xe0\x00\x00" + bytes(50)),
        data_url(b"\xff\xd8" + b"\xff" * 300_000),
        data_url(b"\xff\xd8" + EXIF),
        "data:" + "x" * 300 + ";base64,AAAA",
    ],
)
def test_an_unknown_size_costs_the_most(url: str) -> None:
    assert images.image_tokens(url, None) == images.MOST_TOKENS == 1445


def test_a_data_url_is_recognised_in_any_case() -> None:
    assert images.data_url_size("DATA:image/PNG;BASE64," + base64.b64encode(png(3, 4)).decode()) == (3, 4)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_a_size_or_none(tail: bytes) -> None:
    for magic in (b"", b"\xff\xd8", b"\x89PNG\r\n\x1a\n", b"GIF89a", b"RIFF....WEBPVP8 ", b"RIFF....WEBPVP8L"):
        size = images.header_size(magic + tail)
        assert size is None or min(size) >= 0
