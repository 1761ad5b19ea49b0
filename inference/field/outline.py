"""What a silhouette alone says about depth."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..image import blur
from ..stopping import chance_to_stop

RIM = (0.05, 0.15)  # half sides of the crop from the silhouette at which normals tell its roundness
AROUND = 0.05  # of the side: how far those of one place count
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
        chance_to_stop()
        far_from_centres = cv2.distanceTransform(
            (reach < level).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE
        )
        covered = (far_from_centres <= level) & (radius == 0)
        radius[covered] = level
    return 2 * np.where(mask, np.maximum(radius, reach), 0).astype(np.float32)


def tilt_at_rim(
    normals: NDArray[np.float32], silhouette: NDArray[np.float32]
) -> NDArray[np.float32]:
    """How far the surface turns away from the viewer a little inside of the silhouette.

    A ball turns away long before its silhouette, a board only at its very edge.

    Args:
        normals: (S, S, 3) unit, view frame.
        silhouette: (S, S) distance to the silhouette in half sides of the crop, positive inside.

    Returns:
        (S, S) mean part of the normals across the silhouette, -1 to 1, of the rim near each pixel;
        0 where no rim is near.
    """
    size = len(silhouette)
    down, across = np.gradient(blur(silhouette, 2.0))
    outward = -np.dstack([across, down])
    outward /= np.maximum(np.linalg.norm(outward, axis=2, keepdims=True), 1e-9)
    tilt = (normals[..., :2] * outward).sum(axis=2)
    low, high = RIM
    weight = ((silhouette > low) & (silhouette < high)).astype(np.float32)
    around = blur(weight, AROUND * size)
    mean = blur((tilt * weight).astype(np.float32), AROUND * size) / np.maximum(around, 1e-3)
    return np.where(around > 1e-3, mean, 0).astype(np.float32)
