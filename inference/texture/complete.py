"""Guess the colours a picture does not show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside
from ..stopping import bands, chance_to_stop

Floats = NDArray[np.float32]


def fill_holes(image: Floats, known: Floats) -> Floats:
    """Fill unknown pixels smoothly from known ones (push-pull, Gortler et al. 1996).

    Args:
        image: (H, W, C) float32.
        known: (H, W) float32, weight of each pixel from 0 (unknown) to 1.

    Returns:
        (H, W, C); known pixels keep their colour to the extent of their weight.
    """
    chance_to_stop()
    height, width = known.shape
    if min(height, width) <= 2 or known.min() >= 1:
        total = max(float(known.sum()), 1e-6)
        mean = (image * known[..., None]).sum((0, 1)) / total
        return image * known[..., None] + mean * (1 - known[..., None])
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(image * known[..., None], half, interpolation=cv2.INTER_AREA)
    summed = summed.reshape(*weight.shape, -1)
    chance_to_stop()
    coarse = fill_holes(summed / np.maximum(weight, 1e-6)[..., None], np.minimum(weight * 2, 1))
    chance_to_stop()
    guess = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    guess = guess.reshape(height, width, -1)
    return image * known[..., None] + guess * (1 - known[..., None])


def bleed_outwards(image: NDArray, inside: NDArray[np.bool_]) -> NDArray:
    """Replace pixels outside of ``inside`` by the nearest one inside."""
    flat = image.reshape(-1, image.shape[-1])
    nearest = nearest_inside(inside)
    result = np.empty((*inside.shape, image.shape[-1]), image.dtype)
    for rows in bands(len(inside), inside.shape[1] * (image.shape[-1] + 1)):
        result[rows] = flat[nearest[rows]]
    return result
