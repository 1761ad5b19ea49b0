"""Tell what a file holds, from its first bytes and without decoding it.

Sizes come from here so that a picture that would not fit into memory is refused before a decoder
sees it.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass
from typing import Literal

from ...errors import PictureError
from .exif import ORIENTATION, UNKNOWN_EXIF, Exif, TiffTag, read_directory, read_exif
from .png import SIGNATURE, png_chunks

PictureFormat = Literal["JPEG", "PNG", "WebP", "TIFF", "BMP", "GIF", "OpenEXR", "Radiance HDR"]

_IMAGE_WIDTH = 256
_IMAGE_HEIGHT = 257
_BITS_PER_SAMPLE = 258
_PHOTOMETRIC = 262
_SAMPLES_PER_PIXEL = 277
_EXTRA_SAMPLES = 338
_DNG_VERSION = 50706

# Where the length is not stored, the header of a sane file ends well before this.
_TEXT_HEADER_BYTES = 1 << 16

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
_RAW_SUFFIXES = frozenset({".nef", ".arw", ".cr2", ".dng", ".pef", ".srw", ".nrw", ".sr2", ".3fr"})


@dataclass(frozen=True, slots=True)
class PictureHeader:
    """What the first bytes say.

    Attributes:
        format: The file format.
        width: Stored width in pixels, before the picture is turned upright.
        height: Stored height in pixels.
        decoded_bytes: Memory that decoding takes at full size, roughly.
        exif: Orientation and lens.
        is_animated: True when more frames or pages follow the first picture.
        grey_key: The grey value, as stored, that a PNG without alpha declares transparent.
        grey_bits: Bits of a stored grey value that ``grey_key`` counts in.
        is_reducible: True when a decoder can skip pixels and never needs ``decoded_bytes``.
        tiff: Fields of a TIFF's first directory, None for other formats.
    """

    format: PictureFormat
    width: int
    height: int
    decoded_bytes: int
    exif: Exif = UNKNOWN_EXIF
    is_animated: bool = False
    grey_key: int | None = None
    grey_bits: int = 8
    is_reducible: bool = False
    tiff: dict[int, TiffTag] | None = None

    @property
    def is_cmyk_tiff(self) -> bool:
        """True for a TIFF that stores inks."""
        return self._field(_PHOTOMETRIC, -1) == 5

    @property
    def is_inverted_tiff(self) -> bool:
        """True for a grey TIFF in which 0 is white."""
        return self._field(_PHOTOMETRIC, -1) == 0

    @property
    def samples(self) -> int:
        """Channels that a TIFF stores; 0 for other formats."""
        return self._field(_SAMPLES_PER_PIXEL, 1) if self.tiff else 0

    @property
    def bits(self) -> int:
        """Bits of a TIFF's first channel; 1 when it does not say."""
        return self._field(_BITS_PER_SAMPLE, 1)

    @property
    def extra_sample(self) -> int:
        """Meaning of a TIFF's fourth channel: 0 unsaid, 1 premultiplied, 2 straight alpha."""
        return self._field(_EXTRA_SAMPLES, 0)

    @property
    def orientation_field(self) -> TiffTag | None:
        """Where a TIFF keeps its orientation."""
        return (self.tiff or {}).get(ORIENTATION)

    def _field(self, tag: int, default: int) -> int:
        return int(self.tiff[tag].number) if self.tiff and tag in self.tiff else default


def read_header(data: bytes, name: str) -> PictureHeader:
    """Recognise a picture and read its size.

    Args:
        data: The whole file.
        name: File name for messages; its suffix tells a camera raw file from a TIFF.

    Raises:
        PictureError: The file is no picture, of a format that is not read, or damaged.
    """
    kind = _foreign_kind(data, name)
    if kind:
        raise PictureError(f"{name} is {kind}, which cannot be read; convert it to PNG or JPEG.")
    for starts, read in _READERS:
        if data.startswith(starts):
            try:
                header = read(data)
            except (struct.error, IndexError, ValueError, KeyError) as error:
                raise damaged(name) from error
            if header.width <= 0 or header.height <= 0:
                raise damaged(name)
            return header
    raise PictureError(
        f"{name} is not a picture; choose a JPEG, PNG, WebP, TIFF, BMP, GIF, EXR or HDR file."
    )


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


def _read_png(data: bytes) -> PictureHeader:
    width, height, depth, colour = struct.unpack_from(">IIBB", data, 16)
    exif, grey_key, is_animated = UNKNOWN_EXIF, None, False
    for tag, start, length in png_chunks(data):
        if tag == b"eXIf":
            exif = read_exif(data[start : start + length])
        elif tag == b"acTL":
            is_animated = True
        elif tag == b"tRNS" and colour == 0:
            (grey_key,) = struct.unpack_from(">H", data, start)
    channels = {0: 1, 2: 4, 3: 4, 4: 4, 6: 4}[colour]
    size = width * height * channels * max(depth // 8, 1)
    return PictureHeader("PNG", width, height, size, exif, is_animated, grey_key, depth)


def _read_jpeg(data: bytes) -> PictureHeader:
    exif = UNKNOWN_EXIF
    at = 2
    while True:
        while data[at] != 0xFF:  # Some writers leave stray bytes between segments.
            at += 1
        while data[at] == 0xFF:
            at += 1
        marker = data[at]
        at += 1
        if marker == 0x01 or 0xD0 <= marker <= 0xD7:
            continue
        (length,) = struct.unpack_from(">H", data, at)
        if marker == 0xE1 and data.startswith(b"Exif\0\0", at + 2) and exif == UNKNOWN_EXIF:
            exif = read_exif(data[at + 2 : at + length])
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            break
        if marker in (0xD9, 0xDA):
            raise ValueError("no frame header before the scan")
        at += length
    height, width, components = struct.unpack_from(">HHB", data, at + 3)
    is_progressive = marker in (0xC2, 0xC6, 0xCA, 0xCE)
    # A progressive decoder holds two bytes for each coefficient of the full-size picture.
    size = width * height * components * (3 if is_progressive else 1)
    return PictureHeader("JPEG", width, height, size, exif, is_reducible=not is_progressive)


def _read_webp(data: bytes) -> PictureHeader:
    if data[8:12] != b"WEBP":
        raise ValueError("RIFF, but not WebP")
    exif, is_animated = UNKNOWN_EXIF, False
    width = height = 0
    at = 12
    while at + 8 <= len(data):
        tag, length = struct.unpack_from("<4sI", data, at)
        start = at + 8
        if tag == b"VP8X":
            (flags,) = struct.unpack_from("<B", data, start)
            is_animated = bool(flags & 0x02)
            width, height = (
                1 + int.from_bytes(data[start + i : start + i + 3], "little") for i in (4, 7)
            )
        elif tag == b"VP8 " and not width:
            width, height = (side & 0x3FFF for side in struct.unpack_from("<HH", data, start + 6))
        elif tag == b"VP8L" and not width:
            (packed,) = struct.unpack_from("<I", data, start + 1)
            width, height = 1 + (packed & 0x3FFF), 1 + (packed >> 14 & 0x3FFF)
        elif tag == b"EXIF":
            exif = read_exif(data[start : start + length])
        at = start + length + (length & 1)
    return PictureHeader("WebP", width, height, width * height * 4, exif, is_animated)


def _read_tiff(data: bytes) -> PictureHeader:
    tags = read_directory(data)
    width, height = int(tags[_IMAGE_WIDTH].number), int(tags[_IMAGE_HEIGHT].number)
    bits = int(tags[_BITS_PER_SAMPLE].number) if _BITS_PER_SAMPLE in tags else 1
    samples = int(tags[_SAMPLES_PER_PIXEL].number) if _SAMPLES_PER_PIXEL in tags else 1
    size = width * height * max(samples * bits // 8, 4)
    return PictureHeader("TIFF", width, height, size, read_exif(data), tiff=tags)


def _read_bmp(data: bytes) -> PictureHeader:
    (header_size,) = struct.unpack_from("<I", data, 14)
    if header_size == 12:
        width, height = struct.unpack_from("<HH", data, 18)
    else:
        width, height = struct.unpack_from("<ii", data, 18)
    width, height = abs(width), abs(height)
    return PictureHeader("BMP", width, height, width * height * 4)


def _read_gif(data: bytes) -> PictureHeader:
    width, height = struct.unpack_from("<HH", data, 6)
    return PictureHeader("GIF", width, height, width * height * 4)


def _read_exr(data: bytes) -> PictureHeader:
    width = height = channels = 0
    at = 8
    while data[at]:
        (name, kind), at = _exr_words(data, at)
        (length,) = struct.unpack_from("<I", data, at)
        at += 4
        if name == b"dataWindow":
            left, top, right, bottom = struct.unpack_from("<iiii", data, at)
            width, height = right - left + 1, bottom - top + 1
        elif kind == b"chlist":
            channels = length // 18
        at += length
    return PictureHeader("OpenEXR", width, height, width * height * 4 * max(channels, 4))


def _exr_words(data: bytes, at: int) -> tuple[tuple[bytes, bytes], int]:
    name_end = data.index(b"\0", at)
    kind_end = data.index(b"\0", name_end + 1)
    return (data[at:name_end], data[name_end + 1 : kind_end]), kind_end + 1


def _read_hdr(data: bytes) -> PictureHeader:
    size = re.search(rb"\n[-+]Y +(\d{1,9}) +[-+]X +(\d{1,9})\n", data[:_TEXT_HEADER_BYTES])
    if size is None:
        raise ValueError("no size in the header")
    height, width = int(size[1]), int(size[2])
    return PictureHeader("Radiance HDR", width, height, width * height * 12)


_READERS = (
    ((SIGNATURE,), _read_png),
    ((b"\xff\xd8\xff",), _read_jpeg),
    ((b"RIFF",), _read_webp),
    ((b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"), _read_tiff),
    ((b"BM",), _read_bmp),
    ((b"GIF87a", b"GIF89a"), _read_gif),
    ((b"v/1\x01",), _read_exr),
    ((b"#?RADIANCE", b"#?RGBE"), _read_hdr),
)
