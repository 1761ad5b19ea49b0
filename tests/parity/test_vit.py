"""The vision transformer against timm's, where timm's rules are those of the published networks."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from image_to_mesh.inference.models.backbones.vit import VisionTransformer

pytestmark = pytest.mark.parity


@pytest.mark.parametrize(
    ("name", "options", "size"),
    [
        ("vit_small_patch14_dinov2.lvd142m", {}, 518),
        (
            "vit_base_patch16_224.dino",
            {
                "patch": 16,
                "width": 768,
                "heads": 12,
                "grid": 14,
                "layer_scale": False,
                "eps": 1e-6,
            },
            224,
        ),
    ],
)
def test_timm_agrees(
    torchvision: None, seeded: Callable, difference: Callable, name: str, options: dict, size: int
) -> None:
    """At the trained size: elsewhere timm resamples the positions by a rule of its own."""
    timm = pytest.importorskip("timm")
    reference = timm.create_model(name, pretrained=False, num_classes=0).eval()
    state = seeded({key: value.shape for key, value in reference.state_dict().items()})
    reference.load_state_dict(state, strict=True)
    ours = VisionTransformer(**options).eval()
    ours.load_state_dict(state, strict=True)
    image = torch.randn(1, 3, size, size, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        expected = reference.forward_features(image)
        got = ours.forward_taps(image, [11])[0]
    assert difference(got, expected) < 1e-4
