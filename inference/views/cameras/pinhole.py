"""Undistort pictures, so that everything after them deals with plain pinhole cameras."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import CameraArrays
from ..contracts import Lens, Photo, Pose, View

NEGLIGIBLE = 0.3  # pixels by which a lens may differ from a pinhole before the picture is resampled


def undistorted(photo: Photo, pose: Pose) -> View:
    """Make a view with square pixels whose principal point is the middle.

    A picture whose lens is that already, to within a third of a pixel, stays as it is.
    """
    height, width = photo.pixels.shape[:2]
    lens = pose.lens.scaled_to(width, height)
    focal = float(np.sqrt(lens.focal_x * lens.focal_y))
    camera = CameraArrays(pose.matrix, 2 * float(np.arctan(width / 2 / focal)), width, height)
    where = _source_pixels(lens, focal)
    middle = np.stack(
        np.meshgrid(np.arange(width, dtype=np.float32), np.arange(height, dtype=np.float32)), -1
    )
    if float(np.abs(where - middle).max()) < NEGLIGIBLE:
        return View(photo.name, photo.pixels, photo.mask, None, camera, photo.path)
    # Two maps: with x and y in one, OpenCV 5.0 gives wrong values.
    x, y = (np.ascontiguousarray(where[..., k]) for k in range(2))
    pixels = cv2.remap(photo.pixels, x, y, cv2.INTER_CUBIC, borderMode=cv2.BORDER_REPLICATE)
    inside = (where >= 0).all(axis=-1) & (where <= [width - 1, height - 1]).all(axis=-1)
    mask = None
    if photo.mask is not None:
        mask = np.asarray(
            cv2.remap(photo.mask, x, y, cv2.INTER_LINEAR, borderValue=(0,)), np.float32
        )
    valid = None if inside.all() else inside
    return View(photo.name, np.asarray(pixels, np.uint8), mask, valid, camera, photo.path)


def _source_pixels(lens: Lens, focal: float) -> NDArray[np.float32]:
    """(H, W, 2) where each pixel of the pinhole picture lies in the lens's, in array indices."""
    size = (lens.width, lens.height)
    # OpenCV counts from the middle of the first pixel.
    inner = np.array(
        [
            [lens.focal_x, 0, lens.centre_x - 0.5],
            [0, lens.focal_y, lens.centre_y - 0.5],
            [0, 0, 1],
        ]
    )
    outer = np.array(
        [[focal, 0, lens.width / 2 - 0.5], [0, focal, lens.height / 2 - 0.5], [0, 0, 1]]
    )
    straight = np.eye(3)
    if lens.is_fisheye:
        k = np.array((*lens.distortion, 0.0, 0.0, 0.0, 0.0)[:4])
        x, y = cv2.fisheye.initUndistortRectifyMap(inner, k, straight, outer, size, cv2.CV_32FC1)
    else:
        k = np.array(lens.distortion or (0.0, 0.0, 0.0, 0.0))
        x, y = cv2.initUndistortRectifyMap(inner, k, straight, outer, size, cv2.CV_32FC1)
    return np.stack([x, y], axis=-1).astype(np.float32)
