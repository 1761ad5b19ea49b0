"""From MoGe-2's affine point map to points seen by a camera, whose lens it need not know."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

FIT_SIDE = 64  # points per side that the camera is recovered from
FLAT = 100.0  # points without perspective are moved away by at most this many times their depth
LIKELY_FOV = math.radians(60.0)  # of the diagonal, where points say nothing about the camera


@dataclass(frozen=True, slots=True)
class PointMap:
    """Geometry of a picture in the camera's frame (OpenCV axes), row 0 on top.

    Attributes:
        points: (H, W, 3) float32; metres if ``is_metric``. On the rays of a pinhole camera whose
            principal point is the picture's middle. Finite everywhere, meaningful where ``valid``.
        depth: (H, W) float32 > 0, their z.
        normals: (H, W, 3) float32 unit normals, z < 0 towards the viewer; None if the network
            has no head for them.
        valid: (H, W) bool; False for sky and what else has no depth.
        fov_x: Horizontal field of view in radians, found or as given.
        is_metric: Whether the unit is the metre.
    """

    points: Floats
    depth: Floats
    normals: Floats | None
    valid: NDArray[np.bool_]
    fov_x: float
    is_metric: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one picture, at its size.

    Attributes:
        points: (3, H, W) float32 affine point map.
        normals: (3, H, W) float32 of any length, or None.
        mask: (1, H, W) float32 logits of being at a finite distance, or None.
        metres: Metres per unit, or None.
    """

    points: Floats
    normals: Floats | None
    mask: Floats | None
    metres: float | None


def geometry(prediction: Prediction, fov_x: float | None = None) -> PointMap:
    """Turn what the network says into points seen by a camera.

    Args:
        prediction: Of one picture.
        fov_x: Known horizontal field of view in radians.
    """
    points, normals, mask = prediction.points, prediction.normals, prediction.mask
    metres = prediction.metres
    height, width = points.shape[1:]
    valid = np.ones((height, width), np.bool_) if mask is None else mask[0] > 0
    aspect = width / height
    diagonal = math.sqrt(1 + aspect * aspect)
    known = None if fov_x is None else aspect / diagonal / math.tan(fov_x / 2)
    focal, shift = recover_camera(points, valid, known)
    depth = points[2] + np.float32(shift)
    valid = valid & (depth > 0)
    nearest = float(depth[valid].min()) if valid.any() else 1.0
    depth = np.maximum(depth, np.float32(0.5 * nearest)) * np.float32(metres or 1.0)
    x = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
    y = (np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1
    rays_x = x * np.float32(aspect / diagonal / focal)
    rays_y = y * np.float32(1 / diagonal / focal)
    seen = np.stack([depth * rays_x[None, :], depth * rays_y[:, None], depth], -1)
    directions = None
    if normals is not None:
        length = np.sqrt(np.einsum("chw,chw->hw", normals, normals))
        directions = np.moveaxis(normals / np.maximum(length, 1e-12), 0, -1)
        directions = np.ascontiguousarray(directions, dtype=np.float32)
    return PointMap(
        points=seen.astype(np.float32),
        depth=depth.astype(np.float32),
        normals=directions,
        valid=valid,
        fov_x=2 * math.atan(aspect / diagonal / focal),
        is_metric=metres is not None,
    )


def recover_camera(
    points: NDArray[np.float32], valid: NDArray[np.bool_], focal: float | None = None
) -> tuple[float, float]:
    """Find the shift along the view axis, and the focal length, that put points on their pixels.

    Minimises |f (x, y) / (z + s) - (u, v)|^2 over s, where the best f for each s is known in
    closed form, by Gauss-Newton steps with damping (Levenberg 1944), on at most 64 x 64 points.

    Args:
        points: (3, H, W).
        valid: (H, W) points to use.
        focal: Known focal length in half diagonals of the picture.

    Returns:
        Focal length in half diagonals, and the shift; a usual lens and the least shift where
        the points say nothing.
    """
    height, width = valid.shape
    rows = (np.arange(min(FIT_SIDE, height)) * max(1.0, height / FIT_SIDE)).astype(int)
    columns = (np.arange(min(FIT_SIDE, width)) * max(1.0, width / FIT_SIDE)).astype(int)
    diagonal = math.hypot(height, width)
    u = (2 * columns + 1 - width) / diagonal
    v = (2 * rows + 1 - height) / diagonal
    used = valid[np.ix_(rows, columns)]
    x, y, z = (p[np.ix_(rows, columns)][used].astype(np.float64) for p in points)
    target = np.stack(np.meshgrid(u, v), -1)[used]
    likely = 1 / math.tan(LIKELY_FOV / 2)
    if len(z) < 2 or not np.square(target).sum() * (np.square(x) + np.square(y)).sum() > 0:
        return focal if focal is not None else likely, 0.0
    side = np.stack([x, y], -1)
    closest, furthest = float(z.min()), FLAT * float(np.abs(z).max())

    def fit(shift: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Best focal length, residuals, and their derivative by the shift."""
        depth = (z + shift)[:, None]
        seen = side / depth
        moved = -seen / depth
        power = float((seen * seen).sum())
        if focal is not None:
            return focal, focal * seen - target, focal * moved
        best = float((seen * target).sum()) / power
        change = (float((moved * target).sum()) - 2 * best * float((seen * moved).sum())) / power
        return best, best * seen - target, best * moved + change * seen

    shift, damping = 0.0, 1e-3
    if closest <= 0:  # start with everything in front of the camera
        shift = -closest + 0.1 * float(np.ptp(z) + 1e-6)
    start = shift
    best, rest, slope = fit(shift)
    error = float((rest * rest).sum())
    for _ in range(60):
        steep = float((slope * slope).sum())
        step = -float((slope * rest).sum()) / (steep * (1 + damping) + 1e-30)
        trial = shift + step
        if trial + closest <= 0.02 * (shift + closest):  # stay in front of the camera
            trial = 0.5 * (shift - closest)
        trial = min(trial, furthest)
        found = fit(trial)
        changed = float((found[1] * found[1]).sum())
        if changed < error:
            is_done = error - changed < 1e-10 * error
            shift, (best, rest, slope), error = trial, found, changed
            damping = max(damping / 10, 1e-9)
            if is_done:
                break
        else:
            damping = max(damping * 10, 1e-6)
            if damping > 1e9:
                break
    is_flat = focal is None and shift > 0.9 * furthest
    if is_flat or not math.isfinite(best) or best <= 0:
        return focal if focal is not None else likely, max(0.0, start)
    return best, shift
