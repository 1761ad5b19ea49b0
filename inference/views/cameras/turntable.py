"""Cameras of pictures that were taken in equal steps around a thing, such as its four sides."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ...errors import PictureError
from ..contracts import Lens, Photo, Pose, Solved, SparsePoints

FOV = math.radians(25.0)  # of unknown cameras: views of a thing from its sides are nearly parallel
FILL = 0.9  # assumed share of the picture's height between the thing's outermost points
_SIDES = {
    "front": 0.0,
    "right": 90.0,
    "back": 180.0,
    "rear": 180.0,
    "left": 270.0,
}


def turntable(photos: Sequence[Photo], step: float | None = None, elevation: float = 0.0) -> Solved:
    """Place cameras around the world's origin, looking at it.

    Pictures named after a side (front, left, back, right) stand there, with right as in Blender's
    view of that name; otherwise the pictures are equal steps of one full turn, in the order front,
    left, back, right.
    All cameras see the thing at the same size: each picture's mask is scaled and centred to agree.

    Args:
        photos: In the order in which they were taken.
        step: Radians by which the camera has gone on from picture to picture, seen from above
            clockwise; the turntable has turned as much the other way. None: equal steps, or by name.
        elevation: Radians of the cameras above the horizon.

    Raises:
        PictureError: When a picture has no mask to find the thing by.
    """
    poses: dict[str, Pose] = {}
    for photo, angle in zip(photos, _angles(photos, step), strict=True):
        if photo.mask is None:
            raise PictureError(
                f"{photo.name} has no cut-out: views from the sides need transparency or masks."
            )
        rows, columns = (np.flatnonzero((photo.mask > 0.5).any(axis=a)) for a in (1, 0))
        if not len(rows):
            raise PictureError(f"The cut-out of {photo.name} is empty: check its mask.")
        height, width = photo.mask.shape
        focal = photo.focal_px or height / 2 / math.tan(FOV / 2)
        # The thing's height is 1 in every picture, and it is centred whatever the framing was.
        extent = float(rows[-1] + 1 - rows[0])
        middle = ((columns[0] + columns[-1] + 1) / 2, (rows[0] + rows[-1] + 1) / 2)
        distance = focal / extent
        turn = math.radians(angle)
        right = np.array([math.cos(turn), 0.0, math.sin(turn)])
        level = np.array([-math.sin(turn), 0.0, math.cos(turn)])  # from the thing, away from us
        ahead = math.cos(elevation) * level + np.array([0.0, math.sin(elevation), 0.0])
        matrix = np.eye(4)
        matrix[:3, :3] = np.stack([right, np.cross(ahead, right), ahead], axis=1)
        matrix[:3, 3] = -distance * ahead
        lens = Lens(width, height, focal, focal, *middle)
        poses[photo.name] = Pose(lens, matrix)
    up = np.array([0.0, -1.0, 0.0])
    return Solved(poses, SparsePoints.empty(), {}, up, False, "turntable")


def _angles(photos: Sequence[Photo], step: float | None) -> list[float]:
    """Degrees around the vertical for each picture: 0 in front, 90 at the front view's right."""
    if step is not None:
        return [-math.degrees(step) * index for index in range(len(photos))]
    named = [_angle_in_name(photo.name) for photo in photos]
    given = [angle for angle in named if angle is not None]
    if len(given) == len(photos) and len(set(given)) == len(given):
        return given
    return [-360.0 * index / len(photos) for index in range(len(photos))]


def _angle_in_name(name: str) -> float | None:
    """Degrees of the side that a file is named after; "front_left" lies between the two."""
    words = re.split(r"[^a-z]+", name.casefold())
    found = [_SIDES[word] for word in words if word in _SIDES]
    if not found:  # written together, such as "bootfront2"
        found = [angle for side, angle in _SIDES.items() if side in name.casefold()]
    if not found or len(found) > 2:
        return None
    first, last = found[0], found[-1]
    if abs(first - last) == 180.0:
        return None
    if abs(first - last) > 180.0:  # front and left
        first, last = first - 360.0 * (first > 180.0), last - 360.0 * (last > 180.0)
    return (first + last) / 2 % 360.0
