"""Shards become batches: a window of pictures in memory, colour and mask augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor

KEYS = (
    "image",
    "mask",
    "front",
    "thickness",
    "normals",
    "log_depth",
    "has_depth",
    "up",
    "is_object",
)


KNOWN = 0.4  # share of things whose mask is told


@dataclass(slots=True)
class Batch:
    """What the network gets and what it should say; B pictures of side S.

    Attributes:
        x: (B, 4, S, S) input from -1 to 1.
        mask: (B, 1, S, S) 0 or 1.
        front: (B, 1, S, S) depth of the first surface, in half crop widths.
        thickness: (B, 1, S, S) last minus first surface.
        normals: (B, 3, S, S), zero where there is nothing.
        log_depth: (B, 1, S, S).
        has_depth: (B,) 1 where ``log_depth`` means something.
        up: (B, 3).
        is_object: (B,).
    """

    x: Tensor
    mask: Tensor
    front: Tensor
    thickness: Tensor
    normals: Tensor
    log_depth: Tensor
    has_depth: Tensor
    up: Tensor
    is_object: Tensor


class Window:
    """As many shards as memory allows; new ones replace random old ones.

    Only the arrays named by ``keys`` are read, so shards may hold more.
    """

    def __init__(
        self, folder: Path, shards: int, rng: Generator, keys: tuple[str, ...] = KEYS
    ) -> None:
        self._keys = keys
        self._folder = folder
        self._capacity = shards
        self._rng = rng
        self._seen: set[str] = set()
        self._shards: list[dict[str, np.ndarray]] = []

    def refresh(self, limit: int = 4) -> int:
        """Read up to ``limit`` new shards, else exchange one for an old one; count what is held."""
        files = sorted(self._folder.glob("shard_*.npz"))
        new = [f for f in files if f.name not in self._seen][:limit]
        if not new and len(files) > len(self._shards):
            new = [files[int(self._rng.integers(len(files)))]]
        for file in new:
            with np.load(file) as data:
                shard = {key: data[key] for key in self._keys}
            self._seen.add(file.name)
            if len(self._shards) < self._capacity:
                self._shards.append(shard)
            else:
                self._shards[int(self._rng.integers(self._capacity))] = shard
        return len(self._shards)

    @property
    def seen(self) -> int:
        """How many different shards were read."""
        return len(self._seen)

    def draw(self, count: int) -> dict[str, np.ndarray]:
        """Draw ``count`` random pictures."""
        picks = []
        for _ in range(count):
            shard = self._shards[int(self._rng.integers(len(self._shards)))]
            picks.append((shard, int(self._rng.integers(len(shard["image"])))))
        return {key: np.stack([shard[key][i] for shard, i in picks]) for key in self._keys}


def numbers(array: np.ndarray, device: str) -> Tensor:
    """Bring an array of any type to the device, which makes float32 of it."""
    return torch.from_numpy(array).to(device).float()


def _tensors(raw: dict[str, np.ndarray], device: str) -> tuple[Tensor, Batch]:
    image = numbers(raw["image"], device).permute(0, 3, 1, 2) / 255
    batch = Batch(
        x=image,
        mask=numbers(raw["mask"], device)[:, None],
        front=numbers(raw["front"], device)[:, None],
        thickness=numbers(raw["thickness"], device)[:, None],
        normals=numbers(raw["normals"], device).permute(0, 3, 1, 2) / 127,
        log_depth=numbers(raw["log_depth"], device)[:, None],
        has_depth=numbers(raw["has_depth"], device),
        up=numbers(raw["up"], device),
        is_object=numbers(raw["is_object"], device),
    )
    return image, batch


def _flip(image: Tensor, batch: Batch, rng: Generator) -> Tensor:
    """Mirror half of the pictures in place, geometry too."""
    chosen = torch.from_numpy(np.flatnonzero(rng.random(len(image)) < 0.5)).to(image.device)
    for name in ("mask", "front", "thickness", "normals", "log_depth"):
        tensor = getattr(batch, name)
        tensor[chosen] = tensor[chosen].flip(3)
    image[chosen] = image[chosen].flip(3)
    batch.normals[chosen, 0] *= -1
    batch.up[chosen, 0] *= -1
    return image


def sloppy(mask: Tensor, rng: Generator) -> Tensor:
    """Cut out as people and programs do: (1, S, S) a little too much, too little, or soft."""
    kind = rng.random()
    if kind < 0.45:
        soft = F.avg_pool2d(mask, 3, 1, 1)
        return soft if kind < 0.3 else mask
    radius = int(rng.integers(1, 4))
    size = 2 * radius + 1
    if kind < 0.65:
        return F.max_pool2d(mask, size, 1, radius)
    if kind < 0.85:
        return 1 - F.max_pool2d(1 - mask, size, 1, radius)
    return F.avg_pool2d(mask, size, 1, radius)


def _recoloured(image: Tensor, rng: Generator) -> Tensor:
    """Change the colours of (3, S, S): grey, exchanged or only in another light."""
    if rng.random() < 0.2:
        image = image.mean(0, keepdim=True).expand(3, -1, -1)
    elif rng.random() < 0.25:
        image = image[rng.permutation(3).tolist()]
    gain = torch.from_numpy(np.clip(1 + 0.2 * rng.normal(size=(3, 1, 1)), 0.5, 1.5))
    return image * gain.float().to(image.device) + float(rng.normal() * 0.05)


def _cluttered(image: Tensor, other: Tensor, rng: Generator) -> Tensor:
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


def _blurred(image: Tensor, sigma: float) -> Tensor:
    """Blur (C, S, S) with a Gaussian; ``sigma`` in pixels."""
    radius = max(1, round(2.5 * sigma))
    line = torch.arange(-radius, radius + 1, dtype=torch.float32, device=image.device)
    kernel = torch.exp(-0.5 * (line / sigma).square())
    kernel = (kernel / kernel.sum()).expand(len(image), 1, 1, -1)
    padded = F.pad(image[None], (radius, radius, radius, radius), mode="replicate")
    across = F.conv2d(padded, kernel, groups=len(image))
    return F.conv2d(across, kernel.transpose(2, 3), groups=len(image))[0]


def _in_a_room(other: Tensor, mask: Tensor, rng: Generator) -> Tensor:
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
    room = _blurred(room, float(np.exp(rng.uniform(np.log(0.3), np.log(4.0)))))
    if rng.random() < 0.5:
        shift = int(rng.integers(0, max(2, side // 12)))
        shadow = _blurred(mask, float(rng.uniform(0.01, 0.04)) * side).roll(shift, 1)
        room = room * (1 - float(rng.uniform(0.1, 0.6)) * shadow * is_floor)
    cells = int(np.exp(rng.uniform(np.log(4), np.log(65))))
    coarse = torch.from_numpy(rng.normal(size=(1, 1, cells, cells))).float()
    grain = F.interpolate(coarse, size=(side, side), mode="bicubic")[0]
    return (room + float(rng.uniform(0, 0.05)) * grain.to(other.device)).clamp(0, 1)


def training_batch(raw: dict[str, np.ndarray], rng: Generator, device: str = "cpu") -> Batch:
    """Augment drawn pictures and decide whose mask is known."""
    image, batch = _tensors(raw, device)
    image = _flip(image, batch, rng)
    count = len(image)
    other = image[rng.permutation(count).tolist()]
    alpha = torch.full_like(batch.mask, 0.5)
    is_object, is_depth_free = raw["is_object"] > 0.5, raw["has_depth"] < 0.5
    for i in range(count):
        image[i] = _recoloured(image[i], rng)
        if not is_object[i]:
            continue
        if rng.random() < KNOWN:
            known = sloppy(batch.mask[i], rng)
            image[i] = image[i] * known + 0.5 * (1 - known)
            alpha[i] = known
            batch.has_depth[i] = 0
            continue
        kind = rng.random()
        is_pasted = is_depth_free[i] and kind < 0.2
        is_in_room = 0.2 <= kind < 0.5
        is_cluttered = kind > 0.75 or (is_pasted and kind < 0.1)
        if is_pasted or is_in_room or is_cluttered:
            soft = F.avg_pool2d(batch.mask[i], 3, 1, 1)
            behind = other[i] if is_pasted else image[i]
            if is_in_room:
                behind = _in_a_room(other[i], batch.mask[i], rng)
            if is_cluttered:
                behind = _cluttered(behind, other[i], rng)
            image[i] = image[i] * soft + behind * (1 - soft)
            batch.has_depth[i] = 0
            outside = batch.mask[i] < 0.5
            batch.normals[i] = batch.normals[i].masked_fill(outside, 0)
    batch.x = torch.cat([image.clamp(0, 1), alpha], 1) * 2 - 1
    return batch


def plain_batch(raw: dict[str, np.ndarray], is_mask_known: bool, device: str = "cpu") -> Batch:
    """Make a batch without augmentation."""
    image, batch = _tensors(raw, device)
    alpha = torch.full_like(batch.mask, 0.5)
    if is_mask_known:
        image = image * batch.mask + 0.5 * (1 - batch.mask)
        alpha = batch.mask
    batch.x = torch.cat([image, alpha], 1) * 2 - 1
    return batch
