"""Refine a surface until it looks like the pictures: a signed distance trained by volume rendering.

The start is the surface that depth maps and silhouettes gave, so that a minute on a processor
suffices where training from nothing (Wang et al. 2021, NeuS) takes hours on a graphics card. The
loss asks for the pictures' colours inside the masks, for the masks' outlines, for slopes of one
(Gropp et al. 2020) and for little curvature. Gradients are spread to their neighbours at first, so
that coarse forms settle before fine ones; and where the pictures say little, little moves. Where depth maps agree, their surface pulls gently: noise, shine and the rims of thin
walls would otherwise carry a bare surface away.
"""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ...field.grid import GridField
from ...field.hash_grid import TETRAHEDRON
from ...machine.memory import give_back, is_out_of_memory
from ..contracts import View
from ..placement.region import Region
from .fusion import TRUNCATION
from .radiance import Radiance
from .rays import Rays, gathered_rays
from .rendering import render, render_backdrop, sections

Floats = NDArray[np.float32]
Progress = Callable[[float], None]
Sample = Callable[[], tuple[GridField, Floats]]  # the surface, and (3, X, Y, Z) sRGB colours
Look = Callable[[float, Sample], bool]  # given the finished share; True ends the training

WIDEST, NARROWEST = 0.5, 0.2  # cells: width of the logistic function, first and last
OUTLINE = 0.1  # cells: the same where masks are compared
REFRESH = 20  # steps after which it is found anew which cells are near the surface
FEWEST_RAYS = 256
FASTEST = 0.06  # cells that the surface moves in a step, at most
TINTING = 0.05  # by which colours change in a step, at most
COLOURS_FIRST = 0.08  # share of the steps in which the surface waits for the colours
TIMID = 0.5  # of the usual gradient: cells with less than that move less
HELD = 8192  # samples that are compared with the start in each step
NEAR = 1.5  # cells from the surface within which samples are held
LOOSE = 0.3  # cells from the start beyond which the pull grows no more
OPAQUE = 0.2  # cover from which a ray's colour tells something about the surface
SLACK = 0.15  # by which a ray's cover may differ from the mask
BLURS = 1  # times that gradients are spread at first; more of it drags walls along with their rims
MOST_THREADS = 8  # steps are too small to be worth sharing among more


@dataclass(frozen=True, slots=True)
class Training:
    """How much work a refinement is.

    Attributes:
        steps: Steps of gradient descent.
        rays: Rays per step.
        side: Pixels along the longest side of the pictures that are looked at.
        outline: Weight of the masks.
        even: Weight of slopes of one.
        calm: Weight of the curvature.
        held: Weight of the distance from where the surface was measured.
        moves_cameras: Learn a small turn and shift of each camera.
    """

    steps: int = 300
    rays: int = 8192
    side: int = 400
    outline: float = 0.5
    even: float = 0.02
    calm: float = 0.01
    held: float = 0.03
    moves_cameras: bool = False


@dataclass(frozen=True, slots=True)
class Refined:
    """What came of a refinement.

    Attributes:
        field: The surface in the region's frame; distances are right near it only.
        views: The region's views, with corrected cameras if those were to be moved.
        gains: (V, 3) natural logarithm of the exposure of each view against the mean.
        losses: (S,) error of the colours at each step done.
    """

    field: GridField
    views: tuple[View, ...]
    gains: Floats
    losses: Floats


def refine(
    region: Region,
    start: GridField,
    training: Training,
    device: str,
    seed: int,
    report: Progress,
    look: Look | None = None,
    measured: NDArray[np.bool_] | None = None,
) -> Refined:
    """Train; with fewer rays per step while memory does not suffice.

    Args:
        region: The views.
        start: Distance in the region's frame, right near the surface.
        training: How much work to do.
        device: Of PyTorch.
        seed: Of every random choice; the result on one device depends on nothing else.
        report: Called with the finished share; raises to cancel.
        look: Called before each step but the first; True ends the training with what there is.
        measured: (N,) samples of the grid, flat, in which several depth maps agree on the start; None
            holds it nowhere.

    Raises:
        RuntimeError: Memory does not suffice for the fewest rays.
    """
    while True:
        try:
            with _half_the_processor():
                run = _Run(region, start, training, device, seed, measured)
                return run.train(report, look)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or training.rays <= FEWEST_RAYS:
                raise
        # Out of the handler, so that the traceback no longer holds the tensors.
        give_back()
        training = replace(training, rays=training.rays // 2, steps=training.steps * 3 // 2)


@contextmanager
def _half_the_processor() -> Iterator[None]:
    """Leave half of the cores alone while a training runs.

    Its steps are many and short, reading the grid does not divide among threads, and threads wait
    for each other by turning in circles: on two cores, one of them busy with something else, a step
    took four times as long with two threads as with one. The number depends on the machine alone,
    not on its load, so that results can be repeated.
    """
    before = torch.get_num_threads()
    torch.set_num_threads(max(1, min(before, (os.cpu_count() or 1) // 2, MOST_THREADS)))
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Run:
    """One training."""

    def __init__(
        self,
        region: Region,
        start: GridField,
        training: Training,
        device: str,
        seed: int,
        measured: NDArray[np.bool_] | None,
    ) -> None:
        self.region, self.start, self.training, self.seed = region, start, training, seed
        self.device = device
        self.half = torch.from_numpy(region.half.astype(np.float32)).to(device)
        self.draw = torch.Generator().manual_seed(seed)
        matrices = np.stack([view.camera.matrix for view in region.views]).astype(np.float32)
        self.matrices = torch.from_numpy(matrices).to(device)
        distance = start.distance.reshape(-1) / np.float32(start.spacing)
        near = np.abs(distance) < NEAR
        held = np.flatnonzero(near & measured) if measured is not None else np.empty(0, np.int64)
        self.held = torch.from_numpy(held).to(device)
        self.held_at = torch.from_numpy(distance[held]).to(device)
        self.corners = torch.tensor(TETRAHEDRON, device=device, dtype=torch.float32)

    def train(self, report: Progress, look: Look | None) -> Refined:
        report(0.0)
        training, region = self.training, self.region
        rays = gathered_rays(
            region.views, training.side, self.seed, lambda share: report(0.05 * share)
        )
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed)
            has_backdrop = bool((rays.mask < 0).any())
            radiance = Radiance(self.start, len(region.views), with_backdrop=has_backdrop)
        radiance = radiance.to(self.device)
        cells = _CellAdam(radiance.cells)
        others = self._others(radiance)
        losses = []
        for step in range(training.steps):
            part = step / training.steps
            report(0.05 + 0.95 * part)
            if step and look is not None and look(part, radiance.sampled):
                break
            if step % REFRESH == 0:
                cells.active = _near_surface(radiance.cells)
            width = WIDEST * (NARROWEST / WIDEST) ** min(1.0, part / 0.8)
            loss, error = self._loss(radiance, rays, width)
            loss.backward()
            losses.append(error)
            pace = 0.1 + 0.45 * (1 + math.cos(math.pi * part))
            moving = FASTEST * pace * min(1.0, part / COLOURS_FIRST) ** 2
            cells.step((moving, TINTING * pace), round(BLURS * (1 - part)))
            for parameter, mean, square, rate in others:
                _adam(parameter, mean, square, rate * pace)
        report(1.0)
        return Refined(
            radiance.field(),
            self._moved(radiance) if training.moves_cameras else region.views,
            (radiance.gain - radiance.gain.mean(0)).detach().cpu().numpy(),
            np.array(torch.stack(losses).tolist() if losses else [], np.float32),
        )

    def _others(self, radiance: Radiance) -> list[tuple[nn.Parameter, Tensor, Tensor, float]]:
        """What is learned beside the grid, with Adam's moments and rate."""
        rates = [(radiance.gain, 3e-3)]
        if self.training.moves_cameras:
            rates += [(radiance.turn, 3e-4), (radiance.shift, 3e-4)]
        if radiance.backdrop is not None:
            rates += [(parameter, 1e-2) for parameter in radiance.backdrop.parameters()]
        return [(p, torch.zeros_like(p), torch.zeros_like(p), rate) for p, rate in rates]

    def _loss(self, radiance: Radiance, rays: Rays, width: float) -> tuple[Tensor, Tensor]:
        """What is to be made small, and the error of the colours alone."""
        training, device = self.training, self.device
        picked = torch.randint(len(rays.view), (training.rays,), generator=self.draw).numpy()
        view = torch.from_numpy(rays.view[picked].astype(np.int64)).to(device)
        colour = torch.from_numpy(rays.colour[picked]).to(device).float() / 255
        mask = torch.from_numpy(rays.mask[picked]).to(device)
        matrices = self.matrices[:, :3]
        if training.moves_cameras:
            matrices = radiance.corrected(self.matrices)
        pose = matrices[view]
        direction = torch.from_numpy(rays.direction[picked]).to(device)
        direction = (pose[:, :, :3] @ direction[:, :, None])[..., 0]
        direction = nn.functional.normalize(direction, dim=1)
        origin = pose[:, :, 3]
        chosen = sections(
            radiance, origin.detach(), direction.detach(), self.half, width, self.draw
        )
        # A sharp outline pulls only at what is nearly right: cameras that are off need a soft one.
        sharp = width if training.moves_cameras else min(width, OUTLINE)
        found = render(radiance, chosen, origin, direction, width, sharp)
        cover = found.cover
        if radiance.backdrop is not None:
            behind = render_backdrop(radiance, origin, direction, self.half, self.draw)
            shown = found.colour + (1 - cover)[:, None] * behind
        else:
            # What lies behind is of no interest. Were it to count, or be noise, what is thinner than
            # the logistic function is wide would swell until nothing shone through.
            shown = found.colour / cover.clamp_min(OPAQUE)[:, None]
        shown = radiance.exposed(shown, view)
        # Colours at a mask's rim are mixed with whatever lies behind.
        masked = mask >= 0
        counts = torch.where(masked, ((mask > 0.98) & (cover > OPAQUE)).float(), 1.0)
        error = nn.functional.smooth_l1_loss(shown, colour, reduction="none", beta=0.05).mean(1)
        error = (counts * error).sum() / counts.sum().clamp_min(1)
        loss = error
        if bool(masked.any()):
            # Within the slack nothing pulls: where the outline is right, colours decide.
            outline = (torch.abs(found.outline - mask) - SLACK).clamp_min(0).square()
            loss = loss + training.outline * (masked * outline).sum() / masked.sum()
        if len(found.surface):
            loss = loss + self._regular(radiance, found.surface)
        if len(self.held):
            picked = torch.randint(len(self.held), (HELD,), generator=self.draw).to(device)
            now = radiance.cells[0].reshape(-1)[self.held[picked]]
            pull = nn.functional.smooth_l1_loss(now, self.held_at[picked], beta=LOOSE)
            loss = loss + training.held * pull
        return loss, error.detach()

    def _regular(self, radiance: Radiance, surface: Tensor) -> Tensor:
        """Slopes of one and little curvature at points on and around the surface."""
        surface = surface[::2]
        cell = radiance.spacing
        spread = torch.randn(surface.shape, generator=self.draw).to(surface.device) * cell
        points = surface + spread
        both = torch.stack([points, *(points + cell * corner for corner in self.corners)], 1)
        distance = radiance.distance(both.reshape(-1, 3)).view(-1, 5)
        slope = distance[:, 1:] @ self.corners / 4  # per cell, as distances are in cells
        bend = distance[:, 1:].mean(1) - distance[:, 0]
        near = (distance[:, 0].detach().abs() < TRUNCATION - 1.5).float()
        even = (near * (slope.norm(dim=1) - 1).square()).mean()
        return self.training.even * even + self.training.calm * (near * bend.square()).mean()

    @torch.no_grad()
    def _moved(self, radiance: Radiance) -> tuple[View, ...]:
        corrected = radiance.corrected(self.matrices).cpu().numpy().astype(np.float64)
        views = []
        for view, moved in zip(self.region.views, corrected, strict=True):
            matrix = np.eye(4)
            matrix[:3] = moved
            views.append(replace(view, camera=replace(view.camera, matrix=matrix)))
        return tuple(views)


@torch.no_grad()
def _near_surface(cells: Tensor) -> Tensor:
    """(N,) flat indices of the samples that the surface may reach soon; never the outermost."""
    near = (cells[0].abs() < TRUNCATION - 0.1).float()
    near = nn.functional.max_pool3d(near[None, None], 3, 1, 1)[0, 0]
    inner = torch.zeros_like(near)
    inner[1:-1, 1:-1, 1:-1] = near[1:-1, 1:-1, 1:-1]
    return torch.nonzero(inner.view(-1))[:, 0]


class _CellAdam:
    """Adam (Kingma and Ba 2015) on the samples near the surface, by smoothed gradients.

    The usual size of the gradients is added to the divisor, so that samples that the pictures say
    little about stay where they are instead of following noise.
    """

    def __init__(self, cells: nn.Parameter) -> None:
        self.cells = cells
        self.active = torch.empty(0, dtype=torch.long, device=cells.device)
        self._mean = torch.zeros(4, cells[0].numel(), device=cells.device)
        self._square = torch.zeros_like(self._mean)
        self._count = 0

    @torch.no_grad()
    def step(self, rates: tuple[float, float], blurs: int) -> None:
        """Move by at most ``rates`` (distance, colour); spread the distance's gradient so often."""
        assert self.cells.grad is not None
        self._count += 1
        gradient = self.cells.grad
        for _ in range(blurs):
            _spread(gradient[0])
        flat, active = gradient.view(4, -1), self.active
        found = flat[:, active]
        mean = self._mean[:, active].lerp_(found, 0.1)
        square = self._square[:, active].lerp_(found * found, 0.05)
        self._mean[:, active], self._square[:, active] = mean, square
        slow, fast = 1 - 0.9**self._count, 1 - 0.95**self._count
        size = (square / fast).sqrt_()
        usual = size.square().mean(1, keepdim=True).sqrt_()
        rate = torch.tensor([rates[0], rates[1], rates[1], rates[1]], device=mean.device)
        change = rate[:, None] * (mean / slow) / (size + TIMID * usual + 1e-20)
        self.cells.view(4, -1)[:, active] -= change
        self.cells.grad = None


def _spread(values: Tensor) -> None:
    """Blur in place by 1 2 1 along each axis; scale does not matter to Adam."""
    for axis in range(3):
        end = values.shape[axis] - 1
        both = values.narrow(axis, 0, end) + values.narrow(axis, 1, end)
        values.narrow(axis, 0, end).copy_(both)
        values.narrow(axis, 1, end).add_(both)
    values /= 8


@torch.no_grad()
def _adam(parameter: nn.Parameter, mean: Tensor, square: Tensor, rate: float) -> None:
    """One step of Adam with long-settled moments, which is what a warm-up would do."""
    if parameter.grad is None:
        return
    mean.lerp_(parameter.grad, 0.1)
    square.mul_(0.99).addcmul_(parameter.grad, parameter.grad, value=0.01)
    parameter.addcdiv_(mean, square.sqrt().add_(1e-10), value=-rate)
    parameter.grad = None
