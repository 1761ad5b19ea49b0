"""The one place where a worker thread and Blender meet. Main thread only.

At most one job runs at a time. In a window its events arrive through ``pump``, a timer; without one
(``blender -b``, the bpy module) timers never fire, and ``run`` waits for the job instead.
Nothing here is saved in a .blend.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import atexit
import json
import logging
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

import bpy
from bpy.app.handlers import persistent

from ..inference.contracts import Cancelled, CutOut, Done, Failed, News, Progress, Reconstruction
from ..inference.errors import ImageToMeshError
from ..inference.naming import shown
from ..inference.running.job import Job
from ..inference.running.remaining import History, Remaining
from ..inference.running.scratch import sweep_aside
from .view import status_bar
from .view.status_bar import Running

logger = logging.getLogger(__name__)

PUMP_INTERVAL = 0.1  # seconds between looks at the queue
RUN_INTERVAL = 0.05  # seconds between looks when nothing else can happen meanwhile
TELL_INTERVAL = 2.0  # seconds after which the remaining time is told anew without any news
REDRAW_INTERVAL = 0.5  # seconds; a progress bar needs no more, and drawing holds up everything
PICTURE_WORK = "A picture is being worked on"
SHUTDOWN_PATIENCE = 5.0  # seconds that disabling the add-on or quitting may take

Result = Reconstruction | CutOut | News
Finish = Callable[[Result, float], tuple[str, ...]]
Settings = Mapping[str, object]


class Companion(Protocol):
    """What goes along with a job on the main thread: a look at its work, and a way to end it early."""

    def refresh(self) -> None:
        """Show what is new; called often while the job runs."""

    def can_finish(self) -> bool:
        """Whether the job would end sooner with a result if it were asked to."""
        ...

    def finish_now(self) -> None:
        """Ask the job to end soon with what it has."""

    def close(self) -> None:
        """Leave nothing behind; called once, before the result arrives or is thrown away."""


@dataclass(frozen=True, slots=True)
class _Task:
    job: Job
    finish: Finish | None
    started: float
    work: str
    companion: Companion | None = None
    title: str = ""
    kind: str = ""
    remaining: Remaining = field(default_factory=Remaining)

    def close(self) -> None:
        if self.companion is not None:
            self.companion.close()


_history = History()
_task: _Task | None = None
_stopping: Job | None = None  # asked to stop, its thread not ended yet; its result is unwanted
_redrawn_at = 0.0
_news_since_redraw = False

last_event: Progress | Failed | Cancelled | None = None
"""The newest news for the panel; None after a success, which ``last_summary`` describes."""
last_summary: tuple[str, ...] = ()
last_settings: Settings = {}


def is_running() -> bool:
    """Whether a job is under way whose result is wanted."""
    return _task is not None


def is_job(job: Job) -> bool:
    """Whether this is the job whose result is wanted, though its thread may have ended already."""
    return _task is not None and _task.job is job


def running() -> Running | None:
    """How far the running job is; None when none is wanted."""
    if _task is None:
        return None
    event = last_event if isinstance(last_event, Progress) else Progress(0.0, "Starting")
    left = _task.remaining.seconds_left(time.perf_counter() - _task.started)
    return Running(_task.title, event.stage, event.fraction, left)


def can_finish() -> bool:
    """Whether the running job can be ended early with a result."""
    companion = _task.companion if _task is not None else None
    return companion is not None and companion.can_finish()


def finish_now() -> None:
    """Have the running job end soon with what it has."""
    if _task is not None and _task.companion is not None:
        _task.companion.finish_now()
        _redraw_sidebars()


def busy_reason() -> str | None:
    """Why no job can start now, as a sentence for the artist; None when one can."""
    if _task is not None:
        return f"{_task.work}: wait for it or press Cancel"
    if _stopping is not None and not _stopping.join(0.0):
        return "The cancelled run is still stopping: try again in a moment"
    return None


class WhileIdle:
    """Mixed into operators that cannot run beside a job."""

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        reason = busy_reason()
        if reason is not None:
            cls.poll_message_set(reason)  # pyright: ignore[reportAttributeAccessIssue]
        return reason is None


def start(
    job: Job,
    finish: Finish,
    settings: Settings,
    work: str = PICTURE_WORK,
    companion: Companion | None = None,
    title: str = "",
) -> None:
    """Run ``job`` on its thread and hand its result to ``finish`` on this one.

    Args:
        job: A job that has not been started.
        finish: Takes the result and the seconds it took; returns lines that sum it up.
        settings: What the job was asked, for the report.
        work: What it does, for whoever wants to start another.
        companion: Goes along with it.
        title: Name of the picture, or of what else is worked on.
    """
    kind = _kind(work, settings)
    begun = time.perf_counter()
    watched = _history.begin(kind)
    _begin(_Task(job, finish, begun, work, companion, title, kind, watched), settings)
    _ensure_timer()
    _redraw_sidebars()


def run(
    job: Job, on_progress: Callable[[Progress], None], settings: Settings
) -> Done | Failed | Cancelled:
    """Run ``job`` and wait for it; used where nothing else can happen meanwhile."""
    global _task
    _begin(_Task(job, None, time.perf_counter(), PICTURE_WORK), settings)
    try:
        while True:
            job.join(RUN_INTERVAL)
            for event in job.events():
                if not isinstance(event, Progress):
                    return event
                on_progress(event)
    except BaseException:  # Ctrl-C in a terminal
        _abandon()
        raise
    finally:
        _task = None


def conclude(event: Done | Failed | Cancelled, finish: Finish, seconds: float) -> Failed | None:
    """Turn a job's last event into scene data and news; returns what went wrong, if anything.

    Args:
        event: How the job ended.
        finish: Called with the result when there is one. An exception inside a timer would only
            reach the console, so it is turned into something the panel can show.
        seconds: What the job took.
    """
    global last_event, last_summary
    last_summary = ()
    if isinstance(event, Done):
        try:
            lines = finish(event.result, seconds)
            last_summary, last_event = tuple(map(shown, lines)), None
        except ImageToMeshError as error:
            last_event = Failed(str(error), traceback.format_exc())
        except Exception:  # noqa: BLE001
            last_event = Failed(
                "The result could not be added to Blender: press Copy Report and send it to us.",
                traceback.format_exc(),
            )
    else:
        last_event = event
    if isinstance(last_event, Failed):
        logger.error("%s\n%s", last_event.message, last_event.details)
        return last_event
    return None


def cancel() -> None:
    """Free the artist at once; the thread ends at its next report and its result is dropped."""
    global last_event
    if _task is None:
        return
    _abandon()
    last_event = Cancelled()
    _redraw_sidebars()


def pump() -> float | None:
    """Move finished work into Blender; returning None ends the timer."""
    global _task, _stopping, last_event, _news_since_redraw
    if _stopping is not None and _stopping.join(0.0):
        _stopping = None
        _redraw_sidebars()
    if _task is not None:
        events = list(_task.job.events())
        for event in events:
            if isinstance(event, Progress):
                last_event = event
                _task.remaining.note(event.fraction, time.perf_counter() - _task.started)
            else:
                task, _task = _task, None
                task.close()
                assert task.finish is not None
                seconds = time.perf_counter() - task.started
                if isinstance(event, Done):
                    _history.end(task.kind, task.remaining, seconds)
                conclude(event, task.finish, seconds)
        if _task is not None and _task.companion is not None:
            _task.companion.refresh()
        _news_since_redraw |= bool(events)
        since = time.perf_counter() - _redrawn_at
        is_due = since >= (REDRAW_INTERVAL if _news_since_redraw else TELL_INTERVAL)
        if is_due or (_news_since_redraw and _task is None):
            _redraw_sidebars()
    return PUMP_INTERVAL if _task is not None or _stopping is not None else None


def _kind(work: str, settings: Settings) -> str:
    """What runs have in common that take about as long as each other."""
    alike = {name: value for name, value in settings.items() if name != "seed"}
    return f"{work} {json.dumps(alike, sort_keys=True, default=str)}"


def forget() -> None:
    """Drop the last news, so that the panel starts clean."""
    global last_event, last_summary
    last_event, last_summary = None, ()


def _begin(task: _Task, settings: Settings) -> None:
    global _task, _stopping, last_event, last_summary, last_settings
    reason = busy_reason()
    if reason is not None:
        raise ImageToMeshError(f"{reason}.")
    _task, _stopping, last_summary, last_settings = task, None, (), settings
    last_event = Progress(0.0, "Starting")
    task.job.start(steps_back=task.finish is not None)


def _abandon() -> None:
    """Ask the running job to stop and forget it."""
    global _task, _stopping
    if _task is None:
        return
    _task.close()
    _task.job.cancel()
    _stopping, _task = _task.job, None


def _ensure_timer() -> None:
    if not bpy.app.timers.is_registered(pump):
        bpy.app.timers.register(pump, first_interval=PUMP_INTERVAL, persistent=True)


def _redraw_sidebars() -> None:
    """Show the newest state. Tagging must follow the change, or a button stays grey."""
    global _redrawn_at, _news_since_redraw
    _redrawn_at, _news_since_redraw = time.perf_counter(), False
    status_bar.show(running())
    manager = bpy.context.window_manager
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas if window.screen is not None else ():
            if area.type == "PREFERENCES":
                area.tag_redraw()
            if area.type == "VIEW_3D":
                for region in area.regions:
                    if region.type == "UI":  # drawing the scene anew would cost far more
                        region.tag_redraw()


@persistent
def _abandon_on_load(_path: object) -> None:
    """A result belongs to the file that asked for it; never drop it into another."""
    _abandon()
    forget()
    status_bar.show(None)


@persistent
def _shut_down(_unused: object = None) -> None:
    """Ask the worker to stop and wait a little.

    The thread is a daemon and holds no Blender data, so leaving it behind is the lesser evil.
    """
    global _stopping
    _abandon()
    if _stopping is not None and not _stopping.join(SHUTDOWN_PATIENCE):
        logger.warning("A reconstruction is still running and will be thrown away")
    _stopping = None


def _leave() -> None:
    """The same when the process ends: what Blender drew is gone and must not be touched any more."""
    _forget_exit()  # the bpy wheel would call it after Python has taken this module apart
    job = _task.job if _task is not None else _stopping
    if job is None:
        return
    job.cancel()
    if not job.join(SHUTDOWN_PATIENCE):
        logger.warning("A reconstruction is still running and will be thrown away")


def _forget_exit() -> None:
    exit_pre = getattr(bpy.app.handlers, "exit_pre", [])  # since Blender 5.1
    if _shut_down in exit_pre:
        exit_pre.remove(_shut_down)


def register() -> None:
    sweep_aside()
    bpy.app.handlers.load_pre.append(_abandon_on_load)
    if hasattr(bpy.app.handlers, "exit_pre"):
        bpy.app.handlers.exit_pre.append(_shut_down)
    atexit.register(_leave)


def unregister() -> None:
    """Leave no handler, timer or wanted thread behind."""
    atexit.unregister(_leave)
    _forget_exit()
    bpy.app.handlers.load_pre.remove(_abandon_on_load)
    if bpy.app.timers.is_registered(pump):
        bpy.app.timers.unregister(pump)
    _shut_down()
    forget()
