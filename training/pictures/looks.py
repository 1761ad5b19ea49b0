"""What happens to a picture between light and file: lenses, styles, sensors, compression."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def develop(rng: Generator, linear: Floats) -> Floats:
    """Turn (H, W, 3) linear light into 0..1 display values with a random tone curve."""
    if rng.random() < 0.4:
        linear = linear * 1.2 / (1 + 0.6 * linear)
    image = np.clip(linear, 0, 1) ** (1 / rng.uniform(1.9, 2.4))
    if rng.random() < 0.4:
        image = np.clip((image - 0.5) * rng.uniform(0.75, 1.3) + 0.5 + rng.uniform(-0.1, 0.1), 0, 1)
    if rng.random() < 0.3:
        grey = image.mean(-1, keepdims=True)
        image = np.clip(grey + (image - grey) * rng.uniform(0.3, 1.6), 0, 1)
    return image.astype(np.float32)


def edges(depth: Floats, normals: Floats, label: NDArray[np.int64], slope: float) -> Floats:
    """Find lines an artist would draw: (H, W) 0 or 1.

    Args:
        depth: (H, W), large where there is nothing.
        normals: (H, W, 3), zero where there is nothing.
        label: (H, W) number of the part.
        slope: Depth jump between neighbours that counts as an edge.
    """
    line = np.zeros(depth.shape, bool)
    for axis in (0, 1):
        jump = np.abs(np.diff(depth, 2, axis=axis)) > slope
        crease = (
            np.take(normals, range(1, depth.shape[axis]), axis)
            * np.take(normals, range(depth.shape[axis] - 1), axis)
        ).sum(-1) < 0.6
        change = np.diff(label, axis=axis) != 0
        pad = [(1, 1) if a == axis else (0, 0) for a in (0, 1)]
        line |= np.pad(jump, pad)
        pad = [(0, 1) if a == axis else (0, 0) for a in (0, 1)]
        line |= np.pad(crease | change, pad)
    return line.astype(np.float32)


def ink(rng: Generator, image: Floats, line: Floats, is_sketch: bool) -> Floats:
    """Draw (H, W) lines over a display-space picture."""
    width = int(rng.integers(1, 4))
    if width > 1:
        line = cv2.dilate(line, np.ones((width, width), np.uint8))
    line = cv2.GaussianBlur(line, (0, 0), rng.uniform(0.4, 0.9))
    line = np.clip(line * rng.uniform(1, 1.8), 0, 1)
    if is_sketch:
        h, w = line.shape
        grain = cv2.resize(rng.random((h // 2, w // 2)).astype(np.float32), (w, h))
        line = line * np.clip(0.4 + grain, 0, 1)
    color = rng.uniform(0, 0.25, 3) if rng.random() < 0.8 else rng.uniform(0, 0.6, 3)
    return (image * (1 - line[..., None]) + color * line[..., None]).astype(np.float32)


def pixel_art(rng: Generator, image: Floats) -> Floats:
    """Reduce a picture to few pixels and few colours, then enlarge it without smoothing."""
    size = image.shape[0]
    few = int(rng.integers(28, 110))
    small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
    levels = int(rng.integers(5, 24))
    small = np.round(small * levels) / levels
    kind = cv2.INTER_NEAREST if rng.random() < 0.7 else cv2.INTER_LINEAR
    return cv2.resize(small.astype(np.float32), (size, size), interpolation=kind)


def photograph(rng: Generator, image: Floats) -> NDArray[np.uint8]:
    """Add what lens, sensor and file do to a display-space picture."""
    if rng.random() < 0.3:
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.4, 1.4))
    elif rng.random() < 0.2:
        soft = cv2.GaussianBlur(image, (0, 0), 1.0)
        image = image + (image - soft) * rng.uniform(0.3, 1.2)
    if rng.random() < 0.15:
        few = int(image.shape[0] * rng.uniform(0.3, 0.7))
        small = cv2.resize(image, (few, few), interpolation=cv2.INTER_AREA)
        image = cv2.resize(small, image.shape[1::-1], interpolation=cv2.INTER_CUBIC)
    if rng.random() < 0.4:
        image = image + rng.normal(size=image.shape).astype(np.float32) * rng.uniform(0, 0.04)
    if rng.random() < 0.15:
        h, w = image.shape[:2]
        y, x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        image = image * (1 - rng.uniform(0, 0.4) * (x * x + y * y) / 2)[..., None]
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    if rng.random() < 0.35:
        quality = int(rng.integers(30, 95))
        data = cv2.imencode(".jpg", pixels, [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
        pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    return pixels
