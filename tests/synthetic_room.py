"""Pictures of a patterned room with a mirror on its wall, made in a moment by exact ray casting.

The room's frame has -y up; the floor is at y = 1, the walls at x = -2 and 2 and at z = 2, where the
mirror hangs; a cube stands before it.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import cv2
import numpy as np

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


def camera(eye: tuple[float, float, float], target: tuple[float, float, float]) -> np.ndarray:
    """(4, 4) camera-to-world, level."""
    forward = np.subtract(target, eye)
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return matrix


def walk(count: int, size: int = 320, *, has_mirror: bool = True, seed: int = 0) -> list[Shot]:
    """Sideways past the mirror, near and far, looking at it."""
    shots = []
    for number in range(count):
        along = -1.2 + 2.4 * number / (count - 1)
        eye = (along, -0.2 + 0.25 * (number % 2), -1.6 + 0.5 * (number % 3 == 1))
        matrix = camera(eye, (0.25 * along, 0.1, WALL))
        shots.append(shoot(matrix, size, has_mirror=has_mirror, seed=seed))
    return shots


def turn(count: int, size: int = 320, *, has_mirror: bool = True, seed: int = 0) -> list[Shot]:
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
        matrix = camera(eye, tuple(float(e + w) for e, w in zip(eye, way, strict=True)))
        shots.append(shoot(matrix, size, has_mirror=has_mirror, seed=seed))
    return shots


def shoot(
    matrix: np.ndarray,
    size: int = 320,
    fov_x: float = 1.2,
    *,
    has_mirror: bool = True,
    seed: int = 0,
) -> Shot:
    """Render with two samples along each side of a pixel; pictures are 3 high for 4 wide."""
    high, wide = 2 * (size * 3 // 4), 2 * size
    focal = wide / 2 / math.tan(fov_x / 2)
    x, y = np.meshgrid(
        (np.arange(wide) + 0.5 - wide / 2) / focal, (np.arange(high) + 0.5 - high / 2) / focal
    )
    rays = (np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix[:3, :3].T).reshape(-1, 3)
    eyes = np.broadcast_to(matrix[:3, 3], rays.shape)
    colour, depth, is_mirror = _trace(eyes, rays, seed)
    if has_mirror:
        spot = (eyes + rays * depth[:, None])[is_mirror]
        back = rays[is_mirror] * [1.0, 1.0, -1.0]
        colour[is_mirror] = 0.9 * _trace(spot + 1e-4 * back, back, seed)[0]
    pixels = colour.reshape(high // 2, 2, wide // 2, 2, 3).mean(axis=(1, 3))
    depth = depth.reshape(high, wide)[::2, ::2].astype(np.float32)
    return Shot(np.rint(pixels).astype(np.uint8), matrix, depth, fov_x)


def _trace(
    eyes: np.ndarray, rays: np.ndarray, seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Colour (N, 3), distance in ray lengths (N,), and whether the mirror was hit."""
    pieces = _patterns(seed)
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
            found = _look_up(pieces[number], *(spot[hit][:, k] / 4 + 0.5 for k in across))
            colour[hit], best[hit] = found, far[hit]
            is_mirror[hit] = False
            if (axis, at) == (2, WALL):
                left, top, right, bottom = MIRROR
                u, v = spot[:, 0], spot[:, 1]
                is_frame = hit & (u > left - FRAME) & (u < right + FRAME)
                is_frame &= (v > top - FRAME) & (v < bottom + FRAME)
                colour[is_frame] = _look_up(pieces[5], u[is_frame] * 2, v[is_frame] * 2)
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
                piece = pieces[6 + axis * 2 + sign]
                colour[mine] = _look_up(piece, *(spot[mine][:, k] / 3 for k in across))
        best[hit], is_mirror[hit] = enter[hit], False
    return colour, best, is_mirror


@lru_cache
def _patterns(seed: int) -> np.ndarray:
    """(12, 384, 384, 3) smooth noise with detail at several scales, 30 to 240."""
    random = np.random.default_rng(seed)
    side = 384
    pieces = []
    for _ in range(12):
        total = np.zeros((side, side, 3), np.float32)
        for scale in (6, 16, 48):
            grid = random.random((side // scale + 1, side // scale + 1, 3), np.float32)
            total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
        total -= total.min()
        pieces.append(30 + 210 * total / total.max())
    return np.stack(pieces)


def _look_up(piece: np.ndarray, u: np.ndarray, v: np.ndarray) -> np.ndarray:
    side = piece.shape[0]
    return piece[np.floor(v * side).astype(int) % side, np.floor(u * side).astype(int) % side]
