"""Load any picture as upright 8-bit sRGB with straight alpha, within bounded memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np

from ...contracts import Picture, PictureFile, PicturePixels
from ...errors import OutOfMemory, PictureError
from .child import ChildUnavailable, decode_in_child
from .decode import decode_picture, finished, jpeg_reduction, note_scaling
from .header import PictureHeader
from .read import MAX_FILE_BYTES, MAX_MEMORY_BYTES, name_of, read_start, read_whole, too_large
from .recognise import FIRST_BYTES, read_header, refuse_foreign
from .rgba import fitted_size, shrink_straight

MIN_SIDE = 8
ADVISED_SIDE = 16
MAX_PIXELS = 400_000_000
MAX_GIF_PIXELS = 16_000_000

# What is decoded in this process: nothing here can be cancelled, so it must take less than a second.
HERE_FILE_BYTES = 64 << 20
HERE_JPEG_PIXELS = 16_000_000  # twice as many where the decoder skips some of the work
HERE_GIF_BYTES = 2 << 20
HERE_BYTES = 48 << 20


def _no_report() -> None:
    """Nobody waits for news."""


def load_picture(
    source: PictureFile | PicturePixels,
    max_side: int = 4096,
    report: Callable[[], None] = _no_report,
) -> Picture:
    """Load a picture the way every engine wants it.

    Large and unusual files are decoded in a process of its own, whose memory and time are bounded
    and which ends at once when ``report`` raises.

    Args:
        source: A file, or pixels that are already in memory.
        max_side: Longest side of the result in pixels; larger pictures are scaled down.
        report: Called several times a second; raises to cancel.

    Raises:
        PictureError: The picture cannot be read or used; the sentence says why.
        OutOfMemory: Memory ran out while decoding.
    """
    try:
        if isinstance(source, PictureFile):
            return _load_file(source.path, max_side, report)
        return _load_pixels(source, max_side)
    except MemoryError as error:
        raise _out_of_memory(_name_of(source)) from error
    except cv2.error as error:
        if error.code == cv2.Error.StsNoMem:
            raise _out_of_memory(_name_of(source)) from error
        raise


def _name_of(source: PictureFile | PicturePixels) -> str:
    return name_of(source.path) if isinstance(source, PictureFile) else source.name


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
    note_scaling(notes, (width, height), pixels)
    return finished(pixels, None, source.name, notes)


def _load_file(path: Path, max_side: int, report: Callable[[], None]) -> Picture:
    name = name_of(path)
    start, size = read_start(path, FIRST_BYTES)
    refuse_foreign(start, name)
    if size > MAX_FILE_BYTES:
        raise too_large(path)
    report()
    if size > HERE_FILE_BYTES:
        try:
            return decode_in_child(path, max_side, MAX_MEMORY_BYTES, report)
        except ChildUnavailable:
            pass
    data = read_whole(path, report)
    header = read_header(data, name)
    check(header, len(data), name, max_side)
    if not _fits_here(header, len(data), max_side):
        try:
            return decode_in_child(path, max_side, MAX_MEMORY_BYTES, report)
        except ChildUnavailable as error:
            if not header.is_plain:
                raise PictureError(
                    f"{name} is put together in an unusual way; open it in another program and "
                    "save it again as PNG or JPEG."
                ) from error
    return decode_picture(data, header, name, max_side, report)


def check(header: PictureHeader, file_bytes: int, name: str, max_side: int) -> None:
    """Refuse what is too small, too large, or too much for memory.

    Raises:
        PictureError: With the reason.
    """
    _check_size(name, header.width, header.height, max_side)
    _check_memory(name, header, file_bytes, max_side)


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


def _check_memory(name: str, header: PictureHeader, file_bytes: int, max_side: int) -> None:
    width, height = header.width, header.height
    reduction = jpeg_reduction(header, max_side)
    decoded = header.output_bytes // reduction**2
    # OpenCV copies what it has decoded; scaling down goes across first, and holds that besides.
    pixel_bytes = 16 if header.format in ("OpenEXR", "Radiance HDR") else 4
    narrow = min(width, max_side) * height // reduction * pixel_bytes
    needed = 2 * file_bytes + decoded + max(header.working_bytes, decoded, narrow)
    is_long_gif = header.format == "GIF" and width * height > MAX_GIF_PIXELS
    if is_long_gif or needed > MAX_MEMORY_BYTES:
        raise PictureError(
            f"{name} would need too much memory ({width} x {height} pixels); scale it down or save "
            "it as JPEG."
        )


def _fits_here(header: PictureHeader, file_bytes: int, max_side: int) -> bool:
    """Whether decoding in this process is safe and over before anybody could want to cancel it."""
    most_bytes = HERE_GIF_BYTES if header.format == "GIF" else HERE_FILE_BYTES
    if not header.is_plain or file_bytes > most_bytes:
        return False
    if header.format == "JPEG":
        most = HERE_JPEG_PIXELS * (2 if jpeg_reduction(header, max_side) > 1 else 1)
        return header.width * header.height * header.passes <= most
    return max(header.output_bytes, header.working_bytes / 2) <= HERE_BYTES
