"""The 3D view that started a run: shown its result, in colour, without an undo step.

Views are no part of undo, and here they are changed by Blender's own navigation, which pushes none.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportCallIssue=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from ..preferences import frames_results, result_shading

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
            _frame(window, area)
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


def _frame(window: bpy.types.Window, area: bpy.types.Area) -> None:
    """Bring what is selected into view, as View > Frame Selected does."""
    regions = [region for region in area.regions if region.type == "WINDOW"]
    for region in regions:  # four in a quad view
        with bpy.context.temp_override(window=window, area=area, region=region):
            if bpy.ops.view3d.view_selected.poll():
                bpy.ops.view3d.view_selected()


@persistent
def _forget(_path: object) -> None:
    _coloured.clear()


def register() -> None:
    bpy.app.handlers.load_pre.append(_forget)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_forget)
    _coloured.clear()
