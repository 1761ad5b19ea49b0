"""Compare our UV maps with Blender's Smart UV Project and with xatlas.

    python -m benchmarks.peers.uv --out build/bench [--pictures FOLDER] [--limit 8] [--cells 96]

Meshes are the product's own results for pictures (default: the bundled ones) and three shapes made of
formulas. Every method unwraps the same triangles; ``unwrapping.py`` says what the columns mean.
"""

# pyright: reportMissingImports=false, reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..blender import inside_blender, quiet_blender
from ..quality.matched_camera import found_pictures, reconstruct
from ..quality.unwrapping import UvQuality, measure_uv

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SIZE = 2048
MARGIN = 8


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--pictures", type=Path, help="folder of .png pictures with transparency")
    parser.add_argument("--limit", type=int, default=5, help="only so many pictures")
    parser.add_argument("--cells", type=int, default=64, help="grid cells of the formulas' meshes")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    methods: dict[str, Callable[[Floats, Ints], Floats]] = {
        "ours": ours,
        "Blender": smart_project,
        "xatlas": xatlas,
    }
    rows: list[tuple[str, str, float, UvQuality]] = []
    for name, (positions, triangles) in meshes(arguments).items():
        for method, unwrap in methods.items():
            start = time.perf_counter()
            uvs = unwrap(positions, triangles)
            seconds = time.perf_counter() - start
            rows.append((name, method, seconds, measure_uv(positions[triangles], uvs)))
            _say(_line(rows[-1]))
    record = [
        {"mesh": name, "method": method, "seconds": seconds, **asdict(quality)}
        for name, method, seconds, quality in rows
    ]
    (arguments.out / "uv.json").write_text(json.dumps(record, indent=1), encoding="utf-8")
    _say("\n" + table(rows))
    return 0


def meshes(arguments: argparse.Namespace) -> dict[str, tuple[Floats, Ints]]:
    """Vertices and triangles of every mesh."""
    from image_to_mesh.inference.surface.topology import split_faces

    from ..data.truth import spread

    found = dict(formulas(arguments.cells))
    seen = set()
    for path in spread(found_pictures(arguments.pictures), arguments.limit):
        if path.stem in seen or path.stem.removeprefix("toon_") in seen:
            continue
        seen |= {path.stem, path.stem.removeprefix("toon_")}
        mesh = reconstruct(path, 512, "low").mesh
        faces = mesh.corners.reshape(-1, int(mesh.face_sizes[0]))
        found[path.stem] = (mesh.positions, split_faces(faces))
    return found


def formulas(cells: int) -> dict[str, tuple[Floats, Ints]]:
    """A torus, a cup and a knot of three rings, extracted from their distance."""
    from image_to_mesh.inference.surface.nets import surface_nets
    from image_to_mesh.inference.surface.topology import split_faces

    axis = np.linspace(-1.15, 1.15, cells)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")

    def ring(a: NDArray, b: NDArray, c: NDArray, large: float, small: float) -> NDArray:
        return np.hypot(np.hypot(a, b) - large, c) - small

    round_ = np.hypot(x, z)
    outer = np.maximum(round_ - 0.6, np.abs(y) - 0.7)
    cup = np.maximum(outer, -np.maximum(round_ - 0.5, -y - 0.6))
    shapes = {
        "torus": ring(x, z, y, 0.7, 0.3),
        "cup": np.minimum(cup, ring(x - 0.6, y, z, 0.35, 0.09) + 0.0 * x),
        "rings": np.minimum(
            np.minimum(ring(x, y, z, 0.8, 0.12), ring(y, z, x, 0.8, 0.12)), ring(z, x, y, 0.8, 0.12)
        ),
    }
    made = {}
    for name, distance in shapes.items():
        positions, quads = surface_nets(distance.astype(np.float32))
        made[name] = (positions, split_faces(quads))
    return made


def ours(positions: Floats, triangles: Ints) -> Floats:
    """(T, 3, 2) by the product's own charts and packing."""
    from image_to_mesh.inference.texture.charts import cut_into_charts
    from image_to_mesh.inference.texture.pack import pack_charts

    return pack_charts(cut_into_charts(positions, triangles), SIZE, MARGIN).uvs


def smart_project(positions: Floats, triangles: Ints) -> Floats:
    """(T, 3, 2) by Blender's operator at its own settings, with our margin."""
    import bpy

    with quiet_blender():
        mesh = bpy.data.meshes.new("uv")
        mesh.from_pydata(positions.tolist(), [], triangles.tolist())
        obj = bpy.data.objects.new("uv", mesh)
        bpy.context.scene.collection.objects.link(obj)
        bpy.context.view_layer.objects.active = obj
        obj.select_set(True)
        bpy.ops.object.mode_set(mode="EDIT")
        bpy.ops.mesh.select_all(action="SELECT")
        bpy.ops.uv.smart_project(margin_method="FRACTION", island_margin=MARGIN / SIZE)
        bpy.ops.object.mode_set(mode="OBJECT")
        flat = np.empty(len(mesh.loops) * 2, np.float32)
        mesh.uv_layers.active.uv.foreach_get("vector", flat)
        bpy.data.objects.remove(obj)
    return flat.reshape(-1, 3, 2)


def xatlas(positions: Floats, triangles: Ints) -> Floats:
    """(T, 3, 2) by xatlas at its own settings, packed into one square with our margin."""
    import xatlas as library

    atlas = library.Atlas()
    atlas.add_mesh(positions, triangles.astype(np.uint32))
    packing = library.PackOptions()
    packing.padding, packing.resolution = MARGIN, SIZE
    atlas.generate(library.ChartOptions(), packing)
    _, faces, uvs = atlas[0]
    # Its atlas need not be square; a texture is.
    longest = max(atlas.width, atlas.height)
    return (uvs * np.array([atlas.width, atlas.height]) / longest)[faces].astype(np.float32)


COLUMNS = "stretch", "area", "angle", "islands", "filling", "overlaps", "flipped"


def table(rows: Sequence[tuple[str, str, float, UvQuality]]) -> str:
    """Lay every mesh and the means of the methods out as text."""
    head = f"{'mesh':18s}{'method':9s}{'s':>7s}" + "".join(f"{c:>9s}" for c in COLUMNS)
    lines = ["UV maps; stretch, area and angle are 1 at best", head, *(_line(row) for row in rows)]
    for method in dict.fromkeys(row[1] for row in rows):
        own = [row for row in rows if row[1] == method]
        values = np.array([[getattr(row[3], c) for c in COLUMNS] for row in own], float)
        values = np.where(np.isfinite(values), values, 0).mean(axis=0)
        seconds = float(np.mean([row[2] for row in own]))
        lines.append(_numbers("MEAN", method, seconds, values.tolist()))
    return "\n".join(lines)


def _line(row: tuple[str, str, float, UvQuality]) -> str:
    name, method, seconds, quality = row
    return _numbers(name, method, seconds, [float(getattr(quality, c)) for c in COLUMNS])


def _numbers(name: str, method: str, seconds: float, values: Sequence[float]) -> str:
    cells = [f"{v:9.3f}" for v in values[:3]] + [f"{values[3]:9.0f}{values[4]:9.3f}"]
    return (
        f"{name:18s}{method:9s}{seconds:7.2f}"
        + "".join(cells)
        + f"{values[5]:9.0f}{values[6]:9.0f}"
    )


def _say(text: str) -> None:
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    inside_blender(main)
