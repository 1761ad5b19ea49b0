"""Guess the colours a picture does not show."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside

Floats = NDArray[np.float32]


def fill_holes(image: Floats, known: Floats) -> Floats:
    """Fill unknown pixels smoothly from known ones (push-pull, Gortler et al. 1996).

    Args:
        image: (H, W, C) float32.
        known: (H, W) float32, weight of each pixel from 0 (unknown) to 1.

    Returns:
        (H, W, C); known pixels keep their colour to the extent of their weight.
    """
    height, width = known.shape
    if min(height, width) <= 2 or known.min() >= 1:
        total = max(float(known.sum()), 1e-6)
        mean = (image * known[..., None]).sum((0, 1)) / total
        return image * known[..., None] + mean * (1 - known[..., None])
    half = ((width + 1) // 2, (height + 1) // 2)
    weight = cv2.resize(known, half, interpolation=cv2.INTER_AREA)
    summed = cv2.resize(image * known[..., None], half, interpolation=cv2.INTER_AREA)
    summed = summed.reshape(*weight.shape, -1)
    coarse = fill_holes(summed / np.maximum(weight, 1e-6)[..., None], np.minimum(weight * 2, 1))
    guess = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_LINEAR)
    guess = guess.reshape(height, width, -1)
    return image * known[..., None] + guess * (1 - known[..., None])


def hidden_side(image: Floats, inside: Floats) -> Floats:
    """Colour of the side that faces away, carried over from the silhouette.

    What lies behind the rim usually continues what the rim shows (hair around a face, the crust
    around a cake), so the picture's middle is forgotten and filled from a band along the rim.

    Args:
        image: (H, W, 3) float32 colour.
        inside: (H, W) pixels to the silhouette, positive inside.

    Returns:
        (H, W, 3), defined everywhere; blurs with the distance from the rim.
    """
    reach = float(inside.max())
    band = max(0.16 * reach, 2.0)
    shy = min(2.0, 0.25 * reach)  # the outermost pixels are mixed with the background
    known = np.clip((inside - shy) / shy, 0, 1) * np.clip((band - inside) / (0.5 * band) + 1, 0, 1)
    return fill_holes(image, known.astype(np.float32))


def bleed_outwards(image: NDArray, inside: NDArray[np.bool_]) -> NDArray:
    """Replace pixels outside of ``inside`` by the nearest one inside."""
    flat = image.reshape(-1, image.shape[-1])
    return flat[nearest_inside(inside)]
