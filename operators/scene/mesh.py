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


def is_sound(arrays: MeshArrays) -> bool:
    """Whether Blender may use a mesh as it is; runs on the worker thread.

    False for corners that name no vertex, faces that use a vertex twice in a row or in opposite
    corners, and positions or UVs that are not finite: Blender's own check finds and mends those,
    but takes a quarter of a second on the main thread.
    """
    corners, sizes = arrays.corners, arrays.face_sizes
    if corners.size == 0 or corners.min() < 0 or corners.max() >= len(arrays.positions):
        return False
    if sizes.min() < 3 or sizes.max() > 4:
        return False
    if not (np.isfinite(arrays.positions).all() and np.isfinite(arrays.corner_uvs).all()):
        return False
    starts = face_starts(sizes)
    triangles, quads = starts[sizes == 3], starts[sizes == 4]
    pairs = [(0, 1), (1, 2), (0, 2)]
    folded = any((corners[triangles + a] == corners[triangles + b]).any() for a, b in pairs)
    pairs += [(0, 3), (1, 3), (2, 3)]
    return not folded and not any(
        (corners[quads + a] == corners[quads + b]).any() for a, b in pairs
    )


def face_starts(face_sizes: NDArray[np.int32]) -> NDArray[np.int32]:
    """Index of each face's first corner."""
    starts = np.zeros(len(face_sizes), np.int32)
    np.cumsum(face_sizes[:-1], out=starts[1:])
    return starts


def mesh_from_arrays(arrays: MeshArrays, name: str, *, is_checked: bool = False) -> bpy.types.Mesh:
    """Make a smooth mesh with one UV map; the caller links it to an object.

    Args:
        arrays: Geometry and UVs.
        name: Wanted name.
        is_checked: ``is_sound`` has said yes, so Blender need not check again.
    """
    mesh = bpy.data.meshes.new(name)
    fill_mesh(mesh, arrays, is_checked=is_checked)
    return mesh


def fill_mesh(
    mesh: bpy.types.Mesh,
    arrays: MeshArrays,
    *,
    is_checked: bool = False,
    uv_name: str = "UVMap",
) -> None:
    """Put geometry and UVs into a mesh that has none; its name and materials stay.

    Everything goes in as whole arrays, and into the attributes themselves: writing the same through
    ``vertices`` and ``loops`` takes a hundred times as long.
    """
    mesh.vertices.add(len(arrays.positions))
    mesh.loops.add(len(arrays.corners))
    mesh.polygons.add(len(arrays.face_sizes))
    positions = opencv_to_blender_points(arrays.positions).ravel()
    mesh.attributes["position"].data.foreach_set("vector", positions)
    corners = np.ascontiguousarray(arrays.corners)
    mesh.attributes[".corner_vert"].data.foreach_set("value", corners)
    mesh.polygons.foreach_set("loop_start", face_starts(arrays.face_sizes))

    uv_map = mesh.uv_layers.new(name=uv_name)
    assert uv_map is not None  # only the ninth map of a mesh is refused
    uv_map.uv.foreach_set("vector", np.ascontiguousarray(arrays.corner_uvs).ravel())

    if not is_checked and mesh.validate():
        logger.warning("%s: Blender had to repair the mesh, so its arrays were wrong", mesh.name)
    mesh.update(calc_edges=True)
    mesh.shade_smooth()


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
