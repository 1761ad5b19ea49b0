"""A solid written on a set of vectors that any point can attend to.

Every point costs a pass through a large network, so as few as possible are asked. The function is a
distance that is cut off, which tells more than inside and outside: where all corners of a coarse
cell say that the surface is farther than the cell is wide, nothing in the cell needs to be asked.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from .banded import BandedField, Values

Floats = NDArray[np.float32]

LATTICE = 64  # cells of the coarse look; each costs a call of a large network
REACH = 0.95  # the function is cut off at 1: below this, the surface is near
HIDDEN = 0.6  # of a coarse cell: seen from so far, nothing hides between corners and their cells
PROBES = 256  # places on the surface at which the slope is measured
SURE = 1.0  # cells from the surface from which on the lattice alone knows the distance
CROWDED = 12.0  # crossed cells per cell of the box's side squared; a ball has 2, a bush some 10
SAMPLED, FOLLOWED = 1.5, 2.4  # points asked per crossed cell's volume and area when contouring
MOST_CPU, MOST_GPU = 1_500_000, 30_000_000  # points that contouring may ask: minutes


class VecSetField(BandedField):
    """A truncated distance decoded from vectors; without colours.

    Attributes:
        coarsened: How many times coarser than asked ``affordable`` made the surface; 1 is not.
    """

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
            decode: From (N, 3) float32 points to (N,) float32, negative inside, cut off at -1 and 1;
                derivable by the points.
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
        self._cut_off = 0.0  # distance at which the function is cut off; 0: not known
        self.coarsened = 1.0
        self.look(cells, REACH)
        if self._cut_off > 0:  # where it is cut off, the lattice says less than the true slope
            self._slope = np.maximum(self._slope, np.float32(1 / self._cut_off))
        self._crossed = _crossed(torch.from_numpy(self._inside)).numpy()

    @property
    def portion(self) -> int:
        """How many points are decoded at once."""
        return self._chunk

    def values(self, points: Tensor) -> Values:
        """The decoded value, negative inside, and no colours."""
        return self._decode(points), None

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) gradient of the distance, by derivation of the network."""
        return self.distance_and_gradient(points)[1]

    def distance_and_gradient(self, points: Floats) -> tuple[Floats, Floats]:
        """Signed distance (N,) and its gradient (N, 3) at points near the surface.

        Both cost little more than twice the distance alone.
        """
        points = np.asarray(points, np.float32)
        value, gradient = self._derived(torch.from_numpy(points).to(self._device))
        slope = self._between(self._slope, points)
        here = np.clip(value.cpu().numpy() / slope, -self._cell, self._cell)
        gradient = gradient.cpu().numpy() / slope[:, None]
        beyond = self._beyond(points)
        side = beyond.argmax(axis=1)
        on_wall = beyond.max(axis=1) > here
        middle = (self._box.low + self._box.high) / 2
        wall = np.eye(3, dtype=np.float32)[side] * np.sign(points - middle)
        gradient = np.where(on_wall[:, None], wall, gradient).astype(np.float32)
        return np.maximum(here, beyond.max(axis=1)).astype(np.float32), gradient

    def affordable(self, spacing: float) -> float:
        """A distance between samples at which the surface can be followed in minutes.

        A network that has understood nothing draws a sponge, whose surface is everywhere; and a
        processor asks some thousand points per second.

        Args:
            spacing: What is wanted.

        Returns:
            The same, or more; ``coarsened`` says how many times more.
        """
        most = MOST_CPU if self._device.type == "cpu" else MOST_GPU
        crossed = int(self._crossed.sum())
        side = float((self.bounds.high - self.bounds.low).max()) / self._cell
        coarser = max(1.0, math.sqrt(crossed / (CROWDED * side * side)))
        while True:
            finer = self._cell / (spacing * coarser)
            if crossed * (SAMPLED * finer**3 + FOLLOWED * finer**2) <= most:
                self.coarsened = coarser
                return spacing * coarser
            coarser *= 1.05

    def _sampled(self, points: Tensor) -> Tensor:
        """Ask at every other lattice point, then only where the surface can be."""
        coarse = self._evaluate(points[::2, ::2, ::2].reshape(-1, 3))[0]
        coarse = coarse.reshape([(n + 1) // 2 for n in points.shape[:3]])
        self._cut_off = self._measured_cut_off(coarse, points[::2, ::2, ::2])
        if self._cut_off * REACH < HIDDEN * 2 * self._cell:
            return super()._sampled(points)
        near = _near(coarse)
        value, wanted = coarse, near
        for axis, count in enumerate(points.shape[:3]):
            below = torch.arange(count, device=points.device) // 2
            value = value.index_select(axis, below.clamp_max(coarse.shape[axis] - 1))
            wanted = wanted.index_select(axis, below.clamp_max(near.shape[axis] - 1))
        wanted[::2, ::2, ::2] = False
        value[wanted] = self._evaluate(points[wanted])[0]
        return value

    def _measured_cut_off(self, coarse: Tensor, points: Tensor) -> float:
        """The distance at which the function reaches 1, from its slope on the surface; 0: unknown.

        Args:
            coarse: (X, Y, Z) values.
            points: (X, Y, Z, 3) where.
        """
        inside = coarse < 0
        places: list[Tensor] = []
        for axis in range(3):
            size = coarse.shape[axis] - 1
            first, second = coarse.narrow(axis, 0, size), coarse.narrow(axis, 1, size)
            split = inside.narrow(axis, 0, size) != inside.narrow(axis, 1, size)
            share = (first / (first - second))[split][:, None]
            start, end = points.narrow(axis, 0, size)[split], points.narrow(axis, 1, size)[split]
            places.append(start + share * (end - start))
        crossing = torch.cat(places)
        if not len(crossing):
            return 0.0
        crossing = crossing[:: max(1, len(crossing) // PROBES)]
        slope = self._derived(crossing)[1].norm(dim=1)
        return 1.0 / max(float(slope.median()), 1e-6)

    def _is_sure(self, points: Floats, guess: Floats) -> NDArray[np.bool_]:
        """Points more than a cell away, if the function is not cut off before."""
        if self._cut_off * REACH < SURE * self._cell:
            return super()._is_sure(points, guess)
        index = np.floor((points - self._origin) / np.float32(self._cell)).astype(np.int64)
        index = np.clip(index, 0, np.array(self._ring.shape) - 1)
        return (np.abs(guess) > SURE * self._cell) & ~self._crossed[tuple(index.T)]

    def _derived(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Values (N,) and their derivatives (N, 3); points beyond the box count as on its wall."""
        values, gradients = [points.new_zeros(0)], [points.new_zeros((0, 3))]
        with torch.inference_mode(False), torch.enable_grad():
            for some in points.clamp(self._low, self._high).split(self._chunk):
                self._report()
                place = some.clone().requires_grad_()
                value = self._decode(place)
                (gradient,) = torch.autograd.grad(value.sum(), place)
                values.append(value.detach() - self._lowered)
                gradients.append(gradient)
        return torch.cat(values), torch.cat(gradients)


def _near(coarse: Tensor) -> Tensor:
    """(X - 1, Y - 1, Z - 1) cells that the surface may pass, and those around them."""
    small = F.max_pool3d((coarse.abs() < REACH)[None, None].float(), 2, 1)[0, 0] > 0
    near = (_crossed(coarse < 0) | small)[None, None].float()
    return F.max_pool3d(near, 3, 1, 1)[0, 0] > 0


def _crossed(inside: Tensor) -> Tensor:
    """(X - 1, Y - 1, Z - 1) cells whose corners are not all on one side."""
    there = inside[None, None].float()
    return (F.max_pool3d(there, 2, 1) != -F.max_pool3d(-there, 2, 1))[0, 0]
