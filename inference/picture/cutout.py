"""Masks of the subject: from alpha, from a plain background, cleaned, refined, cropped.

A mask is (H, W) float32 from 0 (background) to 1 (subject); 0.5 is the outline.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..contracts import Picture
from ..errors import CutOutError

Mask = NDArray[np.float32]

# Longest side in pixels at which edges are searched; finer ones come from interpolation.
REFINE_SIDE = 1536
PLAIN_SIDE = 1024

# Clean-up, as fractions of the largest part's area.
MIN_PART = 0.10
MAX_PINHOLE = 0.0008
SOFT_EDGE_PX = 3

# Plain backgrounds, in CIE Lab units where not stated otherwise.
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


def alpha_mask(picture: Picture) -> Mask:
    """Take the cut-out that the picture brings along.

    Raises:
        CutOutError: Alpha separates nothing.
    """
    if not picture.has_alpha:
        raise CutOutError(
            f"{picture.name} has no transparent background; set Cut-out to Automatic or give a mask."
        )
    return picture.pixels[..., 3].astype(np.float32) / 255.0


def resize_mask(mask: NDArray[np.generic], shape: tuple[int, int]) -> Mask:
    """Scale a mask of any size to ``shape`` (H, W), without aliasing; uint8 counts to 255."""
    scale = 1.0 / 255.0 if mask.dtype == np.uint8 else 1.0
    values = np.ascontiguousarray(mask, dtype=np.float32) * np.float32(scale)
    if values.shape != shape:
        is_smaller = shape[0] * shape[1] < values.size
        how = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
        values = np.asarray(cv2.resize(values, shape[::-1], interpolation=how), np.float32)
    return np.clip(values, 0.0, 1.0)


def clean_mask(mask: Mask) -> Mask:
    """Keep the subject's parts, drop specks, fill pinholes, leave real holes and soft edges.

    Args:
        mask: (H, W) probability of subject.

    Raises:
        CutOutError: Nothing reaches 0.5.
    """
    solid = (mask >= 0.5).astype(np.uint8)
    _require_subject(solid)
    labels, areas = _components(solid, 8)
    largest = float(areas[1:].max())
    is_part = areas >= MIN_PART * largest
    is_part[0] = False
    parts = is_part[labels].astype(np.uint8)
    hole_labels, hole_areas = _components(np.uint8(1) - parts, 4)
    is_pinhole = hole_areas <= max(MAX_PINHOLE * largest, 4.0)
    is_pinhole[0] = False
    pinholes = is_pinhole[hole_labels]
    # The soft edge belongs to a part when it lies next to it.
    near = cv2.dilate(parts, _disc(SOFT_EDGE_PX))
    return np.where(pinholes, np.float32(1.0), np.where(near > 0, mask, np.float32(0.0)))


def refine_mask(rgb: NDArray[np.uint8], coarse: Mask) -> Mask:
    """Scale a network's small mask up so that its outline follows the picture's edges.

    A guided filter: in every window the mask is a linear function of the colour. Only a band
    around the coarse outline may change.

    Args:
        rgb: (H, W, 3) uint8.
        coarse: (h, w) probability of the whole picture, usually smaller than it.

    Returns:
        (H, W) mask.
    """
    height, width = rgb.shape[:2]
    work_width, work_height = _bounded_size(width, height, REFINE_SIDE)
    guide = cv2.resize(rgb, (work_width, work_height), interpolation=cv2.INTER_AREA)
    guide = np.asarray(guide, np.float32) / np.float32(255.0)
    start = resize_mask(coarse, (work_height, work_width))
    cell = max(work_width / coarse.shape[1], work_height / coarse.shape[0], 1.0)
    radius = max(2, round(1.5 * cell))
    filtered = _guided_filter(guide, start, radius, 1e-4)
    # The filter is soft where colours differ little; steepen it about the outline.
    sharp = np.clip((filtered - 0.5) * 2.0 + 0.5, 0.0, 1.0)
    reach = max(2.0, 2.0 * cell)
    solid = (start >= 0.5).astype(np.uint8)
    inside = _grown(np.uint8(1) - solid, reach) == 0
    outside = _grown(solid, reach) == 0
    sharp = np.where(inside, np.maximum(start, sharp), sharp)
    sharp = np.where(outside, np.minimum(start, sharp), sharp)
    return resize_mask(sharp.astype(np.float32), (height, width))


def plain_background_mask(rgb: NDArray[np.uint8]) -> Mask | None:
    """Cut the subject out of a plain background: a sprite, a drawing, a product photo.

    The background's colour is a smooth function of the place, fitted to the picture's border;
    what is reached from the border without leaving that colour is background.

    Args:
        rgb: (H, W, 3) uint8.

    Returns:
        (H, W) mask with an antialiased outline, or None when the background is not plain or what
        would be cut out is no plausible subject.
    """
    height, width = rgb.shape[:2]
    size = _bounded_size(width, height, PLAIN_SIDE)
    small = np.asarray(cv2.resize(rgb, size, interpolation=cv2.INTER_AREA), np.uint8)
    lab = np.asarray(cv2.cvtColor(small.astype(np.float32) / 255.0, cv2.COLOR_RGB2Lab), np.float32)
    fitted = _fit_background(lab)
    if fitted is None:
        return None
    background, tolerance = fitted
    difference = np.linalg.norm(lab - background, axis=2).astype(np.float32)
    solid = _solid_subject(difference, tolerance)
    if solid is None or _crosses_border_often(solid) or _weak_outline(lab, solid):
        return None
    backdrop = np.asarray(cv2.cvtColor(background, cv2.COLOR_Lab2RGB), np.float32)
    return resize_mask(_antialiased(small / np.float32(255.0), backdrop, solid), (height, width))


def crop_square(mask: Mask, margin: float = 0.1) -> tuple[float, float, float]:
    """Give the square around the subject.

    Args:
        mask: (H, W) mask.
        margin: Free space on each side as a fraction of the subject's longer side.

    Returns:
        x and y of the top left corner and the side, in pixels, where the first pixel spans 0 to 1;
        the square may reach outside of the picture.

    Raises:
        CutOutError: Nothing reaches 0.5.
    """
    solid = mask >= 0.5
    _require_subject(solid)
    columns, rows = np.flatnonzero(solid.any(axis=0)), np.flatnonzero(solid.any(axis=1))
    left, right = float(columns[0]), float(columns[-1] + 1)
    top, bottom = float(rows[0]), float(rows[-1] + 1)
    side = max(right - left, bottom - top) * (1.0 + 2.0 * margin)
    return (left + right - side) / 2.0, (top + bottom - side) / 2.0, side


def sample_crop(
    image: NDArray[np.float32],
    x0: float,
    y0: float,
    side: float,
    size: int,
    border: float | None = 0.0,
) -> NDArray[np.float32]:
    """Resample a square of a picture without aliasing.

    Args:
        image: (H, W, C) float32.
        x0: Left edge of the square in pixels, where the first pixel spans 0 to 1.
        y0: Top edge.
        side: Side of the square in pixels of ``image``; it may reach outside.
        size: Side of the result in pixels.
        border: Value outside of the picture; None repeats the picture's edge.

    Returns:
        (size, size, C) float32. Output pixel i covers ``x0 + i * side / size`` to
        ``x0 + (i + 1) * side / size``.
    """
    rows = _resampling_matrix(image.shape[0], y0, side, size, border is None)
    columns = _resampling_matrix(image.shape[1], x0, side, size, border is None)
    (top, bottom), (left, right) = _used_span(rows), _used_span(columns)
    used = image[top:bottom, left:right]
    part_rows, part_columns = rows[:, top:bottom], columns[:, left:right]
    # Rows first: (size, h) @ (h, w * C), then the columns of each channel.
    tall = part_rows @ used.reshape(used.shape[0], -1)
    tall = tall.reshape(size, used.shape[1], image.shape[2])
    sampled = np.einsum("ow,hwc->hoc", part_columns, tall, optimize=True)
    if border:
        covered = np.outer(rows.sum(axis=1), columns.sum(axis=1))
        sampled += np.float32(border) * (1.0 - covered)[..., None]
    return np.ascontiguousarray(sampled, dtype=np.float32)


def _require_subject(solid: NDArray[np.generic]) -> None:
    if not solid.any():
        raise CutOutError(
            "No subject was found in the picture; give a mask, or set Cut-out to None to use the "
            "whole picture."
        )


def _bounded_size(width: int, height: int, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def _disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def _grown(binary: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Dilate by a disc; unlike a morphological filter's, the cost does not grow with it."""
    if not binary.any():
        return binary
    distance = np.asarray(cv2.distanceTransform(np.uint8(1) - binary, cv2.DIST_L2, 5))
    return (distance <= radius).astype(np.uint8)


def _components(
    binary: NDArray[np.uint8], connectivity: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Label connected ones; return labels (0 = the zeros) and the area of each label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=connectivity)
    areas = np.asarray(stats[:, cv2.CC_STAT_AREA], np.float64)
    return np.asarray(labels, np.int32), areas


def _guided_filter(guide: NDArray[np.float32], values: Mask, radius: int, smoothing: float) -> Mask:
    """Filter ``values`` (H, W) so that edges follow the colours of ``guide`` (H, W, 3)."""
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(array: NDArray[np.float32]) -> NDArray[np.float32]:
        return np.asarray(cv2.boxFilter(array, -1, side, borderType=cv2.BORDER_REFLECT), np.float32)

    guide_mean, value_mean = mean(guide), mean(values)
    red, green, blue = (guide[..., i] for i in range(3))
    mean_red, mean_green, mean_blue = (guide_mean[..., i] for i in range(3))
    rr = mean(red * red) - mean_red * mean_red + smoothing
    gg = mean(green * green) - mean_green * mean_green + smoothing
    bb = mean(blue * blue) - mean_blue * mean_blue + smoothing
    rg = mean(red * green) - mean_red * mean_green
    rb = mean(red * blue) - mean_red * mean_blue
    gb = mean(green * blue) - mean_green * mean_blue
    vr = mean(red * values) - mean_red * value_mean
    vg = mean(green * values) - mean_green * value_mean
    vb = mean(blue * values) - mean_blue * value_mean
    # The symmetric 3 x 3 system of every window, solved by cofactors.
    c_rr, c_rg, c_rb = gg * bb - gb * gb, rb * gb - rg * bb, rg * gb - rb * gg
    c_gg, c_gb, c_bb = rr * bb - rb * rb, rb * rg - rr * gb, rr * gg - rg * rg
    determinant = rr * c_rr + rg * c_rg + rb * c_rb
    slope = np.stack(
        (
            (c_rr * vr + c_rg * vg + c_rb * vb) / determinant,
            (c_rg * vr + c_gg * vg + c_gb * vb) / determinant,
            (c_rb * vr + c_gb * vg + c_bb * vb) / determinant,
        ),
        axis=2,
    )
    offset = value_mean - (slope * guide_mean).sum(axis=2)
    return (mean(slope) * guide).sum(axis=2) + mean(offset)


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


def _solid_subject(difference: Mask, tolerance: float) -> NDArray[np.uint8] | None:
    """Flood the background from the border; return the subject as 0 and 1, None if implausible."""
    unlike = (difference > tolerance).astype(np.uint8)
    longest = max(difference.shape)
    for fraction in GAP_FRACTIONS:
        # Outlines drawn with gaps let the flood in; bridge wider and wider gaps.
        radius = round(fraction * longest)
        if fraction and not radius:
            continue
        solid = _unflooded(unlike, radius)
        labels, areas = _components(solid, 8)
        area = float(areas[1:].sum())
        if area == 0.0:
            return None
        if _is_stroke((labels == 1 + int(areas[1:].argmax())).astype(np.uint8), STROKE_FRACTION):
            continue
        is_whole = areas[1:].max() >= MIN_MAIN_PART * area
        is_plausible = MIN_SUBJECT_AREA <= area / solid.size <= MAX_SUBJECT_AREA
        if not is_whole or not is_plausible:
            return None
        is_part = areas >= MIN_SPECK * float(areas[1:].max())
        is_part[0] = False
        return _with_holes(is_part[labels].astype(np.uint8), difference, tolerance)
    return None


def _unflooded(unlike: NDArray[np.uint8], radius: int) -> NDArray[np.uint8]:
    """Give what a flood from outside does not reach through gaps narrower than two radii."""
    free = np.pad(np.uint8(1) - _grown(unlike, radius), 1, constant_values=1)
    labels, _ = _components(free, 4)
    flooded = (labels == labels[0, 0]).astype(np.uint8)
    flooded = _grown(flooded, radius)
    return np.maximum(np.uint8(1) - flooded[1:-1, 1:-1], unlike)


def _with_holes(solid: NDArray[np.uint8], difference: Mask, tolerance: float) -> NDArray[np.uint8]:
    """Open enclosed regions that are large and of the very colour of the background.

    Smaller ones stay closed: on white, the white of an eye must not become a hole.
    """
    like = np.where(difference <= tolerance, solid, np.uint8(0))
    labels, areas = _components(like, 4)
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
    size = _bounded_size(width, height, EDGE_SIDE)
    colours = np.asarray(cv2.resize(lab, size, interpolation=cv2.INTER_AREA), np.float32)
    small = np.asarray(cv2.resize(solid, size, interpolation=cv2.INTER_NEAREST), np.uint8)
    across = np.asarray(cv2.Sobel(colours, cv2.CV_32F, 1, 0, scale=0.125), np.float32)
    down = np.asarray(cv2.Sobel(colours, cv2.CV_32F, 0, 1, scale=0.125), np.float32)
    slope = np.sqrt((across * across + down * down).sum(axis=2))
    strongest = np.asarray(cv2.dilate(slope, _disc(2)), np.float32)
    # OpenCV does not erode from outside, so the picture's own border is no outline.
    outline = (small > 0) & (cv2.erode(small, _disc(1)) == 0)
    return bool(outline.any() and (strongest[outline] < MIN_EDGE).mean() > MAX_WEAK_OUTLINE)


def _antialiased(
    colours: NDArray[np.float32], background: NDArray[np.float32], solid: NDArray[np.uint8]
) -> Mask:
    """Give the outline's pixels the share of subject that their colour shows."""
    disc = _disc(1)
    inner = np.asarray(cv2.erode(solid, disc), np.float32)
    band = (cv2.dilate(solid, disc) > 0) & (inner == 0)
    weight = cv2.boxFilter(inner, -1, (7, 7))
    inner_colour = cv2.boxFilter(colours * inner[..., None], -1, (7, 7))
    subject = np.asarray(inner_colour, np.float32) / np.maximum(np.asarray(weight), 1e-6)[..., None]
    axis = subject - background
    contrast = np.maximum((axis * axis).sum(axis=2), 1e-4)
    share = ((colours - background) * axis).sum(axis=2) / contrast
    is_known = band & (np.asarray(weight) > 0)
    return np.where(is_known, np.clip(share, 0.0, 1.0), solid).astype(np.float32)


def _resampling_matrix(
    length: int, start: float, side: float, size: int, use_edge: bool
) -> NDArray[np.float32]:
    """Give the (size, length) weights of a tent as wide as the coarser of both pixels."""
    step = side / size
    reach = max(step, 1.0)
    centres = start + (np.arange(size) + 0.5) * step - 0.5
    taps = np.arange(int(np.ceil(2.0 * reach)) + 1)
    places = np.ceil(centres - reach).astype(np.int64)[:, None] + taps
    weights = np.maximum(0.0, 1.0 - np.abs(places - centres[:, None]) / reach)
    weights /= weights.sum(axis=1, keepdims=True)
    is_inside = (places >= 0) & (places < length)
    if not use_edge:
        weights = np.where(is_inside, weights, 0.0)
    matrix = np.zeros((size, length), np.float32)
    rows = np.broadcast_to(np.arange(size)[:, None], places.shape)
    np.add.at(matrix, (rows, np.clip(places, 0, length - 1)), weights)
    return matrix


def _used_span(matrix: NDArray[np.float32]) -> tuple[int, int]:
    used = np.flatnonzero(matrix.any(axis=0))
    return (int(used[0]), int(used[-1]) + 1) if used.size else (0, 1)
