"""SAM 2.1 against transformers, same random weights."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.cut_out import sam2
from safetensors.torch import save_file
from torch import Tensor

pytestmark = pytest.mark.parity
KEYS = Path(__file__).parents[1] / "data" / "keys"
CPU = torch.device("cpu")
STAGES = {"tiny": [1, 2, 7, 2], "small": [1, 2, 11, 2]}

Clicks = tuple[list[tuple[float, float]], list[int], tuple[float, float, float, float] | None]
CLICKS: dict[str, Clicks] = {
    "one click": ([(0.3, 0.6)], [1], None),
    "three clicks": ([(0.3, 0.6), (0.7, 0.2), (0.1, 0.9)], [1, 1, 0], None),
    "a box": ([], [], (0.2, 0.1, 0.8, 0.9)),
    "a box and clicks": ([(0.5, 0.5), (0.3, 0.2)], [1, 0], (0.2, 0.1, 0.8, 0.9)),
}


def reference_for(size: str, side: int) -> Any:
    transformers = pytest.importorskip("transformers")
    stages = STAGES[size]
    backbone = transformers.Sam2HieraDetConfig(
        image_size=[side, side],
        blocks_per_stage=stages,
        global_attention_blocks=list(sam2.WHOLE[tuple(stages)]),
    )
    vision = transformers.Sam2VisionConfig(
        backbone_config=backbone,
        backbone_feature_sizes=[[side // step, side // step] for step in (4, 8, 16)],
    )
    config = transformers.Sam2Config(
        vision_config=vision,
        prompt_encoder_config=transformers.Sam2PromptEncoderConfig(image_size=side),
    )
    return transformers.Sam2Model(config).eval()


def state_for(seeded: Callable, net: torch.nn.Module) -> dict[str, Tensor]:
    state = seeded({key: value.shape for key, value in net.state_dict().items()})
    # One and the same matrix under two names.
    shared = state["prompt_encoder.shared_embedding.positional_embedding"]
    state["shared_image_embedding.positional_embedding"] = shared
    for key in state:  # many blocks in a row would blow random weights, and rounding, up
        if key.endswith(("attn.proj.weight", "mlp.proj_out.weight", "q_proj.weight")):
            state[key] *= 0.25
    return state


def our_net(state: dict[str, Tensor]) -> sam2.Sam2Net:
    mapped = sam2.map_checkpoint(state)
    net = checkpoint.build(lambda: sam2.make_network(mapped))
    checkpoint.take_on(net, mapped, Path("test"), CPU, torch.float32)
    return net


def noise(side: int) -> Tensor:
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(side))


@pytest.mark.parametrize(("size", "side"), [("tiny", 256), ("tiny", 448), ("small", 256)])
def test_transformers_agrees(
    torchvision: None, seeded: Callable, difference: Callable, size: str, side: int
) -> None:
    reference = reference_for(size, side)
    state = state_for(seeded, reference)
    reference.load_state_dict(state, strict=True)
    ours = our_net(state)
    picture = noise(side)
    with torch.inference_mode():
        look = ours.look(picture, lambda: None)
        seen = reference.get_image_embeddings(picture)
        for points, labels, box in CLICKS.values():
            prompts: dict[str, Tensor] = {}
            if points:
                prompts["input_points"] = side * torch.tensor([[points]])
                prompts["input_labels"] = torch.tensor([[labels]])
            if box is not None:
                prompts["input_boxes"] = side * torch.tensor([[box]])
            single = len(points) == 1 and box is None
            many = reference(image_embeddings=seen, multimask_output=True, **prompts)
            chosen = reference(image_embeddings=seen, multimask_output=single, **prompts)
            corners = [] if box is None else [box[:2], box[2:]]
            places = torch.tensor([*corners, *points]) + 0.5 / side
            kinds = [*([2, 3] if box else []), *labels]
            logits, overlaps = ours.answer(look, places, kinds)
            assert difference(logits[1:], many.pred_masks[0, 0]) < 1e-4
            assert torch.allclose(overlaps[1:], many.iou_scores[0, 0], atol=1e-5)
            best = chosen.iou_scores[0, 0].argmax()
            mask = sam2.best_mask(logits, overlaps, is_single=single)
            assert difference(mask, chosen.pred_masks[0, 0, best]) < 1e-4


@pytest.mark.parametrize("size", STAGES)
def test_the_published_keys_are_exactly_accepted(size: str) -> None:
    shapes = json.loads((KEYS / f"sam2_1_{size}.json").read_text())["shapes"]
    mapped = sam2.map_checkpoint({k: torch.empty(s, device="meta") for k, s in shapes.items()})
    net = checkpoint.build(lambda: sam2.make_network(mapped))
    wanted = {key: value.shape for key, value in net.state_dict().items()}
    assert {key: value.shape for key, value in mapped.items()} == wanted
    assert sam2.map_checkpoint(mapped).keys() == mapped.keys()


def test_a_picture_gives_what_the_authors_steps_give(
    torchvision: None, seeded: Callable, tmp_path: Path
) -> None:
    """Scaling included, for both kinds of published files."""
    reference = reference_for("tiny", 256)
    state = state_for(seeded, reference)
    reference.load_state_dict(state, strict=True)
    rgb = np.random.default_rng(4).integers(0, 256, (90, 140, 3), np.uint8)
    picture = torch.from_numpy(rgb).permute(2, 0, 1)[None].float() / 255
    picture = torch.nn.functional.interpolate(
        picture, (256, 256), mode="bilinear", antialias=True, align_corners=False
    )
    mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (sam2.IMAGENET_MEAN, sam2.IMAGENET_STD))
    with torch.inference_mode():
        said = reference(
            (picture - mean) / std,
            input_points=torch.tensor([[[[0.25, 0.5]]]]) * 256,
            input_labels=torch.tensor([[[1]]]),
        )
        wanted = said.pred_masks[0, 0, said.iou_scores[0, 0].argmax()].sigmoid()
    for number, weights in enumerate((state, sam2.map_checkpoint(state))):
        path = tmp_path / f"{number}.safetensors"
        save_file({key: value.contiguous().clone() for key, value in weights.items()}, path)
        estimator = sam2.load(path, CPU)
        point, label = np.float32([[0.25, 0.5]]), np.array([True])
        found = estimator.estimate(rgb, point, label, None, lambda: None, max_side=256)
        assert np.abs(found - wanted.numpy()).max() < 1e-4
