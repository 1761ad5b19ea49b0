"""Depth Anything 3: sizes, cameras, views of one place, and sky."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.models.depth import depth_anything, depth_anything_3
from image_to_mesh.inference.models.depth.depth_anything_3 import (
    SKY,
    DepthAnything3Sky,
    DepthAnything3Views,
    cameras_from,
    view_pixels,
    view_size,
)
from image_to_mesh.inference.models.depth.depth_anything_3_nets import (
    VIEW_VARIANTS,
    SkyNet,
    ViewsNet,
    ViewVariant,
    reference_view,
    rotated,
    rotations,
)
from safetensors.torch import save_file

TINY = depth_anything.Variant(24, 4, 3, (0, 1, 2, 3), (8, 8, 8, 8), 8)
CPU = torch.device("cpu")


@pytest.fixture
def sizes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(depth_anything.VARIANTS, "tiny", TINY)
    monkeypatch.setitem(VIEW_VARIANTS, "tiny", ViewVariant((0, 1, 2, 3), 2))


@pytest.fixture
def views(sizes: None) -> DepthAnything3Views:
    torch.manual_seed(0)
    net = ViewsNet("tiny").eval()
    with torch.no_grad():
        net.cam_dec.fc_fov[0].bias.fill_(0.9)
        net.backbone.get_submodule("pretrained").camera_token.normal_()
    return DepthAnything3Views(net)


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((height, width, 3), np.float32)


@pytest.mark.parametrize(
    ("shape", "expected"),
    [
        ((1080, 1920), (280, 504)),
        ((680, 1208), (280, 504)),
        ((640, 480), (504, 378)),
        ((1, 1), (504, 504)),
        ((10, 5000), (14, 504)),
    ],
)
def test_the_networks_view_of_a_picture(shape: tuple[int, int], expected: tuple[int, int]) -> None:
    assert view_size((*shape, 3)) == expected


def test_rotations_depend_on_the_distance_of_tokens_only() -> None:
    generator = torch.Generator().manual_seed(0)
    q, k = torch.randn(2, 1, 2, 1, 16, generator=generator)

    def likeness(a: tuple[int, int], b: tuple[int, int]) -> torch.Tensor:
        at_a, at_b = (rotations(torch.tensor([p[0]]), torch.tensor([p[1]]), 16, q) for p in (a, b))
        return (rotated(q, at_a) * rotated(k, at_b)).sum(3)

    assert torch.allclose(likeness((3, 5), (1, 9)), likeness((13, 6), (11, 10)), atol=1e-4)
    assert not torch.allclose(likeness((3, 5), (1, 9)), likeness((3, 5), (2, 9)), atol=1e-2)
    assert torch.allclose(likeness((0, 0), (0, 0)), (q * k).sum(3), atol=1e-5)


def test_cameras_are_rigid_and_their_field_of_view_is_as_said() -> None:
    turn = math.radians(90)
    encoded = np.array(
        [
            [1, 2, 3, 0, 0, 0, 2, 0.6, 0.9],
            [0, 0, 0, 0, math.sin(turn / 2), 0, math.cos(turn / 2), 0.6, 0.9],
        ],
        np.float32,
    )
    poses, intrinsics = cameras_from(encoded, 280, 504)
    assert np.allclose(poses[0], [[1, 0, 0, 1], [0, 1, 0, 2], [0, 0, 1, 3], [0, 0, 0, 1]])
    assert np.allclose(poses[1, :3, :3] @ [0, 0, 1], [1, 0, 0], atol=1e-6)  # looks along x now
    assert 2 * math.atan(252 / intrinsics[0, 0, 0]) == pytest.approx(0.9)
    assert 2 * math.atan(140 / intrinsics[0, 1, 1]) == pytest.approx(0.6)
    assert np.allclose(intrinsics[0, :2, 2], [252, 140])


def test_the_reference_is_an_ordinary_view_whatever_the_order() -> None:
    tokens = torch.randn(5, 32, generator=torch.Generator().manual_seed(0)) + 1
    tokens[3] *= -20  # a view unlike all others
    found = reference_view(tokens)
    assert found != 3
    order = [4, 2, 0, 3, 1]
    assert order[reference_view(tokens[order])] == found


def test_views_have_depth_cameras_and_a_way_back_to_their_pictures(
    views: DepthAnything3Views,
) -> None:
    pictures = [noise(40, 60, 1), noise(80, 120, 2), noise(50, 50, 3), noise(40, 60, 4)]
    got = views.estimate_views(pictures, lambda: None, long_side=56)
    assert got.depth.shape == got.confidence.shape == (4, 42, 56)
    assert (got.depth > 0).all()
    assert (got.confidence >= 1).all()
    turns = got.camera_to_world[:, :3, :3]
    assert np.allclose(turns @ turns.transpose(0, 2, 1), np.eye(3), atol=1e-5)
    assert np.allclose(np.linalg.det(turns), 1, atol=1e-5)
    # The square picture shows only its middle rows; all corners of maps lie in their pictures.
    for index, rgb in enumerate(pictures):
        scale_x, scale_y, left, top = got.to_picture[index]
        assert left >= 0
        assert top >= 0
        assert left + 56 * scale_x <= rgb.shape[1] + 1e-6
        assert top + 42 * scale_y <= rgb.shape[0] + 1e-6
    assert got.to_picture[2, 3] > 0
    inner, outer = got.intrinsics[1], got.picture_intrinsics(1)
    assert outer[0, 0] == pytest.approx(inner[0, 0] * 120 / 56)
    assert outer[0, 2] == pytest.approx(60)


def test_the_order_of_views_does_not_matter(views: DepthAnything3Views) -> None:
    pictures = [noise(40, 60, seed) for seed in range(4)]
    got = views.estimate_views(pictures, lambda: None, long_side=56)
    again = views.estimate_views(pictures[::-1], lambda: None, long_side=56, chunk=1)
    assert np.allclose(got.depth, again.depth[::-1], rtol=1e-3)
    assert np.allclose(got.camera_to_world, again.camera_to_world[::-1], atol=1e-4)


def test_one_picture_gives_depth_and_field_of_view(views: DepthAnything3Views) -> None:
    got = views.estimate(noise(33, 71), lambda: None, long_side=56)
    assert got.depth.shape == (33, 71)
    assert np.median(got.depth) == pytest.approx(1, rel=1e-3)
    assert not got.is_metric
    assert got.fov_x is not None
    assert 0 < got.fov_x < math.pi


@pytest.mark.parametrize("shape", [(1, 1), (3, 90), (70, 2)])
def test_pictures_of_any_size_and_shape(views: DepthAnything3Views, shape: tuple[int, int]) -> None:
    got = views.estimate(noise(*shape), lambda: None, long_side=42)
    assert got.depth.shape == shape
    assert np.isfinite(got.depth).all()


def test_sky_is_found_and_as_far_as_the_farthest(sizes: None) -> None:
    torch.manual_seed(0)
    net = SkyNet("tiny").eval()
    rgb = noise(40, 60)
    last = net.head.scratch.sky_output_conv2[2]
    with torch.no_grad():  # half of the picture becomes sky
        last.bias.fill_(50.0)
        said = net(torch.from_numpy(view_pixels(rgb, 56))[None], lambda: None)[1]
        last.bias.add_(SKY - said.median())
    got = DepthAnything3Sky(net, False).estimate(rgb, lambda: None, long_side=56)
    assert 0.02 < got.valid.mean() < 0.98
    assert got.depth[~got.valid].mean() > got.depth[got.valid].mean()
    assert np.median(got.depth) == pytest.approx(1, rel=1e-3)
    assert not got.is_metric


def test_metres_need_a_known_field_of_view(sizes: None) -> None:
    torch.manual_seed(0)
    network = DepthAnything3Sky(SkyNet("tiny").eval(), True)
    rgb = noise(40, 60)
    assert not network.estimate(rgb, lambda: None, long_side=56).is_metric
    wide = network.estimate(rgb, lambda: None, fov_x=1.2, long_side=56)
    long = network.estimate(rgb, lambda: None, fov_x=0.6, long_side=56)
    assert wide.is_metric
    ratio = math.tan(0.6) / math.tan(0.3)  # focal lengths of the two
    assert np.allclose(long.depth, ratio * wide.depth, rtol=1e-4)


def test_cancelling_stops_between_blocks(views: DepthAnything3Views) -> None:
    calls = 0

    def report() -> None:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        views.estimate_views([noise(20, 20)] * 2, report, long_side=42)
    assert calls == 3


def test_the_file_decides_which_network_it_is(sizes: None, tmp_path: Path) -> None:
    path = tmp_path / "w.safetensors"
    for net, kind in ((ViewsNet("tiny"), DepthAnything3Views), (SkyNet("tiny"), DepthAnything3Sky)):
        state = {f"model.{key}": value for key, value in net.state_dict().items()}
        state["model.cam_enc.token_norm.weight"] = torch.zeros(3)
        save_file(state, path)
        assert isinstance(depth_anything_3.load(path, CPU), kind)
    save_file({"other": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="another network"):
        depth_anything_3.load(path, CPU)
