"""Colour, gloss and certainty: a second decoder on the features of the bundled network.

The features are those that ``two_sided`` finds for shape, left as they are. The far side's colour is
mostly a colour that the near side shows somewhere: attention over the visible surface copies it (Vaswani
et al. 2017), and the decoder only corrects. Certainty is the scale of a Laplace distribution around
what the network says (Kendall and Gal 2017).
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .residual import Residual

SKIPS = (32, 64, 128, 192)
DECODED = (32, 64, 128, 192, 256)
FINE, SUMMARY = 16, 512
COPIED_AT = 1  # level of the attention: stride 8
KEY = 32
ALBEDO, HIDDEN, GATE, ROUGHNESS, METAL, SPREADS = slice(0, 3), slice(3, 6), 6, 7, 8, slice(9, 11)
MAPS = 11


@dataclass(frozen=True, slots=True)
class AppearanceMaps:
    """What the decoder says of B pictures of side S; colours are displayed ones, 0 to 1.

    Attributes:
        albedo: (B, 3, S/2, S/2) paint of the near side without light.
        hidden: (B, 3, S/2, S/2) the far side behind each pixel, in the light of the near side.
        roughness: (B, 1, S/2, S/2) logit.
        metal: (B, 1, S/2, S/2) logit.
        spreads: (B, 2, S/2, S/2) natural logarithm of the expected error of front and of back
            depth, in half crop widths.
        lens: (B, 2) natural logarithm of the tangent of half the field of view, and of the
            expected error of that logarithm.
    """

    albedo: Tensor
    hidden: Tensor
    roughness: Tensor
    metal: Tensor
    spreads: Tensor
    lens: Tensor


def _logit(colour: Tensor) -> Tensor:
    return torch.logit(colour, eps=0.02)


class AppearanceDecoder(nn.Module):
    """U-Net decoder with attention that copies colours; see ``AppearanceMaps``."""

    def __init__(self, channels: tuple[int, ...] = (32, 64, 96, 128, 160), fine: int = 16) -> None:
        super().__init__()
        inputs = [d + s + 4 for d, s in zip(DECODED, (*SKIPS, 0), strict=True)]
        self.enter = nn.ModuleList(
            nn.Conv2d(i, c, 1) for i, c in zip(inputs, channels, strict=True)
        )
        self.rise = nn.ModuleList(nn.Conv2d(b, a, 1) for a, b in pairwise(channels))
        self.blocks = nn.ModuleList(
            nn.Sequential(*[Residual(c) for _ in range(n)])
            for c, n in zip(channels, (1, 2, 2, 2, 1), strict=True)
        )
        self.ask = nn.Conv2d(channels[COPIED_AT] + 16, KEY, 1)
        self.offer = nn.Conv2d(channels[COPIED_AT] + 16, KEY, 1)
        self.fine_enter = nn.Conv2d(channels[0] + FINE + 7, fine, 1)
        self.fine_block = Residual(fine)
        self.head = nn.Conv2d(fine, MAPS, 3, padding=1)
        self.lens = nn.Sequential(
            nn.Linear(SUMMARY + channels[-1], 128), nn.ReLU(), nn.Linear(128, 2)
        )
        last = self.lens[2]
        assert isinstance(last, nn.Linear)
        for layer in (self.head, last):
            nn.init.zeros_(layer.weight)
            assert layer.bias is not None
            nn.init.zeros_(layer.bias)
        with torch.no_grad():  # what is said before training
            assert self.head.bias is not None
            self.head.bias[METAL] = -2.0
            self.head.bias[SPREADS] = math.log(0.15)
            last.bias[:] = torch.tensor([math.log(math.tan(math.radians(15))), math.log(0.3)])

    def forward(
        self,
        x: Tensor,
        fine: Tensor,
        skips: tuple[Tensor, ...],
        decoded: tuple[Tensor, ...],
        summary: Tensor,
    ) -> AppearanceMaps:
        """Decode.

        Args:
            x: (B, 4, S, S) colour and mask from -1 to 1, as the network got it.
            fine: As in ``two_sided_net.Features``.
            skips: As in ``two_sided_net.Features``.
            decoded: As in ``two_sided_net.Features``.
            summary: As in ``two_sided_net.Features``.
        """
        alpha = (x[:, 3:] + 1) / 2
        colour = (x[:, :3] + 1) / 2 * alpha
        seen: Tensor | None = None
        y: Tensor | None = None
        copied: Tensor | None = None
        for level in reversed(range(len(decoded))):
            stride = 4 * 2**level
            weight = F.avg_pool2d(alpha, stride)
            mean = F.avg_pool2d(colour, stride) / weight.clamp_min(1e-3)
            parts = [decoded[level], mean, weight]
            if level < len(skips):
                parts.append(skips[level])
            entered: Tensor = self.enter[level](torch.cat(parts, 1))
            if y is not None:
                risen: Tensor = self.rise[level](y)
                entered = entered + F.interpolate(risen, scale_factor=2.0, mode="bilinear")
            here: Tensor = self.blocks[level](F.relu(entered))
            y = here
            if level == len(decoded) - 1:
                seen = here.mean((2, 3))
            if level == COPIED_AT:
                copied = self._copied(here, mean, weight)
        assert y is not None
        assert seen is not None
        assert copied is not None
        half = alpha.shape[2] // 2, alpha.shape[3] // 2
        weight = F.avg_pool2d(alpha, 2)
        plain = F.avg_pool2d(colour, 2) / weight.clamp_min(1e-3)
        copied = F.interpolate(copied, size=half, mode="bilinear")
        y = F.interpolate(y, scale_factor=2.0, mode="bilinear")
        joined: Tensor = self.fine_enter(torch.cat([y, fine, plain, weight, copied], 1))
        maps = self.head(self.fine_block(F.relu(joined)))
        gate = torch.sigmoid(maps[:, GATE : GATE + 1])
        base = gate * plain + (1 - gate) * copied
        return AppearanceMaps(
            albedo=torch.sigmoid(_logit(plain) + maps[:, ALBEDO]),
            hidden=torch.sigmoid(_logit(base) + maps[:, HIDDEN]),
            roughness=maps[:, ROUGHNESS : ROUGHNESS + 1],
            metal=maps[:, METAL : METAL + 1],
            spreads=maps[:, SPREADS],
            lens=self.lens(torch.cat([summary, seen], 1)),
        )

    def _copied(self, y: Tensor, mean: Tensor, weight: Tensor) -> Tensor:
        """(B, 3, h, w) for each place a mixture of the colours seen anywhere."""
        batch, _, rows, columns = y.shape
        v = (torch.arange(rows, device=y.device) + 0.5) / rows * 2 - 1
        u = (torch.arange(columns, device=y.device) + 0.5) / columns * 2 - 1
        grid = torch.stack(torch.meshgrid(v, u, indexing="ij"), 0)
        waves = torch.cat([grid * (torch.pi / 2 * k) for k in (0.5, 1.0, 2.0, 4.0)], 0)
        places = torch.cat([waves.sin(), waves.cos()], 0).to(y.dtype).expand(batch, -1, -1, -1)
        located = torch.cat([y, places], 1)
        questions = self.ask(located).flatten(2).transpose(1, 2)
        keys = self.offer(located).flatten(2)
        affinity = (questions / math.sqrt(KEY)) @ keys
        # Cells without the subject have no colour to give; the mask's logarithm weighs the rest.
        affinity = affinity + weight.clamp_min(1e-4).log().flatten(2)
        mixed = affinity.softmax(-1) @ mean.flatten(2).transpose(1, 2)
        return mixed.transpose(1, 2).reshape(batch, 3, rows, columns)
