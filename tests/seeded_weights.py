"""Weights that depend on their names alone, so that none need to be stored with a golden output."""

from __future__ import annotations

import zlib
from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor


def seeded_weight(name: str, shape: Sequence[int]) -> Tensor:
    """Noise that keeps signals at about their size: gains near 1, small biases, scaled matrices."""
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    noise = generator.standard_normal(tuple(shape), np.float32)
    if "embeddings" in name and "projection" not in name:
        noise = 0.5 * noise
    elif "lambda1" in name:
        noise = 1 + 0.1 * noise
    elif len(shape) == 1:
        noise = 0.1 * noise + (1 if "norm" in name and name.endswith("weight") else 0)
    else:
        noise = noise / np.sqrt(np.prod(shape[1:]))
    return torch.from_numpy(noise.astype(np.float32))


def seeded_weights(shapes: Mapping[str, Sequence[int]]) -> dict[str, Tensor]:
    """A whole state from names and shapes."""
    return {name: seeded_weight(name, shape) for name, shape in shapes.items()}


def seeded_noise(seed: int, *shape: int) -> Tensor:
    """Normal noise, the same on every machine."""
    return torch.from_numpy(np.random.default_rng(seed).standard_normal(shape, np.float32))
