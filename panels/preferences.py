"""Facts about this computer, kept out of the .blend: the device, the models and where they are."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import importlib.util
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..inference.contracts import Failed, Progress
from ..inference.hub import weights
from ..inference.hub.catalogue import CATALOGUE, TASKS, ModelEntry, models_for
from ..inference.machine.memory import device_words, likely_memory
from ..inference.networks.choice import lacks_package, recommended
from ..operators import session
from ..operators.options import DEVICES
from ..operators.preferences import (
    BEST,
    RESULT_SHADINGS,
    default_models_folder,
    models_folder,
    network_refusal,
    preferred_device,
)

ROOT_PACKAGE = __name__.rsplit(".", 2)[0]  # bl_ext.<repository>.image_to_mesh
NEEDED = {"torch": "PyTorch", "cv2": "OpenCV", "safetensors": "safetensors"}
DOWNLOADER = "huggingface_hub"


def missing_packages() -> list[str]:
    """Names of the packages that a run would miss; looks for them without importing them."""
    return [label for name, label in NEEDED.items() if importlib.util.find_spec(name) is None]


def size_text(size: int | None) -> str:
    """Bytes as people read them."""
    if size is None:
        return "size unknown"
    return f"{size / 1e9:.1f} GB" if size >= 1e9 else f"{size / 1e6:.0f} MB"


def licence_text(entry: ModelEntry) -> str:
    """The licence, with a warning when it forbids commercial use."""
    return entry.licence if entry.is_commercial else f"{entry.licence}: NON-COMMERCIAL"


def status_text(entry: ModelEntry, status: weights.Status) -> str:
    """What of a model is there."""
    to_fetch = f"{size_text(entry.size)} to download" if entry.size else "To download, size unknown"
    return {
        "installed": f"Installed, {size_text(status.size)}",
        "partial": f"{size_text(status.size)} of {size_text(entry.size)} have arrived",
        "damaged": "A file was lost or changed: download again",
        "missing": to_fetch,
    }[status.state]


class ImageToMeshPreferences(bpy.types.AddonPreferences):
    """Device, folder and models."""

    bl_idname = ROOT_PACKAGE

    device: EnumProperty(
        name="Device",
        description="Where networks run",
        items=DEVICES,
        default="AUTO",
    )
    use_frame_result: BoolProperty(
        name="Frame the Result",
        description="Turn the 3D view that a run was started from to its result",
        default=True,
    )
    result_shading: EnumProperty(
        name="Show the Result",
        description="Switch a 3D view from grey Solid shading to this when the first result arrives in"
        " it; what you choose afterwards stays",
        items=RESULT_SHADINGS,
        default="TEXTURE",
    )
    models_folder: StringProperty(
        name="Models Folder",
        description="Where networks that you download are kept; empty means Blender's folder for"
        " this extension, which is deleted with it. The built-in network needs none",
        subtype="DIR_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        column = layout.column()
        column.use_property_split = True
        column.use_property_decorate = False
        column.prop(self, "device")
        shown = column.row()
        shown.enabled = False
        shown.label(text=f"Runs on {device_words(self.device.lower())}")
        column.prop(self, "use_frame_result")
        column.prop(self, "result_shading")
        column.prop(self, "models_folder", placeholder=default_models_folder())
        _draw_models(layout)  # pyright: ignore[reportArgumentType]
        missing = missing_packages()
        if missing:
            row = layout.row()
            row.alert = True
            row.label(
                text=f"{' and '.join(missing)} not found: install the full zip for your system",
                icon="ERROR",
            )
        else:
            layout.label(text="PyTorch and OpenCV are installed", icon="CHECKMARK")


def _draw_models(layout: bpy.types.UILayout) -> None:
    """All models with licence and size, before anything is fetched."""
    header = layout.row()
    header.label(text="Models: all optional, downloaded only when you press the button")
    header.operator("image_to_mesh.free_memory", icon="TRASH")
    refusal = network_refusal()
    if refusal is not None:
        layout.label(text=refusal, icon="INTERNET_OFFLINE")
    if importlib.util.find_spec(DOWNLOADER) is None:
        text = f"Download needs the Python package {DOWNLOADER}, which the full zip brings; Use File does not"
        layout.label(text=text, icon="INFO")
    for package in sorted({entry.package for entry in CATALOGUE if lacks_package(entry)}):
        text = f"Most models need the Python package {package}, which the full zip brings"
        layout.label(text=text, icon="INFO")
    event = session.last_event
    if isinstance(event, Failed) and "model" in session.last_settings:
        row = layout.row()
        row.alert = True
        row.label(text=event.message, icon="ERROR")
    folder = models_folder()
    _draw_best(layout, folder)
    for task, title in TASKS.items():
        box = layout.box()
        box.label(text=title)
        for entry in models_for(task):
            if entry.task == task:
                _draw_model(box, entry, weights.status(entry, folder))


def _draw_best(layout: bpy.types.UILayout, folder: Path) -> None:
    """What Auto would take on this computer, with one button for all of it."""
    found = recommended(likely_memory(preferred_device().lower()))
    missing = [entry for entry in found if weights.status(entry, folder).state != "installed"]
    box = layout.box()
    names = ", ".join(entry.label for entry in found)
    box.label(text=f"Best for this computer: {names}", icon="SOLO_ON")
    if session.is_running() and session.last_settings.get("model") == BEST:
        running = session.running()
        fraction = running.fraction if running is not None else 0.0
        row = box.row(align=True)
        row.progress(factor=fraction, type="BAR", text=running.stage if running is not None else "")
        row.operator("image_to_mesh.cancel", icon="CANCEL")
    elif not missing:
        box.label(text="All of it is installed", icon="CHECKMARK")
    else:
        size = size_text(sum(entry.size or 0 for entry in missing))
        text = f"Get the Best for This Computer ({size})"
        box.operator("image_to_mesh.download_best", text=text, icon="IMPORT")


def _draw_model(layout: bpy.types.UILayout, entry: ModelEntry, status: weights.Status) -> None:
    column = layout.column(align=True)
    row = column.row()
    facts = row.row()
    facts.label(text=entry.label, icon="CHECKMARK" if status.state == "installed" else "BLANK1")
    licence = facts.row()
    licence.alert = not entry.is_commercial
    licence.label(text=licence_text(entry), icon="NONE" if entry.is_commercial else "ERROR")
    facts.label(text=status_text(entry, status))
    buttons = row.row(align=True)
    if session.is_running() and session.last_settings.get("model") == entry.id:
        event = session.last_event
        progress = event if isinstance(event, Progress) else Progress(0.0, "Starting")
        column.progress(factor=progress.fraction, type="BAR", text=progress.stage)
        buttons.operator("image_to_mesh.cancel", icon="CANCEL")
        return
    if status.state == "installed":
        buttons.operator("image_to_mesh.verify_model", icon="FILE_TICK").model = entry.id
    else:
        text = "Go On" if status.state == "partial" else "Download"
        button = buttons.operator("image_to_mesh.download_model", text=text, icon="IMPORT")
        button.model = entry.id
        button = buttons.operator("image_to_mesh.use_model_file", text="", icon="FILE_FOLDER")
        button.model = entry.id
    if status.state != "missing":
        button = buttons.operator("image_to_mesh.delete_model", text="", icon="TRASH")
        button.model = entry.id
    buttons.operator("wm.url_open", text="", icon="URL").url = entry.page
    detail = column.row()
    detail.enabled = False
    detail.label(text=entry.good_at, icon="BLANK1")
    if entry.caveat:
        caveat = column.row()
        caveat.enabled = False
        caveat.label(text=entry.caveat, icon="BLANK1")
