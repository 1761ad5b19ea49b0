"""Depth Anything V2 against the authors' code and against transformers, same random weights.

The authors' code comes from the PyPI package depth-anything-v2; its declared dependencies are far
too new and not needed, so it is installed without them (see the Makefile).
"""

from __future__ import annotations

import json
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.depth import depth_anything
from safetensors.torch import save_file
from torch import Tensor

pytestmark = pytest.mark.parity
KEYS = Path(__file__).parents[1] / "data" / "keys"
NAMES = {"small": "vits", "base": "vitb", "large": "vitl"}
CPU = torch.device("cpu")


class Compose:
    """What the authors' code needs of torchvision."""

    def __init__(self, steps: list[Callable[[dict[str, Any]], dict[str, Any]]]) -> None:
        self.steps = steps

    def __call__(self, sample: dict[str, Any]) -> dict[str, Any]:
        for step in self.steps:
            sample = step(sample)
        return sample


@pytest.fixture(scope="module")
def reference_class() -> Any:
    """Import the authors' network without their dependencies."""
    pytest.importorskip("depth_anything_v2")
    with pytest.MonkeyPatch.context() as patch:
        transforms = types.ModuleType("torchvision.transforms")
        transforms.Compose = Compose  # type: ignore[attr-defined]
        patch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
        patch.setitem(sys.modules, "torchvision.transforms", transforms)
        from depth_anything_v2.dpt import DepthAnythingV2
    return DepthAnythingV2


def published_state(seeded: Callable, file: str) -> dict[str, Tensor]:
    """Fill a real checkpoint's keys with weights that keep the last ReLU open."""
    shapes = json.loads((KEYS / f"{file}.json").read_text())["shapes"]
    state = seeded(shapes)
    for last in ("depth_head.scratch.output_conv2.2", "head.conv3"):
        if f"{last}.bias" in state:
            state[f"{last}.bias"] += 3.0
            state[f"{last}.weight"].abs_()
    return state


def our_net(
    state: dict[str, Tensor], size: str, dtype: torch.dtype = torch.float32
) -> depth_anything.DepthAnythingNet:
    net = checkpoint.build(lambda: depth_anything.DepthAnythingNet(depth_anything.VARIANTS[size]))
    mapped = depth_anything.map_checkpoint(state)
    checkpoint.take_on(net, mapped, Path("test.safetensors"), CPU, dtype)
    return net


def noise(height: int, width: int) -> Tensor:
    return torch.randn(1, 3, height, width, generator=torch.Generator().manual_seed(3))


@pytest.mark.parametrize(
    ("size", "shape"),
    [
        ("small", (518, 518)),
        ("small", (518, 602)),
        ("small", (266, 364)),
        ("small", (14, 98)),
        ("base", (112, 168)),
    ],
)
def test_the_authors_network_agrees(
    reference_class: Any, seeded: Callable, difference: Callable, size: str, shape: tuple[int, int]
) -> None:
    variant = depth_anything.VARIANTS[size]
    state = published_state(seeded, f"depth_anything_v2_{size}")
    reference = reference_class(NAMES[size], variant.features, list(variant.channels)).eval()
    reference.load_state_dict(state, strict=True)
    ours = our_net(state, size)
    with torch.inference_mode():
        expected = reference(noise(*shape))
        got = ours(noise(*shape)).relu()
    assert (expected > 0).float().mean() > 0.5
    assert difference(got, expected) < 1e-4


@pytest.mark.parametrize("shape", [(97, 131), (60, 40), (31, 200)])
def test_a_picture_gives_what_the_authors_give(
    reference_class: Any, seeded: Callable, tmp_path: Path, shape: tuple[int, int]
) -> None:
    """Resizing in and out included; ``infer_image`` takes 8-bit BGR."""
    state = published_state(seeded, "depth_anything_v2_small")
    reference = reference_class("vits", 64, [48, 96, 192, 384]).eval()
    reference.load_state_dict(state, strict=True)
    save_file(state, tmp_path / "weights.safetensors")
    ours = depth_anything.load(tmp_path / "weights.safetensors", CPU)
    rgb = np.random.default_rng(5).integers(0, 256, (*shape, 3), np.uint8)
    side = 98
    expected = reference.infer_image(rgb[..., ::-1].copy(), side)
    got = ours.estimate(
        rgb.astype(np.float32) / 255, lambda: None, short_side=side, max_side=10_000
    )
    assert got.nearness is not None
    assert np.abs(got.nearness - expected).max() < 1e-4 * expected.std()


@pytest.mark.parametrize("max_depth", [None, 20])
def test_transformers_agrees(
    torchvision: None, seeded: Callable, difference: Callable, max_depth: int | None
) -> None:
    """At the trained size only: elsewhere transformers resamples positions by another rule."""
    transformers = pytest.importorskip("transformers")
    backbone = transformers.Dinov2Config(
        image_size=518,
        patch_size=14,
        hidden_size=384,
        num_attention_heads=6,
        num_hidden_layers=12,
        out_features=["stage3", "stage6", "stage9", "stage12"],
        reshape_hidden_states=False,
        apply_layernorm=True,
    )
    config = transformers.DepthAnythingConfig(
        backbone_config=backbone,
        reassemble_hidden_size=384,
        patch_size=14,
        neck_hidden_sizes=[48, 96, 192, 384],
        fusion_hidden_size=64,
        head_in_index=-1,
        head_hidden_size=32,
        **({"depth_estimation_type": "metric", "max_depth": max_depth} if max_depth else {}),
    )
    reference = transformers.DepthAnythingForDepthEstimation(config).eval()
    state = seeded({key: value.shape for key, value in reference.state_dict().items()})
    if max_depth:  # keep the sigmoid away from its ends
        state["head.conv3.weight"] *= 0.1
    else:
        state["head.conv3.bias"] += 3.0
    reference.load_state_dict(state, strict=True)
    ours = our_net(state, "small")
    with torch.inference_mode():
        expected = reference(pixel_values=noise(518, 518)).predicted_depth
        got = ours(noise(518, 518))
    got = got.sigmoid() * max_depth if max_depth else got.relu()
    assert difference(got, expected) < 1e-4


@pytest.mark.parametrize("size", list(NAMES))
@pytest.mark.parametrize("style", ["", "_hf"])
def test_the_real_files_keys_are_exactly_accepted(size: str, style: str) -> None:
    shapes = json.loads((KEYS / f"depth_anything_v2_{size}{style}.json").read_text())["shapes"]
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    net = checkpoint.build(lambda: depth_anything.DepthAnythingNet(depth_anything.VARIANTS[size]))
    wanted = {key: value.shape for key, value in net.state_dict().items()}
    mapped = depth_anything.map_checkpoint(state)
    assert {key: value.shape for key, value in mapped.items()} == wanted
    again = depth_anything.map_checkpoint(mapped)
    assert again.keys() == mapped.keys()


def test_both_published_files_make_the_same_network(seeded: Callable) -> None:
    """The "-hf" names, filled from the original ones, must come back as they were."""
    shapes = json.loads((KEYS / "depth_anything_v2_small_hf.json").read_text())["shapes"]
    theirs = seeded(shapes)
    mapped = depth_anything.map_checkpoint(theirs)
    block = "backbone.encoder.layer.7.attention.attention."
    joined = torch.cat([theirs[f"{block}{part}.weight"] for part in ("query", "key", "value")])
    assert torch.equal(mapped["pretrained.blocks.7.attn.qkv.weight"], joined)
    fusion = theirs["neck.fusion_stage.layers.0.residual_layer2.convolution1.weight"]
    assert torch.equal(mapped["depth_head.scratch.refinenet4.resConfUnit2.conv1.weight"], fusion)


@pytest.mark.parametrize("dtype", [torch.bfloat16])
def test_half_precision_stays_close(seeded: Callable, dtype: torch.dtype) -> None:
    state = published_state(seeded, "depth_anything_v2_small")
    exact, half = our_net(state, "small"), our_net(state, "small", dtype)
    image = noise(98, 126)
    with torch.inference_mode():
        full, short = exact(image), half(image.to(dtype)).float()
    assert torch.isfinite(short).all()
    together = torch.corrcoef(torch.stack([full.flatten(), short.flatten()]))
    assert together[0, 1] > 0.99
