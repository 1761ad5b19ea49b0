"""One Ctrl+Z takes a slider and the mesh that followed it back together.

Blender notes the slider, and the mesh that was made for it arrives later as steps of its own, a coarse
one and a fine one. So a step back from a refined mesh goes on to where mesh and settings agree, and so
does a step forward. ``ImageToMeshShaping.built`` tells what a mesh was made with.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportArgumentType=false, reportCallIssue=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import bpy
from bpy.app.handlers import persistent

from .. import session
from . import live
from .refine import PREVIEW, is_refining
from .shaping import ImageToMeshShaping, settings_of, wanted

MOST_STEPS = 32  # that one Ctrl+Z takes along


@dataclass(frozen=True, slots=True)
class _State:
    """What an object's mesh was made with, and what its settings say."""

    built: str
    wanted: str

    @property
    def agrees(self) -> bool:
        return self.built == self.wanted


_before: dict[int, _State] = {}  # by session_uid
_followed: set[int] = set()  # objects whose change is being taken along
_steps = 0
_is_pending = False  # whether one more step is to be taken
_is_redo = False
_was_stopped = False


def _states() -> dict[int, _State]:
    found = {}
    for obj in bpy.data.objects:
        settings = settings_of(obj)
        if settings.built:
            found[obj.session_uid] = _State(settings.built, wanted(settings))
    return found


def _settings(uid: int) -> ImageToMeshShaping | None:
    found = next((obj for obj in bpy.data.objects if obj.session_uid == uid), None)
    return settings_of(found) if found is not None else None


@persistent
def _note(*_unused: object) -> None:
    """Before a step: remember, and stop a refinement, whose result would land on another state."""
    global _was_stopped
    _before.clear()
    _before.update(_states())
    if session.is_running() and is_refining():
        session.cancel()
        session.forget()
        _was_stopped = True


@persistent
def _undone(*_unused: object) -> None:
    _follow(lambda old, new: old.built != new.built, is_redo=False)


@persistent
def _redone(*_unused: object) -> None:
    _follow(lambda old, new: old.agrees and not new.agrees, is_redo=True)


def _follow(begins: Callable[[_State, _State], bool], *, is_redo: bool) -> None:
    """After a step: go on while it has left a mesh and its settings apart."""
    global _steps, _is_redo, _is_pending
    now = _states()
    if not _followed or _is_redo != is_redo:
        _steps, _is_redo = 0, is_redo
        _followed.clear()
        both = ((uid, _before[uid], new) for uid, new in now.items() if uid in _before)
        _followed.update(uid for uid, old, new in both if begins(old, new))
    moved = {uid for uid in _followed if uid in now and now[uid] != _before.get(uid)}
    apart = {uid for uid in moved if not now[uid].agrees and _is_taken_along(uid)}
    _followed.intersection_update(apart)
    if apart and _steps < MOST_STEPS:
        _steps, _is_pending = _steps + 1, True
        if not bpy.app.timers.is_registered(_go_on):
            bpy.app.timers.register(_go_on, first_interval=0.0)
        return
    _followed.clear()
    _take_up(now)


def _is_taken_along(uid: int) -> bool:
    settings = _settings(uid)
    return settings is not None and (settings.is_live or settings.built.startswith(PREVIEW))


def _take_up(now: dict[int, _State]) -> None:
    """Refine again what a stopped refinement has left apart."""
    global _was_stopped
    if not _was_stopped and not _is_redo:
        return
    _was_stopped = False
    for uid, state in now.items():
        settings = _settings(uid)
        if not state.agrees and settings is not None and settings.is_live:
            live.schedule(settings.id_data)


def _go_on() -> float | None:
    """Take one more step; from a timer, because Blender is still in the middle of the last one."""
    global _is_pending
    _is_pending = False  # the step's handler says whether another is needed
    manager = bpy.context.window_manager
    step = bpy.ops.ed.redo if _is_redo else bpy.ops.ed.undo
    with bpy.context.temp_override(window=manager.windows[0]):
        if step.poll():
            step()
        else:
            _followed.clear()
    return 0.0 if _is_pending else None


def register() -> None:
    handlers = bpy.app.handlers
    handlers.undo_pre.append(_note)
    handlers.redo_pre.append(_note)
    handlers.undo_post.append(_undone)
    handlers.redo_post.append(_redone)


def unregister() -> None:
    global _was_stopped, _is_pending
    handlers = bpy.app.handlers
    handlers.undo_pre.remove(_note)
    handlers.redo_pre.remove(_note)
    handlers.undo_post.remove(_undone)
    handlers.redo_post.remove(_redone)
    if bpy.app.timers.is_registered(_go_on):
        bpy.app.timers.unregister(_go_on)
    _before.clear()
    _followed.clear()
    _was_stopped = _is_pending = False
