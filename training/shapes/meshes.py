"""Meshes to look at: cached objects and procedural compositions of primitives."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import trimesh
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]

SCULPTED_FACES = 8000


@dataclass(frozen=True, slots=True)
class Mesh:
    """A triangle mesh with z up and its front towards -y.

    Attributes:
        vertices: (V, 3) inside the unit sphere.
        faces: (T, 3).
        parts: (T,) which part a face belongs to, from 0.
        colors: (T, 3) linear 0..1, or None when it has none of its own.
        uvs: (T, 3, 2) and images (T,) index into ``textures`` (-1 none), or None.
        textures: (H, W, 3) uint8 sRGB pictures.
    """

    vertices: Floats
    faces: NDArray[np.int32]
    parts: NDArray[np.int64]
    colors: Floats | None = None
    uvs: Floats | None = None
    images: NDArray[np.int8] | None = None
    textures: tuple[NDArray[np.uint8], ...] = ()

    def with_vertices(self, vertices: Floats) -> Mesh:
        """Give the same mesh with moved (V, 3) vertices."""
        return Mesh(
            vertices.astype(np.float32),
            self.faces,
            self.parts,
            self.colors,
            self.uvs,
            self.images,
            self.textures,
        )


def read_cached(file: Path) -> Mesh:
    """Read an archive of ``cache_meshes``."""
    data = np.load(file)
    textures = []
    while f"tex{len(textures)}" in data:
        textures.append(cv2.imdecode(data[f"tex{len(textures)}"], cv2.IMREAD_COLOR)[..., ::-1])
    return Mesh(
        data["V"],
        data["F"],
        data["P"].astype(np.int64),
        data["C"],
        data["UV"].astype(np.float32) if textures else None,
        data["I"] if textures else None,
        tuple(textures),
    )


def random_rotation(rng: Generator) -> Floats:
    """Give a uniformly random (3, 3) rotation."""
    quaternion = rng.normal(size=4)
    quaternion /= np.linalg.norm(quaternion)
    return trimesh.transformations.quaternion_matrix(quaternion)[:3, :3].astype(np.float32)


def turn(angle: float) -> Floats:
    """Give the (3, 3) rotation by an angle in radians about the vertical."""
    c, s = np.cos(angle), np.sin(angle)
    return np.array([[c, -s, 0], [s, c, 0], [0, 0, 1]], np.float32)


def outline(rng: Generator, angle: NDArray[np.float64]) -> NDArray[np.float64]:
    """Give a radius by angle: round, oval, squarish or lobed."""
    kind = rng.random()
    if kind < 0.6:
        radius = np.ones_like(angle)
    elif kind < 0.85:
        power = rng.uniform(3, 12)
        radius = (np.abs(np.cos(angle)) ** power + np.abs(np.sin(angle)) ** power) ** (-1 / power)
    else:
        radius = 1 + rng.uniform(0.02, 0.12) * np.cos(int(rng.integers(3, 13)) * angle)
    return radius


def closed_rings(
    rings: list[NDArray[np.float64]], start: NDArray[np.float64], end: NDArray[np.float64]
) -> trimesh.Trimesh:
    """Join (n, 3) rings one after another and close both ends with a point."""
    count = len(rings[0])
    vertices = np.concatenate([*rings, start[None], end[None]])
    i = np.arange(count)
    j = (i + 1) % count
    first, last, tail = len(vertices) - 2, len(vertices) - 1, (len(rings) - 1) * count
    faces = [np.column_stack([j, i, np.full(count, first)])]
    for ring in range(len(rings) - 1):
        a, b = ring * count, (ring + 1) * count
        faces += [np.column_stack([a + i, a + j, b + j]), np.column_stack([a + i, b + j, b + i])]
    faces.append(np.column_stack([tail + i, tail + j, np.full(count, last)]))
    return trimesh.Trimesh(vertices, np.concatenate(faces), process=False)


def fewer_parts(rng: Generator, mesh: Mesh, most: int, apart: float) -> Mesh:
    """Let all parts but the first few be one, so that at most ``most`` are left.

    With the chance ``apart`` all stay.
    """
    groups = int(rng.integers(1, most))
    parts = mesh.parts if rng.random() < apart else np.minimum(mesh.parts, groups)
    return Mesh(mesh.vertices, mesh.faces, parts)


def outward(solid: trimesh.Trimesh) -> trimesh.Trimesh:
    """Turn the faces of a closed solid over if they look inwards."""
    if solid.volume < 0:
        solid.invert()
    return solid


def joined(pieces: list[trimesh.Trimesh]) -> Mesh:
    """Make one mesh, a part of each piece."""
    offsets = np.cumsum([0, *(len(p.vertices) for p in pieces[:-1])])
    faces = [np.asarray(p.faces) + o for p, o in zip(pieces, offsets, strict=True)]
    return Mesh(
        unit_sphere(np.concatenate([p.vertices for p in pieces]).astype(np.float32)),
        np.concatenate(faces).astype(np.int32),
        np.concatenate([np.full(len(f), i) for i, f in enumerate(faces)]),
    )


def _profile(rng: Generator) -> tuple[Floats, Floats]:
    knots = int(rng.integers(4, 9))
    heights = np.sort(rng.uniform(-1, 1, knots))
    radii = rng.uniform(0.12, 1, knots)
    z = np.linspace(heights[0], heights[-1], 36)
    r = np.interp(z, heights, radii)
    if rng.random() < 0.6:
        kernel = np.ones(7) / 7
        r = np.convolve(np.pad(r, 3, mode="edge"), kernel, mode="valid")
    return r.astype(np.float32), z.astype(np.float32)


def _lathe(rng: Generator) -> trimesh.Trimesh:
    r, z = _profile(rng)
    line = np.column_stack([np.r_[0, r, 0], np.r_[z[0], z, z[-1]]])
    return trimesh.creation.revolve(line, sections=48)


def _extrusion(rng: Generator) -> trimesh.Trimesh:
    """Make a wavy or polygonal outline with height: letters, gears, plates, stars."""
    count = 48
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    lobes = int(rng.integers(2, 9))
    wave = np.cos(lobes * angle + rng.uniform(0, 6))
    if rng.random() < 0.5:
        wave = np.sign(wave) * np.abs(wave) ** 0.3
    radius = 1 + rng.uniform(0, 0.45) * wave
    rim = np.column_stack([np.cos(angle), np.sin(angle)]) * radius[:, None]
    rings = []
    levels = np.linspace(-1, 1, 7)
    taper = rng.uniform(-0.4, 0.4)
    for level in levels:
        scale = 1 + taper * level
        rings.append(np.column_stack([rim * scale, np.full(count, level)]))
    return closed_rings(rings, np.array([0.0, 0.0, -1.0]), np.array([0.0, 0.0, 1.0]))


def _tube(rng: Generator) -> trimesh.Trimesh:
    """Sweep a circle along a smooth random path: limbs, handles, worms, branches."""
    steps, sides = 24, 16
    knots = np.cumsum(rng.normal(size=(4, 3)) * [0.6, 0.6, 0.9], axis=0)
    t = np.linspace(0, 1, steps)
    path = np.column_stack([np.polyval(np.polyfit(np.linspace(0, 1, 4), k, 3), t) for k in knots.T])
    path = (path - path.mean(0)) / (np.abs(path - path.mean(0)).max() + 1e-6)
    tangent = np.gradient(path, axis=0)
    tangent /= np.linalg.norm(tangent, axis=1, keepdims=True) + 1e-9
    side = np.cross(tangent, rng.normal(size=3))
    side /= np.linalg.norm(side, axis=1, keepdims=True) + 1e-9
    other = np.cross(tangent, side)
    radius = rng.uniform(0.08, 0.35) * np.interp(t, [0, 0.5, 1], rng.uniform(0.4, 1.2, 3))
    angle = np.linspace(0, 2 * np.pi, sides, endpoint=False)
    ring = (
        np.cos(angle)[None, :, None] * side[:, None] + np.sin(angle)[None, :, None] * other[:, None]
    )
    rings = path[:, None] + ring * radius[:, None, None]
    return closed_rings(list(rings), path[0], path[-1])


def superellipsoid(power: float, subdivisions: int = 4) -> trimesh.Trimesh:
    """Make a ball that nears the cube as ``power`` grows from 2."""
    ball = trimesh.creation.icosphere(subdivisions=subdivisions)
    v = ball.vertices
    v = v / ((np.abs(v) ** power).sum(1, keepdims=True) ** (1 / power))
    return trimesh.Trimesh(v, ball.faces, process=False)


def _box(rng: Generator) -> trimesh.Trimesh:
    return trimesh.creation.box((2, 2, 2)).subdivide().subdivide().subdivide()


def _primitive(rng: Generator) -> tuple[Floats, NDArray[np.int32]]:
    kind = int(rng.integers(0, 11))
    if kind <= 1:
        mesh = _box(rng)
    elif kind == 2:
        mesh = trimesh.creation.icosphere(subdivisions=4)
    elif kind == 3:
        mesh = trimesh.creation.cylinder(radius=1, height=2, sections=48).subdivide()
    elif kind == 4:
        mesh = trimesh.creation.cone(radius=1, height=2, sections=48)
        mesh.apply_translation((0, 0, -1))
    elif kind == 5:
        mesh = trimesh.creation.torus(1, rng.uniform(0.12, 0.5), 48, 24)
    elif kind == 6:
        mesh = trimesh.creation.capsule(rng.uniform(0.5, 2), rng.uniform(0.3, 1), count=[24, 32])
    elif kind == 7:
        mesh = superellipsoid(rng.uniform(2, 8))
    elif kind == 8:
        mesh = _lathe(rng)
    elif kind == 9:
        mesh = _extrusion(rng)
    else:
        mesh = _tube(rng)
    v = np.array(mesh.vertices, np.float64) * rng.uniform(0.35, 1, 3)
    if rng.random() < 0.3:
        v[:, rng.integers(3)] *= rng.uniform(0.12, 0.4)
    if rng.random() < 0.35:
        v[:, :2] *= 1 + rng.uniform(-0.5, 0.5) * v[:, 2:3]
    if rng.random() < 0.25:
        angle = rng.uniform(-1.2, 1.2) * v[:, 2]
        c, s = np.cos(angle), np.sin(angle)
        v = np.column_stack([c * v[:, 0] - s * v[:, 1], s * v[:, 0] + c * v[:, 1], v[:, 2]])
    if rng.random() < 0.25:
        v[:, 0] += rng.uniform(-0.5, 0.5) * v[:, 2] ** 2
    if rng.random() < 0.4:
        frequency = rng.normal(size=(3, 3)) * rng.uniform(1, 5)
        v = v + np.sin(v @ frequency + rng.uniform(0, 6, 3)) * rng.uniform(0.02, 0.12)
    return v.astype(np.float32), np.array(mesh.faces, np.int32)


def unit_sphere(vertices: Floats) -> Floats:
    """Centre the bounding box and scale into the unit sphere."""
    v = vertices - (vertices.max(0) + vertices.min(0)) / 2
    return (v / np.linalg.norm(v, axis=1).max()).astype(np.float32)


def procedural(rng: Generator) -> Mesh:
    """Compose one to nine primitives, often with mirror symmetry."""
    count = min(1 + int(rng.poisson(2.2)), 9)
    is_symmetric = rng.random() < 0.5
    vertices, faces, parts = [], [], []
    offset = 0
    for index in range(count):
        v, f = _primitive(rng)
        scale = rng.uniform(0.2, 0.9) if index else 1.0
        rotation = random_rotation(rng) if rng.random() < 0.5 else np.eye(3)[rng.permutation(3)]
        place = rng.normal(size=3) * 0.7 if index else np.zeros(3)
        v = (v * scale) @ rotation.T + place
        copies = [v]
        if is_symmetric and index and rng.random() < 0.7:
            copies.append(v * np.array([-1, 1, 1]))
        for copy in copies:
            vertices.append(copy)
            faces.append(f + offset)
            parts.append(np.full(len(f), index))
            offset += len(copy)
    return Mesh(
        unit_sphere(np.concatenate(vertices)),
        np.concatenate(faces).astype(np.int32),
        np.concatenate(parts),
    )


class Library:
    """The cached objects, read on demand."""

    def __init__(self, cache: Path, is_held_out: bool) -> None:
        self._files = sorted(cache.glob("val_*.npz" if is_held_out else "train_*.npz"))
        if not self._files:
            raise SystemExit(
                f"No cached meshes in {cache}; run training.shapes.cache_meshes first."
            )

    def pick(self, rng: Generator) -> Mesh:
        """Read one at random."""
        return read_cached(self._files[int(rng.integers(len(self._files)))])


def subdivided(mesh: Mesh) -> Mesh:
    """Cut every triangle into four at its edges' middles; colours and UVs follow."""
    ends = np.stack([mesh.faces, np.roll(mesh.faces, -1, axis=1)], -1).reshape(-1, 2)
    edges, index = np.unique(np.sort(ends, axis=1), axis=0, return_inverse=True)
    middle = index.reshape(-1, 3) + len(mesh.vertices)
    a, b, c = mesh.faces.T
    ab, bc, ca = middle.T
    faces = np.stack([[a, ab, ca], [ab, b, bc], [ca, bc, c], [ab, bc, ca]], 0)
    uvs = None
    if mesh.uvs is not None:
        u, v, w = mesh.uvs.transpose(1, 0, 2)
        uv, vw, wu = (u + v) / 2, (v + w) / 2, (w + u) / 2
        corners = np.stack([[u, uv, wu], [uv, v, vw], [wu, vw, w], [uv, vw, wu]], 0)
        uvs = corners.transpose(2, 0, 1, 3).reshape(-1, 3, 2)
    return Mesh(
        np.concatenate([mesh.vertices, mesh.vertices[edges].mean(1)]),
        faces.transpose(2, 0, 1).reshape(-1, 3).astype(np.int32),
        np.repeat(mesh.parts, 4),
        None if mesh.colors is None else np.repeat(mesh.colors, 4, axis=0),
        uvs,
        None if mesh.images is None else np.repeat(mesh.images, 4),
        mesh.textures,
    )


def relief(
    rng: Generator, vertices: NDArray[np.float64], faces: NDArray[np.integer]
) -> NDArray[np.float64]:
    """Move (V, 3) vertices along their normals by waves of three sizes."""
    v = vertices
    corners = v[faces]
    across = np.cross(corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0])
    normals = np.stack([np.bincount(faces.ravel(), np.repeat(n, 3), len(v)) for n in across.T], 1)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True) + 1e-9
    for octave in range(3):
        waves = v @ (rng.normal(size=(3, 4)) * rng.uniform(2, 6) * 2**octave)
        height = np.sin(waves + rng.uniform(0, 6, 4)).sum(1, keepdims=True)
        v = v + normals * height * rng.uniform(0, 0.012) / 2**octave
    return v


def sculpted(rng: Generator, mesh: Mesh) -> Mesh:
    """Round a low-polygon model off and give it relief: what a scan of a real thing looks like."""
    while len(mesh.faces) < SCULPTED_FACES / 2:
        mesh = subdivided(mesh)
    # Corners that coincide move together, or hard edges would tear open.
    places, index = np.unique(np.round(mesh.vertices, 4), axis=0, return_inverse=True)
    faces = index.ravel()[mesh.faces]
    sources = np.concatenate([faces, faces]).ravel()
    targets = np.concatenate([np.roll(faces, 1, axis=1), np.roll(faces, -1, axis=1)]).ravel()
    count = np.maximum(np.bincount(sources, minlength=len(places)), 1)[:, None]
    v = places.astype(np.float64)
    for _ in range(int(rng.integers(2, 16))):
        near = [np.bincount(sources, v[targets, k], len(places)) for k in range(3)]
        v = 0.4 * v + 0.6 * np.stack(near, 1) / count
    v = relief(rng, v, faces)
    return mesh.with_vertices(unit_sphere(v[index.ravel()].astype(np.float32)))


def lying(rng: Generator, vertices: Floats) -> Floats:
    """Lay a thing on its largest side, turned any way: tools, cutlery, books, fallen toys."""
    order = np.argsort(-np.ptp(vertices, axis=0))  # the shortest extent becomes the height
    axes = np.eye(3)[order]
    axes[2] *= rng.choice([-1, 1])
    axes[1] *= np.linalg.det(axes)  # a rotation, not a mirror image
    v = vertices @ axes.T
    if rng.random() < 0.4:
        v[:, 2] *= rng.uniform(0.3, 1)
    return unit_sphere((v @ turn(rng.uniform(0, 6.3)).T).astype(np.float32))


def subject(rng: Generator, library: Library) -> Mesh:
    """Pick what an object picture shows, upright, inside the unit sphere."""
    kind = rng.random()
    if kind < 0.28:
        mesh = procedural(rng)
    else:
        mesh = library.pick(rng)
        v = mesh.vertices
        if rng.random() < 0.3:
            v = v * rng.uniform(0.7, 1.3, 3)
        if rng.random() < 0.12:  # bent and wavy: soft toys, worn things
            v = v + np.sin(
                v @ (rng.normal(size=(3, 3)) * rng.uniform(1, 3)) + rng.uniform(0, 6, 3)
            ) * rng.uniform(0.02, 0.07)
        mesh = mesh.with_vertices(unit_sphere(v.astype(np.float32)))
        if len(mesh.faces) < SCULPTED_FACES and rng.random() < 0.4:
            mesh = sculpted(rng, mesh)
    if rng.random() < 0.16:
        mesh = mesh.with_vertices(lying(rng, mesh.vertices))
    elif rng.random() < 0.07:  # thrown down
        mesh = mesh.with_vertices(unit_sphere(mesh.vertices @ random_rotation(rng).T))
    return mesh
