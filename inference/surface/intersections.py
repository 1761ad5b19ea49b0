"""Find faces that pass through other faces of the same mesh, and part them where possible.

Triangles are gathered in the cells of a grid; those that share a cell are compared. Two triangles
cross when an edge of one pierces the other (Moeller 1997 gives the tests by signed volumes).
Triangles that merely share an edge or lie flat upon each other do not count.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from .topology import split_faces

Ints = NDArray[np.int32]
Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

TOUCH = 1e-7  # volumes under this share of the largest are no crossing, only touching
ROUNDS = 6  # of parting
MOST = 64  # cells along the longest side of one triangle: larger ones are cut up coarsely
PORTION = 2_000_000  # pairs that are compared at once


def crossing_faces(
    positions: Floats, faces: Ints, report: Callable[[], None] = lambda: None
) -> NDArray[np.int64]:
    """Faces that pass through another face, in ascending order.

    Args:
        positions: (V, 3).
        faces: (F, 3) or (F, 4).
        report: Called now and then; raises to cancel.
    """
    if not len(faces):
        return np.empty(0, np.int64)
    triangles = split_faces(faces)
    corners = positions.astype(np.float64)[triangles]
    low, high = corners.min(axis=1), corners.max(axis=1)
    columns = [(low[:, k].copy(), high[:, k].copy()) for k in range(3)]
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    height = (corners[:, 0] * normal).sum(axis=1)
    crossing = np.zeros(len(triangles), bool)
    for a, b in _close_pairs(low, high):
        report()
        for least, most in columns:  # most pairs drop out at the first of them
            near = (least[a] <= most[b]) & (least[b] <= most[a])
            a, b = a[near], b[near]
        chance_to_stop()
        for _ in range(2):  # each must reach through the other's plane
            side = np.einsum("nkc,nc->nk", corners[b], normal[a]) - height[a][:, None]
            through = (side.min(axis=1) < 0) & (side.max(axis=1) > 0)
            a, b = b[through], a[through]
        apart = _is_apart(triangles[a], triangles[b])
        a, b = a[apart], b[apart]
        for one, other in ((a, b), (b, a)):
            chance_to_stop()
            pierced = _pierces(corners[one], corners[other])
            crossing[one[pierced]] = crossing[other[pierced]] = True
    halves = len(triangles) // len(faces)
    return np.flatnonzero(crossing.reshape(-1, halves).any(axis=1))


def _is_apart(one: Ints, other: Ints) -> NDArray[np.bool_]:
    """Whether (N, 3) and (N, 3) triangles share less than an edge."""
    shared = np.zeros(len(one), np.int8)
    for i in range(3):
        for j in range(3):
            shared += one[:, i] == other[:, j]
    return shared < 2


def parted(
    positions: Floats, faces: Ints, report: Callable[[], None] = lambda: None
) -> tuple[Floats, int]:
    """Move the vertices of crossing faces towards their neighbours' middle until they part.

    Args:
        positions: (V, 3) of a closed mesh.
        faces: (F, 3) or (F, 4).
        report: Called now and then; raises to cancel.

    Returns:
        The positions, and how many faces cross others still.
    """
    crossing = crossing_faces(positions, faces, report)
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    best, fewest = positions, len(crossing)
    for _ in range(ROUNDS):
        if not len(crossing):
            break
        report()
        chosen = np.zeros(len(positions), bool)
        chosen[faces[crossing]] = True
        chosen[end[chosen[start]]] = True  # one ring around: the crossing lies between the two
        edges = chosen[start]
        count = np.bincount(start[edges], minlength=len(positions)).astype(np.float32)
        total = np.stack(
            [
                np.bincount(start[edges], positions[end[edges], axis], len(positions))
                for axis in range(3)
            ],
            axis=1,
        )
        middle = total / np.maximum(count, 1)[:, None]
        moved = positions + np.float32(0.5) * (middle - positions)
        positions = np.where(chosen[:, None], moved, positions).astype(np.float32)
        crossing = crossing_faces(positions, faces, report)
        if len(crossing) < fewest:
            best, fewest = positions, len(crossing)
    return best, fewest


def _close_pairs(low: Doubles, high: Doubles):
    """Yield indices of two (N,) arrays of boxes that share a cell of a grid, each pair about once.

    Args:
        low: (T, 3) smallest corners.
        high: (T, 3) largest corners.
    """
    extent = (high - low).max(axis=1)
    cell = max(float(np.mean(extent)), float(extent.max()) / MOST, 1e-12)
    origin = low.min(axis=0)
    first = ((low - origin) / cell).astype(np.int64)
    count = ((high - origin) / cell).astype(np.int64) - first + 1
    size = count.prod(axis=1)
    chance_to_stop()
    owner = np.repeat(np.arange(len(low)), size)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(size) - size, size)
    across = count[owner]
    place = first[owner]
    place[:, 2] += number % across[:, 2]
    place[:, 1] += number // across[:, 2] % across[:, 1]
    place[:, 0] += number // (across[:, 2] * across[:, 1])
    chance_to_stop()
    key = _key(place)
    chance_to_stop()
    order = np.argsort(key, kind="stable")
    key, owner = key[order], owner[order]
    left = np.arange(len(key))
    step, held, total = 1, [], 0
    while len(left):
        chance_to_stop()
        left = left[left + step < len(key)]
        left = left[key[left] == key[left + step]]
        a, b = owner[left], owner[left + step]
        # A pair that shares several cells counts in the first of them only.
        fresh = key[left] == _key(np.maximum(first[a], first[b]))
        held.append((a[fresh], b[fresh]))
        total += int(fresh.sum())
        step += 1
        if total > PORTION or not len(left):
            yield tuple(np.concatenate(part) for part in zip(*held, strict=True))
            held, total = [], 0


def _key(cells: NDArray[np.int64]) -> NDArray[np.int64]:
    return (cells[:, 0] << 42) + (cells[:, 1] << 21) + cells[:, 2]


def _pierces(one: Doubles, other: Doubles) -> NDArray[np.bool_]:
    """Whether an edge of a triangle passes through another one; (N, 3, 3) each."""
    result = np.zeros(len(one), bool)
    normal = np.cross(other[:, 1] - other[:, 0], other[:, 2] - other[:, 0])
    side = np.einsum("nkc,nc->nk", one - other[:, :1], normal)
    limit = TOUCH * np.abs(side).max(axis=1, initial=0)[:, None]
    above, below = side > limit, side < -limit
    some = np.flatnonzero(above.any(axis=1) & below.any(axis=1))
    one, other, above, below = one[some], other[some], above[some], below[some]
    for k in range(3):
        p, q = one[:, k], one[:, (k + 1) % 3]
        passes = (above[:, k] & below[:, (k + 1) % 3]) | (below[:, k] & above[:, (k + 1) % 3])
        volumes = []
        for j in range(3):
            u, v = other[:, j] - p, other[:, (j + 1) % 3] - p
            volumes.append((np.cross(u, v) * (q - p)).sum(axis=1))
        around = np.stack(volumes, axis=1)
        least = TOUCH * np.abs(around).max(axis=1, initial=0)[:, None]
        passes &= (around > least).all(axis=1) | (around < -least).all(axis=1)
        result[some[passes]] = True
    return result
