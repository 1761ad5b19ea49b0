"""A depth map becomes a mesh: one vertex for each grid point, cut where depth jumps."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside
from ..image import blur
from ..stopping import chance_to_stop
from .hidden import Jumps, depth_behind, jumps_of
from .topology import connected_components

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

STEEPEST = 0.09  # cosine between face and ray under which a face may bridge a gap
LARGEST_STEP = 1.08  # depth ratio across a cell up to which even a steep face is a real slope
UNBENT = 0.02  # share of the variance that a real floor may deviate from a plane
DISTINCT = 12.0  # CIELAB distance of two sides from which colour begins to tell them apart
PLATEAU = 0.5  # share of half a jump from which depth belongs to neither side
STAIR, STAIR_ROUNDS = 6, 4  # grid points around jumps in a row; how often they are looked for
SMALLEST_PART = 30  # faces under which a loose part is dust


def sharpen_jumps(
    depth: Floats, reach: int, ratio: float = 1.3, colours: Floats | None = None
) -> Floats:
    """Turn the ramps of blurred depth edges into steps.

    A network's depth edge is a ramp of some pixels; unprojected, the ramp is a streamer between
    foreground and background. Pixels on a ramp take the depth of the nearest pixel beside the ramp
    on the side that they belong to: the side whose colours theirs are like, where the two sides differ
    in colour, else the side of the ramp's middle.

    Args:
        depth: (H, W), > 0.
        reach: Half width of the ramps in pixels.
        ratio: Span of a ramp from which it is an edge and not a slope.
        colours: (H, W, 3) CIELAB.
    """
    log = np.log(depth)
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    low, high = cv2.erode(log, window), cv2.dilate(log, window)
    chance_to_stop()
    is_edge = (high - low > np.log(ratio)) & ~_is_plane(np.exp(-log), reach)
    steep = _span(log, 1) > np.log(ratio) / reach  # as if the ratio were reached in the window
    is_ramp = is_edge & steep
    middle = (low + high) / 2
    nearer = (middle - log) / np.maximum(high - middle, 1e-6)  # -1 is far, 1 is near
    nearer = nearer.astype(np.float32)
    if colours is not None and is_ramp.any():
        beside = max(1, reach // 3)  # the picture's edge may lie beside the ramp
        grown = np.ones((2 * beside + 1, 2 * beside + 1), np.uint8)
        is_ramp = cv2.dilate((is_ramp | (np.abs(nearer) < PLATEAU)).astype(np.uint8), grown) > 0
        is_ramp &= is_edge
        alike = _nearer_by_colour(colours, nearer, is_ramp, reach)
        nearer = np.where(is_ramp, nearer + alike, nearer)
    size = max(5, 2 * (reach // 3) + 1)
    is_near = cv2.medianBlur((nearer > 0).astype(np.uint8), size) > 0
    sides = (is_edge & is_near, is_edge & ~is_near)
    return np.exp(_snapped(log, is_ramp, sides, 1.6 * reach))


def _snapped(
    log: Floats,
    is_ramp: NDArray[np.bool_],
    sides: tuple[NDArray[np.bool_], NDArray[np.bool_]],
    reach: float,
) -> Floats:
    """Give the pixels of ramps the depth beside them on their own side, if it is within ``reach``."""
    result = log.copy()
    for side in sides:
        sure = side & ~is_ramp
        chosen = side & is_ramp
        if sure.any() and chosen.any():
            nearest = nearest_inside(sure)
            row, column = np.nonzero(chosen)
            y, x = np.divmod(nearest[chosen], log.shape[1])
            close = np.hypot(row - y, column - x) <= reach
            chosen[row[~close], column[~close]] = False
            result[chosen] = log.ravel()[nearest[chosen]]
            # The nearest alone would leave streaks across the edge.
            weight = (sure | chosen).astype(np.float32)
            soft = blur(result * weight, reach / 5) / np.maximum(blur(weight, reach / 5), 1e-6)
            result[chosen] = soft[chosen]
    return result


def _nearer_by_colour(
    colours: Floats, nearer: Floats, is_ramp: NDArray[np.bool_], reach: int
) -> Floats:
    """(H, W) from about -2 (coloured like the far side of its edge) to 2 (like the near side)."""
    distance = []
    means = []
    for sign in (1, -1):
        weight = ((sign * nearer > 0.5) & ~is_ramp).astype(np.float32)
        share = blur(weight, reach)
        mean = blur(colours * weight[..., None], reach) / np.maximum(share, 1e-4)[..., None]
        means.append(mean)
        distance.append(np.linalg.norm(colours - mean, axis=-1) + np.where(share > 1e-3, 0, 1e3))
    contrast = np.linalg.norm(means[0] - means[1], axis=-1)
    likeness = (distance[1] - distance[0]) / np.maximum(contrast, 1)
    return (2 * np.clip(likeness, -1, 1) * np.clip(contrast / DISTINCT - 1, 0, 1)).astype(
        np.float32
    )


def _span(values: Floats, reach: int) -> Floats:
    """Largest minus smallest value within ``reach`` pixels."""
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    return cv2.dilate(values, window) - cv2.erode(values, window)


def _is_plane(nearness: Floats, reach: int) -> NDArray[np.bool_]:
    """Where inverse depth is a straight slope (a floor), however steep, within ``reach`` pixels.

    Compares what a fitted plane leaves unexplained with the whole variance.
    """
    window = (2 * reach + 1, 2 * reach + 1)

    def mean(values: NDArray[np.float64]) -> NDArray[np.float64]:
        chance_to_stop()
        return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT), np.float64)

    values = nearness.astype(np.float64)
    total = mean(values * values) - mean(values) ** 2
    left = total.copy()
    for axis in np.indices(values.shape).astype(np.float64):
        spread = np.maximum(mean(axis * axis) - mean(axis) ** 2, 1e-9)
        left -= (mean(axis * values) - mean(axis) * mean(values)) ** 2 / spread
    return left < UNBENT * total


@dataclass(frozen=True, slots=True)
class CutRelief:
    """A relief without faces that bridge a depth jump.

    Attributes:
        vertices: (V, 3) in the camera frame.
        quads: (F, 4), counter-clockwise seen from the camera.
        shown: (F, 4) flat grid index of the pixel that each corner shows. Where a jump is cut, it is that
            of the background's edge, so that no colour of the foreground stays behind.
        is_behind: (F,) quads of the sheet that the foreground hides.
        depth: (H, W) of the grid, as it was cut.
        behind: (H, W) depth of the hidden sheet, 0 where there is none.
        jumps: Where it was cut.
    """

    vertices: Floats
    quads: Ints
    shown: Ints
    is_behind: NDArray[np.bool_]
    depth: Floats
    behind: Floats
    jumps: Jumps


def smoothed(depth: Floats, rounds: int, step: float = LARGEST_STEP) -> Floats:
    """Calm a depth map's slopes and leave its jumps.

    Args:
        depth: (H, W), > 0.
        rounds: How often each depth moves to the mean of its neighbours; 0 changes nothing.
        step: Ratio of neighbouring depths from which they are not mixed.
    """
    log, limit = np.log(depth), np.float32(np.log(step))
    for _ in range(rounds):
        total, count = log.copy(), np.ones_like(log)
        for axis in (0, 1):
            first, second = (np.s_[:-1], np.s_[1:]) if axis == 0 else (np.s_[:, :-1], np.s_[:, 1:])
            is_near = (np.abs(log[second] - log[first]) < limit).astype(np.float32)
            total[first] += is_near * log[second]
            total[second] += is_near * log[first]
            count[first] += is_near
            count[second] += is_near
        log = total / count
    return np.exp(log) if rounds else depth


def cut_relief(points: Floats, reach: int = 1, step: float = LARGEST_STEP) -> CutRelief:
    """Mesh a grid of points, cut where depth jumps; dust is left out.

    A cut cell is not left out, which would show as a crack: it is given to the background, which goes
    on under the foreground for at most ``reach`` cells (``hidden.depth_behind``).

    Args:
        points: (H, W, 3) in the camera frame, row 0 on top.
        reach: At least 1.
        step: Ratio of depths across a cell from which a steep one is cut.
    """
    height, width = points.shape[:2]
    points, is_cut, is_near, jumps = _without_stairs(points, step)
    flat, quads = points.reshape(-1, 3), grid_quads(height, width)
    depth = points[..., 2]
    behind = depth_behind(depth, jumps, reach) if reach > 1 else np.zeros_like(depth)
    across = _depth_across(depth, quads[is_cut], is_near[is_cut])
    behind = np.where(behind > 0, behind, across)

    copied = np.flatnonzero(behind)
    copy_of = np.full(len(flat), -1, np.int32)
    copy_of[copied] = len(flat) + np.arange(len(copied), dtype=np.int32)
    has_copy = copy_of[quads] >= 0
    bridges = is_cut[:, None] & is_near
    under = quads[~is_cut & has_copy.all(axis=1)]
    is_behind = np.arange(len(quads) + len(under)) >= len(quads)
    a_far = np.take_along_axis(quads, (~is_near).argmax(axis=1)[:, None], axis=1)
    shown = np.concatenate([np.where(bridges, a_far, quads), under])
    quads = np.concatenate([np.where(bridges, copy_of[quads], quads), copy_of[under]])
    copies = flat[copied] * (behind.ravel()[copied] / flat[copied, 2])[:, None]
    vertices = np.concatenate([flat, copies])

    chance_to_stop()
    pairs = np.concatenate([quads[:, [0, i]] for i in (1, 2, 3)])
    part = connected_components(pairs, len(vertices))[quads[:, 0]]
    count = np.bincount(part)
    kept = ((count >= SMALLEST_PART) | (count == count.max()))[part]
    chance_to_stop()
    used, corners = np.unique(quads[kept], return_inverse=True)
    return CutRelief(
        vertices[used],
        corners.reshape(-1, 4).astype(np.int32),
        shown[kept].astype(np.int32),
        is_behind[kept],
        depth,
        behind,
        jumps,
    )


def _without_stairs(
    points: Floats, step: float
) -> tuple[Floats, NDArray[np.bool_], NDArray[np.bool_], Jumps]:
    """Make one jump of several in a row, between which the relief would be torn into strips.

    Returns:
        The points, moved along their rays; for each cell whether it is cut and which of its corners
        are near; and the jumps.
    """
    height, width = points.shape[:2]
    quads = grid_quads(height, width)
    cells = (height - 1, width - 1)
    window = np.ones((2 * STAIR + 1, 2 * STAIR + 1), np.uint8)
    rounds = 0
    while True:
        chance_to_stop()
        is_cut, is_near = split_jumps(points.reshape(-1, 3)[quads], step)
        jumps = jumps_of(is_cut.reshape(cells), is_near.reshape(*cells, 4))
        stairs = jumps.near & jumps.far
        if rounds == STAIR_ROUNDS or not stairs.any():
            return points, is_cut, is_near, jumps
        rounds += 1
        log = np.log(points[..., 2])
        low, high = cv2.erode(log, window), cv2.dilate(log, window)
        is_edge, is_low = high - low > np.log(step), log < (low + high) / 2
        around = cv2.dilate(stairs.astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
        moved = np.exp(_snapped(log, around, (is_edge & is_low, is_edge & ~is_low), STAIR))
        points = points * (moved / points[..., 2])[..., None]


def _depth_across(depth: Floats, cut: Ints, is_near: NDArray[np.bool_]) -> Floats:
    """(H, W) for vertices on the near side of a jump the depth on its far side, else 0."""
    corners = depth.ravel()[cut]
    far = np.where(is_near, 0, corners).sum(axis=1) / np.maximum((~is_near).sum(axis=1), 1)
    result = np.zeros(depth.size, np.float32)
    np.maximum.at(result, cut[is_near], np.broadcast_to(far[:, None], cut.shape)[is_near])
    return result.reshape(depth.shape)


def split_jumps(
    corner: Floats, step: float = LARGEST_STEP
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the faces that span from a foreground to what lies behind it.

    Args:
        corner: (F, 4, 3) in the camera frame.
        step: Ratio of its depths from which a steep face bridges.

    Returns:
        (F,) whether a face bridges a depth jump, and (F, 4) which corners are on its near side.
    """
    chance_to_stop()
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    middle = corner.mean(axis=1)
    chance_to_stop()
    cosine = -(normal * middle).sum(1)
    cosine /= np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(middle, axis=1), 1e-20)
    depth = corner[..., 2]
    near, far = depth.min(axis=1), depth.max(axis=1)
    return (cosine < STEEPEST) & (far > step * near), depth < np.sqrt(near * far)[:, None]


def grid_quads(height: int, width: int) -> Ints:
    """(F, 4) all cells of a grid, counter-clockwise seen from the camera (y down)."""
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    cells = [index[:-1, :-1], index[1:, :-1], index[1:, 1:], index[:-1, 1:]]
    return np.stack([c.ravel() for c in cells], axis=1)


def border_ring(height: int, width: int) -> Ints:
    """Vertices around a grid, starting at the upper left corner and running down first."""
    index = np.arange(height * width, dtype=np.int32).reshape(height, width)
    return np.concatenate(
        [index[:-1, 0], index[-1, :-1], index[:0:-1, -1], index[0, :0:-1]]
    ).astype(np.int32)
