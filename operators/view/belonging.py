"""Which mask and which preview belong to which picture.

A picture remembers its mask, a mask made here remembers its picture, and the panel follows: another
picture brings its own mask or none, and a preview goes with what it showed.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

# No "from __future__ import annotations" here: it would turn property declarations into strings.

from typing import Any

import bpy
import numpy as np
from bpy.props import PointerProperty
from numpy.typing import NDArray

from ...inference.errors import CutOutError
from ..request import image_named, mask_from_image

WITH_MASK = frozenset({"AUTO", "MASK"})  # what Cut-Out may be for a mask to count


class ImageToMeshImage(bpy.types.PropertyGroup):
    """What belongs together, at ``Image.image_to_mesh``."""

    mask: PointerProperty(
        name="Mask",
        description="Of a picture: the mask that was chosen or made for it last",
        type=bpy.types.Image,
        options=set(),
    )
    picture: PointerProperty(
        name="Picture",
        description="Of a mask that was made here: the picture that it was made of",
        type=bpy.types.Image,
        options=set(),
    )


def belongings(image: bpy.types.Image) -> ImageToMeshImage:
    """What belongs to an image."""
    return image.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]


def bind(picture: bpy.types.Image, mask: bpy.types.Image) -> None:
    """Say that a mask was made of a picture."""
    belongings(picture).mask = mask
    belongings(mask).picture = picture


def picture_changed(panel: Any, _context: bpy.types.Context) -> None:
    """The panel shows another picture: so its mask, or none, and no preview."""
    drop_preview(panel)
    picture = panel.picture
    wanted = belongings(picture).mask if picture is not None else None
    if panel.mask != wanted:
        panel.mask = wanted


def mask_changed(panel: Any, _context: bpy.types.Context) -> None:
    """Another mask was chosen for the picture."""
    drop_preview(panel)
    picture, mask = panel.picture, panel.mask
    if picture is not None and belongings(picture).mask != mask and picture != mask:
        belongings(picture).mask = mask


def mask_in_use(panel: Any) -> bpy.types.Image | None:
    """The mask that a run from the panel takes; None when it finds the subject otherwise."""
    return panel.mask if panel.cut_out in WITH_MASK else None


def mask_refusal(mask: bpy.types.Image, picture: bpy.types.Image) -> str | None:
    """Why a mask cannot be used with a picture, as a sentence; None when it can."""
    owner = belongings(mask).picture
    if owner == picture:
        return None
    if owner is not None:
        return (
            f"The mask {mask.name} belongs to the picture {owner.name}: remove it, or choose a mask of"
            f" {picture.name}."
        )
    size, wanted = tuple(mask.size), tuple(picture.size)
    if 0 in size or 0 in wanted or size in {wanted, wanted[::-1]}:  # photos may lie on their side
        return None
    return (
        f"The mask {mask.name} has {size[0]} x {size[1]} pixels and the picture {picture.name}"
        f" {wanted[0]} x {wanted[1]}: choose a mask of the picture's size, or remove it."
    )


def checked_mask(name: str, picture: str) -> NDArray[np.uint8]:
    """Read a mask by its name.

    Args:
        name: Of the mask's image.
        picture: Name of the picture's image; empty for a file, whose size shows when it is read.

    Raises:
        ImageToMeshError: When there is no such image, or it is no mask of the picture.
    """
    mask = image_named(name)
    refusal = mask_refusal(mask, image_named(picture)) if picture else None
    if refusal is not None:
        raise CutOutError(refusal)
    return mask_from_image(mask)


def preview_key(panel: Any) -> str:
    """What a preview depends on, in words that compare."""
    mask = mask_in_use(panel)
    used = "" if mask is None else f"{mask.name}{' painted' if mask.is_dirty else ''}"
    picture = panel.picture.name if panel.picture is not None else ""
    return "\n".join((picture, panel.cut_out, panel.cut_out_model, used))


def true_preview(panel: Any) -> bpy.types.Image | None:
    """The preview, if what it shows would still be found."""
    return panel.cutout_preview if panel.preview_key == preview_key(panel) else None


def drop_preview(panel: Any) -> None:
    """Take the preview away wherever it is shown."""
    preview = panel.cutout_preview
    if preview is None:
        return
    panel.cutout_preview, panel.preview_key = None, ""
    for space in image_editors():
        if space.image == preview:
            space.image = panel.picture
    bpy.data.images.remove(preview)


def image_editors() -> list[bpy.types.SpaceImageEditor]:
    """Every open Image Editor that shows pictures."""
    manager = bpy.context.window_manager
    found = []
    for window in manager.windows if manager is not None else ():
        for area in window.screen.areas if window.screen is not None else ():
            space = area.spaces.active
            if isinstance(space, bpy.types.SpaceImageEditor) and space.ui_mode != "UV":
                found.append(space)
    return found


def register() -> None:
    bpy.utils.register_class(ImageToMeshImage)
    bpy.types.Image.image_to_mesh = PointerProperty(type=ImageToMeshImage)  # pyright: ignore[reportAttributeAccessIssue]


def unregister() -> None:
    del bpy.types.Image.image_to_mesh  # pyright: ignore[reportAttributeAccessIssue]
    bpy.utils.unregister_class(ImageToMeshImage)
