"""Cut the subject out of all views at once, where no masks tell it from its surroundings.

A network's opinion of a single picture is often wrong: it takes the table along, or another thing
that stands behind, or what is seen between legs. Where the ground's own look is known, each pixel is
compared with it first. And what is thought of the same spot in many pictures is seldom wrong
everywhere. So opinions vote in space: a grid of cells around what the cameras look at, above the ground. The cells
that win, as far as they hang together in the middle, are projected back into every picture, where they
overrule the network, and the picture's own edges give the outline its last pixels. A picture that shows
bare ground where the others see the subject was taken before it was put there, or after it was moved.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...picture.cut_out.colour_cut import colour_cut
from ...picture.cut_out.cutout import refine_mask, resize_mask, sample_crop
from ..contracts import View
from ..geometry import ahead, pixels_across, project
from ..placement.ground import before_ground
from ..placement.region import Setting
from ..surface.fusion import Grid

Floats = NDArray[np.float32]
Look = Callable[[NDArray[np.uint8]], Floats]
Report = Callable[[float], None]

CELLS = 64  # along the box
CROP = 1.15  # side of what the network sees, in sides of the projected box
LEAST_CROP = 24  # pixels
GROUND = 2.0  # half sides of the box around the focus in which the ground is looked at
GROUND_SAYS = 2.2  # log-odds that the ground's look can add or take away
CERTAIN = 3.0  # log-odds that one view can say at most, for or against
LEANING = 0.2  # mean log-odds from which a cell is the subject's
REFUSED = 0.25  # share of trusted views that may see background where the subject is
TRUST = 0.35  # overlap of a view's own opinion with the vote from which it counts
AGREED = 0.55  # median overlap under which the network does not know what the subject is
COMPANION = 0.12  # of the main part's weight: smaller parts are not of the subject
ROUNDS = 3
GROWN = 1.5  # cells that the projected subject is widened by, where the picture's edges decide
VOTED_SURE, VOTED_NEVER = 0.75, 0.10  # chances: many views together are surer than one look
BARE = 0.45  # chance of something before the ground under which it is rather the ground itself
TOLD = 0.2  # share of the subject's outline in which the ground's look must be known
USUALLY = 0.22  # share of it that looks like ground in most views: more, and the two look alike
AWAY = 0.65  # the same from which the subject was somewhere else
FEWEST, MOST_AWAY = 6, 0.3  # views among which a majority means something; share that may be wrong
GROUND_END, LOOKS_END, VOTE_END = 0.1, 0.55, 0.65  # shares of the whole


def with_masks(
    views: Sequence[View], setting: Setting, look: Look, report: Report
) -> list[View] | None:
    """Views of one thing with its mask in each; masks that were given stay.

    Args:
        views: In the source world.
        setting: Of these views.
        look: A network: (S, S, 3) uint8 square crop to (s, s) 0..1 chance of the subject.
        report: Called with the finished share; raises to cancel.

    Returns:
        None when the subject cannot be told from its surroundings. A view in which it stood
        elsewhere has no mask.
    """
    frame = setting.frame(setting.focus.centre, setting.focus.wide)
    framed = [frame.view(view) for view in views]
    masks = cut_out_views(framed, np.ones(3), setting.level(frame), look, report)
    if masks is None:
        return None
    return [
        view if view.mask is not None else replace(view, mask=mask)
        for view, mask in zip(views, masks, strict=True)
    ]


@dataclass(frozen=True, slots=True)
class _Opinion:
    """What the network thinks of one view.

    Attributes:
        chance: (S, S) 0..1 subject.
        x0: Left edge of the square in pixels of the view.
        y0: Its top edge.
        side: Its side.
    """

    chance: Floats
    x0: float
    y0: float
    side: float

    def at(self, view: View, points: Floats) -> Floats:
        """(N,) chance of the subject where points project; NaN outside of the picture."""
        where, depth = project(view.camera, points)
        size = len(self.chance)
        x = ((where[:, 0] - self.x0) / self.side * size - 0.5).astype(np.float32)
        y = ((where[:, 1] - self.y0) / self.side * size - 0.5).astype(np.float32)
        found = cv2.remap(
            self.chance,
            x.reshape(1, -1) if len(x) < 32000 else _rows(x),
            y.reshape(1, -1) if len(y) < 32000 else _rows(y),
            cv2.INTER_LINEAR,
            borderMode=cv2.BORDER_REPLICATE,
        ).ravel()[: len(x)]
        seen = (depth > 1e-6) & (where >= 0).all(axis=1)
        seen &= (where[:, 0] < view.camera.width) & (where[:, 1] < view.camera.height)
        if view.valid is not None:
            column, row = np.floor(where[seen]).astype(np.int64).T
            seen[seen] = view.valid[row, column]
        return np.where(seen, found, np.nan).astype(np.float32)

    def whole(self, view: View) -> Floats:
        """(h, w) the chance over the whole picture, at the resolution of ``chance``; 0 beyond."""
        scale = len(self.chance) / self.side
        size = (max(round(view.camera.width * scale), 1), max(round(view.camera.height * scale), 1))
        move = np.array([[1.0, 0, self.x0 * scale], [0, 1.0, self.y0 * scale]])
        return np.asarray(cv2.warpAffine(self.chance, move, size, borderValue=(0,)), np.float32)


def _rows(values: Floats) -> Floats:
    """OpenCV maps no more than 32767 columns: fold a long line into rows."""
    padded = np.pad(values, (0, -len(values) % 16384))
    return padded.reshape(-1, 16384)


def cut_out_views(
    views: Sequence[View],
    half: NDArray[np.floating],
    floor: float | None,
    look: Look,
    report: Report,
) -> list[Floats | None] | None:
    """Find the subject's mask in every view.

    Args:
        views: In the upright frame of the box, whose middle is the origin.
        half: (3,) half sides of a box that holds the subject, with room.
        floor: y of the ground, under which nothing belongs to the subject; None without.
        look: A network: (S, S, 3) uint8 square crop to (s, s) 0..1 chance of the subject.
        report: Called with the finished share; raises to cancel.

    Returns:
        (H, W) 0..1 for each view, None for one in which the subject stood elsewhere; or None when the
        opinions agree on nothing.
    """
    box = np.asarray(half, np.float64)
    centre = np.zeros(3)
    inside: NDArray[np.bool_] | None = None
    grid = Grid.over(box, CELLS)
    before: list[Floats | None] = [None] * len(views)
    if floor is not None:
        wide = GROUND * float(box.max())
        found = before_ground(views, floor, wide, lambda share: report(GROUND_END * share))
        before = found or before
    opinions: list[_Opinion] = []
    for number, share in enumerate((0.0, 0.5)):  # the second look is closer
        opinions = []
        for index, view in enumerate(views):
            part = share + 0.5 * index / len(views)
            report(GROUND_END + (LOOKS_END - GROUND_END) * part)
            opinions.append(_opinion(view, centre, box, look, before[index]))
        grid = Grid.over(box, CELLS)
        inside = _vote(views, opinions, grid, centre, floor, None if number else box)
        if inside is None:
            return None
        if number == 0:
            where = np.argwhere(inside)
            low = grid.origin + (where.min(axis=0) - 1.5) * grid.spacing + centre
            high = grid.origin + (where.max(axis=0) + 1.5) * grid.spacing + centre
            centre, box = (low + high) / 2, 1.15 * (high - low) / 2
    assert inside is not None
    points = _points(grid, centre)[inside.ravel()]
    away = away_from(views, before, points, grid.spacing)
    masks: list[Floats | None] = []
    for index, (view, opinion) in enumerate(zip(views, opinions, strict=True)):
        report(VOTE_END + (1 - VOTE_END) * index / len(views))
        masks.append(None if index in away else _mask(view, opinion, points, grid.spacing))
    return masks


def away_from(
    views: Sequence[View], before: Sequence[Floats | None], points: Floats, cell: float
) -> set[int]:
    """Numbers of the views that show bare ground where the subject is in the others.

    Args:
        views: In the frame of the points.
        before: For each view (h, w) chance that something stands before the ground, NaN unknown.
        points: (N, 3) cells of the subject.
        cell: Their size.
    """
    bare = np.full(len(views), np.nan)
    for number, (view, chance) in enumerate(zip(views, before, strict=True)):
        if chance is None:
            continue
        drawn = silhouette(view, points, cell, (chance.shape[0], chance.shape[1]))
        drawn = cv2.erode(drawn, np.ones((5, 5), np.uint8)) > 0.5  # its rim shows both
        known = chance[drawn & ~np.isnan(chance)]
        if len(known) > max(TOLD * drawn.sum(), 20):
            bare[number] = (known < BARE).mean()
    told = bare[~np.isnan(bare)]
    if len(told) < FEWEST or np.median(told) > USUALLY:
        return set()
    away = np.flatnonzero(bare > AWAY)
    return set(away.tolist()) if len(away) <= MOST_AWAY * len(told) else set()


def _points(grid: Grid, centre: NDArray[np.floating]) -> Floats:
    return grid.points(0, grid.size) + centre.astype(np.float32)


def _opinion(
    view: View,
    centre: NDArray[np.floating],
    half: NDArray[np.floating],
    look: Look,
    before: Floats | None,
) -> _Opinion:
    """Let the network see the square around a box, and add what the ground's look says.

    Args:
        view: The view.
        centre: (3,) of the box.
        half: (3,) its half sides.
        look: The network.
        before: (h, w) chance that something stands before the ground, NaN unknown; None without.
    """
    corners = centre + half * (np.indices((2, 2, 2)).reshape(3, -1).T * 2 - 1)
    where, depth = project(view.camera, corners)
    is_ahead = depth > 1e-3
    height, width = view.pixels.shape[:2]
    if not is_ahead.any():
        return _Opinion(np.zeros((8, 8), np.float32), 0.0, 0.0, float(max(width, height)))
    low = np.clip(where[is_ahead].min(axis=0), 0, [width, height])
    high = np.clip(where[is_ahead].max(axis=0), 0, [width, height])
    if not is_ahead.all():  # the camera is inside the box
        low, high = np.zeros(2), np.array([width, height])
    side = max(CROP * float((high - low).max()), LEAST_CROP)
    x0, y0 = (low + high) / 2 - side / 2
    size = int(np.clip(side, 256, 768))
    # Resampled at half the range of a byte, as networks take crops of byte pictures.
    crop = sample_crop(view.pixels.astype(np.float32), float(x0), float(y0), side, size, None)
    chance = np.asarray(look(np.clip(np.rint(crop), 0, 255).astype(np.uint8)), np.float32)
    if before is not None:
        chance = _with_ground(chance, before, (float(x0), float(y0), side), width)
    return _Opinion(chance, float(x0), float(y0), side)


def _with_ground(
    chance: Floats, before: Floats, square: tuple[float, float, float], width: int
) -> Floats:
    """The network's (S, S) chance of a square of the picture after the ground was looked at.

    Two independent opinions: their log-odds add up.
    """
    x0, y0, side = square
    # Fine details count: the network's own grid may be coarser than the comparison.
    size = max(len(chance), min(round(side * before.shape[1] / width), 768))
    chance = np.asarray(
        cv2.resize(chance, (size, size), interpolation=cv2.INTER_LINEAR), np.float32
    )
    x = (x0 + (np.arange(size) + 0.5) * side / size) * before.shape[1] / width - 0.5
    y = (y0 + (np.arange(size) + 0.5) * side / size) * before.shape[1] / width - 0.5
    columns, rows = np.meshgrid(x.astype(np.float32), y.astype(np.float32))
    neutral = np.where(np.isnan(before), 0.5, before).astype(np.float32)
    seen = cv2.remap(neutral, columns, rows, cv2.INTER_LINEAR, borderValue=(0.5,))
    says = np.clip(_log_odds(np.asarray(seen, np.float32)), -GROUND_SAYS, GROUND_SAYS)
    odds = np.clip(_log_odds(chance), -CERTAIN, CERTAIN) + says
    return (1 / (1 + np.exp(-odds))).astype(np.float32)


def _log_odds(chance: Floats) -> Floats:
    held = np.clip(chance, 0.02, 0.98)
    return (np.log(held) - np.log1p(-held)).astype(np.float32)


def _vote(
    views: Sequence[View],
    opinions: Sequence[_Opinion],
    grid: Grid,
    centre: NDArray[np.floating],
    floor: float | None,
    focus_half: NDArray[np.floating] | None,
) -> NDArray[np.bool_] | None:
    """(X, Y, Z) cells of the subject; None when the opinions do not fit together.

    Of several parts those near the middle of ``focus_half`` are chosen; where it is None, all that
    are large enough.
    """
    points = _points(grid, centre)
    chances = np.stack([o.at(v, points) for o, v in zip(opinions, views, strict=True)])
    seen = ~np.isnan(chances)
    odds = np.clip(_log_odds(np.nan_to_num(chances, nan=0.5)), -CERTAIN, CERTAIN) * seen
    against = seen & (chances < 0.4)
    usual = seen.sum(axis=0) >= max(2, 0.4 * len(views))
    if floor is not None:  # y points down
        usual &= points[:, 1] < floor - 0.5 * grid.spacing
    trust = np.ones(len(views))
    inside: NDArray[np.bool_] | None = None
    overlaps = np.zeros(len(views))
    for _ in range(ROUNDS):
        total = np.maximum((trust[:, None] * seen).sum(axis=0), 1e-6)
        mean = (trust[:, None] * odds).sum(axis=0) / total
        refused = (trust[:, None] * against).sum(axis=0) / total
        cells = (usual & (mean > LEANING) & (refused <= REFUSED)).reshape(grid.shape)
        inside = _main_parts(cells, grid, centre, focus_half)
        if inside is None:
            return None
        kept = points[inside.ravel()]
        overlaps = np.array(
            [_overlap(v, o, kept, grid.spacing) for v, o in zip(views, opinions, strict=True)]
        )
        trust = np.clip((overlaps - TRUST) / (0.7 - TRUST), 0.02, 1)
    return inside if float(np.median(overlaps)) >= AGREED else None


def _overlap(view: View, opinion: _Opinion, points: Floats, cell: float) -> float:
    """Intersection over union of the projected cells with the network's own mask."""
    own = opinion.whole(view) > 0.5
    height, width = own.shape
    drawn = silhouette(view, points, cell, (height, width)) > 0.5
    union = (own | drawn).sum()
    return float((own & drawn).sum() / union) if union else 0.0


def silhouette(view: View, points: Floats, cell: float, shape: tuple[int, int]) -> Floats:
    """(h, w) 1 where cells of a grid project, at any resolution of the view."""
    height, width = shape
    where, depth = project(view.camera, points)
    is_ahead = ahead(depth)
    image = np.zeros((height, width), np.uint8)
    if not is_ahead.any():
        return image.astype(np.float32)
    scale = width / view.camera.width
    column, row = np.floor(where[is_ahead] * scale).astype(np.int64).T
    kept = (column >= 0) & (row >= 0) & (column < width) & (row < height)
    image[row[kept], column[kept]] = 1
    # A cell covers a disc of pixels around its middle.
    disc = max(1, pixels_across(0.6 * cell, view.camera, depth, width))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * disc + 1, 2 * disc + 1))
    return cv2.dilate(image, kernel).astype(np.float32)


def _main_parts(
    cells: NDArray[np.bool_],
    grid: Grid,
    centre: NDArray[np.floating],
    focus_half: NDArray[np.floating] | None,
) -> NDArray[np.bool_] | None:
    """Cells that hang together and weigh most, nearer to the middle counting more.

    Returns:
        None when nothing is left.
    """
    rest = cells.copy()
    middle = (np.array(grid.shape) - 1) / 2
    spread = np.array(grid.shape) / 4 if focus_half is not None else np.array(grid.shape) * 2.0
    index = np.indices(grid.shape).reshape(3, *grid.shape)
    off = (((index - middle[:, None, None, None]) / spread[:, None, None, None]) ** 2).sum(axis=0)
    weight = np.exp(-off)
    parts: list[NDArray[np.bool_]] = []
    weights: list[float] = []
    while rest.any() and len(parts) < 24:
        start = np.unravel_index(int(np.where(rest, weight, -1).argmax()), rest.shape)
        part = _flooded(rest, (int(start[0]), int(start[1]), int(start[2])))
        rest &= ~part
        parts.append(part)
        weights.append(float(weight[part].sum()))
    if not parts or max(weights) < 8 * float(weight.max()) * 0.05:
        return None
    result = np.zeros_like(cells)
    for part, own in zip(parts, weights, strict=True):
        if own >= COMPANION * max(weights):
            result |= part
    return result if result.sum() >= 8 else None


def _flooded(cells: NDArray[np.bool_], start: tuple[int, int, int]) -> NDArray[np.bool_]:
    """The cells that are connected with one of them through faces, edges or corners."""
    part = np.zeros_like(cells)
    part[start] = True
    count = 1
    while True:
        wide = part.copy()
        for axis in range(3):
            more = wide.copy()
            fore, behind = [slice(None)] * 3, [slice(None)] * 3
            fore[axis], behind[axis] = slice(1, None), slice(None, -1)
            more[tuple(fore)] |= wide[tuple(behind)]
            more[tuple(behind)] |= wide[tuple(fore)]
            wide = more
        part = wide & cells
        grown = int(part.sum())
        if grown == count:
            return part
        count = grown


def _mask(view: View, opinion: _Opinion, points: Floats, cell: float) -> Floats:
    """(H, W) 0..1: the projected subject, its outline by the network and by the picture's edges."""
    height, width = view.pixels.shape[:2]
    own = opinion.whole(view)
    drawn = silhouette(view, points, cell, (own.shape[0], own.shape[1]))
    mask = np.zeros((height, width), np.float32)
    if not drawn.any():
        return mask
    depth = project(view.camera, points)[1]
    margin = max(2, pixels_across(GROWN * cell, view.camera, depth, own.shape[1]))
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * margin + 1, 2 * margin + 1))
    wide, core = cv2.dilate(drawn, kernel), cv2.erode(drawn, kernel)
    union = ((own > 0.5) & (wide > 0)).sum() + (drawn > 0).sum()
    agreed = 2 * ((own > 0.5) & (drawn > 0)).sum() / max(int(union), 1)
    # A view whose network is of another mind takes the vote of the others.
    rough = own if agreed > 0.6 else cv2.GaussianBlur(drawn, (0, 0), max(margin / 2, 1.0))
    rough = np.maximum(np.where(wide > 0, rough, 0), 0.4 * core).astype(np.float32)
    # The crop around the subject is worked on at its own resolution.
    rows, columns = np.nonzero(wide)
    scale = width / own.shape[1]
    border = 0.12 * max(np.ptp(rows), np.ptp(columns)) * scale + 4
    top = int(max(rows.min() * scale - border, 0))
    bottom = int(min((rows.max() + 1) * scale + border, height))
    left = int(max(columns.min() * scale - border, 0))
    right = int(min((columns.max() + 1) * scale + border, width))
    if bottom - top < 8 or right - left < 8:
        return mask
    box = (slice(top, bottom), slice(left, right))
    rgb = np.ascontiguousarray(view.pixels[box])
    guess = np.ascontiguousarray(resize_mask(rough, (height, width))[box])
    limit = resize_mask(wide, (height, width))[box]
    cut = colour_cut(rgb, guess, lambda: None, VOTED_SURE, VOTED_NEVER)
    blend = (0.5 * resize_mask(cut, (guess.shape[0], guess.shape[1])) + 0.5 * guess).astype(
        np.float32
    )
    small = 256 / max(guess.shape)
    if small < 1:
        size = (max(round(blend.shape[1] * small), 1), max(round(blend.shape[0] * small), 1))
        blend = np.asarray(cv2.resize(blend, size, interpolation=cv2.INTER_AREA), np.float32)
    mask[box] = refine_mask(rgb, blend) * (limit > 0.05)
    return mask
