"""Plants in and out of pots, trees, cacti, mushrooms, stones: what grows and what lies about."""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import NDArray

from .furniture import stick
from .meshes import (
    Mesh,
    closed_rings,
    fewer_parts,
    joined,
    outline,
    outward,
    random_rotation,
    relief,
    turn,
    unit_sphere,
)

Doubles = NDArray[np.float64]
Solid = trimesh.Trimesh

BLADE = 9  # sections along a leaf


def _leaf(
    rng: Generator, root: Doubles, way: Doubles, length: float, wide: float, sag: float
) -> Solid:
    """A closed, slightly folded blade that leaves ``root`` along ``way`` and bends down by ``sag``."""
    way = way / np.linalg.norm(way)
    across = np.cross(way, [0, 0, 1.0])
    across /= max(float(np.linalg.norm(across)), 1e-6)
    t = np.linspace(0, 1, BLADE)
    line = root + length * (t[:, None] * way - sag * np.array([0, 0, 1.0]) * t[:, None] ** 2)
    peak = rng.uniform(0.3, 0.6)
    half = (
        wide * np.where(t < peak, t / peak, (1 - t) / (1 - peak)) ** rng.uniform(0.4, 0.9) + 0.006
    )
    fold, thin = rng.uniform(-0.3, 0.4), 0.006
    up = np.cross(across, way)
    rings = []
    for p, h in zip(line, half, strict=True):
        edge = up * fold * h
        rings.append(
            np.array([p - across * h + edge, p - up * thin, p + across * h + edge, p + up * thin])
        )
    return outward(closed_rings(rings, line[0], line[-1]))


def _pot(rng: Generator) -> tuple[list[Solid], float]:
    """A pot with earth and the height of the earth; or nothing."""
    if rng.random() < 0.3:
        return [], 0.0
    tall, top = rng.uniform(0.2, 0.55), rng.uniform(0.18, 0.4)
    foot, wall = top * rng.uniform(0.55, 1.0), 0.03
    rim = top + rng.uniform(0.01, 0.05)
    line = [[0, 0], [foot, 0], [top, tall * 0.85], [rim, tall * 0.86], [rim, tall]]
    line += [[rim - wall, tall], [foot * 0.9, tall * 0.7], [0, tall * 0.7]]
    pot = trimesh.creation.revolve(np.array(line), sections=40)
    earth = trimesh.creation.cylinder(radius=top * 0.88, height=0.25 * tall, sections=40)
    earth.apply_translation([0, 0, tall * rng.uniform(0.65, 0.75)])
    return [pot, earth], tall * 0.8


def _stem(rng: Generator, root: Doubles, tip: Doubles, thin: float) -> list[Solid]:
    """A curved stem of a few sticks."""
    bend = np.append(rng.normal(size=2) * 0.08, 0)
    middle = (root + tip) / 2 + bend
    return [
        stick(root, middle, thin, thin * 0.8, False),
        stick(middle, tip, thin * 0.8, 0.008, False),
    ]


def potted(rng: Generator) -> list[Solid]:
    """Make a house plant: rosette, tuft of grass, bush, flowers or fern."""
    pieces, level = _pot(rng)
    root = np.array([0.0, 0.0, level])
    kind = rng.random()
    count = int(rng.integers(6, 34))
    length, wide = rng.uniform(0.3, 0.9), rng.uniform(0.04, 0.16)
    if kind < 0.45:  # leaves from one point
        for angle in rng.permutation(count) * 2.4 + rng.uniform(0, 1):
            rise = rng.uniform(0.2, 2.5)
            way = np.array([np.cos(angle), np.sin(angle), rise])
            size = length * rng.uniform(0.6, 1.1)
            pieces.append(_leaf(rng, root, way, size, wide, rng.uniform(0, 0.7)))
        return pieces
    for _ in range(int(rng.integers(1, 8))):  # stems with leaves, and perhaps a flower
        tip = root + np.append(rng.normal(size=2) * 0.22, rng.uniform(0.4, 1.0))
        pieces += _stem(rng, root, tip, rng.uniform(0.012, 0.035))
        for t in np.linspace(0.25, 1, int(rng.integers(2, 7))):
            angle = rng.uniform(0, 2 * np.pi)
            way = np.array([np.cos(angle), np.sin(angle), rng.uniform(-0.1, 0.9)])
            at = root * (1 - t) + tip * t
            size = rng.uniform(0.12, 0.35)
            pieces.append(_leaf(rng, at, way, size, wide * 0.8, rng.uniform(0, 0.6)))
        if kind > 0.75:
            axis = np.append(rng.normal(size=2) * 0.4, 1)
            petals, size = int(rng.integers(4, 12)), rng.uniform(0.08, 0.22)
            heart = trimesh.creation.icosphere(subdivisions=2, radius=size * 0.35)
            pieces.append(heart.apply_translation(tip))
            for angle in np.arange(petals) * 2 * np.pi / petals:
                way = np.array([np.cos(angle), np.sin(angle), rng.uniform(0.0, 0.6)]) + axis * 0.2
                pieces.append(_leaf(rng, tip, way, size, size * 0.4, 0.1))
    return pieces


def _lump(rng: Generator, middle: Doubles, radii: Doubles, rough: float) -> Solid:
    """A ball with waves on it."""
    ball = trimesh.creation.icosphere(subdivisions=3)
    v = np.array(ball.vertices)
    waves = np.sin(v @ (rng.normal(size=(3, 5)) * rng.uniform(2, 7)) + rng.uniform(0, 6, 5)).sum(1)
    v = v * (1 + rough * waves[:, None] / 3)
    return trimesh.Trimesh(v * radii + middle, ball.faces, process=False)


def tree(rng: Generator) -> list[Solid]:
    """Make a tree: trunk, boughs, and a crown of lumps or of stacked cones."""
    trunk, thin = rng.uniform(0.3, 0.9), rng.uniform(0.03, 0.1)
    top = np.append(rng.normal(size=2) * 0.08, trunk)
    pieces = [stick([0, 0, 0], top, thin * rng.uniform(1, 1.8), thin, False)]
    if rng.random() < 0.3:
        count, wide = int(rng.integers(2, 6)), rng.uniform(0.3, 0.5)
        for k in range(count):
            share = 1 - k / count
            cone = trimesh.creation.cone(
                wide * (0.4 + 0.6 * share), rng.uniform(0.35, 0.5), sections=24
            )
            pieces.append(cone.apply_translation([*top[:2], trunk * 0.5 + k * 0.25]))
        return pieces
    for _ in range(int(rng.integers(2, 10))):
        at = top + rng.normal(size=3) * [0.28, 0.28, 0.2] + [0, 0, 0.15]
        pieces.append(stick(top * rng.uniform(0.6, 1), at, thin * 0.6, thin * 0.2, False))
        radii = rng.uniform(0.14, 0.36) * rng.uniform(0.7, 1.2, 3)
        pieces.append(_lump(rng, at, radii, rng.uniform(0.05, 0.2)))
    return pieces


def cactus(rng: Generator) -> list[Solid]:
    """Make a ribbed cactus with arms, or a heap of ribbed balls, in a pot or not."""
    pieces, level = _pot(rng)
    ribs, deep = int(rng.integers(6, 16)), rng.uniform(0.03, 0.12)
    angle = np.linspace(0, 2 * np.pi, 64, endpoint=False)
    around = 1 + deep * np.cos(ribs * angle)
    flat = np.column_stack([np.cos(angle), np.sin(angle)]) * around[:, None]

    def column(at: Doubles, tall: float, wide: float) -> Solid:
        t = np.linspace(0, 1, 14)
        radius = wide * np.sqrt(np.clip(1 - ((t - 0.35) / 0.66) ** 4, 0.02, 1))
        rings = [
            np.column_stack([flat * r, np.full(64, tall * s)]) + at
            for r, s in zip(radius, t, strict=True)
        ]
        return closed_rings(rings, at, at + [0, 0, tall])

    foot = np.array([0, 0, level - 0.03])
    tall, wide = rng.uniform(0.3, 1.1), rng.uniform(0.1, 0.3)
    pieces.append(column(foot, tall, wide))
    for _ in range(int(rng.integers(0, 4))):
        a = rng.uniform(0, 2 * np.pi)
        out = np.array([np.cos(a), np.sin(a), 0]) * (wide + rng.uniform(0.08, 0.2))
        start = foot + [0, 0, tall * rng.uniform(0.2, 0.6)]
        elbow = start + out
        pieces.append(stick(start, elbow, wide * 0.45, wide * 0.45, False))
        pieces.append(column(elbow - [0, 0, 0.05], tall * rng.uniform(0.2, 0.5), wide * 0.5))
    return pieces


def mushroom(rng: Generator) -> list[Solid]:
    """Make one to four mushrooms."""
    pieces: list[Solid] = []
    for _ in range(int(rng.integers(1, 5))):
        tall, wide = rng.uniform(0.2, 0.8), rng.uniform(0.15, 0.45)
        thick, cap = wide * rng.uniform(0.15, 0.5), rng.uniform(0.1, 0.4)
        at = np.append(rng.normal(size=2) * 0.3, 0)
        pieces.append(stick(at, at + [0, 0, tall], thick * rng.uniform(0.8, 1.5), thick, False))
        t = np.linspace(0, np.pi / 2, 12)
        power = rng.uniform(0.5, 1.5)
        line = np.column_stack([wide * np.cos(t), cap * np.sin(t) ** power])
        line = np.vstack([[0, rng.uniform(0.0, 0.1)], line, [0, cap]])
        dome = trimesh.creation.revolve(line, sections=32)
        pieces.append(dome.apply_translation(at + [0, 0, tall - 0.02]))
    return pieces


def stones(rng: Generator) -> list[Solid]:
    """Make a rock, broken or worn, or a heap of them."""
    pieces: list[Solid] = []
    count = 1 if rng.random() < 0.6 else int(rng.integers(2, 7))
    for k in range(count):
        ball = trimesh.creation.icosphere(subdivisions=5 if count == 1 else 4)
        v = np.array(ball.vertices)
        ways = np.stack([random_rotation(rng)[0] for _ in range(int(rng.integers(4, 22)))])
        cut = rng.uniform(0.45, 0.95, len(ways))
        reach = np.min(cut / np.maximum(v @ ways.T, 1e-3), axis=1)
        soft = rng.uniform(3, 40)  # how worn the edges are
        v = v * np.power(np.minimum(reach, 1.2) ** -soft + 1.1**-soft, -1 / soft)[:, None]
        v = v * rng.uniform(0.45, 1, 3)
        v = relief(rng, v, ball.faces)
        size = 1.0 if k == 0 else rng.uniform(0.25, 0.8)
        v = v @ random_rotation(rng).T * size
        v[:, 2] -= v[:, 2].min()
        place = np.append(rng.normal(size=2) * 0.7, 0) if k else np.zeros(3)
        pieces.append(trimesh.Trimesh(v + place, ball.faces, process=False))
    return pieces


def shells(rng: Generator) -> list[Solid]:
    """Make a snail's shell or a horn: a tube that winds and widens."""
    turns, grow = rng.uniform(0.6, 4.5), rng.uniform(1.3, 3.0)
    steps = 90
    t = np.linspace(0, 1, steps)
    angle = t * turns * 2 * np.pi
    size = np.exp((t - 1) * np.log(grow) * turns)
    climb = rng.uniform(0, 1.6)
    path = np.column_stack([np.cos(angle) * size, np.sin(angle) * size, climb * (1 - size)])
    radius = size * rng.uniform(0.25, 0.6)
    around = np.linspace(0, 2 * np.pi, 28, endpoint=False)
    wave = outline(rng, around)
    out = np.column_stack([np.cos(angle), np.sin(angle), np.zeros(steps)])
    rings = [
        p
        + (np.cos(around)[:, None] * o + np.sin(around)[:, None] * [0, 0, 1]) * (wave * r)[:, None]
        for p, o, r in zip(path, out, radius, strict=True)
    ]
    tip = path[-1] - 0.3 * radius[-1] * np.array([-np.sin(angle[-1]), np.cos(angle[-1]), 0])
    return [outward(closed_rings(rings, path[0], tip))]


def grown(rng: Generator) -> Mesh:
    """Pick one of them."""
    kind = rng.random()
    if kind < 0.36:
        pieces = potted(rng)
    elif kind < 0.52:
        pieces = tree(rng)
    elif kind < 0.62:
        pieces = cactus(rng)
    elif kind < 0.7:
        pieces = mushroom(rng)
    elif kind < 0.92:
        pieces = stones(rng)
    else:
        pieces = shells(rng)
    mesh = fewer_parts(rng, joined(pieces), 5, 0.25)
    return mesh.with_vertices(unit_sphere(mesh.vertices @ turn(rng.uniform(0, 6.3)).T))
