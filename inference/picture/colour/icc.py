"""Read ICC profiles made of curves and a matrix; recognise those made of tables.

Files lie, so a profile that makes no sense is none: nothing here raises on its content.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Literal

import numpy as np

from .space import ColourSpace, Curve, Floats, is_usable, power, srgb_to_xyz

MAX_PROFILE_BYTES = 16 << 20  # tables of printing inks take a few megabytes

_MAX_TAGS = 256
_MAX_SAMPLES = 1 << 16
_LEAST_BYTES = 132
_KINDS: dict[bytes, Literal["RGB", "GRAY", "CMYK"]] = {
    b"RGB ": "RGB",
    b"GRAY": "GRAY",
    b"CMYK": "CMYK",
}


@dataclass(frozen=True, eq=False)
class IccProfile:
    """What a profile says.

    Attributes:
        kind: Channels of the pictures that it is for; None for something else.
        name: Its description, empty when it has none.
        space: Its curves and matrix, None when it has none that make sense.
        has_tables: True when it prefers tables of colours (LUT) to curves and a matrix.
    """

    kind: Literal["RGB", "GRAY", "CMYK"] | None
    name: str
    space: ColourSpace | None
    has_tables: bool


def read_icc(data: bytes) -> IccProfile | None:
    """Read a profile; None when the data are none."""
    if len(data) < _LEAST_BYTES or data[36:40] != b"acsp":
        return None
    kind, connection = _KINDS.get(data[16:20]), data[20:24]
    tags = _tags(data)
    space = None
    try:
        if kind == "RGB":
            space = _matrix_space(tags)
        elif kind == "GRAY":
            space = _grey_space(tags, connection)
    except (KeyError, ValueError, struct.error):
        space = None
    if space is not None and not is_usable(space):
        space = None
    return IccProfile(kind, _name(tags.get(b"desc", b"")), space, b"A2B0" in tags)


def _tags(data: bytes) -> dict[bytes, bytes]:
    (count,) = struct.unpack_from(">I", data, 128)
    tags = {}
    for at in range(132, 132 + 12 * min(count, _MAX_TAGS), 12):
        if at + 12 > len(data):
            break
        name, offset, size = struct.unpack_from(">4sII", data, at)
        tags[name] = data[offset : offset + size]
    return tags


def _matrix_space(tags: dict[bytes, bytes]) -> ColourSpace:
    columns = [_xyz(tags[name]) for name in (b"rXYZ", b"gXYZ", b"bXYZ")]
    curves = tuple(_curve(tags[name]) for name in (b"rTRC", b"gTRC", b"bTRC"))
    return ColourSpace((curves[0], curves[1], curves[2]), np.stack(columns, axis=1))


def _grey_space(tags: dict[bytes, bytes], connection: bytes) -> ColourSpace:
    stored = _curve(tags[b"kTRC"])

    def lightness(x: Floats) -> Floats:
        """The curve gives CIE lightness from 0 to 1; light is wanted."""
        scaled = stored(x) * 100.0
        return np.where(scaled > 8.0, ((scaled + 16.0) / 116.0) ** 3, scaled / (24389 / 27))

    curve = lightness if connection == b"Lab " else stored
    return ColourSpace((curve, curve, curve), srgb_to_xyz())


def _xyz(tag: bytes) -> Floats:
    if tag[:4] != b"XYZ ":
        raise ValueError("no colour")
    return np.array(struct.unpack_from(">iii", tag, 8)) / 65536.0


def _curve(tag: bytes) -> Curve:
    if tag[:4] == b"para":
        return _parametric(tag)
    if tag[:4] != b"curv":
        raise ValueError("no curve")
    (count,) = struct.unpack_from(">I", tag, 8)
    if count == 0:
        return power(1.0)
    if count == 1:
        return power(struct.unpack_from(">H", tag, 12)[0] / 256.0)
    if count > _MAX_SAMPLES:
        raise ValueError("too many samples")
    samples = np.array(struct.unpack_from(f">{count}H", tag, 12)) / 65535.0
    places = np.linspace(0.0, 1.0, count)
    return lambda x: np.interp(x, places, samples)


def _parametric(tag: bytes) -> Curve:
    """The five functions of ICC.1, section 10.18."""
    (function,) = struct.unpack_from(">H", tag, 8)
    count = {0: 1, 1: 3, 2: 4, 3: 5, 4: 7}.get(function)
    if count is None:
        raise ValueError("an unknown function")
    g, *rest = (value / 65536.0 for value in struct.unpack_from(f">{count}i", tag, 12))
    if function == 0:
        return power(g)
    a, b, *more = rest
    if a == 0.0:
        raise ValueError("a constant")
    slope = offset = low = 0.0
    start = -b / a
    if function == 2:
        (offset,) = more
        low = offset
    elif function == 3:
        slope, start = more
    elif function == 4:
        slope, start, offset, low = more

    def curve(x: Floats) -> Floats:
        high = np.power(np.maximum(a * x + b, 0.0), g) + offset
        return np.clip(np.where(x >= start, high, slope * x + low), 0.0, 1.0)

    return curve


def _name(tag: bytes) -> str:
    """The text of a description tag, of either version of ICC profiles."""
    text = ""
    if tag[:4] == b"desc" and len(tag) >= 12:
        (length,) = struct.unpack_from(">I", tag, 8)
        text = tag[12 : 12 + length].decode("ascii", "replace")
    elif tag[:4] == b"mluc" and len(tag) >= 28:
        length, offset = struct.unpack_from(">II", tag, 20)
        text = tag[offset : offset + length].decode("utf-16-be", "replace")
    return "".join(letter for letter in text if letter.isprintable())[:60].strip()
