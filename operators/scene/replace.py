"""Put a new result into an object that exists, and leave all else about it as the artist made it."""

from __future__ import annotations

import bpy

from ...inference.contracts import Reconstruction
from ...inference.errors import ImageToMeshError
from .build import PreparedMesh
from .material import material_from_pngs
from .mesh import fill_mesh


def replace_geometry(obj: bpy.types.Object, result: Reconstruction, prepared: PreparedMesh) -> None:
    """Exchange the mesh's geometry and the material's images.

    Transform, name, modifiers, material settings and node edits stay. Images are found by the label
    of their nodes; where the artist has removed or exchanged one, it stays so.

    Raises:
        ImageToMeshError: When the object cannot take new geometry now.
    """
    mesh = obj.data
    reason = refusal(obj)
    if reason is not None or not isinstance(mesh, bpy.types.Mesh):
        raise ImageToMeshError(f"{reason}.")
    mesh.clear_geometry()
    fill_mesh(mesh, result.mesh, is_checked=prepared.is_mesh_sound)
    material, images = material_from_pngs(result.name, result.material, prepared.material)
    try:
        for label, new in _images_by_label(material).items():
            for slot in obj.material_slots:
                old = _images_by_label(slot.material).get(label)
                if old is not None and old is not new and old.packed_file is not None:
                    _exchange(old, new)
                    images.remove(new)
                    break
    finally:
        bpy.data.batch_remove([material, *images])


def refusal(obj: bpy.types.Object) -> str | None:
    """Why an object cannot take new geometry; None when it can."""
    if not isinstance(obj.data, bpy.types.Mesh):
        return f"{obj.name} is no longer a mesh"
    if obj.library is not None or obj.data.library is not None:
        return f"{obj.name} is linked from another file: make it local first"
    if obj.mode != "OBJECT":
        return f"Leave {obj.name}'s {obj.mode.replace('_', ' ').title()} Mode first"
    if obj.data.shape_keys is not None:
        return f"{obj.name} has shape keys, which new geometry would break: remove them first"
    return None


def _images_by_label(material: bpy.types.Material | None) -> dict[str, bpy.types.Image]:
    tree = material.node_tree if material is not None else None
    if tree is None:
        return {}
    return {
        node.label: node.image
        for node in tree.nodes
        if isinstance(node, bpy.types.ShaderNodeTexImage) and node.label and node.image is not None
    }


def _exchange(old: bpy.types.Image, new: bpy.types.Image) -> None:
    """Replace an image wherever it is used; packing it anew would go on showing what is decoded."""
    name = old.name
    old.user_remap(new)
    bpy.data.images.remove(old)
    new.name = name
