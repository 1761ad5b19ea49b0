"""Pictures whose outline of the subject contradicts the others': it was moved, or cut out wrongly.

A visual hull takes away whatever a single outline leaves out, so one picture in which the subject
stands elsewhere takes half of it away. Most outlines together tell where the subject is; who shows it
somewhere else is found by comparing each outline with theirs (after the silhouette consistency of
Laurentini 1994).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from ...picture.cut_out.masks import resize_mask
from ..contracts import View
from ..geometry import pixels_at
from ..placement.region import Setting
from ..surface.fusion import Grid
from .subject import silhouette

Floats = NDArray[np.float32]

CELLS = 44  # along the box
SIDE = 200  # pixels at which outlines are compared
MOST = 0.75  # share of the pictures that show a cell as the subject's
AGREED = 0.5  # median overlap under which outlines are too rough to be compared
OF_ANOTHER_MIND = 0.55  # share of the median overlap under which a picture contradicts the rest
FEWEST = 6  # pictures among which a majority means something
MOST_MOVED = 0.3  # share of the pictures that may be of another mind: more, and who is right?


def moved(views: Sequence[View], setting: Setting) -> list[int]:
    """Numbers of the views whose masks contradict the others.

    Args:
        views: In the source world; those without a mask have no say.
        setting: Of these views.
    """
    small = [_small(view) for view in views if view.mask is not None]
    numbers = [number for number, view in enumerate(views) if view.mask is not None]
    if len(small) < FEWEST:
        return []
    frame = setting.frame(setting.focus.centre, setting.focus.wide)
    framed = [frame.view(view) for view in small]
    overlap = _overlaps(framed)
    if overlap is None or np.median(overlap) < AGREED:
        return []
    away = np.flatnonzero(overlap < OF_ANOTHER_MIND * np.median(overlap))
    return [numbers[index] for index in away] if len(away) <= MOST_MOVED * len(small) else []


def _small(view: View) -> View:
    assert view.mask is not None
    height, width = view.mask.shape
    scale = min(1.0, SIDE / max(height, width))
    size = max(round(height * scale), 1), max(round(width * scale), 1)
    camera = replace(view.camera, width=size[1], height=size[0])
    return replace(view, mask=resize_mask(view.mask, size), camera=camera)


def _overlaps(views: Sequence[View]) -> NDArray[np.float64] | None:
    """(N,) intersection over union of each mask with what most masks agree on; None without that."""
    box, centre = np.ones(3), np.zeros(3, np.float32)
    points: Floats = np.empty((0, 3), np.float32)
    spacing = 1.0
    for is_last in (False, True):  # the second time the cells are smaller
        grid = Grid.over(box, CELLS)
        points = grid.points(0, grid.size) + centre
        shown, looked = np.zeros(len(points)), np.zeros(len(points))
        for view in views:
            inside, seen = _inside(view, points)
            shown += inside
            looked += seen
        points = points[(shown >= MOST * looked) & (looked > len(views) / 2)]
        spacing = grid.spacing
        if not len(points):
            return None
        if not is_last:
            low, high = points.min(axis=0) - spacing, points.max(axis=0) + spacing
            centre, box = ((low + high) / 2).astype(np.float32), 1.3 * (high - low) / 2
    found = []
    for view in views:
        assert view.mask is not None
        height, width = view.mask.shape
        drawn = silhouette(view, points, spacing, (height, width)) > 0.5
        own = view.mask > 0.5
        found.append(float((own & drawn).sum() / max(int((own | drawn).sum()), 1)))
    return np.array(found)


def _inside(view: View, points: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """(N,) whether points are in the mask, and in the picture at all."""
    assert view.mask is not None
    row, column, seen, _ = pixels_at(view.camera, points, view.mask.shape)
    inside = np.zeros(len(points), np.bool_)
    inside[seen] = view.mask[row[seen], column[seen]] > 0.5
    return inside, seen
