"""Many photos, or a video, become one mesh with all their cameras."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import json
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import bpy
from bpy.props import CollectionProperty, EnumProperty, StringProperty

from ...inference.contracts import Done, PicturePixels
from ...inference.errors import ImageToMeshError, PictureError
from ...inference.running.job import Job, Report
from ...inference.views.contracts import (
    CameraSource,
    KnownView,
    ViewsReconstruction,
    ViewsRequest,
)
from ...inference.views.watch import Watch
from .. import session
from ..cursor import cursor_progress
from ..generate import UNDO_NAME, summary
from ..options import DEVICES
from ..preferences import chosen_device
from ..request import NARROWEST_FOV, device_named, model_choices, source_from_image
from ..scene.photos import PreparedViews, add_views, known_view
from ..target import Target
from ..versions import extension_version
from ..view.onlooker import Onlooker
from ..view.place import ORIGIN, Anchor, Placed, settle
from ..worker import free_models
from .listing import note_statuses
from .options import (
    PHOTO_OPTION_NAMES,
    SHARED_NAMES,
    ImageToMeshPhotos,
    PhotoOptions,
    SharedOptions,
)
from .preview import Preview

PACKING_BEGINS = 0.95
PHOTO_STAGES = ("cut_out", "depth", "views")  # fields of ModelChoices that this job has a use for


class ViewsWork:
    """One reconstruction with all that can be done ahead for Blender.

    Attributes:
        prepared: Set when ``run`` has ended well, before its result reaches the main thread.
    """

    prepared: PreparedViews

    def __init__(self, watch: Watch | None = None, *, keeps_models: bool = False) -> None:
        """Plan a run.

        Args:
            watch: Shown the surface while it is made; may end the refinement early.
            keeps_models: Downloaded networks stay in memory for the next run.
        """
        self._watch = watch
        self._keeps_models = keeps_models

    def run(self, request: ViewsRequest, report: Report) -> ViewsReconstruction:
        """Reconstruct, then encode pictures, both off the main thread."""
        from ...inference.engines import views

        try:
            result = views.run(
                request, lambda share, name: report(share * PACKING_BEGINS, name), self._watch
            )
        finally:
            if not self._keeps_models:
                free_models()
        report(PACKING_BEGINS, "Packing the pictures")
        self.prepared = PreparedViews.from_reconstruction(result)
        return result


@dataclass(frozen=True, slots=True)
class Delivery:
    """Puts a finished reconstruction into the scene that asked for it."""

    request: ViewsRequest
    target: Target
    work: ViewsWork
    place: Anchor = ORIGIN
    onlooker: Onlooker | None = None

    def finish(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """Build the data-blocks and sum them up in lines for the artist."""
        assert isinstance(result, ViewsReconstruction)
        scene, view_layer = self.target.find()
        built = add_views(
            scene,
            view_layer,
            result,
            self.work.prepared,
            provenance(result, self.request),
            with_cameras=not self.request.known,  # those of the scene are there already
        )
        if not self.request.known:  # a result of the scene's own cameras must stay before them
            settle(self.place, view_layer, built.object, built.companions())
        if self.onlooker is not None:
            self.onlooker.look_at(scene, built.object)
        note_statuses(scene.image_to_mesh_photos, result.statuses)
        return summary(result, seconds, False)

    def finish_with_undo_step(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """The same from a timer, where no operator pushes the undo step."""
        lines = self.finish(result, seconds)
        bpy.ops.ed.undo_push(message=UNDO_NAME)
        return lines


def provenance(result: ViewsReconstruction, request: ViewsRequest) -> dict[str, str]:
    """Where a result comes from, for the object's custom properties."""
    return {
        "engine": result.engine,
        "model": result.model,
        "settings": json.dumps(settings_of(request)),
        "version": extension_version(),
    }


def settings_of(request: ViewsRequest) -> dict[str, object]:
    """Everything that shapes the result except the pictures, ready for JSON."""
    left_out = {"inputs", "known", "device", "name", "models", "ignored"}
    names = [name for name in ViewsRequest.__dataclass_fields__ if name not in left_out]
    settings: dict[str, object] = {name: getattr(request, name) for name in names}
    chosen = {stage: getattr(request.models, stage) for stage in PHOTO_STAGES}
    settings["models"] = {stage: model for stage, model in chosen.items() if model != "auto"}
    return {**settings, "pictures": len(request.inputs) or len(request.known)}


def photos_request(
    options: PhotoOptions,
    inputs: tuple[Path | PicturePixels, ...],
    known: tuple[KnownView, ...],
    device: str,
) -> ViewsRequest:
    """Put together what the worker needs.

    Args:
        options: An operator that mixes in ``PhotoOptions`` and ``SharedOptions``.
        inputs: Photos, folders and videos.
        known: Pictures with cameras of the scene, instead of ``inputs``.
        device: One of the identifiers of ``options.DEVICES``.
    """
    return ViewsRequest(
        inputs=() if known else inputs,
        known=known,
        kind=options.kind.lower(),
        cameras=cast("CameraSource", "auto" if known else options.cameras.lower()),
        masks=options.masks.lower(),
        surface=options.surface.lower(),
        turn_step=options.turn_step or None,
        elevation=options.elevation,
        max_frames=options.max_frames,
        detail=options.detail.lower(),
        texture_size=options.texture_size,
        size_m=options.size_m if options.use_size else None,
        is_measured=options.is_measured,
        fov_x=options.fov_x if options.fov_x >= NARROWEST_FOV else None,
        device=device_named(device),
        models=model_choices({stage: getattr(options, f"{stage}_model") for stage in PHOTO_STAGES}),
        seed=options.seed,
    )


def scene_views(scene: bpy.types.Scene) -> tuple[KnownView, ...]:
    """The cameras of a scene that have a picture behind them.

    Raises:
        PictureError: When there are fewer than two.
    """
    views = []
    for obj in scene.objects:
        if obj.type != "CAMERA":
            continue
        images = [layer.image for layer in obj.data.background_images if layer.image is not None]
        if not images or 0 in images[0].size:
            continue
        known = known_view(obj, *images[0].size)
        if known is not None:
            source = source_from_image(images[0])
            picture = source.path if hasattr(source, "path") else source
            views.append(replace(known, picture=picture))
    if len(views) < 2:
        raise PictureError(
            "The scene has no two perspective cameras with a background image: add the photos to"
            " the cameras, or set Cameras to Estimate."
        )
    return tuple(views)


class IMAGE_TO_MESH_OT_reconstruct_views(PhotoOptions, SharedOptions, Placed, bpy.types.Operator):
    """Turn several photos or a video into one textured mesh with their cameras.

    Pressed as a button it works in the background, and whatever is not given comes from the panel.
    Called from Python it waits for the result, which becomes the active object; given pictures it
    uses the arguments alone, and without any it does what the button would. It then stands at
    ``location``, the world's origin unless given. With the scene's own cameras it stands before them.
    """

    bl_idname = "image_to_mesh.reconstruct_views"
    bl_label = "Photos to Mesh"
    bl_description = "Find the cameras of the photos and make one textured mesh of them"
    bl_options = {"REGISTER", "UNDO"}

    directory: StringProperty(
        name="Folder",
        description="Folder with pictures; with files, the folder that they are in",
        subtype="DIR_PATH",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    files: CollectionProperty(
        name="Files",
        description="Names of photos and videos in the folder; none means all of it",
        type=bpy.types.OperatorFileListElement,
        options={"SKIP_SAVE", "HIDDEN"},
    )
    filepath: StringProperty(
        name="Video or Picture",
        description="A video, a picture or a folder",
        subtype="FILE_PATH",
        options={"SKIP_SAVE", "HIDDEN"},
    )
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
        panel = getattr(context, "image_to_mesh_photos_panel", None)  # set around the button only
        if reason is None and panel is not None and not panel.pictures and panel.cameras != "SCENE":
            reason = "Add photos or a video first"
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        onlooker = Onlooker.of(context)
        place = self.cursor_anchor(context, onlooker)
        preview = Preview(Target.of(context), place)
        delivery = self._delivery(context, ViewsWork(preview.watch))
        if delivery is None:
            return {"CANCELLED"}
        delivery = replace(delivery, place=place, onlooker=onlooker)
        session.start(
            Job(delivery.request, delivery.work.run),
            delivery.finish_with_undo_step,
            settings_of(delivery.request),
            companion=preview,
            title=f"{len(delivery.request.inputs) or len(delivery.request.known)} photos",
        )
        return {"INTERFACE"}  # FINISHED would push an undo step before there is anything to undo

    def execute(self, context: bpy.types.Context) -> set[str]:
        started = time.perf_counter()
        delivery = self._delivery(context, ViewsWork())
        if delivery is None:
            return {"CANCELLED"}
        job = Job(delivery.request, delivery.work.run)
        with cursor_progress(context) as show:
            event = session.run(job, show, settings_of(delivery.request))
        failed = session.conclude(event, delivery.finish, time.perf_counter() - started)
        if failed is not None:
            self.report({"ERROR"}, failed.message)
        return {"FINISHED"} if isinstance(event, Done) and failed is None else {"CANCELLED"}

    def _delivery(self, context: bpy.types.Context, work: ViewsWork) -> Delivery | None:
        """What is to be done; None, with the reason reported, when it cannot."""
        scene = cast("bpy.types.Scene", context.scene)
        inputs: tuple[Path | PicturePixels, ...] = self._given()
        device = chosen_device(self.device)
        try:
            if not inputs:
                self._take_from_panels(scene)
                inputs = listed_pictures(scene.image_to_mesh_photos)
            known = scene_views(scene) if self.cameras == "SCENE" else ()
            if not inputs and not known:
                raise PictureError(
                    "No pictures are chosen: add photos or a video in the Photos & Video panel."
                )
            request = photos_request(self, inputs, known, device)
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return None
        return Delivery(request, Target.of(context), work, self.given_anchor(context))

    def _given(self) -> tuple[Path, ...]:
        """The arguments' files; a folder counts when no files of it are named."""
        named = [file.name for file in self.files if file.name]
        if named:
            return tuple(_absolute(self.directory) / name for name in named)
        return tuple(_absolute(path) for path in (self.directory, self.filepath) if path)

    def _take_from_panels(self, scene: bpy.types.Scene) -> None:
        """Fill in what the caller left out."""
        sources = (
            (scene.image_to_mesh_photos, PHOTO_OPTION_NAMES),
            (scene.image_to_mesh, SHARED_NAMES),
        )
        for source, names in sources:
            for name in names:
                if not self.properties.is_property_set(name):
                    setattr(self, name, getattr(source, name))


def listed_pictures(photos: ImageToMeshPhotos) -> tuple[Path | PicturePixels, ...]:
    """What is on a list: files, or pixels of images that have none.

    Raises:
        PictureError: When an image holds no still picture.
    """
    pictures: list[Path | PicturePixels] = []
    for item in photos.pictures:
        if item.image is None:
            pictures.append(_absolute(item.filepath))
        else:
            source = source_from_image(item.image)
            pictures.append(source if isinstance(source, PicturePixels) else source.path)
    return tuple(pictures)


def _absolute(path: str) -> Path:
    return Path(bpy.path.abspath(path))


CLASSES = (IMAGE_TO_MESH_OT_reconstruct_views,)
