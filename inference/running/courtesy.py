"""Run the worker at a lower priority than the main thread of Blender.

The worker computes on every core and runs Python besides; at equal rank the main thread, which draws
the window, waits for both. So the worker asks the system for a lower rank, which the computing threads
it starts inherit, and the interpreter to hand over its lock sooner.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

_NICER = 10  # Unix niceness added; at 10 a thread gets about a tenth of a core that both want
_SWITCH_S = 0.001  # the default of 5 ms is paid several times in one redraw
_BELOW_NORMAL = -1  # Windows: THREAD_PRIORITY_BELOW_NORMAL
_UTILITY = 0x11  # macOS: QOS_CLASS_UTILITY


def yield_to_main_thread() -> None:
    """Lower the rank of the calling thread, for good; do nothing where the system refuses."""
    try:
        if sys.platform == "linux":
            thread = threading.get_native_id()
            rank = os.getpriority(os.PRIO_PROCESS, thread)
            os.setpriority(os.PRIO_PROCESS, thread, min(rank + _NICER, 19))
        elif sys.platform == "win32":
            kernel = ctypes.windll.kernel32
            kernel.GetCurrentThread.restype = ctypes.c_void_p
            kernel.SetThreadPriority(ctypes.c_void_p(kernel.GetCurrentThread()), _BELOW_NORMAL)
        elif sys.platform == "darwin":
            ctypes.CDLL(None).pthread_set_qos_class_self_np(_UTILITY, 0)
    except (OSError, AttributeError):
        return


@contextmanager
def quick_handover() -> Iterator[None]:
    """Shorten the time a thread keeps Python's lock while another waits for it."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(min(before, _SWITCH_S))
    try:
        yield
    finally:
        sys.setswitchinterval(before)
