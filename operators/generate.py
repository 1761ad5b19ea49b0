"""The big button: one picture becomes a mesh in the scene."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import json
import time
from dataclasses import dataclass, replace

import bpy
from bpy.props import EnumProperty, StringProperty
from mathutils import Matrix

from ..inference.contracts import (
    Done,
    PictureFile,
    PicturePixels,
    Reconstruction,
    Request,
    SceneShaping,
)
from ..inference.errors import ImageToMeshError, PictureError
from ..inference.naming import shown
from ..inference.running.job import Job
from . import session
from .cursor import cursor_progress
from .options import DEVICES, OPTION_NAMES, ReconstructionOptions, variants_property
from .preferences import chosen_device
from .refine import shaping
from .request import (
    image_named,
    request_from,
    settings_from,
    source_from_image,
    source_from_path,
)
from .scene.build import add_reconstruction
from .target import Target
from .versions import extension_version
from .view.belonging import WITH_MASK, checked_mask
from .view.onlooker import Onlooker
from .view.place import ORIGIN, Anchor, Placed, anchor, settle
from .worker import Reconstructing

UNDO_NAME = "Image to Mesh"
SPACING = 1.25  # between variants, in sizes


@dataclass(frozen=True, slots=True)
class Delivery:
    """Puts a finished reconstruction into the scene that asked for it.

    Attributes:
        request: What was asked.
        target: The scene.
        work: What the worker does.
        use_matched_render: Whether a scene's render follows the matched camera.
        variants: How many results are wanted, each of its own seed.
        number: Which of them this is, from 0; they stand side by side.
        place: Where it goes.
        onlooker: The view that is shown the result; None when nobody looks.
    """

    request: Request
    target: Target
    work: Reconstructing
    use_matched_render: bool
    variants: int = 1
    number: int = 0
    place: Anchor = ORIGIN
    onlooker: Onlooker | None = None

    def finish(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """Build the data-blocks and sum them up in lines for the artist."""
        assert isinstance(result, Reconstruction)
        scene, view_layer = self.target.find()
        is_matched = self.use_matched_render and result.engine == "scene"
        built = add_reconstruction(
            scene,
            view_layer,
            result,
            self.work.prepared,
            provenance(result, self.request),
            use_matched_render=is_matched,
        )
        if result.archive is not None:
            detail, size = self.request.detail.upper(), self.request.texture_size
            made_with = self.request.shaping
            if result.engine == "scene":
                made_with = scene_shaping(self.request)
            shaping.keep(built.object, result.archive, detail, size, made_with, camera=built.camera)
        settle(self._own_place(), view_layer, built.object, built.companions())
        if self.onlooker is not None:
            self.onlooker.look_at(scene, built.object)
        return summary(result, seconds, is_matched)

    def _own_place(self) -> Anchor:
        """Where this variant goes; those that step aside find their places by themselves."""
        if self.place.steps_aside or not self.number:
            return self.place
        aside = Matrix.Translation((SPACING * self.number * self.request.size_m, 0.0, 0.0))
        return anchor(Matrix(self.place.matrix) @ aside, steps_aside=False)

    def following(self, result: session.Result) -> "Delivery | None":
        """The next variant after ``result``; None when there are enough, or all would be alike."""
        assert isinstance(result, Reconstruction)
        if not result.uses_seed or self.number + 1 >= self.variants:
            return None
        request = replace(self.request, seed=self.request.seed + 1)
        work = Reconstructing(keeps_models=self.number + 2 < self.variants)
        return replace(self, request=request, work=work, number=self.number + 1)

    def finish_with_undo_step(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """The same from a timer, where no operator pushes the undo step."""
        lines = self.finish(result, seconds)
        bpy.ops.ed.undo_push(message=UNDO_NAME)
        following = self.following(result)
        if following is not None:
            following.start()
        return lines

    def start(self) -> None:
        """Begin in the background."""
        job = Job(self.request, self.work.run)
        title = picture_name(self.request.source)
        settings = settings_from(self.request)
        session.start(job, self.finish_with_undo_step, settings, title=title)


def scene_shaping(request: Request) -> SceneShaping:
    """How a scene is made at first; the Refine panel starts from it."""
    return SceneShaping(
        fills_behind=request.fills_behind, is_solid=request.is_solid, size_m=request.size_m
    )


def provenance(result: Reconstruction, request: Request) -> dict[str, str]:
    """Where a result comes from, for the object's custom properties."""
    return {
        "engine": result.engine,
        "model": result.model,
        "picture": picture_name(request.source),
        "settings": json.dumps(settings_from(request)),
        "version": extension_version(),
    }


def picture_name(source: PictureFile | PicturePixels) -> str:
    """What the artist calls the picture."""
    return shown(source.path.name if isinstance(source, PictureFile) else source.name)


def summary(result: Reconstruction, seconds: float, is_matched: bool) -> tuple[str, ...]:
    """Lines for the panel about a finished result."""
    surface = "watertight" if result.is_watertight else "open surface"
    if result.self_intersections:
        surface += f", {result.self_intersections:,} faces cross others"
    lines = [
        f"{result.name}: {result.engine}, {len(result.mesh.face_sizes):,} faces, {surface},"
        f" {seconds:.0f} s"
    ]
    if is_matched:
        camera = result.camera
        lines.append(f"Render size set to {camera.width} x {camera.height} to match the picture.")
    return (*lines, *result.notes)


class IMAGE_TO_MESH_OT_generate(ReconstructionOptions, Placed, bpy.types.Operator):
    """Turn the chosen picture into a textured mesh.

    Pressed as a button it works in the background, and whatever is not given comes from the panel.
    The result arrives at the 3D cursor, beside what is there, and the view turns to it.
    Called from Python it waits for the result, which becomes the active object; given a picture it
    uses the arguments alone, and without one it does what the button would. It then stands exactly at
    ``location``, the world's origin unless given, whatever is there, and no view changes.
    """

    bl_idname = "image_to_mesh.generate"
    bl_label = "Image to Mesh"
    bl_description = "Turn the chosen picture into a textured mesh"
    bl_options = {"REGISTER", "UNDO"}

    filepath: StringProperty(
        name="Picture File",
        description="A picture on disk",
        subtype="FILE_PATH",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    image: StringProperty(
        name="Image",
        description="Name of an image that is already loaded",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    mask: StringProperty(
        name="Mask",
        description="Name of a loaded image that is white where the subject is",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    variants: variants_property()
    device: EnumProperty(
        name="Device",
        description="Where networks run; Automatic follows the preferences",
        items=DEVICES,
        default="AUTO",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = session.busy_reason()
        if reason is None and context.scene is None:
            reason = "There is no scene to put the mesh into"
        if reason is None and context.scene.library is not None:
            reason = "The scene is linked from another file: make it local first"
        panel = getattr(context, "image_to_mesh_panel", None)  # set around the panel's button only
        if reason is None and panel is not None and panel.picture is None:
            reason = "Open or choose a picture first"
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        self._take_from_panel(context)
        try:
            delivery = self._delivery(context)
            onlooker = Onlooker.of(context)
            place = self.cursor_anchor(context, onlooker)
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        replace(delivery, place=place, onlooker=onlooker).start()
        return {"INTERFACE"}  # FINISHED would push an undo step before there is anything to undo

    def execute(self, context: bpy.types.Context) -> set[str]:
        if not self.filepath and not self.image:
            self._take_from_panel(context)
        started = time.perf_counter()
        try:
            delivery = self._delivery(context)
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return {"CANCELLED"}
        while delivery is not None:
            job = Job(delivery.request, delivery.work.run)
            with cursor_progress(context) as show:
                event = session.run(job, show, settings_from(delivery.request))
            failed = session.conclude(event, delivery.finish, time.perf_counter() - started)
            if failed is not None:
                self.report({"ERROR"}, failed.message)
            if failed is not None or not isinstance(event, Done):
                return {"FINISHED"} if delivery.number else {"CANCELLED"}
            delivery = delivery.following(event.result)
        return {"FINISHED"}

    def _take_from_panel(self, context: bpy.types.Context) -> None:
        """Fill in what the caller left out."""
        panel = context.scene.image_to_mesh
        for name in (*OPTION_NAMES, "variants"):
            if not self.properties.is_property_set(name):
                setattr(self, name, getattr(panel, name))
        if not self.filepath and not self.image:
            self.image = panel.picture.name if panel.picture is not None else ""
            if not self.mask and panel.mask is not None and self.cut_out in WITH_MASK:
                self.mask = panel.mask.name

    def _delivery(self, context: bpy.types.Context) -> Delivery:
        if self.filepath:
            source = source_from_path(self.filepath)
        elif self.image:
            source = source_from_image(image_named(self.image))
        else:
            raise PictureError("No picture is chosen: open one in the Image to Mesh tab first.")
        mask = checked_mask(self.mask, self.image) if self.mask else None
        device = chosen_device(self.device)
        request = request_from(self, source, mask, device)
        work = Reconstructing(keeps_models=self.variants > 1)
        return Delivery(
            request,
            Target.of(context),
            work,
            self.use_matched_render,
            variants=self.variants,
            place=self.given_anchor(context),
        )
