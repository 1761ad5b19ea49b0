"""Cameras of pictures that were taken in equal steps around a thing, such as its four sides."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from ..errors import PictureError
from .contracts import Lens, Photo, Pose, Solved, SparsePoints

FOV = math.radians(25.0)  # of unknown cameras: views of a thing from its sides are nearly parallel
FILL = 0.9  # assumed share of the picture's height between the thing's outermost points
_SIDES = {
    "front": 0.0,
    "right": 90.0,
    "back": 180.0,
    "rear": 180.0,
    "left": 270.0,
}


def turntable(photos: Sequence[Photo]) -> Solved:
    """Place cameras level around the world's origin, looking at it.

    Pictures named after a side (front, left, back, right) stand there, with right as in Blender's
    view of that name; otherwise the pictures are equal steps of one full turn, in the order front,
    left, back, right.
    All cameras see the thing at the same size: each picture's mask is scaled and centred to agree.

    Raises:
        PictureError: When a picture has no mask to find the thing by.
    """
    poses: dict[str, Pose] = {}
    for photo, angle in zip(photos, _angles(photos), strict=True):
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
        back = np.array([-math.sin(turn), 0.0, math.cos(turn)])  # from the thing, away from us
        matrix = np.eye(4)
        matrix[:3, 0] = [math.cos(turn), 0.0, math.sin(turn)]
        matrix[:3, 1] = [0.0, 1.0, 0.0]
        matrix[:3, 2] = back
        matrix[:3, 3] = -distance * back
        lens = Lens(width, height, focal, focal, *middle)
        poses[photo.name] = Pose(lens, matrix)
    up = np.array([0.0, -1.0, 0.0])
    return Solved(poses, SparsePoints.empty(), {}, up, False, "turntable")


def _angles(photos: Sequence[Photo]) -> list[float]:
    """Degrees around the vertical for each picture: 0 in front, 90 at the front view's right."""
    named = [
        next((angle for side, angle in _SIDES.items() if side in photo.name.casefold()), None)
        for photo in photos
    ]
    given = [angle for angle in named if angle is not None]
    if len(given) == len(photos) and len(set(given)) == len(given):
        return given
    return [-360.0 * index / len(photos) for index in range(len(photos))]
