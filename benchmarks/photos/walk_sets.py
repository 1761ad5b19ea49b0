"""The sets that ``walk.py`` renders: what stands where, and the way that is walked around it."""

# Blender's type stubs do not know nodes, lights and materials by their own classes.
# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import bpy
import numpy as np
from mathutils import Matrix
from numpy.typing import NDArray

from ..data.render_truth import silent_stdout

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
