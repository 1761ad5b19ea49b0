"""Pictures of a patterned room with a mirror on its wall, made in a moment by exact ray casting.

The room's frame has -y up; the floor is at y = 1, the walls at x = -2 and 2 and at z = 2, where the
mirror hangs; a cube stands before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from synthetic_orbit import look_up, looking_at, noise

WALL = 2.0  # distance of the walls, and of the mirror's plane along z
FLOOR = 1.0
MIRROR = (-0.8, -0.7, 0.8, 0.4)  # left, top, right, bottom along x and y
FRAME = 0.12  # width of its frame
CUBE = ((0.9, 0.4, 0.6), 0.3)  # centre and half its side, where the mirror shows it to the left


@dataclass(frozen=True)
class Shot:
    """Pixels (H, W, 3) uint8, camera-to-world (4, 4) in OpenCV axes, depth to the first surface."""

    pixels: np.ndarray
    matrix: np.ndarray
    depth: np.ndarray
    fov_x: float


def walk(count: int, size: int = 320) -> list[Shot]:
    """Sideways past the mirror, near and far, looking at it."""
    shots = []
    for number in range(count):
        along = -1.2 + 2.4 * number / (count - 1)
        eye = (along, -0.2 + 0.25 * (number % 2), -1.6 + 0.5 * (number % 3 == 1))
        matrix = looking_at(np.array(eye), np.array([0.25 * along, 0.1, WALL]))
        shots.append(shoot(matrix, size))
    return shots


def turn(count: int, size: int = 320) -> list[Shot]:
    """Once round in the middle of the room, from spots far enough apart to tell depth."""
    shots = []
    for number in range(count):
        angle = 2 * math.pi * number / count
        eye = (
            0.8 * math.sin(2 * angle),
            -0.2 + 0.15 * (number % 2),
            -0.3 + 0.6 * math.cos(3 * angle),
        )
        way = (math.sin(angle), 0.15, math.cos(angle))
        matrix = looking_at(np.array(eye), np.add(eye, way))
        shots.append(shoot(matrix, size))
    return shots


def shoot(
    matrix: np.ndarray,
    size: int = 320,
    fov_x: float = 1.2,
) -> Shot:
    """Render with two samples along each side of a pixel; pictures are 3 high for 4 wide."""
    high, wide = 2 * (size * 3 // 4), 2 * size
    focal = wide / 2 / math.tan(fov_x / 2)
    x, y = np.meshgrid(
        (np.arange(wide) + 0.5 - wide / 2) / focal, (np.arange(high) + 0.5 - high / 2) / focal
    )
    rays = (np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix[:3, :3].T).reshape(-1, 3)
    eyes = np.broadcast_to(matrix[:3, 3], rays.shape)
    colour, depth, is_mirror = _trace(eyes, rays)
    spot = (eyes + rays * depth[:, None])[is_mirror]
    back = rays[is_mirror] * [1.0, 1.0, -1.0]
    colour[is_mirror] = 0.9 * _trace(spot + 1e-4 * back, back)[0]
    pixels = colour.reshape(high // 2, 2, wide // 2, 2, 3).mean(axis=(1, 3))
    depth = depth.reshape(high, wide)[::2, ::2].astype(np.float32)
    return Shot(np.rint(pixels).astype(np.uint8), matrix, depth, fov_x)


def _trace(eyes: np.ndarray, rays: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour (N, 3), distance in ray lengths (N,), and whether the mirror was hit."""
    pieces = _patterns()
    best = np.full(len(rays), 50.0)
    colour = np.full((len(rays), 3), 190.0)
    is_mirror = np.zeros(len(rays), bool)
    number = 0
    with np.errstate(divide="ignore", invalid="ignore"):
        for axis, at in ((1, FLOOR), (0, -WALL), (0, WALL), (2, WALL), (2, -3.0)):
            far = (at - eyes[:, axis]) / rays[:, axis]
            spot = eyes + rays * np.where(np.isfinite(far), far, 0)[:, None]
            inside = (np.abs(spot[:, 0]) < WALL + 1e-6) & (spot[:, 1] < FLOOR + 1e-6)
            inside &= (spot[:, 1] > -2.0) & (spot[:, 2] < WALL + 1e-6) & (spot[:, 2] > -3.001)
            hit = (far > 1e-6) & (far < best) & inside
            across = [k for k in range(3) if k != axis]
            found = look_up(pieces, number, *(spot[hit][:, k] / 4 + 0.5 for k in across))
            colour[hit], best[hit] = found, far[hit]
            is_mirror[hit] = False
            if (axis, at) == (2, WALL):
                left, top, right, bottom = MIRROR
                u, v = spot[:, 0], spot[:, 1]
                is_frame = hit & (u > left - FRAME) & (u < right + FRAME)
                is_frame &= (v > top - FRAME) & (v < bottom + FRAME)
                colour[is_frame] = look_up(pieces, 5, u[is_frame] * 2, v[is_frame] * 2)
                is_mirror = hit & (u > left) & (u < right) & (v > top) & (v < bottom)
            number += 1
        centre, half = np.array(CUBE[0]), CUBE[1]
        first, second = ((s * half + centre - eyes) / rays for s in (-1.0, 1.0))
        enter = np.minimum(first, second).max(axis=1)
        leave = np.maximum(first, second).min(axis=1)
        hit = (enter < leave) & (enter > 1e-6) & (enter < best)
        side = np.minimum(first, second).argmax(axis=1)
        spot = (eyes + rays * np.where(hit, enter, 0)[:, None] - centre) / (2 * half) + 0.5
        for axis in range(3):
            for sign in (0, 1):
                mine = hit & (side == axis) & ((spot[:, axis] > 0.5) == bool(sign))
                across = [k for k in range(3) if k != axis]
                colour[mine] = look_up(
                    pieces, 6 + axis * 2 + sign, *(spot[mine][:, k] / 3 for k in across)
                )
        best[hit], is_mirror[hit] = enter[hit], False
    return colour, best, is_mirror


@lru_cache
def _patterns() -> np.ndarray:
    """(12, 384, 384, 3) for the floor, four walls, the mirror's frame and the cube's sides."""
    random = np.random.default_rng(0)
    return np.stack([noise(random, 384, (6, 16, 48)) for _ in range(12)])
