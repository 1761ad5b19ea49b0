"""What stands behind a subject whose mask is kept secret: rooms, clutter, places."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor


def cluttered(image: Tensor, other: Tensor, rng: Generator) -> Tensor:
    """Put boxes and discs into a background: flat, shaded or cut out of another picture.

    Bright things behind the subject are what cut-outs take for a part of it.
    """
    side = image.shape[-1]
    line = torch.arange(side, dtype=torch.float32, device=image.device)
    for _ in range(int(rng.integers(1, 9))):
        half = side * np.exp(rng.uniform(np.log(0.02), np.log(0.25), 2))
        row, column = rng.uniform(0, side, 2)
        v, u = ((line - row) / half[0])[:, None], ((line - column) / half[1])[None]
        is_disc = rng.random() < 0.3
        inside = (u.square() + v.square() < 1) if is_disc else (u.abs() < 1) & (v.abs() < 1)
        if rng.random() < 0.25:
            paint = other
        else:
            colour = torch.from_numpy(rng.uniform(0, 1, (3, 1, 1))).float().to(image.device)
            paint = colour + float(rng.normal() * 0.15) * (u if rng.random() < 0.5 else v)
        image = torch.where(inside, paint, image)
    return image


def blurred(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, S, S) with a Gaussian; ``sigma`` in pixels."""
    radius = max(1, round(2.5 * sigma))
    line = torch.arange(-radius, radius + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-0.5 * (line / sigma).square())
    kernel = (kernel / kernel.sum()).expand(len(image), 1, 1, -1)
    padded = F.pad(image[None], (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel, groups=len(image))
    return F.conv2d(across, kernel.transpose(2, 3), groups=len(image))[0]


def in_a_room(other: Tensor, mask: Tensor, rng: Generator) -> Tensor:
    """Make a wall, a floor and things that stand on it, out of focus, with grain: (3, S, S).

    Args:
        other: (3, S, S) a picture whose patches are some of the surfaces.
        mask: (1, S, S) the subject, which darkens the floor beneath it.
        rng: Decides.
    """
    side = other.shape[-1]
    line = torch.arange(side, dtype=torch.float32, device=other.device)
    horizon = float(rng.uniform(0.15, 0.8)) * side
    lean = float(rng.normal() * 0.05)
    is_floor = line[:, None] > horizon + lean * (line[None] - side / 2)

    def surface() -> Tensor:
        colour = torch.from_numpy(rng.uniform(0.1, 0.95, (3, 1, 1)) ** 0.7).float()
        colour = colour.to(other.device)
        if rng.random() < 0.6:  # most walls and boxes are nearly grey
            colour = colour.mean() + 0.2 * (colour - colour.mean())
        slope = (line / side - 0.5)[:, None] if rng.random() < 0.5 else (line / side - 0.5)[None]
        flat = colour + float(rng.normal() * 0.12) * slope
        if rng.random() < 0.6:
            return flat.expand(3, side, side)
        size = int(side * rng.uniform(0.15, 0.6))
        row, column = rng.integers(0, side - size, 2)
        patch = other[None, :, row : row + size, column : column + size]
        patch = F.interpolate(patch, size=(side, side), mode="bilinear")[0]
        return 0.5 * patch + 0.5 * flat

    room = torch.where(is_floor, surface(), surface())
    for _ in range(int(rng.integers(0, 9))):
        wide, high = side * np.exp(rng.uniform(np.log(0.03), np.log(0.4), 2))
        left, foot = rng.uniform(-wide, side), horizon + side * rng.uniform(-0.1, 0.25)
        rows = (line > foot - high) & (line < foot)
        columns = (line > left) & (line < left + wide)
        room = torch.where(rows[:, None] & columns[None], surface(), room)
    room = blurred(room, float(np.exp(rng.uniform(np.log(0.3), np.log(4.0)))))
    if rng.random() < 0.5:
        shift = int(rng.integers(0, max(2, side // 12)))
        shadow = blurred(mask, float(rng.uniform(0.01, 0.04)) * side).roll(shift, 1)
        room = room * (1 - float(rng.uniform(0.1, 0.6)) * shadow * is_floor)
    cells = int(np.exp(rng.uniform(np.log(4), np.log(65))))
    coarse = torch.from_numpy(rng.normal(size=(1, 1, cells, cells))).float()
    grain = F.interpolate(coarse, size=(side, side), mode="bicubic")[0]
    return (room + float(rng.uniform(0, 0.05)) * grain.to(other.device)).clamp(0, 1)
