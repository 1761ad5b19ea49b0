"""The loop that both trainings share: time-bound, resumable, averaged, with a line in the log per save."""

from __future__ import annotations

import argparse
import json
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.random import Generator
from torch import Tensor, nn

from .batches import Window
from .muon import MixedOptimiser

logger = logging.getLogger(__name__)

WARM_UP = 150  # steps
EMA = 0.998
REFRESH = 20  # steps between looks for new shards
REPORT = 25  # steps between short lines
WAIT = 20.0  # seconds between looks for the first shard

Raw = dict[str, np.ndarray]
Parts = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Course:
    """What is learnt, and from what.

    Attributes:
        net: The module that learns; its parameters' groups carry a "gain", the highest rate.
        groups: Parameter groups of the optimiser.
        keys: Arrays of the shards that are read.
        weights: What each loss counts.
        losses: Drawn arrays, the random generator and the share of this run that is over (0 to 1) to
            unweighted losses.
        evaluate: A moving average of the weights to numbers of held-out pictures.
    """

    net: nn.Module
    groups: list[dict[str, object]]
    keys: tuple[str, ...]
    weights: dict[str, float]
    losses: Callable[[Raw, Generator, float], Parts]
    evaluate: Callable[[dict[str, Tensor]], dict[str, float]]


def options(description: str | None) -> argparse.ArgumentParser:
    """Give the arguments that every training takes."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("shards", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--hours", type=float, default=1.0, help="of this run")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--window", type=int, default=96, help="shards held in memory")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--save-minutes", type=float, default=6.0)
    parser.add_argument("--muon", action="store_true", help="orthogonalised momentum, not AdamW")
    best = "cuda" if torch.cuda.is_available() else "cpu"
    parser.add_argument("--device", default=best, choices=("cpu", "cuda"))
    parser.add_argument("--held-out-count", type=int, default=96)
    parser.add_argument("--seed", type=int, default=0)
    return parser


def prepared(arguments: argparse.Namespace) -> Generator:
    """Set up logging, threads and seeds."""
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.backends.cudnn.benchmark = True
    torch.manual_seed(arguments.seed)
    return np.random.default_rng(arguments.seed)


def read_held_out(folder: Path, count: int, keys: tuple[str, ...]) -> Raw:
    """Read the first ``count`` pictures of a folder of shards."""
    shards = []
    for file in sorted(folder.glob("shard_*.npz")):
        with np.load(file) as data:
            shards.append({key: data[key] for key in keys})
    return {key: np.concatenate([s[key] for s in shards])[:count] for key in keys}


def moving_average(average: dict[str, Tensor], net: nn.Module, step: int) -> None:
    """Move the average a little towards the network, in place."""
    keep = min(EMA, (1 + step) / (10 + step))
    for name, value in net.state_dict().items():
        if value.is_floating_point():
            average[name].lerp_(value, 1 - keep)
        else:
            average[name].copy_(value)


def run(course: Course, arguments: argparse.Namespace, rng: Generator) -> None:
    """Train for ``arguments.hours``: the rate warms up and follows a cosine over this run.

    The checkpoint holds the network, its moving average (what is exported), the optimiser and the time
    used, and is rewritten every ``arguments.save_minutes``.
    """
    net = course.net
    optimiser = (
        MixedOptimiser(course.groups)
        if arguments.muon
        else torch.optim.AdamW(course.groups, lr=1e-3, weight_decay=0.01)
    )
    gains = [group["gain"] for group in optimiser.param_groups]
    average = {k: v.clone() for k, v in net.state_dict().items()}
    step, hours_before = 0, 0.0
    if arguments.resume:
        state = torch.load(arguments.checkpoint, weights_only=True, map_location=arguments.device)
        net.load_state_dict(state["net"])
        optimiser.load_state_dict(state["optimiser"])
        for group, planned in zip(optimiser.param_groups, gains, strict=True):
            group["gain"] = planned  # this run's rate, not the one it was saved with
        average, step, hours_before = state["ema"], state["step"], state["hours"]
    first_step = step

    picks = np.random.default_rng([arguments.seed, first_step])  # drawn from in another thread
    window = Window(arguments.shards, arguments.window, picks, course.keys)
    while window.refresh(arguments.window) == 0:
        logger.info("waiting for the first shard")
        time.sleep(WAIT)

    def fetch(is_due: bool) -> Raw:
        if is_due:
            window.refresh()
        return window.draw(arguments.batch)

    pool = ThreadPoolExecutor(1)
    ahead = pool.submit(fetch, False)
    start = saved = time.perf_counter()
    sums: dict[str, Tensor] = {}
    since = 0
    while True:
        elapsed = (time.perf_counter() - start) / 3600
        is_last = elapsed >= arguments.hours
        if is_last or (time.perf_counter() - saved) / 60 > arguments.save_minutes:
            seconds = time.perf_counter() - saved
            held_out = course.evaluate(average)
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
                "train": {k: round(float(v) / max(since, 1), 4) for k, v in sums.items()},
                "held_out": held_out,
            }
            logger.info(json.dumps(line))
            sums, since, saved = {}, 0, time.perf_counter()
        if is_last:
            pool.shutdown()
            break
        raw = ahead.result()
        ahead = pool.submit(fetch, step % REFRESH == 0)
        fade = 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed / arguments.hours)))
        warm = min(1.0, (step - first_step + 1) / WARM_UP)
        for group in optimiser.param_groups:
            group["lr"] = group["gain"] * warm * (0.02 + 0.98 * fade)
        net.train()
        parts = course.losses(raw, rng, elapsed / arguments.hours)
        loss = torch.stack([course.weights[name] * value for name, value in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        if torch.isfinite(loss):
            optimiser.step()
        step += 1
        since += 1
        moving_average(average, net, step)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0) + value.detach()
        if step % REPORT == 0:
            done = since * arguments.batch / (time.perf_counter() - saved)
            logger.info("step %d loss %.3f %.1f img/s", step, float(loss.detach()), done)
