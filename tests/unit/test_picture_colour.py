"""Colours of every file arrive as sRGB, whatever they were stored in."""

import io
import struct
import sys
import zlib

import cv2
import numpy as np
import pytest
from colour_profiles import (
    SRGB_CURVE,
    TO_XYZ,
    gamma,
    grey_profile,
    matrix_profile,
    parametric,
    sampled,
    srgb_light,
    srgb_stored,
    stored_in,
    table_profile,
)
from image_to_mesh.inference.contracts import PictureFile
from image_to_mesh.inference.picture.colour.icc import read_icc
from image_to_mesh.inference.picture.colour.space import as_srgb, is_srgb
from image_to_mesh.inference.picture.files.load import load_picture
from PIL import Image, ImageCms

# Colours that every space below has, each a patch of 16 x 16 pixels.
CHART = np.array(
    [
        [60, 150, 80],
        [200, 40, 50],
        [40, 60, 190],
        [230, 200, 60],
        [120, 70, 150],
        [128, 128, 128],
        [250, 250, 250],
        [60, 60, 60],
    ],
    np.uint8,
)
P3 = matrix_profile(TO_XYZ["p3"], SRGB_CURVE, "Display P3")
ADOBE = matrix_profile(TO_XYZ["adobe"], gamma(563 / 256), "Adobe RGB (1998)")
PROPHOTO = matrix_profile(TO_XYZ["prophoto"], gamma(1.8), "ProPhoto RGB")


def patches(colours):
    return np.repeat(np.repeat(colours[None], 16, axis=0), 16, axis=1)


def in_8_bits(space, exponent=None):
    return np.round(stored_in(TO_XYZ[space], exponent, patches(CHART)) * 255).astype(np.uint8)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def loaded(tmp_path, data, name="picture.bin", **options):
    path = tmp_path / name
    path.write_bytes(data)
    return load_picture(PictureFile(path), **options)


def middles(picture):
    return picture.pixels[8, 8::16, :3].astype(int)


def png_with(png, *chunks):
    """Put chunks behind a PNG's header."""
    extra = b"".join(
        struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))
        for tag, body in chunks
    )
    return png[:33] + extra + png[33:]


@pytest.mark.parametrize(
    ("space", "exponent", "profile"), [("p3", None, P3), ("adobe", 563 / 256, ADOBE)]
)
@pytest.mark.parametrize(
    ("kind", "options"),
    [
        ("JPEG", {"quality": 100, "subsampling": 0}),
        ("JPEG", {"quality": 100, "subsampling": 0, "progressive": True}),
        ("PNG", {}),
        ("WEBP", {"lossless": True}),
        ("TIFF", {}),
    ],
)
def test_embedded_profiles_are_converted(tmp_path, kind, options, space, exponent, profile):
    image = Image.fromarray(in_8_bits(space, exponent))
    picture = loaded(tmp_path, encoded(image, kind, icc_profile=profile, **options))
    tolerance = 3 if kind == "JPEG" else 2  # the stored values are rounded, too
    assert np.abs(middles(picture) - CHART).max() <= tolerance
    assert picture.notes == ()


def test_profile_of_a_picture_with_alpha_and_of_a_palette(tmp_path):
    image = Image.fromarray(in_8_bits("p3"))
    palette = image.quantize(len(CHART))
    image.putalpha(Image.fromarray(np.tile(np.uint8([255, 0]), (16, 64))))
    for stored in (image, palette):
        picture = loaded(tmp_path, encoded(stored, "PNG", icc_profile=P3))
        assert np.abs(middles(picture) - CHART).max() <= 2
    assert picture.pixels.shape == (16, 128, 4)


def test_sixteen_bits_are_converted_before_they_become_eight(tmp_path):
    """Dark colours of ProPhoto RGB in 8 bits are several steps of sRGB apart."""
    dark = np.clip(patches(CHART) // 4, 4, None).astype(np.uint8)
    deep = np.round(stored_in(TO_XYZ["prophoto"], 1.8, dark) * 65535).astype(np.uint16)
    png = cv2.imencode(".png", np.ascontiguousarray(deep[..., ::-1]))[1].tobytes()
    chunk = b"ProPhoto\0\0" + zlib.compress(PROPHOTO)
    picture = loaded(tmp_path, png_with(png, (b"iCCP", chunk)))
    assert np.abs(picture.pixels[..., :3].astype(int) - dark).max() <= 1


def test_profile_of_a_bmp(tmp_path):
    bmp = encoded(Image.fromarray(in_8_bits("p3")), "BMP")
    rows = bmp[54:]
    head = bytearray(bmp[14:54]) + bytes(84)
    head[0:4], head[56:60] = struct.pack("<I", 124), b"DEBM"
    head[112:120] = struct.pack("<II", 124 + len(rows), len(P3))
    size = 14 + len(head) + len(rows) + len(P3)
    start = b"BM" + struct.pack("<IHHI", size, 0, 0, 14 + len(head))
    picture = loaded(tmp_path, start + bytes(head) + rows + P3)
    assert np.abs(middles(picture) - CHART).max() <= 2


def test_long_profile_comes_in_several_segments_of_a_jpeg(tmp_path):
    long = matrix_profile(TO_XYZ["p3"], sampled(srgb_light(np.linspace(0, 1, 30000))))
    assert len(long) > 120_000
    image = Image.fromarray(in_8_bits("p3"))
    data = encoded(image, "JPEG", quality=100, subsampling=0, icc_profile=long)
    assert data.count(b"ICC_PROFILE\0") >= 3
    assert np.abs(middles(loaded(tmp_path, data)) - CHART).max() <= 3


@pytest.mark.parametrize(
    "curve",
    [
        parametric(0, 2.2),
        parametric(1, 2.2, 1.0, 0.0),
        parametric(2, 2.2, 1.0, 0.0, 0.0),
        parametric(3, 2.2, 1.0, 0.0, 1.0, 0.0),
        parametric(4, 2.2, 1.0, 0.0, 1.0, 0.0, 0.0, 0.0),
        sampled(np.linspace(0, 1, 4096) ** 2.2),
        gamma(2.2),
    ],
)
def test_all_ways_to_write_a_curve(curve):
    profile = read_icc(matrix_profile(TO_XYZ["p3"], curve))
    stored = np.round(stored_in(TO_XYZ["p3"], 2.2, patches(CHART)) * 65535).astype(np.uint16)
    assert np.abs(as_srgb(stored, profile.space).astype(int) - patches(CHART)).max() <= 1


@pytest.mark.parametrize("profile", [P3, ADOBE, PROPHOTO])
def test_same_as_littlecms(profile):
    """A colour management system of others agrees, also where sRGB has no such colour."""
    grid = np.stack(np.meshgrid(*[np.arange(0, 256, 17)] * 3, indexing="ij"), axis=-1)
    pixels = grid.reshape(64, 64, 3).astype(np.uint8)
    source = ImageCms.ImageCmsProfile(io.BytesIO(profile))
    theirs = ImageCms.profileToProfile(
        Image.fromarray(pixels), source, ImageCms.createProfile("sRGB")
    )
    difference = np.abs(as_srgb(pixels, read_icc(profile).space).astype(int) - np.asarray(theirs))
    assert difference.max() <= 2


def test_srgb_profiles_change_nothing(tmp_path):
    own = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    noise = np.random.default_rng(2).integers(0, 256, (40, 50, 3), np.uint8)
    for profile in (own, matrix_profile(TO_XYZ["srgb"], SRGB_CURVE)):
        picture = loaded(tmp_path, encoded(Image.fromarray(noise), "PNG", icc_profile=profile))
        assert (picture.pixels[..., :3] == noise).all()
        assert is_srgb(read_icc(profile).space)


def test_grey_with_a_curve_of_its_own(tmp_path):
    ramp = np.tile(np.arange(256, dtype=np.uint8), (16, 1))
    stored = np.round(srgb_light(ramp / 255.0) ** (1 / 1.8) * 255).astype(np.uint8)
    for kind in ("PNG", "TIFF"):
        data = encoded(Image.fromarray(stored), kind, icc_profile=grey_profile(gamma(1.8)))
        difference = np.abs(loaded(tmp_path, data).pixels[..., :3].astype(int) - ramp[..., None])
        assert difference[:, 20:].max() <= 2  # eight bits are coarse where it is dark


def test_large_picture_is_converted_after_scaling(tmp_path):
    image = Image.fromarray(in_8_bits("p3")).resize((2048, 256), Image.Resampling.NEAREST)
    picture = loaded(tmp_path, encoded(image, "PNG", icc_profile=P3), max_side=128)
    assert np.abs(middles(picture) - CHART).max() <= 2


def test_code_points_of_a_png_come_before_its_profile(tmp_path):
    png = encoded(Image.fromarray(in_8_bits("p3")), "PNG")
    wrong = b"x\0\0" + zlib.compress(ADOBE)
    picture = loaded(tmp_path, png_with(png, (b"cICP", bytes((12, 13, 0, 1))), (b"iCCP", wrong)))
    assert np.abs(middles(picture) - CHART).max() <= 2


def test_code_points_of_video_range_and_of_high_dynamic_range(tmp_path):
    narrow = np.round(patches(CHART) / 255 * 219 + 16).astype(np.uint8)
    png = encoded(Image.fromarray(narrow), "PNG")
    picture = loaded(tmp_path, png_with(png, (b"cICP", bytes((1, 13, 0, 0)))))
    assert np.abs(middles(picture) - CHART).max() <= 2
    # Paper white, 203 candela per square metre, is .58 of the perceptual quantizer.
    white = encoded(Image.fromarray(np.full((16, 16, 3), round(0.5807 * 255), np.uint8)), "PNG")
    picture = loaded(tmp_path, png_with(white, (b"cICP", bytes((9, 16, 0, 1)))))
    assert picture.pixels[..., :3].min() >= 250
    assert "cut off" in picture.notes[0]


def test_exponent_and_chromaticities_of_a_png(tmp_path):
    linear = np.round(srgb_light(patches(CHART) / 255.0) * 65535).astype(np.uint16)
    png = cv2.imencode(".png", np.ascontiguousarray(linear[..., ::-1]))[1].tobytes()
    picture = loaded(tmp_path, png_with(png, (b"gAMA", struct.pack(">I", 100_000))))
    assert np.abs(middles(picture) - CHART).max() <= 1
    adobe = encoded(Image.fromarray(in_8_bits("adobe", 563 / 256)), "PNG")
    primaries = (31270, 32900, 64000, 33000, 21000, 71000, 15000, 6000)
    chunks = (b"gAMA", struct.pack(">I", 45471)), (b"cHRM", struct.pack(">8I", *primaries))
    assert np.abs(middles(loaded(tmp_path, png_with(adobe, *chunks))) - CHART).max() <= 2


def test_pngs_that_say_srgb_in_other_words_keep_their_values(tmp_path):
    png = encoded(Image.fromarray(patches(CHART)), "PNG")
    srgb = (31270, 32900, 64000, 33000, 30000, 60000, 15000, 6000)
    usual = (b"gAMA", struct.pack(">I", 45455)), (b"cHRM", struct.pack(">8I", *srgb))
    odd = (b"sRGB", b"\0"), (b"gAMA", struct.pack(">I", 100_000))
    broken = (b"gAMA", struct.pack(">I", 0)), (b"cHRM", bytes(32)), (b"cICP", b"\xff" * 4)
    for chunks in (usual, usual[:1], odd, broken):
        assert (middles(loaded(tmp_path, png_with(png, *chunks))) == CHART).all()


def interoperability(name):
    """EXIF as cameras that follow DCF write it."""
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA001] = 65535
    exif.get_ifd(0x8769)[0xA005] = {1: name}
    return exif


def test_cameras_that_say_adobe_rgb_without_a_profile(tmp_path):
    stored = Image.fromarray(in_8_bits("adobe", 563 / 256))
    options = {"quality": 100, "subsampling": 0}
    data = encoded(stored, "JPEG", exif=interoperability("R03"), **options)
    assert np.abs(middles(loaded(tmp_path, data)) - CHART).max() <= 3
    plain = Image.fromarray(patches(CHART))
    data = encoded(plain, "JPEG", exif=interoperability("R98"), **options)
    assert np.abs(middles(loaded(tmp_path, data)) - CHART).max() <= 1


def test_light_of_other_primaries(tmp_path):
    """Renderers write OpenEXR in the primaries of ACES, for instance."""
    matrix = np.linalg.inv(TO_XYZ["p3"]) @ TO_XYZ["srgb"]
    light = (srgb_light(patches(CHART) / 255.0) @ matrix.T).astype(np.float32)
    data = cv2.imencode(".exr", np.ascontiguousarray(light[..., ::-1]))[1].tobytes()
    primaries = struct.pack("<8f", 0.68, 0.32, 0.265, 0.69, 0.15, 0.06, 0.3127, 0.329)
    attribute = b"chromaticities\0chromaticities\0" + struct.pack("<I", 32) + primaries
    at = data.index(b"compression\0")
    moved = _with_moved_offsets(data, at, attribute)
    assert np.abs(middles(loaded(tmp_path, moved)) - CHART).max() <= 2


def _with_moved_offsets(exr, at, attribute):
    """Put an attribute into an OpenEXR header; the table behind it holds places in the file."""
    end = exr.index(b"screenWindowWidth\0float\0") + len(b"screenWindowWidth\0float\0") + 9
    first = struct.unpack_from("<Q", exr, end)[0]
    table = np.frombuffer(exr, "<u8", (first - end) // 8, end) + len(attribute)
    return exr[:at] + attribute + exr[at:end] + table.tobytes() + exr[first:]


# Profiles that are tables of colours, as printers and scanners have them.


def exchanging_profile():
    """Its red is blue, and its blue is red."""
    lab = {  # of sRGB under D50
        (0, 0, 0): (0, 0, 0),
        (0, 0, 1): (29.57, 68.30, -112.03),
        (0, 1, 0): (87.82, -79.29, 80.99),
        (0, 1, 1): (90.67, -50.67, -14.96),
        (1, 0, 0): (54.29, 80.81, 69.89),
        (1, 0, 1): (60.17, 93.54, -60.50),
        (1, 1, 0): (97.61, -15.75, 93.39),
        (1, 1, 1): (100, 0, 0),
    }
    corners = [lab[b, g, r] for r in (0, 1) for g in (0, 1) for b in (0, 1)]
    return table_profile(b"RGB ", np.array(corners, float))


def test_profile_with_tables(tmp_path):
    stored = np.zeros((16, 48, 3), np.uint8)
    stored[:, :16], stored[:, 16:32], stored[:, 32:] = (255, 0, 0), (255, 255, 255), (0, 0, 255)
    data = encoded(Image.fromarray(stored), "PNG", icc_profile=exchanging_profile())
    picture = loaded(tmp_path, data)
    assert picture.notes == ()
    assert np.abs(middles(picture) - [(0, 0, 255), (255, 255, 255), (255, 0, 0)]).max() <= 6


def test_profile_with_tables_where_pillow_is_missing(tmp_path, monkeypatch):
    stored = np.full((16, 16, 3), (200, 40, 60), np.uint8)
    data = encoded(Image.fromarray(stored), "PNG", icc_profile=exchanging_profile())
    monkeypatch.setitem(sys.modules, "PIL", None)
    picture = loaded(tmp_path, data)
    assert (picture.pixels[..., :3] == stored).all()
    assert picture.notes == (
        "The colour profile Table cannot be read here, so colours may be a little off; convert the"
        " picture to sRGB to have them exact.",
    )


def inks_profile():
    """Printing inks whose cyan is a red: nobody could guess that."""
    corners = np.zeros((16, 3))
    for index in range(16):
        c, m, y, k = (index >> bit & 1 for bit in (3, 2, 1, 0))
        corners[index] = (10, 0, 0) if k else (50, 70, 40) if c else (90 - 30 * m, 0, 20 * y)
    return table_profile(b"CMYK", corners)


@pytest.mark.parametrize("kind", ["JPEG", "TIFF"])
def test_printing_inks_with_their_profile(tmp_path, kind, monkeypatch):
    inks = np.zeros((16, 32, 4), np.uint8)
    inks[:, :16, 0] = 255
    options = {"quality": 100} if kind == "JPEG" else {}
    image = Image.frombytes("CMYK", (32, 16), inks.tobytes())
    data = encoded(image, kind, icc_profile=inks_profile(), **options)
    picture = loaded(tmp_path, data)
    red, _, blue = middles(picture)[0]
    assert red > 180
    assert blue < 90
    assert picture.notes == ()
    monkeypatch.setitem(sys.modules, "PIL", None)
    picture = loaded(tmp_path, data)
    red, _, blue = middles(picture)[0]
    assert blue > 200 > red
    assert "cannot be read here" in picture.notes[0]


def test_damaged_profiles_are_told_and_ruin_nothing(tmp_path):
    choice = np.random.default_rng(4)
    stored = in_8_bits("p3")
    black = matrix_profile(np.zeros((3, 3)), SRGB_CURVE)
    wild = matrix_profile(TO_XYZ["p3"], parametric(0, -30.0))
    cut = P3[:200]
    noise = P3[:128] + choice.bytes(400)
    dark = table_profile(b"RGB ", np.zeros((8, 3)))
    for profile in (black, wild, dark, cut, noise, b"not a profile" * 20):
        data = encoded(Image.fromarray(stored), "PNG", icc_profile=profile)
        picture = loaded(tmp_path, data)
        assert (picture.pixels[..., :3] == stored).all()
        assert "cannot be read here" in picture.notes[0]


def test_profile_that_unpacks_to_gigabytes(tmp_path):
    png = encoded(Image.fromarray(patches(CHART)), "PNG")
    packer = zlib.compressobj(9)
    bomb = b"".join(packer.compress(bytes(1 << 20)) for _ in range(200)) + packer.flush()
    picture = loaded(tmp_path, png_with(png, (b"iCCP", b"x\0\0" + bomb)))
    assert (middles(picture) == CHART).all()


def test_garbage_is_no_profile():
    choice = np.random.default_rng(5)
    for good in (P3, ADOBE, grey_profile(gamma(2.2)), exchanging_profile(), inks_profile()):
        for _ in range(150):
            data = bytearray(good)
            for _ in range(choice.integers(1, 12)):
                data[choice.integers(len(data))] = choice.integers(256)
            profile = read_icc(bytes(data[: choice.integers(1, len(data))]))
            if profile is not None and profile.space is not None:
                assert as_srgb(patches(CHART), profile.space).shape == (16, 128, 3)
                assert isinstance(is_srgb(profile.space), bool)


def test_stored_and_light_are_each_others_inverse():
    values = np.linspace(0, 1, 300)
    assert np.allclose(srgb_stored(srgb_light(values)), values, atol=1e-4)
