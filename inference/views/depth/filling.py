"""Depth where none was measured, from what was measured around it.

A bare stretch of wall or floor has nothing to match, but its surroundings tell where it is: one over
depth is linear across the picture of a plane, so that a membrane through the known values, which is
harmonic, lies on the plane exactly. Only gaps that are enclosed by depth of about one distance are
closed, and what other views see through is taken away again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from .stereo import DepthMap, depth_at, unprojected

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]

REACH = 0.2  # of the picture's longer side: the widest gap that is closed, to either side
SIDES = 3  # of four directions in which depth must be known
STEEPEST = 1.35  # ratio of the depths around a gap up to which it is taken for one surface
ROUNDS = 60  # of smoothing on each level
IN_FRONT = 0.03  # of the depth by which a guess may lie before what another view measured


def filled(
    maps: Sequence[DepthMap],
    allowed: Sequence[Bools],
    partners: Sequence[Sequence[int]],
    report: Callable[[float], None],
) -> list[DepthMap]:
    """Guess depth in the gaps of depth maps.

    Args:
        maps: Measured.
        allowed: (h, w) for each: where there may be depth.
        partners: For each view the views that may contradict it.
        report: Called with the finished share; raises to cancel.

    Returns:
        The guesses alone; 0 where depth was measured and where nothing can be said.
    """
    guesses = []
    for number, (depth_map, where) in enumerate(zip(maps, allowed, strict=True)):
        report(0.7 * number / len(maps))
        guesses.append(DepthMap(_guess(depth_map.depth, where), depth_map.camera))
    kept = []
    for number, guess in enumerate(guesses):
        report(0.7 + 0.3 * number / len(guesses))
        kept.append(uncontradicted(guess, [maps[other] for other in partners[number]]))
    return kept


def _guess(depth: Floats, allowed: Bools) -> Floats:
    """(h, w) depth in enclosed gaps, else 0."""
    known = depth > 0
    gap = _enclosed(depth, max(3, round(REACH * max(depth.shape)))) & allowed & ~known
    if not gap.any():
        return np.zeros_like(depth)
    inverse = np.where(known, 1 / np.maximum(depth, 1e-9), 0).astype(np.float32)
    across = membrane(inverse, known)
    return np.where(gap & (across > 0), 1 / np.maximum(across, 1e-9), 0).astype(np.float32)


def _enclosed(depth: Floats, reach: int) -> Bools:
    """(h, w) whether depth is known nearby on most sides, and about the same there."""
    nearest = []
    for axis in (0, 1):
        for backwards in (False, True):
            nearest.append(_next_known(depth, axis, reach, backwards=backwards))
    around = np.stack(nearest)
    count = (around > 0).sum(axis=0)
    high = around.max(axis=0)
    low = np.where(around > 0, around, np.inf).min(axis=0)
    return (count >= SIDES) & (high < STEEPEST * low)


def _next_known(depth: Floats, axis: int, reach: int, *, backwards: bool) -> Floats:
    """(h, w) the next known depth along an axis, 0 where there is none within reach."""
    lines = depth if axis == 1 else depth.T
    lines = lines[:, ::-1] if backwards else lines
    place = np.arange(lines.shape[1])[None]
    last = np.maximum.accumulate(np.where(lines > 0, place, -1), axis=1)
    found = np.take_along_axis(lines, np.maximum(last, 0), axis=1)
    found = np.where((last >= 0) & (place - last <= reach), found, 0)
    found = found[:, ::-1] if backwards else found
    return np.asarray(found if axis == 1 else found.T, np.float32)


def membrane(values: Floats, known: Bools) -> Floats:
    """(h, w) harmonic between known values: solved on a coarse picture first, then on finer ones."""
    height, width = values.shape
    if min(height, width) > 8:
        size = ((width + 1) // 2, (height + 1) // 2)
        weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
        total = cv2.resize(
            np.where(known, values, 0).astype(np.float32), size, interpolation=cv2.INTER_AREA
        )
        weight, total = np.asarray(weight, np.float32), np.asarray(total, np.float32)
        small = np.where(weight > 0, total / np.maximum(weight, 1e-9), 0).astype(np.float32)
        start = cv2.resize(
            membrane(small, weight > 0), (width, height), interpolation=cv2.INTER_LINEAR
        )
    else:
        mean = values[known].mean() if known.any() else 0.0
        start = np.full(values.shape, mean, np.float32)
    result = np.where(known, values, start).astype(np.float32)
    kernel = np.array([[0, 0.25, 0], [0.25, 0, 0.25], [0, 0.25, 0]], np.float32)
    for _ in range(ROUNDS):
        around = cv2.filter2D(result, -1, kernel, borderType=cv2.BORDER_REPLICATE)
        result = np.where(known, values, around).astype(np.float32)
    return result


def uncontradicted(guess: DepthMap, others: Sequence[DepthMap]) -> DepthMap:
    """Without what lies before surfaces that other views measured: they see through it."""
    there = guess.depth > 0
    points = unprojected(guess)[there]
    wrong = np.zeros(len(points), bool)
    for other in others:
        found, expected = depth_at(other, points)
        wrong |= (found > 0) & (expected < (1 - IN_FRONT) * found)
    depth = guess.depth.copy()
    depth[there] = np.where(wrong, 0, guess.depth[there])
    return DepthMap(depth, guess.camera)
