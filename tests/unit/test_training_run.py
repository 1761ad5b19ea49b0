"""The training loop: from shards to a checkpoint and on from there, on any device and optimiser."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F  # noqa: N812
from safetensors.torch import load_file, save_file

pytest.importorskip("trimesh")

from inference.models.bundled import two_sided
from inference.models.bundled.appearance import AppearanceDecoder
from inference.models.bundled.packed import unpacked
from inference.models.bundled.two_sided import (
    APPEARANCE,
    OBJECT,
    PICTURE,
    WEIGHTS,
    part_of,
)
from inference.models.bundled.two_sided_net import TwoSidedNet
from training.network import batches, train, train_appearance
from training.network.batches import Window, plain_batch, training_batch
from training.network.export import YOUNGEST, initial_network, put

SIDE = 64
BRIEFLY = ("--hours", "0.0002", "--threads", 1)  # a step or a few
PICTURES = (*BRIEFLY, "--part", "picture")


def write_shard(folder: Path, count: int = 6) -> None:
    """Balls of random size and colour, one picture of a place."""
    rng = np.random.default_rng(0)
    line = (np.arange(SIDE) + 0.5) / SIDE * 2 - 1
    u, v = np.meshgrid(line, line)
    radius = rng.uniform(0.5, 0.9, (count, 1, 1))
    height = np.sqrt(np.clip(radius**2 - u**2 - v**2, 0, None))
    mask = height > 0
    image = np.where(mask[..., None], rng.integers(0, 255, (count, 1, 1, 3)), 128)
    normals = np.stack(np.broadcast_arrays(u / radius, v / radius, -height / radius), -1)
    half = (count, SIDE // 2, SIDE // 2)
    folder.mkdir()
    np.savez(
        folder / "shard_0000000.npz",
        image=image.astype(np.uint8),
        mask=mask.astype(np.uint8),
        front=np.where(mask, -height, 0).astype(np.float16),
        thickness=(2 * height).astype(np.float16),
        normals=np.round(normals * mask[..., None] * 127).astype(np.int8),
        log_depth=np.zeros(mask.shape, np.float16),
        has_depth=(np.arange(count) == 0).astype(np.float32),
        up=np.tile(np.float32([0, -1, 0]), (count, 1)),
        is_object=(np.arange(count) > 0).astype(np.float32),
        counts=np.ones(count, np.float32),
        half=np.full(count, 0.3, np.float32),
        albedo=rng.integers(0, 255, (*half, 3)).astype(np.uint8),
        hidden=rng.integers(0, 255, (*half, 3)).astype(np.uint8),
        roughness=np.full(half, 128, np.uint8),
        metal=np.zeros(half, np.uint8),
    )


def run(monkeypatch: pytest.MonkeyPatch, module, *arguments: object) -> None:
    monkeypatch.setattr(sys, "argv", ["train", *map(str, arguments)])
    module.main()


@pytest.mark.parametrize("optimiser", [(), ("--muon",)])
def test_it_trains_saves_and_goes_on(tmp_path: Path, monkeypatch, optimiser) -> None:
    shards, held_out, checkpoint = tmp_path / "s", tmp_path / "h", tmp_path / "c.pt"
    write_shard(shards)
    write_shard(held_out)
    common = (shards, held_out, checkpoint, *PICTURES, "--batch", 3)
    run(monkeypatch, train, *common, "--no-bf16", *optimiser)
    first = torch.load(checkpoint, weights_only=True)
    assert first["step"] > 0
    assert all(np.isfinite(v) for v in first["held_out"].values())
    run(monkeypatch, train, *common, "--no-bf16", "--resume", *optimiser)
    second = torch.load(checkpoint, weights_only=True)
    assert second["step"] > first["step"]
    assert second["hours"] > first["hours"]
    moved = [k for k, v in second["ema"].items() if not torch.equal(v, first["ema"][k])]
    assert any("core.e.4" in k for k in moved)
    initial_network(checkpoint)  # what comes next, export, can read it


def test_a_coarse_step_says_what_a_full_one_averages_to_and_spares_the_thin_branch() -> None:
    net = initial_network(WEIGHTS).train()
    rng = torch.Generator().manual_seed(0)
    x = F.interpolate(torch.rand((2, 4, 16, 16), generator=rng), size=128, mode="bilinear") * 2 - 1
    before = {k: v.clone() for k, v in net.state_dict().items() if "fine_" in k}
    with torch.no_grad():
        expected, pooled = net.eval()(x)
        maps, summary = train.coarse(net, x)
    expected = F.avg_pool2d(expected, train.COARSE)
    spread = expected.std((0, 2, 3))
    assert ((maps - expected).abs().mean((0, 2, 3)) < 0.06 * spread).all()
    torch.testing.assert_close(summary, pooled)
    maps, summary = train.coarse(net.train(), x)
    (maps.square().mean() + summary.square().mean()).backward()
    learns = {k for k, v in net.named_parameters() if v.grad is not None}
    assert {"core.h.0.weight", "core.e.4.0.a.weight", "pooled.0.weight"} <= learns
    assert not any(k.startswith(("fine_stem", "fine_in", "fine_out", "fine_head")) for k in learns)
    after = net.state_dict()
    assert all(torch.equal(v, after[k]) for k, v in before.items())  # its statistics, too


@pytest.mark.parametrize("prefix", ["", "object."])
def test_an_older_network_goes_on_with_layers_that_begin_as_the_identity(
    tmp_path: Path, prefix: str
) -> None:
    """Bare names are those of the files with one network."""
    shipped = part_of(unpacked(load_file(WEIGHTS)), OBJECT)
    older = {prefix + k: v for k, v in shipped.items() if not k.startswith(YOUNGEST)}
    save_file(older, tmp_path / "older.safetensors")
    net = initial_network(tmp_path / "older.safetensors").eval()
    x = torch.rand((1, 4, 64, 64), generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        expected = net(x)
        net.mid_view = Skipped()  # type: ignore[assignment]
        net.core.e[2] = net.core.e[2][:2]  # type: ignore[index]
        for a, b in zip(expected, net(x), strict=True):
            torch.testing.assert_close(a, b)
    del older[prefix + "core.h.0.weight"]
    save_file(older, tmp_path / "another.safetensors")
    with pytest.raises(ValueError, match="another network"):
        initial_network(tmp_path / "another.safetensors")


def test_each_trained_network_finds_its_place_in_the_file(tmp_path: Path) -> None:
    target = tmp_path / "w.safetensors"
    nets = {part: TwoSidedNet() for part in (OBJECT, PICTURE)}
    for part, net in nets.items():
        for parameter in net.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
        put(net.state_dict(), part, target, {"summary": part})
    first = put(AppearanceDecoder().state_dict(), APPEARANCE, target, {"summary": "decoder"})
    for part, net in nets.items():
        read = initial_network(target, part).state_dict()
        for name, value in net.state_dict().items():
            if value.is_floating_point():
                torch.testing.assert_close(read[name], value, atol=0.02, rtol=4e-3)
    card = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    assert set(card["training"]) == {"object", "picture", "appearance"}
    learnt = sum(p.numel() for n in (*nets.values(), AppearanceDecoder()) for p in n.parameters())
    assert card["parameters"] == learnt
    again = put(nets[OBJECT].state_dict(), PICTURE, target, {})
    assert again != first
    a, b = (initial_network(target, part).state_dict() for part in (OBJECT, PICTURE))
    assert all(torch.equal(v, b[k]) for k, v in a.items())
    two_sided.load("cpu", target)  # what the extension reads


class Skipped(torch.nn.Module):
    def forward(self, x: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        return x, x


def test_coarse_steps_train(tmp_path: Path, monkeypatch) -> None:
    shards, held_out, checkpoint = tmp_path / "s", tmp_path / "h", tmp_path / "c.pt"
    write_shard(shards)
    write_shard(held_out)
    common = (shards, held_out, checkpoint, *PICTURES, "--batch", 3)
    monkeypatch.setattr(train, "LAST_COARSE", 2.0)  # no full step at the end
    run(monkeypatch, train, *common, "--no-bf16", "--coarse", 1, "--init", WEIGHTS)
    state = torch.load(checkpoint, weights_only=True)["net"]
    shipped = initial_network(WEIGHTS, PICTURE)
    moved = {k for k, v in shipped.named_parameters() if not torch.equal(state[k], v)}
    assert {"core.h.0.weight", "core.e.4.0.a.weight"} <= moved
    assert not any(k.startswith(("fine_stem", "fine_in", "fine_out", "fine_head")) for k in moved)


def test_the_appearance_decoder_trains_on_the_shipped_network(tmp_path: Path, monkeypatch) -> None:
    shards, held_out, checkpoint = tmp_path / "s", tmp_path / "h", tmp_path / "c.pt"
    write_shard(shards)
    write_shard(held_out)
    common = (shards, held_out, checkpoint, *BRIEFLY, "--batch", 2)
    run(monkeypatch, train_appearance, *common)
    state = torch.load(checkpoint, weights_only=True)
    assert state["step"] > 0
    assert np.isfinite(state["held_out"]["hidden"])


def test_the_shipped_decoder_is_what_the_next_training_can_begin_from() -> None:
    decoder = AppearanceDecoder()
    decoder.load_state_dict(train_appearance.initial_decoder(WEIGHTS))
    assert sum(float(p.detach().abs().sum()) for p in decoder.parameters()) > 1
    assert all(p.dtype == torch.float32 for p in decoder.parameters())


def test_only_the_subject_and_its_truth_survive_a_new_background(
    tmp_path: Path, monkeypatch
) -> None:
    monkeypatch.setattr(batches, "SMALLER", 0.0)
    write_shard(tmp_path / "s")
    window = Window(tmp_path / "s", 1, np.random.default_rng(0))
    window.refresh()
    raw = window.draw(64)
    plain = plain_batch(raw, is_mask_known=False)
    batch = training_batch(raw, np.random.default_rng(1), 0.5)
    is_told = batch.x[:, 3].abs().amax((1, 2)) > 0
    objects = batch.is_object > 0.5
    assert 0.3 < is_told[objects].float().mean() < 0.7
    assert not is_told[~objects].any()
    assert torch.equal(batch.mask.sum((1, 2, 3)), plain.mask.sum((1, 2, 3)))  # mirrored at most
    inside = batch.mask.expand_as(batch.normals) > 0.5
    assert (batch.normals.abs().sum(1, keepdim=True) > 0)[batch.mask > 0.5].all()
    outside = ~inside & objects[:, None, None, None]
    behind = (batch.x[:, :3] * outside)[objects & ~is_told]
    spread = behind.flatten(1).std(1)
    assert spread.max() > 3 * spread.min()  # some got things behind them, some did not


def test_the_same_seed_augments_alike(tmp_path: Path) -> None:
    write_shard(tmp_path / "s")
    window = Window(tmp_path / "s", 1, np.random.default_rng(0))
    window.refresh()
    raw = window.draw(8)
    a, b = (training_batch(raw, np.random.default_rng(3), 0.5) for _ in range(2))
    assert torch.equal(a.x, b.x)


def test_a_subject_made_small_keeps_its_shape(tmp_path: Path, monkeypatch) -> None:
    """Balls stay balls: depth shrinks with the picture, normals stay, all of it is inside."""
    write_shard(tmp_path / "s")
    window = Window(tmp_path / "s", 1, np.random.default_rng(0))
    window.refresh()
    raw = window.draw(24)
    plain = plain_batch(raw, is_mask_known=False)
    monkeypatch.setattr(batches, "SMALLER", 1.0)
    batch = training_batch(raw, np.random.default_rng(1), 0.0)
    line = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
    for i in range(24):
        mask = batch.mask[i, 0] > 0.5
        if raw["is_object"][i] < 0.5:
            assert torch.equal(batch.mask[i], plain.mask[i])
            assert batch.has_depth[i] == 1
            continue
        rows, columns = mask.any(1).sum(), mask.any(0).sum()
        assert 0.17 * SIDE <= max(rows, columns) <= 0.68 * SIDE
        assert abs(int(rows) - int(columns)) <= 1
        radius = float(rows) / SIDE
        v, u = line[mask.any(1)].mean(), line[mask.any(0)].mean()
        inside = (line[:, None] - v).square() + (line[None] - u).square() < (0.8 * radius) ** 2
        square = (line[:, None] - v).square() + (line[None] - u).square()
        height = (radius**2 - square).clamp_min(0).sqrt()
        assert (batch.thickness[i, 0] - 2 * height)[inside].abs().max() < 0.2 * radius + 3 / SIDE
        assert (batch.front[i, 0] + height)[inside].abs().max() < 0.12 * radius + 2 / SIDE
        assert batch.normals[i, 2][inside].max() < -0.4
        assert batch.has_depth[i] == 0
        assert (batch.normals[i].abs().sum(0) > 0)[~mask].sum() == 0
    in_place = batch.counts < 0.5
    assert 0 < in_place.sum() < len(in_place)
    assert batch.counts[batch.is_object < 0.5].all()
