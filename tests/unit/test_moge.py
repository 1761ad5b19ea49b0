"""MoGe-2: the camera that is recovered from points, and pictures of every size."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.depth import moge, moge_config
from numpy.typing import NDArray
from safetensors.torch import save_file

CPU = torch.device("cpu")


def room(
    height: int, width: int, fov_x: float, shift: float
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a tilted floor and a box in front of a wall, as an affine point map.

    Returns:
        (3, H, W) points, moved along the view axis by ``-shift``; and the true (H, W) depth.
    """
    y, x = np.mgrid[0:height, 0:width].astype(np.float64) + 0.5
    focal = width / 2 / math.tan(fov_x / 2)
    rays = np.stack([(x - width / 2) / focal, (y - height / 2) / focal, np.ones_like(x)])
    with np.errstate(divide="ignore"):
        floor = np.where(rays[1] > 0.02, 1.2 / (rays[1] + 0.1), np.inf)
    depth = np.minimum(np.where(floor > 0, floor, np.inf), 6.0)
    box = (np.abs(x / width - 0.4) < 0.12) & (np.abs(y / height - 0.5) < 0.2)
    depth = np.where(box, 2.0, depth)
    points = rays * depth
    points[2] -= shift
    return points.astype(np.float32), depth.astype(np.float32)


@pytest.mark.parametrize("fov", [25.0, 60.0, 100.0])
@pytest.mark.parametrize(("height", "width"), [(90, 160), (160, 90), (40, 300)])
def test_focal_length_and_shift_come_from_the_points(fov: float, height: int, width: int) -> None:
    points, depth = room(height, width, math.radians(fov), 0.7)
    got = moge.geometry(moge.Prediction(points, None, None, 2.0))
    assert math.degrees(got.fov_x) == pytest.approx(fov, rel=1e-3)
    assert np.allclose(got.depth, 2 * depth, rtol=2e-3)
    truth = points.copy()
    truth[2] += 0.7
    assert np.allclose(np.moveaxis(got.points, -1, 0), 2 * truth, atol=0.03)
    assert got.is_metric


def test_a_scaled_point_map_has_the_same_camera() -> None:
    points, depth = room(90, 160, 1.0, 0.5)
    got = moge.geometry(moge.Prediction(0.01 * points, None, None, None))
    assert got.fov_x == pytest.approx(1.0, rel=1e-3)
    assert np.allclose(got.depth, 0.01 * depth, rtol=2e-3)
    assert not got.is_metric


def test_a_known_field_of_view_is_kept() -> None:
    points, depth = room(90, 160, 1.0, 0.5)
    got = moge.geometry(moge.Prediction(points, None, None, None), fov_x=1.0)
    assert got.fov_x == pytest.approx(1.0)
    assert np.allclose(got.depth, depth, rtol=2e-3)
    other = moge.geometry(moge.Prediction(points, None, None, None), fov_x=0.5)
    assert other.fov_x == pytest.approx(0.5)
    assert other.depth.mean() > 1.3 * depth.mean()  # a longer lens sees the same from farther


def test_noise_and_a_mask_do_not_mislead_it() -> None:
    points, depth = room(90, 160, 1.0, 0.5)
    rng = np.random.default_rng(0)
    noisy = points + (0.01 * rng.standard_normal(points.shape)).astype(np.float32)
    logits = np.full((1, 90, 160), 4.0, np.float32)
    logits[0, :30] = -4.0
    noisy[:, :30] = 50.0  # what the mask excludes may be anything
    got = moge.geometry(moge.Prediction(noisy, None, logits, None))
    assert got.fov_x == pytest.approx(1.0, rel=0.03)
    assert not got.valid[:30].any()
    assert got.valid[30:].all()
    assert np.abs(got.depth[30:] - depth[30:]).mean() < 0.1
    assert np.isfinite(got.points).all()


def test_a_picture_without_anything_valid_is_still_finite() -> None:
    points, _ = room(20, 30, 1.0, 0.5)
    got = moge.geometry(moge.Prediction(points, -points, np.full((1, 20, 30), -9.0), 1.0))
    assert not got.valid.any()
    assert np.isfinite(got.points).all()
    assert (got.depth > 0).all()
    assert 0.1 < got.fov_x < 3


def test_points_without_a_camera_give_a_likely_one() -> None:
    rng = np.random.default_rng(1)
    points = rng.standard_normal((3, 50, 70)).astype(np.float32)
    points[2] = np.exp(points[2])
    got = moge.geometry(moge.Prediction(points, None, None, None))
    assert np.isfinite(got.points).all()
    assert 0.1 < got.fov_x < 3
    assert got.depth.max() < 100 * 100


def test_normals_become_unit_vectors() -> None:
    points, _ = room(8, 8, 1.0, 0.0)
    normals = np.zeros((3, 8, 8), np.float32)
    normals[2] = -7.0
    got = moge.geometry(moge.Prediction(points, normals, None, None))
    assert got.normals is not None
    assert np.allclose(got.normals, [0, 0, -1])


def tiny() -> moge.MogeConfig:
    """Shrink the published architecture, with a backbone of one block."""
    channels = (16, 16, 8, 8, 4)
    ups = ("conv_transpose", "conv_transpose", "conv_transpose", "bilinear")
    none = (None,) * 5
    head = {
        name: moge.StackConfig(
            channels, channels, (None, None, None, None, n), (0, 1, 1, 1, 0), ups
        )
        for name, n in (("points", 3), ("normal", 3), ("mask", 1))
    }
    return moge.MogeConfig(
        "test", (0, 1), 16, moge.StackConfig((18, 2, 2, 2, 2), channels, none, (0, 1, 1, 1, 0), ups),
        head, (16, 16, 16, 1), "exp", (12, 40),
    )  # fmt: skip


@pytest.fixture
def small_net(monkeypatch: pytest.MonkeyPatch) -> moge.MogeNet:
    monkeypatch.setitem(moge.BACKBONES, "test", (16, 2, 2))
    torch.manual_seed(0)
    return moge.MogeNet(tiny()).eval()


@pytest.mark.parametrize("shape", [(1, 1), (3, 200), (120, 7), (33, 50)])
def test_pictures_of_any_size_and_shape(small_net: moge.MogeNet, shape: tuple[int, int]) -> None:
    rgb = np.random.default_rng(0).random((*shape, 3), np.float32)
    got = moge.Moge(small_net).estimate(rgb, lambda: None)
    assert got.points.shape == (*shape, 3)
    assert got.depth.shape == got.valid.shape == shape
    assert got.normals is not None
    assert got.normals.shape == (*shape, 3)
    assert np.isfinite(got.points).all()
    assert (got.depth > 0).all()


def test_a_batch_gives_what_single_pictures_give(small_net: moge.MogeNet) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.random((*shape, 3), np.float32) for shape in ((20, 30), (30, 20), (20, 30))]
    network = moge.Moge(small_net)
    together = network.estimate_batch(pictures, lambda: None, fov_x=1.0)
    for rgb, got in zip(pictures, together, strict=True):
        alone = network.estimate(rgb, lambda: None, fov_x=1.0)
        assert np.allclose(got.depth, alone.depth, rtol=1e-3)
        assert np.array_equal(network.estimate(rgb, lambda: None, fov_x=1.0).depth, alone.depth)


def test_cancelling_stops_within_the_network(small_net: moge.MogeNet) -> None:
    calls = 0

    def report() -> None:
        nonlocal calls
        calls += 1
        if calls == 5:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        moge.Moge(small_net).estimate(np.zeros((20, 20, 3), np.float32), report)
    assert calls == 5


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    save_file({"something.else": torch.zeros(3)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match="another network"):
        moge.load(tmp_path / "w.safetensors", CPU)
    (tmp_path / "w.safetensors").write_bytes(b"nothing")
    with pytest.raises(WeightsError, match="damaged"):
        moge.load(tmp_path / "w.safetensors", CPU)
    with pytest.raises(WeightsError, match="missing"):
        moge.load(tmp_path / "none.safetensors", CPU)


def test_the_configuration_comes_from_the_file_or_from_the_weights() -> None:
    for size in moge_config.PUBLISHED:
        config = moge_config.published_config(size)
        net = checkpoint.build(lambda config=config: moge.MogeNet(config))
        assert moge.config_of(net.state_dict()) == config


def test_an_unknown_kind_of_network_is_refused() -> None:
    with pytest.raises(WeightsError, match="not known here"):
        moge.config_from({"encoder": {"backbone": "dinov3"}, "neck": {}})
