"""Shards become batches: a window of pictures in memory, colour and mask augmentation."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor

from .behind import blurred, cluttered, in_a_room

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
    "counts",
)


SMALLER = 0.35  # of the others, share that become small things in a larger picture
SMALL_SIZES = (0.2, 0.65)  # their longer side in the picture's
OFF_CENTRE = 0.12  # standard deviation of their place, in the picture's side
IN_PLACE = 0.5  # share of them in a picture of a place instead of a made-up room


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
        counts: (B,) 0 where nobody can say whether it is an object or a place.
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
    counts: Tensor


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
        counts=numbers(raw["counts"], device),
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


def _smaller(image: Tensor, batch: Batch, i: int, rng: Generator) -> Tensor:
    """Make a subject a small thing in a larger picture, in place, its geometry too.

    People photograph things from a few steps away; what fills a crop is all that ``pictures`` draws.
    The unit of depth is half the crop's width, so depth shrinks with the picture.

    Args:
        image: (B, 3, S, S); picture ``i`` is black beside the subject afterwards.
        batch: What the network should say.
        i: Which one.
        rng: Decides size and place.

    Returns:
        (1, S, S) how much of each pixel the subject covers.
    """
    side = image.shape[-1]
    rows, columns = (torch.nonzero(batch.mask[i, 0].amax(d))[:, 0] for d in (1, 0))
    extent = [(int(n[0]), int(n[-1]) + 1) if len(n) else (0, side) for n in (rows, columns)]
    fill = max(high - low for low, high in extent) / side
    factor = min(1.0, float(np.exp(rng.uniform(*np.log(SMALL_SIZES)))) / fill)
    size = max(8, round(side * factor))
    corner = []
    for low, high in extent:
        least, most = -low * factor, side - high * factor
        wanted = (least + most) / 2 + float(rng.normal()) * OFF_CENTRE * side
        corner.append(round(min(max(wanted, least), most)))

    def shrunk(pixels: Tensor) -> Tensor:
        return F.interpolate(pixels[None], (size, size), mode="area")[0]

    def placed(pixels: Tensor) -> Tensor:
        top, left = corner
        rows = slice(max(top, 0), min(top + size, side))
        columns = slice(max(left, 0), min(left + size, side))
        whole = pixels.new_zeros((len(pixels), side, side))
        whole[:, rows, columns] = pixels[
            :, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left
        ]
        return whole

    mask = batch.mask[i]
    cover = shrunk(mask)
    share = cover.clamp_min(1e-3)
    for name, unit in (("front", factor), ("thickness", factor), ("normals", 1.0)):
        maps = getattr(batch, name)
        maps[i] = placed(shrunk(maps[i] * mask) / share * unit * (cover > 0.5))
    image[i] = placed(shrunk(image[i] * mask) / share)
    batch.mask[i] = placed((cover > 0.5).float())
    return placed(cover)


def _before_another_background(
    image: Tensor, batch: Batch, i: int, other: Tensor, places: list[Tensor], rng: Generator
) -> None:
    """Change what stands behind a subject whose mask is secret, or leave it, in place.

    Args:
        image: (B, 3, S, S).
        batch: What the network should say.
        i: Which picture.
        other: (3, S, S) another picture, which patches and backgrounds are taken from.
        places: (3, S, S) pictures of whole places.
        rng: Decides.
    """
    is_depth_free = bool(batch.has_depth[i] < 0.5)
    kind = rng.random()
    is_pasted = is_depth_free and kind < 0.2
    is_in_room = 0.2 <= kind < 0.5
    is_cluttered = kind > 0.75 or (is_pasted and kind < 0.1)
    is_small = rng.random() < SMALLER
    if not (is_pasted or is_in_room or is_cluttered or is_small):
        return
    soft = _smaller(image, batch, i, rng) if is_small else F.avg_pool2d(batch.mask[i], 3, 1, 1)
    behind = other if is_pasted else image[i]
    if is_small and places and rng.random() < IN_PLACE:
        place = places[int(rng.integers(len(places)))]
        behind = blurred(place, float(rng.uniform(0.3, 3))) if rng.random() < 0.7 else place
        batch.counts[i] = 0  # as much a place as a thing
    elif is_in_room or is_small:
        behind = in_a_room(other, batch.mask[i], rng)
    if is_cluttered and not is_small:
        behind = cluttered(behind, other, rng)
    image[i] = image[i] * soft + behind * (1 - soft)
    batch.has_depth[i] = 0
    batch.normals[i] = batch.normals[i].masked_fill(batch.mask[i] < 0.5, 0)


def training_batch(
    raw: dict[str, np.ndarray], rng: Generator, known: float, device: str = "cpu"
) -> Batch:
    """Augment drawn pictures and tell the mask of a share ``known`` of things that stand alone."""
    image, batch = _tensors(raw, device)
    image = _flip(image, batch, rng)
    count = len(image)
    other = image[rng.permutation(count).tolist()]
    is_object, is_alone = raw["is_object"] > 0.5, raw["counts"] > 0.5
    places = [image[i].clone() for i in np.flatnonzero(~is_object)]
    alpha = torch.full_like(batch.mask, 0.5)
    for i in range(count):
        image[i] = _recoloured(image[i], rng)
        if not (is_object[i] and is_alone[i]):
            continue  # what stands in its place stays there
        if rng.random() < known:
            told = sloppy(batch.mask[i], rng)
            image[i] = image[i] * told + 0.5 * (1 - told)
            alpha[i] = told
            batch.has_depth[i] = 0
        else:
            _before_another_background(image, batch, i, other[i], places, rng)
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
