"""The Refine panel: change the shape of a finished object."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy


class IMAGE_TO_MESH_PT_refine(bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_refine"
    bl_label = "Refine"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Image to Mesh"
    bl_order = 10

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        obj = context.active_object
        return obj is not None and obj.type == "MESH" and bool(obj.image_to_mesh.archive)

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.active_object.image_to_mesh
        if settings.engine == "scene":
            _draw_scene(layout, settings)  # pyright: ignore[reportArgumentType]
        else:
            _draw_object(layout, settings)  # pyright: ignore[reportArgumentType]
        row = layout.row()
        row.operator("image_to_mesh.refine", icon="FILE_REFRESH")
        row.prop(settings, "is_live", text="", icon="PLAY", toggle=True)
        others = layout.row(align=True)
        others.operator("image_to_mesh.add_point_cloud", icon="OUTLINER_OB_POINTCLOUD")
        others.operator("image_to_mesh.add_volume", icon="OUTLINER_OB_VOLUME")


def _draw_object(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    shape = layout.column(align=True)
    for name in ("thickness", "depth_range", "smoothness", "cut_threshold", "level", "symmetry"):
        shape.prop(settings, name)
    turn = shape.row()
    turn.enabled = settings.symmetry == "X"
    turn.prop(settings, "turn")
    shape.prop(settings, "is_neural")
    look = layout.column(align=True)
    look.prop(settings, "delight")
    look.prop(settings, "bump")
    output = layout.column(align=True)
    for name in ("detail", "faces", "texture_size"):
        output.prop(settings, name)


def _draw_scene(layout: bpy.types.UILayout, settings: bpy.types.PropertyGroup) -> None:
    shape = layout.column(align=True)
    shape.prop(settings, "depth_range", text="Depth Range")
    jump = shape.row()
    jump.enabled = not settings.is_solid
    jump.prop(settings, "jump")
    shape.prop(settings, "smoothness")
    filling = shape.row()
    filling.enabled = not settings.is_solid
    filling.prop(settings, "use_fill_behind")
    shape.prop(settings, "is_solid")
    output = layout.column(align=True)
    for name in ("size_m", "detail", "texture_size"):
        output.prop(settings, name)
