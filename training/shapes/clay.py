"""Sculpt with signed distances: add and cut rounded bodies on a grid, then take the surface.

Distances of the bodies follow the usual closed forms (Quilez, "Distance functions"); joins are the
polynomial smooth minimum, so that limbs grow out of bodies as they do in scans and not in box models.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import ArrayLike, NDArray

from inference.surface.nets import drop_small_parts, smooth, surface_nets

from .meshes import Mesh, unit_sphere

Floats = NDArray[np.float32]
Body = Callable[[Floats, Floats, Floats], Floats]
"""Signed distance at open grids of x, y and z, negative inside."""

STEP = 0.024  # between samples
EDGE = 0.3  # distance from which nothing is known
SMOOTHING = 2
LEAST = 200  # faces
CRUMB = 0.2  # share of the largest piece's faces below which a piece is dropped


class Clay:
    """A lump that bodies are added to and cut from, in the order of the calls."""

    def __init__(self, low: ArrayLike = (-1.2,) * 3, high: ArrayLike = (1.2,) * 3) -> None:
        """Begin with nothing, in a box that must hold everything."""
        ends = zip(np.asarray(low, float), np.asarray(high, float), strict=True)
        self._lines = [np.arange(a, b, STEP, dtype=np.float32) for a, b in ends]
        shape = tuple(len(line) for line in self._lines)
        self._distance = np.full(shape, EDGE, np.float32)
        self._part = np.zeros(shape, np.int8)

    def _block(self, low: ArrayLike, high: ArrayLike) -> tuple[slice, slice, slice]:
        spans = []
        for line, a, b in zip(self._lines, np.asarray(low), np.asarray(high), strict=True):
            first, last = np.searchsorted(line, (a, b))
            spans.append(slice(max(int(first) - 1, 0), int(last) + 1))
        return spans[0], spans[1], spans[2]

    def _sampled(self, body: Body, block: tuple[slice, slice, slice]) -> Floats:
        x, y, z = (line[s] for line, s in zip(self._lines, block, strict=True))
        return body(x[:, None, None], y[None, :, None], z[None, None, :])

    def add(self, body: Body, middle: ArrayLike, reach: float, part: int, blend: float) -> None:
        """Join a body that lies within ``reach`` of ``middle``; ``blend`` rounds the seam."""
        m = np.asarray(middle, np.float64)
        block = self._block(m - reach - blend, m + reach + blend)
        new, old = self._sampled(body, block), self._distance[block]
        self._part[block] = np.where(new < old, part, self._part[block])
        overlap = np.maximum(blend - np.abs(new - old), 0) / max(blend, 1e-6)
        self._distance[block] = np.minimum(new, old) - overlap**2 * blend / 4

    def cut(self, body: Body, middle: ArrayLike, reach: float, part: int) -> None:
        """Take a body away; what it leaves bare belongs to ``part``."""
        m = np.asarray(middle, np.float64)
        block = self._block(m - reach, m + reach)
        hollow, old = -self._sampled(body, block), self._distance[block]
        self._part[block] = np.where(hollow > old, part, self._part[block])
        self._distance[block] = np.maximum(hollow, old)

    def shell(self, thickness: float) -> None:
        """Keep only a wall along the surface."""
        self._distance = np.abs(self._distance + thickness / 2) - thickness / 2

    def mesh(self) -> Mesh:
        """Take the surface, inside the unit sphere; raises ValueError when nothing is left."""
        distance = np.pad(self._distance[1:-1, 1:-1, 1:-1], 1, constant_values=EDGE)
        positions, quads = surface_nets(distance)
        if len(quads) < LEAST:
            raise ValueError("Nothing is left of the body.")
        positions, quads = drop_small_parts(positions, quads, CRUMB)
        positions = smooth(positions, quads, SMOOTHING)
        at = np.rint(positions[quads].mean(axis=1)).astype(np.int64)
        parts = np.unique(self._part[tuple(at.T)], return_inverse=True)[1]
        faces = np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])
        return Mesh(unit_sphere(positions), faces.astype(np.int32), np.concatenate([parts, parts]))


def limb(a: ArrayLike, b: ArrayLike, first: float, last: float) -> Body:
    """A round stick from ``a`` to ``b`` whose radius goes from ``first`` to ``last``."""
    start, way = np.asarray(a, np.float32), np.asarray(b, np.float32) - np.asarray(a, np.float32)
    length = max(float(way @ way), 1e-9)

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        u, v, w = x - start[0], y - start[1], z - start[2]
        h = np.clip((u * way[0] + v * way[1] + w * way[2]) / length, 0, 1)
        beside = (u - h * way[0]) ** 2 + (v - h * way[1]) ** 2 + (w - h * way[2]) ** 2
        return np.sqrt(beside) - (first + (last - first) * h)

    return distance


def _in_frame(middle: ArrayLike, axes: ArrayLike | None, shape: Body) -> Body:
    """Put a body given about the origin at ``middle``; the rows of ``axes`` are its own directions."""
    m = np.asarray(middle, np.float32)
    rows = np.eye(3, dtype=np.float32) if axes is None else np.asarray(axes, np.float32)

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        u, v, w = x - m[0], y - m[1], z - m[2]
        a, b, c = (u * r[0] + v * r[1] + w * r[2] for r in rows)
        return shape(a, b, c)

    return distance


def ellipsoid(middle: ArrayLike, radii: ArrayLike, axes: ArrayLike | None = None) -> Body:
    """An ellipsoid; the rows of ``axes`` are its own directions."""
    r = np.asarray(radii, np.float32)

    def shape(a: Floats, b: Floats, c: Floats) -> Floats:
        once = np.sqrt((a / r[0]) ** 2 + (b / r[1]) ** 2 + (c / r[2]) ** 2)
        twice = np.sqrt((a / r[0] ** 2) ** 2 + (b / r[1] ** 2) ** 2 + (c / r[2] ** 2) ** 2)
        return once * (once - 1) / np.maximum(twice, 1e-6)

    return _in_frame(middle, axes, shape)


def block(
    middle: ArrayLike, half: ArrayLike, rounding: float, axes: ArrayLike | None = None
) -> Body:
    """A box with rounded edges; ``half`` are half its sides."""
    h = np.asarray(half, np.float32)
    rounding = min(rounding, 0.95 * float(h.min()))

    def shape(*local: Floats) -> Floats:
        a, b, c = (np.abs(q) - (s - rounding) for q, s in zip(local, h, strict=True))
        outside = np.sqrt(np.maximum(a, 0) ** 2 + np.maximum(b, 0) ** 2 + np.maximum(c, 0) ** 2)
        return outside + np.minimum(np.maximum(np.maximum(a, b), c), 0) - rounding

    return _in_frame(middle, axes, shape)


def rod(middle: ArrayLike, radius: float, half: float, axes: ArrayLike | None = None) -> Body:
    """A cylinder along the third of its own directions, ``half`` its length to either side."""
    return _in_frame(
        middle,
        axes,
        lambda a, b, c: np.maximum(np.sqrt(a**2 + b**2) - radius, np.abs(c) - half),
    )


def ring(middle: ArrayLike, radius: float, tube: float, axes: ArrayLike | None = None) -> Body:
    """A torus around the third of its own directions."""
    return _in_frame(
        middle, axes, lambda a, b, c: np.sqrt((np.sqrt(a**2 + b**2) - radius) ** 2 + c**2) - tube
    )


def side(point: ArrayLike, outward: ArrayLike) -> Body:
    """Everything on the far side of a plane from ``outward``'s tip."""
    n = np.asarray(outward, np.float32)
    n = n / np.linalg.norm(n)
    offset = float(np.asarray(point, np.float32) @ n)
    return lambda x, y, z: x * n[0] + y * n[1] + z * n[2] - offset
