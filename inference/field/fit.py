"""Fit a hash-grid field to what was observed.

The loss asks for: distance zero and the gradient along the normal at surface points, the right
distance a little off the surface, nothing in space known to be empty, something in space known to be
solid, gradients of length one (Gropp et al. 2020), and little curvature wherever the evidence is
weak. Differences over a tetrahedron of points stand in for derivatives (Li et al. 2023 use six), so
that one backward pass is enough and features of neighbouring cells learn together.

All points are drawn beforehand and located in the grids once; a step only picks rows.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..machine.memory import give_back, is_out_of_memory
from .evidence import Evidence
from .hash_grid import TETRAHEDRON, HashGridField, HashGridNetwork, Layout
from .protocol import Bounds, Field

Floats = NDArray[np.float32]

BALL = 0.3  # radius of the starting ball in sides of the box
HOLD, HOLD_NEAR = 2.0, 0.02  # weight of the base away from all evidence, and near some
BLOCKS = 24  # along the box: what is "near"
OFF = 1.5  # cells: how far off the surface its distance is taught


@dataclass(frozen=True, slots=True)
class Effort:
    """How much work a fit is.

    Attributes:
        layout: Size of the network.
        steps: Steps of gradient descent.
        batch: Surface points per step.
        pool: Surface points drawn at most.
        calm: Weight of the curvature where the evidence is weak.
        crisp: Weight of the normals.
        warm_up: Share of the steps in which the finer levels join in one by one.
    """

    layout: Layout = field(default_factory=Layout)
    steps: int = 150
    batch: int = 512
    pool: int = 12_000
    calm: float = 0.3
    crisp: float = 0.5
    warm_up: float = 0.4


def fit(
    evidence: Evidence,
    bounds: Bounds,
    base: Field | None,
    effort: Effort,
    device: str,
    seed: int,
    report: Callable[[float], None],
) -> HashGridField:
    """Fit a field; with less and less work while memory does not suffice.

    Args:
        evidence: In the frame and units of the field.
        bounds: A box around the surface.
        base: A field to improve on: the fit then starts as it and stays near it where there is no
            evidence. None to start as a ball.
        effort: How much work to do.
        device: Of PyTorch.
        seed: Of every random choice; the result on one device depends on nothing else.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Raises:
        RuntimeError: Memory does not suffice for the least effort.
    """
    while True:
        try:
            return _fit(evidence, bounds, base, effort, device, seed, report)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or (device == "cpu" and effort.batch <= 128):
                raise
        # Out of the handler, so that the traceback no longer holds the tensors.
        give_back()
        if effort.batch > 128:
            smaller = replace(effort, batch=effort.batch // 2, pool=effort.pool // 2)
            effort = smaller if effort.batch > 256 else replace(smaller, steps=effort.steps * 2)
        else:
            device = "cpu"


@dataclass(frozen=True, slots=True)
class _Pool:
    """Points with everything about them that does not change during the fit.

    Attributes:
        points: (N, K, 3) in the unit cube; K is 1, or 5 for a middle and its tetrahedron.
        rows: (N, K, levels, 8) of the grids.
        weights: (N, K, levels, 8).
        base: (N, K) distance of the base, in cells of the finest grid.
    """

    points: Tensor
    rows: Tensor
    weights: Tensor
    base: Tensor


class _Fitting:
    """One fit: the network, the pools, and how a pool's distances are computed."""

    def __init__(
        self, bounds: Bounds, base: Field | None, effort: Effort, device: str, seed: int
    ) -> None:
        extent = bounds.high - bounds.low
        self.side = float(extent.max())
        self.cell = self.side / effort.layout.finest
        self.bounds, self.base, self.device = bounds, base, device
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(seed)
            network = HashGridNetwork(effort.layout, None if base is not None else BALL)
        self.network = network.to(device)
        self.share = 1.0

    def pool(self, points: Floats, with_tetrahedron: bool) -> _Pool:
        corners = np.zeros((1, 3), np.float32)
        if with_tetrahedron:
            corners = np.concatenate([corners, np.array(TETRAHEDRON, np.float32)])
        spread = points[:, None] + corners * np.float32(0.5 * self.cell)
        flat = spread.reshape(-1, 3).astype(np.float32)
        base = np.zeros(len(flat), np.float32)
        if self.base is not None:
            base = self.base.query(flat).distance / np.float32(self.cell)
        unit = torch.from_numpy((flat - self.bounds.low) / np.float32(self.side)).to(self.device)
        rows, weights = self.network.grid.locate(unit)
        shape = (len(points), len(corners))
        return _Pool(
            unit.view(*shape, 3),
            rows.view(*shape, *rows.shape[1:]),
            weights.view(*shape, *weights.shape[1:]),
            torch.from_numpy(base).to(self.device).view(shape),
        )

    def features(self, pool: _Pool, chosen: Tensor) -> Tensor:
        rows, weights = pool.rows[chosen], pool.weights[chosen]
        return self.network.grid.features(rows.flatten(0, 1), weights.flatten(0, 1), self.share)

    def distances(self, pool: _Pool, chosen: Tensor, features: Tensor) -> tuple[Tensor, Tensor]:
        """(B, K) distance in cells, and what the network added to the base."""
        points = pool.points[chosen]
        added = self.network.distance(points.flatten(0, 1), features) * (self.side / self.cell)
        added = added.view(points.shape[:2])
        return pool.base[chosen] + added, added


def _fit(
    evidence: Evidence,
    bounds: Bounds,
    base: Field | None,
    effort: Effort,
    device: str,
    seed: int,
    report: Callable[[float], None],
) -> HashGridField:
    report(0.0)
    work = _Fitting(bounds, base, effort, device, seed)
    random = np.random.default_rng(seed)
    draw = torch.Generator().manual_seed(seed)
    cell = np.float32(work.cell)

    picked = _drawn(len(evidence.points), effort.pool, random)
    points, normals = evidence.points[picked], evidence.normals[picked]
    surface = work.pool(points, True)
    report(0.04)
    gap = random.uniform(-OFF, OFF, len(points)).astype(np.float32)
    off = work.pool(points + normals * (gap * cell)[:, None], False)
    empty = _drawn(len(evidence.outside), effort.pool // 2, random)
    solid = _drawn(len(evidence.inside), effort.pool // 4, random)
    space = work.pool(np.concatenate([evidence.outside[empty], evidence.inside[solid]]), False)
    report(0.07)
    elsewhere = _loose_points(bounds, base, effort.pool // 4, random)
    loose = work.pool(elsewhere, True)
    alone = _far_from(evidence, elsewhere, bounds, work.side)
    report(0.1)

    def tensor(values: NDArray) -> Tensor:
        return torch.from_numpy(np.ascontiguousarray(values, np.float32)).to(device)

    surety, facing, target = tensor(evidence.surety[picked]), tensor(normals), tensor(gap)
    sign = tensor(np.concatenate([np.ones(len(empty)), -np.ones(len(solid))]))
    bound = np.concatenate([evidence.clearance[empty], evidence.depth[solid]])
    least = tensor(np.minimum(bound / cell, 2 * OFF))
    hold = tensor(np.where(alone, HOLD, HOLD_NEAR))
    hue = tensor(evidence.colours[picked])
    has_colour = bool(torch.isfinite(hue).any())
    tetrahedron = tensor(np.array(TETRAHEDRON)) / 2  # gradient of values in cells, half a cell away

    network = work.network
    rates = [(network.grid.table, 1e-2)]
    rates += [(head, 4e-3) for head in network.shape.parameters()]
    rates += [(head, 2e-2) for head in network.tint.parameters()]
    optimiser = _Adam(rates)
    for step in range(effort.steps):
        report(0.1 + 0.9 * step / effort.steps)
        work.share = min(1.0, 0.4 + 0.6 * step / max(effort.warm_up * effort.steps, 1))

        chosen = _batch(len(points), effort.batch, draw, device)
        found = work.features(surface, chosen)
        distance, _ = work.distances(surface, chosen, found)
        weight = surety[chosen]
        slope, bend = _differential(distance, tetrahedron)
        loss = (weight * _gentle(distance[:, 0])).mean()
        loss = loss + effort.crisp * (weight * (slope - facing[chosen]).square().sum(1)).mean()
        loss = loss + effort.calm * ((1 - weight) * bend.abs()).mean()
        if has_colour:
            middle = found.view(len(chosen), 5, -1)[:, 0]
            tint = network.colour(surface.points[chosen, 0], middle)
            known = torch.isfinite(hue[chosen])
            error = (tint - torch.where(known, hue[chosen], tint.detach())).abs()
            loss = loss + error.mean()

        chosen = _batch(len(points), effort.batch, draw, device)
        distance, _ = work.distances(off, chosen, work.features(off, chosen))
        loss = loss + 0.5 * (surety[chosen] * _gentle(distance[:, 0] - target[chosen])).mean()

        if len(sign):
            chosen = _batch(len(sign), effort.batch, draw, device)
            distance, _ = work.distances(space, chosen, work.features(space, chosen))
            wrong = torch.relu(least[chosen] - sign[chosen] * distance[:, 0])
            loss = loss + _gentle(wrong).mean()

        chosen = _batch(len(loose.points), effort.batch // 3, draw, device)
        distance, added = work.distances(loose, chosen, work.features(loose, chosen))
        slope, bend = _differential(distance, tetrahedron)
        near = torch.exp(-0.5 * distance.detach()[:, 0].square())
        loss = loss + 0.1 * (slope.norm(dim=1) - 1).square().mean()
        loss = loss + effort.calm * (near * bend.abs()).mean()
        if base is not None:
            loss = loss + (hold[chosen] * _gentle(added[:, 0])).mean()

        loss.backward()
        optimiser.step(0.05 + 0.475 * (1 + math.cos(math.pi * step / effort.steps)))
    network.eval()
    report(1.0)
    low, high = bounds.low, bounds.high
    return HashGridField(network, low, high, work.side, base, has_colour)


class _Adam:
    """Adam (Kingma and Ba 2015). PyTorch's own loads its compiler first, which takes seconds."""

    def __init__(self, parameters: list[tuple[nn.Parameter, float]]) -> None:
        self._state = [
            (p, rate, torch.zeros_like(p), torch.zeros_like(p)) for p, rate in parameters
        ]
        self._count = 0

    @torch.no_grad()
    def step(self, share: float) -> None:
        """Move the parameters by ``share`` of their rates and forget their gradients."""
        self._count += 1
        slow, fast = 1 - 0.9**self._count, 1 - 0.99**self._count
        for parameter, rate, mean, square in self._state:
            if parameter.grad is None:
                continue
            mean.lerp_(parameter.grad, 0.1)
            square.mul_(0.99).addcmul_(parameter.grad, parameter.grad, value=0.01)
            scale = (square / fast).sqrt_().add_(1e-12)
            parameter.addcdiv_(mean, scale, value=-rate * share / slow)
            parameter.grad = None


def _drawn(count: int, most: int, random: np.random.Generator) -> NDArray[np.int64]:
    """At most so many indices, each once, in ascending order."""
    if count <= most:
        return np.arange(count)
    return np.sort(random.choice(count, most, replace=False))


def _batch(count: int, size: int, draw: torch.Generator, device: str) -> Tensor:
    return torch.randint(count, (max(size, 1),), generator=draw).to(device)


def _differential(distance: Tensor, tetrahedron: Tensor) -> tuple[Tensor, Tensor]:
    """(B, 3) gradient and (B,) Laplacian times the cell size, from (B, 5) distances in cells."""
    corners = distance[:, 1:]
    slope = corners @ tetrahedron
    return slope, 2 * (corners.sum(1) - 4 * distance[:, 0])


def _gentle(error: Tensor) -> Tensor:
    """Huber's loss: quadratic within a cell, linear beyond."""
    return nn.functional.huber_loss(error, torch.zeros_like(error), reduction="none")


def _far_from(evidence: Evidence, points: Floats, bounds: Bounds, side: float) -> NDArray[np.bool_]:
    """Whether each point has no believable surface point in its block of space or the next ones."""

    def block(places: Floats) -> tuple[NDArray[np.int64], ...]:
        index = (places - bounds.low) / side * BLOCKS
        return tuple(index.astype(np.int64).clip(0, BLOCKS - 1).T)

    near = np.zeros((BLOCKS,) * 3, bool)
    near[block(evidence.points[evidence.surety > 0.05])] = True
    for axis in range(3):
        low, high = np.roll(near, 1, axis), np.roll(near, -1, axis)
        near |= low | high
    return ~near[block(points)]


def _loose_points(
    bounds: Bounds, base: Field | None, count: int, random: np.random.Generator
) -> Floats:
    """Points where only smoothness is asked for: near the base's surface, or anywhere."""
    points = random.uniform(bounds.low, bounds.high, (4 * count, 3)).astype(np.float32)
    if base is None:
        return points[:count]
    for _ in range(2):
        slope = base.gradient(points)
        square = np.maximum((slope * slope).sum(axis=1, keepdims=True), 0.1)
        points = points - slope * (base.query(points).distance[:, None] / square)
        points = np.clip(points, bounds.low, bounds.high).astype(np.float32)
    near = np.argsort(np.abs(base.query(points).distance), kind="stable")[:count]
    return points[near]
