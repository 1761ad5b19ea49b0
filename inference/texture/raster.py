"""Rasterise triangles on the CPU: which triangle covers each pixel centre, and where in it.

Triangles are grouped by the size of their bounding box; each group is tested in whole-array steps,
so the cost follows the number of covered pixels, not the number of Python calls.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop

Floats = NDArray[np.float32]

CHUNK = (
    400_000  # candidate pixels tested at once: a few megabytes, which the processor's cache holds
)


@dataclass(frozen=True, slots=True)
class Fragments:
    """Covered pixel centres, one row for each triangle and pixel pair.

    Attributes:
        pixel: (N,) flat pixel index, row * width + column.
        triangle: (N,) int32.
        weights: (N, 3) float32 barycentric coordinates in screen space.
    """

    pixel: NDArray[np.int64]
    triangle: NDArray[np.int32]
    weights: Floats


def fragments(points: Floats, width: int, height: int) -> Iterator[Fragments]:
    """Yield the covered pixels of all triangles, in bounded portions.

    A pixel centre exactly on a shared edge may be reported by both triangles.

    Args:
        points: (T, 3, 2) corners in continuous pixel coordinates, y down.
        width: Image width.
        height: Image height.
    """
    low = np.floor(points.min(axis=1) - 0.5).astype(np.int64)
    high = np.ceil(points.max(axis=1) - 0.5).astype(np.int64)
    limit = np.array([width - 1, height - 1])
    low, high = np.clip(low, 0, limit), np.clip(high, -1, limit)
    box = high - low + 1
    alive = np.flatnonzero((box > 0).all(axis=1))
    # Sort by box size so that each portion wastes little on its largest member.
    alive = alive[np.argsort(box[alive].max(axis=1), kind="stable")]
    start = 0
    while start < len(alive):
        chance_to_stop()
        side = box[alive[start]].max()
        stop = start + max(1, int(CHUNK // (side * side)))
        chosen = alive[start:stop]
        extent = box[chosen].max(axis=0)
        while extent[0] * extent[1] * len(chosen) > 2 * CHUNK and len(chosen) > 1:
            chosen = chosen[: len(chosen) // 2]
            extent = box[chosen].max(axis=0)
        start += len(chosen)
        portion = _cover(points[chosen], low[chosen], high[chosen], extent, chosen, width)
        if len(portion.pixel):
            yield portion


def _cover(
    points: Floats,
    low: NDArray[np.int64],
    high: NDArray[np.int64],
    extent: NDArray[np.int64],
    ids: NDArray[np.int64],
    width: int,
) -> Fragments:
    # Relative to the box's corner, numbers are small and single precision is enough.
    corners = (points - low[:, None]).astype(np.float32) - np.float32(0.5)
    origin = corners[:, 0]
    side_a, side_b = corners[:, 1] - origin, corners[:, 2] - origin
    area = side_a[:, 0] * side_b[:, 1] - side_a[:, 1] * side_b[:, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(np.abs(area) < 1e-12, np.float32(np.nan), 1 / area).astype(np.float32)
        dx = np.arange(extent[0], dtype=np.float32) - origin[:, :1]
        dy = np.arange(extent[1], dtype=np.float32) - origin[:, 1:]
        a, b = side_a * scale[:, None], side_b * scale[:, None]
        wb = (dx * b[:, 1:])[:, None, :] - (dy * b[:, :1])[:, :, None]
        wc = (dy * a[:, :1])[:, :, None] - (dx * a[:, 1:])[:, None, :]
        covered = np.minimum(np.minimum(wb, wc), 1 - wb - wc) >= np.float32(-1e-6)
    if (low + extent - 1 > high).any():
        columns, rows = low[:, :1] + np.arange(extent[0]), low[:, 1:] + np.arange(extent[1])
        covered &= (columns <= high[:, :1])[:, None, :] & (rows <= high[:, 1:])[:, :, None]
    spot = np.flatnonzero(covered)
    which, inner = np.divmod(spot, extent[0] * extent[1])
    row, column = np.divmod(inner, extent[0])
    second, third = wb.reshape(-1)[spot], wc.reshape(-1)[spot]
    pixel = (low[which, 1] + row) * width + low[which, 0] + column
    weights = np.stack([1 - second - third, second, third], axis=1)
    return Fragments(pixel, ids[which].astype(np.int32), weights)


@dataclass(frozen=True, slots=True)
class Buffer:
    """One triangle for each pixel.

    Attributes:
        triangle: (H, W) int32, -1 where nothing covers the pixel.
        weights: (H, W, 3) float32 barycentric coordinates.
    """

    triangle: NDArray[np.int32]
    weights: Floats


def rasterise(points: Floats, width: int, height: int) -> Buffer:
    """Rasterise triangles that do not overlap, such as an atlas."""
    triangle = np.full(width * height, -1, np.int32)
    weights = np.zeros((width * height, 3), np.float32)
    for part in fragments(points, width, height):
        triangle[part.pixel] = part.triangle
        weights[part.pixel] = part.weights
    return Buffer(triangle.reshape(height, width), weights.reshape(height, width, 3))


def depth_buffer(points: Floats, depth: Floats, width: int, height: int) -> Floats:
    """Depth of the nearest triangle at each pixel.

    Args:
        points: (T, 3, 2) corners in continuous pixel coordinates.
        depth: (T, 3) depth of the corners along the view axis, > 0.
        width: Image width.
        height: Image height.

    Returns:
        (H, W) float32, inf where nothing is seen. Depth is interpolated perspective-correctly.
    """
    nearest = np.full(width * height, np.inf, np.float32)
    inverse = 1.0 / depth
    for part in fragments(points, width, height):
        here = 1.0 / (part.weights * inverse[part.triangle]).sum(axis=1)
        np.minimum.at(nearest, part.pixel, here.astype(np.float32))
    return nearest.reshape(height, width)
