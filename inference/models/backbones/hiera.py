"""Hiera: a transformer that sees fine near things and coarse far ones (Ryali et al. 2023).

Early blocks look within small windows of many places; at the start of each further stage the
queries are pooled, which halves the resolution. The variant of SAM 2 (Ravi et al. 2024): a few late
blocks look at everything, and position is a small grid plus a pattern that repeats with the windows
(Bolya et al. 2023). Modules carry the names of its published checkpoints.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

Report = Callable[[], None]

WINDOWS = (8, 4, 14, 7)  # side in places, stage by stage
GRID = 7  # side of the grid of positions
PATCH = 4
POOL = 2
CHUNK = 1 << 13  # places that pass a perceptron at once: what fits a processor's cache


class Mlp(nn.Module):
    """Linear layers with an activation between them."""

    def __init__(self, widths: tuple[int, ...], activation: Callable[[Tensor], Tensor]) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))
        self.activation = activation

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = self.activation(layer(x))
        return self.layers[-1](x)


class WindowAttention(nn.Module):
    """Attention among the places of each window, with pooled queries if wanted."""

    def __init__(self, width: int, out: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * out)
        self.proj = nn.Linear(out, out)

    def forward(self, x: Tensor, is_pooled: bool) -> Tensor:
        """(B, h, w, width) windows -> (B, h', w', out), half the sides when pooled."""
        batch, height, width = x.shape[:3]
        q, k, v = self.qkv(x).unflatten(3, (3, -1)).unbind(3)
        if is_pooled:
            q = pooled(q)
            height, width = q.shape[1:3]
        q, k, v = (
            part.flatten(1, 2).unflatten(2, (self.heads, -1)).transpose(1, 2) for part in (q, k, v)
        )
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))


class HieraBlock(nn.Module):
    """Attention and a perceptron, each beside an identity.

    Args:
        width: Channels of the input.
        out: Channels of the output; more than ``width`` at the start of a stage.
        heads: Divides ``out``.
        window: Side of a window in places; 0 looks at everything.
        is_pooled: Whether the resolution halves.
    """

    def __init__(self, width: int, out: int, heads: int, window: int, is_pooled: bool) -> None:
        super().__init__()
        self.window, self.is_pooled = window, is_pooled
        self.norm1 = nn.LayerNorm(width, eps=1e-6)
        self.attn = WindowAttention(width, out, heads)
        self.norm2 = nn.LayerNorm(out, eps=1e-6)
        self.mlp = Mlp((out, 4 * out, out), F.gelu)
        self.proj = nn.Linear(width, out) if width != out else None

    def forward(self, x: Tensor) -> Tensor:
        """(1, H, W, width) -> (1, H', W', out)."""
        normed = self.norm1(x)
        if self.proj is not None:
            x = self.proj(normed)
            x = pooled(x) if self.is_pooled else x
        x = x + self._looked(normed)
        places = x.view(-1, x.shape[3])
        for start in range(0, len(places), CHUNK):
            part = places[start : start + CHUNK]
            part += self.mlp(self.norm2(part))
        return x

    def _looked(self, x: Tensor) -> Tensor:
        height, width = x.shape[1:3]
        side = self.window
        if side == 0:
            return self.attn(x, self.is_pooled)
        padded = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        windows = padded.view(rows, side, columns, side, -1).transpose(1, 2).flatten(0, 1)
        count = max(1, CHUNK // side**2)
        parts = [
            self.attn(windows[start : start + count], self.is_pooled)
            for start in range(0, len(windows), count)
        ]
        if self.is_pooled:
            side, height, width = side // POOL, height // POOL, width // POOL
        whole = torch.cat(parts).unflatten(0, (rows, columns)).transpose(1, 2)
        whole = whole.reshape(1, rows * side, columns * side, -1)
        return whole[:, :height, :width]


class PatchEmbed(nn.Module):
    """Overlapping looks at 7 x 7 pixels, one place for each square of 4 x 4."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, 7, stride=PATCH, padding=3)


class Hiera(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the picture's size.

    Args:
        width: Channels of the first stage; they double at each of the others, and so do heads.
        stages: Blocks of each stage.
        whole: Indices of the blocks that look at everything.
    """

    def __init__(self, width: int, stages: tuple[int, ...], whole: tuple[int, ...]) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(width)
        self.pos_embed = nn.Parameter(torch.zeros(1, width, GRID, GRID))
        self.pos_embed_window = nn.Parameter(torch.zeros(1, width, WINDOWS[0], WINDOWS[0]))
        self.blocks = nn.ModuleList()
        self.ends: list[int] = []
        before, index = width, 0
        for stage, count in enumerate(stages):
            out = width * 2**stage
            for inner in range(count):
                is_first = stage > 0 and inner == 0
                # A stage's first block still has the windows of the one before; pooling shrinks them.
                window = 0 if index in whole else WINDOWS[stage - is_first]
                self.blocks.append(HieraBlock(before, out, 2**stage, window, is_first))
                before, index = out, index + 1
            self.ends.append(index - 1)

    def forward(self, picture: Tensor, report: Report) -> list[Tensor]:
        """Give the (1, h, w, C) features of each stage, finest first.

        Args:
            picture: (1, 3, H, W) normalised; sides are multiples of 32.
            report: Called before each block; raises to cancel.
        """
        x = self.patch_embed.proj(picture).permute(0, 2, 3, 1)
        x = (x + self._positions(x.shape[1], x.shape[2])).contiguous()
        found = []
        for index, block in enumerate(self.blocks):
            report()
            x = block(x)
            if index in self.ends:
                found.append(x)
        return found

    def _positions(self, rows: int, columns: int) -> Tensor:
        """(1, rows, columns, width)."""
        # Bicubic resampling exists in full precision only on some devices.
        coarse = F.interpolate(self.pos_embed.float(), (rows, columns), mode="bicubic")
        side = self.pos_embed_window.shape[2]
        pattern = self.pos_embed_window.tile((1, 1, rows // side, columns // side))
        return (coarse.to(pattern.dtype) + pattern).permute(0, 2, 3, 1)


def pooled(x: Tensor) -> Tensor:
    """(B, h, w, C) -> (B, h / 2, w / 2, C), the largest of each 2 x 2."""
    return F.max_pool2d(x.permute(0, 3, 1, 2), POOL).permute(0, 2, 3, 1)
