"""Compare surface extraction: ours, two marching cubes, and screened Poisson.

    python -m benchmarks.peers.surface --out build/bench [--cells 256] [--truth FOLDER]

Every method extracts the same shapes at the same cell size: ours and marching cubes from the same
field, Poisson from as many exact oriented points as our mesh has vertices. Distances are those of
points on the result to the true surface, in cells. Each run is a process of its own, so that its
peak memory is its own.
"""

# The checkout is importable as image_to_mesh only once package.py has run.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import importlib.util
import json
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..package import load_extension, module_command
from ..quality import metrics

load_extension()

HALVED = "ours, half"  # at twice the cell size
METHODS = ("ours", HALVED, "scikit-image", "PyMCubes", "Poisson")
NEEDS = {"scikit-image": "skimage", "PyMCubes": "mcubes", "Poisson": "pymeshlab"}
SHAPES = ("box", "drilled block", "gear", "torus", "thin plate")
HALF = 1.1  # the shapes lie within -HALF to HALF
POINTS = 60_000  # on each surface, to measure distances with

Distance = Callable[[NDArray[np.floating]], NDArray[np.float64]]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--cells", type=int, default=256, help="cells along each axis")
    parser.add_argument("--truth", type=Path, help="folder of finished truth: adds real objects")
    parser.add_argument("--limit", type=int, default=3, help="only so many objects")
    parser.add_argument("--one", nargs=2, metavar=("SHAPE", "METHOD"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.one:
        shape, method = arguments.one
        row = measure(shape, method, arguments.cells, arguments.truth)
        sys.stdout.write(json.dumps(row) + "\n")
        return 0
    names = list(SHAPES)
    if arguments.truth is not None:
        from ..data.truth import view_names

        names += view_names(arguments.truth, 1, arguments.limit)
    rows = []
    for name in names:
        for method in METHODS:
            package = NEEDS.get(method)
            if package is not None and importlib.util.find_spec(package) is None:
                continue
            rows.append(_in_own_process(arguments, name, method))
            sys.stderr.write(_line(rows[-1]) + "\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "surface.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sys.stdout.write(table(rows, arguments.cells) + "\n")
    return 0


def _in_own_process(arguments: argparse.Namespace, shape: str, method: str) -> dict[str, Any]:
    command = [*module_command("peers.surface"), "--out", str(arguments.out)]
    command += ["--cells", str(arguments.cells), "--one", shape, method]
    if arguments.truth is not None:
        command += ["--truth", str(arguments.truth)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        return {"shape": shape, "method": method, "error": result.stderr.strip()[-200:]}
    return json.loads(result.stdout.strip().splitlines()[-1])


@dataclass(frozen=True, slots=True)
class Subject:
    """A shape with its field.

    Attributes:
        distance: Signed distance at (N, 3) points, within -HALF to HALF.
    """

    distance: Distance


class FormulaField:
    """The product's field protocol over a distance function."""

    def __init__(self, distance: Distance) -> None:
        from image_to_mesh.inference.field.protocol import Bounds

        self._distance = distance
        self.bounds = Bounds(np.full(3, -HALF, np.float32), np.full(3, HALF, np.float32))

    def query(self, points: NDArray[np.float32]) -> Any:
        from image_to_mesh.inference.field.protocol import FieldSample

        return FieldSample(self._distance(points).astype(np.float32))

    def gradient(self, points: NDArray[np.float32]) -> NDArray[np.float32]:
        return slope_of(self._distance, points.astype(np.float64), 2e-4).astype(np.float32)


def subject(name: str, truth: Path | None) -> Subject:
    """A shape by its name, turned so that no face lies along the lattice."""
    if name in SHAPES:
        turn = np.linalg.qr(np.random.default_rng(7).normal(size=(3, 3)))[0]
        formula = _FORMULAS[name]
        return Subject(lambda p: formula(np.asarray(p, np.float64) @ turn.T))
    if truth is None:
        raise SystemExit(f"{name} needs --truth.")
    return _object(truth, name)


def _box(p: NDArray[np.float64], half: tuple[float, float, float]) -> NDArray[np.float64]:
    q = np.abs(p) - half
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def _extruded(flat: NDArray[np.float64], height: NDArray[np.float64]) -> NDArray[np.float64]:
    """Distance to what is inside of an outline and between two planes."""
    outside = np.hypot(np.maximum(flat, 0), np.maximum(height, 0))
    return outside + np.minimum(np.maximum(flat, height), 0)


def _drilled(p: NDArray[np.float64]) -> NDArray[np.float64]:
    holes = [np.hypot(p[:, a], p[:, b]) - 0.28 for a, b in ((0, 1), (0, 2), (1, 2))]
    return np.maximum(_box(p, (0.6, 0.5, 0.55)), -np.minimum.reduce(holes))


def _gear(p: NDArray[np.float64]) -> NDArray[np.float64]:
    teeth = 12
    radius, angle = np.hypot(p[:, 0], p[:, 1]), np.arctan2(p[:, 1], p[:, 0])
    pitch = 2 * np.pi / teeth
    angle = (angle + pitch / 2) % pitch - pitch / 2
    x, y = radius * np.cos(angle), radius * np.sin(angle)
    tooth = np.maximum(np.abs(y) - 0.11, np.abs(x - 0.7) - 0.2)
    flat = np.maximum(np.minimum(radius - 0.66, tooth), 0.25 - radius)
    return _extruded(flat, np.abs(p[:, 2]) - 0.18)


_FORMULAS: dict[str, Distance] = {
    "box": lambda p: _box(p, (0.7, 0.5, 0.6)),
    "drilled block": _drilled,
    "gear": _gear,
    "torus": lambda p: np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.65, p[:, 2]) - 0.28,
    "thin plate": lambda p: _box(p, (0.8, 0.6, 0.02)),
}


def _object(folder: Path, name: str) -> Subject:
    """The solid between a real object's first and last surface, as the object engine makes it."""
    from image_to_mesh.inference.camera import CropView, PinholeCamera
    from image_to_mesh.inference.field.two_sided import (
        TwoSidedSurface,
        nearest_inside,
        solid_from_two_sides,
    )

    from ..data.truth import load_view

    view = load_view(folder, name)
    height, width = view.hits.mask.shape
    side = max(height, width)
    focal = width / 2 / np.tan(view.fov_x / 2)
    left, top = (width - side) / 2, (height - side) / 2
    crop = CropView.of(PinholeCamera(width, height, focal), left, top, side)
    rows, columns = (np.indices((side, side)) + np.array([[[top]], [[left]]])).astype(int)
    within = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    rows, columns = rows.clip(0, height - 1), columns.clip(0, width - 1)
    mask = view.hits.mask[rows, columns] & within
    middle = (view.hits.front[view.hits.mask].min() + view.hits.back.max()) / 2
    unit = crop.distance / middle
    nearest = nearest_inside(mask)
    front, back = (
        ((depth[rows, columns] - middle) * unit).ravel()[nearest].astype(np.float32)
        for depth in (view.hits.front, view.hits.back)
    )
    solid = TwoSidedSurface(front, np.maximum(back, front + 0.02), mask.astype(np.float32))
    grid = solid_from_two_sides(solid, crop, 128, lambda share: None)
    centre = (grid.bounds.low + grid.bounds.high) / 2
    scale = float((grid.bounds.high - grid.bounds.low).max()) / 2

    def distance(points: NDArray[np.floating]) -> NDArray[np.float64]:
        inside = np.asarray(points, np.float32) * np.float32(scale) + centre
        return grid.query(inside).distance.astype(np.float64) / scale

    return Subject(distance)


def measure(name: str, method: str, cells: int, truth: Path | None) -> dict[str, Any]:
    """Extract one shape with one method and compare it with the truth; give one row of numbers."""
    from image_to_mesh.inference.running.cost import peak_memory_mb

    shape = subject(name, truth)
    spacing = 2 * HALF / cells
    prepare = oriented_points(shape, spacing) if method == "Poisson" else None
    before = peak_memory_mb()
    start = time.perf_counter()
    if method.startswith("ours"):
        positions, faces = ours(shape, spacing * (2 if method == HALVED else 1))
    elif method == "scikit-image":
        positions, faces = scikit_image(shape, cells)
    elif method == "PyMCubes":
        positions, faces = pymcubes(shape, cells)
    else:
        assert prepare is not None
        positions, faces = poisson(*prepare, cells)
    seconds = time.perf_counter() - start
    peak = peak_memory_mb() - before
    if faces.shape[1] == 4:
        faces = np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])
    solid = metrics.check_solid(positions, faces.ravel(), np.full(len(faces), 3))
    points = metrics.sample_surface(positions[faces], POINTS)
    error = np.abs(to_surface(shape.distance, points, spacing)) / spacing
    return {
        "shape": name,
        "method": method,
        "seconds": seconds,
        "peak_mb": peak,
        "triangles": len(faces),
        "mean": float(error.mean()),
        "p95": float(np.percentile(error, 95)),
        "max": float(error.max()),
        "manifold": solid.is_manifold,
        "degenerate": solid.degenerate,
    }


def to_surface(
    distance: Distance, points: NDArray[np.floating], spacing: float
) -> NDArray[np.float64]:
    """Distance of (N, 3) points near a surface, for fields whose slope is not quite one."""
    slope = slope_of(distance, points, 0.05 * spacing)
    return distance(points) / np.maximum(np.linalg.norm(slope, axis=1), 0.3)


def slope_of(distance: Distance, points: NDArray[np.floating], step: float) -> NDArray[np.float64]:
    """(N, 3) gradient by central differences."""
    sides = [distance(points + d) - distance(points - d) for d in np.eye(3) * step]
    return np.stack(sides, axis=1) / (2 * step)


def ours(shape: Subject, spacing: float) -> tuple[NDArray, NDArray]:
    from image_to_mesh.inference.surface.bricks import sample_near_surface
    from image_to_mesh.inference.surface.contour import dual_contour
    from image_to_mesh.inference.surface.parts import keep_solid_parts

    field = FormulaField(shape.distance)
    bricks = sample_near_surface(field, spacing, lambda share: None)
    return keep_solid_parts(*dual_contour(bricks, field, lambda share: None), 0.001)


def _samples(shape: Subject, cells: int) -> NDArray[np.float32]:
    """(N, N, N) the whole lattice; plane by plane, as a lattice of points would not fit."""
    axis = np.linspace(-HALF, HALF, cells + 1)
    y, z = np.meshgrid(axis, axis, indexing="ij")
    samples = np.empty((cells + 1,) * 3, np.float32)
    for i, x in enumerate(axis):
        plane = np.stack([np.full(y.size, x), y.ravel(), z.ravel()], axis=1)
        samples[i] = shape.distance(plane).reshape(y.shape)
    return samples


def scikit_image(shape: Subject, cells: int) -> tuple[NDArray, NDArray]:
    from skimage.measure import marching_cubes

    samples = _samples(shape, cells)
    positions, faces, _, _ = marching_cubes(samples, 0.0, spacing=(2 * HALF / cells,) * 3)
    return positions - HALF, faces


def pymcubes(shape: Subject, cells: int) -> tuple[NDArray, NDArray]:
    import mcubes

    positions, faces = mcubes.marching_cubes(_samples(shape, cells), 0.0)
    return positions * (2 * HALF / cells) - HALF, faces.astype(np.int64)


def oriented_points(shape: Subject, spacing: float) -> tuple[NDArray, NDArray]:
    """As many points as our surface has vertices, exactly on the true surface, and normals."""
    points = ours(shape, spacing)[0].astype(np.float64)
    for _ in range(3):
        slope = slope_of(shape.distance, points, 0.05 * spacing)
        square = np.maximum((slope**2).sum(axis=1, keepdims=True), 0.1)
        points = points - slope * shape.distance(points)[:, None] / square
    slope = slope_of(shape.distance, points, 0.05 * spacing)
    return points, slope / np.maximum(np.linalg.norm(slope, axis=1, keepdims=True), 1e-12)


def poisson(
    points: NDArray[np.float64], normals: NDArray[np.float64], cells: int
) -> tuple[NDArray, NDArray]:
    """Screened Poisson reconstruction (Kazhdan and Hoppe 2013) on an octree of as many cells."""
    import pymeshlab

    meshes = pymeshlab.MeshSet()
    meshes.add_mesh(pymeshlab.Mesh(points, v_normals_matrix=normals))
    meshes.generate_surface_reconstruction_screened_poisson(depth=int(np.log2(cells)), threads=1)
    mesh = meshes.current_mesh()
    return mesh.vertex_matrix(), mesh.face_matrix().astype(np.int64)


def table(rows: Sequence[dict[str, Any]], cells: int) -> str:
    """Lay the rows out as text, one line for each shape and method."""
    lines = [
        f"Surface extraction at {cells} cells; distance to the true surface in cells",
        f"{'shape':22s}{'method':14s}{'s':>7s}{'MB':>7s}{'triangles':>11s}"
        f"{'mean':>8s}{'95 %':>8s}{'max':>7s}  manifold  empty faces",
    ]
    return "\n".join(lines + [_line(row) for row in rows])


def _line(row: dict[str, Any]) -> str:
    if "error" in row:
        return f"{row['shape']:22s}{row['method']:14s}{row['error']}"
    return (
        f"{row['shape']:22s}{row['method']:14s}{row['seconds']:7.2f}{row['peak_mb']:7.0f}"
        f"{row['triangles']:11d}{row['mean']:8.4f}{row['p95']:8.4f}{row['max']:7.2f}"
        f"{'yes' if row['manifold'] else 'no':>10s}{row['degenerate']:13d}"
    )


if __name__ == "__main__":
    sys.exit(main())
