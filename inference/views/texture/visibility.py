"""Which view sees which face of a mesh, and how well."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...texture.raster import depth_buffer
from ..contracts import View
from ..geometry import is_whole, project

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SIDE = 640  # longest side of the depth buffers in pixels
GRAZING = 0.08  # cosine under which a face is seen too flat to be of use
SLACK = 0.012  # of the depth, by which a face may lie behind what hides it


@dataclass(frozen=True, slots=True)
class Sight:
    """How well each view sees each face.

    Attributes:
        pixels: (V, F) float32 area in pixels that the face has in the picture of the view; 0 when
            it is hidden, turned away, outside of the picture or of the subject.
    """

    pixels: Floats

    @property
    def is_seen(self) -> NDArray[np.bool_]:
        """(F,) whether any view sees the face."""
        return (self.pixels > 0).any(axis=0)


def triangulated(faces: Ints) -> Ints:
    """(T, 3) triangles of (F, K) faces; those of one face follow each other."""
    if faces.shape[1] == 3:
        return faces
    return np.stack([faces[:, [0, 1, 2]], faces[:, [0, 2, 3]]], axis=1).reshape(-1, 3)


def look(
    positions: Floats, faces: Ints, views: Sequence[View], report: Callable[[float], None]
) -> Sight:
    """Test every face against every view.

    Args:
        positions: (V, 3) in the frame of the views' cameras.
        faces: (F, K), counter-clockwise seen from outside.
        views: With their cameras.
        report: Called with the finished share; raises to cancel.
    """
    triangles = triangulated(faces)
    corners = positions[faces]
    first = corners[:, 2] - corners[:, 0] if faces.shape[1] == 4 else corners[:, 1] - corners[:, 0]
    last = corners[:, 3] - corners[:, 1] if faces.shape[1] == 4 else corners[:, 2] - corners[:, 0]
    vector = 0.5 * np.cross(first, last)
    area = np.linalg.norm(vector, axis=1)
    normal = vector / np.maximum(area, 1e-20)[:, None]
    middle = corners.mean(axis=1)
    pixels = np.zeros((len(views), len(faces)), np.float32)
    for number, view in enumerate(views):
        report(number / len(views))
        scale = min(1.0, SIDE / max(view.camera.width, view.camera.height))
        width, height = (round(s * scale) for s in (view.camera.width, view.camera.height))
        where, depth = project(view.camera, positions)
        alive = (depth[triangles] > 1e-6).all(axis=1)
        shown = triangles[alive]
        buffer = depth_buffer(where[shown] * np.float32(scale), depth[shown], width, height)
        buffer = cv2.erode(buffer, np.ones((3, 3), np.uint8))  # a rim pixel may see the far side
        at, here = project(view.camera, middle)
        column, row = np.floor(at * scale).astype(np.int64).T
        inside = (here > 1e-6) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
        toward = view.camera.matrix[:3, 3].astype(np.float32) - middle
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
        facing = (normal * toward).sum(axis=1)
        inside &= facing > GRAZING
        index = np.flatnonzero(inside)
        nearest = buffer[row[index], column[index]]
        # A steep face spans more depth within a pixel of the buffer.
        pixel = here[index] / (view.focal_px * scale)
        slack = SLACK * here[index] + 2 * pixel / np.maximum(facing[index], 0.2)
        free = here[index] < nearest + slack
        if view.mask is not None:
            rim = _well_inside(view)
            free &= rim[_pixel(at[index], rim.shape)]
        elif view.valid is not None:
            free &= view.valid[_pixel(at[index], view.valid.shape)]
        index = index[free]
        size = (view.focal_px / here[index]) ** 2
        pixels[number, index] = area[index] * facing[index] * size
    return Sight(pixels)


def _well_inside(view: View) -> NDArray[np.bool_]:
    """(H, W) pixels whose colour is the subject's alone, not mixed with the background."""
    assert view.mask is not None
    inside = (view.mask > 0.5).astype(np.uint8)
    if view.valid is not None:
        inside &= view.valid
    border = 0 if is_whole(view.mask) else 1
    return cv2.erode(inside, np.ones((3, 3), np.uint8), borderValue=(border,)) > 0


def _pixel(where: Floats, shape: tuple[int, ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    column, row = np.floor(where).astype(np.int64).T
    return np.clip(row, 0, shape[0] - 1), np.clip(column, 0, shape[1] - 1)
