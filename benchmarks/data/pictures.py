"""Make test pictures from nothing: a mug in a room, with or without its background."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from . import backgrounds
from .rays import cast, pixel_rays

FOV_X = 0.7


def mug(size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Render a striped mug from a seeded side, (size, size, 4) on a transparent background."""
    random = np.random.default_rng(seed)
    yaw, pitch = random.uniform(-0.9, 0.9), -random.uniform(0.15, 0.5)
    cup = lathe(np.array([[0, 0.6], [0.55, 0.6], [0.62, 0], [0.66, -0.6], [0.58, -0.6], [0, -0.5]]))
    handle = torus(0.32, 0.09) + np.array([0.72, 0.0, 0.0])
    triangles = np.concatenate([cup, handle]) @ (_turn_y(yaw) @ _turn_x(pitch))
    hits = cast(triangles + np.array([0, 0, 3.6]), pixel_rays(FOV_X, size, size))
    rays = pixel_rays(FOV_X, size, size)
    height = ((rays * hits.front[..., None]) @ (_turn_y(yaw) @ _turn_x(pitch)).T)[..., 1]
    stripe = np.sin(height * random.uniform(8, 16)) > 0.3
    colours = random.uniform(40, 240, (2, 3))
    shade = 0.35 + 0.65 * np.clip(hits.normals @ np.array([-0.5, -0.6, -0.62]), 0, 1)
    picture = np.zeros((size, size, 4), np.uint8)
    picture[..., :3] = np.where(stripe[..., None], colours[0], colours[1]) * shade[..., None]
    picture[..., 3] = hits.mask * 255
    return picture


def mug_in_room(size: int, seed: int = 0) -> NDArray[np.uint8]:
    """Render the mug in front of a room, (size, size, 3)."""
    return backgrounds.compose(mug(size, seed), backgrounds.photo((size, size), seed, ()))


def lathe(profile: NDArray[np.floating], columns: int = 64) -> NDArray[np.float64]:
    """Turn a profile of (radius, y) points about the y axis; (T, 3, 3) triangles."""
    angle = np.linspace(0, 2 * np.pi, columns + 1)
    ring = np.stack([np.cos(angle), np.zeros_like(angle), np.sin(angle)], -1)
    rows = profile[:, None, :1] * ring + np.array([0, 1.0, 0]) * profile[:, None, 1:]
    return _quads(rows)


def torus(radius: float, thickness: float) -> NDArray[np.float64]:
    """Make a ring in the x, y plane; (T, 3, 3) triangles."""
    angle = np.linspace(0, 2 * np.pi, 33)
    around, across = np.meshgrid(angle, angle, indexing="ij")
    reach = radius + thickness * np.cos(across)
    rows = np.stack(
        [reach * np.cos(around), reach * np.sin(around), thickness * np.sin(across)], -1
    )
    return _quads(rows)


def _quads(rows: NDArray[np.floating]) -> NDArray[np.float64]:
    a, b, c, d = rows[:-1, :-1], rows[1:, :-1], rows[1:, 1:], rows[:-1, 1:]
    both = np.stack([np.stack([a, b, c], -2), np.stack([a, c, d], -2)])
    return both.reshape(-1, 3, 3).astype(np.float64)


def _turn_y(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, 0, s], [0, 1, 0], [-s, 0, c]])


def _turn_x(angle: float) -> NDArray[np.float64]:
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, -s], [0, s, c]])
