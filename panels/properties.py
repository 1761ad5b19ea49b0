"""What the panel remembers in the .blend; the state of a run is not part of it."""

import math
from typing import Any

import bpy
from bpy.props import EnumProperty, PointerProperty, StringProperty

from ..operators.options import ReconstructionOptions, variants_property
from ..operators.view.belonging import mask_changed, picture_changed

USUAL_FOV = math.radians(60.0)


def _is_still_picture(_settings: object, image: bpy.types.Image) -> bool:
    return image.type == "IMAGE" and image.source in {"FILE", "GENERATED", "SEQUENCE"}


def _set_field_of_view(settings: Any, number: int) -> None:
    """Zero is what means automatic wherever the angle itself is given."""
    settings.fov_x = (settings.fov_x or USUAL_FOV) if number else 0.0


class ImageToMeshSettings(ReconstructionOptions, bpy.types.PropertyGroup):
    """The choices of one scene, at ``Scene.image_to_mesh``."""

    variants: variants_property()
    field_of_view: EnumProperty(
        name="Field of View",
        description="How wide the picture's lens saw",
        items=(
            ("AUTO", "Automatic", "Read from the picture, else a usual lens"),
            ("GIVEN", "Given", "As wide as you say"),
        ),
        get=lambda self: int(self.fov_x > 0.0),
        set=_set_field_of_view,
        options={"SKIP_SAVE"},
    )
    picture: PointerProperty(
        name="Picture",
        description="The picture to turn into a mesh",
        type=bpy.types.Image,
        poll=_is_still_picture,
        update=picture_changed,
        options=set(),
    )
    mask: PointerProperty(
        name="Mask",
        description="White where the subject is. Leave empty to find it automatically",
        type=bpy.types.Image,
        poll=_is_still_picture,
        update=mask_changed,
        options=set(),
    )
    cutout_preview: PointerProperty(
        name="Cut-Out Preview",
        description="What Check Cut-Out showed last",
        type=bpy.types.Image,
        options=set(),
    )
    preview_key: StringProperty(
        name="What the Preview Shows",
        description="Picture, mask and choices that the preview was made with",
        options={"HIDDEN"},
    )
