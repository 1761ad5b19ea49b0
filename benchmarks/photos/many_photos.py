"""Two hundred large photos to one mesh, cameras estimated: does it end, and with how much memory?

    python -m benchmarks.photos.many_photos --out build/bench [--count 200] [--size 4032 3024]

Needs the bpy wheel, Linux and pycolmap. The photos are drawn here, without a renderer: boxes with
printed sides on a patchwork floor, seen on three rings by a shaky hand with a phone's lens, with noise
and JPEG. They are given to the terminal command in a process of its own; memory is that of this
process and its children together, sampled.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import re
import shutil
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..package import module_command

FOCAL_35MM = 26
EXIF_FOCAL_35MM, EXIF_SUB = 0xA405, 0x8769
FLOOR = 3.0  # half its side; a box's is about 0.2
INTERVAL_S = 0.5
RINGS = ((12.0, 1.7), (30.0, 1.6), (52.0, 1.5))  # elevation in degrees, distance
Doubles = NDArray[np.float64]
Bytes = NDArray[np.uint8]


@dataclass(frozen=True, slots=True)
class Quad:
    """A textured parallelogram: its corners (4, 3), counter-clockwise from outside, and picture."""

    corners: Doubles
    picture: Bytes


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=200)
    parser.add_argument("--size", type=int, nargs=2, default=(4032, 3024), help="pixels")
    parser.add_argument("--detail", default="low", choices=("low", "medium", "high", "ultra"))
    arguments = parser.parse_args()
    photos = arguments.out / "many_photos"
    draw_photos(photos, arguments.count, tuple(arguments.size))
    result = arguments.out / "many_photos_result"
    shutil.rmtree(result, ignore_errors=True)
    result.mkdir()
    record = reconstruct(photos, result / "many.glb", arguments.detail)
    record |= {"photos": arguments.count, "size": list(arguments.size)}
    (arguments.out / "many_photos.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    sys.stdout.write(
        f"{arguments.count} photos of {arguments.size[0]} x {arguments.size[1]}: {record['told']}\n"
        f"{record['wall_s']:.0f} s, {record['cpu_s']:.0f} processor s,"
        f" peak {record['peak_mb']:.0f} MB\n"
    )
    return int(record["status"])


# --- pictures -------------------------------------------------------------------------------------


def draw_photos(folder: Path, count: int, size: tuple[int, int]) -> None:
    """Write the photos that are not there yet."""
    folder.mkdir(parents=True, exist_ok=True)
    quads = scene()
    cameras = walk(count)

    def one(number: int) -> None:
        path = folder / f"walk_{number:03d}.jpg"
        if not path.is_file():
            save(path, drawn(quads, *cameras[number], size, number))

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        list(pool.map(one, range(count)))


def scene() -> list[Quad]:
    """The floor, then five boxes with printed sides."""
    random = np.random.default_rng(7)
    side = FLOOR * np.array([[-1, -1, 0], [1, -1, 0], [1, 1, 0], [-1, 1, 0]], float)
    quads = [Quad(side, patchwork(random, 2400, 60))]
    places = [(0.0, 0.0), (0.42, 0.1), (-0.35, 0.3), (0.05, -0.45), (-0.3, -0.3)]
    sizes = [
        (0.2, 0.14, 0.55),
        (0.13, 0.16, 0.3),
        (0.15, 0.1, 0.38),
        (0.12, 0.12, 0.2),
        (0.1, 0.14, 0.26),
    ]
    for (x, y), size in zip(places, sizes, strict=True):
        quads += box(random, np.array([x, y, 0.0]), size, random.uniform(0, math.pi / 2))
    return quads


def box(
    random: np.random.Generator, place: Doubles, size: tuple[float, float, float], turn: float
) -> list[Quad]:
    """Its four sides and its top."""
    a, b, height = size
    ring = np.array([[-a, -b, 0], [a, -b, 0], [a, b, 0], [-a, b, 0]], float)
    rotation = np.array(
        [[math.cos(turn), -math.sin(turn), 0], [math.sin(turn), math.cos(turn), 0], [0, 0, 1]]
    )
    low = ring @ rotation.T + place
    high = low + np.array([0, 0, height])
    sides = [
        Quad(np.stack([low[i], low[(i + 1) % 4], high[(i + 1) % 4], high[i]]), printed(random))
        for i in range(4)
    ]
    return [*sides, Quad(high, printed(random))]


def patchwork(random: np.random.Generator, pixels: int, patches: int) -> Bytes:
    """Tiles of many colours with dirt on them: nothing repeats."""
    coarse = random.integers(40, 220, (patches, patches, 3)).astype(np.float32)
    picture = cv2.resize(coarse, (pixels, pixels), interpolation=cv2.INTER_NEAREST)
    for cells in (40, 300, 900):
        dirt = random.normal(0, 14, (cells, cells, 1)).astype(np.float32)
        picture += cv2.resize(dirt, (pixels, pixels), interpolation=cv2.INTER_CUBIC)[..., None]
    return np.clip(picture, 0, 255).astype(np.uint8)


def printed(random: np.random.Generator) -> Bytes:
    """(512, 512, 3) a box's side: a ground with discs, bars and letters."""
    picture = np.full((512, 512, 3), random.integers(60, 230, 3), np.uint8)
    for _ in range(60):
        colour = tuple(int(c) for c in random.integers(0, 255, 3))
        x, y = (int(v) for v in random.integers(0, 512, 2))
        kind = random.integers(3)
        if kind == 0:
            cv2.circle(picture, (x, y), int(random.integers(6, 60)), colour, -1, cv2.LINE_AA)
        elif kind == 1:
            far = (x + int(random.integers(10, 120)), y + int(random.integers(5, 40)))
            cv2.rectangle(picture, (x, y), far, colour, -1)
        else:
            word = "".join(chr(c) for c in random.integers(65, 91, 4))
            cv2.putText(picture, word, (x - 60, y), 0, random.uniform(0.5, 2), colour, 3, 16)
    return picture


def walk(count: int) -> list[tuple[Doubles, Doubles]]:
    """World-to-camera rotation (OpenCV's axes) and position of each photo."""
    random = np.random.default_rng(11)
    poses = []
    for number in range(count):
        elevation, distance = RINGS[number * len(RINGS) // count]
        around = 2 * math.pi * len(RINGS) * number / count
        tilt = math.radians(elevation + random.normal(0, 1))
        flat = math.cos(tilt)
        place = (distance * random.normal(1, 0.03)) * np.array(
            [flat * math.cos(around), flat * math.sin(around), math.sin(tilt)]
        ) + np.array([0, 0, 0.2])
        ahead = np.array([0, 0, 0.2]) + random.normal(0, 0.04, 3) - place
        ahead /= np.linalg.norm(ahead)
        right = np.cross(ahead, [0, 0, 1])
        right /= np.linalg.norm(right)
        poses.append((np.stack([right, np.cross(ahead, right), ahead]), place))
    return poses


def drawn(
    quads: list[Quad], rotation: Doubles, place: Doubles, size: tuple[int, int], seed: int
) -> Bytes:
    """One photo, far quads first; what faces away is left out, so convex things hide themselves."""
    width, height = size
    focal = FOCAL_35MM / 36 * width
    matrix = np.array([[focal, 0, width / 2], [0, focal, height / 2], [0, 0, 1]])
    canvas = np.full((height, width, 3), (120, 130, 140), np.uint8)
    floor, *rest = quads
    # Boxes stand apart: one is before another as its middle is.
    boxes = sorted(
        (rest[i : i + 5] for i in range(0, len(rest), 5)),
        key=lambda sides: (
            -float(np.linalg.norm(np.mean([q.corners for q in sides], (0, 1)) - place))
        ),
    )
    for quad in [floor, *(side for sides in boxes for side in sides)]:
        normal = np.cross(quad.corners[1] - quad.corners[0], quad.corners[3] - quad.corners[0])
        if normal @ (place - quad.corners[0]) > 0:
            paste(canvas, quad, matrix @ rotation, place)
    noise = np.random.default_rng(seed).normal(0, 4, (height // 4, width // 4, 3))
    grain = cv2.resize(noise.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return np.clip(canvas + grain, 0, 255).astype(np.uint8)


def paste(canvas: Bytes, quad: Quad, projection: Doubles, place: Doubles) -> None:
    """Draw a quad by the homography of its plane, within the box of its pixels."""
    high, wide = quad.picture.shape[:2]
    origin, across, down = quad.corners[0], quad.corners[1], quad.corners[3]
    plane = np.stack([(across - origin) / wide, (down - origin) / high, origin - place], axis=1)
    onto = projection @ plane  # from the texture's pixels to the photo's
    x0, y0, x1, y1 = 0, 0, canvas.shape[1], canvas.shape[0]
    corners = np.array([[0, 0, 1], [wide, 0, 1], [wide, high, 1], [0, high, 1]]) @ onto.T
    if (corners[:, 2] > 0).all():
        at = corners[:, :2] / corners[:, 2:]
        x0, y0 = np.maximum(np.floor(at.min(axis=0)).astype(int), 0)
        x1, y1 = np.minimum(np.ceil(at.max(axis=0)).astype(int), [x1, y1])
        if x1 <= x0 or y1 <= y0:
            return
    shift = np.array([[1, 0, -x0], [0, 1, -y0], [0, 0, 1]], float) @ onto
    area = (int(x1 - x0), int(y1 - y0))
    colours = cv2.warpPerspective(quad.picture, shift, area, flags=cv2.INTER_AREA)
    covered = cv2.warpPerspective(np.full((high, wide), 255, np.uint8), shift, area)
    # Behind the camera a homography draws the plane once more, upside down.
    row = np.linalg.inv(shift)[2]
    x, y = np.meshgrid(np.arange(area[0], dtype=np.float32), np.arange(area[1], dtype=np.float32))
    ahead = (row[0] * x + row[1] * y + row[2]) > 0  # one over the depth
    shown = (covered > 127) & ahead
    canvas[y0:y1, x0:x1][shown] = colours[shown]


def save(path: Path, picture: Bytes) -> None:
    exif = Image.Exif()
    exif.get_ifd(EXIF_SUB)[EXIF_FOCAL_35MM] = FOCAL_35MM
    Image.fromarray(picture).save(path, quality=90, exif=exif)


# --- the run --------------------------------------------------------------------------------------


def reconstruct(photos: Path, target: Path, detail: str) -> dict[str, object]:
    """Run the terminal command on the folder and watch it."""
    line = [*module_command("mesh"), "--photos", str(photos), "--output", str(target)]
    line += ["--detail", detail, "--texture-size", "2048", "--overwrite"]
    log = target.with_suffix(".log")
    start = time.perf_counter()
    before = os.times()
    with log.open("w", encoding="utf-8") as stream:
        process = subprocess.Popen(line, stdout=stream, stderr=subprocess.STDOUT)
        peak = 0.0
        while process.poll() is None:
            peak = max(peak, family_mb(process.pid))
            time.sleep(INTERVAL_S)
    after = os.times()
    text = log.read_text(encoding="utf-8")
    told = [entry for entry in text.splitlines() if re.search(r"many_photos|many\.glb", entry)]
    return {
        "status": process.returncode,
        "wall_s": time.perf_counter() - start,
        "cpu_s": after.children_user
        + after.children_system
        - before.children_user
        - before.children_system,
        "peak_mb": peak,
        "told": told[-1] if told else text[-500:],
    }


def family_mb(root: int) -> float:
    """Resident memory of a process and all its descendants in megabytes (Linux)."""
    parents, resident = {}, {}
    page = os.sysconf("SC_PAGE_SIZE") / 2**20
    for folder in Path("/proc").iterdir():
        if folder.name.isdigit():
            try:
                stat = (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()
            except OSError:
                continue  # it ended meanwhile
            parents[int(folder.name)], resident[int(folder.name)] = int(stat[1]), int(stat[21])
    total, wave = 0, {root}
    while wave:
        total += sum(resident.get(number, 0) for number in wave)
        wave = {child for child, parent in parents.items() if parent in wave}
    return total * page


if __name__ == "__main__":
    sys.exit(main())
