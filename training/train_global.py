"""Train the second look (``inference/models/global_shape.py``) on cached features.

    python -m training.train_global CACHE HELD_OUT_CACHE CHECKPOINT --hours 0.5 [--init CHECKPOINT]

Both caches come from ``training.cache_features``. Apart from mean errors the loss counts what lies
closer than about a twentieth of the object, front and back, as the F-score does: where a picture
allows several shapes, the mean of absolute errors settles in the middle, which is none of them.
CHECKPOINT holds the network and its moving average and is rewritten every two minutes;
``training.export --global-shape`` puts the average into the bundled file.
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
from numpy.random import Generator
from torch import Tensor, nn

from inference.models.global_shape import Evidence, GlobalShape

from .losses import centred, masked_mean, slope_error
from .train import moving_average

logger = logging.getLogger(__name__)

KEYS = ("middle", "summary", "shape", "weight", "picture", "true")
WEIGHTS = {"front": 2.0, "thickness": 1.5, "edges": 1.0, "near": 1.5}
NEAR = 0.12  # half crop widths: about 5 % of an object's bounding-box diagonal
WARM_UP = 200


class Pictures:
    """All cached pictures in memory."""

    def __init__(self, folder: Path) -> None:
        self._shards: list[dict[str, np.ndarray]] = []
        for file in sorted(folder.glob("shard_*.npz")):
            with np.load(file) as data:
                self._shards.append({key: data[key] for key in KEYS})
        counts = [len(shard["true"]) for shard in self._shards]
        self._index = [(s, i) for s, count in enumerate(counts) for i in range(count)]

    def __len__(self) -> int:
        return len(self._index)

    def take(self, picks: list[int]) -> tuple[Evidence, Tensor]:
        """Stack chosen pictures: evidence, and the true front and thickness (B, 2, 32, 32)."""

        def stacked(key: str) -> Tensor:
            arrays = [self._shards[s][key][i] for s, i in (self._index[p] for p in picks)]
            return torch.from_numpy(np.stack(arrays)).float()

        evidence = Evidence(
            middle=stacked("middle"),
            summary=stacked("summary"),
            shape=stacked("shape"),
            weight=stacked("weight") / 255,
            picture=stacked("picture") / 127.5 - 1,
        )
        return evidence, stacked("true")

    def draw(self, count: int, rng: Generator) -> tuple[Evidence, Tensor]:
        """Take ``count`` random pictures."""
        return self.take(rng.integers(len(self._index), size=count).tolist())


def near_miss(error: Tensor) -> Tensor:
    """Geman and McClure's robust error: 0 for exact, towards 1 far beyond ``NEAR``."""
    return error.square() / (error.square() + NEAR**2)


def losses(change: Tensor, evidence: Evidence, true: Tensor) -> dict[str, Tensor]:
    """Compute every loss, unweighted."""
    weight = evidence.weight
    front = centred(evidence.shape[:, :1] + change[:, :1], weight)
    thickness = F.softplus(evidence.shape[:, 1:] + change[:, 1:])
    front_error = front - true[:, :1]
    thickness_error = thickness - true[:, 1:]
    near = near_miss(front_error) + near_miss(front_error + thickness_error)
    return {
        "front": masked_mean(front_error.abs(), weight),
        "thickness": masked_mean(thickness_error.abs(), weight),
        "edges": slope_error(front_error, weight, 3),
        "near": masked_mean(near, weight) / 2,
    }


def evaluate(average: dict[str, Tensor], held_out: Pictures) -> dict[str, float]:
    """Losses of the averaged network on all held-out pictures, and of no second look at all."""
    net = GlobalShape()
    net.load_state_dict(average)
    net.eval()
    evidence, true = held_out.take(list(range(len(held_out))))
    with torch.inference_mode():
        change = net(evidence)
        after, before = losses(change, evidence, true), losses(change * 0, evidence, true)
    said = {name: round(float(value), 4) for name, value in after.items()}
    return said | {f"{name}_before": round(float(v), 4) for name, v in before.items()}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cache", type=Path)
    parser.add_argument("held_out", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("--hours", type=float, default=0.5)
    parser.add_argument("--init", type=Path, help="a checkpoint to begin from")
    parser.add_argument("--batch", type=int, default=48)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(arguments.seed)
    rng = np.random.default_rng(arguments.seed)
    pictures, held_out = Pictures(arguments.cache), Pictures(arguments.held_out)

    net = GlobalShape()
    if arguments.init is not None:
        net.load_state_dict(torch.load(arguments.init, weights_only=True)["ema"])
    optimiser = torch.optim.AdamW(net.parameters(), weight_decay=0.05, betas=(0.9, 0.98))
    average = {k: v.clone() for k, v in net.state_dict().items()}
    start = saved = time.perf_counter()
    step = since = 0
    sums: dict[str, float] = {}
    while True:
        elapsed = (time.perf_counter() - start) / 3600
        is_last = elapsed >= arguments.hours
        if is_last or time.perf_counter() - saved > 120:
            found = evaluate(average, held_out)
            state = {"net": net.state_dict(), "ema": average, "step": step, "held_out": found}
            partial = arguments.checkpoint.with_suffix(".partial")
            torch.save(state, partial)
            partial.rename(arguments.checkpoint)
            line = {
                "hours": round(elapsed, 3),
                "step": step,
                "pictures": len(pictures),
                "images_per_s": round(since * arguments.batch / (time.perf_counter() - saved), 1),
                "train": {k: round(v / max(since, 1), 4) for k, v in sums.items()},
                "held_out": found,
            }
            logger.info(json.dumps(line))
            sums, since, saved = {}, 0, time.perf_counter()
        if is_last:
            break
        fade = 0.5 * (1 + math.cos(math.pi * min(1.0, elapsed / arguments.hours)))
        rate = arguments.rate * min(1.0, (step + 1) / WARM_UP) * (0.02 + 0.98 * fade)
        for group in optimiser.param_groups:
            group["lr"] = rate
        evidence, true = pictures.draw(arguments.batch, rng)
        parts = losses(net(evidence), evidence, true)
        loss = torch.stack([WEIGHTS[name] * value for name, value in parts.items()]).sum()
        optimiser.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(net.parameters(), 1.0)
        optimiser.step()
        step, since = step + 1, since + 1
        moving_average(average, net, step)
        for name, value in parts.items():
            sums[name] = sums.get(name, 0.0) + float(value.detach())


if __name__ == "__main__":
    main()
