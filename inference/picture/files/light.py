"""Read the headers of pictures that hold linear light: OpenEXR and Radiance HDR."""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from ..colour.known import of_linear_light
from ..colour.space import ColourSpace
from .header import MAX_SEGMENTS, PictureHeader

# OpenEXR's version field: plain scan lines, perhaps with long names.
_SCAN_LINES, _LONG_NAMES = 2, 0x400
_MOST_LINES = 256  # that any of its compressions packs together
_PLAIN_CHANNELS = 8
_LEAST_CHANNEL = 18  # bytes of a channel's description with a name of one letter

# Where the length is not stored, the header of a sane file ends well before this.
_TEXT_HEADER_BYTES = 1 << 16
# OpenCV reads lines in pieces of this many bytes, so a longer one may say what it must not.
_LINE_BYTES = 127
_SIZE = re.compile(rb"-Y +(\d{1,9}) +\+X +(\d{1,9})(?!\d)")
_FORMAT = b"FORMAT=32-bit_rle_rgbe"
_PRIMARIES = b"PRIMARIES="


def read_exr(data: bytes) -> PictureHeader:
    """Read the header of an OpenEXR picture.

    Raises:
        ValueError: The header does not end.
        IndexError: Likewise.
        struct.error: A field is cut short.
    """
    width = height = channels = 0
    names: list[bytes] = []
    space: ColourSpace | None = None
    for name, kind, at, length in _exr_fields(data):
        names.append(name)
        if name == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<iiii", data, at)
            width, height = right - left + 1, bottom - top + 1
        elif name == b"chromaticities" and length == 32:
            values = struct.unpack_from("<8f", data, at)
            space = of_linear_light(tuple(zip(values[::2], values[1::2], strict=True)))
        elif kind == b"chlist":
            channels = length // _LEAST_CHANNEL
    (version,) = struct.unpack_from("<I", data, 4)
    is_plain = (
        version & ~_LONG_NAMES == _SCAN_LINES
        and len(names) == len(set(names))
        and channels <= _PLAIN_CHANNELS
    )
    return PictureHeader(
        "OpenEXR",
        width,
        height,
        width * height * 4 * min(max(channels, 1), 4),
        width * 4 * max(channels, 4) * _MOST_LINES,
        is_plain=is_plain,
        space=space,
    )


def _exr_fields(data: bytes) -> Iterator[tuple[bytes, bytes, int, int]]:
    """Yield each attribute's name, type, and place and length of its value."""
    at = 8
    for _ in range(MAX_SEGMENTS):
        if not data[at]:
            return
        name_end = data.index(b"\0", at, at + 256)
        kind_end = data.index(b"\0", name_end + 1, name_end + 257)
        (length,) = struct.unpack_from("<I", data, kind_end + 1)
        yield data[at:name_end], data[name_end + 1 : kind_end], kind_end + 5, length
        at = kind_end + 5 + length
    raise ValueError("too many attributes")


def read_hdr(data: bytes) -> PictureHeader:
    """Read the header of a Radiance HDR picture, line by line as decoders do.

    Raises:
        ValueError: The header does not tell the size where it must.
    """
    lines = data[:_TEXT_HEADER_BYTES].split(b"\n")
    end = lines.index(b"")
    size = _SIZE.match(lines[end + 1]) if end + 1 < len(lines) else None
    if size is None or _FORMAT not in lines[:end]:
        raise ValueError("no size after the header")
    height, width = int(size[1]), int(size[2])
    space = None
    for line in lines[:end]:
        if line.startswith(_PRIMARIES):
            space = _primaries(line.removeprefix(_PRIMARIES))
    return PictureHeader(
        "Radiance HDR",
        width,
        height,
        width * height * 12,
        is_plain=max(map(len, lines[: end + 2])) <= _LINE_BYTES - 1,
        space=space,
    )


def _primaries(words: bytes) -> ColourSpace | None:
    try:
        values = [float(word) for word in words.split()]
    except ValueError:
        return None
    if len(values) != 8:
        return None
    return of_linear_light(tuple(zip(values[::2], values[1::2], strict=True)))
