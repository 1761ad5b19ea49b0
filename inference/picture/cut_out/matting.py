"""Soft cut-outs at the picture's own resolution: edges of alpha and colours without background."""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import NDArray

from ...image import Floats, enlarge
from .masks import Mask, bounded_size, resize_mask

# Longest side in pixels at which colours are separated.
COLOUR_SIDE = 1536
# From this alpha on a pixel's colour is the subject's own.
CERTAIN = 0.98

# Hard edges: alpha that passes these, and how far colours are gathered in the network's pixels.
SURE = 0.95
SURE_COLOUR = 0.9
COLOUR_REACH = 2.0
TILE = 512
# Colours are believed when subject and background differ more than each varies.
NOISE = 30.0
MIN_CONTRAST = 1e-3

# Weights of Germer et al.'s smoothness: everywhere, and per difference of alpha.
REGULAR, BY_ALPHA = 1e-3, 1.0
SMALL_LEVEL, SMALL_ROUNDS, LARGE_ROUNDS = 32, 10, 3

Report = Callable[[], None]


def refine_alpha(rgb: NDArray[np.uint8], alpha: Mask, network_side: int, report: Report) -> Mask:
    """Sharpen a network's alpha along the hard edges of a larger picture.

    A hard edge is where alpha goes all the way from 0 to 1 within the network's own pixel. There
    each pixel's colour says where it lies between the mean colours of subject and background
    nearby, and is believed as far as those differ. Hair, glass and blur, where the network itself
    saw in-between values, stay as it saw them.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        alpha: (H, W), enlarged from a network's output.
        network_side: Side in pixels of the square that the network ran on.
        report: Called between tiles; may raise to cancel.

    Returns:
        (H, W) from 0 to 1. A picture no larger than the network saw stays as it is.
    """
    height, width = alpha.shape
    cell = max(height, width) / network_side
    if cell <= 1.0:
        return alpha
    reach = round(cell)
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    is_hard = (cv2.dilate(alpha, window) > SURE) & (cv2.erode(alpha, window) < 1.0 - SURE)
    hard = np.asarray(cv2.dilate(is_hard.astype(np.float32), window), np.float32)
    hard *= np.asarray(cv2.blur(hard, window.shape), np.float32)
    report()
    result = alpha.copy()
    margin = 2 * round(COLOUR_REACH * cell)
    for top in range(0, height, TILE):
        for left in range(0, width, TILE):
            tile = (slice(top, top + TILE), slice(left, left + TILE))
            if not hard[tile].any():
                continue
            above, before = min(margin, top), min(margin, left)
            seen = (
                slice(top - above, top + TILE + margin),
                slice(left - before, left + TILE + margin),
            )
            share, belief = _share_by_colour(rgb[seen], alpha[seen], round(COLOUR_REACH * cell))
            inner = (slice(above, above + TILE), slice(before, before + TILE))
            belief = belief[inner][: height - top, : width - left] * hard[tile]
            result[tile] += belief * (share[inner][: height - top, : width - left] - alpha[tile])
            report()
    return result


def _share_by_colour(rgb: NDArray[np.uint8], alpha: Mask, radius: int) -> tuple[Floats, Floats]:
    """Place each colour between the mean colours of sure subject and sure background around it.

    Returns:
        (H, W) shares of subject and (H, W) how far they can be believed, both from 0 to 1.
    """
    side = (2 * radius + 1, 2 * radius + 1)
    colours = rgb.astype(np.float32) / np.float32(255.0)
    squares = (colours * colours).sum(axis=2)

    def around(values: Floats) -> Floats:
        return np.asarray(
            cv2.boxFilter(values, -1, side, borderType=cv2.BORDER_REFLECT), np.float32
        )

    def statistics(is_sure: NDArray[np.bool_]) -> tuple[Floats, Floats, Floats]:
        sure = is_sure.astype(np.float32)
        weight = around(sure)
        scale = 1.0 / np.maximum(weight, 1e-6)
        mean = around(colours * sure[..., None]) * scale[..., None]
        spread = around(squares * sure) * scale - (mean * mean).sum(axis=2)
        return mean, np.maximum(spread, 0.0), weight

    subject, subject_spread, subject_weight = statistics(alpha > SURE_COLOUR)
    backdrop, backdrop_spread, backdrop_weight = statistics(alpha < 1.0 - SURE_COLOUR)
    axis = subject - backdrop
    contrast = (axis * axis).sum(axis=2)
    share = ((colours - backdrop) * axis).sum(axis=2) / np.maximum(contrast, 1e-6)
    doubt = NOISE * (subject_spread + backdrop_spread) + MIN_CONTRAST
    is_known = (subject_weight > 1e-6) & (backdrop_weight > 1e-6)
    return np.clip(share, 0.0, 1.0), contrast / (contrast + doubt) * is_known


def foreground_colours(rgb: NDArray[np.uint8], alpha: Mask, report: Report) -> NDArray[np.uint8]:
    """Remove the background's share from the colours of half-covered pixels.

    Fast multi-level foreground estimation (Germer et al. 2020): foreground and background, both
    smooth where alpha is, that mix to the picture; solved from one pixel up to the full size with a
    few Jacobi steps at each.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        alpha: (H, W) from 0 to 1.
        report: Called between steps; may raise to cancel.

    Returns:
        (H, W, 3) uint8 sRGB. Where alpha is 1 the picture itself; where it is 0, the colours of the
        subject's edge nearby, so that filtering a texture brings no background in.
    """
    height, width = alpha.shape
    columns, rows = bounded_size(width, height, COLOUR_SIDE)
    picture = _shrunk(rgb, (columns, rows)) / np.float32(255.0)
    cover = resize_mask(alpha, (rows, columns))
    foreground = _shrunk(picture, (1, 1)).reshape(1, 1, 3)
    background = foreground
    for level_size in _levels(columns, rows):
        colours = _shrunk(picture, level_size)
        share = _shrunk(cover, level_size)
        foreground = _enlarged(foreground, level_size)
        background = _enlarged(background, level_size)
        rounds = SMALL_ROUNDS if max(level_size) <= SMALL_LEVEL else LARGE_ROUNDS
        steps = _steps(share)
        for _ in range(rounds):
            foreground, background = _jacobi(colours, share, steps, foreground, background)
            report()
    foreground, background = enlarge(foreground, width, height), enlarge(background, width, height)
    report()
    # What is left to explain of each pixel goes to both by their shares; it brings back details.
    share = alpha[..., None]
    picture = rgb.astype(np.float32) / np.float32(255.0)
    left = picture - share * foreground - (1.0 - share) * background
    foreground += left * (share / (share**2 + (1.0 - share) ** 2))
    report()
    values = np.clip(np.rint(foreground * 255.0), 0.0, 255.0).astype(np.uint8)
    return np.where(share >= CERTAIN, rgb, values)


def _levels(width: int, height: int) -> list[tuple[int, int]]:
    """Sizes from one pixel to the whole, each twice the one before."""
    count = int(np.ceil(np.log2(max(width, height, 2))))
    return [
        (max(1, round(width ** (level / count))), max(1, round(height ** (level / count))))
        for level in range(count + 1)
    ]


def _shrunk(image: Floats | NDArray[np.uint8], size: tuple[int, int]) -> Floats:
    return np.asarray(cv2.resize(image, size, interpolation=cv2.INTER_AREA), np.float32)


def _enlarged(image: Floats, size: tuple[int, int]) -> Floats:
    resized = cv2.resize(image, size, interpolation=cv2.INTER_NEAREST)
    return np.asarray(resized, np.float32).reshape(size[1], size[0], 3)


def _neighbours(image: Floats) -> list[Floats]:
    """The image moved by one pixel in four directions; its border repeats."""
    ahead = np.pad(image, ((1, 1), (0, 0), (0, 0)), mode="edge")
    beside = np.pad(image, ((0, 0), (1, 1), (0, 0)), mode="edge")
    return [ahead[:-2], ahead[2:], beside[:, :-2], beside[:, 2:]]


def _steps(share: Floats) -> list[Floats]:
    """How strongly each pixel is tied to its four neighbours, (h, w, 1) each."""
    column = share[..., None]
    return [REGULAR + BY_ALPHA * np.abs(other - column) for other in _neighbours(column)]


def _jacobi(
    colours: Floats, share: Floats, steps: list[Floats], foreground: Floats, background: Floats
) -> tuple[Floats, Floats]:
    """Solve every pixel's two colours with its neighbours held fixed."""
    alpha = share[..., None]
    rest = 1.0 - alpha
    tie = steps[0] + steps[1] + steps[2] + steps[3]
    wanted_f, wanted_b = alpha * colours, rest * colours
    for step, near_f, near_b in zip(
        steps, _neighbours(foreground), _neighbours(background), strict=True
    ):
        wanted_f = wanted_f + step * near_f
        wanted_b = wanted_b + step * near_b
    # | a^2 + tie   a (1 - a)     | |F|   |wanted_f|
    # | a (1 - a)   (1-a)^2 + tie | |B| = |wanted_b|
    own_f, own_b, both = alpha * alpha + tie, rest * rest + tie, alpha * rest
    determinant = own_f * own_b - both * both
    new_f = (own_b * wanted_f - both * wanted_b) / determinant
    new_b = (own_f * wanted_b - both * wanted_f) / determinant
    return np.clip(new_f, 0.0, 1.0), np.clip(new_b, 0.0, 1.0)
