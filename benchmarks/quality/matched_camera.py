"""Does a result, seen through its matched camera, overlay its picture?

    python -m benchmarks.quality.matched_camera --out build/bench [--pictures FOLDER] [--side 0]

Runs the product's pipeline on pictures with transparency (default: the bundled ones; with --pictures
every .png of a folder, or every view that ``render_truth.py`` wrote there) and looks at each result
through its own camera with nothing but its base colour, as an emission material shows it. Printed are
the IoU of the silhouettes and the PSNR of the colours inside, each with its goal.
"""

# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..package import ROOT, load_extension

load_extension()

if TYPE_CHECKING:
    from inference.contracts import Detail, Reconstruction
    from inference.texture import raster
else:
    from image_to_mesh.inference.contracts import Detail, Reconstruction
    from image_to_mesh.inference.texture import raster

IOU_GOAL = 0.97
PSNR_GOAL = 27.0
BUNDLED = (ROOT / "docs" / "demo_pictures", ROOT / "tests" / "data" / "pictures")


@dataclass(frozen=True, slots=True)
class Overlay:
    """How well a result covers its picture.

    Attributes:
        name: Of the picture.
        iou: Of the silhouettes.
        psnr: Decibels of the 8-bit sRGB colours, over all pixels that lie in both silhouettes.
    """

    name: str
    iou: float
    psnr: float

    @property
    def is_reached(self) -> bool:
        """Whether both goals are met."""
        return self.iou >= IOU_GOAL and self.psnr >= PSNR_GOAL


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="folder of .png pictures with transparency")
    parser.add_argument("--only", nargs="*", help="names of the pictures to do")
    parser.add_argument("--limit", type=int, help="only so many pictures, spread over the folder")
    parser.add_argument("--texture-size", type=int, default=2048)
    parser.add_argument("--save", action="store_true", help="keep picture and overlay side by side")
    arguments = parser.parse_args()
    from ..data.truth import spread

    pictures = [p for p in found_pictures(arguments.pictures) if has_alpha(p)]
    if arguments.only:
        pictures = [p for p in pictures if p.stem in arguments.only]
    rows = []
    arguments.out.mkdir(parents=True, exist_ok=True)
    for path in spread(pictures, arguments.limit):
        result = reconstruct(path, arguments.texture_size)
        image, mask = seen_through_its_camera(result)
        rows.append(compare(path.stem, result, image, mask))
        _say(_line(rows[-1]))
        if arguments.save:
            picture = result.picture[..., :3]
            pair = np.hstack([picture, np.where(mask[..., None], image, 255)])
            target = arguments.out / f"overlay_{path.stem}.png"
            cv2.imwrite(str(target), cv2.cvtColor(pair.astype(np.uint8), cv2.COLOR_RGB2BGR))
    text = json.dumps([asdict(row) for row in rows], indent=1)
    (arguments.out / "matched_camera.json").write_text(text, encoding="utf-8")
    _say("\n" + table(rows))
    return 0


def found_pictures(folder: Path | None) -> list[Path]:
    """The PNG files of a folder, or the bundled ones."""
    folders = BUNDLED if folder is None else (folder,)
    return [path for each in folders for path in sorted(each.glob("*.png"))]


def has_alpha(path: Path) -> bool:
    """Whether a picture's transparency says what the subject is: only then is the truth known."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    return image is not None and image.ndim == 3 and image.shape[2] == 4 and image[..., 3].min() < 9


def reconstruct(path: Path, texture_size: int, detail: Detail = "medium") -> Reconstruction:
    """The product's result for one picture, as an object."""
    from image_to_mesh.inference import pipeline
    from image_to_mesh.inference.contracts import PictureFile, Request

    request = Request(
        source=PictureFile(path), engine="object", detail=detail, texture_size=texture_size
    )
    return pipeline.run(request, lambda fraction, stage: None)


def seen_through_its_camera(result: Reconstruction) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """(H, W, 3) sRGB base colour as the matched camera sees it, and (H, W) where the result is."""
    mesh, camera = result.mesh, result.camera
    starts = np.cumsum(mesh.face_sizes) - mesh.face_sizes
    corner = np.concatenate(
        [
            starts[mesh.face_sizes > k + 1][:, None] + np.array([0, k, k + 1])
            for k in range(1, int(mesh.face_sizes.max()) - 1)
        ]
    )
    local = (mesh.positions - camera.matrix[:3, 3]) @ camera.matrix[:3, :3]
    focal = camera.width / 2 / math.tan(camera.fov_x / 2)
    middle = np.array([camera.width, camera.height]) / 2
    pixels = (local[:, :2] / local[:, 2:] * focal + middle).astype(np.float32)
    depth = local[:, 2].astype(np.float32)
    triangles = mesh.corners[corner]
    seen = _first_hits(pixels[triangles], depth[triangles], camera.width, camera.height)
    pixel, triangle, weights = seen
    # Correct for perspective: screen-space weights divided by depth.
    weights = weights / depth[triangles][triangle]
    weights /= weights.sum(axis=1, keepdims=True)
    uvs = np.einsum("nk,nkc->nc", weights, mesh.corner_uvs[corner][triangle])
    height, width = result.material.base_color.shape[:2]
    where = np.zeros((camera.height * camera.width, 2), np.float32)
    where[pixel] = uvs * [width, -height] + [0, height]
    x, y = (where[..., k].reshape(camera.height, camera.width) - np.float32(0.5) for k in range(2))
    colours = cv2.remap(
        result.material.base_color,
        np.ascontiguousarray(x, np.float32),
        np.ascontiguousarray(y, np.float32),
        cv2.INTER_LINEAR,
        borderMode=cv2.BORDER_REPLICATE,
    )
    mask = np.zeros(camera.height * camera.width, bool)
    mask[pixel] = True
    return np.asarray(colours, np.uint8), mask.reshape(camera.height, camera.width)


def _first_hits(
    points: NDArray[np.float32], depth: NDArray[np.float32], width: int, height: int
) -> tuple[NDArray[np.int64], NDArray[np.int32], NDArray[np.float32]]:
    """Pixel, triangle and screen-space weights of the nearest surface."""
    parts = list(raster.fragments(points, width, height))
    pixel = np.concatenate([p.pixel for p in parts])
    triangle = np.concatenate([p.triangle for p in parts])
    weights = np.concatenate([p.weights for p in parts])
    here = 1 / (weights / depth[triangle]).sum(axis=1)
    order = np.lexsort((here, pixel))
    first = order[np.append(True, np.diff(pixel[order]) > 0)]
    return pixel[first], triangle[first], weights[first]


def compare(
    name: str, result: Reconstruction, image: NDArray[np.uint8], mask: NDArray[np.bool_]
) -> Overlay:
    """Compare what a camera saw of a result with the picture it was made from."""
    subject = result.picture[..., 3] > 127
    both = subject & mask
    iou = float(both.sum() / max(int((subject | mask).sum()), 1))
    difference = image[both].astype(np.float64) - result.picture[both][:, :3]
    error = float((difference**2).mean()) if both.any() else 255.0**2
    return Overlay(name, iou, 10 * math.log10(255.0**2 / max(error, 1e-9)))


def table(rows: Sequence[Overlay]) -> str:
    """Lay the rows out as text, the worst first."""
    lines = [f"{'picture':40s}{'IoU':>8s}{'PSNR dB':>10s}  reached"]
    lines += [
        _line(row)
        for row in sorted(rows, key=lambda row: min(row.iou / IOU_GOAL, row.psnr / PSNR_GOAL))
    ]
    reached = sum(row.is_reached for row in rows)
    lines.append(
        f"goal: IoU {IOU_GOAL}, PSNR {PSNR_GOAL:.0f} dB; reached by {reached} of {len(rows)};"
        f" means {np.mean([r.iou for r in rows]):.4f}, {np.mean([r.psnr for r in rows]):.1f} dB"
    )
    return "\n".join(lines)


def _line(row: Overlay) -> str:
    return f"{row.name:40s}{row.iou:8.4f}{row.psnr:10.2f}  {'yes' if row.is_reached else 'no'}"


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
