"""What the cameras look at, and whether that is one thing or a place around them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contracts import View
from ..geometry import meeting_point, positions_and_axes, project
from .upright import up_of_floor

Doubles = NDArray[np.float64]

CONVERGING = np.radians(20.0)  # median angle off the common point under which all look at one thing
ROUND = np.radians(35.0)  # angle between two cameras' axes from which they go around it
AHEAD = 0.8  # share of the cameras that have the common point before them
CENTRAL = 0.5  # share of the picture around its middle that shows what the picture is of
FIRST_THINGS = 0.3  # of the points there, by depth: what stands before the background
BEYOND = 1.5  # depth of those in distances of the common point: more, and the subject lies around
ROUNDS = 6  # of weighing cameras down that look elsewhere
WIDEST = 0.8  # tangent of half the field of view at most: nobody fills a fisheye's picture
NEAR = 1.5  # reaches around the centre in which the ground that the subject stands on is sought
NEAR_FLOOR = 0.07  # share of those points that lie on it


@dataclass(frozen=True, slots=True)
class Focus:
    """The common point of the cameras, in the source world.

    Attributes:
        centre: (3,) the point.
        distance: Median distance of the cameras.
        reach: Radius around the centre that pictures show.
        wide: The same along the pictures' longer sides: a tall subject reaches so far.
        is_thing: The cameras go around the centre, and what they see first is there.
    """

    centre: Doubles
    distance: float
    reach: float
    wide: float
    is_thing: bool


def find_focus(views: Sequence[View], points: Doubles) -> Focus:
    """Find what the cameras look at.

    Args:
        views: In the source world.
        points: (N, 3) sparse points; may be none.
    """
    positions, axes = positions_and_axes(views)
    centre = meeting_point(positions, axes)
    for _ in range(ROUNDS):
        off = _off_axis(centre, positions, axes)
        # Cauchy's weights: a picture of something else has no say.
        weight = 1 / (1 + (off / max(float(np.median(off)), np.radians(2.0))) ** 2)
        centre = meeting_point(positions, axes, weight)
    away = np.linalg.norm(centre - positions, axis=1)
    distance = float(np.median(away))
    sides = np.sort([(v.camera.width, v.camera.height) for v in views], axis=1)
    half = sides / 2 / np.array([v.focal_px for v in views])[:, None]
    reach, wide = distance * np.minimum(np.median(half, axis=0), WIDEST)
    turn = np.arccos(np.clip((axes @ axes.T).min(), -1, 1))
    off = _off_axis(centre, positions, axes)
    goes_round = bool(
        np.median(off) < CONVERGING and turn > ROUND and (off < np.pi / 2).mean() > AHEAD
    )
    is_thing = goes_round and _first_depth(views, points, centre) < BEYOND
    return Focus(centre, distance, float(reach), float(wide), is_thing)


def _off_axis(centre: Doubles, positions: Doubles, axes: Doubles) -> Doubles:
    """(N,) angle between each camera's axis and its way to the centre."""
    way = centre - positions
    ahead = (way * axes).sum(axis=1) / np.maximum(np.linalg.norm(way, axis=1), 1e-12)
    return np.arccos(np.clip(ahead, -1, 1))


def _first_depth(views: Sequence[View], points: Doubles, centre: Doubles) -> float:
    """How far what is in the middle of the pictures lies, in distances of the centre.

    About 1 for a thing; in a room whose cameras look across its middle, the walls lie beyond.
    0 without points, when nothing speaks against a thing.
    """
    found = []
    for view in views:
        where, depth = project(view.camera, points)
        expected = float(project(view.camera, centre[None])[1][0])
        size = np.array([view.camera.width, view.camera.height])
        off = np.abs(where - size / 2) / size
        shown = depth[(depth > 0) & (off < CENTRAL / 2).all(axis=1)]
        if len(shown) >= 8 and expected > 0:
            found.append(float(np.quantile(shown, FIRST_THINGS)) / expected)
    return float(np.median(found)) if len(found) >= 2 else 0.0


def ground_under(
    focus: Focus, points: Doubles, up: Doubles, seed: int
) -> tuple[Doubles, float] | None:
    """The plane that the subject stands on: a table's top rather than the floor below the table.

    Args:
        focus: Where the subject is.
        points: (N, 3) sparse points, better without those of the subject.
        up: (3,) rough up direction.
        seed: Of the random choice.

    Returns:
        Its unit normal and offset ``normal @ point``, or None where there is no clear one.
    """
    near = points[np.linalg.norm(points - focus.centre, axis=1) < NEAR * focus.reach]
    for some, share in ((near, NEAR_FLOOR), (points, None)):
        found = up_of_floor(some, up, seed) if share is None else up_of_floor(some, up, seed, share)
        if found is not None and found[0] @ focus.centre - found[1] > -0.3 * focus.reach:
            return found
    return None
