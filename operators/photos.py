"""Many photos, or a video, become one mesh with all their cameras."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import json
import math
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import cast

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)
from bpy_extras.io_utils import ImportHelper

from ..inference.contracts import Done
from ..inference.errors import ImageToMeshError, PictureError
from ..inference.job import Job, Report
from ..inference.views.contracts import (
    VIDEO_EXTENSIONS,
    CameraSource,
    KnownView,
    PictureStatus,
    ViewsReconstruction,
    ViewsRequest,
)
from . import session
from .generate import UNDO_NAME, cursor_progress, summary
from .import_picture import EXTENSIONS
from .options import DETAILS, DEVICES
from .preferences import preferred_device
from .request import NARROWEST_FOV, device_named, source_from_image
from .scene.photos import PreparedViews, add_views, known_view
from .target import Target
from .versions import extension_version

PACKING_BEGINS = 0.95
WORK = "The photos are being worked on"

KINDS = (
    ("AUTO", "Auto", "Decide by where the cameras look"),
    ("OBJECT", "Object", "One thing that the cameras go around; closed where nothing was seen"),
    ("PLACE", "Place", "A room, a street, a garden; open where nothing was seen"),
)
CAMERAS = (
    (
        "AUTO",
        "Automatic",
        "Use a reconstruction beside the pictures if there is one, else estimate",
    ),
    ("ESTIMATE", "Estimate", "Find the cameras from the pictures alone"),
    ("EXISTING", "From Files", "transforms.json or a COLMAP reconstruction beside the pictures"),
    ("SCENE", "From Scene", "Cameras of this scene that have a background image"),
    (
        "TURNTABLE",
        "Sides",
        "Views from the sides: files named front, left, back and right, or in that order",
    ),
)
MASKS = (
    ("AUTO", "Automatic", "Transparency or mask files where there are any"),
    ("FILES", "Required", "Leave out pictures without transparency or a mask file"),
    ("NONE", "None", "Whole pictures"),
)


class PhotoOptions:
    """Mixed into the property group and the operator."""

    kind: EnumProperty(
        name="Subject",
        description="What the pictures show",
        items=KINDS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    cameras: EnumProperty(
        name="Cameras",
        description="Where the cameras come from",
        items=CAMERAS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    masks: EnumProperty(
        name="Masks",
        description="What tells the subject from its background: transparency, or files such as"
        " masks/NAME.png and NAME_mask.png, white where the subject is",
        items=MASKS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    max_frames: IntProperty(
        name="Frames",
        description="At most so many frames of a video; sharp ones are taken, evenly along the way",
        default=80,
        min=2,
        max=1000,
        options={"SKIP_SAVE"},
    )
    use_size: BoolProperty(
        name="Scale to Size",
        description="Give the result the Size from the Output panel; otherwise it keeps that of its"
        " cameras. Cameras of the scene are never moved",
        default=True,
        options={"SKIP_SAVE"},
    )


PHOTO_OPTION_NAMES = tuple(PhotoOptions.__annotations__)
SHARED_NAMES = ("detail", "texture_size", "size_m", "fov_x", "seed")  # set in the other panels


class ImageToMeshPhoto(bpy.types.PropertyGroup):
    """A photo, folder or video of the list, and what became of it."""

    filepath: StringProperty(name="File", subtype="FILE_PATH")
    status: EnumProperty(
        name="Status",
        items=(
            ("NEW", "New", "Not used yet"),
            ("USED", "Used", "Part of the last result"),
            ("REMARK", "Used, With a Remark", "Part of the last result, though not perfect"),
            ("LEFT_OUT", "Left Out", "Not part of the last result"),
        ),
    )
    sentence: StringProperty(name="Why")


class ImageToMeshPhotos(PhotoOptions, bpy.types.PropertyGroup):
    """The list of one scene, at ``Scene.image_to_mesh_photos``."""

    pictures: CollectionProperty(type=ImageToMeshPhoto)
    active: IntProperty(name="Active Picture", options={"SKIP_SAVE"})
    remarks: StringProperty(
        name="Remarks",
        description="JSON: what became of frames and files of folders in the last run",
        options={"HIDDEN"},
    )


class ViewsWork:
    """One reconstruction with all that can be done ahead for Blender.

    Attributes:
        prepared: Set when ``run`` has ended well, before its result reaches the main thread.
    """

    prepared: PreparedViews

    def run(self, request: ViewsRequest, report: Report) -> ViewsReconstruction:
        """Reconstruct, then encode pictures, both off the main thread."""
        from ..inference.engines import views

        result = views.run(request, lambda share, name: report(share * PACKING_BEGINS, name))
        report(PACKING_BEGINS, "Packing the pictures")
        self.prepared = PreparedViews.from_reconstruction(result)
        return result


@dataclass(frozen=True, slots=True)
class Delivery:
    """Puts a finished reconstruction into the scene that asked for it."""

    request: ViewsRequest
    target: Target
    work: ViewsWork

    def finish(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """Build the data-blocks and sum them up in lines for the artist."""
        assert isinstance(result, ViewsReconstruction)
        scene, view_layer = self.target.find()
        properties = {
            "engine": result.engine,
            "model": result.model,
            "settings": json.dumps(settings_of(self.request)),
            "version": extension_version(),
        }
        # Cameras of the scene are there already.
        has_cameras = bool(self.request.known)
        add_views(
            scene,
            view_layer,
            result,
            self.work.prepared,
            properties,
            with_cameras=not has_cameras,
        )
        note_statuses(scene.image_to_mesh_photos, result.statuses)
        return summary(result, seconds, False)

    def finish_with_undo_step(self, result: session.Result, seconds: float) -> tuple[str, ...]:
        """The same from a timer, where no operator pushes the undo step."""
        lines = self.finish(result, seconds)
        bpy.ops.ed.undo_push(message=UNDO_NAME)
        return lines


def settings_of(request: ViewsRequest) -> dict[str, object]:
    """Everything that shapes the result except the pictures, ready for JSON."""
    left_out = {"inputs", "known", "device", "name"}
    names = [name for name in ViewsRequest.__dataclass_fields__ if name not in left_out]
    settings: dict[str, object] = {name: getattr(request, name) for name in names}
    return {**settings, "pictures": len(request.inputs) or len(request.known)}


def note_statuses(photos: ImageToMeshPhotos, statuses: Sequence[PictureStatus]) -> None:
    """Show in the list what became of each picture; frames and folders are summed up."""
    by_name = {status.name: status for status in statuses}
    for item in photos.pictures:
        path = Path(bpy.path.abspath(item.filepath))
        own = by_name.get(path.name) or by_name.get(f"{path.parent.name}/{path.name}")
        if own is None:
            inside = [s for s in statuses if s.name.startswith(f"{path.stem} ")]
            inside = list(statuses) if path.is_dir() else inside
            if not inside:
                continue
            used = sum(status.is_used for status in inside)
            own = PictureStatus(path.name, used > 0, f"{used} of {len(inside)} pictures used.")
        item.status = ("REMARK" if own.sentence else "USED") if own.is_used else "LEFT_OUT"
        item.sentence = own.sentence
    remarks = [[s.name, s.is_used, s.sentence] for s in statuses if s.sentence or not s.is_used]
    photos.remarks = json.dumps(remarks)


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


class IMAGE_TO_MESH_OT_reconstruct_views(PhotoOptions, bpy.types.Operator):
    """Turn several photos or a video into one textured mesh with their cameras.

    Pressed as a button it works in the background, and whatever is not given comes from the panel.
    Called from Python it waits for the result, which becomes the active object; given pictures it
    uses the arguments alone, and without any it does what the button would.
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
    detail: EnumProperty(
        name="Detail",
        description="How fine the mesh is",
        items=DETAILS,
        default="MEDIUM",
        options={"SKIP_SAVE"},
    )
    texture_size: IntProperty(
        name="Texture Size",
        description="Side of the square texture in pixels",
        default=2048,
        min=256,
        max=8192,
        options={"SKIP_SAVE"},
    )
    size_m: FloatProperty(
        name="Size",
        description="Longest side of the result",
        default=1.0,
        min=0.001,
        max=10000.0,
        unit="LENGTH",
        options={"SKIP_SAVE"},
    )
    fov_x: FloatProperty(
        name="Field of View",
        description="Horizontal field of view of all pictures; 0 reads or estimates it",
        default=0.0,
        min=0.0,
        max=math.radians(170.0),
        unit="ROTATION",
        options={"SKIP_SAVE"},
    )
    seed: IntProperty(
        name="Seed",
        description="Seed of every random choice: the same seed gives the same result",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
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
        delivery = self._delivery(context)
        if delivery is None:
            return {"CANCELLED"}
        job = Job(delivery.request, delivery.work.run)
        session.start(job, delivery.finish_with_undo_step, settings_of(delivery.request))
        return {"INTERFACE"}  # FINISHED would push an undo step before there is anything to undo

    def execute(self, context: bpy.types.Context) -> set[str]:
        started = time.perf_counter()
        delivery = self._delivery(context)
        if delivery is None:
            return {"CANCELLED"}
        job = Job(delivery.request, delivery.work.run)
        with cursor_progress(context) as show:
            event = session.run(job, show, settings_of(delivery.request))
        failed = session.conclude(event, delivery.finish, time.perf_counter() - started)
        if failed is not None:
            self.report({"ERROR"}, failed.message)
        return {"FINISHED"} if isinstance(event, Done) and failed is None else {"CANCELLED"}

    def _delivery(self, context: bpy.types.Context) -> Delivery | None:
        """What is to be done; None, with the reason reported, when it cannot."""
        scene = cast("bpy.types.Scene", context.scene)
        inputs = self._given()
        if not inputs:
            self._take_from_panels(scene)
            inputs = tuple(_absolute(item.filepath) for item in scene.image_to_mesh_photos.pictures)
        try:
            known = scene_views(scene) if self.cameras == "SCENE" else ()
            if not inputs and not known:
                raise PictureError(
                    "No pictures are chosen: add photos or a video in the Photos & Video panel."
                )
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return None
        device = preferred_device() if self.device == "AUTO" else self.device
        request = ViewsRequest(
            inputs=inputs,
            known=known,
            kind=self.kind.lower(),
            cameras=cast("CameraSource", "auto" if known else self.cameras.lower()),
            masks=self.masks.lower(),
            max_frames=self.max_frames,
            detail=self.detail.lower(),
            texture_size=self.texture_size,
            size_m=self.size_m if self.use_size else None,
            fov_x=self.fov_x if self.fov_x >= NARROWEST_FOV else None,
            device=device_named(device),
            seed=self.seed,
        )
        return Delivery(request, Target.of(context), ViewsWork())

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


class IMAGE_TO_MESH_OT_add_photos(ImportHelper, bpy.types.Operator):
    """Put photos, a folder of photos or a video on the list."""

    bl_idname = "image_to_mesh.add_photos"
    bl_label = "Add Photos or Video"
    bl_description = "Choose photos or a video; choose nothing in a folder to take all of it"
    bl_options = {"REGISTER", "UNDO"}

    filter_glob: StringProperty(
        default=";".join(f"*{extension}" for extension in (*EXTENSIONS, *VIDEO_EXTENSIONS)),
        options={"HIDDEN"},
    )
    directory: StringProperty(
        name="Folder",
        description="Folder of the files; without files, all of it is added",
        subtype="DIR_PATH",
        options={"SKIP_SAVE", "HIDDEN"},
    )
    files: CollectionProperty(
        name="Files",
        description="Names of photos and videos in the folder",
        type=bpy.types.OperatorFileListElement,
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if any(file.name for file in self.files):  # dropped into the view
            return self.execute(context)
        return cast("set[str]", ImportHelper.invoke(self, context, event))

    def execute(self, context: bpy.types.Context) -> set[str]:
        named = [str(Path(self.directory) / file.name) for file in self.files if file.name]
        chosen = named or [path for path in (self.directory or self.filepath,) if path]
        if not chosen:
            self.report({"ERROR"}, "Nothing was chosen: choose photos, a folder or a video.")
            return {"CANCELLED"}
        add_paths(context.scene.image_to_mesh_photos, chosen)
        return {"FINISHED"}


def add_paths(photos: ImageToMeshPhotos, paths: Iterable[str]) -> None:
    """Put files on the list that are not on it yet."""
    there = {bpy.path.abspath(item.filepath) for item in photos.pictures}
    for path in paths:
        if bpy.path.abspath(path) not in there:
            there.add(bpy.path.abspath(path))
            item = photos.pictures.add()
            item.filepath = path
            item.name = Path(path).name or path
    photos.active = max(len(photos.pictures) - 1, 0)


class _NeedsPictures:
    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if context.scene is None or not context.scene.image_to_mesh_photos.pictures:
            cls.poll_message_set("The list is empty")  # pyright: ignore[reportAttributeAccessIssue]
            return False
        return True


class IMAGE_TO_MESH_OT_remove_photo(_NeedsPictures, bpy.types.Operator):
    """Take the active picture off the list."""

    bl_idname = "image_to_mesh.remove_photo"
    bl_label = "Remove Picture"
    bl_description = "Take the active picture off the list; its file stays"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        photos.pictures.remove(photos.active)
        photos.active = max(0, min(photos.active, len(photos.pictures) - 1))
        return {"FINISHED"}


class IMAGE_TO_MESH_OT_clear_photos(_NeedsPictures, bpy.types.Operator):
    """Empty the list."""

    bl_idname = "image_to_mesh.clear_photos"
    bl_label = "Clear List"
    bl_description = "Take all pictures off the list; their files stay"
    bl_options = {"REGISTER", "UNDO"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        photos = context.scene.image_to_mesh_photos
        photos.pictures.clear()
        photos.active = 0
        photos.remarks = ""
        return {"FINISHED"}


class IMAGE_TO_MESH_FH_photos(bpy.types.FileHandler):
    """Photos and videos dropped into a 3D view go on the list."""

    bl_idname = "IMAGE_TO_MESH_FH_photos"
    bl_label = "Image to Mesh: Photos & Video"
    bl_import_operator = "image_to_mesh.add_photos"
    bl_file_extensions = ";".join((*EXTENSIONS, *VIDEO_EXTENSIONS))

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


def _absolute(path: str) -> Path:
    return Path(bpy.path.abspath(path))


CLASSES = (
    ImageToMeshPhoto,
    ImageToMeshPhotos,
    IMAGE_TO_MESH_OT_reconstruct_views,
    IMAGE_TO_MESH_OT_add_photos,
    IMAGE_TO_MESH_OT_remove_photo,
    IMAGE_TO_MESH_OT_clear_photos,
    IMAGE_TO_MESH_FH_photos,
)


def register() -> None:
    """Give scenes their list; called after the classes are registered."""
    bpy.types.Scene.image_to_mesh_photos = PointerProperty(type=ImageToMeshPhotos)


def unregister() -> None:
    del bpy.types.Scene.image_to_mesh_photos
