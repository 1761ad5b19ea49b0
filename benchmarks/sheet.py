"""A contact sheet of a result in the open file: the picture, the result from all sides, its wires."""

from __future__ import annotations

import math
import tempfile
from dataclasses import dataclass
from pathlib import Path

import bpy
import cv2
import numpy as np
from mathutils import Matrix, Vector
from numpy.typing import NDArray

Tile = NDArray[np.uint8]

SIDE = 384
SAMPLES = 16
PAPER = 255


@dataclass(frozen=True, slots=True)
class Shot:
    """One rendered tile: turned by ``turn`` degrees about the vertical, 0 = what the camera saw."""

    label: str
    turn: float
    is_wire: bool = False


OBJECT_SHOTS = (
    Shot("front", 0),
    Shot("side", 90),
    Shot("back", 180),
    Shot("wires", 35, is_wire=True),
)
SCENE_SHOTS = (
    Shot("through the camera", 0),
    Shot("20 degrees left", -20),
    Shot("20 degrees right", 20),
    Shot("wires", 20, is_wire=True),
)


def contact_sheet(picture: Path, obj: bpy.types.Object, camera: bpy.types.Object) -> Tile:
    """Render the sheet.

    Args:
        picture: The picture that the result was made from.
        obj: The result.
        camera: Its matched camera.

    Returns:
        (SIDE + label, 5 * SIDE, 3) uint8 BGR.
    """
    is_scene = obj["image_to_mesh_engine"] == "scene"
    scene = bpy.context.scene
    _set_up(scene)
    tiles = [
        _labelled(_fitted(_on_paper(cv2.imread(str(picture), cv2.IMREAD_UNCHANGED))), "picture")
    ]
    for shot in SCENE_SHOTS if is_scene else OBJECT_SHOTS:
        seen_by = _turned_camera(scene, obj, camera, shot.turn, is_scene)
        override = _wire_material() if shot.is_wire else None
        bpy.context.view_layer.material_override = override
        tiles.append(_labelled(_fitted(_render(scene, seen_by)), shot.label))
    bpy.context.view_layer.material_override = None
    return np.hstack(tiles)


def _set_up(scene: bpy.types.Scene) -> None:
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = SAMPLES
    scene.cycles.use_denoising = True
    scene.render.film_transparent = True
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    world = bpy.data.worlds.new("Sheet")
    if world.node_tree is None:
        world.use_nodes = True
    assert world.node_tree is not None
    background = next(n for n in world.node_tree.nodes if n.type == "BACKGROUND")
    background.inputs["Color"].default_value = (1, 1, 1, 1)
    background.inputs["Strength"].default_value = 0.75
    scene.world = world
    sun = bpy.data.lights.new("Sheet Sun", "SUN")
    sun.energy = 1.6
    sun.angle = 0.3
    lamp = bpy.data.objects.new("Sheet Sun", sun)
    lamp.rotation_euler = (math.radians(50), 0, math.radians(-35))
    scene.collection.objects.link(lamp)


def _turned_camera(
    scene: bpy.types.Scene,
    obj: bpy.types.Object,
    matched: bpy.types.Object,
    degrees: float,
    is_scene: bool,
) -> bpy.types.Object:
    """The matched camera turned about the result; for objects centred and slightly from above."""
    corners = [obj.matrix_world @ Vector(c) for c in obj.bound_box]
    middle = sum(corners, Vector()) / 8
    data = matched.data.copy()
    camera = bpy.data.objects.new("Sheet Camera", data)
    scene.collection.objects.link(camera)
    width, height = (
        (scene.render.resolution_x, scene.render.resolution_y) if is_scene else (SIDE, SIDE)
    )
    if is_scene:
        # Turn about what lies in the middle of the view at the median depth.
        place = matched.matrix_world.translation
        ahead = matched.matrix_world.to_quaternion() @ Vector((0, 0, -1))
        points = np.empty(3 * len(obj.data.vertices), np.float32)
        obj.data.vertices.foreach_get("co", points)
        depth = float(np.median((points.reshape(-1, 3) - np.array(place)) @ np.array(ahead)))
        pivot = place + ahead * depth
        turn = Matrix.Rotation(math.radians(degrees), 4, "Z")
        camera.matrix_world = (
            Matrix.Translation(pivot) @ turn @ Matrix.Translation(-pivot) @ matched.matrix_world
        )
    else:
        radius = max((c - middle).length for c in corners)
        data.angle = math.radians(30)
        data.clip_end = 100 * radius
        distance = 1.08 * radius / math.sin(math.radians(15))
        yaw, pitch = math.radians(degrees), math.radians(12)
        offset = Vector(
            (math.sin(yaw) * math.cos(pitch), -math.cos(yaw) * math.cos(pitch), math.sin(pitch))
        )
        camera.matrix_world = Matrix.Translation(middle + distance * offset) @ (
            (-offset).to_track_quat("-Z", "Y").to_matrix().to_4x4()
        )
    scale = SIDE / max(width, height)
    scene.render.resolution_x = max(round(width * scale), 4)
    scene.render.resolution_y = max(round(height * scale), 4)
    return camera


def _wire_material() -> bpy.types.Material:
    """Light grey with dark edges, shaded by the light."""
    material = bpy.data.materials.new("Sheet Wires")
    if material.node_tree is None:
        material.use_nodes = True
    tree = material.node_tree
    assert tree is not None
    surface = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
    surface.inputs["Roughness"].default_value = 0.9
    wire = tree.nodes.new("ShaderNodeWireframe")
    wire.use_pixel_size = True
    wire.inputs["Size"].default_value = 0.35
    mix = tree.nodes.new("ShaderNodeMixRGB")
    mix.inputs["Color1"].default_value = (0.75, 0.75, 0.78, 1)
    mix.inputs["Color2"].default_value = (0.02, 0.03, 0.06, 1)
    tree.links.new(wire.outputs["Fac"], mix.inputs["Fac"])
    tree.links.new(mix.outputs["Color"], surface.inputs["Base Color"])
    return material


def _render(scene: bpy.types.Scene, camera: bpy.types.Object) -> Tile:
    scene.camera = camera
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "tile.png"
        scene.render.filepath = str(path)
        bpy.ops.render.render(write_still=True)
        return _on_paper(cv2.imread(str(path), cv2.IMREAD_UNCHANGED))


def _on_paper(image: Tile) -> Tile:
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    if image.shape[2] == 3:
        return image
    alpha = image[..., 3:] / 255.0
    return (image[..., :3] * alpha + PAPER * (1 - alpha)).astype(np.uint8)


def _fitted(image: Tile) -> Tile:
    """Scale into a square tile, centred."""
    scale = SIDE / max(image.shape[:2])
    size = (max(round(image.shape[1] * scale), 1), max(round(image.shape[0] * scale), 1))
    image = cv2.resize(image, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC)
    tile = np.full((SIDE, SIDE, 3), PAPER, np.uint8)
    top, left = (SIDE - size[1]) // 2, (SIDE - size[0]) // 2
    tile[top : top + size[1], left : left + size[0]] = image
    return tile


def _labelled(tile: Tile, label: str) -> Tile:
    strip = np.full((26, SIDE, 3), PAPER, np.uint8)
    cv2.putText(strip, label, (8, 18), cv2.FONT_HERSHEY_SIMPLEX, 0.5, (60, 60, 60), 1, cv2.LINE_AA)
    return np.vstack([strip, tile])
