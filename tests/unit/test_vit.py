"""The shared vision transformer: shapes, positions, and agreement with a plain restatement."""

from __future__ import annotations

import math

import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.models.backbones.vit import VisionTransformer, token_map
from torch import Tensor


def small(**options: object) -> VisionTransformer:
    """Make a tiny network with random weights in every parameter."""
    net = VisionTransformer(
        **{"patch": 4, "width": 24, "depth": 3, "heads": 3, "grid": 5} | options
    )
    generator = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.copy_(0.3 * torch.randn(parameter.shape, generator=generator))
    return net.eval()


def restated(net: VisionTransformer, x: Tensor) -> Tensor:
    """The blocks and the final norm, written out in float64 and without fused kernels."""
    state = {key: value.double() for key, value in net.state_dict().items()}

    def norm(x: Tensor, name: str) -> Tensor:
        spread = torch.sqrt(x.var(-1, keepdim=True, correction=0) + 1e-6)
        middle = (x - x.mean(-1, keepdim=True)) / spread
        return middle * state[name + ".weight"] + state[name + ".bias"]

    def linear(x: Tensor, name: str) -> Tensor:
        return x @ state[name + ".weight"].T + state[name + ".bias"]

    for index in range(len(net.blocks)):
        name = f"blocks.{index}."
        q, k, v = linear(norm(x, name + "norm1"), name + "attn.qkv").chunk(3, -1)
        mixed = []
        for part in (slice(0, 8), slice(8, 16), slice(16, 24)):
            weight = (q[..., part] @ k[..., part].mT / math.sqrt(8)).softmax(-1)
            mixed.append(weight @ v[..., part])
        change = linear(torch.cat(mixed, -1), name + "attn.proj")
        x = x + change * state[name + "ls1.gamma"]
        hidden = linear(norm(x, name + "norm2"), name + "mlp.fc1")
        hidden = hidden * 0.5 * (1 + torch.erf(hidden / math.sqrt(2)))
        x = x + linear(hidden, name + "mlp.fc2") * state[name + "ls2.gamma"]
    return norm(x, "norm")


def test_blocks_compute_what_the_paper_says() -> None:
    net = small()
    images = torch.randn(2, 3, 12, 20, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        got = net.forward_taps(images, [2])[0]
        expected = restated(net, net.embed(images).double())
    assert got.shape == (2, 1 + 3 * 5, 24)
    assert torch.allclose(got.double(), expected, atol=1e-4)


def test_taps_come_in_order_and_later_blocks_do_not_run() -> None:
    net = small()
    images = torch.randn(1, 3, 8, 8, generator=torch.Generator().manual_seed(2))
    reports = 0

    def report() -> None:
        nonlocal reports
        reports += 1

    with torch.inference_mode():
        first, second = net.forward_taps(images, [0, 1], report)
        both = net.forward_taps(images, [0, 1, 2])
    assert reports == 2
    assert torch.equal(first, both[0])
    assert torch.equal(second, both[1])
    assert not torch.allclose(first, second)


def test_the_trained_grid_keeps_its_positions_and_others_are_resampled() -> None:
    net = small()
    assert net.positions(5, 5) is net.pos_embed
    grid = net.pos_embed[:, 1:].unflatten(1, (5, 5)).permute(0, 3, 1, 2)
    # The middle of row i lies at (i + 0.5) / ((rows + 0.1) / 5) of the trained grid.
    y = (torch.arange(3) + 0.5) / 3.1 * 2 - 1
    x = (torch.arange(10) + 0.5) / 10.1 * 2 - 1
    places = torch.stack(torch.meshgrid(x, y, indexing="xy"), -1)[None]
    expected = F.grid_sample(
        grid, places, mode="bicubic", padding_mode="border", align_corners=False
    )
    got = net.positions(3, 10)
    assert torch.equal(got[:, 0], net.pos_embed[:, 0])
    assert torch.allclose(token_map(got, 3, 10), expected, atol=1e-5)


def test_a_patch_sees_only_its_own_pixels_before_the_blocks() -> None:
    net = small()
    images = torch.zeros(1, 3, 8, 12)
    changed = images.clone()
    changed[0, :, 5, 9] = 1.0  # row 1, column 2 of the grid
    with torch.inference_mode():
        moved = (net.embed(changed) - net.embed(images)).abs().amax(2)
        place = token_map(moved[..., None], 2, 3)[0, 0]
    assert place.nonzero().tolist() == [[1, 2]]


def test_without_layer_scale_there_are_no_gains() -> None:
    keys = small(layer_scale=False).state_dict().keys()
    assert not [key for key in keys if ".ls" in key]
    assert "blocks.2.attn.qkv.bias" in keys


def test_dinov2_small_has_the_published_shapes() -> None:
    with torch.device("meta"):
        net = VisionTransformer()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    assert sum(value.numel() for value in net.parameters()) == 22_056_192
    assert shapes["pos_embed"] == (1, 1370, 384)
    assert shapes["patch_embed.proj.weight"] == (384, 3, 14, 14)
    assert shapes["blocks.11.attn.qkv.weight"] == (1152, 384)
    assert shapes["blocks.11.ls2.gamma"] == (384,)


def test_cancelling_stops_between_blocks() -> None:
    def report() -> None:
        raise RunCancelled

    with pytest.raises(RunCancelled):
        small().forward_taps(torch.zeros(1, 3, 8, 8), [2], report)
