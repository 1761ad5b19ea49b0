"""Decode a set of vectors into a solid (3DShape2VecSet, Zhang et al. 2023; TripoSG, Li et al. 2025).

The vectors attend to each other once; then any point in space attends to them and learns whether it
is inside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from ..backbones.attention import Attention, FeedForward, KeysValues

Report = Callable[[], None]

OCTAVES = 8  # of the point's coordinates that the network sees


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the decoder; the defaults are TripoSG's.

    Attributes:
        channels: Of a latent vector.
        width: Channels of a token.
        depth: Blocks in which the vectors attend to each other.
        heads: Attention heads.
    """

    channels: int = 64
    width: int = 1024
    depth: int = 16
    heads: int = 8


class _SelfBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads, is_packed=True)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        return x + self.ff(self.norm3(x))


class _PointBlock(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, width, is_packed=True, has_context_norm=True)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)

    def forward(self, x: Tensor, context: KeysValues) -> Tensor:
        x = x + self.attn2.attend(self.norm2(x), context)
        return x + self.ff(self.norm3(x))


class _Decoder(nn.Module):
    def __init__(self, shape: Shape) -> None:
        super().__init__()
        blocks: list[nn.Module] = [_SelfBlock(shape.width, shape.heads) for _ in range(shape.depth)]
        self.blocks = nn.ModuleList([*blocks, _PointBlock(shape.width, shape.heads)])
        self.proj_query = nn.Linear(3 * (1 + 2 * OCTAVES), shape.width)
        self.norm_out = nn.LayerNorm(shape.width)
        self.proj_out = nn.Linear(shape.width, 1)


class VecSetDecoder(nn.Module):
    """The decoder; parameters are named as published."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.post_quant = nn.Linear(shape.channels, shape.width)
        self.decoder = _Decoder(shape)

    def solid(self, latents: Tensor, report: Report) -> KeysValues:
        """What points have to attend to, computed once per solid.

        Args:
            latents: (1, N, channels).
            report: Called between blocks; raises to cancel.
        """
        x = self.post_quant(latents)
        for block in list(self.decoder.blocks)[:-1]:
            report()
            x = block(x)
        last = self.decoder.blocks[-1]
        assert isinstance(last, _PointBlock)
        return last.attn2.keys_values(x)

    def forward(self, points: Tensor, solid: KeysValues) -> Tensor:
        """(N, 3) float32 points -> (N,) float32, negative inside; small near the surface."""
        x = self.decoder.proj_query(waves(points)[None].to(self.post_quant.weight.dtype))
        x = self.decoder.blocks[-1](x, solid)
        # Published code says the negative of this, which is positive inside.
        return self.decoder.proj_out(self.decoder.norm_out(x))[0, :, 0].float()


def waves(points: Tensor) -> Tensor:
    """(N, 3) coordinates as (N, 3 + 6 octaves): themselves, their sines, their cosines.

    Mildenhall et al. (2020), but without the factor pi.
    """
    octaves = 2.0 ** torch.arange(OCTAVES, device=points.device, dtype=points.dtype)
    angle = (points[..., None] * octaves).flatten(-2)
    return torch.cat([points, angle.sin(), angle.cos()], dim=-1)
