"""EXIF fields, and that no garbage makes their reader fail."""

import contextlib
import io
import math
import random
import struct

import numpy as np
import pytest
from image_to_mesh.inference.contracts import PictureFile
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.picture.files.exif import Exif, focal_px, read_directory, read_exif
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.picture.intrinsics import focal_from_fov, fov_from_focal
from PIL import Image, TiffImagePlugin

ORIENTATION, EXIF_IFD = 0x0112, 0x8769
FOCAL_LENGTH, TAKEN_WIDTH = 0x920A, 0xA002
PLANE_X_RESOLUTION, PLANE_UNIT, FOCAL_35MM = 0xA20E, 0xA210, 0xA405
GPS_IFD, INTEROPERABILITY_IFD, COLOUR_SPACE = 0x8825, 0xA005, 0xA001


def block(orientation=None, **fields):
    exif = Image.Exif()
    if orientation is not None:
        exif[ORIENTATION] = orientation
    names = {"focal": FOCAL_LENGTH, "taken_width": TAKEN_WIDTH, "resolution": PLANE_X_RESOLUTION}
    names |= {"unit": PLANE_UNIT, "focal_35mm": FOCAL_35MM}
    for name, value in fields.items():
        exif.get_ifd(EXIF_IFD)[names[name]] = value
    return exif


def test_nothing_known():
    assert read_exif(b"") == Exif()
    assert read_exif(block().tobytes()) == Exif()
    assert focal_px(Exif(), 100, 100) is None


@pytest.mark.parametrize("orientation", range(1, 9))
def test_orientation(orientation):
    assert read_exif(block(orientation).tobytes()).orientation == orientation


@pytest.mark.parametrize("orientation", [0, 9, 77, 65535])
def test_impossible_orientation_is_upright(orientation):
    assert read_exif(block(orientation).tobytes()).orientation == 1


def test_35_mm_equivalent():
    exif = read_exif(block(focal_35mm=50, focal=5.2).tobytes())
    assert exif.focal_35mm == 50
    # A full-frame picture of 36 x 24 mm has 100 pixels a millimetre.
    assert focal_px(exif, 3600, 2400) == pytest.approx(5000)
    assert focal_px(exif, 2400, 3600) == pytest.approx(5000)


@pytest.mark.parametrize(
    ("unit", "per_unit"), [(2, 2540.0), (3, 1000.0), (4, 100.0), (None, 2540.0)]
)
def test_focal_plane_resolution(unit, per_unit):
    fields = {"focal": 35.0, "resolution": per_unit}
    if unit is not None:
        fields["unit"] = unit
    exif = read_exif(block(**fields).tobytes())
    assert focal_px(exif, 2400, 1600) == pytest.approx(3500)


def test_focal_plane_of_a_picture_that_an_editor_shrank():
    exif = read_exif(block(focal=35.0, resolution=1000.0, unit=3, taken_width=4800).tobytes())
    assert focal_px(exif, 2400, 1600) == pytest.approx(1750)


def test_focal_length_alone_is_not_enough():
    assert focal_px(read_exif(block(focal=35.0).tobytes()), 2400, 1600) is None


@pytest.mark.parametrize("focal", [1, 60000])
def test_absurd_lens_is_unknown(focal):
    assert focal_px(Exif(focal_35mm=focal), 3600, 2400) is None


def test_zero_and_missing_denominators_are_unknown():
    exif = read_exif(block(focal_35mm=0, focal=0.0, resolution=0.0).tobytes())
    assert exif == Exif()
    assert focal_px(Exif(focal_mm=math.inf, pixels_per_mm=1.0), 10, 10) is None


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF"])
def test_lens_is_found_in_every_format(tmp_path, kind):
    path = tmp_path / "photo"
    picture = Image.fromarray(np.full((24, 36, 3), 90, np.uint8))
    if kind == "TIFF":
        fields = TiffImagePlugin.ImageFileDirectory_v2()
        fields[ORIENTATION], fields[EXIF_IFD] = 8, {FOCAL_35MM: 28}
        picture.save(path, kind, tiffinfo=fields)
    else:
        picture.save(path, kind, exif=block(focal_35mm=28, orientation=8))
    loaded = load_picture(PictureFile(path))
    assert loaded.pixels.shape == (36, 24, 4)
    assert loaded.focal_px == pytest.approx(28.0, rel=1e-3)


def test_byte_orders_and_bigtiff():
    for order, mark in (("<", b"II"), (">", b"MM")):
        entry = struct.pack(order + "HHIHH", ORIENTATION, 3, 1, 6, 0)
        small = mark + struct.pack(order + "HIH", 42, 8, 1) + entry + bytes(4)
        assert read_exif(small).orientation == 6
        field = read_directory(small)[ORIENTATION]
        assert struct.unpack_from(order + "H", small, field.offset) == (6,)
        entry = struct.pack(order + "HHQHHI", ORIENTATION, 3, 1, 6, 0, 0)
        big = mark + struct.pack(order + "HHHQQ", 43, 8, 0, 16, 1) + entry + bytes(8)
        assert read_exif(big).orientation == 6


def test_directory_that_points_to_itself():
    entry = struct.pack("<HHII", EXIF_IFD, 4, 1, 8)
    assert read_exif(b"II*\0" + struct.pack("<IH", 8, 1) + entry) == Exif()


def test_counts_and_offsets_beyond_the_end():
    for kind in range(20):
        for count in (0, 1, 5, 0xFFFFFFFF):
            for value in (0, 7, 0xFFFFFFFF):
                entry = struct.pack("<HHII", FOCAL_35MM, kind, count, value)
                exif = read_exif(b"II*\0" + struct.pack("<IH", 8, 1) + entry)
                assert exif.orientation == 1


def test_garbage_never_raises():
    choice = random.Random(5)
    good = block(6, focal_35mm=28, focal=4.5, resolution=3000.0, unit=2).tobytes()
    for _ in range(400):
        data = bytearray(good)
        for _ in range(choice.randint(1, 12)):
            data[choice.randrange(len(data))] = choice.randrange(256)
        exif = read_exif(bytes(data[: choice.randint(1, len(data))]))
        assert 1 <= exif.orientation <= 8
        focal = focal_px(exif, 640, 480)
        assert focal is None or focal > 0
    for _ in range(200):
        data = choice.choice((b"II*\0", b"MM\0*", b"II+\0", b"Exif\0\0MM\0*"))
        assert 1 <= read_exif(data + choice.randbytes(60)).orientation <= 8


def test_garbage_exif_does_not_stop_the_picture(tmp_path):
    image = Image.fromarray(np.full((24, 36, 3), 90, np.uint8))
    for kind in ("JPEG", "PNG", "WEBP"):
        stream = io.BytesIO()
        image.save(stream, kind, exif=b"Exif\0\0II*\0\xff\xff\xff\x7f" + b"\xff" * 20)
        (tmp_path / "photo").write_bytes(stream.getvalue())
        loaded = load_picture(PictureFile(tmp_path / "photo"))
        assert loaded.pixels.shape == (24, 36, 4)
        assert loaded.focal_px is None


def test_fields_of_view():
    assert fov_from_focal(500.0, 1000.0) == pytest.approx(math.pi / 2)
    assert focal_from_fov(math.pi / 2, 1000.0) == pytest.approx(500.0)
    for fov in (0.1, 1.0, 2.5):
        assert fov_from_focal(focal_from_fov(fov, 640), 640) == pytest.approx(fov)


def exif_of_floats(kind, values):
    """An EXIF block whose every field that is read is a float or a double."""
    letter, size = {11: ("f", 4), 12: ("d", 8)}[kind]
    tags = (ORIENTATION, EXIF_IFD, GPS_IFD, INTEROPERABILITY_IFD, FOCAL_35MM, FOCAL_LENGTH)
    tags += (PLANE_UNIT, PLANE_X_RESOLUTION, TAKEN_WIDTH, COLOUR_SPACE, *range(1, 5))
    at = 8 + 2 + len(tags) * 12 + 4
    entries, body = b"", b""
    for tag, value in zip(sorted(tags), values * len(tags), strict=False):
        packed = struct.pack("<" + letter, value)
        inline = packed if size == 4 else struct.pack("<I", at + len(body))
        body += packed if size == 8 else b""
        entries += struct.pack("<HHI", tag, kind, 1) + inline
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + body


@pytest.mark.parametrize("kind", [11, 12])
@pytest.mark.parametrize(
    "values",
    [[math.inf], [-math.inf], [math.nan], [1e38], [-1.0], [math.inf, 8.0, math.nan, 1e30]],
)
def test_fields_that_are_no_numbers_are_absent(tmp_path, kind, values):
    block = exif_of_floats(kind, values)
    exif = read_exif(block)
    assert 1 <= exif.orientation <= 8
    assert exif.place is None
    picture = Image.fromarray(np.full((24, 36, 3), 90, np.uint8))
    for form in ("JPEG", "PNG", "WEBP"):
        picture.save(tmp_path / "photo", form, exif=b"Exif\0\0" + block)
        assert load_picture(PictureFile(tmp_path / "photo")).pixels.shape[2] == 4


@pytest.mark.parametrize("tag", [256, 257, 258, 277, 262])
def test_tiffs_own_fields_that_are_no_numbers(tmp_path, tag):
    """Refused in a sentence, or read without them."""
    picture = Image.fromarray(np.full((24, 36, 3), 90, np.uint8))
    stream = io.BytesIO()
    picture.save(stream, "TIFF")
    data = bytearray(stream.getvalue())
    (start,) = struct.unpack_from("<I", data, 4)
    (count,) = struct.unpack_from("<H", data, start)
    for at in range(start + 2, start + 2 + 12 * count, 12):
        if struct.unpack_from("<H", data, at) == (tag,):
            struct.pack_into("<HIf", data, at + 2, 11, 1, math.inf)
    (tmp_path / "photo").write_bytes(data)
    with contextlib.suppress(PictureError):
        assert load_picture(PictureFile(tmp_path / "photo")).pixels.shape == (24, 36, 4)


def test_of_repeated_fields_the_first_counts_as_it_does_for_decoders():
    entries = b"".join(struct.pack("<HHIHH", ORIENTATION, 3, 1, value, 0) for value in (6, 3))
    block = b"II*\0" + struct.pack("<IH", 8, 2) + entries + bytes(4)
    assert read_exif(block).orientation == 6
