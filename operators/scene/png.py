"""Encode pictures as PNG bytes with NumPy and zlib alone.

Handing Blender finished PNG bytes to pack takes milliseconds on the main thread; letting it encode
pixels takes more than half a second for a 2048-pixel texture, during which the window is frozen.
So the worker thread encodes, and zlib releases the GIL while it does.
"""

from __future__ import annotations

import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from ...inference.stopping import bands

_COLOUR_TYPES = {1: 0, 3: 2, 4: 6}  # channels -> grey, RGB, RGBA
_FILTER_UP = 2  # each byte minus the one above: cheap, and halves photographs
_FAST = 1  # higher zlib levels cost seconds and gain a few percent


def encode_png(pixels: NDArray[np.uint8]) -> bytes:
    """Encode (H, W), (H, W, 3) or (H, W, 4) uint8 pixels, row 0 at the top."""
    height, width = pixels.shape[:2]
    channels = 1 if pixels.ndim == 2 else pixels.shape[2]
    rows = np.ascontiguousarray(pixels).reshape(height, width * channels)
    compressor = zlib.compressobj(_FAST)
    packed = []
    for band in bands(height, width * channels):
        filtered = np.empty((band.stop - band.start, 1 + width * channels), np.uint8)
        filtered[:, 0] = _FILTER_UP
        above = rows[band.start - 1] if band.start else 0
        filtered[0, 1:] = rows[band.start] - above
        np.subtract(rows[band][1:], rows[band][:-1], out=filtered[1:, 1:])
        packed.append(compressor.compress(filtered.data))
    packed.append(compressor.flush())
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    return b"".join(
        (
            b"\x89PNG\r\n\x1a\n",
            _chunk(b"IHDR", header),
            _chunk(b"IDAT", b"".join(packed)),
            _chunk(b"IEND", b""),
        )
    )


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
