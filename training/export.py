"""Write trained weights as the fp16 safetensors and JSON that the extension reads.

    python -m training.export CHECKPOINT OUTPUT.safetensors [--summary "how it was trained"]

CHECKPOINT is one of ``training.train``, or a half-resolution core alone (safetensors), which is put
into an otherwise untrained network.

    python -m training.export CHECKPOINT OUTPUT.safetensors --appearance

puts the decoder of ``training.train_appearance`` into OUTPUT, which must hold the network that it was
trained on.
"""

from __future__ import annotations

import argparse
import hashlib
import json
from pathlib import Path

import torch
from safetensors.torch import load_file, save
from torch import Tensor

from inference.models.two_sided import APPEARANCE, OBJECT_SIZE, SCENE_SIZE, TwoSidedNet


def initial_network(path: Path | None) -> TwoSidedNet:
    """Build the network, from a core alone or a full checkpoint when one is given."""
    torch.manual_seed(0)
    net = TwoSidedNet()
    if path is None:
        return net
    if path.suffix == ".safetensors":
        tensors = {k: v.float() if v.is_floating_point() else v for k, v in load_file(path).items()}
        tensors = {k: v for k, v in tensors.items() if not k.startswith(APPEARANCE)}
    else:
        tensors = torch.load(path, weights_only=True, map_location="cpu")["ema"]
    if any(key.startswith("core.") for key in tensors):
        net.load_state_dict(tensors)
    else:
        net.core.load_state_dict(tensors)
    return net


def export(net: TwoSidedNet, target: Path, training: dict[str, object]) -> str:
    """Write both files; return the sha256 of the weights."""
    floats = {k: v for k, v in net.state_dict().items() if v.is_floating_point()}  # no counters
    tensors = {k: v.half().contiguous() for k, v in floats.items()}
    return _write(tensors, target, {"training": training})


def add_appearance(decoder: dict[str, Tensor], target: Path, training: dict[str, object]) -> str:
    """Put the appearance decoder's weights into a file of the network; return its new sha256."""
    card = json.loads(target.with_suffix(".json").read_text(encoding="utf-8"))
    tensors = {k: v for k, v in load_file(target).items() if not k.startswith(APPEARANCE)}
    floats = {APPEARANCE + k: v for k, v in decoder.items() if v.is_floating_point()}
    tensors |= {k: v.half().contiguous() for k, v in floats.items()}
    return _write(tensors, target, card | {"appearance_training": training})


def _write(tensors: dict[str, Tensor], target: Path, card: dict[str, object]) -> str:
    content = save(tensors)
    digest = hashlib.sha256(content).hexdigest()
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(content)
    card = {
        **card,
        "name": "two-sided 1",
        "revision": digest[:8],
        "sha256": digest,
        "bytes": len(content),
        "object_size": OBJECT_SIZE,
        "scene_size": SCENE_SIZE,
        "parameters": sum(v.numel() for k, v in tensors.items() if "running_" not in k),
    }
    target.with_suffix(".json").write_text(json.dumps(card, indent=2) + "\n", encoding="utf-8")
    return digest


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("output", type=Path)
    parser.add_argument("--summary", default="")
    parser.add_argument("--appearance", action="store_true", help="CHECKPOINT is of the decoder")
    arguments = parser.parse_args()
    training: dict[str, object] = {"summary": arguments.summary}
    if arguments.checkpoint.suffix != ".safetensors":
        state = torch.load(arguments.checkpoint, weights_only=True, map_location="cpu")
        training |= {"steps": state["step"], "hours": state["hours"], "held_out": state["held_out"]}
    if arguments.appearance:
        state = torch.load(arguments.checkpoint, weights_only=True, map_location="cpu")
        add_appearance(state["ema"], arguments.output, training)
    else:
        export(initial_network(arguments.checkpoint), arguments.output, training)


if __name__ == "__main__":
    main()
