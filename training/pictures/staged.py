"""Pictures of one thing in its place: on a table among others, in a room, outdoors.

Objects alone fill their crop, and places have no subject; photographs are mostly between the two. Here
both are known: the subject's mask and both its sides, and the depth of everything.
"""

from __future__ import annotations

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..shapes.creatures import creature
from ..shapes.household import household
from ..shapes.meshes import Library, Mesh, subject
from .objects import SIZE, Sample
from .scenes import box_quads, outdoors, quads_mesh, rendered, room, scaled_material, standing
from .surroundings import Surroundings
from .tracing import Camera, Thing, Tracer, look

Floats = NDArray[np.float32]

FILL = (0.28, 1.1)  # the subject's size in the picture's
CLOSE, CLOSE_FILL = 0.2, (1.0, 2.2)  # share of subjects that leave the picture, and their size
HOUSEHOLD = 0.6  # share of subjects made by ``household``
ON_TABLE = 0.6
OFF_CENTRE = 0.12  # standard deviation, in the picture's side
TRIES = 6


def _some_mesh(rng: Generator, library: Library, is_close: bool = False) -> Mesh:
    if is_close and rng.random() < 0.5:
        return creature(rng)  # portraits, of people and of pets
    return (household if rng.random() < HOUSEHOLD else subject)(rng, library)


def _extent(thing: Thing) -> tuple[Floats, float]:
    """Give the middle of a thing's box and half the diagonal that a camera has to see of it."""
    vertices = thing.world_vertices()
    low, high = vertices.min(0), vertices.max(0)
    return ((low + high) / 2).astype(np.float32), float(np.linalg.norm(high - low)) / 2 * 0.8


def _lens(rng: Generator, radius: float, is_close: bool) -> tuple[float, float]:
    """Choose tan(field / 2) and how far away a thing of this radius fills what it should."""
    half = float(np.tan(np.radians(rng.uniform(24, 66)) / 2))
    fill = float(np.exp(rng.uniform(*np.log(CLOSE_FILL if is_close else FILL))))
    return half, radius / (half * fill) + 0.5 * radius


def _camera(rng: Generator, eye: Floats, thing: Thing, half: float) -> Camera:
    """Look at a thing, which need not be in the middle; at the upper part of one that is too large."""
    middle, radius = _extent(thing)
    distance = float(np.linalg.norm(middle - eye))
    middle[2] += rng.uniform(0, 1.1) * max(0.0, radius - 0.9 * half * distance)
    roll = 0.0 if rng.random() < 0.6 else np.radians(np.clip(rng.normal() * 4, -9, 9))
    aim = middle + rng.normal(size=3) * OFF_CENTRE * 2 * half * distance
    return Camera(eye, look(eye, aim.astype("f4"), float(roll)), half, SIZE)


def _on_a_table(
    rng: Generator, library: Library, surroundings: Surroundings, is_flat: bool
) -> tuple[list[Thing], Camera]:
    """Put one thing among others on a table, in a room or in the open; the last one is the subject."""
    size = float(rng.uniform(0.8, 2.2))
    origin = np.zeros(3, np.float32)
    is_close = rng.random() < CLOSE
    mesh = _some_mesh(rng, library, is_close)
    thing = standing(rng, mesh, surroundings, size, origin, is_flat)
    middle, radius = _extent(thing)
    half, distance = _lens(rng, radius, is_close)
    elevation = np.radians(rng.uniform(6, 50) if rng.random() < 0.75 else rng.uniform(40, 85))
    azimuth = rng.uniform(0, 2 * np.pi)
    level = np.array([np.cos(azimuth), np.sin(azimuth), 0])
    out = np.cos(elevation) * level + np.sin(elevation) * np.array([0, 0, 1])
    eye = (middle + out * distance).astype(np.float32)

    reach = rng.uniform(0.8, 5, 4) + size / 2
    low = np.array([-reach[0], -reach[1], -rng.uniform(0.05, 0.3)])
    quads, parts = box_quads(low, np.array([reach[2], reach[3], 0.0]), 0)
    things = [scaled_material(rng, quads_mesh(quads, parts), surroundings, is_flat, 2.0)]
    floor = -float(rng.uniform(2, 7))
    if rng.random() < 0.75:
        wall = np.abs(eye[:2]).max() + rng.uniform(0.5, 9, 4)
        high = float(max(eye[2], 0) + rng.uniform(1, 8))
        walls, sides = box_quads(
            np.array([-wall[0], -wall[1], floor]), np.array([wall[2], wall[3], high]), 1
        )
        (a, b), (c, d) = -wall[:2], wall[2:]
        walls.append([[a, b, floor], [c, b, floor], [c, d, floor], [a, d, floor]])
        shell = quads_mesh(walls, [*sides, 2])
        things.append(scaled_material(rng, shell, surroundings, is_flat, 4.0))
    taken = [(np.zeros(2), size / 2)]
    for _ in range(int(rng.integers(0, 7))):
        other = float(np.exp(rng.uniform(np.log(0.3), np.log(2.0))))
        place = rng.uniform(-reach[:2], reach[2:])
        if all(np.linalg.norm(place - p) > 0.75 * (other / 2 + r) for p, r in taken):
            taken.append((place, other / 2))
            spot = np.array([*place, 0.0], np.float32)
            beside = _some_mesh(rng, library) if rng.random() < 0.5 else library.pick(rng)
            things.append(standing(rng, beside, surroundings, other, spot, is_flat))
    return [*things, thing], _camera(rng, eye, thing, half)


def _in_a_place(
    rng: Generator, library: Library, surroundings: Surroundings, is_flat: bool, is_indoors: bool
) -> tuple[list[Thing], Camera] | None:
    """Put one thing before the camera in a room, a street or on a hill; None where it has no room."""
    things, eye, aim = (room if is_indoors else outdoors)(rng, library, surroundings, is_flat)
    size = float(np.exp(rng.uniform(np.log(0.4), np.log(1.9 if is_indoors else 4.0))))
    is_close = rng.random() < CLOSE
    half, distance = _lens(rng, size / 2, is_close)
    level = aim - eye
    level[2] = 0
    spot = eye + level / np.linalg.norm(level) * distance
    above = np.array([[spot[0], spot[1], eye[2]]], np.float32)
    down = Tracer(things[:1]).first(above, np.array([[0, 0, -1]], np.float32)).distance[0]
    if not np.isfinite(down):
        return None  # behind the wall, or below the hill
    spot[2] = eye[2] - down
    mesh = _some_mesh(rng, library, is_close)
    thing = standing(rng, mesh, surroundings, size, spot, is_flat)
    box = thing.world_vertices()
    low, high = box.min(0), box.max(0)

    def is_apart(other: Thing) -> bool:
        points = other.world_vertices()
        return not ((points > low) & (points < high)).all(axis=1).any()

    apart = [other for other in things[1:] if is_apart(other)]
    return [things[0], *apart, thing], _camera(rng, eye, thing, half)


def staged_picture(rng: Generator, library: Library, surroundings: Surroundings) -> Sample | None:
    """Render one; None when the subject could not be placed where it is seen."""
    is_flat = rng.random() < 0.08
    for _ in range(TRIES):
        is_indoors = rng.random() < 0.5
        if rng.random() < ON_TABLE:
            stage = _on_a_table(rng, library, surroundings, is_flat)
        else:
            stage = _in_a_place(rng, library, surroundings, is_flat, is_indoors)
        if stage is None:
            continue
        things, camera = stage
        sample = rendered(rng, surroundings, things, camera, is_flat, is_indoors, True)
        if sample is not None:
            return sample
    return None
