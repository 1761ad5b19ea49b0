"""Dots and a frame over the Image Editor, where the artist has clicked."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from collections.abc import Sequence

import bpy
import gpu
from gpu_extras.batch import batch_for_shader

SUBJECT, BACKGROUND = (0.1, 0.9, 0.2, 1.0), (1.0, 0.2, 0.15, 1.0)
FRAME, RIM = (1.0, 0.85, 0.1, 1.0), (0.0, 0.0, 0.0, 1.0)
DOT, RIM_DOT = 9.0, 13.0  # pixels

Point = tuple[float, float, bool]
Box = tuple[float, float, float, float]


class PickMarks:
    """Draws until ``remove`` is called."""

    def __init__(self, area: bpy.types.Area, region: bpy.types.Region) -> None:
        self._area, self._region = area, region
        self._points: list[Point] = []
        self._box: Box | None = None
        self._handle = bpy.types.SpaceImageEditor.draw_handler_add(
            self._draw, (), "WINDOW", "POST_PIXEL"
        )

    def show(self, points: Sequence[Point], box: Box | None) -> None:
        """Draw these from now on, in 0..1 of the picture from its top left corner."""
        self._points, self._box = list(points), box
        self._area.tag_redraw()

    def remove(self) -> None:
        bpy.types.SpaceImageEditor.draw_handler_remove(self._handle, "WINDOW")
        self._area.tag_redraw()

    def _draw(self) -> None:
        if bpy.context.region != self._region:  # another Image Editor
            return
        shader = gpu.shader.from_builtin("UNIFORM_COLOR")
        gpu.state.blend_set("ALPHA")
        for size, only_rim in ((RIM_DOT, True), (DOT, False)):
            gpu.state.point_size_set(size)
            for is_subject in (True, False):
                places = [self._pixel(x, y) for x, y, own in self._points if own == is_subject]
                if places:
                    colour = RIM if only_rim else (SUBJECT if is_subject else BACKGROUND)
                    shader.uniform_float("color", colour)
                    batch_for_shader(shader, "POINTS", {"pos": places}).draw(shader)
        if self._box is not None:
            left, top, right, bottom = self._box
            corners = [(left, top), (right, top), (right, bottom), (left, bottom), (left, top)]
            gpu.state.line_width_set(2.0)
            shader.uniform_float("color", FRAME)
            places = [self._pixel(x, y) for x, y in corners]
            batch_for_shader(shader, "LINE_STRIP", {"pos": places}).draw(shader)
            gpu.state.line_width_set(1.0)
        gpu.state.point_size_set(1.0)
        gpu.state.blend_set("NONE")

    def _pixel(self, x: float, y: float) -> tuple[float, float]:
        across, up = self._region.view2d.view_to_region(x, 1.0 - y, clip=False)
        return float(across), float(up)
