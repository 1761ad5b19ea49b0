"""How soon after Cancel the worker is free: processor time between a job's chances to stop.

    python -m benchmarks.speed.cancelling --out build/bench [--jobs NAME ...] [--cancels 5]

A job can stop wherever it reports or otherwise asks whether it is still wanted. Each job runs once, and
the processor time of the whole process between one such chance and the next is noted, with the stage
and the line of code that was seen most often meanwhile: the longest of these spans is the longest that
Cancel may take. Then the job is started anew and cancelled at random moments, and the processor time
until its thread has ended is noted. Processor time, because it does not depend on what else the
computer does; on an idle one with several cores less time passes. Every job runs in a process of its
own, so that the first run pays for loading PyTorch.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import cv2

from ..data import pictures
from ..package import ROOT, load_extension, module_command

load_extension()
sys.path.append(str(ROOT / "tests"))

from image_to_mesh.inference.stopping import asking  # noqa: E402

Report = Callable[[float, str], None]
Work = Callable[[Report], object]
WORST = 12  # spans that are told of each job
LOOK = 0.02  # seconds between looks at what the worker is doing
JOBS: dict[str, Callable[[Path], Work]] = {}


def job(name: str) -> Callable[[Callable[[Path], Work]], Callable[[Path], Work]]:
    """Register what prepares a job in a folder; preparing is not measured."""

    def register(prepare: Callable[[Path], Work]) -> Callable[[Path], Work]:
        JOBS[name] = prepare
        return prepare

    return register


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--jobs", nargs="+", choices=sorted(JOBS), metavar="NAME")
    parser.add_argument("--cancels", type=int, default=5)
    parser.add_argument("--child", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.child:
        answer = arguments.out / f"cancelling_{arguments.child}.json"
        answer.write_text(json.dumps(measure(arguments.child, arguments.cancels), indent=1))
        sys.stdout.flush()
        os._exit(0)  # some bpy wheels crash or hang when Python takes them apart
    for name in arguments.jobs or JOBS:
        command = [*module_command("speed.cancelling"), "--out", str(arguments.out)]
        command += ["--child", name, "--cancels", str(arguments.cancels)]
        done = subprocess.run(command, check=False, capture_output=True, text=True)
        if done.returncode:
            sys.stdout.write(f"{name}: FAILED\n{done.stderr[-2000:]}\n")
            continue
        answer = arguments.out / f"cancelling_{name}.json"
        sys.stdout.write(table(name, json.loads(answer.read_text(encoding="utf-8"))))
        sys.stdout.flush()
    return 0


@dataclass
class Span:
    """Processor time between two chances to stop."""

    seconds: float
    stage: str
    place: str


@dataclass
class Probe:
    """Notes how long a job goes on between its chances to stop."""

    spans: list[Span] = field(default_factory=list)
    chances: int = 0
    _since: float = 0.0
    _stage: str = "Starting"
    _seen: Counter[str] = field(default_factory=Counter)
    _is_over: bool = False
    _thread: int = 0

    def run(self, work: Work) -> None:
        self._since = time.process_time()
        self._thread = threading.get_ident()
        watcher = threading.Thread(target=self._watch, daemon=True)
        watcher.start()
        with asking(self.chance):
            work(self.report)
        self.chance()
        self._is_over = True
        watcher.join()

    def report(self, _share: float, stage: str) -> None:
        self.chance()
        self._stage = stage

    def chance(self) -> None:
        now = time.process_time()
        seen, self._seen = self._seen, Counter()
        place = seen.most_common(1)[0][0] if seen else ""
        self.spans.append(Span(now - self._since, self._stage, place))
        self.chances += 1
        self._since = time.process_time()

    def _watch(self) -> None:
        """Look again and again at which line of ours the job is in."""
        while not self._is_over:
            frame = sys._current_frames().get(self._thread)
            names = []
            while frame is not None and len(names) < 2:
                path = frame.f_code.co_filename
                if f"{ROOT}/inference" in path or f"{ROOT}/operators" in path:
                    names.append(f"{Path(path).stem}.{frame.f_code.co_name}:{frame.f_lineno}")
                frame = frame.f_back
            if names:
                self._seen[" < ".join(names)] += 1
            del frame
            time.sleep(LOOK)


def measure(name: str, cancels: int) -> dict[str, Any]:
    """Run a job once in full, then cancel it at random moments."""
    with tempfile.TemporaryDirectory() as place:
        work = JOBS[name](Path(place))
        started = time.process_time()
        probe = Probe()
        probe.run(work)
        seconds = time.process_time() - started
        worst = sorted(probe.spans, key=lambda span: -span.seconds)[:WORST]
        moments = random.Random(0)
        took = [cancelled(work, moments.uniform(0, seconds)) for _ in range(cancels)]
    return {
        "seconds": seconds,
        "chances": probe.chances,
        "over_one": sum(span.seconds for span in probe.spans if span.seconds > 1),
        "worst": [[span.seconds, span.stage, span.place] for span in worst],
        "cancels": [[at, after] for at, after in took if after is not None],
    }


def cancelled(work: Work, moment: float) -> tuple[float, float | None]:
    """Processor time from Cancel after ``moment`` seconds of it until another job could start."""
    from image_to_mesh.inference.running.job import Job

    running = Job(None, lambda _request, report: work(report))
    started = time.process_time()
    running.start()
    while time.process_time() - started < moment:
        if running.join(0.005):
            return moment, None
    asked = time.process_time()
    running.cancel()
    running.join(600)
    return moment, time.process_time() - asked


def table(name: str, measured: dict[str, Any]) -> str:
    """Lay a job's figures out as text."""
    took = sorted(after for _, after in measured["cancels"])
    lines = [
        f"{name}: {measured['seconds']:.1f} processor s, {measured['chances']} chances to stop,"
        f" {measured['over_one']:.1f} s in spans over one second; cancelled: "
        + " ".join(f"{value:.2f}" for value in took)
    ]
    for seconds, stage, place in measured["worst"]:
        if seconds > 0.15:
            lines.append(f"    {seconds:6.2f}  {stage}: {place}")
    return "\n".join(lines) + "\n"


# --- jobs -----------------------------------------------------------------------------------------


def from_picture(folder: Path, size: int, **options: Any) -> Work:
    from image_to_mesh.inference.contracts import PictureFile, Request
    from image_to_mesh.operators.worker import Reconstructing

    path = folder / "picture.png"
    cv2.imwrite(str(path), pictures.mug_in_room(size)[..., ::-1])
    request = Request(PictureFile(path), **options)
    return lambda report: Reconstructing().run(request, report)


@job("object")
def _object(folder: Path) -> Work:
    return from_picture(folder, 1024, engine="object")


@job("object_ultra")
def _object_ultra(folder: Path) -> Work:
    return from_picture(folder, 3000, engine="object", detail="ultra", texture_size=8192)


@job("object_neural")
def _object_neural(folder: Path) -> Work:
    from image_to_mesh.inference.contracts import Shaping

    return from_picture(folder, 512, engine="object", shaping=Shaping(is_neural=True))


@job("scene")
def _scene(folder: Path) -> Work:
    return from_picture(folder, 2048, engine="scene", detail="high")


@job("scene_ultra")
def _scene_ultra(folder: Path) -> Work:
    return from_picture(folder, 4000, engine="scene", detail="ultra", texture_size=8192)


def refining(folder: Path, detail: str, texture: int, **shaping: Any) -> Work:
    from image_to_mesh.inference import pipeline
    from image_to_mesh.inference.contracts import PictureFile, RefineRequest, Request, Shaping
    from image_to_mesh.operators.worker import Refining

    path = folder / "picture.png"
    cv2.imwrite(str(path), pictures.mug(1024)[..., [2, 1, 0, 3]])
    first = Request(PictureFile(path), engine="object", detail="low", texture_size=texture)
    made = pipeline.run(first, lambda _share, _stage: None)
    request = RefineRequest(made.archive, "mug", Shaping(**shaping), detail, texture)
    return lambda report: Refining().run(request, report)


@job("refine")
def _refine(folder: Path) -> Work:
    return refining(folder, "medium", 2048)


@job("refine_ultra")
def _refine_ultra(folder: Path) -> Work:
    return refining(
        folder, "ultra", 8192, faces=50_000, symmetry="x", delight=0.5, bump=0.5, smoothness=100
    )


def from_photos(folder: Path, count: int, size: int, *, masks: bool, **options: Any) -> Work:
    from image_to_mesh.inference.engines import views
    from image_to_mesh.inference.views.contracts import ViewsRequest
    from synthetic_orbit import orbit, write_orbit

    paths = write_orbit(folder, orbit(count, size, (25.0, 45.0)), masks=masks, cameras=False)
    request = ViewsRequest(tuple(paths), **options)
    return lambda report: views.run(request, report)


@job("photos")
def _photos(folder: Path) -> Work:
    return from_photos(folder, 16, 640, masks=False, surface="fused")


@job("photos_refined")
def _photos_refined(folder: Path) -> Work:
    return from_photos(folder, 16, 640, masks=True, surface="refined", detail="low")


@job("photos_ultra")
def _photos_ultra(folder: Path) -> Work:
    return from_photos(folder, 24, 1600, masks=True, surface="fused", detail="ultra")


@job("room")
def _room(folder: Path) -> Work:
    from image_to_mesh.inference.engines import views
    from image_to_mesh.inference.views.contracts import ViewsRequest
    from synthetic_room import turn

    paths = []
    for number, shot in enumerate(turn(24, 640)):
        paths.append(folder / f"{number:02d}.png")
        cv2.imwrite(str(paths[-1]), shot.pixels[..., ::-1])
    request = ViewsRequest(tuple(paths), kind="place", surface="fused")
    return lambda report: views.run(request, report)


if __name__ == "__main__":
    sys.exit(main())
