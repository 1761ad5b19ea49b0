"""Refine by itself when the artist lets go of a slider."""

from __future__ import annotations

import bpy

from ..inference.errors import ImageToMeshError
from . import refine, session

QUIET = 0.25  # seconds without a change before work begins; a slider changes at every mouse move
RETRY = 0.1  # seconds between looks whether the run before has stopped

_wanted: int | None = None  # session_uid of the object to refine


def schedule(obj: bpy.types.Object) -> None:
    """Refine ``obj`` soon; a run on older settings is stopped. Without a window nothing happens."""
    global _wanted
    if bpy.app.background:
        return
    _wanted = obj.session_uid
    if bpy.app.timers.is_registered(_begin):
        bpy.app.timers.unregister(_begin)
    bpy.app.timers.register(_begin, first_interval=QUIET)


def _begin() -> float | None:
    global _wanted
    if _wanted is None:
        return None
    if session.is_running() and refine.is_refining():
        session.cancel()
    if session.busy_reason() is not None:
        return RETRY
    uid, _wanted = _wanted, None
    try:
        refine.start(uid)
    except ImageToMeshError:  # deleted or being edited meanwhile: the artist has moved on
        return None
    return None


def unregister() -> None:
    global _wanted
    _wanted = None
    if bpy.app.timers.is_registered(_begin):
        bpy.app.timers.unregister(_begin)
