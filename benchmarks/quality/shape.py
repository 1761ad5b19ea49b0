"""Measure how close the object engine comes to objects whose shape is known.

    python -m benchmarks.quality.shape --objects FOLDER --out build/bench [--views 2] [--limit 8]

Renders every GLB of the folder (once; needs the bpy wheel), runs the product's own pipeline on the
pictures with transparent, plain and photographic backgrounds, the latter also in pictures twice as
wide ("far"), and prints one table: ours beside two baselines, the displaced plane with walls and the
silhouette inflated like a pillow. The numbers are also written to quality.json.
"""

# The checkout is importable as image_to_mesh only once package.py has run.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..data import backgrounds
from ..data.composed import from_afar, write_picture
from ..data.rays import cast, pixel_rays
from ..data.truth import View, load_view, view_names
from ..package import load_extension, module_command
from . import baselines, metrics
from .observing import ORACLES, observed
from .table import METHODS, line, table

load_extension()

if TYPE_CHECKING:
    from inference.contracts import Reconstruction
    from inference.field.observation import Observation
else:
    from image_to_mesh.inference.contracts import Reconstruction
    from image_to_mesh.inference.field.observation import Observation

BASELINE_SIDE = 256


@dataclass(frozen=True, slots=True)
class Settings:
    """What to run.

    Attributes:
        detail: The product's Detail.
        texture_size: Pixels; the shape does not depend on it.
        oracle: Which of ``ORACLES`` to take from the truth instead of the network.
        photos: Files for photographic backgrounds.
    """

    detail: str
    texture_size: int
    oracle: frozenset[str]
    photos: tuple[Path, ...]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=Path, help="folder of .glb files; rendered if need be")
    parser.add_argument("--truth", type=Path, help="folder of finished truth (default: OUT/truth)")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--views", type=int, default=2, help="views of each object, 1 to 4")
    parser.add_argument("--limit", type=int, help="only so many objects, spread over the folder")
    parser.add_argument(
        "--backgrounds", nargs="+", choices=backgrounds.KINDS, default=list(backgrounds.KINDS)
    )
    parser.add_argument("--photos", type=Path, help="folder of pictures to use as backgrounds")
    parser.add_argument("--weights", type=Path, help="a .safetensors to try instead of our own")
    parser.add_argument("--detail", default="medium")
    parser.add_argument("--texture-size", type=int, default=256)
    parser.add_argument(
        "--oracle", nargs="*", choices=ORACLES, help="take these from the truth; none named: all"
    )
    parser.add_argument("--save-meshes", action="store_true", help="keep meshes for contact.py")
    arguments = parser.parse_args()

    folder = arguments.truth or arguments.out / "truth"
    if arguments.objects is not None:
        _render(arguments, folder)
    names = view_names(folder, arguments.views, arguments.limit)
    photos = (
        sorted(
            p for p in arguments.photos.rglob("*") if p.suffix.lower() in (".jpg", ".png", ".jpeg")
        )
        if arguments.photos
        else []
    )
    oracle = arguments.oracle if arguments.oracle is None or arguments.oracle else ORACLES
    settings = Settings(
        arguments.detail, arguments.texture_size, frozenset(oracle or ()), tuple(photos)
    )
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.weights is not None:
        use_weights(arguments.weights)
    rows = []
    for name in names:
        view = load_view(folder, name)
        for kind in arguments.backgrounds:
            rows.append(measure(view, kind, settings, arguments.out, arguments.save_meshes))
            _say(line(rows[-1], f"{name} {kind}"))
    (arguments.out / "quality.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    _say("\n" + table(rows))
    return 0


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def _render(arguments: argparse.Namespace, folder: Path) -> None:
    # A process of its own: bpy and torch need not share one here.
    command = [
        *module_command("data.render_truth"),
        "--objects",
        str(arguments.objects),
        "--out",
        str(folder),
        "--views",
        str(arguments.views),
    ]
    if arguments.limit is not None:
        command += ["--limit", str(arguments.limit)]
    subprocess.run(command, check=True)


def measure(
    view: View, kind: str, settings: Settings, out: Path, keep_mesh: bool
) -> dict[str, Any]:
    """Reconstruct one picture and compare it with the truth; give one row of numbers."""
    from image_to_mesh.inference import pipeline
    from image_to_mesh.inference.contracts import PictureFile, Request
    from image_to_mesh.inference.errors import ImageToMeshError

    row: dict[str, Any] = {
        "object": view.name.rsplit("_", 1)[0],
        "view": view.name,
        "background": kind,
    }
    if kind == "far":
        view = from_afar(view, backgrounds.FAR)
    path = write_picture(view, kind, settings.photos, out / "pictures")
    request = Request(
        source=PictureFile(path),
        engine="object",
        detail=settings.detail,
        texture_size=settings.texture_size,
        fov_x=view.fov_x if "camera" in settings.oracle else None,
        mask=view.hits.mask.astype(np.uint8) * 255 if "mask" in settings.oracle else None,
        cut_out="mask" if "mask" in settings.oracle else "auto",
    )
    start = time.perf_counter()
    try:
        with observed(view, settings.oracle) as seen:
            result = pipeline.run(request, lambda fraction, stage: None)
    except ImageToMeshError as error:
        return row | {"error": str(error)}
    row["seconds"] = time.perf_counter() - start
    row["loading"] = sum(s.seconds for s in result.stages if s.name == "Loading the network")
    row |= score(result, seen[0], view)
    if keep_mesh:
        save_mesh(out / "meshes" / f"{view.name}_{kind}.npz", result)
    return row


def use_weights(path: Path) -> None:
    """Let the pipeline load another file of weights, with its JSON beside it."""
    from image_to_mesh.inference.models.bundled import two_sided

    load = two_sided.load
    two_sided.load = lambda device: load(device, path)


def score(result: Reconstruction, observation: Observation, view: View) -> dict[str, Any]:
    """Compare a result and both baselines with the truth."""
    mesh, camera = result.mesh, result.camera
    to_camera = np.linalg.inv(camera.matrix)
    positions = mesh.positions @ to_camera[:3, :3].T + to_camera[:3, 3]
    faces = metrics.triangulate(positions, mesh.corners, mesh.face_sizes)
    ours = positions[faces]
    solid = metrics.check_solid(mesh.positions, mesh.corners, mesh.face_sizes)
    merged, triangles = metrics.weld(mesh.positions, faces)
    welded = metrics.check_solid(merged, triangles.ravel(), np.full(len(triangles), 3))
    row: dict[str, Any] = {
        "faces": len(mesh.face_sizes),
        "watertight": solid.is_watertight and result.is_watertight,
        "manifold": solid.is_manifold,
        "welded": welded.is_closed and welded.is_oriented,
        "degenerate": solid.degenerate,
        "parts": solid.parts,
    }
    shapes = {"ours": ours, **baseline_shapes(observation)}
    for method in METHODS:
        shape = metrics.compare_shapes(shapes[method], view.triangles)
        if method == "ours":
            row["fit"] = [shape.scale, *shape.offset.tolist()]
        row[f"cd_{method}"] = shape.chamfer
        for threshold, value in zip(metrics.THRESHOLDS, shape.f_scores, strict=True):
            row[f"f{threshold}_{method}"] = value

    truth = view.hits
    height, width = truth.mask.shape
    row["mask_iou"] = metrics.mask_iou(crop_mask_in_picture(observation, width, height), truth.mask)
    hits = cast(ours, pixel_rays(camera.fov_x, width, height))
    row["silhouette_iou"] = metrics.mask_iou(hits.mask, truth.mask)
    both = hits.mask & truth.mask
    row["normal_median"], row["normal_mean"] = metrics.normal_errors(
        hits.normals, truth.normals, both
    )
    row["depth"] = metrics.aligned_depth_error(hits.front, truth.front, both, view.diagonal)
    up = -camera.matrix[1, :3]
    row["up_error"] = float(
        np.degrees(np.arccos(np.clip(up @ view.up / np.linalg.norm(up), -1, 1)))
    )
    return row


def baseline_shapes(observation: Observation) -> dict[str, NDArray[np.float32]]:
    """Build both baselines from the same mask, crop and front depth, (T, 3, 3) camera frame."""
    crop = observation.view
    side = BASELINE_SIDE
    mask = cv2.resize(observation.mask, (side, side), interpolation=cv2.INTER_AREA) > 0.5
    front = cv2.resize(observation.front, (side, side), interpolation=cv2.INTER_LINEAR)
    front = (front - front[mask].mean()).astype(np.float32)
    rays = crop.crop_rays(side)
    made = {
        "relief": baselines.displaced_plane(front, mask, rays, crop.distance),
        "pillow": baselines.inflated_silhouette(mask, rays, crop.distance, 2 / side),
    }
    return {name: crop.to_camera(points)[faces] for name, (points, faces) in made.items()}


def crop_mask_in_picture(observation: Observation, width: int, height: int) -> NDArray[np.bool_]:
    """Lay the crop's mask back into the whole picture, (H, W)."""
    crop = observation.view
    scale = observation.mask.shape[0] / crop.side
    x = ((np.arange(width) + 0.5 - crop.x0) * scale - 0.5).astype(np.float32)
    y = ((np.arange(height) + 0.5 - crop.y0) * scale - 0.5).astype(np.float32)
    grid_x, grid_y = np.meshgrid(x, y)
    placed = cv2.remap(
        observation.mask, grid_x, grid_y, cv2.INTER_LINEAR, borderMode=cv2.BORDER_CONSTANT
    )
    return placed > 0.5


def save_mesh(path: Path, result: Reconstruction) -> None:
    """Keep the triangles in the camera frame, as contact.py draws them."""
    mesh = result.mesh
    to_camera = np.linalg.inv(result.camera.matrix)
    positions = mesh.positions @ to_camera[:3, :3].T + to_camera[:3, 3]
    faces = metrics.triangulate(positions, mesh.corners, mesh.face_sizes)
    path.parent.mkdir(parents=True, exist_ok=True)
    np.savez_compressed(path, triangles=positions[faces].astype(np.float32))


if __name__ == "__main__":
    sys.exit(main())
