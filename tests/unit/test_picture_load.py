"""Every format, depth and channel layout that a picture may come in."""

import io
import struct
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.contracts import PictureFile, PicturePixels
from image_to_mesh.inference.errors import OutOfMemory, PictureError
from image_to_mesh.inference.picture.files import load
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.picture.files.png import SIGNATURE
from PIL import Image, TiffImagePlugin

DATA = Path(__file__).parents[1] / "data" / "pictures"
WIDTH, HEIGHT = 40, 24


def colours():
    """Four flat quarters, so that lossy formats keep their colours in the middle of each."""
    rgb = np.empty((HEIGHT, WIDTH, 3), np.uint8)
    rgb[:12, :20] = (200, 100, 50)
    rgb[:12, 20:] = (20, 180, 60)
    rgb[12:, :20] = (40, 60, 220)
    rgb[12:, 20:] = (230, 220, 40)
    return rgb


def alpha():
    values = np.full((HEIGHT, WIDTH), 255, np.uint8)
    values[:, 30:] = 0
    return values


def rgba_image():
    return Image.fromarray(np.dstack([colours(), alpha()]))


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def loaded(tmp_path, data, name="picture.bin", **options):
    path = tmp_path / name
    path.write_bytes(data)
    return load_picture(PictureFile(path), **options)


def quarters(pixels):
    height, width = pixels.shape[:2]
    rows, columns = (height // 4, 3 * height // 4), (width // 4, 3 * width // 4 - 4)
    return np.array([pixels[y, x, :3] for y in rows for x in columns], int)


TRUTH = quarters(colours())


@pytest.mark.parametrize(
    ("kind", "options", "tolerance"),
    [
        ("PNG", {}, 0),
        ("BMP", {}, 0),
        ("TIFF", {}, 0),
        ("TIFF", {"compression": "tiff_lzw"}, 0),
        ("TIFF", {"compression": "tiff_adobe_deflate"}, 0),
        ("TIFF", {"compression": "packbits"}, 0),
        ("WEBP", {"lossless": True}, 0),
        ("WEBP", {"quality": 95}, 8),
        ("JPEG", {"quality": 98, "subsampling": 0}, 4),
        ("JPEG", {"quality": 98, "subsampling": 0, "progressive": True}, 4),
    ],
)
def test_opaque_formats_keep_their_colours(tmp_path, kind, options, tolerance):
    picture = loaded(tmp_path, encoded(Image.fromarray(colours()), kind, **options))
    assert picture.pixels.shape == (HEIGHT, WIDTH, 4)
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= tolerance
    assert (picture.pixels[..., 3] == 255).all()
    assert not picture.has_alpha
    assert picture.focal_px is None
    assert picture.notes == ()


@pytest.mark.parametrize("kind", ["PNG", "TIFF", "WEBP"])
def test_alpha_is_kept_and_counts_as_cut_out(tmp_path, kind):
    options = {"lossless": True} if kind == "WEBP" else {}
    picture = loaded(tmp_path, encoded(rgba_image(), kind, **options))
    assert picture.has_alpha
    assert (picture.pixels[..., 3] == alpha()).all()
    assert (picture.pixels[:, :30, :3] == colours()[:, :30]).all()


def test_half_transparent_colours_of_a_tiff_are_straight_again(tmp_path):
    image = Image.fromarray(colours())
    image.putalpha(128)
    picture = loaded(tmp_path, encoded(image, "TIFF"))
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 2
    assert not picture.has_alpha


def test_premultiplied_16_bit_tiff_becomes_straight(tmp_path):
    straight = np.dstack([colours(), alpha()]).astype(np.float64) / 255
    straight[:, :30, 3] = 0.75
    stored = straight.copy()
    stored[..., :3] *= stored[..., 3:]
    samples = np.round(stored * 65535).astype("<u2")
    for meaning, expected in ((1, straight), (2, stored)):
        picture = loaded(tmp_path, tiff(samples, photometric=2, extra=meaning))
        got = picture.pixels[:, :30].astype(np.float64) / 255
        assert np.abs(got - expected[:, :30]).max() < 0.01


def test_half_transparent_part_of_an_opaque_tiff_is_straight_again(tmp_path):
    opacity = np.full((HEIGHT, WIDTH), 255, np.uint8)
    opacity[:, :20] = 128
    image = Image.fromarray(np.dstack([colours(), opacity]))
    picture = loaded(tmp_path, encoded(image, "TIFF"))
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 2


def tiff(samples, photometric, extra=None, orientation=1, order="<"):
    """Write an uncompressed TIFF, for layouts that Pillow cannot write."""
    height, width, count = samples.shape
    fields = {
        256: [width],
        257: [height],
        258: [samples.dtype.itemsize * 8] * count,
        259: [1],
        262: [photometric],
        273: [0],
        274: [orientation],
        277: [count],
        278: [height],
        279: [samples.nbytes],
    }
    if extra is not None:
        fields[338] = [extra]
    tail = 8 + 2 + len(fields) * 12 + 4
    fields[273] = [tail + 2 * count]
    body = b""
    for tag, values in sorted(fields.items()):
        kind, letter = (4, "I") if tag in (273, 279) else (3, "H")
        inline = struct.pack(f"{order}{len(values)}{letter}", *values).ljust(4, b"\0")
        inline = inline if len(inline) == 4 else struct.pack(order + "I", tail)
        body += struct.pack(order + "HHI", tag, kind, len(values)) + inline
    mark = {"<": b"II", ">": b"MM"}[order] + struct.pack(order + "HI", 42, 8)
    head = mark + struct.pack(order + "H", len(fields)) + body + bytes(4)
    return head + struct.pack(f"{order}{count}H", *fields[258]) + samples.tobytes()


def test_grey_of_8_and_16_bits(tmp_path):
    ramp = np.tile(np.linspace(0, 255, WIDTH).round().astype(np.uint8), (HEIGHT, 1))
    deep = ramp.astype(np.uint16) * 257
    for kind in ("PNG", "TIFF"):
        for values in (ramp, deep):
            picture = loaded(tmp_path, encoded(Image.fromarray(values), kind))
            assert (picture.pixels[..., :3] == ramp[..., None]).all()


def test_black_and_white(tmp_path):
    values = np.zeros((HEIGHT, WIDTH), bool)
    values[:, 20:] = True
    for kind in ("PNG", "TIFF", "BMP"):
        picture = loaded(tmp_path, encoded(Image.fromarray(values), kind))
        assert (picture.pixels[..., 0] == values * 255).all()


def test_grey_jpeg(tmp_path):
    image = Image.fromarray(colours()).convert("L")
    picture = loaded(tmp_path, encoded(image, "JPEG", quality=98))
    assert np.abs(picture.pixels[6, 6, :3].astype(int) - image.getpixel((6, 6))).max() <= 2


def test_grey_with_alpha(tmp_path):
    image = rgba_image().convert("LA")
    picture = loaded(tmp_path, encoded(image, "PNG"))
    assert picture.has_alpha
    assert (picture.pixels[..., 3] == alpha()).all()
    assert picture.pixels[2, 2, 0] == image.getpixel((2, 2))[0]


def test_grey_tiff_says_that_its_alpha_is_not_read(tmp_path):
    picture = loaded(tmp_path, encoded(rgba_image().convert("LA"), "TIFF"))
    assert not picture.has_alpha
    assert "save it as PNG" in picture.notes[0]


def test_grey_tiff_in_which_white_is_zero(tmp_path):
    values = np.full((HEIGHT, WIDTH, 1), 5 * 257, "<u2")
    picture = loaded(tmp_path, tiff(values, photometric=0))
    assert (picture.pixels[..., :3] == 250).all()


def test_rgb_of_16_bits_is_scaled_not_cut(tmp_path):
    deep = np.dstack([colours(), alpha()]).astype(np.uint16) * 257
    bgra = cv2.cvtColor(deep, cv2.COLOR_RGBA2BGRA)
    for suffix in (".png", ".tif"):
        picture = loaded(tmp_path, cv2.imencode(suffix, bgra)[1].tobytes())
        assert (picture.pixels[:, :30, :3] == colours()[:, :30]).all()
        assert (picture.pixels[..., 3] == alpha()).all()


def test_palette(tmp_path):
    image = Image.fromarray(colours()).quantize(4)
    for kind in ("PNG", "BMP", "TIFF", "GIF"):
        picture = loaded(tmp_path, encoded(image, kind))
        assert (picture.pixels[..., :3] == colours()).all()


def test_palette_with_transparency(tmp_path):
    image = Image.fromarray(colours()).quantize(4)
    key = image.getpixel((2, 2))
    for kind in ("PNG", "GIF"):
        picture = loaded(tmp_path, encoded(image, kind, transparency=key))
        assert picture.has_alpha
        assert (picture.pixels[:12, :20, 3] == 0).all()
        assert (picture.pixels[12:, :, 3] == 255).all()


def test_transparent_colour_of_png_without_alpha(tmp_path):
    image = Image.fromarray(colours())
    grey = image.convert("L")
    for data in (
        encoded(image, "PNG", transparency=(200, 100, 50)),
        encoded(grey, "PNG", transparency=grey.getpixel((2, 2))),
    ):
        picture = loaded(tmp_path, data)
        assert (picture.pixels[:12, :20, 3] == 0).all()
        assert (picture.pixels[12:, :, 3] == 255).all()


def test_cmyk(tmp_path):
    image = Image.fromarray(colours()).convert("CMYK")
    picture = loaded(tmp_path, encoded(image, "JPEG", quality=98, subsampling=0))
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 5
    picture = loaded(tmp_path, encoded(image, "TIFF"))
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 2
    assert not picture.has_alpha


def linear(rgb):
    value = rgb.astype(np.float64) / 255
    return np.where(value <= 0.04045, value / 12.92, ((value + 0.055) / 1.055) ** 2.4)


@pytest.mark.parametrize("suffix", [".exr", ".hdr"])
def test_float_formats_are_encoded_as_srgb(tmp_path, suffix):
    bgr = linear(colours())[..., ::-1].astype(np.float32)
    picture = loaded(tmp_path, cv2.imencode(suffix, np.ascontiguousarray(bgr))[1].tobytes())
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= (1 if suffix == ".exr" else 6)
    assert picture.notes == ()


def test_float_tiff(tmp_path):
    grey = linear(colours()[..., 1]).astype(np.float32)
    picture = loaded(tmp_path, encoded(Image.fromarray(grey), "TIFF"))
    assert (picture.pixels[..., :3] == colours()[..., 1:2]).all()


def test_an_opencv_without_openexr_is_told(tmp_path, monkeypatch):
    """That of PyPI from version 5 on; the file is not damaged."""
    data = cv2.imencode(".exr", np.zeros((32, 32, 3), np.float32))[1].tobytes()
    monkeypatch.setattr(cv2, "haveImageWriter", lambda name: not name.endswith(".exr"))
    with pytest.raises(PictureError, match="save it as PNG"):
        loaded(tmp_path, data)


def test_exr_alpha_is_unmultiplied(tmp_path):
    light = linear(colours())[..., ::-1] * 0.5
    bgra = np.dstack([light, np.where(alpha() > 0, 0.5, 0.0)]).astype(np.float32)
    bgra[:, 20:30, 3] = 1.0
    picture = loaded(tmp_path, cv2.imencode(".exr", bgra)[1].tobytes())
    assert picture.has_alpha
    assert np.abs(quarters(picture.pixels)[[0, 2]] - TRUTH[[0, 2]]).max() <= 1
    assert (picture.pixels[:, 30:, 3] == 0).all()


def test_high_dynamic_range_keeps_both_dark_and_bright_apart(tmp_path):
    light = np.full((HEIGHT, WIDTH, 3), 0.05, np.float32)
    light[:, 20:30] = 1.0
    light[:, 30:] = 40.0
    light[0, :3] = (np.nan, -5.0, np.inf)
    light[1, 0], light[1, 1] = np.inf, -np.inf
    picture = loaded(tmp_path, cv2.imencode(".exr", light)[1].tobytes())
    dark, middle, bright = (int(picture.pixels[10, x, 0]) for x in (5, 25, 35))
    assert 20 < dark < middle - 30 < bright - 60
    assert bright > 230
    assert "high dynamic range" in picture.notes[0]


def test_all_invalid_floats_are_black(tmp_path):
    light = np.full((HEIGHT, WIDTH, 3), np.nan, np.float32)
    picture = loaded(tmp_path, cv2.imencode(".exr", light)[1].tobytes())
    assert (picture.pixels[..., :3] == 0).all()


def turned(rgb, orientation):
    """Store ``rgb`` so that ``orientation`` brings it back, by the words of the standard."""
    store = {
        1: lambda a: a,
        2: lambda a: a[:, ::-1],
        3: lambda a: a[::-1, ::-1],
        4: lambda a: a[::-1],
        5: lambda a: a.transpose(1, 0, 2),
        6: lambda a: np.rot90(a, 1),
        7: lambda a: a[::-1, ::-1].transpose(1, 0, 2),
        8: lambda a: np.rot90(a, -1),
    }
    return Image.fromarray(np.ascontiguousarray(store[orientation](rgb)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "TIFF", "TIFF16"])
def test_orientation_is_undone_exactly_once(tmp_path, kind, orientation):
    image = turned(colours(), orientation)
    options = {"JPEG": {"quality": 98, "subsampling": 0}, "WEBP": {"lossless": True}}.get(kind, {})
    if kind.startswith("TIFF"):
        fields = TiffImagePlugin.ImageFileDirectory_v2()
        fields[274] = orientation
        options = {"tiffinfo": fields}
    else:
        exif = Image.Exif()
        exif[274] = orientation
        options = options | {"exif": exif}
    if kind == "TIFF16":
        image = Image.fromarray(np.asarray(image)[..., 0].astype(np.uint16) * 257)
    picture = loaded(tmp_path, encoded(image, kind.removesuffix("16"), **options))
    assert picture.pixels.shape == (HEIGHT, WIDTH, 4)
    difference = np.abs(quarters(picture.pixels) - TRUTH)
    assert difference[:, :1].max() <= 4
    if kind != "TIFF16":
        assert difference.max() <= 4


@pytest.mark.parametrize("order", ["<", ">"])
def test_tiff_of_either_byte_order_is_turned_once(tmp_path, order):
    stored = np.asarray(turned(colours(), 6)).astype(order + "u2") * 257
    stored = stored.astype(order + "u2")
    picture = loaded(tmp_path, tiff(stored, photometric=2, orientation=6, order=order))
    assert (picture.pixels[..., :3] == colours()).all()


def test_animations_give_their_first_frame(tmp_path):
    frames = [Image.fromarray(colours()), Image.fromarray(255 - colours())]
    for kind, options in (("PNG", {}), ("WEBP", {"lossless": True}), ("GIF", {})):
        first, *rest = [f.quantize(4) for f in frames] if kind == "GIF" else frames
        data = encoded(first, kind, save_all=True, append_images=rest, **options)
        picture = loaded(tmp_path, data)
        assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 1
        assert "animated" in picture.notes[0]


@pytest.mark.parametrize("is_interlaced", [False, True])
def test_gif_with_many_codes(tmp_path, is_interlaced):
    noise = np.random.default_rng(3).integers(0, 256, (150, 170), np.uint8)
    image = Image.fromarray(noise)
    data = encoded(image, "GIF", interlace=int(is_interlaced))
    picture = loaded(tmp_path, data)
    assert (picture.pixels[..., 0] == noise).all()
    assert not picture.notes


def test_gif_frame_smaller_than_its_canvas(tmp_path):
    data = bytearray(encoded(Image.fromarray(colours()).quantize(4), "GIF"))
    data[6:10] = struct.pack("<HH", WIDTH + 10, HEIGHT + 10)
    picture = loaded(tmp_path, bytes(data))
    assert picture.pixels.shape == (HEIGHT + 10, WIDTH + 10, 4)
    assert picture.has_alpha
    assert (picture.pixels[:HEIGHT, :WIDTH, :3] == colours()).all()


def test_wide_picture_is_scaled(tmp_path):
    wide = np.zeros((40, 20000, 3), np.uint8)
    wide[:, ::2] = 200
    picture = loaded(tmp_path, encoded(Image.fromarray(wide), "PNG"))
    assert picture.pixels.shape == (8, 4096, 4)
    assert picture.notes == ("Scaled from 20000 x 40 to 4096 x 8 pixels.",)
    # Aliasing would leave stripes where the area's mean is grey.
    assert np.abs(picture.pixels[..., 0].astype(int) - 100).max() <= 25


def test_large_jpeg_is_scaled_and_turned(tmp_path):
    large = cv2.resize(colours(), (2400, 1440), interpolation=cv2.INTER_NEAREST)
    exif = Image.Exif()
    exif[274] = 6
    exif.get_ifd(0x8769)[0xA405] = 50
    stored = Image.fromarray(np.ascontiguousarray(np.rot90(large)))
    data = encoded(stored, "JPEG", exif=exif)
    picture = loaded(tmp_path, data, max_side=256)
    assert picture.pixels.shape == (154, 256, 4)
    assert np.abs(quarters(picture.pixels) - TRUTH).max() <= 6
    assert picture.notes == ("Scaled from 2400 x 1440 to 256 x 154 pixels.",)
    expected = 50 / np.hypot(36, 24) * np.hypot(256, 153.6)
    assert picture.focal_px == pytest.approx(expected, rel=0.001)


def test_scaling_does_not_bleed_transparent_colour(tmp_path):
    rgba = np.zeros((400, 400, 4), np.uint8)
    rgba[..., 1] = 255
    rgba[:, 50:202] = (250, 10, 10, 255)
    picture = loaded(tmp_path, encoded(Image.fromarray(rgba), "PNG"), max_side=60)
    seen = picture.pixels[picture.pixels[..., 3] > 0]
    assert (np.abs(seen[:, :3].astype(int) - (250, 10, 10)) <= 1).all()
    assert ((seen[:, 3] > 0) & (seen[:, 3] < 255)).any()


def test_large_float_picture_is_scaled(tmp_path):
    bgra = np.zeros((60, 300, 4), np.float32)
    bgra[:, 100:] = (0.1, 0.2, 0.4, 1.0)
    picture = loaded(tmp_path, cv2.imencode(".exr", bgra)[1].tobytes(), max_side=100)
    assert picture.pixels.shape == (20, 100, 4)
    assert picture.has_alpha
    expected = load_picture(PicturePixels(picture.pixels, "x")).pixels[10, 90, :3]
    assert (expected == (170, 124, 89)).all()


def test_unicode_and_long_paths(tmp_path):
    folder = tmp_path.joinpath(*["Ordner mit Ümläuten и 日本語 " + "x" * 60] * 6)
    folder.mkdir(parents=True)
    picture = loaded(folder, encoded(Image.fromarray(colours()), "PNG"), "châise 椅子.png")
    assert picture.name == "châise 椅子"
    assert len(str(folder)) > 300


@pytest.mark.parametrize(
    ("file_name", "name"),
    [("a.b.png", "a.b"), ("photo", "photo"), ("v1.2", "v1.2"), ("CHAIR.JPG", "CHAIR")],
)
def test_name_is_the_stem(tmp_path, file_name, name):
    assert loaded(tmp_path, encoded(rgba_image(), "PNG"), file_name).name == name


def test_suffix_does_not_matter(tmp_path):
    assert loaded(tmp_path, encoded(rgba_image(), "PNG"), "wrong.jpg").has_alpha


def test_pixels_in_memory():
    pixels = np.dstack([colours(), alpha()])
    picture = load_picture(PicturePixels(pixels, "Render Result"))
    assert picture.has_alpha
    assert picture.name == "Render Result"
    assert (picture.pixels == pixels).all()
    small = load_picture(PicturePixels(pixels, "chair.png"), max_side=20)
    assert small.name == "chair"
    assert small.pixels.shape == (12, 20, 4)
    assert small.notes == ("Scaled from 40 x 24 to 20 x 12 pixels.",)


def test_sprites_have_alpha():
    for path in sorted(DATA.glob("*.png")):
        picture = load_picture(PictureFile(path))
        assert picture.has_alpha
        assert picture.pixels.shape == (256, 192, 4)


# What cannot be used.


def refusal(source, **options):
    with pytest.raises(PictureError) as caught:
        load_picture(source, **options)
    message = str(caught.value)
    assert message.endswith(".")
    assert "\n" not in message
    return message


def refused(tmp_path, data, name="picture.png", **options):
    path = tmp_path / name
    path.write_bytes(data)
    return refusal(PictureFile(path), **options)


def test_missing_file(tmp_path):
    assert "There is no file" in refusal(PictureFile(tmp_path / "gone.png"))
    (tmp_path / "file").write_bytes(b"x")
    assert "There is no file" in refusal(PictureFile(tmp_path / "file" / "below.png"))


def test_folder(tmp_path):
    assert "is a folder" in refusal(PictureFile(tmp_path))


def test_device():
    assert "not a regular file" in refusal(PictureFile(Path("/dev/zero")))


def test_no_permission(tmp_path, monkeypatch):
    (tmp_path / "secret.png").write_bytes(encoded(rgba_image(), "PNG"))

    def deny(self, *_, **__):
        raise PermissionError(13, "Permission denied", str(self))

    monkeypatch.setattr(Path, "open", deny)
    assert "may not be read" in refusal(PictureFile(tmp_path / "secret.png"))


def test_broken_disk(tmp_path, monkeypatch):
    (tmp_path / "far.png").write_bytes(encoded(rgba_image(), "PNG"))

    def fail(self, *_, **__):
        raise OSError(5, "Input/output error")

    monkeypatch.setattr(Path, "open", fail)
    assert "cannot be read (Input/output error)" in refusal(PictureFile(tmp_path / "far.png"))


def test_impossible_paths(tmp_path):
    assert "too long" in refusal(PictureFile(tmp_path / ("x" * 300 + ".png")))
    assert "null character" in refusal(PictureFile(Path("a\0b.png")))


def test_empty_file(tmp_path):
    assert "is empty" in refused(tmp_path, b"")


def test_file_of_many_gigabytes(tmp_path):
    for start, words in ((SIGNATURE, "larger than 750 MB"), (b"\x1aE\xdf\xa3", "a video")):
        with (tmp_path / "film.png").open("wb") as stream:
            stream.write(start)
            stream.truncate(3 << 30)
        assert words in refusal(PictureFile(tmp_path / "film.png"))


@pytest.mark.parametrize("data", [b"hello world", b"\0" * 100, b"{}", b"\xff", b"P6 8 8 255 "])
def test_not_a_picture(tmp_path, data):
    assert "is not a picture" in refused(tmp_path, data)


@pytest.mark.parametrize(
    ("data", "words", "name"),
    [
        (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", "HEIC", "a.heic"),
        (b"\0\0\0\x1cftypavif\0\0\0\0avifmif1", "AVIF", "a.avif"),
        (b"\0\0\0\x18ftypcrx \0\0\0\0", "camera raw", "a.cr3"),
        (b"\0\0\0\x18ftypisom\0\0\x02\0isomiso2", "video", "a.mp4"),
        (b"\x1aE\xdf\xa3" + b"x" * 20, "video", "a.webm"),
        (b"RIFF\0\0\0\0AVI LIST", "video", "a.avi"),
        (b"<?xml version='1.0'?>\n<svg xmlns='a'/>", "SVG", "a.svg"),
        (b"  <svg/>", "SVG", "a.svg"),
        (b"<?xml version='1.0'?><html/>", "text", "a.png"),
        (b"8BPS\0\1", "Photoshop", "a.psd"),
        (b"%PDF-1.7", "PDF", "a.pdf"),
        (b"%!PS-Adobe", "PostScript", "a.eps"),
        (b"gimp xcf file", "GIMP", "a.xcf"),
        (b"\0\0\0\x0cjP  \r\n", "JPEG 2000", "a.jp2"),
        (b"\xff\x0a\x00", "JPEG XL", "a.jxl"),
        (b"DDS |", "DDS", "a.dds"),
        (b"\0\0\1\0\1\0", "icon", "a.ico"),
        (b"FUJIFILMCCD-RAW 0201", "camera raw", "a.raf"),
        (b"II*\0\x10\0\0\0CR\2\0", "camera raw", "a.cr2"),
        (b"MM\0*\0\0\0\x08\0\0", "camera raw", "photo.NEF"),
        (b"BLENDER-v405", "Blender", "a.blend"),
        (b"PK\3\4", "archive", "a.zip"),
    ],
)
def test_known_formats_that_are_not_read(tmp_path, data, words, name):
    message = refused(tmp_path, data, name)
    assert words in message
    assert "convert it to PNG or JPEG" in message


@pytest.mark.parametrize("share", [0.05, 0.4, 0.9, 0.99])
@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "TIFF", "BMP", "GIF", "exr", "hdr"])
def test_truncated(tmp_path, kind, share):
    noise = np.random.default_rng(1).integers(0, 256, (60, 80, 3), np.uint8)
    if kind.islower():
        data = cv2.imencode("." + kind, noise.astype(np.float32) / 255)[1].tobytes()
    else:
        data = encoded(Image.fromarray(noise), kind)
    if kind == "JPEG" and share == 0.99:
        picture = loaded(tmp_path, data[: int(len(data) * share)])
        assert "cut short: about" in picture.notes[0]
        return
    message = refused(tmp_path, data[: int(len(data) * share)])
    assert "damaged or cut short" in message or (share == 0.05 and kind in ("TIFF",))


def photograph(width=96, height=400):
    """Something in which every row differs from its neighbours."""
    noise = np.random.default_rng(7).integers(0, 256, (height // 4, width // 4, 3), np.uint8)
    return cv2.resize(noise, (width, height), interpolation=cv2.INTER_CUBIC)


JPEG_KINDS = [{}, {"progressive": True}, {"subsampling": 0, "restart_marker_rows": 1}]


@pytest.mark.parametrize("options", JPEG_KINDS)
def test_jpeg_without_its_end_mark(tmp_path, options):
    data = encoded(Image.fromarray(photograph()), "JPEG", quality=90, **options)
    whole = loaded(tmp_path, data)
    assert whole.notes == ()
    assert data.endswith(b"\xff\xd9")
    for cut in (data[:-1], data[:-2]):
        picture = loaded(tmp_path, cut)
        assert (picture.pixels == whole.pixels).all()
        assert picture.notes == ("The file lacks its end mark; the picture is complete.",)


@pytest.mark.parametrize("missing", [8, 20, 300])
@pytest.mark.parametrize("options", JPEG_KINDS)
def test_jpeg_that_lacks_its_last_bytes(tmp_path, options, missing):
    data = encoded(Image.fromarray(photograph()), "JPEG", quality=90, **options)
    whole, picture = loaded(tmp_path, data), loaded(tmp_path, data[:-missing])
    assert "cut short" in picture.notes[0]
    if "progressive" in options:
        difference = np.abs(picture.pixels.astype(int) - whole.pixels)
        assert difference.mean() < 3
        assert "fine detail" in picture.notes[0]
    else:
        assert (picture.pixels[:360] == whole.pixels[:360]).all()
        assert "lower edge" in picture.notes[0]


@pytest.mark.parametrize(("options", "share"), [({}, 0.7), ({"progressive": True}, 0.3)])
def test_jpeg_of_which_much_is_missing_is_refused(tmp_path, options, share):
    data = encoded(Image.fromarray(photograph()), "JPEG", quality=90, **options)
    assert "cut short" in refused(tmp_path, data[: int(len(data) * share)])


@pytest.mark.parametrize("stray", [b"\0" * 8, b"abc " * 5, b"\x80" * 3000])
def test_jpeg_with_stray_bytes(tmp_path, stray):
    """Before its first table, and behind its last block."""
    data = encoded(Image.fromarray(photograph()), "JPEG", quality=90)
    whole = loaded(tmp_path, data)
    for odd in (data[:20] + stray + data[20:], data[:-2] + stray + data[-2:]):
        picture = loaded(tmp_path, odd)
        assert (picture.pixels == whole.pixels).all()
        assert picture.notes == ("The file holds stray bytes, which were passed over.",)


def test_ordinary_jpegs_are_not_said_to_hold_stray_bytes(tmp_path):
    for size in range(40, 80):
        for options in ({"quality": 80}, {"quality": 30, "optimize": True}):
            data = encoded(Image.fromarray(photograph(size, size)), "JPEG", **options)
            assert loaded(tmp_path, data).notes == ()
    flat = Image.new("RGB", (300, 200), (250, 250, 250))
    assert loaded(tmp_path, encoded(flat, "JPEG", optimize=True)).notes == ()


def test_jpeg_with_something_behind_its_end(tmp_path):
    data = encoded(Image.fromarray(colours()), "JPEG", quality=98, subsampling=0)
    assert np.abs(quarters(loaded(tmp_path, data + b"trailer" * 99).pixels) - TRUTH).max() <= 4


def test_one_pixel_and_other_tiny_pictures(tmp_path):
    dot = encoded(Image.new("RGB", (1, 1)), "PNG")
    message = refused(tmp_path, dot, "dot.png")
    assert message == "dot.png is only 1 x 1 pixels; use a picture of at least 16 x 16."
    assert "only 300 x 7" in refused(tmp_path, encoded(Image.new("RGB", (300, 7)), "BMP"))
    assert "only 1 x 1" in refusal(PicturePixels(np.zeros((1, 1, 4), np.uint8), "dot"))
    assert loaded(tmp_path, encoded(Image.new("RGB", (8, 8)), "PNG")).pixels.shape == (8, 8, 4)


def test_too_narrow(tmp_path):
    assert "too long and narrow" in refused(
        tmp_path, encoded(Image.new("RGB", (1000, 10)), "PNG"), max_side=100
    )


def png_claiming(width, height):
    """Hold a header that promises a huge picture: a decompression bomb."""

    def chunk(tag, body):
        return struct.pack(">I", len(body)) + tag + body + struct.pack(">I", zlib.crc32(tag + body))

    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    body = chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1 << 16)))
    return b"\x89PNG\r\n\x1a\n" + body + chunk(b"IEND", b"")


def test_decompression_bombs(tmp_path):
    assert "more than can be read" in refused(tmp_path, png_claiming(60000, 60000))
    assert "too much memory" in refused(tmp_path, png_claiming(17000, 17000))
    gif = bytearray(encoded(Image.fromarray(colours()).quantize(4), "GIF"))
    gif[6:10] = struct.pack("<HH", 8000, 8000)
    assert "too much memory" in refused(tmp_path, bytes(gif))
    gif[6:10] = struct.pack("<HH", 100, 100)
    frame = gif.index(b"\x2c\0\0\0\0" + struct.pack("<HH", WIDTH, HEIGHT))
    gif[frame + 5 : frame + 9] = struct.pack("<HH", 65535, 65535)
    assert "damaged" in refused(tmp_path, bytes(gif))


def test_jpeg_of_hundreds_of_megapixels_needs_little_memory():
    size = 19000 * 19000
    load.check(load.PictureHeader("JPEG", 19000, 19000, size * 3), 1 << 26, "large.jpg", 4096)
    progressive = load.PictureHeader("JPEG", 19000, 19000, size * 3, size * 6)
    with pytest.raises(PictureError, match="too much memory"):
        load.check(progressive, 1 << 26, "large.jpg", 4096)


def test_completely_transparent(tmp_path):
    clear = np.zeros((20, 20, 4), np.uint8)
    assert "completely transparent" in refused(tmp_path, encoded(Image.fromarray(clear), "PNG"))
    assert "completely transparent" in refusal(PicturePixels(clear, "clear"))


def test_integers_that_are_no_colours(tmp_path):
    depth = Image.fromarray(np.full((20, 20), 5_000_000, np.int32))
    assert "8 or 16 bits" in refused(tmp_path, encoded(depth, "TIFF"))


def test_inks_of_16_bits(tmp_path):
    inks = np.zeros((HEIGHT, WIDTH, 4), "<u2")
    assert "save it as RGB" in refused(tmp_path, tiff(inks, photometric=5))


def test_image_without_pixels():
    assert "has no pixels" in refusal(PicturePixels(np.zeros((0,), np.uint8), "Render Result"))
    assert "only 0 x 0" in refusal(PicturePixels(np.zeros((0, 0, 4), np.uint8), "Render Result"))


@pytest.mark.parametrize("failure", [MemoryError(), "opencv"])
def test_out_of_memory(tmp_path, monkeypatch, failure):
    if failure == "opencv":
        failure = cv2.error("Insufficient memory")
        failure.code = cv2.Error.StsNoMem

    def fail(*_):
        raise failure

    (tmp_path / "a.png").write_bytes(encoded(rgba_image(), "PNG"))
    monkeypatch.setattr(cv2, "imdecode", fail)
    with pytest.raises(OutOfMemory, match="not enough free memory to open"):
        load_picture(PictureFile(tmp_path / "a.png"))
