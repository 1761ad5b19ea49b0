"""GIF files: what a frame draws on its canvas, and files that are made to waste memory or time."""

import io
import struct
import sys

import numpy as np
import pytest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.errors import MissingPackage, PictureError
from image_to_mesh.inference.picture.files.gif import decode_gif
from image_to_mesh.inference.picture.files.load import load_picture
from PIL import Image

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)
CLEAR, END = 256, 257  # codes of 9 bits, before the table has grown to need more


def blocks(packed):
    """Cut into blocks of 255 bytes, with the empty one at the end."""
    starts = range(0, len(packed), 255)
    parts = (packed[start : start + 255] for start in starts)
    return b"".join(bytes((len(part),)) + part for part in parts) + b"\0"


def nine_bits(codes):
    """Pack codes of 9 bits, the lowest bit first."""
    whole = sum(code << 9 * place for place, code in enumerate(codes))
    return whole.to_bytes(-(-9 * len(codes) // 8), "little")


def plain_codes(indices):
    """One code for each index; a clear code now and then keeps codes at 9 bits."""
    codes = []
    for place, index in enumerate(indices):
        if place % 100 == 0:
            codes.append(CLEAR)
        codes.append(int(index))
    return [*codes, END]


def colour_table(*colours):
    """256 colours, of which the first are given."""
    return b"".join(bytes(colour) for colour in colours) + bytes(3 * (256 - len(colours)))


def gif(frame, canvas, at=(0, 0), size=None, own=b"", before=b"", packed=None, bits=8, flags=0):
    """A GIF of one frame of colour indices (h, w); red, green and blue are its first colours."""
    height, width = frame.shape if size is None else size
    if packed is None:
        packed = blocks(nine_bits(plain_codes(frame.ravel())))
    parts = (
        b"GIF89a" + struct.pack("<HHBBB", *canvas, 0xF7, 0, 0) + colour_table(RED, GREEN, BLUE),
        before,
        b"," + struct.pack("<HHHHB", *at, width, height, flags | (0x87 if own else 0)) + own,
        bytes((bits,)) + packed,
        b";",
    )
    return b"".join(parts)


def control(transparent):
    return b"!\xf9\x04\x01\0\0" + bytes((transparent,)) + b"\0"


SMALL = np.array([[0, 1, 2, 1], [2, 2, 0, 0], [1, 0, 1, 2]])


def test_a_frame_lies_on_its_canvas_with_its_own_colours_and_transparency():
    own = colour_table((9, 8, 7), BLUE, (1, 2, 3))
    data = gif(SMALL, canvas=(10, 8), at=(3, 2), own=own, before=control(1))
    pixels, is_animated = decode_gif(data)
    assert pixels.shape == (8, 10, 4)
    assert not is_animated
    drawn = np.zeros((8, 10), bool)
    drawn[2:5, 3:7] = SMALL != 1
    assert np.array_equal(pixels[..., 3] == 255, drawn)
    assert (pixels[~drawn, 3] == 0).all()
    assert tuple(pixels[2, 3, :3]) == (9, 8, 7)
    assert tuple(pixels[2, 5, :3]) == (1, 2, 3)


def test_what_of_a_frame_lies_beside_its_canvas_is_not_drawn():
    pixels, _ = decode_gif(gif(SMALL, canvas=(5, 3), at=(3, 2)))
    assert pixels.shape == (3, 5, 4)
    assert [tuple(p) for p in pixels[2, 3:]] == [(*RED, 255), (*GREEN, 255)]
    assert pixels[..., 3].sum() == 2 * 255
    pixels, _ = decode_gif(gif(SMALL, canvas=(5, 3), at=(9, 9)))
    assert not pixels.any()


def test_rows_in_four_passes_stand_in_order():
    rows = np.arange(11)[:, None] * np.ones((1, 3), int) % 3
    order = [*range(0, 11, 8), *range(4, 11, 8), *range(2, 11, 4), *range(1, 11, 2)]
    packed = blocks(nine_bits(plain_codes(rows[order].ravel())))
    pixels, _ = decode_gif(gif(rows, canvas=(3, 11), packed=packed, flags=0x40))
    wanted = np.array([RED, GREEN, BLUE], np.uint8)[rows]
    assert np.array_equal(pixels[..., :3], wanted)


def test_remarks_and_settings_of_programs_are_passed_over():
    before = b"!\xfe" + blocks(b"made by hand" * 99) + b"!\xff\x0bNETSCAPE2.0\x03\x01\0\0\0"
    plain, _ = decode_gif(gif(SMALL, canvas=(4, 3)))
    assert np.array_equal(decode_gif(gif(SMALL, canvas=(4, 3), before=before))[0], plain)


def test_another_frame_makes_it_animated():
    one = gif(SMALL, canvas=(4, 3))
    frame = one[one.index(b",") :]
    assert decode_gif(one[:-1] + control(0) + frame)[1]
    assert not decode_gif(one[:-1] + control(0) + b";")[1]
    assert not decode_gif(one[:-1])[1]


SIDE = (64, 64)
PLAIN = np.ones(SIDE, int)
FILL = plain_codes(PLAIN.ravel())
HOSTILE = {
    "40 MB of clear codes": lambda: gif(
        PLAIN, SIDE, packed=blocks(nine_bits([CLEAR] * 8) * 4_400_000)
    ),
    "ten million remarks": lambda: gif(PLAIN, SIDE, before=b"!\xfe\x01x\0" * 10_000_000),
    "ten million blocks": lambda: gif(PLAIN, SIDE, before=b"!\xfe" + b"\x01x" * 10_000_000 + b"\0"),
    "a picture in blocks of one byte": lambda: gif(
        PLAIN, SIDE, packed=b"\x01x" * 10_000_000 + b"\0"
    ),
    "a frame of four billion pixels": lambda: gif(PLAIN, SIDE, size=(65535, 65535)),
    "a frame without pixels": lambda: gif(PLAIN, SIDE, size=(64, 0)),
    "an end too early": lambda: gif(PLAIN, SIDE, packed=blocks(nine_bits([*FILL[:900], END]))),
    "data too short": lambda: gif(PLAIN, SIDE, packed=blocks(nine_bits(FILL[:900]))),
    "a code that was never made": lambda: gif(
        PLAIN, SIDE, packed=blocks(nine_bits([CLEAR, 1, 500, *FILL]))
    ),
    "codes of no bits": lambda: gif(PLAIN, SIDE, bits=0),
    "codes of twelve bits": lambda: gif(PLAIN, SIDE, bits=12),
    "no frame": lambda: gif(PLAIN, SIDE)[:781] + b";",
    "no colours": lambda: b"GIF89a\x40\0\x40\0\0\0\0" + gif(PLAIN, SIDE)[781:],
}


@pytest.mark.parametrize("kind", HOSTILE)
def test_hostile_files_are_refused(tmp_path, kind):
    path = tmp_path / "a.gif"
    path.write_bytes(HOSTILE[kind]())
    with pytest.raises(PictureError, match=r"^a\.gif is damaged or cut short; [^\n]+\.$"):
        load_picture(PictureFile(path))


@pytest.mark.parametrize("cut", [12, 500, 790, 800, 1200, -2])
def test_a_file_cut_anywhere_is_refused(tmp_path, cut):
    noise = np.random.default_rng(5).integers(0, 256, SIDE, np.uint8)
    stream = io.BytesIO()
    Image.fromarray(noise).save(stream, "GIF")
    path = tmp_path / "a.gif"
    path.write_bytes(stream.getvalue()[:cut])
    with pytest.raises(PictureError, match="damaged or cut short"):
        load_picture(PictureFile(path))


def test_a_limit_that_another_program_set_is_no_crash(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    path = tmp_path / "a.gif"
    path.write_bytes(gif(PLAIN, SIDE))
    with pytest.raises(PictureError, match="damaged or cut short"):
        load_picture(PictureFile(path))


def test_without_pillow_only_gif_is_missing(tmp_path, monkeypatch):
    for name in ("a.gif", "a.png"):
        stream = io.BytesIO()
        Image.fromarray(np.full((64, 64), 200, np.uint8)).save(stream, name[2:])
        (tmp_path / name).write_bytes(stream.getvalue())
    monkeypatch.setitem(sys.modules, "PIL", None)
    assert load_picture(PictureFile(tmp_path / "a.png")).pixels.shape == (64, 64, 4)
    with pytest.raises(MissingPackage, match=r"^The Python package Pillow is missing: install the"):
        pipeline.run(Request(PictureFile(tmp_path / "a.gif"), device="cpu"), lambda *_: None)
