"""Size and north from the positions that a phone or a drone writes into its photos.

Satellite positions are off by metres, and those of neighbouring photos by the same metres, so that
many photos are hardly better than a few. They say nothing about a chair and much about a church: a
fit counts only if the photos lie far apart by the measure of their error. Heights are off by more
than the rest and are not used; which way is up is known from the pictures.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ...contracts import Place

Doubles = NDArray[np.float64]

FEWEST = 5  # photos with positions, in as many different places
LEAST_SPAN = 20.0  # metres between the photos furthest apart
LEAST_ERROR = 3.0  # metres: what phones reach under an open sky, whatever they write down
MOST_UNSURE = 0.15  # of the size
ROUNDS = 12  # of weighing positions down that do not fit
EARTH_RADIUS = 6_371_009.0  # metres, mean


@dataclass(frozen=True, slots=True)
class Fit:
    """How a set's cameras lie on the map.

    Attributes:
        metres_per_unit: Of the cameras' frame.
        turn: Radians that the frame has to be turned about its vertical so that +z points north and
            +x east: ``east + 1j * north = metres_per_unit * exp(1j * turn) * (x + 1j * z) + ...``.
        span: Metres between the photos furthest apart, without single strays.
        error: Metres by which the positions are off: what the photos say, or what the fit leaves.
    """

    metres_per_unit: float
    turn: float
    span: float
    error: float

    @property
    def unsure(self) -> float:
        """By what share of itself the size may be wrong."""
        return float(np.sqrt(2.0)) * self.error / max(self.span, 1e-9)

    @property
    def is_usable(self) -> bool:
        """Whether the positions say more than their error."""
        return self.span >= LEAST_SPAN and self.unsure <= MOST_UNSURE


def fit_to_places(cameras: NDArray[np.floating], places: Sequence[Place]) -> Fit | None:
    """Lay cameras on the map: a similarity of the plane, by least squares with Cauchy's weights.

    Args:
        cameras: (N, 3) positions in an upright frame: y points down.
        places: (N,) where their photos say that they were taken.

    Returns:
        None when there are too few photos, or they were all taken in a few places.
    """
    east_north = _metres(places)
    if len(np.unique(np.round(east_north, 2), axis=0)) < FEWEST:
        return None
    plane = cameras[:, 0].astype(np.float64) + 1j * cameras[:, 2].astype(np.float64)
    target = east_north[:, 0] + 1j * east_north[:, 1]
    weight = np.ones(len(plane))
    factor = 0j
    off = np.zeros(len(plane))
    for _ in range(ROUNDS):
        total = weight.sum()
        middle, wanted = (weight * plane).sum() / total, (weight * target).sum() / total
        spread = (weight * np.abs(plane - middle) ** 2).sum()
        if spread <= 1e-18:
            return None
        factor = (weight * np.conj(plane - middle) * (target - wanted)).sum() / spread
        off = np.abs(factor * (plane - middle) - (target - wanted))
        weight = 1 / (1 + (off / max(float(np.median(off)), 0.1 * LEAST_ERROR)) ** 2)
    if abs(factor) < 1e-12:
        return None
    fitting = plane[weight >= np.median(weight) / 4] * factor
    span = float(np.abs(fitting[:, None] - fitting[None]).max())
    # Most positions are within the median times 1.5 if errors are those of a bell curve.
    error = max(LEAST_ERROR, 1.5 * float(np.median(off)), _told_error(places))
    return Fit(float(abs(factor)), float(np.angle(factor)), span, error)


def _metres(places: Sequence[Place]) -> Doubles:
    """(N, 2) metres east and north of the mean place; good for sets of some kilometres."""
    latitude = np.radians([place.latitude for place in places])
    longitude = np.radians([place.longitude for place in places])
    # Around the first, so that a set across the date line stays together.
    longitude = (longitude - longitude[0] + np.pi) % (2 * np.pi) - np.pi
    east = EARTH_RADIUS * np.cos(latitude.mean()) * (longitude - longitude.mean())
    north = EARTH_RADIUS * (latitude - latitude.mean())
    return np.stack([east, north], axis=1)


def _told_error(places: Sequence[Place]) -> float:
    told = [place.error for place in places if place.error is not None]
    return float(np.median(told)) if told else 0.0
