"""Cut a closed quad mesh into flat charts that do not overlap themselves.

Each face looks along one of six axes; neighbouring faces agree on one by voting, so that charts are
few and large, with the front and the back (as the picture sees them) first. A chart is the
projection of a connected group along its axis. Where a group folds over itself, the folded faces
move to a chart of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..surface.topology import connected_components, quad_neighbours
from .raster import fragments

Floats = NDArray[np.float32]

_AXES = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
_BIAS = np.array([0.22, 0.12, 0, 0, 0, 0], np.float32)  # the front is what the picture shows best
_ROUNDS = 24
_AGREEMENT = 0.16  # pull of each neighbour's vote, in units of cosine
_STEEPEST = 0.18  # cosine under which a projection would be stretched too much
_SMALLEST = 40  # faces; smaller charts join a neighbour where that does not stretch them


@dataclass(frozen=True, slots=True)
class Charts:
    """Flat pieces of a mesh.

    Attributes:
        chart: (F,) int32 chart of each face.
        flat: (F, 4, 2) float32 corners in the plane of the chart, in the mesh's units.
        count: Number of charts.
    """

    chart: NDArray[np.int32]
    flat: Floats
    count: int


def cut_into_charts(positions: Floats, quads: NDArray[np.int32], texel: float) -> Charts:
    """Assign every face to a chart and flatten the charts.

    Args:
        positions: (V, 3) in the view frame (x right, y down, z away from the viewer).
        quads: (F, 4) of a closed mesh.
        texel: Size of a texel in the mesh's units; overlaps are found at this resolution.
    """
    normals = face_normals(positions, quads)
    neighbours = quad_neighbours(quads)
    axis = _vote(normals @ _AXES.T, neighbours)
    flat = _project(positions[quads], axis)
    layer = np.zeros(len(quads), np.int32)
    chart = _group(axis, layer, neighbours)
    while True:
        folded = _folded_faces(flat, chart, texel)
        if not folded.any():
            break
        layer[folded] += 1
        chart = _group(axis, layer, neighbours)
    return Charts(chart, flat, int(chart.max()) + 1)


def face_normals(positions: Floats, quads: NDArray[np.int32]) -> Floats:
    """(F, 3) unit normals of quads, from their diagonals."""
    corner = positions[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)


def _vote(facing: Floats, neighbours: NDArray[np.int32]) -> NDArray[np.int8]:
    """Axis of each face: what it faces, pulled towards what its neighbours chose."""
    allowed = facing > np.minimum(_STEEPEST, facing.max(axis=1, keepdims=True) - 1e-6)
    score = np.where(allowed, facing + _BIAS, -np.inf)
    axis = score.argmax(axis=1).astype(np.int8)
    for _ in range(_ROUNDS):
        votes = np.zeros_like(facing)
        for side in range(4):
            votes[np.arange(len(axis)), axis[neighbours[:, side]]] += _AGREEMENT
        choice = (score + votes).argmax(axis=1).astype(np.int8)
        if np.array_equal(choice, axis):
            break
        axis = choice
    for _ in range(3):
        group = _group(axis, np.zeros(len(axis), np.int32), neighbours)
        small = np.bincount(group)[group] < _SMALLEST
        if not small.any():
            break
        votes = np.full(facing.shape, -np.inf, np.float32)
        for side in range(4):
            other = neighbours[:, side]
            usable = small & ~small[other]
            rows = np.flatnonzero(usable)
            votes[rows, axis[other[rows]]] = facing[rows, axis[other[rows]]]
        better = votes.max(axis=1) > _STEEPEST
        axis = np.where(better, votes.argmax(axis=1), axis).astype(np.int8)
    return axis


def _group(
    axis: NDArray[np.int8], layer: NDArray[np.int32], neighbours: NDArray[np.int32]
) -> NDArray[np.int32]:
    key = axis.astype(np.int64) * (int(layer.max()) + 1) + layer
    pairs = []
    for side in range(4):
        same = np.flatnonzero(key == key[neighbours[:, side]])
        pairs.append(np.stack([same, neighbours[same, side]], axis=1))
    return connected_components(np.concatenate(pairs), len(axis)).astype(np.int32)


def _project(corners: Floats, axis: NDArray[np.int8]) -> Floats:
    """(F, 4, 2) corners seen along each face's axis, counter-clockwise with y up."""
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    seen = [(x, -y), (-x, -y), (z, -y), (-z, -y), (x, -z), (x, z)]  # in the order of _AXES
    flat = np.empty((*corners.shape[:2], 2), np.float32)
    for number, (u, v) in enumerate(seen):
        chosen = axis == number
        flat[chosen, :, 0], flat[chosen, :, 1] = u[chosen], v[chosen]
    return flat


def split_quads(corners: NDArray) -> NDArray:
    """(F, 4, ...) quads as (2 F, 3, ...) triangles; triangle t belongs to quad t // 2."""
    pair = np.stack([corners[:, [0, 1, 2]], corners[:, [0, 2, 3]]], axis=1)
    return pair.reshape(-1, 3, *corners.shape[2:])


def _folded_faces(flat: Floats, chart: NDArray[np.int32], texel: float) -> NDArray[np.bool_]:
    """Faces that share a texel centre with an earlier face of their chart."""
    order = np.argsort(chart, kind="stable")
    count = int(chart.max()) + 1
    low = np.full((count, 2), np.inf, np.float32)
    high = np.full((count, 2), -np.inf, np.float32)
    np.minimum.at(low, chart, flat.min(axis=1))
    np.maximum.at(high, chart, flat.max(axis=1))
    size = np.ceil((high - low) / texel).astype(np.int64) + 2
    folded = np.zeros(len(chart), bool)
    starts = np.searchsorted(chart[order], np.arange(count + 1))
    for number in range(count):
        faces = order[starts[number] : starts[number + 1]]
        if len(faces) < 2:
            continue
        width, height = (int(s) for s in size[number])
        triangles = split_quads((flat[faces] - low[number]) / np.float32(texel) + 0.5)
        parts = list(fragments(triangles, width, height))
        if not parts:
            continue
        pixel = np.concatenate([p.pixel for p in parts])
        face = np.concatenate([p.triangle for p in parts]) // 2
        inner = np.concatenate([p.weights.min(axis=1) for p in parts]) > 1e-4
        pixel, face = pixel[inner], face[inner]
        # The first face to claim a texel keeps it, whoever else lies there has folded over.
        claim = np.full(width * height, len(faces), np.int64)
        np.minimum.at(claim, pixel, face)
        folded[faces[face[claim[pixel] != face]]] = True
    return folded
