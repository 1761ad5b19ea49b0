"""Spread values over a surface from where they are known to where they are not.

Push and pull (Gortler et al. 1996), on the mesh instead of an image: vertices are gathered into ever
larger clusters, known values are averaged upwards, and on the way back down each cluster starts from
its parent's value and settles among its neighbours. Neighbours are what edges join, so colour runs
around a limb and along a wall, not through the air or through a thin sheet to its other side.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

ROUNDS = 10  # of settling on each level
FIRM = 4.0  # pull of a known value, in neighbours
LEVELS = 9


def mesh_edges(faces: Ints) -> NDArray[np.int64]:
    """(E, 2) edges of (F, K) faces of a closed mesh, each once."""
    start, end = faces.ravel(), np.roll(faces, -1, axis=1).ravel()
    forward = start < end
    return np.stack([start[forward], end[forward]], axis=1).astype(np.int64)


def diffuse(
    positions: Floats,
    normals: Floats,
    edges: NDArray[np.int64],
    values: Floats,
    weight: Floats,
    report: Callable[[], None] = lambda: None,
) -> Floats:
    """Complete values at the vertices of a mesh.

    Args:
        positions: (V, 3).
        normals: (V, 3) unit.
        edges: (E, 2).
        values: (V, C) float32.
        weight: (V,) 0 where a value is unknown, up to 1 where it is certain.
        report: Raises to cancel.

    Returns:
        (V, C): certain values almost unchanged, others a smooth continuation.
    """
    length = float(np.linalg.norm(positions[edges[:, 0]] - positions[edges[:, 1]], axis=1).mean())
    cell = 2 * length
    low = positions.min(axis=0)
    # Sides of a thin sheet look different ways: they share clusters on the coarsest levels only.
    octant = ((normals > 0) @ np.array([1, 2, 4])).astype(np.int64)
    parent = np.arange(len(positions))
    graphs = [(edges, values.astype(np.float64), weight.astype(np.float64), parent)]
    first_member = parent
    for _ in range(LEVELS):
        chance_to_stop()
        edges, values_here, weight_here, _ = graphs[-1]
        cells = np.floor((positions[first_member] - low) / cell).astype(np.int64)
        key = ((cells[:, 0] << 36) + (cells[:, 1] << 18) + cells[:, 2]) * 8 + octant[first_member]
        _, members, parent = np.unique(key, return_index=True, return_inverse=True)
        count = len(members)
        if count >= len(key) or count < 8:
            break
        graphs.append(_coarser(edges, values_here, weight_here, parent, count))
        first_member = first_member[members]
        cell *= 2
    result: NDArray[np.float64] | None = None
    for number in range(len(graphs) - 1, -1, -1):
        report()
        edges, values_here, weight_here, _ = graphs[number]
        if result is None:
            total = max(float(weight_here.sum()), 1e-9)
            mean = (values_here * weight_here[:, None]).sum(axis=0) / total
            result = np.broadcast_to(mean, values_here.shape)
        else:
            result = result[graphs[number + 1][3]]
        known = weight_here[:, None]
        result = known * values_here + (1 - known) * result
        rounds = ROUNDS if number else ROUNDS // 2
        result = _settled(edges, result, values_here, FIRM * weight_here, rounds)
    assert result is not None
    return result.astype(np.float32)


def _coarser(
    edges: NDArray[np.int64],
    values: NDArray[np.float64],
    weight: NDArray[np.float64],
    parent: NDArray[np.int64],
    count: int,
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], NDArray[np.int64]]:
    total = np.bincount(parent, weight, count)
    summed = [np.bincount(parent, weight * values[:, c], count) for c in range(values.shape[1])]
    mean = np.stack(summed, axis=1) / np.maximum(total, 1e-9)[:, None]
    ends = np.sort(parent[edges], axis=1)
    key = np.unique(ends[ends[:, 0] != ends[:, 1]] @ np.array([count, 1]))
    sure = np.minimum(2 * total / np.bincount(parent, minlength=count), 1)
    return np.stack([key // count, key % count], axis=1), mean, sure, parent


def _settled(
    edges: NDArray[np.int64],
    start: NDArray[np.float64],
    values: NDArray[np.float64],
    pull: NDArray[np.float64],
    rounds: int,
) -> NDArray[np.float64]:
    """Rounds of taking the mean of the neighbours and of the known value."""
    one = np.concatenate([edges[:, 0], edges[:, 1]])
    other = np.concatenate([edges[:, 1], edges[:, 0]])
    order = np.argsort(one, kind="stable")
    one, other = one[order], other[order]
    count = len(start)
    degree = np.bincount(one, minlength=count)
    begins = np.cumsum(degree) - degree
    joined = np.flatnonzero(degree > 0)
    result = start.copy()
    divisor = (degree + pull)[joined, None]
    known = (pull[:, None] * values)[joined]
    for _ in range(rounds if len(one) else 0):
        chance_to_stop()
        total = np.add.reduceat(result[other], begins[joined], axis=0)
        result[joined] = (total + known) / np.maximum(divisor, 1e-9)
    return result
