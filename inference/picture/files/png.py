"""Walk through a PNG's chunks, and keep only those that a still picture needs."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from ..colour.icc import MAX_PROFILE_BYTES
from ..colour.known import of_code_points, of_exponent
from ..colour.space import ColourSpace
from .exif import UNKNOWN_EXIF, read_exif
from .header import MAX_SEGMENTS, PictureHeader

SIGNATURE = b"\x89PNG\r\n\x1a\n"
_STILL = (b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND")
_COLOURS = (b"cICP", b"iCCP", b"sRGB", b"gAMA", b"cHRM")
_GREY, _PALETTE = 0, 3


def png_chunks(data: bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type of each chunk, where its content begins and the content's length.

    Raises:
        ValueError: There are far more chunks than any real file has.
    """
    at = len(SIGNATURE)
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            return
        length, tag = struct.unpack_from(">I4s", data, at)
        yield tag, at + 8, length
        if tag == b"IEND":
            return
        at += length + 12
    raise ValueError("too many chunks")


def read_png(data: bytes) -> PictureHeader:
    """Read the header of a PNG.

    Raises:
        ValueError: No picture can be decoded from the data.
        KeyError: The kind of colours is unknown.
        struct.error: A chunk is cut short.
    """
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    exif, grey_key, is_animated, is_keyed = UNKNOWN_EXIF, None, False, False
    colours: dict[bytes, bytes] = {}
    for tag, start, length in png_chunks(data):
        if tag == b"eXIf":
            exif = read_exif(data[start : start + length])
        elif tag == b"acTL":
            is_animated = True
        elif tag == b"tRNS":
            is_keyed = True
            if colour == _GREY:
                (grey_key,) = struct.unpack_from(">H", data, start)
        elif tag in _COLOURS:
            colours.setdefault(tag, data[start : start + length])
    channels = {_GREY: 1, 2: 3, _PALETTE: 3, 4: 4, 6: 4}[colour]
    channels = 4 if is_keyed and colour != _GREY else channels
    profile, space = _colour_space(colours)
    return PictureHeader(
        "PNG",
        width,
        height,
        width * height * channels * max(depth // 8, 1),
        exif=exif,
        is_animated=is_animated,
        grey_key=grey_key,
        grey_bits=depth,
        profile=profile,
        space=space,
    )


def _colour_space(chunks: dict[bytes, bytes]) -> tuple[bytes, ColourSpace | None]:
    """The profile, or else the space that the chunks name, in the standard's order of precedence."""
    code_points = chunks.get(b"cICP", b"")
    if len(code_points) == 4 and code_points[2] == 0:
        primaries, transfer, _, is_full = code_points
        return b"", of_code_points(primaries, transfer, bool(is_full))
    if b"iCCP" in chunks:
        profile = _inflated(chunks[b"iCCP"])
        if profile:
            return profile, None
    if b"sRGB" in chunks:
        return b"", None
    exponent = chromaticities = None
    if len(chunks.get(b"gAMA", b"")) == 4:
        exponent = int.from_bytes(chunks[b"gAMA"], "big") / 100_000
    if len(chunks.get(b"cHRM", b"")) == 32:
        values = [value / 100_000 for value in struct.unpack(">8I", chunks[b"cHRM"])]
        white, red, green, blue = zip(values[::2], values[1::2], strict=True)
        chromaticities = red, green, blue, white
    return b"", of_exponent(exponent, chromaticities)


def _inflated(chunk: bytes) -> bytes:
    """The profile of an iCCP chunk; empty when it is damaged or absurdly large."""
    _, _, rest = chunk.partition(b"\0")
    unpacker = zlib.decompressobj()
    try:
        profile = unpacker.decompress(rest[1:], MAX_PROFILE_BYTES)
    except zlib.error:
        return b""
    return profile if unpacker.eof else b""


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
