"""Read the header of a TIFF, and tell those that hold surprises from the many that do not."""

from __future__ import annotations

from .exif import TiffTag, read_directory, read_exif, repeats_fields
from .header import (
    BITS_PER_SAMPLE,
    IMAGE_HEIGHT,
    IMAGE_WIDTH,
    PHOTOMETRIC,
    SAMPLES_PER_PIXEL,
    PictureHeader,
)

_COMPRESSION = 259
_ROWS_PER_STRIP = 278
_STRIP_OFFSETS, _STRIP_SIZES = 273, 279
_TILE_WIDTH, _TILE_HEIGHT = 322, 323
_ICC_PROFILE = 34675
_SHORT, _LONG = 3, 4
_CMYK = 5
_MOST_SAMPLES = 8
# None, LZW, Deflate under both its numbers, and PackBits: decoded strip by strip.
_PLAIN_COMPRESSIONS = frozenset((1, 5, 8, 32773, 32946))


def read_tiff(data: bytes) -> PictureHeader:
    """Read the header of a TIFF.

    Raises:
        KeyError: It does not tell its size.
    """
    tags = read_directory(data)
    width, height = int(tags[IMAGE_WIDTH].number), int(tags[IMAGE_HEIGHT].number)
    bits, samples = _number(tags, BITS_PER_SAMPLE, 1), _number(tags, SAMPLES_PER_PIXEL, 1)
    across, rows = _part(tags, width, height)
    # A strip or tile is held as stored and as RGBA before it goes to its place.
    working = across * rows * (samples * max(bits, 8) // 8 + 4)
    return PictureHeader(
        "TIFF",
        width,
        height,
        width * height * max(min(samples, 4) * max(bits, 8) // 8, 3),
        working,
        is_plain=_is_plain(data, tags, height),
        exif=read_exif(data),
        tiff=tags,
        profile=_profile(data, tags),
        is_cmyk=_number(tags, PHOTOMETRIC, -1) == _CMYK,
    )


def _number(tags: dict[int, TiffTag], tag: int, default: int) -> int:
    return int(tags[tag].number) if tag in tags else default


def _part(tags: dict[int, TiffTag], width: int, height: int) -> tuple[int, int]:
    """Width and rows of a tile, or of a strip."""
    if _TILE_WIDTH in tags or _TILE_HEIGHT in tags:
        return _number(tags, _TILE_WIDTH, width), _number(tags, _TILE_HEIGHT, height)
    return width, max(min(_number(tags, _ROWS_PER_STRIP, height), height), 1)


def _is_plain(data: bytes, tags: dict[int, TiffTag], height: int) -> bool:
    """Whether every decoder must read the same from these fields, a strip at a time."""
    single = (IMAGE_WIDTH, IMAGE_HEIGHT, _ROWS_PER_STRIP, SAMPLES_PER_PIXEL, _COMPRESSION)
    is_simple = all(
        tags[tag].kind in (_SHORT, _LONG) and tags[tag].count == 1 for tag in single if tag in tags
    )
    is_bounded = all(
        tags[tag].count <= height for tag in (_STRIP_OFFSETS, _STRIP_SIZES) if tag in tags
    )
    return (
        is_simple
        and is_bounded
        and not repeats_fields(data)
        and _TILE_WIDTH not in tags
        and _TILE_HEIGHT not in tags
        and _number(tags, SAMPLES_PER_PIXEL, 1) <= _MOST_SAMPLES
        and _number(tags, _COMPRESSION, 1) in _PLAIN_COMPRESSIONS
    )


def _profile(data: bytes, tags: dict[int, TiffTag]) -> bytes:
    tag = tags.get(_ICC_PROFILE)
    return b"" if tag is None else data[tag.offset : tag.offset + tag.count]
