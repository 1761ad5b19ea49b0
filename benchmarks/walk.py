"""Render what a phone sees on a walk: clutter, surroundings, shaky hands, noise, JPEG, EXIF.

    python benchmarks/walk.py --objects FOLDER --textures FOLDER --out FOLDER [--sets table room]

Needs the bpy wheel. ``--textures`` holds colour maps and .hdr skies, in folders of any depth. For
each set there are the photos (or a video) in ``OUT/SET/`` and, outside of it, ``OUT/SET.npz`` with
the true triangles of the subject, the cameras, and the name of each photo. Photos that are there are
kept.
"""

# Blender's type stubs do not know nodes, lights and Cycles settings by their own classes.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import argparse
import logging
import math
import os
import sys
import time
import zlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from PIL import Image
from render_truth import add_camera, set_render, silent_stdout

logger = logging.getLogger("walk")

OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
FOV_LONG = math.radians(65.0)  # along the longer side, as phones see
EXIF_FOCAL_35MM, EXIF_ORIENTATION, EXIF_SUB = 0xA405, 0x0112, 0x8769
FRAMES_PER_SECOND = 15
Doubles = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Stop:
    """Where the camera is for one photo, before the hand shakes: position and what it looks at."""

    position: Doubles
    target: Doubles
    is_upright: bool = False  # a portrait


@dataclass(frozen=True, slots=True)
class Walk:
    """One set of photos.

    Attributes:
        build: Puts objects into the scene; returns the one that the photos are of, or None.
        stops: The way, given a random generator.
        sky: Part of the name of the .hdr file.
        has_exif: Whether photos tell their focal length.
        is_video: One clip instead of photos.
        shake: Of the hand, as a share of the distance.
        bounces: Of light; the sky lights nearly all of it, but what a mirror shows has to be lit, too.
    """

    build: Callable[[Props], list[bpy.types.Object]]
    stops: Callable[[np.random.Generator], list[Stop]]
    sky: str
    has_exif: bool = True
    is_video: bool = False
    shake: float = 0.03
    bounces: int = 1


class Props:
    """Things to put into a scene."""

    def __init__(self, objects: Path, textures: Path) -> None:
        self.objects, self.textures = objects, textures

    def put(
        self, name: str, size: float, where: tuple[float, float, float], turn: float = 0.0
    ) -> list[bpy.types.Object]:
        """Import a GLB, its longest side ``size`` metres, standing at ``where``."""
        before = set(bpy.data.objects)
        with silent_stdout():
            bpy.ops.import_scene.gltf(filepath=str(next(self.objects.rglob(f"{name}.glb"))))
        new = [obj for obj in bpy.data.objects if obj not in before]
        bpy.context.view_layer.update()
        meshes = [obj for obj in new if obj.type == "MESH"]
        corners = np.array(
            [obj.matrix_world @ v.co for obj in meshes for v in obj.data.vertices], np.float64
        )
        low, high = corners.min(axis=0), corners.max(axis=0)
        base = np.array([*((low + high) / 2)[:2], low[2]])
        move = (
            Matrix.Translation(where)
            @ Matrix.Rotation(math.radians(turn), 4, "Z")
            @ Matrix.Scale(size / float((high - low).max()), 4)
            @ Matrix.Translation((-base).tolist())
        )
        for obj in new:
            if obj.parent is None:
                obj.matrix_world = move @ obj.matrix_world
        bpy.context.view_layer.update()
        return meshes

    def plane(
        self,
        texture: str,
        size: tuple[float, float],
        where: tuple[float, float, float],
        turns: tuple[float, float, float] = (0, 0, 0),
        tile: float = 1.0,
    ) -> bpy.types.Object:
        """A textured rectangle; the texture repeats every ``tile`` metres."""
        bpy.ops.mesh.primitive_plane_add(size=1, location=where)
        obj = bpy.context.object
        obj.scale = (*size, 1)
        obj.rotation_euler = [math.radians(t) for t in turns]
        material = bpy.data.materials.new(texture)
        material.use_nodes = True
        nodes, links = material.node_tree.nodes, material.node_tree.links
        picture = nodes.new("ShaderNodeTexImage")
        picture.image = bpy.data.images.load(str(self.texture(texture)), check_existing=True)
        mapping, where_on = nodes.new("ShaderNodeMapping"), nodes.new("ShaderNodeTexCoord")
        mapping.inputs["Scale"].default_value = (size[0] / tile, size[1] / tile, 1)
        links.new(where_on.outputs["UV"], mapping.inputs["Vector"])
        links.new(mapping.outputs["Vector"], picture.inputs["Vector"])
        links.new(picture.outputs["Color"], nodes["Principled BSDF"].inputs["Base Color"])
        nodes["Principled BSDF"].inputs["Roughness"].default_value = 0.7
        obj.data.materials.append(material)
        return obj

    def texture(self, name: str) -> Path:
        return next(p for p in sorted(self.textures.rglob(f"*{name}*")) if "Normal" not in p.name)

    def lamp(self, where: tuple[float, float, float], watts: float, size: float) -> None:
        light = bpy.data.lights.new("lamp", "AREA")
        light.energy, light.size = watts, size
        obj = bpy.data.objects.new("lamp", light)
        obj.location = where
        bpy.context.scene.collection.objects.link(obj)


def _table(props: Props) -> list[bpy.types.Object]:
    props.plane("WoodFloor043_1K_Color", (8, 8), (0, 0, 0), tile=2)
    props.put("ph_wooden_table", 1.13, (0, 0, 0))
    subject = props.put("geo_koala", 0.24, (0.05, 0.0, 0.8), 30)
    props.put("ycb_doraemon_bowl", 0.14, (-0.34, 0.18, 0.8))
    props.put("ycb_apple", 0.075, (0.4, -0.22, 0.8))
    props.put("ph_painted_stool", 0.58, (1.2, 0.5, 0))
    return subject


def _floor(props: Props) -> list[bpy.types.Object]:
    props.plane("Tiles036_1K_Color", (10, 10), (0, 0, 0), tile=1.4)
    subject = props.put("geo_boot", 0.3, (0, 0, 0))
    props.put("ph_wooden_table", 1.13, (1.3, 0.8, 0), 20)
    props.put("ph_painted_stool", 0.58, (-1.2, 0.9, 0))
    return subject


def _grass(props: Props) -> list[bpy.types.Object]:
    props.plane("Grass001_1K_Color", (12, 12), (0, 0, 0), tile=1.0)
    subject = props.put("geo_skull", 0.4, (0, 0, 0), 10)
    props.put("geo_goathead", 0.4, (1.4, 1.1, 0), 60)
    return subject


def _stool(props: Props) -> list[bpy.types.Object]:
    props.plane("WoodFloor043_1K_Color", (6, 5), (0, 0, 0), tile=1.5)
    _walls(props, 6, 5)
    props.put("ph_wooden_table", 1.13, (1.9, 1.6, 0))
    return props.put("ph_painted_stool", 0.58, (0, 0, 0), 15)


def _room(props: Props) -> list[bpy.types.Object]:
    props.plane("WoodFloor043_1K_Color", (5, 4), (0, 0, 0), tile=1.5)
    _walls(props, 5, 4)
    props.put("ph_wooden_table", 1.2, (-1.3, 1.3, 0), 90)
    props.put("ph_tea_set", 0.5, (-1.3, 1.3, 0.84), 70)
    props.put("ph_painted_stool", 0.58, (-0.4, 1.4, 0))
    props.put("geo_goathead", 0.6, (1.6, 1.4, 0), 200)
    props.put("geo_demosthenes", 0.7, (2.0, -0.6, 0), -90)
    return []


def _mirrored(props: Props) -> list[bpy.types.Object]:
    """The same room with a framed mirror on the wall that has no pictures."""
    _room(props)
    props.plane("Grass001_1K_Color", (1.5, 1.1), (0.3, -1.98, 1.35), (90, 0, 180), 0.8)
    glass = props.plane("Tiles036_1K_Color", (1.3, 0.9), (0.3, -1.97, 1.35), (90, 0, 180))
    material = bpy.data.materials.new("glass")
    material.use_nodes = True
    shader = material.node_tree.nodes["Principled BSDF"]
    for name, value in (("Base Color", (0.9, 0.9, 0.9, 1)), ("Metallic", 1.0), ("Roughness", 0.0)):
        shader.inputs[name].default_value = value
    glass.data.materials[0] = material
    return []


def _walls(props: Props, width: float, depth: float) -> None:
    props.plane("Rock020_1K_Color", (width, 2.6), (0, depth / 2, 1.3), (90, 0, 0), 2.2)
    props.plane("Marble006_1K_Color", (width, 2.6), (0, -depth / 2, 1.3), (90, 0, 180), 2.5)
    # No two walls look alike: nobody could tell where a picture of the other was taken.
    props.plane("Metal007_1K_Color", (depth, 2.6), (width / 2, 0, 1.3), (90, 0, -90), 2.6)
    props.plane("Tiles036_1K_Color", (depth, 2.6), (-width / 2, 0, 1.3), (90, 0, 90), 2.1)
    props.lamp((0, 0, 2.55), 90, 1.5)
    for number in range(5):  # pictures on the walls
        name = ("Tiles036_1K_Color", "Metal007_1K_Color", "Grass001_1K_Color")[number % 3]
        x = -width / 2 + 0.7 + number * (width - 1.4) / 4
        props.plane(name, (0.6, 0.45), (x, depth / 2 - 0.02, 1.5), (90, 0, 0), 0.9)


def _around(
    centre: Sequence[float],
    distance: float,
    count: int,
    *,
    turn: float = 360.0,
    heights: Sequence[float] = (25.0,),
    portraits: float = 0.0,
) -> Callable[[np.random.Generator], list[Stop]]:
    """A walk around something: uneven steps, wandering height and distance."""

    def stops(random: np.random.Generator) -> list[Stop]:
        made = []
        steps = np.cumsum(random.uniform(0.6, 1.4, count))
        for number, step in enumerate(steps / steps[-1]):
            ring = heights[number * len(heights) // count]
            angle = math.radians(step * turn * len(heights) + 40)
            rise = math.radians(ring + random.normal(0, 4))
            far = distance * random.uniform(0.85, 1.2)
            way = np.array(
                [
                    math.sin(angle) * math.cos(rise),
                    -math.cos(angle) * math.cos(rise),
                    math.sin(rise),
                ]
            )
            target = np.array(centre, np.float64)
            made.append(Stop(target + far * way, target, bool(random.random() < portraits)))
        return made

    return stops


def _through(random: np.random.Generator) -> list[Stop]:
    """A walk through a room, looking at its walls."""
    made = []
    for number in range(32):
        share = number / 32
        angle = math.radians(360 * share)
        position = np.array([-0.9 * math.sin(angle), -0.7 * math.cos(angle), 1.5])
        position += random.normal(0, 0.08, 3)
        way = np.array([1.6 * math.sin(angle), 1.6 * math.cos(angle), -0.35])
        made.append(Stop(position, position + way + random.normal(0, 0.1, 3)))
    return made


SETS = {
    "table": Walk(
        _table, _around((0.05, 0, 0.9), 0.75, 28, heights=(22.0, 48.0), portraits=0.2), "st_fagans"
    ),
    "floor": Walk(_floor, _around((0, 0, 0.12), 0.95, 24, heights=(30.0,)), "adams_place", False),
    "grass": Walk(_grass, _around((0, 0, 0.15), 1.2, 22, turn=200.0), "rooitou", True),
    "stool": Walk(_stool, _around((0, 0, 0.28), 1.3, 22, heights=(26.0,)), "empty_ware"),
    "room": Walk(_room, _through, "empty_ware"),
    "mirror": Walk(_mirrored, _through, "empty_ware", bounces=3),
    "clip": Walk(
        _table, _around((0.05, 0, 0.9), 0.7, 90, heights=(30.0,)), "st_fagans", False, True, 0.0
    ),
}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--objects", type=Path, required=True, help="folder of .glb files")
    parser.add_argument("--textures", type=Path, required=True, help="colour maps and .hdr skies")
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sets", nargs="+", default=list(SETS), choices=list(SETS))
    parser.add_argument("--size", type=int, default=800, help="longer side in pixels")
    parser.add_argument("--samples", type=int, default=4)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for name in arguments.sets:
        start = time.perf_counter()
        render_walk(name, SETS[name], arguments)
        logger.info("%s %.0f s", name, time.perf_counter() - start)
    return 0


def render_walk(name: str, walk: Walk, arguments: argparse.Namespace) -> None:
    """Render one set."""
    random = np.random.default_rng(zlib.crc32(name.encode()))
    bpy.ops.wm.read_factory_settings(use_empty=True)
    bpy.data.scenes[0].world = bpy.data.worlds.new("sky")
    props = Props(arguments.objects, arguments.textures)
    subject = walk.build(props)
    _add_sky(next(arguments.textures.rglob(f"*{walk.sky}*.hdr")))
    folder = arguments.out / name
    folder.mkdir(parents=True, exist_ok=True)
    stops = walk.stops(random)
    if walk.is_video:
        stops = _smoothed(stops)
    names, cameras, lenses = [], [], []
    width, height = arguments.size, arguments.size * 3 // 4
    if walk.is_video:
        width, height = 640, 360
    set_render(width, arguments.samples)
    scene = bpy.data.scenes[0]
    scene.render.film_transparent = False
    scene.cycles.use_denoising = True
    scene.cycles.max_bounces = walk.bounces
    scene.cycles.use_fast_gi = True
    scene.cycles.denoising_quality = "FAST"
    scene.render.use_persistent_data = True
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGB"
    first = int(random.integers(1000, 9000))
    frames = []
    for number, stop in enumerate(stops):
        matrix = _shaken(stop, walk.shake, random)
        size = (height, width) if stop.is_upright else (width, height)
        fov_x = 2 * math.atan(math.tan(FOV_LONG / 2) * size[0] / width)
        seed = int(random.integers(1 << 31))
        path = folder / f"IMG_{first + 2 * number}.jpg"
        names.append(path.name)
        cameras.append(matrix)
        lenses.append((fov_x, *size))
        frame = arguments.out / f".{name}_{number:04d}.png"
        if path.is_file() or (walk.is_video and frame.is_file()):
            frames.append(frame)
            continue
        if scene.camera is None:
            add_camera(matrix, fov_x)
        scene.camera.data.angle = fov_x
        scene.camera.matrix_world = Matrix((matrix @ OPENCV_TO_OPENGL).tolist())
        scene.render.resolution_x, scene.render.resolution_y = size
        scene.render.filepath = str(frame)
        with silent_stdout():
            bpy.ops.render.render(write_still=True)
        pixels = _developed(np.asarray(Image.open(frame).convert("RGB")), seed)
        if walk.is_video:
            Image.fromarray(pixels).save(frame)
            frames.append(frame)
            continue
        frame.unlink()
        _write_jpeg(path, pixels, walk.has_exif, stop.is_upright)
    if walk.is_video:
        _write_clip(folder / "VID_0001.mp4", frames)
    np.savez_compressed(
        arguments.out / f"{name}.npz",
        triangles=_triangles(subject),
        cameras=np.array(cameras),
        lenses=np.array(lenses),
        names=np.array(names),
    )


def _shaken(stop: Stop, shake: float, random: np.random.Generator) -> Doubles:
    """(4, 4) camera-to-world in OpenCV axes, as a hand holds it."""
    distance = float(np.linalg.norm(stop.target - stop.position))
    eye = stop.position + random.normal(0, shake * distance, 3)
    ahead = stop.target + random.normal(0, 2 * shake * distance, 3) - eye
    ahead /= np.linalg.norm(ahead)
    right = np.cross(ahead, [0.0, 0.0, 1.0])
    right /= np.linalg.norm(right)
    down = np.cross(ahead, right)
    roll = random.normal(0, shake)
    turned = math.cos(roll) * right + math.sin(roll) * down
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([turned, np.cross(ahead, turned), ahead], axis=1)
    matrix[:3, 3] = eye
    return matrix


def _smoothed(stops: list[Stop]) -> list[Stop]:
    """A video's camera moves without leaps."""
    positions = np.array([stop.position for stop in stops])
    kernel = np.hanning(17)[1:-1] / np.hanning(17).sum()
    padded = np.pad(positions, ((7, 7), (0, 0)), mode="edge")
    smooth = np.stack([np.convolve(padded[:, a], kernel, "valid") for a in range(3)], axis=1)
    return [Stop(p, stop.target) for p, stop in zip(smooth, stops, strict=True)]


def _developed(pixels: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """Exposure, vignetting and noise of a phone's sensor."""
    random = np.random.default_rng(seed)
    height, width = pixels.shape[:2]
    linear = (pixels.astype(np.float32) / 255) ** 2.2
    y, x = np.mgrid[-1 : 1 : height * 1j, -1 : 1 : width * 1j]
    gain = 2 ** random.uniform(-0.3, 0.3) * (1 - 0.12 * (x**2 + y**2) / 2)
    tint = 1 + random.normal(0, 0.015, 3)
    linear *= (gain[..., None] * tint).astype(np.float32)
    noise = cv2.GaussianBlur(random.normal(0, 1, pixels.shape).astype(np.float32), (0, 0), 0.6)
    linear += noise * (0.008 + 0.03 * np.sqrt(np.clip(linear, 0, 1)))
    return np.rint(255 * np.clip(linear, 0, 1) ** (1 / 2.2)).astype(np.uint8)


def _write_jpeg(path: Path, pixels: NDArray[np.uint8], has_exif: bool, is_upright: bool) -> None:
    """Portraits are stored on their side with a note to turn them, as phones do."""
    exif = Image.Exif()
    image = Image.fromarray(pixels)
    if is_upright and has_exif:
        image = image.transpose(Image.Transpose.ROTATE_90)
        exif[EXIF_ORIENTATION] = 6
    if has_exif:
        exif.get_ifd(EXIF_SUB)[EXIF_FOCAL_35MM] = round(36 / 2 / math.tan(FOV_LONG / 2))
    image.save(path, quality=88, exif=exif)


def _write_clip(path: Path, frames: Sequence[Path]) -> None:
    images = [cv2.imread(str(frame)) for frame in frames]
    height, width = images[0].shape[:2]
    code = cv2.VideoWriter.fourcc(*"mp4v")
    writer = cv2.VideoWriter(str(path), code, FRAMES_PER_SECOND, (width, height))
    for image in images:
        writer.write(image)
    writer.release()


def _add_sky(path: Path) -> None:
    world = bpy.data.scenes[0].world
    world.use_nodes = True
    nodes, links = world.node_tree.nodes, world.node_tree.links
    picture = nodes.new("ShaderNodeTexEnvironment")
    picture.image = bpy.data.images.load(str(path))
    links.new(picture.outputs["Color"], nodes["Background"].inputs["Color"])


def _triangles(objects: Sequence[bpy.types.Object]) -> NDArray[np.float32]:
    """(T, 3, 3) in the world; of everything when there is no subject."""
    objects = objects or [obj for obj in bpy.data.objects if obj.type == "MESH"]
    return np.concatenate(list(_parts(objects))).astype(np.float32)


def _parts(objects: Sequence[bpy.types.Object]) -> Iterator[Doubles]:
    for obj in objects:
        obj.data.calc_loop_triangles()
        corners = np.empty(len(obj.data.loop_triangles) * 3, np.int32)
        obj.data.loop_triangles.foreach_get("vertices", corners)
        positions = np.empty(len(obj.data.vertices) * 3, np.float32)
        obj.data.vertices.foreach_get("co", positions)
        matrix = np.array(obj.matrix_world)
        world = positions.reshape(-1, 3) @ matrix[:3, :3].T + matrix[:3, 3]
        yield world[corners].reshape(-1, 3, 3)


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    # The bpy wheel may crash or hang at interpreter exit once an importer has registered classes.
    os._exit(status)
