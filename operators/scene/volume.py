"""Volumes that follow a mesh."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy


def add_volume(scene: bpy.types.Scene, obj: bpy.types.Object, voxels: int) -> bpy.types.Object:
    """Add a volume that Blender fills from ``obj`` whenever that changes; nothing is selected.

    Args:
        scene: Takes it when ``obj`` is in no collection.
        obj: A mesh object.
        voxels: Voxels along the diagonal of its bounding box.
    """
    name = f"{obj.name} Volume"
    volume = bpy.data.objects.new(name, bpy.data.volumes.new(name))
    for collection in obj.users_collection or (scene.collection,):
        collection.objects.link(volume)
    # A child with the parent's own place: it moves along, and the modifier works in its space.
    volume.parent = obj
    modifier = volume.modifiers.new("From Mesh", "MESH_TO_VOLUME")
    modifier.object = obj
    modifier.resolution_mode = "VOXEL_AMOUNT"
    modifier.voxel_amount = voxels
    modifier.density = 1.0
    # Deep enough to fill the inside; the modifier's default is a thin shell.
    size = obj.dimensions
    modifier.interior_band_width = max(size.x, size.y, size.z) or 1.0
    return volume
