"""A solid written on three feature planes (Chan et al. 2022)."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from .banded import BandedField, Values

Decode = Callable[[Tensor], tuple[Tensor, Tensor]]

LATTICE = 96  # cells of the coarse look; finer than the features of the published planes


class TriplaneField(BandedField):
    """Density and colour on planes xy, xz and yz; the surface is where the density has a level."""

    has_colours = True

    def __init__(
        self,
        planes: Tensor,
        decode: Decode,
        level: float,
        radius: float,
        report: Callable[[], None],
        *,
        chunk: int = 1 << 13,
        cells: int = LATTICE,
    ) -> None:
        """Look at the planes.

        Args:
            planes: (3, C, P, P) float32 features of planes xy, xz and yz; a plane's first axis runs
                along its columns. They cover -radius to radius.
            decode: From (N, 3 C) features, plane by plane, to (N,) density > 0 and (N, 3) sRGB
                colours 0..1.
            level: Density of the surface.
            radius: Half the side of the field's box.
            report: Called between portions of points; raises to cancel.
            chunk: Points decoded at once, at most.
            cells: Of the coarse look, along each side.
        """
        corner = np.full(3, radius, np.float32)
        super().__init__(-corner, corner, planes.device, report)
        self._planes = planes
        self._decode = decode
        self._log_level = math.log(level)
        self._radius = radius
        self._chunk = chunk
        self.look(cells)

    @property
    def portion(self) -> int:
        """How many points are decoded at once."""
        return self._chunk

    def values(self, points: Tensor) -> Values:
        """How far the density's logarithm is below the level's, and the colours.

        The logarithm is what the network says; it runs much straighter through the surface than the
        density, so that few steps find it.
        """
        density, colour = self.density(points)
        return self._log_level - density.clamp_min(1e-30).log(), colour

    def density(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) density and (N, 3) sRGB colour at (N, 3) points."""
        places = points / self._radius
        flat = torch.stack([places[:, [0, 1]], places[:, [0, 2]], places[:, [1, 2]]])
        features = F.grid_sample(self._planes, flat[:, None], align_corners=False)[:, :, 0]
        return self._decode(features.permute(2, 0, 1).flatten(1))
