"""Train the appearance decoder on the shipped network's features; stop after a given time.

    python -m training.train_appearance SHARDS HELD_OUT CHECKPOINT --hours 1 [--resume]

The network itself (``--weights``) stays as it is. The learning rate warms up and follows a cosine over
this run. CHECKPOINT is rewritten every few minutes; ``training.export --appearance`` puts its moving
average into the network's file.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from inference.models.appearance import AppearanceDecoder, AppearanceMaps
from inference.models.residual import fold_batch_norm
from inference.models.two_sided import FRONT, THICKNESS, WEIGHTS, TwoSidedNet

from .appearance_batches import KEYS, AppearanceBatch, plain_batch, training_batch
from .batches import Window
from .export import initial_network
from .losses import centred, masked_mean, slope_error
from .train import WARM_UP, moving_average

logger = logging.getLogger(__name__)

LOSSES = {
    "hidden": 3.0,
    "albedo": 3.0,
    "albedo_edges": 1.5,
    "roughness": 0.7,
    "metal": 0.3,
    "front_spread": 0.1,
    "back_spread": 0.1,
    "lens": 0.2,
}


def frozen_network(weights: Path) -> TwoSidedNet:
    """The shipped network, ready to be looked through."""
    net = initial_network(weights).eval()
    net.requires_grad_(False)
    fold_batch_norm(net)
    return net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]


def look(
    net: TwoSidedNet, decoder: AppearanceDecoder, x: Tensor
) -> tuple[AppearanceMaps, Tensor, Tensor]:
    """What the decoder says, and the network's front and back at half resolution (B, 1, h, h)."""
    x = x.contiguous(memory_format=torch.channels_last)
    with torch.no_grad():
        features = net.features(x)
        maps = net.read(features)[0]
        front = F.avg_pool2d(maps[:, FRONT : FRONT + 1], 2)
        back = front + F.avg_pool2d(F.softplus(maps[:, THICKNESS : THICKNESS + 1]), 2)
    said = decoder(x, features.fine, features.skips, features.decoded, features.summary)
    return said, front, back


def depth_errors(front: Tensor, back: Tensor, batch: AppearanceBatch) -> Tensor:
    """(B, 2, h, h) how far the network's front and back are off, each from a common zero."""
    weight = batch.weight
    zero = centred(batch.front, weight) - batch.front
    middle = centred(front, weight) - front
    front_error = (front + middle - batch.front - zero).abs()
    back_error = (back + middle - batch.back - zero).abs()
    return torch.cat([front_error, back_error], 1)


def laplace(error: Tensor, log_scale: Tensor) -> Tensor:
    """Negative log-likelihood of absolute errors, without its constant."""
    log_scale = log_scale.clamp(-5, 2)
    return error * (-log_scale).exp() + log_scale


def losses(
    said: AppearanceMaps, front: Tensor, back: Tensor, batch: AppearanceBatch
) -> dict[str, Tensor]:
    """Compute every loss, unweighted."""
    weight = batch.weight
    albedo_error = said.albedo - batch.albedo
    errors = depth_errors(front, back, batch)
    metal = F.binary_cross_entropy_with_logits(said.metal, batch.metal, reduction="none")
    edges = [slope_error(albedo_error[:, c : c + 1], weight, 3) for c in range(3)]
    return {
        "hidden": masked_mean((said.hidden - batch.hidden).abs().mean(1, keepdim=True), weight),
        "albedo": masked_mean(albedo_error.abs().mean(1, keepdim=True), weight),
        "albedo_edges": torch.stack(edges).mean(),
        "roughness": masked_mean((torch.sigmoid(said.roughness) - batch.roughness).abs(), weight),
        "metal": masked_mean(metal, weight),
        "front_spread": masked_mean(laplace(errors[:, :1], said.spreads[:, :1]), weight),
        "back_spread": masked_mean(laplace(errors[:, 1:], said.spreads[:, 1:]), weight),
        "lens": laplace((said.lens[:, 0] - batch.log_half).abs(), said.lens[:, 1]).mean(),
    }


def evaluate(net: TwoSidedNet, average: dict[str, Tensor], raw: dict[str, np.ndarray]) -> dict:
    """Average every loss of the averaged decoder over held-out pictures."""
    decoder = AppearanceDecoder()
    decoder.load_state_dict(average)
    decoder.eval()
    sums: dict[str, list[float]] = {}
    with torch.inference_mode():
        for start in range(0, len(raw["image"]), 16):
            batch = plain_batch({k: v[start : start + 16] for k, v in raw.items()})
            parts = losses(*look(net, decoder, batch.x), batch)
            for name, value in parts.items():
                sums.setdefault(name, []).append(float(value))
    return {name: round(float(np.mean(values)), 4) for name, values in sums.items()}


def read_held_out(folder: Path, count: int) -> dict[str, np.ndarray]:
    """Read the first ``count`` pictures of a folder of shards."""
    shards = []
    for file in sorted(folder.glob("shard_*.npz")):
        with np.load(file) as data:
            shards.append({key: data[key] for key in KEYS})
    return {key: np.concatenate([s[key] for s in shards])[:count] for key in KEYS}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of the network that stays")
    parser.add_argument("--hours", type=float, default=1.0, help="of this run")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, default=1.5e-3)
    parser.add_argument("--window", type=int, default=120, help="shards held in memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--save-minutes", type=float, default=6.0)
    parser.add_argument("--held-out-count", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    net = frozen_network(arguments.weights)
    decoder = AppearanceDecoder().to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    optimiser = torch.optim.AdamW(decoder.parameters(), lr=arguments.rate, weight_decay=0.01)
    average = {k: v.clone() for k, v in decoder.state_dict().items()}
    step, hours_before = 0, 0.0
    if arguments.resume:
        state = torch.load(arguments.checkpoint, weights_only=True)
        decoder.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        average, step, hours_before = state["ema"], state["step"], state["hours"]
    first_step = step

    held_out_pictures = read_held_out(arguments.held_out, arguments.held_out_count)
    window = Window(arguments.shards, arguments.window, rng, KEYS)
    while window.refresh(arguments.window) == 0:
        logger.info("waiting for the first shard")
        time.sleep(20)
    start = saved = time.perf_counter()
    sums: dict[str, float] = {}
    since = 0
    while True:
        elapsed = (time.perf_counter() - start) / 3600
        is_last = elapsed >= arguments.hours
        if is_last or (time.perf_counter() - saved) / 60 > arguments.save_minutes:
            seconds = time.perf_counter() - saved
            held_out = evaluate(net, average, held_out_pictures)
            state = {
                "net": decoder.state_dict(),
                "ema": average,
                "optimiser": optimiser.state_dict(),
                "step": step,
                "hours": hours_before + elapsed,
                "held_out": held_out,
            }
            partial = arguments.checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.rename(arguments.checkpoint)
            line = {
                "hours": round(hours_before + elapsed, 3),
                "step": step,
                "images_per_s": round(since * arguments.batch / seconds, 1),
                "shards": window.seen,
                "train": {k: round(v / max(since, 1), 4) for k, v in sums.items()},
                "held_out": held_out,
            }
            logger.info(json.dumps(line))
            sums, since, saved = {}, 0, time.perf_counter()
        if is_last:
            break
        if step % 20 == 0:
            window.refresh()
        fade = 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed / arguments.hours)))
        warm = min(1.0, (step - first_step + 1) / WARM_UP)
        for group in optimiser.param_groups:
            group["lr"] = arguments.rate * warm * (0.02 + 0.98 * fade)
        decoder.train()
        batch = training_batch(window.draw(arguments.batch), rng)
        parts = losses(*look(net, decoder, batch.x), batch)
        loss = torch.stack([LOSSES[name] * value for name, value in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(decoder.parameters(), 1.0)
        if torch.isfinite(loss):
            optimiser.step()
        step += 1
        since += 1
        moving_average(average, decoder, step)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())
        if step % 25 == 0:
            done = since * arguments.batch / (time.perf_counter() - saved)
            logger.info("step %d loss %.3f %.1f img/s", step, float(loss.detach()), done)


if __name__ == "__main__":
    main()
