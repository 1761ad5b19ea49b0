"""Tangent-space normal maps in the convention of glTF and Blender (MikkTSpace).

Tangents follow Mikkelsen 2008: at each corner the direction in which u grows is laid into the plane of
the vertex normal, corners that share place and texture coordinate are averaged by their angle, and in
between both vectors are interpolated without making them unit again.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from ..surface.topology import split_faces
from .pack import Atlas
from .surface_map import SurfaceMap

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

FINEST = 160  # cells along a fine mesh's longest side, at most, to remember its normals in


def corner_tangents(positions: Floats, normals: Floats, faces: Ints, uvs: Floats) -> Floats:
    """(T, 3, 3) unit tangent at each corner of the triangles that ``split_faces`` makes.

    Args:
        positions: (V, 3).
        normals: (V, 3) unit, those that the surface is shaded with.
        faces: (F, K).
        uvs: (F, K, 2), v up, not mirrored.
    """
    triangles, flat = split_faces(faces), split_faces(uvs)
    place, normal = positions[triangles], normals[triangles]
    e1, e2 = place[:, 1] - place[:, 0], place[:, 2] - place[:, 0]
    d1, d2 = flat[:, 1] - flat[:, 0], flat[:, 2] - flat[:, 0]
    by_u = e1 * d2[:, 1:] - e2 * d1[:, 1:]
    along = _unit(by_u)[:, None] - normal * (normal * _unit(by_u)[:, None]).sum(-1, keepdims=True)
    chance_to_stop()
    # The angle at each corner, seen along the vertex normal.
    ahead, back = np.roll(place, -1, axis=1) - place, np.roll(place, 1, axis=1) - place
    ahead = _unit(ahead - normal * (normal * ahead).sum(-1, keepdims=True))
    back = _unit(back - normal * (normal * back).sum(-1, keepdims=True))
    angle = np.arccos(np.clip((ahead * back).sum(-1), -1, 1))
    pull = _unit(along) * angle[..., None]

    grid = np.round(flat.astype(np.float64) * (1 << 20)).astype(np.int64)
    key = np.stack([triangles.ravel(), grid[..., 0].ravel() * (1 << 21) + grid[..., 1].ravel()], 1)
    chance_to_stop()
    order = np.lexsort((key[:, 1], key[:, 0]))
    chance_to_stop()
    fresh = np.append(True, (np.diff(key[order], axis=0) != 0).any(axis=1))
    group = np.empty(len(key), np.int64)
    group[order] = np.cumsum(fresh) - 1
    flat_pull = pull.reshape(-1, 3)
    total = np.stack([np.bincount(group, flat_pull[:, axis]) for axis in range(3)], axis=1)
    return _unit(total).astype(np.float32)[group].reshape(-1, 3, 3)


def tangent_normals(
    surface: SurfaceMap,
    positions: Floats,
    normals: Floats,
    faces: Ints,
    atlas: Atlas,
    wanted: Floats,
) -> NDArray[np.uint8]:
    """Write down which way a surface is to look, relative to how its mesh is shaded.

    Args:
        surface: The atlas's map.
        positions: (V, 3).
        normals: (V, 3) unit, those that the surface is shaded with.
        faces: (F, K).
        atlas: Where the faces lie.
        wanted: (S * S, 3) unit normals behind the map's texels.

    Returns:
        (S, S, 3) uint8, +X right, +Y up, +Z outward; 128, 128, 255 is the mesh's own normal.
    """
    tangent = surface.of_corners(corner_tangents(positions, normals, faces, atlas.uvs))
    normal = surface.of_vertices(normals)
    chance_to_stop()
    other = np.cross(normal, tangent)
    # Rows of the inverse frame, up to a common factor.
    map_x = (np.cross(other, normal) * wanted).sum(axis=1)
    map_y = (np.cross(normal, tangent) * wanted).sum(axis=1)
    map_z = (np.cross(tangent, other) * wanted).sum(axis=1)
    chance_to_stop()
    local = np.stack([map_x, map_y, map_z], axis=1)
    flip = (tangent * np.cross(other, normal)).sum(axis=1, keepdims=True) < 0
    local = _unit(np.where(flip, -local, local))
    local[:, 2] = np.maximum(local[:, 2], 0.05)  # a map cannot look back into the surface
    local = _unit(local)
    local[~np.isfinite(local).all(axis=1)] = [0, 0, 1]
    side = surface.covered.shape
    return (local * 127.5 + 128).astype(np.uint8).reshape(*side, 3)


def normals_of_mesh(positions: Floats, normals: Floats) -> Callable[[Floats], Floats]:
    """A fine mesh's normals, to ask for at any point close to it.

    They are gathered in a grid of cells about as large as its faces and read back in between.

    Args:
        positions: (V, 3) vertices of the fine mesh, everywhere about equally dense.
        normals: (V, 3) unit.

    Returns:
        A function from (N, 3) points to (N, 3) unit normals; 0 far away from the mesh.
    """
    low, high = positions.min(axis=0), positions.max(axis=0)
    extent = float((high - low).max())
    # Of a closed surface, about six sides of a cube, the vertices lie this far apart.
    cell = max(extent / FINEST, 1.2 * extent * np.sqrt(3 / max(len(positions), 1)))
    counts = np.ceil((high - low) / cell).astype(np.int64) + 3
    grid = np.zeros((int(counts.prod()), 3), np.float64)
    for corner, weight in _corners(positions, low, cell, counts):
        for axis in range(3):
            grid[:, axis] += np.bincount(corner, weight * normals[:, axis], len(grid))

    def ask(points: Floats) -> Floats:
        total = np.zeros((len(points), 3))
        for corner, weight in _corners(points, low, cell, counts):
            total += grid[corner] * weight[:, None]
        return _unit(total).astype(np.float32)

    return ask


def _corners(points: Floats, low: Floats, cell: float, counts: NDArray[np.int64]):
    """Yield flat index and weight of each of the eight grid points around points."""
    spot = np.clip((points - low) / cell + 1, 0, counts - 1.001)
    base = spot.astype(np.int64)
    part = spot - base
    for number in range(8):
        chance_to_stop()
        step = np.array([number >> 2 & 1, number >> 1 & 1, number & 1])
        weight = np.where(step, part, 1 - part).prod(axis=1)
        index = base + step
        yield (index[:, 0] * counts[1] + index[:, 1]) * counts[2] + index[:, 2], weight


def _unit(vectors: NDArray) -> NDArray:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)
