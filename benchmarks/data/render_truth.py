"""Render a folder of GLB objects with Cycles and save the exact truth of every picture.

    python -m benchmarks.data.render_truth --objects FOLDER --out FOLDER [--views 4] [--size 512]

Needs the bpy wheel. Pictures that are already there are kept, so an interrupted run goes on.
"""

# Blender's type stubs do not know nodes, lights and Cycles settings by their own classes.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import math
import os
import sys
import time
import zlib
from collections.abc import Iterator
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from scipy.spatial import ConvexHull

from .rays import cast, pixel_rays
from .truth import save_view, spread

logger = logging.getLogger("render_truth")

FILL = 0.75
NEAREST = 2.0  # distance of the camera in radii of the object
AZIMUTHS = (20.0, 110.0, 200.0, 290.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=Path, required=True, help="folder of .glb files")
    parser.add_argument("--out", type=Path, required=True, help="where pictures and truth go")
    parser.add_argument("--views", type=int, default=4)
    parser.add_argument("--size", type=int, default=512, help="pixels of the square picture")
    parser.add_argument("--samples", type=int, default=16)
    parser.add_argument("--limit", type=int, help="only so many objects")
    parser.add_argument("--hdri", type=Path, help="folder of .hdr skies; default: a gradient sky")
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")

    files = spread(sorted(arguments.objects.rglob("*.glb")), arguments.limit)
    if not files:
        parser.error(f"{arguments.objects} holds no .glb file: give a folder of GLB objects.")
    arguments.out.mkdir(parents=True, exist_ok=True)
    index = {path.stem: [f"{path.stem}_{v}" for v in range(arguments.views)] for path in files}
    (arguments.out / "truth.json").write_text(json.dumps(index, indent=1), encoding="utf-8")
    # View by view, so that an interrupted run has every object rather than every side of a few.
    for view in range(arguments.views):
        for path in files:
            if not (arguments.out / f"{path.stem}_{view}.npz").is_file():
                start = time.perf_counter()
                render_view(path, view, arguments)
                seconds = time.perf_counter() - start
                logger.info("%s_%d %.1f s", path.stem, view, seconds)
    return 0


def render_view(path: Path, view: int, arguments: argparse.Namespace) -> None:
    """Render one object from one side and save its truth."""
    random = np.random.default_rng(zlib.crc32(f"{path.stem}_{view}".encode()))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    with silent_stdout():
        bpy.ops.import_scene.gltf(filepath=str(path))
    triangles = world_triangles()
    azimuth = AZIMUTHS[view % len(AZIMUTHS)] + random.uniform(-20, 20)
    elevation = random.uniform(5, 35)
    fov_x = math.radians(random.uniform(30, 45))
    camera = framing_camera(triangles, math.radians(azimuth), math.radians(elevation), fov_x)
    add_camera(camera, fov_x)
    add_light(camera, random, arguments.hdri)
    set_render(arguments.size, arguments.samples)
    name = f"{path.stem}_{view}"
    bpy.data.scenes[0].render.filepath = str(arguments.out / f"{name}.png")
    with silent_stdout():
        bpy.ops.render.render(write_still=True)

    seen = (triangles - camera[:3, 3]) @ camera[:3, :3]
    hits = cast(seen, pixel_rays(fov_x, arguments.size, arguments.size))
    save_view(arguments.out, name, seen, camera, fov_x, hits)


@contextlib.contextmanager
def silent_stdout() -> Iterator[None]:
    """Drop what Blender writes to file descriptor 1: a line per render tile, hundreds a picture."""
    sys.stdout.flush()
    kept = os.dup(1)
    with Path(os.devnull).open("wb") as sink:
        os.dup2(sink.fileno(), 1)
        try:
            yield
        finally:
            os.dup2(kept, 1)
            os.close(kept)


def world_triangles() -> NDArray[np.float64]:
    """Give the corners of every triangle that renders, (T, 3, 3), world frame."""
    graph = bpy.context.evaluated_depsgraph_get()
    parts = []
    for instance in graph.object_instances:
        if instance.object.type != "MESH" or instance.object.hide_render:
            continue
        mesh = instance.object.to_mesh()
        mesh.calc_loop_triangles()
        corners = np.empty(len(mesh.loop_triangles) * 3, np.int32)
        mesh.loop_triangles.foreach_get("vertices", corners)
        positions = np.empty(len(mesh.vertices) * 3, np.float32)
        mesh.vertices.foreach_get("co", positions)
        matrix = np.array(instance.matrix_world)
        world = positions.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        parts.append(world[corners].reshape(-1, 3, 3))
        instance.object.to_mesh_clear()
    return np.concatenate(parts)


def framing_camera(
    triangles: NDArray[np.float64], azimuth: float, elevation: float, fov_x: float
) -> NDArray[np.float64]:
    """Place a camera so that the object fills ``FILL`` of a square frame.

    Args:
        triangles: (T, 3, 3) world frame, +z up.
        azimuth: Radians about +z, 0 looks from -y.
        elevation: Radians above the horizon.
        fov_x: Radians.

    Returns:
        (4, 4) camera-to-world; the camera in OpenCV axes.
    """
    points = triangles.reshape(-1, 3)
    middle = (points.min(0) + points.max(0)) / 2
    forward = np.array(
        [
            -math.sin(azimuth) * math.cos(elevation),
            math.cos(azimuth) * math.cos(elevation),
            -math.sin(elevation),
        ]
    )
    right = np.array([math.cos(azimuth), math.sin(azimuth), 0.0])
    axes = np.stack([right, np.cross(forward, right), forward], axis=1)
    local = (points - middle) @ axes
    local = local[ConvexHull(local, qhull_options="QJ").vertices]
    radius = float(np.linalg.norm(local, axis=1).max())
    # Nobody photographs a fork with its tip in the lens.
    near, far = NEAREST * radius, 100 * radius
    shift = np.zeros(3)
    for _ in range(30):
        shift[2] = math.sqrt(near * far)
        if _centred_extent(local, shift, math.tan(fov_x / 2)) > FILL:
            near = shift[2]
        else:
            far = shift[2]
    matrix = np.eye(4)
    matrix[:3, :3] = axes
    matrix[:3, 3] = middle - axes @ shift
    return matrix


def _centred_extent(local: NDArray[np.float64], shift: NDArray[np.float64], edge: float) -> float:
    """Move ``shift`` sideways until the points are centred; give the share of the frame they fill.

    Args:
        local: (N, 3) points about their middle, camera axes.
        shift: (3,) the middle in the camera frame; x and y are changed.
        edge: Tangent of half the field of view.
    """
    low = high = np.zeros(2)
    for _ in range(8):
        seen = local + shift
        projected = seen[:, :2] / seen[:, 2:] / edge
        low, high = projected.min(0), projected.max(0)
        shift[:2] -= (low + high) / 2 * edge * shift[2]
    return float((high - low).max() / 2)


def add_camera(camera: NDArray[np.float64], fov_x: float) -> None:
    """Make the scene's camera from a camera-to-world matrix in OpenCV axes."""
    data = bpy.data.cameras.new("truth")
    data.sensor_fit = "HORIZONTAL"
    data.angle = fov_x
    data.clip_start, data.clip_end = 1e-4, 1e5
    holder = bpy.data.objects.new("truth", data)
    # Blender's camera looks along -z with +y up.
    holder.matrix_world = Matrix((camera @ np.diag([1.0, -1.0, -1.0, 1.0])).tolist())
    bpy.data.scenes[0].collection.objects.link(holder)
    bpy.data.scenes[0].camera = holder


def add_light(camera: NDArray[np.float64], random: np.random.Generator, skies: Path | None) -> None:
    """Light the scene with a sky and a sun from above on the camera's side."""
    world = bpy.data.worlds.new("sky")
    bpy.data.scenes[0].world = world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    background = nodes["Background"]
    if skies is not None:
        files = sorted(skies.glob("*.hdr"))
        picture = nodes.new("ShaderNodeTexEnvironment")
        picture.image = bpy.data.images.load(str(files[int(random.integers(len(files)))]))
        links.new(picture.outputs["Color"], background.inputs["Color"])
        return
    coordinates = nodes.new("ShaderNodeTexCoord")
    split = nodes.new("ShaderNodeSeparateXYZ")
    ramp = nodes.new("ShaderNodeValToRGB")
    ramp.color_ramp.elements[0].color = (0.16, 0.13, 0.11, 1)
    ramp.color_ramp.elements[1].color = (0.75, 0.85, 1.0, 1)
    links.new(coordinates.outputs["Generated"], split.inputs["Vector"])
    links.new(split.outputs["Z"], ramp.inputs["Fac"])
    links.new(ramp.outputs["Color"], background.inputs["Color"])
    background.inputs["Strength"].default_value = random.uniform(0.3, 0.5)

    sun = bpy.data.lights.new("sun", "SUN")
    sun.energy = random.uniform(1.0, 1.8)
    sun.angle = math.radians(random.uniform(2, 25))
    holder = bpy.data.objects.new("sun", sun)
    side = random.uniform(-1.0, 1.0)
    to_sun = -camera[:3, 2] + side * camera[:3, 0] + np.array([0, 0, random.uniform(0.4, 1.2)])
    to_sun /= np.linalg.norm(to_sun)
    axis = np.cross(to_sun, [0.3, 0.2, 1.0])
    axis /= np.linalg.norm(axis)
    # A sun shines along its own -z.
    frame = np.eye(4)
    frame[:3, :3] = np.stack([axis, np.cross(to_sun, axis), to_sun], axis=1)
    holder.matrix_world = Matrix(frame.tolist())
    bpy.data.scenes[0].collection.objects.link(holder)


def set_render(size: int, samples: int) -> None:
    scene = bpy.data.scenes[0]
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = samples
    scene.cycles.use_adaptive_sampling = False
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = 4
    scene.cycles.seed = 0
    scene.render.film_transparent = True
    scene.render.resolution_x = scene.render.resolution_y = size
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The bpy wheel may crash or hang at interpreter exit once an importer has registered classes.
    os._exit(status)
