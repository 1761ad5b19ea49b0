"""Install, check and remove downloaded networks. Nothing is fetched before the artist asks for it."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import bpy
from bpy.props import EnumProperty, StringProperty

from ..inference.contracts import Done, News
from ..inference.errors import ImageToMeshError
from ..inference.hub import weights
from ..inference.hub.catalogue import CATALOGUE, ModelEntry, model
from ..inference.machine.memory import likely_memory
from ..inference.networks.choice import recommended
from ..inference.running.job import Job
from . import session, worker
from .cursor import cursor_progress
from .preferences import BEST, models_folder, network_refusal, preferred_device

ITEMS = tuple((entry.id, entry.label, entry.good_at) for entry in CATALOGUE)
WEIGHTS_FILES = "*.safetensors;*.pth;*.pt;*.ckpt;*.bin"


@dataclass(frozen=True, slots=True)
class _ModelTask:
    """What to do with one model.

    Attributes:
        entry: The model.
        folder: The models folder.
        source: The artist's file; None when there is none.
        forbidden: Why nothing may be fetched; None when it may.
    """

    entry: ModelEntry
    folder: Path
    source: Path | None = None
    forbidden: str | None = None


def _download(task: _ModelTask, report: worker.Report) -> News:
    weights.download(task.entry, task.folder, report, task.forbidden)
    return News((f"{task.entry.label} is installed.",))


def _use_file(task: _ModelTask, report: worker.Report) -> News:
    assert task.source is not None
    weights.use_file(task.entry, task.source, task.folder, report)
    return News((f"{task.entry.label} is installed from {task.source.name}.",))


def _verify(task: _ModelTask, report: worker.Report) -> News:
    weights.forget_verified()
    weights.verify(task.entry, task.folder, report)
    return News((f"{task.entry.label} is what was installed.",))


class _ModelOperator(session.WhileIdle):
    """What the operators below share."""

    model: EnumProperty(
        name="Model",
        description="Which model",
        items=ITEMS,
        options={"SKIP_SAVE"},
    )

    def _run(
        self,
        context: bpy.types.Context,
        task: _ModelTask,
        run: Callable[[_ModelTask, worker.Report], News],
        work: str,
        *,
        wait: bool,
    ) -> set[str]:
        started = time.perf_counter()
        job, settings = Job(task, run), {"model": task.entry.id}
        if not wait:
            label = task.entry.label
            session.start(job, _told, settings, f"{label} is being {work}", title=label)
            return {"FINISHED"}
        with cursor_progress(context) as progress:
            event = session.run(job, progress, settings)
        failed = session.conclude(event, _told, time.perf_counter() - started)
        if failed is not None:
            self.report({"ERROR"}, failed.message)
        return {"FINISHED"} if isinstance(event, Done) and failed is None else {"CANCELLED"}


def _told(result: session.Result, _seconds: float) -> tuple[str, ...]:
    assert isinstance(result, News)
    return result.lines


class IMAGE_TO_MESH_OT_download_model(_ModelOperator, bpy.types.Operator):
    """Download a model, or go on where a download stopped."""

    bl_idname = "image_to_mesh.download_model"
    bl_label = "Download"
    bl_description = (
        "Download this model, or go on where its download stopped. Cancel keeps what has arrived"
    )
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        entry = model(self.model)
        if entry.is_commercial:
            return self._start(context, wait=False)
        return context.window_manager.invoke_props_dialog(self, title="Non-Commercial Licence")

    def draw(self, context: bpy.types.Context) -> None:
        entry = model(self.model)
        column = self.layout.column(align=True)
        column.label(text=f"The licence of {entry.label} is {entry.licence}:", icon="ERROR")
        column.label(text="what you make with it may not be sold or used for pay", icon="BLANK1")

    def execute(self, context: bpy.types.Context) -> set[str]:
        # The dialog's button calls this too, and must not stop Blender for the whole download.
        return self._start(context, wait=bpy.app.background)

    def _start(self, context: bpy.types.Context, *, wait: bool) -> set[str]:
        task = _ModelTask(model(self.model), models_folder(), forbidden=network_refusal())
        return self._run(context, task, _download, "downloaded", wait=wait)


@dataclass(frozen=True, slots=True)
class _BestTask:
    """The models that are still missing of the best for this computer."""

    entries: tuple[ModelEntry, ...]
    folder: Path
    forbidden: str | None


def best_missing(folder: Path) -> tuple[ModelEntry, ...]:
    """Models that Auto would take on this computer and that are not installed."""
    memory = likely_memory(preferred_device().lower())
    found = recommended(memory)
    return tuple(entry for entry in found if weights.status(entry, folder).state != "installed")


def _download_all(task: _BestTask, report: worker.Report) -> News:
    whole = sum(entry.size or 1 for entry in task.entries)
    done = 0
    for entry in task.entries:
        size, before = entry.size or 1, done

        def tell(share: float, stage: str, name: str = entry.label) -> None:
            report((before + share * size) / whole, f"{name}: {stage}")  # noqa: B023 - called at once

        weights.download(entry, task.folder, tell, task.forbidden)
        done += size
    return News((f"Installed: {', '.join(entry.label for entry in task.entries)}.",))


class IMAGE_TO_MESH_OT_download_best(session.WhileIdle, bpy.types.Operator):
    """Download what Auto would take on this computer."""

    bl_idname = "image_to_mesh.download_best"
    bl_label = "Get the Best for This Computer"
    bl_description = (
        "Download the models that Auto would take at each stage on this computer. Only such as may be"
        " used commercially. Cancel keeps what has arrived"
    )
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        folder = models_folder()
        task = _BestTask(best_missing(folder), folder, network_refusal())
        if not task.entries:
            self.report({"INFO"}, "The best models for this computer are installed")
            return {"CANCELLED"}
        started = time.perf_counter()
        job, settings = Job(task, _download_all), {"model": BEST}
        if not bpy.app.background:
            work = "The best models are being downloaded"
            session.start(job, _told, settings, work, title=self.bl_label)
            return {"FINISHED"}
        with cursor_progress(context) as progress:
            event = session.run(job, progress, settings)
        failed = session.conclude(event, _told, time.perf_counter() - started)
        if failed is not None:
            self.report({"ERROR"}, failed.message)
        return {"FINISHED"} if isinstance(event, Done) and failed is None else {"CANCELLED"}


class IMAGE_TO_MESH_OT_use_model_file(_ModelOperator, bpy.types.Operator):
    """Install a model from a file that is already there."""

    bl_idname = "image_to_mesh.use_model_file"
    bl_label = "Use File"
    bl_description = (
        "Install this model from a file or folder that you already have. It stays where it is, and"
        " takes no space twice where the disk can link files"
    )
    bl_options = {"INTERNAL"}

    filepath: StringProperty(
        name="File",
        description="The model's .safetensors, .pth, .pt or .ckpt file, or the folder with its files",
        subtype="FILE_PATH",
        options={"SKIP_SAVE"},
    )
    filter_glob: StringProperty(default=WEIGHTS_FILES, options={"HIDDEN"})

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        context.window_manager.fileselect_add(self)
        return {"RUNNING_MODAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        source = Path(bpy.path.abspath(self.filepath))
        task = _ModelTask(model(self.model), models_folder(), source)
        return self._run(context, task, _use_file, "installed", wait=bpy.app.background)


class IMAGE_TO_MESH_OT_verify_model(_ModelOperator, bpy.types.Operator):
    """Read a model's files again and compare their hash."""

    bl_idname = "image_to_mesh.verify_model"
    bl_label = "Check"
    bl_description = "Read this model's files and make sure that they are what was installed"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        task = _ModelTask(model(self.model), models_folder())
        return self._run(context, task, _verify, "checked", wait=bpy.app.background)


class IMAGE_TO_MESH_OT_delete_model(_ModelOperator, bpy.types.Operator):
    """Remove a model's files."""

    bl_idname = "image_to_mesh.delete_model"
    bl_label = "Delete"
    bl_description = "Remove this model's files from the models folder; a half download too"
    bl_options = {"INTERNAL"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return context.window_manager.invoke_confirm(
            self, event, title=f"Delete {model(self.model).label}?", confirm_text="Delete"
        )

    def execute(self, context: bpy.types.Context) -> set[str]:
        worker.free_models()  # a network in memory may hold its file open
        try:
            weights.delete(model(self.model), models_folder())
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        session.forget()
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_free_memory(session.WhileIdle, bpy.types.Operator):
    """Drop all downloaded networks from memory."""

    bl_idname = "image_to_mesh.free_memory"
    bl_label = "Free Memory Now"
    bl_description = "Drop downloaded networks from the graphics card's memory and the main memory"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        worker.free_models()
        self.report({"INFO"}, "The networks' memory is free again")
        return {"FINISHED"}


CLASSES = (
    IMAGE_TO_MESH_OT_download_model,
    IMAGE_TO_MESH_OT_download_best,
    IMAGE_TO_MESH_OT_use_model_file,
    IMAGE_TO_MESH_OT_verify_model,
    IMAGE_TO_MESH_OT_delete_model,
    IMAGE_TO_MESH_OT_free_memory,
)
