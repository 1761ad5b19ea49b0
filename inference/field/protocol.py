"""What every field answers, whether fitted, inferred or sampled."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class FieldSample:
    """What a field says at N points.

    Attributes:
        distance: (N,) float32, negative inside, zero on the surface, in the units of the points. A
            true distance near the surface; far from it only the sign and rough size can be relied
            on.
        colour: (N, 3) float32 sRGB 0..1, or None when the field has no colours.
    """

    distance: Floats
    colour: Floats | None = None


@dataclass(frozen=True, slots=True)
class Bounds:
    """The axis-aligned box that a field's surface lies in.

    Attributes:
        low: (3,) float32 smallest corner.
        high: (3,) float32 largest corner.
    """

    low: Floats
    high: Floats


class Field(Protocol):
    """A solid in space that can be asked at any point, inside its bounds or out."""

    @property
    def bounds(self) -> Bounds:
        """A box that contains the whole surface; outside of it everything is outside."""
        ...

    def query(self, points: Floats) -> FieldSample:
        """Signed distance and colour at (N, 3) float32 points."""
        ...

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) float32 gradient of the distance; on the surface about the outward normal."""
        ...


@runtime_checkable
class DerivableField(Field, Protocol):
    """A field that tells distance and gradient together for less than one after the other."""

    def distance_and_gradient(self, points: Floats) -> tuple[Floats, Floats]:
        """Signed distance (N,) and its gradient (N, 3) at (N, 3) float32 points."""
        ...
