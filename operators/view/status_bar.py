"""The running job in Blender's status bar, which is seen whatever the sidebar shows."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from ...inference.running.remaining import time_text

BAR_WIDTH = 26.0  # in Blender's interface units
LONGEST_NAME = 28  # letters of a picture's name


@dataclass(frozen=True, slots=True)
class Running:
    """What is told of a running job.

    Attributes:
        title: Name of the picture, or of what else is worked on.
        stage: What is being done.
        fraction: Finished share, 0 to 1.
        seconds_left: An estimate; None while nothing is known.
    """

    title: str
    stage: str
    fraction: float
    seconds_left: float | None

    def line(self) -> str:
        """All of it in one line."""
        return (
            f"{short(self.title)}: {self.stage}, {self.fraction:.0%},"
            f" {time_text(self.seconds_left)}"
        )


shown: Running | None = None

# The status bar is in no list of areas, so its region is remembered when it is drawn, by the address of
# its window, which tells whether the region can still be there.
_regions: dict[int, bpy.types.Region] = {}


def short(name: str) -> str:
    """A name that leaves room for the rest."""
    return name if len(name) <= LONGEST_NAME else f"{name[: LONGEST_NAME - 1]}…"


def show(running: Running | None) -> None:
    """Show this from now on; None clears it."""
    global shown
    shown = running
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        region = _regions.get(window.as_pointer())
        if region is not None:
            region.tag_redraw()


def _draw(self: bpy.types.Header, context: bpy.types.Context) -> None:
    if context.window is not None and context.region is not None:
        _regions[context.window.as_pointer()] = context.region
    if shown is None:
        return
    row = self.layout.row(align=True)
    bar = row.row(align=True)
    bar.ui_units_x = BAR_WIDTH
    bar.progress(factor=shown.fraction, type="BAR", text=shown.line())
    row.operator("image_to_mesh.cancel", text="", icon="X")


@persistent
def _forget(_path: object = None) -> None:
    _regions.clear()


def register() -> None:
    bpy.types.STATUSBAR_HT_header.append(_draw)
    bpy.app.handlers.load_pre.append(_forget)


def unregister() -> None:
    bpy.app.handlers.load_pre.remove(_forget)
    bpy.types.STATUSBAR_HT_header.remove(_draw)
    _forget()
