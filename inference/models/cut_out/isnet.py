"""IS-Net and U2-Net: light cut-out networks of nested U-shaped blocks.

Qin et al. 2020, "U2-Net: Going Deeper with Nested U-Structure for Salient Object Detection", and
Qin et al. 2022, "Highly Accurate Dichotomous Image Segmentation". The modules carry the names of
the published checkpoints (``isnet-general-use``, ``u2net``, ``u2netp``).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .. import checkpoint
from ..matte import IMAGENET_MEAN, IMAGENET_STD, MatteEstimator, Report, fuse_norm

ISNET_SIDE = 1024
U2NET_SIDE = 320
STRIDE = 32

# Inner and outer channels of the six encoder stages and the five decoder stages.
_FULL = ((32, 64), (32, 128), (64, 256), (128, 512), (256, 512), (256, 512))
_FULL_UP = ((16, 64), (32, 64), (64, 128), (128, 256), (256, 512))
_LIGHT = ((16, 64),) * 6
_LIGHT_UP = ((16, 64),) * 5
_LEVELS = (7, 6, 5, 4, 4, 4)


class ConvBlock(nn.Module):
    """3x3 convolution, batch norm, ReLU."""

    def __init__(self, in_channels: int, out_channels: int, dilation: int = 1) -> None:
        super().__init__()
        self.conv_s1 = nn.Conv2d(in_channels, out_channels, 3, padding=dilation, dilation=dilation)
        self.bn_s1: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor) -> Tensor:
        return F.relu(self.bn_s1(self.conv_s1(x)), inplace=True)

    def fuse(self) -> None:
        self.conv_s1, self.bn_s1 = fuse_norm(self.conv_s1, self.bn_s1)


class ResidualUBlock(nn.Module):
    """A small U-Net beside an identity.

    Args:
        levels: Convolutions on the way down.
        in_channels: Channels of the input.
        mid_channels: Channels inside the U.
        out_channels: Channels of the output.
        is_flat: Widen the view by dilation 1, 2, 4, 8 and not by pooling.
    """

    def __init__(
        self, levels: int, in_channels: int, mid_channels: int, out_channels: int, is_flat: bool
    ) -> None:
        super().__init__()
        self.levels, self.is_flat = levels, is_flat
        self.rebnconvin = ConvBlock(in_channels, out_channels)
        for level in range(1, levels + 1):
            before = out_channels if level == 1 else mid_channels
            bottom = 2 if level == levels else 1
            dilation = 2 ** (level - 1) if is_flat else bottom
            self.add_module(f"rebnconv{level}", ConvBlock(before, mid_channels, dilation))
        for level in range(levels - 1, 0, -1):
            after = out_channels if level == 1 else mid_channels
            dilation = 2 ** (level - 1) if is_flat else 1
            self.add_module(f"rebnconv{level}d", ConvBlock(2 * mid_channels, after, dilation))

    def forward(self, x: Tensor) -> Tensor:
        shortcut = self.rebnconvin(x)
        down: list[Tensor] = []
        x = shortcut
        for level in range(1, self.levels):
            x = self.get_submodule(f"rebnconv{level}")(x)
            down.append(x)
            if not self.is_flat and level < self.levels - 1:
                x = _halved(x)
        x = self.get_submodule(f"rebnconv{self.levels}")(x)
        for level in range(self.levels - 1, 0, -1):
            skip = down.pop()
            x = torch.cat((_resized(x, skip), skip), dim=1)
            x = self.get_submodule(f"rebnconv{level}d")(x)
        return x + shortcut


class NestedUNet(nn.Module):
    """The U of U-blocks.

    Args:
        is_light: U2NetP's channels, 1.1 M parameters instead of 44 M.
        is_isnet: Halve the picture first and read the finest side output alone; U2-Net fuses all.
    """

    def __init__(self, *, is_light: bool = False, is_isnet: bool = False) -> None:
        super().__init__()
        encoder, decoder = (_LIGHT, _LIGHT_UP) if is_light else (_FULL, _FULL_UP)
        before = 3
        if is_isnet:
            self.conv_in = nn.Conv2d(3, 64, 3, stride=2, padding=1)
            before = 64
        self.is_isnet = is_isnet
        for index, (mid, out) in enumerate(encoder):
            block = ResidualUBlock(_LEVELS[index], before, mid, out, index >= 4)
            self.add_module(f"stage{index + 1}", block)
            before = out
        for index in range(4, -1, -1):
            mid, out = decoder[index]
            block = ResidualUBlock(_LEVELS[index], before + encoder[index][1], mid, out, index >= 4)
            self.add_module(f"stage{index + 1}d", block)
            before = out
        sides = [out for _, out in decoder] + [encoder[-1][1]]
        for index, channels in enumerate(sides[:1] if is_isnet else sides):
            self.add_module(f"side{index + 1}", nn.Conv2d(channels, 1, 3, padding=1))
        if not is_isnet:
            self.outconv = nn.Conv2d(6, 1, 1)

    def forward(self, picture: Tensor, report: Report) -> Tensor:
        """Give (B, 1, H, W) logits of a normalised (B, 3, H, W) picture of any size."""
        x = self.conv_in(picture) if self.is_isnet else picture
        down: list[Tensor] = []
        for index in range(1, 7):
            x = self.get_submodule(f"stage{index}")(x)
            report()
            if index < 6:
                down.append(x)
                x = _halved(x)
        found = [x]
        for index in range(5, 0, -1):
            skip = down.pop()
            x = torch.cat((_resized(x, skip), skip), dim=1)
            x = self.get_submodule(f"stage{index}d")(x)
            report()
            found.append(x)
        found.reverse()
        finest = self.get_submodule("side1")(found[0])
        if self.is_isnet:
            return _resized(finest, picture)
        sides = [finest] + [
            _resized(self.get_submodule(f"side{index + 1}")(found[index]), finest)
            for index in range(1, 6)
        ]
        return self.outconv(torch.cat(sides, dim=1))

    def fuse(self) -> None:
        """Fold the batch norms into the convolutions."""
        for module in self.modules():
            if isinstance(module, ConvBlock):
                module.fuse()


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what inference needs of a published IS-Net, U2-Net or U2NetP file.

    IS-Net's coarser side outputs only serve its training.
    """
    plain = {key.removeprefix("module."): value for key, value in state.items()}
    is_isnet = "conv_in.weight" in plain
    unused = tuple(f"side{index}." for index in range(2, 7)) if is_isnet else ()
    return {key: value for key, value in plain.items() if not key.startswith(unused)}


def make_network(state: Mapping[str, Tensor]) -> NestedUNet:
    """Build, without its weights, the network that ``state`` (mapped keys) is for."""
    deepest = state.get("stage6.rebnconvin.conv_s1.weight")
    is_light = deepest is not None and deepest.shape[0] == _LIGHT[5][1]
    return NestedUNet(is_light=is_light, is_isnet="conv_in.weight" in state)


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> MatteEstimator:
    """Load IS-Net, U2-Net or U2NetP from a .safetensors file; which one, its tensors tell.

    Raises:
        WeightsError: The file is missing, damaged or another network's.
    """
    state = map_checkpoint(checkpoint.read(path).tensors)
    network = checkpoint.build(lambda: make_network(state))
    checkpoint.take_on(network, state, path, torch.device("cpu"), torch.float32)
    network.fuse()
    network.to(device, dtype)
    if network.is_isnet:
        return MatteEstimator(network, ISNET_SIDE, STRIDE, (0.5, 0.5, 0.5), (1.0, 1.0, 1.0))
    return MatteEstimator(network, U2NET_SIDE, STRIDE, IMAGENET_MEAN, IMAGENET_STD)


def _halved(x: Tensor) -> Tensor:
    return F.max_pool2d(x, 2, stride=2, ceil_mode=True)


def _resized(x: Tensor, like: Tensor) -> Tensor:
    if x.shape[2:] == like.shape[2:]:
        return x
    return F.interpolate(x, size=like.shape[2:], mode="bilinear", align_corners=False)
