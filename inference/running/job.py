"""Runs one reconstruction on a worker thread. Knows neither Blender nor torch."""

from __future__ import annotations

import logging
import queue
import threading
import traceback
from collections.abc import Callable, Iterator
from typing import TypeVar

from ..contracts import Cancelled, CutOut, Done, Event, Failed, News, Progress, Reconstruction
from ..errors import ImageToMeshError, RunCancelled
from ..stopping import asking
from .courtesy import quick_handover, yield_to_main_thread

logger = logging.getLogger(__name__)

Report = Callable[[float, str], None]
Asked = TypeVar("Asked")  # a Request, or whatever else the run takes
Run = Callable[[Asked, Report], Reconstruction | CutOut | News]


class Job:
    """One run: start it, drain its events, maybe cancel it."""

    def __init__(self, request: Asked, run: Run[Asked]) -> None:
        self._run = lambda report: run(request, report)
        self._events: queue.SimpleQueue[Event] = queue.SimpleQueue()
        self._stop = threading.Event()
        self._steps_back = False
        self._thread = threading.Thread(target=self._work, name="image-to-mesh", daemon=True)

    def start(self, steps_back: bool = False) -> None:
        """Start the thread; with ``steps_back`` at a lower priority than a main thread that draws a window."""
        self._steps_back = steps_back
        self._thread.start()

    def cancel(self) -> None:
        """Ask the run to stop at its next progress report or other chance to stop."""
        self._stop.set()

    def join(self, timeout: float) -> bool:
        """Wait up to ``timeout`` seconds; True when the thread has ended."""
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def events(self) -> Iterator[Event]:
        """Yield what happened since the last call, without blocking.

        The last event of a job is always exactly one of Done, Failed and Cancelled.
        """
        while True:
            try:
                yield self._events.get_nowait()
            except queue.Empty:
                return

    def _stop_if_asked(self) -> None:
        if self._stop.is_set():
            raise RunCancelled("Cancelled")

    def _report(self, fraction: float, stage: str) -> None:
        self._stop_if_asked()
        self._events.put(Progress(fraction, stage))

    def _work(self) -> None:
        if not self._steps_back:
            self._events.put(self._outcome())
            return
        yield_to_main_thread()
        with quick_handover():
            outcome = self._outcome()
        self._events.put(outcome)

    def _outcome(self) -> Event:
        try:
            with asking(self._stop_if_asked):
                return Done(self._run(self._report))
        except RunCancelled:
            return Cancelled()
        except ImageToMeshError as error:
            return Failed(str(error), traceback.format_exc())
        except MemoryError:
            return Failed(
                "The computer ran out of memory: choose a lower Detail or a smaller picture.",
                traceback.format_exc(),
            )
        except Exception:  # noqa: BLE001 - a dead worker thread would leave the artist waiting forever
            return Failed(
                "Image to Mesh hit a bug: press Copy Report and send it to us.",
                traceback.format_exc(),
            )
