"""How many outlines are to be doubted: as few as it takes that the rest explain what they show.

An outline that leaves out a leg carves the leg away, whatever the others say. To doubt more of them
keeps it, and makes everything a little thicker. So doubts grow until the visual hull, projected back,
covers what the outlines mark.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contracts import View
from ..geometry import ahead, pixels_across, project
from .fusion import LENIENT, Grid, hull

DOUBTS = (LENIENT, 0.08, 0.15)  # shares of the outlines that may wrongly exclude a spot
CELLS = 64  # along the box
SIDE = 160  # longest side of the pictures that are compared
LOST = 0.05  # share of an outline's pixels that the hull may fail to cover, in the mean


def doubted_share(
    views: Sequence[View], half: NDArray[np.floating], report: Callable[[float], None]
) -> float:
    """The smallest of ``DOUBTS`` with which the hull covers the outlines, or the largest.

    Args:
        views: In the frame of the box; those with masks count.
        half: (3,) half sides of the box.
        report: Called with the finished share; raises to cancel.
    """
    grid = Grid.over(half, CELLS)
    masked = [view for view in views if view.mask is not None]
    for number, doubt in enumerate(DOUBTS[:-1]):
        begin = number / (len(DOUBTS) - 1)
        outside = hull(masked, grid, lambda share, b=begin: report(b + 0.5 * share), doubt)
        inside = grid.points(0, grid.size)[outside < 0.5]
        if lost_share(masked, inside, grid.spacing) < LOST:
            return doubt
    return DOUBTS[-1]


def lost_share(views: Sequence[View], points: NDArray[np.float32], cell: float) -> float:
    """Mean share of the outlines' pixels on which none of the cells around (N, 3) points projects."""
    lost = []
    for view in views:
        assert view.mask is not None
        height, width = view.mask.shape
        scale = min(1.0, SIDE / max(height, width))
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        mask = cv2.resize(view.mask, size, interpolation=cv2.INTER_AREA) > 0.5
        if not mask.any():
            continue
        where, depth = project(view.camera, points)
        column, row = np.floor(where[ahead(depth)] * (size[0] / width)).astype(np.int64).T
        shown = (column >= 0) & (row >= 0) & (column < size[0]) & (row < size[1])
        drawn = np.zeros((size[1], size[0]), np.uint8)
        drawn[row[shown], column[shown]] = 1
        reach = max(1, pixels_across(0.6 * cell, view.camera, depth, size[0]))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        lost.append(float((mask & (cv2.dilate(drawn, disc) == 0)).sum() / mask.sum()))
    return float(np.mean(lost)) if lost else 0.0
