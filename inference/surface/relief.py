"""A depth map becomes a mesh: one vertex for each grid point, cut where depth jumps."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from .topology import connected_components

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

STEEPEST = 0.09  # cosine between face and ray under which a face bridges a gap
LARGEST_STEP = 1.05  # depth ratio across a cell up to which even a steep face is a real slope
SMALLEST_PART = 0.0015  # share of all faces under which a loose part is dust


def sharpen_jumps(depth: Floats, ratio: float = 1.08, rounds: int = 3) -> Floats:
    """Move the in-between depths of a blurred edge to one of its sides.

    A network's depth edge is a ramp of a few pixels; unprojected, the ramp is a streamer between
    foreground and background. This is a shock filter: where the neighbourhood spans more than
    ``ratio``, every pixel joins the nearer end.

    Args:
        depth: (H, W), > 0.
        ratio: Span of a neighbourhood from which it counts as an edge.
        rounds: Filter passes; each undoes about one pixel of blur on either side.
    """
    kernel = np.ones((3, 3), np.uint8)
    wide = np.ones((5, 5), np.uint8)
    log = np.log(depth)
    for _ in range(rounds):
        low, high = cv2.erode(log, kernel), cv2.dilate(log, kernel)
        span = cv2.dilate(log, wide) - cv2.erode(log, wide)
        joined = np.where(log - low < high - log, low, high)
        log = np.where(span > np.log(ratio), joined, log).astype(np.float32)
    return np.exp(log)


def relief_faces(points: Floats) -> Ints:
    """Faces of a grid of points without those that bridge a depth jump.

    Args:
        points: (H, W, 3) in the camera frame, row 0 on top.

    Returns:
        (F, 4) quads, counter-clockwise seen from the camera; vertices are row * W + column. Small
        loose parts are left out.
    """
    height, width = points.shape[:2]
    quads = grid_quads(height, width)
    corner = points.reshape(-1, 3)[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    middle = corner.mean(axis=1)
    cosine = -(normal * middle).sum(1)
    cosine /= np.maximum(np.linalg.norm(normal, axis=1) * np.linalg.norm(middle, axis=1), 1e-20)
    depth = corner[..., 2]
    step = depth.max(axis=1) / depth.min(axis=1)
    quads = quads[~((cosine < STEEPEST) & (step > LARGEST_STEP))]
    if not len(quads):
        return grid_quads(height, width)
    pairs = np.concatenate([quads[:, [0, i]] for i in (1, 2, 3)])
    part = connected_components(pairs, height * width)[quads[:, 0]]
    share = np.bincount(part) / len(quads)
    keep = (share >= SMALLEST_PART) | (share == share.max())
    return quads[keep[part]]


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
