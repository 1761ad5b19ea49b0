"""What is learned from pictures: a surface, its colours, a backdrop, and what is off with each view.

Distance and colour are sampled on one dense grid (as in Voxurf, Wu et al. 2022): with a good start
nothing has to be found out from afar, and a ray costs about a fifth of what it cost with a hash grid
and a small network on a processor. Each view has an exposure of its own and, if wanted, a small turn and shift of its camera.
Whatever lies outside of the box is a backdrop of density and colour, a hash grid over contracted
space (Barron et al. 2022, mip-NeRF 360).
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...field.grid import GridField
from ...field.hash_grid import HashGrid, Layout

Floats = NDArray[np.float32]

BACKDROP = Layout(levels=4, coarsest=16, finest=128, table_bits=15, features=2, width=32)
GREY = 0.5


class Radiance(nn.Module):
    """Everything that is learned.

    Args:
        start: The distance to start from; its grid stays.
        views: How many pictures there are.
        with_backdrop: Learn what lies outside of the box, too.

    Attributes:
        cells: (4, X, Y, Z) distance in cells, and sRGB colour of no fixed range.
        spacing: Size of a cell.
    """

    origin: Tensor
    last: Tensor

    def __init__(self, start: GridField, views: int, *, with_backdrop: bool) -> None:
        super().__init__()
        self.spacing = float(start.spacing)
        distance = torch.from_numpy(start.distance / np.float32(start.spacing))
        grey = torch.full((3, *distance.shape), GREY)
        self.cells = nn.Parameter(torch.cat([distance[None], grey]))
        self.register_buffer("origin", torch.from_numpy(start.origin.astype(np.float32)))
        self.register_buffer("last", torch.tensor(distance.shape) - 1)
        self.gain = nn.Parameter(torch.zeros(views, 3))
        self.turn = nn.Parameter(torch.zeros(views, 3))
        self.shift = nn.Parameter(torch.zeros(views, 3))
        self.backdrop = Backdrop() if with_backdrop else None

    def field(self) -> GridField:
        """The surface as it is now."""
        distance = self.cells.detach()[0].cpu().numpy() * np.float32(self.spacing)
        return GridField(distance, self.origin.cpu().numpy(), self.spacing)

    def sampled(self) -> tuple[GridField, Floats]:
        """The surface as it is now, and (3, X, Y, Z) sRGB colours of its samples."""
        return self.field(), self.cells.detach()[1:].cpu().numpy()

    def at(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) distance in cells and (N, 3) colour at (N, 3) points, clamped at the border."""
        found = self._interpolated(self.cells, points)
        return found[:, 0], found[:, 1:]

    def distance(self, points: Tensor) -> Tensor:
        """(N,) distance in cells at (N, 3) points."""
        return self._interpolated(self.cells[:1], points)[:, 0]

    def _interpolated(self, cells: Tensor, points: Tensor) -> Tensor:
        where = 2 * (points - self.origin) / (self.spacing * self.last) - 1
        # grid_sample counts the last axis first.
        where = where.flip(-1).view(1, -1, 1, 1, 3)
        found = nn.functional.grid_sample(
            cells[None], where, padding_mode="border", align_corners=True
        )
        return found.view(len(cells), -1).T

    @torch.no_grad()
    def nearest(self, points: Tensor) -> Tensor:
        """(...) distance in cells of the sample nearest to (..., 3) points."""
        index = ((points - self.origin) / self.spacing + 0.5).long()
        width, height, depth = self.cells.shape[1:]
        sides = (width, height, depth)
        x, y, z = (index[..., k].clamp_(0, sides[k] - 1) for k in range(3))
        return self.cells.detach()[0].reshape(-1)[(x * height + y) * depth + z]

    def exposed(self, colour: Tensor, view: Tensor) -> Tensor:
        """Colours as each view's exposure shows them; the mean exposure changes nothing."""
        gain = self.gain - self.gain.mean(0)
        return colour * torch.exp(gain[view])

    def corrected(self, matrices: Tensor) -> Tensor:
        """(V, 3, 4) camera-to-world matrices, turned and shifted by what was learned.

        The mean correction is taken out, or the whole scene could wander.
        """
        turn, shift = self.turn - self.turn.mean(0), self.shift - self.shift.mean(0)
        rotation = torch.linalg.matrix_exp(_skew(turn)) @ matrices[:, :3, :3]
        return torch.cat([rotation, matrices[:, :3, 3:] + shift[:, :, None]], 2)


def _skew(vector: Tensor) -> Tensor:
    """(N, 3, 3) matrices of the cross product."""
    x, y, z = vector.unbind(1)
    zero = torch.zeros_like(x)
    return torch.stack([zero, -z, y, z, zero, -x, -y, x, zero], 1).view(-1, 3, 3)


class Backdrop(nn.Module):
    """Density and colour outside of the box, up to infinity."""

    def __init__(self) -> None:
        super().__init__()
        self.grid = HashGrid(BACKDROP)
        inputs, width = BACKDROP.levels * BACKDROP.features, BACKDROP.width
        self.network = nn.Sequential(nn.Linear(inputs, width), nn.ReLU(), nn.Linear(width, 4))

    def forward(self, points: Tensor) -> tuple[Tensor, Tensor]:
        """(N,) density and (N, 3) colour at (N, 3) points in units of half the box."""
        features = self.grid.features(*self.grid.locate(contracted(points) / 4 + 0.5))
        found = self.network(features)
        return nn.functional.softplus(found[:, 0]), torch.sigmoid(found[:, 1:])


def contracted(points: Tensor) -> Tensor:
    """All of space in the ball of radius 2; the unit ball stays as it is."""
    length = points.norm(dim=-1, keepdim=True).clamp_min(1e-6)
    return torch.where(length <= 1, points, (2 - 1 / length) * points / length)
