"""Depth Anything V2: sizes, the turn from nearness to depth, batches, cancelling."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.models.backbones.dpt import DptHead, enlarged_rows
from image_to_mesh.inference.models.depth import depth_anything
from image_to_mesh.inference.models.depth.depth_anything import (
    DepthAnything,
    DepthAnythingNet,
    Variant,
    depth_from_nearness,
    network_size,
)
from safetensors.torch import save_file

TINY = Variant(24, 4, 2, (0, 1, 2, 3), (8, 8, 8, 8), 8)
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def net() -> DepthAnythingNet:
    torch.manual_seed(0)
    net = DepthAnythingNet(TINY).eval()
    with torch.no_grad():
        net.depth_head.scratch.output_conv2[2].bias.fill_(1.0)
    return net


def noise(height: int, width: int) -> np.ndarray:
    picture = np.random.default_rng(height).random((height, width, 3), np.float32)
    return cv2.GaussianBlur(picture, (0, 0), 2) if min(height, width) > 8 else picture


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((518, 518), (518, 518)),
        ((1080, 1920), (518, 924)),
        ((1920, 1080), (924, 518)),
        ((480, 640), (518, 686)),
        ((1, 1), (518, 518)),
        ((100, 5000), (42, 2072)),  # a panorama: the long side stops at four short sides
        ((5000, 3), (2072, 14)),
    ],
)
def test_the_networks_view_of_a_picture(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert network_size((*shape, 3)) == expected


def test_less_memory_means_a_smaller_view() -> None:
    assert network_size((480, 640, 3), short_side=252) == (252, 336)
    assert network_size((480, 640, 3), max_side=350) == (266, 350)


@pytest.mark.parametrize("shape", [(1, 1), (2, 150), (90, 3), (31, 57)])
@pytest.mark.parametrize("max_depth", [None, 20.0])
def test_pictures_of_any_size_and_shape(
    net: DepthAnythingNet, shape: tuple[int, int], max_depth: float | None
) -> None:
    got = DepthAnything(net, max_depth).estimate(noise(*shape), lambda: None, short_side=28)
    assert got.depth.shape == got.valid.shape == shape
    assert got.depth.dtype == np.float32
    assert np.isfinite(got.depth).all()
    assert (got.depth > 0).all()
    assert got.is_metric == (max_depth is not None)
    if max_depth is None:
        assert np.median(got.depth) == pytest.approx(1, rel=0.01)
    else:
        assert got.depth.max() <= max_depth


def test_a_batch_gives_what_single_pictures_give(net: DepthAnythingNet) -> None:
    pictures = [noise(20, 30), noise(30, 20), noise(40, 60), noise(20, 30)]
    network = DepthAnything(net)
    together = network.estimate_batch(pictures, lambda: None, short_side=28, chunk=2)
    for rgb, got in zip(pictures, together, strict=True):
        alone = network.estimate(rgb, lambda: None, short_side=28)
        assert alone.nearness is not None
        assert got.nearness is not None
        assert np.allclose(got.nearness, alone.nearness, atol=1e-5)


def test_the_same_picture_gives_the_same_numbers(net: DepthAnythingNet) -> None:
    network = DepthAnything(net)
    first, second = (
        network.estimate(noise(40, 60), lambda: None, short_side=28, detail_side=60)
        for _ in range(2)
    )
    assert np.array_equal(first.depth, second.depth)


def test_tiles_are_looked_at_only_where_they_show_more(net: DepthAnythingNet) -> None:
    calls = []
    network = DepthAnything(net)
    rgb = noise(60, 90)
    network.estimate(rgb, lambda: calls.append(1), short_side=28)
    once = len(calls)
    network.estimate(rgb, lambda: calls.append(1), short_side=28, detail_side=45)
    assert len(calls) == 2 * once  # 45 is hardly more than the 42 of the whole view
    got = network.estimate(rgb, lambda: calls.append(1), short_side=28, detail_side=90)
    assert len(calls) > 8 * once
    assert got.depth.shape == (60, 90)


def test_cancelling_stops_between_blocks(net: DepthAnythingNet) -> None:
    calls = 0

    def report() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        DepthAnything(net).estimate(noise(20, 20), report, short_side=28)
    assert calls == 3


def test_half_precision_gives_float32_without_terraces(net: DepthAnythingNet) -> None:
    half = DepthAnythingNet(TINY).eval()
    half.load_state_dict(net.state_dict())
    got = DepthAnything(half.bfloat16()).estimate(noise(56, 56), lambda: None, short_side=56)
    exact = DepthAnything(net).estimate(noise(56, 56), lambda: None, short_side=56)
    assert got.nearness is not None
    assert exact.nearness is not None
    assert got.depth.dtype == np.float32
    assert len(np.unique(got.nearness)) > 1000
    spread = exact.nearness.max() - exact.nearness.min()
    assert np.abs(got.nearness - exact.nearness).mean() < 0.1 * spread


def test_nearness_becomes_depth_up_to_its_own_offset() -> None:
    depth = np.linspace(2, 10, 400, dtype=np.float32).reshape(20, 20)
    got = depth_from_nearness(3 / depth)
    assert np.allclose(got, depth / np.median(depth), rtol=1e-4)
    assert np.allclose(depth_from_nearness(300 / depth), got, rtol=1e-4)


def test_nearness_that_ends_at_zero_ends_at_a_believable_distance() -> None:
    nearness = np.linspace(0, 5, 400, dtype=np.float32).reshape(20, 20)
    got = depth_from_nearness(nearness, far=20)
    low, high = np.percentile(got, (2, 98))
    assert high / low == pytest.approx(20, rel=0.02)
    assert got.max() <= 1.01 * high
    assert (np.diff(got.ravel()) <= 1e-6).all()


def test_a_flat_answer_is_a_flat_depth() -> None:
    assert (depth_from_nearness(np.zeros((4, 5), np.float32)) == 1).all()
    assert (depth_from_nearness(np.full((4, 5), 3.0, np.float32)) == 1).all()


def test_bands_of_rows_are_those_of_the_whole() -> None:
    x = torch.randn(1, 3, 9, 7, generator=torch.Generator().manual_seed(0))
    whole = enlarged_rows(x, 0, 40, 40, 33)
    for first, last in ((0, 5), (4, 23), (22, 40)):
        assert torch.allclose(
            enlarged_rows(x, first, last, 40, 33), whole[:, :, first:last], atol=1e-5
        )


@pytest.mark.parametrize("has_positions", [False, True])
def test_the_head_in_bands_gives_the_same(
    monkeypatch: pytest.MonkeyPatch, has_positions: bool
) -> None:
    torch.manual_seed(0)
    head = DptHead(12, (8, 8, 8, 8), 8, 2, has_sky=True, has_positions=has_positions).eval()
    tokens = [torch.randn(2, 6, 12) for _ in range(4)]
    with torch.inference_mode():
        whole = head(tokens, 2, 3)
        monkeypatch.setattr("image_to_mesh.inference.models.backbones.dpt.BAND", 700)
        banded = head(tokens, 2, 3)
    assert whole.shape == (2, 3, 28, 42)
    assert torch.allclose(whole, banded, atol=1e-5)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"pretrained.cls_token": torch.zeros(1, 1, 5)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"another network \(first difference: "):
        depth_anything.load(tmp_path / "w.safetensors", CPU)
