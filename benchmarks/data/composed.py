"""Views of known objects in front of a background, near and from afar."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from . import backgrounds
from .rays import Hits
from .truth import View


def write_picture(view: View, kind: str, photos: Sequence[Path], folder: Path) -> Path:
    """Compose a view with a background; a transparent one is the render itself."""
    if kind == "transparent":
        return view.picture
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{view.name}_{kind}.png"
    picture = backgrounds.read_rgba(view.picture)
    if kind == "far":
        picture = _widened(picture, backgrounds.FAR)
    seed = zlib.crc32(path.stem.encode())
    size = (picture.shape[0], picture.shape[1])
    behind = (
        backgrounds.plain(size, seed) if kind == "plain" else backgrounds.photo(size, seed, photos)
    )
    cv2.imwrite(str(path), cv2.cvtColor(backgrounds.compose(picture, behind), cv2.COLOR_RGB2BGR))
    return path


def from_afar(view: View, factor: int) -> View:
    """See the same from where the picture holds ``factor`` times as much of its surroundings.

    The camera stays where it is and its lens becomes shorter: the subject is small in the middle.
    """
    parts = (view.hits.mask, view.hits.front, view.hits.back, view.hits.normals)
    hits = Hits(*(_widened(part, factor) for part in parts))
    return replace(view, hits=hits, fov_x=2 * float(np.arctan(factor * np.tan(view.fov_x / 2))))


def _widened(pixels: NDArray[Any], factor: int) -> NDArray[Any]:
    """Put (H, W, ...) into the middle of zeros, ``factor`` times as wide and high."""
    rows, columns = (round(side * (factor - 1) / 2) for side in pixels.shape[:2])
    return np.pad(pixels, [(rows, rows), (columns, columns)] + [(0, 0)] * (pixels.ndim - 2))
