"""Depth Anything 3 against the authors' code, same random weights.

The code comes from the PyPI package depth-anything-3, installed without its dependencies (see the
Makefile): the networks themselves need only addict, einops and omegaconf.
"""

from __future__ import annotations

import json
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.depth import depth_anything_3 as ours
from image_to_mesh.inference.models.depth.depth_anything import VARIANTS
from image_to_mesh.inference.models.depth.depth_anything_3_nets import VIEW_VARIANTS
from torch import Tensor

pytestmark = pytest.mark.parity
KEYS = Path(__file__).parents[1] / "data" / "keys"
NAMES = {"small": "vits", "base": "vitb", "large": "vitl"}
FILES = ["small", "base", "mono_large"]
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def authors() -> types.SimpleNamespace:
    """Import the authors' networks."""
    for package in ("depth_anything_3", "addict", "einops", "omegaconf"):
        pytest.importorskip(package)
    from depth_anything_3.model.cam_dec import CameraDec
    from depth_anything_3.model.da3 import DepthAnything3Net
    from depth_anything_3.model.dinov2.dinov2 import DinoV2
    from depth_anything_3.model.dpt import DPT
    from depth_anything_3.model.dualdpt import DualDPT

    def views(size: str) -> Any:
        plain, variant = VARIANTS[size], VIEW_VARIANTS[size]
        start = {"alt_start": variant.start, "qknorm_start": variant.start}
        net = DinoV2(
            NAMES[size], list(variant.taps), **start, rope_start=variant.start, cat_token=True
        )
        width = 2 * plain.width
        head = DualDPT(
            width, output_dim=2, features=plain.features, out_channels=list(plain.channels)
        )
        return DepthAnything3Net(net, head, CameraDec(width), torch.nn.Module()).eval()

    def sky(size: str) -> Any:
        plain = VARIANTS[size]
        net = DinoV2(NAMES[size], list(plain.taps), cat_token=False)
        head = DPT(
            plain.width,
            output_dim=1,
            features=plain.features,
            out_channels=list(plain.channels),
        )
        return DepthAnything3Net(net, head).eval()

    return types.SimpleNamespace(views=views, sky=sky)


def state_for(seeded: Callable, net: torch.nn.Module) -> dict[str, Tensor]:
    """Give a reference random weights under its own names; depth stays in a usual range."""
    state = seeded({key: value.shape for key, value in net.state_dict().items()})
    for key in state:
        if key.endswith("output_conv2.2.weight"):
            state[key] *= 0.05
    for key in ("cam_dec.fc_fov.0.bias", "cam_dec.fc_qvec.bias"):
        if key in state:
            state[key] = state[key].abs() + 1.0
    return state


def noise(count: int, height: int, width: int) -> Tensor:
    generator = torch.Generator().manual_seed(4)
    shades = torch.rand(count, 1, 1, 1, generator=generator)  # so that views differ
    return torch.randn(count, 3, height, width, generator=generator) * (0.5 + shades) + shades


@pytest.mark.parametrize(
    ("size", "count", "shape"),
    [
        ("small", 1, (84, 56)),
        ("small", 2, (56, 98)),
        ("small", 5, (56, 70)),
        ("base", 3, (42, 56)),
    ],
)
def test_views_agree(
    authors: types.SimpleNamespace,
    seeded: Callable,
    difference: Callable,
    size: str,
    count: int,
    shape: tuple[int, int],
) -> None:
    reference = authors.views(size)
    state = state_for(seeded, reference)
    reference.load_state_dict(state, strict=True)
    net = checkpoint.build(lambda: ours.ViewsNet(size))
    published = {f"model.{key}": value for key, value in state.items()}
    checkpoint.take_on(net, ours.map_checkpoint(published), Path("t"), CPU, torch.float32)
    images = noise(count, *shape)
    with torch.inference_mode():
        expected = reference(images[None].clone())
        depth, confidence, cameras = net(images, lambda: None, 4)
    assert difference(depth, expected.depth[0]) < 1e-4
    assert difference(confidence, expected.depth_conf[0]) < 1e-4
    poses, intrinsics = ours.cameras_from(cameras.numpy(), *shape)
    world_to_camera = np.linalg.inv(poses)[:, :3]
    assert np.allclose(world_to_camera, expected.extrinsics[0].numpy()[:, :3], atol=1e-4)
    assert np.allclose(intrinsics, expected.intrinsics[0].numpy(), rtol=1e-4)
    if count > 1:
        assert np.abs(np.diff(poses[:, :3, 3], axis=0)).max() > 1e-3


def test_one_picture_with_sky_agrees(
    authors: types.SimpleNamespace, seeded: Callable, difference: Callable
) -> None:
    """The published networks are large; small ones have the same structure."""
    reference = authors.sky("small")
    state = state_for(seeded, reference)
    state["head.scratch.sky_output_conv2.2.bias"] += 0.3
    reference.load_state_dict(state, strict=True)
    net = checkpoint.build(lambda: ours.SkyNet("small"))
    checkpoint.take_on(net, ours.map_checkpoint(state), Path("t"), CPU, torch.float32)
    for shape in ((70, 98), (140, 42)):
        images = noise(1, *shape)
        features, _ = _plain(reference, images)
        with torch.inference_mode():
            expected = reference.head(features, *shape, patch_start_idx=0)
            depth, sky = net(images, lambda: None)
        assert difference(depth, expected["depth"][0].reshape(depth.shape)) < 1e-4
        assert difference(sky, expected["sky"][0].reshape(sky.shape)) < 1e-4


def _plain(reference: Any, images: Tensor) -> tuple[Any, Any]:
    """Run the backbone alone: the whole network also replaces the sky's depth, at random places."""
    with torch.inference_mode():
        return reference.backbone(images[None].clone(), cam_token=None, export_feat_layers=[])


@pytest.mark.parametrize("file", FILES)
def test_the_real_files_keys_are_exactly_accepted(file: str) -> None:
    shapes = json.loads((KEYS / f"depth_anything_3_{file}.json").read_text())["shapes"]
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    size = file.rpartition("_")[2]
    net = checkpoint.build(
        lambda: ours.SkyNet(size) if file.startswith("mono") else ours.ViewsNet(size)
    )
    wanted = {key: value.shape for key, value in net.state_dict().items()}
    mapped = ours.map_checkpoint(state)
    assert {key: value.shape for key, value in mapped.items()} == wanted
    assert ours.map_checkpoint(mapped).keys() == mapped.keys()
