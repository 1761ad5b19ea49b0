"""Meshes from many pictures against the truth, with true and with estimated cameras.

    python -m benchmarks.photos.orbit --objects FOLDER --out ORBITS     (needs the bpy wheel)
    python -m benchmarks.photos.views --orbits ORBITS [--views 8 16 48] [--cameras true estimated]

Our surface comes twice: fused from depth maps and outlines, and refined from there by volume
rendering. Beside it the same depth maps go through a screened Poisson reconstruction (pycolmap's) and
through a plain TSDF, and the silhouettes alone through a visual hull, all scored alike: distances
are in units of the diagonal of the true bounding box. Prints a table, writes ``views.json``.
"""

# ruff: noqa: E402 - the extension is loaded first

from __future__ import annotations

import argparse
import json
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..package import load_extension

load_extension()

from image_to_mesh.inference.errors import ImageToMeshError
from image_to_mesh.inference.running.cost import peak_memory_mb
from image_to_mesh.inference.surface.nets import drop_small_parts, surface_nets
from image_to_mesh.inference.views.cameras.pinhole import undistorted
from image_to_mesh.inference.views.cameras.source import solve_cameras
from image_to_mesh.inference.views.contracts import Solved, ViewsRequest
from image_to_mesh.inference.views.depth.stereo import unprojected
from image_to_mesh.inference.views.geometry import Frame
from image_to_mesh.inference.views.photos.gather import Gathered, gather
from image_to_mesh.inference.views.placement.region import Region, find_region
from image_to_mesh.inference.views.surface.fusion import Evidence, Grid
from image_to_mesh.inference.views.surface.measuring import Measured, collected, measure
from image_to_mesh.inference.views.surface.shape import Shape, extract, refined_shape
from image_to_mesh.inference.views.watch import Watch

from ..quality.metrics import sample_surface

RING = range(16, 32)  # the orbit's middle ring
SUBSETS = {8: list(RING)[::2], 16: list(RING), 32: list(range(32)), 48: list(range(48))}
THRESHOLDS = (0.005, 0.01, 0.02)
POINTS = 30_000
Triangles = NDArray[np.floating]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--orbits", type=Path, required=True, help="written by orbit.py")
    parser.add_argument("--names", nargs="+", help="only these objects")
    parser.add_argument(
        "--views", type=int, nargs="+", default=[8, 16, 48], choices=sorted(SUBSETS)
    )
    parser.add_argument("--cameras", nargs="+", default=["true"], choices=["true", "estimated"])
    parser.add_argument("--masks", default="auto", choices=["auto", "none"])
    parser.add_argument("--detail", default="medium", choices=["low", "medium", "high", "ultra"])
    parser.add_argument("--no-baselines", action="store_true", help="our surfaces alone")
    parser.add_argument("--no-refinement", action="store_true", help="the fused surface alone")
    parser.add_argument("--device", default="cpu", help="of the refinement")
    parser.add_argument("--out", type=Path, default=Path("views.json"))
    arguments = parser.parse_args()
    folders = sorted(path.parent for path in arguments.orbits.glob("*/transforms.json"))
    folders = [f for f in folders if not arguments.names or f.name in arguments.names]
    rows = []
    for folder in folders:
        for count in arguments.views:
            for cameras in arguments.cameras:
                rows += measure_set(folder, count, cameras, arguments)
                arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


def measure_set(
    folder: Path, count: int, cameras: str, arguments: argparse.Namespace
) -> list[dict[str, object]]:
    """Reconstruct one subset of one object's pictures; one row for each method."""
    pictures = [folder / "pictures" / f"{index:03d}.png" for index in SUBSETS[count]]
    pictures = [path for path in pictures if path.is_file()]
    request = ViewsRequest(inputs=tuple(pictures), masks=arguments.masks, detail=arguments.detail)
    head = {"object": folder.name, "views": len(pictures), "cameras": cameras}
    head |= {"detail": arguments.detail, "masks": arguments.masks}
    wall, cpu = time.perf_counter(), time.process_time()
    try:
        gathered = gather(request, _silent)
        true = solve_cameras(request, gathered, lambda share, stage: None)
        solved = true
        if cameras == "estimated":
            asked = replace(request, cameras="estimate")
            solved = solve_cameras(asked, gathered, lambda share, stage: None)
            head |= {"registered": len(solved.poses), **pose_errors(solved, true)}
            head["camera_seconds"] = round(time.perf_counter() - wall, 1)
        region = _region(gathered, solved, request)
        measured = measure(region, request.detail, lambda name: _silent)
        evidence = collected(measured, _silent)
        shape = extract(region, measured, evidence)
    except ImageToMeshError as error:
        return [_told({**head, "method": "ours, fused", "error": str(error)})]

    def cost() -> dict[str, object]:
        """Of everything up to now, cameras included."""
        return {
            "wall_s": round(time.perf_counter() - wall, 1),
            "cpu_s": round(time.process_time() - cpu, 1),
            "peak_mb": round(peak_memory_mb()),
        }

    fused = cost()
    truth = np.load(folder / "truth.npz")["triangles"]
    to_truth = alignment(solved, true)
    moved = to_truth.points(truth.reshape(-1, 3)) if cameras == "estimated" else truth
    truth = region.frame.points(moved.reshape(-1, 3)).reshape(-1, 3, 3)

    def row(method: str, triangles: Triangles, cost: dict[str, object]) -> dict[str, object]:
        return _told({**head, "method": method, **score(triangles, truth), **cost})

    rows = [row("ours, fused", _triangles(shape.positions, shape.faces), fused)]
    if region.has_masks and not arguments.no_refinement:
        shape = _refined(region, measured, evidence, arguments)
        rows.append(row("ours, refined", _triangles(shape.positions, shape.faces), cost()))
    if arguments.no_baselines:
        return rows
    if measured.outside is not None:
        rows.append(row("visual hull", _hull(region, measured), {}))
    rows.append(row("plain TSDF", plain_tsdf(measured.grid, evidence), {}))
    poisson = poisson_of(measured, folder)
    if poisson is not None:
        rows.append(row("Poisson", poisson, {}))
    return rows


def _refined(
    region: Region, measured: Measured, evidence: Evidence, arguments: argparse.Namespace
) -> Shape:
    return refined_shape(
        region,
        measured,
        evidence,
        arguments.detail,
        arguments.device,
        0,
        _silent,
        Watch(),
        moves_cameras=False,
    )[0]


def _region(gathered: Gathered, solved: Solved, request: ViewsRequest) -> Region:
    views = [
        undistorted(p, solved.poses[p.name]) for p in gathered.photos if p.name in solved.poses
    ]
    return find_region(views, solved, request.kind, request.seed)


def _hull(region: Region, measured: Measured) -> Triangles:
    count = measured.grid.size
    zero, none = np.zeros(count, np.float32), np.zeros(count, np.uint8)
    shape = extract(region, measured, Evidence(zero, zero, none, none))
    return _triangles(shape.positions, shape.faces)


def plain_tsdf(grid: Grid, evidence: Evidence) -> Triangles:
    """The zero level where depth maps reach, as most fusions give it: open elsewhere."""
    seen = (evidence.weight > 0).reshape(grid.shape)
    value = np.where(seen, evidence.distance.reshape(grid.shape), 3.0).astype(np.float32)
    value[[0, -1]] = value[:, [0, -1]] = value[:, :, [0, -1]] = 3.0
    positions, faces = surface_nets(value)
    # Faces beside unknown samples close the shell behind the surface: they are not measured.
    cells = np.clip(np.floor(positions).astype(int), 0, np.array(grid.shape) - 2)
    known = np.ones(len(cells), bool)
    for corner in np.ndindex(2, 2, 2):
        known &= seen[tuple((cells + corner).T)]
    faces = faces[known[faces].all(axis=1)]
    if not len(faces):
        return np.zeros((1, 3, 3))
    positions, faces = drop_small_parts(positions, faces, 0.02)
    return _triangles(grid.origin + positions * np.float32(grid.spacing), faces)


def poisson_of(measured: Measured, folder: Path) -> Triangles | None:
    """Screened Poisson on all agreed depth with normals; None without pycolmap."""
    try:
        import pycolmap  # pyright: ignore[reportMissingImports]
        import trimesh
    except ImportError:
        return None
    points, normals = [], []
    for depth_map in measured.maps:
        cloud = unprojected(depth_map)
        across, down = np.gradient(cloud, axis=1), np.gradient(cloud, axis=0)
        normal = np.cross(down, across)
        length = np.linalg.norm(normal, axis=2)
        around = depth_map.depth > 0
        around[1:-1, 1:-1] &= (depth_map.depth[:-2, 1:-1] > 0) & (depth_map.depth[2:, 1:-1] > 0)
        around[1:-1, 1:-1] &= (depth_map.depth[1:-1, :-2] > 0) & (depth_map.depth[1:-1, 2:] > 0)
        around &= length > 1e-12
        toward = depth_map.camera.matrix[:3, 3] - cloud
        normal = normal / np.maximum(length, 1e-12)[..., None]
        normal *= np.sign((normal * toward).sum(axis=2, keepdims=True))
        points.append(cloud[around])
        normals.append(normal[around])
    table = np.concatenate([np.concatenate(points), np.concatenate(normals)], axis=1)
    table = table[:: max(1, len(table) // 400_000)].astype("<f4")
    source, target = folder / "_points.ply", folder / "_poisson.ply"
    names = "".join(f"property float {n}\n" for n in ("x", "y", "z", "nx", "ny", "nz"))
    names += "".join(f"property uchar {n}\n" for n in ("red", "green", "blue"))
    header = (
        f"ply\nformat binary_little_endian 1.0\nelement vertex {len(table)}\n{names}end_header\n"
    )
    packed = np.empty(len(table), np.dtype([("p", "<f4", 6), ("c", "u1", 3)]))
    packed["p"], packed["c"] = table, 128
    source.write_bytes(header.encode() + packed.tobytes())
    try:
        options = pycolmap.PoissonMeshingOptions()
        options.depth = 8
        options.trim = 5  # the default of 10 leaves nothing of so shallow a tree
        pycolmap.poisson_meshing(source, target, options)
        mesh = trimesh.load_mesh(target, process=False)
    finally:
        source.unlink(missing_ok=True)
        target.unlink(missing_ok=True)
    return np.asarray(mesh.triangles) if len(mesh.faces) else None


def score(triangles: Triangles, truth: Triangles) -> dict[str, object]:
    """Chamfer distance (the mean there plus the mean back) and F-scores; nothing is fitted."""
    corners = truth.reshape(-1, 3)
    diagonal = float(np.linalg.norm(corners.max(axis=0) - corners.min(axis=0)))
    a, b = sample_surface(truth, POINTS), sample_surface(triangles, POINTS, 1)
    to_mesh, to_truth = KDTree(b).query(a)[0] / diagonal, KDTree(a).query(b)[0] / diagonal
    result: dict[str, object] = {"chamfer": round(float(to_mesh.mean() + to_truth.mean()), 5)}
    for limit in THRESHOLDS:
        precision, recall = (to_truth < limit).mean(), (to_mesh < limit).mean()
        f = 2 * precision * recall / max(precision + recall, 1e-9)
        result[f"F@{limit:g}"] = round(float(f), 3)
    return result


def alignment(estimated: Solved, true: Solved) -> Frame:
    """The similarity from the true world to the estimated one that fits the cameras best.

    Umeyama (1991) on the cameras' positions and a point ahead of each.
    """
    names = sorted(set(estimated.poses) & set(true.poses))
    source = np.array([true.poses[name].matrix for name in names])
    target = np.array([estimated.poses[name].matrix for name in names])
    a, b = source[:, :3, 3], target[:, :3, 3]
    spread_a, spread_b = a - a.mean(axis=0), b - b.mean(axis=0)
    scale = float(np.sqrt((spread_b**2).sum() / max((spread_a**2).sum(), 1e-18)))
    # Directions fix the turn where positions alone, on a ring, would leave it loose.
    axes_a = source[:, :3, :3].transpose(0, 2, 1).reshape(-1, 3)
    axes_b = target[:, :3, :3].transpose(0, 2, 1).reshape(-1, 3)
    size = float(np.sqrt((spread_b**2).mean()))
    cross = (spread_b * scale).T @ spread_a / max(size, 1e-12) ** 2 + axes_b.T @ axes_a
    u, _, v = np.linalg.svd(cross)
    rotation = u @ np.diag([1.0, 1.0, np.linalg.det(u @ v)]) @ v
    centre = a.mean(axis=0) - rotation.T @ b.mean(axis=0) / scale
    return Frame(rotation, centre, scale)


def pose_errors(estimated: Solved, true: Solved) -> dict[str, object]:
    """Degrees of turn, and position error in percent of the distance to the common centre."""
    frame = alignment(estimated, true)
    degrees, percent = [], []
    names = sorted(set(estimated.poses) & set(true.poses))
    positions = np.array([true.poses[name].matrix[:3, 3] for name in names])
    distance = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).mean())
    for name in names:
        wanted = frame.camera(true.poses[name].matrix)
        found = estimated.poses[name].matrix
        turn = (np.trace(wanted[:3, :3].T @ found[:3, :3]) - 1) / 2
        degrees.append(float(np.degrees(np.arccos(np.clip(turn, -1, 1)))))
        off = np.linalg.norm(wanted[:3, 3] - found[:3, 3]) / frame.scale
        percent.append(100 * float(off) / max(distance, 1e-12))
    return {
        "degrees_median": round(float(np.median(degrees)), 3),
        "degrees_max": round(max(degrees), 3),
        "percent_median": round(float(np.median(percent)), 3),
        "percent_max": round(max(percent), 3),
    }


def _triangles(positions: NDArray[np.float32], faces: NDArray[np.int32]) -> Triangles:
    return np.concatenate([positions[faces[:, [0, 1, 2]]], positions[faces[:, [0, 2, 3]]]])


def _silent(share: float) -> None:
    pass


def _told(row: dict[str, object]) -> dict[str, object]:
    sys.stdout.write("  ".join(f"{key}={value}" for key, value in row.items()) + "\n")
    sys.stdout.flush()
    return row


if __name__ == "__main__":
    sys.exit(main())
