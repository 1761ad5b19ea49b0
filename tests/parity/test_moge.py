"""MoGe-2 against the authors' code, same weights made from their names.

What the small network says is stored, and its comparison needs no other package; all sizes are compared
with the authors' class itself where the copy of it on PyPI is installed (dlr-moge, equal to commit 0744441
of their repository).
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.depth import moge, moge_config
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


def worst_normals(said: moge.Prediction, reference: np.ndarray) -> float:
    """Compare the vectors before they are made unit.

    Where one is nearly nothing, as at one pixel in thousands with random weights, dividing by its
    length would compare float32's rounding.
    """
    assert said.normals is not None
    vectors = np.moveaxis(said.normals, 0, -1)
    lengths = np.linalg.norm(vectors, axis=-1, keepdims=True)
    unit = moge.geometry(said).normals
    assert unit is not None
    assert np.allclose(unit * lengths, vectors, rtol=0, atol=1e-6 * lengths.max())
    return worst(vectors, reference * lengths)


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


@pytest.fixture
def authors(torchvision: None, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module with the authors' class; the network needs nothing of its utils3d."""
    monkeypatch.setitem(sys.modules, "utils3d", ModuleType("utils3d"))
    return pytest.importorskip("moge.model.v2")


@pytest.mark.parametrize("size", list(SIZES))
def test_every_size_says_what_the_authors_class_says(
    size: str, authors: ModuleType, seeded: Callable
) -> None:
    reference = authors.MoGeModel(**configuration(size)).eval()
    shapes = {key: list(value.shape) for key, value in reference.state_dict().items()}
    assert shapes == shapes_of(size)
    state = calm(seeded(shapes))
    reference.load_state_dict(state)
    net = checkpoint.build(lambda: moge.MogeNet(moge_config.published_config(size)))
    checkpoint.take_on(net, moge.map_checkpoint(state), Path(size), CPU, torch.float32)
    for height, width, tokens in LOOKS.values():
        image = torch.from_numpy(picture(height, width)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            expected = {key: value[0].numpy() for key, value in reference(image, tokens).items()}
        said = moge.Moge(net)._look([picture(height, width)], tokens, lambda: None)[0]
        assert worst(np.moveaxis(said.points, 0, -1), expected["points"]) < 1e-4
        assert said.mask is not None
        assert worst(1 / (1 + np.exp(-said.mask[0])), expected["mask"]) < 1e-4
        assert worst_normals(said, expected["normal"]) < 1e-4
        assert said.metres == pytest.approx(float(expected["metric_scale"]), rel=1e-4)


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
