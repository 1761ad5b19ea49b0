"""How high the ground under a subject is, told by the pictures themselves.

Cameras that were given, by a file or by the scene, often come without points to lay a plane through.
But the pictures show the ground around the subject: laid onto a level plane they agree where that
plane is the ground, and blur each other elsewhere (a plane sweep, Collins 1996, along the vertical).
Without it nothing would end what no picture sees from below, and bowls would stand on a bulge.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import CameraArrays
from ..contracts import View
from ..geometry import project

Floats = NDArray[np.float32]

SIDE = 320  # longest side of the pictures that are compared
WINDOW = 31  # pixels in which brightness and contrast are made equal
CELLS = 72  # samples of the ground along each side
AROUND = 1.7  # half sides of the box to which the ground is looked at
HIGHEST, LOWEST = 0.1, 1.5  # half heights of the box under its middle in which the ground is sought
MOST_VIEWS = 24
FEWEST_VIEWS = 6  # all in all
FEWEST_LOOKS = 4  # at one spot
FEWEST_SPOTS = 200
FLATTEST = 0.15  # sine of the angle at which a camera still tells about the ground
FAINT = 3.0  # grey levels: what varies less is noise
LEAST = 0.35  # share of what the pictures show on the right plane that they agree on
CLEAR = 0.2  # by which that share is larger than on most other planes


@dataclass(frozen=True, slots=True)
class _Shot:
    """A view's surroundings: (h, w) contrast, 0 where unknown, (h, w) 1 where known, its camera."""

    contrast: Floats
    known: Floats
    camera: CameraArrays


def level_of_ground(views: Sequence[View], half: NDArray[np.floating]) -> float | None:
    """Find the level plane that the surroundings of a masked subject lie on.

    Args:
        views: In an upright frame with the subject's box around the origin; y points down. Those
            with masks count.
        half: (3,) half sides of the box.

    Returns:
        y of the ground, right to about a pixel; None where the pictures do not tell.
    """
    masked = [view for view in views if view.mask is not None]
    step = max(1, -(-len(masked) // MOST_VIEWS))
    shots = [_shot(view) for view in masked[::step]]
    if len(shots) < FEWEST_VIEWS:
        return None
    pixel = float(np.median([_pixel(shot.camera) for shot in shots]))
    low, high = HIGHEST * float(half[1]), LOWEST * float(half[1])
    across = np.linspace(-AROUND, AROUND, CELLS) * float(max(half[0], half[2]))
    spots = np.stack(np.meshgrid(across, across), axis=-1).reshape(-1, 2)
    levels = np.arange(low, high, 2 * pixel)
    shares = np.array([_agreement(shots, spots, level) for level in levels])
    if np.isfinite(shares).sum() < 5:
        return None
    best = int(np.nanargmax(shares))
    is_clear = shares[best] > LEAST and shares[best] > CLEAR + float(np.nanmedian(shares))
    if not is_clear or best in (0, len(levels) - 1):
        return None
    fine = levels[best] + pixel * np.linspace(-2, 2, 9)
    shares = np.array([_agreement(shots, spots, level) for level in fine])
    weight = np.maximum(np.nan_to_num(shares) - np.nanmin(shares), 0) ** 2
    return float((fine * weight).sum() / max(float(weight.sum()), 1e-12))


def _shot(view: View) -> _Shot:
    assert view.mask is not None
    height, width = view.pixels.shape[:2]
    scale = min(1.0, SIDE / max(height, width))
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    pixels = cv2.resize(view.pixels, size, interpolation=cv2.INTER_AREA)
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY).astype(np.float32)
    mask = np.asarray(cv2.resize(view.mask, size, interpolation=cv2.INTER_AREA), np.float32)
    known = cv2.dilate((mask > 0.05).astype(np.uint8), np.ones((5, 5), np.uint8)) == 0
    if view.valid is not None:
        valid = cv2.resize(view.valid.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
        known &= np.asarray(valid) > 0
    weight = known.astype(np.float32)
    share = np.maximum(cv2.blur(weight, (WINDOW, WINDOW)), 1e-3)
    mean = cv2.blur(grey * weight, (WINDOW, WINDOW)) / share
    apart = (grey - mean) * weight
    spread = np.sqrt(np.maximum(cv2.blur(apart * apart, (WINDOW, WINDOW)), 0) / share)
    contrast = (apart / (spread + FAINT)).astype(np.float32)
    return _Shot(
        contrast, weight, CameraArrays(view.camera.matrix, view.camera.fov_x, size[0], size[1])
    )


def _pixel(camera: CameraArrays) -> float:
    """Width of a pixel at the distance of the origin."""
    distance = float(np.linalg.norm(camera.matrix[:3, 3]))
    return 2 * distance * float(np.tan(camera.fov_x / 2)) / camera.width


def _agreement(shots: Sequence[_Shot], spots: NDArray[np.floating], level: float) -> float:
    """Share of what the pictures show at (N, 2) spots of a level that they have in common.

    One less the variance between the pictures over the variance of all; NaN where too little is seen.
    """
    points = np.stack([spots[:, 0], np.full(len(spots), level), spots[:, 1]], axis=-1)
    count, total, square = np.zeros((3, len(points)))
    for shot in shots:
        x, y, z = shot.camera.matrix[:3, 3]
        if level - y < FLATTEST * float(np.linalg.norm([x, level - y, z])):
            continue
        where, depth = project(shot.camera, points)
        column, row = (where[None] - 0.5).transpose(2, 0, 1).astype(np.float32)
        row[0, depth <= 1e-6] = -10  # nothing is seen behind the camera
        value, known = (
            cv2.remap(image, column, row, cv2.INTER_LINEAR, borderValue=(0,))[0]
            for image in (shot.contrast, shot.known)
        )
        known = known > 0.99
        count += known
        total += np.where(known, value, 0)
        square += np.where(known, value * value, 0)
    seen = count >= FEWEST_LOOKS
    if seen.sum() < FEWEST_SPOTS:
        return float("nan")
    count, total, square = count[seen], total[seen], square[seen]
    within = ((square - total**2 / count) / (count - 1)).mean()
    everything = square.sum() / count.sum() - (total.sum() / count.sum()) ** 2
    return float(1 - within / everything) if everything > 0.05 else float("nan")
