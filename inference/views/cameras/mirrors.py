"""Mirrors in a place: found by what is seen twice, once with left and right exchanged.

To a camera a mirror is a window onto a second room: points behind it are as sharp, as many and as
well measured as others. They are told by their look: the descriptor of a reflected point is that of the
point itself with its rows turned over, and all pairs of such points are reflected in the same plane
(the idea of Loy and Eklundh 2006, Detecting Symmetry and Symmetric Constellations of Features, in
space). What tells a mirror from a thing that is symmetric: cameras see the one half only from the
other's side, and around the spot where they look through the plane there is something on the plane, a
frame or a wall.

Imported by the process that runs pycolmap, thus without anything of the extension.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Doubles = NDArray[np.float64]
Singles = NDArray[np.float32]
Bools = NDArray[np.bool_]
Ints = NDArray[np.int64]

MOST = 8_000  # points compared, those seen most often
LIKE = 0.8  # how much nearer the reflected descriptor must be than any other
EXACT = 0.015  # of the cameras' distance from the points: how far a pair may be off
FEWEST = 12  # pairs that make a mirror
ONE_SIDED = 0.8  # share of looks at what is behind that must come from before the plane
AROUND = 1.8  # a mirror's outline, larger by this, holds its frame or some wall
SECTORS, HELD, OF_FRAME = 4, 3, 3  # directions about its middle, in how many and by how many points
GROWTH = 1.25  # a reflection may be seen so much further out than the pairs tell
MOST_MIRRORS = 3


@dataclass(frozen=True, slots=True)
class Sight:
    """What was seen from where; N points, C cameras, L looks.

    Attributes:
        points: (N, 3).
        descriptors: (N, 128) SIFT: 4 rows of 4 cells of 8 directions, rows along the orientation.
        eyes: (C, 3) positions of the cameras.
        looks: (L, 2) point and camera.
    """

    points: Doubles
    descriptors: Singles
    eyes: Doubles
    looks: Ints


@dataclass(frozen=True, slots=True)
class Mirror:
    """A mirror in a place.

    Attributes:
        normal: (3,) unit vector into the room.
        outline: (K, 3) corners of the convex part of its plane in which it shows something.
    """

    normal: Doubles
    outline: Doubles

    @property
    def offset(self) -> float:
        """Points p of its plane have ``normal . p == offset``."""
        return float(self.normal @ self.outline.mean(axis=0))


@dataclass(frozen=True, slots=True)
class Found:
    """A mirror, the points that are reflections, and the looks at them."""

    mirror: Mirror
    reflected: Bools  # (N,)
    looks: Bools  # (L,)


def reflected_descriptors(descriptors: Singles) -> Singles:
    """(N, 128) SIFT descriptors as a mirror shows them, about the orientation's own axis."""
    cells = descriptors.reshape(-1, 4, 4, 8)
    return cells[:, ::-1, :, (-np.arange(8)) % 8].reshape(-1, 128)


def find_mirrors(sight: Sight) -> list[Found]:
    """All mirrors of a place, those that most pairs speak for first."""
    pairs = _seen_twice(sight)
    if len(pairs) < FEWEST:
        return []
    away = np.linalg.norm(sight.points[sight.looks[:, 0]] - sight.eyes[sight.looks[:, 1]], axis=1)
    exact = EXACT * float(np.median(away))
    found: list[Found] = []
    while len(pairs) >= FEWEST and len(found) < MOST_MIRRORS:
        plane = _best_plane(sight, pairs, exact)
        if plane is None:
            break
        normal, offset, agreeing = plane
        # Each pair as (before the mirror, behind it).
        chosen = pairs[agreeing]
        is_first_behind = sight.points[chosen[:, 0]] @ normal < offset
        behind = np.where(is_first_behind, chosen[:, 0], chosen[:, 1])
        mirror = _bounded(sight, normal, offset, behind, exact)
        if mirror is not None:
            found.append(mirror)
            agreeing |= mirror.reflected[pairs].any(axis=1)
        pairs = pairs[~agreeing]
    return found


def through(mirror: Mirror, eyes: Doubles, points: Doubles, scale: float = 1.0) -> Bools:
    """(N,) whether the way from an eye to a point (both (N, 3)) leads through a mirror from before it.

    ``scale`` makes the outline larger about its middle.
    """
    crosses, spots = _crossings(mirror.normal, mirror.offset, eyes, points)
    return crosses & within(mirror, spots, scale)


def _crossings(
    normal: Doubles, offset: float, eyes: Doubles, points: Doubles
) -> tuple[Bools, Doubles]:
    """(N,) whether the way from an eye to a point falls through a plane, and (N, 3) where."""
    high, low = eyes @ normal - offset, points @ normal - offset
    crosses = (high > 0) & (low < 0)
    share = high / np.where(crosses, high - low, 1.0)
    return crosses, eyes + (points - eyes) * share[:, None]


def within(mirror: Mirror, spots: Doubles, scale: float = 1.0) -> Bools:
    """(N,) whether points of its plane lie inside of its outline, made larger by ``scale``."""
    middle = mirror.outline.mean(axis=0)
    corners = middle + (mirror.outline - middle) * scale
    inside = np.ones(len(spots), bool)
    for corner, following in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        outwards = np.cross(following - corner, mirror.normal)
        inside &= (spots - corner) @ outwards <= 0
    return inside


def _seen_twice(sight: Sight) -> Ints:
    """(P, 2) points whose descriptors are each other's reflection."""
    count = np.bincount(sight.looks[:, 0], minlength=len(sight.points))
    chosen = np.sort(np.argsort(-count, kind="stable")[:MOST])
    if len(chosen) < 2 * FEWEST:
        return np.zeros((0, 2), np.int64)
    own = sight.descriptors[chosen]
    own = own / np.maximum(np.linalg.norm(own, axis=1, keepdims=True), 1e-6)
    turned = reflected_descriptors(own)
    best = np.zeros(len(own), np.int64)
    is_sure = np.zeros(len(own), bool)
    for start in range(0, len(own), 1024):
        likeness = turned[start : start + 1024] @ own.T
        top = np.argpartition(-likeness, 1, axis=1)[:, :2]
        values = np.take_along_axis(likeness, top, axis=1)
        order = np.argsort(-values, axis=1)
        top = np.take_along_axis(top, order, axis=1)
        far = np.sqrt(np.maximum(2 - 2 * np.take_along_axis(values, order, axis=1), 0))
        best[start : start + 1024] = top[:, 0]
        is_sure[start : start + 1024] = far[:, 0] < LIKE * far[:, 1]
    index = np.arange(len(own))
    is_pair = (best[best] == index) & (index < best) & (is_sure | is_sure[best])
    return np.stack([chosen[index[is_pair]], chosen[best[is_pair]]], axis=1)


def _best_plane(sight: Sight, pairs: Ints, exact: float) -> tuple[Doubles, float, Bools] | None:
    """The plane that reflects most pairs onto each other: normal to the cameras, offset, which pairs."""
    first, second = sight.points[pairs[:, 0]], sight.points[pairs[:, 1]]
    apart = np.linalg.norm(first - second, axis=1)
    best: tuple[Doubles, float, Bools] | None = None
    for number in np.flatnonzero(apart > 4 * exact):
        normal = (first[number] - second[number]) / apart[number]
        offset = float(normal @ (first[number] + second[number]) / 2)
        agreeing = _agreeing(first, second, normal, offset, 2 * exact)
        if best is None or agreeing.sum() > best[2].sum():
            best = normal, offset, agreeing
    if best is None or best[2].sum() < FEWEST:
        return None
    normal, offset, agreeing = best
    for _ in range(3):
        between = (first - second)[agreeing]
        normal = np.linalg.svd(between, full_matrices=False)[2][0]
        offset = float(np.median((first + second)[agreeing] @ normal / 2))
        agreeing = _agreeing(first, second, normal, offset, exact)
        if agreeing.sum() < FEWEST:
            return None
    before = sight.eyes @ normal > offset
    if before.mean() < 0.5:
        normal, offset = -normal, -offset
    return normal, offset, agreeing


def _agreeing(
    first: Doubles, second: Doubles, normal: Doubles, offset: float, exact: float
) -> Bools:
    onto = first - 2 * (first @ normal - offset)[:, None] * normal
    return np.linalg.norm(onto - second, axis=1) < exact


def _bounded(
    sight: Sight, normal: Doubles, offset: float, behind: Ints, exact: float
) -> Found | None:
    """The mirror in a plane; None where it is no mirror but a thing that is symmetric."""
    points, cameras = sight.looks.T
    eyes, seen_points = sight.eyes[cameras], sight.points[points]
    of_pairs = np.isin(points, behind)
    if (eyes[of_pairs] @ normal > offset).mean() < ONE_SIDED:
        return None
    crosses, spots = _crossings(normal, offset, eyes, seen_points)
    is_look = crosses & (seen_points @ normal - offset < -exact)
    across = _axes(normal)
    flat = spots @ across.T
    used = is_look & of_pairs
    mirror = None
    for _ in range(3):
        if used.sum() < FEWEST:
            return None
        corners = _hull(_without_strays(flat[used]))
        if len(corners) < 3:
            return None
        mirror = Mirror(normal, corners @ across + normal * offset)
        used = is_look & through(mirror, eyes, seen_points, GROWTH)
    assert mirror is not None
    if not _has_frame(sight.points, mirror, across, exact):
        return None
    seen = np.bincount(points, minlength=len(sight.points))
    seen_through = np.bincount(points[used], minlength=len(sight.points))
    reflected = seen_through > 0.5 * np.maximum(seen, 1)
    return Found(mirror, reflected, used & reflected[points])


def _axes(normal: Doubles) -> Doubles:
    """(2, 3) unit axes in a plane that turn counter-clockwise about its normal."""
    first = np.cross(normal, np.eye(3)[int(np.abs(normal).argmin())])
    first /= np.linalg.norm(first)
    return np.stack([first, np.cross(normal, first)])


def _has_frame(points: Doubles, mirror: Mirror, across: Doubles, exact: float) -> bool:
    """Whether something lies on the plane around the outline, on most of its sides."""
    on_plane = np.abs(points @ mirror.normal - mirror.offset) < exact
    rim = points[on_plane]
    rim = rim[within(mirror, rim, AROUND) & ~within(mirror, rim)]
    flat = (rim - mirror.outline.mean(axis=0)) @ across.T
    angle = np.arctan2(flat[:, 1], flat[:, 0])
    sector = np.floor((angle / (2 * np.pi) + 0.5) * SECTORS).astype(np.int64) % SECTORS
    return int((np.bincount(sector, minlength=SECTORS) >= OF_FRAME).sum()) >= HELD


def _without_strays(flat: Doubles) -> Doubles:
    """(M, 2) without the one in a hundred that lies furthest out on each side."""
    low, high = np.percentile(flat, [0.5, 99.5], axis=0)
    return flat[((flat >= low) & (flat <= high)).all(axis=1)]


def _hull(flat: Doubles) -> Doubles:
    """(K, 2) corners of the convex hull, counter-clockwise (Andrew 1979)."""
    ordered = flat[np.lexsort((flat[:, 1], flat[:, 0]))]
    corners: list[Doubles] = []
    for way in (ordered, ordered[::-1]):
        chain: list[Doubles] = []
        for spot in way:
            while len(chain) > 1 and not _turns_left(chain[-2], chain[-1], spot):
                chain.pop()
            chain.append(spot)
        corners += chain[:-1]
    return np.array(corners).reshape(-1, 2)


def _turns_left(a: Doubles, b: Doubles, c: Doubles) -> bool:
    return bool((b[0] - a[0]) * (c[1] - b[1]) > (b[1] - a[1]) * (c[0] - b[0]))
