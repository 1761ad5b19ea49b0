"""Machines on desks and things with soft sides: electronics, instruments, bags, hats, cushions."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .furniture import cushion, plank, slab, stick
from .meshes import (
    Mesh,
    closed_rings,
    fewer_parts,
    joined,
    outward,
    superellipsoid,
    turn,
    unit_sphere,
)

Doubles = NDArray[np.float64]
Solid = trimesh.Trimesh


def _leaning(pieces: list[Solid], angle: float, about: ArrayLike) -> list[Solid]:
    """Turn pieces about an axis along x through a point."""
    matrix = trimesh.transformations.rotation_matrix(angle, (1, 0, 0), np.asarray(about, float))
    return [p.apply_transform(matrix) for p in pieces]


def _disc(middle: ArrayLike, radius: float, half: float, axis: int) -> Solid:
    """A short cylinder along a coordinate axis, ``half`` its length to either side."""
    rod = trimesh.creation.cylinder(radius=radius, height=2 * half, sections=36)
    order = {0: [2, 0, 1], 1: [1, 2, 0], 2: [0, 1, 2]}[axis]
    vertices = np.array(rod.vertices)[:, order]
    return trimesh.Trimesh(vertices + np.asarray(middle, float), rod.faces, process=False)


def _closed_loop(rings: list[Doubles]) -> Solid:
    """Join (n, 3) rings one after another and the last to the first."""
    count, total = len(rings[0]), len(rings) * len(rings[0])
    i = np.arange(total)
    beside = i - i % count + (i + 1) % count
    after, both = (i + count) % total, (beside + count) % total
    faces = np.concatenate([np.column_stack([i, beside, both]), np.column_stack([i, both, after])])
    return outward(trimesh.Trimesh(np.concatenate(rings), faces, process=False))


def _buttons(rng: Generator, middle: ArrayLike, half: ArrayLike, axis: int) -> list[Solid]:
    """A grid of keys on a face whose normal is ``axis``; ``half`` spans the other two."""
    rows, columns = int(rng.integers(1, 6)), int(rng.integers(2, 12))
    a, b = (k for k in range(3) if k != axis)
    span = np.asarray(half, float)
    pieces = []
    for i in np.linspace(-1, 1, columns):
        for j in np.linspace(-1, 1, rows):
            at = np.asarray(middle, float).copy()
            at[a] += i * span[0] * 0.88
            at[b] += j * span[1] * 0.85
            size = np.full(3, rng.uniform(0.015, 0.03))
            size[a], size[b] = 1.5 * span[0] / columns, 1.5 * span[1] / rows
            pieces.append(plank(at, size))
    return pieces


def computer(rng: Generator) -> list[Solid]:
    """Make a laptop, a screen on a foot, a tablet or telephone that leans, a keyboard."""
    wide, deep, thick = rng.uniform(0.5, 0.9), rng.uniform(0.35, 0.6), rng.uniform(0.02, 0.08)
    kind = rng.random()
    if kind < 0.4:
        pieces = [plank([0, 0, thick / 2], [2 * wide, 2 * deep, thick])]
        pieces += _buttons(rng, [0, deep * 0.25, thick], [wide * 0.9, deep * 0.5], 2)
        lid = [plank([0, deep, thick + deep], [2 * wide, thick * 0.7, 2 * deep])]
        lid.append(plank([0, deep - thick * 0.4, thick + deep], [1.85 * wide, 0.01, 1.8 * deep]))
        return pieces + _leaning(lid, rng.uniform(-0.7, 0.3), [0, deep, thick])
    if kind < 0.7:
        tall, level = rng.uniform(0.4, 0.7), rng.uniform(0.2, 0.5)
        screen = [plank([0, 0, level + tall], [2 * wide, thick, 2 * tall])]
        screen.append(plank([0, -thick / 2, level + tall], [1.9 * wide, 0.015, 1.85 * tall]))
        if rng.random() < 0.4:  # of the old kind
            bulge = [wide * 0.8, rng.uniform(0.3, 0.6), tall * 0.8]
            screen.append(cushion([0, bulge[1] * 0.7, level + tall], bulge, rng.uniform(3, 8)))
        pieces = _leaning(screen, rng.uniform(-0.25, 0.1), [0, 0, level])
        pieces.append(stick([0, 0.1, 0], [0, 0.06, level + tall * 0.6], 0.07, 0.05, True))
        foot = np.array([wide * rng.uniform(0.4, 0.8), rng.uniform(0.2, 0.35)])
        pieces.append(slab(rng, foot, 0.0, 0.04, 0.1))
        return pieces
    if kind < 0.85:
        pieces = [cushion([0, 0, wide], [wide * 0.55, thick, wide], rng.uniform(6, 16))]
        pieces.append(plank([0, -thick * 0.95, wide], [wide * 0.98, 0.01, wide * 1.8]))
        return _leaning(pieces, rng.uniform(-1.57, 0.0), [0, 0, 0])
    pieces = [plank([0, 0, 0], [2 * wide, deep, 0.05])]
    pieces += _buttons(rng, [0, 0, 0.04], [wide * 0.95, deep * 0.45], 2)
    return _leaning(pieces, rng.uniform(0, 0.15), [0, 0, 0])


def appliance(rng: Generator) -> list[Solid]:
    """Make a camera, radio, loudspeaker, oven, clock: a body with dials, lenses, grips."""
    half = rng.uniform([0.3, 0.15, 0.25], [0.8, 0.6, 0.8])
    pieces = [cushion([0, 0, half[2]], half, float(np.exp(rng.uniform(1.1, 3.2))))]
    front = -half[1]
    for _ in range(int(rng.integers(1, 5))):  # lenses, dials, cones
        radius = rng.uniform(0.08, 0.75) * min(half[0], half[2])
        x = rng.uniform(-1, 1) * (half[0] - radius) * 0.9
        z = half[2] + rng.uniform(-1, 1) * (half[2] - radius) * 0.9
        long = rng.uniform(0.02, 0.3) if rng.random() < 0.6 else 0.02
        for k in range(int(rng.integers(1, 4))):
            share = 1 - 0.22 * k
            pieces.append(_disc([x, front - long * k / 2, z], radius * share, long + 0.02, 1))
    if rng.random() < 0.5:
        z = half[2] * rng.uniform(0.4, 1.5)
        pieces += _buttons(
            rng, [rng.uniform(-0.3, 0.3) * half[0], front, z], half[[0, 2]] * 0.35, 1
        )
    if rng.random() < 0.4:  # knobs on top
        for _ in range(int(rng.integers(1, 4))):
            x = rng.uniform(-0.8, 0.8) * half[0]
            pieces.append(_disc([x, 0, 2 * half[2]], rng.uniform(0.04, 0.12), 0.05, 2))
    if rng.random() < 0.25:  # a grip over the top
        level, rise = 2 * half[2], rng.uniform(0.1, 0.25)
        ends = [np.array([s * half[0] * 0.8, 0, level - 0.05]) for s in (-1, 1)]
        tips = [e + [0, 0, rise] for e in ends]
        for a, b in ((ends[0], tips[0]), (tips[0], tips[1]), (tips[1], ends[1])):
            pieces.append(stick(a, b, 0.03, 0.03, False))
    if rng.random() < 0.2:  # an aerial
        at = np.array([half[0] * 0.8, 0, 2 * half[2] - 0.05])
        pieces.append(
            stick(at, at + [rng.uniform(-0.3, 0.6), 0, rng.uniform(0.4, 0.9)], 0.02, 0.01, False)
        )
    return pieces


def held(rng: Generator) -> list[Solid]:
    """Make something with a grip: drill, dryer, torch, lens on a handle, microphone, controller."""
    thick = rng.uniform(0.12, 0.26)
    kind = rng.random()
    if kind < 0.5:  # a barrel and a grip below it
        long = rng.uniform(0.5, 0.9)
        pieces = [
            stick([0, long * 0.5, 0], [0, -long * 0.3, 0], thick, thick * 0.9, rng.random() < 0.3)
        ]
        nose = rng.uniform(0.2, 1.1) * thick
        pieces.append(
            stick([0, -long * 0.25, 0], [0, -long, 0], nose, nose * rng.uniform(0.4, 1.2), False)
        )
        tilt = rng.uniform(-0.1, 0.3)
        foot = np.array([0, long * 0.3 + tilt, -rng.uniform(0.5, 0.9)])
        pieces.append(
            stick([0, long * 0.25, 0], foot, thick * 0.7, thick * 0.75, rng.random() < 0.4)
        )
        if rng.random() < 0.5:
            pieces.append(cushion(foot, [thick, thick * 1.5, thick * 0.6], rng.uniform(3, 9)))
        return pieces
    if kind < 0.75:  # along one line
        knots = rng.uniform(0.3, 1.2, 6) * thick
        z = np.linspace(-1, 1, 40)
        radius = np.interp(z, np.linspace(-1, 1, 6), knots)
        radius = np.convolve(np.pad(radius, 2, mode="edge"), np.ones(5) / 5, mode="valid")
        line = np.column_stack([np.r_[0, radius, 0], np.r_[-1, z, 1]])
        pieces = [trimesh.creation.revolve(line, sections=32)]
        if rng.random() < 0.5:
            head = rng.uniform(0.15, 0.5)
            pieces.append(
                trimesh.creation.torus(head, 0.05, 36, 12)
                .apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
                .apply_translation([0, 0, 1 + head])
            )
        return _leaning(pieces, rng.choice([0.0, np.pi / 2, rng.uniform(0, 1.5)]), [0, 0, 0])
    wide = rng.uniform(0.4, 0.7)  # a controller
    pieces = [cushion([0, 0, 0], [wide, 0.35, 0.14], rng.uniform(2.2, 5))]
    for sign in (-1, 1):
        tip = [sign * wide * rng.uniform(0.8, 1.2), -rng.uniform(0.4, 0.7), -0.08]
        pieces.append(stick([sign * wide * 0.7, 0.05, 0], tip, 0.17, 0.11, False))
        pieces.append(_disc([sign * wide * 0.4, -0.1, 0.14], 0.09, 0.06, 2))
        pieces.append(_disc([sign * wide * 0.7, 0.12, 0.12], 0.07, 0.05, 2))
    return _leaning(pieces, rng.uniform(-0.2, 0.9), [0, 0, 0])


def worn(rng: Generator) -> list[Solid]:
    """Make headphones, a watch, spectacles, a ring, a helmet or a hat."""
    kind = rng.random()
    if kind < 0.3:  # a band between two cups
        angle = np.linspace(0, np.pi, 17)
        arc = np.column_stack(
            [np.cos(angle) * 0.6, np.zeros(17), np.sin(angle) * rng.uniform(0.6, 0.9)]
        )
        thin = rng.uniform(0.03, 0.07)
        pieces = [stick(a, b, thin, thin, False) for a, b in pairwise(arc)]
        for sign in (-1, 1):
            size = rng.uniform(0.18, 0.3)
            pieces.append(_disc([sign * 0.58, 0, -0.05], size, 0.08, 0))
            pieces.append(cushion([sign * 0.5, 0, -0.05], [0.08, size * 1.05, size * 1.1], 2.5))
        return pieces
    if kind < 0.5:  # a watch or a belt, closed or lying flat
        size, wide = rng.uniform(0.25, 0.4), rng.uniform(0.12, 0.25)
        pieces = [_disc([0, 0, 0], size, 0.07, 2), _disc([0, 0, 0.06], size * 0.8, 0.03, 2)]
        if rng.random() < 0.5:
            for sign in (-1, 1):
                pieces.append(plank([0, sign * (size + 0.4), -0.02], [2 * wide, 0.9, 0.05]))
            return pieces
        round_ = rng.uniform(0.4, 0.55)
        angle = np.linspace(0, 2 * np.pi, 41)[:-1]
        t = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * [wide, 0.03]
        rings = [
            np.column_stack(
                [t[:, 0], np.sin(a) * (round_ + t[:, 1]), np.cos(a) * (round_ + t[:, 1]) - round_]
            )
            for a in angle
        ]
        pieces.append(_closed_loop(rings))
        return pieces
    if kind < 0.6:  # spectacles
        size, thin = rng.uniform(0.22, 0.34), rng.uniform(0.02, 0.04)
        pieces = []
        for sign in (-1, 1):
            lens = trimesh.creation.torus(size, thin, 32, 10)
            lens.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
            pieces.append(lens.apply_translation([sign * (size + 0.06), 0, 0]))
            hinge = np.array([sign * (2 * size + 0.08), 0, size * 0.3])
            pieces.append(stick(hinge, hinge + [0, 1.1, 0], thin, thin, True))
            pieces.append(stick(hinge + [0, 1.1, 0], hinge + [0, 1.3, -0.2], thin, thin, True))
        pieces.append(stick([-0.07, 0, 0.1], [0.07, 0, 0.1], thin, thin, False))
        return pieces
    tall, wide = rng.uniform(0.3, 0.8), rng.uniform(0.45, 0.6)  # a hat or a helmet
    t = np.linspace(0, 1, 14)
    power = rng.uniform(2, 7)
    crown = np.column_stack([wide * (1 - t**power) ** (1 / power), tall * t])
    brim = rng.uniform(0, 0.6)
    edge = [[wide - 0.03, 0], [wide + brim, rng.uniform(-0.1, 0.12)], [wide + brim, 0.02]]
    inside = crown[::-1] * [0.94, 0.94]
    line = np.vstack([[0, tall * 0.94], inside[1:], edge, crown, [0, tall]])
    hat = outward(trimesh.creation.revolve(line, sections=48))
    hat.apply_scale([1, rng.uniform(1, 1.3), 1])
    pieces = [hat]
    if brim < 0.1 and rng.random() < 0.6:  # a peak
        pieces.append(cushion([0, -wide * 1.25, 0.02], [wide * 0.7, 0.4, 0.03], 3))
    return pieces


def _sagging(rng: Generator, solid: Solid, amount: float) -> Solid:
    """Give folds to a soft thing: it sinks at the top and bulges at the bottom."""
    v = np.array(solid.vertices)
    low, tall = v[:, 2].min(), np.ptp(v[:, 2])
    level = (v[:, 2] - low) / tall
    waves = rng.normal(size=(3, 6)) * rng.uniform(2, 9)
    fold = np.sin(v @ waves + rng.uniform(0, 6, 6)).sum(1) * amount / 3
    v[:, :2] *= (1 + amount * 2 * (0.5 - level) + fold)[:, None]
    v[:, 2] -= amount * level**2 * np.abs(np.sin(v[:, 0] * 3 + rng.uniform(0, 6))) * tall
    return trimesh.Trimesh(v, solid.faces, process=False)


def soft(rng: Generator) -> list[Solid]:
    """Make a bag, rucksack, sack, cushion or a pile of folded cloth."""
    kind = rng.random()
    power = rng.uniform(2.5, 7)
    if kind < 0.55:
        half = rng.uniform([0.35, 0.12, 0.3], [0.75, 0.4, 0.7])
        body = cushion([0, 0, half[2]], half, power)
        if rng.random() < 0.5:  # narrow at the top
            v = np.array(body.vertices)
            v[:, 1] *= 1 - rng.uniform(0.2, 0.9) * (v[:, 2:3] / (2 * half[2]))[:, 0]
            body = trimesh.Trimesh(v, body.faces, process=False)
        pieces = [_sagging(rng, body, rng.uniform(0.0, 0.1))]
        for y in [-1, 1] if rng.random() < 0.5 else [0]:  # handles
            if rng.random() < 0.75:
                rise, span = rng.uniform(0.15, 0.6), half[0] * rng.uniform(0.3, 0.7)
                angle = np.linspace(0, np.pi, 13)
                arc = np.column_stack(
                    [np.cos(angle) * span, np.full(13, y * half[1] * 0.4), np.sin(angle) * rise]
                )
                arc += [0, 0, 1.85 * half[2]]
                thin = rng.uniform(0.02, 0.04)
                pieces += [stick(a, b, thin, thin, False) for a, b in pairwise(arc)]
        if rng.random() < 0.5:  # pocket or flap
            size = half * [0.75, 0.25, rng.uniform(0.25, 0.6)]
            z = half[2] * rng.uniform(0.5, 1.4)
            pieces.append(cushion([0, -half[1] * 0.9, z], size, power))
        return pieces
    if kind < 0.7:  # a sack that is tied
        t = np.linspace(0, 1, 30)
        radius = np.interp(t, [0, 0.15, 0.5, 0.78, 0.85, 1], [0.3, 0.62, 0.6, 0.2, 0.16, 0.34])
        angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        rings = []
        for s, r in zip(t * rng.uniform(0.8, 1.4), radius, strict=True):
            fold = 1 + 0.14 * np.clip(t.max() - 0.2, 0, 1) * np.sin(9 * angle + 2 * s) * (s > 0.6)
            rings.append(
                np.column_stack(
                    [np.cos(angle) * r * fold, np.sin(angle) * r * fold, np.full(48, s)]
                )
            )
        sack = closed_rings(rings, rings[0].mean(0), rings[-1].mean(0))
        return [_sagging(rng, sack, rng.uniform(0.02, 0.1))]
    if kind < 0.85:  # a cushion with pointed corners
        ball = superellipsoid(rng.uniform(4, 10))
        v = np.array(ball.vertices)
        edge = np.abs(v[:, :2]).max(1)
        v[:, 2] *= rng.uniform(0.25, 0.45) * (1 - 0.75 * edge**2)
        v[:, :2] *= (1 + 0.12 * np.abs(v[:, 0] * v[:, 1]))[:, None] * rng.uniform(0.6, 1, 2)
        pillow = _sagging(rng, trimesh.Trimesh(v, ball.faces, process=False), 0.03)
        return _leaning([pillow], rng.choice([0.0, rng.uniform(0.8, 1.5)]), [0, 0, 0])
    pieces, level = [], 0.0
    for _ in range(int(rng.integers(1, 6))):  # towels, blankets, clothes
        half = np.array([rng.uniform(0.5, 0.7), rng.uniform(0.35, 0.5), rng.uniform(0.05, 0.14)])
        at = [rng.normal() * 0.03, rng.normal() * 0.03, level + half[2]]
        pieces.append(_sagging(rng, cushion(at, half, rng.uniform(4, 9)), 0.02))
        level += 1.9 * half[2]
    return pieces


def guitar(rng: Generator) -> list[Solid]:
    """Make a plucked or bowed instrument: a waisted body, a neck, a head, a bridge."""
    angle = np.linspace(0, 2 * np.pi, 72, endpoint=False)
    waist, lower = rng.uniform(0.0, 0.3), rng.uniform(0.0, 0.2)
    radius = 0.45 * (1 + waist * np.cos(2 * angle) - lower * np.sin(angle))
    flat = np.column_stack(
        [np.cos(angle) * radius * rng.uniform(0.7, 0.95), np.sin(angle) * radius * 1.2]
    )
    deep, bulge = rng.uniform(0.04, 0.2), rng.uniform(0, 0.15)
    rings = [
        np.column_stack([flat * s, np.full(72, z)])
        for s, z in (
            (0.97, -deep),
            (1, -deep * 0.8),
            (1, deep * 0.8),
            (0.97, deep),
            (0.5, deep + bulge * deep),
        )
    ]
    pieces = [closed_rings(rings, np.array([0, 0, -deep]), np.array([0, 0, deep * (1 + bulge)]))]
    length = rng.uniform(0.8, 1.4)
    pieces.append(plank([0, 0.3 + length / 2, deep], [0.09, length, 0.06]))
    head = plank([0, 0.3 + length + 0.1, deep - 0.02], [0.16, 0.25, 0.04])
    pieces += [head, plank([0, -0.22, deep + 0.03], [0.25, 0.05, 0.06])]
    pieces.append(_disc([0, 0.05, deep], rng.uniform(0.08, 0.15), 0.015, 2))
    for sign in (-1, 1):
        for k in range(3):
            y = 0.3 + length + 0.04 + 0.07 * k
            pieces.append(_disc([sign * 0.11, y, deep], 0.02, 0.04, 0))
    return _leaning(pieces, rng.choice([0.0, np.pi / 2 - rng.uniform(0, 0.3)]), [0, -0.5, 0])


def device(rng: Generator) -> Mesh:
    """Pick one of them."""
    kinds = (computer, appliance, held, worn, soft, guitar)
    make = kinds[int(rng.choice(len(kinds), p=(0.16, 0.24, 0.16, 0.16, 0.22, 0.06)))]
    mesh = fewer_parts(rng, joined(make(rng)), 6, 0.25)
    return mesh.with_vertices(unit_sphere(mesh.vertices @ turn(rng.uniform(0, 6.3)).T))
