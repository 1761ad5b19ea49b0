"""The few OpenCV operations on float images that several rooms share, with NumPy types.

Large images are worked on in bands, with a chance to stop between them.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .stopping import BAND, bands, chance_to_stop

Floats = NDArray[np.float32]

STEPS = 1 << 30  # multiplications of a blur at once: half a second
REACH = 4.0  # sigmas to either side that OpenCV's blur of floats looks at


def sample(image: Floats, where: Floats) -> Floats:
    """Bilinear samples at continuous pixel coordinates; the border repeats outwards.

    Args:
        image: (H, W) or (H, W, C) float32, at most four channels.
        where: (h, w, 2) x and y; the first pixel's centre is (0.5, 0.5). h and w below 32768.

    Returns:
        (h, w) or (h, w, C) float32.
    """
    image = np.ascontiguousarray(image)
    channels = image.shape[2:] if image.size > image.shape[0] * image.shape[1] else ()
    picked = np.empty((*where.shape[:2], *channels), np.float32)
    for rows in bands(len(where), picked[:1].size):
        # Two maps: with x and y in one, OpenCV 5.0 gives wrong values.
        x, y = (np.ascontiguousarray(where[rows, :, k] - np.float32(0.5)) for k in range(2))
        found = cv2.remap(image, x, y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        picked[rows] = found
    return picked


def enlarge(image: Floats, width: int, height: int) -> Floats:
    """Bilinear resize."""
    chance_to_stop()
    return np.asarray(
        cv2.resize(image, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )


def shrink(image: Floats, width: int, height: int) -> Floats:
    """Resize by averaging areas."""
    chance_to_stop()
    return np.asarray(cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA), np.float32)


def blur(image: Floats, sigma: float) -> Floats:
    """Gaussian blur; sigma in pixels."""
    chance_to_stop()
    width = round(2 * REACH * sigma + 1) | 1  # as OpenCV chooses it
    if image.size * width < STEPS:
        return np.asarray(cv2.GaussianBlur(image, (0, 0), sigma), np.float32)
    # The same in two passes, along rows and along columns, neither of which needs what is beside.
    kernel = cv2.getGaussianKernel(width, sigma, cv2.CV_32F)
    one = np.ones((1, 1), np.float32)
    result = np.empty_like(image, np.float32)
    cost = width * BAND / STEPS
    for rows in bands(len(image), image[:1].size * cost):
        result[rows] = cv2.sepFilter2D(image[rows], -1, kernel, one)
    for columns in bands(image.shape[1], image[:, :1].size * cost):
        part = np.ascontiguousarray(result[:, columns])
        result[:, columns] = cv2.sepFilter2D(part, -1, one, kernel)
    return result


def as_bytes(values: Floats | float) -> NDArray[np.uint8]:
    """Round 0..1 to 0..255; what lies beyond is cut off."""
    values = np.asarray(values)
    if values.size < BAND:
        return np.asarray(np.round(np.clip(values, 0, 1) * 255)).astype(np.uint8)
    result = np.empty(values.shape, np.uint8)
    for rows in bands(len(values), values[:1].size):
        result[rows] = np.round(np.clip(values[rows], 0, 1) * 255)
    return result
