"""Cut out what was clicked on or framed, by colours, edges and a rough guess.

GrabCut (Rother et al. 2004) between seeds: clicks are sure, a frame's outside is sure background,
and in between a rough mask or, without one, the basins that clicks flood up to the nearest edges
(watershed, Meyer 1992) say where to begin.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import Picks
from .colour_cut import grab_cut
from .masks import Mask, bounded_size, components, disc

SIDE = 448
ROUNDS = 6
CLICK = 0.012  # radius of a click as a share of the longer side
RIM = 2  # pixels of the picture's border that are background where nothing says otherwise
SURE = 0.9
LEAST_PRIOR = 0.05  # share of a frame that a rough mask must fill to be believed
PINHOLE = 0.01  # of the subject's area: smaller holes are closed
SPREAD = 1.5  # pixels of blur before edges are searched

Report = Callable[[], None]
Bits = NDArray[np.bool_]


def cut_picked(rgb: NDArray[np.uint8], picks: Picks, prior: Mask | None, report: Report) -> Mask:
    """Cut along colours around what was picked.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        picks: At least one click on the subject, or a box.
        prior: (h, w) rough probability of the whole picture, if there is a guess.
        report: Called between rounds, a tenth of a second each; may raise to cancel.

    Returns:
        A mask of 0 and 1 of the whole picture, its longer side at most 448.
    """
    size = bounded_size(rgb.shape[1], rgb.shape[0], SIDE)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    bgr = np.ascontiguousarray(small[..., ::-1])
    subject, background = (clicked(picks, own, bgr.shape[:2]) for own in (True, False))
    frame = framed(picks, bgr.shape[:2])
    guess = _guess(prior, subject, background, frame)
    if guess is not None:
        probable, sure = guess >= 0.5, guess >= SURE
        sure = np.asarray(cv2.erode(sure.astype(np.uint8), disc(2))) > 0
    else:
        probable = frame if picks.box is not None else np.ones_like(frame)
        sure = np.zeros_like(frame)
    if (probable & background).any() or (picks.box is None and guess is None):
        # The clicks contradict the guess, or there is none: edges part what they mean.
        seeds = subject if subject.any() else _core(frame)
        basin = _basin(bgr, seeds, background | ~frame)
        probable, sure = probable & basin, sure & basin
    labels = np.where(probable, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    labels[sure] = cv2.GC_FGD
    labels[~frame] = cv2.GC_BGD
    labels[background] = cv2.GC_BGD
    labels[subject] = cv2.GC_FGD
    cut = _grown_cut(bgr, labels, report)
    return _tidied(cut, subject, background).astype(np.float32)


def clicked(picks: Picks, is_subject: bool, shape: tuple[int, ...]) -> Bits:
    """(H, W) discs around the clicks of one kind."""
    canvas = np.zeros(shape[:2], np.uint8)
    radius = max(2, round(CLICK * max(shape[:2])))
    for x, y, own in picks.points:
        if own == is_subject:
            place = int(x * shape[1]), int(y * shape[0])
            cv2.circle(canvas, place, radius, (1,), -1)
    return canvas > 0


def framed(picks: Picks, shape: tuple[int, ...]) -> Bits:
    """(H, W) the inside of the box; without one all but the picture's rim."""
    height, width = shape[:2]
    inside = np.zeros((height, width), np.bool_)
    if picks.box is None:
        inside[RIM : height - RIM, RIM : width - RIM] = True
        return inside
    left, top, right, bottom = picks.box
    rows = slice(int(top * height), max(int(np.ceil(bottom * height)), int(top * height) + 1))
    columns = slice(int(left * width), max(int(np.ceil(right * width)), int(left * width) + 1))
    inside[rows, columns] = True
    return inside


def _guess(prior: Mask | None, subject: Bits, background: Bits, frame: Bits) -> Mask | None:
    """The part of a rough mask that the picks mean; None when they mean something else."""
    if prior is None:
        return None
    height, width = frame.shape
    chance = np.asarray(cv2.resize(prior, (width, height), interpolation=cv2.INTER_AREA))
    chance = np.where(frame, chance, np.float32(0))
    labels, _ = components((chance >= 0.5).astype(np.uint8), 8)
    if subject.any():
        wanted = np.unique(labels[subject])
        if not (labels[subject] > 0).mean() > 0.5:
            return None
        meant = np.isin(labels, wanted[wanted > 0])
    else:
        meant = labels > 0
    if meant.sum() < LEAST_PRIOR * frame.sum() and not subject.any():
        return None
    return np.where(meant, chance, np.minimum(chance, np.float32(0.4)))


def _core(frame: Bits) -> Bits:
    """The middle of a frame, where its subject most likely is."""
    rows, columns = np.flatnonzero(frame.any(axis=1)), np.flatnonzero(frame.any(axis=0))
    core = np.zeros_like(frame)
    middle = [
        slice(int(line[0]) + len(line) // 3, int(line[0]) + max(2 * len(line) // 3, 1))
        for line in (rows, columns)
    ]
    core[middle[0], middle[1]] = True
    return core


def _basin(bgr: NDArray[np.uint8], subject: Bits, background: Bits) -> Bits:
    """What the subject's seeds flood before the background's do, edges holding both up."""
    markers = np.zeros(bgr.shape[:2], np.int32)
    markers[background] = 2
    markers[subject] = 1
    soft = np.asarray(cv2.GaussianBlur(bgr, (0, 0), SPREAD), np.uint8)
    return np.asarray(cv2.watershed(soft, markers)) == 1


def _grown_cut(bgr: NDArray[np.uint8], labels: NDArray[np.uint8], report: Report) -> Bits:
    is_subject = (labels == cv2.GC_FGD) | (labels == cv2.GC_PR_FGD)
    if not is_subject.any() or is_subject.all():  # one of two mixtures would have no colours
        return is_subject
    return grab_cut(bgr, labels, ROUNDS, report)


def _tidied(cut: Bits, subject: Bits, background: Bits) -> Bits:
    """Keep the parts that were clicked on, or the largest; close pinholes that nobody clicked."""
    labels, areas = components(cut.astype(np.uint8), 8)
    if len(areas) < 2:
        return cut
    if subject.any():
        meant = np.unique(labels[subject & cut])
        kept = np.isin(labels, meant[meant > 0])
    else:
        kept = labels == 1 + int(areas[1:].argmax())
    holes, hole_areas = components((~kept).astype(np.uint8), 4)
    is_pinhole = hole_areas <= PINHOLE * kept.sum()
    is_pinhole[0] = False
    is_pinhole[np.unique(holes[background])] = False
    return kept | is_pinhole[holes]
