"""Whether finished meshes are sound: faces that cross, closedness, empty faces, overlaps of UVs.

    python -m benchmarks.quality.soundness --out build/bench [--truth FOLDER] [--limit 8]

Every picture of a known object goes through the product's own pipeline once at its default settings and
once with a face budget. Crossing faces are counted before and after the product parts them.
"""

# The checkout is importable as image_to_mesh only once package.py has run.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import contextlib
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ..data.truth import View, load_view, view_names
from ..package import load_extension
from . import metrics
from .observing import observed
from .unwrapping import measure_uv

load_extension()

BUDGET = 5_000  # faces of the second mesh
TEXTURE = 1024


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="folder of finished truth (default: OUT/truth)")
    parser.add_argument("--limit", type=int, help="only so many objects")
    parser.add_argument("--detail", default="medium")
    arguments = parser.parse_args()
    folder = arguments.truth or arguments.out / "truth"
    rows = []
    for name in view_names(folder, 1, arguments.limit):
        for row in measure(load_view(folder, name), arguments.detail):
            rows.append(row)
            sys.stderr.write(_line(row) + "\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "soundness.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")
    return 0


def measure(view: View, detail: str) -> list[dict[str, Any]]:
    """Make both meshes of one object; give a row of numbers for each."""
    from image_to_mesh.inference import pipeline
    from image_to_mesh.inference.contracts import PictureFile, Request, Shaping
    from image_to_mesh.inference.engines import object as engine

    def stage(_name: str) -> Any:
        return lambda _share: None

    request = Request(
        source=PictureFile(view.picture), engine="object", detail=detail, texture_size=TEXTURE
    )
    with observed(view, frozenset()) as seen, counted() as before:
        made = pipeline.run(request, lambda _fraction, _stage: None)
        again = engine.build_object(seen[0], detail, TEXTURE, 1.0, stage, Shaping(faces=BUDGET))
    return [
        _sound(view.name, mesh, *counts)
        for mesh, counts in zip((made.mesh, again.mesh), before, strict=True)
    ]


@contextlib.contextmanager
def counted() -> Iterator[list[tuple[int, int]]]:
    """Overhear how many faces cross others before and after they are parted."""
    from image_to_mesh.inference.engines import object as engine
    from image_to_mesh.inference.surface.intersections import crossing_faces

    heard: list[tuple[int, int]] = []
    part = engine.parted

    def listen(positions: Any, faces: Any, *rest: Any) -> Any:
        moved, left = part(positions, faces, *rest)
        heard.append((len(crossing_faces(positions, faces)), left))
        return moved, left

    engine.parted = listen
    try:
        yield heard
    finally:
        engine.parted = part


def _sound(name: str, mesh: Any, before: int, after: int) -> dict[str, Any]:
    sides = int(mesh.face_sizes[0])
    triangles = metrics.triangulate(mesh.positions, mesh.corners, mesh.face_sizes)
    solid = metrics.check_solid(mesh.positions, mesh.corners, mesh.face_sizes)
    corner_of = np.arange(len(mesh.corners)).reshape(-1, sides)
    halves = [corner_of[:, [0, k, k + 1]] for k in range(1, sides - 1)]
    corners = np.concatenate(halves)
    uv = measure_uv(mesh.positions[mesh.corners[corners]], mesh.corner_uvs[corners])
    return {
        "object": name,
        "faces": len(mesh.face_sizes),
        "before": before,
        "after": after,
        "watertight": solid.is_watertight,
        "manifold": solid.is_manifold,
        "degenerate": solid.degenerate,
        "parts": solid.parts,
        "overlaps": uv.overlaps,
        "flipped": uv.flipped,
        "triangles": len(triangles),
    }


COLUMNS = (
    ("faces", "faces", "8.0f"),
    ("cross", "before", "7.0f"),
    ("left", "after", "6.0f"),
    ("closed", "watertight", "8.0%"),
    ("manifold", "manifold", "10.0%"),
    ("empty", "degenerate", "7.0f"),
    ("parts", "parts", "7.1f"),
    ("uv overlap", "overlaps", "12.0f"),
    ("uv flip", "flipped", "9.0f"),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the rows out as text, with the mean of each kind of mesh."""
    head = f"{'object':34s}" + "".join(
        f"{label:>{int(form.split('.')[0])}s}" for label, _, form in COLUMNS
    )
    lines = [
        "Faces that cross others before and after parting; closed, oriented and without empty faces;"
        " manifold; overlapping and mirrored triangles in the texture",
        head,
        *[_line(row) for row in rows],
    ]
    for label, kind in (("MEAN", rows[::2]), (f"MEAN of {BUDGET} faces", rows[1::2])):
        mean = {key: float(np.mean([row[key] for row in kind])) for _, key, _ in COLUMNS}
        lines.append(_line(mean | {"object": label}))
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    return f"{row['object'][:33]:34s}" + "".join(f"{row[key]:{form}}" for _, key, form in COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
