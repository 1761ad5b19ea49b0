"""A signed-distance field sampled on a regular grid."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from .protocol import Bounds, FieldSample

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class GridField:
    """Signed distance at the points ``origin + index * spacing``.

    Attributes:
        distance: (X, Y, Z) float32, negative inside, in the units of ``spacing``; approximate away
            from the surface. The outermost layer is outside.
        origin: (3,) position of sample (0, 0, 0).
        spacing: Distance between samples, the same along every axis.
    """

    distance: Floats
    origin: Floats
    spacing: float

    @property
    def bounds(self) -> Bounds:
        """The box of the samples; the outermost layer is outside."""
        extent = (np.array(self.distance.shape) - 1) * self.spacing
        return Bounds(self.origin, (self.origin + extent).astype(np.float32))

    def query(self, points: Floats) -> FieldSample:
        """Signed distance at (N, 3) points by trilinear interpolation, clamped at the border."""
        return FieldSample(self._distance(points))

    def _distance(self, points: Floats) -> Floats:
        shape = np.array(self.distance.shape)
        index = np.clip((points - self.origin) / self.spacing, 0, shape - 1.001)
        base = index.astype(np.int64)
        part = (index - base).astype(np.float32)
        result = np.zeros(len(points), np.float32)
        for corner in range(8):
            chance_to_stop()
            offset = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
            weight = np.prod(np.where(offset, part, 1 - part), axis=1)
            result += weight * self.distance[tuple((base + offset).T)]
        return result

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) outward direction of steepest ascent by central differences over one cell."""
        columns = []
        for axis in range(3):
            step = np.zeros(3, np.float32)
            step[axis] = 0.5 * self.spacing
            columns.append(self._distance(points + step) - self._distance(points - step))
        return np.stack(columns, axis=1) / np.float32(self.spacing)
