"""Let the picture's colours decide where a rough mask is unsure.

GrabCut (Rother et al. 2004): the colours of what is surely subject and surely background become two
mixtures of Gaussians, and the cheapest cut between them follows the picture's edges.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Mask, bounded_size, denied_holes, disc

SIDE = 384
SURE, NEVER = 0.90, 0.03  # a network gives what stands beside the subject .1 to .85
ROUNDS = 5
# A cut that grows or shrinks the subject more than this has followed the wrong colours.
MAX_CHANGE = 2.5
MIN_PIXELS = 16
SEED = 1


def colour_cut(
    rgb: NDArray[np.uint8],
    rough: Mask,
    report: Callable[[], None],
    sure: float = SURE,
    never: float = NEVER,
) -> Mask:
    """Cut along colours where a rough mask is neither sure of subject nor of background.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        rough: (h, w) probability of the whole picture.
        report: Called between rounds, a tenth of a second each; may raise to cancel.
        sure: Chance from which the inside of the rough mask is subject, whatever its colour.
        never: Chance under which all is background.

    Returns:
        A mask of 0 and 1, its longer side at most 384; the rough one, shrunk, where the colours
        cannot tell.
    """
    size = bounded_size(rgb.shape[1], rgb.shape[0], SIDE)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    chance = np.asarray(cv2.resize(rough, size, interpolation=cv2.INTER_AREA), np.float32)
    labels = np.where(chance >= 0.5, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    is_sure = np.asarray(cv2.erode((chance >= sure).astype(np.uint8), disc(1))) > 0
    labels[is_sure] = cv2.GC_FGD
    labels[chance < never] = cv2.GC_BGD
    is_subject = chance >= 0.5
    if min(is_sure.sum(), (chance < never).sum()) < MIN_PIXELS:
        return chance
    bgr = np.ascontiguousarray(small[..., ::-1])
    cut = grab_cut(bgr, labels, ROUNDS, report)
    cut |= denied_holes(cut, chance)  # coffee in a cup that stands on brown wood
    change = float(cut.sum()) / float(is_subject.sum())
    if not 1.0 / MAX_CHANGE < change < MAX_CHANGE:
        return chance
    return cut.astype(np.float32)


def grab_cut(
    bgr: NDArray[np.uint8], labels: NDArray[np.uint8], rounds: int, report: Callable[[], None]
) -> NDArray[np.bool_]:
    """Cut between colours that labels say are subject and background.

    Args:
        bgr: (H, W, 3) uint8.
        labels: (H, W) uint8 ``cv2.GC_*`` classes, both kinds present; changed in place.
        rounds: How often colours are learnt anew.
        report: Called between rounds; may raise to cancel.

    Returns:
        (H, W) what is subject.
    """
    background, subject = np.zeros((1, 65)), np.zeros((1, 65))
    cv2.setRNGSeed(SEED)
    mode = cv2.GC_INIT_WITH_MASK
    for _ in range(rounds):
        cv2.grabCut(bgr, labels, (0, 0, 0, 0), background, subject, 1, mode)
        mode = cv2.GC_EVAL
        report()
    return (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
