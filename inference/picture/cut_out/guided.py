"""The guided filter (He et al. 2010): values whose edges follow a picture's edges."""

from __future__ import annotations

import cv2
import numpy as np

from ...image import Floats


def guided_coefficients(
    guide: Floats, values: Floats, radius: int, smoothing: float
) -> tuple[Floats, Floats]:
    """Fit, in every window, the values as a linear function of the colours.

    Args:
        guide: (H, W, 3) colours from 0 to 1.
        values: (H, W).
        radius: Half the window's side, in pixels.
        smoothing: Variance of colours under which nothing counts as an edge.

    Returns:
        (H, W, 3) slopes and (H, W) offsets, averaged over all windows that see a pixel: the
        filtered values are ``(slope * guide).sum(axis=2) + offset``.
    """
    side = (2 * radius + 1, 2 * radius + 1)

    def mean(array: Floats) -> Floats:
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
    return mean(slope), mean(offset)
