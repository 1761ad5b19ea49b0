"""Furniture: tops on legs with and without backs, shelves, upholstery, lamps.

Thin legs under a wide top, seen from above, are what the network joined to a block (experiment 7).
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .meshes import Mesh, closed_rings, fewer_parts, joined, outline, superellipsoid, turn

Doubles = NDArray[np.float64]
Solid = trimesh.Trimesh

ROUND = 20  # corners of a stick's section


def plank(middle: ArrayLike, size: ArrayLike) -> Solid:
    box = trimesh.creation.box(np.maximum(np.asarray(size, float), 0.01)).subdivide().subdivide()
    return box.apply_translation(np.asarray(middle, float))


def stick(a: ArrayLike, b: ArrayLike, first: float, last: float, is_square: bool) -> Solid:
    """A straight bar from ``a`` to ``b`` whose half width goes from ``first`` to ``last``."""
    start, end = np.asarray(a, float), np.asarray(b, float)
    way = (end - start) / np.linalg.norm(end - start)
    across = np.cross(way, [0, 1, 0] if abs(way[1]) < 0.9 else [1, 0, 0])
    across /= np.linalg.norm(across)
    other = np.cross(way, across)
    angle = np.linspace(0, 2 * np.pi, ROUND, endpoint=False)
    flat = np.column_stack([np.cos(angle), np.sin(angle)])
    if is_square:
        flat /= np.abs(flat).max(axis=1, keepdims=True)
    section = flat @ np.stack([across, other])
    steps = np.linspace(0, 1, 8)
    rings = [start + (end - start) * t + section * (first + (last - first) * t) for t in steps]
    return closed_rings(rings, start, end)


def slab(rng: Generator, half: Doubles, low: float, high: float, rounding: float) -> Solid:
    """A plate of random outline between two heights, its edge rounded off."""
    angle = np.linspace(0, 2 * np.pi, 48, endpoint=False)
    flat = np.column_stack([np.cos(angle), np.sin(angle)])
    if rng.random() < 0.55:
        flat /= np.abs(flat).max(axis=1, keepdims=True)
    else:
        flat *= outline(rng, angle)[:, None]
    rings = []
    for t in np.linspace(0, 1, 6):
        inset = 1 - rounding * (abs(2 * t - 1)) ** 3
        rings.append(np.column_stack([flat * half * inset, np.full(48, low + (high - low) * t)]))
    return closed_rings(rings, np.array([0, 0, low]), np.array([0, 0, high]))


def _legs(rng: Generator, half: Doubles, high: float) -> list[Solid]:
    """Four, three or two legs, a column with feet, or two panels; perhaps with stretchers."""
    kind = rng.random()
    thin = float(np.exp(rng.uniform(np.log(0.018), np.log(0.07))))
    is_square = rng.random() < 0.5
    taper = rng.uniform(0.5, 1.1)
    if kind < 0.12:  # a column
        pieces = [stick([0, 0, 0.03], [0, 0, high], thin * 1.6, thin * 1.4, False)]
        if rng.random() < 0.5:
            pieces.append(slab(rng, half * rng.uniform(0.4, 0.8), 0.0, 0.05, 0.1))
        else:
            for a in np.arange(4) * np.pi / 2 + rng.uniform(0, 1):
                foot = [np.cos(a) * half.min() * 0.8, np.sin(a) * half.min() * 0.8, 0.02]
                pieces.append(stick([0, 0, 0.1], foot, thin, thin * 0.8, is_square))
        return pieces
    if kind < 0.22:  # panels
        inset = half[0] * rng.uniform(0.7, 0.97)
        size = [thin * 1.5, half[1] * 1.8, high]
        return [plank([sign * inset, 0, high / 2], size) for sign in (-1, 1)]
    splay, inset = rng.uniform(0, 0.25) * rng.integers(0, 2), rng.uniform(0.75, 0.95)
    if kind < 0.34:
        turns = np.arange(3) * 2 * np.pi / 3
        corners = np.column_stack([np.cos(turns), np.sin(turns)]) * half * inset
    else:
        corners = np.array([[-1, -1], [1, -1], [1, 1], [-1, 1]]) * half * inset
    pieces = []
    feet = corners * (1 + splay)
    for top, foot in zip(corners, feet, strict=True):
        pieces.append(stick([*top, high], [*foot, 0], thin, thin * taper, is_square))
    if rng.random() < 0.45:
        t = rng.uniform(0.2, 0.8)
        level = corners * t + feet * (1 - t)
        count = len(level)
        for k in range(count):
            if rng.random() < 0.75:
                a, b = level[k], level[(k + 1) % count]
                pieces.append(stick([*a, high * t], [*b, high * t], thin * 0.6, thin * 0.6, False))
    if rng.random() < 0.4 and len(corners) == 4:  # an apron under the top
        deep = rng.uniform(0.05, 0.15)
        for sign in (-1, 1):
            middle = [0, sign * half[1] * inset, high - deep / 2]
            pieces.append(plank(middle, [2 * half[0] * inset, thin, deep]))
            middle = [sign * half[0] * inset, 0, high - deep / 2]
            pieces.append(plank(middle, [thin, 2 * half[1] * inset, deep]))
    return pieces


def table(rng: Generator) -> list[Solid]:
    """Make a table, stool, bench or desk."""
    high = rng.uniform(0.35, 1.1)
    half = rng.uniform(0.25, 0.8, 2) * rng.choice([1.0, 1.4])
    thick = float(np.exp(rng.uniform(np.log(0.02), np.log(0.14))))
    pieces = [slab(rng, half, high, high + thick, rng.uniform(0, 0.12)), *_legs(rng, half, high)]
    if rng.random() < 0.2:  # drawers
        count = int(rng.integers(1, 4))
        width = rng.uniform(0.3, 0.6)
        for k in range(count):
            z = high - 0.02 - (k + 0.5) * 0.16
            middle = [half[0] * 0.55, 0, z]
            pieces.append(plank(middle, [width * half[0], half[1] * 1.7, 0.15]))
            knob = trimesh.creation.icosphere(subdivisions=2, radius=0.025)
            pieces.append(knob.apply_translation([half[0] * 0.55, -half[1] * 0.87, z]))
    if rng.random() < 0.2:
        level = high * rng.uniform(0.15, 0.5)
        pieces.append(slab(rng, half * 0.85, level, level + 0.03, 0.0))
    return pieces


def chair(rng: Generator) -> list[Solid]:
    """Make a chair whose back stands at +y, often with arms."""
    high = rng.uniform(0.35, 0.6)
    half = np.array([rng.uniform(0.22, 0.32), rng.uniform(0.22, 0.32)])
    thick = rng.uniform(0.03, 0.12)
    pieces = [slab(rng, half, high, high + thick, rng.uniform(0, 0.15)), *_legs(rng, half, high)]
    seat = high + thick
    tall, lean = rng.uniform(0.3, 0.75), rng.uniform(0, 0.25)
    y, thin = half[1] * 0.92, rng.uniform(0.012, 0.035)
    left, right = (np.array([s * half[0] * 0.85, y, seat - 0.05]) for s in (-1, 1))
    up = np.array([0, lean * tall, tall])
    is_square = rng.random() < 0.5
    pieces += [stick(p, p + up, thin, thin * 0.8, is_square) for p in (left, right)]
    style = rng.random()
    levels = np.linspace(rng.uniform(0.2, 0.7), 0.97, int(rng.integers(1, 5)))
    if style < 0.4:  # ladder
        for t in levels:
            pieces.append(stick(left + up * t, right + up * t, thin, thin, rng.random() < 0.5))
    elif style < 0.65:  # spindles
        pieces.append(stick(left + up, right + up, thin * 1.3, thin * 1.3, is_square))
        for s in np.linspace(0.12, 0.88, int(rng.integers(2, 8))):
            p = left * (1 - s) + right * s
            pieces.append(stick(p, p + up, thin * 0.6, thin * 0.6, False))
    else:  # a panel
        panel = plank([0, 0, 0], [2 * half[0] * 0.85, thin * 1.5, tall * rng.uniform(0.4, 0.95)])
        panel.apply_transform(trimesh.transformations.rotation_matrix(-np.arctan(lean), (1, 0, 0)))
        pieces.append(panel.apply_translation((left + right) / 2 + up * 0.55))
    if rng.random() < 0.35:
        for p in (left, right):
            rest = p + up * rng.uniform(0.3, 0.5)
            tip = np.array([p[0], -half[1] * rng.uniform(0.4, 0.9), rest[2]])
            pieces.append(stick(rest, tip, thin, thin, is_square))
            pieces.append(stick(tip, [tip[0], tip[1], seat - 0.02], thin, thin, is_square))
    return pieces


def shelf(rng: Generator) -> list[Solid]:
    """Make shelves, a cabinet or a crate that is open towards -y, perhaps with things inside."""
    wide, deep, tall = rng.uniform(0.4, 1.2), rng.uniform(0.2, 0.6), rng.uniform(0.3, 1.6)
    board = rng.uniform(0.015, 0.05)
    foot = rng.uniform(0, 0.2) * rng.integers(0, 2)
    pieces = [plank([s * wide / 2, 0, foot + tall / 2], [board, deep, tall]) for s in (-1, 1)]
    if rng.random() < 0.75:
        pieces.append(plank([0, deep / 2, foot + tall / 2], [wide, board, tall]))
    levels = np.linspace(0, tall, int(rng.integers(2, 6))) + foot
    pieces += [plank([0, 0, z], [wide, deep, board]) for z in levels]
    if foot > 0.03:
        for x in (-1, 1):
            for y in (-1, 1):
                corner = [x * wide * 0.45, y * deep * 0.4]
                pieces.append(stick([*corner, foot], [*corner, 0], 0.025, 0.02, False))
    for low, top in pairwise(levels):
        room = top - low - board
        if rng.random() < 0.3:  # a door or drawer front
            front = [0, -deep / 2, (low + top) / 2]
            pieces.append(plank(front, [wide * 0.98, board, room]))
            continue
        x = -wide / 2 + board
        while rng.random() < 0.85:  # books and boxes
            size = rng.uniform([0.02, 0.4 * deep, 0.4 * room], [0.15, 0.9 * deep, 0.95 * room])
            if x + size[0] > wide / 2 - board:
                break
            pieces.append(plank([x + size[0] / 2, 0, low + board / 2 + size[2] / 2], size))
            x += size[0] + rng.choice([0.0, 0.0, 0.1])
    return pieces


def cushion(middle: ArrayLike, half: ArrayLike, power: float, subdivisions: int = 4) -> Solid:
    """A rounded box; it nears one with sharp edges as ``power`` grows from 2."""
    ball = superellipsoid(power, subdivisions)
    return trimesh.Trimesh(ball.vertices * half + middle, ball.faces, process=False)


def sofa(rng: Generator) -> list[Solid]:
    """Make an upholstered seat or a bed whose back stands at +y."""
    wide, deep = rng.uniform(0.4, 1.1), rng.uniform(0.38, 0.9)
    high, arm = rng.uniform(0.15, 0.3), rng.uniform(0.06, 0.16)
    back, rest = rng.uniform(0.1, 0.5), rng.uniform(0.0, 0.25)
    pieces = [cushion([0, 0, high], [wide, deep, high * 0.6], rng.uniform(3, 9), 3)]
    pieces.append(
        cushion(
            [0, deep * 0.9, high + back / 2], [wide, arm, back / 2 + high], rng.uniform(3, 9), 3
        )
    )
    if rest > 0.06:
        for s in (-1, 1):
            size = [arm, deep, high * 0.6 + rest]
            pieces.append(cushion([s * wide, 0, high + rest / 2], size, rng.uniform(3, 9), 3))
    count = int(rng.integers(0, 4))
    for k in range(count):
        x = ((k + 0.5) / count - 0.5) * 2 * wide * 0.9
        size = [wide / count * 0.9, deep * 0.8, 0.1]
        pieces.append(cushion([x, -0.05, high * 1.6 + 0.05], size, rng.uniform(3, 9), 3))
    for s in (-1, 1):
        for t in (-1, 1):
            at = [s * wide * 0.85, t * deep * 0.85]
            pieces.append(stick([*at, high * 0.6], [*at, 0], 0.035, 0.025, False))
    return pieces


def lamp(rng: Generator) -> list[Solid]:
    """Make a lamp: foot, pole, shade; the pole may lean or arch."""
    tall, thin = rng.uniform(0.5, 1.6), rng.uniform(0.012, 0.04)
    foot = rng.uniform(0.12, 0.35)
    pieces = [slab(rng, np.full(2, foot), 0.0, rng.uniform(0.02, 0.12), 0.2)]
    lean = np.append(rng.normal(size=2) * 0.25 * rng.integers(0, 2), tall)
    pieces.append(stick([0, 0, 0.02], lean, thin, thin, False))
    low, high, long = rng.uniform(0.15, 0.45), rng.uniform(0.06, 0.4), rng.uniform(0.2, 0.5)
    z = tall - 0.6 * long
    wall = [[low, z], [high, z + long], [high - 0.02, z + long], [low - 0.02, z], [low, z]]
    shade = trimesh.creation.revolve(np.array(wall), sections=48)
    pieces.append(shade.apply_translation([*lean[:2], 0]))
    return pieces


def furniture(rng: Generator) -> Mesh:
    """Pick one of them; its parts may share a colour."""
    kind = rng.random()
    make = (
        table
        if kind < 0.36
        else chair
        if kind < 0.64
        else shelf
        if kind < 0.78
        else sofa
        if kind < 0.9
        else lamp
    )
    mesh = fewer_parts(rng, joined(make(rng)), 5, 0.2)
    return mesh.with_vertices(mesh.vertices @ turn(rng.uniform(0, 6.3)).T)
