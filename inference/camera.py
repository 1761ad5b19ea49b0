"""The pinhole camera of a picture, and the turned camera that looks straight at a crop of it.

Pixel coordinates are continuous: the centre of the pixel in row i, column j is (j + 0.5, i + 0.5).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class PinholeCamera:
    """A camera with square pixels and its principal point in the middle.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        focal_px: Focal length in pixels.
    """

    width: int
    height: int
    focal_px: float

    @property
    def fov_x(self) -> float:
        """Horizontal field of view in radians."""
        return 2.0 * math.atan(self.width / 2.0 / self.focal_px)

    def rays(self, pixels: Floats) -> Floats:
        """Direction of the ray through each pixel.

        Args:
            pixels: (..., 2) continuous pixel coordinates (x, y).

        Returns:
            (..., 3) directions in the camera frame, scaled so that z = 1.
        """
        x = (pixels[..., 0] - self.width / 2) / self.focal_px
        y = (pixels[..., 1] - self.height / 2) / self.focal_px
        return np.stack([x, y, np.ones_like(x)], axis=-1).astype(np.float32)

    def project(self, points: Floats) -> Floats:
        """Pixel coordinates of points in the camera frame.

        Args:
            points: (..., 3), z > 0.

        Returns:
            (..., 2) continuous pixel coordinates.
        """
        scale = self.focal_px / points[..., 2]
        x = points[..., 0] * scale + self.width / 2
        y = points[..., 1] * scale + self.height / 2
        return np.stack([x, y], axis=-1).astype(np.float32)


@dataclass(frozen=True, slots=True)
class CropView:
    """A square crop of a picture, seen by a camera turned to look at its middle.

    The view frame shares the camera's origin. Lengths in it are in units of half the crop's width
    at the subject's distance, so a subject fills about -1 to 1 whatever its size in the picture.

    Attributes:
        camera: The picture's camera.
        x0: Left edge of the crop in pixels; may lie outside of the picture.
        y0: Top edge of the crop in pixels.
        side: Side of the crop in pixels.
        rotation: (3, 3) rows are the view axes in the camera frame; view = rotation @ camera.
        distance: Distance of the subject along the view axis, in units.
    """

    camera: PinholeCamera
    x0: float
    y0: float
    side: float
    rotation: NDArray[np.float64]
    distance: float

    @classmethod
    def of(cls, camera: PinholeCamera, x0: float, y0: float, side: float) -> CropView:
        """The view of the crop whose upper left corner is (x0, y0)."""
        middle = np.array([[x0 + side / 2, y0 + side / 2]], np.float32)
        ray = camera.rays(middle)[0].astype(np.float64)
        slant = float(np.linalg.norm(ray))
        rotation = _rotation_between(ray / slant)
        return cls(camera, x0, y0, side, rotation, 2.0 * camera.focal_px * slant / side)

    def to_camera(self, points: Floats) -> Floats:
        """(..., 3) points or directions from the view frame to the camera frame."""
        return (points @ self.rotation.astype(np.float32)).astype(np.float32)

    def to_view(self, points: Floats) -> Floats:
        """(..., 3) points or directions from the camera frame to the view frame."""
        return (points @ self.rotation.T.astype(np.float32)).astype(np.float32)

    def crop_coordinates(self, points: Floats, size: int) -> Floats:
        """Where points fall in a crop image.

        Args:
            points: (..., 3) in the view frame, in front of the camera.
            size: Side of the crop image in pixels.

        Returns:
            (..., 2) continuous crop pixel coordinates.
        """
        pixels = self.camera.project(self.to_camera(points))
        return (pixels - np.array([self.x0, self.y0], np.float32)) * np.float32(size / self.side)

    def crop_rays(self, size: int) -> Floats:
        """Rays through the pixel centres of a crop image.

        Returns:
            (size, size, 3) directions in the view frame, scaled so that z = 1.
        """
        steps = (np.arange(size, dtype=np.float32) + 0.5) * np.float32(self.side / size)
        x, y = np.meshgrid(steps + self.x0, steps + self.y0)
        rays = self.to_view(self.camera.rays(np.stack([x, y], axis=-1)))
        return rays / rays[..., 2:]


def _rotation_between(axis: NDArray[np.float64]) -> NDArray[np.float64]:
    """Rotation without roll whose third row is ``axis`` (unit, z > 0)."""
    right = np.cross([0.0, 1.0, 0.0], axis)
    right /= np.linalg.norm(right)
    return np.stack([right, np.cross(axis, right), axis])
