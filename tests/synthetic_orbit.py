"""Pictures of a patterned cube on a patterned floor, taken from around it, made in a moment."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import cv2
import numpy as np

HALF = 0.5  # the cube spans -0.5 to 0.5 along each axis; -y is up
_OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
_Z_UP = np.array([[1.0, 0, 0, 0], [0, 0, 1.0, 0], [0, -1.0, 0, 0], [0, 0, 0, 1]])


@dataclass(frozen=True)
class Shot:
    """A picture with its truth: pixels (H, W, 3) uint8, mask (H, W) uint8, depth, camera."""

    pixels: np.ndarray
    mask: np.ndarray
    depth: np.ndarray
    matrix: np.ndarray
    fov_x: float


def camera_at(azimuth: float, elevation: float, distance: float) -> np.ndarray:
    """(4, 4) camera-to-world in OpenCV axes, looking at the origin; angles in degrees."""
    a, e = math.radians(azimuth), math.radians(elevation)
    eye = distance * np.array([math.sin(a) * math.cos(e), -math.sin(e), -math.cos(a) * math.cos(e)])
    return looking_at(eye, np.zeros(3))


def looking_at(eye: np.ndarray, target: np.ndarray) -> np.ndarray:
    """(4, 4) level camera-to-world in OpenCV axes."""
    forward = target - eye
    forward = forward / np.linalg.norm(forward)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return matrix


def shoot(
    matrix: np.ndarray,
    size: int = 96,
    fov_x: float = 0.7,
    floor: bool = True,
    seed: int = 0,
    aside: tuple[float, float] = (0.0, 0.0),
) -> Shot:
    """Render by exact ray casting: two samples along each side of a pixel.

    ``aside`` is how far the cube was moved along x and z; the floor stays.
    """
    fine = 2 * size
    focal = fine / 2 / math.tan(fov_x / 2)
    steps = (np.arange(fine) + 0.5 - fine / 2) / focal
    x, y = np.meshgrid(steps, steps)
    directions = np.stack([x, y, np.ones_like(x)], axis=-1) @ matrix[:3, :3].T
    eye = matrix[:3, 3]
    with np.errstate(divide="ignore"):
        from_cube = eye - [aside[0], 0.0, aside[1]]
        first, second = (-HALF - from_cube) / directions, (HALF - from_cube) / directions
    enter = np.minimum(first, second).max(axis=-1)
    leave = np.maximum(first, second).min(axis=-1)
    hit = (enter < leave) & (enter > 0)
    axis = np.minimum(first, second).argmax(axis=-1)
    point = from_cube + directions * np.where(hit, enter, 1)[..., None]
    cube, ground = _patterns(seed)
    side = axis * 2 + (np.take_along_axis(point, axis[..., None], -1)[..., 0] > 0)
    u = np.where(axis == 0, point[..., 1], point[..., 0]) + HALF
    v = np.where(axis == 2, point[..., 1], point[..., 2]) + HALF
    colour = look_up(cube, side, u, v)
    backdrop = np.full_like(colour, 200)
    down = (HALF - eye[1]) / np.where(directions[..., 1] > 1e-6, directions[..., 1], np.nan)
    on_floor = np.isfinite(down) & (down > 0) & (down < 12)
    if floor:
        spot = eye + directions * np.where(on_floor, down, 1)[..., None]
        pattern = look_up(ground[None], np.zeros(x.shape, int), spot[..., 0] / 8, spot[..., 2] / 8)
        backdrop = np.where(on_floor[..., None], pattern, backdrop)
    fine_pixels = np.where(hit[..., None], colour, backdrop)
    blocks = fine_pixels.reshape(size, 2, size, 2, 3).mean(axis=(1, 3))
    mask = hit.reshape(size, 2, size, 2).mean(axis=(1, 3))
    depth = np.where(hit, enter, 0)[::2, ::2]
    return Shot(
        np.rint(blocks).astype(np.uint8), np.rint(mask * 255).astype(np.uint8), depth, matrix, fov_x
    )


@lru_cache
def _patterns(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Smooth noise with detail at several scales: (6, 96, 96, 3) and (512, 512, 3), 0..255."""
    random = np.random.default_rng(seed)
    sides = np.stack([noise(random, 96, (4, 8, 24)) for _ in range(6)])
    return sides, noise(random, 512, (4, 8, 32))


def noise(random: np.random.Generator, side: int, scales: tuple[int, ...]) -> np.ndarray:
    """(side, side, 3) float32 from 30 to 240, smooth at each of the scales, in pixels."""
    total = np.zeros((side, side, 3), np.float32)
    for scale in scales:
        grid = random.random((side // scale + 1, side // scale + 1, 3), np.float32)
        total += cv2.resize(grid, (side, side), interpolation=cv2.INTER_CUBIC)
    total -= total.min()
    return 30 + 210 * total / total.max()


def look_up(
    pictures: np.ndarray, which: np.ndarray | int, u: np.ndarray, v: np.ndarray
) -> np.ndarray:
    """Colours of square pictures (N, side, side, 3), which repeat, at u and v of their sides."""
    side = pictures.shape[1]
    column = (np.floor(u * side).astype(int)) % side
    row = (np.floor(v * side).astype(int)) % side
    return pictures[which, row, column]


def orbit(
    count: int, size: int = 96, elevations: tuple[float, ...] = (25.0,), **options: object
) -> list[Shot]:
    """Equal steps of one turn, elevations taking turns."""
    return [
        shoot(
            camera_at(360 * step / count, elevations[step % len(elevations)], 3.0), size, **options
        )
        for step in range(count)
    ]


def write_orbit(
    folder: Path, shots: list[Shot], *, masks: bool = True, cameras: bool = True
) -> list[Path]:
    """Write pictures, masks and a transforms.json; returns the pictures' paths."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    paths, frames = [], []
    for index, shot in enumerate(shots):
        path = folder / "images" / f"shot{index}.png"
        cv2.imwrite(str(path), shot.pixels[..., ::-1])
        if masks:
            cv2.imwrite(str(folder / "masks" / path.name), shot.mask)
        # NeRF tools have +z up, our cube has -y up.
        matrix = _Z_UP @ shot.matrix @ _OPENCV_TO_OPENGL
        frames.append({"file_path": f"images/{path.name}", "transform_matrix": matrix.tolist()})
        paths.append(path)
    if cameras:
        record = {"camera_angle_x": shots[0].fov_x, "frames": frames}
        (folder / "transforms.json").write_text(json.dumps(record), encoding="utf-8")
    return paths
