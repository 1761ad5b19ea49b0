"""Say what the subject is by clicking on it or framing it; the cut-out becomes the mask."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import ast
import math
import time
from collections.abc import Callable
from dataclasses import replace

import bpy
from bpy.props import FloatVectorProperty, StringProperty

from ...inference.contracts import CutOut, Done, Picks, Request
from ...inference.errors import CutOutError, ImageToMeshError, PictureError
from ...inference.running.job import Job
from .. import session, worker
from ..cursor import cursor_progress
from ..preferences import preferred_device
from ..request import request_from, settings_from, source_from_image
from ..scene.image import PngImage
from ..target import Target
from ..view.belonging import WITH_MASK, preview_key
from .check import Asked, WithPicture, checkered, mask_pixels, set_mask, show_preview
from .marks import PickMarks

DRAG = 6  # pixels that the mouse must move to draw a box instead of a click
LEAST_BOX = 0.01  # of the picture's sides
LOOK_INTERVAL = 0.1  # seconds between looks at whether the last cut-out is done
NO_BOX = (0.0, 0.0, 0.0, 0.0)
HELP = (
    "Click: subject   Ctrl-click: background   Drag: box   Backspace: take back   Enter: done  "
    " Esc: cancel"
)
# What goes on working in the Image Editor meanwhile.
NAVIGATION = frozenset(
    {
        *("MIDDLEMOUSE", "WHEELUPMOUSE", "WHEELDOWNMOUSE", "TRACKPADPAN", "TRACKPADZOOM"),
        *("MOUSEMOVE", "INBETWEEN_MOUSEMOVE", "HOME", "NUMPAD_PLUS", "NUMPAD_MINUS"),
        "WINDOW_DEACTIVATE",
    }
)


class _PickWork:
    """Finds the cut-out and encodes both what shows it and the mask, on the worker thread."""

    def __init__(self, *, keeps_models: bool) -> None:
        self.preview: PngImage | None = None
        self.mask: PngImage | None = None
        self._keeps_models = keeps_models

    def run(self, request: Request, report: worker.Report) -> CutOut:
        cut = worker.cut_out(request, report, keeps_models=self._keeps_models)
        self.preview = PngImage.from_pixels(checkered(cut))
        self.mask = PngImage.from_pixels(mask_pixels(cut))
        return cut


class IMAGE_TO_MESH_OT_pick_subject(WithPicture, bpy.types.Operator):
    """Find what is clicked on."""

    bl_idname = "image_to_mesh.pick_subject"
    bl_label = "Pick Subject"
    bl_description = (
        "In the Image Editor: click on what you want, Ctrl-click on what you do not want, or drag a"
        " box around it. What is found becomes the mask. Enter ends, Backspace takes the last click"
        " back, Esc cancels"
    )
    bl_options = {"REGISTER", "UNDO"}

    points: StringProperty(
        name="Clicks",
        description="x, y and 1 for the subject or 0 for the background, such as [(0.5, 0.4, 1),"
        " (0.1, 0.9, 0)], from 0 to 1 of the picture's sides, from its top left corner",
        options={"SKIP_SAVE"},
    )
    box: FloatVectorProperty(
        name="Box",
        description="Left, top, right and bottom from 0 to 1 of the picture's sides, from its top"
        " left corner",
        size=4,
        min=0.0,
        max=1.0,
        default=NO_BOX,
        options={"SKIP_SAVE"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        started = time.perf_counter()
        box = tuple(self.box) if tuple(self.box) != NO_BOX else None
        try:
            request = _request(context, points_from(self.points), box)
        except ImageToMeshError as error:
            return self._refuse(str(error))
        work = _PickWork(keeps_models=False)
        finish = _finisher(work, context, lambda _mask: None)
        settings = settings_from(request)
        with cursor_progress(context) as progress:
            event = session.run(Job(request, work.run), progress, settings)
        failed = session.conclude(event, finish, time.perf_counter() - started)
        if failed is not None:
            return self._refuse(failed.message)
        return {"FINISHED"} if isinstance(event, Done) else {"CANCELLED"}

    def invoke(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        area, region = image_editor(context)
        if area is None or region is None:
            return self._refuse("Open an Image Editor to click in: any area can become one.")
        self._area, self._region = area, region
        before = context.scene.image_to_mesh.mask
        self._before = None if before is None else before.name
        self._made: str | None = None
        self._points: list[tuple[float, float, bool]] = []
        self._frame: tuple[float, float, float, float] | None = None
        self._pressed: tuple[int, int, bool] | None = None
        self._is_stale = False
        try:
            self._show_upright(context)
        except ImageToMeshError as error:
            return self._refuse(str(error))
        self._marks = PickMarks(area, region)
        self._timer = context.window_manager.event_timer_add(LOOK_INTERVAL, window=context.window)
        context.window_manager.modal_handler_add(self)
        context.workspace.status_text_set(HELP)
        return {"RUNNING_MODAL"}

    def modal(self, context: bpy.types.Context, event: bpy.types.Event) -> set[str]:
        if event.type == "TIMER":
            self._ask_again(context)
            return {"PASS_THROUGH"}
        if event.type == "LEFTMOUSE":
            self._button(event)
        elif event.type == "MOUSEMOVE" and self._pressed is not None:
            self._marks.show(self._points, self._dragged(event) or self._frame)
        elif event.type in NAVIGATION:
            return {"PASS_THROUGH"}
        elif event.value != "PRESS":
            pass
        elif event.type in {"RET", "NUMPAD_ENTER"}:
            if not (self._is_stale or session.is_running()):  # else the last click is looked at
                self._end(context)
                return {"FINISHED"}
        elif event.type in {"ESC", "RIGHTMOUSE"}:
            session.cancel()
            self._put_back(context)
            self._end(context)
            return {"CANCELLED"}
        elif event.type == "BACK_SPACE" or (event.type == "Z" and event.ctrl):
            self._take_back()
        return {"RUNNING_MODAL"}

    def cancel(self, context: bpy.types.Context) -> None:
        self._end(context)

    def _button(self, event: bpy.types.Event) -> None:
        if event.value == "PRESS" and self._is_inside(event):
            self._pressed = (event.mouse_x, event.mouse_y, not event.ctrl)
        elif event.value == "RELEASE" and self._pressed is not None:
            frame = self._dragged(event)
            x, y = self._place(self._pressed[0], self._pressed[1])
            if frame is not None:
                self._frame = frame
            elif 0.0 <= x <= 1.0 and 0.0 <= y <= 1.0:
                self._points.append((x, y, self._pressed[2]))
            self._pressed = None
            self._changed()

    def _take_back(self) -> None:
        if self._points:
            self._points.pop()
        else:
            self._frame = None
        self._changed()

    def _changed(self) -> None:
        self._is_stale = True
        self._marks.show(self._points, self._frame)

    def _ask_again(self, context: bpy.types.Context) -> None:
        """Look for the subject once nothing else runs."""
        if not self._is_stale or session.busy_reason() is not None:
            return
        self._is_stale = False
        if self._frame is None and not any(own for _, _, own in self._points):
            return
        try:
            request = _request(context, tuple(self._points), self._frame)
        except ImageToMeshError as error:
            self.report({"ERROR"}, str(error))
            return
        work = _PickWork(keeps_models=True)  # so that the next click is answered at once
        finish = _finisher(work, context, self._replace_made)
        title = context.scene.image_to_mesh.picture.name
        session.start(Job(request, work.run), finish, settings_from(request), title=title)

    def _show_upright(self, context: bpy.types.Context) -> None:
        """Show the picture as the networks see it: Blender does not turn photos upright."""
        request = replace(_request(context, (), (0.0, 0.0, 1.0, 1.0)), picks=None, cut_out="none")
        work, target = _PickWork(keeps_models=True), Target.of(context)
        asked = Asked.of(context.scene.image_to_mesh)

        def finish(result: session.Result, _seconds: float) -> tuple[str, ...]:
            assert isinstance(result, CutOut)
            assert work.preview is not None
            show_preview(target.find()[0], asked, result, work.preview)
            return (HELP,)

        title = context.scene.image_to_mesh.picture.name
        session.start(Job(request, work.run), finish, settings_from(request), title=title)

    def _replace_made(self, mask: bpy.types.Image) -> None:
        """Keep only the last of the masks that the clicks have made."""
        self._remove_made()
        self._made = mask.name

    def _remove_made(self) -> None:
        made = bpy.data.images.get(self._made) if self._made is not None else None
        if made is not None:
            bpy.data.images.remove(made)
        self._made = None

    def _put_back(self, context: bpy.types.Context) -> None:
        self._remove_made()
        panel = context.scene.image_to_mesh
        panel.mask = bpy.data.images.get(self._before) if self._before is not None else None

    def _is_inside(self, event: bpy.types.Event) -> bool:
        x, y = event.mouse_x - self._region.x, event.mouse_y - self._region.y
        return 0 <= x < self._region.width and 0 <= y < self._region.height

    def _place(self, mouse_x: int, mouse_y: int) -> tuple[float, float]:
        """From the window's pixels to 0..1 of the picture, from its top left corner."""
        view = self._region.view2d
        x, y = view.region_to_view(mouse_x - self._region.x, mouse_y - self._region.y)
        return float(x), 1.0 - float(y)

    def _dragged(self, event: bpy.types.Event) -> tuple[float, float, float, float] | None:
        """The box that is being drawn, None while it is only a click."""
        assert self._pressed is not None
        x, y, _ = self._pressed
        if math.hypot(event.mouse_x - x, event.mouse_y - y) < DRAG:
            return None
        ends = [self._place(x, y), self._place(event.mouse_x, event.mouse_y)]
        left, right = sorted(min(max(end[0], 0.0), 1.0) for end in ends)
        top, bottom = sorted(min(max(end[1], 0.0), 1.0) for end in ends)
        if right - left < LEAST_BOX or bottom - top < LEAST_BOX:
            return None
        return left, top, right, bottom

    def _end(self, context: bpy.types.Context) -> None:
        self._marks.remove()
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)
        if not session.is_running():
            worker.free_models()

    def _refuse(self, message: str) -> set[str]:
        self.report({"ERROR"}, message)
        return {"CANCELLED"}


def points_from(text: str) -> tuple[tuple[float, float, bool], ...]:
    """Read clicks as the operator takes them.

    Raises:
        CutOutError: The text is something else.
    """
    try:
        rows = ast.literal_eval(text) if text.strip() else []
        return tuple((float(x), float(y), bool(kind)) for x, y, kind in rows)
    except (ValueError, TypeError, SyntaxError) as error:
        raise CutOutError(
            f"Clicks are given as [(x, y, 1), ...] with x and y from 0 to 1, not as {text}."
        ) from error


def image_editor(
    context: bpy.types.Context,
) -> tuple[bpy.types.Area | None, bpy.types.Region | None]:
    """The Image Editor to click in: the one under the mouse, else the first of the window."""
    areas = [
        area
        for area in context.window.screen.areas
        if area.type == "IMAGE_EDITOR" and area.spaces.active.ui_mode != "UV"
    ]
    if not areas:
        return None, None
    area = next((area for area in areas if area == context.area), areas[0])
    return area, next(region for region in area.regions if region.type == "WINDOW")


def _request(
    context: bpy.types.Context,
    points: tuple[tuple[float, float, bool], ...],
    box: tuple[float, ...] | None,
) -> Request:
    panel = context.scene.image_to_mesh
    if panel.picture is None:
        raise PictureError("No picture is chosen: open one in the Image to Mesh tab first.")
    try:
        picks = Picks(points, None if box is None else (box[0], box[1], box[2], box[3]))
    except ValueError as error:
        raise CutOutError(f"Nothing is picked: {error}.") from error
    source = source_from_image(panel.picture)
    return request_from(panel, source, None, preferred_device(), picks)


def _finisher(
    work: _PickWork, context: bpy.types.Context, on_mask: Callable[[bpy.types.Image], None]
) -> session.Finish:
    target, asked = Target.of(context), Asked.of(context.scene.image_to_mesh)

    def finish(result: session.Result, _seconds: float) -> tuple[str, ...]:
        assert isinstance(result, CutOut)
        assert work.preview is not None
        assert work.mask is not None
        scene = target.find()[0]
        panel = scene.image_to_mesh
        on_mask(set_mask(scene, asked, result, work.mask))
        if panel.cut_out not in WITH_MASK:
            panel.cut_out = "MASK"
        # The preview shows the new mask: it stays true until that or the picture changes.
        shown = replace(asked, key=preview_key(panel))
        return show_preview(scene, shown, result, work.preview)

    return finish
