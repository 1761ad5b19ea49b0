"""Living things as scans show them: animals that stand, sit and lie, heads on shoulders, people.

Meshes of game assets have few of them and those are boxy; a head that leans forward or a body that
leans back is what a picture's slope tells (experiment 7).
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .clay import Clay, block, ellipsoid, limb, rod, side
from .meshes import Mesh, turn

Doubles = NDArray[np.float64]

SKIN, BELLY, PAWS, EYES, EARS, HAIR, BASE, CLOTH = range(8)


def _tilt(angle: float) -> Doubles:
    """Rows: own directions of something turned by an angle about the x axis."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[1, 0, 0], [0, c, s], [0, -s, c]], float)


def _stick(clay: Clay, points: list[Doubles], radii: list[float], part: int, blend: float) -> None:
    """Add limbs through points."""
    for k in range(len(points) - 1):
        a, b = points[k], points[k + 1]
        reach = float(np.linalg.norm(b - a)) / 2 + max(radii[k], radii[k + 1])
        clay.add(limb(a, b, radii[k], radii[k + 1]), (a + b) / 2, reach, part, blend)


def _lump(
    clay: Clay,
    middle: Doubles,
    radii: Doubles,
    part: int,
    blend: float,
    axes: Doubles | None = None,
) -> None:
    clay.add(ellipsoid(middle, radii, axes), middle, float(np.max(radii)), part, blend)


def _pair(point: Doubles) -> tuple[Doubles, Doubles]:
    """The point and its mirror image across x = 0."""
    return point, point * [-1, 1, 1]


def _muzzled_head(rng: Generator, clay: Clay, at: Doubles, size: float, nod: float) -> None:
    """A skull with muzzle, ears and eyes that looks towards -y, turned down by ``nod``."""
    axes = _tilt(nod)

    def local(x: float, y: float, z: float) -> Doubles:
        return at + size * (np.array([x, y, z]) @ axes)

    blend = 0.35 * size
    _lump(clay, at, size * rng.uniform(0.85, 1.1, 3), SKIN, blend, axes)
    length, width = rng.uniform(0.5, 1.9), rng.uniform(0.25, 0.6)
    low = rng.uniform(-0.5, 0.05)
    tip = local(0, -length, low - 0.1)
    _stick(clay, [local(0, -0.4, low), tip], [width * size, width * size * 0.75], SKIN, blend)
    if rng.random() < 0.6:
        _lump(clay, tip + [0, -0.6 * width * size, 0], np.full(3, 0.3 * width * size), PAWS, 0.02)
    ear = rng.random()
    spread, up = rng.uniform(0.35, 0.95), rng.uniform(0.5, 0.9)
    for sign in (-1.0, 1.0):
        root = local(sign * spread, rng.uniform(0, 0.3), up)
        if ear < 0.35:  # round
            radii = size * np.array([rng.uniform(0.25, 0.5), 0.14, rng.uniform(0.25, 0.5)])
            _lump(clay, root, radii, EARS, 0.06 * size, axes)
        elif ear < 0.85:  # pointed, long or hanging
            reach = rng.uniform(0.4, 1.5)
            rise = reach * (rng.uniform(0.5, 1) if rng.random() < 0.7 else -0.8)
            end = local(sign * (spread + 0.3 * reach), 0.2, up + rise)
            _stick(clay, [root, end], [0.24 * size, 0.07 * size], EARS, 0.1 * size)
        else:  # horns
            end = local(sign * (spread + rng.uniform(0, 0.5)), rng.uniform(-0.5, 0.6), up + 0.8)
            _stick(clay, [root, end], [0.16 * size, 0.03 * size], PAWS, 0.03)
        eye = local(sign * rng.uniform(0.35, 0.55), -0.8, rng.uniform(0.1, 0.35))
        _lump(clay, eye, np.full(3, rng.uniform(0.1, 0.22) * size), EYES, 0.01)


def animal(rng: Generator) -> Mesh:
    """Make a four-limbed animal that stands, sits, sits up or lies, facing -y."""
    clay = Clay((-0.9, -1.6, -0.25), (0.9, 1.5, 2.1))
    pose = str(rng.choice(["stands", "sits", "upright", "lies"], p=[0.3, 0.28, 0.27, 0.15]))
    thick = rng.uniform(0.16, 0.36)
    leg = {"stands": rng.uniform(0.25, 0.7), "lies": 0.0}.get(pose, 0.0)
    hip, chest = {
        "stands": (np.array([0, 0.42, leg + thick * 0.4]), np.array([0, -0.38, leg + thick * 0.6])),
        "sits": (np.array([0, 0.3, 0.22]), np.array([0, -0.15, rng.uniform(0.55, 0.85)])),
        "upright": (np.array([0, 0.12, 0.22]), np.array([0, rng.uniform(-0.1, 0.2), 0.75])),
        "lies": (np.array([0, 0.45, 0.2]), np.array([0, -0.35, rng.uniform(0.22, 0.34)])),
    }[pose]
    blend = rng.uniform(0.08, 0.25)
    rear, fore = thick * rng.uniform(0.8, 1.3), thick * rng.uniform(0.7, 1.1)
    _stick(clay, [hip, (hip + chest) / 2, chest], [rear, thick, fore], SKIN, blend)
    if rng.random() < 0.5:
        middle = (hip + chest) / 2 + (
            [0, -0.1, 0] if pose in ("sits", "upright") else [0, 0, -0.08]
        )
        _lump(clay, middle, np.array([0.85, 1.0, 1.0]) * thick, BELLY, 0.03)
    paw = rng.uniform(0.07, 0.15)
    for sign in (-1.0, 1.0):
        out = sign * thick * rng.uniform(0.6, 1.0)
        shoulder, haunch = chest + [out, 0, -0.05], hip + [out, 0, 0]
        if pose == "stands":
            step = rng.uniform(-0.2, 0.2, 2)
            fore_leg = [shoulder, np.array([out, chest[1] + step[0], 0.0])]
            hind_leg = [haunch, haunch * [1, 1, 0.5] + [0, 0.1, 0]]
            hind_leg.append(np.array([out, hip[1] + step[1], 0.0]))
        elif pose == "sits":
            fore_leg = [shoulder, np.array([out, chest[1] - rng.uniform(0.0, 0.25), 0.03])]
            knee = np.array([out * 1.5, hip[1] - 0.3, 0.3])
            hind_leg = [haunch, knee, np.array([out * 1.6, hip[1] - 0.45, 0.05])]
        elif pose == "upright":
            hand = chest + [
                out * rng.uniform(0.3, 2.2),
                -rng.uniform(0.1, 0.6),
                rng.uniform(-0.5, 0.2),
            ]
            fore_leg = [shoulder, (shoulder + hand) / 2 + [sign * 0.1, 0, -0.08], hand]
            foot = np.array([out * rng.uniform(1, 2.2), hip[1] - rng.uniform(0.4, 0.8), 0.08])
            hind_leg = [haunch, (haunch + foot) / 2 + [sign * 0.1, 0, 0.12], foot]
        else:
            fore_leg = [shoulder, np.array([out, chest[1] - rng.uniform(0.2, 0.5), 0.06])]
            knee = np.array([out * 1.4, hip[1] - 0.25, 0.15])
            hind_leg = [haunch, knee, np.array([out * 1.6, hip[1] - 0.4, 0.05])]
        for points in (fore_leg, hind_leg):
            radii = list(np.linspace(rng.uniform(1.0, 1.5) * paw, paw * 0.8, len(points)))
            _stick(clay, points, radii, SKIN, blend * 0.6)
            _lump(
                clay,
                points[-1] + [0, -0.3 * paw, 0.02],
                paw * np.array([0.95, 1.4, 0.8]),
                PAWS,
                0.04,
            )
    size = rng.uniform(0.15, 0.36)
    ahead = {"stands": 0.5, "lies": 0.3}.get(pose, 0.1)
    neck = np.array([0, -rng.uniform(0, ahead), rng.uniform(0.1, 0.5)])
    head = chest + neck / np.linalg.norm(neck) * (fore * 0.7 + size * rng.uniform(0.6, 1.6))
    _stick(clay, [chest, head], [fore * 0.7, size * 0.6], SKIN, blend)
    _muzzled_head(rng, clay, head, size, float(rng.normal() * 0.3))
    if rng.random() < 0.6:
        way = np.array([rng.normal() * 0.3, 1.0, rng.uniform(-0.5, 0.9)]) * rng.uniform(0.2, 0.6)
        points = [hip, hip + way, hip + way * 1.5 + [0, 0, rng.uniform(-0.2, 0.3)]]
        fat = rng.uniform(0.04, 0.14)
        _stick(clay, points, [fat, fat, fat * 0.4], SKIN, 0.06)
    if rng.random() < 0.25:
        _plinth(rng, clay)
    return clay.mesh()


def _plinth(rng: Generator, clay: Clay) -> None:
    """Put what stands at z = 0 on a base, as figurines are."""
    high = rng.uniform(0.03, 0.12)
    middle = np.array([0.0, 0.0, -high * 0.6])
    wide = rng.uniform(0.45, 0.8)
    if rng.random() < 0.5:
        body = rod(middle, wide, high)
    else:
        body = block(middle, [wide, wide, high], 0.02)
    clay.add(body, middle, wide * 1.5, BASE, 0.02)


def head(rng: Generator) -> Mesh:
    """Make a human head, often with hair, neck and shoulders, or a skull-like face, facing -y."""
    clay = Clay()
    nod = float(rng.normal() * 0.25)
    axes = _tilt(nod)
    at = np.array([0.0, 0.0, 0.35])

    def local(x: float, y: float, z: float) -> Doubles:
        return at + np.array([x, y, z]) @ axes

    wide, deep = rng.uniform(0.36, 0.46), rng.uniform(0.42, 0.54)
    _lump(clay, local(0, 0.06, 0.12), np.array([wide, deep, 0.46]), SKIN, 0.1, axes)
    jaw = rng.uniform(0.2, 0.32)
    _lump(clay, local(0, -0.16, -0.22), np.array([jaw + 0.05, 0.28, 0.32]), SKIN, 0.15, axes)
    _lump(clay, local(0, -0.38, -0.42), np.full(3, rng.uniform(0.07, 0.12)), SKIN, 0.12)  # chin
    brow = rng.uniform(0.03, 0.08)
    _stick(clay, [local(-0.2, -0.36, 0.1), local(0.2, -0.36, 0.1)], [brow, brow], SKIN, 0.1)
    nose = rng.uniform(0.05, 0.09)
    tip = local(0, -0.44 - rng.uniform(0.06, 0.18), rng.uniform(-0.16, -0.08))
    _stick(clay, [local(0, -0.4, 0.08), tip], [0.05, nose], SKIN, 0.06)
    lips = rng.uniform(0.03, 0.05)
    for z in (-0.24, -0.3):
        line = [local(-0.12, -0.37, z), local(0, -0.42, z), local(0.12, -0.37, z)]
        _stick(clay, line, [lips * 0.6, lips, lips * 0.6], PAWS, 0.03)
    is_hollow = rng.random() < 0.2
    for x in (-0.16, 0.16):
        eye = local(x, -0.36, 0.0)
        socket = ellipsoid(local(x, -0.46, 0.0), np.array([0.1, 0.12, 0.075]), axes)
        clay.cut(socket, eye, 0.25, SKIN)
        if not is_hollow:
            _lump(clay, eye, np.full(3, 0.085), EYES, 0.01)
        else:
            clay.cut(ellipsoid(eye, [0.1, 0.16, 0.1]), eye, 0.2, EYES)
        cheek = local(np.sign(x) * 0.24, -0.26, -0.12)
        _lump(clay, cheek, np.full(3, rng.uniform(0.06, 0.13)), SKIN, 0.12)
        _lump(clay, local(np.sign(x) * wide, 0.05, -0.03), np.array([0.05, 0.1, 0.15]), EARS, 0.02)
    style = rng.random()
    if style < 0.75:  # hair: a shell over the skull that leaves the face free
        grow = rng.uniform(0.03, 0.12)
        for _ in range(int(rng.integers(1, 14))):
            direction = rng.normal(size=3) * [1, 1, 0.7]
            direction /= np.linalg.norm(direction)
            if direction[1] < -0.35 and direction[2] < 0.45:
                continue
            place = local(0, 0.06, 0.14) + direction * [wide, deep, 0.46] * 0.95
            _lump(clay, place, grow * rng.uniform(0.8, 2.6, 3), HAIR, 0.07)
        cap = np.array([wide + grow, deep + grow * 0.6, 0.46 + grow])
        _lump(clay, local(0, 0.14, 0.18), cap, HAIR, 0.02, axes)
        if rng.random() < 0.3:  # long
            _lump(clay, local(0, 0.25, -0.3), np.array([wide + 0.08, 0.3, 0.5]), HAIR, 0.1, axes)
    if rng.random() < 0.25:  # beard
        for _ in range(6):
            place = local(rng.uniform(-0.2, 0.2), -0.34, rng.uniform(-0.6, -0.38))
            _lump(clay, place, rng.uniform(0.06, 0.16, 3), HAIR, 0.06)
    if rng.random() < 0.8:
        root = np.array([0, 0.12, -0.5])
        neck = rng.uniform(0.17, 0.25)
        _stick(clay, [local(0, 0.08, -0.2), root], [neck, neck * 1.1], SKIN, 0.1)
        if rng.random() < 0.75:
            drop = rng.uniform(0.06, 0.25)
            broad = rng.uniform(0.4, 0.75)
            for sign in (-1.0, 1.0):
                end = root + [sign * broad, 0, -drop]
                _stick(clay, [root, end], [0.2, 0.17], CLOTH, 0.12)
            chest = root + [0, -0.05, -0.3]
            _lump(clay, chest, np.array([broad * 0.9, 0.27, 0.3]), CLOTH, 0.12)
            floor = root[2] - rng.uniform(0.2, 0.5)
            clay.cut(side([0, 0, floor], [0, 0, 1]), np.zeros(3), 9.0, CLOTH)
            if rng.random() < 0.5:
                foot = np.array([0, 0.05, floor - 0.07])
                clay.add(rod(foot, rng.uniform(0.15, 0.3), 0.1), foot, 0.4, BASE, 0.02)
    return clay.mesh()


def person(rng: Generator) -> Mesh:
    """Make a person or doll that stands, walks or sits on a block, facing -y."""
    clay = Clay()
    sits = rng.random() < 0.4
    is_doll = rng.random() < 0.4
    hip = np.array([0, 0.0, 0.0])
    lean = rng.normal() * 0.12 - (0.1 if sits else 0)
    torso = rng.uniform(0.42, 0.58)
    neck = hip + [rng.normal() * 0.04, lean, torso]
    broad, fat = rng.uniform(0.15, 0.24), rng.uniform(0.1, 0.2)
    blend = rng.uniform(0.04, 0.12)
    _lump(clay, hip + [0, 0, 0.05], np.array([broad * 0.9, fat, 0.16]), CLOTH, blend)
    _lump(clay, (hip + neck) / 2 + [0, 0, 0.08], np.array([broad, fat, torso * 0.45]), CLOTH, blend)
    size = rng.uniform(0.2, 0.3) if is_doll else rng.uniform(0.12, 0.15)
    top = neck + [rng.normal() * 0.03, rng.normal() * 0.05 - 0.03, size * 1.1]
    _stick(clay, [neck, top], [0.07, 0.07], SKIN, 0.04)
    _lump(clay, top, size * np.array([0.85, 0.95, 1.1]), SKIN, 0.03)
    _lump(clay, top + [0, 0.25 * size, 0.25 * size], size * np.array([0.95, 0.95, 1.0]), HAIR, 0.02)
    _lump(clay, top + [0, -size, -0.1 * size], np.full(3, 0.16 * size), SKIN, 0.02)
    thigh, arm = rng.uniform(0.06, 0.11), rng.uniform(0.045, 0.075)
    for sign in (-1.0, 1.0):
        out = sign * broad * 0.6
        if sits:
            knee = hip + [
                out * rng.uniform(1, 1.8),
                -rng.uniform(0.32, 0.44),
                rng.uniform(-0.05, 0.1),
            ]
            foot = knee + [rng.normal() * 0.05, rng.uniform(-0.2, 0.1), -0.42]
        else:
            stride = rng.normal() * 0.15
            knee = hip + [out * 1.1, stride - 0.03, -0.42]
            foot = hip + [out * rng.uniform(0.9, 1.5), stride * 1.6, -0.85]
        _stick(
            clay, [hip + [out, 0, 0], knee, foot], [thigh, thigh * 0.8, thigh * 0.6], CLOTH, 0.04
        )
        _lump(clay, foot + [0, -0.07, -0.02], np.array([0.07, 0.14, 0.06]), PAWS, 0.02)
        shoulder = neck + [sign * broad, 0, -0.06]
        swing = rng.normal(size=3) * [0.12, 0.25, 0.2]
        elbow = shoulder + [sign * 0.08, 0.05, -0.25] + 0.5 * swing
        hand = elbow + [sign * 0.02, -0.15, -0.15] + swing
        _stick(clay, [shoulder, elbow, hand], [arm * 1.2, arm, arm * 0.75], CLOTH, 0.04)
        _lump(clay, hand, np.array([0.05, 0.06, 0.07]), SKIN, 0.02)
    if sits:
        seat = hip + [0, 0.08, -0.32]
        body = block(seat, [rng.uniform(0.25, 0.5), rng.uniform(0.2, 0.35), 0.22], 0.02)
        clay.add(body, seat, 0.7, BASE, 0.01)
    elif rng.random() < 0.3:  # a skirt or coat
        _stick(clay, [hip, hip + [0, 0, -0.4]], [broad, broad * rng.uniform(1.1, 1.9)], CLOTH, 0.03)
    return clay.mesh()


def creature(rng: Generator) -> Mesh:
    """Pick one of them, sometimes turned to a corner of its base."""
    kind = rng.random()
    mesh = animal(rng) if kind < 0.55 else head(rng) if kind < 0.82 else person(rng)
    if rng.random() < 0.15:
        return mesh.with_vertices(mesh.vertices @ turn(rng.uniform(0, 6.3)).T)
    return mesh
