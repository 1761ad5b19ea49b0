"""The 3D view that started a run: shown its result, in colour, without an undo step.

Views are no part of undo, and nothing here pushes a step.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportCallIssue=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bpy
import numpy as np
from bpy.app.handlers import persistent
from mathutils import Vector
from numpy.typing import NDArray

from ..preferences import frames_results, result_shading

FILLED = 0.8  # of the free part of a view, by a result
LEAST_FREE = 0.25  # of a view's sides; what covers more is not steered around

_coloured: set[int] = set()  # addresses of the areas that were switched to colour once


@dataclass(frozen=True, slots=True)
class Onlooker:
    """A 3D view, remembered by its address alone: areas come and go while a run goes on.

    Attributes:
        address: Of the area; 0 when none started the run, and the largest is taken.
        window: Address of its window.
    """

    address: int
    window: int

    @classmethod
    def of(cls, context: bpy.types.Context) -> Onlooker:
        """The view that the artist works in."""
        area, window = context.area, context.window
        is_view = area is not None and area.type == "VIEW_3D"
        return cls(
            area.as_pointer() if is_view else 0, window.as_pointer() if window is not None else 0
        )

    def find(
        self, scene: bpy.types.Scene | None = None
    ) -> tuple[bpy.types.Window, bpy.types.Area] | None:
        """The view if it is still open, else the largest that shows ``scene``; None without any."""
        views = [
            (window, area) for window, area in _views() if scene is None or window.scene == scene
        ]
        for window, area in views:
            if area.as_pointer() == self.address:
                return window, area
        near = [view for view in views if view[0].as_pointer() == self.window] or views
        return max(near, key=lambda view: view[1].width * view[1].height, default=None)

    def space(self) -> bpy.types.SpaceView3D | None:
        """The view's settings."""
        found = self.find()
        space = found[1].spaces.active if found is not None else None
        return space if isinstance(space, bpy.types.SpaceView3D) else None

    def look_at(self, scene: bpy.types.Scene, obj: bpy.types.Object) -> None:
        """Show a new object as the preferences say; nothing while the artist edits another.

        Args:
            scene: The object's scene.
            obj: Selected and active, unless another object is being edited.
        """
        found = self.find(scene)
        if found is None:
            return
        window, area = found
        space = area.spaces.active
        if space.local_view is not None:  # what is new would stay out of it
            obj.local_view_set(space, True)
        is_editing = window.view_layer.objects.active != obj
        if is_editing:
            return
        _colour(area, result_shading())
        if frames_results() and not bpy.app.background:
            _frame(window, area, obj)
        area.tag_redraw()


def _views() -> Iterator[tuple[bpy.types.Window, bpy.types.Area]]:
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas if window.screen is not None else ():
            if area.type == "VIEW_3D":
                yield window, area


def _colour(area: bpy.types.Area, wanted: str) -> None:
    """Switch a view that shows plain grey to the result's colours; once, so that grey can be chosen."""
    shading = area.spaces.active.shading
    if wanted == "KEEP" or shading.type != "SOLID" or area.as_pointer() in _coloured:
        return
    _coloured.add(area.as_pointer())
    if wanted == "MATERIAL":
        shading.type = "MATERIAL"
    else:
        shading.color_type = "TEXTURE"


def _frame(window: bpy.types.Window, area: bpy.types.Area, obj: bpy.types.Object) -> None:
    """Bring an object into the part of a view that no sidebar covers, seen from where it is seen."""
    regions = [region for region in area.regions if region.type == "WINDOW"]
    space = area.spaces.active
    if len(regions) > 1 or space.region_3d is None:  # a quad view: as View > Frame Selected does
        for region in regions:
            with bpy.context.temp_override(window=window, area=area, region=region):
                if bpy.ops.view3d.view_selected.poll():
                    bpy.ops.view3d.view_selected()
        return
    view = space.region_3d
    if view.view_perspective == "CAMERA":
        view.view_perspective = "PERSP"
    axes = np.array(view.view_rotation.to_matrix())  # its columns: right, up, towards the viewer
    corners = np.array([obj.matrix_world @ Vector(corner) for corner in obj.bound_box])
    middle = (corners.min(axis=0) + corners.max(axis=0)) / 2
    region = regions[0]
    free = free_rectangle(region, [other for other in area.regions if other != region])
    # Blender's views see as far to the side as a lens on a sensor of 72 mm, along the longer side.
    scale = space.lens / 36.0
    longer = max(region.width, region.height)
    distance, aside = framing(
        (corners - middle) @ axes,
        (scale * longer / region.width, scale * longer / region.height),
        free,
        is_perspective=view.view_perspective == "PERSP",
    )
    view.view_distance = distance
    view.view_location = middle - axes[:, :2] @ aside
    space.clip_start = min(space.clip_start, distance / 100.0)
    space.clip_end = max(space.clip_end, distance * 10.0)


def free_rectangle(
    region: bpy.types.Region, others: Sequence[bpy.types.Region]
) -> NDArray[np.float64]:
    """What of a view's region nothing lies over.

    Returns:
        (2, 2) lower left and upper right corner, from -1 to 1 of the region's width and height.
    """
    low = np.array([region.x, region.y], np.float64)
    size = np.array([region.width, region.height], np.float64)
    free = np.array([low, low + size])
    for other in others:
        start = np.array([other.x, other.y], np.float64)
        end = start + np.array([other.width, other.height])
        overlap = np.minimum(end, low + size) - np.maximum(start, low)
        if (overlap <= 1.0).any():
            continue
        axis = int(np.argmin(overlap / size))  # a bar lies along the other axis
        if start[axis] + end[axis] > 2 * low[axis] + size[axis]:
            free[1, axis] = min(free[1, axis], start[axis])
        else:
            free[0, axis] = max(free[0, axis], end[axis])
    if (free[1] - free[0] < LEAST_FREE * size).any():
        free = np.array([low, low + size])
    return (free - low) / size * 2.0 - 1.0


def framing(
    corners: NDArray[np.float64],
    scale: tuple[float, float],
    free: NDArray[np.float64],
    *,
    is_perspective: bool,
) -> tuple[float, NDArray[np.float64]]:
    """How far a view has to step back, and aside, so that it shows all of a box.

    Args:
        corners: (8, 3) of the box from its middle: right, up, towards the viewer.
        scale: Of right and up at a distance of 1, in half widths and half heights of the view.
        free: From ``free_rectangle``.
        is_perspective: Whether what is near looks larger.

    Returns:
        The distance, and (2,) how far to the right and up the box has to appear of the view's middle.
    """
    scales, middle = np.array(scale), free.mean(axis=0)
    rims = (middle + (free - middle) * FILLED)[:, None, :] / scales
    depth = corners[:, 2] if is_perspective else np.zeros(len(corners))

    def asides(distance: float) -> NDArray[np.float64]:
        """(2, 2): least and most of how far it may be aside to be seen whole; crossed if it cannot."""
        limits = rims * (distance - depth)[:, None] - corners[:, :2]
        return np.array([limits[0].max(axis=0), limits[1].min(axis=0)])

    low = float(depth.max()) + 1e-4
    high = low + 1.0
    while (asides(high)[0] > asides(high)[1]).any():
        high *= 2.0
    for _ in range(40):
        between = (low + high) / 2
        if (asides(between)[0] > asides(between)[1]).any():
            low = between
        else:
            high = between
    return high, asides(high).mean(axis=0)


@persistent
def _forget(_path: object) -> None:
    _coloured.clear()


def register() -> None:
    bpy.app.handlers.load_pre.append(_forget)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_forget)
    _coloured.clear()
