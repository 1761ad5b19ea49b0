"""Finer depth for large pictures: overlapping tiles, fitted to a look at the whole picture.

A depth network sees a few hundred pixels of a picture at a time. Looked at whole, a large picture
gets depth that is right at large and coarse in detail; looked at in tiles it gets detail, but each
tile has its own scale and offset. So each tile is fitted to the coarse look by robust least
squares, tiles are blended where they overlap, and what is smooth is taken from the coarse look
again (the idea of Miangoleh et al. 2021, "BoostingMonocularDepth", without its merging network).
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

OVERLAP = 0.3  # of a tile's side, at least
FIT_SIDE = 96  # tiles are compared at this size
ROUNDS = 8  # of reweighting
AGREEMENT = 0.5  # correlation from which a tile is used as it is; below it fades out
SMOOTH = 0.12  # of a tile's side: what is broader comes from the coarse look


def tile_starts(length: int, tile: int) -> list[int]:
    """Where tiles begin along a side, evenly spread, overlapping by ``OVERLAP`` or more."""
    if length <= tile:
        return [0]
    count = 1 + int(np.ceil((length - tile) / (tile * (1 - OVERLAP))))
    return [round(place) for place in np.linspace(0, length - tile, count)]


def fit_scale_and_offset(values: Floats, target: Floats) -> tuple[float, float, float]:
    """Fit ``scale * values + offset`` to ``target`` with outliers weighted down.

    Iteratively reweighted least squares with Tukey's weights; edges that one look has and the
    other has not do not pull on the result.

    Args:
        values: Any shape.
        target: Same shape.

    Returns:
        Scale (> 0), offset, and the weighted correlation of the two from 0 to 1. Values without
        variation, or that run against the target, give (1, difference of the means, 0).
    """
    x, y = values.ravel().astype(np.float64), target.ravel().astype(np.float64)
    weight = np.ones_like(x)
    scale, offset, agreement = 1.0, float(y.mean() - x.mean()), 0.0
    for _ in range(ROUNDS):
        total = weight.sum()
        mean_x, mean_y = (weight * x).sum() / total, (weight * y).sum() / total
        spread_x = (weight * (x - mean_x) ** 2).sum() / total
        spread_y = (weight * (y - mean_y) ** 2).sum() / total
        joint = (weight * (x - mean_x) * (y - mean_y)).sum() / total
        if joint <= 1e-12 * max(mean_x**2, 1e-12) or spread_y <= 0:
            return 1.0, float(y.mean() - x.mean()), 0.0
        scale, offset = joint / spread_x, mean_y - joint / spread_x * mean_x
        agreement = float(np.clip(joint / np.sqrt(spread_x * spread_y), 0, 1))
        rest = np.abs(scale * x + offset - y)
        limit = 4.685 * 1.4826 * float(np.median(rest)) + 1e-9 * np.sqrt(spread_y)
        weight = np.clip(1 - (rest / limit) ** 2, 0, None) ** 2 + 1e-6
    return float(scale), float(offset), agreement


def refine_with_tiles(
    picture: Floats,
    coarse: Floats,
    look: Callable[[Floats], Floats],
    tile: int,
) -> Floats:
    """Add the detail that a network sees in tiles to what it saw in the whole picture.

    Args:
        picture: (H, W, 3) at the size at which tiles are to be cut.
        coarse: (h, w) what the network says of the whole picture: nearness or depth, any unit.
        look: The network: (tile height, tile width, 3) to a map of that size, each with its own
            scale and offset.
        tile: Side of a tile in pixels; sides of the picture below it give lower tiles.

    Returns:
        (H, W) in the unit of ``coarse``.
    """
    height, width = picture.shape[:2]
    base = resized(coarse, height, width)
    sides = min(tile, height), min(tile, width)
    if sides == (height, width):
        return base
    window = _window(*sides)
    # The coarse look weighs little, but decides where no tile is to be trusted.
    total = np.full((height, width), 1e-3, np.float32)
    result = base * total
    for top in tile_starts(height, tile):
        for left in tile_starts(width, tile):
            here = np.s_[top : top + sides[0], left : left + sides[1]]
            seen = look(np.ascontiguousarray(picture[here]))
            fit_rows, fit_columns = (min(FIT_SIDE, side) for side in sides)
            scale, offset, agreement = fit_scale_and_offset(
                resized(seen, fit_rows, fit_columns), resized(base[here], fit_rows, fit_columns)
            )
            weight = window * np.float32(min(agreement / AGREEMENT, 1.0) ** 2)
            result[here] += weight * np.float32(scale) * seen + weight * np.float32(offset)
            total[here] += weight
    result /= total
    return (result + _blurred(base - result, SMOOTH * max(sides))).astype(np.float32)


def resized(values: Floats, height: int, width: int) -> Floats:
    """Scale a map bilinearly, averaging where it becomes smaller."""
    if values.shape == (height, width):
        return values
    is_smaller = height <= values.shape[0] and width <= values.shape[1]
    how = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(values, (width, height), interpolation=how), np.float32)


def _window(height: int, width: int) -> Floats:
    """(height, width) weights that fall to almost nothing at the border, smoothly."""
    down, across = (
        np.sin(np.pi * (np.arange(side, dtype=np.float32) + 0.5) / side) ** 2
        for side in (height, width)
    )
    return np.maximum(np.outer(down, across), 1e-4).astype(np.float32)


def _blurred(values: Floats, sigma: float) -> Floats:
    """Gaussian blur, at a lower resolution where that changes nothing."""
    shrink = max(1, int(sigma // 8))
    rows, columns = (max(1, side // shrink) for side in values.shape)
    small = resized(values, rows, columns)
    soft = cv2.GaussianBlur(small, (0, 0), sigma / shrink, borderType=cv2.BORDER_REFLECT)
    return resized(np.asarray(soft, np.float32), *values.shape)
