"""Rendered pictures of known objects and the exact truth that belongs to them, on disk."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from .rays import Hits

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class View:
    """One object seen by one camera, everything in the camera frame (OpenCV axes).

    Attributes:
        name: Object and view, such as "koala_0"; also the stem of the files.
        picture: The rendered picture, RGBA on a transparent background.
        fov_x: Horizontal field of view in radians.
        up: (3,) unit vector that points up in the world.
        triangles: (T, 3, 3) float32 the whole object.
        hits: First and last surface per pixel.
    """

    name: str
    picture: Path
    fov_x: float
    up: NDArray[np.float64]
    triangles: NDArray[np.float32]
    hits: Hits

    @property
    def diagonal(self) -> float:
        """Diagonal of the object's bounding box in the camera frame."""
        corners = self.triangles.reshape(-1, 3)
        return float(np.linalg.norm(corners.max(0) - corners.min(0)))


def save_view(
    folder: Path,
    name: str,
    triangles: NDArray[np.floating],
    camera: NDArray[np.float64],
    fov_x: float,
    hits: Hits,
) -> None:
    """Write the truth of one view beside its picture.

    Args:
        folder: Where ``name``.png lies.
        name: Stem of both files.
        triangles: (T, 3, 3) in the camera frame.
        camera: (4, 4) camera-to-world; camera in OpenCV axes, world with +z up.
        fov_x: Radians.
        hits: What the camera sees of the triangles.
    """
    np.savez_compressed(
        folder / f"{name}.npz",
        triangles=triangles.astype(np.float32),
        camera=camera,
        up=camera[2, :3],
        fov_x=fov_x,
        mask=hits.mask,
        front=hits.front,
        back=hits.back,
        normals=hits.normals.astype(np.float16),
    )


def load_view(folder: Path, name: str) -> View:
    """Read one view written by ``render_truth.py``."""
    with np.load(folder / f"{name}.npz") as data:
        hits = Hits(data["mask"], data["front"], data["back"], data["normals"].astype(np.float32))
        return View(
            name,
            folder / f"{name}.png",
            float(data["fov_x"]),
            data["up"],
            data["triangles"],
            hits,
        )


def view_names(folder: Path, views: int | None, limit: int | None) -> list[str]:
    """List the views in a folder, object by object.

    Args:
        folder: Written by ``render_truth.py``.
        views: At most so many views of each object; None for all.
        limit: At most so many objects, spread over the list; None for all.
    """
    objects = json.loads((folder / "truth.json").read_text(encoding="utf-8"))
    names = spread(sorted(objects), limit)
    chosen = [view for name in names for view in objects[name][:views]]
    return [view for view in chosen if (folder / f"{view}.npz").is_file()]


def spread(items: list[T], limit: int | None) -> list[T]:
    """Choose at most ``limit`` items, evenly over the list."""
    if limit is None or limit >= len(items):
        return items
    return [items[i * len(items) // limit] for i in range(limit)]
