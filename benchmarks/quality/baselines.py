"""Two shapes anyone can make from a picture's cut-out, for our own to be measured against."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

BACK_GAP = 0.02  # thickness of the displaced plane behind its deepest point


def displaced_plane(
    front: Floats, mask: NDArray[np.bool_], rays: Floats, distance: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Push a plane forward by depth and close it with walls and a flat back, as depth add-ons do.

    Args:
        front: (S, S) depth of the first surface relative to ``distance``.
        mask: (S, S) True on the subject.
        rays: (S, S, 3) view rays scaled to z = 1.
        distance: Depth of the subject's middle from the camera.

    Returns:
        (V, 3) positions in the frame of the rays and (T, 3) outward triangles.
    """
    # One stray pixel must not decide where the back is.
    deepest = np.float32(np.percentile(front[mask], 99))
    near = np.minimum(front, deepest) + np.float32(distance)
    far = np.full_like(near, deepest + np.float32(distance + BACK_GAP))
    return solid_between(near, far, mask, rays)


def inflated_silhouette(
    mask: NDArray[np.bool_], rays: Floats, distance: float, unit: float
) -> tuple[Floats, NDArray[np.int64]]:
    """Blow the silhouette up like a pillow: a round profile over the distance to the outline.

    Args:
        mask: (S, S) True on the subject.
        rays: (S, S, 3) view rays scaled to z = 1.
        distance: Depth of the pillow's middle plane.
        unit: Side of one pixel at that depth.

    Returns:
        (V, 3) positions in the frame of the rays and (T, 3) outward triangles.
    """
    # The border counts as outside, so that a subject cut off by the frame is closed there too.
    padded = np.pad(mask.astype(np.uint8), 1)
    inner = cv2.distanceTransform(padded, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)[1:-1, 1:-1]
    height = inner * np.float32(unit)
    half = np.sqrt(np.maximum(height * (2 * height.max() - height), 0)).astype(np.float32)
    return solid_between(distance - half, distance + half, mask, rays)


def solid_between(
    front: Floats, back: Floats, mask: NDArray[np.bool_], rays: Floats
) -> tuple[Floats, NDArray[np.int64]]:
    """Join two depth maps over a mask with walls along its outline.

    Args:
        front: (S, S) depth of the near side.
        back: (S, S) depth of the far side.
        mask: (S, S) a cell is filled where its four pixels are True.
        rays: (S, S, 3) view rays scaled to z = 1.

    Returns:
        (V, 3) positions and (T, 3) triangles that look outwards.
    """
    cells = mask[:-1, :-1] & mask[1:, :-1] & mask[:-1, 1:] & mask[1:, 1:]
    index = np.arange(mask.size).reshape(mask.shape)
    a, b = index[:-1, :-1][cells], index[:-1, 1:][cells]
    c, d = index[1:, 1:][cells], index[1:, :-1][cells]
    near = np.concatenate([np.stack([a, c, b], 1), np.stack([a, d, c], 1)])
    far = near[:, ::-1] + mask.size
    # A directed edge whose opposite is missing lies on the outline.
    edges = np.concatenate([near[:, [0, 1]], near[:, [1, 2]], near[:, [2, 0]]])
    keys = edges[:, 0] * mask.size + edges[:, 1]
    alone = ~np.isin(edges[:, 1] * mask.size + edges[:, 0], keys)
    p, q = edges[alone].T
    walls = np.concatenate(
        [np.stack([q, p, p + mask.size], 1), np.stack([q, p + mask.size, q + mask.size], 1)]
    )
    positions = np.concatenate(
        [(rays * front[..., None]).reshape(-1, 3), (rays * back[..., None]).reshape(-1, 3)]
    )
    triangles = np.concatenate([near, far, walls])
    used, triangles = np.unique(triangles, return_inverse=True)
    return positions[used].astype(np.float32), triangles.reshape(-1, 3)
