"""Hiera: a transformer that sees fine near things and coarse far ones (Ryali et al. 2023).

Early blocks look within small windows of many places; at the start of each further stage the
queries are pooled, which halves the resolution. The variant of SAM 2 (Ravi et al. 2024): a few late
blocks look at everything, and position is a small grid plus a pattern that repeats with the windows
(Bolya et al. 2023). timm gives the network. Ours is that its layers work on a part of the picture at a
time, which takes half the memory and no longer, and a call before each block at which a run can be
cancelled.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .timm_parts import timm_module

if TYPE_CHECKING:
    from timm.layers.mlp import Mlp
    from timm.models.hieradet_sam2 import HieraDet, MultiScaleAttention, MultiScaleBlock
else:
    _timm = timm_module("models.hieradet_sam2")
    Mlp, HieraDet = timm_module("layers").Mlp, _timm.HieraDet
    MultiScaleAttention, MultiScaleBlock = _timm.MultiScaleAttention, _timm.MultiScaleBlock

Report = Callable[[], None]

MLP_RATIO = 4
CHUNK = 1 << 13  # places that pass a layer at once: what fits a processor's cache


class Perceptron(Mlp):
    """timm's, on a part of the places at a time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> the same shape."""
        layers = super().forward
        mixed = torch.empty_like(x, memory_format=torch.contiguous_format)
        for before, after in zip(_places(x), _places(mixed), strict=True):
            after.copy_(layers(before))
        return mixed


class WindowAttention(MultiScaleAttention):
    """timm's, on a part of the windows at a time."""

    def forward(self, x: Tensor) -> Tensor:
        """(B, h, w, C) windows -> (B, h', w', C'), half the sides where queries are pooled."""
        layers = super().forward
        count = max(1, CHUNK // (x.shape[1] * x.shape[2]))
        return torch.cat([layers(part) for part in x.split(count)])


class Hiera(HieraDet):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the picture's size.

    Args:
        width: Channels of the first stage; they double at each of the others, and so do heads.
        stages: Blocks of each stage.
        whole: Indices of the blocks that look at everything.
    """

    blocks: nn.Sequential

    def __init__(self, width: int, stages: tuple[int, ...], whole: tuple[int, ...]) -> None:
        super().__init__(
            num_classes=0,
            embed_dim=width,
            stages=stages,
            global_att_blocks=whole,
            fix_init=False,
        )
        self.head = nn.Identity()
        for block in self.blocks:
            assert isinstance(block, MultiScaleBlock)
            heads, pool, out = block.attn.num_heads, block.attn.q_pool, block.dim_out
            block.attn = WindowAttention(block.dim, out, heads, pool)
            block.mlp = Perceptron(out, MLP_RATIO * out)

    def forward_stages(self, picture: Tensor, report: Report) -> list[Tensor]:
        """Give the (1, h, w, C) features of each stage, finest first.

        Args:
            picture: (1, 3, H, W) normalised; sides are multiples of 32.
            report: Called before each block; raises to cancel.
        """
        x = self._pos_embed(self.patch_embed(picture))
        found = []
        for index, block in enumerate(self.blocks):
            report()
            x = block(x)
            if index in self.stage_ends:
                found.append(x)
        return found

    def _pos_embed(self, x: Tensor) -> Tensor:
        """What timm calls for the positions of (B, rows, columns, width)."""
        rows, columns = x.shape[1:3]
        # Bicubic resampling exists in full precision only on some devices.
        coarse = F.interpolate(self.pos_embed.float(), (rows, columns), mode="bicubic")
        side = self.pos_embed_window.shape[2]
        pattern = self.pos_embed_window.tile((1, 1, rows // side, columns // side))
        return (x + (coarse.to(pattern.dtype) + pattern).permute(0, 2, 3, 1)).contiguous()


def _places(x: Tensor) -> tuple[Tensor, ...]:
    """Parts of (B, H, W, C), place by place; views of it where it is contiguous."""
    return x.reshape(-1, x.shape[3]).split(CHUNK)
