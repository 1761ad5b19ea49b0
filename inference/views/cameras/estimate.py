"""Estimate cameras from pictures alone: prepares and watches the process that runs pycolmap."""

from __future__ import annotations

import importlib.util
import json
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np

from ...errors import MissingPackage, PictureError
from ...running.scratch import scratch_folder
from ..contracts import Photo, Pose, Solved
from .colmap_files import ColmapModel, read_model
from .reflections import pictures_of, read_mirrors, told

SIDE = 1600  # longest side in pixels at which features are looked for
FEATURES = 6000  # at most in each picture
ALL_PAIRS = 40  # photos up to which every one is compared with every other
NEIGHBOURS = 18  # in larger sets, the most alike pictures that each is compared with
OVERLAP = 8  # frames of a video that each is compared with
FEWEST_FEATURES = 60
# Share of the evidence against the cameras, and of one picture's own, from which it is told. A floor
# of equal tiles left 0.19 of it, and 0.49 of one picture's, against cameras that were all right; 0.34
# and more where some were wrong.
REPEATED, DOUBTFUL = 0.27, 0.55
CONTESTED = 0.08  # the same that is told where cameras look elsewhere than the strongest pairs say
FEW = 5  # pictures up to which more of them would help before anything else
WORST_POINT = 2.0  # pixels of reprojection error
# Focal lengths in longer sides that estimation starts from, where nothing tells: of a phone's video,
# of photos, and of photos on the second try.
PHONE, USUAL, LONGER = 0.85, 1.0, 1.35
LISTEN = 0.2  # seconds between looks whether the artist has pressed Cancel
JPEG_QUALITY = 97


def is_available() -> bool:
    """Whether pycolmap is installed; looks for it without importing it."""
    return importlib.util.find_spec("pycolmap") is not None


def estimate_cameras(
    photos: Sequence[Photo],
    seed: int,
    report: Callable[[float, str], None],
    *,
    use_masks: bool = False,
    is_thorough: bool = False,
) -> Solved:
    """Find where the pictures were taken from.

    Args:
        photos: At least two.
        seed: Of every random choice.
        report: Called with the finished share and what is being done; raises to cancel.
        use_masks: Look for features on the subject only: needed when the subject was turned
            instead of the camera being moved.
        is_thorough: Look twice at every pair of pictures; slower, for sets that would not connect.

    Raises:
        MissingPackage: Without pycolmap.
        PictureError: When no two pictures fit together.
    """
    if len(photos) < 2:
        raise PictureError(
            "One picture shows no depth: add pictures from other sides, or use Image to Mesh for one."
        )
    if not is_available():
        raise MissingPackage(
            "The Python package pycolmap is missing, so cameras cannot be estimated: install the"
            " full Image to Mesh zip for your system, or use pictures with known cameras."
        )
    with scratch_folder() as folder:
        files = _write_pictures(photos, folder, use_masks, lambda: report(0.0, "Preparing"))
        job = _job(photos, files, folder, seed, use_masks=use_masks, is_thorough=is_thorough)
        (folder / "job.json").write_text(json.dumps(job), encoding="utf-8")
        result = _run_child(folder / "job.json", report)
        if result["model"] is None:
            raise PictureError(_why_none(photos, files, result))
        model = read_model(Path(result["model"]))
    return _solved(photos, files, result, model)


def _write_pictures(
    photos: Sequence[Photo], folder: Path, use_masks: bool, report: Callable[[], None]
) -> list[str]:
    """Write each picture where the other process finds it; returns the file names."""
    (folder / "images").mkdir()
    (folder / "masks").mkdir()
    names = []
    for index, photo in enumerate(photos):
        report()
        height, width = photo.pixels.shape[:2]
        size = _fitted(width, height)
        pixels = photo.pixels
        if size != (width, height):
            pixels = cv2.resize(pixels, size, interpolation=cv2.INTER_AREA)
        name = f"{index:05d}.jpg"
        bgr = cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR)
        data = cv2.imencode(".jpg", bgr, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])[1]
        (folder / "images" / name).write_bytes(data.tobytes())
        if use_masks and photo.mask is not None:
            mask = cv2.resize(photo.mask, size, interpolation=cv2.INTER_LINEAR)
            mask = cv2.dilate((mask > 0.3).astype(np.uint8) * 255, np.ones((5, 5), np.uint8))
            data = cv2.imencode(".png", mask)[1]
            (folder / "masks" / f"{name}.png").write_bytes(data.tobytes())
        names.append(name)
    return names


def _fitted(width: int, height: int) -> tuple[int, int]:
    scale = min(1.0, SIDE / max(width, height))
    return round(width * scale), round(height * scale)


def _job(
    photos: Sequence[Photo],
    files: Sequence[str],
    folder: Path,
    seed: int,
    *,
    use_masks: bool,
    is_thorough: bool,
) -> dict[str, object]:
    groups: dict[str, dict[str, object]] = {}
    names: dict[str, list[str]] = {}
    for photo, file in zip(photos, files, strict=True):
        height, width = photo.pixels.shape[:2]
        if photo.group not in groups:
            size = _fitted(width, height)
            focal = photo.focal_px * size[0] / width if photo.focal_px else None
            guess = PHONE if photo.sequence >= 0 else LONGER if is_thorough else USUAL
            groups[photo.group] = {
                "width": size[0],
                "height": size[1],
                "focal": focal or guess * max(size),
                "is_focal_known": focal is not None,
            }
            names[photo.group] = []
        names[photo.group].append(file)
    numbers = sorted({photo.sequence for photo in photos if photo.sequence >= 0})
    sequences = [
        [file for photo, file in zip(photos, files, strict=True) if photo.sequence == number]
        for number in numbers
    ]
    singles = sum(photo.sequence < 0 for photo in photos)
    is_one_video = len(sequences) == 1 and singles == 0
    if len(photos) <= ALL_PAIRS:
        pairs = "all"
    else:
        pairs = "sequence" if is_one_video and len(photos) <= 3 * OVERLAP else "retrieval"
    if not sequences and len(photos) > ALL_PAIRS:
        sequences = [list(files)]  # photos, too, are mostly numbered in the order they were taken
    return {
        "folder": str(folder),
        "images": str(folder / "images"),
        "masks": str(folder / "masks") if use_masks else "",
        "groups": [{**group, "names": names[key]} for key, group in groups.items()],
        "order": list(files),
        "sequences": sequences,
        "overlap": OVERLAP if is_one_video else 3,
        "pairs": pairs,
        "neighbours": NEIGHBOURS,
        "max_features": FEATURES,
        "is_thorough": is_thorough,
        "keep_focal": False,
        "threads": max(1, min(os.cpu_count() or 1, 16)),
        "seed": seed,
    }


def _run_child(job: Path, report: Callable[[float, str], None]) -> dict:
    """Run the other process; end it at once when ``report`` raises."""
    script = Path(__file__).with_name("colmap_child.py")
    # sys.executable is Blender's own Python; it does not look where extensions keep their wheels.
    places = {
        str(Path(spec.origin).parent.parent)
        for spec in map(importlib.util.find_spec, ("pycolmap", "numpy"))
        if spec is not None and spec.origin is not None
    }
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sorted(places))}
    environment["GLOG_minloglevel"] = "3"
    with (
        (job.parent / "errors.txt").open("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(
            [sys.executable, "-s", str(script), str(job)],
            stdin=subprocess.PIPE,  # never written to: its end tells that this process is gone
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
            encoding="utf-8",
            errors="replace",
            env=environment,
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        ) as child,
    ):
        try:
            result = _listen(child, report)
        finally:
            child.kill()
        child.wait()
        errors.seek(0)
        words = errors.read()
    if result is None:
        if "ImportError" in words or "ModuleNotFoundError" in words:
            raise MissingPackage(
                "pycolmap cannot be loaded, so cameras cannot be estimated: install the full Image"
                f" to Mesh zip for your system. ({_last_line(words)})"
            )
        raise PictureError(
            "Estimating the cameras failed: try fewer or smaller pictures."
            f" ({_last_line(words) or 'the process ended without a word'})"
        )
    return result


def _listen(child: subprocess.Popen[str], report: Callable[[float, str], None]) -> dict | None:
    lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()

    def read() -> None:
        assert child.stdout is not None
        for line in child.stdout:
            lines.put(line)
        lines.put(None)

    threading.Thread(target=read, name="image-to-mesh-cameras", daemon=True).start()
    share, stage = 0.0, "Loading pycolmap"
    result = None
    while True:
        report(share, stage)
        try:
            line = lines.get(timeout=LISTEN)
        except queue.Empty:
            continue
        if line is None:
            return result
        if not line.startswith("{"):
            continue  # native code may print, too
        message = json.loads(line)
        if "result" in message:
            result = message["result"]
        else:
            share, stage = float(message["share"]), str(message["stage"])


def _last_line(words: str) -> str:
    lines = [line.strip() for line in words.splitlines() if line.strip()]
    return lines[-1][:200] if lines else ""


def _solved(
    photos: Sequence[Photo], files: Sequence[str], result: dict, model: ColmapModel
) -> Solved:
    poses: dict[str, Pose] = {}
    reasons: dict[str, str] = {}
    others = set(result["others"])
    for photo, file in zip(photos, files, strict=True):
        height, width = photo.pixels.shape[:2]
        if file in model.poses:
            camera, matrix = model.poses[file]
            poses[photo.name] = Pose(model.lenses[camera].scaled_to(width, height), matrix)
        else:
            reasons[photo.name] = _why_not(photo.name, file, result, file in others)
    kept = model.errors <= WORST_POINT
    points = replace(
        model.points,
        positions=model.points.positions[kept],
        colours=model.points.colours[kept],
    )
    doubts = {
        photo.name: f"{photo.name} also fits elsewhere: its camera may be wrong."
        for photo, file in zip(photos, files, strict=True)
        if photo.name in poses and result["doubts"].get(file, 0.0) >= DOUBTFUL
    }
    found = result["mirrors"]
    showing = pictures_of(found)
    for photo, file in zip(photos, files, strict=True):
        if photo.name in poses and file in showing:
            sentence = f"{photo.name} shows a mirror, and what is seen in it was left out."
            doubts[photo.name] = f"{doubts.get(photo.name, '')} {sentence}".lstrip()
    mirrors = read_mirrors(found)
    return Solved(
        poses,
        points,
        reasons,
        None,
        False,
        "pycolmap",
        float(result["error_px"]),
        doubts,
        (*_notes(result), *told(mirrors)),
        mirrors,
    )


def _notes(result: dict) -> tuple[str, ...]:
    """What to tell of things that repeat: nothing where the cameras agree with the strongest pairs."""
    if float(result["repeated"]) < (CONTESTED if result["turned"] else REPEATED):
        return ()
    return (
        "Things that repeat, such as tiles, make some pictures fit together in two ways, so cameras"
        " may be wrong: if the result looks torn or doubled, add pictures in smaller steps.",
    )


def _why_not(name: str, file: str, result: dict, is_elsewhere: bool) -> str:
    """Why a picture has no camera, in words."""
    if int(result["features"].get(file, 0)) < FEWEST_FEATURES:
        return f"{name} has too little detail to be matched (blurred, dark or bare)."
    if is_elsewhere:
        return f"{name} fits other pictures, but those do not overlap with the main group."
    if int(result["partners"].get(file, 0)) == 0:
        return f"{name} does not overlap with any other picture."
    return f"{name} overlaps with others, but no camera position explains it (moved or mirrored?)."


def _why_none(photos: Sequence[Photo], files: Sequence[str], result: dict) -> str:
    poor = sum(int(result["features"].get(file, 0)) < FEWEST_FEATURES for file in files)
    if poor > len(photos) / 2:
        return (
            "The pictures have too little detail to find the cameras: take sharper ones, and let"
            " some patterned background be seen."
        )
    if not any(result["partners"].values()):
        return (
            "No two pictures overlap enough to find the cameras: take more pictures, in steps of"
            " 10 to 20 degrees around the subject."
        )
    if len(photos) <= FEW:
        return (
            f"The cameras could not be found from {len(photos)} pictures: add pictures in between, in"
            " steps of 10 to 20 degrees around the subject."
        )
    return (
        "The cameras could not be found although pictures overlap: take more in between, in steps of"
        " 10 to 20 degrees, move the camera instead of only turning it, and keep the subject still."
    )
