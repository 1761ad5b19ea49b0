"""What a picture of an object does not tell directly: paint without light, gloss, and the far side."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from .tracing import Hits, Tracer

Floats = NDArray[np.float32]
Bools = NDArray[np.bool_]


@dataclass(frozen=True, slots=True)
class Paint:
    """Materials of both sides of an object, per ray; zero where there is nothing.

    Attributes:
        front: (N, 3) linear albedo of the first surface.
        back: (N, 3) linear albedo of the last surface.
        roughness: (N,) of the first surface.
        metal: (N,) of the first surface.
    """

    front: Floats
    back: Floats
    roughness: Floats
    metal: Floats


def paint_of(
    tracer: Tracer, origins: Floats, rays: Floats, mask: Bools, first: Hits, last: Hits, far: float
) -> Paint:
    """Look up what both sides are made of.

    Args:
        tracer: The object alone.
        origins: (N, 3) where rays begin.
        rays: (N, 3) their directions.
        mask: (N,) which of them show the object.
        first: What the N rays meet first.
        last: The same of rays that come back from ``far`` ray lengths behind the origin, only for
            rays that meet anything.
        far: See ``last``.
    """
    count = len(rays)
    paint = Paint(
        np.zeros((count, 3), np.float32),
        np.zeros((count, 3), np.float32),
        np.zeros(count, np.float32),
        np.zeros(count, np.float32),
    )
    seen = np.flatnonzero(mask)
    albedo, _, roughness, metal, _ = tracer.surface(
        _some(first, seen), origins[seen] + rays[seen] * first.distance[seen, None]
    )
    paint.front[seen], paint.roughness[seen], paint.metal[seen] = albedo, roughness, metal
    paint.back[seen] = albedo  # grazing rays may miss on the way back
    place = np.cumsum(np.isfinite(first.distance)) - 1  # of a ray among those that ``last`` holds
    found = seen[np.isfinite(last.distance[place[seen]])]
    returned = _some(last, place[found])
    points = origins[found] + rays[found] * (far - returned.distance[:, None])
    paint.back[found] = tracer.surface(returned, points)[0]
    return paint


def _some(hits: Hits, chosen: NDArray[np.intp]) -> Hits:
    return Hits(hits.distance[chosen], hits.face[chosen], hits.bary[chosen], hits.normal[chosen])


def as_lit(back: Floats, front: Floats, radiance: Floats, mask: Bools) -> Floats:
    """Light the far side as the near side is lit on average.

    Args:
        back: (N, 3) linear albedo.
        front: (N, 3) linear albedo of the near side.
        radiance: (N, 3) linear, what the camera receives of the near side.
        mask: (N,) which rays show the object.

    Returns:
        (N, 3) linear radiance.
    """
    gain = radiance[mask].sum(0) / np.maximum(front[mask].sum(0), 1e-3)
    return (back * gain).astype(np.float32)


def halved(values: Floats, mask: Bools) -> Floats:
    """Average (S, S, C) over the object's pixels in every 2x2: (S/2, S/2, C)."""
    half = (mask.shape[1] // 2, mask.shape[0] // 2)
    weight = mask.astype(np.float32)
    summed = cv2.resize(values * weight[..., None], half, interpolation=cv2.INTER_AREA)
    share = cv2.resize(weight, half, interpolation=cv2.INTER_AREA)
    return summed.reshape(*share.shape, -1) / np.maximum(share, 1e-6)[..., None]


def packed(albedo: Floats, hidden: Floats, paint: Paint, mask: Bools) -> dict[str, NDArray]:
    """Make the arrays of a sample at half its resolution; colours as displayed, 0..1.

    Args:
        albedo: (S, S, 3) sRGB.
        hidden: (S, S, 3) the far side as this picture would show it.
        paint: Of the S * S rays.
        mask: (S, S).
    """
    gloss = np.stack([paint.roughness, paint.metal], -1).reshape(*mask.shape, 2)
    values = np.dstack([albedo, hidden, gloss]).astype(np.float32)
    small = np.round(np.clip(halved(values, mask), 0, 1) * 255).astype(np.uint8)
    return {
        "albedo": small[..., :3],
        "hidden": small[..., 3:6],
        "roughness": small[..., 6],
        "metal": small[..., 7],
    }


def nothing(size: int) -> dict[str, NDArray]:
    """Make the same arrays for a picture without an object."""
    side = size // 2
    colour, plane = np.zeros((side, side, 3), np.uint8), np.zeros((side, side), np.uint8)
    return {"albedo": colour, "hidden": colour, "roughness": plane, "metal": plane}
