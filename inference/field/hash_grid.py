"""A signed-distance and colour field: a multiresolution hash grid read by a small network.

The encoding is that of instant-NGP (Mueller et al. 2022): learned features at the corners of grids of
growing resolution, interpolated linearly; coarse grids are stored whole, fine ones share a table
through a hash. Plain PyTorch, so that it runs on any device. The network either makes the distance
alone, starting as a ball (Atzmon and Lipman 2020), or what a simpler field lacks, starting as zero.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from .protocol import Bounds, Field, FieldSample

Floats = NDArray[np.float32]

PRIMES = (1, 2654435761, 805459861)
CHUNK = {"cpu": 1 << 15, "cuda": 1 << 19, "mps": 1 << 17}  # points per query
SHARPNESS = 100.0  # of the softplus: nearly a ReLU, yet smooth
TETRAHEDRON = ((1, -1, -1), (-1, -1, 1), (-1, 1, -1), (1, 1, 1))


@dataclass(frozen=True, slots=True)
class Layout:
    """How large a network is.

    Attributes:
        levels: Number of grids.
        coarsest: Cells along the box's longest side in the first grid.
        finest: Cells along it in the last grid.
        table_bits: Logarithm of the most corners that a level stores.
        features: Numbers at each corner.
        width: Units of the hidden layers.
    """

    levels: int = 5
    coarsest: int = 8
    finest: int = 128
    table_bits: int = 15
    features: int = 2
    width: int = 32

    def resolution(self, level: int) -> int:
        """Cells along the box's longest side in one grid."""
        growth = (self.finest / self.coarsest) ** (level / max(self.levels - 1, 1))
        return round(self.coarsest * growth)


class HashGrid(nn.Module):
    """The learned features of space, (N, levels * features) at points of the unit cube."""

    def __init__(self, layout: Layout) -> None:
        super().__init__()
        self.layout = layout
        starts, total = [], 0
        for level in range(layout.levels):
            starts.append(total)
            total += min((layout.resolution(level) + 1) ** 3, 1 << layout.table_bits)
        self.starts = starts
        self.table = nn.Parameter(torch.empty(total, layout.features).uniform_(-1e-4, 1e-4))

    def locate(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """Which table rows make up the features at points, and with which weights.

        Args:
            points: (N, 3) in the unit cube; clamped to it.

        Returns:
            (N, levels, 8) int32 rows and (N, levels, 8) weights.
        """
        rows, weights = [], []
        size = 1 << self.layout.table_bits
        for level, start in enumerate(self.starts):
            side = self.layout.resolution(level)
            scaled = points.clamp(0, 1) * side
            low = scaled.floor().clamp(max=side - 1)
            part = scaled - low
            x, y, z = low.long().unbind(1)
            if (side + 1) ** 3 <= size:
                ways = ((side + 1) ** 2, side + 1, 1)
                axes = [(c * way, (c + 1) * way) for c, way in zip((x, y, z), ways, strict=True)]
                corners = [a + b + c for a in axes[0] for b in axes[1] for c in axes[2]]
                index = torch.stack(corners, 1)
            else:
                axes = [(c * p, (c + 1) * p) for c, p in zip((x, y, z), PRIMES, strict=True)]
                corners = [a ^ b ^ c for a in axes[0] for b in axes[1] for c in axes[2]]
                index = torch.stack(corners, 1) & (size - 1)
            u, v, w = ((1 - p, p) for p in part.unbind(1))
            weights.append(torch.stack([a * b * c for a in u for b in v for c in w], 1))
            rows.append((index + start).int())
        return torch.stack(rows, 1), torch.stack(weights, 1)

    def features(self, rows: Tensor, weights: Tensor, share: float = 1.0) -> Tensor:
        """Features from ``locate``; with ``share`` below 1 the finest levels are left out.

        Coarse grids first and fine ones later keeps noise out of the large forms (Neuralangelo, Li
        et al. 2023).
        """
        count, levels, _ = rows.shape
        active = share * levels
        used = min(math.ceil(active), levels)
        picked = self.table.index_select(0, rows[:, :used].reshape(-1))
        picked = picked.view(count, used, 8, -1) * weights[:, :used, :, None].to(picked.dtype)
        found = picked.sum(2)
        if active < used:
            fade = torch.ones(used, device=found.device, dtype=found.dtype)
            fade[-1] = active - (used - 1)
            found = found * fade[None, :, None]
        found = found.flatten(1)
        missing = (levels - used) * found.shape[1] // used
        return nn.functional.pad(found, (0, missing)) if missing else found


class HashGridNetwork(nn.Module):
    """Distance and colour at points of the unit cube.

    Args:
        layout: Its size.
        ball: Radius of the ball that the distance starts as, in sides of the cube; None to start
            as zero everywhere.
    """

    def __init__(self, layout: Layout, ball: float | None) -> None:
        super().__init__()
        self.grid = HashGrid(layout)
        inputs, width = layout.levels * layout.features, layout.width
        self.ball = ball
        first, last = nn.Linear(inputs + 3, width), nn.Linear(width, 1)
        self.shape = nn.Sequential(first, nn.Softplus(SHARPNESS), last)
        self.tint = nn.Sequential(nn.Linear(inputs + 3, width), nn.ReLU(), nn.Linear(width, 3))
        nn.init.zeros_(last.bias)
        nn.init.normal_(last.weight, std=1e-3)
        if ball is not None:
            # The mean of many ramps in all directions is about the distance from the middle.
            nn.init.normal_(first.weight, std=math.sqrt(2 / width))
            first.weight.data[:, 3:] *= 0.1
            nn.init.zeros_(first.bias)
            nn.init.constant_(last.weight, math.sqrt(math.pi / width))
            nn.init.constant_(last.bias, -ball)

    def distance(self, points: Tensor, features: Tensor) -> Tensor:
        """(N,) distance, in sides of the cube."""
        return self.shape(torch.cat([points - 0.5, features], 1))[:, 0]

    def colour(self, points: Tensor, features: Tensor) -> Tensor:
        """(N, 3) colour 0..1."""
        return torch.sigmoid(self.tint(torch.cat([points - 0.5, features], 1)))


@dataclass(frozen=True, slots=True)
class HashGridField:
    """A fitted network in its box, on top of a simpler field if there is one.

    Attributes:
        network: On the device that it was fitted on.
        low: (3,) corner of the box.
        side: Longest side of the box; the network's cube.
        high: (3,) corner of the box.
        base: What the network's distance is added to.
        has_colour: Whether the colours were fitted, too.
    """

    network: HashGridNetwork
    low: Floats
    high: Floats
    side: float
    base: Field | None
    has_colour: bool

    @property
    def bounds(self) -> Bounds:
        return Bounds(self.low, self.high)

    def query(self, points: Floats) -> FieldSample:
        """Signed distance and, if fitted, colour at (N, 3) points."""
        distance, colour = self._evaluate(points, self.has_colour)
        return FieldSample(distance, colour)

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) gradient by differences over one cell of the finest grid.

        Four points on a tetrahedron suffice. Analytic gradients would jump from cell to cell.
        """
        step = np.float32(0.5 * self.side / self.network.grid.layout.finest)
        total = np.zeros_like(points, np.float32)
        for corner in np.array(TETRAHEDRON, np.float32):
            total += corner * self._evaluate(points + step * corner, False)[0][:, None]
        return total / (4 * step)

    def _evaluate(self, points: Floats, with_colour: bool) -> tuple[Floats, Floats | None]:
        device = self.network.grid.table.device
        distance = np.empty(len(points), np.float32)
        colour = np.empty((len(points), 3), np.float32) if with_colour else None
        with torch.inference_mode():
            for start in range(0, len(points), CHUNK[device.type]):
                some = slice(start, start + CHUNK[device.type])
                unit = (points[some] - self.low) / np.float32(self.side)
                where = torch.from_numpy(unit.astype(np.float32)).to(device)
                features = self.network.grid.features(*self.network.grid.locate(where))
                features = features.float()
                found = self.network.distance(where, features)
                distance[some] = found.float().cpu().numpy() * np.float32(self.side)
                if colour is not None:
                    colour[some] = self.network.colour(where, features).float().cpu().numpy()
        if self.base is not None:
            distance += self.base.query(points).distance
        return distance, colour
