"""The first frame of a GIF. Pillow unpacks it: the OpenCV that accepts NumPy 1 reads no GIF.

Only the frame's own data reach Pillow, as a GIF of nothing else whose size was checked. What a file can
hold besides (comments, other frames, a frame larger than its canvas) is passed over here.
"""

from __future__ import annotations

import io
import struct
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_EXTENSION = 0x21
_GRAPHIC_CONTROL = 0xF9
_IMAGE = 0x2C
_INTERLACED = 0x40
# A frame may be larger than the canvas, and a few kilobytes may claim four billion pixels.
_MAX_FRAME_PIXELS = 1 << 24
_MAX_BLOCKS = 1 << 19  # of 255 bytes in an honest file


@dataclass(frozen=True, slots=True)
class _Frame:
    """The first frame of a file.

    Attributes:
        left: Where it lies on the canvas, in pixels.
        top: Likewise.
        width: In pixels.
        height: In pixels.
        palette: (256, 4) uint8 RGBA.
        packed: Its compressed colour indices, as they stand in the file.
        is_interlaced: Whether rows are stored in four passes.
        is_last: Whether no other frame follows.
    """

    left: int
    top: int
    width: int
    height: int
    palette: NDArray[np.uint8]
    packed: bytes
    is_interlaced: bool
    is_last: bool


def decode_gif(data: bytes) -> tuple[NDArray[np.uint8], bool]:
    """Decode the first frame onto its canvas.

    Args:
        data: A whole GIF87a or GIF89a file.

    Returns:
        (H, W, 4) uint8 RGBA, transparent where the frame draws nothing, and whether more frames
        follow.

    Raises:
        ValueError: The data ends too early or is no GIF.
    """
    try:
        width, height = struct.unpack_from("<HH", data, 6)
        frame = _first_frame(data)
    except (struct.error, IndexError) as error:
        raise ValueError("the GIF ends before its first frame does") from error
    pixels = frame.palette[_indices(frame)]
    canvas = np.zeros((height, width, 4), np.uint8)
    visible = pixels[: max(height - frame.top, 0), : max(width - frame.left, 0)]
    rows, columns = visible.shape[:2]
    canvas[frame.top : frame.top + rows, frame.left : frame.left + columns] = visible
    return canvas, not frame.is_last


def _first_frame(data: bytes) -> _Frame:
    palette, at = _read_palette(data, 13, data[10])
    clear_index = None
    for _ in range(_MAX_BLOCKS):
        if data[at] != _EXTENSION:
            break
        if data[at + 1] == _GRAPHIC_CONTROL and data[at + 3] & 1:
            clear_index = data[at + 6]
        at = _end_of_blocks(data, at + 2)
    if data[at] != _IMAGE:
        raise ValueError("the GIF has no frame")
    left, top, width, height, flags = struct.unpack_from("<HHHHB", data, at + 1)
    own_palette, at = _read_palette(data, at + 10, flags)
    palette = palette if own_palette is None else own_palette
    if palette is None or not width or not height:
        raise ValueError("the GIF has no colours or no size")
    if width * height > _MAX_FRAME_PIXELS:
        raise ValueError("the GIF's frame is too large")
    if not 1 <= data[at] <= 8:
        raise ValueError("the GIF's code size is out of range")
    if clear_index is not None:
        palette[clear_index, 3] = 0
    end = _end_of_blocks(data, at + 1)
    is_interlaced = bool(flags & _INTERLACED)
    packed = data[at:end]
    return _Frame(left, top, width, height, palette, packed, is_interlaced, _is_last(data, end))


def _indices(frame: _Frame) -> NDArray[np.uint8]:
    """(height, width) colour indices, which is what Pillow gives for a GIF without a palette.

    Raises:
        ValueError: The data are damaged or end too early.
    """
    from PIL import Image  # here, so that pictures of other kinds do without it

    size = struct.pack("<HH", frame.width, frame.height)
    descriptor = struct.pack("<BHH", _IMAGE, 0, 0) + size
    flags = bytes((_INTERLACED if frame.is_interlaced else 0,))
    parts = (b"GIF89a", size, bytes(3), descriptor, flags, frame.packed, b";")
    try:
        with Image.open(io.BytesIO(b"".join(parts)), formats=("GIF",)) as picture:
            return np.array(picture, np.uint8)
    except (OSError, SyntaxError, Image.DecompressionBombError) as error:
        raise ValueError("the GIF's first frame does not decode") from error


def _read_palette(data: bytes, at: int, flags: int) -> tuple[NDArray[np.uint8] | None, int]:
    """Read a colour table as (256, 4) RGBA; colours beyond its end are black."""
    if not flags & 0x80:
        return None, at
    size = 3 << ((flags & 7) + 1)
    if at + size > len(data):
        raise ValueError("the GIF ends within its colours")
    palette = np.zeros((256, 4), np.uint8)
    palette[:, 3] = 255
    palette[: size // 3, :3] = np.frombuffer(data, np.uint8, size, at).reshape(-1, 3)
    return palette, at + size


def _end_of_blocks(data: bytes, at: int) -> int:
    """Pass over length-prefixed blocks and the empty one at their end."""
    for _ in range(_MAX_BLOCKS):
        if not data[at]:
            return at + 1
        at += 1 + data[at]
    raise ValueError("the GIF is cut into too many blocks")


def _is_last(data: bytes, at: int) -> bool:
    try:
        for _ in range(_MAX_BLOCKS):
            if data[at] != _EXTENSION:
                break
            at = _end_of_blocks(data, at + 2)
        return data[at] != _IMAGE
    except (IndexError, ValueError):
        return True
