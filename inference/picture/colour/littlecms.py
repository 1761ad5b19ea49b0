"""What needs a whole colour management system: profiles with tables, and printing inks.

LittleCMS comes with Pillow. Where that is missing, callers do without and say so.
"""

from __future__ import annotations

import io
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

_BAND_PIXELS = 1 << 20
_LEAST_WHITE = 128


def rgb_with_tables(
    pixels: NDArray[np.uint8], profile: bytes, report: Callable[[], None] = lambda: None
) -> NDArray[np.uint8] | None:
    """Convert (H, W, 3) uint8 to sRGB; None where Pillow is missing or refuses the profile."""
    return _converted(pixels, profile, "RGB", report)


def cmyk_picture(
    data: bytes,
    profile: bytes,
    max_side: int,
    report: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8] | None:
    """Decode a JPEG or TIFF of printing inks as its profile says.

    Args:
        data: The whole file.
        profile: Its ICC profile.
        max_side: A JPEG is decoded at no more than about twice this.
        report: Called now and then; raises to cancel.

    Returns:
        (H, W, 3) uint8 sRGB, not turned upright; None where Pillow is missing or refuses.
    """
    try:
        from PIL import Image
    except ImportError:
        return None
    report()
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "TIFF")) as picture:
            if picture.mode != "CMYK":
                return None
            picture.draft("CMYK", (max_side, max_side))
            inks = np.asarray(picture)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None
    report()
    return _converted(inks, profile, "CMYK", report)


def _converted(
    pixels: NDArray[np.uint8], profile: bytes, mode: str, report: Callable[[], None]
) -> NDArray[np.uint8] | None:
    """Convert (H, W, channels of ``mode``) as the profile prefers, in bands."""
    try:
        from PIL import Image, ImageCms
    except ImportError:
        return None
    converted = np.empty((*pixels.shape[:2], 3), np.uint8)
    rows = max(1, _BAND_PIXELS // max(pixels.shape[1], 1))
    try:
        source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
        intent = ImageCms.Intent(ImageCms.getDefaultIntent(source))
        transform = ImageCms.buildTransform(
            source, ImageCms.createProfile("sRGB"), mode, "RGB", intent
        )
        paper = (255, 255, 255) if mode == "RGB" else (0, 0, 0, 0)
        white = ImageCms.applyTransform(Image.new(mode, (1, 1), paper), transform)
        if white is None or min(np.asarray(white)[0, 0]) < _LEAST_WHITE:
            return None  # damaged: it would ruin the picture
        for start in range(0, len(pixels), rows):
            report()
            band = pixels[start : start + rows]
            image = Image.frombytes(mode, (band.shape[1], band.shape[0]), band.tobytes())
            converted[start : start + rows] = np.asarray(ImageCms.applyTransform(image, transform))
    except (ImageCms.PyCMSError, ImportError, OSError, ValueError):
        return None  # Pillow can be built without LittleCMS
    return converted
