"""Bring decoded pixels, whatever their depth and channels, to 8-bit RGBA with straight alpha."""

from __future__ import annotations

from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from .header import PictureHeader
from .tone import display_from_linear, without_invalid

if TYPE_CHECKING:
    from cv2.typing import MatLike  # some systems' OpenCV comes without it


_LEAST_ALPHA = 1e-6


def fitted_size(width: int, height: int, max_side: int) -> tuple[int, int]:
    """Give (width, height) in pixels after scaling down to ``max_side``; never scales up."""
    longest = max(width, height)
    if longest <= max_side:
        return width, height
    scale = max_side / longest
    return max(round(width * scale), 1), max(round(height * scale), 1)


def straight_rgba(decoded: MatLike, header: PictureHeader) -> NDArray[np.uint8]:
    """Bring any integer picture of OpenCV to (H, W, 4) uint8 RGBA with straight alpha."""
    is_deep = decoded.dtype == np.uint16
    key = None
    if header.grey_key is not None and decoded.ndim == 2:
        top = 65535 if is_deep else 255
        key = decoded == header.grey_key * top // ((1 << header.grey_bits) - 1)
    if is_deep and header.is_inverted_tiff:
        decoded = cv2.bitwise_not(decoded)
    if is_deep:
        decoded = cv2.convertScaleAbs(decoded, alpha=255.0 / 65535.0)
    has_alpha = decoded.ndim == 3 and decoded.shape[2] == 4
    to_rgba = cv2.COLOR_GRAY2RGBA if decoded.ndim == 2 else cv2.COLOR_BGR2RGBA
    to_rgba = cv2.COLOR_BGRA2RGBA if has_alpha else to_rgba
    pixels = np.asarray(cv2.cvtColor(decoded, to_rgba), np.uint8)
    if has_alpha and _is_premultiplied(pixels, header, is_deep):
        pixels = _unpremultiplied(pixels)
    if key is not None:
        pixels[key, 3] = 0
    return pixels


def _is_premultiplied(pixels: NDArray[np.uint8], header: PictureHeader, is_deep: bool) -> bool:
    if header.format != "TIFF" or header.is_cmyk_tiff:
        return False
    # At 8 bits libtiff multiplies straight alpha into the colours before OpenCV sees them.
    if header.extra_sample == 2 and is_deep:
        return False
    return header.extra_sample in (1, 2) and bool((pixels[..., :3] <= pixels[..., 3:] + 1).all())


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
    size = fitted_size(width, height, max_side)
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
    decoded: MatLike, header: PictureHeader, max_side: int
) -> tuple[NDArray[np.uint8], bool]:
    """Bring a float picture in linear light to 8 bits.

    Args:
        decoded: (H, W), (H, W, 3) BGR or (H, W, 4) BGRA float, as OpenCV decodes it.
        header: Tells whether alpha is multiplied into the colours.
        max_side: Longest side of the result in pixels.

    Returns:
        (H, W, 4) uint8 sRGB with straight alpha, and whether it was tone mapped.
    """
    light = without_invalid(decoded.astype(np.float32, copy=False))
    if light.ndim == 2:
        light = np.repeat(light[..., None], 3, axis=2)
    alpha = light[..., 3] if light.shape[2] == 4 else None
    is_premultiplied = header.format == "OpenEXR" or header.extra_sample == 1
    if alpha is not None:
        alpha = np.clip(alpha, 0.0, 1.0)
        if not is_premultiplied:
            light[..., :3] *= alpha[..., None]
    light = np.ascontiguousarray(light[..., :3])
    height, width = light.shape[:2]
    size = fitted_size(width, height, max_side)
    if size != (width, height):
        light = np.asarray(cv2.resize(light, size, interpolation=cv2.INTER_AREA), np.float32)
        if alpha is not None:
            alpha = cv2.resize(alpha, size, interpolation=cv2.INTER_AREA)
    if alpha is not None:
        light /= np.maximum(alpha, _LEAST_ALPHA)[..., None]
        light[alpha <= 0.0] = 0.0
    colours, is_mapped = display_from_linear(light)
    pixels = np.asarray(cv2.cvtColor(colours, cv2.COLOR_BGR2RGBA), np.uint8)
    if alpha is not None:
        pixels[..., 3] = (alpha * 255.0 + 0.5).astype(np.uint8)
    return pixels, is_mapped
