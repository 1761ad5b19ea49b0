"""The cameras of views as plain matrices, and the frame in which their surface is sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..contracts import CameraArrays
from ..picture.cut_out.masks import rim
from .contracts import View

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

NEAREST = 1e-6  # depth from which a point counts as in front of a camera
FARTHEST = 1e6  # pixels; OpenCV's fixed-point coordinates overflow a little beyond
WIDEST_DISC = 60  # pixels; a disc's work grows with its square


@dataclass(frozen=True, slots=True)
class Frame:
    """A similarity from the source world to another frame: ``scale * rotation @ (x - centre)``.

    Attributes:
        rotation: (3, 3).
        centre: (3,) in the source world; becomes the origin.
        scale: Of lengths.
    """

    rotation: Doubles
    centre: Doubles
    scale: float

    def points(self, points: NDArray[np.floating]) -> Doubles:
        """(N, 3) source points in this frame."""
        return self.scale * (np.asarray(points, np.float64) - self.centre) @ self.rotation.T

    def camera(self, matrix: Doubles) -> Doubles:
        """(4, 4) camera-to-world matrix whose world is this frame; its axes stay unit vectors."""
        moved = np.eye(4)
        moved[:3, :3] = self.rotation @ matrix[:3, :3]
        moved[:3, 3] = self.points(matrix[None, :3, 3])[0]
        return moved

    def view(self, view: View) -> View:
        """The same view with its camera in this frame."""
        return replace(view, camera=replace(view.camera, matrix=self.camera(view.camera.matrix)))

    def then(self, rotation: Doubles, centre: Doubles, scale: float) -> Frame:
        """This frame followed by another similarity of it."""
        return Frame(
            rotation @ self.rotation,
            self.centre + self.rotation.T @ (centre / self.scale),
            self.scale * scale,
        )


def to_camera(camera: CameraArrays, points: NDArray[np.floating]) -> Floats:
    """(..., 3) world points in a camera's own axes."""
    rotation, origin = camera.matrix[:3, :3], camera.matrix[:3, 3]
    moved = np.asarray(points, np.float32) - origin.astype(np.float32)
    return (moved @ rotation.astype(np.float32)).astype(np.float32)


def project(camera: CameraArrays, points: NDArray[np.floating]) -> tuple[Floats, Floats]:
    """Where world points fall in a picture.

    Args:
        camera: The camera; its picture size gives the unit of the result.
        points: (..., 3).

    Returns:
        (..., 2) continuous pixel coordinates, finite and at most ``FARTHEST`` from the picture, and
        (...,) depth along the view axis. What is not in front of the camera (``ahead``) gets
        coordinates far outside of any picture.
    """
    seen = to_camera(camera, points)
    depth = seen[..., 2]
    is_ahead = ahead(depth)
    focal = np.float32(camera.width / 2 / np.tan(camera.fov_x / 2))
    scale = focal / np.where(is_ahead, depth, 1)
    middle = np.array([camera.width / 2, camera.height / 2], np.float32)
    where = seen[..., :2] * scale[..., None] + middle
    where = np.where(is_ahead[..., None], np.clip(where, -FARTHEST, FARTHEST), -FARTHEST)
    return where.astype(np.float32), depth


def ahead(depth: Floats) -> NDArray[np.bool_]:
    """Which depths along a view axis lie in front of the camera."""
    return depth > NEAREST


def pixels_across(length: float, camera: CameraArrays, depth: Floats, width: int) -> int:
    """How many pixels a length covers at the middle depth of what lies in front of a camera.

    Args:
        length: In the unit of the depth.
        camera: The camera; it may stand among the points.
        depth: (N,) of points, also of such behind the camera.
        width: Of the picture whose pixels are meant.

    Returns:
        From 0 to ``WIDEST_DISC``: what is nearer than that says nothing about an outline.
    """
    depth = depth[ahead(depth)]
    if not len(depth):
        return 0
    focal = width / 2 / np.tan(camera.fov_x / 2)
    return round(min(length * focal / float(np.median(depth)), WIDEST_DISC))


def pixels_at(
    camera: CameraArrays, points: NDArray[np.floating], shape: tuple[int, ...]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.bool_], Floats]:
    """Which pixels show (N, 3) world points.

    Args:
        camera: Its picture size is ``shape``.
        points: (N, 3).
        shape: Height and width of the picture; more numbers are ignored.

    Returns:
        (N,) rows and columns, whether they are in the picture and before the camera, and depth.
    """
    height, width = shape[:2]
    where, depth = project(camera, points)
    column, row = np.floor(where).astype(np.int64).T
    seen = ahead(depth) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
    return row, column, seen, depth


def meeting_point(origins: Doubles, directions: Doubles, weights: Doubles | None = None) -> Doubles:
    """(3,) the point nearest to many lines in the least-squares sense.

    Args:
        origins: (N, 3) a point on each line.
        directions: (N, 3) unit.
        weights: (N,) of the lines; None counts all alike.
    """
    square = np.eye(3) - directions[:, :, None] * directions[:, None, :]
    if weights is not None:
        square = square * weights[:, None, None]
    total = square.sum(axis=0) + 1e-9 * np.eye(3)
    return np.linalg.solve(total, (square @ origins[:, :, None]).sum(axis=0))[:, 0]


def positions_and_axes(views: Sequence[View]) -> tuple[Doubles, Doubles]:
    """(N, 3) camera positions and (N, 3) unit viewing directions."""
    matrices = np.array([view.camera.matrix for view in views])
    return matrices[:, :3, 3], matrices[:, :3, 2]


def is_whole(mask: Floats) -> bool:
    """Whether a silhouette ends before the picture does: then nothing of it lies outside."""
    return bool((rim(mask) > 0.5).mean() < 0.005)
