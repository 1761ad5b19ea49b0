"""Cut the subject out of a plain background: a sprite, a drawing, a product photo."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from .masks import Mask, bounded_size, components, disc, grown, resize_mask, rim

# Longest side in pixels at which the subject is searched.
PLAIN_SIDE = 1024

# In CIE Lab units where not stated otherwise.
BORDER_FRACTION = 0.02
MIN_PLAIN_BORDER = 0.72
MIN_TOLERANCE = 4.0
MAX_TOLERANCE = 12.0
MAX_BORDER_SPREAD = 3.5
MIN_SUBJECT_AREA = 0.005
MAX_SUBJECT_AREA = 0.95
MIN_HOLE = 0.02
MIN_SPECK = 0.01
MIN_MAIN_PART = 0.5
GAP_FRACTIONS = (0.0, 0.004, 0.01, 0.02)
STROKE_FRACTION = 0.03
LINE_FRACTION = 0.08
MAX_LINE_SHARE = 0.6
MAX_BORDER_CROSSINGS = 8
# An outline without an edge in the picture is a shadow, a horizon or a subject like its background.
EDGE_SIDE = 512
MIN_EDGE = 2.0
MAX_WEAK_OUTLINE = 0.2
# A piece that runs out of the picture and that a network does not see: another thing, or a floor.
UNSEEN = 0.1
# Of several things: share that a network must see, and share of what it sees that must be theirs.
SEEN, INSIDE = 0.9, 0.85
SPECK_FRACTION = 0.01
MAX_STRANGE_PIECE = 0.06


def plain_background_mask(rgb: NDArray[np.uint8], *, is_group: bool = False) -> Mask | None:
    """Cut the subject out of a plain background: a sprite, a drawing, a product photo.

    The background's colour is a smooth function of the place, fitted to the picture's border;
    what is reached from the border without leaving that colour is background.

    Args:
        rgb: (H, W, 3) uint8.
        is_group: Take several things that stand free, too, none of which is most of them; whether
            they are the subject is for ``is_seen_whole`` to say.

    Returns:
        (H, W) mask with an antialiased outline, or None when the background is not plain or what
        would be cut out is no plausible subject.
    """
    height, width = rgb.shape[:2]
    size = bounded_size(width, height, PLAIN_SIDE)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab), np.float32)
    fitted = _fit_background(lab)
    if fitted is None:
        return None
    background, tolerance = fitted
    difference = np.linalg.norm(lab - background, axis=2).astype(np.float32)
    solid = _solid_subject(difference, tolerance, 0.0 if is_group else MIN_MAIN_PART)
    if is_group and solid is not None and rim(solid).any():
        return None
    if solid is None or _crosses_border_often(solid) or _weak_outline(lab, solid):
        return None
    backdrop = np.asarray(cv2.cvtColor(background, cv2.COLOR_Lab2RGB), np.float32)
    return resize_mask(_antialiased(small / np.float32(255.0), backdrop, solid), (height, width))


def holds_another_thing(mask: Mask, seen: Callable[[], Mask]) -> bool:
    """Tell whether a cut-out holds more than its subject: furniture before a plain wall, a floor.

    Colours cannot tell a cupboard that stands at the picture's border from the subject; a network
    can. It is asked only about what runs out of the picture, since it sees less of a drawing than
    colours do.

    Args:
        mask: (H, W) cut out by colours.
        seen: Gives what a network takes for the subject, 0..1, of any size; may not be called.
    """
    height, width = mask.shape
    width, height = bounded_size(width, height, EDGE_SIDE)
    solid = resize_mask(mask, (height, width)) > 0.5
    if solid.sum() == solid[1:-1, 1:-1].sum():
        return False
    strange = (solid & (resize_mask(seen(), (height, width)) < UNSEEN)).astype(np.uint8)
    element = disc(max(1, round(SPECK_FRACTION * max(height, width))))
    pieces = np.asarray(cv2.morphologyEx(strange, cv2.MORPH_OPEN, element), np.uint8)
    labels, areas = components(pieces, 8)
    areas[0] = 0.0  # what is no piece
    return bool((areas[rim(labels)] > MAX_STRANGE_PIECE * solid.sum()).any())


def is_seen_whole(group: Mask, seen: Mask) -> bool:
    """Tell whether a network takes all of several things for the subject, and little else.

    Args:
        group: (H, W) several things cut out by colours.
        seen: What the network takes for the subject, 0..1, of any size.
    """
    things = group > 0.5
    height, width = group.shape
    said = resize_mask(seen, (height, width))
    subject = said > 0.5
    is_all = bool((said[things] > UNSEEN).mean() >= SEEN)
    return is_all and bool((things & subject).sum() >= INSIDE * max(int(subject.sum()), 1))


def _fit_background(lab: NDArray[np.float32]) -> tuple[NDArray[np.float32], float] | None:
    """Fit a quadratic of the place to the border's colour.

    Returns:
        (H, W, 3) Lab colour of the background and the tolerance about it; None when too little of
        the border agrees.
    """
    height, width = lab.shape[:2]
    ring = max(2, round(BORDER_FRACTION * min(height, width)))
    is_border = np.ones((height, width), bool)
    is_border[ring:-ring, ring:-ring] = False
    rows, columns = np.nonzero(is_border)
    colours = lab[is_border].astype(np.float64)
    x, y = columns / width - 0.5, rows / height - 0.5
    terms = np.stack((np.ones_like(x), x, y, x * x, x * y, y * y), axis=1)
    # Start from the commonest colour, so that a subject that touches the border is an outlier.
    keep = _commonest(colours)
    solution = np.zeros((terms.shape[1], 3))
    spread = 0.0
    for count in (1, 3, 6, 6):
        if keep.mean() < MIN_PLAIN_BORDER * 0.5:
            return None
        solution[:] = 0.0
        solution[:count] = np.linalg.lstsq(terms[keep, :count], colours[keep], rcond=None)[0]
        residual = np.linalg.norm(colours - terms @ solution, axis=1)
        spread = float(np.median(residual[keep]))
        keep = residual < np.clip(4.0 * spread, MIN_TOLERANCE, MAX_TOLERANCE)
    if keep.mean() < MIN_PLAIN_BORDER or spread > MAX_BORDER_SPREAD:
        return None
    x = (np.arange(width, dtype=np.float32) / width - 0.5)[None, :, None]
    y = (np.arange(height, dtype=np.float32) / height - 0.5)[:, None, None]
    one, by_x, by_y, by_xx, by_xy, by_yy = solution.astype(np.float32)
    everywhere = one + x * by_x + y * by_y + x * x * by_xx + x * y * by_xy + y * y * by_yy
    tolerance = float(np.clip(4.0 * spread, MIN_TOLERANCE, MAX_TOLERANCE))
    return everywhere, tolerance


def _commonest(colours: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Tell which (N, 3) Lab colours lie near the fullest cell of a coarse histogram."""
    cells = np.round(colours / MAX_TOLERANCE).astype(np.int64)
    _, index, counts = np.unique(cells, axis=0, return_inverse=True, return_counts=True)
    middle = np.median(colours[index.reshape(-1) == counts.argmax()], axis=0)
    return np.linalg.norm(colours - middle, axis=1) < 2.0 * MAX_TOLERANCE


def _solid_subject(
    difference: Mask, tolerance: float, main_part: float
) -> NDArray[np.uint8] | None:
    """Flood the background from the border; return the subject as 0 and 1, None if implausible.

    ``main_part`` is the share that its largest piece must have.
    """
    unlike = (difference > tolerance).astype(np.uint8)
    longest = max(difference.shape)
    for fraction in GAP_FRACTIONS:
        # Outlines drawn with gaps let the flood in; bridge wider and wider gaps.
        radius = round(fraction * longest)
        if fraction and not radius:
            continue
        solid = _unflooded(unlike, radius)
        labels, areas = components(solid, 8)
        area = float(areas[1:].sum())
        if area == 0.0:
            return None
        if _is_stroke((labels == 1 + int(areas[1:].argmax())).astype(np.uint8), STROKE_FRACTION):
            continue
        is_whole = areas[1:].max() >= main_part * area
        is_plausible = MIN_SUBJECT_AREA <= area / solid.size <= MAX_SUBJECT_AREA
        if not is_whole or not is_plausible:
            return None
        is_part = areas >= MIN_SPECK * float(areas[1:].max())
        is_part[0] = False
        return _with_holes(is_part[labels].astype(np.uint8), difference, tolerance)
    return None


def _unflooded(unlike: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Give what a flood from outside does not reach through gaps narrower than two radii."""
    free = np.pad(np.uint8(1) - grown(unlike, radius), 1, constant_values=1)
    labels, _ = components(free, 4)
    flooded = (labels == labels[0, 0]).astype(np.uint8)
    flooded = grown(flooded, radius)
    return np.maximum(np.uint8(1) - flooded[1:-1, 1:-1], unlike)


def _with_holes(solid: NDArray[np.uint8], difference: Mask, tolerance: float) -> NDArray[np.uint8]:
    """Open enclosed regions that are large and of the very colour of the background.

    Smaller ones stay closed: on white, the white of an eye must not become a hole.
    """
    like = np.where(difference <= tolerance, solid, np.uint8(0))
    labels, areas = components(like, 4)
    opened = solid.copy()
    for label in np.flatnonzero(areas >= MIN_HOLE * float(solid.sum())):
        if label and float(np.median(difference[labels == label])) < 0.35 * tolerance:
            opened[labels == label] = 0
    # In a line drawing the paper inside the outline is the subject.
    is_mostly_open = float(opened.sum()) < MAX_LINE_SHARE * float(solid.sum())
    return solid if is_mostly_open and _is_stroke(opened, LINE_FRACTION) else opened


def _is_stroke(binary: NDArray[np.uint8], fraction: float) -> bool:
    """Tell whether ones form lines, thinner than ``fraction`` of their extent, and no areas."""
    # A band's pixels lie a quarter of its width from its edges, on average.
    depth = np.asarray(cv2.distanceTransform(binary, cv2.DIST_L2, 3))
    thickness = 4.0 * float(depth[binary > 0].mean())
    width, height = cv2.boundingRect(binary)[2:]
    return thickness < fraction * max(width, height) + 2.0


def _crosses_border_often(solid: NDArray[np.uint8]) -> bool:
    """Tell a texture that runs out of the picture from a subject that touches its border."""
    border = np.concatenate((solid[0], solid[:, -1], solid[-1, ::-1], solid[::-1, 0]))
    return int(np.count_nonzero(border != np.roll(border, 1))) > MAX_BORDER_CROSSINGS


def _weak_outline(lab: NDArray[np.float32], solid: NDArray[np.uint8]) -> bool:
    """Tell whether too much of the outline shows no edge in the picture."""
    height, width = solid.shape
    size = bounded_size(width, height, EDGE_SIDE)
    colours = np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
    small = np.asarray(cv2.resize(solid, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    across = np.asarray(cv2.Sobel(colours, cv2.CV_32F, 1, 0, scale=0.125), np.float32)
    down = np.asarray(cv2.Sobel(colours, cv2.CV_32F, 0, 1, scale=0.125), np.float32)
    slope = np.sqrt((across * across + down * down).sum(axis=2))
    strongest = np.asarray(cv2.dilate(slope, disc(2)), np.float32)
    # OpenCV does not erode from outside, so the picture's own border is no outline.
    outline = (small > 0) & (cv2.erode(small, disc(1)) == 0)
    return bool(outline.any() and (strongest[outline] < MIN_EDGE).mean() > MAX_WEAK_OUTLINE)


def _antialiased(
    colours: NDArray[np.float32], background: NDArray[np.float32], solid: NDArray[np.uint8]
) -> Mask:
    """Give the outline's pixels the share of subject that their colour shows."""
    element = disc(1)
    inner = np.asarray(cv2.erode(solid, element), np.float32)
    band = (cv2.dilate(solid, element) > 0) & (inner == 0)
    weight = cv2.boxFilter(inner, -1, (7, 7))
    inner_colour = cv2.boxFilter(colours * inner[..., None], -1, (7, 7))
    subject = np.asarray(inner_colour, np.float32) / np.maximum(np.asarray(weight), 1e-6)[..., None]
    axis = subject - background
    contrast = np.maximum((axis * axis).sum(axis=2), 1e-4)
    share = ((colours - background) * axis).sum(axis=2) / contrast
    is_known = band & (np.asarray(weight) > 0)
    return np.where(is_known, np.clip(share, 0.0, 1.0), solid).astype(np.float32)
