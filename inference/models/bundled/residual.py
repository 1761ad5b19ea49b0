"""The block that the bundled network is made of."""

from __future__ import annotations

import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval


class Residual(nn.Module):
    """Two plain 3x3 convolutions beside an identity: the fastest block on a processor."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.a = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.n1 = nn.BatchNorm2d(channels)
        self.b = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.n2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(x + self.n2(self.b(F.relu(self.n1(self.a(x))))))


def fold_batch_norm(net: nn.Module) -> None:
    """Merge every BatchNorm of an evaluating network into the convolution before it."""
    for block in net.modules():
        if isinstance(block, Residual):
            block.a, block.b = (
                fuse_conv_bn_eval(block.a, block.n1),
                fuse_conv_bn_eval(block.b, block.n2),
            )
            block.n1, block.n2 = nn.Identity(), nn.Identity()  # type: ignore[assignment]
