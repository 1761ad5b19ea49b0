"""Load any picture as upright 8-bit sRGB with straight alpha, within bounded memory."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import Picture, PictureFile, PicturePixels
from ...errors import OutOfMemory, PictureError
from .exif import focal_px
from .gif import decode_gif
from .header import PictureHeader, damaged, read_header
from .png import still_png
from .quiet import quiet_opencv
from .rgba import fitted_size, rgba_from_linear, shrink_straight, straight_rgba

if TYPE_CHECKING:
    from cv2.typing import MatLike  # some systems' OpenCV comes without it


MIN_SIDE = 8
ADVISED_SIDE = 16
MAX_PIXELS = 400_000_000
MAX_GIF_PIXELS = 16_000_000
MAX_FILE_BYTES = 2 << 30
# With the copies made while scaling the peak is about three times this.
MAX_DECODED_BYTES = 512 << 20

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


def load_picture(source: PictureFile | PicturePixels, max_side: int = 4096) -> Picture:
    """Load a picture the way every engine wants it.

    Args:
        source: A file, or pixels that are already in memory.
        max_side: Longest side of the result in pixels; larger pictures are scaled down.

    Raises:
        PictureError: The picture cannot be read or used; the sentence says why.
        OutOfMemory: Memory ran out while decoding.
    """
    try:
        if isinstance(source, PictureFile):
            return _load_file(source.path, max_side)
        return _load_pixels(source, max_side)
    except MemoryError as error:
        raise _out_of_memory(_name_of(source)) from error
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise _out_of_memory(_name_of(source)) from error
        raise


def _name_of(source: PictureFile | PicturePixels) -> str:
    return source.path.name if isinstance(source, PictureFile) else source.name


def _out_of_memory(name: str) -> OutOfMemory:
    return OutOfMemory(
        f"There is not enough free memory to open {name}; close other programs or scale it down."
    )


def _load_pixels(source: PicturePixels, max_side: int) -> Picture:
    pixels = source.pixels
    if pixels.ndim != 3 or pixels.shape[2] != 4 or pixels.dtype != np.uint8:
        raise PictureError(f"{source.name} has no pixels; load or render the image first.")
    height, width = pixels.shape[:2]
    _check_size(source.name, width, height, max_side)
    notes: list[str] = []
    pixels = shrink_straight(np.ascontiguousarray(pixels), max_side)
    _note_scaling(notes, (width, height), pixels)
    return _finish(pixels, None, source.name, notes)


def _load_file(path: Path, max_side: int) -> Picture:
    name = path.name or str(path)
    data = _read_bytes(path, name)
    header = read_header(data, name)
    _check_size(name, header.width, header.height, max_side)
    reduction = _jpeg_reduction(header, max_side)
    _check_memory(name, header)
    notes: list[str] = []
    pixels = _decode(data, header, name, reduction, max_side, notes)
    focal = focal_px(header.exif, header.width, header.height)
    if focal is not None:
        focal *= max(pixels.shape[:2]) / max(header.width, header.height)
    pixels = _turn_upright(pixels, header.exif.orientation)
    is_turned = header.exif.orientation >= 5
    stored = (header.width, header.height)
    _note_scaling(notes, (stored[1], stored[0]) if is_turned else stored, pixels)
    finished = _finish(pixels, focal, name, notes)
    digest = hashlib.sha256(data).hexdigest()
    return replace(finished, place=header.exif.place, sha256=digest)


def _finish(pixels: NDArray[np.uint8], focal: float | None, name: str, notes: list[str]) -> Picture:
    alpha = pixels[..., 3]
    if int(alpha.max()) < _SEEN_FROM:
        raise PictureError(
            f"{name} is completely transparent; remove its alpha or choose another picture."
        )
    has_alpha = bool((alpha < _OPAQUE_FROM).any() and (alpha > _OPAQUE_FROM).any())
    stem, dot, suffix = name.rpartition(".")
    is_file_name = bool(stem) and dot + suffix.lower() in _PICTURE_SUFFIXES
    return Picture(pixels, has_alpha, focal, stem if is_file_name else name, tuple(notes))


def _note_scaling(notes: list[str], size: tuple[int, int], pixels: NDArray[np.uint8]) -> None:
    height, width = pixels.shape[:2]
    if (width, height) != size:
        notes.append(f"Scaled from {size[0]} x {size[1]} to {width} x {height} pixels.")


def _read_bytes(path: Path, name: str) -> bytes:
    try:
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise PictureError(f"{name} is a folder; choose a picture file in it.")
        if not stat.S_ISREG(info.st_mode):
            raise PictureError(f"{name} is not a regular file; choose a picture file.")
        if info.st_size == 0:
            raise PictureError(f"{name} is empty (0 bytes); save or download it again.")
        if info.st_size > MAX_FILE_BYTES:
            raise PictureError(f"{name} is larger than 2 GB; scale it down and save it again.")
        return _without_length_limit(path).read_bytes()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(
            f"There is no file {path}; it may have been moved or renamed, so choose it again."
        ) from error
    except PermissionError as error:
        raise PictureError(
            f"{name} may not be read; give yourself permission to read it, or copy it elsewhere."
        ) from error
    except ValueError as error:
        raise PictureError("The picture's path contains a null character; choose it again.") from (
            error
        )
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PictureError(
                f"The path of {name[:60]}... is too long for this system; move the picture."
            ) from error
        raise PictureError(
            f"{name} cannot be read ({error.strerror or error}); copy it to this computer's disk "
            "and try again."
        ) from error


def _without_length_limit(path: Path) -> Path:
    """Lift Windows' limit of 260 characters; other systems' paths stay as they are."""
    if os.name != "nt":
        return path
    text = str(path.absolute())
    if text.startswith("\\\\"):
        return path
    return Path("\\\\?\\" + text)


def _check_size(name: str, width: int, height: int, max_side: int) -> None:
    if min(width, height) < MIN_SIDE:
        raise PictureError(
            f"{name} is only {width} x {height} pixels; use a picture of at least "
            f"{ADVISED_SIDE} x {ADVISED_SIDE}."
        )
    if width * height > MAX_PIXELS:
        raise PictureError(
            f"{name} is {width} x {height} pixels, which is more than can be read; scale it down "
            f"to {max_side} pixels or fewer on the longest side."
        )
    if min(fitted_size(width, height, max_side)) < MIN_SIDE:
        raise PictureError(
            f"{name} is too long and narrow ({width} x {height} pixels); crop it closer to a "
            "square."
        )


def _check_memory(name: str, header: PictureHeader) -> None:
    is_long_gif = header.format == "GIF" and header.width * header.height > MAX_GIF_PIXELS
    is_large = header.decoded_bytes > MAX_DECODED_BYTES and not header.is_reducible
    if is_long_gif or is_large:
        raise PictureError(
            f"{name} would need too much memory ({header.width} x {header.height} pixels); scale "
            "it down or save it as JPEG."
        )


def _jpeg_reduction(header: PictureHeader, max_side: int) -> int:
    """Give the largest power of two by which the decoder may shrink, and not below ``max_side``."""
    if header.format != "JPEG":
        return cv2.IMREAD_UNCHANGED
    longest = max(header.width, header.height)
    for factor, flag in _JPEG_REDUCTIONS:
        if longest // factor >= max_side:
            return flag | cv2.IMREAD_IGNORE_ORIENTATION
    return cv2.IMREAD_UNCHANGED


def _decode(
    data: bytes,
    header: PictureHeader,
    name: str,
    flags: int,
    max_side: int,
    notes: list[str],
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
    if header.is_cmyk_tiff and header.bits > 8:
        raise PictureError(f"{name} stores inks with {header.bits} bits; save it as RGB.")
    if header.format == "OpenEXR" and not cv2.haveImageWriter("picture.exr"):
        raise PictureError(
            f"{name} is an OpenEXR picture, which the OpenCV installed here cannot read; save it as "
            "PNG or as Radiance HDR."
        )
    if header.orientation_field is not None:
        data = _without_orientation(data, header)
    decoded = _decode_opencv(data, flags, name)
    _note_animation(notes, header.is_animated)
    if decoded.dtype == np.float64:
        decoded = decoded.astype(np.float32)
    if decoded.dtype == np.float32:
        pixels, is_mapped = rgba_from_linear(decoded, header, max_side)
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
    return shrink_straight(straight_rgba(decoded, header), max_side)


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
