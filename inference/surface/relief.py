"""A depth map becomes a mesh: one vertex for each grid point, cut where depth jumps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from ..field.two_sided import nearest_inside
from .topology import connected_components

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

STEEPEST = 0.09  # cosine between face and ray under which a face may bridge a gap
LARGEST_STEP = 1.08  # depth ratio across a cell up to which even a steep face is a real slope
UNBENT = 0.02  # share of the variance that a real floor may deviate from a plane
SMALLEST_PART = 30  # faces under which a loose part is dust


def sharpen_jumps(depth: Floats, reach: int, ratio: float = 1.3) -> Floats:
    """Turn the ramps of blurred depth edges into steps.

    A network's depth edge is a ramp of some pixels; unprojected, the ramp is a streamer between
    foreground and background. Pixels on a ramp take the depth of the nearest pixel beside the ramp
    that is on the same side of its middle.

    Args:
        depth: (H, W), > 0.
        reach: Half width of the ramps in pixels.
        ratio: Span of a ramp from which it is an edge and not a slope.
    """
    log = np.log(depth)
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    low, high = cv2.erode(log, window), cv2.dilate(log, window)
    is_edge = (high - low > np.log(ratio)) & ~_is_plane(np.exp(-log), reach)
    steep = _span(log, 1) > np.log(ratio) / reach  # as if the ratio were reached in the window
    is_ramp = is_edge & steep
    is_near = cv2.medianBlur((log < (low + high) / 2).astype(np.uint8), 5) > 0
    result = depth.copy()
    for side in (is_near, ~is_near):
        sure = side & ~is_ramp
        if sure.any():
            chosen = side & is_ramp
            result[chosen] = depth.ravel()[nearest_inside(sure)[chosen]]
    return result


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
        return np.asarray(cv2.blur(values, window, borderType=cv2.BORDER_REFLECT), np.float64)

    values = nearness.astype(np.float64)
    total = mean(values * values) - mean(values) ** 2
    left = total.copy()
    for axis in np.indices(values.shape).astype(np.float64):
        spread = np.maximum(mean(axis * axis) - mean(axis) ** 2, 1e-9)
        left -= (mean(axis * values) - mean(axis) * mean(values)) ** 2 / spread
    return left < UNBENT * total


def cut_relief(points: Floats) -> tuple[Floats, Ints, Ints]:
    """Mesh a grid of points, cut where depth jumps.

    A cut cell is not left out, which would show as a crack: it is given to the background, whose
    edge so reaches one cell under the foreground.

    Args:
        points: (H, W, 3) in the camera frame, row 0 on top.

    Returns:
        (V, 3) vertices, (F, 4) quads, counter-clockwise seen from the camera, and (V,) the flat
        grid index that each vertex was seen at. Dust is left out.
    """
    height, width = points.shape[:2]
    quads = grid_quads(height, width)
    flat = points.reshape(-1, 3)
    is_cut, is_near = split_jumps(flat[quads])
    cut, is_near = quads[is_cut], is_near[is_cut]
    depth = flat[cut][..., 2]
    far = np.where(is_near, 0, depth).sum(axis=1) / np.maximum((~is_near).sum(axis=1), 1)
    behind = np.zeros(len(flat), np.float32)
    np.maximum.at(behind, cut[is_near], np.broadcast_to(far[:, None], cut.shape)[is_near])
    copied = np.flatnonzero(behind)
    copy_of = np.arange(len(flat), dtype=np.int32)
    copy_of[copied] = len(flat) + np.arange(len(copied), dtype=np.int32)
    quads[is_cut] = np.where(is_near, copy_of[cut], cut)
    copies = flat[copied] * (behind[copied] / flat[copied, 2])[:, None]
    vertices = np.concatenate([flat, copies])
    source = np.concatenate([np.arange(len(flat)), copied]).astype(np.int32)

    pairs = np.concatenate([quads[:, [0, i]] for i in (1, 2, 3)])
    part = connected_components(pairs, len(vertices))[quads[:, 0]]
    count = np.bincount(part)
    quads = quads[((count >= SMALLEST_PART) | (count == count.max()))[part]]
    used, corners = np.unique(quads, return_inverse=True)
    return vertices[used], corners.reshape(quads.shape).astype(np.int32), source[used]


def split_jumps(corner: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Tell the faces that span from a foreground to what lies behind it.

    Args:
        corner: (F, 4, 3) in the camera frame.

    Returns:
        (F,) whether a face bridges a depth jump, and (F, 4) which corners are on its near side.
    """
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    middle = corner.mean(axis=1)
    cosine = -(normal * middle).sum(1)
    cosine /= np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(middle, axis=1), 1e-20)
    depth = corner[..., 2]
    near, far = depth.min(axis=1), depth.max(axis=1)
    return (cosine < STEEPEST) & (far > LARGEST_STEP * near), depth < np.sqrt(near * far)[:, None]


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
