"""The button, and under it one box for all that can be told of a run.

Both keep their height whatever happens, so that nothing below them moves under the mouse.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import textwrap
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import bpy

from ..inference.contracts import Cancelled, Failed
from ..inference.running.remaining import time_text
from ..operators import session

ROWS = 5  # of the box
BUTTON_HEIGHT = 1.6
PIXELS_PER_LETTER = 7.0  # of Blender's interface font at a scale of 1, a little generous

Icon = Literal["ERROR", "CHECKMARK", "BLANK1", "INFO"]


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the box.

    Attributes:
        text: What it says.
        icon: What stands before it.
        operator: The button that it is instead of a label; "progress" for the bar.
    """

    text: str = ""
    icon: Icon = "BLANK1"
    operator: str = ""


def draw_run(
    layout: bpy.types.UILayout,
    context: bpy.types.Context,
    draw_button: Callable[[bpy.types.UILayout], None],
    hints: Sequence[str] = (),
) -> None:
    """Draw the button, or Cancel in its place while something runs, and the box.

    Args:
        layout: Where.
        context: Says how wide that is.
        draw_button: Draws the button that starts a run.
        hints: What the box says before there is anything to tell.
    """
    place = layout.row(align=True)
    place.scale_y = BUTTON_HEIGHT
    if session.is_running():
        place.operator("image_to_mesh.cancel", icon="CANCEL")
        if session.can_finish():
            place.operator("image_to_mesh.finish_now", icon="CHECKMARK")
    else:
        draw_button(place)
    column = layout.box().column(align=True)
    for row in rows(letters_in(context), hints):
        if row.operator == "progress":
            share = session.running()
            fraction = share.fraction if share is not None else 0.0
            column.progress(factor=fraction, type="BAR", text=row.text)
        elif row.operator:
            button = column.operator(row.operator, icon="COPYDOWN" if not row.text else "INFO")
            if row.text:
                button.text = row.text
        else:
            column.label(text=row.text, icon=row.icon)


def rows(letters: int, hints: Sequence[str] = ()) -> list[Row]:
    """What the box holds now: always ``ROWS`` rows.

    Args:
        letters: That fit into one.
        hints: What is said before there is anything to tell.
    """
    event, running = session.last_event, session.running()
    if running is not None:
        told = [
            Row(f"{running.fraction:.0%}", operator="progress"),
            *_wrapped(running.stage, letters, "BLANK1"),
            *_wrapped(running.title, letters, "BLANK1"),
            *_wrapped(time_text(running.seconds_left), letters, "BLANK1"),
        ]
        return _filled(told, "")
    if isinstance(event, Failed):
        told = _wrapped(event.message, letters, "ERROR")
        return _filled(told, event.message, Row(operator="image_to_mesh.copy_report"))
    if isinstance(event, Cancelled):
        return _filled(_wrapped("Cancelled", letters, "INFO"), "")
    lines = session.last_summary or tuple(hints)
    told = []
    for index, line in enumerate(lines):
        first: Icon = "CHECKMARK" if session.last_summary else "INFO"
        told += _wrapped(line, letters, "BLANK1" if index else first)
    return _filled(told, "\n".join(lines))


def _filled(told: list[Row], whole: str, last: Row | None = None) -> list[Row]:
    """Exactly ``ROWS`` rows; what does not fit is a button away."""
    room = ROWS - (last is not None)
    if len(told) > room:
        read_on = Row(
            whole or " ".join(row.text for row in told), operator="image_to_mesh.show_message"
        )
        told = [*told[: room - 1], read_on]
    told = [*told, *[Row()] * (room - len(told))]
    return [*told, last] if last is not None else told


def _wrapped(text: str, letters: int, icon: Icon) -> list[Row]:
    lines = textwrap.wrap(text, letters) or [""]
    return [Row(line, "BLANK1" if index else icon) for index, line in enumerate(lines)]


def letters_in(context: bpy.types.Context) -> int:
    """How many letters fit into a row of a box, beside its icon."""
    scale = context.preferences.system.ui_scale
    return max(int(context.region.width / scale / PIXELS_PER_LETTER) - 6, 16)


def draw_wrapped(
    layout: bpy.types.UILayout, context: bpy.types.Context, text: str, icon: Icon
) -> None:
    """Labels do not wrap by themselves and would cut a long sentence short."""
    column = layout.column(align=True)
    for row in _wrapped(text, letters_in(context), icon):
        column.label(text=row.text, icon=row.icon)
