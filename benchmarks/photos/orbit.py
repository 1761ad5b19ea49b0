"""Render GLB objects on a patterned floor from an orbit of known cameras, as somebody walks round.

    python -m benchmarks.photos.orbit --objects FOLDER --out FOLDER [--limit 3] [--size 400]

Needs the bpy wheel. Writes for each object ``pictures/*.png``, ``masks/*.png``, the cameras as a
``transforms.json`` and the true triangles as ``truth.npz``. Pictures that are there are kept.
"""

# Blender's type stubs do not know nodes, lights and Cycles settings by their own classes.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import argparse
import json
import logging
import math
import os
import sys
import time
from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..data.rays import cast, pixel_rays
from ..data.render_truth import (
    add_camera,
    framing_camera,
    set_render,
    silent_stdout,
    world_triangles,
)
from ..data.truth import spread

logger = logging.getLogger("orbit")

ELEVATIONS = (12.0, 32.0, 58.0)  # degrees; the middle ring is a set of its own
RING = 16  # views of each ring
FOV_X = math.radians(42.0)
OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
OVERSAMPLING = 3  # rays along each side of a mask's pixel


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=Path, required=True, help="folder of .glb files")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--size", type=int, default=400, help="pixels of the square picture")
    parser.add_argument("--samples", type=int, default=12)
    parser.add_argument("--limit", type=int, help="only so many objects")
    parser.add_argument("--names", nargs="+", help="only these objects")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    files = sorted(arguments.objects.rglob("*.glb"))
    if arguments.names:
        files = [path for path in files if path.stem in arguments.names]
    files = spread(files, arguments.limit)
    if not files:
        parser.error(f"{arguments.objects} holds no such .glb file.")
    for path in files:
        start = time.perf_counter()
        render_orbit(path, arguments.out / path.stem, arguments.size, arguments.samples)
        logger.info("%s %.0f s", path.stem, time.perf_counter() - start)
    return 0


def render_orbit(path: Path, folder: Path, size: int, samples: int) -> None:
    """Render one object from every camera of the orbit."""
    for name in ("pictures", "masks"):
        (folder / name).mkdir(parents=True, exist_ok=True)
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with silent_stdout():
        bpy.ops.import_scene.gltf(filepath=str(path))
    triangles = world_triangles()
    np.savez_compressed(folder / "truth.npz", triangles=triangles.astype(np.float32))
    add_floor(triangles)
    add_daylight()
    set_render(size, samples)
    scene = bpy.data.scenes[0]
    scene.render.use_persistent_data = True  # only the camera moves between pictures
    scene.render.film_transparent = False
    scene.render.image_settings.color_mode = "RGB"
    cameras = [framing_camera(triangles, *direction, FOV_X) for direction in orbit()]
    write_cameras(folder, cameras)
    for index, camera in enumerate(cameras):
        name = f"{index:03d}.png"
        if (folder / "pictures" / name).is_file() and (folder / "masks" / name).is_file():
            continue
        cv2.imwrite(str(folder / "masks" / name), _mask(triangles, camera, size))
        if scene.camera is None:
            add_camera(camera, FOV_X)
        scene.camera.matrix_world = Matrix((camera @ OPENCV_TO_OPENGL).tolist())
        scene.render.filepath = str(folder / "pictures" / name)
        with silent_stdout():
            bpy.ops.render.render(write_still=True)


def write_cameras(folder: Path, cameras: list[NDArray[np.float64]]) -> None:
    """Write camera-to-world matrices in OpenCV axes as NeRF tools do, in OpenGL axes."""
    frames = [
        {
            "file_path": f"pictures/{index:03d}.png",
            "transform_matrix": (camera @ OPENCV_TO_OPENGL).tolist(),
        }
        for index, camera in enumerate(cameras)
    ]
    record = {"camera_angle_x": FOV_X, "frames": frames}
    (folder / "transforms.json").write_text(json.dumps(record, indent=1), encoding="utf-8")


def orbit() -> list[tuple[float, float]]:
    """Azimuth and elevation of every camera in radians: three rings, one after another."""
    return [
        (math.radians(360.0 * step / RING + 7.0 * ring), math.radians(elevation))
        for ring, elevation in enumerate(ELEVATIONS)
        for step in range(RING)
    ]


def add_floor(triangles: NDArray[np.float64]) -> None:
    """Lay a patterned floor under the object; a bare one would give nothing to match."""
    points = triangles.reshape(-1, 3)
    low, high = points.min(0), points.max(0)
    extent = float((high - low).max())
    bpy.ops.mesh.primitive_plane_add(
        size=12 * extent, location=((low[0] + high[0]) / 2, (low[1] + high[1]) / 2, low[2])
    )
    material = bpy.data.materials.new("floor")
    material.use_nodes = True
    nodes, links = material.node_tree.nodes, material.node_tree.links
    noise = nodes.new("ShaderNodeTexNoise")
    noise.inputs["Scale"].default_value = 14.0 / extent
    noise.inputs["Detail"].default_value = 8.0
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].position, ramp.color_ramp.elements[1].position = 0.35, 0.65
    ramp.color_ramp.elements[0].color = (0.10, 0.07, 0.05, 1)
    ramp.color_ramp.elements[1].color = (0.55, 0.48, 0.38, 1)
    where = nodes.new("ShaderNodeTexCoord")
    links.new(where.outputs["Object"], noise.inputs["Vector"])
    links.new(noise.outputs["Fac"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
    nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.9
    bpy.context.object.data.materials.append(material)


def add_daylight() -> None:
    """Even light from a bright sky and one soft sun; it stays while the camera moves."""
    world = bpy.data.worlds.new("sky")
    bpy.data.scenes[0].world = world
    world.use_nodes = True
    world.node_tree.nodes["Background"].inputs["Color"].default_value = (0.75, 0.85, 1.0, 1.0)
    world.node_tree.nodes["Background"].inputs["Strength"].default_value = 0.7
    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = 1.6
    sun.angle = math.radians(12)
    holder = bpy.data.objects.new("sun", sun)
    holder.rotation_euler = (math.radians(35), math.radians(20), 0.4)
    bpy.data.scenes[0].collection.objects.link(holder)


def _mask(
    triangles: NDArray[np.float64], camera: NDArray[np.float64], size: int
) -> NDArray[np.uint8]:
    """(size, size) coverage of the object, 255 = all of the pixel."""
    seen = (triangles - camera[:3, 3]) @ camera[:3, :3]
    fine = size * OVERSAMPLING
    hits = cast(seen, pixel_rays(FOV_X, fine, fine)).mask
    share = hits.reshape(size, OVERSAMPLING, size, OVERSAMPLING).mean(axis=(1, 3))
    return np.rint(share * 255).astype(np.uint8)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The bpy wheel may crash or hang at interpreter exit once an importer has registered classes.
    os._exit(status)
