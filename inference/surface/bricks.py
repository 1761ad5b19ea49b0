"""Sample a field on a fine lattice, but only near its surface.

The lattice is cut into bricks of 4 x 4 x 4 samples. An octree of ever smaller cubes is asked for the
distance at each cube's middle, and a cube that the surface cannot reach is not looked into. A table
says where each brick's samples are stored, as in OpenVDB (Museth 2013), so that any sample is found
in constant time. A brick that the first pass missed is found again where the surface runs into it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..field.protocol import Bounds, Field

Floats = NDArray[np.float32]
Indices = NDArray[np.int64]

SIDE = 4  # samples along a brick
OUTSIDE, INSIDE = -1, -2  # table entries of bricks without samples
OVERSTATED = 1.3  # by how much a field may overstate distances without a surface being missed
START = 12  # cubes along the longest side that the octree begins with
CHUNK = 1 << 16  # points per query, so that memory stays small and cancelling quick
FAR = np.float32(1e3)  # distance in cells of samples that are not stored


@dataclass(slots=True)
class Bricks:
    """Distances at the lattice points ``origin + index * spacing`` near a surface.

    Attributes:
        table: (X, Y, Z) int32 position of each brick in ``samples``, or OUTSIDE or INSIDE.
        samples: (B, 4, 4, 4) float32 distances; never exactly zero.
        places: (B, 3) int32 each brick's index in ``table``.
        origin: (3,) position of lattice point (0, 0, 0).
        spacing: Distance between lattice points.
    """

    table: NDArray[np.int32]
    samples: Floats
    places: NDArray[np.int32]
    origin: Floats
    spacing: float

    def values(self, index: Indices) -> Floats:
        """Distance at (N, 3) lattice points; far inside or outside where there is no sample."""
        brick = self.table[tuple((index // SIDE).T)]
        local = index % SIDE
        found = self.samples[np.maximum(brick, 0), local[:, 0], local[:, 1], local[:, 2]]
        far = np.where(brick == INSIDE, -FAR, FAR) * np.float32(self.spacing)
        return np.where(brick >= 0, found, far)

    def set_values(self, index: Indices, values: Floats | np.float32) -> None:
        """Replace the distance at (N, 3) lattice points that are stored."""
        brick = self.table[tuple((index // SIDE).T)]
        local = index % SIDE
        self.samples[brick, local[:, 0], local[:, 1], local[:, 2]] = values

    def with_borders(self, which: NDArray[np.integer]) -> Floats:
        """(N, 5, 5, 5) the samples of some bricks and those that follow them along each axis."""
        side = SIDE + 1
        places = self.places[which]
        result = np.empty((len(which), side, side, side), np.float32)
        result[:, :SIDE, :SIDE, :SIDE] = self.samples[which]
        limit = np.array(self.table.shape) - 1
        for corner in range(1, 8):
            step = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
            beside = places + step
            beyond = (beside > limit).any(axis=1)
            brick = np.where(beyond, OUTSIDE, self.table[tuple(np.minimum(beside, limit).T)])
            mine = tuple(slice(SIDE, side) if s else slice(0, SIDE) for s in step)
            theirs = tuple(slice(0, 1) if s else slice(0, SIDE) for s in step)
            values = self.samples[(np.maximum(brick, 0), *theirs)]
            far = np.where(brick == INSIDE, -FAR, FAR) * np.float32(self.spacing)
            known = (brick >= 0)[:, None, None, None]
            result[(slice(None), *mine)] = np.where(known, values, far[:, None, None, None])
        return result


def sample_near_surface(field: Field, spacing: float, report: Callable[[float], None]) -> Bricks:
    """Sample a field wherever its surface may be.

    Args:
        field: Asked at about ten points for each cell that the surface passes.
        spacing: Distance between samples, in the field's units.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Returns:
        Bricks that hold every cell with a sign change. The lattice's border is outside.
    """
    bounds = field.bounds
    extent = bounds.high - bounds.low
    levels = 0
    while float(extent.max()) / (spacing * SIDE * 2**levels) > START:
        levels += 1
    block = SIDE * 2**levels
    counts = np.ceil((extent / spacing + 4) / block).astype(int)
    spare = counts * block - 1 - extent / spacing
    # Whole cells, so that the samples of a voxel field of this spacing are met exactly.
    origin = (bounds.low - spacing * np.floor(spare / 2)).astype(np.float32)

    state = np.zeros(tuple(counts), np.int32)  # 0: the surface may be here
    for level in range(levels, -1, -1):
        side = SIDE * 2**level
        active = np.argwhere(state == 0)
        report(0.3 * (levels - level) / (levels + 1))
        middle = origin + np.float32(spacing) * (active * side + (side - 1) / 2)
        distance = _distances(field, bounds, middle.astype(np.float32), lambda _: report(0.0))
        reach = OVERSTATED * spacing * (np.sqrt(3) * side / 2)
        verdict = np.where(distance < 0, INSIDE, OUTSIDE)
        state[tuple(active.T)] = np.where(np.abs(distance) <= reach, 0, verdict)
        if level:
            for axis in range(3):
                state = np.repeat(state, 2, axis=axis)
    border = np.ones(state.shape, bool)
    border[1:-1, 1:-1, 1:-1] = False
    state[border & (state == INSIDE)] = 0  # the lattice's border is outside whatever the field says
    places = np.argwhere(state == 0).astype(np.int32)
    state[tuple(places.T)] = np.arange(len(places))
    bricks = Bricks(state, np.empty((0, SIDE, SIDE, SIDE), np.float32), places[:0], origin, spacing)
    _append(bricks, places, field, lambda share: report(0.3 + 0.65 * share))
    follow_surface(bricks, field, report)
    return bricks


def follow_surface(bricks: Bricks, field: Field, report: Callable[[float], None]) -> None:
    """Add bricks until every two lattice neighbours of different sign are stored."""
    limit = np.array(bricks.table.shape) - 1
    _add(bricks, _split_pairs(bricks.table), field, report)
    first = 0
    while first < len(bricks.places):
        report(0.95)
        wanted = []
        for axis in range(3):
            for step in (-1, 1):
                beside = bricks.places[first:].copy()
                beside[:, axis] += step
                within = np.flatnonzero((beside[:, axis] >= 0) & (beside[:, axis] <= limit[axis]))
                beside = beside[within]
                state = bricks.table[tuple(beside.T)]
                border = np.take(bricks.samples[first:][within], -1 if step > 0 else 0, axis + 1)
                inside = (border < 0).reshape(len(within), -1)
                crossed = np.where(state == INSIDE, ~inside.all(axis=1), inside.any(axis=1))
                wanted.append(beside[crossed & (state < 0)])
        first = len(bricks.places)
        _add(bricks, np.concatenate(wanted), field, report)


def _split_pairs(table: NDArray[np.int32]) -> NDArray[np.int32]:
    """(N, 3) places without samples, inside beside outside."""
    found = []
    for axis in range(3):
        low = np.take(table, range(table.shape[axis] - 1), axis)
        high = np.take(table, range(1, table.shape[axis]), axis)
        split = np.argwhere((low < 0) & (high < 0) & (low != high))
        found += [split, split + np.eye(3, dtype=int)[axis]]
    return np.concatenate(found).astype(np.int32)


def _add(
    bricks: Bricks, places: NDArray[np.int32], field: Field, report: Callable[[float], None]
) -> None:
    """Sample bricks that have no samples yet; places may repeat."""
    if len(places):
        places = np.unique(places, axis=0)
        first = len(bricks.places)
        bricks.table[tuple(places.T)] = np.arange(first, first + len(places))
        _append(bricks, places, field, lambda _: report(0.95))


def _append(
    bricks: Bricks, places: NDArray[np.int32], field: Field, report: Callable[[float], None]
) -> None:
    """Sample the field in new bricks and store them behind the others."""
    local = np.stack(np.meshgrid(*[np.arange(SIDE)] * 3, indexing="ij"), -1).reshape(-1, 3)
    index = (places[:, None] * SIDE + local).reshape(-1, 3)
    points = bricks.origin + np.float32(bricks.spacing) * index.astype(np.float32)
    distance = _distances(field, field.bounds, points, report)
    last = np.array(bricks.table.shape) * SIDE - 1
    border = ((index == 0) | (index == last)).any(axis=1)
    tiny = np.float32(1e-6 * bricks.spacing)
    distance = np.where(border, np.maximum(distance, np.float32(bricks.spacing)), distance)
    # A zero belongs to neither side, and a crossing in a lattice point degenerates faces.
    distance = np.where(np.abs(distance) < tiny, tiny, distance)
    samples = distance.reshape(-1, SIDE, SIDE, SIDE).astype(np.float32)
    bricks.samples = np.concatenate([bricks.samples, samples])
    bricks.places = np.concatenate([bricks.places, places])


def _distances(
    field: Field, bounds: Bounds, points: Floats, report: Callable[[float], None]
) -> Floats:
    """Distance at (N, 3) points; everything beyond the bounds is outside."""
    result = np.empty(len(points), np.float32)
    for start in range(0, len(points), CHUNK):
        report(start / len(points))
        some = points[start : start + CHUNK]
        beyond = np.maximum(bounds.low - some, some - bounds.high).max(axis=1)
        distance = field.query(some).distance
        result[start : start + CHUNK] = np.where(beyond > 0, np.maximum(distance, beyond), distance)
    return result
