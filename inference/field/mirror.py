"""A plane in which a thing is its own mirror image."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class MirrorPlane:
    """The points p with ``normal . p == offset``.

    Attributes:
        normal: (3,) unit vector.
        offset: Distance from the origin along the normal.
    """

    normal: Floats
    offset: float

    def reflected(self, points: Floats) -> Floats:
        """The mirror images of (N, 3) points."""
        beyond = points @ self.normal - np.float32(self.offset)
        return (points - 2 * beyond[:, None] * self.normal).astype(np.float32)

    def turned(self, directions: Floats) -> Floats:
        """The mirror images of (N, 3) directions."""
        along = directions @ self.normal
        return (directions - 2 * along[:, None] * self.normal).astype(np.float32)
