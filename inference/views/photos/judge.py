"""Which pictures are blurred, empty or the same as another."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SMALL = 32  # side of the grey image that identical pictures share
SAME = 2.5  # mean difference of grey levels, contrast stretched, below which pictures are the same
SHARPNESS_SIDE = 640  # sharpness is compared at one size, whatever the cameras
# Of the set's median sharpness. Sharp pictures of five rendered walks and orbits had 0.58 of it or
# more; pictures blurred by 15 and 31 of 640 pixels 0.34 to 0.42, and a bare one 0.63.
BLURRED = 0.5
COARSE = 0.25  # size of the picture in which detail is compared with detail
SECOND_DERIVATIVES = (
    np.array([[0, 0, 0], [1, -2, 1], [0, 0, 0]], np.float32),
    np.array([[0, 1, 0], [0, -2, 0], [0, 1, 0]], np.float32),
    np.array([[0.5, 0, 0], [0, -1, 0], [0, 0, 0.5]], np.float32),
    np.array([[0, 0, 0.5], [0, -1, 0], [0.5, 0, 0]], np.float32),
)
BLANK = 3.0  # standard deviation of grey levels in a picture of nothing


@dataclass(frozen=True, slots=True)
class Look:
    """What a picture looks like in a few numbers.

    Attributes:
        sharpness: Fine detail over coarse detail; compares pictures of one set.
        contrast: Standard deviation of grey levels, 0 to 128.
        small: (32, 32) float32 grey levels.
    """

    sharpness: float
    contrast: float
    small: Floats


def look_at(pixels: NDArray[np.uint8]) -> Look:
    """Take a picture's numbers.

    Sharpness is the variance of second derivatives (after Pech-Pacheco et al. 2000) over the same in
    a picture a quarter as large, where blur does not show: so that neither a dim picture nor one of
    something plain is taken for a blurred one. A shaken camera blurs in one direction only, so the
    least of four directions counts.

    Args:
        pixels: (H, W, 3) uint8.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    height, width = grey.shape
    scale = SHARPNESS_SIDE / max(height, width)
    if scale < 1:
        size = (max(round(width * scale), 1), max(round(height * scale), 1))
        grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA)
    contrast = float(grey.std())
    fine = np.asarray(cv2.GaussianBlur(grey.astype(np.float32), (0, 0), 0.8), np.float32)
    quarter = max(round(grey.shape[1] * COARSE), 1), max(round(grey.shape[0] * COARSE), 1)
    coarse = np.asarray(cv2.resize(fine, quarter, interpolation=cv2.INTER_AREA), np.float32)
    sharpness = min(
        _detail(fine, kernel) / (_detail(coarse, kernel) + 1.0) for kernel in SECOND_DERIVATIVES
    )
    small = cv2.resize(grey, (SMALL, SMALL), interpolation=cv2.INTER_AREA).astype(np.float32)
    return Look(sharpness, contrast, small)


def _detail(grey: Floats, kernel: Floats) -> float:
    """Variance of a second derivative."""
    return float(cv2.filter2D(grey, -1, kernel).var())


def same_as(looks: list[Look]) -> list[int | None]:
    """For each picture, an earlier one that shows the same; None when it is the first.

    Small grey images are compared, so a copy in another size or format is found too, and two
    different views are not.
    """
    stack = np.stack([look.small for look in looks]).reshape(len(looks), -1)
    # A uniform change of exposure is no other view.
    stack = stack - stack.mean(axis=1, keepdims=True)
    found: list[int | None] = []
    for index, picture in enumerate(stack):
        spread = max(float(picture.std()), 4.0)
        earlier = np.abs(stack[:index] - picture).mean(axis=1) / spread * 32.0
        match = np.flatnonzero(earlier < SAME)
        found.append(int(match[0]) if len(match) else None)
    return found


def blurred(looks: list[Look]) -> NDArray[np.bool_]:
    """Which pictures are far less sharp than the rest of their set."""
    sharpness = np.array([look.sharpness for look in looks])
    return sharpness < BLURRED * np.median(sharpness)


def sharpest_in_each(
    sharpness: NDArray[np.floating], travelled: NDArray[np.floating], count: int
) -> NDArray[np.int64]:
    """Choose frames that are sharp and spread evenly over the way the camera has gone.

    Args:
        sharpness: (N,) of each frame.
        travelled: (N,) rising; how far the picture has moved since the first frame, in any unit.
        count: How many to choose at most.

    Returns:
        Rising indices. The way is cut into ``count`` equal parts and the sharpest frame of each is
        taken; parts in which the camera stood still have none.
    """
    total = float(travelled[-1]) if len(travelled) else 0.0
    if total <= 0.0:
        return np.array([int(sharpness.argmax())]) if len(sharpness) else np.empty(0, np.int64)
    part = np.minimum((travelled / total * count).astype(np.int64), count - 1)
    order = np.lexsort((-sharpness, part))
    first = np.ones(len(order), bool)
    first[1:] = part[order][1:] != part[order][:-1]
    return np.sort(order[first])
