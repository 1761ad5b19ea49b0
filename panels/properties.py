"""What the panel remembers in the .blend; the state of a run is not part of it."""

import bpy
from bpy.props import PointerProperty, StringProperty

from ..operators.cut_out.belonging import mask_changed, picture_changed
from ..operators.options import ReconstructionOptions, variants_property


def _is_still_picture(_settings: object, image: bpy.types.Image) -> bool:
    return image.type == "IMAGE" and image.source in {"FILE", "GENERATED", "SEQUENCE"}


class ImageToMeshSettings(ReconstructionOptions, bpy.types.PropertyGroup):
    """The choices of one scene, at ``Scene.image_to_mesh``."""

    variants: variants_property()
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
