"""What stands before the ground: pixels that do not look as the ground does from elsewhere.

Where the cameras and the plane under a subject are known, the ground's own picture is known, too: the colour
 that most views, laid onto the plane, agree on. A pixel that shows something else has something before the
ground. That needs no network, and finds what networks lose: thin, dark or plain parts. Where the views
disagree about a spot of the plane it is no ground, and nothing is said.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contracts import View

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

SIDE = 640  # longest side of the pictures that are compared
CELLS = 512  # samples of the ground's picture along each side
MOST_VIEWS = 32  # that the median is taken of
FEWEST_VIEWS = 6  # that must show a spot of the ground
LEAST_GROUND = 0.05  # share of the ground's picture that must be known
FLATTEST = 0.1  # sine of the angle at which a camera still tells about the ground
SHIFTS = 2  # steps from the median to what agrees best
SOFT = 0.8  # pixels: pictures are blurred so that their sharpness matters less
NOISE = 1.5  # in CIELAB: two pictures of one spot differ by as much
UNSURE = 3.0  # usual differences between views from which a spot is no ground
STRANGE, SLOPE = 3.5, 1.5  # usual differences at which chances are even; how fast they turn
TORN, WHOLE = 0.5, 0.85  # share of the views that agree: looking alike says nothing; says all
NOWHERE = -1e4


@dataclass(frozen=True, slots=True)
class _Shot:
    """A view that looks down on the ground.

    Attributes:
        lab: (h, w, 3) CIELAB.
        from_ground: (3, 3) from the array indices of the ground's picture to those of ``lab``, times
            depth.
    """

    lab: Floats
    from_ground: Doubles


def before_ground(
    views: Sequence[View], level: float, radius: float, report: Callable[[float], None]
) -> list[Floats | None] | None:
    """Tell for each view's pixels whether something stands before the ground.

    Args:
        views: In an upright frame; y points down.
        level: y of the ground.
        radius: How far around the origin the ground is looked at.
        report: Called with the finished share; raises to cancel.

    Returns:
        For each view (h, w) float32 in the view's proportions: 0 ground to 1 something before it, NaN
        where that is not known; None for one that does not look down, and None for all where
        too little of the ground is seen.
    """
    shots = [_shot(view, level, radius) for view in views]
    usable = [shot for shot in shots if shot is not None]
    if len(usable) < FEWEST_VIEWS:
        return None
    some = [usable[k * len(usable) // MOST_VIEWS] for k in range(MOST_VIEWS)]
    some = usable if len(usable) <= MOST_VIEWS else some
    layers = np.empty((len(some), CELLS, CELLS, 3), np.float32)
    for number, shot in enumerate(some):
        report(0.4 * number / len(some))
        layers[number] = _laid_out(shot)
    rough = _median(layers[:, ::4, ::4])
    layers -= _offsets(layers[:, ::4, ::4], rough)[:, None, None]
    ground = np.empty((CELLS, CELLS, 3), np.float32)
    spread, agreed = np.empty((2, CELLS, CELLS), np.float32)
    for row in range(0, CELLS, 32):
        report(0.4 + 0.2 * row / CELLS)
        rows = layers[:, row : row + 32]
        part = slice(row, row + 32)
        ground[part], spread[part], agreed[part] = _agreed(rows)
    known = ~np.isnan(spread)
    if known.mean() < LEAST_GROUND:
        return None
    spread += np.float32(NOISE)
    spread[spread > UNSURE * float(np.median(spread[known]))] = np.nan
    ground[np.isnan(spread)] = np.nan
    result: list[Floats | None] = []
    for number, shot in enumerate(shots):
        report(0.6 + 0.4 * number / len(shots))
        result.append(None if shot is None else _compared(shot, ground, spread, agreed))
    return result


def _shot(view: View, level: float, radius: float) -> _Shot | None:
    """A view at the size it is compared at; None when it does not look down on the ground."""
    position = view.camera.matrix[:3, 3]
    if level - position[1] < FLATTEST * np.linalg.norm(position - [0, level, 0]):
        return None
    height, width = view.pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    pixels = cv2.resize(view.pixels, size, interpolation=cv2.INTER_AREA).astype(np.float32) / 255
    lab = cv2.GaussianBlur(cv2.cvtColor(pixels, cv2.COLOR_RGB2LAB), (0, 0), SOFT)
    if view.valid is not None:
        valid = cv2.resize(view.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        lab[valid == 0] = NOWHERE
    focal = size[0] / 2 / np.tan(view.camera.fov_x / 2)
    lens = np.array([[focal, 0, (size[0] - 1) / 2], [0, focal, (size[1] - 1) / 2], [0, 0, 1]])
    cell = 2 * radius / CELLS
    start = 0.5 * cell - radius
    x, y, z = position
    # Columns of the ground's picture go along x, rows along z.
    plane = np.array([[cell, 0, start - x], [0, 0, level - y], [0, cell, start - z]])
    return _Shot(np.asarray(lab, np.float32), lens @ view.camera.matrix[:3, :3].T @ plane)


def _laid_out(shot: _Shot) -> Floats:
    """(CELLS, CELLS, 3) the view on the ground; NaN where it does not see it."""
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    border = (NOWHERE,) * 3
    laid = cv2.warpPerspective(
        shot.lab, shot.from_ground, (CELLS, CELLS), flags=flags, borderValue=border
    )
    steps = np.arange(CELLS)
    row = shot.from_ground[2]
    behind = row[0] * steps + row[1] * steps[:, None] + row[2] <= 1e-6
    laid = np.asarray(laid, np.float32)
    laid[behind | (laid[..., 0] < -1)] = np.nan
    return laid


def _median(layers: Floats) -> Floats:
    """(h, w, c) median of (N, h, w, c) where enough are known, else NaN."""
    ordered = np.sort(layers, axis=0)  # NaN last
    count = (~np.isnan(layers[..., :1])).sum(axis=0)[None]
    lower = np.take_along_axis(ordered, np.maximum(count - 1, 0) // 2, axis=0)[0]
    upper = np.take_along_axis(ordered, count // 2 % len(layers), axis=0)[0]
    return np.where(count[0] >= FEWEST_VIEWS, (lower + upper) / 2, np.nan).astype(np.float32)


def _agreed(layers: Floats) -> tuple[Floats, Floats, Floats]:
    """What most of (N, h, w, 3) show, the distance within which a third lie, the share of the most.

    Under a thing many views see its legs instead of the ground. From the median a few steps towards
    the mean of the nearest third (mean shift, Comaniciu and Meer 2002) lead to what agrees best.
    """
    centre = _median(layers)
    for _ in range(SHIFTS):
        apart = np.linalg.norm(layers - centre, axis=-1)
        reach = _quantile(apart, 1 / 3)
        near = (apart <= reach)[..., None]
        count = np.maximum(near.sum(axis=0), 1)
        mean = np.where(near, layers, 0).sum(axis=0) / count
        centre = np.where(np.isnan(centre), np.nan, mean).astype(np.float32)
    apart = np.linalg.norm(layers - centre, axis=-1)
    spread = _quantile(apart, 1 / 3)
    count = np.maximum((~np.isnan(apart)).sum(axis=0), 1)
    agreed = (apart < STRANGE * (spread + NOISE)).sum(axis=0) / count
    return centre, spread, agreed.astype(np.float32)


def _quantile(values: Floats, share: float) -> Floats:
    """(h, w) of (N, h, w) without NaN; NaN where there are none."""
    ordered = np.sort(values, axis=0)
    last = np.maximum((~np.isnan(values)).sum(axis=0)[None] - 1, 0)
    return np.take_along_axis(ordered, (share * last).astype(np.int64), axis=0)[0]


def _offsets(layers: Floats, ground: Floats) -> Floats:
    """(N, 3) how much each view is brighter than the ground: exposure, nearly, in CIELAB."""
    with np.errstate(all="ignore"):
        apart = (layers - ground).reshape(len(layers), -1, 3)
    rows = [part[~np.isnan(part[:, 0])] for part in apart]
    return np.array(
        [np.median(part, axis=0) if len(part) else np.zeros(3) for part in rows], np.float32
    )


def _compared(shot: _Shot, ground: Floats, spread: Floats, agreed: Floats) -> Floats:
    """(h, w) 0 ground to 1 something else; NaN unknown."""
    height, width = shot.lab.shape[:2]
    to_ground = np.linalg.inv(shot.from_ground)
    both = np.dstack([ground, spread, agreed])
    both = np.nan_to_num(both, nan=NOWHERE)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    seen = np.empty((height, width, 5), np.float32)
    for start, stop in ((0, 3), (3, 5)):  # OpenCV fills borders of four channels at most
        layer = np.ascontiguousarray(both[..., start:stop])
        border = (NOWHERE,) * 4
        warped = cv2.warpPerspective(
            layer, to_ground, (width, height), flags=flags, borderValue=border
        )
        seen[..., start:stop] = warped
    column, row = np.meshgrid(np.arange(width), np.arange(height))
    line = to_ground[2]
    behind = line[0] * column + line[1] * row + line[2] <= 0
    unknown = behind | (seen[..., 3] <= 0) | (shot.lab[..., 0] < -1)
    seen[unknown] = np.nan
    apart = shot.lab - seen[..., :3]
    apart -= _offsets(apart[None], np.zeros(3, np.float32))[0]
    different = np.linalg.norm(apart, axis=-1) / seen[..., 3]
    # Neighbouring pixels share their noise out; what is unknown has no part in it.
    known = (~unknown).astype(np.float32)
    total = cv2.blur(np.nan_to_num(different), (3, 3)) / np.maximum(cv2.blur(known, (3, 3)), 1e-3)
    chance = 1 / (1 + np.exp(-SLOPE * (total - STRANGE)))
    # Where feet stand many views see them instead: looking alike then says little.
    certain = np.clip((seen[..., 4] - TORN) / (WHOLE - TORN), 0, 1)
    chance = np.where(chance < 0.5, 0.5 - (0.5 - chance) * certain, chance)
    return np.where(unknown, np.nan, chance).astype(np.float32)
