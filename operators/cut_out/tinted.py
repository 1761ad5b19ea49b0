"""While a mask is painted its picture shows under it, red where nothing is taken.

Drawn over the Image Editor from the mask as it is at that moment; the mask itself stays black and white.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
# pyright: reportCallIssue=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import bpy
import gpu
import numpy as np
from bpy.app.handlers import persistent
from gpu_extras.batch import batch_for_shader
from numpy.typing import NDArray

BACKDROP_SIDE = 2048  # pixels of the longer side; enough to paint by
TINT = (0.85, 0.05, 0.05, 0.6)  # red, green, blue, and how much of it, where the mask is black

_VERTEX = """
void main() {
  place = spot;
  gl_Position = ModelViewProjectionMatrix * vec4(pos, 0.0, 1.0);
}
"""
_FRAGMENT = """
void main() {
  vec4 taken = texture(mask, place);
  float share = (taken.r + taken.g + taken.b) / 3.0 * taken.a;
  vec3 seen = texture(backdrop, place).rgb;
  vec3 mixed = mix(mix(seen, tint.rgb, tint.a), seen, share);
  colour = blender_srgb_to_framebuffer_space(vec4(mixed, 1.0));
}
"""


@dataclass(slots=True)
class _Backdrop:
    pixels: NDArray[np.float32]  # (H, W, 4) sRGB, bottom row first
    texture: Any = None


_backdrops: dict[int, _Backdrop] = {}  # by the session_uid of their mask
_handle: object | None = None
_shader: Any = None


def shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Every so many-th pixel of (H, W, C), so that the graphics card takes it at once."""
    step = -(-max(pixels.shape[:2]) // BACKDROP_SIDE)
    return np.ascontiguousarray(pixels[::step, ::step])


def knows(mask: bpy.types.Image) -> bool:
    """Whether a mask's picture is at hand."""
    return mask.session_uid in _backdrops


def show_under(mask: bpy.types.Image, pixels: NDArray[np.uint8]) -> None:
    """Show (H, W, 3 or 4) uint8 sRGB pixels, row 0 on top, under a mask whenever it is painted."""
    global _handle
    rgba = np.ones((*pixels.shape[:2], 4), np.float32)
    rgba[..., :3] = pixels[::-1, :, :3].astype(np.float32) / 255.0
    _backdrops[mask.session_uid] = _Backdrop(rgba)
    if _handle is None and not bpy.app.background:
        _handle = bpy.types.SpaceImageEditor.draw_handler_add(_draw, (), "WINDOW", "POST_PIXEL")


def _draw() -> None:
    """Called by Blender for each Image Editor."""
    space = bpy.context.space_data
    image = space.image
    if image is None or space.ui_mode != "PAINT" or image.session_uid not in _backdrops:
        return
    backdrop = _backdrops[image.session_uid]
    if backdrop.texture is None:
        height, width = backdrop.pixels.shape[:2]
        data = gpu.types.Buffer("FLOAT", backdrop.pixels.size, backdrop.pixels.ravel())
        backdrop.texture = gpu.types.GPUTexture((width, height), format="RGBA8", data=data)
    view = bpy.context.region.view2d
    places = [view.view_to_region(x, y, clip=False) for x, y in ((0, 0), (1, 0), (1, 1), (0, 1))]
    shader = _program()
    batch = batch_for_shader(
        shader,
        "TRIS",
        {"pos": places, "spot": [(0.0, 0.0), (1.0, 0.0), (1.0, 1.0), (0.0, 1.0)]},
        indices=[(0, 1, 2), (0, 2, 3)],
    )
    shader.uniform_sampler("mask", gpu.texture.from_image(image))
    shader.uniform_sampler("backdrop", backdrop.texture)
    shader.uniform_float("tint", TINT)
    batch.draw(shader)


def _program() -> Any:
    global _shader
    if _shader is None:
        interface = gpu.types.GPUStageInterfaceInfo("image_to_mesh_tinted")
        interface.smooth("VEC2", "place")
        info = gpu.types.GPUShaderCreateInfo()
        info.push_constant("MAT4", "ModelViewProjectionMatrix")
        info.push_constant("VEC4", "tint")
        info.sampler(0, "FLOAT_2D", "mask")
        info.sampler(1, "FLOAT_2D", "backdrop")
        info.vertex_in(0, "VEC2", "pos")
        info.vertex_in(1, "VEC2", "spot")
        info.vertex_out(interface)
        info.fragment_out(0, "VEC4", "colour")
        info.vertex_source(_VERTEX)
        info.fragment_source(_FRAGMENT)
        _shader = gpu.shader.create_from_info(info)
    return _shader


@persistent
def _forget(_path: object = None) -> None:
    """Masks of another file may get the same numbers."""
    _backdrops.clear()


def register() -> None:
    bpy.app.handlers.load_pre.append(_forget)


def unregister() -> None:
    global _handle, _shader
    bpy.app.handlers.load_pre.remove(_forget)
    if _handle is not None:
        bpy.types.SpaceImageEditor.draw_handler_remove(_handle, "WINDOW")
    _handle = _shader = None
    _forget()
