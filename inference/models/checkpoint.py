"""From a weights file to a network that is ready to run."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor, nn

from ..errors import WeightsError
from ..stopping import chance_to_stop
from .stoppable import let_stop

Net = TypeVar("Net", bound=nn.Module)


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a .safetensors file holds."""

    tensors: dict[str, Tensor]
    metadata: dict[str, str]


def read(path: Path) -> Checkpoint:
    """Open a .safetensors file; its tensors are read when they are used.

    Raises:
        WeightsError: The file is missing or damaged.
    """
    try:
        with safe_open(path, framework="pt", device="cpu") as file:
            tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            return Checkpoint(tensors, dict(file.metadata() or {}))
    except FileNotFoundError as error:
        raise WeightsError(
            f"The weights file {path.name} is missing: download the model again in the preferences."
        ) from error
    except (SafetensorError, OSError) as error:
        raise WeightsError(
            f"The weights file {path.name} is damaged: delete the model in the preferences and"
            " download it again."
        ) from error


def build(make: Callable[[], Net]) -> Net:
    """Make a network without memory for its weights; ``take_on`` brings them."""
    with torch.device("meta"):
        return make()


def take_on(
    net: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    device: torch.device,
    dtype: torch.dtype,
) -> None:
    """Give a network made by ``build`` its weights and make it ready to run.

    Args:
        net: The network.
        state: Exactly the network's parameters and buffers.
        path: Where they came from, for the message.
        device: Where to run.
        dtype: Type of all floating-point weights.

    Raises:
        WeightsError: Keys or shapes differ from the network's.
    """
    wanted = {key: value.shape for key, value in net.state_dict().items()}
    if {key: value.shape for key, value in state.items()} != wanted:
        odd = sorted(
            key
            for key in wanted.keys() | state.keys()
            if key not in state or key not in wanted or state[key].shape != wanted[key]
        )
        raise WeightsError(
            f"The weights file {path.name} belongs to another network (first difference:"
            f" {odd[0]}): delete the model in the preferences and download it again."
        )
    ready: dict[str, Tensor] = {}
    for key, value in state.items():
        chance_to_stop()
        value = value.to(device, dtype if value.is_floating_point() else None)
        if value.ndim == 4 and min(value.shape[2:]) > 1:
            # Convolutions run faster on channels-last tensors, on processors and cards alike.
            value = value.contiguous(memory_format=torch.channels_last)
        ready[key] = value
    net.load_state_dict(ready, assign=True)
    net.eval().requires_grad_(False)
    let_stop(net)
