"""Pictures of one object with exact geometry of both its sides."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..shapes.household import household
from ..shapes.meshes import Library, Mesh, subject, turn
from . import looks
from .appearance import Paint, as_lit, packed, paint_of
from .lighting import Light, flat_light, random_light, shade
from .materials import Material, palette
from .surroundings import Surroundings, look_up
from .tracing import Camera, Hits, Thing, Tracer, look

Floats = NDArray[np.float32]
Sample = dict[str, NDArray[np.generic]]

SIZE = 256
FAR = 8.0
NO_EDGE = 9.0
HOUSEHOLD_SHARE = 0.3


def make_sample(
    image: NDArray[np.uint8],
    mask: NDArray[np.bool_],
    front: Floats,
    thickness: Floats,
    normals: Floats,
    depth: Floats | None,
    up: Floats,
    is_object: bool,
    half: float,
    appearance: Sample,
) -> Sample:
    """Pack one picture.

    Args:
        image: (S, S, 3) sRGB.
        mask: (S, S).
        front: (S, S) in half crop widths, mean zero over the mask.
        thickness: (S, S) in half crop widths.
        normals: (S, S, 3) in the camera's axes, zero where there is nothing.
        depth: (S, S) z-depth with inf for sky, or None when there is none.
        up: (3,) in the camera's axes.
        is_object: Whether one thing is shown rather than a place.
        half: Tangent of half the field of view.
        appearance: What ``appearance.packed`` or ``appearance.nothing`` gives.

    ``counts`` in the result is 1: nobody doubts whether it shows a thing or a place.
    """
    log_depth = np.zeros(mask.shape, np.float32)
    if depth is not None:
        middle = np.median(depth[np.isfinite(depth)])
        log_depth = np.log(np.clip(depth / middle, 0.05, FAR))
    return {
        "image": image,
        "mask": mask.astype(np.uint8),
        "front": np.clip(front, -4, 4).astype(np.float16),
        "thickness": np.clip(thickness, 0, 4).astype(np.float16),
        "normals": np.round(normals * 127).astype(np.int8),
        "log_depth": log_depth.astype(np.float16),
        "has_depth": np.float32(depth is not None),
        "up": up.astype(np.float32),
        "is_object": np.float32(is_object),
        "counts": np.float32(1),
        "half": np.float32(half),
        **appearance,
    }


def framed_camera(rng: Generator, vertices: Floats) -> Camera:
    """Place a camera so that the object fills most of the crop, anywhere in it."""
    is_frontal = rng.random() < 0.2
    azimuth = rng.normal() * 0.35 if rng.random() < (0.8 if is_frontal else 0.25) else None
    if azimuth is None:
        azimuth = rng.uniform(0, 2 * np.pi)
    if is_frontal and rng.random() < 0.5:
        azimuth *= 0.2
    if is_frontal:
        elevation = np.radians(rng.normal() * 3)
        field = np.radians(rng.uniform(6, 30))
    else:
        elevation = np.radians(rng.uniform(-20, 70) if rng.random() < 0.3 else rng.uniform(0, 50))
        field = np.radians(np.exp(rng.uniform(np.log(14), np.log(65))))
    roll = 0.0 if rng.random() < 0.5 else np.radians(np.clip(rng.normal() * 4, -9, 9))
    distance = 1 / np.sin(field / 2)
    out = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            -np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
        ]
    )
    position = (out * distance).astype(np.float32)
    target = np.zeros(3, np.float32)
    half, axes = np.tan(field / 2), np.eye(3, dtype=np.float32)
    fill = rng.uniform(0.55, 0.97)
    shift = rng.uniform(-0.5, 0.5, 2) * (1 - fill) * (1 if rng.random() < 0.6 else 0)
    for attempt in range(2):
        axes = look(position, target, roll)
        local = (vertices - position) @ axes.T
        flat = local[:, :2] / local[:, 2:]
        low, high = flat.min(0), flat.max(0)
        half = (high - low).max() / 2 / fill
        aim = (low + high) / 2 - (shift * half if attempt == 0 else 0)
        if attempt == 0:  # turn the camera to what should be the middle of the crop
            target = position + np.array([aim[0], aim[1], 1.0], np.float32) @ axes
    # a thing at the rim can still overlap it by perspective; widen a little
    half = max(half, np.abs(flat).max() / 0.99)
    return Camera(position, axes, float(half), SIZE)


@dataclass(frozen=True, slots=True)
class Style:
    """How a picture is made: "photo", "cartoon", "line" or "sprite"; and what is behind."""

    kind: str
    has_floor: bool
    background: str


def random_style(rng: Generator) -> Style:
    """Choose how a picture looks."""
    kind = str(rng.choice(["photo", "cartoon", "line", "sprite"], p=[0.76, 0.12, 0.06, 0.06]))
    if kind == "photo":
        background = rng.choice(
            ["plain", "gradient", "tile", "sky", "noise"], p=[0.27, 0.12, 0.14, 0.39, 0.08]
        )
        return Style(kind, rng.random() < 0.45, str(background))
    background = rng.choice(["plain", "gradient", "tile", "sky"], p=[0.7, 0.12, 0.08, 0.1])
    return Style(kind, rng.random() < 0.15, str(background))


def backdrop(
    rng: Generator, style: Style, surroundings: Surroundings, light: Light, rays: Floats
) -> Floats:
    """Make (S, S, 3) linear colour of what is behind everything."""
    size = SIZE
    if style.background == "plain":
        white = rng.random()
        color = np.ones(3) if white < 0.4 else np.full(3, rng.random()) if white < 0.65 else None
        color = palette(rng, 1)[0] if color is None else color
        return np.broadcast_to(color, (size, size, 3)).astype(np.float32)
    if style.background == "gradient":
        a, b = palette(rng, 2)
        angle = rng.uniform(0, 2 * np.pi)
        y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
        k = np.clip(0.5 + 0.5 * (x * np.cos(angle) + y * np.sin(angle)), 0, 1)[..., None]
        return (a * k + b * (1 - k)).astype(np.float32)
    if style.background == "noise":
        image = np.full((size, size, 3), rng.uniform(0.1, 0.8), np.float32)
        for cells, strength in ((3, 0.3), (7, 0.2), (20, 0.15), (60, 0.1)):
            coarse = rng.normal(size=(cells, cells, 3)).astype(np.float32) * strength * rng.random()
            image += cv2.resize(coarse, (size, size), interpolation=cv2.INTER_CUBIC)
        return np.clip(image, 0.01, 1)
    if style.background == "tile":
        tile = surroundings.tile(rng, 128)
        repeats = int(rng.integers(1, 4))
        image = np.tile(tile, (repeats, repeats, 1))
        return cv2.resize(image, (size, size), interpolation=cv2.INTER_AREA)
    directions = rays / np.linalg.norm(rays, axis=1, keepdims=True)
    if rng.random() < 0.5:  # a wider view than the crop's, so that more of the place is seen
        centre = directions.mean(0)
        directions = centre + (directions - centre) * rng.uniform(1.5, 4)
        directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    image = look_up(light.sky.sharp, directions, light.yaw).reshape(size, size, 3)
    blur = rng.uniform(0, 6) if rng.random() < 0.6 else 0.5
    return np.clip(cv2.GaussianBlur(image, (0, 0), blur + 0.3) * light.exposure, 0, 2)


def _bystanders(
    rng: Generator, library: Library, surroundings: Surroundings, camera: Camera, floor: float
) -> list[Thing]:
    """Put other objects behind the subject."""
    things = []
    sideways, forward = camera.axes[0].copy(), camera.axes[2].copy()
    sideways[2], forward[2] = 0, 0
    for _ in range(int(rng.integers(1, 4))):
        mesh = library.pick(rng)
        size = rng.uniform(0.5, 1.5)
        linear = turn(rng.uniform(0, 6.3)) * size
        low = float((mesh.vertices @ linear.T)[:, 2].min())
        place = sideways * rng.uniform(-2, 2) + forward * rng.uniform(1.6, 4)
        place[2] = floor - low
        material = Material(rng, mesh, surroundings)
        things.append(Thing(mesh, material, linear.astype("f4"), place.astype("f4")))
    return things


@dataclass(frozen=True, slots=True)
class Sides:
    """Both sides of an object, zero beside it.

    Attributes:
        mask: (S, S) where it is seen.
        front: (S, S) depth of the first surface in half crop widths, mean zero.
        thickness: (S, S) last minus first surface.
        paint: Of the S * S rays.
    """

    mask: NDArray[np.bool_]
    front: Floats
    thickness: Floats
    paint: Paint


def both_sides(tracer: Tracer, camera: Camera, first: Hits, mask: NDArray[np.bool_]) -> Sides:
    """Trace an object from behind, too.

    Args:
        tracer: The object alone.
        camera: What it is seen by.
        first: What the camera's S * S rays meet first of it.
        mask: (S * S,) which of them show it; some.
    """
    rays = camera.rays()
    origins = np.broadcast_to(camera.position, rays.shape)
    some = np.flatnonzero(np.isfinite(first.distance))
    far = float(2 * first.distance[some].max() + 4)
    behind = tracer.first(origins[some] + rays[some] * far, -rays[some])
    near = np.zeros(len(rays), np.float32)
    near[some] = first.distance[some]
    last = np.zeros(len(rays), np.float32)
    last[some] = far - np.where(np.isfinite(behind.distance), behind.distance, far)
    middle = near[mask].mean()
    unit = camera.half * middle

    def square(values: Floats) -> Floats:
        return np.where(mask, values / unit, 0).reshape(camera.size, camera.size).astype(np.float32)

    return Sides(
        mask.reshape(camera.size, camera.size),
        square(near - middle),
        square(np.maximum(last, near) - near),
        paint_of(tracer, origins, rays, mask, first, behind, far),
    )


def object_picture(
    rng: Generator,
    mesh: Mesh,
    library: Library,
    surroundings: Surroundings,
) -> Sample | None:
    """Render one picture of a mesh; None when too little of it is seen."""
    style = random_style(rng)
    is_flat = style.kind != "photo" and rng.random() < 0.85
    camera = framed_camera(rng, mesh.vertices)
    has_floor = style.has_floor and camera.axes[2, 2] < -0.05
    material = Material(rng, mesh, surroundings, is_flat)
    thing = Thing(mesh, material, np.eye(3, dtype="f4"), np.zeros(3, "f4"))
    tracer = Tracer([thing])
    rays = camera.rays()
    origins = np.broadcast_to(camera.position, rays.shape)
    hits = tracer.first(origins, rays)
    solid = np.isfinite(hits.distance)
    if solid.mean() < 0.03:
        return None

    light = (flat_light if is_flat else random_light)(rng, surroundings, camera.axes)
    floor = float(mesh.vertices[:, 2].min())
    color = backdrop(rng, style, surroundings, light, rays).reshape(-1, 3).copy()
    depth = np.full(len(rays), np.inf, np.float32)
    label = np.zeros(len(rays), np.int64)
    normals = np.zeros((len(rays), 3), np.float32)
    openness = np.ones(len(rays), np.float32)
    tracers = [tracer]
    others: Tracer | None = None
    if rng.random() < 0.15:
        others = Tracer(_bystanders(rng, library, surroundings, camera, floor))
    if has_floor:
        with np.errstate(divide="ignore", invalid="ignore"):
            reach = (floor - camera.position[2]) / rays[:, 2]
        limit = np.linalg.norm(camera.position) + rng.uniform(1.5, 12)
        ground = np.flatnonzero((reach > 0) & (reach < limit))
        points = camera.position + rays[ground] * reach[ground, None]
        repeat = rng.uniform(0.3, 2.5)
        tile = surroundings.tile(rng, 128)
        pixel = (points[:, :2] / repeat * 128).astype(np.int64) % 128 * len(tile) // 128
        albedo = tile[pixel[:, 1], pixel[:, 0]]
        if rng.random() < 0.4 or is_flat:
            albedo = np.broadcast_to(palette(rng, 1), albedo.shape).copy()
        up = np.broadcast_to(np.array([0, 0, 1], np.float32), points.shape)
        view = rays[ground] / np.linalg.norm(rays[ground], axis=1, keepdims=True)
        rough = np.full(len(ground), rng.uniform(0.3, 1), np.float32)
        color[ground], openness[ground] = shade(
            rng, light, points, up, up, view, albedo, rough, rough * 0, tracers, 1.0
        )
        depth[ground], normals[ground], label[ground] = reach[ground], up, 1
    if others is not None:
        _paint(
            rng,
            others,
            light,
            origins,
            rays,
            [*tracers, others],
            color,
            depth,
            normals,
            label,
            openness,
        )
    mask = solid & (hits.distance <= depth)
    _paint(rng, tracer, light, origins, rays, tracers, color, depth, normals, label, openness)
    if mask.mean() < 0.03:
        return None

    image = color.reshape(SIZE, SIZE, 3)
    smooth_open = cv2.GaussianBlur(openness.reshape(SIZE, SIZE), (0, 0), 2.0)
    image = image * smooth_open[..., None]
    normals_camera = (normals @ camera.axes.T).reshape(SIZE, SIZE, 3)
    image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.35, 0.65))
    sides = both_sides(tracer, camera, hits, mask)
    paint = sides.paint
    hidden = as_lit(paint.back, paint.front, image.reshape(-1, 3), mask).reshape(image.shape)
    both = np.concatenate([image, hidden])  # one tone curve for what is seen and what is not
    both = np.clip(both, 0, 1) ** (1 / 2.2) if is_flat else looks.develop(rng, both)
    display, hidden = both[:SIZE], both[SIZE:]
    if style.kind in ("cartoon", "line") and rng.random() < 0.85:
        distance = np.where(mask, depth, NO_EDGE * 10).reshape(SIZE, SIZE)
        parts = np.where(mask, label, 0).reshape(SIZE, SIZE)
        n = normals_camera * mask.reshape(SIZE, SIZE, 1)
        line = looks.edges(distance, n, parts, 0.08)
        if style.kind == "line":
            paper = rng.uniform(0.8, 1)
            keep = rng.uniform(0, 0.25) if rng.random() < 0.5 else 0.0
            display = display * keep + paper * (1 - keep)
            hidden = hidden * keep + paper * (1 - keep)
        display = looks.ink(rng, display, line, style.kind == "line")
    if style.kind == "sprite":
        display = looks.pixel_art(rng, display)
    return make_sample(
        looks.photograph(rng, display),
        sides.mask,
        sides.front,
        sides.thickness,
        normals_camera,
        depth.reshape(SIZE, SIZE) if has_floor else None,
        camera.up(),
        True,
        camera.half,
        packed(paint.front.reshape(image.shape) ** (1 / 2.2), hidden, paint, sides.mask),
    )


def _paint(
    rng: Generator,
    tracer: Tracer,
    light: Light,
    origins: Floats,
    rays: Floats,
    tracers: list[Tracer],
    color: Floats,
    depth: Floats,
    normals: Floats,
    label: NDArray[np.int64],
    openness: Floats,
) -> None:
    """Draw what a tracer sees in front of what is there, into the flat picture arrays."""
    hits = tracer.first(origins, rays)
    near = np.flatnonzero(np.isfinite(hits.distance) & (hits.distance <= depth))
    if len(near) == 0:
        return
    picked = type(hits)(hits.distance[near], hits.face[near], hits.bary[near], hits.normal[near])
    points = origins[near] + rays[near] * picked.distance[:, None]
    view = rays[near] / np.linalg.norm(rays[near], axis=1, keepdims=True)
    albedo, bent, roughness, metal, part = tracer.surface(picked, points)
    color[near], openness[near] = shade(
        rng, light, points, bent, picked.normal, view, albedo, roughness, metal, tracers, 1.0
    )
    depth[near], normals[near], label[near] = picked.distance, picked.normal, part


def object_pictures(
    rng: Generator,
    library: Library,
    surroundings: Surroundings,
    count: int,
    household_share: float = HOUSEHOLD_SHARE,
) -> list[Sample]:
    """Render ``count`` pictures, a few of each object."""
    samples: list[Sample] = []
    while len(samples) < count:
        is_household = rng.random() < household_share
        mesh = (household if is_household else subject)(rng, library)
        for _ in range(2):
            sample = object_picture(rng, mesh, library, surroundings)
            if sample is not None:
                samples.append(sample)
    return samples[:count]
