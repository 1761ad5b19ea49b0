"""A network's run can be left before any of its layers."""

from __future__ import annotations

from torch import nn

from ..stopping import chance_to_stop


def let_stop(net: nn.Module) -> None:
    """Give a network a chance to stop before each of its layers, for good."""
    for module in net.modules():
        module.register_forward_pre_hook(_before_layer)


def _before_layer(_module: nn.Module, _inputs: object) -> None:
    chance_to_stop()
