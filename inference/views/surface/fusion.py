"""Silhouettes and depth maps of many views become one signed-distance grid.

Depth is fused as a truncated signed distance (Curless and Levoy 1996). Where no depth map reaches,
votes decide: a voxel is outside where views see through it and inside where they all see something in
front of it. Silhouettes cut away whatever lies outside of them (a visual hull).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...field.grid import GridField
from ..contracts import View
from ..depth.stereo import DepthMap
from ..geometry import is_whole, project

Floats = NDArray[np.float32]

SLAB = 400_000  # voxels worked on at once; bounds memory
TRUNCATION = 3.0  # cells on either side of a depth map within which it is averaged
LENIENT = 0.04  # share of the views that may wrongly exclude a voxel
MASK_SLACK = 0.6  # pixels that silhouettes are widened by: masks and cameras are never exact
JUMP = 1.1  # ratio of the depths of neighbouring pixels from which they are of two surfaces
SLOPE_WINDOW = 5  # pixels over which a surface's slope is averaged
CLEAR_VOTES = 3.0  # more for or against a sample do not make it clearer
SPREAD = 1 / 32  # of the grid's longest side: how far votes reach in a round
SPREAD_ROUNDS = 6
MOST_GRAZING = 0.1  # least share of the way along the view axis that a surface's distance is


@dataclass(frozen=True, slots=True)
class Grid:
    """Where the samples lie: ``origin + index * spacing``.

    Attributes:
        shape: Samples along each axis.
        origin: (3,) float32.
        spacing: Distance between samples.
    """

    shape: tuple[int, int, int]
    origin: Floats
    spacing: float

    @classmethod
    def over(cls, half: NDArray[np.floating], cells: int) -> Grid:
        """A grid over the box of these half sides around the origin, a free layer around it."""
        spacing = 2 * float(np.max(half)) / cells
        shape = tuple(int(np.ceil(2 * float(h) / spacing)) + 3 for h in half)
        origin = -0.5 * spacing * (np.array(shape) - 1)
        return cls((shape[0], shape[1], shape[2]), origin.astype(np.float32), spacing)

    def points(self, start: int, stop: int) -> Floats:
        """(n, 3) positions of samples by their flat index."""
        index = np.stack(np.unravel_index(np.arange(start, stop), self.shape), axis=1)
        return (self.origin + index * np.float32(self.spacing)).astype(np.float32)

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class Evidence:
    """What depth maps say about each sample of a grid, flat.

    Attributes:
        distance: (N,) float32 mean truncated signed distance in cells, outside positive; 0 where
            ``weight`` is.
        weight: (N,) float32 depth maps whose surface is near.
        through: (N,) uint8 views that see through it.
        behind: (N,) uint8 views that see something before it.
    """

    distance: Floats
    weight: Floats
    through: NDArray[np.uint8]
    behind: NDArray[np.uint8]


def hull(
    views: Sequence[View],
    grid: Grid,
    report: Callable[[float], None],
    lenient: float = LENIENT,
) -> Floats:
    """Signed distance to the visual hull, roughly, in cells; positive outside.

    Each silhouette's distance in pixels, times depth over focal length, bounds the distance to the
    surface; the largest over all views is the hull's. A few views may be wrong, so of many views
    the largest values are passed over.

    Args:
        views: Those with masks count.
        grid: Where to compute it.
        report: Called with the finished share; raises to cancel.
        lenient: Share of the views that may wrongly exclude a voxel.

    Returns:
        (N,) float32 in the order of the grid's flat index.
    """
    masked = [view for view in views if view.mask is not None]
    passed = int(lenient * len(masked)) + 1  # the value that counts is the passed-th largest
    outlines = [
        (view, _outline(view), float(sum(view.mask.shape)) if is_whole(view.mask) else -np.inf)
        for view in masked
        if view.mask is not None
    ]
    result = np.empty(grid.size, np.float32)
    for start in range(0, grid.size, SLAB):
        stop = min(start + SLAB, grid.size)
        points = grid.points(start, stop)
        largest = np.full((passed, stop - start), -np.inf, np.float32)
        for number, (view, outline, beyond) in enumerate(outlines):
            report((start + (stop - start) * number / len(outlines)) / grid.size)
            where, depth = project(view.camera, points)
            pixels = _look_up(outline, where, depth)
            pixels = np.where(np.isnan(pixels), np.float32(beyond), pixels)
            distance = pixels * np.maximum(depth, 0) / np.float32(view.focal_px * grid.spacing)
            distance[depth <= 1e-6] = -np.inf
            # Insert into the short sorted list of the largest values.
            for place in range(passed):
                larger = np.maximum(largest[place], distance)
                distance = np.minimum(largest[place], distance)
                largest[place] = larger
        result[start:stop] = largest[-1]
    return result


def _outline(view: View) -> Floats:
    """(H, W) pixels to the silhouette, positive outside; NaN where the picture does not tell."""
    assert view.mask is not None
    inside = (view.mask > 0.5).astype(np.uint8)
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    # Between the last pixel inside and the first outside the mask itself tells where the line is.
    result = np.where(inside > 0, 0.5 - inner, outer - 0.5).astype(np.float32)
    rim = (outer <= 1) & (inner <= 1)
    result[rim] = np.clip(0.5 - view.mask[rim], -0.5, 0.5)
    result -= np.float32(MASK_SLACK)
    if view.valid is not None:
        result[~view.valid] = np.nan
    return result


def _look_up(image: Floats, where: Floats, depth: Floats) -> Floats:
    """(n,) bilinear samples; NaN behind the camera and outside of the picture."""
    height, width = image.shape
    x, y = where[:, 0] - 0.5, where[:, 1] - 0.5
    seen = (depth > 1e-6) & (x >= 0) & (y >= 0) & (x <= width - 1) & (y <= height - 1)
    result = np.full(len(where), np.nan, np.float32)
    x, y = x[seen], y[seen]
    column = np.minimum(x.astype(np.int64), width - 2)
    row = np.minimum(y.astype(np.int64), height - 2)
    u, v = x - column, y - row
    flat = image.ravel()
    at = row * width + column
    upper = flat[at] * (1 - u) + flat[at + 1] * u
    lower = flat[at + width] * (1 - u) + flat[at + width + 1] * u
    result[seen] = upper * (1 - v) + lower * v
    return result


def integrate(maps: Sequence[DepthMap], grid: Grid, report: Callable[[float], None]) -> Evidence:
    """Collect what the depth maps say.

    Args:
        maps: In the frame of the grid.
        grid: Where.
        report: Called with the finished share; raises to cancel.
    """
    count = grid.size
    distance, weight = np.zeros(count, np.float32), np.zeros(count, np.float32)
    through, behind = np.zeros(count, np.uint8), np.zeros(count, np.uint8)
    facing = [facing_of(depth_map) for depth_map in maps]
    for start in range(0, count, SLAB):
        stop = min(start + SLAB, count)
        points = grid.points(start, stop)
        part = slice(start, stop)
        for number, depth_map in enumerate(maps):
            report((start + (stop - start) * number / len(maps)) / count)
            found, here, square = _depth_at(depth_map, facing[number], points)
            known = found > 0
            offset = (found - here) * square / np.float32(grid.spacing)
            near = known & (np.abs(offset) < TRUNCATION)
            distance[part] += np.where(near, offset, 0)
            weight[part] += near
            # 255 votes are as good as more.
            far = known & (offset >= TRUNCATION) & (through[part] < 255)
            through[part] += far.astype(np.uint8)
            hidden = known & (offset <= -TRUNCATION) & (behind[part] < 255)
            behind[part] += hidden.astype(np.uint8)
    distance = np.where(weight > 0, distance / np.maximum(weight, 1), 0)
    return Evidence(distance.astype(np.float32), weight, through, behind)


def facing_of(depth_map: DepthMap) -> Floats:
    """(h, w) how far a surface is from a point, as a share of how far along the view axis.

    One where the surface is square to the axis, and little where it is seen at a grazing angle, as
    ground ahead is. One over depth is linear across the picture of a plane: with gradient (a, b) per
    pixel and c at the picture's middle, (a f, b f, c) is the plane's normal over its distance, for a
    focal length of f pixels.
    """
    depth, camera = depth_map.depth, depth_map.camera
    height, width = depth.shape
    focal = np.float32(camera.width / 2 / np.tan(camera.fov_x / 2))
    inverse = np.where(depth > 0, 1 / np.maximum(depth, 1e-9), 0).astype(np.float32)
    x = np.arange(width, dtype=np.float32) + np.float32(0.5 - width / 2)
    y = np.arange(height, dtype=np.float32)[:, None] + np.float32(0.5 - height / 2)
    a, b = _slope(inverse), _slope(inverse.T).T
    normal = np.sqrt((a * focal) ** 2 + (b * focal) ** 2 + (inverse - a * x - b * y) ** 2)
    return np.clip(inverse / np.maximum(normal, 1e-12), MOST_GRAZING, 1.0).astype(np.float32)


def _slope(inverse: Floats) -> Floats:
    """(h, w) mean step per pixel along rows of one over depth, without jumps and unknown pixels."""
    before, after = inverse[:, :-1], inverse[:, 1:]
    low, high = np.minimum(before, after), np.maximum(before, after)
    even = np.pad(((low > 0) & (high < JUMP * low)).astype(np.float32), ((0, 0), (0, 1)))
    step = np.pad(after - before, ((0, 0), (0, 1))) * even
    window = (SLOPE_WINDOW, SLOPE_WINDOW)
    border = cv2.BORDER_CONSTANT
    total = np.asarray(cv2.blur(step, window, borderType=border), np.float32)
    count = np.asarray(cv2.blur(even, window, borderType=border), np.float32)
    return np.where(count > 1e-6, total / np.maximum(count, 1e-6), 0).astype(np.float32)


def _depth_at(depth_map: DepthMap, facing: Floats, points: Floats) -> tuple[Floats, Floats, Floats]:
    """Depth that the map shows in the direction of each point (0 unknown), the point's own, facing.

    Between pixels depth is interpolated, except across jumps and holes, where the nearest counts.
    """
    where, here = project(depth_map.camera, points)
    image = depth_map.depth
    height, width = image.shape
    x, y = where[:, 0] - 0.5, where[:, 1] - 0.5
    seen = (here > 1e-6) & (x >= -0.5) & (y >= -0.5) & (x < width - 0.5) & (y < height - 0.5)
    found, square = np.zeros((2, len(points)), np.float32)
    x, y = np.clip(x[seen], 0, width - 1.001), np.clip(y[seen], 0, height - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    u, v = (x - column).astype(np.float32), (y - row).astype(np.float32)
    flat = image.ravel()
    at = row * width + column
    corners = np.stack([flat[at], flat[at + 1], flat[at + width], flat[at + width + 1]])
    low, high = corners.min(axis=0), corners.max(axis=0)
    upper = corners[0] * (1 - u) + corners[1] * u
    lower = corners[2] * (1 - u) + corners[3] * u
    smooth = upper * (1 - v) + lower * v
    nearest = at + (v > 0.5) * width + (u > 0.5)
    found[seen] = np.where((low > 0) & (high < JUMP * low), smooth, flat[nearest])
    square[seen] = facing.ravel()[nearest]
    return found, here, square


def fuse(
    grid: Grid,
    evidence: Evidence,
    outside: Floats | None,
    floor: float | None,
    *,
    is_object: bool,
) -> GridField:
    """Decide every sample.

    Args:
        grid: Where.
        evidence: Of the depth maps.
        outside: The hull's signed distance in cells; None without silhouettes.
        floor: y of the floor, under which an object ends; None without.
        is_object: Fill what no view reaches; a place stays open there.

    Returns:
        Distances, cut off at ``TRUNCATION`` cells.
    """
    value = np.where(evidence.weight > 0, evidence.distance, 0).astype(np.float32)
    value = np.clip(value, -TRUNCATION, TRUNCATION)
    unknown = evidence.weight <= 0
    through = evidence.through.astype(np.float32)
    behind = evidence.behind.astype(np.float32)
    if outside is not None:
        # Inside all silhouettes, and nobody looks through: it is filled until shown otherwise.
        votes = np.clip(through - 1.5 - 0.34 * behind, -CLEAR_VOTES, CLEAR_VOTES)
        votes = np.where(unknown, votes, np.clip(evidence.distance, -1, 1)).astype(np.float32)
        votes = _spread(votes.reshape(grid.shape), (outside < 1).reshape(grid.shape), unknown)
        value[unknown] = np.clip(TRUNCATION * votes, -TRUNCATION, TRUNCATION)[unknown]
    else:
        value[unknown] = np.where(behind > 1 + 2 * through, -TRUNCATION, TRUNCATION)[unknown]
    # One or two maps against many that see through are mistakes of those maps.
    few = ~unknown & (through > 3 * (evidence.weight + behind) + 2)
    value[few] = TRUNCATION
    cube = _smoothed(value.reshape(grid.shape))
    # The hull and the ground are smooth already, and smoothing them along would take away what is
    # thin: handles, plates, and the edges of feet.
    if outside is not None:
        cut = np.clip(outside, -TRUNCATION, TRUNCATION)
        cube = np.maximum(cube, cut.reshape(grid.shape).astype(np.float32))
    if is_object and floor is not None:
        # The cut is a little above the floor, so that the floor itself does not come along; where
        # silhouettes leave it out, the cut only ends what no picture sees from below.
        lift = 1.5 if outside is None else 0.0
        y = grid.origin[1] + np.arange(grid.shape[1], dtype=np.float32) * np.float32(grid.spacing)
        above = (y - np.float32(floor)) / np.float32(grid.spacing) + lift
        cube = np.maximum(cube, np.clip(above, -TRUNCATION, TRUNCATION)[None, :, None])
    rim = np.ones(grid.shape, bool)
    rim[1:-1, 1:-1, 1:-1] = False
    cube[rim] = np.maximum(cube[rim], 0.5)
    spacing = np.float32(grid.spacing)
    return GridField((cube * spacing).astype(np.float32), grid.origin, grid.spacing)


def _spread(votes: Floats, inside: NDArray[np.bool_], unknown: NDArray[np.bool_]) -> Floats:
    """(N,) votes of unknown samples as those around them see it, too.

    A few depth maps see through a hollow here and there; taken by themselves they would leave a
    cave of rags. Averaged again and again over the outlines' inside, the votes leave a smooth
    border between what is free and what is filled. What was measured counts, but does not change.
    """
    radius = max(1, round(SPREAD * max(votes.shape)))
    weight = inside.astype(np.float32)
    total = np.maximum(_box_mean(weight, radius), np.float32(1e-6))
    changes = inside & unknown.reshape(votes.shape)
    for _ in range(SPREAD_ROUNDS):
        votes = np.where(changes, _box_mean(votes * weight, radius) / total, votes)
    return votes.ravel()


def _box_mean(cube: Floats, radius: int) -> Floats:
    """Mean over a box of ``2 * radius + 1`` samples along each axis; 0 beyond the grid."""
    for axis in range(3):
        lines = np.moveaxis(cube, axis, 0)
        flat = np.ascontiguousarray(lines.reshape(len(lines), -1))
        mean = cv2.blur(flat, (1, 2 * radius + 1), borderType=cv2.BORDER_CONSTANT)
        cube = np.moveaxis(np.asarray(mean, np.float32).reshape(lines.shape), 0, axis)
    return cube


def _smoothed(cube: Floats) -> Floats:
    """A light blur along each axis: the votes' steps become slopes."""
    kernel = np.array([0.25, 0.5, 0.25], np.float32)
    for axis in range(3):
        padded = np.pad(cube, [(1, 1) if a == axis else (0, 0) for a in range(3)], mode="edge")
        parts = [padded.take(range(s, s + cube.shape[axis]), axis) for s in range(3)]
        cube = kernel[0] * parts[0] + kernel[1] * parts[1] + kernel[2] * parts[2]
    return cube
