"""The choices an artist makes, declared once for the panel and for every operator."""

import math

from bpy.props import BoolProperty, EnumProperty, FloatProperty, IntProperty

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
DEVICES = (
    ("AUTO", "Automatic", "The graphics card when it can be used, else the processor"),
    ("CPU", "Processor", "Always works"),
    ("CUDA", "NVIDIA Graphics Card", "Needs a PyTorch build with CUDA"),
    ("MPS", "Apple Graphics", "Needs a Mac with Apple silicon"),
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
    use_matched_render: BoolProperty(
        name="Match Render",
        description="For scenes: render through the matched camera at the picture's size, so that"
        " a render overlays the picture. Objects never change the render settings",
        default=True,
        options={"SKIP_SAVE"},
    )


OPTION_NAMES = tuple(ReconstructionOptions.__annotations__)
