"""What a silhouette alone says about depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

LEVELS = 24  # disc sizes tried; the width is exact to a 24th of the widest


def local_width(mask: NDArray[np.bool_]) -> NDArray[np.float32]:
    """Diameter of the largest disc inside the silhouette that covers each pixel, in pixels.

    This is a grey-scale opening of the distance transform: along an arm it is the arm's width, in
    the middle of a body the body's, up to the very rim.

    Args:
        mask: (H, W) True inside.

    Returns:
        (H, W) float32; 0 outside.
    """
    inside = mask.astype(np.uint8)
    reach = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    radius = np.zeros_like(reach)
    for level in np.linspace(float(reach.max()), 0, LEVELS, endpoint=False):
        far_from_centres = cv2.distanceTransform(
            (reach < level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        covered = (far_from_centres <= level) & (radius == 0)
        radius[covered] = level
    return 2 * np.where(mask, np.maximum(radius, reach), 0).astype(np.float32)
