"""The bundled network: its files, its contract, and that it sees a ball as round."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.models.bundled import two_sided
from numpy.typing import NDArray

SIDE = 200


def ball(
    light: tuple[float, float, float] = (-0.4, -0.6, -0.7),
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Draw a lit orange ball on grey: (S, S, 3) sRGB and its (S, S) mask."""
    y, x = np.mgrid[-1 : 1 : SIDE * 1j, -1 : 1 : SIDE * 1j] / 0.8
    squared = x * x + y * y
    mask = (squared < 1).astype(np.float32)
    z = -np.sqrt(np.clip(1 - squared, 0, 1))
    shade = np.clip(np.stack([x, y, z], -1) @ (np.array(light) / np.linalg.norm(light)), 0, 1)
    linear = (0.15 + 0.85 * shade)[..., None] * np.array([0.8, 0.4, 0.15])
    linear = linear * mask[..., None] + 0.3 * (1 - mask[..., None])
    return (linear ** (1 / 2.2)).astype(np.float32), mask


def rings(depth: NDArray[np.float32]) -> tuple[float, float]:
    """Give the median depth in the middle of the ball and close to its rim."""
    size = len(depth)
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j] / 0.8
    radius = np.hypot(x, y)
    rim = (radius > 0.8) & (radius < 0.92)
    return float(np.median(depth[radius < 0.3])), float(np.median(depth[rim]))


@pytest.fixture(scope="module")
def network() -> two_sided.TwoSidedNetwork:
    return two_sided.load("cpu")


def test_the_bundled_weights_are_small_and_named_by_their_hash(
    network: two_sided.TwoSidedNetwork,
) -> None:
    card = json.loads(two_sided.WEIGHTS.with_suffix(".json").read_text(encoding="utf-8"))
    assert two_sided.WEIGHTS.stat().st_size <= 20_000_000
    assert network.revision == f"two-sided 2 ({card['sha256'][:8]})"


def test_loading_twice_gives_the_same_network(network: two_sided.TwoSidedNetwork) -> None:
    assert two_sided.load("cpu") is network


@pytest.mark.parametrize("is_mask_known", [True, False])
def test_a_ball_is_convex_and_has_a_back(
    network: two_sided.TwoSidedNetwork, is_mask_known: bool
) -> None:
    rgb, mask = ball()
    got = network.estimate_object(rgb, mask if is_mask_known else None)
    assert got.mask.shape == (256, 256)
    assert got.normals.shape == (256, 256, 3)
    assert got.up.shape == (3,)
    assert all(a.dtype == np.float32 for a in (got.mask, got.front, got.back, got.normals, got.up))
    assert (got.back >= got.front).all()
    assert np.allclose(np.linalg.norm(got.normals, axis=-1), 1, atol=1e-3)
    assert np.linalg.norm(got.up) == pytest.approx(1, abs=1e-3)
    middle, rim = rings(got.front)
    assert middle < rim - 0.15
    back_middle, back_rim = rings(got.back)
    assert back_middle > back_rim
    assert 0.5 < back_middle - middle < 2.4  # a true ball of this size is 1.6 thick
    inside = got.mask > 0.5
    assert abs(float((got.front * got.mask).sum() / got.mask.sum())) < 1e-3
    assert got.normals[120:136, 120:136, 2].mean() < -0.7
    assert got.normals[inside][:, 2].mean() < -0.3


def test_an_unknown_mask_is_found(network: two_sided.TwoSidedNetwork) -> None:
    rgb, _ = ball()
    got = network.estimate_object(rgb).mask > 0.5
    y, x = np.mgrid[-1:1:256j, -1:1:256j]
    truth = np.hypot(x, y) < 0.8
    assert (got & truth).sum() / (got | truth).sum() > 0.8


def test_a_known_mask_comes_back_and_its_outside_does_not_matter(
    network: two_sided.TwoSidedNetwork,
) -> None:
    rgb, mask = ball()
    other = np.where(mask[..., None] > 0, rgb, np.float32(0.9))
    first, second = network.estimate_object(rgb, mask), network.estimate_object(other, mask)
    assert np.abs((first.mask > 0.5).mean() - mask.mean()) < 0.01
    inside = first.mask > 0.99
    assert np.allclose(first.front[inside], second.front[inside], atol=0.02)


def test_the_same_picture_gives_the_same_numbers(network: two_sided.TwoSidedNetwork) -> None:
    rgb, mask = ball()
    first, second = network.estimate_object(rgb, mask), network.estimate_object(rgb, mask)
    assert np.array_equal(first.front, second.front)
    assert np.array_equal(first.up, second.up)


def test_a_mirrored_picture_gives_the_mirrored_geometry(
    network: two_sided.TwoSidedNetwork,
) -> None:
    rgb, mask = ball()
    first = network.estimate_object(rgb, mask)
    second = network.estimate_object(rgb[:, ::-1].copy(), mask[:, ::-1].copy())
    assert np.allclose(first.front, second.front[:, ::-1], atol=1e-3)
    assert np.allclose(first.normals[..., 0], -second.normals[:, ::-1, 0], atol=1e-2)
    assert np.allclose(first.up * [-1, 1, 1], second.up, atol=1e-3)


def test_a_scene_has_depth_everywhere(network: two_sided.TwoSidedNetwork) -> None:
    rng = np.random.default_rng(0)
    picture = np.zeros((120, 210, 3), np.float32)
    picture[:60] = [0.5, 0.7, 0.95]
    picture[60:] = [0.35, 0.3, 0.25] + 0.05 * rng.normal(size=(60, 210, 1))
    got = network.estimate_scene(np.clip(picture, 0, 1).astype(np.float32))
    assert got.depth.shape == got.mask.shape == (219, 384)
    assert got.depth.min() > 0
    assert got.depth.max() <= 8.001
    assert np.median(got.depth) == pytest.approx(1, abs=0.01)
    assert 0 <= got.object_score <= 1
    assert np.linalg.norm(got.up) == pytest.approx(1, abs=1e-3)
    assert got.depth[-20:].mean() < got.depth[110:130].mean()  # the ground runs away from us


@pytest.mark.parametrize("shape", [(1, 1, 3), (3, 700, 3), (900, 5, 3)])
def test_odd_pictures_do_not_break_it(
    network: two_sided.TwoSidedNetwork, shape: tuple[int, int, int]
) -> None:
    got = network.estimate_scene(np.full(shape, 0.5, np.float32))
    assert np.isfinite(got.depth).all()


def test_an_empty_mask_gives_finite_numbers(network: two_sided.TwoSidedNetwork) -> None:
    got = network.estimate_object(np.zeros((64, 64, 3), np.float32), np.zeros((64, 64), np.float32))
    assert np.isfinite(got.front).all()
    assert got.mask.max() == 0


def test_cancelling_stops_between_passes(network: two_sided.TwoSidedNetwork) -> None:
    rgb, mask = ball()
    calls = 0

    def report() -> None:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        network.estimate_object(rgb, mask, report)
    assert calls == 2


def test_a_known_mask_asks_the_network_of_objects_and_anything_else_that_of_pictures(
    network: two_sided.TwoSidedNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    rgb, mask = ball()
    asked: list[str] = []
    for name in ("_of_objects", "_of_pictures"):
        net = getattr(network, name)
        for method in ("forward", "features"):
            real = getattr(net, method)

            def noted(x, real=real, name=name):
                asked.append(name)
                return real(x)

            monkeypatch.setattr(net, method, noted)
    for ask, expected in (
        (lambda: network.estimate_object(rgb, mask), "_of_objects"),
        (lambda: network.estimate_appearance(rgb, mask), "_of_objects"),
        (lambda: network.estimate_object(rgb), "_of_pictures"),
        (lambda: network.estimate_scene(rgb), "_of_pictures"),
    ):
        asked.clear()
        ask()
        assert set(asked) == {expected}


def copied(folder: Path) -> Path:
    """Copy the bundled files to a folder."""
    target = folder / two_sided.WEIGHTS.name
    shutil.copy(two_sided.WEIGHTS, target)
    shutil.copy(two_sided.WEIGHTS.with_suffix(".json"), target.with_suffix(".json"))
    return target


def test_damaged_weights_are_refused(tmp_path: Path) -> None:
    weights = copied(tmp_path)
    content = bytearray(weights.read_bytes())
    content[-10] ^= 255
    weights.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is damaged: its sha256 begins .* Reinstall"):
        two_sided.load("cpu", weights)


def test_missing_weights_are_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"is missing: .*two_sided\.safetensors.* Reinstall"):
        two_sided.load("cpu", tmp_path / "two_sided.safetensors")


def test_a_damaged_card_is_refused(tmp_path: Path) -> None:
    weights = copied(tmp_path)
    weights.with_suffix(".json").write_text("{")
    with pytest.raises(WeightsError, match=r"two_sided\.json is damaged"):
        two_sided.load("cpu", weights)


def test_weights_of_another_network_are_refused(tmp_path: Path) -> None:
    from hashlib import sha256

    import torch
    from safetensors.torch import save

    content = save({"other": torch.zeros(3)})
    weights = tmp_path / "two_sided.safetensors"
    weights.write_bytes(content)
    card = {"name": "two-sided 2", "sha256": sha256(content).hexdigest()}
    weights.with_suffix(".json").write_text(json.dumps(card))
    with pytest.raises(WeightsError, match="is of another version"):
        two_sided.load("cpu", weights)
