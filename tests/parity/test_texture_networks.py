"""Real-ESRGAN and LaMa against spandrel's networks, same random weights."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.pixels import lama, realesrgan
from torch import Tensor, nn

sys.path.insert(0, str(Path(__file__).parent))

import cutout_state

pytestmark = pytest.mark.parity
CPU = torch.device("cpu")


def nothing() -> None:
    pass


_operators: list[torch.library.Library] = []


def prepare_torchvision() -> None:
    """Let spandrel import a torchvision that was built for another PyTorch.

    The networks compared here use none of its compiled operators, but their names must exist.
    """
    try:
        importlib.import_module("torchvision")
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _operators.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            arguments = "Tensor dets, Tensor scores, float iou_threshold"
            _operators[0].define(f"{name}({arguments}) -> Tensor")


def reference_class(room: str, name: str) -> Any:
    prepare_torchvision()
    pytest.importorskip("spandrel")
    return getattr(importlib.import_module(f"spandrel.architectures.{room}"), name)


def made(module: ModuleType, state: dict[str, Tensor]) -> nn.Module:
    mapped = module.map_checkpoint(state)
    net = checkpoint.build(lambda: module.make_network(mapped))
    checkpoint.take_on(net, mapped, Path("test"), CPU, torch.float32)
    return net


def noise(channels: int, shape: tuple[int, int]) -> Tensor:
    return torch.rand(1, channels, *shape, generator=torch.Generator().manual_seed(11))


@pytest.mark.parametrize("shape", [(16, 16), (33, 20), (7, 48)])
@pytest.mark.parametrize("name", ["realesr_general_x4v3", "realesrgan_x4plus"])
def test_super_resolution(name: str, shape: tuple[int, int], difference: Callable) -> None:
    state = cutout_state.published_state(name)
    room = "Compact" if "general" in name else "ESRGAN"
    reference = reference_class(room, f"{room}Arch")().load(dict(state)).model
    ours = made(realesrgan, state)
    picture = noise(3, shape)
    with torch.inference_mode():
        assert difference(ours(picture, nothing), reference.eval()(picture)) < 1e-4


@pytest.mark.parametrize("shape", [(64, 64), (48, 136)])
def test_filling(shape: tuple[int, int], difference: Callable) -> None:
    state = cutout_state.published_state("big_lama")
    for key in state:  # thirty-six residual blocks in a row would blow random weights up
        if key.endswith("bn_l.weight") or key.endswith("bn_g.weight"):
            state[key] *= 0.35
    reference = reference_class("LaMa", "LaMa")(in_nc=4, out_nc=3)
    prefix = "generator."
    reference.load_state_dict({"model." + k.removeprefix(prefix): v for k, v in state.items()})
    ours = made(lama, state)
    picture, hole = noise(3, shape), (noise(1, shape) > 0.6).float()
    with torch.inference_mode():
        wanted = reference.eval().model(picture * (1 - hole), hole)
        assert difference(ours(picture, hole, nothing), wanted) < 1e-4
        ours.fuse()
        assert difference(ours(picture, hole, nothing), wanted) < 1e-4


@pytest.mark.parametrize("name", ["realesr_general_x4v3", "realesrgan_x4plus", "big_lama"])
def test_every_published_key_is_taken(name: str) -> None:
    shapes = json.loads((cutout_state.KEYS / f"{name}.json").read_text())["shapes"]
    module = lama if name == "big_lama" else realesrgan
    with torch.device("meta"):
        mapped = module.map_checkpoint({key: torch.empty(s) for key, s in shapes.items()})
        net = module.make_network(mapped)
    assert len(mapped) == len(shapes)
    assert {k: v.shape for k, v in mapped.items()} == {
        k: v.shape for k, v in net.state_dict().items()
    }
