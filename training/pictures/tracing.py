"""Ray casting: cameras, things in a world, and what a ray meets."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex.mesh_construction import TriangleMesh
from embreex.rtcore_scene import EmbreeScene
from numpy.typing import NDArray

from ..shapes.meshes import Mesh
from .materials import Material

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Camera:
    """A square pinhole camera.

    Attributes:
        position: (3,) in the world (z up).
        axes: (3, 3) rows are the camera's x (right), y (down) and z (forward) in the world.
        half: Tangent of half the field of view.
        size: Pixels along a side.
    """

    position: Floats
    axes: Floats
    half: float
    size: int

    def rays(self) -> Floats:
        """Give (size * size, 3) world directions whose length makes ray parameter = z-depth."""
        u = ((np.arange(self.size) + 0.5) / self.size * 2 - 1) * self.half
        x, y = np.meshgrid(u, u)
        local = np.stack([x, y, np.ones_like(x)], -1).reshape(-1, 3)
        return (local @ self.axes).astype(np.float32)

    def up(self) -> Floats:
        """Give the world's up in the camera's axes."""
        return self.axes[:, 2].astype(np.float32)


def look(position: Floats, target: Floats, roll: float) -> Floats:
    """Build camera axes (rows x, y, z) that look at a target, turned by ``roll`` radians."""
    forward = target - position
    forward = forward / np.linalg.norm(forward)
    right = np.cross(forward, [0.0, 0.0, 1.0])
    right = right / (np.linalg.norm(right) + 1e-9)
    down = np.cross(forward, right)
    c, s = np.cos(roll), np.sin(roll)
    return np.stack([c * right + s * down, c * down - s * right, forward]).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Thing:
    """A mesh, painted or not, placed in the world: x_world = x @ linear.T + offset."""

    mesh: Mesh
    material: Material | None
    linear: Floats
    offset: Floats

    def world_vertices(self) -> Floats:
        return (self.mesh.vertices @ self.linear.T + self.offset).astype(np.float32)


@dataclass(frozen=True, slots=True)
class Hits:
    """What N rays met first: ``distance`` is in ray lengths, inf for nothing."""

    distance: Floats
    face: NDArray[np.int64]
    bary: Floats
    normal: Floats


class Tracer:
    """Rays against several things at once."""

    def __init__(self, things: list[Thing]) -> None:
        self._things = things
        corners = [thing.world_vertices()[thing.mesh.faces] for thing in things]
        counts = [len(c) for c in corners]
        self._first = np.cumsum([0, *counts])
        self._triangles = np.ascontiguousarray(np.concatenate(corners), dtype=np.float32)
        self._scene = EmbreeScene()
        TriangleMesh(self._scene, self._triangles)

    def first(self, origins: Floats, directions: Floats) -> Hits:
        """Find the first surface along each ray; normals face the ray's origin."""
        out = self._scene.run(
            np.ascontiguousarray(origins, np.float32),
            np.ascontiguousarray(directions, np.float32),
            output=True,
        )
        face = out["primID"].astype(np.int64)
        is_hit = face >= 0
        normal = out["Ng"]
        normal = normal / (np.linalg.norm(normal, axis=1, keepdims=True) + 1e-12)
        away = (normal * directions).sum(1) > 0
        normal[away] *= -1
        return Hits(
            np.where(is_hit, out["tfar"], np.inf).astype(np.float32),
            face,
            np.column_stack([out["u"], out["v"]]).astype(np.float32),
            normal.astype(np.float32),
        )

    def blocked(self, origins: Floats, directions: Floats) -> NDArray[np.bool_]:
        """Say which rays meet anything."""
        if len(origins) == 0:
            return np.zeros(0, bool)
        return (
            self._scene.run(
                np.ascontiguousarray(origins, np.float32),
                np.ascontiguousarray(directions, np.float32),
            )
            >= 0
        )

    def surface(
        self, hits: Hits, points: Floats
    ) -> tuple[Floats, Floats, Floats, Floats, NDArray[np.int64]]:
        """Describe hit surfaces; all rays given must have hit. Unpainted things are black.

        Returns:
            (N, 3) albedo, (N, 3) shading normals, (N,) roughness, (N,) metal, (N,) a number that
            differs between parts.
        """
        count = len(points)
        albedo = np.zeros((count, 3), np.float32)
        normals = hits.normal.copy()
        roughness, metal = np.ones(count, np.float32), np.zeros(count, np.float32)
        label = np.zeros(count, np.int64)
        which = np.searchsorted(self._first, hits.face, side="right") - 1
        for index, thing in enumerate(self._things):
            mine = np.flatnonzero(which == index)
            material = thing.material
            if len(mine) == 0 or material is None:
                continue
            face = hits.face[mine] - self._first[index]
            inverse = np.linalg.inv(thing.linear).astype(np.float32)
            local = (points[mine] - thing.offset) @ inverse.T
            local_normal = hits.normal[mine] @ thing.linear
            length = np.linalg.norm(local_normal, axis=1, keepdims=True)
            local_normal = local_normal / (length + 1e-9)
            albedo[mine] = material.albedo(face, hits.bary[mine], local, local_normal)
            normals[mine] = material.shading_normals(local, hits.normal[mine])
            part = thing.mesh.parts[face]
            roughness[mine] = material.roughness[part]
            metal[mine] = material.metal[part]
            label[mine] = part + 1000 * (index + 1)
        return albedo, normals, roughness, metal, label
