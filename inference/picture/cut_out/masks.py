"""What masks are, and the few shape operations on them.

A mask is (H, W) float32 from 0 (background) to 1 (subject); 0.5 is the outline.
"""

from __future__ import annotations

from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.float32]
DENIED = 0.6  # mean chance of subject from which a hole is denied


def resize_mask(mask: NDArray[np.generic], shape: tuple[int, int]) -> Mask:
    """Scale a mask of any size to ``shape`` (H, W), without aliasing; uint8 counts to 255."""
    scale = 1.0 / 255.0 if mask.dtype == np.uint8 else 1.0
    values = np.ascontiguousarray(mask, dtype=np.float32) * np.float32(scale)
    if values.shape != shape:
        is_smaller = shape[0] * shape[1] < values.size
        how = cv2.INTER_AREA if is_smaller else cv2.INTER_LINEAR
        values = np.asarray(cv2.resize(values, shape[::-1], interpolation=how), np.float32)
    return np.clip(values, 0.0, 1.0)


def bounded_size(width: int, height: int, longest: int) -> tuple[int, int]:
    scale = min(1.0, longest / max(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


def disc(radius: int) -> NDArray[np.uint8]:
    side = 2 * radius + 1
    return np.asarray(cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side)), np.uint8)


def grown(binary: NDArray[np.uint8], radius: float) -> NDArray[np.uint8]:
    """Dilate by a disc; unlike a morphological filter's, the cost does not grow with it."""
    if not binary.any():
        return binary
    distance = np.asarray(cv2.distanceTransform(np.uint8(1) - binary, cv2.DIST_L2, 5))
    return (distance <= radius).astype(np.uint8)


def components(
    binary: NDArray[np.uint8], connectivity: int
) -> tuple[NDArray[np.int32], NDArray[np.float64]]:
    """Label connected ones; return labels (0 = the zeros) and the area of each label."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(binary, connectivity=connectivity)
    areas = np.asarray(stats[:, cv2.CC_STAT_AREA], np.float64)
    return np.asarray(labels, np.int32), areas


def rim(image: NDArray[Any]) -> NDArray[Any]:
    """(N,) the outermost values of an (H, W) image, the corners twice."""
    return np.concatenate((image[0], image[-1], image[:, 0], image[:, -1]))


def denied_holes(solid: NDArray[np.bool_], chance: Mask) -> NDArray[np.bool_]:
    """(H, W) enclosed holes of a subject that, by another opinion, are subject on average."""
    labels, areas = components((~solid).astype(np.uint8), 4)
    is_hole = np.ones(len(areas), bool)
    is_hole[0] = False
    is_hole[rim(labels)] = False
    mean = np.bincount(labels.ravel(), chance.ravel(), len(areas)) / np.maximum(areas, 1)
    return (is_hole & (mean > DENIED))[labels]
