"""Render shards of training pictures, endlessly: shard k is what seed k gives.

    python -m training.pictures.generate MESH_CACHE TEXTURES OUTPUT_FOLDER [--first 0] [--count 1000000]

``--held-out`` draws from the objects that training never sees.
"""

from __future__ import annotations

import argparse
import logging
import time
from pathlib import Path

import numpy as np

from ..shapes.meshes import Library
from .objects import HOUSEHOLD_SHARE, Sample, object_pictures
from .scenes import scene_picture
from .staged import staged_picture
from .surroundings import Surroundings

logger = logging.getLogger(__name__)

SHARD = 64
SCENE_SHARE = 0.25
STAGED_SHARE = 0.2


def render_shard(
    seed: int,
    count: int,
    library: Library,
    surroundings: Surroundings,
    scene_share: float = SCENE_SHARE,
    household_share: float = HOUSEHOLD_SHARE,
    staged_share: float = STAGED_SHARE,
) -> Sample:
    """Render ``count`` shuffled pictures and stack each array over them."""
    rng = np.random.default_rng(seed)
    scenes, staged = round(count * scene_share), round(count * staged_share)
    samples = object_pictures(rng, library, surroundings, count - scenes - staged, household_share)
    while len(samples) < count:
        make = scene_picture if len(samples) < count - staged else staged_picture
        sample = make(rng, library, surroundings)
        if sample is not None:
            samples.append(sample)
    order = rng.permutation(count)
    return {key: np.stack([samples[i][key] for i in order]) for key in samples[0]}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("textures", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--step", type=int, default=1, help="how many such processes run")
    parser.add_argument("--count", type=int, default=1_000_000)
    parser.add_argument("--size", type=int, default=SHARD)
    parser.add_argument("--scenes", type=float, default=SCENE_SHARE, help="share of whole places")
    parser.add_argument(
        "--household",
        type=float,
        default=HOUSEHOLD_SHARE,
        help="share of objects: vessels, tools, groups",
    )
    parser.add_argument(
        "--staged", type=float, default=STAGED_SHARE, help="share of one thing in a whole place"
    )
    parser.add_argument("--held-out", action="store_true")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s")
    library = Library(arguments.meshes, arguments.held_out)
    surroundings = Surroundings(arguments.textures)
    arguments.output.mkdir(parents=True, exist_ok=True)
    for index in range(arguments.count):
        seed = arguments.first + index * arguments.step
        target = arguments.output / f"shard_{seed:07d}.npz"
        if target.exists():
            continue
        start = time.perf_counter()
        arrays = render_shard(
            seed,
            arguments.size,
            library,
            surroundings,
            arguments.scenes,
            arguments.household,
            arguments.staged,
        )
        partial = target.with_suffix(".partial")
        with partial.open("wb") as stream:
            np.savez(stream, **arrays)  # type: ignore[arg-type]
        partial.rename(target)
        logger.info("%s %.1f img/s", target.name, arguments.size / (time.perf_counter() - start))


if __name__ == "__main__":
    main()
