"""Render what a phone sees on a walk: clutter, surroundings, shaky hands, noise, JPEG, EXIF.

    python -m benchmarks.photos.walk --objects FOLDER --textures FOLDER --out FOLDER [--sets table room]

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
from collections.abc import Iterator, Sequence
from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray
from PIL import Image

from ..data.render_truth import add_camera, set_render, silent_stdout
from .walk_sets import SETS, Doubles, Props, Stop, Walk

logger = logging.getLogger("walk")

OPENCV_TO_OPENGL = np.diag([1.0, -1.0, -1.0, 1.0])
FOV_LONG = math.radians(65.0)  # along the longer side, as phones see
EXIF_FOCAL_35MM, EXIF_ORIENTATION, EXIF_SUB = 0xA405, 0x0112, 0x8769
FRAMES_PER_SECOND = 15


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
