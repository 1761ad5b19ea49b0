"""The layers of the bundled network: a picture and a mask in, maps and pooled values out."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .residual import Residual

MASK, FRONT, THICKNESS, NORMAL, LOG_DEPTH = 0, 1, 2, slice(3, 6), 6
MAPS = 7


@dataclass(frozen=True, slots=True)
class Features:
    """What the network sees in a picture of side S, before any output is read off.

    Attributes:
        fine: (B, 16, S/2, S/2) of the thin branch.
        skips: Of the encoder at strides 4 to 32, finest first.
        decoded: Of the decoder at strides 4 to 64, finest first.
        summary: (B, 512) the picture as a whole.
    """

    fine: Tensor
    skips: tuple[Tensor, ...]
    decoded: tuple[Tensor, ...]
    summary: Tensor


class GlobalView(nn.Module):
    """Self-attention over deep features and one register token that sums up the picture."""

    def __init__(self, channels: int, layers: int = 2) -> None:
        super().__init__()
        self.register_token = nn.Parameter(torch.randn(1, 1, channels) * 0.02)
        self.place = nn.Linear(16, channels)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(
                channels, 4, 2 * channels, dropout=0.0, batch_first=True, norm_first=True
            )
            for _ in range(layers)
        )
        for layer in self.layers:  # begin as the identity, so that a trained core keeps working
            assert isinstance(layer, nn.TransformerEncoderLayer)
            nn.init.zeros_(layer.self_attn.out_proj.weight)
            nn.init.zeros_(layer.linear2.weight)
            nn.init.zeros_(layer.linear2.bias)
        nn.init.zeros_(self.place.weight)
        nn.init.zeros_(self.place.bias)

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Mix (B, C, h, w) features globally; also return (B, C) a summary of the picture."""
        batch, channels, rows, columns = x.shape
        v = (torch.arange(rows, device=x.device) + 0.5) / rows * 2 - 1
        u = (torch.arange(columns, device=x.device) + 0.5) / columns * 2 - 1
        grid = torch.stack(torch.meshgrid(v, u, indexing="ij"), -1).reshape(-1, 2)
        waves = torch.cat([grid * (torch.pi / 2 * k) for k in (0.5, 1.0, 2.0, 4.0)], 1)
        places = self.place(torch.cat([waves.sin(), waves.cos()], 1).to(x.dtype))
        tokens = x.flatten(2).transpose(1, 2) + places
        tokens = torch.cat([self.register_token.to(x.dtype).expand(batch, -1, -1), tokens], 1)
        for layer in self.layers:
            tokens = layer(tokens)
        deep = tokens[:, 1:].transpose(1, 2).reshape(batch, channels, rows, columns)
        return deep, torch.cat([tokens[:, 0], tokens[:, 1:].mean(1)], 1)


class Core(nn.Module):
    """The U-Net that works at half the picture's resolution."""

    def __init__(self, channels: tuple[int, ...], blocks: tuple[int, ...]) -> None:
        super().__init__()
        pairs = list(pairwise(channels))
        self.st = nn.Conv2d(4, channels[0], 4, stride=2, padding=1)
        self.e = nn.ModuleList(
            nn.Sequential(*[Residual(c) for _ in range(n)])
            for c, n in zip(channels, blocks, strict=True)
        )
        self.dn = nn.ModuleList(nn.Conv2d(a, b, 2, stride=2) for a, b in pairs)
        self.up = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairs)
        self.dd = nn.ModuleList(Residual(c) for c in channels[:-1])
        self.h = nn.Sequential(nn.Conv2d(channels[0], MAPS * 4, 3, padding=1), nn.PixelShuffle(2))


class TwoSidedNet(nn.Module):
    """Core, a thin branch at the picture's own resolution, and global views at strides 32 and 64."""

    def __init__(
        self,
        channels: tuple[int, ...] = (32, 64, 128, 192, 256),
        blocks: tuple[int, ...] = (1, 2, 3, 2, 2),
        fine: int = 16,
    ) -> None:
        super().__init__()
        self.core = Core(channels, blocks)
        self.view = GlobalView(channels[-1])
        self.mid_view = GlobalView(channels[-2])
        self.pooled = nn.Sequential(nn.Linear(2 * channels[-1], 128), nn.ReLU(), nn.Linear(128, 4))
        self.fine_stem = nn.Conv2d(4, fine, 3, stride=2, padding=1)
        self.fine_in = Residual(fine)
        self.fine_to_core = nn.Conv2d(fine, channels[0], 2, stride=2)
        self.core_to_fine = nn.Conv2d(channels[0], fine, 1)
        self.fine_out = Residual(fine)
        self.fine_head = nn.Sequential(nn.Conv2d(fine, MAPS * 4, 3, padding=1), nn.PixelShuffle(2))
        head, last = self.fine_head[0], self.pooled[2]
        assert isinstance(head, nn.Conv2d)
        assert isinstance(last, nn.Linear)
        for layer in (self.fine_to_core, head, last):
            nn.init.zeros_(layer.weight)
            if layer.bias is not None:
                nn.init.zeros_(layer.bias)
        with torch.no_grad():
            last.bias[1] = -1.0  # before training, up is that of a level camera

    def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Predict everything.

        Args:
            x: (B, 4, H, W) colour and mask from -1 to 1 (mask 0 = unknown); sides divide by 64.

        Returns:
            (B, 7, H, W) maps in the order of ``MASK`` to ``LOG_DEPTH``, mask as a logit and
            thickness before softplus; and (B, 4) the up vector and the logit of "one object".
        """
        return self.read(self.features(x))

    def features(self, x: Tensor) -> Features:
        """Run everything but the outputs' own layers; ``x`` as in ``forward``."""
        fine = self.fine_in(F.relu(self.fine_stem(x)))
        skips, decoded, summary = self._levels(x, fine)
        return Features(fine, skips, decoded, summary)

    def read(self, features: Features) -> tuple[Tensor, Tensor]:
        """Read maps and pooled values off features; shapes as in ``forward``."""
        y = features.decoded[0]
        coarse = F.interpolate(self.core.h(y), scale_factor=2.0, mode="bilinear")
        return coarse + self.detail(y, features.fine), self.pooled(features.summary)

    def trunk(self, x: Tensor, fine: Tensor) -> tuple[Tensor, Tensor]:
        """Run the core: (B, 32, H/4, W/4) features for its head and (B, 512) a summary."""
        _, decoded, summary = self._levels(x, fine)
        return decoded[0], summary

    def _levels(
        self, x: Tensor, fine: Tensor
    ) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...], Tensor]:
        core = self.core
        y = core.st(F.avg_pool2d(x, 2)) + self.fine_to_core(fine)
        skips: list[Tensor] = []
        for level, encode in enumerate(core.e):
            y = encode(y)
            if level == len(core.dn) - 1:
                y, _ = self.mid_view(y)
            if level < len(core.dn):
                skips.append(y)
                y = core.dn[level](y)
        y, summary = self.view(y)
        decoded = [y]
        for level in reversed(range(len(core.up))):
            y = F.interpolate(core.up[level](y), scale_factor=2.0, mode="bilinear")
            y = core.dd[level](y + skips[level])
            decoded.append(y)
        return tuple(skips), tuple(reversed(decoded)), summary

    def detail(self, y: Tensor, fine: Tensor) -> Tensor:
        """(B, 7, H, W) what the thin branch adds to the core's maps."""
        return self.fine_head(self.thin(y, fine))

    def thin(self, y: Tensor, fine: Tensor) -> Tensor:
        """(B, 16, H/2, W/2) what the thin branch knows once it has heard from the core."""
        y = F.interpolate(self.core_to_fine(y), scale_factor=2.0, mode="bilinear")
        return self.fine_out(y + fine)
