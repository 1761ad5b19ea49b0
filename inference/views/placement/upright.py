"""Which way is up, by how people hold cameras and by the floor."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]

TRIES = 400  # random planes
FLOOR_WITHIN = np.radians(20.0)  # of the cameras' own idea of up
FLOOR_SHARE = 0.12  # of the points that must lie on a plane to be taken for the floor


def up_of_cameras(matrices: Sequence[Doubles]) -> Doubles:
    """The direction that is up for people who held these cameras.

    Cameras are tipped up and down freely but seldom rolled, so up is square to all their right
    axes: the smallest principal axis of those. With few different directions that is ill
    determined, and the mean of the cameras' own ups decides as far as it is.

    Args:
        matrices: (4, 4) camera-to-world each, OpenCV axes.

    Returns:
        (3,) unit vector in the world frame.
    """
    right = np.array([matrix[:3, 0] for matrix in matrices])
    mean = -np.array([matrix[:3, 1] for matrix in matrices]).mean(axis=0)
    # Pictures taken on their side have their right axis along the vertical: leave them out.
    level = np.abs(right @ _unit(mean)) < 0.6
    if level.sum() >= 2:
        right = right[level]
    spread = right.T @ right / len(right)
    # A pull towards the mean up: it decides where the right axes leave a choice.
    spread += 0.05 * (np.eye(3) - np.outer(_unit(mean), _unit(mean)))
    up = np.linalg.eigh(spread)[1][:, 0]
    return up if up @ mean >= 0 else -up


def up_of_floor(
    points: NDArray[np.floating], up: Doubles, seed: int, share: float = FLOOR_SHARE
) -> tuple[Doubles, float] | None:
    """The normal and height of a plane that many points lie on and few lie under.

    Args:
        points: (N, 3) sparse points.
        up: (3,) rough up direction.
        seed: Of the random choice (RANSAC, Fischler and Bolles 1981).
        share: Of the points that must lie on the plane.

    Returns:
        (3,) unit normal and the offset ``normal @ point`` of the plane; None without a clear one.
    """
    if len(points) < 50:
        return None
    random = np.random.default_rng(seed)
    points = np.asarray(points, np.float64)
    points = points[random.permutation(len(points))[:4000]]
    extent = np.percentile(points, 95, axis=0) - np.percentile(points, 5, axis=0)
    near = 0.01 * float(np.linalg.norm(extent))
    corners = points[random.integers(len(points), size=(TRIES, 3))]
    normals = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    length = np.linalg.norm(normals, axis=1)
    usable = length > 1e-12
    normals, corners = normals[usable] / length[usable, None], corners[usable]
    normals *= np.where(normals @ up < 0, -1.0, 1.0)[:, None]
    usable = normals @ up > np.cos(FLOOR_WITHIN)
    if not usable.any():
        return None
    normals, corners = normals[usable], corners[usable]
    offset = (normals * corners[:, 0]).sum(axis=1)
    height = points @ normals.T - offset
    on = (np.abs(height) < near).mean(axis=0)
    under = (height < -2 * near).mean(axis=0)
    best = int((on - 1.5 * under).argmax())
    if on[best] < share or under[best] > 0.15:
        return None
    flat = points[np.abs(height[:, best]) < near]
    middle = flat.mean(axis=0)
    normal = np.linalg.svd(flat - middle)[2][2] if len(flat) < 3000 else normals[best]
    normal = normal if normal @ up > 0 else -normal
    if normal @ up < np.cos(FLOOR_WITHIN):
        return None
    return normal, float(normal @ middle)


def rotation_to_upright(up: Doubles, forward: Doubles) -> Doubles:
    """(3, 3) rotation that turns ``up`` to -y and ``forward``, made level, to +z."""
    down = -_unit(up)
    level = forward - (forward @ down) * down
    if np.linalg.norm(level) < 1e-6:
        level = np.array([0.0, 0.0, 1.0]) - down[2] * down
        if np.linalg.norm(level) < 1e-6:
            level = np.array([1.0, 0.0, 0.0])
    ahead = _unit(level)
    return np.stack([np.cross(down, ahead), down, ahead])


def _unit(vector: Doubles) -> Doubles:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
