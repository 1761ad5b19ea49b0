"""Draw a contact sheet of a quality run: picture, ours and the truth from front, side and back.

    python -m benchmarks.quality.contact --run build/bench [--truth FOLDER] [--sheet sheet.png]

Needs a run of ``shape.py --save-meshes``. The worst pictures come first.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..data import backgrounds
from ..data.rays import cast, pixel_rays
from ..data.truth import View, load_view

TILE = 192
TURNS = (0.0, 90.0, 180.0)
FOV = 0.5
SKIN = np.array([214, 205, 190], np.float32)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--run", type=Path, required=True, help="--out of shape.py")
    parser.add_argument("--truth", type=Path, help="default: RUN/truth")
    parser.add_argument("--sheet", type=Path, help="default: RUN/contact.png")
    parser.add_argument("--limit", type=int, help="only so many rows")
    parser.add_argument("--columns", type=int, default=2)
    arguments = parser.parse_args()
    rows = json.loads((arguments.run / "quality.json").read_text(encoding="utf-8"))
    rows = sorted((row for row in rows if "error" not in row), key=lambda row: row["f0.05_ours"])
    strips = [
        strip(row, arguments.run, arguments.truth or arguments.run / "truth")
        for row in rows[: arguments.limit]
    ]
    strips += [np.zeros_like(strips[0])] * (-len(strips) % arguments.columns)
    lines = [
        np.hstack(strips[i : i + arguments.columns])
        for i in range(0, len(strips), arguments.columns)
    ]
    sheet = arguments.sheet or arguments.run / "contact.png"
    cv2.imwrite(str(sheet), np.vstack(lines)[..., ::-1])
    sys.stdout.write(f"{sheet}\n")
    return 0


def strip(row: dict[str, Any], run: Path, truth: Path) -> NDArray[np.uint8]:
    """Draw the seven tiles of one picture, (TILE, 7 TILE, 3)."""
    view = load_view(truth, row["view"])
    stem = f"{row['view']}_{row['background']}"
    with np.load(run / "meshes" / f"{stem}.npz") as data:
        triangles = data["triangles"].astype(np.float64)
    scale, *offset = row["fit"]
    tiles = [_picture(view, run / "pictures" / f"{stem}.png")]
    for shape in (triangles * scale + offset, view.triangles.astype(np.float64)):
        tiles += [orbit(shape, view, angle) for angle in TURNS]
    image = np.hstack(tiles)
    text = f"{stem}  F.05 {row['f0.05_ours']:.2f} ({row['f0.05_relief']:.2f}/{row['f0.05_pillow']:.2f})"
    cv2.putText(image, text, (4, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (255, 60, 60), 1, cv2.LINE_AA)
    return image


def _picture(view: View, composed: Path) -> NDArray[np.uint8]:
    picture = backgrounds.read_rgba(composed if composed.is_file() else view.picture)
    grey = np.full((*picture.shape[:2], 3), 70, np.uint8)
    shape = (TILE, TILE)
    mixed = backgrounds.compose(picture, grey)
    return cv2.resize(mixed, shape, interpolation=cv2.INTER_AREA).astype(np.uint8)


def orbit(triangles: NDArray[np.floating], view: View, degrees: float) -> NDArray[np.uint8]:
    """Shade a shape turned about the truth's upright axis, (TILE, TILE, 3)."""
    corners = view.triangles.reshape(-1, 3)
    middle = (corners.min(0) + corners.max(0)) / 2
    turn = cv2.Rodrigues(view.up * np.radians(degrees))[0]
    distance = 0.55 * view.diagonal / np.sin(FOV / 2)
    turned = (triangles - middle) @ turn.T + np.array([0, 0, distance])
    hits = cast(turned, pixel_rays(FOV, TILE * 2, TILE * 2))
    light = np.array([-0.45, -0.6, -0.66])
    shade = 0.25 + 0.75 * np.clip(hits.normals @ light, 0, 1)
    image = np.where(hits.mask[..., None], shade[..., None] * SKIN, 35).astype(np.float32)
    return cv2.resize(image, (TILE, TILE), interpolation=cv2.INTER_AREA).astype(np.uint8)


if __name__ == "__main__":
    sys.exit(main())
