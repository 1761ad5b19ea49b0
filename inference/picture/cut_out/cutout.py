"""Masks of the subject: from alpha, cleaned, refined, cropped."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import Picture
from ...errors import CutOutError
from .guided import guided_coefficients
from .masks import Mask, bounded_size, components, disc, grown, resize_mask

# Longest side in pixels at which edges are searched; finer ones come from interpolation.
REFINE_SIDE = 1536

# Clean-up, as fractions of the largest part's area, and of the picture's longer side.
MIN_PART = 0.10
MIN_EQUAL_PART = 0.4
MAX_GAP = 0.12
MAX_PINHOLE = 0.0008
SOFT_EDGE_PX = 3


def alpha_mask(picture: Picture) -> Mask:
    """Take the cut-out that the picture brings along.

    Raises:
        CutOutError: Alpha separates nothing.
    """
    if not picture.has_alpha:
        raise CutOutError(
            f"{picture.name} has no transparent background; set Cut-Out to Automatic or give a mask."
        )
    return picture.pixels[..., 3].astype(np.float32) / 255.0


def clean_mask(mask: Mask) -> Mask:
    """Keep the subject's parts, drop scraps, fill pinholes, leave real holes and soft edges.

    A part beside the largest stays when it is about as large or lies next to it.

    Args:
        mask: (H, W) probability of subject.

    Raises:
        CutOutError: Nothing reaches 0.5.
    """
    solid = (mask >= 0.5).astype(np.uint8)
    _require_subject(solid)
    labels, areas = components(solid, 8)
    largest = float(areas[1:].max())
    away = np.asarray(
        cv2.distanceTransform((labels != areas[1:].argmax() + 1).astype(np.uint8), cv2.DIST_L2, 5)
    )
    gaps = np.full(len(areas), np.inf)
    np.minimum.at(gaps, labels.ravel(), away.ravel())
    is_near = gaps <= MAX_GAP * max(mask.shape)
    is_part = (areas >= MIN_EQUAL_PART * largest) | ((areas >= MIN_PART * largest) & is_near)
    is_part[0] = False
    parts = is_part[labels].astype(np.uint8)
    hole_labels, hole_areas = components(np.uint8(1) - parts, 4)
    is_pinhole = hole_areas <= max(MAX_PINHOLE * largest, 4.0)
    is_pinhole[0] = False
    pinholes = is_pinhole[hole_labels]
    # The soft edge belongs to a part when it lies next to it.
    near = cv2.dilate(parts, disc(SOFT_EDGE_PX))
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
    work_width, work_height = bounded_size(width, height, REFINE_SIDE)
    guide = cv2.resize(rgb, (work_width, work_height), interpolation=cv2.INTER_AREA)
    guide = np.asarray(guide, np.float32) / np.float32(255.0)
    start = resize_mask(coarse, (work_height, work_width))
    cell = max(work_width / coarse.shape[1], work_height / coarse.shape[0], 1.0)
    radius = max(2, round(1.5 * cell))
    slope, offset = guided_coefficients(guide, start, radius, 1e-4)
    filtered = (slope * guide).sum(axis=2) + offset
    # The filter is soft where colours differ little; steepen it about the outline.
    sharp = np.clip((filtered - 0.5) * 2.0 + 0.5, 0.0, 1.0)
    reach = max(2.0, 2.0 * cell)
    solid = (start >= 0.5).astype(np.uint8)
    inside = grown(np.uint8(1) - solid, reach) == 0
    outside = grown(solid, reach) == 0
    sharp = np.where(inside, np.maximum(start, sharp), sharp)
    sharp = np.where(outside, np.minimum(start, sharp), sharp)
    return resize_mask(sharp.astype(np.float32), (height, width))


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


def place_crop(crop: Mask, shape: tuple[int, int], x0: float, y0: float, side: float) -> Mask:
    """Put a square that ``sample_crop`` took back into a picture of zeros.

    Args:
        crop: (size, size).
        shape: (H, W) of the picture.
        x0: Left edge of the square in pixels.
        y0: Top edge.
        side: Side of the square in pixels.
    """
    scale = crop.shape[0] / side
    move = np.array(
        [[scale, 0, -x0 * scale + 0.5 * scale - 0.5], [0, scale, -y0 * scale + 0.5 * scale - 0.5]]
    )
    inverse = cv2.WARP_INVERSE_MAP | cv2.INTER_LINEAR
    placed = cv2.warpAffine(crop, move, (shape[1], shape[0]), flags=inverse, borderValue=(0,))
    return np.asarray(placed, np.float32)


def _require_subject(solid: NDArray[np.generic]) -> None:
    if not solid.any():
        raise CutOutError(
            "No subject was found in the picture; give a mask, or set Cut-Out to Whole Picture to use the "
            "whole picture."
        )


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
