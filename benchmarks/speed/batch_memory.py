"""Watch the memory of a long batch: a hundred small pictures through the batch operator.

    python -m benchmarks.speed.batch_memory --out build/bench [--count 100]

Needs the bpy wheel. Memory is flat when the second half of the batch adds next to nothing.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
from pathlib import Path

import bpy
import cv2

from ..data import pictures
from ..package import load_extension
from .memory_curve import Watcher, summarise


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


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # Some bpy wheels crash or hang when Python takes them apart.
    os._exit(status)
