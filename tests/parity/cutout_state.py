"""Weights and pictures that come out the same for the cut-out networks and their references."""

from __future__ import annotations

import json
import zlib
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

KEYS = Path(__file__).parents[1] / "data" / "keys"
LOOKS = {"wide": (64, 96), "tall": (160, 128)}
STEP = 2  # of the answers every second row and column is stored


def published_state(name: str) -> dict[str, Tensor]:
    """Fill a published checkpoint's keys with weights that depend on their names alone.

    Convolutions keep the variance of a ReLU network (He et al. 2015); the last layers are weak, so
    that the sigmoid after them hides nothing. Indices, which are no weights, are left out.
    """
    shapes = json.loads((KEYS / f"{name}.json").read_text())["shapes"]
    state = {}
    for key, shape in shapes.items():
        if key.endswith("relative_position_index"):
            continue
        if key.endswith("num_batches_tracked"):
            state[key] = torch.zeros((), dtype=torch.int64)
            continue
        noise = np.random.default_rng(zlib.crc32(key.encode())).standard_normal(shape, np.float32)
        if key.endswith("running_var"):
            noise = 1 + 0.3 * np.tanh(noise)
        elif len(shape) == 1:
            noise = 0.1 * noise + (1 if key.endswith("weight") else 0)
        else:
            noise *= np.float32(np.sqrt(2 / np.prod(shape[1:])))
        if key.startswith(("side", "outconv", "decoder.conv_out1", "generator.model.34.")):
            noise = 0.1 * noise
        state[key] = torch.from_numpy(noise.astype(np.float32))
    return state


def look(shape: tuple[int, int]) -> Tensor:
    """A normalised picture of noise."""
    noise = np.random.default_rng(7).standard_normal((1, 3, *shape), np.float32)
    return torch.from_numpy(noise)
