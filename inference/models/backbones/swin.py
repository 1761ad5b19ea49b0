"""The Swin transformer (Liu et al. 2021), first version, as a backbone for pictures of any size.

Attention inside square windows; every second block shifts the windows by half their side. Names of
the published checkpoints: ``patch_embed``, ``layers.N.blocks.M``, ``layers.N.downsample``,
``norm0`` to ``norm3``.
"""

from __future__ import annotations

from functools import lru_cache

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..matte import Report

PATCH = 4
MLP_RATIO = 4


class WindowAttention(nn.Module):
    """Attention among the places of a window, with a learned bias for each relative place."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads, self.window = heads, window
        self.relative_position_bias_table = nn.Parameter(torch.zeros((2 * window - 1) ** 2, heads))
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor, shift: int) -> Tensor:
        """Mix (B, rows, columns, N, C) windows of N places.

        After a shift the last row and column of windows hold pieces from opposite sides of the
        picture, which must not see each other. All windows of a kind share one bias.
        """
        batch, rows, columns, places, width = x.shape
        index = relative_places(self.window).to(x.device)
        bias = self.relative_position_bias_table[index].permute(2, 0, 1)[None].to(x.dtype)
        qkv = self.qkv(x).view(batch, rows, columns, places, 3, self.heads, width // self.heads)
        if shift == 0:
            return self.proj(self._attend(qkv.flatten(0, 2), bias).view(x.shape))
        mixed = torch.empty_like(x)
        is_last_row, is_last_column = seams(self.window, shift, x.device)
        inner, last = slice(0, -1), slice(-1, None)
        for part_rows, rows_differ in ((inner, None), (last, is_last_row)):
            for part_columns, columns_differ in ((inner, None), (last, is_last_column)):
                part = qkv[:, part_rows, part_columns]
                if part.numel() == 0:
                    continue
                limited = bias
                for differ in (rows_differ, columns_differ):
                    if differ is not None:
                        limited = limited.masked_fill(differ, float("-inf"))
                target = mixed[:, part_rows, part_columns]
                target.copy_(self._attend(part.flatten(0, 2), limited).view(target.shape))
        return self.proj(mixed)

    def _attend(self, qkv: Tensor, bias: Tensor) -> Tensor:
        query, key, value = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return mixed.transpose(1, 2).flatten(2)


class Mlp(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, MLP_RATIO * width)
        self.fc2 = nn.Linear(MLP_RATIO * width, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class Block(nn.Module):
    """Window attention and an MLP, both beside an identity."""

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = x + self._attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attended(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        side, shift = self.window, self.shift
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        windows = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        windows = windows.reshape(batch, rows, columns, side * side, channels)
        windows = self.attn(windows, shift).view(batch, rows, columns, side, side, channels)
        x = windows.transpose(2, 3).reshape(batch, rows * side, columns * side, channels)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return x[:, :height, :width]


class PatchMerging(nn.Module):
    """Halve the resolution: four neighbours become one place of twice the width."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.reduction = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = F.pad(x, (0, 0, 0, x.shape[2] % 2, 0, x.shape[1] % 2))
        neighbours = (x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2])
        return self.reduction(self.norm(torch.cat(neighbours, dim=-1)))


class PatchEmbed(nn.Module):
    """One place for each square of 4 x 4 pixels."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, PATCH, stride=PATCH)
        self.norm = nn.LayerNorm(width)

    def forward(self, picture: Tensor) -> Tensor:
        height, width = picture.shape[2:]
        picture = F.pad(picture, (0, -width % PATCH, 0, -height % PATCH))
        return self.norm(self.proj(picture).permute(0, 2, 3, 1))


class Layer(nn.Module):
    """The blocks of one resolution and the step to the next."""

    def __init__(self, width: int, depth: int, heads: int, window: int, is_last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, window, window // 2 if index % 2 else 0) for index in range(depth)
        )
        self.downsample = None if is_last else PatchMerging(width)


class SwinTransformer(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the picture's size.

    Args:
        width: Channels of the first layer; they double at each of the others.
        depths: Blocks of each layer.
        heads: Attention heads of each layer.
        window: Side of a window in places.
    """

    def __init__(
        self, width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        self.layers = nn.ModuleList(
            Layer(width * 2**index, depth, count, window, index == len(depths) - 1)
            for index, (depth, count) in enumerate(zip(depths, heads, strict=True))
        )
        for index in range(len(depths)):
            self.add_module(f"norm{index}", nn.LayerNorm(width * 2**index))

    def forward(self, picture: Tensor, report: Report) -> list[Tensor]:
        """Give the (B, C, h, w) features of each layer for a normalised (B, 3, H, W) picture."""
        x = self.patch_embed(picture)
        features = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            for block in layer.blocks:
                x = block(x)
                report()
            features.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            if layer.downsample is not None:
                x = layer.downsample(x)
        return features


@lru_cache(maxsize=4)
def relative_places(window: int) -> Tensor:
    """Give the (N, N) row of the bias table for each pair of a window's N places."""
    steps = torch.arange(window)
    rows, columns = (axis.flatten() for axis in torch.meshgrid(steps, steps, indexing="ij"))
    down = rows[:, None] - rows + window - 1
    across = columns[:, None] - columns + window - 1
    return down * (2 * window - 1) + across


def seams(window: int, shift: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Say which (N, N) pairs of places a seam divides, in the last row and the last column."""
    is_far = torch.arange(window, device=device) >= window - shift
    below = is_far.repeat_interleave(window)
    right = is_far.repeat(window)
    return below[:, None] != below, right[:, None] != right
