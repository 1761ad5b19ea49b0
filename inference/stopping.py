"""Leave work that nobody wants any more.

A job that was cancelled ends where it next reports its progress, or where it comes to a chance to stop:
between two steps, in the middle of a loop, before a network's next layer. What takes longer than about
half a second of processor time should have such a chance within.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

BAND = 1 << 22  # numbers worked on at once: a tenth of a second or two
LOOK = 0.05  # seconds between looks while something else is waited for

_here = threading.local()


def chance_to_stop() -> None:
    """Raise ``RunCancelled`` when this thread works on a job that was cancelled.

    Costs less than a microsecond, and does nothing in threads that work on no job.
    """
    ask: Callable[[], None] | None = getattr(_here, "ask", None)
    if ask is not None:
        ask()


def bands(length: int, each: float) -> Iterator[slice]:
    """Yield slices of ``length`` rows, or other things, with a chance to stop before each.

    Args:
        length: How many there are.
        each: Numbers that one of them holds, or steps that it takes in units of them.
    """
    many = max(1, int(BAND / max(each, 1.0)))
    chance_to_stop()
    for first in range(0, length, many):
        if first:
            chance_to_stop()
        yield slice(first, min(first + many, length))


@contextmanager
def asking(ask: Callable[[], None]) -> Iterator[None]:
    """Let every chance to stop in this thread call ``ask``, which raises to stop."""
    before = getattr(_here, "ask", None)
    _here.ask = ask
    try:
        yield
    finally:
        _here.ask = before


_aside: dict[str, threading.Thread] = {}
_lock = threading.Lock()


def do_aside(name: str, work: Callable[[], object]) -> None:
    """Do what cannot be left in the middle on another thread, and wait for it until there is a stop.

    The other thread goes on to the end then, and whoever wants the same next waits for it instead of
    beginning anew. For what every later job needs as well, such as loading PyTorch.

    Args:
        name: What is done; two of one name never run at once.
        work: Does it. What it raises is lost: the caller finds out by what is missing.
    """

    def guarded() -> None:
        try:
            work()
        except Exception:  # noqa: BLE001 - see above
            return

    with _lock:
        thread = _aside.get(name)
        if thread is None or not thread.is_alive():
            thread = threading.Thread(target=guarded, name=f"image-to-mesh-{name}", daemon=True)
            _aside[name] = thread
            thread.start()
    while thread.is_alive():
        chance_to_stop()
        thread.join(LOOK)
