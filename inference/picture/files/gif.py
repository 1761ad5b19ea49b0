"""Decode the first frame of a GIF, which OpenCV's wheels cannot."""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

_EXTENSION = 0x21
_GRAPHIC_CONTROL = 0xF9
_IMAGE = 0x2C
_INTERLACE = ((0, 8), (4, 8), (2, 4), (1, 2))
_MAX_CODE_BITS = 12
# Between two clear codes honest writers put at least one code that draws.
_IDLE_CLEARS = 1000
# A frame may be larger than the canvas, and a few kilobytes may claim four billion pixels.
_MAX_FRAME_PIXELS = 1 << 24


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
        return _decode(data)
    except (struct.error, IndexError) as error:
        raise ValueError("the GIF ends before its first frame does") from error


def _decode(data: bytes) -> tuple[NDArray[np.uint8], bool]:
    width, height, flags = struct.unpack_from("<HHB", data, 6)
    at = 13
    shared_palette, at = _read_palette(data, at, flags)
    clear_index = -1
    while data[at] != _IMAGE:
        if data[at] != _EXTENSION:
            raise ValueError("the GIF has no frame")
        if data[at + 1] == _GRAPHIC_CONTROL and data[at + 3] & 1:
            clear_index = data[at + 6]
        _, at = _read_blocks(data, at + 2)
    left, top, frame_width, frame_height, flags = struct.unpack_from("<HHHHB", data, at + 1)
    own_palette, at = _read_palette(data, at + 10, flags)
    palette = shared_palette if own_palette is None else own_palette
    if palette is None or not frame_width or not frame_height:
        raise ValueError("the GIF has no colours or no size")
    count = frame_width * frame_height
    if count > _MAX_FRAME_PIXELS:
        raise ValueError("the GIF's frame is too large")
    compressed, end = _read_blocks(data, at + 1)
    indices = np.frombuffer(_unpack_lzw(compressed, data[at], count), np.uint8)
    if indices.size < count:
        raise ValueError("the GIF ends before its first frame does")
    frame = palette[indices.reshape(frame_height, frame_width)]
    if 0 <= clear_index < 256:
        frame[..., 3] = np.where(indices.reshape(frame.shape[:2]) == clear_index, 0, 255)
    if flags & 0x40:
        frame = _deinterlace(frame)
    canvas = np.zeros((height, width, 4), np.uint8)
    visible = frame[: max(height - top, 0), : max(width - left, 0)]
    canvas[top : top + visible.shape[0], left : left + visible.shape[1]] = visible
    return canvas, _has_frame(data, end)


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


def _read_blocks(data: bytes, at: int) -> tuple[bytes, int]:
    """Join length-prefixed blocks up to the empty one; return them and the place behind."""
    blocks = []
    while data[at]:
        blocks.append(data[at + 1 : at + 1 + data[at]])
        at += 1 + data[at]
    return b"".join(blocks), at + 1


def _has_frame(data: bytes, at: int) -> bool:
    try:
        while data[at] == _EXTENSION:
            _, at = _read_blocks(data, at + 2)
        return data[at] == _IMAGE
    except IndexError:
        return False


def _unpack_lzw(compressed: bytes, min_bits: int, count: int) -> bytes:
    """Undo GIF's LZW compression; give at most ``count`` indices, fewer when the data end early."""
    if not 1 <= min_bits <= 8:
        raise ValueError("the GIF's code size is out of range")
    clear, end = 1 << min_bits, (1 << min_bits) + 1
    roots = [bytes((i,)) for i in range(clear)] + [b"", b""]
    table = list(roots)
    bits, previous = min_bits + 1, b""
    output: list[bytes] = []
    written = idle_clears = 0
    window, held = 0, 0
    for byte in compressed:
        window |= byte << held
        held += 8
        while held >= bits:
            code = window & ((1 << bits) - 1)
            window >>= bits
            held -= bits
            if code == clear:
                idle_clears += not previous
                if idle_clears > _IDLE_CLEARS:
                    raise ValueError("the GIF holds clear codes instead of a picture")
                table, bits, previous = list(roots), min_bits + 1, b""
                continue
            if code == end or code > len(table) or (code == len(table) and not previous):
                return b"".join(output)[:count]
            entry = table[code] if code < len(table) else previous + previous[:1]
            output.append(entry)
            written += len(entry)
            if written >= count:
                return b"".join(output)[:count]
            if previous and len(table) < 1 << _MAX_CODE_BITS:
                table.append(previous + entry[:1])
                if len(table) == 1 << bits and bits < _MAX_CODE_BITS:
                    bits += 1
            previous = entry
    return b"".join(output)[:count]


def _deinterlace(frame: NDArray[np.uint8]) -> NDArray[np.uint8]:
    rows = np.concatenate([np.arange(start, len(frame), step) for start, step in _INTERLACE])
    upright = np.empty_like(frame)
    upright[rows] = frame
    return upright
