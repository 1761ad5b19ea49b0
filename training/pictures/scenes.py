"""Pictures of whole places: rooms with furniture, streets, hills with things on them."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..shapes.meshes import Library, Mesh, turn
from . import appearance, looks
from .lighting import flat_light, random_light, shade
from .materials import Material
from .objects import SIZE, Sample, Sides, both_sides, make_sample
from .surroundings import Surroundings, look_up
from .tracing import Camera, Hits, Thing, Tracer, look

Floats = NDArray[np.float32]

LEAST_COVER = 0.015  # of the picture, by a subject
LEAST_SEEN = 0.85  # of a subject; what else hides it is its own fault


def quads_mesh(corners: list[list[list[float]]], parts: list[int]) -> Mesh:
    vertices = np.array(corners, np.float32).reshape(-1, 3)
    first = np.arange(len(corners)) * 4
    faces = np.concatenate(
        [np.stack([first, first + 1, first + 2], 1), np.stack([first, first + 2, first + 3], 1)]
    )
    return Mesh(vertices, faces.astype(np.int32), np.concatenate([parts, parts]).astype(np.int64))


def box_quads(low: Floats, high: Floats, part: int) -> tuple[list[list[list[float]]], list[int]]:
    (a, b, c), (d, e, f) = low.tolist(), high.tolist()
    quads = [
        [[a, b, c], [d, b, c], [d, b, f], [a, b, f]],
        [[a, e, c], [d, e, c], [d, e, f], [a, e, f]],
        [[a, b, c], [a, e, c], [a, e, f], [a, b, f]],
        [[d, b, c], [d, e, c], [d, e, f], [d, b, f]],
        [[a, b, f], [d, b, f], [d, e, f], [a, e, f]],
    ]
    return quads, [part] * 5


def _placed(
    rng: Generator,
    library: Library,
    surroundings: Surroundings,
    size: float,
    place: Floats,
    is_flat: bool,
) -> Thing:
    return standing(rng, library.pick(rng), surroundings, size, place, is_flat)


def standing(
    rng: Generator,
    mesh: Mesh,
    surroundings: Surroundings,
    size: float,
    place: Floats,
    is_flat: bool,
) -> Thing:
    """Paint a mesh and put it on the ground at ``place``, turned about its height, ``size`` long."""
    yaw = rng.integers(4) * np.pi / 2 if rng.random() < 0.5 else rng.uniform(0, 6.3)
    linear = turn(float(yaw)) * size / 2
    low = float((mesh.vertices @ linear.T)[:, 2].min())
    offset = np.array([place[0], place[1], place[2] - low], np.float32)
    return Thing(mesh, Material(rng, mesh, surroundings, is_flat), linear.astype("f4"), offset)


def scaled_material(
    rng: Generator, mesh: Mesh, surroundings: Surroundings, is_flat: bool, size: float
) -> Thing:
    """Paint a mesh given in metres as if it were ``size`` times smaller, so that tiles fit."""
    small = mesh.with_vertices(mesh.vertices / size)
    material = Material(rng, small, surroundings, is_flat)
    return Thing(small, material, np.eye(3, dtype="f4") * np.float32(size), np.zeros(3, "f4"))


def room(
    rng: Generator, library: Library, surroundings: Surroundings, is_flat: bool
) -> tuple[list[Thing], Floats, Floats]:
    wide, deep, high = rng.uniform(2.5, 8), rng.uniform(3, 10), rng.uniform(2.3, 3.8)
    w = wide / 2
    quads = [
        [[-w, 0, 0], [w, 0, 0], [w, deep, 0], [-w, deep, 0]],
        [[-w, 0, high], [w, 0, high], [w, deep, high], [-w, deep, high]],
        [[-w, deep, 0], [w, deep, 0], [w, deep, high], [-w, deep, high]],
        [[-w, 0, 0], [-w, deep, 0], [-w, deep, high], [-w, 0, high]],
        [[w, 0, 0], [w, deep, 0], [w, deep, high], [w, 0, high]],
        [[-w, 0, 0], [w, 0, 0], [w, 0, high], [-w, 0, high]],
    ]
    parts = [0, 1, 2, 2, 2, 2]
    for _ in range(int(rng.integers(0, 5))):  # windows, doors, pictures: thin boxes on the walls
        side = int(rng.integers(3))
        bw, bh, at = rng.uniform(0.4, 2), rng.uniform(0.4, 2.1), rng.uniform(0.1, 0.9)
        z = 0.0 if rng.random() < 0.3 else float(rng.uniform(0.3, 1.2))
        t = float(rng.uniform(0.01, 0.1))
        if side == 0:
            x = -w + at * wide
            box = box_quads(np.array([x, deep - t, z]), np.array([x + bw, deep, z + bh]), 3)
        else:
            y, x = at * deep, (-w if side == 1 else w)
            low = np.array([min(x, x + t if side == 1 else x - t), y, z])
            box = box_quads(low, np.array([low[0] + t, y + bw, z + bh]), 3)
        quads += box[0]
        parts += box[1]
    things = [scaled_material(rng, quads_mesh(quads, parts), surroundings, is_flat, 2.0)]
    for _ in range(int(rng.integers(3, 14))):
        size = float(np.exp(rng.uniform(np.log(0.3), np.log(2.2))))
        x, y = rng.uniform(-w, w), rng.uniform(0.25, 1) * deep
        if rng.random() < 0.6:  # along a wall
            x = np.sign(x) * (w - size / 3) if rng.random() < 0.6 else x
            y = y if abs(x) > w - size else deep - size / 3
        place = np.array([x, y, 0.0 if rng.random() < 0.85 else rng.uniform(0.4, 1.5)])
        things.append(_placed(rng, library, surroundings, size, place, is_flat))
    eye = np.array([rng.uniform(-0.6, 0.6) * w, rng.uniform(0.1, 0.25) * deep, 0])
    eye[2] = rng.uniform(0.7, min(1.9, high - 0.3))
    aim = np.array([rng.uniform(-0.7, 0.7) * w, deep, eye[2]])
    aim[2] += np.tan(np.radians(rng.normal() * 9 - 5)) * np.linalg.norm(aim - eye)
    return things, eye.astype("f4"), aim.astype("f4")


def _ground(rng: Generator, flatness: float) -> tuple[Mesh, Floats]:
    """Make a height field of 120 m with hills away from the middle; also give its heights."""
    count, reach = 80, 60.0
    steps = np.linspace(-1, 1, count)
    line = np.sign(steps) * np.abs(steps) ** 1.8 * reach
    x, y = np.meshgrid(line, line)
    height = np.zeros_like(x)
    for _ in range(4):
        k, p = rng.normal(size=2) * rng.uniform(0.02, 0.15), rng.uniform(0, 6)
        height += np.sin(k[0] * x + k[1] * y + p) / 4
    radius = np.hypot(x, y)
    height *= rng.uniform(0, 8) * (1 - flatness) * np.clip((radius - 4) / 40, 0, 1)
    if rng.random() < 0.3:
        height += rng.uniform(0, 25) * np.clip((radius - 35) / 25, 0, 1) ** 2  # mountains
    vertices = np.stack([x, y, height], -1).reshape(-1, 3).astype(np.float32)
    i = np.arange(count * (count - 1)).reshape(count - 1, count)[:, :-1].ravel()
    faces = np.concatenate(
        [np.stack([i, i + 1, i + count + 1], 1), np.stack([i, i + count + 1, i + count], 1)]
    )
    return Mesh(vertices, faces.astype(np.int32), np.zeros(len(faces), np.int64)), height


def outdoors(
    rng: Generator, library: Library, surroundings: Surroundings, is_flat: bool
) -> tuple[list[Thing], Floats, Floats]:
    has_street = rng.random() < 0.4
    mesh, _ = _ground(rng, 1.0 if has_street else rng.random() * 0.7)
    things = [scaled_material(rng, mesh, surroundings, is_flat, float(rng.uniform(2, 8)))]
    half = rng.uniform(3, 9)
    if has_street:
        quads: list[list[list[float]]] = []
        parts: list[int] = []
        for side in (-1, 1):
            y = rng.uniform(-5, 5)
            while y < 55:
                wide, high, deep = rng.uniform(3, 14), rng.uniform(3, 22), rng.uniform(4, 12)
                if rng.random() < 0.85:
                    x = side * (half + rng.uniform(0, 1.0))
                    low = np.array([min(x, x + side * deep), y, -1])
                    box = box_quads(low, np.array([low[0] + deep, y + wide, high]), len(parts) % 7)
                    quads += box[0]
                    parts += box[1]
                y += wide + (rng.uniform(0, 5) if rng.random() < 0.3 else 0)
        if quads:
            things.append(
                scaled_material(rng, quads_mesh(quads, parts), surroundings, is_flat, 4.0)
            )
    floor = Tracer(things[:1])
    for _ in range(int(rng.integers(6, 36))):
        size = float(np.exp(rng.uniform(np.log(0.6), np.log(7))))
        far = float(np.exp(rng.uniform(np.log(3), np.log(50))))
        place = np.array([rng.normal() * (half if has_street else 0.5 * far + 1), far, 0])
        if abs(place[0]) < size / 2 and far < size * 1.2:
            continue
        down = floor.first(
            np.array([[place[0], place[1], 100.0]]), np.array([[0.0, 0.0, -1.0]])
        ).distance[0]
        place[2] = 100 - down if np.isfinite(down) else 0
        things.append(_placed(rng, library, surroundings, size, place, is_flat))
    eye = np.array([rng.normal() * 0.5, 0, rng.uniform(0.8, 3)])
    pitch = rng.normal() * 7 - 3
    if rng.random() < 0.12:
        eye[2] = rng.uniform(5, 25)
        pitch = -rng.uniform(5, 40)
    yaw = rng.normal() * (0.15 if has_street else 0.3)
    aim = eye + np.array([np.sin(yaw), np.cos(yaw), np.tan(np.radians(pitch))]) * 10
    return things, eye.astype("f4"), aim.astype("f4")


def scene_picture(rng: Generator, library: Library, surroundings: Surroundings) -> Sample | None:
    """Render one place; None when the camera stands against something."""
    is_flat = rng.random() < 0.12
    is_room = rng.random() < 0.45
    things, eye, aim = (room if is_room else outdoors)(rng, library, surroundings, is_flat)
    roll = 0.0 if rng.random() < 0.6 else np.radians(np.clip(rng.normal() * 3, -8, 8))
    half = np.tan(np.radians(rng.uniform(40, 80)) / 2)
    camera = Camera(eye, look(eye, aim, float(roll)), float(half), SIZE)
    return rendered(rng, surroundings, things, camera, is_flat, is_room)


def rendered(
    rng: Generator,
    surroundings: Surroundings,
    things: list[Thing],
    camera: Camera,
    is_flat: bool,
    is_indoors: bool,
    has_subject: bool = False,
) -> Sample | None:
    """Render a place; None when the camera stands against something or sees too little.

    Args:
        rng: Decides light, lens and film.
        surroundings: Panoramas.
        things: All there is; with ``has_subject`` the last one is what the picture is about.
        camera: Where it is taken from.
        is_flat: Cartoon light and ink.
        is_indoors: Walls rarely let their shadows fall.
        has_subject: Whether to tell the last thing's mask and both its sides.
    """
    tracer = Tracer(things)
    rays = camera.rays()
    origins = np.broadcast_to(camera.position, rays.shape)
    hits = tracer.first(origins, rays)
    near = np.flatnonzero(np.isfinite(hits.distance))
    sides = _sides_of(things[-1], camera, hits) if has_subject else None
    if has_subject and sides is None:
        return None
    if len(near) < 0.25 * len(rays) or np.quantile(hits.distance[near], 0.15) < 0.5:
        return None
    light = (flat_light if is_flat else random_light)(rng, surroundings, camera.axes)
    directions = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    color = look_up(light.sky.sharp, directions, light.yaw) * light.exposure
    if rng.random() < 0.3:
        a, b = rng.uniform(0.2, 1, (2, 3))
        k = np.clip(directions[:, 2:] * 2, 0, 1)
        color = (a * k + b * (1 - k)).astype(np.float32)
    picked = type(hits)(hits.distance[near], hits.face[near], hits.bary[near], hits.normal[near])
    points = origins[near] + rays[near] * picked.distance[:, None]
    albedo, bent, roughness, metal, part = tracer.surface(picked, points)
    radiance, openness = shade(
        rng,
        light,
        points,
        bent,
        picked.normal,
        directions[near],
        albedo,
        roughness,
        metal,
        [] if is_indoors and rng.random() < 0.7 else [tracer],
        1.0,
    )
    color = np.clip(color, 0, 2).astype(np.float32)
    color[near] = radiance
    open_map = np.ones(len(rays), np.float32)
    open_map[near] = openness
    depth = np.full(len(rays), np.inf, np.float32)
    depth[near] = picked.distance
    if not is_indoors and rng.random() < 0.25:  # haze
        veil = 1 - np.exp(-np.minimum(depth, 500) / rng.uniform(20, 150))
        color = color * (1 - veil[:, None]) + rng.uniform(0.5, 0.9) * veil[:, None]
    normals = np.zeros((len(rays), 3), np.float32)
    normals[near] = picked.normal @ camera.axes.T
    label = np.zeros(len(rays), np.int64)
    label[near] = part
    image = color.reshape(SIZE, SIZE, 3)
    image = image * cv2.GaussianBlur(open_map.reshape(SIZE, SIZE), (0, 0), 1.5)[..., None]
    image = cv2.GaussianBlur(image.astype(np.float32), (0, 0), rng.uniform(0.35, 0.65))
    square = depth.reshape(SIZE, SIZE)
    if sides is not None and rng.random() < 0.5:
        image = _focused(image, sides.mask, square, float(rng.uniform(1, 5)))
    if not is_flat:
        image = image * (0.22 / (np.median(image) + 0.02)) ** rng.uniform(0.5, 1)
    hidden = np.zeros((SIZE, SIZE, 3), np.float32)
    if sides is not None:
        seen = image.reshape(-1, 3)
        hidden = appearance.as_lit(sides.paint.back, sides.paint.front, seen, sides.mask.ravel())
    both = np.concatenate([image, hidden.reshape(image.shape)])
    both = np.clip(both, 0, 1) ** (1 / 2.2) if is_flat else looks.develop(rng, both)
    display, hidden = both[:SIZE], both[SIZE:]
    square_normals = normals.reshape(SIZE, SIZE, 3)
    if is_flat and rng.random() < 0.7:
        log_depth = np.log(np.minimum(square, 200))
        line = looks.edges(log_depth, square_normals, label.reshape(SIZE, SIZE), 0.12)
        display = looks.ink(rng, display, line, False)
    nothing = np.zeros((SIZE, SIZE), np.float32)
    shape, paint = (nothing.astype(bool), nothing, nothing), appearance.nothing(SIZE)
    if sides is not None:
        shape = sides.mask, sides.front, sides.thickness
        albedo = sides.paint.front.reshape(image.shape) ** (1 / 2.2)
        paint = appearance.packed(albedo, hidden, sides.paint, sides.mask)
    sample = make_sample(
        looks.photograph(rng, display.astype(np.float32)),
        *shape,
        square_normals,
        square,
        camera.up(),
        has_subject,
        camera.half,
        paint,
    )
    # With a subject it is as much a thing as a place.
    return sample | {"counts": np.float32(not has_subject)}


def _sides_of(subject: Thing, camera: Camera, seen: Hits) -> Sides | None:
    """Trace a subject alone; None where too much of it is hidden or it is too small."""
    alone = Tracer([subject])
    rays = camera.rays()
    hits = alone.first(np.broadcast_to(camera.position, rays.shape), rays)
    solid = np.isfinite(hits.distance)
    mask = solid & (hits.distance <= seen.distance * (1 + 1e-4))
    if mask.mean() < LEAST_COVER or mask.sum() < LEAST_SEEN * solid.sum():
        return None
    return both_sides(alone, camera, hits, mask)


def _focused(image: Floats, mask: NDArray[np.bool_], depth: Floats, blur: float) -> Floats:
    """Put what is nearer or farther than the subject out of focus; ``blur`` in pixels at infinity."""
    around = cv2.GaussianBlur((~mask).astype(np.float32), (0, 0), blur)[..., None]
    others = cv2.GaussianBlur(image * ~mask[..., None], (0, 0), blur) / np.maximum(around, 1e-3)
    focus = float(np.median(depth[mask]))
    unsharp = np.clip(2 * np.abs(1 - focus / depth), 0, 1)[..., None]
    cover = cv2.GaussianBlur(mask.astype(np.float32), (0, 0), 0.5)[..., None]
    background = unsharp * others + (1 - unsharp) * image
    return (cover * image + (1 - cover) * background).astype(np.float32)
