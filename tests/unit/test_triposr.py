"""TripoSR: its published names, the authors' own outputs, framing, cancelling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import CutOutError, RunCancelled, WeightsError
from image_to_mesh.inference.field.triplane import TriplaneField
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.solids import triposr
from safetensors.torch import save_file
from seeded_weights import seeded_noise, seeded_weights

DATA = Path(__file__).parents[1] / "data"
SMALL = triposr.Shape(48, 2, 3, 16, 4, plane=8, width=64, depth=2, heads=4, features=8, hidden=16, layers=3)  # fmt: skip


def quiet() -> None:
    pass


def keys(name: str) -> dict[str, list[int]]:
    return json.loads((DATA / "keys" / f"{name}.json").read_text())["shapes"]


@pytest.fixture(scope="module")
def net() -> triposr.TripoSRNet:
    net = triposr.TripoSRNet(SMALL)
    net.load_state_dict(triposr.map_checkpoint(seeded_weights(keys("triposr_small"))))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "golden" / "triposr.npz")


def relative(ours, reference) -> float:
    return float(np.linalg.norm(np.asarray(ours) - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("side", [96, 160])
def test_planes_are_the_authors(net, golden, side):
    picture = np.random.default_rng(side).random((side, side, 3), np.float32)
    planes = triposr.TripoSR(net).planes(picture, quiet, side)
    assert relative(planes, golden[f"planes_{side}"]) < 1e-5


@pytest.mark.parametrize("side", [96, 160])
def test_density_and_colour_are_the_authors(net, golden, side):
    planes = torch.from_numpy(golden[f"planes_{side}"])
    field = TriplaneField(planes, net.decoder, 25.0, 0.87, quiet, cells=8)
    density, colour = field.density(seeded_noise(side, 200, 3) * 0.4)
    assert relative(density, golden[f"density_{side}"]) < 1e-5
    assert relative(colour, golden[f"colour_{side}"]) < 1e-5


def test_the_published_files_keys_are_exactly_accepted():
    state = {name: torch.empty(shape, device="meta") for name, shape in keys("triposr").items()}
    mapped = triposr.map_checkpoint(state)
    wanted = checkpoint.build(lambda: triposr.TripoSRNet(triposr.Shape())).state_dict()
    assert {k: v.shape for k, v in mapped.items()} == {k: v.shape for k, v in wanted.items()}
    again = triposr.map_checkpoint(mapped)
    assert {k: v.shape for k, v in again.items()} == {k: v.shape for k, v in mapped.items()}


def test_a_file_of_another_network_is_refused(tmp_path):
    path = tmp_path / "odd.safetensors"
    save_file(seeded_weights(keys("triposr_small")), path)
    with pytest.raises(WeightsError, match="another network"):
        triposr.load(path, torch.device("cpu"))


def disc(height=120, width=200, radius=30, centre=(70, 50)) -> np.ndarray:
    rows, columns = np.mgrid[:height, :width]
    return (np.hypot(columns - centre[0], rows - centre[1]) < radius).astype(np.float32)


def test_the_subject_is_framed_as_in_training():
    mask = disc()
    rgb = np.zeros((120, 200, 3), np.float32)
    rgb[..., 0] = 1
    framed = triposr.frame_subject(rgb, mask)
    size = framed.rgb.shape[0]
    assert framed.rgb.shape == (size, size, 3)
    assert framed.side == size
    red = framed.rgb[..., 0] > 0.9
    assert red.any(axis=0).sum() / size == pytest.approx(0.85, abs=0.02)
    assert framed.rgb[0, 0] == pytest.approx(127 / 255, abs=1e-6)
    assert framed.x0 + size / 2 == pytest.approx(70, abs=1)
    assert framed.y0 + size / 2 == pytest.approx(50, abs=1)


def test_a_subject_at_the_pictures_edge_is_framed_beyond_it():
    framed = triposr.frame_subject(np.ones((120, 200, 3), np.float32), disc(centre=(5, 50)))
    assert framed.x0 < 0
    assert framed.rgb[0, 0] == pytest.approx(127 / 255, abs=1e-6)


def test_an_empty_cut_out_is_refused():
    nothing = np.full((40, 40), 0.01, np.float32)
    with pytest.raises(CutOutError, match="empty"):
        triposr.frame_subject(np.ones((40, 40, 3), np.float32), nothing)


def test_reconstructs_a_field_that_agrees_with_its_density(net):
    rgb = np.random.default_rng(0).random((120, 200, 3), np.float32)
    made = triposr.TripoSR(net).estimate(rgb, disc(), quiet, picture_side=96, cells=32)
    field = made.field
    points = np.random.default_rng(1).uniform(-0.86, 0.86, (3000, 3)).astype(np.float32)
    density, colour = field.density(torch.from_numpy(points))
    sample = field.query(points)
    np.testing.assert_allclose(sample.colour, colour.numpy(), atol=1e-6)
    # These weights mean nothing, so the surface was put where the densest places are.
    assert field.is_faint
    # The coarse look passes over bubbles smaller than its cells.
    density = density.numpy()
    level = np.median(density[np.abs(sample.distance) < 2e-3])
    assert ((density > level) == (sample.distance < 0)).mean() > 0.99


def test_memory_sized_portions_do_not_change_the_field(net):
    rgb = np.random.default_rng(0).random((120, 200, 3), np.float32)
    whole, parts = (
        triposr.TripoSR(net)
        .estimate(rgb, disc(), quiet, picture_side=96, chunk=chunk, cells=16)
        .field
        for chunk in (1 << 17, 900)
    )
    points = np.random.default_rng(1).uniform(-0.86, 0.86, (3000, 3)).astype(np.float32)
    first, second = whole.query(points), parts.query(points)
    np.testing.assert_allclose(first.distance, second.distance, atol=1e-5)
    np.testing.assert_allclose(first.colour, second.colour, atol=1e-5)


def test_half_precision_stays_close(net):
    picture = np.random.default_rng(3).random((96, 96, 3), np.float32)
    exact = triposr.TripoSR(net).planes(picture, quiet, 96)
    low = triposr.TripoSRNet(SMALL)
    low.load_state_dict(net.state_dict())
    rough = triposr.TripoSR(low.to(torch.bfloat16)).planes(picture, quiet, 96)
    assert rough.dtype == torch.float32
    assert 1e-5 < relative(rough, exact.numpy()) < 0.05


def test_it_can_be_cancelled_between_blocks(net):
    calls = 0

    def stop():
        nonlocal calls
        calls += 1
        if calls == 3:  # the picture has two blocks, the planes two
            raise RunCancelled

    with pytest.raises(RunCancelled):
        triposr.TripoSR(net).planes(np.zeros((96, 96, 3), np.float32), stop, 96)
    assert calls == 3
