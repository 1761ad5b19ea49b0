"""Cameras of pictures that were taken in equal steps around a thing, such as its four sides."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence

import numpy as np

from ...errors import PictureError
from ..contracts import Lens, Photo, Pose, Solved, SparsePoints, ViewsRequest

FOV = math.radians(25.0)  # of unknown cameras: views of a thing from its sides are nearly parallel
FILL = 0.9  # assumed share of the picture's height between the thing's outermost points
TAKEN_AS_SIDES = "The pictures do not overlap, so they were taken for views from the sides that they are named after."
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
    left, back, right, beginning with the first picture unless one is named after a side.
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
    up, front = np.array([0.0, -1.0, 0.0]), np.array([0.0, 0.0, 1.0])
    return Solved(poses, SparsePoints.empty(), {}, up, False, "turntable", ahead=front)


def may_be_sides(request: ViewsRequest, photos: Sequence[Photo]) -> bool:
    """Whether pictures whose cameras cannot be found are views from a thing's sides.

    That is when each is named after another side, the front among them. Two are not enough: a left
    and a right picture are as often those of one's eyes.
    """
    is_open = request.cameras == "auto" and not request.known
    is_thing = request.kind != "place" and request.masks == "auto"
    named = [_angle_in_name(photo.name) for photo in photos]
    are_sides = None not in named and 3 <= len(photos) == len(set(named)) and 0.0 in named
    return is_open and is_thing and are_sides


def _angles(photos: Sequence[Photo], step: float | None) -> list[float]:
    """Degrees around the vertical for each picture: 0 in front, 90 at the front view's right."""
    named = [_angle_in_name(photo.name) for photo in photos]
    given = [angle for angle in named if angle is not None]
    if step is None and len(given) == len(photos) and len(set(given)) == len(given):
        return given
    apart = 360.0 / len(photos) if step is None else math.degrees(step)
    steps = [-apart * index for index in range(len(photos))]
    # One name tells where the turn begins; a word in many names says nothing.
    sides = [
        (side, at)
        for side, at in zip(named, steps, strict=True)
        if side is not None and given.count(side) == 1
    ]
    first = next((side - at for side, at in sorted(sides)), 0.0)
    return [first + at for at in steps]


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
