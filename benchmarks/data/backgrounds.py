"""Put a cut-out picture on a plain wall or into something like a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

KINDS = ("transparent", "plain", "photo", "far")  # far: a photo twice as wide
FAR = 2

Image = NDArray[np.uint8]


def read_rgba(path: Path) -> Image:
    """Read a picture as (H, W, 4); one without transparency is opaque.

    Raises:
        FileNotFoundError: There is no such picture.
    """
    picture = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    if picture is None:
        raise FileNotFoundError(f"{path} is missing: delete the .npz beside it and render again.")
    code = cv2.COLOR_BGRA2RGBA if picture.shape[2] == 4 else cv2.COLOR_BGR2RGBA
    return cv2.cvtColor(picture, code).astype(np.uint8)


def compose(picture: Image, background: Image) -> Image:
    """Lay an RGBA picture over a background.

    Args:
        picture: (H, W, 4) straight alpha.
        background: (H, W, 3).
    """
    alpha = picture[..., 3:].astype(np.float32) / 255
    mixed = picture[..., :3] * alpha + background * (1 - alpha)
    return np.round(mixed).astype(np.uint8)


def plain(size: tuple[int, int], seed: int) -> Image:
    """Give a light wall in one soft colour, brighter in one corner."""
    random = np.random.default_rng(seed)
    height, width = size
    y, x = np.mgrid[0:height, 0:width].astype(np.float32) / max(size)
    direction = random.uniform(-1, 1, 2)
    light = 1 + 0.06 * (direction[0] * (x - 0.5) + direction[1] * (y - 0.5))
    colour = random.uniform(190, 245) + random.uniform(-12, 12, 3)
    return np.clip(light[..., None] * colour, 0, 255).astype(np.uint8)


def photo(size: tuple[int, int], seed: int, files: Sequence[Path]) -> Image:
    """Give a slightly defocused crop of one of the files; without files, a made-up room.

    Raises:
        FileNotFoundError: A file cannot be read as a picture.
    """
    random = np.random.default_rng(seed)
    if not files:
        return _room(size, random)
    path = files[int(random.integers(len(files)))]
    image = cv2.imread(str(path), cv2.IMREAD_COLOR)
    if image is None:
        raise FileNotFoundError(f"{path} cannot be read as a picture: take it out of the folder.")
    height, width = size
    zoom = random.uniform(1.0, 1.6) * max(height / image.shape[0], width / image.shape[1])
    shape = (max(width, round(image.shape[1] * zoom)), max(height, round(image.shape[0] * zoom)))
    image = cv2.resize(image, shape, interpolation=cv2.INTER_AREA if zoom < 1 else cv2.INTER_CUBIC)
    top = int(random.integers(image.shape[0] - height + 1))
    left = int(random.integers(image.shape[1] - width + 1))
    crop = image[top : top + height, left : left + width, ::-1]
    return cv2.GaussianBlur(crop, (0, 0), random.uniform(0.5, 2.5)).astype(np.uint8)


def _room(size: tuple[int, int], random: np.random.Generator) -> Image:
    """Paint floor, wall and a few things on it, with grain, out of focus."""
    height, width = size
    room = np.empty((height, width, 3), np.float32)
    horizon = int(height * random.uniform(0.35, 0.7))
    room[:horizon] = random.uniform(90, 220) + random.uniform(-20, 20, 3)
    room[horizon:] = random.uniform(60, 190) + random.uniform(-20, 20, 3)
    for _ in range(int(random.integers(3, 9))):
        wide, high = (random.uniform(0.05, 0.35, 2) * (width, height)).astype(int)
        left = int(random.integers(-wide // 2, width))
        bottom = horizon + int(random.uniform(-0.1, 0.2) * height)
        colour = tuple(float(c) for c in random.uniform(20, 235, 3))
        cv2.rectangle(room, (left, bottom - high), (left + wide, bottom), colour, -1)
    for octave in (4, 16, 64):
        grain = random.normal(0, 14 / np.sqrt(octave / 4), (octave, octave)).astype(np.float32)
        room += cv2.resize(grain, (width, height), interpolation=cv2.INTER_CUBIC)[..., None]
    light = np.linspace(1.12, 0.85, height, dtype=np.float32)[:, None, None]
    blurred = cv2.GaussianBlur(room * light, (0, 0), random.uniform(1, 4))
    noisy = blurred + random.normal(0, 2, room.shape)
    return np.clip(noisy, 0, 255).astype(np.uint8)
