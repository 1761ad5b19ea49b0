"""See the cut-out before generating, and turn it into a mask to paint on."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import time

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import CutOut, Done, Request
from ...inference.errors import ImageToMeshError, PictureError
from ...inference.running.job import Job
from .. import session, worker
from ..cursor import cursor_progress
from ..preferences import preferred_device
from ..request import mask_from_image, request_from, settings_from, source_from_image
from ..scene.image import PngImage, image_from_png
from ..target import Target

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

    def run(self, request: Request, report: worker.Report) -> CutOut:
        cut = worker.cut_out(request, report)
        self.png = PngImage.from_pixels(mask_pixels(cut) if self.as_mask else checkered(cut))
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
    """What both operators below share."""

    as_mask = False

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        return self._start(context, wait=False)

    def execute(self, context: bpy.types.Context) -> set[str]:
        return self._start(context, wait=True)

    def _start(self, context: bpy.types.Context, *, wait: bool) -> set[str]:
        started = time.perf_counter()
        panel = context.scene.image_to_mesh
        try:
            if panel.picture is None:
                raise PictureError("No picture is chosen: open one in the Image to Mesh tab first.")
            mask = None
            if panel.mask is not None and not self.as_mask and panel.cut_out in {"AUTO", "MASK"}:
                mask = mask_from_image(panel.mask)
            source = source_from_image(panel.picture)
            request = request_from(panel, source, mask, preferred_device())
        except ImageToMeshError as error:
            return self._refuse(str(error))
        work, target = _CutOutWork(as_mask=self.as_mask), Target.of(context)
        show = show_mask if self.as_mask else show_preview
        # From a timer no operator pushes the undo step; the closure outlives this operator.
        undo_name = None if wait else str(self.bl_label)

        def finish(result: session.Result, seconds: float) -> tuple[str, ...]:
            assert isinstance(result, CutOut)
            assert work.png is not None
            lines = show(target.find()[0], result, work.png)
            if undo_name is not None:
                bpy.ops.ed.undo_push(message=undo_name)
            return lines

        job, settings = Job(request, work.run), settings_from(request)
        if not wait:
            session.start(job, finish, settings)
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
        "Make a mask from the cut-out that you can correct with Blender's brushes in the Image"
        " Editor: white is the subject"
    )
    bl_options = {"REGISTER", "UNDO"}
    as_mask = True


def show_preview(scene: bpy.types.Scene, cut: CutOut, png: PngImage) -> tuple[str, ...]:
    """Put what ``checkered`` made into the panel and into every Image Editor."""
    panel = scene.image_to_mesh
    old = panel.cutout_preview
    preview = image_from_png(f"Cut-out: {cut.picture.name}", png, is_colour=True)
    panel.cutout_preview = preview
    if old is not None:  # an image that is packed anew would go on showing what it has decoded
        old.user_remap(preview)
        bpy.data.images.remove(old)
        preview.name = f"Cut-out: {cut.picture.name}"
    _show_in_image_editors(preview, mode="VIEW")
    share = 100.0 * float(cut.mask.mean())
    by = f" by {' and '.join(cut.networks)}" if cut.networks else ""
    return (f"The subject covers {share:.0f} % of the picture ({ORIGINS[cut.origin]}{by}).",)


def set_mask(scene: bpy.types.Scene, cut: CutOut, png: PngImage) -> bpy.types.Image:
    """Make what ``mask_pixels`` made the scene's mask."""
    mask = image_from_png(f"Mask: {cut.picture.name}", png, is_colour=False)
    scene.image_to_mesh.mask = mask
    return mask


def show_mask(scene: bpy.types.Scene, cut: CutOut, png: PngImage) -> tuple[str, ...]:
    """Make it the scene's mask and let the artist paint on it."""
    mask = set_mask(scene, cut, png)
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
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas if window.screen is not None else ():
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceImageEditor) and space.ui_mode != "UV":
                space.image = image
                space.ui_mode = mode
                area.tag_redraw()
