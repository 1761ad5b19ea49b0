"""Batches for the appearance decoder: pictures of objects whose mask is known, and of places."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor

from .batches import numbers, sloppy

KEYS = (
    "image",
    "mask",
    "front",
    "thickness",
    "is_object",
    "half",
    "albedo",
    "hidden",
    "roughness",
    "metal",
)


@dataclass(slots=True)
class AppearanceBatch:
    """What the decoder gets and what it should say; B pictures of side S, h = S / 2.

    Attributes:
        x: (B, 4, S, S) input of the network.
        weight: (B, 1, h, h) share of the object, zero for places.
        front: (B, 1, h, h) depth of the first surface, mean zero, in half crop widths.
        back: (B, 1, h, h) of the last surface, same zero.
        albedo: (B, 3, h, h) sRGB 0..1.
        hidden: (B, 3, h, h) sRGB 0..1.
        roughness: (B, 1, h, h).
        metal: (B, 1, h, h).
        log_half: (B,) logarithm of the tangent of half the field of view.
        is_object: (B,).
    """

    x: Tensor
    weight: Tensor
    front: Tensor
    back: Tensor
    albedo: Tensor
    hidden: Tensor
    roughness: Tensor
    metal: Tensor
    log_half: Tensor
    is_object: Tensor


def _halved(values: Tensor, mask: Tensor) -> Tensor:
    return F.avg_pool2d(values * mask, 2) / F.avg_pool2d(mask, 2).clamp_min(0.25)


def _batch(raw: dict[str, np.ndarray], device: str) -> tuple[Tensor, Tensor, AppearanceBatch]:
    """(B, 3, S, S) pictures and (B, 1, S, S) masks beside the batch, whose ``x`` is still empty."""

    def plane(key: str) -> Tensor:
        return numbers(raw[key], device)[:, None]

    def colour(key: str) -> Tensor:
        return numbers(raw[key], device).permute(0, 3, 1, 2) / 255

    mask, front = plane("mask"), plane("front")
    weight = F.avg_pool2d(mask, 2)
    batch = AppearanceBatch(
        x=torch.empty(0),
        weight=weight.masked_fill(weight <= 0.7, 0),
        front=_halved(front, mask),
        back=_halved(front + plane("thickness"), mask),
        albedo=colour("albedo"),
        hidden=colour("hidden"),
        roughness=plane("roughness") / 255,
        metal=plane("metal") / 255,
        log_half=numbers(raw["half"], device).log(),
        is_object=numbers(raw["is_object"], device),
    )
    return colour("image"), mask, batch


def network_input(image: Tensor, alpha: Tensor) -> Tensor:
    """(B, 4, S, S) as the product makes it of a picture and a known cut-out."""
    image = image * alpha + 0.5 * (1 - alpha)
    return torch.cat([image.clamp(0, 1), alpha], 1) * 2 - 1


def training_batch(
    raw: dict[str, np.ndarray], rng: Generator, device: str = "cpu"
) -> AppearanceBatch:
    """Augment: mirrored, grey, other hues, other exposure, sloppy cut-outs."""
    image, mask, batch = _batch(raw, device)
    chosen = torch.from_numpy(np.flatnonzero(rng.random(len(image)) < 0.5)).to(device)
    image[chosen], mask[chosen] = image[chosen].flip(3), mask[chosen].flip(3)
    names = ("weight", "front", "back", "albedo", "hidden", "roughness", "metal")
    for name in names:
        tensor = getattr(batch, name)
        tensor[chosen] = tensor[chosen].flip(3)
    alpha = torch.full_like(mask, 0.5)
    for i in range(len(image)):
        if rng.random() < 0.1:
            for tensor in (image, batch.albedo, batch.hidden):
                tensor[i] = tensor[i].mean(0, keepdim=True)
        elif rng.random() < 0.3:
            order = rng.permutation(3).tolist()
            for tensor in (image, batch.albedo, batch.hidden):
                tensor[i] = tensor[i][order]
        gain = np.clip(1 + 0.12 * rng.normal(size=(3, 1, 1)), 0.6, 1.4)
        gain = torch.from_numpy(gain).float().to(device)
        offset = float(rng.normal() * 0.03)
        image[i] = image[i] * gain + offset
        batch.hidden[i] = (batch.hidden[i] * gain + offset).clamp(0, 1)
        if raw["is_object"][i] > 0.5:
            alpha[i] = sloppy(mask[i], rng)
    batch.x = _with_places(image, alpha, batch)
    return batch


def plain_batch(raw: dict[str, np.ndarray], device: str = "cpu") -> AppearanceBatch:
    """Make a batch without augmentation."""
    image, mask, batch = _batch(raw, device)
    objects = batch.is_object[:, None, None, None] > 0.5
    batch.x = _with_places(image, torch.where(objects, mask, torch.full_like(mask, 0.5)), batch)
    return batch


def _with_places(image: Tensor, alpha: Tensor, batch: AppearanceBatch) -> Tensor:
    cut = network_input(image, alpha)
    whole = torch.cat([image.clamp(0, 1), alpha], 1) * 2 - 1  # nothing is cut out of a place
    return torch.where(batch.is_object[:, None, None, None] > 0.5, cut, whole)
