"""Train the network on shards as they appear; stop after a given time.

    python -m training.network.train SHARDS HELD_OUT CHECKPOINT --part object --hours 1.5 [--init FILE]
    python -m training.network.train SHARDS HELD_OUT CHECKPOINT --part object --hours 1.5 --resume

There are two of it: ``object``, which is always told the mask, and ``picture``, which is asked without it but
learns more from pictures half of whose masks are told (experiment 13).
``run`` says what CHECKPOINT holds; ``export`` makes the shipped file of it.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from torch import Tensor, nn

from inference.models.bundled.two_sided import OBJECT, PICTURE
from inference.models.bundled.two_sided_net import MAPS, TwoSidedNet

from .batches import KEYS, Batch, plain_batch, training_batch
from .export import initial_network
from .losses import SCALES, WEIGHTS, losses, scores
from .run import Course, Parts, Raw, options, prepared, read_held_out, run

COARSE = 4  # pixels; the finest stride at which most of the network works
KNOWN = {OBJECT: 1.0, PICTURE: 0.5}  # share of things whose mask is told
LAST_COARSE = 0.8  # of a run; after that every step is at full resolution
COARSE_SCALES = 2  # of slopes, 4 and 8 pixels, instead of 1 to 8


def parameter_groups(net: TwoSidedNet, rate: float, fresh_gain: float) -> list[dict[str, object]]:
    """Let layers that were never trained learn ``fresh_gain`` times as fast as the core."""
    core, fresh = [], []
    for name, parameter in net.named_parameters():
        (core if name.startswith("core.") else fresh).append(parameter)
    return [{"params": core, "gain": rate}, {"params": fresh, "gain": rate * fresh_gain}]


def coarse(net: TwoSidedNet, x: Tensor) -> tuple[Tensor, Tensor]:
    """Predict one value per ``COARSE`` x ``COARSE`` pixels; the thin branch learns nothing.

    Most of a full step's time goes into pixels, most of the network's weights look at whole regions.

    Returns:
        (B, 7, S / COARSE, S / COARSE) maps and (B, 4) pooled values, as ``TwoSidedNet.forward``.
    """
    for layer in (net.fine_in, net.fine_out):
        layer.eval()  # the statistics of what does not learn stay
    with torch.no_grad():
        fine = net.fine_in(F.relu(net.fine_stem(x)))
    y, summary = net.trunk(x, fine)
    with torch.no_grad():
        detail = F.avg_pool2d(_unshuffled(net.fine_head, net.thin(y, fine)), 2)
    return _unshuffled(net.core.h, y) + detail, net.pooled(summary)


def _unshuffled(head: nn.Sequential, y: Tensor) -> Tensor:
    """What a head's output averages to over each pixel of its input."""
    convolution = head[0]
    assert isinstance(convolution, nn.Conv2d)
    assert convolution.bias is not None
    weight, bias = (
        t.unflatten(0, (MAPS, -1)).mean(1) for t in (convolution.weight, convolution.bias)
    )
    return F.conv2d(y, weight, bias, padding=1)


def thinned(batch: Batch, row: int, column: int) -> Batch:
    """Take every ``COARSE``-th pixel of what the network should say, from ``row``, ``column`` on."""
    pixels = ("mask", "front", "thickness", "normals", "log_depth")
    picked = {k: getattr(batch, k)[..., row::COARSE, column::COARSE] for k in pixels}
    return replace(batch, **picked)


def evaluate(average: dict[str, Tensor], raw: Raw, device: str) -> dict[str, float]:
    """Score the averaged network on held-out pictures, mask known and not."""
    net = TwoSidedNet().to(device)
    net.load_state_dict(average)
    net.eval()
    result: dict[str, float] = {}
    for is_known in (True, False):
        batch = plain_batch(raw, is_known, device)
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
    parser = options(__doc__)
    parser.add_argument("--part", required=True, choices=list(KNOWN))
    parser.add_argument("--init", type=Path)
    parser.add_argument("--rate", type=float, default=6e-4)
    parser.add_argument("--fresh-gain", type=float, default=2.0)
    parser.add_argument("--coarse", type=float, default=0.0, help="share of coarse steps")
    parser.add_argument("--bf16", action=argparse.BooleanOptionalAction, default=True)
    arguments = parser.parse_args()
    rng = prepared(arguments)
    known = KNOWN[arguments.part]
    net = initial_network(arguments.init, arguments.part)
    device = arguments.device
    net = net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    held_out = read_held_out(arguments.held_out, arguments.held_out_count, KEYS)

    def step(raw: Raw, rng: Generator, done: float) -> Parts:
        batch = training_batch(raw, rng, known, device)
        x = batch.x.contiguous(memory_format=torch.channels_last)
        with torch.autocast(device, torch.bfloat16, enabled=arguments.bf16):
            if done < LAST_COARSE and rng.random() < arguments.coarse:
                maps, pooled = coarse(net, x)
                batch, scales = thinned(batch, *rng.integers(0, COARSE, 2)), COARSE_SCALES
            else:
                maps, pooled = net(x)
                scales = SCALES
        return losses(maps.float(), pooled.float(), batch, scales)

    groups = parameter_groups(net, arguments.rate, arguments.fresh_gain)
    course = Course(
        net, groups, KEYS, WEIGHTS, step, lambda average: evaluate(average, held_out, device)
    )
    run(course, arguments, rng)


if __name__ == "__main__":
    main()
