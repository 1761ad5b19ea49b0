"""Train the appearance decoder on the shipped network's features; stop after a given time.

    python -m training.network.train_appearance SHARDS HELD_OUT CHECKPOINT --hours 1 [--resume]

The network itself (``--weights``) stays as it is. ``run`` says what CHECKPOINT holds;
``export --part appearance`` puts its moving average into the network's file.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.random import Generator
from safetensors.torch import load_file
from torch import Tensor

from inference.models.bundled.appearance import AppearanceDecoder, AppearanceMaps
from inference.models.bundled.packed import unpacked
from inference.models.bundled.residual import fold_batch_norm
from inference.models.bundled.two_sided import (
    APPEARANCE,
    WEIGHTS,
    part_of,
)
from inference.models.bundled.two_sided_net import FRONT, THICKNESS, TwoSidedNet

from .appearance_batches import KEYS, AppearanceBatch, plain_batch, training_batch
from .export import initial_network
from .losses import centred, masked_mean, slope_error
from .run import Course, Parts, Raw, options, prepared, read_held_out, run

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


def frozen_network(weights: Path, device: str) -> TwoSidedNet:
    """The shipped network of objects, ready to be looked through."""
    net = initial_network(weights).eval()
    net.requires_grad_(False)
    fold_batch_norm(net)
    return net.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]


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


def evaluate(
    net: TwoSidedNet, average: dict[str, Tensor], raw: Raw, device: str
) -> dict[str, float]:
    """Average every loss of the averaged decoder over held-out pictures."""
    decoder = AppearanceDecoder().to(device)
    decoder.load_state_dict(average)
    decoder.eval()
    sums: dict[str, list[float]] = {}
    with torch.inference_mode():
        for start in range(0, len(raw["image"]), 16):
            batch = plain_batch({k: v[start : start + 16] for k, v in raw.items()}, device)
            parts = losses(*look(net, decoder, batch.x), batch)
            for name, value in parts.items():
                sums.setdefault(name, []).append(float(value))
    return {name: round(float(np.mean(values)), 4) for name, values in sums.items()}


def initial_decoder(path: Path) -> dict[str, Tensor]:
    """Read a decoder out of a checkpoint, or out of the file that ships."""
    if path.suffix != ".safetensors":
        return torch.load(path, weights_only=True, map_location="cpu")["ema"]
    return part_of(unpacked(load_file(path)), APPEARANCE)


def main() -> None:
    parser = options(__doc__)
    parser.add_argument("--weights", type=Path, default=WEIGHTS, help="of the network that stays")
    parser.add_argument("--init", type=Path, help="a checkpoint or shipped file to begin from")
    parser.add_argument("--rate", type=float, default=1.5e-3)
    arguments = parser.parse_args()
    rng = prepared(arguments)
    device = arguments.device
    net = frozen_network(arguments.weights, device)
    decoder = AppearanceDecoder()
    if arguments.init is not None:
        decoder.load_state_dict(initial_decoder(arguments.init))
    decoder = decoder.to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    held_out = read_held_out(arguments.held_out, arguments.held_out_count, KEYS)

    def step(raw: Raw, rng: Generator, _: float) -> Parts:
        batch = training_batch(raw, rng, device)
        return losses(*look(net, decoder, batch.x), batch)

    groups: list[dict[str, object]] = [
        {"params": list(decoder.parameters()), "gain": arguments.rate}
    ]
    course = Course(
        decoder,
        groups,
        KEYS,
        LOSSES,
        step,
        lambda average: evaluate(net, average, held_out, device),
    )
    run(course, arguments, rng)


if __name__ == "__main__":
    main()
