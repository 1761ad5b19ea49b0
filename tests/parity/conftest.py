"""Weights that come out the same wherever they are made, for a reference and for us."""

from __future__ import annotations

import importlib
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import pytest
import torch
from torch import Tensor

State = dict[str, Tensor]
OPERATORS = torch.library.Library("torchvision", "FRAGMENT")


def _seeded(name: str, shape: Sequence[int]) -> Tensor:
    """Random weights that depend on a key's name and shape alone, of sizes that keep signals up.

    Convolutions and matrices keep the variance of a ReLU network (He et al. 2015), gains lie
    around one half, biases are small, positions and tokens matter.
    """
    generator = np.random.default_rng(zlib.crc32(name.encode()))
    noise = generator.standard_normal(tuple(shape), np.float32)
    if name.endswith(("gamma", "lambda1")):
        noise = 0.5 + 0.2 * np.tanh(noise)
    elif len(shape) == 1 and name.endswith("weight"):
        noise = 1 + 0.1 * noise
    elif name.endswith("bias"):
        noise = 0.05 * noise
    elif "pos_embed" in name or "token" in name or "position" in name:
        noise = 0.3 * noise
    elif len(shape) == 4:
        fan = shape[1] * shape[2] * shape[3]
        noise = noise * np.sqrt(2 / fan)
    elif len(shape) == 2:
        noise = noise * np.sqrt(1 / shape[1])
    return torch.from_numpy(noise.astype(np.float32))


@pytest.fixture(scope="session")
def seeded() -> Callable[[Mapping[str, Sequence[int]]], State]:
    """Give a function from key names and shapes to weights."""

    def weights(shapes: Mapping[str, Sequence[int]]) -> State:
        return {name: _seeded(name, shape) for name, shape in shapes.items()}

    return weights


@pytest.fixture(scope="session")
def difference() -> Callable[[Tensor, Tensor], float]:
    """Give the measure of the tests: the largest difference over the spread of the reference."""

    def relative(ours: Tensor, reference: Tensor) -> float:
        assert ours.shape == reference.shape
        spread = reference.float().std()
        assert spread > 1e-3 * reference.float().abs().mean(), "a flat reference proves nothing"
        return float((ours.float() - reference.float()).abs().max() / spread)

    return relative


@pytest.fixture(scope="session")
def torchvision() -> None:
    """Let references import a torchvision that was built for another PyTorch.

    Its compiled operators do not load then; no reference runs them, but their names must exist.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        pytest.skip("torchvision is not installed")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        for name in ("nms", "qnms"):
            OPERATORS.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
