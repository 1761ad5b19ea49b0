"""The Image to Mesh tab of the 3D view's sidebar. Draws only; nothing here changes anything."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from ..operators.view.belonging import mask_refusal, true_preview
from .progress import draw_run, draw_wrapped
from .properties import ImageToMeshSettings

THUMBNAIL_SCALE = 8.0


class _SidebarPanel:
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Image to Mesh"


class IMAGE_TO_MESH_PT_main(_SidebarPanel, bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_main"
    bl_label = "Image to Mesh"

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.image_to_mesh
        layout.template_ID_preview(
            settings, "picture", open="image.open", rows=3, cols=6, hide_buttons=False
        )
        layout.row().prop(settings, "engine", expand=True)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "detail")

        def draw_button(row: bpy.types.UILayout) -> None:
            row.context_pointer_set("image_to_mesh_panel", settings)  # lets poll tell why
            row.operator("image_to_mesh.generate", text="Make Mesh", icon="MESH_MONKEY")

        draw_run(layout, context, draw_button, _hints(settings.picture))  # pyright: ignore[reportArgumentType]


def _hints(picture: bpy.types.Image | None) -> tuple[str, ...]:
    """What the artist is told before the first run."""
    if picture is None:
        return ("Open or choose a picture, or drop one into the view.",)
    return (f"{picture.name}, {picture.size[0]} x {picture.size[1]} pixels",)


class IMAGE_TO_MESH_PT_cut_out(_SidebarPanel, bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_cut_out"
    bl_label = "Cut-Out"
    bl_parent_id = "IMAGE_TO_MESH_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.image_to_mesh
        layout.prop(settings, "cut_out")
        row = layout.row()
        row.enabled = settings.cut_out in {"AUTO", "MASK"}
        row.template_ID(settings, "mask", open="image.open", text="Mask")
        if row.enabled and settings.mask is not None and settings.picture is not None:
            refusal = mask_refusal(settings.mask, settings.picture)
            if refusal is not None:
                draw_wrapped(layout, context, refusal, icon="ERROR")  # pyright: ignore[reportArgumentType]
        buttons = layout.column(align=True)
        buttons.operator("image_to_mesh.check_cutout", icon="HIDE_OFF")
        buttons.operator("image_to_mesh.pick_subject", icon="RESTRICT_SELECT_OFF")
        buttons.operator("image_to_mesh.new_mask", icon="BRUSH_DATA")
        buttons.operator("image_to_mesh.edit_mask", icon="GREASEPENCIL")
        preview = true_preview(settings)
        if preview is not None:
            icon = bpy.types.UILayout.icon(preview)
            layout.template_icon(icon_value=icon, scale=THUMBNAIL_SCALE)


class IMAGE_TO_MESH_PT_output(_SidebarPanel, bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_output"
    bl_label = "Output"
    bl_parent_id = "IMAGE_TO_MESH_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        settings = context.scene.image_to_mesh
        layout.prop(settings, "size_m")
        layout.prop(settings, "texture_size")
        layout.prop(settings, "field_of_view")
        if settings.field_of_view == "GIVEN":
            layout.prop(settings, "fov_x", text="Angle")
        if settings.engine != "SCENE":
            _draw_for_objects(layout, settings)  # pyright: ignore[reportArgumentType]
        if settings.engine != "OBJECT":
            _draw_for_scenes(layout, settings)  # pyright: ignore[reportArgumentType]


def _draw_for_objects(layout: bpy.types.UILayout, settings: ImageToMeshSettings) -> None:
    column = layout.column()
    column.label(text="For Objects")
    for name in ("symmetry", "is_neural", "delight", "bump"):
        column.prop(settings, name)


def _draw_for_scenes(layout: bpy.types.UILayout, settings: ImageToMeshSettings) -> None:
    column = layout.column()
    column.label(text="For Scenes")
    column.prop(settings, "is_solid")
    filling = column.row()
    filling.enabled = not settings.is_solid
    filling.prop(settings, "use_fill_behind")
    column.prop(settings, "use_matched_render")
