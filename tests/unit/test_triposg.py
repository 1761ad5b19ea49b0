"""TripoSG: its published names, the authors' own outputs, seeds, guidance, variants, cancelling."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import CutOutError, RunCancelled, WeightsError
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.solids import flow, triposg, vecset
from safetensors.torch import save_file
from seeded_weights import seeded_noise, seeded_weights

DATA = Path(__file__).parents[1] / "data"
CPU = torch.device("cpu")


def quiet(*_: object) -> None:
    pass


def keys(name: str) -> dict[str, list[int]]:
    return json.loads((DATA / "keys" / f"triposg_{name}.json").read_text())["shapes"]


def ready(net, name: str):
    net.load_state_dict(triposg.map_checkpoint(seeded_weights(keys(f"small_{name}"))))
    return net.eval().requires_grad_(False)


@pytest.fixture(scope="module")
def denoiser() -> triposg.Denoiser:
    return ready(triposg.Denoiser(triposg.Shape(16, 64, 5, 4, 48)), "transformer")


@pytest.fixture(scope="module")
def decoder() -> vecset.VecSetDecoder:
    return ready(vecset.VecSetDecoder(vecset.Shape(16, 64, 2, 4)), "vae")


@pytest.fixture(scope="module")
def encoder() -> triposg.PictureEncoder:
    return ready(triposg.PictureEncoder(14, 48, 2, 4, grid=37), "image_encoder_dinov2")


@pytest.fixture(scope="module")
def estimator(encoder, denoiser, decoder) -> triposg.TripoSG:
    return triposg.TripoSG(encoder, denoiser, decoder, CPU)


@pytest.fixture(scope="module")
def golden():
    return np.load(DATA / "golden" / "triposg.npz")


@pytest.fixture
def picture():
    rgb = np.random.default_rng(5).random((90, 140, 3), np.float32)
    rows, columns = np.mgrid[:90, :140]
    return rgb, (np.hypot(columns - 60, rows - 40) < 25).astype(np.float32)


def relative(ours, reference) -> float:
    return float(np.linalg.norm(np.asarray(ours) - reference) / np.linalg.norm(reference))


@pytest.mark.parametrize("level", [1.0, 0.37])
def test_the_direction_is_the_authors_with_and_without_a_picture(denoiser, golden, level):
    state, context = seeded_noise(1, 1, 24, 16), seeded_noise(2, 1, 17, 48)
    free = denoiser(state, level, None, quiet)
    bound = denoiser(state, level, denoiser.contexts(context), quiet)
    assert relative(torch.cat([free, bound]), golden[f"velocity_{level}"]) < 1e-5


@pytest.mark.parametrize("shift", [1.0, 3.0])
def test_noise_levels_are_the_authors(golden, shift):
    np.testing.assert_allclose(flow.noise_levels(6, shift), golden[f"levels_{shift}"], atol=1e-6)


def test_a_whole_guided_draw_is_the_authors(denoiser, golden):
    state, context = seeded_noise(1, 1, 24, 16), seeded_noise(2, 1, 17, 48)
    contexts = denoiser.contexts(context)
    velocity = flow.guided(
        lambda x, level: denoiser(x, level, contexts, quiet),
        lambda x, level: denoiser(x, level, None, quiet),
        7.0,
    )
    drawn = flow.follow_flow(state, flow.noise_levels(6), velocity, quiet)
    assert relative(drawn, golden["drawn"]) < 1e-4


def test_the_decoded_solid_is_the_authors_negated(decoder, golden):
    points = seeded_noise(3, 1, 300, 3)[0] * 0.5
    said = decoder(points, decoder.solid(seeded_noise(1, 1, 24, 16), quiet))
    assert relative(-said, golden["solid"]) < 1e-5


def test_the_pictures_tokens_are_the_authors(encoder, golden):
    tokens = encoder.forward_taps(seeded_noise(4, 1, 3, 224, 224), [1])[0]
    assert relative(tokens, golden["tokens"]) < 1e-5


@pytest.mark.parametrize(
    ("name", "make"),
    [
        ("transformer", lambda: triposg.Denoiser(triposg.Shape())),
        ("vae", lambda: vecset.VecSetDecoder(vecset.Shape())),
        ("image_encoder_dinov2", lambda: triposg.PictureEncoder(14, 1024, 24, 16, grid=37)),
    ],
)
def test_the_published_files_keys_are_exactly_accepted(name, make):
    state = {key: torch.empty(shape, device="meta") for key, shape in keys(name).items()}
    mapped = triposg.map_checkpoint(state)
    wanted = checkpoint.build(make).state_dict()
    assert {k: v.shape for k, v in mapped.items()} == {k: v.shape for k, v in wanted.items()}
    assert triposg.map_checkpoint(mapped).keys() == mapped.keys()


def test_a_missing_or_other_file_is_named(tmp_path):
    with pytest.raises(WeightsError, match="missing"):
        triposg.load(tmp_path, CPU)
    folder = tmp_path / "image_encoder_dinov2"
    folder.mkdir()
    save_file(seeded_weights(keys("small_image_encoder_dinov2")), folder / "model.safetensors")
    with pytest.raises(WeightsError, match="another network"):
        triposg.load(tmp_path, CPU)


def test_a_straight_flow_is_followed_exactly():
    goal = torch.full((3,), 2.0)
    start = torch.zeros(3)
    # Data less noise, the same at every level: one step is as good as many.
    for steps in (1, 7):
        end = flow.follow_flow(start, flow.noise_levels(steps), lambda *_: goal - start, quiet)
        torch.testing.assert_close(end, goal)


def test_guidance_of_one_asks_for_the_condition_alone():
    def never(*_: object):
        raise AssertionError("asked without the picture")

    velocity = flow.guided(lambda x, _: 2 * x, never, 1.0)
    assert velocity(torch.ones(2), 0.5).tolist() == [2, 2]
    stretched = flow.guided(lambda x, _: 2 * x, lambda x, _: x, 3.0)
    assert stretched(torch.ones(2), 0.5).tolist() == [4, 4]


def test_the_same_seed_draws_the_same_solid_and_another_one_another(estimator, picture):
    def drawn(seed: int) -> np.ndarray:
        made = estimator.estimate(*picture, quiet, steps=2, seed=seed, tokens=24, cells=8)
        return made.field.query(points).distance

    points = np.random.default_rng(0).uniform(-1, 1, (500, 3)).astype(np.float32)
    np.testing.assert_array_equal(drawn(4), drawn(4))
    assert np.abs(drawn(4) - drawn(5)).max() > 0.01


def test_variants_are_what_each_seed_alone_gives(estimator, picture):
    points = np.random.default_rng(0).uniform(-1, 1, (200, 3)).astype(np.float32)
    shares: list[float] = []
    made = list(
        estimator.variants(
            *picture, [8, 9], quiet, steps=2, tokens=24, cells=8, advance=shares.append
        )
    )
    assert [one.seed for one in made] == [8, 9]
    assert shares == [0, 0.25, 0.5, 0.75]
    alone = estimator.estimate(*picture, quiet, steps=2, seed=9, tokens=24, cells=8)
    np.testing.assert_array_equal(
        made[1].field.query(points).distance, alone.field.query(points).distance
    )


def test_portions_do_not_change_the_solid(estimator, picture):
    points = np.random.default_rng(0).uniform(-1, 1, (900, 3)).astype(np.float32)
    first, second = (
        estimator.estimate(*picture, quiet, steps=2, tokens=24, cells=8, chunk=chunk).field
        for chunk in (4096, 100)
    )
    np.testing.assert_allclose(
        first.query(points).distance, second.query(points).distance, atol=1e-5
    )


def test_drawing_can_be_cancelled_within_a_step(estimator, picture):
    calls = 0

    def stop():
        nonlocal calls
        calls += 1
        if calls == 12:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        estimator.estimate(*picture, stop, steps=50, tokens=24)
    assert calls == 12


def test_offloaded_networks_go_home_after_use(encoder, denoiser, decoder, picture):
    there = triposg.TripoSG(encoder, denoiser, decoder, CPU)
    there.estimate(*picture, quiet, steps=1, tokens=8, cells=8)
    assert next(denoiser.parameters()).device == CPU


def test_the_subject_is_framed_as_in_training():
    rows, columns = np.mgrid[:300, :400]
    mask = (np.hypot(columns - 150, rows - 170) < 100).astype(np.float32)
    framed = triposg.frame_subject(np.zeros((300, 400, 3), np.float32), mask)
    assert framed.rgb.shape == (224, 224, 3)
    dark = framed.rgb[..., 0] < 0.5
    # The subject takes 1 / 1.2 of 256, of which the middle 224 are seen.
    assert dark.any(axis=0).sum() == pytest.approx(256 / 1.2, abs=3)
    assert dark.any(axis=1).sum() == pytest.approx(256 / 1.2, abs=3)
    assert framed.rgb[0, 0] == pytest.approx(1)
    assert framed.x0 + framed.side / 2 == pytest.approx(150.5, abs=1)
    assert framed.y0 + framed.side / 2 == pytest.approx(170.5, abs=1)
    assert framed.side == pytest.approx(199 * 1.2 * 224 / 256, abs=2)


def test_an_empty_cut_out_is_refused():
    with pytest.raises(CutOutError, match="empty"):
        triposg.frame_subject(np.ones((40, 40, 3), np.float32), np.zeros((40, 40), np.float32))
