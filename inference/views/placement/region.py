"""Where the subject is: the upright box around it in which its surface is sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import PictureError
from ..cameras.mirrors import Mirror
from ..cameras.reflections import in_frame
from ..contracts import Kind, Solved, SparsePoints, View
from ..geometry import (
    Frame,
    ahead,
    is_whole,
    meeting_point,
    pixels_across,
    pixels_at,
    positions_and_axes,
)
from .focus import Focus, find_focus, ground_under
from .level import level_of_ground
from .upright import rotation_to_upright, up_of_cameras, up_of_floor

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

MARGIN = 1.12  # box over what was found inside it
EDGE = 0.07  # of a place's longest side: what is left free on every side at least
COARSE = 40  # cells along the box when it is tightened to the silhouettes
FAR = 4.0  # median distances from the nearest camera from which a place's points are left outside
PLACE_FLOOR = 0.06  # share of a place's points that lie on its floor: walls have most of them
WRONG = 0.05  # share of the silhouettes that may leave out what is the subject's
WRONG_GUESSES = 0.15  # the same of silhouettes that were found, not given
MASKED = 0.7  # share of views with a mask from which the subject is what the masks show


@dataclass(frozen=True, slots=True)
class Region:
    """The box, in a frame of its own: upright (-y is up), the origin in its middle.

    Attributes:
        frame: From the source world; the box's longest side is 2 long.
        half: (3,) half the box's sides.
        kind: "object" or "place".
        views: The views with their cameras in this frame.
        points: The sparse points in this frame.
        floor: y of the ground that an object stands on; None when there is no clear one.
        has_masks: Masks tell the subject from the rest in most views.
        is_guessed: Those masks were not given but found, and some may be wrong in places.
        mirrors: In this frame.
    """

    frame: Frame
    half: Floats
    kind: str
    views: tuple[View, ...]
    points: SparsePoints
    floor: float | None
    has_masks: bool
    is_guessed: bool = False
    mirrors: tuple[Mirror, ...] = ()


@dataclass(frozen=True, slots=True)
class Setting:
    """What can be told before the subject itself is looked for.

    Attributes:
        is_object: The views are of one thing.
        has_masks: Masks tell the subject from the rest in most views.
        focus: What the cameras look at.
        floor: Unit normal and offset of the ground in the source world; None without a clear one.
        rotation: (3, 3) from the source world to upright axes.
    """

    is_object: bool
    has_masks: bool
    focus: Focus
    floor: tuple[Doubles, float] | None
    rotation: Doubles

    def frame(self, centre: Doubles, half: float) -> Frame:
        """The upright frame in which a cube of this half side is 2 long."""
        return Frame(self.rotation, centre, 1.0 / half)

    def level(self, frame: Frame) -> float | None:
        """Height of the ground in an upright frame, along y, which points down."""
        if self.floor is None:
            return None
        normal, offset = self.floor
        on_floor = frame.centre + normal * (offset - normal @ frame.centre)
        return float(frame.points(on_floor[None])[0, 1])


def find_setting(views: Sequence[View], solved: Solved, kind: Kind, seed: int) -> Setting:
    """Tell a thing from a place, and find what is up."""
    has_masks = sum(view.mask is not None for view in views) >= MASKED * len(views)
    up = solved.up
    if up is None:
        up = up_of_cameras([view.camera.matrix for view in views])
    points = solved.points.positions.astype(np.float64)
    focus = find_focus(views, points)
    is_object = kind == "object" or (kind == "auto" and (has_masks or focus.is_thing))
    if is_object:
        ground = _outside_masks(views, points) if has_masks else points
        floor = ground_under(focus, ground, up, seed)
    else:
        floor = up_of_floor(points, up, seed, PLACE_FLOOR)
    if floor is not None and solved.up is None:
        up = floor[0]
    # Look at the subject as the first picture does, unless another one is named: that is the front.
    ahead = positions_and_axes(views)[1][0] if solved.ahead is None else solved.ahead
    rotation = rotation_to_upright(up, ahead)
    if solved.keeps_world:
        rotation = np.eye(3)
    elif not is_object:
        rotation = _along_walls(views, points, rotation)
    return Setting(is_object, has_masks, focus, floor, rotation)


def find_region(views: Sequence[View], solved: Solved, kind: Kind, seed: int) -> Region:
    """Decide what the views look at and put an upright box around it.

    Raises:
        PictureError: When neither the cameras nor the points tell where the subject is.
    """
    return region_of(views, solved, find_setting(views, solved, kind, seed))


def region_of(views: Sequence[View], solved: Solved, setting: Setting) -> Region:
    """Put an upright box around the subject of a known setting; as ``find_region``."""
    is_object, rotation = setting.is_object, setting.rotation
    has_masks = sum(view.mask is not None for view in views) >= MASKED * len(views)
    points = solved.points.positions.astype(np.float64)
    floor = setting.floor if is_object else None
    if is_object and has_masks:
        wrong = WRONG if setting.has_masks else WRONG_GUESSES
        centre, half = _box_of_masks(views, rotation, wrong)
        floor = floor if _stands_on(floor, centre, half, rotation) else None
    elif is_object:
        centre, half = _box_of_focus(setting.focus, points, floor, rotation)
    else:
        centre, half = _box_of_points(views, points, rotation)
    frame = setting.frame(centre, float(half.max()))
    framed = tuple(frame.view(view) for view in views)
    level = None if floor is None else setting.level(frame)
    if is_object and has_masks and setting.floor is None:
        level = level_of_ground(framed, half * frame.scale)
    return Region(
        frame,
        (half * frame.scale).astype(np.float32),
        "object" if is_object else "place",
        framed,
        replace(solved.points, positions=frame.points(points).astype(np.float32)),
        level,
        is_object and has_masks,
        is_object and has_masks and not setting.has_masks,
        tuple(in_frame(mirror, frame) for mirror in solved.mirrors),
    )


def _outside_masks(views: Sequence[View], points: Doubles) -> Doubles:
    """Points that masks do not take for the subject."""
    outside, seen = np.zeros(len(points)), np.zeros(len(points))
    for view in views:
        if view.mask is None:
            continue
        row, column, shown, _ = pixels_at(view.camera, points, view.mask.shape)
        seen += shown
        outside[shown] += view.mask[row[shown], column[shown]] < 0.3
    return points[outside > 0.5 * np.maximum(seen, 1)]


def _stands_on(
    floor: tuple[Doubles, float] | None, centre: Doubles, half: Doubles, rotation: Doubles
) -> bool:
    """Whether a plane passes under the subject: through the lower part of its box or just below."""
    if floor is None:
        return False
    level = float((rotation @ floor[0])[1] * (floor[1] - floor[0] @ centre))  # y points down
    return -0.1 * half[1] < level < 1.5 * half[1]


def _box_of_masks(
    views: Sequence[View], rotation: Doubles, wrong: float
) -> tuple[Doubles, Doubles]:
    """Centre in the source world and half sides along the upright axes, from silhouettes.

    ``wrong`` is the share of them that may leave out a spot of the subject.
    """
    masked = [v for v in views if v.mask is not None and (v.mask > 0.5).any()]
    if len(masked) < 2:
        raise PictureError("The cut-outs are empty: check the masks, or set Masks to None.")
    origins, directions, reach = [], [], []
    for view in masked:
        assert view.mask is not None
        rows, columns = np.nonzero(view.mask > 0.5)
        where = np.array([columns.mean() + 0.5, rows.mean() + 0.5])
        ray = np.array([*(where - [view.camera.width / 2, view.camera.height / 2]), view.focal_px])
        ray /= view.focal_px
        far = np.hypot(columns + 0.5 - where[0], rows + 0.5 - where[1]).max() / view.focal_px
        reach.append(float(far))
        directions.append(view.camera.matrix[:3, :3] @ (ray / np.linalg.norm(ray)))
        origins.append(view.camera.matrix[:3, 3])
    centre = meeting_point(np.array(origins), np.array(directions))
    away = np.linalg.norm(np.array(origins) - centre, axis=1)
    half = np.full(3, 1.3 * float((np.array(reach) * away).max()))
    for _ in range(2):  # the second time the cells are smaller, and the box tighter
        inside = _inside_masks(masked, centre, half, rotation, wrong)
        if not inside.any():
            break
        where = np.argwhere(inside)
        cell = 2 * half / COARSE
        low, high = where.min(axis=0) * cell - half, (where.max(axis=0) + 1) * cell - half
        centre = centre + rotation.T @ ((low + high) / 2)
        half = (high - low) / 2 + 0.5 * cell
    return centre, np.maximum(half * MARGIN, 0.02 * float(half.max()))


def _inside_masks(
    views: Sequence[View], centre: Doubles, half: Doubles, rotation: Doubles, wrong: float
) -> NDArray[np.bool_]:
    """(COARSE, COARSE, COARSE) cells that few silhouettes exclude."""
    steps = (np.arange(COARSE) + 0.5) / COARSE * 2 - 1
    grid = np.stack(np.meshgrid(*(steps * h for h in half), indexing="ij"), axis=-1)
    world = (grid.reshape(-1, 3) @ rotation + centre).astype(np.float32)
    excluded = np.zeros(len(world), np.int32)
    for view in views:
        assert view.mask is not None
        row, column, seen, depth = pixels_at(view.camera, world, view.mask.shape)
        # A cell is larger than a pixel: it is excluded when no mask is near its middle.
        reach = pixels_across(float(half.max()) / COARSE, view.camera, depth, view.mask.shape[1])
        mask = _grown(view.mask > 0.5, reach)
        outside = ~seen & ahead(depth) & is_whole(view.mask)
        outside[seen] = ~mask[row[seen], column[seen]]
        excluded += outside
    return (excluded <= wrong * len(views)).reshape(COARSE, COARSE, COARSE)


def _grown(mask: NDArray[np.bool_], pixels: int) -> NDArray[np.bool_]:
    if pixels == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _box_of_focus(
    focus: Focus,
    points: Doubles,
    floor: tuple[Doubles, float] | None,
    rotation: Doubles,
) -> tuple[Doubles, Doubles]:
    """The box around what all cameras look at: points above the floor near their common focus."""
    centre, reach = focus.centre, focus.reach
    near = points[np.linalg.norm(points - centre, axis=1) < 1.2 * reach]
    if floor is not None:
        above = near @ floor[0] - floor[1]
        near = near[above > 0.03 * reach]
    if len(near) < 30:  # nothing but the cameras tells how large the subject is
        return centre, np.full(3, reach)
    # The subject is where points are dense; whatever stands far behind it is not.
    middle = np.median(near, axis=0)
    away = np.linalg.norm(near - middle, axis=1)
    near = near[away < 3.5 * np.median(away)] @ rotation.T
    low, high = np.percentile(near, 1, axis=0), np.percentile(near, 99, axis=0)
    if floor is not None:  # down to the floor, where the subject stands
        ground = float((rotation @ (floor[0] * floor[1]))[1])
        high[1] = max(high[1], ground) if abs(ground - high[1]) < reach else high[1]
    half = (high - low) / 2 * MARGIN + 0.04 * float((high - low).max())
    return rotation.T @ ((low + high) / 2), half


def _box_of_points(
    views: Sequence[View], points: Doubles, rotation: Doubles
) -> tuple[Doubles, Doubles]:
    if len(points) < 30:
        raise PictureError(
            "It is not clear where the subject is: let the cameras look at one thing, give masks,"
            " or use cameras that come with points."
        )
    turned = _nearby(views, points) @ rotation.T
    low, high = np.percentile(turned, 1.0, axis=0), np.percentile(turned, 99.0, axis=0)
    half = (high - low) / 2 * MARGIN
    # A street is flat: a share of its height would leave no room for cells below its ground.
    return rotation.T @ ((low + high) / 2), half + EDGE * float(half.max())


def _nearby(views: Sequence[View], points: Doubles) -> Doubles:
    """Points without those far beyond the rest: through a window they would make all else coarse."""
    away = np.full(len(points), np.inf)
    for position in positions_and_axes(views)[0]:
        away = np.minimum(away, np.linalg.norm(points - position, axis=1))
    return points[away < FAR * float(np.median(away))]


def _along_walls(views: Sequence[View], points: Doubles, rotation: Doubles) -> Doubles:
    """Turn upright axes about the vertical, by 45 degrees at most, until the box is smallest.

    A street's or a room's box then has walls for sides, and its cells are where the place is.
    """
    if len(points) < 30:
        return rotation
    plan = _nearby(views, points)
    plan = plan[:: max(1, len(plan) // 4000)] @ rotation.T[:, [0, 2]]
    turns = np.radians(np.arange(-44, 46))
    areas = []
    for turn in turns:
        across = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        low, high = np.percentile(plan @ across, [1.0, 99.0], axis=0)
        areas.append(float(np.prod(high - low)))
    c, s = (f(turns[int(np.argmin(areas))]) for f in (np.cos, np.sin))
    return np.array([[c, 0, -s], [0, 1, 0], [s, 0, c]]) @ rotation
