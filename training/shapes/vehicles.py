"""Things that drive, fly and swim, and robots: smooth hulls with cabins, wheels and wings.

Game assets have such things as boxes; what a scan or a photograph shows is curved everywhere.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .clay import Body, Clay, Floats, block, ellipsoid, limb, ring, rod
from .meshes import Mesh, turn

Doubles = NDArray[np.float64]

PAINT, GLASS, RUBBER, METAL, LIGHTS, TRIM = range(6)
SLOPE = 0.8  # keeps a profile's values below true distances where its outline is steep
ACROSS = np.eye(3)[[1, 2, 0]]  # own directions of a wheel that turns about x


def hull(y: ArrayLike, low: ArrayLike, high: ArrayLike, half: ArrayLike, taper: float) -> Body:
    """A body along y between two heights given at knots, ``taper`` narrower at its top."""
    knots = np.asarray(y, float)
    lows, highs, halves = (np.asarray(v, float) for v in (low, high, half))

    def distance(x: Floats, y: Floats, z: Floats) -> Floats:
        at = np.clip(y, knots[0], knots[-1])
        bottom, top, wide = (np.interp(at, knots, v) for v in (lows, highs, halves))
        level = np.clip((z - bottom) / np.maximum(top - bottom, 1e-3), 0, 1)
        sides = np.abs(x) - wide * (1 - taper * level**1.5)
        ends = np.maximum(knots[0] - y, y - knots[-1])
        caps = np.maximum(np.maximum(z - top, bottom - z), ends)
        return (SLOPE * np.maximum(sides, caps)).astype(np.float32)

    return distance


def _wheels(rng: Generator, clay: Clay, axles: Doubles, half: float, radius: float) -> None:
    """Cut arches and put a wheel with a hub at both ends of every axle (rows of y and z)."""
    wide = rng.uniform(0.05, 0.12)
    gap = rng.uniform(1.1, 1.35)
    for y, z in axles:
        for sign in (-1, 1):
            at = np.array([sign * half, y, z])
            clay.cut(rod(at, radius * gap, wide * 1.6, ACROSS), at, radius * 2, RUBBER)
        for sign in (-1, 1):
            at = np.array([sign * (half - wide * 0.4), y, z])
            clay.add(rod(at, radius, wide, ACROSS), at, radius * 1.5, RUBBER, 0.01)
            hub = at + [sign * wide * 0.9, 0, 0]
            size = radius * rng.uniform(0.3, 0.7)
            clay.add(rod(hub, size, 0.03, ACROSS), hub, radius, METAL, 0.01)


def car(rng: Generator) -> Mesh:
    """Make a saloon, estate, van, sports car, pickup or lorry that faces -y."""
    clay = Clay()
    half = rng.uniform(0.32, 0.46)
    clear, radius = rng.uniform(0.08, 0.2), rng.uniform(0.14, 0.25)
    bonnet = clear + rng.uniform(0.22, 0.4)
    boot = bonnet + rng.uniform(-0.03, 0.1)
    roof = bonnet + rng.uniform(0.15, 0.45)
    kind = rng.random()
    nose = rng.uniform(0.1, 0.6)
    y = [-1.0, -0.93, -0.4, 0.5, 0.93, 1.0]
    top = [clear + nose * (bonnet - clear), bonnet - 0.05, bonnet, boot, boot, boot - 0.08]
    under = [clear + 0.08, clear, clear, clear, clear, clear + 0.08]
    wide = half * np.array([0.82, 0.95, 1, 1, 0.97, 0.86])
    clay.add(hull(y, under, top, wide, rng.uniform(0, 0.2)), np.zeros(3), 1.5, PAINT, 0.03)
    start = rng.uniform(-0.55, -0.1) if kind < 0.75 else rng.uniform(-0.95, -0.8)
    end = rng.uniform(0.25, 0.95) if kind < 0.6 else rng.uniform(-0.1, 0.2)
    if kind < 0.2:  # a van
        start, end = -0.85, 0.97
    front, back = start + rng.uniform(0.08, 0.4), end - rng.uniform(0.02, 0.35)
    back = max(back, front + 0.1)
    cabin = half * rng.uniform(0.85, 0.97)
    top = [bonnet, roof, roof + 0.01, roof, bonnet]
    knots = [start, front, (front + back) / 2, back, end]
    shape = hull(knots, [bonnet - 0.1] * 5, top, [cabin] * 5, rng.uniform(0.05, 0.3))
    clay.add(shape, np.zeros(3), 1.5, PAINT if rng.random() < 0.7 else GLASS, 0.02)
    if kind >= 0.6:  # a bed or a box behind the cab
        bed = rng.uniform(0.05, 0.6)
        at = np.array([0, (end + 1) / 2, boot + bed / 2])
        size = np.array([half, (1 - end) / 2, bed / 2 + 0.05])
        clay.add(block(at, size, 0.02), at, 1.5, TRIM, 0.01)
        if rng.random() < 0.6:
            deep = at + [0, 0, 0.08]
            clay.cut(block(deep, size - [0.05, 0.05, 0], 0.01), deep, 1.5, TRIM)
    level = (bonnet + roof) / 2 + 0.01
    tall = max((roof - bonnet) * 0.3, 0.04)
    count = int(rng.integers(1, 4))
    for k in range(count):  # side windows, let in
        span = (back - front) / count
        middle = np.array([0, front + (k + 0.5) * span, level])
        for sign in (-1, 1):
            at = middle + [sign * cabin, 0, 0]
            clay.cut(block(at, [0.07, span * 0.42, tall], 0.02), at, 1.0, GLASS)
    axles = np.array([[rng.uniform(-0.7, -0.5), radius], [rng.uniform(0.45, 0.7), radius]])
    if kind >= 0.85:
        axles = np.vstack([axles, axles[1] - [radius * 2.3, 0]])
    _wheels(rng, clay, axles, half, radius)
    for sign in (-1, 1):
        at = np.array([sign * half * 0.65, -0.96, clear + 0.75 * (bonnet - clear) * nose])
        clay.add(ellipsoid(at, [0.09, 0.06, 0.05]), at, 0.2, LIGHTS, 0.01)
        if rng.random() < 0.5:
            mirror = np.array([sign * (half + 0.05), start + 0.12, bonnet + 0.06])
            clay.add(ellipsoid(mirror, [0.06, 0.04, 0.045]), mirror, 0.2, PAINT, 0.02)
    return _turned(rng, clay)


def aeroplane(rng: Generator) -> Mesh:
    """Make an aeroplane, glider or rocket that flies towards -y."""
    clay = Clay()
    thick = rng.uniform(0.08, 0.22)
    nose = np.array([0, -0.95, rng.uniform(-0.05, 0.02)])
    tail = np.array([0, 1.0, rng.uniform(0, 0.1)])
    middle = np.array([0, rng.uniform(-0.4, 0.1), 0])
    clay.add(limb(nose, middle, thick * rng.uniform(0.4, 1), thick), middle, 1.4, PAINT, 0.03)
    clay.add(limb(middle, tail, thick, thick * rng.uniform(0.2, 0.6)), middle, 1.4, PAINT, 0.05)

    def wing(root: float, chord: float, span: float, sweep: float, rise: float, part: int) -> None:
        level = rng.uniform(-0.7, 0.9) * thick * 0.8

        def shape(x: Floats, y: Floats, z: Floats) -> Floats:
            out = np.abs(x) / span
            lead = root + sweep * out
            trail = root + chord * (1 - 0.5 * out) + sweep * out
            deep = np.abs(z - level - rise * np.abs(x)) - 0.03
            return np.maximum(
                np.maximum(deep, np.abs(x) - span), np.maximum(lead - y, y - trail) * SLOPE
            ).astype(np.float32)

        clay.add(shape, [0, root, 0], 1.5, part, 0.02)

    root = middle[1] - rng.uniform(0, 0.2)
    span, chord = rng.uniform(0.5, 1.15), rng.uniform(0.2, 0.6)
    wing(root, chord, span, rng.uniform(0, 0.6), rng.uniform(-0.05, 0.15), PAINT)
    wing(0.72, 0.24, span * rng.uniform(0.3, 0.5), rng.uniform(0, 0.2), 0.0, TRIM)
    fin = rng.uniform(0.2, 0.45)
    at = np.array([0, 0.85, fin / 2 + tail[2]])
    clay.add(block(at, [0.03, rng.uniform(0.08, 0.16), fin / 2], 0.02), at, 0.6, TRIM, 0.02)
    if rng.random() < 0.7:  # a canopy or a cockpit's windows
        at = np.array([0, nose[1] + rng.uniform(0.2, 0.5), thick * 0.75])
        clay.add(ellipsoid(at, [thick * 0.6, 0.22, thick * 0.5]), at, 0.4, GLASS, 0.02)
    for place in rng.uniform(0.25, 0.7, int(rng.integers(0, 3))) * span:
        for sign in (-1, 1):
            at = np.array([sign * place, root + chord * 0.3, -0.08])
            size = rng.uniform(0.05, 0.09)
            ends = at - [0, 0.15, 0], at + [0, 0.2, 0]
            clay.add(limb(*ends, size, size * 0.8), at, 0.5, METAL, 0.02)
    return _turned(rng, clay)


def boat(rng: Generator) -> Mesh:
    """Make a boat: hull with a keel, open or decked, cabins, a mast."""
    clay = Clay()
    half, deep = rng.uniform(0.22, 0.45), rng.uniform(0.2, 0.45)
    point, round_ = rng.uniform(1.5, 4), rng.uniform(0.3, 1.0)
    sheer = rng.uniform(0, 0.25)

    def shell(inset: float) -> Body:
        def shape(x: Floats, y: Floats, z: Floats) -> Floats:
            along = np.clip(np.abs(y - 0.1) / np.where(y < 0.1, 1.05, 0.9), 0, 1)
            beam = half * (1 - along ** np.where(y < 0.1, point, point * 3)) - inset
            level = np.clip((z + deep) / deep, 0.0, 1.2)
            top = z - sheer * along**2
            side = np.abs(x) - beam * level**round_
            return np.maximum(
                np.maximum(side * SLOPE, top), np.maximum(-deep + inset - z, np.abs(y) - 1 + inset)
            ).astype(np.float32)

        return shape

    clay.add(shell(0.0), np.zeros(3), 1.6, PAINT, 0.01)
    if rng.random() < 0.6:
        hollow = shell(0.07)
        clay.cut(lambda x, y, z: hollow(x, y, z - np.float32(0.02)), np.zeros(3), 1.6, TRIM)
        for y in rng.uniform(-0.5, 0.7, int(rng.integers(0, 4))):
            at = np.array([0, y, -0.12])
            clay.add(block(at, [half * 0.85, 0.07, 0.03], 0.01), at, 0.8, METAL, 0.01)
    else:
        level = 0.0
        for k in range(int(rng.integers(1, 4))):
            tall = rng.uniform(0.06, 0.2)
            at = np.array([0, rng.uniform(-0.2, 0.4), level + tall])
            size = [half * (0.75 - 0.15 * k), rng.uniform(0.15, 0.45), tall]
            clay.add(block(at, size, 0.03), at, 1.0, METAL if k else TRIM, 0.01)
            level += 2 * tall
    if rng.random() < 0.4:
        tip = np.array([0, rng.uniform(-0.2, 0.1), 1.0])
        clay.add(limb([0, tip[1], -0.1], tip, 0.035, 0.025), tip / 2, 0.8, METAL, 0.01)
        if rng.random() < 0.6:  # a sail
            boom = rng.uniform(0.4, 0.8)

            def sail(x: Floats, y: Floats, z: Floats) -> Floats:
                up = np.clip((z - 0.15) / 0.8, 0, 1)
                belly = 0.12 * np.sin(np.pi * np.clip((y - tip[1]) / boom, 0, 1))
                edge = np.maximum(y - tip[1] - boom * (1 - up), tip[1] - y)
                face = np.maximum(np.abs(x - belly) - 0.03, np.maximum(0.15 - z, z - 0.95))
                return np.maximum(edge * SLOPE, face).astype(np.float32)

            clay.add(sail, [0, 0, 0.5], 1.2, GLASS, 0.01)
    return _turned(rng, clay)


def two_wheeler(rng: Generator) -> Mesh:
    """Make a bicycle, scooter or motorcycle that faces -y."""
    clay = Clay()
    radius, tyre = rng.uniform(0.22, 0.38), rng.uniform(0.03, 0.08)
    front, back = np.array([0, -0.62, radius]), np.array([0, 0.6, radius])
    for hub in (front, back):
        clay.add(ring(hub, radius, tyre, ACROSS), hub, radius * 1.4, RUBBER, 0.01)
        if rng.random() < 0.5:
            clay.add(rod(hub, radius, 0.03, ACROSS), hub, radius * 1.2, METAL, 0.01)
        clay.add(rod(hub, 0.06, 0.08, ACROSS), hub, 0.2, METAL, 0.01)
    head = np.array([0, -0.42, radius + rng.uniform(0.35, 0.5)])
    seat = np.array([0, rng.uniform(0.15, 0.35), radius + rng.uniform(0.25, 0.5)])
    crank = np.array([0, rng.uniform(-0.1, 0.15), radius * rng.uniform(0.6, 1.1)])
    thin = rng.uniform(0.03, 0.05)
    for a, b in ((front, head), (head, seat), (head, crank), (crank, seat), (crank, back)):
        clay.add(limb(a, b, thin, thin), (a + b) / 2, 0.8, PAINT, 0.03)
    clay.add(limb(seat, back, thin, thin), (seat + back) / 2, 0.8, PAINT, 0.03)
    saddle = seat + [0, 0.03, 0.08]
    clay.add(ellipsoid(saddle, [0.09, rng.uniform(0.16, 0.35), 0.05]), saddle, 0.5, TRIM, 0.03)
    grip = head + [0, rng.uniform(0, 0.15), rng.uniform(0.08, 0.2)]
    clay.add(limb(head, grip, thin, thin), head, 0.4, METAL, 0.02)
    wide = rng.uniform(0.2, 0.34)
    for sign in (-1, 1):
        end = grip + [sign * wide, rng.uniform(0, 0.12), 0]
        clay.add(limb(grip, end, thin, thin), grip, 0.5, RUBBER, 0.02)
    if rng.random() < 0.55:  # engine, tank and lamp
        engine = crank + front * 0.1 + np.array([0, 0, 0.1])
        clay.add(block(engine, rng.uniform(0.1, 0.2, 3), 0.04), engine, 0.5, METAL, 0.03)
        tank = (head + seat) / 2 + [0, -0.05, 0.06]
        clay.add(ellipsoid(tank, [0.12, 0.26, 0.11]), tank, 0.5, PAINT, 0.04)
        lamp = head + [0, -0.1, 0.02]
        clay.add(ellipsoid(lamp, [0.09, 0.08, 0.09]), lamp, 0.3, LIGHTS, 0.02)
    return _turned(rng, clay)


def robot(rng: Generator) -> Mesh:
    """Make a robot or a knight in plates: blocks and joints, posed."""
    clay = Clay()
    round_ = rng.uniform(0.02, 0.12)
    wide, tall = rng.uniform(0.16, 0.32), rng.uniform(0.2, 0.32)
    chest = np.array([0, 0, 0.25])
    clay.add(block(chest, [wide, wide * 0.7, tall], round_), chest, 0.8, PAINT, 0.02)
    waist = np.array([0, 0, -0.08])
    clay.add(block(waist, [wide * 0.7, wide * 0.55, 0.1], round_), waist, 0.6, METAL, 0.02)
    size = rng.uniform(0.12, 0.24)
    top = np.array([0, rng.uniform(-0.08, 0.0), 0.25 + tall + size * 0.9])
    skull = block(top, size * rng.uniform(0.7, 1.1, 3), round_)
    clay.add(skull if rng.random() < 0.6 else ellipsoid(top, [size] * 3), top, 0.6, PAINT, 0.03)
    visor = top + [0, -size * 0.85, 0.02]
    clay.add(block(visor, [size * 0.7, size * 0.3, size * 0.25], 0.02), visor, 0.4, GLASS, 0.01)
    for sign in (-1, 1):
        shoulder = np.array([sign * (wide + 0.08), 0, 0.25 + tall * 0.7])
        elbow = shoulder + [sign * rng.uniform(0.02, 0.2), rng.uniform(-0.2, 0.1), -0.25]
        hand = elbow + [rng.uniform(-0.1, 0.1), rng.uniform(-0.28, 0.05), rng.uniform(-0.3, 0.25)]
        hip = np.array([sign * wide * 0.55, 0, -0.15])
        knee = hip + [sign * rng.uniform(0, 0.1), rng.uniform(-0.2, 0.05), -0.32]
        foot = knee + [sign * 0.03, rng.uniform(-0.02, 0.2), -0.36]
        thick = rng.uniform(0.06, 0.11)
        for a, b, r in (
            (shoulder, elbow, 0.8),
            (elbow, hand, 1.0),
            (hip, knee, 1.0),
            (knee, foot, 1.2),
        ):
            clay.add(limb(a, b, thick * r * 0.8, thick * r), (a + b) / 2, 0.5, TRIM, 0.02)
        for joint in (shoulder, elbow, knee):
            clay.add(ellipsoid(joint, [thick * 1.2] * 3), joint, 0.3, METAL, 0.01)
        sole = foot + [0, -0.08, -0.03]
        clay.add(block(sole, [thick * 1.3, 0.18, 0.06], 0.03), sole, 0.4, PAINT, 0.02)
    return _turned(rng, clay)


def _turned(rng: Generator, clay: Clay) -> Mesh:
    mesh = clay.mesh()
    return mesh.with_vertices(mesh.vertices @ turn(rng.uniform(0, 6.3)).T)


def vehicle(rng: Generator) -> Mesh:
    """Pick one of them."""
    kind = rng.random()
    if kind < 0.4:
        return car(rng)
    if kind < 0.58:
        return aeroplane(rng)
    if kind < 0.7:
        return boat(rng)
    return two_wheeler(rng) if kind < 0.83 else robot(rng)
