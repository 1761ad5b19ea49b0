"""Bring decoded pixels, whatever their depth and channels, to 8-bit RGBA with straight alpha."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ..colour.space import ColourSpace, as_srgb
from ..colour.tone import display_from_linear, without_invalid
from .header import PictureHeader

if TYPE_CHECKING:
    from cv2.typing import MatLike  # some systems' OpenCV comes without it


_LEAST_ALPHA = 1e-6
# Pixels from which a picture is converted and scaled piece by piece, and pixels of a piece.
_LARGE_PIXELS = 32 << 20
_PIECE_PIXELS = 4 << 20


def fitted_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Give (width, height) in pixels after scaling down to ``max_side``; never scales up."""
    longest = max(width, height)
    if longest <= max_side:
        return width, height
    scale = max_side / longest
    return max(round(width * scale), 1), max(round(height * scale), 1)


def rgba_from_integers(
    decoded: MatLike,
    header: PictureHeader,
    max_side: int,
    space: ColourSpace | None = None,
    report: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Bring any picture of 8 or 16 bits to 8-bit sRGB with straight alpha.

    Args:
        decoded: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA, as OpenCV decodes it.
        header: Tells what OpenCV does not, such as what alpha means.
        max_side: Longest side of the result in pixels.
        space: What the colours are stored in; None for sRGB.
        report: Called now and then; raises to cancel.

    Returns:
        (H, W, 4) uint8 RGBA.
    """
    is_multiplied = _is_premultiplied(decoded, header)
    # Eight bits of another space are too coarse where sixteen were stored.
    early = space if decoded.dtype == np.uint16 and not is_multiplied else None

    def prepare(piece: MatLike) -> NDArray[np.uint8]:
        return _straight_rgba(piece, header, is_multiplied, early)

    height, width = decoded.shape[:2]
    size = fitted_size(width, height, max_side)
    pixels = _scaled(decoded, size, prepare, _resize_straight, report)
    if space is not None and early is None:
        pixels[..., :3] = as_srgb(pixels[..., :3], space, report)
    return pixels


def _straight_rgba(
    decoded: MatLike, header: PictureHeader, is_multiplied: bool, space: ColourSpace | None
) -> NDArray[np.uint8]:
    is_deep = decoded.dtype == np.uint16
    key = None
    if header.grey_key is not None and decoded.ndim == 2:
        top = 65535 if is_deep else 255
        key = decoded == header.grey_key * top // ((1 << header.grey_bits) - 1)
    if is_deep and header.is_inverted_tiff:
        decoded = cv2.bitwise_not(decoded)
    has_alpha = decoded.ndim == 3 and decoded.shape[2] == 4
    to_rgba = cv2.COLOR_GRAY2RGBA if decoded.ndim == 2 else cv2.COLOR_BGR2RGBA
    to_rgba = cv2.COLOR_BGRA2RGBA if has_alpha else to_rgba
    pixels = cv2.cvtColor(decoded, to_rgba)
    if is_deep:
        deep = np.asarray(pixels, np.uint16)
        pixels = cv2.convertScaleAbs(pixels, alpha=255.0 / 65535.0)
        if space is not None:
            pixels[..., :3] = as_srgb(deep[..., :3], space)
    pixels = np.asarray(pixels, np.uint8)
    if is_multiplied:
        pixels = _unpremultiplied(pixels)
    if key is not None:
        pixels[key, 3] = 0
    return pixels


def _is_premultiplied(decoded: MatLike, header: PictureHeader) -> bool:
    if header.format != "TIFF" or header.is_cmyk or decoded.ndim != 3 or decoded.shape[2] != 4:
        return False
    is_deep = decoded.dtype == np.uint16
    # At 8 bits libtiff multiplies straight alpha into the colours before OpenCV sees them.
    if header.extra_sample == 2 and is_deep:
        return False
    step = 257 if is_deep else 1
    return header.extra_sample in (1, 2) and all(
        bool((piece[..., :3].max(axis=2) <= _plus(piece[..., 3], step)).all())
        for piece in _pieces(decoded)
    )


def _plus(values: NDArray, step: int) -> NDArray:
    """Add without beginning again at 0."""
    top = np.iinfo(values.dtype).max
    return np.minimum(values, top - step) + values.dtype.type(step)


def _pieces(decoded: MatLike) -> Iterator[MatLike]:
    rows = max(1, _PIECE_PIXELS // max(decoded.shape[1], 1))
    for start in range(0, len(decoded), rows):
        yield decoded[start : start + rows]


def _scaled(
    decoded: MatLike,
    size: tuple[int, int],
    prepare: Callable[[MatLike], NDArray],
    resize: Callable[[NDArray, tuple[int, int]], NDArray],
    report: Callable[[], None],
) -> NDArray:
    """Prepare and scale down; a large picture piece by piece, first across, then down.

    Args:
        decoded: (H, W) or (H, W, C).
        size: Width and height of the result.
        prepare: Brings rows into the form that is scaled; needs far more memory than ``decoded``.
        resize: Scales what ``prepare`` gives to a width and height.
        report: Called with each piece; raises to cancel.
    """
    height, width = decoded.shape[:2]
    if width * height <= _LARGE_PIXELS or size == (width, height):
        report()
        return resize(prepare(decoded), size)
    narrow: NDArray | None = None
    start = 0
    for piece in _pieces(decoded):
        report()
        scaled = resize(prepare(piece), (size[0], len(piece)))
        if narrow is None:
            narrow = np.empty((height, *scaled.shape[1:]), scaled.dtype)
        narrow[start : start + len(piece)] = scaled
        start += len(piece)
    assert narrow is not None
    result = np.empty((size[1], *narrow.shape[1:]), narrow.dtype)
    columns = max(1, _PIECE_PIXELS // height)
    for left in range(0, size[0], columns):
        report()
        piece = np.ascontiguousarray(narrow[:, left : left + columns])
        result[:, left : left + columns] = resize(piece, (piece.shape[1], size[1]))
    return result


def _unpremultiplied(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = cv2.extractChannel(pixels, 3)
    for channel in range(3):
        colour = cv2.extractChannel(pixels, channel)
        # OpenCV's division gives 0 where alpha is 0.
        cv2.insertChannel(cv2.divide(colour, alpha, scale=255.0), pixels, channel)
    return pixels


def shrink_straight(pixels: NDArray[np.uint8], max_side: int) -> NDArray[np.uint8]:
    """Scale (H, W, 4) straight RGBA down so that transparent pixels lend no colour."""
    height, width = pixels.shape[:2]
    return _resize_straight(pixels, fitted_size(width, height, max_side))


def _resize_straight(pixels: NDArray[np.uint8], size: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    if size == (width, height):
        return pixels
    alpha = cv2.extractChannel(pixels, 3)
    if int(alpha.min()) == 255:
        return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    # One channel at a time: a large picture must not be held in float.
    small_alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    weight = cv2.resize(
        alpha.astype(np.uint16) * np.uint16(255), size, interpolation=cv2.INTER_AREA
    )
    channels = []
    for channel in range(3):
        colour = cv2.extractChannel(pixels, channel)
        lit = cv2.multiply(colour, alpha, dtype=cv2.CV_16U)
        lit = cv2.resize(lit, size, interpolation=cv2.INTER_AREA)
        channels.append(cv2.divide(lit, weight, scale=255.0, dtype=cv2.CV_8U))
    return np.asarray(cv2.merge([*channels, small_alpha]), np.uint8)


def rgba_from_linear(
    decoded: MatLike,
    header: PictureHeader,
    max_side: int,
    space: ColourSpace | None = None,
    report: Callable[[], None] = lambda: None,
) -> tuple[NDArray[np.uint8], bool]:
    """Bring a float picture in linear light to 8 bits.

    Args:
        decoded: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA float, as OpenCV decodes it.
        header: Tells whether alpha is multiplied into the colours.
        max_side: Longest side of the result in pixels.
        space: Whose red, green and blue the light is measured in; None for sRGB's.
        report: Called now and then; raises to cancel.

    Returns:
        (H, W, 4) uint8 sRGB with straight alpha, and whether it was tone mapped.
    """
    is_multiplied = header.format == "OpenEXR" or header.extra_sample == 1

    def prepare(piece: MatLike) -> NDArray[np.float32]:
        return _multiplied_light(piece, is_multiplied)

    height, width = decoded.shape[:2]
    size = fitted_size(width, height, max_side)
    light = _scaled(decoded, size, prepare, _resize_light, report)
    alpha = light[..., 3] if light.shape[2] == 4 else None
    light = np.ascontiguousarray(light[..., :3])
    if alpha is not None:
        light /= np.maximum(alpha, _LEAST_ALPHA)[..., None]
        light[alpha <= 0.0] = 0.0
    if space is not None:
        light = light[..., ::-1] @ space.to_linear_srgb.T
        light = np.ascontiguousarray(light[..., ::-1])
    report()
    colours, is_mapped = display_from_linear(light)
    pixels = np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGBA), np.uint8)
    if alpha is not None:
        pixels[..., 3] = (alpha * 255.0 + 0.5).astype(np.uint8)
    return pixels, is_mapped


def _multiplied_light(decoded: MatLike, is_multiplied: bool) -> NDArray[np.float32]:
    """(H, W, 3 or 4) float32 with alpha from 0 to 1 multiplied into the colours."""
    light = without_invalid(decoded.astype(np.float32, copy=False))
    if light.ndim == 2:
        return np.repeat(light[..., None], 3, axis=2)
    if light.shape[2] == 4:
        light[..., 3] = np.clip(light[..., 3], 0.0, 1.0)
        if not is_multiplied:
            light[..., :3] *= light[..., 3:]
    return light


def _resize_light(light: NDArray[np.float32], size: tuple[int, int]) -> NDArray[np.float32]:
    if size == (light.shape[1], light.shape[0]):
        return light
    return np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
