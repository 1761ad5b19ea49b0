"""The changes an artist can make to a finished object, and what they are made from.

They live on the object, so that they are saved, copied and undone with it.
"""

# No "from __future__ import annotations" here: it would turn property declarations into strings.

import bpy
from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty, StringProperty

from ...inference.contracts import Shaping
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
    )
    detail: EnumProperty(
        name="Resolution",
        description="How fine the mesh is",
        items=DETAILS,
        default="MEDIUM",
        update=_changed,
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
    )
    depth_range: FloatProperty(
        name="Relief",
        description="Factor on the relief of the side that the picture shows; 0 makes it flat",
        default=1.0,
        min=0.0,
        soft_max=2.0,
        max=5.0,
        update=_changed,
    )
    smoothness: IntProperty(
        name="Smoothness",
        description="Rounds of smoothing of the surface",
        default=4,
        min=0,
        soft_max=20,
        max=100,
        update=_changed,
    )
    cut_threshold: FloatProperty(
        name="Cut Threshold",
        description="How sure the cut-out must be that a pixel belongs to the subject",
        default=0.5,
        min=0.02,
        max=0.98,
        subtype="FACTOR",
        update=_changed,
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
    )
    symmetry: symmetry_property(update=_changed)
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
    )
    is_neural: neural_property(update=_changed)
    delight: delight_property(update=_changed)
    bump: bump_property(update=_changed)
    faces: IntProperty(
        name="Face Budget",
        description="Largest number of faces; 0 keeps what Resolution gives",
        default=0,
        min=0,
        soft_max=200_000,
        max=5_000_000,
        step=1000,
        update=_changed,
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
    )


def shaping_of(obj: bpy.types.Object) -> Shaping:
    """The object's settings as the worker takes them."""
    settings = settings_of(obj)
    values = {name: getattr(settings, name) for name in Shaping.__dataclass_fields__}
    return Shaping(**values | {"symmetry": settings.symmetry.lower()})


def settings_of(obj: bpy.types.Object) -> ImageToMeshShaping:
    """The settings of an object."""
    return obj.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]


def keep(
    obj: bpy.types.Object,
    archive: bytes,
    detail: str,
    texture_size: int,
    shaping: Shaping | None = None,
) -> None:
    """Store what a new object was made from, and set its settings to how it was made."""
    settings = settings_of(obj)
    settings.is_live = False  # what follows is no wish of the artist
    settings.archive = archive  # pyright: ignore[reportAttributeAccessIssue]
    settings.detail = detail
    settings.texture_size = texture_size
    for name in Shaping.__dataclass_fields__:
        value = getattr(shaping or Shaping(), name)
        setattr(settings, name, value.upper() if isinstance(value, str) else value)
    settings.is_live = True


def register() -> None:
    bpy.utils.register_class(ImageToMeshShaping)
    bpy.types.Object.image_to_mesh = bpy.props.PointerProperty(type=ImageToMeshShaping)  # pyright: ignore[reportAttributeAccessIssue]


def unregister() -> None:
    del bpy.types.Object.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]
    bpy.utils.unregister_class(ImageToMeshShaping)
