"""The pixels of all views as rays to learn from."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contracts import View

Floats = NDArray[np.float32]

AROUND = 0.03  # of the picture's longest side: how far beside the subject pixels still count
MOST = 3_000_000  # rays kept in all; 30 bytes each


@dataclass(frozen=True, slots=True)
class Rays:
    """Pixels of many views.

    Attributes:
        view: (N,) int16 number of the view.
        direction: (N, 3) float32 in the camera's axes, z = 1.
        colour: (N, 3) uint8 sRGB.
        mask: (N,) float32 0 background to 1 subject; -1 where the view has no mask.
    """

    view: NDArray[np.int16]
    direction: Floats
    colour: NDArray[np.uint8]
    mask: Floats


def gathered_rays(
    views: Sequence[View], side: int, seed: int, report: Callable[[float], None]
) -> Rays:
    """Take the pixels that tell about the subject: those in the masks and a little around.

    Args:
        views: With their cameras.
        side: Pictures are scaled so that their longest side has at most so many pixels.
        seed: Of the choice of pixels where there are too many.
        report: Called with the finished share; raises to cancel.
    """
    random = np.random.default_rng(seed)
    share = max(MOST // max(len(views), 1), 1)
    parts = []
    for number, view in enumerate(views):
        report(number / len(views))
        parts.append(_of_view(view, number, side, share, random))
    number, direction, colour, mask = (
        np.concatenate([part[k] for part in parts]) for k in range(4)
    )
    return Rays(number, direction, colour, mask)


def _of_view(
    view: View, number: int, side: int, most: int, random: np.random.Generator
) -> tuple[NDArray[np.int16], Floats, NDArray[np.uint8], Floats]:
    height, width = view.pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    pixels = cv2.resize(view.pixels, size, interpolation=cv2.INTER_AREA)
    wanted = np.ones((size[1], size[0]), bool)
    if view.valid is not None:
        wanted &= cv2.resize(view.valid.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    mask = np.full((size[1], size[0]), -1, np.float32)
    if view.mask is not None:
        mask = np.asarray(cv2.resize(view.mask, size, interpolation=cv2.INTER_AREA), np.float32)
        reach = max(2, round(AROUND * max(size)))
        disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
        wanted &= cv2.dilate((mask > 0.05).astype(np.uint8), disc) > 0
    chosen = np.flatnonzero(wanted)
    if len(chosen) > most:
        chosen = np.sort(random.choice(chosen, most, replace=False))
    row, column = np.divmod(chosen, size[0])
    focal = size[0] / 2 / np.tan(view.camera.fov_x / 2)
    direction = np.empty((len(chosen), 3), np.float32)
    direction[:, 0] = (column + 0.5 - size[0] / 2) / focal
    direction[:, 1] = (row + 0.5 - size[1] / 2) / focal
    direction[:, 2] = 1
    which = np.full(len(chosen), number, np.int16)
    colour = np.asarray(pixels, np.uint8).reshape(-1, 3)[chosen]
    return which, direction, colour, mask.ravel()[chosen]
