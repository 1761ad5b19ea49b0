"""A solid written on a set of vectors that any point can attend to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from .banded import BandedField, Values

LATTICE = 64  # cells of the coarse look; each costs a call of a large network
REACH = 0.95  # the function is cut off at 1: below this, the surface is near


class VecSetField(BandedField):
    """A truncated distance decoded from vectors; without colours."""

    def __init__(
        self,
        decode: Callable[[Tensor], Tensor],
        radius: float,
        device: torch.device,
        report: Callable[[], None],
        *,
        chunk: int,
        cells: int = LATTICE,
    ) -> None:
        """Look at the solid.

        Args:
            decode: From (N, 3) float32 points to (N,) float32, negative inside, cut off at -1 and 1.
            radius: Half the side of the field's box.
            device: Where points go.
            report: Called between portions of points; raises to cancel.
            chunk: Points decoded at once, at most.
            cells: Of the coarse look, along each side.
        """
        corner = np.full(3, radius, np.float32)
        super().__init__(-corner, corner, device, report)
        self._decode = decode
        self._chunk = chunk
        self.look(cells, REACH)

    @property
    def portion(self) -> int:
        """How many points are decoded at once."""
        return self._chunk

    def values(self, points: Tensor) -> Values:
        """The decoded value, negative inside, and no colours."""
        return self._decode(points), None
