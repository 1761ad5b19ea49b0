"""Things that meshes of game assets lack: open vessels, long flat tools, groups on a common floor.

Their front surface slopes far away from the viewer, which a network that has only seen closed, upright
things never dares to say (experiment 7). ``household`` also picks from the modules ``furniture``,
``creatures``, ``carved``, ``devices``, ``vehicles`` and ``grown``.
"""

from __future__ import annotations

import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import NDArray

from .carved import carved
from .creatures import creature
from .devices import device
from .furniture import furniture
from .grown import grown
from .meshes import (
    Library,
    Mesh,
    closed_rings,
    joined,
    outline,
    random_rotation,
    relief,
    turn,
    unit_sphere,
)
from .vehicles import vehicle

SECTIONS = 48
RINGS = 14
OUTLINE_STEPS = 40
SHARES = (0.26, 0.16, 0.14, 0.1, 0.06, 0.1, 0.08, 0.1)  # of the kinds in _upright
GROUPS = 0.28  # share
GROUP = 6  # things at most
TRIES = 12


def _wall(rng: Generator, height: float) -> NDArray[np.float64]:
    """Radius of a vessel's outside at ``RINGS`` heights: dish, bowl, cup, pot or vase."""
    s = np.linspace(0, 1, RINGS)
    foot = rng.uniform(0.3, 1.0)
    kind = rng.random()
    if height < 0.35 or kind < 0.35:
        radius = foot + (1 - foot) * s ** rng.uniform(0.25, 1.2)
    elif kind < 0.65:
        radius = 1 - (1 - rng.uniform(0.75, 1.0)) * (1 - s)
    else:
        knots = rng.uniform(0.45, 1.0, 4)
        radius = np.interp(s, np.linspace(0, 1, 4), knots)
        radius = np.convolve(np.pad(radius, 2, mode="edge"), np.ones(5) / 5, mode="valid")
    return radius / radius.max()


def vessel(rng: Generator) -> Mesh:
    """Make something open at the top: bowl, dish, cup, pan, tray, tub, vase; perhaps with contents."""
    height = float(np.exp(rng.uniform(np.log(0.1), np.log(2.4))))
    wall = rng.uniform(0.03, 0.1)
    angle = np.linspace(0, 2 * np.pi, SECTIONS, endpoint=False)
    around = outline(rng, angle)
    stretch = rng.uniform(0.5, 1) if rng.random() < 0.3 else 1.0
    flat = np.column_stack([np.cos(angle) * stretch, np.sin(angle)]) * around[:, None]
    radii = _wall(rng, height)
    levels = np.linspace(0, height, RINGS)

    def ring(radius: float, z: float) -> NDArray[np.float64]:
        return np.column_stack([flat * radius, np.full(SECTIONS, z)])

    floor = min(rng.uniform(0.03, 0.12), 0.4 * height)
    outside = [ring(r, z) for r, z in zip(radii, levels, strict=True)]
    inside_levels = np.linspace(height, floor, RINGS)
    inside_radii = np.maximum(np.interp(inside_levels, levels, radii) - wall, 0.05)
    inside = [ring(r, z) for r, z in zip(inside_radii, inside_levels, strict=True)]
    pieces = [closed_rings([*outside, *inside], np.zeros(3), np.array([0.0, 0.0, floor]))]
    if rng.random() < 0.35 and height > 0.3:  # soup, coffee, earth
        z = rng.uniform(0.4, 0.9) * height
        radius = float(np.interp(z, levels, radii)) - 0.4 * wall
        disc = [ring(radius, z - 0.02), ring(radius, z)]
        pieces.append(closed_rings(disc, np.array([0, 0, z - 0.02]), np.array([0, 0, z])))
    if rng.random() < 0.15:  # fruit
        for _ in range(int(rng.integers(2, 6))):
            ball = trimesh.creation.icosphere(subdivisions=3, radius=rng.uniform(0.2, 0.4))
            place = np.append(rng.uniform(-0.4, 0.4, 2), height * rng.uniform(0.5, 1.0))
            pieces.append(ball.apply_translation(place))
    handle = rng.random()
    level = height * rng.uniform(0.4, 0.9)
    reach = float(np.interp(level, levels, radii))
    if handle < 0.2 and height > 0.4:
        size = height * rng.uniform(0.2, 0.35)
        ear = trimesh.creation.torus(size, size * rng.uniform(0.12, 0.25), 24, 12)
        ear.apply_transform(trimesh.transformations.rotation_matrix(np.pi / 2, (1, 0, 0)))
        ear.apply_translation((reach * stretch, 0, level))
        pieces.append(ear)
    elif handle < 0.35:
        length = rng.uniform(0.5, 1.6)
        stick = trimesh.creation.box((length, rng.uniform(0.08, 0.2), rng.uniform(0.04, 0.12)))
        stick.apply_translation((reach * stretch + length / 2 - 0.05, 0, level))
        pieces.append(stick.subdivide().subdivide())
    mesh = joined(pieces)
    return mesh.with_vertices(mesh.vertices @ turn(rng.uniform(0, 6.3)).T)


def _loft(
    x: NDArray[np.float64],
    width: NDArray[np.float64],
    height: NDArray[np.float64],
    middle: NDArray[np.float64],
    power: float,
) -> trimesh.Trimesh:
    """Superelliptic sections along x with half widths, half heights and middles in z."""
    angle = np.linspace(0, 2 * np.pi, 20, endpoint=False)
    c, s = np.cos(angle), np.sin(angle)
    y = np.sign(c) * np.abs(c) ** (2 / power)
    z = np.sign(s) * np.abs(s) ** (2 / power)
    rings = [
        np.column_stack([np.full(20, at), w * y, m + h * z])
        for at, w, h, m in zip(x, width, height, middle, strict=True)
    ]
    return closed_rings(rings, np.array([x[0], 0, middle[0]]), np.array([x[-1], 0, middle[-1]]))


def tool(rng: Generator) -> Mesh:
    """Make something long that lies: cutlery, pens, brushes, screwdrivers, keys, flat bottles."""
    split = rng.uniform(-0.4, 0.5)  # where the handle ends
    pieces = []
    bend = rng.uniform(-0.15, 0.15) if rng.random() < 0.5 else 0.0
    for low, high in ((-1.0, split), (split - 0.05, 1.0)):
        t = np.linspace(low, high, OUTLINE_STEPS)
        knots = np.exp(rng.uniform(np.log(0.02), np.log(0.22), 4))
        width = np.interp(t, np.linspace(low, high, 4), knots)
        width = np.convolve(np.pad(width, 3, mode="edge"), np.ones(7) / 7, mode="valid")
        share = 1.0 if rng.random() < 0.35 else rng.uniform(0.1, 0.6)
        middle = bend * t**2
        power = rng.uniform(1.8, 8)
        if high == 1.0 and rng.random() < 0.2:  # prongs
            count = int(rng.integers(2, 5))
            places = np.linspace(-1, 1, count) * width.mean()
            for place in places:
                prong = _loft(t, width / (2.5 * count), width * share * 0.3, middle, power)
                pieces.append(prong.apply_translation((0, place, 0)))
            continue
        pieces.append(_loft(t, width, width * share, middle, power))
    mesh = joined(pieces)
    return mesh.with_vertices(unit_sphere(mesh.vertices @ turn(rng.uniform(0, 6.3)).T))


def merged(rng: Generator, meshes: list[Mesh]) -> Mesh:
    """Join meshes into one; those without colours of their own get one at random."""
    offsets = np.cumsum([0, *(len(m.vertices) for m in meshes[:-1])])
    part_offsets = np.cumsum([0, *(int(m.parts.max()) + 1 for m in meshes[:-1])])
    colors, uvs, images = [], [], []
    textures: list[NDArray[np.uint8]] = []
    for mesh in meshes:
        count = len(mesh.faces)
        plain = np.broadcast_to(rng.uniform(0.05, 0.9, 3).astype(np.float32), (count, 3))
        colors.append(plain if mesh.colors is None else mesh.colors)
        has_uvs = mesh.uvs is not None and mesh.images is not None
        uvs.append(mesh.uvs if has_uvs else np.zeros((count, 3, 2), np.float32))
        index = mesh.images if has_uvs else np.full(count, -1, np.int8)
        assert index is not None
        images.append(np.where(index >= 0, index + len(textures), -1).astype(np.int8))
        textures.extend(mesh.textures)
    return Mesh(
        np.concatenate([m.vertices for m in meshes]),
        np.concatenate([m.faces + o for m, o in zip(meshes, offsets, strict=True)]).astype("i4"),
        np.concatenate([m.parts + o for m, o in zip(meshes, part_offsets, strict=True)]),
        np.concatenate(colors),
        np.concatenate(uvs),
        np.concatenate(images),
        tuple(textures),
    )


def _standing(rng: Generator, mesh: Mesh, size: float) -> Mesh:
    """Scale, turn about the vertical and put on the floor z = 0."""
    v = mesh.vertices @ turn(rng.uniform(0, 6.3)).T * size
    v[:, 2] -= v[:, 2].min()
    return mesh.with_vertices(v)


def group(rng: Generator, library: Library) -> Mesh:
    """Put two to six things beside each other, often on a tray, a plate or a piece of ground."""
    things: list[Mesh] = []
    taken: list[tuple[NDArray[np.float64], float]] = []
    spread = rng.uniform(0.6, 1.6)
    for _ in range(int(rng.integers(2, GROUP + 1))):
        mesh = _upright(rng) if rng.random() < 0.4 else library.pick(rng)
        thing = _standing(rng, mesh, rng.uniform(0.3, 1.0))
        reach = float(np.linalg.norm(thing.vertices[:, :2], axis=1).max())
        for _ in range(TRIES):
            place = rng.normal(size=2) * spread * 0.5
            if all(np.linalg.norm(place - p) > 0.62 * (reach + r) for p, r in taken):
                taken.append((place, reach))
                shift = np.append(place, 0).astype(np.float32)
                things.append(thing.with_vertices(thing.vertices + shift))
                break
    if rng.random() < 0.6:
        every = np.concatenate([t.vertices[:, :2] for t in things])
        middle = (every.max(0) + every.min(0)) / 2
        extent = np.ptp(every, axis=0) / 2 * rng.uniform(0.9, 1.3)
        thick = rng.uniform(0.02, 0.15)
        if rng.random() < 0.5:
            base = trimesh.creation.box((2, 2, thick)).subdivide().subdivide()
        else:
            base = trimesh.creation.cylinder(radius=1.2, height=thick, sections=SECTIONS)
        v = np.array(base.vertices) * [*extent, 1] + [*middle, -thick / 2]
        faces = np.array(base.faces, np.int32)
        things.append(Mesh(v.astype("f4"), faces, np.zeros(len(faces), np.int64)))
    mesh = merged(rng, things)
    return mesh.with_vertices(unit_sphere(mesh.vertices))


def _upright(rng: Generator) -> Mesh:
    """Pick something that stands by itself."""
    makers = (vessel, tool, furniture, device, vehicle, grown, creature, carved)
    kind = int(rng.choice(len(makers), p=SHARES))
    mesh = makers[kind](rng)
    if makers[kind] not in (creature, carved):
        return mesh
    if rng.random() < 0.3:
        return mesh.with_vertices(unit_sphere(relief(rng, mesh.vertices.astype(float), mesh.faces)))
    return mesh


def household(rng: Generator, library: Library) -> Mesh:
    """Pick a single thing or a group; some lie any way round, some are stretched."""
    if rng.random() < GROUPS:
        return group(rng, library)
    mesh = _upright(rng)
    if rng.random() < 0.2:
        mesh = mesh.with_vertices(unit_sphere(mesh.vertices * rng.uniform(0.75, 1.25, 3)))
    if rng.random() < 0.1:
        return mesh.with_vertices(unit_sphere(mesh.vertices @ random_rotation(rng).T))
    return mesh
