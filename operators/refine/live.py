"""Refine by itself when the artist lets go of a slider."""

from __future__ import annotations

from collections.abc import Callable

import bpy

from ...inference.errors import ImageToMeshError
from .. import session

QUIET = 0.25  # seconds without a change before work begins; a slider changes at every mouse move
RETRY = 0.1  # seconds between looks whether the run before has stopped

_wanted: int | None = None  # session_uid of the object to refine
_start: Callable[[int], None] | None = None
_is_refining: Callable[[], bool] | None = None


def register(start: Callable[[int], None], is_refining: Callable[[], bool]) -> None:
    """Say what begins a refinement, by an object's session_uid, and what tells whether one runs.

    They are handed over because the settings, which call ``schedule``, lie below the operator.
    """
    global _start, _is_refining
    _start, _is_refining = start, is_refining


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
    if _wanted is None or _start is None or _is_refining is None:
        return None
    if session.is_running() and _is_refining():
        session.cancel()
    if session.busy_reason() is not None:
        return RETRY
    uid, _wanted = _wanted, None
    try:
        _start(uid)
    except ImageToMeshError:  # deleted or being edited meanwhile: the artist has moved on
        return None
    return None


def unregister() -> None:
    global _wanted, _start, _is_refining
    _wanted = _start = _is_refining = None
    if bpy.app.timers.is_registered(_begin):
        bpy.app.timers.unregister(_begin)
