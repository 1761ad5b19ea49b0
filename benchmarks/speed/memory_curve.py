"""Watch a process's memory while pictures are worked through, and reduce the curve to numbers."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path

import numpy as np

INTERVAL_S = 0.2


class Watcher:
    """Samples this process's resident memory, and how many pictures are done, until stopped."""

    def __init__(self, log: Path) -> None:
        self._log = log
        self._curve: list[tuple[int, float]] = []
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> list[tuple[int, float]]:
        """End watching; give (pictures done, resident megabytes) over time."""
        self._stop.set()
        self._thread.join()
        return self._curve

    def _watch(self) -> None:
        while not self._stop.is_set():
            done = self._log.read_bytes().count(b"\n") if self._log.is_file() else 0
            self._curve.append((done, resident_mb()))
            time.sleep(INTERVAL_S)


def resident_mb() -> float:
    """Resident memory of this process in megabytes (Linux)."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def summarise(curve: list[tuple[int, float]], count: int) -> dict[str, float]:
    """Reduce the curve to its level early, half-way and at the end, and the slope between.

    A picture counts with the least memory held while it was worked on: what stays, not what a
    stage needs for a moment.
    """
    done, memory = np.array([c[0] for c in curve]), np.array([c[1] for c in curve])
    reached = np.unique(done)
    level = np.array([memory[done == d].min() for d in reached])
    late = reached >= count / 2
    slope = float(np.polyfit(reached[late], level[late], 1)[0]) if late.sum() > 1 else 0.0
    at = np.interp([count / 10, count / 2, count - 1], reached, level)
    return {
        "early_mb": float(at[0]),
        "middle_mb": float(at[1]),
        "end_mb": float(at[2]),
        "peak_mb": float(memory.max()),
        "slope_mb": slope,
    }
