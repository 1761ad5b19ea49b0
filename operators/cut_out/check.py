"""See the cut-out before generating, and turn it into a mask to paint on."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from typing import Any

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import CutOut, Done, Request
from ...inference.errors import CutOutError, ImageToMeshError, PictureError
from ...inference.running.job import Job
from .. import session, worker
from ..cursor import cursor_progress
from ..preferences import preferred_device
from ..request import request_from, settings_from, source_from_image
from ..scene.image import PngImage, image_from_png
from ..target import Target
from ..view.belonging import (
    bind,
    checked_mask,
    drop_preview,
    image_editors,
    mask_in_use,
    mask_refusal,
    preview_key,
)
from . import tinted

Lines = tuple[str, ...]

PREVIEW_SIDE = 1024  # pixels; enough to judge an edge by
CHECKER_SIDE = 16  # pixels per square of the background


def checkered(cut: CutOut) -> NDArray[np.uint8]:
    """Show the subject over a grey checkerboard: (h, w, 3) uint8, at most PREVIEW_SIDE large."""
    height, width = cut.mask.shape
    step = -(-max(height, width) // PREVIEW_SIDE)
    colour = cut.picture.pixels[::step, ::step, :3].astype(np.float32)
    mask = cut.mask[::step, ::step, None]
    rows, columns = np.indices(mask.shape[:2]) // CHECKER_SIDE
    squares = np.where((rows + columns) % 2 == 0, 70.0, 100.0)[..., None].astype(np.float32)
    backdrop = 0.25 * colour + 0.75 * squares  # a hint of the background tells what was left out
    return (mask * colour + (1.0 - mask) * backdrop + 0.5).astype(np.uint8)


def mask_pixels(cut: CutOut) -> NDArray[np.uint8]:
    """The mask as a picture: (H, W) uint8, white is the subject."""
    return (np.clip(cut.mask, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


class _CutOutWork:
    """Finds the cut-out and encodes what shows it, on the worker thread."""

    def __init__(self, *, as_mask: bool) -> None:
        self.as_mask = as_mask
        self.png: PngImage | None = None
        self.backdrop: NDArray[np.uint8] | None = None

    def run(self, request: Request, report: worker.Report) -> CutOut:
        cut = worker.cut_out(request, report)
        self.png = PngImage.from_pixels(mask_pixels(cut) if self.as_mask else checkered(cut))
        self.backdrop = tinted.shrunk(cut.picture.pixels)
        return cut


class WithPicture:
    """Mixed into operators that cut out the panel's picture."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = session.busy_reason()
        if reason is None and context.scene.image_to_mesh.picture is None:
            reason = "Choose a picture first"
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None


class _CutOutOperator(WithPicture):
    """What the operators below share."""

    as_mask = False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return self._start(context, wait=False)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._start(context, wait=True)

    def _mask(self, panel: Any) -> NDArray[np.uint8] | None:
        """What the cut-out starts from, if the artist has given something."""
        mask = mask_in_use(panel)
        return checked_mask(mask.name, panel.picture.name) if mask is not None else None

    def _request(self, panel: Any) -> Request:
        source = source_from_image(panel.picture)
        return request_from(panel, source, self._mask(panel), preferred_device())

    @staticmethod
    def _show(scene: bpy.types.Scene, asked: Asked, cut: CutOut, work: _CutOutWork) -> Lines:
        """Put the result where the artist looks; returns lines about it."""
        assert work.png is not None
        return show_preview(scene, asked, cut, work.png)

    def _start(self, context: bpy.types.Context, *, wait: bool) -> set[str]:
        started = time.perf_counter()
        panel = context.scene.image_to_mesh
        try:
            if panel.picture is None:
                raise PictureError("No picture is chosen: open one in the Image to Mesh tab first.")
            request, asked = self._request(panel), Asked.of(panel)
        except ImageToMeshError as error:
            return self._refuse(str(error))
        work, target = _CutOutWork(as_mask=self.as_mask), Target.of(context)
        # From a timer no operator pushes the undo step; the closure outlives this operator.
        undo_name, show = None if wait else str(self.bl_label), self._show

        def finish(result: session.Result, seconds: float) -> tuple[str, ...]:
            assert isinstance(result, CutOut)
            lines = show(target.find()[0], asked, result, work)
            if undo_name is not None:
                bpy.ops.ed.undo_push(message=undo_name)
            return lines

        job, settings = Job(request, work.run), settings_from(request)
        if not wait:
            session.start(job, finish, settings, title=panel.picture.name)
            return {"INTERFACE"}
        with cursor_progress(context) as progress:
            event = session.run(job, progress, settings)
        failed = session.conclude(event, finish, time.perf_counter() - started)
        if failed is not None:
            return self._refuse(failed.message)
        return {"FINISHED"} if isinstance(event, Done) else {"CANCELLED"}

    def _refuse(self, message: str) -> set[str]:
        self.report({"ERROR"}, message)
        return {"CANCELLED"}


class IMAGE_TO_MESH_OT_check_cutout(_CutOutOperator, bpy.types.Operator):
    """Show what will be taken for the subject."""

    bl_idname = "image_to_mesh.check_cutout"
    bl_label = "Check Cut-Out"
    bl_description = "Show which part of the picture is taken for the subject, before generating"
    bl_options = {"REGISTER", "UNDO"}


class IMAGE_TO_MESH_OT_new_mask(_CutOutOperator, bpy.types.Operator):
    """Make a mask to paint on."""

    bl_idname = "image_to_mesh.new_mask"
    bl_label = "New Mask to Paint"
    bl_description = (
        "Make a mask that you can correct with Blender's brushes in the Image Editor: white is the"
        " subject. It starts as the mask that is in use, or as the cut-out"
    )
    bl_options = {"REGISTER", "UNDO"}
    as_mask = True

    def _mask(self, panel: Any) -> NDArray[np.uint8] | None:
        mask = mask_in_use(panel)
        if mask is None or mask_refusal(mask, panel.picture) is not None:
            return None
        return checked_mask(mask.name, panel.picture.name)

    @staticmethod
    def _show(scene: bpy.types.Scene, asked: Asked, cut: CutOut, work: _CutOutWork) -> Lines:
        assert work.png is not None
        assert work.backdrop is not None
        mask = set_mask(scene, asked, cut, work.png)
        return _paint(mask, work.backdrop)


class IMAGE_TO_MESH_OT_edit_mask(_CutOutOperator, bpy.types.Operator):
    """Paint on the mask that is there."""

    bl_idname = "image_to_mesh.edit_mask"
    bl_label = "Edit Mask"
    bl_description = "Paint on the present mask, over its picture, in the Image Editor"
    bl_options = {"REGISTER", "UNDO"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        panel = context.scene.image_to_mesh
        reason = session.busy_reason()
        if reason is None and panel.picture is None:
            reason = "Choose a picture first"
        if reason is None and panel.mask is None:
            reason = "There is no mask: press New Mask to Paint or Pick Subject"
        if reason is None:
            refusal = mask_refusal(panel.mask, panel.picture)  # pyright: ignore[reportArgumentType]
            reason = refusal and refusal.removesuffix(".")
        if reason is not None:
            cls.poll_message_set(reason)
        return reason is None

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        mask = context.scene.image_to_mesh.mask
        if not tinted.knows(mask):
            return self._start(context, wait=False)
        drop_preview(context.scene.image_to_mesh)
        _show_in_image_editors(mask, mode="PAINT")
        return {"FINISHED"}

    def _request(self, panel: Any) -> Request:
        """Only the picture, upright as the mask is."""
        request = request_from(panel, source_from_image(panel.picture), None, preferred_device())
        return replace(request, cut_out="none")

    @staticmethod
    def _show(scene: bpy.types.Scene, asked: Asked, cut: CutOut, work: _CutOutWork) -> Lines:
        assert work.backdrop is not None
        mask = asked.mask()
        if mask is None:
            raise CutOutError("The mask was deleted meanwhile: press New Mask to Paint.")
        drop_preview(scene.image_to_mesh)
        return _paint(mask, work.backdrop)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the panel showed when a cut-out was asked for; numbers, because undo moves data-blocks.

    Attributes:
        picture_uid: Number of its picture.
        mask_uid: Number of its mask; 0 for none.
        key: What ``preview_key`` said.
    """

    picture_uid: int
    mask_uid: int
    key: str

    @classmethod
    def of(cls, panel: Any) -> Asked:
        mask = panel.mask
        uid = mask.session_uid if mask is not None else 0
        return cls(panel.picture.session_uid, uid, preview_key(panel))

    def picture(self) -> bpy.types.Image:
        """The picture.

        Raises:
            PictureError: When it has been deleted.
        """
        found = _image_with(self.picture_uid)
        if found is None:
            raise PictureError("The picture was deleted meanwhile, so its cut-out was thrown away.")
        return found

    def mask(self) -> bpy.types.Image | None:
        """The mask, if it is still there."""
        return _image_with(self.mask_uid)


def _image_with(uid: int) -> bpy.types.Image | None:
    return next((image for image in bpy.data.images if image.session_uid == uid), None)


def show_preview(
    scene: bpy.types.Scene, asked: Asked, cut: CutOut, png: PngImage
) -> tuple[str, ...]:
    """Put what ``checkered`` made into the panel and into every Image Editor.

    Where the panel shows another picture by now, nothing is put anywhere.
    """
    panel = scene.image_to_mesh
    if panel.picture != asked.picture():
        return ("Another picture was chosen meanwhile, so the cut-out is not shown.",)
    old = panel.cutout_preview
    preview = image_from_png(f"Cut-out: {cut.picture.name}", png, is_colour=True)
    panel.cutout_preview, panel.preview_key = preview, asked.key
    if old is not None:  # an image that is packed anew would go on showing what it has decoded
        old.user_remap(preview)
        bpy.data.images.remove(old)
        preview.name = f"Cut-out: {cut.picture.name}"
    _show_in_image_editors(preview, mode="VIEW")
    share = 100.0 * float(cut.mask.mean())
    by = f" by {' and '.join(cut.networks)}" if cut.networks else ""
    return (f"The subject covers {share:.0f} % of the picture ({ORIGINS[cut.origin]}{by}).",)


def set_mask(scene: bpy.types.Scene, asked: Asked, cut: CutOut, png: PngImage) -> bpy.types.Image:
    """Make what ``mask_pixels`` made the picture's mask, and the panel's if it still shows that."""
    picture = asked.picture()
    mask = image_from_png(f"Mask: {cut.picture.name}", png, is_colour=False)
    bind(picture, mask)
    if scene.image_to_mesh.picture == picture:
        scene.image_to_mesh.mask = mask
    return mask


def _paint(mask: bpy.types.Image, backdrop: NDArray[np.uint8]) -> tuple[str, ...]:
    """Let the artist paint on a mask over its picture."""
    tinted.show_under(mask, backdrop)
    _show_in_image_editors(mask, mode="PAINT")
    return (f"{mask.name} is ready to paint in an Image Editor: white is the subject.",)


ORIGINS = {
    "alpha": "from its transparency",
    "mask": "from your mask",
    "picks": "from what you picked",
    "network": "found automatically",
    "none": "nothing is cut away",
}


def _show_in_image_editors(image: bpy.types.Image, mode: str) -> None:
    for space in image_editors():
        space.image = image
        space.ui_mode = mode
