"""Fill a hole of a picture with pieces of what lies beside it.

Every pixel of the hole takes its grain from a place of the source whose surroundings look like its own
(Wexler et al. 2007), found by random search and by asking the neighbours (PatchMatch, Barnes et al.
2009), from coarse to fine. At the picture's own resolution the places are only followed, not searched.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside
from ..image import blur, shrink
from ..stopping import chance_to_stop
from .complete import fill_holes

Bytes = NDArray[np.uint8]
Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Mask = NDArray[np.bool_]

FINEST = 224  # longest side at which places are searched
SMOOTH = 1024  # longest side at which the hole is filled smoothly first
CLEAR = 2.5  # times the mean grain: what stands out more, such as an edge, is no grain
GRAIN = 0.02  # of the longest side: what is coarser comes from the smooth filling
LEVELS = 3
ROUNDS = 5  # of asking, trying and repainting at each level
TRIES = 4  # random places for each pixel and round
PATCH = 2  # half width of what is compared
LEAST = 64  # source pixels under which there is nothing to choose from
NEAR = 0.03  # cost of a place a whole picture away, beside a squared difference of colours


def filled_from(picture: Bytes, hole: Mask, source: Mask, seed: int = 0) -> Bytes:
    """Paint the hole.

    Args:
        picture: (H, W, 3) sRGB.
        hole: (H, W) what to paint.
        source: (H, W) pixels that may be used.
        seed: Of the random search.

    Returns:
        (H, W, 3); outside of the hole the picture itself.
    """
    if not hole.any() or not source.any():
        return picture
    size = _within(hole, SMOOTH)
    known = _shrunk(source, size)
    known *= known > 0.99
    small = shrink(picture.astype(np.float32), *size)
    smooth = fill_holes(small, known)
    result = np.where(hole[..., None], _bytes(smooth, hole.shape), picture)
    # Pieces bring their grain only: their colours may be those of another thing.
    sigma = max(GRAIN * max(size), 1.0)
    base = blur(small * known[..., None], sigma) / np.maximum(blur(known, sigma), 1e-4)[..., None]
    size = _within(hole, FINEST)
    small_source = _shrunk(source, size) > 0.99
    small_hole = (_shrunk(hole, size) > 0) & ~small_source
    if small_source.sum() >= LEAST and small_hole.any():
        place = _searched(
            shrink(smooth / 255, *size),
            small_hole,
            small_source,
            np.random.default_rng(seed),
        )
        _follow(result, picture, _bytes(base, hole.shape), hole, source, place)
    return result


def _bytes(image: Floats, shape: tuple[int, ...]) -> Bytes:
    """An image of values 0..255, enlarged."""
    small = np.rint(np.clip(image, 0, 255)).astype(np.uint8)
    return np.asarray(cv2.resize(small, shape[1::-1], interpolation=cv2.INTER_LINEAR), np.uint8)


def _within(mask: Mask, longest: int) -> tuple[int, int]:
    """Width and height of a mask made so small that neither is above ``longest``."""
    scale = min(1.0, longest / max(mask.shape))
    return max(round(mask.shape[1] * scale), 1), max(round(mask.shape[0] * scale), 1)


def _shrunk(mask: Mask, size: tuple[int, int]) -> Floats:
    return shrink(mask.astype(np.float32), *size)


def _searched(colour: Floats, hole: Mask, source: Mask, rng: np.random.Generator) -> Ints:
    """(h, w, 2) row and column of the source that each pixel of the hole takes."""
    place: Ints | None = None
    for level in reversed(range(LEVELS)):
        factor = 2**level
        size = (max(hole.shape[1] // factor, 8), max(hole.shape[0] // factor, 8))
        inside = _shrunk(source, size) > 0.99
        if inside.sum() < LEAST and level:
            continue
        small = shrink(colour, *size)
        target = (_shrunk(hole, size) > 0) & ~inside
        if place is None:
            # Not the nearest: what begins smooth stays smooth.
            known = np.argwhere(inside).astype(np.int32)
            place = np.zeros((*inside.shape, 2), np.int32)
            place[target] = known[rng.integers(len(known), size=int(target.sum()))]
        else:
            place = _enlarged(place, target, inside)
        for _ in range(ROUNDS):
            small = np.where(target[..., None], _voted(small, place, target), small)
            place = _improved(small, place, target, inside, rng)
        colour = np.where(hole[..., None], cv2.resize(small, hole.shape[::-1]), colour).astype(
            np.float32
        )
    assert place is not None
    return place


def _enlarged(place: Ints, target: Mask, inside: Mask) -> Ints:
    """Give the places of a coarser level to a finer one."""
    ratio = np.array(target.shape) / place.shape[:2]
    row, column = (np.arange(n) for n in target.shape)
    coarse_row = np.minimum((row / ratio[0]).astype(int), place.shape[0] - 1)
    coarse_column = np.minimum((column / ratio[1]).astype(int), place.shape[1] - 1)
    coarse = place[coarse_row[:, None], coarse_column[None]]
    within = np.stack(np.meshgrid(row, column, indexing="ij"), -1)
    within = within - np.stack(np.meshgrid(coarse_row, coarse_column, indexing="ij"), -1) * ratio
    finer = np.rint(coarse * ratio + within).astype(np.int32)
    finer = np.clip(finer, 0, np.array(target.shape) - 1).astype(np.int32)
    return np.where(target[..., None], _onto(finer, inside), 0).astype(np.int32)


def _onto(place: Ints, inside: Mask) -> Ints:
    """Move places outside of the source to the nearest one inside."""
    nearest = nearest_inside(inside)[place[..., 0], place[..., 1]]
    return np.stack(np.divmod(nearest, inside.shape[1]), axis=-1).astype(np.int32)


def _patches(colour: Floats, rows: Ints, columns: Ints) -> Floats:
    """(N, P, 3) what surrounds N pixels."""
    step = np.arange(-PATCH, PATCH + 1)
    height, width = colour.shape[:2]
    y = np.clip(rows[:, None, None] + step[:, None], 0, height - 1)
    x = np.clip(columns[:, None, None] + step[None], 0, width - 1)
    return colour[y, x].reshape(len(rows), -1, 3)


def _improved(
    colour: Floats, place: Ints, target: Mask, inside: Mask, rng: np.random.Generator
) -> Ints:
    """Take the neighbours' places, moved along, and random ones where they look more alike."""
    row, column = (v.astype(np.int32) for v in np.nonzero(target))
    wanted = _patches(colour, row, column)
    longest = max(target.shape)

    def cost(places: Ints) -> Floats:
        other = _patches(colour, places[:, 0], places[:, 1])
        away = np.hypot(places[:, 0] - row, places[:, 1] - column) / longest
        return (((other - wanted) ** 2).mean(axis=(1, 2)) + NEAR * away**2).astype(np.float32)

    best = place[row, column]
    lowest = cost(best)

    def offer(places: Ints) -> None:
        nonlocal best, lowest
        chance_to_stop()
        limit = np.array(target.shape, np.int32) - 1
        places = np.clip(places, 0, limit)
        price = np.where(inside[places[:, 0], places[:, 1]], cost(places), np.inf)
        better = price < lowest
        best = np.where(better[:, None], places, best).astype(np.int32)
        lowest = np.where(better, price, lowest).astype(np.float32)

    for step in (1, 3):
        for dy, dx in ((0, step), (0, -step), (step, 0), (-step, 0)):
            current = place.copy()
            current[row, column] = best
            y = np.clip(row + dy, 0, target.shape[0] - 1)
            x = np.clip(column + dx, 0, target.shape[1] - 1)
            own = np.stack([y, x], axis=1)  # a neighbour in the source is its own place
            from_there = np.where(target[y, x][:, None], current[y, x], own)
            offer((from_there - [dy, dx]).astype(np.int32))
    reach = longest
    for _ in range(TRIES):
        offer(best + rng.integers(-reach, reach + 1, best.shape).astype(np.int32))
        reach = max(reach // 3, 2)
    result = place.copy()
    result[row, column] = best
    return result


def _voted(colour: Floats, place: Ints, target: Mask) -> Floats:
    """Let every pixel be the mean of what the places of its neighbours say about it."""
    total = np.zeros_like(colour)
    count = np.zeros((*target.shape, 1), np.float32)
    limit = np.array(target.shape) - 1
    rows, columns = np.nonzero(target)
    for dy in range(-1, 2):
        for dx in range(-1, 2):
            chance_to_stop()
            y, x = rows + dy, columns + dx
            is_in = (y >= 0) & (x >= 0) & (y <= limit[0]) & (x <= limit[1])
            y, x = y[is_in], x[is_in]
            there = np.clip(place[y, x] - [dy, dx], 0, limit)
            has = target[y, x]
            picked = colour[there[has, 0], there[has, 1]]
            total[rows[is_in][has], columns[is_in][has]] += picked
            count[rows[is_in][has], columns[is_in][has]] += 1
    return np.where(count > 0, total / np.maximum(count, 1), colour).astype(np.float32)


def _follow(
    result: Bytes, picture: Bytes, base: Bytes, hole: Mask, source: Mask, place: Ints
) -> None:
    """Add the grain of the places found, at full resolution, softly where neighbours meet."""
    height, width = hole.shape
    chance_to_stop()
    ratio = np.array([height, width]) / place.shape[:2]
    own = np.stack(np.meshgrid(*(np.arange(n) for n in place.shape[:2]), indexing="ij"), -1)
    shift = ((place - own) * ratio).astype(np.float32)
    shift[(place == 0).all(axis=-1)] = 0
    rows, columns = np.nonzero(hole)
    y, x = (rows + 0.5) / ratio[0] - 0.5, (columns + 0.5) / ratio[1] - 0.5
    most = CLEAR * np.abs(picture[source].astype(np.float32) - base[source]).mean(axis=0)
    total = np.zeros((len(rows), 3), np.float32)
    weights = np.full((len(rows), 1), 1e-6, np.float32)
    for dy in (0, 1):
        for dx in (0, 1):
            low_y, low_x = np.floor(y).astype(int), np.floor(x).astype(int)
            share = np.where(dy, y - low_y, 1 - y + low_y) * np.where(dx, x - low_x, 1 - x + low_x)
            a = np.clip(low_y + dy, 0, place.shape[0] - 1)
            b = np.clip(low_x + dx, 0, place.shape[1] - 1)
            move = shift[a, b]
            to_y = np.clip(np.rint(rows + move[:, 0]), 0, height - 1).astype(int)
            to_x = np.clip(np.rint(columns + move[:, 1]), 0, width - 1).astype(int)
            share = share * source[to_y, to_x] * (np.abs(move).sum(axis=1) > 0)
            grain = np.clip(picture[to_y, to_x].astype(np.float32) - base[to_y, to_x], -most, most)
            total += (share[:, None] * grain).astype(np.float32)
            weights += share[:, None].astype(np.float32)
    colour = result[rows, columns] + total / weights
    result[rows, columns] = np.rint(np.clip(colour, 0, 255)).astype(np.uint8)
