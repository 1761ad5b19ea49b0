"""The Photos & Video panel: the list of pictures, what became of each, and the button."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import json
from pathlib import Path

import bpy
import bpy.utils.previews

from ..inference.views.contracts import VIDEO_EXTENSIONS
from ..operators.photos.options import ImageToMeshPhotos
from .networks import draw_choice, views_choice
from .progress import draw_run, draw_wrapped

ICONS = {"NEW": "BLANK1", "USED": "CHECKMARK", "REMARK": "INFO", "LEFT_OUT": "ERROR"}
MOST_REMARKS = 8
LIST_SHARE = 0.65  # of the width; the preview has the rest
PREVIEW_SCALE = 4.0

_thumbnails: bpy.utils.previews.ImagePreviewCollection | None = None


def thumbnail(path: str) -> int:
    """Number of the icon that shows a file; Blender loads it when it is first drawn."""
    if _thumbnails is None or not Path(path).is_file():
        return 0
    if path not in _thumbnails:
        kind = "MOVIE" if path.lower().endswith(VIDEO_EXTENSIONS) else "IMAGE"
        _thumbnails.load(path, path, kind)
    return _thumbnails[path].icon_id


class IMAGE_TO_MESH_UL_photos(bpy.types.UIList):
    """One row for each photo, folder or video."""

    bl_idname = "IMAGE_TO_MESH_UL_photos"

    def draw_item(
        self, context, layout, data, item, icon, active_data, active_property, index=0, flags=0
    ) -> None:
        path = bpy.path.abspath(item.filepath)
        row = layout.row(align=True)
        number = thumbnail(path)
        if item.image is not None:
            row.label(text=item.image.name, icon_value=item.image.preview_ensure().icon_id)
        elif number:
            row.label(text=item.name, icon_value=number)
        else:
            row.label(text=item.name, icon="FILE_FOLDER" if Path(path).is_dir() else "ERROR")
        status = row.row()
        status.alignment = "RIGHT"  # else it takes half of the row from the name
        status.label(text="", icon=ICONS[item.status])


class IMAGE_TO_MESH_PT_photos(bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_photos"
    bl_label = "Photos & Video"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Image to Mesh"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        photos = context.scene.image_to_mesh_photos
        sides = layout.split(factor=LIST_SHARE)
        sides.template_list(
            IMAGE_TO_MESH_UL_photos.bl_idname, "", photos, "pictures", photos, "active", rows=5
        )
        _draw_preview(sides.column(), photos)
        buttons = layout.row(align=True)
        buttons.operator("image_to_mesh.add_photos", text="", icon="ADD")
        buttons.operator("image_to_mesh.add_loaded_photos", text="", icon="IMAGE_DATA")
        buttons.operator("image_to_mesh.remove_photo", text="", icon="REMOVE")
        buttons.separator()
        for direction, icon in (("UP", "TRIA_UP"), ("DOWN", "TRIA_DOWN")):
            button = buttons.operator("image_to_mesh.move_photo", text="", icon=icon)
            button.direction = direction
        buttons.operator("image_to_mesh.sort_photos", text="", icon="SORTALPHA")
        buttons.separator()
        buttons.operator("image_to_mesh.clear_photos", text="", icon="X")

        def draw_button(place: bpy.types.UILayout) -> None:
            place.context_pointer_set("image_to_mesh_photos_panel", photos)  # poll tells why
            place.operator("image_to_mesh.reconstruct_views", icon="OUTLINER_OB_CAMERA")

        draw_run(layout, context, draw_button, ("Add photos of one thing or place, or a video.",))
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(photos, "kind")
        column.prop(photos, "cameras")
        if photos.cameras == "TURNTABLE":
            column.prop(photos, "turn_step")
            column.prop(photos, "elevation")
        column.prop(photos, "masks")
        column.prop(photos, "surface")
        if photos.cameras in {"AUTO", "ESTIMATE"}:
            column.prop(photos, "views_model")
            draw_choice(column, context, views_choice(photos))
        column.prop(photos, "max_frames")
        column.prop(photos, "use_size")
        column.prop(photos, "is_measured")
        if photos.active < len(photos.pictures):
            item = photos.pictures[photos.active]
            if item.sentence:
                is_good = item.status in {"USED", "REMARK"}
                icon = "CHECKMARK" if is_good else "ERROR"
                draw_wrapped(layout, context, item.sentence, icon=icon)
        layout.operator("image_to_mesh.scale_to_distance", icon="DRIVER_DISTANCE")
        _draw_remarks(layout, context, photos.remarks)


def _draw_preview(layout: bpy.types.UILayout, photos: ImageToMeshPhotos) -> None:
    """The active picture beside the list; the place stays where there is none."""
    number = 0
    if photos.active < len(photos.pictures):
        item = photos.pictures[photos.active]
        if item.image is not None:
            number = item.image.preview_ensure().icon_id
        else:
            number = thumbnail(bpy.path.abspath(item.filepath))
    layout.template_icon(icon_value=number, scale=PREVIEW_SCALE)


def _draw_remarks(layout: bpy.types.UILayout, context: bpy.types.Context, text: str) -> None:
    """What became of pictures that have no row of their own, such as a video's frames."""
    remarks = json.loads(text) if text else []
    if not remarks:
        return
    box = layout.box()
    for name, is_used, sentence in remarks[:MOST_REMARKS]:
        icon = "CHECKMARK" if is_used else "ERROR"
        draw_wrapped(box, context, sentence or name, icon=icon)
    if len(remarks) > MOST_REMARKS:
        box.label(text=f"... and {len(remarks) - MOST_REMARKS} more")


CLASSES = (IMAGE_TO_MESH_UL_photos, IMAGE_TO_MESH_PT_photos)


def register() -> None:
    global _thumbnails
    _thumbnails = bpy.utils.previews.new()


def unregister() -> None:
    global _thumbnails
    if _thumbnails is not None:
        bpy.utils.previews.remove(_thumbnails)
    _thumbnails = None
