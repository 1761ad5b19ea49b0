"""The plain vision transformer (Dosovitskiy et al. 2021) that several networks are built on.

timm gives the layers, whose names DINO, DINOv2 and what was trained on top of them share after each
network's own prefix is taken off. Ours are the position embedding for pictures of any shape, which the
published networks resample by another rule than timm, and the outputs of several blocks at once with a
call before each block at which a run can be cancelled.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .timm_parts import timm_module

if TYPE_CHECKING:
    from timm.layers.attention import Attention
    from timm.models.vision_transformer import Block
    from timm.models.vision_transformer import VisionTransformer as TimmTransformer
else:
    Attention = timm_module("layers").Attention
    _timm = timm_module("models.vision_transformer")
    Block, TimmTransformer = _timm.Block, _timm.VisionTransformer

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

__all__ = [
    "IMAGENET_MEAN",
    "IMAGENET_STD",
    "Attention",
    "VisionTransformer",
    "VitBlock",
    "token_map",
]


class VitBlock(Block):
    """timm's block; a learned gain is applied where it is added, which saves a pass over memory."""

    def forward(
        self, x: Tensor, attn_mask: Tensor | None = None, is_causal: bool = False
    ) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        x = add_scaled(x, self.attn(self.norm1(x), attn_mask, is_causal), self.ls1)
        return add_scaled(x, self.mlp(self.norm2(x)), self.ls2)


def add_scaled(x: Tensor, change: Tensor, scale: nn.Module) -> Tensor:
    """``x + gamma * change`` for timm's LayerScale, ``x + change`` where there is none."""
    gamma = getattr(scale, "gamma", None)
    return x + change if gamma is None else torch.addcmul(x, gamma, change)


class VisionTransformer(TimmTransformer):
    """Tokens of a picture; the defaults are DINOv2 ViT-S/14 (Oquab et al. 2024)."""

    cls_token: nn.Parameter
    pos_embed: nn.Parameter
    blocks: nn.Sequential

    def __init__(
        self,
        patch: int = 14,
        width: int = 384,
        depth: int = 12,
        heads: int = 6,
        grid: int = 37,
        layer_scale: bool = True,
        eps: float = 1e-6,
    ) -> None:
        """Make the network with meaningless weights.

        Args:
            patch: Side of a patch in pixels.
            width: Channels of a token.
            depth: Number of blocks.
            heads: Attention heads; divides ``width``.
            grid: Side of the square of patches that the position embedding was trained for.
            layer_scale: Whether blocks have ``ls1`` and ``ls2``.
            eps: Of every layer norm.
        """
        super().__init__(
            img_size=grid * patch,
            patch_size=patch,
            embed_dim=width,
            depth=depth,
            num_heads=heads,
            num_classes=0,
            global_pool="",
            dynamic_img_size=True,
            init_values=1.0 if layer_scale else None,
            norm_layer=partial(nn.LayerNorm, eps=eps),
            block_fn=VitBlock,
        )
        self.grid = grid

    def embed(self, images: Tensor) -> Tensor:
        """Tokens before the first block.

        Args:
            images: (B, 3, h * patch, w * patch), normalised as the network was trained.

        Returns:
            (B, 1 + h * w, width): the class token, then the patches row by row.
        """
        return self._pos_embed(self.patch_embed(images))

    def _pos_embed(self, x: Tensor) -> Tensor:
        """What timm calls for this; x is (B, h, w, width)."""
        rows, columns = x.shape[1:3]
        tokens = torch.cat([self.cls_token.expand(len(x), -1, -1), x.flatten(1, 2)], 1)
        return tokens + self.positions(rows, columns).to(tokens.dtype)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embedding (1, 1 + rows * columns, width) for a grid of any shape.

        The networks were trained with bicubic resampling by the factor (side + 0.1) / grid instead
        of to a size (a guard against rounding in DINO's code); other rules shift every token.
        """
        if rows == columns == self.grid:
            return self.pos_embed
        return self.resampled(factors=[(rows + 0.1) / self.grid, (columns + 0.1) / self.grid])

    def resampled(
        self, size: tuple[int, int] | None = None, factors: list[float] | None = None
    ) -> Tensor:
        """Position embedding for a grid of another size, or by factors down and across."""
        square = self.pos_embed[:, 1:].float().unflatten(1, (self.grid, self.grid))
        places = F.interpolate(square.permute(0, 3, 1, 2), size, factors, mode="bicubic")
        places = places.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], places], 1)

    def forward_taps(
        self,
        images: Tensor,
        taps: Sequence[int],
        report: Callable[[], None] | None = None,
    ) -> list[Tensor]:
        """Run the blocks up to the last tap.

        Args:
            images: (B, 3, h * patch, w * patch), normalised as the network was trained.
            taps: Increasing indices of the blocks whose output is wanted; ``depth - 1`` is the
                last one.
            report: Called before each block; raises to cancel.

        Returns:
            One (B, 1 + h * w, width) per tap, behind the final norm: the class token, then the
            patches row by row.
        """
        x = self.embed(images)
        wanted = set(taps)
        found: list[Tensor] = []
        for index in range(max(wanted) + 1):
            if report is not None:
                report()
            x = self.blocks[index](x)
            if index in wanted:
                found.append(self.norm(x))
        return found


def token_map(tokens: Tensor, rows: int, columns: int) -> Tensor:
    """(B, 1 + rows * columns, C) tokens as a map (B, C, rows, columns), without the class token."""
    return tokens[:, 1:].transpose(1, 2).unflatten(2, (rows, columns))
