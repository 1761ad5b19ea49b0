"""Watch the memory of a long batch: a hundred small pictures through the batch operator.

    python benchmarks/batch_memory.py --out build/bench [--count 100]

Needs the bpy wheel. Memory is flat when the second half of the batch adds next to nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import threading
import time
from pathlib import Path

import bpy
import cv2
import numpy as np
import pictures
from package import load_extension

INTERVAL_S = 0.2


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--size", type=int, default=96, help="pixels of each picture")
    parser.add_argument("--engine", default="OBJECT", choices=("OBJECT", "SCENE"))
    arguments = parser.parse_args()
    source, output = arguments.out / "batch_pictures", arguments.out / "batch_results"
    for folder in (source, output):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    for index in range(arguments.count):
        picture = cv2.cvtColor(pictures.mug(arguments.size, index), cv2.COLOR_RGBA2BGRA)
        cv2.imwrite(str(source / f"mug_{index:03d}.png"), picture)

    load_extension()
    extension = sys.modules["image_to_mesh"]
    extension.register()
    log = output / "batch.jsonl"
    watcher = Watcher(log)
    watcher.start()
    bpy.ops.image_to_mesh.batch(  # pyright: ignore[reportAttributeAccessIssue]
        directory=str(source),
        output=str(output),
        engine=arguments.engine,
        detail="LOW",
        texture_size=256,
    )
    curve = watcher.stop()
    extension.unregister()
    outcomes = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines()]
    done = sum(outcome["status"] == "done" for outcome in outcomes)
    summary = summarise(curve, arguments.count) | {"pictures": arguments.count, "done": done}
    record = {"summary": summary, "curve": curve}
    (arguments.out / "batch_memory.json").write_text(json.dumps(record), encoding="utf-8")
    sys.stdout.write(
        f"batch of {arguments.count}: {done} done, memory after a tenth {summary['early_mb']:.0f} MB,"
        f" half-way {summary['middle_mb']:.0f} MB, at the end {summary['end_mb']:.0f} MB, peak"
        f" {summary['peak_mb']:.0f} MB, second half {summary['slope_mb']:+.3f} MB per picture\n"
    )
    return 0 if done == arguments.count else 1


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


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Some bpy wheels crash or hang when Python takes them apart.
    os._exit(status)
