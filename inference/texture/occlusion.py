"""Ambient occlusion: how much of an even sky each point of a surface sees.

The surface is looked at from many directions, evenly over the sphere. Each look is a small depth map
of points that lie densely on the surface; a point sees the sky there unless something in its pixel is
nearer. Directions count by their cosine (Zhukov et al. 1998).
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

DIRECTIONS = 72
GRAZING = 0.15  # cosine under which a direction is left out: depth varies too much within a pixel
PIXEL = 1.7  # pixels of the depth maps, in distances between points: no holes to look through


def ambient_occlusion(
    points: Floats,
    normals: Floats,
    spacing: float,
    report: Callable[[float], None] = lambda share: None,
) -> Floats:
    """Share of the sky that points see of it, weighted by the cosine.

    Args:
        points: (N, 3) evenly over a closed surface.
        normals: (N, 3) unit, outward.
        spacing: Distance between neighbouring points.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Returns:
        (N,) 0 closed in to 1 open.
    """
    low = points.min(axis=0)
    centred = points - (low + points.max(axis=0)) / 2
    pixel = np.float32(PIXEL * spacing)
    reach = float(np.linalg.norm(centred, axis=1).max())
    side = int(2 * reach / pixel) + 3
    open_, total = np.zeros(len(points), np.float32), np.zeros(len(points), np.float32)
    for number, direction in enumerate(even_directions(DIRECTIONS)):
        report(number / DIRECTIONS)
        across = np.cross(
            direction, [0.0, 1.0, 0.0] if abs(direction[1]) < 0.9 else [1.0, 0.0, 0.0]
        )
        across /= np.linalg.norm(across)
        frame = np.stack([across, np.cross(direction, across), direction], axis=1)
        local = centred @ frame.astype(np.float32)
        cell = ((local[:, :2] + np.float32(reach)) / pixel + 0.5).astype(np.int32)
        cell = cell[:, 1] * side + cell[:, 0]
        highest = np.full(side * side, -np.inf, np.float32)
        np.maximum.at(highest, cell, local[:, 2])
        cosine = normals @ direction.astype(np.float32)
        tangent = np.sqrt(np.maximum(1 - cosine**2, 0)) / np.maximum(cosine, GRAZING)
        bias = pixel * (0.8 + 1.2 * tangent)
        weight = np.where(cosine > GRAZING, cosine, 0)
        total += weight
        open_ += weight * (highest[cell] <= local[:, 2] + bias)
    return np.where(total > 0, open_ / np.maximum(total, 1e-6), 1).astype(np.float32)


def even_directions(count: int) -> NDArray[np.float64]:
    """(count, 3) unit vectors evenly over the sphere, on a Fibonacci spiral (Gonzalez 2010)."""
    step = np.arange(count) + 0.5
    height = 1 - 2 * step / count
    angle = np.pi * (1 + np.sqrt(5)) * step
    radius = np.sqrt(1 - height**2)
    return np.stack([radius * np.cos(angle), height, radius * np.sin(angle)], axis=1)
