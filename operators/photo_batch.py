"""Many sets of photos, or many clips, become files."""

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ..inference.contracts import Progress, Reconstruction
from ..inference.errors import ImageToMeshError, OutputError
from ..inference.job import Job
from ..inference.views.contracts import (
    PICTURE_FOLDERS,
    VIDEO_EXTENSIONS,
    ViewsReconstruction,
    ViewsRequest,
)
from . import session
from .batch import LOG_NAME, Assignment, Outcome, Plan, carry_out, plan_outputs
from .export import SUFFIXES
from .generate import cursor_progress
from .import_picture import EXTENSIONS
from .options import DEVICES
from .photo_options import PhotoOptions, SharedOptions
from .photos import ViewsWork, photos_request, provenance, settings_of
from .preferences import preferred_device
from .scene.build import Built
from .scene.photos import add_views


def photo_sets(path: Path) -> list[Path]:
    """The sets of photos and the clips at a place.

    A video is a set, and so is a folder with photos, also where they lie in a sub-folder that is
    named for it. Any other folder is one of sets: its sub-folders with photos, and its videos.

    Raises:
        OutputError: When there is nothing of the kind.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise OutputError(f"{path} does not exist: give a folder of photos or a video.")
    if _has_photos(path) or any(_has_photos(path / name) for name in PICTURE_FOLDERS):
        return [path]
    inside = sorted(path.iterdir())
    sets = [p for p in inside if p.is_file() and p.suffix.lower() in VIDEO_EXTENSIONS]
    for folder in inside:
        if folder.is_dir() and not folder.name.startswith("."):
            own = [folder / name for name in ("", *PICTURE_FOLDERS)]
            if any(_has_photos(place) or _has_video(place) for place in own):
                sets.append(folder)
    if not sets:
        raise OutputError(f"There are no photos and no videos in {path}: give another folder.")
    return sets


def _has_photos(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in EXTENSIONS for p in folder.iterdir())


def _has_video(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in VIDEO_EXTENSIONS for p in folder.iterdir())


def convert_photos(
    plans: Sequence[Plan],
    template: ViewsRequest,
    file_format: str,
    *,
    overwrite: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    on_progress: Callable[[float, str], None] = lambda _fraction, _stage: None,
) -> list[Outcome]:
    """Turn sets of photos into files; as ``batch.carry_out``.

    Args:
        plans: Each picture of a plan is a folder of photos or a video.
        template: The settings; its inputs are replaced by each set.
        file_format: A key of ``export.SUFFIXES``.
        overwrite: Replace files that are in the way.
        on_outcome: Called after each set.
        on_progress: Called with the finished share of the whole and the stage in words.
    """

    def assign(plan: Plan) -> Assignment:
        request = replace(template, inputs=(plan.picture,))
        work = ViewsWork(keeps_models=True)
        settings = settings_of(request)

        def build(scene: bpy.types.Scene, result: Reconstruction) -> Built:
            assert isinstance(result, ViewsReconstruction)
            layer = scene.view_layers[0]
            return add_views(
                scene, layer, result, work.prepared, provenance(result, request), with_points=False
            )

        return Assignment(
            settings,
            lambda: _fingerprint(plan.picture),
            lambda show: session.run(Job(request, work.run), show, settings),
            build,
        )

    return carry_out(
        plans,
        assign,
        file_format,
        overwrite=overwrite,
        on_outcome=on_outcome,
        on_progress=on_progress,
    )


def _fingerprint(path: Path) -> str:
    """Of names, sizes and times: reading hundreds of photos only to compare them takes too long."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        facts = file.stat()
        digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class IMAGE_TO_MESH_OT_batch_photos(PhotoOptions, SharedOptions, bpy.types.Operator):
    """Turn every set of photos and every clip of a folder into a file.

    Waits until all are done. A bad set is logged in the output folder's ``batch.jsonl`` and the
    rest go on; calling it again goes on where it stopped.
    """

    bl_idname = "image_to_mesh.batch_photos"
    bl_label = "Photos to Mesh Batch"
    bl_description = "Turn every set of photos and every clip of a folder into a mesh file"
    bl_options = {"INTERNAL"}

    directory: StringProperty(
        name="Photos",
        description="Folder of photos, or folder that holds such folders and clips",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )
    output: StringProperty(
        name="Output",
        description="Folder for the results; made when it does not exist",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )
    format: EnumProperty(
        name="Format",
        description="File format of the results",
        items=[
            (name.upper(), name.upper(), f"Write {suffix}") for name, suffix in SUFFIXES.items()
        ],
        default="GLB",
        options={"SKIP_SAVE"},
    )
    device: EnumProperty(
        name="Device",
        description="Where networks run; Automatic follows the preferences",
        items=DEVICES,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    overwrite: BoolProperty(
        name="Overwrite",
        description="Replace files that are in the way, finished results included",
        default=False,
        options={"SKIP_SAVE"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = session.busy_reason()
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.directory or not self.output:
            self.report({"ERROR"}, "Give both folders: directory with photos, output for results.")
            return {"CANCELLED"}
        output = Path(bpy.path.abspath(self.output))
        device = preferred_device() if self.device == "AUTO" else self.device
        try:
            sets = photo_sets(Path(bpy.path.abspath(self.directory)))
            with cursor_progress(context) as show:
                outcomes = convert_photos(
                    plan_outputs(sets, output),
                    photos_request(self, (), (), device),
                    self.format.lower(),
                    overwrite=self.overwrite,
                    on_progress=lambda fraction, stage: show(Progress(fraction, stage)),
                )
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "error")}
        self.report(
            {"WARNING" if counts["error"] else "INFO"},
            f"{counts['done']} made, {counts['skipped']} kept, {counts['error']} failed: see"
            f" {output / LOG_NAME}",
        )
        return {"FINISHED"}


CLASSES = (IMAGE_TO_MESH_OT_batch_photos,)
