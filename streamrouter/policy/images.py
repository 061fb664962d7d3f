"""What an image costs, by OpenAI's documented tile rule, from the image's header alone.

``detail: low`` costs 85 tokens. Otherwise the image is scaled down to fit a 2048-pixel square, then down to a shortest
side of 768, and costs 85 + 170 per started 512-pixel tile (platform.openai.com/docs/guides/images-vision). Dimensions
come from the first bytes of a ``data:`` URL; nothing is ever fetched or decoded, so a remote URL, like every header
that cannot be read, costs the most that the rule can give.
"""

from __future__ import annotations

import binascii

LOW_DETAIL_TOKENS = 85
TILE_TOKENS = 170
SQUARE_PX = 2048
SHORTEST_PX = 768
TILE_PX = 512
MOST_TOKENS = LOW_DETAIL_TOKENS + TILE_TOKENS * (SQUARE_PX // TILE_PX) * -(-SHORTEST_PX // TILE_PX)

# Nearly every header is within the first 3 KiB; a JPEG's size can come after a thumbnail and colour profiles. Base64
# characters, a multiple of 4; more than the second is not searched.
_HEADER_CHARS = (4096, 524_288)
_JPEG_SIZES = frozenset({*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC})
_JPEG_BARE = frozenset({0x01, *range(0xD0, 0xD9)})
_JPEG_MOST_SEGMENTS = 1024  # real files have a few dozen; half a megabyte of fill bytes would be 50 ms of work


def image_tokens(url: str, detail: str | None) -> int:
    """Prompt tokens of one ``image_url`` part."""
    if detail == "low":
        return LOW_DETAIL_TOKENS
    size = data_url_size(url)
    return MOST_TOKENS if size is None else tile_tokens(*size)


def tile_tokens(width_px: int, height_px: int) -> int:
    """The tile rule at high detail."""
    longest, shortest = max(width_px, height_px, 1), max(min(width_px, height_px), 1)
    if longest > SQUARE_PX:
        longest, shortest = SQUARE_PX, -(-shortest * SQUARE_PX // longest)
    if shortest > SHORTEST_PX:
        longest, shortest = -(-longest * SHORTEST_PX // shortest), SHORTEST_PX
    return LOW_DETAIL_TOKENS + TILE_TOKENS * -(-longest // TILE_PX) * -(-shortest // TILE_PX)


def data_url_size(url: str) -> tuple[int, int] | None:
    """(width, height) in pixels of a base64 ``data:`` URL, None if it is something else or its header is not known."""
    comma = url.find(",", 0, 256)
    if comma < 0 or url[:5].lower() != "data:" or not url[:comma].lower().endswith(";base64"):
        return None
    for chars in _HEADER_CHARS:
        head = url[comma + 1 : comma + 1 + chars]
        size = header_size(_decoded(head))
        if size is not None or len(head) < chars:
            return size
    return None


def header_size(data: bytes) -> tuple[int, int] | None:
    """(width, height) in pixels from the first bytes of a PNG, JPEG, GIF or WebP file, else None."""
    if data.startswith(b"\x89PNG\r\n\x1a\n") and data[12:16] == b"IHDR" and len(data) >= 24:
        return _big(data[16:20]), _big(data[20:24])
    if data.startswith((b"GIF87a", b"GIF89a")) and len(data) >= 10:
        return _little(data[6:8]), _little(data[8:10])
    if data.startswith(b"RIFF") and data[8:12] == b"WEBP" and len(data) >= 30:
        return _webp_size(data)
    if data.startswith(b"\xff\xd8"):
        return _jpeg_size(data)
    return None


def _webp_size(data: bytes) -> tuple[int, int] | None:
    """VP8 (lossy, RFC 6386 9.1), VP8L (lossless) and VP8X (extended) keep it in three different ways."""
    kind = data[12:16]
    if kind == b"VP8 " and data[23:26] == b"\x9d\x01\x2a":
        return _little(data[26:28]) & 0x3FFF, _little(data[28:30]) & 0x3FFF
    if kind == b"VP8L" and data[20] == 0x2F:
        bits = _little(data[21:25])
        return (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
    if kind == b"VP8X":
        return _little(data[24:27]) + 1, _little(data[27:30]) + 1
    return None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    """Walks the segments to the first start-of-frame (ITU T.81 B.2.2)."""
    at = 2
    for _ in range(_JPEG_MOST_SEGMENTS):
        if at + 9 > len(data) or data[at] != 0xFF:
            return None
        marker = data[at + 1]
        if marker in _JPEG_SIZES:
            return _big(data[at + 7 : at + 9]), _big(data[at + 5 : at + 7])
        if marker == 0xFF:  # a fill byte
            at += 1
        elif marker in _JPEG_BARE:
            at += 2
        else:
            at += 2 + max(_big(data[at + 2 : at + 4]), 2)
    return None


def _decoded(head: str) -> bytes:
    """The bytes of the first base64 characters; b"" if it is none."""
    try:
        return binascii.a2b_base64(head[: len(head) // 4 * 4])
    except (binascii.Error, ValueError):  # ValueError: not ASCII
        return b""


def _big(data: bytes) -> int:
    return int.from_bytes(data, "big")


def _little(data: bytes) -> int:
    return int.from_bytes(data, "little")
