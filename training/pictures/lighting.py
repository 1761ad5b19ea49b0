"""Light: panoramas, lamps with shadows, and the shading that makes colour of them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from .surroundings import Panorama, Surroundings, irradiance, look_up
from .tracing import Tracer

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Light:
    """What lights a picture.

    Attributes:
        sky: Panorama for ambient light and reflections.
        yaw: How far it is turned.
        ambient: Its strength.
        hemisphere: ((3,), (3,)) colours from above and below instead of the panorama's, or None.
        lamps: Directions (3,) towards distant lamps and their colours (3,).
        occlusion: Strength of ambient occlusion, 0 to 1.
        steps: Posterise the light into so many steps; 0 for none.
        exposure: Gain after shading.
    """

    sky: Panorama
    yaw: float
    ambient: float
    hemisphere: tuple[Floats, Floats] | None
    lamps: tuple[tuple[Floats, Floats], ...]
    occlusion: float
    steps: int
    exposure: float


def random_light(rng: Generator, surroundings: Surroundings, camera_axes: Floats) -> Light:
    """Choose daylight, indoor light or studio lamps."""
    sky = surroundings.sky(rng)
    yaw = float(rng.uniform(0, 2 * np.pi))
    lamps: list[tuple[Floats, Floats]] = []
    hemisphere = None
    if rng.random() < 0.55:
        ambient = float(rng.uniform(0.6, 1.3))
        c, s = np.cos(yaw), np.sin(yaw)
        x, y, z = sky.sun
        sun = np.array([c * x - s * y, s * x + c * y, z], np.float32)
        if sky.sun_color.max() > 0.02:
            lamps.append((sun, sky.sun_color * float(rng.uniform(0.3, 1.2))))
    else:
        ambient = float(rng.uniform(0.15, 0.7))
        above, below = rng.uniform(0.6, 1, 3), rng.uniform(0.15, 0.7, 3)
        hemisphere = (above.astype(np.float32), below.astype(np.float32))
    for _ in range(int(rng.integers(0, 3)) if lamps else int(rng.integers(1, 4))):
        local = rng.normal(size=3)
        local[2] = -abs(local[2]) if rng.random() < 0.8 else local[2]
        local[1] = -abs(local[1]) if rng.random() < 0.8 else local[1]
        direction = (local / np.linalg.norm(local)) @ camera_axes
        color = rng.uniform(0.2, 0.9) * np.clip(1 + 0.2 * rng.normal(size=3), 0.5, 1.5)
        lamps.append((direction.astype(np.float32), color.astype(np.float32)))
    return Light(
        sky,
        yaw,
        ambient,
        hemisphere,
        tuple(lamps),
        float(rng.uniform(0.3, 1)) if rng.random() < 0.6 else 0.0,
        0,
        float(np.exp(rng.normal() * 0.25)),
    )


def flat_light(rng: Generator, surroundings: Surroundings, camera_axes: Floats) -> Light:
    """Choose the light of cartoons: one lamp in a few steps, or none at all."""
    local = np.array([rng.normal() * 0.7, -abs(rng.normal()), -abs(rng.normal()) - 0.3])
    direction = (local / np.linalg.norm(local)) @ camera_axes
    flat = rng.random() < 0.35
    ambient = 1.0 if flat else float(rng.uniform(0.4, 0.8))
    one = np.ones(3, np.float32)
    return Light(
        surroundings.sky(rng),
        0.0,
        ambient,
        (one, one if flat else one * float(rng.uniform(0.6, 1))),
        () if flat else ((direction.astype(np.float32), one * (1.1 - ambient)),),
        0.0,
        int(rng.integers(2, 5)),
        1.0,
    )


def _visible(
    rng: Generator, points: Floats, normals: Floats, tracers: list[Tracer], reach: float
) -> Floats:
    """Estimate with one random ray per point how open its surroundings are: (N,) 0 or 1."""
    directions = rng.normal(size=points.shape).astype(np.float32)
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    directions = directions + normals * 1.02
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    is_open = np.ones(len(points), np.float32)
    start = points + normals * (0.004 * reach)
    for tracer in tracers:
        is_open *= ~tracer.blocked(start, directions)
    return is_open


def shade(
    rng: Generator,
    light: Light,
    points: Floats,
    normals: Floats,
    true_normals: Floats,
    view: Floats,
    albedo: Floats,
    roughness: Floats,
    metal: Floats,
    tracers: list[Tracer],
    reach: float,
) -> tuple[Floats, Floats]:
    """Light N points.

    Args:
        rng: Source of ambient occlusion's rays.
        light: What shines.
        points: (N, 3) world positions.
        normals: (N, 3) shading normals.
        true_normals: (N, 3) normals of the surface itself.
        view: (N, 3) unit directions from the camera.
        albedo: (N, 3) linear.
        roughness: (N,).
        metal: (N,).
        tracers: What casts shadows.
        reach: Typical size of things, for offsets.

    Returns:
        (N, 3) linear radiance without ambient occlusion applied to it, and (N,) noisy openness
        (1 = open), to be smoothed by the caller over the picture.
    """
    if light.hemisphere is None:
        diffuse = irradiance(light.sky, normals, light.yaw)
    else:
        above, below = light.hemisphere
        k = (0.5 + 0.5 * normals[:, 2])[:, None]
        diffuse = k * above + (1 - k) * below
    diffuse = diffuse * light.ambient
    gloss = np.zeros_like(albedo)
    start = points + true_normals * (0.004 * reach)
    for direction, color in light.lamps:
        cosine = np.clip(normals @ direction, 0, None)
        lit = np.flatnonzero((cosine > 0) & (true_normals @ direction > 0))
        toward = np.broadcast_to(direction, (len(lit), 3))
        is_lit = np.ones(len(lit), bool)
        for tracer in tracers:
            is_lit &= ~tracer.blocked(start[lit], toward)
        strength = np.zeros(len(points), np.float32)
        strength[lit] = cosine[lit] * np.where(is_lit, 1.0, 0.08)
        diffuse = diffuse + strength[:, None] * color
        half = direction - view
        half /= np.linalg.norm(half, axis=1, keepdims=True) + 1e-9
        power = 2 / np.maximum(roughness, 0.1) ** 3
        spot = np.clip((normals * half).sum(1), 0, 1) ** power * (1 - roughness) * (strength > 0.1)
        gloss += spot[:, None] * color * 0.7
    if light.steps:
        level = np.ceil(diffuse * light.steps) / light.steps
        return (albedo * level * light.exposure).astype(np.float32), np.ones(len(points), "f4")
    mirror = view - 2 * (view * normals).sum(1, keepdims=True) * normals
    reflection = look_up(light.sky.soft, mirror, light.yaw) * light.ambient
    facing = np.clip(-(view * normals).sum(1), 0, 1)
    fresnel = (0.04 + 0.6 * (1 - facing) ** 5) * (1 - roughness)
    shiny = np.maximum(metal * 0.9, fresnel)[:, None]
    tint = np.where(metal[:, None] > 0.5, albedo, 1.0)
    color = albedo * diffuse * (1 - metal[:, None] * 0.8) + reflection * shiny * tint
    color = color + gloss * np.where(metal[:, None] > 0.5, albedo * 2, 0.6)
    openness = np.ones(len(points), np.float32)
    if light.occlusion > 0:
        openness = 1 - light.occlusion * (1 - _visible(rng, points, true_normals, tracers, reach))
    return (color * light.exposure).astype(np.float32), openness.astype(np.float32)
