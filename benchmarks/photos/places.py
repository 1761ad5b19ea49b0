"""How much of a place comes out, and how right, with and without a guess for what is bare.

    python -m benchmarks.photos.walk --objects FOLDER --textures FOLDER --out WALKS --sets room mirror
    python -m benchmarks.photos.places --walks WALKS [--sets room mirror] [--detail low]

Cameras are estimated once. Every second picture's own camera then looks at the result and at the true
room: *covered* is the share of the room's pixels that show any surface, *right* the share whose depth is
within 5 % of the truth, *wrong* the rest, and *error* the median error of depth. *none* leaves out the
network, *built-in* is what the extension does without downloads, and *good* stands in for an installed
network: the true depth in a scale and shift of its own, bent by 5 %, its edges blurred. Prints a table
and writes ``places.json``.
"""

# ruff: noqa: E402 - the extension is loaded first

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ..data import rays
from ..package import load_extension

load_extension()

from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.views.cameras import source as cameras
from image_to_mesh.inference.views.contracts import (
    Solved,
    View,
    ViewsReconstruction,
    ViewsRequest,
)

WIDTH = 180
SKY = 11.0  # metres; further than any wall
TOLERANCE = 0.05
BENT, BLUR = 0.05, 0.8
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Prior = Callable[[View], "Floats | None"]


class Truth:
    """The room as it is, and the cameras that were in it."""

    def __init__(self, path: Path) -> None:
        with np.load(path) as data:
            self.triangles: Doubles = data["triangles"].astype(np.float64)
            self.cameras: Doubles = data["cameras"]
            self.lenses: Doubles = data["lenses"]
            self.number = {str(name): i for i, name in enumerate(data["names"])}

    def depth(self, name: str, triangles: Doubles | None = None) -> Floats:
        """(h, w) depth of the room or other triangles in a camera; 0 where there is nothing."""
        index = self.number[name]
        inverse = np.linalg.inv(self.cameras[index])
        seen = (self.triangles if triangles is None else triangles) @ inverse[:3, :3].T
        fov_x, width, height = self.lenses[index]
        directions = rays.pixel_rays(float(fov_x), WIDTH, round(WIDTH * height / width))
        found = rays.cast(seen + inverse[:3, 3], directions).front
        return np.where(found < SKY, found, 0).astype(np.float32)

    def stand_in(self) -> Prior:
        """What a good network might say; seeded."""
        random = np.random.default_rng(0)

        def look(view: View) -> Floats:
            depth = self.depth(view.name)
            depth[depth <= 0] = SKY
            bend = random.normal(0, BENT, (4, 5)).astype(np.float32)
            size = (depth.shape[1], depth.shape[0])
            bend = np.asarray(cv2.resize(bend, size, interpolation=cv2.INTER_CUBIC), np.float32)
            scale, shift = random.uniform(0.2, 2.0), random.uniform(0.0, 0.05)
            said = (np.exp(bend) / (scale / depth + shift)).astype(np.float32)
            return np.asarray(cv2.GaussianBlur(said, (0, 0), BLUR), np.float32)

        return look

    def score(self, result: ViewsReconstruction) -> dict[str, float]:
        """Compare through every second camera, once the cameras are laid upon each other."""
        own = np.array([view.camera.matrix[:3, 3] for view in result.views], np.float64)
        true = np.array([self.cameras[self.number[view.name]][:3, 3] for view in result.views])
        scale, turn, shift = similarity(own, true)
        positions = scale * result.mesh.positions.astype(np.float64) @ turn.T + shift
        faces = result.mesh.corners.reshape(-1, 4)
        triangles = positions[np.concatenate([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]])]
        covered, right, errors = [], [], []
        for view in result.views[::2]:
            wanted = self.depth(view.name)
            found = self.depth(view.name, triangles)
            there = wanted > 0
            both = there & (found > 0)
            off = np.abs(found[both] / wanted[both] - 1)
            covered.append(both.sum() / there.sum())
            right.append((off < TOLERANCE).sum() / there.sum())
            errors.append(float(np.median(off)))
        shown = float(np.mean(covered)), float(np.mean(right))
        return {
            "covered": round(shown[0], 3),
            "right": round(shown[1], 3),
            "wrong": round(shown[0] - shown[1], 3),
            "error": round(float(np.mean(errors)), 4),
        }


def similarity(source: Doubles, target: Doubles) -> tuple[float, Doubles, Doubles]:
    """Scale, rotation and shift from (N, 3) points to others in the least-squares sense (Umeyama 1991)."""
    a, b = source - source.mean(axis=0), target - target.mean(axis=0)
    left, sizes, right = np.linalg.svd(b.T @ a)
    signs = np.array([1.0, 1.0, np.sign(np.linalg.det(left @ right))])
    turn = left * signs @ right
    scale = float((sizes * signs).sum() / (a**2).sum())
    return scale, turn, target.mean(axis=0) - scale * turn @ source.mean(axis=0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--walks", type=Path, required=True, help="written by walk.py")
    parser.add_argument("--sets", nargs="+", default=["room", "mirror"])
    parser.add_argument("--detail", default="low", choices=["low", "medium", "high", "ultra"])
    parser.add_argument("--out", type=Path, default=Path("places.json"))
    arguments = parser.parse_args()
    rows: list[dict[str, object]] = []
    solve, built_in = cameras.solve_cameras, engine.prior_of
    for name in arguments.sets:
        truth = Truth(arguments.walks / f"{name}.npz")
        kept: list[Solved] = []

        def once(*request: object, kept: list[Solved] = kept) -> Solved:
            if not kept:
                kept.append(solve(*request))  # type: ignore[arg-type]
            return kept[0]

        cameras.solve_cameras = once
        priors = {
            "none": lambda *_: None,
            "built-in": built_in,
            "good": lambda *_, truth=truth: truth.stand_in(),
        }
        for kind, prior in priors.items():
            engine.prior_of = prior
            request = ViewsRequest(
                inputs=(arguments.walks / name,),
                kind="place",
                detail=arguments.detail,
                texture_size=512,
            )
            result = engine.run(request, lambda share, words: None)
            rows.append({"set": name, "network": kind, **truth.score(result)})
            sys.stdout.write("  ".join(f"{k} {v}" for k, v in rows[-1].items()) + "\n")
            sys.stdout.flush()
    arguments.out.write_text(json.dumps(rows, indent=1), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
