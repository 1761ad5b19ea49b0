"""Colours as they stay in the .blend: JPEG of high quality, read back within bounds.

Decoders believe what a file says of its size and of how it was made. Only the one kind of JPEG that is
written here is read again, and only at the size that is wanted.
"""

from __future__ import annotations

import struct

import cv2
import numpy as np
from numpy.typing import NDArray

Pixels = NDArray[np.uint8]

LARGEST = 8192  # pixels along the longer side: the finest texture
JPEG_QUALITY = 95
# Bytes of a pixel: each block of 8 x 8 takes two bits of each colour, and noise takes two and a half.
LEAST_BYTES, MOST_BYTES = 0.75 / 64, 4
_REDUCED = {
    1: cv2.IMREAD_COLOR,
    2: cv2.IMREAD_REDUCED_COLOR_2,
    4: cv2.IMREAD_REDUCED_COLOR_4,
    8: cv2.IMREAD_REDUCED_COLOR_8,
}


def to_jpeg(pixels: Pixels) -> Pixels:
    """The bytes of (H, W, 3) sRGB pixels."""
    parameters = [
        int(cv2.IMWRITE_JPEG_QUALITY),
        JPEG_QUALITY,
        int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR),
        int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444),
    ]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], parameters)
    if not done:
        raise ValueError("OpenCV could not encode the picture")
    return np.asarray(data, np.uint8).ravel()


def from_jpeg(data: Pixels, finest: int = LARGEST, largest: int = LARGEST) -> Pixels:
    """The (H, W, 3) sRGB pixels that ``to_jpeg`` wrote.

    Args:
        data: The bytes, which may have been damaged, or made by somebody else.
        finest: Pixels wanted along the longer side: finer pictures are read at a half, a quarter or
            an eighth of their size, as far as at least so many are left.
        largest: Most pixels along the longer side that the file may have.

    Raises:
        ValueError: When the bytes are not of the kind that ``to_jpeg`` writes.
    """
    if data.ndim != 1:
        raise ValueError("a picture is no row of bytes")
    if data[-2:].tobytes() != b"\xff\xd9":
        raise ValueError("a picture ends early")
    height, width = _size(np.ascontiguousarray(data).data)
    longer = max(height, width)
    if not 0 < min(height, width) <= longer <= largest or len(data) < LEAST_BYTES * height * width:
        raise ValueError("a picture has another size than was written")
    scale = next((k for k in (8, 4, 2) if longer // k >= finest), 1)
    pixels = cv2.imdecode(data, _REDUCED[scale])
    if pixels is None or pixels.shape != (-(-height // scale), -(-width // scale), 3):
        raise ValueError("a picture cannot be read")
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.uint8, copy=False)


def most_bytes(head: bytes) -> int:
    """The most bytes that a file of ``to_jpeg`` takes, from its first kilobyte.

    Raises:
        ValueError: When it does not begin as such a file does.
    """
    try:
        height, width = _size(memoryview(head))
    except (struct.error, IndexError) as error:
        raise ValueError("no JPEG file begins like this") from error
    return MOST_BYTES * height * width + len(head)


def _size(data: memoryview) -> tuple[int, int]:
    """Height and width from the head of a JPEG file of the one kind that OpenCV writes.

    Baseline, three colours, one scan: others need more time and memory than their size tells.
    """
    if data[:2] != b"\xff\xd8":
        raise ValueError("no JPEG file")
    at, size = 2, None
    while True:
        mark, kind, length = struct.unpack_from(">BBH", data, at)
        if mark != 0xFF or length < 2:
            raise ValueError("a segment is where none can be")
        if kind == 0xC0:  # start of a baseline frame
            height, width, colours = struct.unpack_from(">HHB", data, at + 5)
            if size is not None or colours != 3:
                raise ValueError("not one frame of three colours")
            size = height, width
        elif kind == 0xDA:  # start of the scan
            if size is None or data[at + 4] != 3:
                raise ValueError("not one scan of three colours")
            return size
        elif kind not in (0xC4, 0xDB, 0xDD) and not 0xE0 <= kind <= 0xEF:  # tables and names
            raise ValueError("a kind of segment that is not written here")
        at += 2 + length
