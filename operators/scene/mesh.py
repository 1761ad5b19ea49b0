"""Mesh arrays to Blender meshes."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import logging

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import MeshArrays
from .axes import opencv_to_blender_points

logger = logging.getLogger(__name__)


def mesh_from_arrays(arrays: MeshArrays, name: str) -> bpy.types.Mesh:
    """Make a smooth mesh with one UV map; the caller links it to an object.

    Everything goes in through foreach_set: writing three million UVs one by one takes seconds, and
    writing them at once takes milliseconds.
    """
    mesh = bpy.data.meshes.new(name)
    faces = len(arrays.face_sizes)
    starts = np.zeros(faces, np.int32)
    np.cumsum(arrays.face_sizes[:-1], out=starts[1:])

    mesh.vertices.add(len(arrays.positions))
    mesh.vertices.foreach_set("co", opencv_to_blender_points(arrays.positions).ravel())
    mesh.loops.add(len(arrays.corners))
    mesh.loops.foreach_set("vertex_index", np.ascontiguousarray(arrays.corners))
    mesh.polygons.add(faces)
    mesh.polygons.foreach_set("loop_start", starts)

    uv_map = mesh.uv_layers.new(name="UVMap")
    assert uv_map is not None  # only the ninth map of a mesh is refused
    uv_map.uv.foreach_set("vector", np.ascontiguousarray(arrays.corner_uvs).ravel())

    mesh.update(calc_edges=True)
    if mesh.validate():
        logger.warning("%s: Blender had to repair the mesh, so its arrays were wrong", name)
    mesh.shade_smooth()
    return mesh


def colour_vertices(
    mesh: bpy.types.Mesh, arrays: MeshArrays, base_color: NDArray[np.uint8]
) -> None:
    """Give each vertex the texture's colour there, for files that cannot hold textures.

    Args:
        mesh: Made from ``arrays``.
        arrays: Its geometry and UVs.
        base_color: (H, W, 3) uint8 sRGB, row 0 on top.
    """
    height, width = base_color.shape[:2]
    columns = np.clip(arrays.corner_uvs[:, 0] * width, 0, width - 1).astype(np.int32)
    rows = np.clip((1.0 - arrays.corner_uvs[:, 1]) * height, 0, height - 1).astype(np.int32)
    colours = np.ones((len(arrays.positions), 4), np.float32)
    colours[arrays.corners, :3] = base_color[rows, columns].astype(np.float32) / 255.0
    layer = mesh.color_attributes.new("Color", "BYTE_COLOR", "POINT")
    layer.data.foreach_set("color_srgb", colours.ravel())
