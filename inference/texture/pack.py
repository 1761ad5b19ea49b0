"""Pack charts into a square by their true outline, as large as they fit.

Charts are drawn into a coarse grid of cells; where a chart may go is one correlation of its cells
with the occupied ones. Each chart, large ones first, takes the turn and the place that let the
square grow least, so small charts find their way into the hollows of large ones. In the end the
square is scaled to the texture.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .charts import Charts

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]
Cells = NDArray[np.uint8]

GRID = 160  # cells along the square, about; finer packs tighter and takes longer
FILL = 0.62  # share of the square that charts cover, about: sets the size of a cell
FINE = 4  # outlines are drawn finer than the cells by this factor, so few cells are taken in vain
LARGE = 0.012  # share of all charts' area from which a chart is tried at more turns
TURNS = 8  # of large charts, evenly over a full turn; small ones get a quarter as many


@dataclass(frozen=True, slots=True)
class Atlas:
    """A mesh laid out in a square texture.

    Attributes:
        uvs: (F, K, 2) float32 in 0..1, origin at the bottom left.
        size: Side of the texture in pixels.
        texel: Size of a texel on the mesh, in the mesh's units.
    """

    uvs: Floats
    size: int
    texel: float


@dataclass(frozen=True, slots=True)
class _Turned:
    """A chart at one turn: where its corners lie, and the cells that it takes.

    Attributes:
        angle: Radians.
        low: (2,) smallest coordinates after turning.
        cells: (h, w) 1 where the chart is.
    """

    angle: float
    low: Doubles
    cells: Cells


def pack_charts(
    charts: Charts, size: int, margin: int, report: Callable[[float], None] = lambda share: None
) -> Atlas:
    """Place all charts with the same scale.

    Args:
        charts: What to place.
        size: Side of the texture in pixels.
        margin: Free pixels around each chart, against bleeding when the texture is minified.
        report: Called with the finished share, 0 to 1; raises to cancel.
    """
    face, corner = charts.border[:, 0], charts.border[:, 1]
    after = (corner + 1) % charts.flat.shape[1]
    edges = np.stack([charts.flat[face, corner], charts.flat[face, after]], axis=1)
    owner = charts.chart[face]
    order = np.argsort(owner, kind="stable")
    counts = np.bincount(owner, minlength=charts.count)
    borders = np.split(edges[order].astype(np.float64), np.cumsum(counts)[:-1])
    areas = np.array([_area(border) for border in borders])
    cell = float(np.sqrt(areas.sum() / FILL)) / GRID
    # The square may grow to one and a quarter of what was expected, and the gap shrinks with it.
    gap = max(1, int(np.ceil(1.25 * margin * GRID / size)))
    while True:
        places, extent = _place(borders, areas, cell, gap, report)
        if gap * size >= margin * (extent + gap):
            break
        gap += 1
    side = extent + gap
    rotation = np.stack([_rotation(turned.angle) for turned, _, _ in places])[charts.chart]
    shift = [np.array([x, y]) + gap / 2 - turned.low / cell for turned, x, y in places]
    moved = (charts.flat.astype(np.float64) @ rotation) / cell + np.stack(shift)[charts.chart][
        :, None
    ]
    return Atlas((moved / side).astype(np.float32), size, cell * side / size)


def _area(border: Doubles) -> float:
    """Area inside of (B, 2, 2) edges that have it to their left."""
    a, b = border[:, 0], border[:, 1]
    return max(0.5 * float((a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]).sum()), 0.0)


def _rotation(angle: float) -> Doubles:
    """(2, 2) to multiply rows of coordinates with from the right."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, s], [-s, c]])


def _place(
    borders: list[Doubles],
    areas: Doubles,
    cell: float,
    gap: int,
    report: Callable[[float], None],
) -> tuple[list[tuple[_Turned, int, int]], int]:
    """Turn, column and row of each chart, and the side of the square they fill, in cells.

    Which order packs tightest is a matter of luck, so two are tried.
    """
    turned = []
    for number, border in enumerate(borders):
        report(0.2 * number / len(borders))
        turns = TURNS if areas[number] > LARGE * areas.sum() else TURNS // 4
        angles = _upright(border) + np.arange(turns) * 2 * np.pi / turns
        turned.append([_turned(border, float(angle), cell) for angle in angles])
    lengths = np.array([float(np.hypot(*np.ptp(border[:, 0], axis=0))) for border in borders])
    best: list[tuple[_Turned, int, int]] = []
    extent = 1 << 30
    for start, order in ((0.2, np.argsort(-areas, kind="stable")), (0.6, np.argsort(-lengths))):
        found = _place_in_order(order, turned, gap, extent, lambda s, f=start: report(f + 0.4 * s))
        if found is not None:
            best, extent = found
    return best, extent


def _place_in_order(
    order: NDArray[np.intp],
    turned: list[list[_Turned]],
    gap: int,
    limit: int,
    report: Callable[[float], None],
) -> tuple[list[tuple[_Turned, int, int]], int] | None:
    """The same for charts placed in one order; None when the square reaches ``limit``."""
    occupied = np.zeros((GRID, GRID), np.uint8)
    places: dict[int, tuple[_Turned, int, int]] = {}
    extent = 0
    for count, number in enumerate(order):
        report(count / len(order))
        # Any chart fits beside the square that is filled so far.
        room = extent + gap + max(max(one.cells.shape) for one in turned[number])
        if room > len(occupied):
            occupied = np.pad(occupied, (0, room - len(occupied)))
        spots = [(*_best_spot(occupied, one.cells, gap, extent), one) for one in turned[number]]
        _, x, y, one = min(spots, key=lambda spot: spot[0])
        height, width = one.cells.shape
        occupied[y : y + height, x : x + width] |= one.cells
        extent = max(extent, x + width, y + height)
        if extent >= limit:
            return None
        places[int(number)] = (one, x, y)
    return [places[number] for number in range(len(turned))], extent


def _upright(border: Doubles) -> float:
    """Angle that lays the smallest rectangle around a chart along the axes."""
    _, _, degrees = cv2.minAreaRect(border[:, 0].astype(np.float32))
    return -float(np.radians(degrees))


def _turned(border: Doubles, angle: float, cell: float) -> _Turned:
    edges = border @ _rotation(angle)
    low = edges.min(axis=(0, 1))
    return _Turned(angle, low, _cells_inside((edges - low) / cell))


def _cells_inside(edges: Doubles) -> Cells:
    """The cells that a chart touches, rather one too many than one too few.

    Args:
        edges: (B, 2, 2) its border in cells, not negative, the chart to the left.
    """
    width, height = (int(s) + 1 for s in edges.max(axis=(0, 1)))
    fine = edges * FINE
    # Winding number of each sample: every edge that passes a row changes it from there on.
    low, high = np.sort(np.ceil(fine[:, :, 1] - 0.5).astype(np.int64), axis=1).T
    owner = np.repeat(np.arange(len(fine)), high - low)
    row = np.arange(len(owner)) - np.repeat(np.cumsum(high - low) - (high - low), high - low)
    row += low[owner]
    a, b = fine[owner, 0], fine[owner, 1]
    rise = b[:, 1] - a[:, 1]
    x = a[:, 0] + (row + 0.5 - a[:, 1]) / rise * (b[:, 0] - a[:, 0])
    column = np.clip(np.ceil(x - 0.5).astype(np.int64), 0, width * FINE)
    stride = width * FINE + 1
    steps = np.bincount(row * stride + column, -np.sign(rise), height * FINE * stride)
    inside = steps.reshape(-1, stride)[:, :-1].cumsum(axis=1) > 0.5
    # Slivers between the samples.
    length = int(np.ceil(2 * np.abs(fine[:, 1] - fine[:, 0]).max())) + 1
    for t in np.linspace(0, 1, length + 1):
        spot = (fine[:, 0] * (1 - t) + fine[:, 1] * t).astype(np.int64)
        inside[spot[:, 1], spot[:, 0]] = True
    grown = np.asarray(cv2.dilate(inside.astype(np.uint8), np.ones((3, 3), np.uint8)))
    return grown.reshape(height, FINE, width, FINE).max(axis=(1, 3))


def _best_spot(occupied: Cells, cells: Cells, gap: int, extent: int) -> tuple[float, int, int]:
    """Cost, column and row of the free place that lets the square grow least."""
    wide = cv2.copyMakeBorder(cells, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=(0,))
    wide = cv2.dilate(wide, np.ones((2 * gap + 1, 2 * gap + 1), np.uint8))
    height, width = cells.shape
    # Beyond the filled square everything is free: no need to look further than next to it.
    used = occupied[: extent + gap + height, : extent + gap + width]
    used = cv2.copyMakeBorder(used, gap, gap, gap, gap, cv2.BORDER_CONSTANT, value=(0,))
    clash = cv2.matchTemplate(used.astype(np.float32), wide.astype(np.float32), cv2.TM_CCORR)
    y, x = np.nonzero(clash < 0.5)
    cost = np.maximum(np.maximum(x + width, y + height), extent) + 1e-3 * (x + y + width + height)
    best = int(cost.argmin())
    return float(cost[best]), int(x[best]), int(y[best])
