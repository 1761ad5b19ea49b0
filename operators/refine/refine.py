"""Shape a finished object again from what was kept with it."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import time
from dataclasses import dataclass

import bpy
from mathutils import Matrix

from ...inference.contracts import Detail, Done, Reconstruction, RefineRequest
from ...inference.errors import ImageToMeshError
from ...inference.running.job import Job
from .. import session
from ..cursor import cursor_progress
from ..scene.axes import opencv_to_blender_camera
from ..scene.camera import fit_clip_range
from ..scene.replace import Found, Replaced, refusal, replace_geometry
from ..worker import Refining
from . import live
from .shaping import is_scene, settings_of, shaping_of, words

PREVIEW = "preview"  # begins the words that a coarse mesh is made with
PREVIEW_TEXTURE = 512  # pixels; drawn within a second, and replaced by the fine result after it
UNDO_NAME = "Refine"

_refining: Job | None = None


@dataclass(frozen=True, slots=True)
class _Delivery:
    """Puts the result into the object that asked for it, if that is still there and as it was.

    Attributes:
        uid: Blender's number of the object.
        found: Its mesh when the work began.
        request: What was asked.
        work: What the worker does.
        next_request: What is to be asked next, where this is only a preview of it.
        use_undo_push: Whether an undo step is still to be made.
        earlier: What the preview's exchange did.
    """

    uid: int
    found: Found
    request: RefineRequest
    work: Refining
    next_request: RefineRequest | None
    use_undo_push: bool
    earlier: Replaced | None = None

    def finish(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        assert isinstance(result, Reconstruction)
        obj = object_with(self.uid)
        if bytes(settings_of(obj).archive) != self.request.archive:  # pyright: ignore[reportArgumentType]
            raise ImageToMeshError(
                f"{obj.name} was made from another picture meanwhile, and was left as it is."
            )
        done = replace_geometry(obj, result, self.work.prepared, self.found, self.earlier)
        settings = settings_of(obj)
        _move_camera(obj, result)
        made_with = words(self.request.shaping, self.request.detail, self.request.texture_size)
        settings.built = made_with if self.next_request is None else f"{PREVIEW} {made_with}"
        if (
            self.use_undo_push
        ):  # of a preview, too: undo takes whatever was pushed last for the present
            bpy.ops.ed.undo_push(message=UNDO_NAME)
        if self.next_request is not None:
            _start(obj, self.next_request, None, done)
            return ()
        faces = len(result.mesh.face_sizes)
        return (f"{obj.name}: refined, {faces:,} faces, {seconds:.1f} s", *done.notes())


def _move_camera(obj: bpy.types.Object, result: Reconstruction) -> None:
    """Where a scene has another size now, put its camera where it sees the scene as before."""
    settings, camera = settings_of(obj), settings_of(obj).camera
    if not is_scene(settings) or settings.built_size == settings.size_m:
        return
    settings.built_size = settings.size_m
    if camera is not None and camera.type == "CAMERA" and camera.library is None:
        seen_from = Matrix(opencv_to_blender_camera(result.camera.matrix).tolist())
        camera.matrix_world = obj.matrix_world @ seen_from
        fit_clip_range(camera.data, result.camera, result.mesh.positions)


def is_refining() -> bool:
    """Whether the running job is one of these."""
    return _refining is not None and session.is_job(_refining)


def start(uid: int) -> None:
    """Refine the object with ``session_uid`` ``uid``: a coarse preview, then the fine result.

    Raises:
        ImageToMeshError: When it is gone or cannot be refined now.
    """
    obj = object_with(uid)
    request = _request(obj)
    if request.detail == "low" and request.texture_size <= PREVIEW_TEXTURE:
        _start(obj, request, None)
        return
    preview = RefineRequest(request.archive, request.name, request.shaping, "low", PREVIEW_TEXTURE)
    _start(obj, preview, request)


def object_with(uid: int) -> bpy.types.Object:
    """Find an object by Blender's number for it, which survives undo and renaming.

    Raises:
        ImageToMeshError: When it has been deleted.
    """
    for obj in bpy.data.objects:
        if obj.session_uid == uid:
            return obj
    raise ImageToMeshError("The object was deleted, so there is nothing left to refine.")


def refine_refusal(obj: bpy.types.Object | None) -> str | None:
    """Why an object cannot be refined; None when it can."""
    if obj is None or obj.type != "MESH":
        return "Select an object that Image to Mesh has made"
    if not settings_of(obj).archive:
        return f"{obj.name} keeps nothing to refine from: only objects made of one picture do"
    return refusal(obj)


def _request(obj: bpy.types.Object) -> RefineRequest:
    reason = refine_refusal(obj)
    if reason is not None:
        raise ImageToMeshError(f"{reason}.")
    settings = settings_of(obj)
    detail: Detail = settings.detail.lower()
    archive = bytes(settings.archive)  # pyright: ignore[reportArgumentType]
    return RefineRequest(archive, obj.name, shaping_of(obj), detail, settings.texture_size)


def _start(
    obj: bpy.types.Object,
    request: RefineRequest,
    after: RefineRequest | None,
    earlier: Replaced | None = None,
) -> None:
    global _refining
    found = Found.of(obj)
    delivery = _Delivery(
        obj.session_uid, found, request, Refining(), after, use_undo_push=True, earlier=earlier
    )
    job = Job(request, delivery.work.run)
    session.start(job, delivery.finish, _settings(request), title=request.name)
    _refining = job


def _settings(request: RefineRequest) -> dict[str, object]:
    """What shapes the result, for the report."""
    shaping = {
        name: getattr(request.shaping, name) for name in request.shaping.__dataclass_fields__
    }
    return {"refine": shaping, "detail": request.detail, "texture_size": request.texture_size}


class IMAGE_TO_MESH_OT_refine(bpy.types.Operator):
    """Shape the active object again; no network runs.

    Pressed as a button it shows a coarse preview at once and works on in the background. Called from
    Python it waits for the result.
    """

    bl_idname = "image_to_mesh.refine"
    bl_label = "Refine"
    bl_description = (
        "Shape the active object or scene again with these settings. Transform, modifiers, vertex"
        " groups, material edits and name stay; edits of the mesh itself are lost"
    )
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = session.busy_reason() or refine_refusal(context.active_object)
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        try:
            start(context.active_object.session_uid)
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        return {"INTERFACE"}  # FINISHED would push an undo step before there is anything to undo

    def execute(self, context: bpy.types.Context) -> set[str]:
        started = time.perf_counter()
        obj = context.active_object
        assert obj is not None  # poll has looked
        request = _request(obj)
        found = Found.of(obj)
        delivery = _Delivery(obj.session_uid, found, request, Refining(), None, use_undo_push=False)
        with cursor_progress(context) as show:
            event = session.run(Job(request, delivery.work.run), show, _settings(request))
        failed = session.conclude(event, delivery.finish, time.perf_counter() - started)
        if failed is not None:
            self.report({"ERROR"}, failed.message)
        return {"FINISHED"} if isinstance(event, Done) and failed is None else {"CANCELLED"}


def register() -> None:
    live.register(start, is_refining)
