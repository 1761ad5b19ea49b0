"""Folders of pictures: going on, resuming, never overwriting, leaving nothing behind."""

import errno
import gc
import json
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators import session
from image_to_mesh.operators.batch import failures, formats, inputs, staging
from image_to_mesh.operators.batch import folder as batch
from image_to_mesh.operators.batch import names as batch_names


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "results"


def add_pictures(folder, *names):
    for name in names:
        (folder / name).write_bytes(name.encode())


def call(folder, output, **options):
    return bpy.ops.image_to_mesh.batch(
        directory=str(folder), output=str(output), **{"format": "PLY", **options}
    )


def log_of(output):
    return [json.loads(line) for line in (output / "batch.jsonl").read_text().splitlines()]


def names(output):
    return sorted(p.name for p in output.iterdir())


def test_a_bad_picture_in_the_middle_does_not_stop_the_rest(pipeline, folder, output):
    add_pictures(folder, "c.png", "bad.jpg", "a.webp")
    (folder / "notes.txt").write_text("not a picture")
    assert call(folder, output) == {"FINISHED"}
    assert names(output) == ["a.json", "a.ply", "batch.jsonl", "c.json", "c.ply"]
    log = log_of(output)
    assert [Path(line["picture"]).name for line in log] == ["a.webp", "bad.jpg", "c.png"]
    assert [line["status"] for line in log] == ["done", "error", "done"]
    assert log[1]["message"] == "The picture cannot be read: choose another."
    assert [line["faces"] for line in log] == [7, 0, 7]
    assert not any("details" in line for line in log)
    assert all(line["seconds"] >= 0 for line in log)


def test_it_resumes_where_it_stopped(pipeline, folder, output):
    add_pictures(folder, "a.png", "b.png")
    call(folder, output)
    before = (output / "a.ply").stat().st_mtime_ns
    add_pictures(folder, "c.png")
    (output / "b.ply").unlink()
    call(folder, output)
    assert [Path(r.source.path).name for r in pipeline.requests] == [
        "a.png", "b.png", "b.png", "c.png",
    ]  # fmt: skip
    assert [line["status"] for line in log_of(output)] == ["done"] * 2 + ["skipped", "done", "done"]
    assert log_of(output)[2]["faces"] == 7
    assert (output / "a.ply").stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"detail": "HIGH"}, "was made with other settings"),
        ({"format": "STL"}, "belongs to a ply file made earlier"),
    ],
)
def test_other_settings_do_not_replace_an_earlier_result(
    pipeline, folder, output, change, sentence
):
    add_pictures(folder, "a.png")
    call(folder, output)
    before = (output / "a.ply").read_bytes(), (output / "a.json").read_bytes()
    call(folder, output, **change)
    last = log_of(output)[-1]
    assert last["status"] == "error"
    assert sentence in last["message"]
    assert before == ((output / "a.ply").read_bytes(), (output / "a.json").read_bytes())
    call(folder, output, overwrite=True, **change)
    assert log_of(output)[-1]["status"] == "done"


def test_a_picture_that_changed_is_not_taken_for_finished(pipeline, folder, output):
    add_pictures(folder, "a.png")
    call(folder, output)
    (folder / "a.png").write_bytes(b"another picture")
    call(folder, output)
    assert "older a.png" in log_of(output)[-1]["message"]


@pytest.mark.parametrize("name", ["a.ply", "a.json"])
def test_a_strangers_file_is_never_replaced(pipeline, folder, output, name):
    add_pictures(folder, "a.png")
    output.mkdir()
    (output / name).write_text("precious")
    call(folder, output)
    (line,) = log_of(output)
    assert line["status"] == "error"
    assert f"{name} exists and was not made from a.png" in line["message"]
    assert (output / name).read_text() == "precious"
    assert pipeline.requests == []
    call(folder, output, overwrite=True)
    assert (output / name).read_text(errors="replace") != "precious"


def test_a_strangers_texture_is_not_replaced_either(pipeline, folder, output):
    add_pictures(folder, "a.png")
    output.mkdir()
    (output / "a.mtl").write_text("precious")
    call(folder, output, format="OBJ")
    assert "a.mtl exists already" in log_of(output)[0]["message"]
    assert names(output) == ["a.mtl", "batch.jsonl"]


def test_pictures_with_one_stem_get_files_of_their_own(pipeline, folder, output):
    add_pictures(folder, "a.png", "a.jpg", "A.bmp", "b.png", "a_png.png")
    call(folder, output)
    assert [n for n in names(output) if n.endswith(".ply")] == [
        "A_bmp.ply", "a_jpg.ply", "a_png.ply", "a_png_2.ply", "b.ply",
    ]  # fmt: skip
    call(folder, output)
    assert [line["status"] for line in log_of(output)][5:] == ["skipped"] * 5


def test_glb_exports_leave_no_images_in_memory(pipeline, folder, output):
    add_pictures(folder, *(f"{index}.png" for index in range(4)))
    gc.disable()
    try:
        call(folder, output, format="GLB")
        left = [o for o in gc.get_objects() if type(o).__name__ == "ExportImage"]
    finally:
        gc.enable()
    assert len(left) <= 3  # what the last export still holds, of twelve


def test_the_open_file_is_left_alone_and_memory_stays_flat(pipeline, folder, output):
    mine = bpy.data.materials.new("box Base Color")
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    add_pictures(folder, *(f"{index}.png" for index in range(4)))

    def counts():
        return {
            p.identifier: len(getattr(bpy.data, p.identifier))
            for p in bpy.data.bl_rna.properties
            if p.type == "COLLECTION"
        }

    before, scene = counts(), bpy.context.scene
    for file_format in ("GLB", "BLEND", "OBJ", "FBX", "USD", "STL", "PLY"):
        call(folder, output / file_format, format=file_format)
        assert counts() == before
    assert bpy.context.scene == scene
    assert bpy.context.object == cube
    assert mine.name == "box Base Color"
    assert session.last_summary == ()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "Give both folders"),
        ({"directory": "/nowhere/at/all", "output": "x"}, "is not a folder: give the folder"),
    ],
)
def test_what_cannot_start_says_why(pipeline, arguments, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.image_to_mesh.batch(**arguments)


def test_a_folder_without_pictures_says_so(pipeline, folder, output):
    with pytest.raises(RuntimeError, match="There is no picture in"):
        call(folder, output)


def failing(monkeypatch, number):
    def refuse(*_arguments, **_options):
        raise OSError(number, "refused")

    monkeypatch.setattr(staging.tempfile, "mkdtemp", refuse)


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.ENOSPC, "is full: free some space and run the same again"),
        (errno.EROFS, "cannot be written to: choose another output folder"),
        (errno.EACCES, "cannot be written to: choose another output folder"),
        (errno.EIO, r"cannot be used \(refused\): choose another output folder"),
    ],
)
def test_an_unusable_output_stops_everything(
    pipeline, folder, output, monkeypatch, number, sentence
):
    add_pictures(folder, "a.png", "b.png")
    failing(monkeypatch, number)
    with pytest.raises(RuntimeError, match=sentence):
        call(folder, output)
    assert len(pipeline.requests) == 1
    assert names(output) == []
    assert not bpy.data.meshes


def test_a_disk_that_fills_up_while_blender_writes_is_blamed(pipeline, folder, output, monkeypatch):
    add_pictures(folder, "a.png")

    def full(_folder):
        return type("Usage", (), {"free": 0})

    monkeypatch.setattr(failures.shutil, "disk_usage", full)
    monkeypatch.setitem(
        formats._WRITERS, "ply", lambda path, *_rest: path.write_bytes(b"ply\nformat ")
    )
    with pytest.raises(RuntimeError, match="is full: free some space"):
        call(folder, output)
    assert names(output) == []


def test_output_that_is_a_file_says_why(pipeline, folder, tmp_path):
    add_pictures(folder, "a.png")
    (tmp_path / "file").write_text("x")
    with pytest.raises(RuntimeError, match="choose another output folder"):
        call(folder, tmp_path / "file")


def exporter(error):
    def write(path, *_rest):
        if error is not None:
            raise error

    return write


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (AttributeError("gone"), "exporter for this format is switched off: enable it"),
        (
            RuntimeError("Error: broken pipe\nLocation: ops.py:109\n"),
            "could not export the result (broken pipe): try another format.",
        ),
        (RuntimeError(""), "could not export the result (no reason given)"),
        (None, "Blender wrote no ply file: try another format."),
        (KeyError("lost"), "hit a bug while writing the result"),
    ],
)
def test_a_failing_exporter_is_one_pictures_error(
    pipeline, folder, output, monkeypatch, error, sentence
):
    add_pictures(folder, "a.png", "b.png")
    monkeypatch.setitem(formats._WRITERS, "ply", exporter(error))
    call(folder, output)
    assert all(sentence in line["message"] for line in log_of(output))
    assert len(log_of(output)) == 2
    assert names(output) == ["batch.jsonl"]
    assert ("details" in log_of(output)[0]) == isinstance(error, KeyError)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("Traceback\nOSError: [Errno 28] No space left on device\nLocation: x"),
        OSError("Error: No space left on device\n"),  # as bpy.data.libraries.write says it
    ],
)
def test_an_exporter_that_names_the_full_disk_is_believed(
    pipeline, folder, output, monkeypatch, error
):
    add_pictures(folder, "a.png", "b.png")
    monkeypatch.setitem(formats._WRITERS, "ply", exporter(error))
    with pytest.raises(RuntimeError, match="is full: free some space"):
        call(folder, output)


def test_a_bug_in_a_run_is_logged_with_its_traceback(pipeline, folder, output):
    add_pictures(folder, "a.png")
    pipeline.error = KeyError("lost key")
    call(folder, output)
    (line,) = log_of(output)
    assert "hit a bug" in line["message"]
    assert "lost key" in line["details"]


def test_a_cancelled_run_is_logged(pipeline, folder, output):
    from image_to_mesh.inference.errors import RunCancelled

    add_pictures(folder, "a.png")
    pipeline.error = RunCancelled("Cancelled")
    call(folder, output)
    assert log_of(output)[0]["message"] == "The run was cancelled."


def test_progress_covers_the_whole_batch(pipeline, folder, output):
    add_pictures(folder, "a.png", "b.png")
    seen = []
    plans = batch_names.plan_outputs(inputs.pictures_in(folder), output)
    from image_to_mesh.inference.contracts import PictureFile, Request

    batch.carry_out(
        plans, batch.of_pictures(Request(PictureFile(Path()))), "ply",
        on_progress=lambda fraction, stage: seen.append((fraction, stage)),
    )  # fmt: skip
    fractions = [fraction for fraction, _stage in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] == 0.0
    assert 0.9 < fractions[-1] <= 1.0
    assert seen[-1][1].startswith("b.png: ")
