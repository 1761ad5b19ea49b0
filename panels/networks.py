"""The Models panel: which network runs at each stage, and why."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from ..inference.hub.catalogue import Task
from ..inference.hub.weights import installed_ids
from ..inference.machine.memory import free_memory
from ..inference.networks.choice import Choice, Kind, choose_all
from ..operators.options import ReconstructionOptions
from ..operators.photos.options import ImageToMeshPhotos
from ..operators.preferences import models_folder, preferred_device
from .progress import draw_wrapped

SHOWN: tuple[Task, ...] = ("cut-out", "pick", "depth", "object", "upscale", "inpaint")
KINDS: dict[str, Kind] = {"AUTO": "unknown", "OBJECT": "object", "SCENE": "scene"}


def choices(settings: ReconstructionOptions) -> dict[Task, Choice]:
    """What would run at each stage with the settings as they are."""
    wanted: dict[Task, str] = {task: getattr(settings, property_name(task)) for task in SHOWN}
    is_filled = settings.use_fill_behind and not settings.is_solid
    return _chosen(wanted, KINDS[settings.engine], is_filled)


def views_choice(photos: ImageToMeshPhotos) -> Choice:
    """What would place the cameras of photos with the settings as they are."""
    return _chosen({"views": photos.views_model}, "unknown")["views"]


def _chosen(wanted: dict[Task, str], kind: Kind, is_filled: bool = True) -> dict[Task, Choice]:
    installed = installed_ids(models_folder())
    memory = free_memory(preferred_device().lower(), may_wait=False)
    names: dict[Task, str] = {
        task: name.lower() if name.isupper() else name for task, name in wanted.items()
    }
    return choose_all(names, installed, memory, kind, is_filled)


def property_name(task: Task) -> str:
    """The setting that chooses the network of a stage."""
    return f"{task.replace('-', '_')}_model"


def draw_choice(layout: bpy.types.UILayout, context: bpy.types.Context, choice: Choice) -> None:
    """Say what runs and why."""
    draw_wrapped(layout, context, choice.sentence, "BLANK1" if choice.is_possible else "ERROR")


class IMAGE_TO_MESH_PT_models(bpy.types.Panel):
    bl_idname = "IMAGE_TO_MESH_PT_models"
    bl_label = "Models"
    bl_space_type = "VIEW_3D"
    bl_region_type = "UI"
    bl_category = "Image to Mesh"
    bl_parent_id = "IMAGE_TO_MESH_PT_main"
    bl_options = {"DEFAULT_CLOSED"}

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        settings = context.scene.image_to_mesh
        for task, choice in choices(settings).items():
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            column.prop(settings, property_name(task))
            draw_choice(column, context, choice)  # pyright: ignore[reportArgumentType]
        drawing = layout.column(align=True)
        drawing.use_property_split = True
        drawing.use_property_decorate = False
        for name in ("seed", "variants", "steps", "guidance"):
            drawing.prop(settings, name)
        row = layout.row()
        row.operator("image_to_mesh.free_memory", icon="TRASH")
        button = row.operator("preferences.addon_show", text="Get Models", icon="PREFERENCES")
        button.module = __name__.rsplit(".", 2)[0]
