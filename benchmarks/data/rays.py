"""What a pinhole camera sees of a triangle mesh, exactly, by ray casting."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from embreex import rtcore_scene
from embreex.mesh_construction import TriangleMesh
from numpy.typing import NDArray

MISS = -1


@dataclass(frozen=True, slots=True)
class Hits:
    """First and last surface along the ray of every pixel centre, in camera axes (OpenCV).

    Attributes:
        mask: (H, W) True where the ray meets the mesh.
        front: (H, W) float32 depth along the view axis of the first hit; 0 where there is none.
        back: (H, W) float32 depth of the last hit; 0 where there is none.
        normals: (H, W, 3) float32 unit face normal at the first hit, turned towards the camera;
            0 where there is none.
    """

    mask: NDArray[np.bool_]
    front: NDArray[np.float32]
    back: NDArray[np.float32]
    normals: NDArray[np.float32]


def pixel_rays(fov_x: float, width: int, height: int) -> NDArray[np.float32]:
    """Give the ray through every pixel centre, scaled to z = 1.

    Args:
        fov_x: Horizontal field of view in radians; the principal point is the middle.
        width: Pixels.
        height: Pixels.

    Returns:
        (H, W, 3), x right, y down, z forward.
    """
    focal = width / 2 / np.tan(fov_x / 2)
    rays = np.ones((height, width, 3), np.float32)
    rays[..., 0] = (np.arange(width) + 0.5 - width / 2) / focal
    rays[..., 1] = ((np.arange(height) + 0.5 - height / 2) / focal)[:, None]
    return rays


def cast(triangles: NDArray[np.floating], directions: NDArray[np.float32]) -> Hits:
    """Cast one ray per pixel from the origin, and one back from behind everything.

    Args:
        triangles: (T, 3, 3) corners in the camera frame, in front of the camera.
        directions: (H, W, 3) rays scaled to z = 1, such as ``pixel_rays`` gives.
    """
    height, width = directions.shape[:2]
    scene = rtcore_scene.EmbreeScene(robust=True)  # pyright: ignore[reportAttributeAccessIssue]
    TriangleMesh(scene, np.ascontiguousarray(triangles, np.float32))
    rays = np.ascontiguousarray(directions, np.float32).reshape(-1, 3)
    far = np.float32(2 * triangles[..., 2].max())
    first = scene.run(np.zeros_like(rays), rays, output=True)
    last = scene.run(rays * far, -rays, output=True)
    hit = (first["primID"] != MISS) & (last["primID"] != MISS)
    front = np.where(hit, first["tfar"], 0)
    back = np.where(hit, far - last["tfar"], 0)
    normals = first["Ng"] / np.maximum(np.linalg.norm(first["Ng"], axis=1, keepdims=True), 1e-30)
    normals *= -np.sign((normals * rays).sum(1, keepdims=True))
    normals[~hit] = 0
    return Hits(
        hit.reshape(height, width),
        front.reshape(height, width).astype(np.float32),
        np.maximum(back, front).reshape(height, width).astype(np.float32),
        normals.reshape(height, width, 3).astype(np.float32),
    )
