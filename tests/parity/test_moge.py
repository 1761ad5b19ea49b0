"""MoGe-2 against what the authors' code said, same weights made from their names."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint, moge, moge_config
from safetensors.torch import save_file

sys.path.insert(0, str(Path(__file__).parent))
from make_moge_golden import DATA, LOOKS, SIZES, STEP, calm, configuration, picture

pytestmark = pytest.mark.parity
CPU = torch.device("cpu")


def shapes_of(size: str) -> dict[str, list[int]]:
    return json.loads((DATA / "keys" / f"moge_2_{size}.json").read_text())["shapes"]


def worst(ours: np.ndarray, reference: np.ndarray) -> float:
    assert ours.shape == reference.shape
    assert reference.std() > 1e-3
    return float(np.abs(ours - reference).max() / reference.std())


@pytest.fixture(scope="module")
def network(seeded: Callable, tmp_path_factory: pytest.TempPathFactory) -> moge.Moge:
    """Load the small network the way a downloaded file is loaded."""
    path = tmp_path_factory.mktemp("moge") / "model.safetensors"
    card = {"config": json.dumps(configuration("small"))}
    save_file(moge.map_checkpoint(calm(seeded(shapes_of("small")))), path, card)
    return moge.load(path, CPU)


@pytest.mark.parametrize("look", list(LOOKS))
def test_the_authors_network_agrees(network: moge.Moge, look: str) -> None:
    height, width, tokens = LOOKS[look]
    expected = np.load(DATA / "golden" / "moge.npz")
    said = network._look([picture(height, width)], tokens, lambda: None)[0]
    points = np.moveaxis(said.points, 0, -1)[::STEP, ::STEP]
    assert worst(points, expected[f"{look}_points"]) < 1e-4
    assert said.mask is not None
    mask = 1 / (1 + np.exp(-said.mask[0, ::STEP, ::STEP]))
    assert worst(mask, expected[f"{look}_mask"]) < 1e-4
    normals = moge.geometry(said).normals
    assert normals is not None
    assert worst(normals[::STEP, ::STEP], expected[f"{look}_normal"]) < 1e-4
    assert said.metres == pytest.approx(float(expected[f"{look}_metres"][0]), rel=1e-4)


@pytest.mark.parametrize("size", list(SIZES))
def test_the_real_files_keys_are_exactly_accepted(size: str) -> None:
    state = {key: torch.empty(shape, device="meta") for key, shape in shapes_of(size).items()}
    mapped = moge.map_checkpoint(state)
    config = moge.config_from(configuration(size))
    assert moge.config_of(mapped) == config
    net = checkpoint.build(lambda: moge.MogeNet(config))
    wanted = {key: value.shape for key, value in net.state_dict().items()}
    assert {key: value.shape for key, value in mapped.items()} == wanted


def test_half_precision_stays_close(network: moge.Moge, seeded: Callable) -> None:
    config = moge_config.published_config("small")
    net = checkpoint.build(lambda: moge.MogeNet(config))
    state = moge.map_checkpoint(calm(seeded(shapes_of("small"))))
    checkpoint.take_on(net, state, Path("test"), CPU, torch.bfloat16)
    height, width, tokens = LOOKS["wide"]
    exact, half = (
        each._look([picture(height, width)], tokens, lambda: None)[0]
        for each in (network, moge.Moge(net))
    )
    assert np.isfinite(half.points).all()
    assert np.corrcoef(exact.points.ravel(), half.points.ravel())[0, 1] > 0.99
