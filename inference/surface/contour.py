"""Contour sampled bricks as closed quads with sharp edges.

Dual contouring (Ju et al. 2002): every lattice edge whose ends differ in sign becomes a quad between
the four cells around it, and each cell's vertex is put where the planes through its edges' crossings
meet (the least squares of Hermite data), so that creases and corners finer than a cell are kept.

The quads are those of the boundary of the inside samples, so they form a 2-manifold exactly when
that set is well-composed (Latecki, Eckhardt and Rosenfeld 1995): no two inside samples may touch
only along an edge or only in a corner, nor two outside ones. The few places where a sampled field
breaks the rule are filled first.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np
from numpy.typing import NDArray

from ..field.protocol import DerivableField, Field
from ..stopping import chance_to_stop
from .bricks import CHUNK, SIDE, Bricks, follow_surface

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Indices = NDArray[np.int64]

PULL = 0.03  # of the cell's crossings towards their middle, per crossing, against their planes
INSET = 0.04  # of a cell between its walls and its vertex, so that no two vertices coincide
_CORNERS = np.array(list(product((0, 1), repeat=3)))  # bit order x, y, z
_NEIGHBOURS = np.array([s for s in product((-1, 0, 1), repeat=3) if any(s)])


def dual_contour(
    bricks: Bricks, field: Field, report: Callable[[float], None]
) -> tuple[Floats, Ints]:
    """Extract the zero level as quads.

    Args:
        bricks: From ``sample_near_surface`` of the same field; barely outside samples may become
            barely inside.
        field: Asked for its distance and gradient where edges cross the surface.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Returns:
        (V, 3) vertices in the field's frame and (F, 4) quads, counter-clockwise seen from outside
        in a right-handed frame. Closed and manifold; empty when nothing is inside. A quad's better
        diagonal runs from its first to its third corner.
    """
    report(0.0)
    make_well_composed(bricks, field, report)
    start, axis, share, leaving = _crossings(bricks)
    if not len(start):
        return np.empty((0, 3), np.float32), np.empty((0, 4), np.int32)
    report(0.3)
    along = np.eye(3, dtype=np.float32)[axis]
    crossing = start + share[:, None] * along
    normals, offset = _hermite(bricks, field, crossing, lambda s: report(0.3 + 0.5 * s))

    cells = _cells_around(start, axis)
    shape = np.array(bricks.table.shape) * SIDE
    chance_to_stop()
    keys = np.ravel_multi_index(tuple(cells.reshape(-1, 3).T), tuple(shape))
    unique, vertex = np.unique(keys, return_inverse=True)
    quads = vertex.reshape(-1, 4)
    corner = np.stack(np.unravel_index(unique, tuple(shape)), axis=1)
    report(0.85)
    positions = corner + _best_vertices(crossing, normals, offset, quads, corner)
    chance_to_stop()
    quads = np.where(leaving[:, None], quads, quads[:, ::-1]).astype(np.int32)
    quads = _turned_to_better_diagonal(positions.astype(np.float32), quads)
    report(1.0)
    return bricks.origin + np.float32(bricks.spacing) * positions.astype(np.float32), quads


def make_well_composed(bricks: Bricks, field: Field, report: Callable[[float], None]) -> None:
    """Turn barely outside samples into barely inside ones until the inside is well-composed."""
    barely_inside = np.float32(-1e-3 * bricks.spacing)
    which: NDArray[np.integer] = np.arange(len(bricks.places))
    while len(which):
        report(0.1)
        fill = _samples_to_fill(bricks, which)
        if not len(fill):
            return
        bricks.set_values(fill, barely_inside)
        count = len(bricks.places)
        follow_surface(bricks, field, lambda _: report(0.1))
        around = (fill[:, None] + _NEIGHBOURS).reshape(-1, 3) // SIDE
        around = around[((around >= 0) & (around < bricks.table.shape)).all(axis=1)]
        touched = bricks.table[tuple(around.T)]
        new = np.arange(count, len(bricks.places))
        which = np.unique(np.concatenate([touched[touched >= 0], new]))


def _samples_to_fill(bricks: Bricks, which: NDArray[np.integer]) -> Indices:
    """(N, 3) outside samples whose filling removes a critical configuration."""
    found = [np.empty((0, 3), np.int64)]
    for begin in range(0, len(which), CHUNK // 4):
        chance_to_stop()
        some = which[begin : begin + CHUNK // 4]
        values = bricks.with_borders(some)
        inside = values < 0
        mixed = np.flatnonzero(inside.any(axis=(1, 2, 3)) & ~inside.all(axis=(1, 2, 3)))
        values, inside = values[mixed], inside[mixed]
        base = bricks.places[some[mixed]].astype(np.int64) * SIDE
        for corners, is_critical in _critical(inside):
            where = np.nonzero(is_critical)
            if len(where[0]):
                local = np.stack(where[1:], axis=1)[:, None] + corners
                near = values[where[0][:, None], local[..., 0], local[..., 1], local[..., 2]]
                best = np.where(near >= 0, near, np.inf).argmin(axis=1)
                found.append(base[where[0]] + local[np.arange(len(best)), best])
    return np.unique(np.concatenate(found), axis=0)


def _critical(inside: NDArray[np.bool_]) -> list[tuple[NDArray[np.int_], NDArray[np.bool_]]]:
    """Where two samples of a kind touch only along an edge or in a corner.

    Args:
        inside: (B, 5, 5, 5).

    Returns:
        Pairs of the corners (N, 3) of a configuration and (B, x, y, z) where it occurs.
    """
    result = []
    for axis in range(3):
        corners = np.array([c for c in _CORNERS if c[axis] == 0])
        a, b, c, d = (_window(inside, corner, axis) for corner in corners)
        result.append((corners, (a == d) & (b == c) & (a != b)))
    views = [_window(inside, corner, None) for corner in _CORNERS]
    count = np.sum(views, axis=0, dtype=np.int8)
    opposite_in = np.zeros(count.shape, bool)
    opposite_out = np.zeros(count.shape, bool)
    for k in range(4):
        opposite_in |= views[k] & views[7 - k]
        opposite_out |= ~(views[k] | views[7 - k])
    critical = ((count == 2) & opposite_in) | ((count == 6) & opposite_out)
    result.append((_CORNERS, critical))
    return result


def _window(grid: NDArray, corner: NDArray, whole: int | None) -> NDArray:
    """The view of (B, 5, 5, 5) samples that starts at ``corner``; axis ``whole`` is not cut."""
    slices = [slice(int(c), SIDE + int(c)) for c in corner]
    if whole is not None:
        slices[whole] = slice(None)
    return grid[(slice(None), *slices)]


def _crossings(
    bricks: Bricks,
) -> tuple[Indices, NDArray[np.int64], Floats, NDArray[np.bool_]]:
    """Lattice edges that cross the surface.

    Returns:
        (E, 3) first lattice point, (E,) axis, (E,) share of the edge before the crossing, and (E,)
        whether the edge leaves the solid.
    """
    starts, axes, shares, leaves = [], [], [], []
    for begin in range(0, len(bricks.places), CHUNK // 4):
        chance_to_stop()
        which = np.arange(begin, min(begin + CHUNK // 4, len(bricks.places)))
        values = bricks.with_borders(which)
        base = bricks.places[which].astype(np.int64) * SIDE
        first = values[:, :SIDE, :SIDE, :SIDE]
        for axis in range(3):
            second = _window(values, np.eye(3, dtype=int)[axis], None)
            where = np.nonzero((first < 0) != (second < 0))
            a, b = first[where], second[where]
            starts.append(base[where[0]] + np.stack(where[1:], axis=1))
            axes.append(np.full(len(a), axis))
            shares.append(a / (a - b))
            leaves.append(a < 0)
    if not starts:
        nothing = np.empty(0, np.int64)
        return nothing.reshape(0, 3), nothing, np.empty(0, np.float32), np.empty(0, bool)
    return (
        np.concatenate(starts),
        np.concatenate(axes),
        np.concatenate(shares).astype(np.float32),
        np.concatenate(leaves),
    )


def _cells_around(start: NDArray[np.integer], axis: NDArray[np.integer]) -> NDArray[np.integer]:
    """(E, 4, 3) the cells around each edge, counter-clockwise seen from the edge's end."""
    eye = np.eye(3, dtype=np.int64)
    u, v = eye[(axis + 1) % 3], eye[(axis + 2) % 3]
    return np.stack([start - u - v, start - v, start, start - u], axis=1)


def _hermite(
    bricks: Bricks, field: Field, crossing: Floats, report: Callable[[float], None]
) -> tuple[Floats, Floats]:
    """Unit normal at each crossing, and how far the crossing is from the surface, in cells."""
    normals = np.empty_like(crossing, np.float32)
    offset = np.empty(len(crossing), np.float32)
    for begin in range(0, len(crossing), CHUNK):
        report(begin / len(crossing))
        some = slice(begin, begin + CHUNK)
        points = bricks.origin + np.float32(bricks.spacing) * crossing[some].astype(np.float32)
        if isinstance(field, DerivableField):
            distance, slope = field.distance_and_gradient(points)
        else:
            distance, slope = field.query(points).distance, field.gradient(points)
        length = np.linalg.norm(slope, axis=1)
        normals[some] = slope / np.maximum(length, 1e-9)[:, None]
        distance = distance / np.maximum(length, 0.3)
        offset[some] = np.clip(distance / bricks.spacing, -0.5, 0.5)
    return normals, offset


def _best_vertices(
    crossing: Floats,
    normals: Floats,
    offset: Floats,
    quads: NDArray[np.integer],
    corner: NDArray[np.integer],
) -> NDArray[np.float64]:
    """Each cell's point that lies best on the planes of its crossings, (V, 3) within the cell.

    Tikhonov's rule pulls towards the crossings' middle, so that planes that are nearly parallel
    leave the vertex where it is.
    """
    count = len(corner)
    vertex = quads.ravel()
    hits = np.bincount(vertex, minlength=count)

    def gathered(values: NDArray) -> NDArray[np.float64]:
        chance_to_stop()
        return np.bincount(vertex, np.repeat(values, 4), count).astype(np.float64)

    # Relative to the cell, for the sake of precision.
    middle = np.stack([gathered(crossing[:, k]) for k in range(3)], axis=1) / hits[:, None] - corner
    plane = (normals.astype(np.float64) * crossing).sum(axis=1) - offset
    n = normals.astype(np.float64)
    xx, yy, zz = (gathered(n[:, k] * n[:, k]) + PULL * hits for k in range(3))
    xy, xz, yz = (gathered(n[:, a] * n[:, b]) for a, b in ((0, 1), (0, 2), (1, 2)))
    right = np.stack([gathered(n[:, k] * plane) for k in range(3)], axis=1)
    # What the planes ask for, from the middle: A^T (b - A m), with A^T A rebuilt from its parts.
    m = middle + corner
    right[:, 0] -= (xx - PULL * hits) * m[:, 0] + xy * m[:, 1] + xz * m[:, 2]
    right[:, 1] -= xy * m[:, 0] + (yy - PULL * hits) * m[:, 1] + yz * m[:, 2]
    right[:, 2] -= xz * m[:, 0] + yz * m[:, 1] + (zz - PULL * hits) * m[:, 2]
    # Cramer's rule for the symmetric 3 x 3 systems.
    c00, c01, c02 = yy * zz - yz * yz, xz * yz - xy * zz, xy * yz - xz * yy
    c11, c12, c22 = xx * zz - xz * xz, xy * xz - xx * yz, xx * yy - xy * xy
    determinant = xx * c00 + xy * c01 + xz * c02
    a, b, c = right.T
    step = np.stack(
        [c00 * a + c01 * b + c02 * c, c01 * a + c11 * b + c12 * c, c02 * a + c12 * b + c22 * c],
        axis=1,
    )
    return np.clip(middle + step / determinant[:, None], INSET, 1 - INSET)


def _turned_to_better_diagonal(positions: Floats, quads: Ints) -> Ints:
    """Start each quad at the corner whose diagonal makes the two flatter, fatter triangles."""
    p = positions[quads]

    def worst(i: int) -> NDArray:
        chance_to_stop()
        a, b, c, d = (p[:, (i + k) % 4] for k in range(4))
        first, second = np.cross(b - a, c - a), np.cross(c - a, d - a)
        sizes = [np.linalg.norm(n, axis=1) for n in (first, second)]
        cosine = (first * second).sum(axis=1) / np.maximum(sizes[0] * sizes[1], 1e-12)
        return cosine + np.minimum(np.minimum(sizes[0], sizes[1]), 0.25)

    other = worst(1) > worst(0)
    return np.where(other[:, None], np.roll(quads, -1, axis=1), quads)
