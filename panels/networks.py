"""The Models panel: which network runs at each stage, and why."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from ..inference.hub.catalogue import TASKS, Task, model, models_for
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


def plain_line(chosen: dict[Task, Choice]) -> str:
    """One line for all stages at which what is built in runs anyway."""
    plain = [TASKS[task] for task, choice in chosen.items() if choice.is_plain]
    if not plain:
        return ""
    if len(plain) == len(chosen):
        return "All of it is built in: nothing has to be downloaded."
    return f"Built in: {', '.join(plain)}."


def seed_refusal(drawn: Choice, engine: str) -> str | None:
    """Why there is only one variant; None where another seed gives another result.

    Args:
        drawn: The network for whole things.
        engine: One of the identifiers of ``options.ENGINES``.
    """
    others = " and ".join(entry.label for entry in models_for("object") if entry.draws_by_seed)
    if engine == "SCENE":
        return "Scenes have one variant: no network draws them by seed."
    entry = model(drawn.model) if drawn.model is not None else None
    if entry is not None and entry.draws_by_seed:
        return None
    name = "The built-in network" if entry is None else entry.label
    return f"{name} has one variant: only {others} draws by seed, in steps."


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
        chosen = choices(settings)
        for task, choice in chosen.items():
            column = layout.column()
            column.use_property_split = True
            column.use_property_decorate = False
            column.prop(settings, property_name(task))
            if not choice.is_plain:
                draw_choice(column, context, choice)  # pyright: ignore[reportArgumentType]
        draw_wrapped(layout, context, plain_line(chosen), "BLANK1")  # pyright: ignore[reportArgumentType]
        drawing = layout.column(align=True)
        drawing.use_property_split = True
        drawing.use_property_decorate = False
        drawing.prop(settings, "seed")
        reason = seed_refusal(chosen["object"], settings.engine)
        by_seed = drawing.column(align=True)
        by_seed.enabled = reason is None
        for name in ("variants", "steps", "guidance"):
            by_seed.prop(settings, name)
        if reason is not None:
            draw_wrapped(layout, context, reason, "INFO")  # pyright: ignore[reportArgumentType]
        buttons = layout.column(align=True)
        buttons.operator("image_to_mesh.free_memory", icon="TRASH")
        button = buttons.operator("preferences.addon_show", text="Get Models", icon="PREFERENCES")
        button.module = __name__.rsplit(".", 2)[0]
