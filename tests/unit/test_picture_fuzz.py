"""Broken bytes end in one sentence or in a picture, never in anything else."""

import io
import random
import zlib

import cv2
import numpy as np
import pytest
from colour_profiles import SRGB_CURVE, TO_XYZ, matrix_profile
from image_to_mesh.inference.contracts import PictureFile
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.picture.files import load
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.picture.files.png import SIGNATURE, png_chunks
from PIL import Image

ROUNDS = 60


@pytest.fixture(autouse=True)
def in_this_process(monkeypatch):
    """Let broken files reach the decoders here: starting a process for each would take minutes."""
    monkeypatch.setattr(load, "_fits_here", lambda *_: True)


PROFILE = matrix_profile(TO_XYZ["p3"], SRGB_CURVE)


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def samples():
    rows, columns = np.mgrid[:24, :32]
    rgb = np.dstack([rows * 10, columns * 8, (rows * columns) % 256]).astype(np.uint8)
    image = Image.fromarray(rgb)
    clear = image.convert("RGBA")
    clear.putalpha(Image.fromarray(np.where(columns < 16, 0, 255).astype(np.uint8)))
    exif = Image.Exif()
    exif[274] = 6
    light = rgb.astype(np.float32) / 255
    return {
        "jpeg": encoded(image, "JPEG", exif=exif),
        "jpeg with profile": encoded(image, "JPEG", icc_profile=PROFILE),
        "progressive jpeg": encoded(image, "JPEG", progressive=True),
        "cmyk jpeg": encoded(image.convert("CMYK"), "JPEG"),
        "png": encoded(clear, "PNG", exif=exif),
        "png with profile": encoded(clear, "PNG", icc_profile=PROFILE),
        "palette png": encoded(image.quantize(16), "PNG", transparency=3),
        "animated png": encoded(image, "PNG", save_all=True, append_images=[clear]),
        "webp": encoded(clear, "WEBP", exif=exif),
        "tiff": encoded(image, "TIFF"),
        "packed tiff": encoded(clear, "TIFF", compression="tiff_lzw"),
        "bmp": encoded(image, "BMP"),
        "palette bmp": encoded(image.quantize(16), "BMP"),
        "gif": encoded(image.quantize(16), "GIF", transparency=3),
        "exr": cv2.imencode(".exr", light)[1].tobytes(),
        "hdr": cv2.imencode(".hdr", light)[1].tobytes(),
    }


SAMPLES = samples()


def mutated(data, choice):
    broken = bytearray(data)
    for _ in range(choice.randint(1, 6)):
        # Headers are short and decide most: aim at them half of the time.
        end = len(broken) if choice.random() < 0.5 else min(len(broken), 200)
        broken[choice.randrange(end)] = choice.choice((0, 1, 0x7F, 0xFF, choice.randrange(256)))
    if choice.random() < 0.3:
        del broken[choice.randrange(1, len(broken)) :]
    data = bytes(broken)
    return with_checksums(data) if data.startswith(SIGNATURE) and choice.random() < 0.5 else data


def with_checksums(png):
    """Repair a PNG's checksums, so that broken content reaches the decoder."""
    repaired = bytearray(png)
    for _, start, length in png_chunks(png):
        checksum = zlib.crc32(png[start - 4 : start + length])
        if start + length + 4 <= len(png):
            repaired[start + length : start + length + 4] = checksum.to_bytes(4, "big")
    return bytes(repaired)


@pytest.mark.parametrize("kind", SAMPLES)
def test_unbroken_sample_loads(tmp_path, kind):
    (tmp_path / "picture").write_bytes(SAMPLES[kind])
    assert load_picture(PictureFile(tmp_path / "picture")).pixels.size == 24 * 32 * 4


@pytest.mark.parametrize("kind", SAMPLES)
def test_broken_bytes(tmp_path, kind):
    choice = random.Random(kind)
    path = tmp_path / "picture"
    for _ in range(ROUNDS):
        path.write_bytes(mutated(SAMPLES[kind], choice))
        try:
            pixels = load_picture(PictureFile(path), max_side=256).pixels
        except PictureError:
            continue
        assert pixels.dtype == np.uint8
        assert pixels.ndim == 3
        assert pixels.shape[2] == 4
        assert max(pixels.shape[:2]) <= 256


def test_noise_behind_every_signature(tmp_path):
    choice = random.Random(8)
    path = tmp_path / "picture"
    for data in SAMPLES.values():
        for _ in range(10):
            path.write_bytes(data[: choice.choice((4, 8, 12))] + choice.randbytes(200))
            with pytest.raises(PictureError):
                load_picture(PictureFile(path))
