"""Whatever pictures are called: results stay in their folder, apart from each other."""

import json
import os
import sys
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators import session
from image_to_mesh.operators.batch import formats
from image_to_mesh.operators.batch.names import plan_outputs
from image_to_mesh.operators.command import run_cli

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
HOSTILE = [
    rb"..\..\precious.png", rb"up\..\..\precious.png", rb"a\b.png", b"caf\xe9.png", b"x" * 251 + b".png", b"con.png",
    b".png.png", "rtl\u202egpj.png".encode(), b"new\nline.png", b"a:b.png", b"what?.png",
    b"dot..png", b" .png", b"-o.png", b"#.png", b"L" * 70 + b"one.png", b"L" * 70 + b"two.png",
]  # fmt: skip


@pytest.fixture
def deep(tmp_path):
    """A folder far enough down that nothing escapes the test's own, with a file beside the way."""
    folder = tmp_path / "one" / "two" / "three"
    folder.mkdir(parents=True)
    return folder


def contents(folder):
    return {p.relative_to(folder): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@unix_only
@pytest.mark.parametrize("file_format", sorted(formats.SUFFIXES))
def test_no_name_leaves_the_folder_or_stops_the_batch(pipeline, deep, capsys, file_format):
    pictures, output = deep / "in", deep / "out"
    for place in (pictures, output):
        place.mkdir()
    for name in HOSTILE:
        Path(os.fsdecode(os.fsencode(pictures) + b"/" + name)).write_bytes(b"x")
    suffix = formats.SUFFIXES[file_format]
    for above in (deep, deep.parent, output):
        (above / f"precious{suffix}").write_text("precious")
    before = contents(deep.parents[1])
    hidden = str(pictures / r"..\..\precious.png")  # passed over in a folder, unless it is named
    arguments = [str(pictures), hidden, "-o", str(output), "--format", file_format]
    assert run_cli(arguments) == 0
    assert run_cli(arguments) == 0  # and it goes on from there
    after = contents(deep.parents[1])
    inside = output.relative_to(deep.parents[1])
    assert {p: d for p, d in after.items() if p in before} == before
    assert all(p.is_relative_to(inside) for p in after.keys() - before.keys())
    seen = len(HOSTILE) - 1  # one is hidden
    assert sum(p.suffix == suffix for p in after.keys() - before.keys()) == seen
    for path in (path for path in after if path.is_relative_to(inside)):
        assert all(len(part.encode()) <= 255 for part in path.parts)
        assert not set(path.name) & set('<>:"\\|?*\n\u202e')
    log = (output / "batch.jsonl").read_bytes().decode()
    assert "\u202e" not in log
    lines = [json.loads(line) for line in log.splitlines()]
    assert [line["status"] for line in lines] == ["done"] * seen + ["skipped"] * seen
    assert any(line["picture"].endswith("rtl\u202egpj.png") for line in lines)
    assert any(line["picture"].endswith(r"caf\xe9.png") for line in lines)
    told = capsys.readouterr().out
    assert r"rtl\u202egpj.png -> " in told
    assert "\u202e" not in told


@pytest.mark.parametrize("file_format", ["obj", "usd"])
def test_textures_of_like_names_are_files_of_their_own(pipeline, deep, file_format):
    pictures, output = deep / "in", deep / "out"
    pictures.mkdir()
    for name in ("my chair.png", "my_chair.png", "MY chair.jpg"):
        (pictures / name).write_bytes(name.encode())
    assert run_cli([str(pictures), "-o", str(output), "--format", file_format, "--overwrite"]) == 0
    records = [json.loads(p.read_text()) for p in output.glob("*.json")]
    assert len(records) == 3
    names = [name.casefold() for record in records for name in record["files"]]
    assert len(names) == len(set(names)) >= 12


def test_plans_are_apart_on_the_most_careless_disk(tmp_path):
    names = ["my chair.png", "my_chair.png", "e\u0301.png", "\u00c9.png", "a.png", "a.jpg"]
    stems = [plan.stem for plan in plan_outputs([tmp_path / n for n in names], tmp_path / "out")]
    assert stems[:2] == ["my chair", "my_chair_2"]
    assert stems[4:] == ["a_png", "a_jpg"]
    assert len({s.casefold() for s in stems}) == 6


def test_a_picture_is_never_replaced_by_a_texture(pipeline, deep):
    """The texture of chair.png would be called as the other picture is."""
    for name in ("chair.png", "chair_Base_Color.png"):
        (deep / name).write_bytes(name.encode())
    assert run_cli([str(deep), "-o", str(deep), "--format", "obj", "--overwrite"]) == 0
    assert (deep / "chair_Base_Color.png").read_bytes() == b"chair_Base_Color.png"
    assert len(list(deep.glob("*.obj"))) == 2
    # Named by the artist, it is an error instead.
    one = [str(deep / "chair_Base_Color.png"), "-o", str(deep / "chair.obj"), "--overwrite"]
    assert run_cli(one) == 1
    assert (deep / "chair_Base_Color.png").read_bytes() == b"chair_Base_Color.png"


def test_names_and_folders_that_blender_would_change_are_refused(pipeline, deep, capsys):
    (deep / "a.png").write_bytes(b"x")
    picture = str(deep / "a.png")
    assert run_cli([picture, "-o", str(deep / ("n" * 240 + ".glb"))]) == 1
    assert "is too long" in capsys.readouterr().err
    assert run_cli([picture, "-o", str(deep / "/".join(["folder" * 30] * 5))]) == 1
    assert "is too long for Blender: choose another output folder." in capsys.readouterr().err
    assert pipeline.requests == []


@unix_only
def test_a_folder_with_a_backslash_is_refused(pipeline, deep, capsys):
    (deep / "a.png").write_bytes(b"x")
    assert run_cli([str(deep / "a.png"), "-o", str(deep / r"..\out")]) == 1
    assert "has a backslash in its name" in capsys.readouterr().err
    assert run_cli([str(deep / "a.png"), "-o", str(deep / r"a\b.blend")]) == 0
    assert (
        deep / r"a\b.blend"
    ).is_file()  # the name is the artist's own, and Blender never sees it
    assert [p.name for p in deep.parent.iterdir()] == [deep.name]


@unix_only
def test_a_path_that_is_no_path_is_an_error_of_that_picture(pipeline, deep, capsys):
    (deep / "good.png").write_bytes(b"x")
    arguments = ["n" * 300 + ".png", str(deep / "good.png"), "-o", str(deep / "out")]
    assert run_cli([*arguments, "--format", "ply"]) == 1
    assert "cannot be read (File name too long)" in capsys.readouterr().err
    assert (deep / "out" / "good.ply").is_file()


@unix_only
@pytest.mark.parametrize("name", [b"caf\xe9.png", "rtl\u202egpj.png".encode(), rb"a\b.png"])
def test_the_button_shows_such_names_too(pipeline, deep, name):
    path = os.fsencode(deep) + b"/" + name
    Path(os.fsdecode(path)).write_bytes(b"x")
    assert bpy.ops.image_to_mesh.generate(filepath=os.fsdecode(path)) == {"FINISHED"}
    made = bpy.context.object
    shown = {b"caf\xe9.png": r"caf\xe9", rb"a\b.png": r"a\b"}.get(name, r"rtl\u202egpj")
    assert made.name == shown
    assert made["image_to_mesh_picture"] == f"{shown}.png"
    assert not any("\u202e" in line or "\udce9" in line for line in session.last_summary)
    for image in bpy.data.images:
        if image.source == "FILE":
            assert not set(image.filepath_raw.removeprefix("//")) & set('/\\:"\u202e')
