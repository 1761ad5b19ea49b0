"""Render rays through a signed distance, as NeuS does, with samples where the surface may be.

A section of a ray between two samples is opaque by the share that a logistic function of the distance
falls from one end to the other (Wang et al. 2021, NeuS, equation 13). A first look at the grid of
distances tells where the surface may be: free space and whatever lies behind the surface get no
samples, and a ray that misses everything gets none at all.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from .radiance import Radiance

COARSE = 96  # steps along a ray at which the grid is read
SAMPLES = 8  # inner ends of sections for each ray
TAILS = 5.0  # widths of the logistic function before the first inner end and after the last
BEHIND = 16  # samples of the backdrop
FARTHEST = 200.0  # half sides of the box to which the backdrop reaches
WASTED = 0.02  # weight of places near the surface that are not thought to be opaque
LEAST = 2e-3  # largest weight of a ray's sections under which it misses everything
SOFTEST = 0.8  # cells: the first look is no sharper, because it takes the nearest sample


@dataclass(frozen=True, slots=True)
class Sections:
    """Where the rays of a batch that may hit something are sampled.

    Attributes:
        rays: (M,) which rays of the batch.
        ends: (M, S) rising distances along them.
    """

    rays: Tensor
    ends: Tensor


@dataclass(frozen=True, slots=True)
class Rendered:
    """What rays show.

    Attributes:
        colour: (N, 3) of the surface alone, times its opacity.
        cover: (N,) opacity.
        outline: (N,) opacity were the surface as sharp as it gets.
        surface: (M, 3) points about where the rays of ``Sections`` meet the surface, without
            gradient.
    """

    colour: Tensor
    cover: Tensor
    outline: Tensor
    surface: Tensor


def crossing_of_box(origin: Tensor, direction: Tensor, half: Tensor) -> tuple[Tensor, Tensor]:
    """Where (N, 3) rays enter and leave the box of these half sides; leave < enter when they miss."""
    inverse = 1 / torch.where(direction.abs() < 1e-9, torch.full_like(direction, 1e-9), direction)
    one, other = (-half - origin) * inverse, (half - origin) * inverse
    near = torch.minimum(one, other).amax(1).clamp_min(1e-3)
    return near, torch.maximum(one, other).amin(1)


@torch.no_grad()
def sections(
    radiance: Radiance,
    origin: Tensor,
    direction: Tensor,
    half: Tensor,
    width: float,
    draw: torch.Generator,
) -> Sections:
    """Choose samples by what the grid of distances says.

    Args:
        radiance: Holds the grid.
        origin: (N, 3).
        direction: (N, 3) unit.
        half: (3,) half sides of the box.
        width: Of the logistic function, in cells.
        draw: Random numbers, from the processor.
    """
    near, far = crossing_of_box(origin, direction, half)
    stretch = (far - near).clamp_min(0) / COARSE
    steps = torch.arange(COARSE, device=origin.device) + 0.5
    t = near[:, None] + stretch[:, None] * steps
    distance = radiance.nearest(origin[:, None] + direction[:, None] * t[..., None])
    soft = max(width, SOFTEST)
    alpha = opacity(distance, soft)
    left = _left(alpha)
    weight = left * alpha + WASTED * left * torch.exp(-((distance[:, :-1] / (2 * soft)) ** 2))
    # A section is worth as much as those beside it: the first look is coarse.
    weight = torch.nn.functional.max_pool1d(weight[:, None], 3, 1, 1)[:, 0]
    total = weight.sum(1)
    hit = torch.nonzero((weight.amax(1) > LEAST) & (far > near))[:, 0]
    share = weight[hit] / total[hit, None]
    rising = torch.cat([torch.zeros_like(share[:, :1]), share.cumsum(1)], 1)
    jitter = torch.rand(len(hit), 1, generator=draw).to(origin.device)
    wanted = (torch.arange(SAMPLES, device=origin.device) + jitter) / SAMPLES
    wanted = wanted.clamp(1e-5, 1 - 1e-5)
    place = torch.searchsorted(rising, wanted, right=True).clamp(1, share.shape[1])
    part = (wanted - rising.gather(1, place - 1)) / share.gather(1, place - 1).clamp_min(1e-9)
    ends = near[hit, None] + (place - 0.5 + part.clamp(0, 1)) * stretch[hit, None]
    # Light must be all there before the first section and, behind a surface, all gone after the
    # last: what is cut off would be taken for a lack of surface, and the surface would swell.
    margin = TAILS * width * radiance.spacing
    ends = torch.cat([ends[:, :1] - margin, ends, ends[:, -1:] + margin], 1)
    return Sections(hit, ends)


def opacity(distance: Tensor, width: float) -> Tensor:
    """(N, S - 1) opacity of each section from the (N, S) distances at its ends."""
    # (sigmoid(a) - sigmoid(b)) / sigmoid(a), without loss of digits deep inside.
    through = torch.nn.functional.logsigmoid(distance / width)
    return (1 - torch.exp(through[:, 1:] - through[:, :-1])).clamp(0, 1)


def _left(alpha: Tensor) -> Tensor:
    """Share of the light that reaches each section."""
    left = torch.cumprod(1 - alpha + 1e-7, 1)
    return torch.cat([torch.ones_like(left[:, :1]), left[:, :-1]], 1)


def render(
    radiance: Radiance,
    chosen: Sections,
    origin: Tensor,
    direction: Tensor,
    width: float,
    sharp: float,
) -> Rendered:
    """Colour and opacity of a batch of rays, differentiable.

    Args:
        radiance: What is rendered.
        chosen: Where.
        origin: (N, 3).
        direction: (N, 3) unit.
        width: Of the logistic function, in cells.
        sharp: The same for outlines. What is thinner than the function is wide lets light through,
            and would swell until none came.
    """
    start, way = origin[chosen.rays], direction[chosen.rays]
    points = start[:, None] + way[:, None] * chosen.ends[..., None]
    distance, tint = radiance.at(points.reshape(-1, 3))
    distance = distance.view(chosen.ends.shape)
    alpha = opacity(distance, width)
    weight = _left(alpha) * alpha
    tint = tint.reshape(points.shape)
    tint = 0.5 * (tint[:, 1:] + tint[:, :-1])
    # Each ray is there once: putting, unlike adding, gives the same sum on every device every time.
    colour = origin.new_zeros(len(origin), 3)
    colour = colour.index_put((chosen.rays,), (weight[..., None] * tint).sum(1))
    cover = origin.new_zeros(len(origin)).index_put((chosen.rays,), weight.sum(1))
    solid = 1 - (1 - opacity(distance, sharp)).prod(1)
    outline = origin.new_zeros(len(origin)).index_put((chosen.rays,), solid)
    with torch.no_grad():
        best = weight.argmax(1, keepdim=True)
        ends = 0.5 * (chosen.ends.gather(1, best) + chosen.ends.gather(1, best + 1))
        surface = start + way * ends
    return Rendered(colour, cover, outline, surface)


def render_backdrop(
    radiance: Radiance, origin: Tensor, direction: Tensor, half: Tensor, draw: torch.Generator
) -> Tensor:
    """(N, 3) colour behind the box; whatever opacity is lacking has the farthest colour."""
    assert radiance.backdrop is not None
    near, far = crossing_of_box(origin, direction, half)
    start = torch.where(far > near, far, torch.full_like(far, 0.05)).clamp_min(0.05)
    jitter = torch.rand(len(origin), 1, generator=draw).to(origin.device)
    part = (torch.arange(BEHIND, device=origin.device) + jitter) / BEHIND
    # Evenly spaced in one over distance: as fine as a picture shows it.
    t = 1 / ((1 - part) / start[:, None] + part / FARTHEST)
    points = origin[:, None] + direction[:, None] * t[..., None]
    density, colour = radiance.backdrop(points.reshape(-1, 3))
    density, colour = density.view(t.shape), colour.view(*t.shape, 3)
    alpha = 1 - torch.exp(-density[:, :-1] * (t[:, 1:] - t[:, :-1]) / t[:, :-1])
    alpha = torch.cat([alpha, torch.ones_like(alpha[:, :1])], 1)
    return ((_left(alpha) * alpha)[..., None] * colour).sum(1)
