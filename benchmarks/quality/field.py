"""How close the fitted neural field comes to the surface that exact depths of both sides show.

    python -m benchmarks.quality.field --out build/bench [--truth FOLDER] [--limit 8]

For each object the depths of its first and last surface, as one camera sees them, are given to the
object engine as a measurement without error. The grid that it fills by default and the neural field that
it fits on demand stand side by side. F-scores compare points of the true first and last surface with
those of the result, seen by the same camera.
"""

# The checkout is importable as image_to_mesh only once package.py has run.
# pyright: reportMissingImports=false

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import KDTree

from ..data.rays import Hits, cast
from ..data.truth import View, load_view, view_names
from ..package import load_extension
from . import metrics

load_extension()

SIDE = 256  # of the depth maps
MASK_SIDE = 768
MARGIN = 0.15  # free border on each side of the crop, in subject sizes
CELLS = 128  # along the result's longest side
NEAR = 0.02  # of the truth's diagonal


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--truth", type=Path, help="folder of finished truth (default: OUT/truth)")
    parser.add_argument("--limit", type=int, help="only so many objects")
    arguments = parser.parse_args()
    folder = arguments.truth or arguments.out / "truth"
    rows = []
    for name in view_names(folder, 1, arguments.limit):
        rows.append(measure(load_view(folder, name)))
        sys.stderr.write(_line(rows[-1]) + "\n")
    arguments.out.mkdir(parents=True, exist_ok=True)
    (arguments.out / "field.json").write_text(json.dumps(rows, indent=1), encoding="utf-8")
    sys.stdout.write(table(rows) + "\n")
    return 0


def measure(view: View) -> dict[str, Any]:
    """Fit one object; give one row of numbers."""
    from image_to_mesh.inference.contracts import Shaping
    from image_to_mesh.inference.engines.object import shaped_field

    crop = _crop(view)
    triangles = crop.to_view(view.triangles)
    hits = cast(triangles, crop.crop_rays(SIDE))
    mask = cast(triangles, crop.crop_rays(MASK_SIDE)).mask
    # The engine puts the middle between nearest and farthest point at the view's distance.
    unit = 2 * crop.distance / float(hits.front[hits.mask].min() + hits.back[hits.mask].max())
    observation = _exact(crop, hits, mask, unit)
    start = time.process_time()
    base, spacing = shaped_field(observation, CELLS, Shaping(), _quiet)
    filled = time.process_time()
    field, _ = shaped_field(observation, CELLS, Shaping(is_neural=True), _quiet)
    fitted = time.process_time()
    row: dict[str, Any] = {
        "object": view.name,
        "grid_seconds": filled - start,
        "fit_seconds": fitted - filled,
    }
    diagonal = view.diagonal * unit
    for label, made in (("grid", base), ("field", field)):
        begin = time.process_time()
        faces = _extracted(made, spacing)
        row[f"{label}_extract"] = time.process_time() - begin
        seen = cast(faces, crop.crop_rays(SIDE))
        precision, recall = _agreement(crop, hits, seen, unit, NEAR * diagonal)
        row[f"{label}_f"] = 2 * precision * recall / max(precision + recall, 1e-9)
        both = hits.mask & seen.mask
        row[f"{label}_normal"] = metrics.normal_errors(seen.normals, hits.normals, both)[0]
    return row


def _exact(crop: Any, hits: Hits, mask: NDArray[np.bool_], unit: float) -> Any:
    """The observation of a network that makes no error and says so."""
    from image_to_mesh.inference.field.observation import Observation
    from image_to_mesh.inference.field.two_sided import nearest_inside

    nearest = nearest_inside(hits.mask)
    front, back = ((d * np.float32(unit)).ravel()[nearest] for d in (hits.front, hits.back))
    return Observation(
        view=crop,
        front=front,
        back=back,
        normals=hits.normals.reshape(-1, 3)[nearest],
        up=np.array([0, -1, 0], np.float32),
        mask=mask.astype(np.float32),
        colour=np.full((SIDE, SIDE, 3), 0.5, np.float32),
        surety=1.0,
    )


def _quiet(_share: float) -> None:
    return None


def _crop(view: View) -> Any:
    """The view of the square around the subject."""
    from image_to_mesh.inference.camera import CropView, PinholeCamera

    height, width = view.hits.mask.shape
    rows, columns = np.nonzero(view.hits.mask)
    side = (1 + 2 * MARGIN) * max(np.ptp(rows) + 1, np.ptp(columns) + 1)
    left, top = (
        (columns.min() + columns.max() + 1 - side) / 2,
        (rows.min() + rows.max() + 1 - side) / 2,
    )
    focal = width / 2 / np.tan(view.fov_x / 2)
    return CropView.of(PinholeCamera(width, height, float(focal)), left, top, float(side))


def _extracted(field: Any, spacing: float) -> NDArray[np.float32]:
    """(T, 3, 3) triangles of a field's surface."""
    from image_to_mesh.inference.surface.bricks import sample_near_surface
    from image_to_mesh.inference.surface.contour import dual_contour
    from image_to_mesh.inference.surface.parts import keep_solid_parts

    bricks = sample_near_surface(field, spacing, _quiet)
    positions, quads = keep_solid_parts(*dual_contour(bricks, field, _quiet), 0.003)
    return positions[np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])]


def _agreement(crop: Any, truth: Hits, seen: Hits, unit: float, near: float) -> tuple[float, float]:
    """Shares of the result's points near true ones, and of true points near the result's."""
    rays = crop.crop_rays(SIDE)

    def points(hits: Hits, scale: float) -> NDArray[np.float64]:
        depths = [hits.front[hits.mask], hits.back[hits.mask]]
        return np.concatenate([rays[hits.mask] * d[:, None] * scale for d in depths])

    true, found = points(truth, unit), points(seen, 1.0)
    if not len(found):
        return 0.0, 0.0
    precision = float((KDTree(true).query(found)[0] < near).mean())
    return precision, float((KDTree(found).query(true)[0] < near).mean())


COLUMNS = (
    ("grid F", "grid_f", "8.3f"),
    ("field F", "field_f", "8.3f"),
    ("grid nrm", "grid_normal", "9.1f"),
    ("field nrm", "field_normal", "10.1f"),
    ("fill s", "grid_seconds", "8.1f"),
    ("fit s", "fit_seconds", "8.1f"),
    ("extract s", "field_extract", "10.1f"),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the rows, their mean and the worst of each column out as text."""
    worst = {
        key: float((np.min if key.endswith("_f") else np.max)([row[key] for row in rows]))
        for _, key, _ in COLUMNS
    }
    mean = {key: float(np.mean([row[key] for row in rows])) for _, key, _ in COLUMNS}
    head = f"{'object':34s}" + "".join(
        f"{label:>{int(form.split('.')[0])}s}" for label, _, form in COLUMNS
    )
    lines = [
        f"Exact depth of both sides: F-score at {NEAR} of the diagonal, median error of normals in"
        " degrees, processor seconds",
        head,
        *[_line(row) for row in rows],
        _line(mean | {"object": "MEAN"}),
        _line(worst | {"object": "WORST"}),
    ]
    return "\n".join(lines)


def _line(row: dict[str, Any]) -> str:
    return f"{row['object'][:33]:34s}" + "".join(f"{row[key]:{form}}" for _, key, form in COLUMNS)


if __name__ == "__main__":
    sys.exit(main())
