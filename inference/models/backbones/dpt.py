"""The dense prediction head that turns tokens into a map (Ranftl et al. 2021).

Depth Anything 2 and 3 use it with the same parameter names. What changes nothing in the result is
arranged for speed: the tokens stay as they are in memory (channels last), 1x1 convolutions come
before enlarging instead of after it, and the last layers run in bands of rows, so that their many
channels never exist for the whole picture at once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

PATCH = 14
LAST = 32  # channels before the last convolution
BAND = 1 << 17  # pixels of the result made at once


class ResidualUnit(nn.Module):
    """Two 3x3 convolutions, each behind a ReLU, beside an identity."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv2(self.conv1(x.relu()).relu_()).add_(x)


class Fusion(nn.Module):
    """Add a level of the pyramid to what came from the coarser ones, and enlarge."""

    def __init__(self, channels: int, has_skip: bool) -> None:
        super().__init__()
        if has_skip:
            self.resConfUnit1 = ResidualUnit(channels)
        self.resConfUnit2 = ResidualUnit(channels)
        self.out_conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor, skip: Tensor | None, size: tuple[int, int]) -> Tensor:
        if skip is not None:
            x = self.resConfUnit1(skip).add_(x)
        # A 1x1 convolution and bilinear enlarging can change places; this way it has less to do.
        x = self.out_conv(self.resConfUnit2(x))
        return F.interpolate(x, size=size, mode="bilinear", align_corners=True)


class Scratch(nn.Module):
    """The pyramid and the output layers; the name is the published one."""

    def __init__(self, channels: Sequence[int], features: int, outputs: int, has_sky: bool) -> None:
        super().__init__()
        for level, width in enumerate(channels, start=1):
            rn = nn.Conv2d(width, features, 3, padding=1, bias=False)
            self.add_module(f"layer{level}_rn", rn)
            self.add_module(f"refinenet{level}", Fusion(features, has_skip=level < 4))
        self.output_conv1 = nn.Conv2d(features, features // 2, 3, padding=1)
        self.output_conv2 = _last_layers(features // 2, outputs)
        if has_sky:
            self.sky_output_conv2 = _last_layers(features // 2, 1)


def _last_layers(channels: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(channels, LAST, 3, padding=1), nn.ReLU(True), nn.Conv2d(LAST, outputs, 1)
    )


class DptHead(nn.Module):
    """Four sets of tokens in, maps at the network's own resolution out."""

    def __init__(
        self,
        width: int,
        channels: Sequence[int],
        features: int,
        outputs: int = 1,
        has_sky: bool = False,
        has_norm: bool = False,
        has_positions: bool = False,
    ) -> None:
        """Make the head with meaningless weights.

        Args:
            width: Channels of a token.
            channels: Channels of the four pyramid levels, finest first.
            features: Channels in the fusion.
            outputs: Maps to predict.
            has_sky: Whether a second last layer predicts one more map.
            has_norm: Whether tokens pass a layer norm first.
            has_positions: Whether waves of the pixel's place are added (Depth Anything 3).
        """
        super().__init__()
        if has_norm:
            self.norm = nn.LayerNorm(width)
        self.projects = nn.ModuleList(nn.Conv2d(width, c, 1) for c in channels)
        first, second, _, fourth = channels
        self.resize_layers = nn.ModuleList(
            [
                nn.ConvTranspose2d(first, first, 4, stride=4),
                nn.ConvTranspose2d(second, second, 2, stride=2),
                nn.Identity(),
                nn.Conv2d(fourth, fourth, 3, stride=2, padding=1),
            ]
        )
        self.scratch = Scratch(channels, features, outputs, has_sky)
        self.has_sky = has_sky
        self.has_norm = has_norm
        self.has_positions = has_positions

    def forward(
        self,
        tokens: Sequence[Tensor],
        rows: int,
        columns: int,
        report: Callable[[], None] | None = None,
    ) -> Tensor:
        """Predict.

        Args:
            tokens: Four (B, rows * columns, width), shallowest first, without the class token.
            rows: Patches from top to bottom.
            columns: Patches from left to right.
            report: Called between steps; raises to cancel.

        Returns:
            (B, outputs, 14 * rows, 14 * columns) float32 before any activation; the sky comes
            last.
        """
        tick = report or (lambda: None)
        scratch = self.scratch
        aspect = columns / rows
        levels: list[Tensor] = []
        for level, (found, resize) in enumerate(zip(tokens, self.resize_layers, strict=True)):
            tick()
            x = self._projected(level, found).unflatten(1, (rows, columns)).permute(0, 3, 1, 2)
            if self.has_positions:
                x = x + place_waves(x.shape[1], rows, columns, aspect, like=x)
            levels.append(scratch.get_submodule(f"layer{level + 1}_rn")(resize(x)))
        x: Tensor | None = None
        for level in (3, 2, 1, 0):
            tick()
            here = levels[level]
            finer = levels[level - 1].shape[2:] if level else [2 * side for side in here.shape[2:]]
            fusion = scratch.get_submodule(f"refinenet{level + 1}")
            size = (int(finer[0]), int(finer[1]))
            x = fusion(here, None, size) if x is None else fusion(x, here, size)
            levels[level] = here[:0]  # no longer needed: give the memory back
        assert x is not None
        tick()
        return self._finished(scratch.output_conv1(x), rows, columns, tick)

    def _projected(self, level: int, tokens: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, channels of that level)."""
        if self.has_norm:
            tokens = self.norm(tokens)
        project = self.projects[level]
        assert isinstance(project, nn.Conv2d)
        return F.linear(tokens, project.weight.flatten(1), project.bias)

    def _finished(self, x: Tensor, rows: int, columns: int, tick: Callable[[], None]) -> Tensor:
        """Enlarge (B, C, h, w) to the network's resolution and apply the last layers, in bands."""
        height, width = PATCH * rows, PATCH * columns
        band = max(1, BAND // (width * len(x)))
        heads = [self.scratch.output_conv2]
        if self.has_sky:
            heads.append(self.scratch.sky_output_conv2)
        waves = None
        if self.has_positions:
            waves = place_waves(x.shape[1], height, width, columns / rows, like=x)
        bands: list[Tensor] = []
        for top in range(0, height, band):
            tick()
            bottom = min(top + band, height)
            # The 3x3 convolution looks one row further on both sides.
            first, last = max(top - 1, 0), min(bottom + 1, height)
            part = enlarged_rows(x, first, last, height, width)
            if waves is not None:
                part = part + waves[:, :, first:last]
            part = F.pad(part, (0, 0, first - (top - 1), bottom + 1 - last))
            bands.append(torch.cat([_applied(head, part) for head in heads], 1))
        return torch.cat(bands, 2)


def _applied(head: nn.Module, x: Tensor) -> Tensor:
    """Last layers on a band that already has its border rows, float32.

    Half precision would turn smooth depth into terraces; the very last sum is cheap to do exactly.
    """
    first, _, last = head.children()
    assert isinstance(first, nn.Conv2d)
    assert isinstance(last, nn.Conv2d)
    assert last.bias is not None
    x = F.conv2d(x, first.weight, first.bias, padding=(0, 1)).relu_().float()
    return F.conv2d(x, last.weight.float(), last.bias.float())


def enlarged_rows(x: Tensor, first: int, last: int, height: int, width: int) -> Tensor:
    """Rows ``first`` to ``last`` of ``x`` enlarged bilinearly with aligned corners.

    Args:
        x: (B, C, h, w).
        first: First wanted row of the enlarged picture.
        last: Row after the last wanted one.
        height: Rows of the whole enlarged picture.
        width: Columns of it.

    Returns:
        (B, C, last - first, width).
    """
    if (first, last) == (0, height):
        return F.interpolate(x, size=(height, width), mode="bilinear", align_corners=True)
    step = (x.shape[2] - 1) / (height - 1)
    places = torch.arange(first, last, device=x.device, dtype=torch.float64) * step
    above = places.floor().long().clamp_(0, x.shape[2] - 1)
    below = (above + 1).clamp_(max=x.shape[2] - 1)
    share = (places - above).to(x.dtype)[:, None]
    part = torch.lerp(x[:, :, above], x[:, :, below], share)
    return F.interpolate(part, size=(last - first, width), mode="bilinear", align_corners=True)


def place_waves(channels: int, rows: int, columns: int, aspect: float, like: Tensor) -> Tensor:
    """Sines and cosines of each pixel's place, as Depth Anything 3 adds them to features.

    Places run from -1 to 1 along the picture's diagonal. The first half of the channels depends
    on the column, the second on the row; each half is sines, then cosines, of frequencies from 1
    down to 1/100. Everything is a tenth as strong as the network's own features.

    Args:
        channels: Divides by 4.
        rows: Height of the map.
        columns: Width of the map.
        aspect: Width of the picture over its height.
        like: Gives device and type.

    Returns:
        (1, channels, rows, columns).
    """
    count = channels // 4
    frequency = 100.0 ** -(torch.arange(count, device=like.device, dtype=torch.float32) / count)
    diagonal = math.sqrt(1 + aspect * aspect)
    sides: list[Tensor] = []
    for number, span in ((columns, aspect / diagonal), (rows, 1 / diagonal)):
        end = span * (number - 1) / number
        place = torch.linspace(-end, end, number, device=like.device)
        angle = frequency[:, None] * place
        sides.append(torch.cat([angle.sin(), angle.cos()]) * 0.1)
    across, down = (side.to(like.dtype) for side in sides)
    return torch.cat(
        [
            across[:, None, :].expand(-1, rows, -1),
            down[:, :, None].expand(-1, -1, columns),
        ]
    )[None]
