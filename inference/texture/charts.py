"""Cut a closed mesh into flat charts that do not overlap themselves.

Each face looks along one of six axes; neighbouring faces agree on one by voting, so that charts are
few and large, with the front and the back (as the picture sees them) first. Across a crease a
neighbour's vote counts less, so seams settle there. A chart is the projection of a connected group
along its axis; where a group folds over itself, the folded faces move to a chart of their own.

That nothing overlaps is proven, not sampled: a connected piece whose triangles all keep their
orientation, whose inner vertices are surrounded once, and whose border does not cross itself covers
no point twice. The tests and ``benchmarks/peers/uv.py`` check it again triangle against triangle.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from ..surface.topology import connected_components, face_neighbours, split_faces
from .crossings import crossing_segments
from .raster import fragments

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bools = NDArray[np.bool_]

_AXES = np.array([[0, 0, -1], [0, 0, 1], [1, 0, 0], [-1, 0, 0], [0, 1, 0], [0, -1, 0]], np.float32)
_BIAS = np.array([0.22, 0.12, 0, 0, 0, 0], np.float32)  # the front is what the picture shows best
_ROUNDS = 24
_AGREEMENT = 0.64  # pull of a face's whole border if it all votes alike, in units of cosine
_STEEPEST = 0.18  # cosine under which a projection would be stretched too much
_STEEPEST_JOINED = 0.08  # the same for a small chart that would otherwise stay alone
_CREASE = (0.2, 0.8)  # cosine between neighbours from which they hardly, and from which fully agree
_SMALLEST = 8e-4  # share of the surface; smaller charts join a neighbour unless that stretches them
_RINGS = 4  # faces around a fold that leave with it: one island rather than a dozen of crumbs
_PATIENCE = 12  # rounds of parting folds after which each of their faces becomes its own chart
_SAME_DIRECTION = 1e-6  # radians up to which two edges run alike
_FULL_TURN = 2 * np.pi + 0.02  # sum of angles from which a vertex is wound around twice


@dataclass(frozen=True, slots=True)
class Charts:
    """Flat pieces of a mesh.

    Attributes:
        chart: (F,) int32 chart of each face.
        flat: (F, K, 2) float32 corners in the plane of the chart, in the mesh's units.
        count: Number of charts.
        border: (B, 2) face and corner from which each edge on the border of a chart starts; it runs
            to the face's next corner, with the chart to its left.
    """

    chart: Ints
    flat: Floats
    count: int
    border: Ints


def cut_into_charts(positions: Floats, faces: Ints) -> Charts:
    """Assign every face to a chart and flatten the charts.

    Args:
        positions: (V, 3) in the view frame (x right, y down, z away from the viewer).
        faces: (F, K) of a closed mesh, K = 3 or 4.
    """
    corners = positions[faces]
    neighbours = face_neighbours(faces)
    chance_to_stop()
    facing = (triangle_normals(split_faces(corners)) @ _AXES.T).reshape(len(faces), -1, 6)
    axis = _vote(facing.min(axis=1), _border_weights(corners, neighbours), neighbours, corners)
    chance_to_stop()
    flat = _project(corners, axis)
    bent = ~(_doubled_area(split_faces(flat)).reshape(len(faces), -1) > 0).all(axis=1)
    flat[bent] = _unfolded(corners[bent])
    layer = np.zeros(len(faces), np.int32)
    layer[bent] = 1 + np.arange(int(bent.sum()))  # each in a chart of its own
    for attempt in itertools.count():
        chart = _group(axis, layer, neighbours)
        chance_to_stop()
        folded = _folded_faces(faces, flat, chart, neighbours, _RINGS >> (attempt // 3))
        if not folded.any():
            border = np.argwhere(chart[neighbours] != chart[:, None]).astype(np.int32)
            return Charts(chart, flat, int(chart.max()) + 1, border)
        if attempt < _PATIENCE:
            layer[folded] += int(bent.sum()) + 1
        else:  # a whole chart that leaves for a new layer is the same chart again: take it apart
            layer[folded] = layer.max() + 1 + np.arange(int(folded.sum()))
    raise AssertionError("unreachable: single faces do not fold")


def triangle_normals(corners: Floats) -> Floats:
    """(T, 3) unit normals of (T, 3, 3) triangles; 0 for empty ones."""
    normal = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    return normal / np.maximum(np.linalg.norm(normal, axis=1, keepdims=True), 1e-20)


def face_vectors(corners: Floats) -> Floats:
    """(F, 3) normals of (F, K, 3) faces, as long as twice the area."""
    a, b, c, d = (corners[:, k] for k in (0, 1, 2, -1))
    return np.cross(b - a, c - a) if corners.shape[1] == 3 else np.cross(c - a, d - b)


def _border_weights(corners: Floats, neighbours: Ints) -> Floats:
    """(F, K) how much the neighbour behind each edge counts: its share of the border, if smooth."""
    vector = face_vectors(corners)
    normal = vector / np.maximum(np.linalg.norm(vector, axis=1, keepdims=True), 1e-20)
    cosine = (normal[:, None] * normal[neighbours]).sum(axis=-1)
    smooth = np.clip((cosine - _CREASE[0]) / (_CREASE[1] - _CREASE[0]), 0.1, 1)
    length = np.linalg.norm(np.roll(corners, -1, axis=1) - corners, axis=-1)
    share = length / np.maximum(length.sum(axis=1, keepdims=True), 1e-20)
    return (_AGREEMENT * smooth * share).astype(np.float32)


def _vote(facing: Floats, weights: Floats, neighbours: Ints, corners: Floats) -> NDArray[np.int8]:
    """Axis of each face: what it faces, pulled towards what its neighbours chose.

    Args:
        facing: (F, 6) least cosine between an axis and a triangle of the face.
        weights: (F, K) pull of each neighbour.
        neighbours: (F, K).
        corners: (F, K, 3).
    """
    allowed = facing > np.minimum(_STEEPEST, facing.max(axis=1, keepdims=True) - 1e-6)
    score = np.where(allowed, facing + _BIAS, -np.inf).astype(np.float32)
    axis = score.argmax(axis=1).astype(np.int8)
    active = np.arange(len(axis))
    for _ in range(_ROUNDS):
        chance_to_stop()
        votes = score[active]
        rows = np.arange(len(active))
        for side in range(neighbours.shape[1]):
            votes[rows, axis[neighbours[active, side]]] += weights[active, side]
        choice = votes.argmax(axis=1).astype(np.int8)
        changed = active[choice != axis[active]]
        if not len(changed):
            break
        axis[active] = choice
        active = np.unique(neighbours[changed])  # only they hear anything new
    return _joined(axis, facing, weights, neighbours, corners)


def _joined(
    axis: NDArray[np.int8], facing: Floats, weights: Floats, neighbours: Ints, corners: Floats
) -> NDArray[np.int8]:
    """Give small groups, as wholes, the axis of the neighbour they share most border with."""
    area = np.linalg.norm(face_vectors(corners), axis=1)
    for _ in range(4):
        chance_to_stop()
        group = _group(axis, np.zeros(len(axis), np.int32), neighbours)
        is_small = np.bincount(group, area) < _SMALLEST * area.sum()
        members = np.flatnonzero(is_small[group])
        if not len(members):
            break
        count = len(is_small)
        border, least = np.zeros((count, 6)), np.full((count, 6), np.inf)
        np.minimum.at(least, group[members], facing[members])
        for side in range(neighbours.shape[1]):
            chance_to_stop()
            other = neighbours[members, side]
            away = group[other] != group[members]
            slot = group[members[away]] * 6 + axis[other[away]]
            border += np.bincount(slot, weights[members[away], side], count * 6).reshape(count, 6)
        border[least < _STEEPEST_JOINED] = 0
        best = border.argmax(axis=1).astype(np.int8)
        moves = members[(border.max(axis=1) > 0)[group[members]]]
        if not len(moves):
            break
        axis = axis.copy()
        axis[moves] = best[group[moves]]
    return axis


def _group(axis: NDArray[np.int8], layer: Ints, neighbours: Ints) -> Ints:
    chance_to_stop()
    key = axis.astype(np.int64) * (int(layer.max()) + 1) + layer
    face, side = np.nonzero(key[:, None] == key[neighbours])
    pairs = np.stack([face, neighbours[face, side]], axis=1)
    return connected_components(pairs[pairs[:, 0] < pairs[:, 1]], len(axis)).astype(np.int32)


def _project(corners: Floats, axis: NDArray[np.int8]) -> Floats:
    """(F, K, 2) corners seen along each face's axis, counter-clockwise with y up."""
    x, y, z = corners[..., 0], corners[..., 1], corners[..., 2]
    seen = [(x, -y), (-x, -y), (z, -y), (-z, -y), (x, -z), (x, z)]  # in the order of _AXES
    flat = np.empty((*corners.shape[:2], 2), np.float32)
    for number, (u, v) in enumerate(seen):
        chosen = axis == number
        flat[chosen, :, 0], flat[chosen, :, 1] = u[chosen], v[chosen]
    return flat


def _unfolded(corners: Floats) -> Floats:
    """(F, K, 2) faces that no axis sees whole, laid flat by opening them along their diagonal."""
    base = corners[:, 2] - corners[:, 0]
    length = np.maximum(np.linalg.norm(base, axis=1), 1e-12)
    flat = np.zeros((*corners.shape[:2], 2), np.float32)
    flat[:, 2, 0] = length
    for corner, sign in ((1, -1.0), (3, 1.0))[: corners.shape[1] - 2]:
        side = corners[:, corner] - corners[:, 0]
        along = (side * base).sum(axis=1) / length
        away = np.sqrt(np.maximum((side**2).sum(axis=1) - along**2, 1e-16))
        flat[:, corner, 0], flat[:, corner, 1] = along, sign * away
    return flat


def _doubled_area(triangles: NDArray) -> NDArray:
    """Twice the signed area of (T, 3, 2) triangles."""
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    return a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]


def _folded_faces(faces: Ints, flat: Floats, chart: Ints, neighbours: Ints, rings: int) -> Bools:
    """Faces that must leave their charts for these to cover no point twice; none if all is well.

    ``rings`` faces around each leave with it.
    """
    face, side = np.nonzero(chart[neighbours] != chart[:, None])
    first, second = flat[face, side], flat[face, (side + 1) % faces.shape[1]]
    pairs = crossing_segments(first, second, chart[face])
    rim = np.unique(np.concatenate([faces[face, side], np.roll(faces, -1, axis=1)[face, side]]))
    chance_to_stop()
    wound = _wound_twice(faces, flat, chart)
    chance_to_stop()
    wound = np.union1d(wound, _overlapping_sectors(faces, flat, chart, rim))
    suspects = np.zeros(int(chart.max()) + 1, bool)
    suspects[chart[face[pairs.ravel()]]] = True
    suspects[chart[wound]] = True
    folded = np.zeros(len(faces), bool)
    if not suspects.any():
        return folded
    chosen = np.flatnonzero(suspects[chart])
    folded[chosen] = _sampled_folds(flat[chosen], chart[chosen])
    for _ in range(rings):
        near = np.flatnonzero(folded)[:, None]
        around = neighbours[near[:, 0]]
        folded[around[chart[around] == chart[near]]] = True
    # Folds between the samples: part the faces at the crossing themselves.
    blind = suspects.copy()
    blind[chart[folded]] = False
    later = np.maximum(face[pairs[:, 0]], face[pairs[:, 1]])
    folded[later[blind[chart[later]]]] = True
    folded[wound[blind[chart[wound]]]] = True
    return folded


def _wound_twice(faces: Ints, flat: Floats, chart: Ints) -> NDArray[np.int64]:
    """One face of each vertex whose faces go around it more than once in their chart."""
    back, ahead = np.roll(flat, 1, axis=1) - flat, np.roll(flat, -1, axis=1) - flat
    cross = ahead[..., 0] * back[..., 1] - ahead[..., 1] * back[..., 0]
    angle = np.arctan2(cross, (ahead * back).sum(axis=-1)) % (2 * np.pi)
    around = np.bincount(faces.ravel(), angle.ravel())
    face, corner = np.nonzero(around[faces] > _FULL_TURN)
    if not len(face):
        return face
    # Few vertices come so far: most have a corner in several charts, which do not add up.
    key = chart[face].astype(np.int64) * len(around) + faces[face, corner]
    _, group = np.unique(key, return_inverse=True)
    total = np.bincount(group, angle[face, corner])
    last = np.zeros(len(total), np.int64)
    np.maximum.at(last, group, face)
    return last[total > _FULL_TURN]


def _overlapping_sectors(faces: Ints, flat: Floats, chart: Ints, rim: Ints) -> NDArray[np.int64]:
    """Faces whose angle at a vertex reaches into that of another face of their chart there.

    Where a face has left a chart, the faces beside the gap may close over it: their borders only share
    an end, and so do not cross.

    Args:
        faces: (F, K) vertices.
        flat: (F, K, 2) places in the charts.
        chart: (F,) chart of each face.
        rim: Vertices on borders of charts, the only ones where that can be.
    """
    on_rim = np.zeros(int(faces.max()) + 1, bool)
    on_rim[rim] = True
    face, corner = np.nonzero(on_rim[faces])
    here = flat[face, corner].astype(np.float64)
    ahead = flat[face, (corner + 1) % faces.shape[1]] - here
    back = flat[face, corner - 1] - here
    start = np.arctan2(ahead[:, 1], ahead[:, 0])
    width = (np.arctan2(back[:, 1], back[:, 0]) - start) % (2 * np.pi)
    key = chart[face].astype(np.int64) * len(on_rim) + faces[face, corner]
    order = np.lexsort((start, key))
    face, start, width, key = face[order], start[order], width[order], key[order]
    is_last = np.append(key[1:] != key[:-1], True)
    first = np.maximum.accumulate(np.where(np.append(True, is_last[:-1]), np.arange(len(key)), 0))
    following = np.where(is_last, first, np.arange(len(key)) + 1).clip(max=len(key) - 1)
    gap = np.where(is_last, start[first] + 2 * np.pi, start[following]) - start
    over = width > gap + _SAME_DIRECTION
    return np.unique(np.maximum(face[over], face[following[over]]))


def _sampled_folds(flat: Floats, chart: Ints) -> Bools:
    """Faces that share a sample of the plane with an earlier face of their chart."""
    per_face = flat.shape[1] - 2
    area = 0.5 * np.abs(_doubled_area(split_faces(flat))).mean() * per_face
    spacing = np.float32(0.4 * np.sqrt(area))
    folded = np.zeros(len(chart), bool)
    for number in np.unique(chart):
        chance_to_stop()
        faces = np.flatnonzero(chart == number)
        triangles = split_faces((flat[faces] - flat[faces].min(axis=(0, 1))) / spacing + 0.5)
        width, height = (int(s) + 2 for s in triangles.max(axis=(0, 1)))
        parts = list(fragments(triangles, width, height))
        if not parts:
            continue
        pixel = np.concatenate([p.pixel for p in parts])
        face = np.concatenate([p.triangle for p in parts]) // per_face
        inner = np.concatenate([p.weights.min(axis=1) for p in parts]) > 1e-4
        pixel, face = pixel[inner], face[inner]
        # The first face to claim a sample keeps it, whoever else lies there has folded over.
        claim = np.full(width * height, len(faces), np.int64)
        np.minimum.at(claim, pixel, face)
        folded[faces[face[claim[pixel] != face]]] = True
    return folded
