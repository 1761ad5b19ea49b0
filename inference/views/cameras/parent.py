"""End this process when the one that started it ends, even if that was killed.

Used by processes that work for another one; the other holds the open end of this one's standard input.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import sys
import threading

_PR_SET_PDEATHSIG = 1


def end_with_parent() -> None:
    """Watch the process that started this one, from now on."""
    threading.Thread(target=_wait_for_end, name="parent", daemon=True).start()
    if sys.platform == "linux":  # sooner, and while native code holds Python's lock
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)


def _wait_for_end() -> None:
    """Standard input ends when the other process does, in whichever way."""
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)
