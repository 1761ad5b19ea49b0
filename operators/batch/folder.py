"""Many pictures become files. One after another, going on after a bad one, resuming."""

# pyright: reportAttributeAccessIssue=false
# FolderBatch has its properties from the operators that it is mixed into.

import hashlib
import json
import time
import traceback
from collections.abc import Callable, Sequence
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
from ...inference.errors import ImageToMeshError, OutputError
from ...inference.running.cost import StageClock
from ...inference.running.job import Job
from .. import session
from ..cursor import cursor_progress
from ..generate import provenance
from ..import_picture import EXTENSIONS
from ..options import DEVICES, ReconstructionOptions
from ..preferences import chosen_device
from ..request import request_from, settings_from
from ..scene.build import Built, add_reconstruction
from ..worker import Reconstructing, free_models
from .export import SUFFIXES, OutputUnusable, write_result, writing_to

LOG_NAME = "batch.jsonl"
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
class Plan:
    """One picture and where its result goes."""

    picture: Path
    folder: Path
    stem: str


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in alphabetical order.

    Raises:
        OutputError: When there is no such folder or no picture in it.
    """
    if not folder.is_dir():
        raise OutputError(f"{folder} is not a folder: give the folder that holds the pictures.")
    found = sorted(p for p in folder.iterdir() if p.suffix.lower() in EXTENSIONS and p.is_file())
    if not found:
        raise OutputError(f"There is no picture in {folder}: give a folder with pictures.")
    return found


def plan_outputs(pictures: Sequence[Path], folder: Path) -> list[Plan]:
    """Give every picture a file name of its own, even a.png beside a.jpg.

    Names are compared without case, because most file systems do.
    """
    stems = [picture.stem.casefold() for picture in pictures]
    taken: set[str] = set()
    plans = []
    for picture in pictures:
        stem = picture.stem
        if stems.count(stem.casefold()) > 1:
            stem = f"{picture.stem}_{picture.suffix.lstrip('.').lower()}"
        candidate, number = stem, 2
        while candidate.casefold() in taken:
            candidate, number = f"{stem}_{number}", number + 1
        taken.add(candidate.casefold())
        plans.append(Plan(picture, folder, candidate))
    return plans


@dataclass(frozen=True, slots=True)
class Assignment:
    """How one plan is carried out.

    Attributes:
        settings: Everything that shapes the result except the pictures, ready for JSON.
        fingerprint: Tells one of the pictures; another one means that they have changed.
        run: Reconstructs and waits; returns the last event.
        build: Puts the result into a scene of its own.
    """

    settings: dict[str, object]
    fingerprint: Callable[[], str]
    run: Callable[[Callable[[Progress], None]], Event]
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
            lambda: _fingerprint(plan.picture),
            lambda show: session.run(Job(request, work.run), show, settings),
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
        file_format: A key of ``export.SUFFIXES``.
        overwrite: Replace files that are in the way. Without it a result made earlier with the
            same settings is kept, and any other file in the way is an error for its picture.
        on_outcome: Called after each picture.
        on_progress: Called with the finished share of the whole and the stage in words.

    Returns:
        One outcome per picture.

    Raises:
        OutputUnusable: When the output folder cannot be written to or the disk is full.
    """
    outcomes: list[Outcome] = []
    try:
        for index, plan in enumerate(plans):

            def show(progress: Progress, done: int = index, name: str = plan.picture.name) -> None:
                on_progress((done + progress.fraction) / len(plans), f"{name}: {progress.stage}")

            with writing_to(plan.folder):
                plan.folder.mkdir(parents=True, exist_ok=True)
            unusable: OutputUnusable | None = None
            try:
                outcome = _convert_one(plan, assign, file_format, overwrite, show)
            except OutputUnusable as error:
                unusable = error
                outcome = Outcome(str(plan.picture), None, "error", 0.0, 0, str(error))
            outcomes.append(outcome)
            on_outcome(outcome)
            if unusable is not None:
                raise unusable
            _log(plan.folder, outcome)
    finally:
        free_models()
    session.forget()
    return outcomes


def _convert_one(
    plan: Plan,
    assign: Assign,
    file_format: str,
    overwrite: bool,
    show: Callable[[Progress], None],
) -> Outcome:
    started = time.perf_counter()

    def outcome(status: str, faces: int, message: str, details: str = "") -> Outcome:
        seconds = round(time.perf_counter() - started, 3)
        output = None if status == "error" else str(_main_file(plan, file_format))
        return Outcome(str(plan.picture), output, status, seconds, faces, message, details)

    try:
        assignment = assign(plan)
        earlier = None if overwrite else _earlier_result(plan, assignment, file_format)
        if earlier is not None:
            return outcome("skipped", earlier, "Made by an earlier run with the same settings.")
        event = assignment.run(show)
        if isinstance(event, Failed):
            return outcome("error", 0, event.message, event.details)
        if not isinstance(event, Done):
            return outcome("error", 0, "The run was cancelled.")
        assert isinstance(event.result, Reconstruction)
        faces = _write(plan, assignment, event.result, file_format, overwrite, started)
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
    overwrite: bool,
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
                "picture": plan.picture.name,
                "picture_sha256": assignment.fingerprint(),
                "settings": assignment.settings,
                "seconds": round(time.perf_counter() - started, 3),
            }
            write_result(
                plan.folder,
                plan.stem,
                file_format,
                scene,
                built,
                named,
                record,
                clock,
                overwrite=overwrite,
            )
            mesh = built.object.data
            assert isinstance(mesh, bpy.types.Mesh)
            return len(mesh.polygons)
        finally:
            built.remove()
    finally:
        bpy.data.scenes.remove(scene)


def _earlier_result(plan: Plan, assignment: Assignment, file_format: str) -> int | None:
    """Faces of the result an earlier run made with the same settings; None when there is none.

    Raises:
        OutputError: When something else is in the way.
    """
    main, sidecar = _main_file(plan, file_format), plan.folder / f"{plan.stem}.json"
    if not main.exists() and not sidecar.exists():
        return None
    record = _read_json(sidecar)
    if record.get("picture") != plan.picture.name:
        blocking = main if main.exists() else sidecar
        raise OutputError(
            f"{blocking} exists and was not made from {plan.picture.name}: choose another output"
            " folder or allow overwriting."
        )
    if record.get("format") != file_format:
        raise OutputError(
            f"{sidecar} belongs to a {record.get('format')} file made earlier: choose another"
            " output folder or allow overwriting."
        )
    if not main.exists():  # somebody deleted our result, so they want it anew
        sidecar.unlink()
        return None
    wanted = {
        "status": "done",
        "settings": json.loads(json.dumps(assignment.settings)),
        "picture_sha256": assignment.fingerprint(),
    }
    if any(record.get(key) != value for key, value in wanted.items()):
        raise OutputError(
            f"{main} was made with other settings or from an older {plan.picture.name}: choose"
            " another output folder or allow overwriting."
        )
    faces = record.get("faces", 0)
    return faces if isinstance(faces, int) else 0


def _main_file(plan: Plan, file_format: str) -> Path:
    return plan.folder / f"{plan.stem}{SUFFIXES[file_format]}"


def _read_json(path: Path) -> dict[str, object]:
    """A JSON object, or an empty one when the file is missing or something else."""
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return record if isinstance(record, dict) else {}


def _fingerprint(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _log(folder: Path, outcome: Outcome) -> None:
    record = asdict(outcome)
    if BUG_WORDS not in outcome.message:  # whoever reads the log can act on any other sentence
        del record["details"]
    with writing_to(folder), (folder / LOG_NAME).open("a", encoding="utf-8") as log:
        log.write(json.dumps(record, ensure_ascii=False) + "\n")


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
            f" {output / LOG_NAME}",
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
