"""Let normals sharpen a depth map that is only right in the large.

A pixel's point is P = Z r with its ray r. The tangent condition n . dP/du = 0 reads
(ln Z)_u = -(n . r_u) / (n . r): linear in the logarithm of depth, also under perspective (Durou et
al. 2020, "A Survey of Normal Integration"). The depth itself holds the solution in place.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def fuse_depth_and_normals(
    depth: Floats,
    normals: Floats,
    mask: NDArray[np.bool_],
    rays: Floats,
    report: Callable[[], None],
    hold: float = 0.0002,
    iterations: int = 300,
) -> Floats:
    """Depth that follows the normals in the small and ``depth`` in the large.

    Args:
        depth: (H, W) along the view axis, > 0 inside ``mask``.
        normals: (H, W, 3) unit, view frame, facing the viewer.
        mask: (H, W) where the surface is.
        rays: (H, W, 3) through the pixel centres, z = 1.
        report: Called now and then; raises to cancel.
        hold: Weight of the depth against the normals.
        iterations: Steps of conjugate gradients.

    Returns:
        (H, W) depth; unchanged outside of ``mask``.
    """
    log_depth = np.log(np.where(mask, depth, 1)).astype(np.float64)
    steps = []
    for axis in (0, 1):
        slope, weight = _slopes(log_depth, normals, mask, rays, axis)
        steps.append((axis, slope, weight))
    keep = hold * mask

    def apply(x: NDArray[np.float64]) -> NDArray[np.float64]:
        result = keep * x
        for axis, _, weight in steps:
            _add_divergence(result, weight * np.diff(x, axis=axis), axis)
        return result

    # Solve for the correction: it starts at zero and stays small.
    right = np.zeros_like(log_depth)
    for axis, slope, weight in steps:
        _add_divergence(right, weight * (slope - np.diff(log_depth, axis=axis)), axis)
    correction = np.zeros_like(right)
    residual, direction = right.copy(), right.copy()
    energy = float((residual * residual).sum())
    for i in range(iterations):
        if energy < 1e-12:
            break
        if i % 20 == 0:
            report()
        image = apply(direction)
        length = energy / float((direction * image).sum())
        correction += length * direction
        residual -= length * image
        energy, previous = float((residual * residual).sum()), energy
        direction = residual + (energy / previous) * direction
    return np.where(mask, np.exp(log_depth + correction), depth).astype(np.float32)


def _add_divergence(out: NDArray[np.float64], flow: NDArray[np.float64], axis: int) -> None:
    """Add the transpose of ``np.diff`` applied to ``flow``."""
    if axis == 0:
        out[1:] += flow
        out[:-1] -= flow
    else:
        out[:, 1:] += flow
        out[:, :-1] -= flow


def _slopes(
    log_depth: NDArray[np.float64],
    normals: Floats,
    mask: NDArray[np.bool_],
    rays: Floats,
    axis: int,
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Wanted difference of log depth between neighbours along ``axis``, and how sure it is."""

    def pair(values: NDArray) -> tuple[NDArray, NDArray]:
        return (values[:-1], values[1:]) if axis == 0 else (values[:, :-1], values[:, 1:])

    normal = sum(pair(normals))
    normal = normal / np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-6)
    first, second = pair(rays)
    facing = np.minimum(((first + second) / 2 * normal).sum(-1), -0.12)
    slope = -((second - first) * normal).sum(-1) / facing
    both = np.logical_and(*pair(mask))
    # Where depth jumps far more than the normals can explain, there is a step, not a slope.
    jump = np.abs(np.diff(log_depth, axis=axis) - slope)
    typical = 4.0 * float(np.median(np.abs(slope)[both])) + 1e-4 if both.any() else 1.0
    weight = both / (1.0 + (jump / typical) ** 2)
    # A slope read off a nearly edge-on surface is mostly noise.
    return slope, weight * np.clip(-facing, 0, 1) ** 2
