"""Measures of a UV map: stretch, islands, filling, and an exact test for overlaps."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

TOUCHING = 1e-9  # depth of interpenetration, in texture sides, up to which triangles only touch


@dataclass(frozen=True, slots=True)
class UvQuality:
    """Numbers of one UV map.

    Attributes:
        stretch: L2 stretch of Sander et al. 2001, normalised so that an isometry has 1.
        area: Area distortion: area-weighted mean of r + 1/r over 2, where r is a triangle's texture
            area over its surface area, relative to the whole map's. 1 is even texel density.
        angle: Angle distortion: area-weighted mean of (s1/s2 + s2/s1) / 2 for the singular values
            of the map; 1 is conformal.
        islands: Pieces that hang together in the texture.
        filling: Share of the unit square that the triangles cover.
        overlaps: Pairs of triangles that share more than a border.
        flipped: Triangles that are mirrored or empty in the texture, though not on the surface.
    """

    stretch: float
    area: float
    angle: float
    islands: int
    filling: float
    overlaps: int
    flipped: int


def measure_uv(points: NDArray[np.floating], uvs: NDArray[np.floating]) -> UvQuality:
    """Measure a UV map.

    Args:
        points: (T, 3, 3) corners of the triangles.
        uvs: (T, 3, 2) their places in the texture, 0 to 1.
    """
    points, uvs = points.astype(np.float64), uvs.astype(np.float64)
    side_a, side_b = points[:, 1] - points[:, 0], points[:, 2] - points[:, 0]
    world = 0.5 * np.linalg.norm(np.cross(side_a, side_b), axis=1)
    flat_a, flat_b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    flat = 0.5 * (flat_a[:, 0] * flat_b[:, 1] - flat_a[:, 1] * flat_b[:, 0])
    real = world > 1e-12 * world.sum()
    good = real & (np.abs(flat) > 1e-14)

    # Partial derivatives of the surface by u and v (Sander et al. 2001, equation 1).
    twice = 2 * flat[good, None]
    by_u = (side_a[good] * flat_b[good, 1:] - side_b[good] * flat_a[good, 1:]) / twice
    by_v = (side_b[good] * flat_a[good, :1] - side_a[good] * flat_b[good, :1]) / twice
    a, b, c = (by_u**2).sum(1), (by_u * by_v).sum(1), (by_v**2).sum(1)
    root = np.sqrt(np.maximum((a - c) ** 2 + 4 * b * b, 0))
    large, small = np.sqrt((a + c + root) / 2), np.sqrt(np.maximum((a + c - root) / 2, 1e-30))
    share = world[good] / world[good].sum()
    filling = float(np.abs(flat).sum())
    stretch = float(np.sqrt((share * (a + c) / 2).sum() * filling / world.sum()))
    density = np.abs(flat[good]) / world[good] * world.sum() / filling
    return UvQuality(
        stretch=stretch,
        area=float((share * (density + 1 / density) / 2).sum()),
        angle=float((share * (large / small + small / large) / 2).sum()),
        islands=count_islands(points, uvs),
        filling=filling,
        overlaps=len(overlapping_pairs(uvs)),
        flipped=int((real & (flat <= 0)).sum()),
    )


def count_islands(points: Floats, uvs: Floats) -> int:
    """Pieces of the texture: triangles that share an edge on the surface and in the texture."""
    from scipy.sparse import coo_matrix
    from scipy.sparse.csgraph import connected_components

    count = len(points)
    place = np.concatenate([points, uvs], axis=2).reshape(-1, 5).round(6)
    _, corner = np.unique(place, axis=0, return_inverse=True)
    corner = corner.reshape(count, 3)
    edges = np.sort(np.stack([corner, np.roll(corner, -1, axis=1)], axis=-1).reshape(-1, 2), axis=1)
    key = edges[:, 0].astype(np.int64) * (corner.max() + 1) + edges[:, 1]
    order = np.argsort(key, kind="stable")
    same = np.flatnonzero(np.diff(key[order]) == 0)
    first, second = order[same] // 3, order[same + 1] // 3
    graph = coo_matrix((np.ones(len(first)), (first, second)), (count, count))
    return int(connected_components(graph, directed=False)[0])


def overlapping_pairs(uvs: Floats, tolerance: float = TOUCHING) -> NDArray[np.int64]:
    """Find every pair of triangles that overlap, independent of any texture size.

    Candidates share a cell of a fine grid; a pair overlaps unless one of the six edges separates
    them (separating axis theorem, exact for convex shapes). Triangles that share an edge or a
    corner only touch.

    Args:
        uvs: (T, 3, 2) corners; empty triangles overlap nothing.
        tolerance: Interpenetration that still counts as touching, in texture sides.

    Returns:
        (N, 2) indices, smaller first.
    """
    side_a, side_b = uvs[:, 1] - uvs[:, 0], uvs[:, 2] - uvs[:, 0]
    area = side_a[:, 0] * side_b[:, 1] - side_a[:, 1] * side_b[:, 0]
    index = np.flatnonzero(np.abs(area) > 1e-14)
    corners = np.where(area[index, None, None] > 0, uvs[index], uvs[index][:, ::-1])
    found = []
    for first, second in _candidates(corners):
        one, two = corners[first], corners[second]
        depth = np.minimum(_penetration(one, two), _penetration(two, one))
        hit = depth > tolerance
        found.append(np.stack([index[first[hit]], index[second[hit]]], axis=1))
    if not found:
        return np.empty((0, 2), np.int64)
    return np.unique(np.sort(np.concatenate(found), axis=1), axis=0)


def _candidates(corners: Floats):
    """Yield (first, second) index arrays of triangles whose boxes meet, in bounded portions."""
    low, high = corners.min(axis=1), corners.max(axis=1)
    size = max(float(np.median((high - low).max(axis=1))) * 2, 1e-4)
    first_cell = np.floor(low / size).astype(np.int64)
    span = np.floor(high / size).astype(np.int64) - first_cell + 1
    count = span.prod(axis=1)
    owner = np.repeat(np.arange(len(corners)), count)
    number = np.arange(len(owner)) - np.repeat(np.cumsum(count) - count, count)
    cell = first_cell[owner] + np.stack([number % span[owner, 0], number // span[owner, 0]], 1)
    key = cell[:, 1] * (1 << 24) + cell[:, 0]
    order = np.argsort(key, kind="stable")
    owner, key = owner[order], key[order]
    # Compare each entry with the one `step` places later while both lie in the same cell.
    step = 1
    alive = np.arange(len(owner))
    while True:
        alive = alive[alive + step < len(owner)]
        alive = alive[key[alive] == key[alive + step]]
        if not len(alive):
            return
        one, two = owner[alive], owner[alive + step]
        meet = ((low[one] < high[two]) & (low[two] < high[one])).all(axis=1)
        yield one[meet], two[meet]
        step += 1


def _penetration(one: Floats, two: Floats) -> Floats:
    """How deep (N, 3, 2) triangles ``two`` reach over the nearest-to-separating edge of ``one``."""
    edge = np.roll(one, -1, axis=1) - one
    inward = np.stack([-edge[..., 1], edge[..., 0]], axis=-1)
    inward /= np.maximum(np.linalg.norm(inward, axis=-1, keepdims=True), 1e-300)
    offset = two[:, None, :, :] - one[:, :, None, :]
    reach = (offset * inward[:, :, None, :]).sum(axis=-1).max(axis=2)
    return reach.min(axis=1)
