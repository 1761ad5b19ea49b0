"""Train the network on shards as they appear; stop after a given time.

    python -m training.train SHARDS HELD_OUT CHECKPOINT --hours 1.5 [--init CORE_OR_CHECKPOINT]
    python -m training.train SHARDS HELD_OUT CHECKPOINT --hours 1.5 --resume

The learning rate warms up and follows a cosine over the time of this run, resumed or not. CHECKPOINT holds the network, its moving
average (what is exported), the optimiser and the time used; it is rewritten every few minutes.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from inference.models.two_sided import TwoSidedNet

from .batches import Batch, Window, plain_batch, training_batch
from .export import initial_network
from .losses import WEIGHTS, losses, scores, total

logger = logging.getLogger(__name__)

WARM_UP = 150
EMA = 0.998


def parameter_groups(net: TwoSidedNet, rate: float, fresh_gain: float) -> list[dict[str, object]]:
    """Let layers that were never trained learn ``fresh_gain`` times as fast as the core."""
    core, fresh = [], []
    for name, parameter in net.named_parameters():
        (core if name.startswith("core.") else fresh).append(parameter)
    return [{"params": core, "gain": rate}, {"params": fresh, "gain": rate * fresh_gain}]


def moving_average(average: dict[str, Tensor], net: nn.Module, step: int) -> None:
    """Move the average a little towards the network, in place."""
    keep = min(EMA, (1 + step) / (10 + step))
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)
        else:
            average[name].copy_(value)


def half_resolution(net: TwoSidedNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """Predict at half the picture's resolution; only the core and the pooled head learn.

    Two thirds of the cost of a full step, since the thin branch is only run forwards.
    """
    with torch.no_grad():
        fine = net.fine_in(F.relu(net.fine_stem(x)))
    y, summary = net.trunk(x, fine)
    with torch.no_grad():
        detail = F.avg_pool2d(net.detail(y, fine), 2)
    return net.core.h(y) + detail, net.pooled(summary)


def halved(batch: Batch, row: int, column: int) -> Batch:
    """Take every second pixel of what the network should say, from ``row`` and ``column`` on."""
    pixels = ("mask", "front", "thickness", "normals", "log_depth")
    picked = {k: getattr(batch, k)[..., row::2, column::2] for k in pixels}
    return replace(batch, **picked)


def evaluate(average: dict[str, Tensor], held_out: Path, count: int) -> dict[str, float]:
    """Score the averaged network on the first ``count`` held-out pictures, mask known and not."""
    net = TwoSidedNet()
    net.load_state_dict(average)
    net.eval()
    files = sorted(held_out.glob("shard_*.npz"))
    shards = [dict(np.load(f)) for f in files]
    raw = {k: np.concatenate([s[k] for s in shards])[:count] for k in shards[0]}
    result: dict[str, float] = {}
    for is_known in (True, False):
        batch = plain_batch(raw, is_known)
        with torch.inference_mode():
            outputs = [net(x) for x in batch.x.split(16)]
        maps, pooled = (torch.cat(tensors) for tensors in zip(*outputs, strict=True))
        found = scores(maps, pooled, batch)
        if is_known:
            keep = ("front_l1", "thickness_l1", "normal_deg", "up_deg_object")
            result |= {f"{k}_mask_known": found[k] for k in keep}
        else:
            result |= found
    return {k: round(v, 4) for k, v in result.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--hours", type=float, default=1.5, help="of this run")
    parser.add_argument("--init", type=Path)
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--fresh-gain", type=float, default=2.0)
    parser.add_argument("--half", type=float, default=0.0, help="share of half-resolution steps")
    parser.add_argument("--window", type=int, default=96, help="shards held in memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument("--save-minutes", type=float, default=6.0)
    parser.add_argument("--held-out-count", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)

    net = initial_network(arguments.init)
    net = net.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    groups = parameter_groups(net, arguments.rate, arguments.fresh_gain)
    gains = [group["gain"] for group in groups]
    optimiser = torch.optim.AdamW(groups, lr=arguments.rate, weight_decay=0.01)
    average = {k: v.clone() for k, v in net.state_dict().items()}
    step, hours_before = 0, 0.0
    if arguments.resume:
        state = torch.load(arguments.checkpoint, weights_only=True)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        for group, planned in zip(optimiser.param_groups, gains, strict=True):
            group["gain"] = planned  # this run's rate, not the one it was saved with
        average, step, hours_before = state["ema"], state["step"], state["hours"]
    first_step = step

    window = Window(arguments.shards, arguments.window, rng)
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
            held_out = evaluate(average, arguments.held_out, arguments.held_out_count)
            state = {
                "net": net.state_dict(),
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
            group["lr"] = group["gain"] * warm * (0.02 + 0.98 * fade)
        batch = training_batch(window.draw(arguments.batch), rng)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        is_half = elapsed < 0.85 * arguments.hours and rng.random() < arguments.half
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.bf16):
            if is_half:
                maps, pooled = half_resolution(net, x)
                batch = halved(batch, *rng.integers(0, 2, 2))
            else:
                maps, pooled = net(x)
        parts = losses(maps.float(), pooled.float(), batch)
        loss = total(parts)
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if torch.isfinite(loss):
            optimiser.step()
        step += 1
        since += 1
        moving_average(average, net, step)
        for name in WEIGHTS:
            sums[name] = sums.get(name, 0.0) + float(parts[name].detach())
        if step % 25 == 0:
            done = since * arguments.batch / (time.perf_counter() - saved)
            logger.info("step %d loss %.3f %.1f img/s", step, float(loss.detach()), done)


if __name__ == "__main__":
    main()
