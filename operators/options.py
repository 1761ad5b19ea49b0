"""The choices an artist makes, declared once for the panel and for every operator."""

import math
import zlib
from typing import Any

from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

from ..inference.hub.catalogue import ModelEntry, Task, models_for
from ..inference.networks.choice import BUILT_IN

ENGINES = (
    ("AUTO", "Auto", "Decide by the picture: a single thing or a whole scene"),
    ("OBJECT", "Object", "One thing, closed and textured all round, standing on the floor"),
    ("SCENE", "Scene", "Everything in view, as a relief that matches the picture's camera"),
)
DETAILS = (
    ("LOW", "Low", "A light mesh in a few seconds"),
    ("MEDIUM", "Medium", "Enough for most uses"),
    ("HIGH", "High", "A dense mesh; takes longer"),
    ("ULTRA", "Ultra", "The densest mesh; needs time and memory"),
)
CUT_OUTS = (
    ("AUTO", "Automatic", "Transparency if the picture has any, else the mask, else find it"),
    ("ALPHA", "Transparency", "The picture's own transparency"),
    ("MASK", "Mask", "The mask you chose or painted: white is the subject"),
    ("NONE", "Whole Picture", "Nothing is cut away"),
)
SYMMETRIES = (
    ("OFF", "Off", "The shape follows the picture"),
    (
        "AUTO",
        "Automatic",
        "Left and right are made alike when the picture shows a symmetric thing from straight ahead",
    ),
    ("X", "X", "Left and right are always made alike"),
)
DEVICES = (
    ("AUTO", "Automatic", "The graphics card when it can be used, else the processor"),
    ("CPU", "Processor", "Always works"),
    ("CUDA", "NVIDIA Graphics Card", "Needs a PyTorch build with CUDA"),
    ("MPS", "Apple Graphics", "Needs a Mac with Apple silicon"),
)

Item = tuple[str, str, str, int]


def model_items(task: Task) -> tuple[Item, ...]:
    """What can be chosen at a stage: every model, because Blender forgets choices it does not know.

    A .blend keeps the number, so that it must not depend on the order.
    """
    items = [
        (
            "AUTO",
            "Auto",
            "The best that is installed, fits into memory and may be used commercially",
        ),
        ("BUNDLED", "Built-In", f"{BUILT_IN[task]}; needs no download"),
    ]
    items += [
        (entry.id, entry.label, f"{entry.good_at}. Licence: {_licence(entry)}")
        for entry in models_for(task)
    ]
    return tuple((*item, zlib.crc32(item[0].encode()) & 0x7FFFFFFF) for item in items)


def _licence(entry: ModelEntry) -> str:
    return entry.licence if entry.is_commercial else f"{entry.licence}, not for commercial use"


def variants_property() -> object:
    """Declare how many results are wanted; batches make one each."""
    return IntProperty(
        name="Variants",
        description="How many results to make, each of its own seed, side by side to choose from."
        " Models that do not draw by seed make one",
        default=1,
        min=1,
        max=16,
        options={"SKIP_SAVE"},
    )


def symmetry_property(**more: Any) -> object:
    """Declare whether both halves of an object are made alike."""
    return EnumProperty(
        name="Symmetry",
        description="Make the left and the right half of an object's shape alike",
        items=SYMMETRIES,
        default="OFF",
        **more,
    )


def neural_property(**more: Any) -> object:
    """Declare whether an object's surface comes from a fitted network."""
    return BoolProperty(
        name="Neural Surface",
        description="Fit a small neural network to the object's shape: finer edges where the shape is"
        " known exactly, calmer where it is guessed. Takes several seconds longer",
        default=False,
        **more,
    )


def delight_property(**more: Any) -> object:
    """Declare how much light is taken out of the colours."""
    return FloatProperty(
        name="Remove Light",
        description="Take the picture's light and shade out of an object's colours, so that new"
        " lights shade it. A guess: dark paint may turn paler",
        default=0.0,
        min=0.0,
        max=1.0,
        subtype="FACTOR",
        **more,
    )


def bump_property(**more: Any) -> object:
    """Declare how much relief the picture's brightness makes."""
    return FloatProperty(
        name="Surface Grain",
        description="Turn the picture's fine light and dark into relief of an object's normal map",
        default=0.0,
        min=0.0,
        max=2.0,
        soft_max=1.0,
        **more,
    )


class ReconstructionOptions:
    """Mixed into property groups and operators; nothing here is remembered between calls."""

    engine: EnumProperty(
        name="Make",
        description="What to make of the picture",
        items=ENGINES,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    detail: EnumProperty(
        name="Detail",
        description="How fine the mesh is",
        items=DETAILS,
        default="MEDIUM",
        options={"SKIP_SAVE"},
    )
    cut_out: EnumProperty(
        name="Cut-Out",
        description="What tells the subject from the background",
        items=CUT_OUTS,
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    texture_size: IntProperty(
        name="Texture Size",
        description="Side of the square textures in pixels",
        default=2048,
        min=256,
        max=8192,
        step=256,
        subtype="PIXEL",
        options={"SKIP_SAVE"},
    )
    size_m: FloatProperty(
        name="Size",
        description="Longest side of an object; a scene's middle distance is four times this",
        default=1.0,
        min=0.001,
        soft_max=100.0,
        max=10000.0,
        subtype="DISTANCE",
        unit="LENGTH",
        options={"SKIP_SAVE"},
    )
    is_solid: BoolProperty(
        name="Solid",
        description="Close a scene's relief into a watertight solid, for 3D printing",
        default=False,
        options={"SKIP_SAVE"},
    )
    use_fill_behind: BoolProperty(
        name="Fill Behind",
        description="Continue a scene's background behind what stands before it, so that a camera can"
        " move aside; the texture gets a second part for it",
        default=True,
        options={"SKIP_SAVE"},
    )
    fov_x: FloatProperty(
        name="Field of View",
        description="Horizontal field of view of the picture; 0 reads it from the picture or"
        " assumes a usual lens",
        default=0.0,
        min=0.0,
        max=math.radians(170.0),
        subtype="ANGLE",
        unit="ROTATION",
        options={"SKIP_SAVE"},
    )
    seed: IntProperty(
        name="Seed",
        description="Seed of every random choice: the same seed gives the same result",
        default=0,
        min=0,
        options={"SKIP_SAVE"},
    )
    steps: IntProperty(
        name="Steps",
        description="For models that draw a solid out of noise: fewer steps are faster and rougher",
        default=50,
        min=1,
        max=500,
        options={"SKIP_SAVE"},
    )
    guidance: FloatProperty(
        name="Guidance",
        description="For models that draw a solid out of noise: how closely they follow the picture",
        default=7.0,
        min=1.0,
        soft_max=15.0,
        max=50.0,
        options={"SKIP_SAVE"},
    )
    symmetry: symmetry_property(options={"SKIP_SAVE"})
    is_neural: neural_property(options={"SKIP_SAVE"})
    delight: delight_property(options={"SKIP_SAVE"})
    bump: bump_property(options={"SKIP_SAVE"})
    use_matched_render: BoolProperty(
        name="Match Render",
        description="For scenes: render through the matched camera at the picture's size, so that"
        " a render overlays the picture. Without it your camera and render size stay as they are",
        default=False,
        options={"SKIP_SAVE"},
    )
    cut_out_model: EnumProperty(
        name="Cut-Out",
        description="The network that finds the subject",
        items=model_items("cut-out"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    pick_model: EnumProperty(
        name="Pick",
        description="The network that finds what you click on",
        items=model_items("pick"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    depth_model: EnumProperty(
        name="Depth",
        description="The network that sees a scene's depth",
        items=model_items("depth"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    object_model: EnumProperty(
        name="Object",
        description="The network that sees a whole thing",
        items=model_items("object"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    upscale_model: EnumProperty(
        name="Upscale",
        description="The network that makes textures finer",
        items=model_items("upscale"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )
    inpaint_model: EnumProperty(
        name="Inpaint",
        description="The network that paints what no picture shows",
        items=model_items("inpaint"),
        default="AUTO",
        options={"SKIP_SAVE"},
    )


OPTION_NAMES = tuple(ReconstructionOptions.__annotations__)
