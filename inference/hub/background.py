"""Work in a thread of its own that its caller can leave within a tenth of a second.

A library that talks to a server comes back only when the server answers or its time limit is over. What it
brings is handed over piece by piece; the thread itself touches nothing that the caller has. A thread that was
left ends at its next piece or time limit and can do no harm until then.
"""

from __future__ import annotations

import queue
import signal
import threading
from collections.abc import Callable, Generator
from contextlib import closing, suppress
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")

TICK = 0.1  # seconds between two looks at whether to go on
AHEAD = 8  # pieces that may wait for the caller

Check = Callable[[], None]


class Left(Exception):
    """Ends the thread that was left; its caller never sees it."""


@dataclass(frozen=True, slots=True)
class _End:
    """The work is over.

    Attributes:
        error: What it raised; None when it went well.
    """

    error: BaseException | None


def handed_over(work: Callable[[Callable[[T], None]], None], check: Check) -> Generator[T]:
    """What a piece of work hands over, as it comes; close the iterator to leave.

    Args:
        work: Runs in a daemon thread. It is given a function that hands over one piece, waits while the
            caller is behind, and raises ``Left`` once the caller has left.
        check: Called at least ten times a second while waiting; raises to leave.

    Raises:
        Exception: Whatever ``work`` or ``check`` raises.
    """
    pieces: queue.Queue[T | _End] = queue.Queue(AHEAD)
    is_left = threading.Event()

    def hand_over(piece: T | _End) -> None:
        while not is_left.is_set():
            with suppress(queue.Full):
                return pieces.put(piece, timeout=TICK)
        raise Left

    def run() -> None:
        _survive_closed_connections()
        error: BaseException | None = None
        try:
            work(hand_over)
        except BaseException as raised:  # noqa: BLE001 - whoever waits for this thread must hear of it
            error = raised
        with suppress(Left):
            hand_over(_End(error))

    threading.Thread(target=run, name="image-to-mesh hub", daemon=True).start()
    try:
        while True:
            check()
            try:
                piece = pieces.get(timeout=TICK)
            except queue.Empty:
                continue
            if not isinstance(piece, _End):
                yield piece
            elif piece.error is not None:
                raise piece.error
            else:
                return
    finally:
        is_left.set()


def answered(ask: Callable[[], T], check: Check) -> T:
    """What a function returns that may wait for long; as for ``handed_over``."""
    with closing(handed_over(lambda hand_over: hand_over(ask()), check)) as answers:
        return next(answers)


def _survive_closed_connections() -> None:
    """Let a write to a connection that the other side closed be an error of this thread.

    Python on its own ignores the signal that comes first; inside Blender it would end Blender.
    """
    if hasattr(signal, "pthread_sigmask"):  # not on Windows, which knows no such signal
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGPIPE})
