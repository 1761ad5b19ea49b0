"""Many pictures become files. One after another, going on after a bad one, resuming."""

# pyright: reportAttributeAccessIssue=false
# FolderBatch has its properties from the operators that it is mixed into.

import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import bpy
from bpy.props import BoolProperty, EnumProperty, StringProperty

from ...inference.contracts import (
    Done,
    Event,
    Failed,
    PictureFile,
    Progress,
    Reconstruction,
    Request,
)
from ...inference.errors import ImageToMeshError
from ...inference.naming import shown
from ...inference.running.cost import StageClock
from ...inference.running.job import Job
from .. import session
from ..cursor import cursor_progress
from ..generate import provenance
from ..options import DEVICES, ReconstructionOptions
from ..preferences import chosen_device
from ..request import request_from, settings_from
from ..scene.build import Built, add_reconstruction
from ..worker import Reconstructing, free_models
from .export import write_result
from .failures import OutputUnusable, refusals_as_errors
from .formats import SUFFIXES
from .inputs import files_behind, picture_fingerprint, pictures_in
from .lock import lock_folder
from .log import append, log_path
from .names import Plan, plan_outputs
from .records import earlier_result
from .staging import Permission, ids_of, sweep

BUG_WORDS = "hit a bug"


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of one picture.

    Attributes:
        picture: The picture's path as given.
        output: The main file, None when there is none.
        status: "done", "skipped" (made by an earlier run) or "error".
        seconds: What it took.
        faces: Faces of the mesh; 0 without one.
        message: A sentence, empty when there is nothing to say.
        details: The traceback of an unexpected failure, else empty.
    """

    picture: str
    output: str | None
    status: str
    seconds: float
    faces: int
    message: str
    details: str = ""


@dataclass(frozen=True, slots=True)
class Assignment:
    """How one plan is carried out.

    Attributes:
        settings: Everything that shapes the result except the pictures, ready for JSON.
        fingerprint: Tells one of the pictures as they are now; another one means that they have
            changed since.
        run: Reconstructs and waits; returns the last event.
        fingerprint_read: Tells the same of the pictures as ``run`` has read them.
        build: Puts the result into a scene of its own.
    """

    settings: dict[str, object]
    fingerprint: Callable[[], str]
    run: Callable[[Callable[[Progress], None]], Event]
    fingerprint_read: Callable[[Reconstruction], str]
    build: Callable[[bpy.types.Scene, Reconstruction], Built]


Assign = Callable[[Plan], Assignment]


def of_pictures(template: Request) -> Assign:
    """Assign each plan's picture to the pipeline, with the template's settings."""

    def assign(plan: Plan) -> Assignment:
        request = replace(template, source=PictureFile(plan.picture))
        work = Reconstructing(keeps_models=True)
        settings = settings_from(request)

        def build(scene: bpy.types.Scene, result: Reconstruction) -> Built:
            return add_reconstruction(
                scene,
                scene.view_layers[0],
                result,
                work.prepared,
                provenance(result, request),
                use_matched_render=True,
            )

        return Assignment(
            settings,
            lambda: picture_fingerprint(plan.picture),
            lambda show: session.run(Job(request, work.run), show, settings),
            lambda result: result.picture_sha256 or picture_fingerprint(plan.picture),
            build,
        )

    return assign


def carry_out(
    plans: Sequence[Plan],
    assign: Assign,
    file_format: str,
    *,
    overwrite: bool = False,
    on_outcome: Callable[[Outcome], None] = lambda _outcome: None,
    on_progress: Callable[[float, str], None] = lambda _fraction, _stage: None,
) -> list[Outcome]:
    """Turn inputs into files, one after another, and log each in ``batch.jsonl``.

    The open file is left as it was: every result is built in a scene of its own and removed again.

    Args:
        plans: From ``plan_outputs``.
        assign: Says how a plan is carried out; may raise, which is that plan's failure.
        file_format: A key of ``formats.SUFFIXES``.
        overwrite: Replace files that are in the way, the pictures themselves excepted. Without it
            a result made earlier with the same settings is kept, and any other file in the way is
            an error for its picture.
        on_outcome: Called after each picture.
        on_progress: Called with the finished share of the whole and the stage in words.

    Returns:
        One outcome per picture.

    Raises:
        OutputUnusable: When the output folder cannot be written to, the disk is full, or another
            batch is at work there.
    """
    outcomes: list[Outcome] = []
    pictures = ids_of(p for plan in plans for p in files_behind(plan.picture, plan.folder))
    with ExitStack() as stack:
        stack.enter_context(refusals_as_errors())
        locks = {
            folder: stack.enter_context(lock_folder(folder))
            for folder in sorted({plan.folder for plan in plans})
        }
        for folder, lock in locks.items():
            if lock.is_certain:
                sweep(folder)
        stack.callback(free_models)
        for index, plan in enumerate(plans):

            def show(progress: Progress, done: int = index, name: str = plan.picture_name) -> None:
                on_progress((done + progress.fraction) / len(plans), f"{name}: {progress.stage}")

            locks[plan.folder].require()
            unusable: OutputUnusable | None = None
            try:
                permission = Permission(overwrite, protected=pictures)
                outcome = _convert_one(plan, assign, file_format, permission, show)
            except OutputUnusable as error:
                unusable = error
                outcome = Outcome(str(plan.picture), None, "error", 0.0, 0, str(error))
            outcomes.append(outcome)
            on_outcome(outcome)
            if unusable is not None:
                raise unusable
            _log(plan.folder, outcome)
    session.forget()
    return outcomes


def _convert_one(
    plan: Plan,
    assign: Assign,
    file_format: str,
    permission: Permission,
    show: Callable[[Progress], None],
) -> Outcome:
    started = time.perf_counter()

    def outcome(status: str, faces: int, message: str, details: str = "") -> Outcome:
        seconds = round(time.perf_counter() - started, 3)
        output = None if status == "error" else str(plan.file(SUFFIXES[file_format]))
        return Outcome(str(plan.picture), output, status, seconds, faces, message, details)

    try:
        assignment = assign(plan)
        if not permission.everything:
            earlier = earlier_result(plan, assignment.settings, file_format, assignment.fingerprint)
            if earlier is not None and earlier.is_kept:
                sentence = "Made by an earlier run with the same settings."
                return outcome("skipped", earlier.faces, sentence)
            if earlier is not None:
                permission = replace(permission, names=earlier.files)
        event = assignment.run(show)
        if isinstance(event, Failed):
            return outcome("error", 0, event.message, event.details)
        if not isinstance(event, Done):
            return outcome("error", 0, "The run was cancelled.")
        assert isinstance(event.result, Reconstruction)
        faces = _write(plan, assignment, event.result, file_format, permission, started)
        return outcome("done", faces, " ".join(event.result.notes))
    except OutputUnusable:
        raise
    except ImageToMeshError as error:
        return outcome("error", 0, str(error))
    except Exception:  # noqa: BLE001 - one bad picture must not end a night's work
        sentence = f"Image to Mesh {BUG_WORDS} while writing the result: send us the details."
        return outcome("error", 0, sentence, traceback.format_exc())


def _write(
    plan: Plan,
    assignment: Assignment,
    result: Reconstruction,
    file_format: str,
    permission: Permission,
    started: float,
) -> int:
    """Build a result in a scene of its own, write it, remove it all; returns its faces."""
    named = replace(result, name=plan.stem)
    clock = StageClock()
    clock.next("Building in Blender")
    scene = bpy.data.scenes.new(plan.stem)
    try:
        built = assignment.build(scene, named)
        try:
            record = {
                "picture": plan.picture_name,
                "picture_sha256": assignment.fingerprint_read(result),
                "settings": assignment.settings,
                "seconds": round(time.perf_counter() - started, 3),
            }
            write_result(plan, file_format, scene, built, named, record, clock, permission)
            mesh = built.object.data
            assert isinstance(mesh, bpy.types.Mesh)
            return len(mesh.polygons)
        finally:
            built.remove()
    finally:
        bpy.data.scenes.remove(scene)


def _log(folder: Path, outcome: Outcome) -> None:
    record = asdict(outcome)
    if BUG_WORDS not in outcome.message:  # whoever reads the log can act on any other sentence
        del record["details"]
    append(folder, record)


class FolderBatch(session.WhileIdle):
    """What the operators that turn a folder's inputs into files share.

    Waits until all are done. A bad input is logged in the output folder's ``batch.jsonl`` and the
    rest go on; calling it again goes on where it stopped.
    """

    inputs = ""  # what the folder holds, in words

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

    def find(self, folder: Path) -> Sequence[Path]:
        """The folder's inputs; an ``OutputError`` when there are none."""
        raise NotImplementedError

    def assigned(self, device: str) -> Assign:
        """How each of them is carried out."""
        raise NotImplementedError

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.directory or not self.output:
            self.report(
                {"ERROR"},
                f"Give both folders: directory with {self.inputs}, output for results.",
            )
            return {"CANCELLED"}
        output = Path(bpy.path.abspath(self.output))
        try:
            found = self.find(Path(bpy.path.abspath(self.directory)))
            with cursor_progress(context) as show:
                outcomes = carry_out(
                    plan_outputs(found, output),
                    self.assigned(chosen_device(self.device)),
                    self.format.lower(),
                    overwrite=self.overwrite,
                    on_progress=lambda fraction, stage: show(Progress(fraction, stage)),
                )
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        counts = {s: sum(o.status == s for o in outcomes) for s in ("done", "skipped", "error")}
        level = "WARNING" if counts["error"] else "INFO"
        self.report(
            {level},
            f"{counts['done']} made, {counts['skipped']} kept, {counts['error']} failed: see"
            f" {shown(str(log_path(output)))}",
        )
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_batch(FolderBatch, ReconstructionOptions, bpy.types.Operator):
    """Turn every picture of a folder into a file; see ``FolderBatch``."""

    bl_idname = "image_to_mesh.batch"
    bl_label = "Image to Mesh Batch"
    bl_description = "Turn every picture of a folder into a mesh file"
    bl_options = {"INTERNAL"}
    inputs = "pictures"

    directory: StringProperty(
        name="Pictures",
        description="Folder that holds the pictures",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )

    def find(self, folder: Path) -> Sequence[Path]:
        return pictures_in(folder)

    def assigned(self, device: str) -> Assign:
        return of_pictures(request_from(self, PictureFile(Path()), None, device))
