"""The choices and the list of Photos & Video, declared once for the panel and for operators."""

# pyright: reportAttributeAccessIssue=false
# The stubs do not know the properties that are given to scenes.

import math

import bpy
from bpy.props import (
    BoolProperty,
    CollectionProperty,
    EnumProperty,
    FloatProperty,
    IntProperty,
    PointerProperty,
    StringProperty,
)

from ..options import ReconstructionOptions, model_items

KINDS = (
    ("AUTO", "Automatic", "Decide by where the cameras look and what they see there"),
    ("OBJECT", "Thing", "One thing that the cameras go around; closed where nothing was seen"),
    ("PLACE", "Place", "A room, a street, a garden; open where nothing was seen"),
)
CAMERAS = (
    (
        "AUTO",
        "Automatic",
        "Use a reconstruction beside the pictures if there is one, else estimate",
    ),
    ("ESTIMATE", "Estimate", "Find the cameras from the pictures alone"),
    ("EXISTING", "From Files", "transforms.json or a COLMAP reconstruction beside the pictures"),
    ("SCENE", "From Scene", "Cameras of this scene that have a background image"),
    (
        "TURNTABLE",
        "Sides",
        "Views from the sides: files named front, left, back and right, or in that order",
    ),
)
MASKS = (
    ("AUTO", "Automatic", "Transparency or mask files; a thing without is cut out by itself"),
    ("FILES", "Required", "Leave out pictures without transparency or a mask file"),
    ("NONE", "None", "Whole pictures"),
)
SURFACES = (
    ("AUTO", "Automatic", "Refined for a thing that is cut out, Fast for the rest"),
    ("FUSED", "Fast", "From measured depth and outlines"),
    ("REFINED", "Refined", "The fast surface, changed until it looks like the pictures"),
)


class PhotoOptions:
    """Mixed into the property group and the operator."""

    kind: EnumProperty(
        name="Subject",
        description="What the pictures show",
        items=KINDS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    cameras: EnumProperty(
        name="Cameras",
        description="Where the cameras come from",
        items=CAMERAS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    masks: EnumProperty(
        name="Masks",
        description="What tells the subject from its background: transparency, or files such as"
        " masks/NAME.png and NAME_mask.png, white where the subject is",
        items=MASKS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    surface: EnumProperty(
        name="Surface",
        description="How the surface is made",
        items=SURFACES,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    turn_step: FloatProperty(
        name="Turn",
        description="For Sides: how far the camera has gone on from picture to picture, seen from"
        " above clockwise; 0 goes by the files' names, or by equal steps of one turn",
        default=0.0,
        min=-math.pi,
        max=math.pi,
        subtype="ANGLE",
        unit="ROTATION",
        options={"SKIP_SAVE"},
    )
    elevation: FloatProperty(
        name="Elevation",
        description="For Sides: how steeply the camera looked down",
        default=0.0,
        min=math.radians(-80.0),
        max=math.radians(80.0),
        subtype="ANGLE",
        unit="ROTATION",
        options={"SKIP_SAVE"},
    )
    views_model: EnumProperty(
        name="Camera Network",
        description="The network that finds cameras where matching points does not",
        items=model_items("views"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    max_frames: IntProperty(
        name="Frames",
        description="At most so many frames of a video; sharp ones are taken, evenly along the way",
        default=80,
        min=2,
        max=1000,
        options={"SKIP_SAVE"},
    )
    use_size: BoolProperty(
        name="Scale to Size",
        description="Give the result the Size from the Output panel; otherwise it keeps that of its"
        " cameras. Cameras of the scene are never moved",
        default=True,
        options={"SKIP_SAVE"},
    )
    is_measured: BoolProperty(
        name="Measure Size",
        description="Find the true size by the photos' GPS positions or else by an installed network"
        " for metric depth, chosen at Depth; Scale to Distance is more exact",
        default=False,
        options={"SKIP_SAVE"},
    )


PHOTO_OPTION_NAMES = tuple(PhotoOptions.__annotations__)
SHARED_NAMES = ("detail", "texture_size", "size_m", "fov_x", "seed", "cut_out_model", "depth_model")


class SharedOptions:
    """The choices that a single picture has, too; they are set in the other panels."""

    __annotations__ = {name: ReconstructionOptions.__annotations__[name] for name in SHARED_NAMES}


class ImageToMeshPhoto(bpy.types.PropertyGroup):
    """A photo, folder or video of the list, and what became of it."""

    filepath: StringProperty(name="File", subtype="FILE_PATH")
    image: PointerProperty(
        name="Image", description="An image in this file instead", type=bpy.types.Image
    )
    status: EnumProperty(
        name="Status",
        items=(
            ("NEW", "New", "Not used yet"),
            ("USED", "Used", "Part of the last result"),
            ("REMARK", "Used, With a Remark", "Part of the last result, though not perfect"),
            ("LEFT_OUT", "Left Out", "Not part of the last result"),
        ),
    )
    sentence: StringProperty(name="Why")


class ImageToMeshPhotos(PhotoOptions, bpy.types.PropertyGroup):
    """The list of one scene, at ``Scene.image_to_mesh_photos``."""

    pictures: CollectionProperty(type=ImageToMeshPhoto)
    active: IntProperty(name="Active Picture", options={"SKIP_SAVE"})
    remarks: StringProperty(
        name="Remarks",
        description="JSON: what became of frames and files of folders in the last run",
        options={"HIDDEN"},
    )


CLASSES = (ImageToMeshPhoto, ImageToMeshPhotos)


def register() -> None:
    """Give scenes their list; called after the classes are registered."""
    bpy.types.Scene.image_to_mesh_photos = PointerProperty(type=ImageToMeshPhotos)


def unregister() -> None:
    del bpy.types.Scene.image_to_mesh_photos
