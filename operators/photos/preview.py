"""The surface of a running reconstruction, drawn into the 3D view while it is being made.

Drawn, not built: it is in no file, no undo step, no render and no Outliner, nothing has to be taken
away when the file changes, and the artist can go on working under it.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import queue
from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np
from gpu_extras.batch import batch_for_shader
from mathutils import Matrix
from numpy.typing import NDArray

from ...inference.errors import ImageToMeshError
from ...inference.views.watch import PreviewMesh, Watch
from ..scene.axes import opencv_to_blender_points
from ..target import Target
from ..view.place import ORIGIN, Anchor, free_matrix

LIGHT = (-0.45, -0.6, 0.66)  # where it comes from: over the left shoulder in the front view
DARKEST = 0.45  # what is left of a colour where no light falls


@dataclass(frozen=True, slots=True)
class Drawing:
    """Triangles in Blender's world axes, ready for the graphics card.

    Attributes:
        positions: (V, 3) float32.
        colours: (V, 4) float32 sRGB with alpha 1, shaded, so that what has one colour has a shape.
        triangles: (T, 3) int32.
        words: What it is.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.float32]
    triangles: NDArray[np.int32]
    words: str

    @classmethod
    def of(cls, mesh: PreviewMesh) -> Drawing:
        """Turn and shade a preview; belongs on the worker thread."""
        from ...inference.texture.project import vertex_normals  # brings OpenCV: not before a run

        positions = np.ascontiguousarray(opencv_to_blender_points(mesh.positions), np.float32)
        triangles = np.concatenate([mesh.faces[:, [0, 1, 2]], mesh.faces[:, [0, 2, 3]]])
        normals = vertex_normals(positions, mesh.faces)
        lit = 0.5 + 0.5 * (normals @ np.array(LIGHT))  # half Lambert: no side is without shape
        colours = np.ones((len(positions), 4), np.float32)
        colours[:, :3] = mesh.colours / 255 * (DARKEST + (1 - DARKEST) * lit[:, None])
        whole = np.ascontiguousarray(triangles, np.int32)  # the graphics card takes no strides
        return cls(positions, colours, whole, mesh.words)


class Preview:
    """Shows one run's surface in the scene that asked for it, and ends the run early on demand.

    Attributes:
        watch: What the engine is given.
        shown: What is drawn now; None before there is anything.
    """

    def __init__(self, target: Target, place: Anchor = ORIGIN) -> None:
        self.watch = Watch(show=self._put)
        self.shown: Drawing | None = None
        self._target = target
        self._place = place
        self._matrix: Matrix | None = None  # known with the first surface, and kept
        self._news: queue.SimpleQueue[Drawing] = queue.SimpleQueue()
        self._handle: object | None = None
        self._batch: Any = None
        self._shader: Any = None

    def _put(self, mesh: PreviewMesh) -> None:
        """Called on the worker thread."""
        self._news.put(Drawing.of(mesh))

    def refresh(self) -> None:
        """Take the newest surface, if there is one, and have the views drawn again."""
        newest = None
        while not self._news.empty():
            newest = self._news.get_nowait()
        if newest is None:
            return
        self.shown, self._batch = newest, None
        if self._matrix is None:
            self._matrix = self._free_matrix(newest)
        if self._handle is None:
            self._handle = bpy.types.SpaceView3D.draw_handler_add(
                self._draw, (), "WINDOW", "POST_VIEW"
            )
        _redraw_views()

    def _free_matrix(self, drawing: Drawing) -> Matrix:
        """Where the surface is drawn: about where the result will arrive."""
        try:
            _, view_layer = self._target.find()
        except ImageToMeshError:  # the scene is gone; the end of the run tells
            return Matrix.Identity(4)
        bounds = np.stack([drawing.positions.min(axis=0), drawing.positions.max(axis=0)])
        corners = np.stack(np.meshgrid(*bounds.T, indexing="ij"), axis=-1).reshape(-1, 3)
        return free_matrix(self._place, view_layer, corners)

    def can_finish(self) -> bool:
        """Whether ``finish_now`` would save time; False once it has been called."""
        return self.watch.can_finish.is_set() and not self.watch.finish_now.is_set()

    def finish_now(self) -> None:
        """Have the run keep what there is."""
        self.watch.finish_now.set()

    def close(self) -> None:
        """Draw nothing any more; the run may still go on until it notices that it is cancelled."""
        if self._handle is not None:
            bpy.types.SpaceView3D.draw_handler_remove(self._handle, "WINDOW")
            _redraw_views()
        self._handle = self._batch = self._shader = self.shown = None

    def _draw(self) -> None:
        """Called by Blender for each 3D view, which is the only place where there is a card."""
        if self.shown is None or bpy.context.scene.session_uid != self._target.session_uid:
            return
        if self._batch is None:
            self._shader = gpu.shader.from_builtin("SMOOTH_COLOR")
            content = {"pos": self.shown.positions, "color": self.shown.colours}
            self._batch = batch_for_shader(
                self._shader, "TRIS", content, indices=self.shown.triangles
            )
        gpu.state.depth_test_set("LESS_EQUAL")
        gpu.state.depth_mask_set(True)
        with gpu.matrix.push_pop():  # pyright: ignore[reportGeneralTypeIssues]
            gpu.matrix.multiply_matrix(self._matrix or Matrix.Identity(4))
            self._batch.draw(self._shader)
        gpu.state.depth_mask_set(False)
        gpu.state.depth_test_set("NONE")


def _redraw_views() -> None:
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas if window.screen is not None else ():
            if area.type == "VIEW_3D":
                area.tag_redraw()
