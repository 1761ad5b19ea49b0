"""The plain vision transformer (Dosovitskiy et al. 2021) that several networks are built on.

Parameters carry timm's names, which DINO, DINOv2 and what was trained on top of them share after
each network's own prefix is taken off.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class PatchEmbed(nn.Module):
    """Cut a picture into square patches and make each one a token."""

    def __init__(self, patch: int, width: int) -> None:
        super().__init__()
        self.proj = nn.Conv2d(3, width, patch, stride=patch)

    def forward(self, images: Tensor) -> Tensor:
        """(B, 3, h * patch, w * patch) -> (B, h * w, width), row by row."""
        return self.proj(images).flatten(2).transpose(1, 2)


class Attention(nn.Module):
    """Multi-head self-attention with one matrix for queries, keys and values."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.proj = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width)."""
        q, k, v = self.split(x)
        return self.merge(F.scaled_dot_product_attention(q, k, v))

    def split(self, x: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Queries, keys and values, each (B, heads, N, width / heads)."""
        q, k, v = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4).unbind(0)
        return q, k, v

    def merge(self, x: Tensor) -> Tensor:
        """(B, heads, N, width / heads) -> (B, N, width), projected."""
        return self.proj(x.transpose(1, 2).flatten(2))


class Mlp(nn.Module):
    """Two linear layers around an exact GELU."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(width, hidden)
        self.fc2 = nn.Linear(hidden, width)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(F.gelu(self.fc1(x)))


class LayerScale(nn.Module):
    """A learned gain per channel (Touvron et al. 2021)."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.gamma = nn.Parameter(torch.ones(width))


class Block(nn.Module):
    """Attention and a perceptron, each beside an identity and behind a layer norm."""

    def __init__(self, width: int, heads: int, has_layer_scale: bool, eps: float) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width, eps=eps)
        self.attn = Attention(width, heads)
        self.ls1 = LayerScale(width) if has_layer_scale else None
        self.norm2 = nn.LayerNorm(width, eps=eps)
        self.mlp = Mlp(width, 4 * width)
        self.ls2 = LayerScale(width) if has_layer_scale else None

    def forward(self, x: Tensor) -> Tensor:
        x = add_scaled(x, self.attn(self.norm1(x)), self.ls1)
        return add_scaled(x, self.mlp(self.norm2(x)), self.ls2)


def add_scaled(x: Tensor, change: Tensor, scale: LayerScale | None) -> Tensor:
    """``x + gamma * change`` in one pass over memory."""
    return x + change if scale is None else torch.addcmul(x, scale.gamma, change)


class VisionTransformer(nn.Module):
    """Tokens of a picture; the defaults are DINOv2 ViT-S/14 (Oquab et al. 2024)."""

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
        super().__init__()
        self.patch = patch
        self.width = width
        self.grid = grid
        self.cls_token = nn.Parameter(torch.zeros(1, 1, width))
        self.pos_embed = nn.Parameter(torch.zeros(1, 1 + grid * grid, width))
        self.patch_embed = PatchEmbed(patch, width)
        self.blocks = nn.ModuleList(Block(width, heads, layer_scale, eps) for _ in range(depth))
        self.norm = nn.LayerNorm(width, eps=eps)

    def embed(self, images: Tensor) -> Tensor:
        """Tokens before the first block.

        Args:
            images: (B, 3, h * patch, w * patch), normalised as the network was trained.

        Returns:
            (B, 1 + h * w, width): the class token, then the patches row by row.
        """
        rows, columns = (side // self.patch for side in images.shape[2:])
        tokens = torch.cat(
            [self.cls_token.expand(len(images), -1, -1), self.patch_embed(images)], 1
        )
        return tokens + self.positions(rows, columns).to(tokens.dtype)

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embedding (1, 1 + rows * columns, width) for a grid of any shape.

        The networks were trained with bicubic resampling by the factor (side + 0.1) / grid instead
        of to a size (a guard against rounding in DINO's code); other rules shift every token.
        """
        if rows == columns == self.grid:
            return self.pos_embed
        square = self.pos_embed[:, 1:].float().unflatten(1, (self.grid, self.grid))
        factors = [(rows + 0.1) / self.grid, (columns + 0.1) / self.grid]
        places = F.interpolate(square.permute(0, 3, 1, 2), scale_factor=factors, mode="bicubic")
        places = places.flatten(2).transpose(1, 2).to(self.pos_embed.dtype)
        return torch.cat([self.pos_embed[:, :1], places], 1)

    def forward_features(
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
