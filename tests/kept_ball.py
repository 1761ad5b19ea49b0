"""What stays with an object that looks like a ball."""

from __future__ import annotations

import numpy as np
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.engines import archive as archives
from image_to_mesh.inference.field.observation import Observation, WorldFrame

SIZE = 48


def packed_ball() -> bytes:
    """A ball of half the crop's width, seen from the front, standing on the floor."""
    view = CropView.of(PinholeCamera(128, 128, 250.0), 0.0, 0.0, 128.0)
    steps = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(steps, steps)
    radius = np.hypot(x, y)
    z = np.sqrt(np.maximum(0.25 - radius**2, 0)).astype(np.float32)
    normals = np.stack([x, y, -np.maximum(z, 0.05)], axis=-1)
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    observation = Observation(
        view, -z, z, normals.astype(np.float32), np.array([0, -1, 0], np.float32),
        np.clip((0.5 - radius) * 20 + 0.5, 0, 1).astype(np.float32),
        np.full((SIZE, SIZE, 3), 0.6, np.float32),
    )  # fmt: skip
    frame = WorldFrame(np.eye(3), 1.0, np.array([0.0, -0.5, -view.distance]))
    return archives.pack(archives.Archive(observation, frame, "two-sided 1"))
