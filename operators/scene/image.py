"""Pictures to packed Blender images, and Blender images to pictures."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.naming import shown, token
from .png import encode_png


@dataclass(frozen=True, slots=True)
class PngImage:
    """An encoded picture. Made on the worker thread, packed on the main thread."""

    data: bytes
    width: int
    height: int

    @classmethod
    def from_pixels(cls, pixels: NDArray[np.uint8]) -> PngImage:
        """Encode (H, W), (H, W, 3) or (H, W, 4) uint8 pixels, row 0 at the top."""
        return cls(encode_png(pixels), pixels.shape[1], pixels.shape[0])


def image_from_png(name: str, png: PngImage, *, is_colour: bool) -> bpy.types.Image:
    """Make an image that is stored in the .blend itself.

    Args:
        name: Wanted name; Blender adds a number when it is taken.
        png: The encoded picture.
        is_colour: sRGB colour; otherwise the numbers are data (roughness, normals).
    """
    image = bpy.data.images.new(shown(name), png.width, png.height)
    image.source = "FILE"
    image.filepath_raw = f"//{token(image.name)}.png"  # what exporters call the file
    image.pack(data=png.data, data_len=len(png.data))  # pyright: ignore[reportArgumentType]
    colour_space = image.colorspace_settings
    assert colour_space is not None
    colour_space.name = "sRGB" if is_colour else "Non-Color"
    return image


def image_pixels(image: bpy.types.Image) -> NDArray[np.uint8]:
    """Read an image as (H, W, 4) uint8 sRGB with straight alpha, row 0 at the top.

    An image without pixels (a lost file, a render result) gives an array of height or width 0.
    """
    width, height = image.size
    channels = image.channels
    stored = len(image.pixels)  # pyright: ignore[reportArgumentType]
    if stored == 0 or stored != width * height * channels:
        return np.zeros((0, 0, 4), np.uint8)
    floats = np.empty(width * height * channels, np.float32)
    image.pixels.foreach_get(floats)
    floats = floats.reshape(height, width, channels)[::-1]  # Blender stores the bottom row first
    rgba = np.ones((height, width, 4), np.float32)
    if channels < 3:
        rgba[..., :3] = floats[..., :1]
    else:
        rgba[..., :3] = floats[..., :3]
    if channels in (2, 4):
        rgba[..., 3] = floats[..., -1]
    if image.is_float:
        rgba[..., :3] = _linear_to_srgb(_straight(rgba))
    return (np.clip(rgba, 0.0, 1.0) * 255.0 + 0.5).astype(np.uint8)


def _straight(rgba: NDArray[np.float32]) -> NDArray[np.float32]:
    """Divide colour by alpha: Blender keeps float images premultiplied, byte images straight."""
    alpha = rgba[..., 3:]
    return rgba[..., :3] / np.where(alpha > 0.0, alpha, 1.0)


def _linear_to_srgb(colour: NDArray[np.float32]) -> NDArray[np.float32]:
    colour = np.clip(np.nan_to_num(colour), 0.0, 1.0)
    curve = 1.055 * np.power(np.maximum(colour, 0.0031308), 1 / 2.4) - 0.055
    return np.where(colour <= 0.0031308, colour * 12.92, curve)
