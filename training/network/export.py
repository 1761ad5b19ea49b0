"""Put trained weights into the safetensors and JSON that the extension reads, in 8 bits.

    python -m training.network.export CHECKPOINT OUTPUT.safetensors --part object [--summary "how it was trained"]

CHECKPOINT is one of ``train`` or ``train_appearance`` beside this module; PART says which of the file's
networks it becomes: ``object`` (masks known), ``picture`` (masks unknown, places) or ``appearance``, the
decoder, which needs the ``object`` it was trained on. What else OUTPUT holds stays.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor, nn

from inference.models.bundled.packed import SCALE, packed, unpacked
from inference.models.bundled.residual import Residual
from inference.models.bundled.two_sided import (
    APPEARANCE,
    OBJECT,
    OBJECT_SIZE,
    PICTURE,
    SCENE_SIZE,
    part_of,
)
from inference.models.bundled.two_sided_net import TwoSidedNet

PARTS = (OBJECT, PICTURE, APPEARANCE)
YOUNGEST = ("core.e.2.2.", "mid_view.")  # what the files of "two-sided 1" lack


def initial_network(path: Path | None, part: str = OBJECT) -> TwoSidedNet:
    """Build the network, from a checkpoint or a file when one is given.

    Args:
        path: A checkpoint of ``train``; or a safetensors file, today's, an older one with one
            network, or with a core alone. Layers that it lacks begin as the identity.
        part: Which of the networks of today's file is meant.

    Raises:
        ValueError: The file holds another network.
    """
    torch.manual_seed(0)
    net = TwoSidedNet()
    if path is None:
        return net
    if path.suffix == ".safetensors":
        tensors = unpacked(load_file(path))
        tensors = part_of(tensors, part) or {
            k: v for k, v in tensors.items() if not k.startswith(APPEARANCE + ".")
        }
    else:
        tensors = torch.load(path, weights_only=True, map_location="cpu")["ema"]
    expected = {key for key in net.state_dict() if "num_batches" not in key}
    if not any(key.startswith("core.") for key in tensors):  # a core alone
        tensors = {"core." + key: value for key, value in tensors.items()}
        expected = {key for key in expected if key.startswith("core.")}
    if not all(key.startswith(YOUNGEST) for key in expected - tensors.keys()):
        raise ValueError(f"{path.name} holds another network.")
    youngest = net.core.e[2]
    assert isinstance(youngest, nn.Sequential)
    block = youngest[2]
    assert isinstance(block, Residual)
    nn.init.zeros_(block.n2.weight)  # with nothing in its place it begins as the identity
    net.load_state_dict(net.state_dict() | tensors)
    return net


def put(trained: dict[str, Tensor], part: str, target: Path, training: dict[str, object]) -> str:
    """Put one network's weights into the file, beside the others; return the file's new sha256.

    Args:
        trained: State of a ``TwoSidedNet`` or an ``AppearanceDecoder``.
        part: Which of ``PARTS`` it becomes.
        target: The safetensors file; made when there is none.
        training: What the card says about it.
    """
    card: dict[str, object] = {"training": {}}
    tensors: dict[str, Tensor] = {}
    if target.is_file():
        card = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
        tensors = {k: v for k, v in load_file(target).items() if not k.startswith(part + ".")}
    floats = {f"{part}.{k}": v for k, v in trained.items() if v.is_floating_point()}  # no counters
    tensors |= packed(floats)
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    before = card["training"]
    assert isinstance(before, dict)
    card |= {
        "training": before | {part: training},
        "name": "two-sided 2",
        "revision": digest[:8],
        "sha256": digest,
        "bytes": len(content),
        "object_size": OBJECT_SIZE,
        "scene_size": SCENE_SIZE,
        "parameters": sum(v.numel() for k, v in tensors.items() if is_parameter(k)),
    }
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    target.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return digest


def is_parameter(name: str) -> bool:
    """Whether a tensor of the file was learnt, not measured or computed."""
    return "running_" not in name and not name.endswith(SCALE)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--part", required=True, choices=PARTS)
    parser.add_argument("--summary", default="")
    arguments = parser.parse_args()
    state = torch.load(arguments.checkpoint, weights_only=True, map_location="cpu")
    training: dict[str, object] = {"summary": arguments.summary}
    training |= {"steps": state["step"], "hours": state["hours"], "held_out": state["held_out"]}
    trained = state["ema"]
    if arguments.part != APPEARANCE:
        trained = initial_network(arguments.checkpoint).state_dict()
    put(trained, arguments.part, arguments.output, training)


if __name__ == "__main__":
    main()
