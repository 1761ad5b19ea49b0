"""The changes an artist can make to a finished object, and what they are made from.

They live on the object, so that they are saved, copied and undone with it.
"""

# No "from __future__ import annotations" here: it would turn property declarations into strings.

import json
from dataclasses import asdict

import bpy
from bpy.props import (
    BoolProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ...inference.contracts import SceneShaping, Shaping
from ..options import (
    DETAILS,
    bump_property,
    delight_property,
    neural_property,
    symmetry_property,
)
from . import live


def _changed(settings: "ImageToMeshShaping", _context: bpy.types.Context) -> None:
    obj = settings.id_data
    if settings.is_live and isinstance(obj, bpy.types.Object):
        live.schedule(obj)


class ImageToMeshShaping(bpy.types.PropertyGroup):
    """How one object is shaped, at ``Object.image_to_mesh``."""

    archive: StringProperty(
        name="Kept Observation",
        description="What the networks saw, compressed; without it the object cannot be refined",
        subtype="BYTE_STRING",
        options={"HIDDEN"},
    )
    is_live: BoolProperty(
        name="Live",
        description="Refine by itself after every change",
        default=True,
        options=set(),
    )
    engine: StringProperty(
        name="Kind",
        description="What the object is: object or scene",
        default="object",
        options={"HIDDEN"},
    )
    built: StringProperty(
        name="Made With",
        description="The settings that the mesh was made with, which a change runs ahead of",
        options={"HIDDEN"},
    )
    built_size: FloatProperty(
        name="Made With Size",
        description="The size that the mesh was made with",
        default=1.0,
        options={"HIDDEN"},
    )
    camera: PointerProperty(
        name="Matched Camera",
        description="The camera that sees a scene as its picture does",
        type=bpy.types.Object,
        options={"HIDDEN"},
    )
    detail: EnumProperty(
        name="Resolution",
        description="How fine the mesh is",
        items=DETAILS,
        default="MEDIUM",
        update=_changed,
        options=set(),
    )
    thickness: FloatProperty(
        name="Thickness",
        description="Factor on the depth of the side that the picture hides",
        default=1.0,
        min=0.05,
        soft_min=0.25,
        soft_max=2.0,
        max=5.0,
        update=_changed,
        options=set(),
    )
    depth_range: FloatProperty(
        name="Relief",
        description="Factor on the relief of the side that the picture shows; 0 makes it flat",
        default=1.0,
        min=0.0,
        soft_max=2.0,
        max=5.0,
        update=_changed,
        options=set(),
    )
    smoothness: IntProperty(
        name="Smoothness",
        description="Rounds of smoothing of the surface",
        default=4,
        min=0,
        soft_max=20,
        max=100,
        update=_changed,
        options=set(),
    )
    cut_threshold: FloatProperty(
        name="Cut Threshold",
        description="How sure the cut-out must be that a pixel belongs to the subject",
        default=0.5,
        min=0.02,
        max=0.98,
        subtype="FACTOR",
        update=_changed,
        options=set(),
    )
    jump: FloatProperty(
        name="Cut Threshold",
        description="How much farther away one side of a steep place must be for the relief to be cut"
        " there, as a share of its distance",
        default=0.08,
        min=0.01,
        soft_max=1.0,
        max=10.0,
        subtype="FACTOR",
        update=_changed,
        options=set(),
    )
    use_fill_behind: BoolProperty(
        name="Fill Behind",
        description="Continue the background behind what stands before it",
        default=True,
        update=_changed,
        options=set(),
    )
    is_solid: BoolProperty(
        name="Solid",
        description="Close the relief into a watertight solid, for 3D printing",
        default=False,
        update=_changed,
        options=set(),
    )
    size_m: FloatProperty(
        name="Size",
        description="The scene's middle distance is four times this, unless a network knew it; the"
        " matched camera moves along",
        default=1.0,
        min=0.001,
        soft_max=100.0,
        max=10000.0,
        subtype="DISTANCE",
        unit="LENGTH",
        update=_changed,
        options=set(),
    )
    level: FloatProperty(
        name="Offset",
        description="Grow the surface outwards, or shrink it where negative, in half widths of the"
        " subject",
        default=0.0,
        min=-0.5,
        soft_min=-0.1,
        soft_max=0.1,
        max=0.5,
        update=_changed,
        options=set(),
    )
    symmetry: symmetry_property(update=_changed, options=set())
    turn: FloatProperty(
        name="Turned",
        description="How far the object's front is turned away from the camera, to the picture's"
        " right where positive. Both halves are made alike about that plane, and what the picture"
        " hides of one is painted like the other",
        default=0.0,
        min=-1.5,
        max=1.5,
        subtype="ANGLE",
        update=_changed,
        options=set(),
    )
    is_neural: neural_property(update=_changed, options=set())
    delight: delight_property(update=_changed, options=set())
    bump: bump_property(update=_changed, options=set())
    faces: IntProperty(
        name="Face Budget",
        description="Largest number of faces; 0 keeps what Resolution gives",
        default=0,
        min=0,
        soft_max=200_000,
        max=5_000_000,
        step=1000,
        update=_changed,
        options=set(),
    )
    texture_size: IntProperty(
        name="Texture Size",
        description="Side of the square textures in pixels",
        default=2048,
        min=256,
        max=8192,
        step=256,
        subtype="PIXEL",
        update=_changed,
        options=set(),
    )


def is_scene(settings: ImageToMeshShaping) -> bool:
    """Whether the object is a scene's relief."""
    return settings.engine == "scene"


def shaping_of(obj: bpy.types.Object) -> Shaping | SceneShaping:
    """The object's settings as the worker takes them."""
    settings = settings_of(obj)
    if is_scene(settings):
        return SceneShaping(
            depth_range=settings.depth_range,
            cut_threshold=settings.jump,
            smoothness=settings.smoothness,
            fills_behind=settings.use_fill_behind,
            is_solid=settings.is_solid,
            size_m=settings.size_m,
        )
    values = {name: getattr(settings, name) for name in Shaping.__dataclass_fields__}
    return Shaping(**values | {"symmetry": settings.symmetry.lower()})


def wanted(settings: ImageToMeshShaping) -> str:
    """All that a mesh is made with, in words that compare."""
    obj = settings.id_data
    assert isinstance(obj, bpy.types.Object)
    return words(shaping_of(obj), settings.detail.lower(), settings.texture_size)


def words(shaping: Shaping | SceneShaping, detail: str, texture_size: int) -> str:
    """The same of a request."""
    return json.dumps([asdict(shaping), detail, texture_size])


def settings_of(obj: bpy.types.Object) -> ImageToMeshShaping:
    """The settings of an object."""
    return obj.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]


def keep(
    obj: bpy.types.Object,
    archive: bytes,
    detail: str,
    texture_size: int,
    shaping: Shaping | SceneShaping | None = None,
    camera: bpy.types.Object | None = None,
) -> None:
    """Store what a new object was made from, and set its settings to how it was made."""
    settings = settings_of(obj)
    settings.is_live = False  # what follows is no wish of the artist
    settings.archive = archive  # pyright: ignore[reportAttributeAccessIssue]
    settings.detail = detail
    settings.texture_size = texture_size
    settings.camera = camera
    if isinstance(shaping, SceneShaping):
        settings.engine = "scene"
        settings.depth_range, settings.jump = shaping.depth_range, shaping.cut_threshold
        settings.smoothness, settings.use_fill_behind = shaping.smoothness, shaping.fills_behind
        settings.is_solid, settings.size_m = shaping.is_solid, shaping.size_m
        settings.built_size = shaping.size_m
    else:
        for name in Shaping.__dataclass_fields__:
            value = getattr(shaping or Shaping(), name)
            setattr(settings, name, value.upper() if isinstance(value, str) else value)
    settings.built = wanted(settings)
    settings.is_live = True


def register() -> None:
    bpy.utils.register_class(ImageToMeshShaping)
    bpy.types.Object.image_to_mesh = bpy.props.PointerProperty(type=ImageToMeshShaping)  # pyright: ignore[reportAttributeAccessIssue]


def unregister() -> None:
    del bpy.types.Object.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]
    bpy.utils.unregister_class(ImageToMeshShaping)
