"""Tell what a file holds, from its first bytes and without decoding it.

Sizes come from here so that a picture that would not fit into memory is refused before a decoder
sees it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import replace

from ...errors import PictureError
from ..colour.known import adobe_rgb
from .exif import UNKNOWN_EXIF, read_directory, read_exif
from .header import MAX_SEGMENTS, PictureHeader
from .jpeg import read_jpeg
from .light import read_exr, read_hdr
from .png import SIGNATURE, read_png
from .tiff import read_tiff

FIRST_BYTES = 1 << 16  # enough to recognise every format

_DNG_VERSION = 50706
_PLAIN_ANIMATION_PIXELS = 1 << 22
_EMBEDDED_PROFILE = b"DEBM"  # "MBED" as Windows stores numbers

_VIDEO = "a video"
_RAW = "a camera raw file"
_FOREIGN_START: tuple[tuple[bytes, str], ...] = (
    (b"8BPS", "a Photoshop document"),
    (b"%PDF", "a PDF document"),
    (b"%!PS", "a PostScript document"),
    (b"gimp xcf", "a GIMP document"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 picture"),
    (b"\xff\x4f\xff\x51", "a JPEG 2000 picture"),
    (b"\x00\x00\x00\x0cJXL ", "a JPEG XL picture"),
    (b"\xff\x0a", "a JPEG XL picture"),
    (b"DDS ", "a DDS texture"),
    (b"\x00\x00\x01\x00", "an icon"),
    (b"\x1aE\xdf\xa3", _VIDEO),
    (b"OggS", _VIDEO),
    (b"FUJIFILMCCD-RAW", _RAW),
    (b"IIU\x00", _RAW),
    (b"IIRO", _RAW),
    (b"IIRS", _RAW),
    (b"MMOR", _RAW),
    (b"BLENDER", "a Blender file"),
    (b"PK\x03\x04", "an archive"),
)
_APPLE_DOUBLE = b"\x00\x05\x16\x07"
_RAW_SUFFIXES = frozenset({".nef", ".arw", ".cr2", ".dng", ".pef", ".srw", ".nrw", ".sr2", ".3fr"})


def refuse_foreign(start: bytes, name: str) -> None:
    """Refuse what is no picture, from the first bytes alone, so that no long file is read in vain.

    Args:
        start: The file's first ``FIRST_BYTES``, or all of it.
        name: File name for messages; its suffix tells a camera raw file from a TIFF.

    Raises:
        PictureError: The file is no picture, or of a format that is not read.
    """
    if start.startswith(_APPLE_DOUBLE):
        raise PictureError(
            f"{name} is a file that Macs put beside a picture; choose the picture itself."
        )
    kind = _foreign_kind(start, name)
    if kind:
        raise PictureError(f"{name} is {kind}, which cannot be read; convert it to PNG or JPEG.")
    if not any(start.startswith(starts) for starts, _ in _READERS):
        raise PictureError(
            f"{name} is not a picture; choose a JPEG, PNG, WebP, TIFF, BMP, GIF, EXR or HDR file."
        )


def read_header(data: bytes, name: str) -> PictureHeader:
    """Recognise a picture and read its header.

    Args:
        data: The whole file.
        name: File name for messages; its suffix tells a camera raw file from a TIFF.

    Raises:
        PictureError: The file is no picture, of a format that is not read, or damaged.
    """
    refuse_foreign(data, name)
    read = next(reader for starts, reader in _READERS if data.startswith(starts))
    try:
        header = read(data)
    except (struct.error, IndexError, ValueError, KeyError) as error:
        raise damaged(name) from error
    if header.width <= 0 or header.height <= 0:
        raise damaged(name)
    if header.exif.is_adobe_rgb and not header.profile and header.space is None:
        return replace(header, space=adobe_rgb())
    return header


def damaged(name: str) -> PictureError:
    """Give the error for a file whose content does not decode."""
    return PictureError(
        f"{name} is damaged or cut short; save or download it again, or choose another picture."
    )


def _foreign_kind(data: bytes, name: str) -> str | None:
    """Name a known format that is not read, such as ``a video``; None for everything else."""
    for start, kind in _FOREIGN_START:
        if data.startswith(start):
            return kind
    if data[4:8] == b"ftyp":
        brands = data[8:64]
        if re.search(rb"hei[cxs]|hev[cx]|mif1|msf1", brands) and b"avi" not in brands:
            return "a HEIC picture"
        if re.search(rb"avi[fs]", brands):
            return "an AVIF picture"
        return _RAW if brands.startswith(b"crx ") else _VIDEO
    if data[:4] == b"RIFF" and data[8:12] == b"AVI ":
        return _VIDEO
    if data[:4] in (b"II*\0", b"MM\0*"):
        is_raw = data[8:10] == b"CR" or name[name.rfind(".") :].lower() in _RAW_SUFFIXES
        if is_raw or _DNG_VERSION in read_directory(data):
            return _RAW
    if re.match(rb"(\xef\xbb\xbf)?\s*(<\?xml|<!--|<!DOCTYPE svg|<svg)", data[:256]):
        return "an SVG drawing" if b"<svg" in data[:4096] else "a text document"
    return None


def _read_webp(data: bytes) -> PictureHeader:
    """The first chunk decides, as it does for decoders."""
    if data[8:12] != b"WEBP":
        raise ValueError("RIFF, but not WebP")
    first = data[12:16]
    exif, profile, is_animated = UNKNOWN_EXIF, b"", False
    canvas: tuple[int, int] | None = None
    frames: list[tuple[int, int]] = []
    is_lossless = False
    at = 12
    for _ in range(MAX_SEGMENTS):
        if at + 8 > len(data):
            break
        tag, length = struct.unpack_from("<4sI", data, at)
        start = at + 8
        if tag == b"VP8X" and canvas is None:
            is_animated = bool(data[start] & 0x02)
            canvas = _three_bytes(data, start + 4) + 1, _three_bytes(data, start + 7) + 1
        elif tag in (b"VP8 ", b"VP8L"):
            frames.append(_webp_frame(data, tag, start))
            is_lossless |= tag == b"VP8L"
        elif tag == b"EXIF":
            exif = read_exif(data[start : start + length])
        elif tag == b"ICCP":
            profile = profile or data[start : start + length]
        at = start + length + (length & 1)
    if first == b"VP8X" and canvas is not None:
        width, height = canvas
        is_plain = frames == [canvas] or (is_animated and width * height <= _PLAIN_ANIMATION_PIXELS)
    elif first in (b"VP8 ", b"VP8L"):
        (width, height), is_animated = frames[0], False
        is_plain = len(frames) == 1 and canvas is None
    else:
        raise ValueError("a WebP without a picture")
    # Lossless pictures are unpacked in memory of their own; animations are drawn on a canvas.
    working = width * height * (12 if is_animated else 4 if is_lossless else 1)
    return PictureHeader(
        "WebP",
        width,
        height,
        width * height * 4,
        working,
        is_plain=is_plain,
        exif=exif,
        is_animated=is_animated,
        profile=profile,
    )


def _three_bytes(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 3], "little")


def _webp_frame(data: bytes, tag: bytes, start: int) -> tuple[int, int]:
    if tag == b"VP8L":
        (packed,) = struct.unpack_from("<I", data, start + 1)
        return 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", data, start + 6)
    return width & 0x3FFF, height & 0x3FFF


def _read_bmp(data: bytes) -> PictureHeader:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    profile = b""
    if header_size >= 124 and data[70:74] == _EMBEDDED_PROFILE:
        offset, size = struct.unpack_from("<II", data, 126)
        profile = data[14 + offset : 14 + offset + size]
    width, height = abs(width), abs(height)
    return PictureHeader("BMP", width, height, width * height * 4, profile=profile)


def _read_gif(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    # Indices and colours of the frame, and the canvas.
    return PictureHeader("GIF", width, height, width * height * 4, width * height * 6)


_READERS = (
    ((SIGNATURE,), read_png),
    ((b"\xff\xd8\xff",), read_jpeg),
    ((b"RIFF",), _read_webp),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), read_tiff),
    ((b"BM",), _read_bmp),
    ((b"GIF87a", b"GIF89a"), _read_gif),
    ((b"v/1\x01",), read_exr),
    ((b"#?RADIANCE", b"#?RGBE"), read_hdr),
)
