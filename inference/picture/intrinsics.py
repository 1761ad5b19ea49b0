"""Focal lengths and fields of view of a pinhole camera with square pixels."""

from __future__ import annotations

import math


def fov_from_focal(focal_px: float, extent_px: float) -> float:
    """Give the field of view in radians across ``extent_px`` pixels (a width or a height).

    Args:
        focal_px: Focal length in pixels, > 0.
        extent_px: Extent in pixels of the same picture, > 0.
    """
    return 2.0 * math.atan2(extent_px / 2.0, focal_px)


def focal_from_fov(fov: float, extent_px: float) -> float:
    """Give the focal length in pixels that sees ``extent_px`` pixels under ``fov`` radians.

    Args:
        fov: Field of view in radians, above 0 and below pi.
        extent_px: Extent in pixels of the picture in the same direction, > 0.
    """
    return extent_px / 2.0 / math.tan(fov / 2.0)
