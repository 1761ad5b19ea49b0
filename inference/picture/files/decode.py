"""Decode a picture's bytes in this process: upright 8-bit sRGB with straight alpha."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import Picture
from ...errors import PictureError
from ..colour.icc import read_icc
from ..colour.littlecms import cmyk_picture, rgb_with_tables
from ..colour.space import ColourSpace, as_srgb, is_srgb
from .exif import focal_px
from .gif import decode_gif
from .header import PictureHeader
from .jpeg import JpegParts, clean_jpeg, stray_tail_test
from .png import still_png
from .quiet import quiet_opencv
from .recognise import damaged
from .rgba import rgba_from_integers, rgba_from_linear, shrink_straight

if TYPE_CHECKING:
    from cv2.typing import MatLike  # some systems' OpenCV comes without it

_OPAQUE_FROM = 128
_SEEN_FROM = 8
_PICTURE_SUFFIXES = frozenset(
    (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".exr", ".hdr", ".tga")
)
_JPEG_REDUCTIONS = (
    (8, cv2.IMREAD_REDUCED_COLOR_8),
    (4, cv2.IMREAD_REDUCED_COLOR_4),
    (2, cv2.IMREAD_REDUCED_COLOR_2),
)
# What may be missing at the bottom of a cut JPEG for it to be worth having.
_MOST_MISSING = 0.1
# Put behind a cut JPEG's data: what is decoded of it shows where the data end.
_FILLING = bytes(0xDB - 37 * i % 211 for i in range(400))
_COMPARED_ROWS = 64
_BLOCK_ROWS = 16  # of a JPEG, with the usual halved colours


def jpeg_reduction(header: PictureHeader, max_side: int) -> int:
    """Give the largest divisor by which a JPEG's decoder may shrink, not below ``max_side``."""
    if header.format != "JPEG":
        return 1
    longest = max(header.width, header.height)
    factors = (factor for factor, _ in _JPEG_REDUCTIONS if longest // factor >= max_side)
    return next(factors, 1)


def decode_picture(
    data: bytes, header: PictureHeader, name: str, max_side: int, report: Callable[[], None]
) -> Picture:
    """Decode a whole file.

    Args:
        data: All of it.
        header: What ``read_header`` says of it.
        name: File name for messages.
        max_side: Longest side of the result in pixels.
        report: Called between the steps; raises to cancel.

    Raises:
        PictureError: It does not decode, or cannot be used.
    """
    notes: list[str] = []
    pixels = _decode(data, header, name, max_side, notes, report)
    focal = focal_px(header.exif, header.width, header.height)
    if focal is not None:
        focal *= max(pixels.shape[:2]) / max(header.width, header.height)
    pixels = _turn_upright(pixels, header.exif.orientation)
    is_turned = header.exif.orientation >= 5
    stored = (header.width, header.height)
    note_scaling(notes, (stored[1], stored[0]) if is_turned else stored, pixels)
    picture = finished(pixels, focal, name, notes)
    digest = hashlib.sha256(data).hexdigest()
    return replace(picture, place=header.exif.place, sha256=digest)


def finished(
    pixels: NDArray[np.uint8], focal: float | None, name: str, notes: list[str]
) -> Picture:
    """Make a picture of upright (H, W, 4) RGBA.

    Raises:
        PictureError: There is nothing to be seen.
    """
    alpha = pixels[..., 3]
    if int(alpha.max()) < _SEEN_FROM:
        raise PictureError(
            f"{name} is completely transparent; remove its alpha or choose another picture."
        )
    has_alpha = bool((alpha < _OPAQUE_FROM).any() and (alpha > _OPAQUE_FROM).any())
    stem, dot, suffix = name.rpartition(".")
    is_file_name = bool(stem) and dot + suffix.lower() in _PICTURE_SUFFIXES
    return Picture(pixels, has_alpha, focal, stem if is_file_name else name, tuple(notes))


def note_scaling(notes: list[str], size: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
    """Add a remark when the pixels are not of the picture's own width and height."""
    height, width = pixels.shape[:2]
    if (width, height) != size:
        notes.append(f"Scaled from {size[0]} x {size[1]} to {width} x {height} pixels.")


def _decode(
    data: bytes,
    header: PictureHeader,
    name: str,
    max_side: int,
    notes: list[str],
    report: Callable[[], None],
) -> NDArray[np.uint8]:
    """Decode to (H, W, 4) uint8 RGBA of at most ``max_side``, not yet upright."""
    try:
        if header.format == "GIF":
            pixels, is_animated = decode_gif(data)
            _note_animation(notes, is_animated)
            return shrink_straight(pixels, max_side)
        if header.format == "PNG":
            data = still_png(data)
    except ValueError as error:
        raise damaged(name) from error
    if header.format == "TIFF" and header.is_cmyk and header.bits > 8:
        raise PictureError(f"{name} stores inks with {header.bits} bits; save it as RGB.")
    if header.format == "OpenEXR" and not cv2.haveImageWriter("picture.exr"):
        raise PictureError(
            f"{name} is an OpenEXR picture, which the OpenCV installed here cannot read; save it as "
            "PNG or as Radiance HDR."
        )
    if header.orientation_field is not None:
        data = _without_orientation(data, header)
    colours = _Colours(header, notes)
    if colours.inks:
        rgb = cmyk_picture(data, colours.inks, max_side, report)
        if rgb is not None:
            return shrink_straight(_opaque(rgb), max_side)
        colours.note_unread()
    if header.jpeg is not None:
        decoded = _decode_jpeg(data, header, header.jpeg, name, max_side, notes)
    else:
        decoded = _decode_opencv(data, cv2.IMREAD_UNCHANGED, name)
    report()
    _note_animation(notes, header.is_animated)
    if decoded.dtype == np.float64:
        decoded = decoded.astype(np.float32)
    space = colours.space(is_grey=decoded.ndim == 2)
    if decoded.dtype == np.float32:
        pixels, is_mapped = rgba_from_linear(decoded, header, max_side, space, report)
        if is_mapped:
            notes.append("The picture has a high dynamic range; its highlights were compressed.")
        return pixels
    if decoded.dtype not in (np.uint8, np.uint16):
        raise PictureError(
            f"{name} stores {decoded.dtype} numbers, not colours; save it with 8 or 16 bits per "
            "channel."
        )
    if header.samples == 2:
        notes.append("The alpha of a grey TIFF is not read; save it as PNG to use it.")
    pixels = rgba_from_integers(decoded, header, max_side, space, report)
    return colours.through_tables(pixels, report)


class _Colours:
    """Where a picture's colours are to be converted from, and a remark where they cannot be."""

    def __init__(self, header: PictureHeader, notes: list[str]) -> None:
        self._header = header
        self._notes = notes
        self._profile = read_icc(header.profile) if header.profile else None
        self._tables = b""

    @property
    def inks(self) -> bytes:
        """The profile of printing inks; empty where the file has none."""
        is_inks = self._profile is not None and self._profile.kind == "CMYK"
        return self._header.profile if is_inks and self._header.is_cmyk else b""

    def note_unread(self) -> None:
        """Say that the profile was not used."""
        name = self._profile.name if self._profile is not None else ""
        what = f"The colour profile {name}" if name else "The picture's colour profile"
        self._notes.append(
            f"{what} cannot be read here, so colours may be a little off; convert the picture to "
            "sRGB to have them exact."
        )

    def space(self, is_grey: bool) -> ColourSpace | None:
        """The colour space of decoded pixels; None for sRGB, and for what tables tell."""
        if not self._header.profile:
            space = self._header.space
            if space is not None and space.is_hdr:
                self._notes.append(
                    "The picture has a high dynamic range; what is brighter than white was cut off."
                )
            return space
        profile = self._profile
        if profile is None:
            self.note_unread()
            return None
        if profile.kind == "CMYK" and self._header.is_cmyk:
            return None  # told above
        if profile.kind != "RGB" and not (profile.kind == "GRAY" and is_grey):
            self.note_unread()
            return None
        if profile.kind == "RGB" and profile.has_tables:
            self._tables = self._header.profile
            return None
        if profile.space is None:
            self.note_unread()
        elif not is_srgb(profile.space):
            return profile.space
        return None

    def through_tables(
        self, pixels: NDArray[np.uint8], report: Callable[[], None]
    ) -> NDArray[np.uint8]:
        """Convert (H, W, 4) RGBA whose profile consists of tables; others come back as they are."""
        if not self._tables:
            return pixels
        rgb = np.ascontiguousarray(pixels[..., :3])
        converted = rgb_with_tables(rgb, self._tables, report)
        if converted is None and self._profile is not None and self._profile.space is not None:
            converted = as_srgb(rgb, self._profile.space, report)
        if converted is None:
            self.note_unread()
        else:
            pixels[..., :3] = converted
        return pixels


def _opaque(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    return np.asarray(cv2.cvtColor(rgb, cv2.COLOR_RGB2RGBA), np.uint8)


def _note_animation(notes: list[str], is_animated: bool) -> None:
    if is_animated:
        notes.append("The picture is animated; its first frame was used.")


def _without_orientation(data: bytes, header: PictureHeader) -> bytes:
    """Mark a TIFF as upright: OpenCV turns TIFFs by itself, whatever it is asked to do."""
    field = header.orientation_field
    if field is None:
        return data
    patched = bytearray(data)
    patched[field.offset : field.offset + 2] = b"\x01\0" if field.byte_order == "<" else b"\0\x01"
    return bytes(patched)


def _decode_jpeg(
    data: bytes,
    header: PictureHeader,
    parts: JpegParts,
    name: str,
    max_side: int,
    notes: list[str],
) -> MatLike:
    """Decode a JPEG, and say what is wrong with it where that can be borne."""
    reduction = jpeg_reduction(header, max_side)
    flags = dict(_JPEG_REDUCTIONS).get(reduction, cv2.IMREAD_UNCHANGED)
    flags = flags | cv2.IMREAD_IGNORE_ORIENTATION if reduction > 1 else flags
    if not parts.has_end and not parts.is_complete_enough:
        raise damaged(name)
    decoded = _decode_opencv(clean_jpeg(data, parts), flags, name)
    is_stray = parts.stray_bytes > 0
    if not parts.has_end:
        filled = _decode_opencv(clean_jpeg(data, parts, _FILLING), flags, name)
        missing = _missing_share(decoded, filled)
        if missing > _MOST_MISSING and not parts.is_progressive:
            raise damaged(name)
        notes.append(_words_for(missing, parts.is_progressive))
    elif not is_stray and reduction == 1:
        altered = stray_tail_test(data, parts)
        is_stray = altered is not None and np.array_equal(
            decoded, _decode_opencv(altered, flags, name)
        )
    if is_stray:
        notes.append("The file holds stray bytes, which were passed over.")
    return decoded


def _words_for(missing: float, is_progressive: bool) -> str:
    if missing == 0.0:
        return "The file lacks its end mark; the picture is complete."
    if is_progressive:
        return "The file is cut short, so fine detail may be missing; download it again to have it."
    return (
        f"The file is cut short: about {math.ceil(100 * missing)}% of the picture are missing, at its"
        " lower edge; download it again to have them."
    )


def _missing_share(decoded: MatLike, filled: MatLike) -> float:
    """Share of a cut JPEG that is missing.

    Args:
        decoded: (H, W) or (H, W, 3), decoded from what there is.
        filled: The same with something else behind it, so that it differs where data are missing.
    """
    height, width = decoded.shape[:2]
    for start in range(0, height, _COMPARED_ROWS):
        rows = slice(start, start + _COMPARED_ROWS)
        differs = (decoded[rows] != filled[rows]).reshape(-1, width, decoded[0, 0].size).any(axis=2)
        if differs.any():
            first = int(np.argmax(differs.any(axis=1)))
            # Blocks come in rows, from left to right; those of the first row are missing in part.
            left = int(np.argmax(differs[first : first + _BLOCK_ROWS].any(axis=0)))
            below = max(height - start - first - _BLOCK_ROWS, 0)
            return ((1 - left / width) * _BLOCK_ROWS + below) / height
    return 0.0


def _decode_opencv(data: bytes, flags: int, name: str) -> MatLike:
    # Broken files are reported in a sentence; OpenCV's own lines on stderr would only add noise.
    try:
        with quiet_opencv():
            decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise
        raise damaged(name) from error
    if decoded is None:
        raise damaged(name)
    return decoded


def _turn_upright(pixels: NDArray[np.uint8], orientation: int) -> NDArray[np.uint8]:
    """Undo an EXIF orientation."""
    if orientation >= 5:
        pixels = np.asarray(cv2.transpose(pixels), np.uint8)
    flip = {2: 1, 3: -1, 4: 0, 6: 1, 7: -1, 8: 0}.get(orientation)
    return pixels if flip is None else np.asarray(cv2.flip(pixels, flip), np.uint8)
