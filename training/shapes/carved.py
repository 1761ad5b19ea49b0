"""Things with cuts, holes and hollows: machine parts, opened fruit, shoes, rocks with caves."""

from __future__ import annotations

import numpy as np
from numpy.random import Generator

from .clay import Body, Clay, block, ellipsoid, limb, ring, rod, side
from .meshes import Mesh, random_rotation, turn, unit_sphere


def _body(rng: Generator, size: float) -> Body:
    """A random simple body about the origin."""
    axes = random_rotation(rng) if rng.random() < 0.4 else np.eye(3)[rng.permutation(3)]
    half = rng.uniform(0.35, 1, 3) * size
    kind = rng.random()
    if kind < 0.35:
        return block(np.zeros(3), half, rng.uniform(0.01, 0.2) * size, axes)
    if kind < 0.6:
        return rod(np.zeros(3), half[0], half[1], axes)
    if kind < 0.85:
        return ellipsoid(np.zeros(3), half, axes)
    return ring(np.zeros(3), half[0], rng.uniform(0.2, 0.6) * half[0], axes)


def _moved(body: Body, to: np.ndarray) -> Body:
    a, b, c = (np.float32(v) for v in to)
    return lambda x, y, z: body(x - a, y - b, z - c)


def machined(rng: Generator) -> Mesh:
    """Make a body or two with holes through it, notches, or hollowed out and opened."""
    clay = Clay()
    clay.add(_body(rng, 0.8), np.zeros(3), 1.6, 0, 0.01)
    for part in range(int(rng.integers(0, 3))):
        place = rng.uniform(-0.5, 0.5, 3)
        clay.add(_moved(_body(rng, 0.5), place), place, 1.2, part + 1, rng.choice([0.01, 0.1]))
    if rng.random() < 0.4:
        clay.shell(rng.uniform(0.1, 0.2))
        way = np.eye(3)[int(rng.integers(3))] * rng.choice([-1, 1]) + rng.normal(size=3) * 0.15
        at = way / np.linalg.norm(way) * rng.uniform(0.0, 0.4)
        clay.cut(side(at, -way), np.zeros(3), 9, 4)
    for _ in range(int(rng.integers(1, 7))):
        place = rng.uniform(-0.55, 0.55, 3)
        axis = np.eye(3)[rng.permutation(3)]
        if rng.random() < 0.55:  # a drilled hole
            tool: Body = rod(place, rng.uniform(0.06, 0.35), 3.0, axis)
        elif rng.random() < 0.6:  # a milled slot
            tool = block(place, rng.uniform(0.08, 0.6, 3), 0.02, axis)
        else:
            tool = ellipsoid(place, rng.uniform(0.2, 0.6, 3))
        clay.cut(tool, place, 9, 5)
    return clay.mesh()


def fruit(rng: Generator) -> Mesh:
    """Make a fruit or vegetable, whole or cut, with lobes, dimples, stem and core."""
    clay = Clay()
    lobes = int(rng.integers(2, 9)) if rng.random() < 0.5 else 0
    depth = rng.uniform(0.03, 0.14)
    tall, belly, twist = rng.uniform(0.5, 1.0), rng.uniform(-0.4, 0.4), rng.uniform(-1, 1)
    dimple = rng.uniform(0.05, 0.35) if rng.random() < 0.6 else 0.0

    def flesh(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        r = np.sqrt(x * x + y * y) + 1e-6
        swell = 1 + belly * z
        if lobes:
            swell = swell * (1 + depth * np.cos(lobes * np.arctan2(y, x) + twist * z))
        radius = 0.75 * swell
        d = np.sqrt((r / radius) ** 2 + (z / tall) ** 2) - 1
        hollow = dimple * np.exp(-((r / 0.3) ** 2)) * np.abs(z) / tall
        return ((d + hollow) * 0.6).astype(np.float32)

    clay.add(flesh, np.zeros(3), 1.2, 0, 0.01)
    if rng.random() < 0.6:
        lean = np.append(rng.normal(size=2) * 0.15, tall * (1 - dimple) + rng.uniform(0.05, 0.3))
        root = np.array([0, 0, tall * (1 - dimple) - 0.1])
        thin = rng.uniform(0.03, 0.09)
        clay.add(limb(root, lean, thin, thin * 0.8), root, 0.6, 1, 0.04)
    if rng.random() < 0.45:  # cut open: along the stem, across it, or a slice
        way = random_rotation(rng)[0] if rng.random() < 0.3 else np.eye(3)[int(rng.integers(3))]
        at = rng.uniform(-0.2, 0.35)
        clay.cut(side(way * at, -way), np.zeros(3), 9, 2)
        if rng.random() < 0.5:
            core = way * at
            size = rng.uniform(0.12, 0.35)
            if rng.random() < 0.6:
                clay.cut(ellipsoid(core, [size, size, size * 1.3]), core, 0.6, 3)
            if rng.random() < 0.6:
                clay.add(ellipsoid(core, np.full(3, size * 0.9)), core, 0.5, 4, 0.01)
        if rng.random() < 0.3:
            clay.cut(side(way * (at - rng.uniform(0.2, 0.5)), way), np.zeros(3), 9, 2)
    mesh = clay.mesh()
    if rng.random() < 0.5:
        return mesh.with_vertices(mesh.vertices @ random_rotation(rng).T)
    return mesh


def shoe(rng: Generator) -> Mesh:
    """Make a shoe, slipper or boot; perhaps lying on its side."""
    clay = Clay()
    sole = rng.uniform(0.04, 0.16)
    heel, ball = rng.uniform(0.18, 0.24), rng.uniform(0.2, 0.28)
    rise = rng.uniform(0, 0.35) if rng.random() < 0.3 else 0.0  # a heel
    back, front = np.array([0, 0.6, rise]), np.array([0.05, -0.45, 0.0])
    toe = np.array([0.0, -0.8, 0.0])

    def sides(x: np.ndarray, y: np.ndarray) -> np.ndarray:
        a = limb([0, back[1], 0], [front[0], front[1], 0], heel, ball)(x, y, np.float32(0) * x)
        b = limb([front[0], front[1], 0], toe, ball, ball * 0.7)(x, y, np.float32(0) * x)
        return np.minimum(a, b)

    def plate(x: np.ndarray, y: np.ndarray, z: np.ndarray) -> np.ndarray:
        level = rise * np.clip((y - front[1]) / (back[1] - front[1]), 0, 1) ** 1.3
        return np.maximum(sides(x, y), np.abs(z - level + sole / 2) - sole / 2).astype(np.float32)

    clay.add(plate, [0, 0, rise / 2], 1.3, 0, 0.01)
    if rise > 0.05:
        thin = rng.uniform(0.05, heel)
        clay.add(
            limb(back - [0, 0, 0.05], [0, back[1], 0], heel * 0.9, thin), back / 2, 0.6, 0, 0.02
        )
    is_boot = rng.random() < 0.4
    opening = np.array([0, back[1] - 0.12, (rng.uniform(0.7, 1.15) if is_boot else 0.4) + rise])
    ankle = np.array([0, back[1] - 0.1, 0.3 + rise])
    instep = np.array([0.02, -0.05, rng.uniform(0.2, 0.36) + rise * 0.5])
    tip = front + [0, -0.1, rng.uniform(0.08, 0.15)]
    shaft = rng.uniform(0.19, 0.27)
    for a, b, r, s in (
        (back + [0, -0.05, 0.1], ankle, heel, shaft),
        (ankle, opening, shaft, shaft * rng.uniform(0.95, 1.2)),
        (ankle, instep, shaft * 0.95, 0.2),
        (instep, tip, 0.2, ball * 0.8),
        (back + [0, -0.1, 0.08], tip, heel, ball * 0.85),
        (tip, toe + [0, 0.05, 0.08], ball * 0.85, ball * 0.6),
    ):
        clay.add(limb(a, b, r, s), (a + b) / 2, 1.0, 1, 0.08)
    below = block([0, 0, -1 - sole], [3, 3, 1], 0.0)
    clay.cut(below, [0, 0, -1], 9, 0)
    clay.cut(side([0, 0, opening[2]], [0, rng.normal() * 0.2, -1]), opening, 9, 2)
    wall = rng.uniform(0.04, 0.07)
    clay.cut(limb(ankle, opening + [0, 0, 0.2], shaft - wall, shaft - wall), opening, 1.2, 2)
    if rng.random() < 0.5:
        clay.cut(limb(ankle, instep + [0, 0, 0.05], shaft - wall, 0.12), ankle, 0.8, 2)
    if rng.random() < 0.6:  # laces or a strap
        for k in np.linspace(0.15, 0.85, int(rng.integers(1, 6))):
            middle = ankle * (1 - k) + instep * k + [0, -0.05, 0.14]
            a, b = middle - [0.14, 0, 0.04], middle + [0.14, 0, -0.04]
            clay.add(limb(a, b, 0.025, 0.025), middle, 0.3, 3, 0.01)
    mesh = clay.mesh()
    v = mesh.vertices * rng.uniform([0.8, 0.85, 0.8], [1.15, 1.15, 1.2])
    if rng.random() < 0.15:
        v = v @ np.eye(3)[[2, 1, 0]].T * [1, 1, -1]
    return mesh.with_vertices(unit_sphere((v @ turn(rng.uniform(0, 6.3)).T).astype("f4")))


def carved(rng: Generator) -> Mesh:
    """Pick one of them."""
    kind = rng.random()
    if kind < 0.36:
        while True:  # a cut may leave nothing
            try:
                return machined(rng)
            except ValueError:
                continue
    return fruit(rng) if kind < 0.74 else shoe(rng)
