"""Time and memory of the stages of a run."""

from __future__ import annotations

import sys
import time

from ..contracts import StageCost


def peak_memory_mb() -> float:
    """Peak resident memory of this process in megabytes; 0 where the system does not tell."""
    if sys.platform == "win32":
        return _windows_peak_mb()
    import resource

    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1024.0 * 1024.0 if sys.platform == "darwin" else 1024.0)


def _windows_peak_mb() -> float:
    import ctypes
    from ctypes import wintypes

    class Counters(ctypes.Structure):
        """PROCESS_MEMORY_COUNTERS of the Windows API."""

        _fields_ = [("cb", wintypes.DWORD), ("PageFaultCount", wintypes.DWORD)] + [
            (name, ctypes.c_size_t)
            for name in (
                "PeakWorkingSetSize",
                "WorkingSetSize",
                "QuotaPeakPagedPoolUsage",
                "QuotaPagedPoolUsage",
                "QuotaPeakNonPagedPoolUsage",
                "QuotaNonPagedPoolUsage",
                "PagefileUsage",
                "PeakPagefileUsage",
            )
        ]

    counters = Counters(cb=ctypes.sizeof(Counters))
    kernel = ctypes.windll.kernel32  # type: ignore[attr-defined]
    kernel.GetCurrentProcess.restype = wintypes.HANDLE
    kernel.K32GetProcessMemoryInfo.argtypes = [wintypes.HANDLE, ctypes.c_void_p, wintypes.DWORD]
    kernel.K32GetProcessMemoryInfo(kernel.GetCurrentProcess(), ctypes.byref(counters), counters.cb)
    return counters.PeakWorkingSetSize / (1024.0 * 1024.0)


class StageClock:
    """Collects what each stage took; ``next`` ends one stage and begins another."""

    def __init__(self) -> None:
        self._stages: list[StageCost] = []
        self._name: str | None = None
        self._start = 0.0

    def next(self, name: str | None) -> None:
        """End the running stage and start ``name``; None only ends."""
        now = time.perf_counter()
        if self._name is not None:
            self._stages.append(StageCost(self._name, now - self._start, peak_memory_mb()))
        self._name, self._start = name, now

    def stages(self) -> tuple[StageCost, ...]:
        """The finished stages in order."""
        return tuple(self._stages)
