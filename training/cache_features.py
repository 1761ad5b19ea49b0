"""Keep what the frozen network sees in every object picture, for ``training.train_global``.

    python -m training.cache_features SHARDS CACHE [--variants 2] [--first 0 --step 1]
    python -m training.cache_features HELD_OUT HELD_OUT_CACHE --variants 0

Each variant augments and cuts out the pictures anew; variant 0 alone leaves them as they are. About
90 kB a picture. Several processes: ``--first I --step N``.
"""

from __future__ import annotations

import argparse
import logging
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from inference.models.global_shape import SIDE, evidence_of, masked_cells
from inference.models.two_sided import FRONT, THICKNESS, WEIGHTS, TwoSidedNet

from .batches import KEYS, Batch, cut_out_batch, plain_batch
from .losses import centred
from .train_appearance import frozen_network

logger = logging.getLogger(__name__)

AT_ONCE = 8


def features_of(net: TwoSidedNet, batch: Batch) -> dict[str, np.ndarray]:
    """Reduce a batch to the second look's evidence and to what it should say.

    Returns:
        The fields of ``Evidence`` and "true" (B, 2, 32, 32), front and thickness averaged inside the
        mask, all float16; "weight" and "picture" as uint8.
    """
    parts: list[dict[str, np.ndarray]] = []
    true = torch.cat([centred(batch.front, batch.mask), batch.thickness], 1)
    cell = true.shape[2] // SIDE
    for start in range(0, len(batch.x), AT_ONCE):
        chosen = slice(start, start + AT_ONCE)
        x = batch.x[chosen].contiguous(memory_format=torch.channels_last)
        with torch.inference_mode():
            seen = net.features(x)
            maps = net.read(seen)[0]
            evidence = evidence_of(x, maps[:, [FRONT, THICKNESS]], seen.decoded[2], seen.summary)
        fields: dict[str, Tensor] = {
            "middle": evidence.middle.half(),
            "summary": evidence.summary.half(),
            "shape": evidence.shape.half(),
            "weight": (evidence.weight * 255).round().byte(),
            "picture": ((evidence.picture + 1) * 127.5).round().byte(),
            "true": masked_cells(true[chosen], batch.mask[chosen], cell).half(),
        }
        parts.append({k: v.contiguous().numpy() for k, v in fields.items()})
    return {k: np.concatenate([part[k] for part in parts]) for k in parts[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shards", type=Path)
    parser.add_argument("cache", type=Path)
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--variants", type=int, default=2)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="how many such processes run")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    torch.set_num_threads(arguments.threads)
    net = frozen_network(arguments.weights)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    files = sorted(arguments.shards.glob("shard_*.npz"))[arguments.first :: arguments.step]
    for variant in range(max(arguments.variants, 1)):
        for file in files:
            target = arguments.cache / f"{file.stem}_{variant}.npz"
            if target.exists():
                continue
            with np.load(file) as data:
                chosen = np.flatnonzero(data["is_object"] > 0.5)
                raw = {key: data[key][chosen] for key in KEYS}
            if arguments.variants == 0:
                batch = plain_batch(raw, True)
            else:
                seed = [variant, int(file.stem.removeprefix("shard_"))]
                batch = cut_out_batch(raw, np.random.default_rng(seed))
            partial = target.with_suffix(".partial")
            with partial.open("wb") as stream:
                np.savez(stream, **features_of(net, batch))  # type: ignore[arg-type]
            partial.rename(target)
            logger.info("%s %d pictures", target.name, len(chosen))


if __name__ == "__main__":
    main()
