"""Read the few EXIF fields that matter here: which way is up, how long the lens was, and where.

Files lie, so nothing in this module raises: a field that cannot be read is a field that is absent.
"""

from __future__ import annotations

import math
import struct
from dataclasses import dataclass

from ...contracts import Place

ORIENTATION = 0x0112
EXIF_IFD = 0x8769
FOCAL_LENGTH = 0x920A
COLOR_SPACE = 0xA001
PIXEL_X_DIMENSION = 0xA002
INTEROPERABILITY_IFD = 0xA005
FOCAL_PLANE_X_RESOLUTION = 0xA20E
FOCAL_PLANE_UNIT = 0xA210
FOCAL_LENGTH_35MM = 0xA405
INTEROPERABILITY_INDEX = 1
GPS_IFD = 0x8825
LATITUDE_REF, LATITUDE, LONGITUDE_REF, LONGITUDE, POSITIONING_ERROR = 1, 2, 3, 4, 31

ADOBE_RGB = 2

FULL_FRAME_DIAGONAL_MM = math.hypot(36.0, 24.0)
# Lenses outside of this range of diagonal fields of view are typing mistakes or circular fisheyes.
MIN_DIAGONAL_FOV = math.radians(1.0)
MAX_DIAGONAL_FOV = math.radians(150.0)

_MAX_ENTRIES = 512
_MAX_VALUES = 64
_MM_PER_UNIT = {2: 25.4, 3: 10.0, 4: 1.0, 5: 0.001}
# TIFF field type -> struct letter and size; rationals are pairs.
_TYPES = {
    1: ("B", 1),
    2: ("B", 1),
    3: ("H", 2),
    4: ("I", 4),
    5: ("II", 8),
    6: ("b", 1),
    7: ("B", 1),
    8: ("h", 2),
    9: ("i", 4),
    10: ("ii", 8),
    11: ("f", 4),
    12: ("d", 8),
    13: ("I", 4),
    16: ("Q", 8),
    17: ("q", 8),
    18: ("Q", 8),
}


@dataclass(frozen=True, slots=True)
class TiffTag:
    """One field of a TIFF directory.

    Attributes:
        values: At most 64 numbers; rationals already divided.
        offset: Where the first value lies, in bytes from the start of the TIFF data.
        byte_order: ``<`` or ``>``, for writing the value back.
        kind: TIFF's number for the type of the values.
        count: How many values there are.
    """

    values: tuple[float, ...]
    offset: int
    byte_order: str
    kind: int
    count: int

    @property
    def number(self) -> float:
        """The first value."""
        return self.values[0]


@dataclass(frozen=True, slots=True)
class Exif:
    """What the camera wrote down.

    Attributes:
        orientation: 1 to 8 as in EXIF; 1 is upright.
        focal_35mm: Focal length in millimetres of the 35 mm equivalent, None when unknown.
        focal_mm: True focal length in millimetres, None when unknown.
        pixels_per_mm: Pixels of the picture as taken per millimetre of sensor, None when unknown.
        taken_width: Width in pixels of the picture as taken, before any scaling by editors, None
            when unknown.
        place: Where the picture was taken, None when unknown.
        is_adobe_rgb: True when the camera says so, as those do that embed no colour profile.
    """

    orientation: int = 1
    focal_35mm: float | None = None
    focal_mm: float | None = None
    pixels_per_mm: float | None = None
    taken_width: float | None = None
    place: Place | None = None
    is_adobe_rgb: bool = False


UNKNOWN_EXIF = Exif()


def read_exif(tiff: bytes) -> Exif:
    """Read an EXIF block.

    Args:
        tiff: TIFF structure, beginning with ``II`` or ``MM``; an ``Exif`` signature before it is
            skipped. Anything else gives the defaults.
    """
    tiff = tiff.removeprefix(b"Exif\0\0")
    tags = read_directory(tiff)
    gps = tags.get(GPS_IFD)
    place = None if gps is None else _place(read_directory(tiff, int(gps.number)))
    pointer = tags.get(EXIF_IFD)
    if pointer is not None:
        tags = read_directory(tiff, int(pointer.number)) | tags
    orientation = int(_positive(tags, ORIENTATION) or 1)
    resolution = _positive(tags, FOCAL_PLANE_X_RESOLUTION)
    unit_mm = _MM_PER_UNIT.get(int(_positive(tags, FOCAL_PLANE_UNIT) or 2))
    return Exif(
        orientation=orientation if 1 <= orientation <= 8 else 1,
        focal_35mm=_positive(tags, FOCAL_LENGTH_35MM),
        focal_mm=_positive(tags, FOCAL_LENGTH),
        pixels_per_mm=resolution / unit_mm if resolution and unit_mm else None,
        taken_width=_positive(tags, PIXEL_X_DIMENSION),
        place=place,
        is_adobe_rgb=_is_adobe_rgb(tiff, tags),
    )


def _is_adobe_rgb(tiff: bytes, tags: dict[int, TiffTag]) -> bool:
    """By the interoperability rule of DCF cameras, or by the number that some programs write."""
    if COLOR_SPACE in tags and tags[COLOR_SPACE].number == ADOBE_RGB:
        return True
    if INTEROPERABILITY_IFD not in tags:
        return False
    rule = read_directory(tiff, int(tags[INTEROPERABILITY_IFD].number)).get(INTEROPERABILITY_INDEX)
    return rule is not None and rule.values[:3] == tuple(b"R03")


def focal_px(exif: Exif, width: int, height: int) -> float | None:
    """Turn the lens data into a focal length in pixels.

    Args:
        exif: Lens data.
        width: Stored width of the picture in pixels (before it is turned upright).
        height: Stored height of the picture in pixels.

    Returns:
        Pixels, the same for x and y and for any orientation; None when unknown or absurd.
    """
    diagonal = math.hypot(width, height)
    focal = None
    if exif.focal_35mm is not None:
        focal = exif.focal_35mm / FULL_FRAME_DIAGONAL_MM * diagonal
    elif exif.focal_mm is not None and exif.pixels_per_mm is not None:
        # Editors shrink the picture and leave the sensor's resolution as it was.
        shrink = width / exif.taken_width if exif.taken_width else 1.0
        focal = exif.focal_mm * exif.pixels_per_mm * shrink
    if focal is None or not math.isfinite(focal) or focal <= 0.0:
        return None
    fov = 2.0 * math.atan2(diagonal / 2.0, focal)
    return focal if MIN_DIAGONAL_FOV <= fov <= MAX_DIAGONAL_FOV else None


def read_directory(tiff: bytes, offset: int | None = None) -> dict[int, TiffTag]:
    """Read one directory of a TIFF structure (classic or BigTIFF).

    Args:
        tiff: The whole structure.
        offset: Where the directory begins; None for the first one.

    Returns:
        Tag number to field; unreadable fields are left out, garbage gives an empty dictionary.
    """
    entries = (_read_entry(tiff, *entry) for entry in _entries(tiff, offset))
    fields: dict[int, TiffTag] = {}
    for entry in entries:
        if entry is not None:
            fields.setdefault(*entry)  # of repeated fields decoders take the first
    return fields


def repeats_fields(tiff: bytes) -> bool:
    """Whether the first directory has a field twice, as no honest writer does."""
    tags = [tiff[at : at + 2] for at, _, _ in _entries(tiff, None)]
    return len(tags) != len(set(tags))


def _entries(tiff: bytes, offset: int | None) -> list[tuple[int, str, bool]]:
    """Place of each entry of a directory, the byte order, and whether it is a BigTIFF's."""
    order = {b"II": "<", b"MM": ">"}.get(tiff[:2])
    if order is None:
        return []
    try:
        (version,) = struct.unpack_from(order + "H", tiff, 2)
        is_big = version == 43
        letter, at = ("Q", 8) if is_big else ("I", 4)
        start: int = struct.unpack_from(order + letter, tiff, at)[0] if offset is None else offset
        if not 0 <= start < len(tiff):
            return []
        (count,) = struct.unpack_from(order + ("Q" if is_big else "H"), tiff, start)
    except struct.error:
        return []
    first = start + (8 if is_big else 2)
    size = 20 if is_big else 12
    places = range(first, first + min(count, _MAX_ENTRIES) * size, size)
    return [(at, order, is_big) for at in places]


def _read_entry(tiff: bytes, at: int, order: str, is_big: bool) -> tuple[int, TiffTag] | None:
    try:
        tag, kind, count = struct.unpack_from(order + ("HHQ" if is_big else "HHI"), tiff, at)
        letters, size = _TYPES[kind]
        inline, pointer = (8, "Q") if is_big else (4, "I")
        value_at = at + (12 if is_big else 8)
        if count * size > inline:
            (value_at,) = struct.unpack_from(order + pointer, tiff, value_at)
        read = min(count, _MAX_VALUES)
        numbers = struct.unpack_from(order + letters * read, tiff, value_at)
    except (struct.error, KeyError, OverflowError):
        return None
    if len(letters) == 2:
        pairs = zip(numbers[::2], numbers[1::2], strict=True)
        numbers = tuple(top / bottom if bottom else 0.0 for top, bottom in pairs)
    if not numbers or not all(map(math.isfinite, numbers)):
        return None
    return tag, TiffTag(numbers, value_at, order, kind, count)


def _place(tags: dict[int, TiffTag]) -> Place | None:
    latitude = _degrees(tags, LATITUDE, LATITUDE_REF, b"S", 90.0)
    longitude = _degrees(tags, LONGITUDE, LONGITUDE_REF, b"W", 180.0)
    # Cameras without a fix write 0, 0, which lies in the Gulf of Guinea.
    if latitude is None or longitude is None or latitude == longitude == 0.0:
        return None
    return Place(latitude, longitude, _positive(tags, POSITIONING_ERROR))


def _degrees(
    tags: dict[int, TiffTag], tag: int, reference: int, negative: bytes, most: float
) -> float | None:
    """Degrees, minutes and seconds as one number with a sign."""
    if tag not in tags or reference not in tags:
        return None
    parts = tags[tag].values[:3]
    degrees = sum(part / 60**power for power, part in enumerate(parts))
    if not math.isfinite(degrees) or not 0.0 <= degrees <= most:
        return None
    return -degrees if int(tags[reference].number) == negative[0] else degrees


def _positive(tags: dict[int, TiffTag], tag: int) -> float | None:
    if tag not in tags:
        return None
    value = tags[tag].number
    return value if math.isfinite(value) and value > 0 else None
