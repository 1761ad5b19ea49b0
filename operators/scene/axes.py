"""From the worker's axes (OpenCV: x right, y down, z forward) to Blender's (z up, -y front)."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

OPENCV_TO_BLENDER = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
BLENDER_TO_Y_UP = np.array(
    [[1.0, 0.0, 0.0, 0.0], [0.0, 0.0, 1.0, 0.0], [0.0, -1.0, 0.0, 0.0], [0.0, 0.0, 0.0, 1.0]]
)
# A Blender or glTF camera looks along its own -z with +y up; an OpenCV one along +z with +y down.
_LENS_FLIP = np.diag([1.0, -1.0, -1.0, 1.0])


def opencv_to_blender_points(points: NDArray[np.float32]) -> NDArray[np.float32]:
    """Turn (V, 3) world points into Blender's axes; handedness and face winding stay."""
    turned = np.empty_like(points)
    turned[:, 0] = points[:, 0]
    turned[:, 1] = points[:, 2]
    turned[:, 2] = -points[:, 1]
    return turned


def opencv_to_blender_camera(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn a (4, 4) camera-to-world matrix in OpenCV axes into a Blender camera's matrix_world."""
    return OPENCV_TO_BLENDER @ matrix @ _LENS_FLIP


def blender_to_opencv_camera(matrix: NDArray[np.float64]) -> NDArray[np.float64]:
    """Undo ``opencv_to_blender_camera``; a scaled camera object sees the same as an unscaled one."""
    turned = np.linalg.inv(OPENCV_TO_BLENDER) @ matrix @ _LENS_FLIP
    turned[:3, :3] /= np.linalg.norm(turned[:3, :3], axis=0)
    return turned
