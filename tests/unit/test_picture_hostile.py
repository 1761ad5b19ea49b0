"""Files that lie about their size, and the process in which whatever is large or odd is decoded."""

import io
import json
import os
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import cv2
import hostile_pictures as hostile
import numpy as np
import pytest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.engines import views
from image_to_mesh.inference.errors import PictureError, RunCancelled
from image_to_mesh.inference.picture.files import child, load, rgba
from image_to_mesh.inference.picture.files.child import ChildUnavailable, decode_in_child
from image_to_mesh.inference.picture.files.header import PictureHeader
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.picture.files.read import MAX_MEMORY_BYTES
from image_to_mesh.inference.views.contracts import ViewsRequest
from PIL import Image

TESTS = Path(__file__).parents[1]


def encoded(image, kind, **options):
    stream = io.BytesIO()
    image.save(stream, kind, **options)
    return stream.getvalue()


def small_jpeg():
    rows, columns = np.mgrid[:96, :128]
    pixels = np.dstack([rows * 2, columns * 2, (rows * columns) % 256]).astype(np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG")


def sparse(start, length):
    """A file of zeros that take no room on the disk."""

    def write(path):
        with path.open("wb") as file:
            file.write(start)
            file.truncate(length)

    return write


WINDOW = hostile.exr_attributes(15_000)[2]
LIES = {
    # A comment, or a line so long that decoders take it for several, tells another size.
    "comment.hdr": hostile.hdr([b"#", b"-Y 64 +X 64"], 30_000),
    "comment_after.hdr": b"#?RADIANCE\n-Y 64 +X 64\nFORMAT=32-bit_rle_rgbe\n\n-Y 19000 +X 19000\n0",
    "line.hdr": b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n#"
    + b"x" * 126
    + b"\n-Y 19000 +X 19000\n\n-Y 64 +X 64\n"
    + bytes(200),
    "small_first.tif": hostile.tiff_of_two_sizes(64, 19_000),
    "large_first.tif": hostile.tiff_of_two_sizes(19_000, 64),
    "tile.tif": hostile.tiff(
        hostile.tiff_fields(4000, 4000, t322=100_000, t323=100_000, t324=999, t325=64), bytes(999)
    ),
    "strip.tif": hostile.tiff(hostile.tiff_fields(64, 64, t279=3_000_000_000), bytes(999)),
    "samples.tif": hostile.tiff(hostile.tiff_fields(4000, 4000, t277=65535), bytes(999)),
    "one_strip.tif": hostile.tiff(hostile.tiff_fields(15_000, 15_000, t259=5), bytes(999)),
    "picture_first.webp": hostile.webp(hostile.webp_lossless(16_383), hostile.webp_canvas(64)),
    "canvas.webp": hostile.webp(hostile.webp_canvas(64), hostile.webp_lossless(16_000)),
    "empty_canvas.webp": hostile.webp(hostile.webp_canvas(16_000, flags=2)),
    "channels.jpg": hostile.channel_by_channel_jpeg(20_000),
    "alpha.png": hostile.png(19_000, 19_000, 8, 6, data=b""),
    "palette.png": hostile.png(
        19_000, 19_000, 8, 3, ((b"PLTE", bytes(6)), (b"tRNS", b"\1\2")), data=b""
    ),
    "window_twice.exr": hostile.exr([*hostile.exr_attributes(64), WINDOW]),
    "channels.exr": hostile.exr(hostile.exr_attributes(2000, channels=5000)),
    "tiles.exr": hostile.exr(hostile.exr_attributes(64), version=0x202),
    "clear_codes.gif": hostile.gif_of_clear_codes(2_000_000),
    "rle.bmp": hostile.bmp(20_000, 8, 1),
    "chunks.png": hostile.png(64, 64, 8, 2, ((b"teXt", b""),) * 300_000),
    "segments.jpg": small_jpeg()[:2] + b"\xff\xfe\0\2" * 300_000 + small_jpeg()[2:],
    "attributes.exr": b"v/1\x01\2\0\0\0" + b"a\0b\0\0\0\0\0" * 300_000,
    "zeros.png": sparse(b"", 2_000_000_000),
    "film.png": sparse(b"\x1aE\xdf\xa3", 5_000_000_000),
    "long.png": sparse(b"\x89PNG\r\n\x1a\n", 1_400_000_000),
    "mac.jpg": b"\0\5\x16\7" + bytes(200),
}
REPORT_MEMORY = """
import json, resource, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.engines import views
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.picture.files.header import PictureHeader
from image_to_mesh.inference.picture.files.load import load_picture

sentences = {}
for path in sorted(Path(sys.argv[2]).iterdir()):
    try:
        load_picture(PictureFile(path))
    except PictureError as error:
        sentences[path.name] = str(error)
status = Path("/proc/self/status").read_text().split()
children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
peaks = [kilobytes // 1024 for kilobytes in (int(status[status.index("VmHWM:") + 1]), children)]
print(json.dumps({"sentences": sentences, "peaks_mb": peaks}))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="measures memory as Linux counts it")
def test_lies_are_refused_without_memory_for_them(tmp_path):
    """In a process of its own, because the peak of this one is that of all tests before."""
    for name, data in LIES.items():
        if callable(data):
            data(tmp_path / name)
        else:
            (tmp_path / name).write_bytes(data)
    command = [sys.executable, "-c", REPORT_MEMORY, str(TESTS), str(tmp_path)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    told = json.loads(result.stdout)
    assert told["sentences"].keys() == LIES.keys()
    assert all(s.endswith(".") and "\n" not in s for s in told["sentences"].values())
    assert "is not a picture" in told["sentences"]["zeros.png"]
    assert "is a video" in told["sentences"]["film.png"]
    assert "choose the picture itself" in told["sentences"]["mac.jpg"]
    assert max(told["peaks_mb"]) < 300


def write(path, data):
    path.write_bytes(data)
    return PictureFile(path)


@pytest.mark.parametrize(
    ("depth", "extra"), [(1, ()), (1, ((b"tRNS", b"\0\1"),)), (8, ((b"tRNS", b"\0\1"),))]
)
def test_grey_picture_becomes_colour_piece_by_piece(tmp_path, depth, extra):
    """Its copy with colours and alpha would be four times as large as what is decoded."""
    source = write(tmp_path / "grey.png", hostile.png(9000, 8000, depth, 0, extra))
    picture = load_picture(source, max_side=256)
    assert picture.pixels.shape == (228, 256, 4)
    assert (picture.pixels == (0, 0, 0, 255)).all()


def test_picture_in_pieces_is_the_same_as_in_one(monkeypatch):
    noise = np.random.default_rng(3).integers(0, 256, (701, 533, 4), np.uint8)
    noise = cv2.GaussianBlur(noise, (0, 0), 3)
    noise[:, 100:200, 3] = 0
    light = noise.astype(np.float32) / 100
    header, exr = PictureHeader("PNG", 533, 701, 0), PictureHeader("OpenEXR", 533, 701, 0)
    key = PictureHeader("PNG", 533, 701, 0, grey_key=120)
    grey = noise[..., 0]
    cases = [(noise, header), (noise.astype(np.uint16) * 257, header), (grey, key)]
    whole = [rgba.rgba_from_integers(*case, 97) for case in cases]
    whole_light = rgba.rgba_from_linear(light, exr, 97)[0]
    monkeypatch.setattr(rgba, "_LARGE_PIXELS", 1000)
    monkeypatch.setattr(rgba, "_PIECE_PIXELS", 7000)
    for case, expected in zip(cases, whole, strict=True):
        pieces = rgba.rgba_from_integers(*case, 97)
        seen = expected[..., 3] > 20
        assert np.abs(pieces.astype(int) - expected)[seen].max() <= 2
    pieces = rgba.rgba_from_linear(light, exr, 97)[0]
    assert np.abs(pieces.astype(int) - whole_light).max() <= 1


def test_stray_bytes_by_the_million(tmp_path):
    jpeg = small_jpeg()
    whole = load_picture(write(tmp_path / "whole.jpg", jpeg)).pixels
    for stray in (b"\x41" * 3_000_000, b"\xff" * 3_000_000):
        picture = load_picture(write(tmp_path / "stray.jpg", jpeg[:20] + stray + jpeg[20:]))
        assert (picture.pixels == whole).all()


# The other process.


@pytest.fixture
def children(monkeypatch):
    """Every process that is started for a picture."""
    started = []
    start = subprocess.Popen

    def remember(*arguments, **options):
        started.append(start(*arguments, **options))
        return started[-1]

    monkeypatch.setattr(child.subprocess, "Popen", remember)
    return started


def photo():
    exif = Image.Exif()
    exif[274] = 6
    exif.get_ifd(0x8769)[0xA405] = 28
    exif.get_ifd(0x8825).update(
        {1: "N", 2: (48.0, 30.0, 0.0), 3: "E", 4: (9.0, 15.0, 0.0), 31: 5.0}
    )
    pixels = np.random.default_rng(1).integers(0, 256, (48, 64, 3), np.uint8)
    return encoded(Image.fromarray(pixels), "JPEG", exif=exif)


def test_another_process_gives_the_same_picture(tmp_path, monkeypatch, children):
    clear = Image.fromarray(np.random.default_rng(2).integers(0, 256, (40, 30, 4), np.uint8))
    light = np.random.default_rng(2).random((20, 30, 3), np.float32) * 9
    sources = [
        write(tmp_path / "photo.jpg", photo()),
        write(tmp_path / "clear.png", encoded(clear, "PNG")),
        write(tmp_path / "Stühle 椅子.hdr", cv2.imencode(".hdr", light)[1].tobytes()),
    ]
    here = [load_picture(source, max_side=32) for source in sources]
    assert not children
    monkeypatch.setattr(load, "_fits_here", lambda *_: False)
    for source, expected in zip(sources, here, strict=True):
        picture = load_picture(source, max_side=32)
        assert (picture.pixels == expected.pixels).all()
        for field in ("has_alpha", "focal_px", "name", "notes", "place", "sha256"):
            assert getattr(picture, field) == getattr(expected, field)
        picture.pixels[0] = 0  # may be written to
    assert len(children) == 3
    assert here[0].place is not None


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_name_that_is_no_text(tmp_path, monkeypatch):
    monkeypatch.setattr(load, "_fits_here", lambda *_: False)
    path = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9.png"))
    picture = load_picture(write(path, encoded(Image.new("RGB", (20, 20)), "PNG")))
    assert os.fsencode(picture.name) == b"caf\xe9"


def test_ordinary_photographs_start_no_process(tmp_path, children):
    rows, columns = np.mgrid[:2000, :3000]
    pixels = np.dstack([rows // 8, columns // 12, (rows + columns) // 20]).astype(np.uint8)
    image = Image.fromarray(pixels)
    for kind, options in (("JPEG", {}), ("PNG", {"compress_level": 1}), ("TIFF", {}), ("BMP", {})):
        load_picture(write(tmp_path / "photo", encoded(image, kind, **options)), max_side=512)
    small = image.resize((600, 400))
    for kind in ("GIF", "WEBP"):
        load_picture(write(tmp_path / "photo", encoded(small, kind)), max_side=512)
    assert not children


@pytest.mark.parametrize(
    ("header", "file_bytes", "is_here"),
    [
        (PictureHeader("JPEG", 4800, 3200, 46_000_000), 25_000_000, True),
        (PictureHeader("JPEG", 6000, 4000, 72_000_000), 25_000_000, False),
        (PictureHeader("JPEG", 8200, 3600, 89_000_000), 25_000_000, True),
        (PictureHeader("JPEG", 9000, 6000, 162_000_000), 25_000_000, False),
        (PictureHeader("JPEG", 6000, 4000, 72_000_000, passes=3.5), 25_000_000, False),
        (PictureHeader("PNG", 4000, 4000, 48_000_000), 40_000_000, True),
        (PictureHeader("PNG", 5000, 4000, 120_000_000), 40_000_000, False),
        (PictureHeader("TIFF", 4000, 3000, 36_000_000), 36_000_000, True),
        (PictureHeader("TIFF", 64, 64, 12288, is_plain=False), 20_000, False),
        (PictureHeader("PNG", 64, 64, 12288), 90_000_000, False),
        (PictureHeader("GIF", 640, 480, 1_228_800), 1_000_000, True),
        (PictureHeader("GIF", 640, 480, 1_228_800), 9_000_000, False),
    ],
)
def test_what_takes_long_goes_to_another_process(header, file_bytes, is_here):
    assert load._fits_here(header, file_bytes, 4096) == is_here


SLOW = hostile.jpeg_of_many_scans(5000, 3000)


def test_cancelling_ends_the_other_process(tmp_path, children):
    source = write(tmp_path / "slow.jpg", SLOW)
    calls = []

    def report():
        calls.append(None)
        if len(calls) == 8:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        load_picture(source, report=report)
    assert len(children) == 1
    assert children[0].returncode == -signal.SIGKILL


def test_whole_runs_are_cancelled_while_they_read(tmp_path, children):
    source = write(tmp_path / "slow.jpg", SLOW)
    requests = (
        (pipeline.run, Request(source)),
        (views.run, ViewsRequest(inputs=(source.path, source.path.with_name("other.jpg")))),
    )
    write(tmp_path / "other.jpg", SLOW + b"x")
    for run, request in requests:
        shares = []

        def report(share, stage, shares=shares):
            shares.append(share)
            if len(shares) == 8:
                raise RunCancelled("Cancelled")

        with pytest.raises(RunCancelled):
            run(request, report)
        assert children.pop().returncode == -signal.SIGKILL
        assert not children


def test_reading_a_long_file_can_be_cancelled(tmp_path):
    with (tmp_path / "long.bmp").open("wb") as file:
        file.write(hostile.bmp(64, 24, 0))
        file.truncate(60 << 20)
    calls = []

    def report():
        calls.append(None)
        if len(calls) == 3:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        load_picture(PictureFile(tmp_path / "long.bmp"), report=report)


def test_time_is_bounded(tmp_path, monkeypatch, children):
    monkeypatch.setattr(child, "MAX_SECONDS", 0.5)
    with pytest.raises(PictureError, match="takes too long to read"):
        load_picture(write(tmp_path / "slow.jpg", SLOW))
    assert children[0].returncode == -signal.SIGKILL


@pytest.mark.skipif(sys.platform == "win32", reason="nothing bounds a process's memory there")
def test_memory_is_bounded(tmp_path):
    source = write(tmp_path / "large.png", hostile.png(5000, 5000, 8, 2))
    with pytest.raises(PictureError, match="too much memory"):
        decode_in_child(source.path, 4096, 50_000_000, lambda: None)
    picture = decode_in_child(source.path, 256, MAX_MEMORY_BYTES, lambda: None)
    assert picture.pixels.shape == (256, 256, 4)


@pytest.mark.skipif(sys.platform == "win32", reason="nothing bounds a process's memory there")
@pytest.mark.parametrize(("bound", "code"), [(1000, child.TOO_LARGE), (1 << 40, 0)])
def test_memory_is_watched_where_the_system_does_not(bound, code):
    script = (
        "import runpy, sys, threading, time; main = runpy.run_path(sys.argv[1]);"
        "watch = threading.Thread(target=main['_watch_memory'], args=(int(sys.argv[2]),));"
        "watch.daemon = True; watch.start(); time.sleep(0.5)"
    )
    other = Path(child.__file__).with_name("child_main.py")
    command = [sys.executable, "-c", script, str(other), str(bound)]
    assert subprocess.run(command).returncode == code


def test_decoder_that_crashes_is_a_damaged_file(tmp_path, monkeypatch):
    script = tmp_path / "child_main.py"
    script.write_text("import os, signal; os.kill(os.getpid(), signal.SIGABRT)")
    monkeypatch.setattr(child, "__file__", str(tmp_path / "child.py"))
    source = write(tmp_path / "large.png", hostile.png(5000, 5000, 8, 2))
    with pytest.raises(PictureError, match="damaged"):
        decode_in_child(source.path, 4096, MAX_MEMORY_BYTES, lambda: None)


@pytest.mark.skipif(sys.platform != "linux", reason="looks processes up as Linux lists them")
def test_no_process_outlives_a_killed_one(tmp_path):
    write(tmp_path / "slow.jpg", SLOW)
    code = """
import subprocess, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
import conftest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.engines import views
from image_to_mesh.inference.picture.files import child
from image_to_mesh.inference.picture.files.header import PictureHeader
from image_to_mesh.inference.picture.files.load import load_picture
start = subprocess.Popen
def tell(*arguments, **options):
    process = start(*arguments, **options)
    print(process.pid, flush=True)
    return process
child.subprocess.Popen = tell
load_picture(PictureFile(Path(sys.argv[2])))
"""
    command = [sys.executable, "-c", code, str(TESTS), str(tmp_path / "slow.jpg")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as parent:
        number = int(parent.stdout.readline())
        assert Path(f"/proc/{number}").exists()
        parent.kill()
    for _ in range(600):
        status = Path(f"/proc/{number}/stat")
        if not status.exists() or status.read_text().split()[2] == "Z":
            return
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)
    pytest.fail("it went on")


def test_blender_without_a_python_of_its_own(tmp_path, monkeypatch):
    """Ordinary files are read all the same, also large ones; odd ones are refused."""
    monkeypatch.setattr(sys, "executable", str(tmp_path / "blender"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(load, "HERE_BYTES", 1000)
    monkeypatch.setattr(load, "HERE_FILE_BYTES", 1000)
    plain = write(tmp_path / "plain.png", encoded(Image.new("RGB", (300, 200), "red"), "PNG"))
    with pytest.raises(ChildUnavailable):
        decode_in_child(plain.path, 4096, MAX_MEMORY_BYTES, lambda: None)
    assert load_picture(plain).pixels.shape == (200, 300, 4)
    odd = write(tmp_path / "odd.jpg", small_jpeg()[:-2])
    with pytest.raises(PictureError, match="save it again as PNG or JPEG"):
        load_picture(odd)


@pytest.mark.parametrize("name", ["python3.11", "Python", "python.exe"])
def test_python_is_known_by_its_name(tmp_path, monkeypatch, name):
    (tmp_path / name).touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / name))
    assert child._python() == str(tmp_path / name)


def test_python_beside_a_program_that_has_it_inside(tmp_path, monkeypatch):
    version = f"python{sys.version_info.major}.{sys.version_info.minor}"
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / version).touch()
    (tmp_path / "blender").touch()
    monkeypatch.setattr(sys, "executable", str(tmp_path / "blender"))
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    assert child._python() == str(tmp_path / "bin" / version)


def test_file_that_changes_meanwhile_is_told_by_what_was_read(tmp_path):
    from hashlib import sha256

    data = encoded(Image.new("RGB", (20, 20)), "PNG")
    assert load_picture(write(tmp_path / "a.png", data)).sha256 == sha256(data).hexdigest()


def test_dimensions_of_a_jpeg_that_are_told_twice(tmp_path):
    jpeg = small_jpeg()
    frame = jpeg.index(b"\xff\xc0")
    (length,) = struct.unpack_from(">H", jpeg, frame + 2)
    twice = jpeg[:frame] + jpeg[frame : frame + 2 + length] + jpeg[frame:]
    with pytest.raises(PictureError, match="damaged"):
        load_picture(write(tmp_path / "twice.jpg", twice))
