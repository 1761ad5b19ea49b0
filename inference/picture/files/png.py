"""Walk through a PNG's chunks, and keep only those that a still picture needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STILL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, where its content begins and the content's length."""
    at = len(SIGNATURE)
    while at + 8 <= len(data):
        length, tag = struct.unpack_from(">I4s", data, at)
        yield tag, at + 8, length
        if tag == b"IEND":
            return
        at += length + 12


def still_png(data: bytes) -> bytes:
    """Copy a PNG without animation, colour profiles and texts.

    OpenCV 4.11 crashes on broken animations; what does not reach it cannot harm.

    Args:
        data: A whole PNG file.

    Raises:
        ValueError: A needed chunk is missing, cut short or fails its checksum.
    """
    view = memoryview(data)
    parts: list[bytes | memoryview] = [SIGNATURE]
    tag = b""
    for tag, start, length in png_chunks(data):
        if tag not in _STILL:
            continue
        end = start + length
        if zlib.crc32(view[start - 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            raise ValueError(f"chunk {tag!r} of the PNG is damaged")
        parts.append(view[start - 8 : end + 4])
    if tag != b"IEND":
        raise ValueError("the PNG ends before its last chunk")
    return b"".join(parts)
