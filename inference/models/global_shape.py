"""A second look at the whole: how a thing lies and how deep it is, judged on 8 x 8 tokens.

The network's decoder is local, and tilt and thickness are not: a small transformer (Vaswani et al.
2017) sees the decoder's features of the whole crop at once, what it made of them, and the picture,
and says by how much front and thickness are to change at low resolution. It is trained on the frozen
network's features, which makes its pictures cost a ninth of what they cost the network.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

MIDDLE, SUMMARY = 128, 512  # channels of the decoder at stride 16, and of the picture's summary
SIDE = 32  # of the correction
TOKENS = 8  # per side
PATCH = SIDE // TOKENS


@dataclass(frozen=True, slots=True)
class Evidence:
    """What the second look gets of B crops of 256 pixels whose mask is known.

    Attributes:
        middle: (B, 128, 16, 16) the decoder's features at stride 16.
        summary: (B, 512) the picture as a whole.
        shape: (B, 2, 32, 32) front and thickness before softplus, averaged inside the mask.
        weight: (B, 1, 32, 32) share of each cell that the mask covers.
        picture: (B, 4, 64, 64) colour and mask from -1 to 1.
    """

    middle: Tensor
    summary: Tensor
    shape: Tensor
    weight: Tensor
    picture: Tensor


def masked_cells(values: Tensor, mask: Tensor, size: int) -> Tensor:
    """Average (B, C, H, W) inside ``mask`` (B, 1, H, W) over cells of ``size`` pixels."""
    return F.avg_pool2d(values * mask, size) / F.avg_pool2d(mask, size).clamp_min(1e-4)


def evidence_of(x: Tensor, shape: Tensor, middle: Tensor, summary: Tensor) -> Evidence:
    """Gather the evidence.

    Args:
        x: (B, 4, 256, 256) colour and mask from -1 to 1, as the network got it.
        shape: (B, 2, 256, 256) its front and its thickness before softplus.
        middle: As in ``Evidence``.
        summary: As in ``Evidence``.
    """
    mask = (x[:, 3:] + 1) / 2
    cell = x.shape[2] // SIDE
    return Evidence(
        middle=middle,
        summary=summary,
        shape=masked_cells(shape, mask, cell),
        weight=F.avg_pool2d(mask, cell),
        picture=F.avg_pool2d(x, x.shape[2] // (2 * SIDE)),
    )


class _Block(nn.Module):
    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.proj = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.fc1, self.fc2 = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, count, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, count, 3, self.heads, width // self.heads)
        q, k, v = qkv.permute(2, 0, 3, 1, 4)
        mixed = F.scaled_dot_product_attention(q, k, v).transpose(1, 2)
        x = x + self.proj(mixed.reshape(batch, count, width))
        return x + self.fc2(F.gelu(self.fc1(self.norm2(x))))


class GlobalShape(nn.Module):
    """The transformer of the second look; before training it changes nothing."""

    uv: Tensor

    def __init__(self, width: int = 120, layers: int = 4, heads: int = 4) -> None:
        super().__init__()
        patch = MIDDLE * 4 + 3 * PATCH**2 + 4 * (2 * PATCH) ** 2
        self.enter = nn.Linear(patch, width)
        self.place = nn.Parameter(torch.randn(1, TOKENS**2, width) * 0.02)
        self.register = nn.Linear(SUMMARY, width)
        self.blocks = nn.ModuleList(_Block(width, heads) for _ in range(layers))
        self.norm = nn.LayerNorm(width)
        self.cells = nn.Linear(width, 2 * PATCH**2)
        self.plane = nn.Linear(width, 3)
        for layer in (self.cells, self.plane):
            nn.init.zeros_(layer.weight)
            nn.init.zeros_(layer.bias)
        grid = (torch.arange(SIDE) + 0.5) / SIDE * 2 - 1
        v, u = torch.meshgrid(grid, grid, indexing="ij")
        self.register_buffer("uv", torch.stack([u, v]), persistent=False)

    def forward(self, evidence: Evidence) -> Tensor:
        """(B, 2, 32, 32) what to add to front and to thickness before softplus."""
        parts = [
            F.pixel_unshuffle(evidence.middle * 0.5, 2),
            F.pixel_unshuffle(evidence.shape, PATCH),
            F.pixel_unshuffle(evidence.weight, PATCH),
            F.pixel_unshuffle(evidence.picture, 2 * PATCH),
        ]
        tokens = self.enter(torch.cat(parts, 1).flatten(2).transpose(1, 2)) + self.place
        tokens = torch.cat([self.register(evidence.summary)[:, None], tokens], 1)
        for block in self.blocks:
            tokens = block(tokens)
        tokens = self.norm(tokens)
        cells = self.cells(tokens[:, 1:]).transpose(1, 2)
        cells = F.pixel_shuffle(cells.reshape(len(cells), -1, TOKENS, TOKENS), PATCH)
        plane = self.plane(tokens[:, 0])
        tilt = (plane[:, :2, None, None] * self.uv).sum(1, keepdim=True)
        return cells + torch.cat([tilt, plane[:, 2:, None, None].expand_as(tilt)], 1)
