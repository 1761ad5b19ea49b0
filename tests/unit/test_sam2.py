"""SAM 2.1: choosing among masks, remembering a look, and what a file must hold."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import WeightsError
from image_to_mesh.inference.models.cut_out import sam2
from safetensors.torch import save_file
from seeded_weights import seeded_weights

KEYS = Path(__file__).parents[1] / "data" / "keys"
POINT, SUBJECT = np.array([[0.5, 0.5]], np.float32), np.array([True])


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random weights of the real names and shapes."""
    shapes = json.loads((KEYS / "sam2_1_tiny.json").read_text())["shapes"]
    path = tmp_path_factory.mktemp("sam2") / "model.safetensors"
    save_file(seeded_weights(sam2_shapes(shapes)), path)
    return path


def sam2_shapes(shapes: dict[str, list[int]]) -> dict[str, list[int]]:
    empty = {key: torch.empty(shape, device="meta") for key, shape in shapes.items()}
    return {key: list(value.shape) for key, value in sam2.map_checkpoint(empty).items()}


def logits(*signs: float) -> torch.Tensor:
    return torch.stack([torch.full((4, 4), sign) for sign in signs])


def test_one_click_takes_the_best_of_three():
    overlaps = torch.tensor([0.9, 0.2, 0.8, 0.3])
    chosen = sam2.best_mask(logits(1, 2, 3, 4), overlaps, is_single=True)
    assert (chosen == 3).all()


def test_more_clicks_take_the_first_unless_it_is_unstable():
    overlaps = torch.tensor([0.1, 0.2, 0.8, 0.3])
    assert (sam2.best_mask(logits(1, 2, 3, 4), overlaps, is_single=False) == 1).all()
    masks = logits(1, 2, 3, 4)
    masks[0, :2] = 0.01  # half of it hangs on the threshold
    assert (sam2.best_mask(masks, overlaps, is_single=False) == 3).all()


def test_a_look_is_remembered_and_another_picture_forgets_it(weights_file: Path):
    estimator = sam2.load(weights_file, torch.device("cpu"))
    rgb = np.random.default_rng(1).integers(0, 256, (60, 90, 3), np.uint8)
    ticks: list[int] = []

    def ask(picture: np.ndarray, box: tuple[float, float, float, float] | None) -> np.ndarray:
        ticks.append(0)

        def tick() -> None:
            ticks[-1] += 1

        return estimator.estimate(picture, POINT, SUBJECT, box, tick, max_side=128)

    first = ask(rgb, None)
    assert first.shape == (32, 32)
    assert 0 <= first.min() < first.max() <= 1
    boxed = ask(rgb, (0.1, 0.1, 0.9, 0.9))
    assert not np.allclose(first, boxed)
    assert np.array_equal(ask(rgb, None), first)
    ask(255 - rgb, None)
    assert ticks[0] > 12  # at each block: it can be cancelled
    assert ticks[1] == ticks[2] == 1  # answered from memory
    assert ticks[3] == ticks[0]


def test_another_networks_file_is_refused(tmp_path: Path):
    path = tmp_path / "model.safetensors"
    save_file({"weight": torch.zeros(3)}, path)
    with pytest.raises(WeightsError, match="belongs to another network"):
        sam2.load(path, torch.device("cpu"))
