"""The Image to Mesh tab of the 3D view's sidebar. Draws only; nothing here changes anything."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import textwrap
from typing import Literal

import bpy

from ..inference.contracts import Cancelled, Failed, Progress
from ..operators import session
from ..operators.cut_out.belonging import mask_refusal, true_preview

PIXELS_PER_LETTER = 7.0  # of Blender's interface font at a scale of 1, a little generous
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
        if settings.picture is None:
            layout.label(text="Open or choose a picture", icon="INFO")
        layout.row().prop(settings, "engine", expand=True)
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(settings, "detail")
        if session.is_running():
            draw_progress(layout)  # pyright: ignore[reportArgumentType]
        else:
            button = layout.row()
            button.scale_y = 1.6
            button.context_pointer_set("image_to_mesh_panel", settings)  # lets poll tell why
            button.operator("image_to_mesh.generate", icon="MESH_MONKEY")
            _draw_news(layout, context)  # pyright: ignore[reportArgumentType]


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
        row = buttons.row(align=True)
        row.operator("image_to_mesh.new_mask", icon="BRUSH_DATA")
        row.operator("image_to_mesh.edit_mask", icon="GREASEPENCIL", text="Edit")
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
        layout.prop(settings, "fov_x")
        object_only = layout.column()
        object_only.enabled = settings.engine != "SCENE"
        for name in ("symmetry", "is_neural", "delight", "bump"):
            object_only.prop(settings, name)
        scene_only = layout.column()
        scene_only.enabled = settings.engine != "OBJECT"
        scene_only.prop(settings, "is_solid")
        filling = scene_only.row()
        filling.enabled = not settings.is_solid
        filling.prop(settings, "use_fill_behind")
        scene_only.prop(settings, "use_matched_render")


def draw_progress(layout: bpy.types.UILayout) -> None:
    """How far the running job is, and the buttons that end it."""
    event = session.last_event
    progress = event if isinstance(event, Progress) else Progress(0.0, "Starting")
    layout.progress(factor=progress.fraction, type="BAR", text=progress.stage)
    row = layout.row(align=True)
    row.operator("image_to_mesh.cancel", icon="CANCEL")
    if session.can_finish():
        row.operator("image_to_mesh.finish_now", icon="CHECKMARK")


def _draw_news(layout: bpy.types.UILayout, context: bpy.types.Context) -> None:
    event = session.last_event
    if isinstance(event, Failed):
        box = layout.box()
        draw_wrapped(box, context, event.message, icon="ERROR")
        box.operator("image_to_mesh.copy_report", icon="COPYDOWN")
    elif isinstance(event, Cancelled):
        layout.label(text="Cancelled", icon="INFO")
    elif session.last_summary:
        box = layout.box()
        for index, line in enumerate(session.last_summary):
            draw_wrapped(box, context, line, icon="BLANK1" if index else "CHECKMARK")


def draw_wrapped(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    text: str,
    icon: Literal["ERROR", "CHECKMARK", "BLANK1"],
) -> None:
    """Labels do not wrap by themselves and would cut a long sentence short."""
    scale = context.preferences.system.ui_scale
    letters = int(context.region.width / scale / PIXELS_PER_LETTER) - 6
    column = layout.column(align=True)
    for index, line in enumerate(textwrap.wrap(text, max(letters, 16))):
        column.label(text=line, icon="BLANK1" if index else icon)
