"""Imagine what a thing looks like from behind, laid out as the picture of its front.

Hidden sides mostly continue what the outline shows: hair goes around a head, a shirt around a body,
paint around a chair. What lies wholly within the outline (eyes, a mouth, a label) usually stays in
front. So the picture is divided into patches of one colour; patches that reach the outline are kept
with their pattern, the others are covered by their neighbours. Fine grain that is everywhere in the
picture, such as fur, goes over the covered parts, too.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image import blur, shrink
from .complete import bleed_outwards, fill_holes

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

SIDE = 384  # of the imagined picture, at most
LOOK = 192  # of the picture in which patches are found, at most
COLOURS = 9  # that the picture is divided into, at most
ROUNDS = 10  # of Lloyd's algorithm
ALIKE = 9.0  # distance in CIELAB under which two colours are one
SMALLEST = 0.004  # share of the subject under which a patch belongs to what is around it
RIM = 0.025  # of the side: how near the outline a patch must come
TOUCH = 0.25  # share of a patch's border at the outline from which it goes on behind
MAIN = 0.33  # share of the subject from which a patch goes on behind wherever it is
SOFTNESS = 0.004  # of the side: how far patches run into each other
GRAIN = 0.012  # of the side: what is finer is grain
CALM = (
    2.0  # times the grain of the calmest tenth: what stands out more does not cover other patches
)
CLEAR = 3.0  # times the usual grain: what stands out more, such as writing, stays in front


def far_side(colour: Floats, inside: Floats) -> Floats:
    """Colours of the side that faces away, seen from the front through the thing.

    Args:
        colour: (C, C, 3) sRGB 0..1, the picture of the crop.
        inside: (C, C) pixels to the silhouette, positive inside.

    Returns:
        (B, B, 3) sRGB 0..1, B at most ``SIDE``; beyond the outline it goes on.
    """
    side = min(SIDE, len(colour))
    scale = np.float32(side / len(colour))
    inside = shrink(inside, side, side) * scale
    reach = float(inside.max())
    if reach < 4:
        return bleed_outwards(shrink(colour, side, side), inside > min(0.5, 0.5 * reach))
    # The outermost pixels are mixed with the background.
    sure = inside > min(1.5, 0.3 * reach)
    subject = bleed_outwards(shrink(colour, side, side), sure)
    patch, own, kept = _patches(subject, inside)
    if not kept.any():
        return subject
    fine = subject - blur(subject, GRAIN * side)
    grain = blur(np.abs(fine), GRAIN * side)[sure]
    calm = (CALM * np.quantile(grain, 0.1, axis=0)).astype(np.float32)
    clear = (CLEAR * np.median(grain, axis=0)).astype(np.float32)
    result = np.zeros_like(subject)
    total = np.zeros((side, side, 1), np.float32)
    for number in np.flatnonzero(kept):
        here = patch == number
        weight = blur(here.astype(np.float32), SOFTNESS * side)[..., None]
        if not (here & own).any():
            continue
        known = (here & own & sure).astype(np.float32)
        if known.sum() < 4:
            known = (here & own).astype(np.float32)
        share = blur(known, GRAIN * side)[..., None]
        base = blur(subject * known[..., None], GRAIN * side) / np.maximum(share, 1e-6)
        detail = np.clip(subject - base, -clear, clear)
        result += weight * fill_holes((base + detail).astype(np.float32), known)
        total += weight
    guess = result / np.maximum(total, 1e-6)
    covered = blur(1 - own.astype(np.float32), GRAIN * side / 2)[..., None]
    return np.clip(guess + covered * np.clip(fine, -calm, calm), 0, 1).astype(np.float32)


def _patches(subject: Floats, inside: Floats) -> tuple[Ints, NDArray[np.bool_], NDArray[np.bool_]]:
    """Divide the picture.

    Returns:
        (S, S) patch that each pixel shows behind; (S, S) whether it has that patch's own colour in
        front; (P,) which patches are shown behind.
    """
    side = len(subject)
    look = min(LOOK, side)
    small = shrink(subject, look, look)
    depth = shrink(inside, look, look) * np.float32(look / side)
    mask = depth > 0.5
    lab = cv2.cvtColor(blur(small, 0.7), cv2.COLOR_RGB2LAB).astype(np.float32)
    label = _quantised(lab, mask)
    part = _connected(label, mask)
    count = int(part.max()) + 1
    area = np.bincount(part[mask], minlength=count)
    large = area >= SMALLEST * mask.sum()
    joined = _nearest_of(part, mask & large[part])
    border = np.zeros_like(mask)
    for axis in (0, 1):
        for step in (1, -1):
            border |= joined != np.roll(joined, step, axis)
            border |= ~np.roll(mask, step, axis)
    border &= mask
    near = depth <= max(RIM * look, 1.5)
    edge = np.bincount(joined[border], minlength=count)
    touching = np.bincount(joined[border & near], minlength=count)
    kept = large & (touching >= TOUCH * np.maximum(edge, 1))
    kept |= area >= MAIN * mask.sum()
    if not kept.any():
        kept[np.bincount(joined[mask], minlength=count).argmax()] = True
    behind = _spread(joined, mask & kept[joined], np.flatnonzero(kept))
    own = (part == behind) | ~mask
    grow = np.ones((3, 3), np.uint8)
    own = cv2.erode(own.astype(np.uint8), grow) > 0  # what borders on a covered patch is mixed
    size = (side, side)
    larger = np.rint(cv2.resize(behind.astype(np.float32), size, interpolation=cv2.INTER_NEAREST))
    own_large = cv2.resize(own.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST)
    return larger.astype(np.int32), own_large > 0, kept


def _quantised(lab: Floats, mask: NDArray[np.bool_]) -> Ints:
    """(S, S) number of the colour of each pixel: Lloyd's algorithm from colours far apart."""
    colours = lab[mask]
    sample = colours[:: max(1, len(colours) // 6000)]
    centres = [np.median(sample, axis=0)]
    nearest = np.linalg.norm(sample - centres[0], axis=1)
    while len(centres) < COLOURS:
        # Not the very farthest, which is an outlier.
        far = np.argsort(nearest, kind="stable")[-max(len(sample) // 100, 1)]
        if nearest[far] < 2 * ALIKE:
            break
        centres.append(sample[far])
        nearest = np.minimum(nearest, np.linalg.norm(sample - sample[far], axis=1))
    middle = np.stack(centres)
    for _ in range(ROUNDS):
        own = np.linalg.norm(sample[:, None] - middle[None], axis=2).argmin(axis=1)
        size = np.bincount(own, minlength=len(middle))
        total = [np.bincount(own, sample[:, c], len(middle)) for c in range(3)]
        mean = np.stack(total, axis=1) / np.maximum(size, 1)[:, None]
        middle = np.where(size[:, None] > 0, mean, middle).astype(np.float32)
    distance = np.linalg.norm(lab[:, :, None] - middle, axis=3)
    return distance.argmin(axis=2).astype(np.int32)


def _connected(label: Ints, mask: NDArray[np.bool_]) -> Ints:
    """(S, S) connected part of one colour that each pixel belongs to, from 0; 0 outside too."""
    part = np.zeros(label.shape, np.int32)
    first = 1
    for number in np.unique(label[mask]):
        here = ((label == number) & mask).astype(np.uint8)
        count, found = cv2.connectedComponents(here, connectivity=4)
        part[here > 0] = np.asarray(found)[here > 0] + (first - 1)
        first += count - 1
    return part


def _nearest_of(values: Ints, known: NDArray[np.bool_]) -> Ints:
    """Every pixel's value from the nearest known one."""
    return bleed_outwards(values[..., None], known)[..., 0] if known.any() else values


def _spread(patch: Ints, known: NDArray[np.bool_], kept: NDArray[np.int64]) -> Ints:
    """Cover unknown pixels with the patches around them, the more the longer they border on it."""
    best = np.full(patch.shape, -1.0, np.float32)
    result = patch.copy()
    weight = known.astype(np.float32)
    for number in kept:
        here = (patch == number) & known
        share = fill_holes(here.astype(np.float32)[..., None], weight)[..., 0]
        share = blur(share, 1.5)  # rounds the borders
        wins = share > best
        best[wins], result[wins] = share[wins], number
    return result
