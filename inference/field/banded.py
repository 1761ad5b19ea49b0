"""Make a signed-distance field of any function that is negative inside a solid.

Networks that were taught occupancy, density or a cut-off distance tell inside from outside, but not
how far a surface is. Sampled on a coarse lattice once, such a function shows where its surface can
be at all, and how steep it is there. Away from the surface the lattice answers; only in a narrow
band around it is the function asked, and its value divided by its slope is the distance to first
order. So a fine surface costs calls in proportion to its area, not to the volume.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from .protocol import Bounds, FieldSample

Floats = NDArray[np.float32]
Report = Callable[[], None]
Values = tuple[Tensor, Tensor | None]

BAND = 1  # cells of the lattice around those of the surface in which the function is asked
STEP = 0.15  # of a cell: reach of the differences that make the gradient
FARTHEST = 12  # cells up to which the way to the surface is counted; more saves little later
FAINTEST = 0.04  # share of the box that becomes the solid where the function finds none
FLATTEST = 0.15  # of the usual slope; where the function is flatter, distances would be overstated
_TETRAHEDRON = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))


class BandedField(ABC):
    """A field in a box, made of a function; outside of the box everything is outside.

    Subclasses say what the function is, then call ``look`` once.
    """

    has_colours = False
    is_faint = False  # whether the function found nothing inside and was lowered until it did

    def __init__(self, low: Floats, high: Floats, device: torch.device, report: Report) -> None:
        """Remember the box.

        Args:
            low: (3,) smallest corner of the box.
            high: (3,) largest corner.
            device: Where points go for ``values``.
            report: Called between portions of points; raises to cancel.
        """
        self._box = Bounds(np.asarray(low, np.float32), np.asarray(high, np.float32))
        self._device = device
        self._report = report
        self._low = torch.tensor(self._box.low, device=device)
        self._high = torch.tensor(self._box.high, device=device)
        self._lowered = 0.0

    @abstractmethod
    def values(self, points: Tensor) -> Values:
        """The function at some points.

        Args:
            points: (N, 3) float32 in the box, N at most ``portion``.

        Returns:
            (N,) float32, negative inside; (N, 3) sRGB colours 0..1, or None without ``has_colours``.
        """

    @property
    @abstractmethod
    def portion(self) -> int:
        """How many points ``values`` takes at once: less than a second's work."""

    def look(self, cells: int, reach: float = 0.0) -> None:
        """Sample the function on a coarse lattice.

        Args:
            cells: Along the box's longest side. What is thinner than a cell may be missed.
            reach: If the function's size tells that the surface is near, this is how small it must
                be: then thinner things are found, too.
        """
        low, high = self._box.low, self._box.high
        self._cell = float((high - low).max()) / cells
        # Half a cell of free space all round, so that what touches the box ends there.
        count = np.ceil((high - low) / self._cell - 1e-4).astype(int) + 1
        self._origin = ((low + high) / 2 - count * self._cell / 2).astype(np.float32)
        axes = [
            float(start) + self._cell * torch.arange(n + 1, device=self._device)
            for start, n in zip(self._origin, count, strict=True)
        ]
        points = torch.stack(torch.meshgrid(*axes, indexing="ij"), dim=-1)
        with torch.inference_mode():
            value = self._sampled(points)
            free = ((points < self._low) | (points > self._high)).any(dim=-1)
            if not bool((value < 0).any()):
                self.is_faint = True
                self._lowered = float(torch.quantile(value.flatten()[::7], FAINTEST))
                value -= self._lowered
            slope = _slope(value, ~free)
            value = torch.where(free, value.abs().clamp_min(reach) + 1, value)
            inside = value < 0
            self._ring = _rings(inside, value.abs() < reach).cpu().numpy()
            self._inside = inside.cpu().numpy()
            self._lattice = value.cpu().numpy()
            near = F.pad(torch.from_numpy(self._ring <= BAND)[None, None].float(), (1,) * 6)
            near = F.max_pool3d(near, 2, 1)[0, 0] > 0
            self._slope = _spread(slope.cpu(), near & ~free.cpu()).numpy() / self._cell
        self._bounds = self._around(np.argwhere(self._ring == 0))

    def _sampled(self, points: Tensor) -> Tensor:
        """(X, Y, Z) values at the lattice's (X, Y, Z, 3) points; subclasses may know a shorter way."""
        return self._evaluate(points.reshape(-1, 3))[0].reshape(points.shape[:3])

    def _is_sure(self, points: Floats, guess: Floats) -> NDArray[np.bool_]:
        """Which points near the surface need not be asked about.

        Args:
            points: (N, 3).
            guess: (N,) distance as far as the lattice's values tell it.
        """
        return np.zeros(len(points), np.bool_)

    @property
    def bounds(self) -> Bounds:
        """A box that contains the whole surface, little larger than needed."""
        return self._bounds

    def _around(self, cells: NDArray[np.int64]) -> Bounds:
        """The part of the box that holds some cells of the lattice and one more on each side."""
        if not len(cells):
            return self._box
        low = self._origin + np.float32(self._cell) * (cells.min(axis=0) - 1)
        high = self._origin + np.float32(self._cell) * (cells.max(axis=0) + 2)
        low = np.maximum(low, self._box.low).astype(np.float32)
        return Bounds(low, np.minimum(high, self._box.high).astype(np.float32))

    def query(self, points: Floats) -> FieldSample:
        """Signed distance at (N, 3) points, and colours if there are any.

        The distance is right to first order in a band around the surface, and never more than there
        is to the surface outside of it.
        """
        points = np.asarray(points, np.float32)
        ring, inside = self._cells(points)
        near = ring <= BAND
        distance = np.maximum(ring - 1, 0.5).astype(np.float32) * np.float32(self._cell)
        distance[inside] *= -1
        slope = self._between(self._slope, points[near])
        guess = self._between(self._lattice, points[near]) / slope
        sure = self._is_sure(points[near], guess)
        known, doubtful = np.flatnonzero(near)[sure], np.flatnonzero(near)[~sure]
        distance[known] = guess[sure]
        near[known] = False
        asked = np.ones_like(near) if self.has_colours else near
        colour = None
        with torch.inference_mode():
            value, tint = self._evaluate(torch.from_numpy(points[asked]).to(self._device))
        within = near[asked]
        steps = value.cpu().numpy()[within] / slope[~sure]
        distance[doubtful] = np.clip(steps, -self._cell, self._cell)
        if tint is not None:
            colour = tint.cpu().numpy()
        return FieldSample(np.maximum(distance, self._beyond(points).max(axis=1)), colour)

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) gradient of the distance, from four differences around each point."""
        points = np.asarray(points, np.float32)
        step = np.float32(STEP * self._cell)
        total = np.zeros_like(points)
        here = np.zeros(len(points), np.float32)
        with torch.inference_mode():
            for corner in np.array(_TETRAHEDRON, np.float32):
                beside = torch.from_numpy(points + step * corner).to(self._device)
                value = self._evaluate(beside)[0].cpu().numpy()
                total += value[:, None] * corner
                here += value / 4
        slope = self._between(self._slope, points)
        total /= 4 * step * slope[:, None]
        beyond = self._beyond(points)
        side = beyond.argmax(axis=1)
        on_wall = beyond.max(axis=1) > here / slope
        middle = (self._box.low + self._box.high) / 2
        normal = np.eye(3, dtype=np.float32)[side] * np.sign(points - middle)
        return np.where(on_wall[:, None], normal, total).astype(np.float32)

    def _evaluate(self, points: Tensor) -> Values:
        """The function at any number of points; those beyond the box count as on its wall."""
        found: list[Tensor] = []
        colours: list[Tensor] = []
        for some in points.clamp(self._low, self._high).split(self.portion):
            self._report()
            value, colour = self.values(some)
            found.append(value - self._lowered)
            if colour is not None:
                colours.append(colour)
        value = torch.cat(found) if found else points.new_zeros(0)
        if not self.has_colours:
            return value, None
        return value, torch.cat(colours) if colours else points.new_zeros((0, 3))

    def _beyond(self, points: Floats) -> Floats:
        """(N, 3) distance beyond the nearer wall along each axis, negative in the box."""
        low, high = self._box.low, self._box.high
        return np.abs(points - (low + high) / 2) - (high - low) / 2

    def _cells(self, points: Floats) -> tuple[NDArray[np.int16], NDArray[np.bool_]]:
        """Ring of the lattice cell around each point, and whether its first corner is inside."""
        index = np.floor((points - self._origin) / np.float32(self._cell)).astype(np.int64)
        index = np.clip(index, 0, np.array(self._ring.shape) - 1)
        where = tuple(index.T)
        return self._ring[where], self._inside[where]

    def _between(self, lattice: Floats, points: Floats) -> Floats:
        """(N,) what a lattice says around each of (N, 3) points, by trilinear interpolation."""
        index = (points - self._origin) / np.float32(self._cell)
        index = np.clip(index, 0, np.array(lattice.shape) - 1.001)
        base = index.astype(np.int64)
        part = index - base
        result = np.zeros(len(points), np.float32)
        for corner in range(8):
            offset = np.array([corner >> 2 & 1, corner >> 1 & 1, corner & 1])
            weight = np.prod(np.where(offset, part, 1 - part), axis=1)
            result += (weight * lattice[tuple((base + offset).T)]).astype(np.float32)
        return result


def _rings(inside: Tensor, is_small: Tensor) -> Tensor:
    """How many cells away the nearest cell is that the surface may pass; 0 for those.

    Args:
        inside: (X + 1, Y + 1, Z + 1) whether each lattice point is inside.
        is_small: Same shape: where the surface may be near in any case.

    Returns:
        (X, Y, Z) int16 up to ``FARTHEST``, counted along axes and diagonals alike, so a lower bound
        of the distance.
    """
    most = F.max_pool3d(inside[None, None].float(), 2, 1)
    least = -F.max_pool3d(-inside[None, None].float(), 2, 1)
    reached = ((most != least) | (F.max_pool3d(is_small[None, None].float(), 2, 1) > 0)).float()
    far = FARTHEST
    ring = torch.full_like(reached, far)
    for distance in range(far):
        ring = torch.where((reached > 0) & (ring == far), float(distance), ring)
        if bool(reached.all()) or not bool(reached.any()):
            break
        reached = F.max_pool3d(reached, 3, 1, 1)
    return ring[0, 0].to(torch.int16)


def _slope(value: Tensor, known: Tensor) -> Tensor:
    """Size of the gradient per lattice step, by central differences between known points."""
    square = torch.zeros_like(value)
    for axis in range(3):
        ahead, behind = value.roll(-1, axis), value.roll(1, axis)
        has_ahead, has_behind = known.roll(-1, axis), known.roll(1, axis)
        # Rolled values wrap around, but the outermost points are free and never count.
        rise = torch.where(has_ahead, ahead, value) - torch.where(has_behind, behind, value)
        run = (has_ahead.int() + has_behind.int()).clamp_min(1)
        square += (rise / run) ** 2
    return square.sqrt()


def _spread(slope: Tensor, known: Tensor) -> Tensor:
    """Mean slope of the known points around each point; the usual one where none are known."""
    if not bool(known.any()):
        return torch.ones_like(slope)
    usual = slope[known].median().clamp_min(1e-6)
    weight = known.float()[None, None]
    total = F.avg_pool3d((slope * known)[None, None], 3, 1, 1)
    share = F.avg_pool3d(weight, 3, 1, 1)
    mean = torch.where(share > 0, total / share.clamp_min(1e-6), usual)[0, 0]
    return mean.clamp_min(FLATTEST * usual)
