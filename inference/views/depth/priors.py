"""Depth that a network guesses from one picture, fitted to the depth that several pictures measured.

A network sees the shape of a bare wall that no two pictures can be matched on, but not how far it is:
its depth is right up to a scale, often up to a shift of one over depth (Ranftl et al. 2020, Towards
Robust Monocular Depth Estimation), and bent a little over the picture. So scale and shift are fitted
where depth was measured, which also tells whether the guess is to be trusted, and what remains is
spread smoothly from there.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contracts import View
from .filling import membrane, uncontradicted
from .stereo import DepthMap, depth_at, unprojected

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]
Prior = Callable[[View], "Floats | None"]

MOST_LOOKS = 60  # pictures that the network is asked about
BARE = 0.04  # share of a picture without depth from which it is asked
FEWEST = 300  # measured pixels that a fit takes
# Median error of scale and shift alone, as a share of depth, from which a guess is worth nothing, and the
# share of the error of one depth for all that it must stay below, unless it is as small as the last.
WORST, BETTER, GOOD = 0.08, 0.5, 0.02
AGREES = 0.05  # of the depth by which a guess may miss what another view says
CELL = 8  # pixels of the coarse picture in which the rest of the error is spread
BEYOND = 1.3  # how much nearer and further than all that was measured a guess may be
STEEP = 0.08  # change of depth from pixel to pixel, as a share, that is an edge with nothing on it
ROUNDS = 12
SAMPLES = 20_000
Report = Callable[[float], None]


def guessed(
    prior: Prior,
    views: Sequence[View],
    maps: Sequence[DepthMap],
    allowed: Sequence[Bools],
    known: Sequence[DepthMap],
    partners: Sequence[Sequence[int]],
    report: Report,
) -> list[DepthMap]:
    """Guess depth where there is neither a measured nor a filled one.

    Args:
        prior: Gives a view's depth (h, w) > 0 up to scale, any size; None when it cannot.
        views: Of all maps.
        maps: Measured depth.
        allowed: (h, w) for each: where there may be depth.
        known: Depth that was filled in by what is around it; 0 elsewhere.
        partners: For each view the views that may contradict it.
        report: Called with the finished share; raises to cancel.

    Returns:
        ``known`` and the guesses beside it.
    """
    bare = np.array(
        [
            float((may & (own.depth <= 0) & (filled.depth <= 0)).mean())
            for may, own, filled in zip(allowed, maps, known, strict=True)
        ]
    )
    asked = np.flatnonzero(bare > BARE)
    if len(asked) > MOST_LOOKS:
        asked = asked[np.linspace(0, len(asked) - 1, MOST_LOOKS).round().astype(int)]
    guesses = {}
    for done, number in enumerate(asked.tolist()):
        report(0.9 * done / len(asked))
        said = prior(views[number])
        if said is None:
            continue
        depth, own = maps[number].depth, known[number].depth
        height, width = depth.shape
        size = cv2.INTER_AREA if said.shape[0] > height else cv2.INTER_LINEAR
        said = np.asarray(cv2.resize(said, (width, height), interpolation=size), np.float32)
        fitted = fit(said, depth)
        if fitted is None:
            continue
        free = allowed[number] & (depth <= 0) & (own <= 0) & ~_edges(fitted)
        guess = DepthMap(np.where(free, fitted, 0).astype(np.float32), maps[number].camera)
        guesses[number] = uncontradicted(guess, [maps[other] for other in partners[number]])
    whole = [
        _together(own, filled, guesses.get(number))
        for number, (own, filled) in enumerate(zip(maps, known, strict=True))
    ]
    result = list(known)
    for done, (number, guess) in enumerate(guesses.items()):
        report(0.9 + 0.1 * done / len(guesses))
        kept = _confirmed(guess, [whole[other] for other in partners[number]])
        result[number] = _together(known[number], kept)
    return result


def _together(first: DepthMap, *others: DepthMap | None) -> DepthMap:
    """The first depth that there is at each pixel."""
    depth = first.depth
    for other in others:
        if other is not None:
            depth = np.where(depth > 0, depth, other.depth)
    return DepthMap(depth, first.camera)


def _confirmed(guess: DepthMap, others: Sequence[DepthMap]) -> DepthMap:
    """What another view says as well, measured or guessed by itself: errors seldom agree."""
    there = guess.depth > 0
    points = unprojected(guess)[there]
    agrees = np.zeros(len(points), bool)
    for other in others:
        found, expected = depth_at(other, points)
        agrees |= (found > 0) & (np.abs(found - expected) < AGREES * expected)
    depth = np.zeros_like(guess.depth)
    depth[there] = np.where(agrees, guess.depth[there], 0)
    return DepthMap(depth, guess.camera)


def fit(said: Floats, measured: Floats) -> Floats | None:
    """A network's depth in the unit of what was measured.

    Args:
        said: (h, w) > 0.
        measured: (h, w); 0 where not known.

    Returns:
        (h, w), 0 where it is beyond belief; None where too little was measured, or what was measured
        contradicts it.
    """
    known = (measured > 0) & np.isfinite(said) & (said > 0)
    if known.sum() < FEWEST:
        return None
    depth = measured[known]
    inverse = _affine(1 / said[known].astype(np.float64), 1 / depth.astype(np.float64))
    if inverse is None:
        return None
    scale, shift = inverse
    told = scale / said.astype(np.float64) + shift
    nearest = 1e-3 / float(np.median(depth))
    off = np.log(np.maximum(told[known], nearest) * depth)
    error = float(np.median(np.abs(off)))
    flat = float(np.median(np.abs(np.log(depth / np.median(depth)))))
    if error > WORST or error > max(BETTER * flat, GOOD):
        return None
    rest = np.zeros(said.shape, np.float32)
    rest[known] = off
    result = np.exp(_spread(rest, known)) / np.maximum(told, nearest)
    low, high = measured[known].min() / BEYOND, measured[known].max() * BEYOND
    return np.where((result > low) & (result < high), result, 0).astype(np.float32)


def _affine(x: NDArray[np.float64], y: NDArray[np.float64]) -> tuple[float, float] | None:
    """Scale and shift from (N,) x to y by Cauchy's weights; None where the scale is not above zero."""
    step = max(1, len(x) // SAMPLES)
    x, y = x[::step], y[::step]
    scale, shift = float(np.median(y / x)), 0.0
    for _ in range(ROUNDS):
        off = (scale * x + shift) / y - 1
        spread = max(1.5 * float(np.median(np.abs(off))), 1e-4)
        weight = 1 / (1 + (off / spread) ** 2) / y**2  # errors count as shares of the depth
        xx, xy, xs = ((weight * v).sum() for v in (x * x, x * y, x))
        square = np.array([[xx, xs], [xs, weight.sum()]])
        if np.linalg.cond(square) > 1e12:  # a picture of one depth tells no shift
            scale, shift = float(xy / xx), 0.0
        else:
            scale, shift = map(float, np.linalg.solve(square, [xy, (weight * y).sum()]))
    return (scale, shift) if scale > 0 else None


def _spread(values: Floats, known: Bools) -> Floats:
    """(h, w) smooth, close to the values where they are known."""
    height, width = values.shape
    size = (max(1, width // CELL), max(1, height // CELL))
    weight = cv2.resize(known.astype(np.float32), size, interpolation=cv2.INTER_AREA)
    total = cv2.resize(np.where(known, values, 0), size, interpolation=cv2.INTER_AREA)
    is_there = np.asarray(weight, np.float32) > 0.1
    if not is_there.any():
        return np.zeros_like(values)
    coarse = np.where(is_there, total / np.maximum(weight, 1e-6), 0).astype(np.float32)
    smooth = cv2.GaussianBlur(membrane(coarse, is_there), (0, 0), 1.0)
    return np.asarray(
        cv2.resize(smooth, (width, height), interpolation=cv2.INTER_LINEAR), np.float32
    )


def _edges(depth: Floats) -> Bools:
    """(h, w) where depth leaps: a network's edges are slopes that nothing lies on."""
    high = np.asarray(cv2.dilate(depth, np.ones((3, 3), np.uint8)), np.float32)
    low = np.asarray(cv2.erode(depth, np.ones((3, 3), np.uint8)), np.float32)
    return high > (1 + 2 * STEEP) * np.maximum(low, 1e-9)
