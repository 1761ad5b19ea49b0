"""One network beside its reference: what such a row is, and the same random weights for both sides.

Both sides of a row get the same random weights through the published file's key names. Where no
reference can be installed from a package index, ours is timed alone, and the table says so.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import sys
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..package import ROOT, load_extension

TESTS = ROOT / "tests"
KEYS = TESTS / "data" / "keys"

State = dict[str, Tensor]


@dataclass(frozen=True, slots=True)
class Port:
    """One row of the table.

    Attributes:
        name: The network.
        model: Id of its entry in the catalogue.
        shape: (B, C, H, W) of the input.
        ours: From weights under published names to our network in evaluation mode.
        ask: Runs our network on an input.
        keys: File in tests/data/keys with the published names and shapes, for where there is no
            reference to take them from.
        reference: Makes the reference; None when none can be installed.
        ask_reference: Runs the reference on an input.
        needs: Packages that the reference needs.
        change: Changes the random weights where they would prove nothing.
        is_heavy: Only timed with --heavy: takes minutes or many gigabytes.
    """

    name: str
    model: str
    shape: tuple[int, int, int, int]
    ours: Callable[[State], nn.Module]
    ask: Callable[[Any, Tensor], Tensor]
    keys: str
    reference: Callable[[], nn.Module] | None = None
    ask_reference: Callable[[Any, Tensor], Tensor] = lambda net, x: net(x)
    needs: tuple[str, ...] = ()
    change: Callable[[State], None] = lambda _state: None
    is_heavy: bool = False

    def missing(self) -> list[str]:
        """Packages that the reference needs and that are not there."""
        return [name for name in self.needs if importlib.util.find_spec(name) is None]

    def state(self) -> State:
        """Random weights under published names, the same in every process."""
        if self.reference is not None and not self.missing():
            prepare_torchvision()
            found = self.reference().state_dict()
            shapes = {key: tuple(value.shape) for key, value in found.items()}
        else:
            shapes = json.loads((KEYS / f"{self.keys}.json").read_text())["shapes"]
        state = seeded(shapes)
        self.change(state)
        return state


_operators: list[torch.library.Library] = []


def prepare_torchvision() -> None:
    """Let references import a torchvision that was built for another PyTorch.

    None of them uses its compiled operators, but their names must exist.
    """
    try:
        importlib.import_module("torchvision")
    except ImportError:
        return
    except RuntimeError:
        for name in [name for name in sys.modules if name.partition(".")[0] == "torchvision"]:
            del sys.modules[name]
        _operators.append(torch.library.Library("torchvision", "FRAGMENT"))
        for name in ("nms", "qnms"):
            arguments = "Tensor dets, Tensor scores, float iou_threshold"
            _operators[0].define(f"{name}({arguments}) -> Tensor")


def seeded(shapes: Mapping[str, Sequence[int]]) -> State:
    """Random weights that depend on name and shape alone and keep signals at a usual size."""
    return {name: _seeded(name, tuple(shape)) for name, shape in shapes.items()}


def _seeded(name: str, shape: tuple[int, ...]) -> Tensor:
    generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
    if name.endswith("num_batches_tracked"):
        return torch.tensor(0)
    if name.endswith("running_var"):
        return 1 + 0.1 * torch.rand(shape, generator=generator)
    noise = torch.randn(shape, generator=generator)
    if name.endswith("running_mean"):
        return 0.1 * noise
    if len(shape) == 1 and name.endswith("weight"):
        return 1 + 0.1 * noise
    if len(shape) <= 1:
        return 0.05 * noise
    fan = noise[0].numel()
    return noise * (1.4 if len(shape) == 4 else 1.0) / fan**0.5


def network(module: str) -> Any:
    """One of our network modules, without the rest of the extension."""
    load_extension()
    return importlib.import_module(f"image_to_mesh.inference.models.{module}")


def taken_on(make: Callable[[], nn.Module], state: State) -> nn.Module:
    """One of our networks with mapped weights."""
    net = make()
    net.load_state_dict(state, strict=True)
    return net.eval()


def as_loaded(name: str, state: State) -> nn.Module:
    """One of our networks as its module's ``load`` makes it."""
    module = network(name)
    checkpoint = network("checkpoint")
    mapped = module.map_checkpoint(state)
    net = checkpoint.build(lambda: module.make_network(mapped))
    checkpoint.take_on(net, mapped, Path(name), torch.device("cpu"), torch.float32)
    if hasattr(net, "fuse"):
        net.fuse()
    return net


class Published(nn.Module):
    """A reference that names its weights otherwise, under the published names.

    Args:
        keys: File in tests/data/keys with the published names and shapes.
        make: From weights under these names to the reference.
    """

    def __init__(self, keys: str, make: Callable[[State], nn.Module]) -> None:
        super().__init__()
        self._shapes = json.loads((KEYS / f"{keys}.json").read_text())["shapes"]
        self._make = make
        self.net: nn.Module = nn.Identity()

    def state_dict(self, *_arguments: Any, **_options: Any) -> Any:
        return {key: torch.empty(shape, device="meta") for key, shape in self._shapes.items()}

    def load_state_dict(self, state_dict: Any, *_arguments: Any, **_options: Any) -> Any:
        self.net = self._make(dict(state_dict))

    def forward(self, x: Tensor) -> Tensor:
        return self.net(x)


def module_in(package: str, place: str) -> Any:
    """A module of an installed package without what the package itself imports."""
    found = importlib.util.find_spec(package)
    assert found is not None
    assert found.origin is not None
    spec = importlib.util.spec_from_file_location(place, Path(found.origin).parent / place)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module
