"""Extract a closed quad mesh from a signed-distance grid.

Naive surface nets (Gibson 1998): one vertex in every cell that the surface passes, one quad across
every grid edge whose ends differ in sign. The quads are those of the boundary of the inside voxels,
so they form a 2-manifold exactly when that voxel set is well-composed (Latecki, Eckhardt and
Rosenfeld 1995): no two inside voxels may touch only along an edge or only in a corner, nor two
outside ones. ``make_well_composed`` mends the few places where a sampled field breaks the rule.
"""

from __future__ import annotations

from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from .topology import face_components

Grid = NDArray[np.float32]

_CORNERS = np.array(list(product((0, 1), repeat=3)))  # (8, 3); bit order x, y, z
_EDGES = [
    (a, b)
    for a in range(8)
    for b in range(a + 1, 8)
    if np.abs(_CORNERS[a] - _CORNERS[b]).sum() == 1
]
_OPPOSITE = [(a, 7 - a) for a in range(4)]


def _shifted(grid: NDArray, corner: NDArray) -> NDArray:
    """The grid of one corner of every cell; all eight have the same shape."""
    return grid[
        tuple(slice(int(c), n - 1 + int(c)) for c, n in zip(corner, grid.shape, strict=True))
    ]


def make_well_composed(distance: Grid) -> Grid:
    """Fill single voxels until the inside is a well-composed set.

    Args:
        distance: (X, Y, Z) signed distance, negative inside; the outermost layer is outside.

    Returns:
        A copy in which some barely-outside samples have become barely inside.
    """
    distance = distance.copy()
    barely_inside = -1e-3 * float(np.median(np.abs(distance)) + 1e-6)
    while True:
        chance_to_stop()
        fill = _voxels_to_fill(distance)
        if not len(fill):
            return distance
        distance.reshape(-1)[fill] = barely_inside


def _voxels_to_fill(distance: Grid) -> NDArray[np.int64]:
    """Flat indices of outside voxels whose filling removes a critical configuration."""
    inside = distance < 0
    index = np.arange(distance.size).reshape(distance.shape)
    flat = distance.reshape(-1)
    fill = []
    for axis in range(3):
        u, v = (a for a in range(3) if a != axis)
        corners = np.zeros((4, 3), int)
        corners[1, u] = corners[2, v] = 1
        corners[3, [u, v]] = 1
        views = [_face_view(inside, c, u, v) for c in corners]
        diagonal = (views[0] == views[3]) & (views[1] == views[2]) & (views[0] != views[1])
        where = np.nonzero(diagonal)
        if len(where[0]):
            four = np.stack([_face_view(index, c, u, v)[where] for c in corners], axis=1)
            fill.append(_nearest_outside(flat, four))
    count = np.zeros(tuple(n - 1 for n in inside.shape), np.int8)
    for corner in _CORNERS:
        count += _shifted(inside, corner)
    for few in (2, 6):
        cells = np.nonzero(count == few)
        if not len(cells[0]):
            continue
        eight = np.stack([_shifted(index, c)[cells] for c in _CORNERS], axis=1)
        odd = flat[eight] < 0 if few == 2 else flat[eight] >= 0
        opposite = np.zeros(len(eight), bool)
        for a, b in _OPPOSITE:
            opposite |= odd[:, a] & odd[:, b]
        if opposite.any():
            fill.append(_nearest_outside(flat, eight[opposite]))
    return np.unique(np.concatenate(fill)) if fill else np.empty(0, np.int64)


def _face_view(grid: NDArray, corner: NDArray, u: int, v: int) -> NDArray:
    slices = [slice(None)] * 3
    for axis in (u, v):
        slices[axis] = slice(int(corner[axis]), grid.shape[axis] - 1 + int(corner[axis]))
    return grid[tuple(slices)]


def _nearest_outside(flat: Grid, voxels: NDArray[np.int64]) -> NDArray[np.int64]:
    """Of each row of voxels, the outside one closest to the surface."""
    values = flat[voxels]
    return voxels[np.arange(len(voxels)), np.where(values >= 0, values, np.inf).argmin(axis=1)]


def surface_nets(distance: Grid) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Extract the zero level as quads.

    Args:
        distance: (X, Y, Z) signed distance, negative inside; the outermost layer must be outside
            (pad it), otherwise the surface would be open there.

    Returns:
        (V, 3) vertex positions in grid index units, and (F, 4) quads, counter-clockwise seen from
        outside in a right-handed frame. Closed and manifold; empty when nothing is inside.
    """
    distance = make_well_composed(distance)
    inside = distance < 0
    count = np.zeros(tuple(n - 1 for n in inside.shape), np.int8)
    for corner in _CORNERS:
        count += _shifted(inside, corner)
    cells = np.argwhere((count > 0) & (count < 8))
    vertex_of = np.full(count.shape, -1, np.int32)
    vertex_of[tuple(cells.T)] = np.arange(len(cells), dtype=np.int32)

    corner_values = np.stack([distance[tuple((cells + c).T)] for c in _CORNERS], axis=1)
    total = np.zeros((len(cells), 3), np.float32)
    crossings = np.zeros((len(cells), 1), np.float32)
    for a, b in _EDGES:
        chance_to_stop()
        va, vb = corner_values[:, a], corner_values[:, b]
        crosses = (va < 0) != (vb < 0)
        t = np.where(crosses, va / np.where(crosses, va - vb, 1), 0)[:, None].astype(np.float32)
        point = _CORNERS[a] + t * (_CORNERS[b] - _CORNERS[a]).astype(np.float32)
        total += np.where(crosses[:, None], point, 0)
        crossings += crosses[:, None]
    positions = (cells + total / np.maximum(crossings, 1)).astype(np.float32)

    quads = []
    for axis in range(3):
        u, v = (axis + 1) % 3, (axis + 2) % 3
        low, high = [slice(None)] * 3, [slice(None)] * 3
        low[axis], high[axis] = slice(0, -1), slice(1, None)
        first, second = inside[tuple(low)], inside[tuple(high)]
        edges = np.argwhere(first != second)
        leaving = first[tuple(edges.T)]  # inside to outside along +axis: the normal is +axis
        steps = np.zeros((4, 3), int)
        steps[1, u] = steps[2, u] = 1
        steps[2, v] = steps[3, v] = 1
        ring = np.stack([vertex_of[tuple((edges + s - steps[2]).T)] for s in steps], axis=1)
        quads.append(np.where(leaving[:, None], ring, ring[:, ::-1]))
    return positions, np.concatenate(quads).astype(np.int32)


def drop_small_parts(
    positions: NDArray[np.float32], quads: NDArray[np.int32], min_share: float
) -> tuple[NDArray[np.float32], NDArray[np.int32]]:
    """Remove connected parts that have fewer than ``min_share`` of the largest part's faces."""
    parts = face_components(quads, len(positions))
    sizes = np.bincount(parts)
    quads = quads[(sizes >= min_share * sizes.max())[parts]]
    used, corners = np.unique(quads, return_inverse=True)
    return positions[used], corners.reshape(quads.shape).astype(np.int32)


def smooth(
    positions: NDArray[np.float32], quads: NDArray[np.int32], rounds: int
) -> NDArray[np.float32]:
    """Take the sampling's stair steps off without shrinking (Taubin 1995).

    Args:
        positions: (V, 3).
        quads: (F, 4) of a closed mesh; every vertex is used.
        rounds: Pairs of a shrinking and a growing step.
    """
    first, second = quads.ravel(), np.roll(quads, -1, axis=1).ravel()
    # Each edge of a closed mesh is walked once in either direction, so one direction suffices.
    count = np.bincount(first, minlength=len(positions)).astype(np.float32)
    result = positions.astype(np.float32)
    for _ in range(rounds):
        for share in (0.5, -0.53):
            chance_to_stop()
            total = np.stack(
                [np.bincount(first, result[second, axis], len(result)) for axis in range(3)], axis=1
            )
            result = result + np.float32(share) * (total / count[:, None] - result)
        result = result.astype(np.float32)
    return result
