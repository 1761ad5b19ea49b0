"""Where the subject is: the upright box around it in which its surface is sought."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..errors import PictureError
from .contracts import Kind, Solved, SparsePoints, View
from .geometry import Frame, is_whole, meeting_point, positions_and_axes, project
from .upright import rotation_to_upright, up_of_cameras, up_of_floor

Floats = NDArray[np.float32]
Doubles = NDArray[np.float64]

CONVERGING = np.radians(14.0)  # median angle off the common point under which all look at one thing
ROUND = np.radians(35.0)  # angle between two cameras' axes from which they go around it
MARGIN = 1.12  # box over what was found inside it
COARSE = 40  # cells along the box when it is tightened to the silhouettes
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
        floor: y of the floor; None when there is no clear one or masks tell the subject.
        has_masks: Masks tell the subject from the rest in most views.
    """

    frame: Frame
    half: Floats
    kind: str
    views: tuple[View, ...]
    points: SparsePoints
    floor: float | None
    has_masks: bool


def find_region(views: Sequence[View], solved: Solved, kind: Kind, seed: int) -> Region:
    """Decide what the views look at and put an upright box around it.

    Raises:
        PictureError: When neither the cameras nor the points tell where the subject is.
    """
    has_masks = sum(view.mask is not None for view in views) >= MASKED * len(views)
    matrices = [view.camera.matrix for view in views]
    up = solved.up if solved.up is not None else up_of_cameras(matrices)
    points = solved.points.positions.astype(np.float64)
    floor = up_of_floor(points, up, seed)
    if floor is not None and solved.up is None:
        up = floor[0]
    positions, axes = positions_and_axes(views)
    # Look at the subject as the first picture does: it becomes the front.
    rotation = rotation_to_upright(up, axes[0])
    if solved.keeps_world:
        rotation = np.eye(3)
    is_object = kind == "object" or (kind == "auto" and (has_masks or _goes_round(positions, axes)))
    if is_object and has_masks:
        centre, half = _box_of_masks(views, rotation)
        floor = None
    elif is_object:
        centre, half = _box_of_focus(views, points, floor, rotation)
    else:
        centre, half = _box_of_points(points, rotation)
    scale = 1.0 / float(half.max())
    frame = Frame(rotation, centre, scale)
    level = None
    if floor is not None and is_object:
        on_floor = centre + floor[0] * (floor[1] - floor[0] @ centre)
        level = float(frame.points(on_floor[None])[0, 1])
    return Region(
        frame,
        (half * scale).astype(np.float32),
        "object" if is_object else "place",
        tuple(frame.view(view) for view in views),
        replace(solved.points, positions=frame.points(points).astype(np.float32)),
        level,
        is_object and has_masks,
    )


def _goes_round(positions: Doubles, axes: Doubles) -> bool:
    """Whether the cameras look at one common thing from clearly different sides."""
    centre = meeting_point(positions, axes)
    way = centre - positions
    distance = np.linalg.norm(way, axis=1)
    if float(distance.min()) < 1e-9:
        return False
    ahead = (way / distance[:, None] * axes).sum(axis=1)
    off = np.arccos(np.clip(ahead, -1, 1))
    turn = np.arccos(np.clip((axes @ axes.T).min(), -1, 1))
    return bool(np.median(off) < CONVERGING and turn > ROUND and (ahead > 0).mean() > 0.8)


def _box_of_masks(views: Sequence[View], rotation: Doubles) -> tuple[Doubles, Doubles]:
    """Centre in the source world and half sides along the upright axes, from silhouettes."""
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
        inside = _inside_masks(masked, centre, half, rotation)
        if not inside.any():
            break
        where = np.argwhere(inside)
        cell = 2 * half / COARSE
        low, high = where.min(axis=0) * cell - half, (where.max(axis=0) + 1) * cell - half
        centre = centre + rotation.T @ ((low + high) / 2)
        half = (high - low) / 2 + 0.5 * cell
    return centre, np.maximum(half * MARGIN, 0.02 * float(half.max()))


def _inside_masks(
    views: Sequence[View], centre: Doubles, half: Doubles, rotation: Doubles
) -> NDArray[np.bool_]:
    """(COARSE, COARSE, COARSE) cells that few silhouettes exclude."""
    steps = (np.arange(COARSE) + 0.5) / COARSE * 2 - 1
    grid = np.stack(np.meshgrid(*(steps * h for h in half), indexing="ij"), axis=-1)
    world = (grid.reshape(-1, 3) @ rotation + centre).astype(np.float32)
    excluded = np.zeros(len(world), np.int32)
    for view in views:
        assert view.mask is not None
        height, width = view.mask.shape
        where, depth = project(view.camera, world)
        column, row = np.floor(where).astype(np.int64).T
        seen = (depth > 1e-6) & (column >= 0) & (row >= 0) & (column < width) & (row < height)
        # A cell is larger than a pixel: it is excluded when no mask is near its middle.
        mask = _grown(view.mask > 0.5, view, float(half.max()) / COARSE, float(np.median(depth)))
        outside = ~seen & (depth > 1e-6) & is_whole(view.mask)
        outside[seen] = ~mask[row[seen], column[seen]]
        excluded += outside
    return (excluded <= 0.05 * len(views)).reshape(COARSE, COARSE, COARSE)


def _grown(
    mask: NDArray[np.bool_], view: View, radius: float, distance: float
) -> NDArray[np.bool_]:
    pixels = int(np.clip(radius / max(distance, 1e-9) * view.focal_px, 0, 60))
    if pixels == 0:
        return mask
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * pixels + 1, 2 * pixels + 1))
    return cv2.dilate(mask.astype(np.uint8), disc) > 0


def _box_of_focus(
    views: Sequence[View],
    points: Doubles,
    floor: tuple[Doubles, float] | None,
    rotation: Doubles,
) -> tuple[Doubles, Doubles]:
    """The box around what all cameras look at: points above the floor near their common focus."""
    positions, axes = positions_and_axes(views)
    centre = meeting_point(positions, axes)
    distance = float(np.median(np.linalg.norm(positions - centre, axis=1)))
    reach = distance * min(
        float(np.median([min(v.camera.width, v.camera.height) / 2 / v.focal_px for v in views])),
        0.8,
    )
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


def _box_of_points(points: Doubles, rotation: Doubles) -> tuple[Doubles, Doubles]:
    if len(points) < 30:
        raise PictureError(
            "It is not clear where the subject is: let the cameras look at one thing, give masks,"
            " or use cameras that come with points."
        )
    turned = points @ rotation.T
    low, high = np.percentile(turned, 1.5, axis=0), np.percentile(turned, 98.5, axis=0)
    half = (high - low) / 2 * MARGIN
    return rotation.T @ ((low + high) / 2), np.maximum(half, 0.05 * float(half.max()))
