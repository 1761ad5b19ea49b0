"""What the artist sees and sets."""

from __future__ import annotations

import bpy

from . import preferences, properties, sidebar

_register_classes, _unregister_classes = bpy.utils.register_classes_factory(
    (
        properties.ImageToMeshSettings,
        preferences.ImageToMeshPreferences,
        sidebar.IMAGE_TO_MESH_PT_main,
        sidebar.IMAGE_TO_MESH_PT_cut_out,
        sidebar.IMAGE_TO_MESH_PT_output,
    )
)


def register() -> None:
    _register_classes()
    settings = bpy.props.PointerProperty(type=properties.ImageToMeshSettings)
    bpy.types.Scene.image_to_mesh = settings  # pyright: ignore[reportAttributeAccessIssue]


def unregister() -> None:
    del bpy.types.Scene.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]
    _unregister_classes()
