"""The few OpenCV operations on float images that several rooms share, with NumPy types."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def sample(image: Floats, where: Floats) -> Floats:
    """Bilinear samples at continuous pixel coordinates; the border repeats outwards.

    Args:
        image: (H, W) or (H, W, C) float32, at most four channels.
        where: (h, w, 2) x and y; the first pixel's centre is (0.5, 0.5). h and w below 32768.

    Returns:
        (h, w) or (h, w, C) float32.
    """
    # Two maps: with x and y in one, OpenCV 5.0 gives wrong values.
    x, y = (np.ascontiguousarray(where[..., k] - np.float32(0.5)) for k in range(2))
    picked = cv2.remap(
        np.ascontiguousarray(image),
        x,
        y,
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    return np.asarray(picked, np.float32)


def enlarge(image: Floats, width: int, height: int) -> Floats:
    """Bilinear resize."""
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )


def shrink(image: Floats, width: int, height: int) -> Floats:
    """Resize by averaging areas."""
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; sigma in pixels."""
    return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)


def as_bytes(values: Floats | float) -> NDArray[np.uint8]:
    """Round 0..1 to 0..255; what lies beyond is cut off."""
    return np.asarray(np.round(np.clip(values, 0, 1) * 255)).astype(np.uint8)
