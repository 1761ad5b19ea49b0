"""Spend a budget of faces where the shape needs them.

Edges are collapsed in the order of their quadric error (Garland and Heckbert 1997), many at a time:
in each round those that are the cheapest within reach of their own faces, which cannot disturb each
other. A collapse is refused when it would tear or pinch the surface (the link condition, Dey et al.
1999) or fold it over, so a closed manifold stays one. Planes meet in creases and corners, whose
error is large, so these stay where they are.

Everything works on whole arrays: other threads can run, and a run can be cancelled between rounds.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Ints = NDArray[np.int32]

CHEAPEST = 0.15  # share of the edges that a round may choose from
EVEN = 2e-5  # weight of a point's own place against its planes: keeps flat parts evenly meshed
FOLD = 0.25  # least cosine between a face before and after a collapse
SLIVER = 0.02  # least 4 sqrt(3) area / sum of squared sides of a new face; 1 is equilateral
CHUNK = 1 << 13  # edges at a time, so that the arithmetic stays in the cache
PICKS = 3  # selections from one evaluation of the errors


def decimate(
    positions: Floats,
    faces: Ints,
    budget: int,
    report: Callable[[float], None],
    keep: NDArray[np.bool_] | None = None,
) -> tuple[Floats, Ints]:
    """Simplify a closed mesh to a number of triangles.

    Args:
        positions: (V, 3).
        faces: (F, 3) triangles or (F, 4) quads, closed and manifold; quads are cut from their first
            to their third corner.
        budget: Triangles wanted.
        report: Called with the finished share, 0 to 1; raises to cancel.
        keep: (V,) True for vertices that must stay, such as those on the borders of a UV map.

    Returns:
        (V, 3) vertices and (T, 3) triangles, closed and manifold. T is above the budget when no
        further edge can go.
    """
    triangles = triangulated(faces).astype(np.int64)
    centre = positions.mean(axis=0, dtype=np.float64)
    size = float(np.abs(positions - centre).max()) or 1.0
    points = (positions.astype(np.float64) - centre) / size
    quadrics = _vertex_quadrics(points, triangles)
    free = np.ones(len(points), bool) if keep is None else ~keep
    first = len(triangles)
    refused = np.empty(0, np.int64)
    tired = 0
    while len(triangles) > budget and tired < 3:
        report((first - len(triangles)) / max(first - budget, 1))
        before = len(triangles)
        a, b = _edges(triangles, free)
        keys = a * len(points) + b
        if len(refused):
            fresh = ~np.isin(keys, refused)
            a, b, keys = a[fresh], b[fresh], keys[fresh]
        if len(a):
            place, error = _best_places(points, quadrics, a, b)
            few = max(int(CHEAPEST * len(a)), 64)
            if few < len(a):
                cheap = np.argpartition(error, few)[:few]
                a, b, keys, place, error = (
                    a[cheap],
                    b[cheap],
                    keys[cheap],
                    place[cheap],
                    error[cheap],
                )
            order = np.argsort(error, kind="stable")
            a, b, keys, place = a[order], b[order], keys[order], place[order]
            triangles, rejected = _collapse(points, quadrics, triangles, a, b, place, budget)
            refused = np.concatenate([refused, keys[rejected]])
        if before - len(triangles) < 0.002 * before:
            # What was refused may be possible now that its surroundings have changed.
            refused, tired = np.empty(0, np.int64), tired + 1
        else:
            tired = 0
    used, corners = np.unique(triangles, return_inverse=True)
    kept = (points[used] * size + centre).astype(np.float32)
    return kept, corners.reshape(-1, 3).astype(np.int32)


def triangulated(faces: Ints) -> Ints:
    """(T, 3) triangles of triangles or quads, cut from the first to the third corner."""
    if faces.shape[1] == 3:
        return faces
    return np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])


def _edges(
    triangles: NDArray[np.int64], free: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Each edge between free vertices once, as in a closed mesh it is walked once either way."""
    start, end = triangles.ravel(), np.roll(triangles, -1, axis=1).ravel()
    once = (start < end) & free[start] & free[end]
    return start[once], end[once]


def _vertex_quadrics(points: Doubles, triangles: NDArray[np.int64]) -> Doubles:
    """(10, V) sums of squared distances to the planes around each vertex, weighted by area.

    The upper triangle of the symmetric 4 x 4 matrix: xx xy xz xw yy yz yw zz zw ww.
    """
    a, b, c = (points[triangles[:, k]] for k in range(3))
    normal = np.cross(b - a, c - a)
    length = np.linalg.norm(normal, axis=1)
    normal /= np.maximum(length, 1e-30)[:, None]
    plane = np.concatenate([normal, -(normal * a).sum(axis=1)[:, None]], axis=1)
    area = length / 6
    result = np.empty((10, len(points)))
    vertex = triangles.ravel()
    pairs = [(i, j) for i in range(4) for j in range(i, 4)]
    for k, (i, j) in enumerate(pairs):
        chance_to_stop()
        value = area * plane[:, i] * plane[:, j]
        result[k] = np.bincount(vertex, np.repeat(value, 3), len(points))
    weight = EVEN * np.bincount(vertex, np.repeat(area, 3), len(points))
    for axis, diagonal, last in ((0, 0, 3), (1, 4, 6), (2, 7, 8)):
        result[diagonal] += weight
        result[last] -= weight * points[:, axis]
    result[9] += weight * (points**2).sum(axis=1)
    return result


def _best_places(
    points: Doubles, quadrics: Doubles, a: NDArray[np.int64], b: NDArray[np.int64]
) -> tuple[Doubles, Doubles]:
    """(E, 3) where each edge's merged vertex has the least error, and (E,) that error."""
    place, error = np.empty((len(a), 3)), np.empty(len(a))
    for begin in range(0, len(a), CHUNK):
        chance_to_stop()
        some = slice(begin, begin + CHUNK)
        pa, pb = points[a[some]], points[b[some]]
        q = quadrics[:, a[some]] + quadrics[:, b[some]]
        xx, xy, xz, xw, yy, yz, yw, zz, zw, ww = q
        # Relative to the middle, from which the solution is also not allowed to run away.
        m = (pa + pb) / 2
        gx = xx * m[:, 0] + xy * m[:, 1] + xz * m[:, 2] + xw
        gy = xy * m[:, 0] + yy * m[:, 1] + yz * m[:, 2] + yw
        gz = xz * m[:, 0] + yz * m[:, 1] + zz * m[:, 2] + zw
        c00, c01, c02 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
        c11, c12, c22 = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
        determinant = np.maximum(xx * c00 + xy * c01 + xz * c02, 1e-40)
        step = np.stack(
            [
                c00 * gx + c01 * gy + c02 * gz,
                c01 * gx + c11 * gy + c12 * gz,
                c02 * gx + c12 * gy + c22 * gz,
            ],
            axis=1,
        )
        step /= -determinant[:, None]
        reach = np.linalg.norm(pb - pa, axis=1)
        length = np.linalg.norm(step, axis=1)
        step *= np.minimum(1, 1.5 * reach / np.maximum(length, 1e-30))[:, None]
        x, y, z = (m + step).T
        place[some] = m + step
        error[some] = (
            x * (xx * x + 2 * (xy * y + xz * z + xw))
            + y * (yy * y + 2 * (yz * z + yw))
            + z * (zz * z + 2 * zw)
            + ww
        )
    return place, error


def _collapse(
    points: Doubles,
    quadrics: Doubles,
    triangles: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    place: Doubles,
    budget: int,
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Collapse edges that do not disturb each other, the first ones first.

    ``points`` and ``quadrics`` are changed in place.

    Returns:
        The triangles that are left, and the indices of edges that were refused.
    """
    count = len(points)
    blocked = np.zeros(count, bool)
    rejected = []
    for _ in range(PICKS):
        chance_to_stop()
        waiting = np.flatnonzero(~(blocked[a] | blocked[b]))
        chosen = waiting[_independent(triangles, a[waiting], b[waiting], count)]
        chosen = chosen[: max((len(triangles) - budget + 1) // 2, 0)]
        if not len(chosen):
            break
        owner = np.full(count, -1, np.int64)
        owner[a[chosen]] = owner[b[chosen]] = np.arange(len(chosen))
        touched = np.flatnonzero(owner[triangles].max(axis=1) >= 0)
        chance_to_stop()
        good = _is_sound(points, triangles, touched, owner, a[chosen], b[chosen], place[chosen])
        rejected.append(chosen[~good])
        done = chosen[good]
        blocked[triangles[touched]] = True
        points[a[done]] = place[done]
        quadrics[:, a[done]] += quadrics[:, b[done]]
        target = np.arange(count)
        target[b[done]] = a[done]
        moved = target[triangles[touched]]
        triangles[touched] = moved
        i, j, k = moved.T
        gone = touched[(i == j) | (j == k) | (k == i)]
        triangles = np.delete(triangles, gone, axis=0)
        if len(triangles) <= budget:
            break
    return triangles, np.concatenate(rejected) if rejected else np.empty(0, np.int64)


def _independent(
    triangles: NDArray[np.int64], a: NDArray[np.int64], b: NDArray[np.int64], count: int
) -> NDArray[np.int64]:
    """Indices of edges that come before all others that share a face with one of their ends."""
    rank = np.arange(len(a))
    first = np.full(count, len(a))
    np.minimum.at(first, a, rank)
    np.minimum.at(first, b, rank)
    face = first[triangles].min(axis=1)
    around = np.full(count, len(a))
    for corner in triangles.T:
        np.minimum.at(around, corner, face)
    return np.flatnonzero((around[a] == rank) & (around[b] == rank))


def _is_sound(
    points: Doubles,
    triangles: NDArray[np.int64],
    touched: NDArray[np.int64],
    owner: NDArray[np.int64],
    a: NDArray[np.int64],
    b: NDArray[np.int64],
    place: Doubles,
) -> NDArray[np.bool_]:
    """Whether each collapse keeps the surface a manifold and folds no face.

    Args:
        points: (V, 3).
        triangles: (T, 3).
        touched: Triangles at the ends of the edges.
        owner: (V,) which edge a vertex is an end of, or -1.
        a: (E,) first ends.
        b: (E,) second ends.
        place: (E, 3) where the ends would go.
    """
    count = len(points)
    face = triangles[touched]
    owners = owner[face]
    edge = owners.max(axis=1)
    is_a, is_b = face == a[edge][:, None], face == b[edge][:, None]
    other = ~(is_a | is_b)
    dying = is_a.any(axis=1) & is_b.any(axis=1)

    # The ends may share the two vertices opposite of the edge, and no others.
    keys = edge[:, None] * count + face
    near_a = np.unique(keys[other & is_a.any(axis=1)[:, None]])
    near_b = np.unique(keys[other & is_b.any(axis=1)[:, None]])
    common = np.intersect1d(near_a, near_b, assume_unique=True)
    good = np.bincount(common // count, minlength=len(a)) == 2
    # Those two lose a face, and a vertex needs three.
    valence = np.bincount(triangles.ravel(), minlength=count)
    opposite = face[dying][other[dying]]
    good &= np.bincount(edge[dying], valence[opposite] < 4, len(a)) == 0
    good &= np.bincount(edge, minlength=len(a)) >= 5

    left = ~dying
    old = points[face[left]]
    new = np.where((owners[left] >= 0)[..., None], place[edge[left]][:, None], old)
    n0 = np.cross(old[:, 1] - old[:, 0], old[:, 2] - old[:, 0])
    n1 = np.cross(new[:, 1] - new[:, 0], new[:, 2] - new[:, 0])
    l0, l1 = np.linalg.norm(n0, axis=1), np.linalg.norm(n1, axis=1)
    folds = (n0 * n1).sum(axis=1) < FOLD * l0 * l1
    sides = ((new - np.roll(new, 1, axis=1)) ** 2).sum(axis=(1, 2))
    folds |= 2 * np.sqrt(3) * l1 < SLIVER * sides
    return good & (np.bincount(edge[left], folds, len(a)) == 0)
