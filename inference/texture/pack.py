"""Pack charts into a square by their true outline, as large as they fit.

Charts are drawn into a coarse grid of cells; where a chart may go is one correlation of its cells
with the occupied ones. Small charts so find their place in the hollows of large ones, which
packing by bounding boxes wastes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .charts import Charts

Floats = NDArray[np.float32]
Cells = NDArray[np.uint8]

GRID = 192  # cells along the square; finer packs tighter and takes longer
FIRST_FILL = 0.74  # share of the square that a lucky packing covers: the first scale tried
SHRINK = 0.955


@dataclass(frozen=True, slots=True)
class Atlas:
    """A mesh laid out in a square texture.

    Attributes:
        uvs: (F, 4, 2) float32 in 0..1, origin at the bottom left.
        size: Side of the texture in pixels.
        texel: Size of a texel on the mesh, in the mesh's units.
    """

    uvs: Floats
    size: int
    texel: float


def pack_charts(charts: Charts, size: int, margin: int) -> Atlas:
    """Place all charts with the same scale.

    Args:
        charts: What to place.
        size: Side of the texture in pixels.
        margin: Free pixels around each chart, against bleeding when the texture is minified.
    """
    order = np.argsort(charts.chart, kind="stable")
    groups = np.split(order, np.cumsum(np.bincount(charts.chart, minlength=charts.count))[:-1])
    flats = [charts.flat[faces] - charts.flat[faces].min(axis=(0, 1)) for faces in groups]
    area = float(sum(_area(flat) for flat in flats))
    scale = float(GRID * np.sqrt(FIRST_FILL / area))  # cells for each unit
    gap = int(np.ceil(margin * GRID / size))
    places = None
    while places is None:
        places = _place([flat * np.float32(scale) for flat in flats], gap)
        if places is None:
            scale *= SHRINK
    uvs = np.empty_like(charts.flat)
    for faces, flat, (is_turned, x, y) in zip(groups, flats, places, strict=True):
        uvs[faces] = (_turned(flat) if is_turned else flat) * scale + np.array([x, y])
    return Atlas((uvs / GRID).astype(np.float32), size, float(GRID / scale / size))


def _area(flat: Floats) -> float:
    first, second = flat[:, 2] - flat[:, 0], flat[:, 3] - flat[:, 1]
    cross = first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0]
    return 0.5 * float(np.abs(cross).sum())


def _turned(flat: Floats) -> Floats:
    """A quarter turn that keeps the winding and the lower left corner at the origin."""
    width = flat[..., 0].max()
    return np.stack([flat[..., 1], width - flat[..., 0]], axis=-1)


def _place(flats: list[Floats], gap: int) -> list[tuple[bool, float, float]] | None:
    """(is turned, x, y) in cells for each chart, or None when they do not fit."""
    occupied = np.zeros((GRID, GRID), np.uint8)
    places: list[tuple[bool, float, float]] = [(False, 0.0, 0.0)] * len(flats)
    for number in sorted(range(len(flats)), key=lambda n: -_area(flats[n])):
        best: tuple[float, bool, int, int, Cells] | None = None
        for is_turned, cells in _outlines(flats[number]):
            spot = _lowest_spot(occupied, cells, gap)
            if spot is not None and (best is None or spot[0] < best[0]):
                best = (spot[0], is_turned, spot[1], spot[2], cells)
        if best is None:
            return None
        _, is_turned, x, y, cells = best
        height, width = cells.shape
        occupied[y : y + height, x : x + width] |= cells
        places[number] = (is_turned, float(x), float(y))
    return places


def _outlines(flat: Floats) -> Iterator[tuple[bool, Cells]]:
    for is_turned in (False, True):
        yield is_turned, _cells_of(_turned(flat) if is_turned else flat)


def _cells_of(flat: Floats) -> Cells:
    """The cells that a chart's faces touch (their bounding boxes, so never too few)."""
    low = np.floor(flat.min(axis=1)).astype(int)
    high = np.floor(flat.max(axis=1)).astype(int)
    cells = np.zeros((int(high[:, 1].max()) + 1, int(high[:, 0].max()) + 1), np.uint8)
    span = (high - low).max(axis=0)
    for dx in range(int(span[0]) + 1):
        for dy in range(int(span[1]) + 1):
            spot = np.minimum(low + np.array([dx, dy]), high)
            cells[spot[:, 1], spot[:, 0]] = 1
    return cells


def _lowest_spot(occupied: Cells, cells: Cells, gap: int) -> tuple[float, int, int] | None:
    """Cost and cell of the free place nearest to the lower left corner."""
    wide = cv2.copyMakeBorder(cells, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=(0,))
    wide = cv2.dilate(wide, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8))
    room = cv2.copyMakeBorder(occupied, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=(0,))
    if wide.shape[0] > room.shape[0] or wide.shape[1] > room.shape[1]:
        return None
    clash = cv2.matchTemplate(room.astype(np.float32), wide.astype(np.float32), cv2.TM_CCORR)
    y, x = np.nonzero(clash < 0.5)
    if not len(x):
        return None
    height, width = cells.shape
    cost = np.maximum(x + width, y + height) + 1e-3 * (x + y)
    best = int(cost.argmin())
    return float(cost[best]), int(x[best]), int(y[best])
