"""What the artist sees and sets."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from . import networks, photos, preferences, properties, refine, sidebar

CLASSES = (
    properties.ImageToMeshSettings,
    preferences.ImageToMeshPreferences,
    sidebar.IMAGE_TO_MESH_PT_main,
    sidebar.IMAGE_TO_MESH_PT_cut_out,
    sidebar.IMAGE_TO_MESH_PT_output,
    networks.IMAGE_TO_MESH_PT_models,
    refine.IMAGE_TO_MESH_PT_refine,
    *photos.CLASSES,
)


def register() -> None:
    for cls in CLASSES:
        bpy.utils.register_class(cls)
    settings = bpy.props.PointerProperty(type=properties.ImageToMeshSettings)
    bpy.types.Scene.image_to_mesh = settings
    photos.register()


def unregister() -> None:
    photos.unregister()
    del bpy.types.Scene.image_to_mesh
    for cls in reversed(CLASSES):
        bpy.utils.unregister_class(cls)
