"""The camera that took the picture, as a Blender camera."""

from __future__ import annotations

import math

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ...inference.contracts import CameraArrays
from .axes import opencv_to_blender_camera


def camera_from_arrays(
    arrays: CameraArrays, name: str, background: bpy.types.Image, points: NDArray[np.float32]
) -> bpy.types.Object:
    """Make a camera object that sees the result as the picture did; the caller links it.

    Args:
        arrays: The matched camera.
        name: Wanted name of the object and its data.
        background: The picture, shown half transparent over the view through the camera.
        points: (V, 3) vertices in the worker's world frame, which the clip range must hold.
    """
    data = bpy.data.cameras.new(name)
    data.sensor_fit = "HORIZONTAL"  # fov_x holds for tall pictures too
    data.lens = data.sensor_width / 2.0 / math.tan(arrays.fov_x / 2.0)
    fit_clip_range(data, arrays, points)
    data.show_background_images = True
    layer = data.background_images.new()
    layer.image = background
    layer.alpha = 0.5
    layer.display_depth = "FRONT"
    layer.frame_method = "FIT"
    camera = bpy.data.objects.new(name, data)
    camera.matrix_world = Matrix(opencv_to_blender_camera(arrays.matrix).tolist())
    return camera


def fit_clip_range(
    data: bpy.types.Camera, arrays: CameraArrays, points: NDArray[np.float32]
) -> None:
    """Let a camera see all of a result, and be drawn in proportion to it."""
    near, far = _depth_range(arrays, points)
    data.clip_start = min(data.clip_start, near / 2.0)
    data.clip_end = max(data.clip_end, far * 10.0)
    data.display_size = max(0.1 * (near + far) / 2.0, 1e-3)


def match_render(scene: bpy.types.Scene, camera: bpy.types.Object, width: int, height: int) -> None:
    """Make a render of ``scene`` overlay the picture: its camera, its size, square pixels."""
    scene.camera = camera
    render = scene.render
    render.resolution_x = width
    render.resolution_y = height
    render.resolution_percentage = 100
    render.pixel_aspect_x = render.pixel_aspect_y = 1.0


def _depth_range(arrays: CameraArrays, points: NDArray[np.float32]) -> tuple[float, float]:
    """Nearest and farthest distance along the view axis, both above zero."""
    world_to_camera = np.linalg.inv(arrays.matrix)
    depth = points @ world_to_camera[2, :3] + world_to_camera[2, 3]
    near = max(float(depth.min(initial=1.0)), 1e-3)
    return near, max(float(depth.max(initial=1.0)), near)
