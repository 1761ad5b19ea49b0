"""What a night's work meets: odd files in the way, two batches at once, pictures that change."""

import errno
import json
import os
import signal
import socket
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
cv2 = pytest.importorskip("cv2")

from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.errors import OutputError, PictureError
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.operators.batch import formats, lock
from image_to_mesh.operators.batch.failures import OutputUnusable
from image_to_mesh.operators.batch.folder import carry_out, of_pictures
from image_to_mesh.operators.batch.inputs import picture_fingerprint, pictures_in
from image_to_mesh.operators.batch.names import plan_outputs
from image_to_mesh.operators.command import run_cli

unix_only = pytest.mark.skipif(sys.platform == "win32", reason="no such files there")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    for name in ("a.png", "b.png"):
        (path / name).write_bytes(name.encode())
    return path


@pytest.fixture
def output(tmp_path):
    return tmp_path / "out"


def convert(folder, output, file_format="ply", **options):
    plans = plan_outputs(pictures_in(folder), output)
    return carry_out(plans, of_pictures(Request(PictureFile(Path()))), file_format, **options)


def statuses(outcomes):
    return [outcome.status for outcome in outcomes]


@pytest.fixture
def impatient():
    """Whoever waits for a pipe's other end waits for ever: end the test instead."""

    def give_up(_number, _frame):
        raise TimeoutError

    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


# --- the log ------------------------------------------------------------------------------------


def lay_link(path):
    target = path.parent / "elsewhere.txt"
    target.write_text("precious\n")
    path.symlink_to(target)


def lay_dangling_link(path):
    path.symlink_to(path.parent / "nowhere" / "file")


def lay_pipe(path):
    os.mkfifo(path)


def lay_folder(path):
    path.mkdir()


def lay_socket(path):
    with socket.socket(socket.AF_UNIX) as made:
        os.chdir(path.parent)  # the names of sockets are short
        made.bind(path.name)


@unix_only
@pytest.mark.parametrize(
    "lay", [lay_link, lay_dangling_link, lay_pipe, lay_folder, lay_socket], ids=lambda f: f.__name__
)
def test_a_log_that_is_no_file_is_neither_waited_for_nor_followed(
    pipeline, folder, output, impatient, capsys, monkeypatch, lay
):
    monkeypatch.chdir(Path.cwd())
    output.mkdir()
    lay(output / "batch.jsonl")
    kind = (output / "batch.jsonl").lstat().st_mode
    assert run_cli([str(folder), "-o", str(output), "--format", "ply"]) == 0
    assert "batch.jsonl is no ordinary file: the log goes to" in capsys.readouterr().err
    lines = [json.loads(line) for line in (output / "batch-2.jsonl").read_text().splitlines()]
    assert [line["status"] for line in lines] == ["done", "done"]
    assert (output / "batch.jsonl").lstat().st_mode == kind
    if lay is lay_link:
        assert (output / "elsewhere.txt").read_text() == "precious\n"
    assert not (output / "nowhere").exists()


def test_a_log_whose_last_line_was_cut_goes_on_with_a_new_one(pipeline, folder, output):
    output.mkdir()
    (output / "batch.jsonl").write_text('{"picture": "a.png", "sta')
    convert(folder, output)
    lines = (output / "batch.jsonl").read_text().splitlines()
    assert len(lines) == 3
    assert [json.loads(line)["status"] for line in lines[1:]] == ["done", "done"]


# --- what lies in the way -----------------------------------------------------------------------


@unix_only
@pytest.mark.parametrize("lay", [lay_pipe, lay_folder, lay_dangling_link], ids=lambda f: f.__name__)
@pytest.mark.parametrize("name", ["a.ply", "a.json"])
def test_what_is_no_file_is_one_pictures_error(pipeline, folder, output, impatient, lay, name):
    output.mkdir()
    lay(output / name)
    kind = (output / name).lstat().st_mode
    assert statuses(convert(folder, output)) == ["error", "done"]
    assert (output / name).lstat().st_mode == kind
    outcomes = convert(folder, output, overwrite=True)
    if lay is lay_folder:
        assert statuses(outcomes) == ["error", "done"]
        assert "is a folder, so no file can be written there" in outcomes[0].message
    else:
        assert statuses(outcomes) == ["done", "done"]


def test_a_result_that_was_changed_since_is_not_vouched_for(pipeline, folder, output):
    convert(folder, output, "obj")
    for name in ("a.obj", "b_Base_Color.png"):
        data = (output / name).read_bytes()
        (output / name).write_bytes(data[:-3] + b"XYZ")
    outcomes = convert(folder, output, "obj")
    assert statuses(outcomes) == ["error", "error"]
    assert "a.obj is no longer the file that was made of a.png" in outcomes[0].message
    assert statuses(convert(folder, output, "obj", overwrite=True)) == ["done", "done"]


@pytest.mark.parametrize("name", ["a.obj", "a.mtl", "a_Normal.png"])
def test_a_result_with_a_part_missing_is_made_anew(pipeline, folder, output, name):
    convert(folder, output, "obj")
    (output / name).unlink()
    assert statuses(convert(folder, output, "obj")) == ["done", "skipped"]
    assert (output / name).is_file()


def test_records_of_older_versions_are_still_good(pipeline, folder, output):
    convert(folder, output)
    for path in output.glob("*.json"):
        record = json.loads(path.read_text())
        del record["files"]
        path.write_text(json.dumps(record))
    assert statuses(convert(folder, output)) == ["skipped", "skipped"]


# --- pictures -----------------------------------------------------------------------------------


def test_hidden_files_are_no_pictures(pipeline, folder, output):
    (folder / "._a.png").write_bytes(b"\0\5\x16\7")  # as a Mac leaves it on other disks
    (folder / ".hidden.png").write_bytes(b"x")
    assert [p.name for p in pictures_in(folder)] == ["a.png", "b.png"]


@pytest.mark.parametrize("file_format", sorted(formats.SUFFIXES))
def test_a_folder_of_pictures_may_take_the_results(pipeline, folder, file_format):
    before = {p.name: p.read_bytes() for p in folder.iterdir()}
    assert statuses(convert(folder, folder, file_format)) == ["done", "done"]
    assert statuses(convert(folder, folder, file_format)) == ["skipped", "skipped"]
    assert statuses(convert(folder, folder, file_format, overwrite=True)) == ["done", "done"]
    assert {n: (folder / n).read_bytes() for n in before} == before
    assert len(pipeline.requests) == 4


def test_textures_of_older_versions_are_no_pictures_either(pipeline, folder):
    convert(folder, folder, "obj")
    for path in folder.glob("*.json"):
        record = json.loads(path.read_text())
        del record["files"]
        path.write_text(json.dumps(record))
    assert [p.name for p in pictures_in(folder)] == ["a.png", "b.png"]


def change(folder, name, data):
    """Have a picture changed while it is worked on, after it was read."""

    def act(result):
        path = folder / name
        path.unlink() if data is None else path.write_bytes(data)
        return result

    return act


def test_a_picture_that_vanishes_after_it_was_read_is_done(pipeline, folder, output, monkeypatch):
    from dataclasses import replace

    sha = picture_fingerprint(folder / "a.png")
    vanish = change(folder, "a.png", None)

    def as_read(result):
        return replace(vanish(result), picture_sha256=sha) if result.name == "a" else result

    pipeline.change = as_read
    assert statuses(convert(folder, output)) == ["done", "done"]
    assert json.loads((output / "a.json").read_text())["picture_sha256"] == sha


def test_a_record_tells_the_picture_that_was_read_not_the_one_that_is_there_later(
    pipeline, folder, output
):
    from dataclasses import replace

    sha = picture_fingerprint(folder / "a.png")
    later = change(folder, "a.png", b"another picture")

    def as_read(result):
        return replace(later(result), picture_sha256=sha) if result.name == "a" else result

    pipeline.change = as_read
    convert(folder, output)
    assert json.loads((output / "a.json").read_text())["picture_sha256"] == sha
    outcomes = convert(folder, output)
    assert statuses(outcomes) == ["error", "skipped"]
    assert "from an older a.png" in outcomes[0].message


def test_a_picture_is_hashed_as_it_is_read(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.full((32, 32, 3), 90, np.uint8))
    picture = load_picture(PictureFile(path))
    assert picture.sha256 == picture_fingerprint(path)


@unix_only
def test_a_picture_that_is_gone_or_a_pipe_is_a_sentence(pipeline, folder, output, impatient):
    convert(folder, output)
    (folder / "a.png").unlink()
    os.mkfifo(folder / "a.png")
    plans = plan_outputs([folder / "a.png", folder / "b.png"], output)
    assign = of_pictures(Request(PictureFile(Path())))
    first, second = carry_out(plans, assign, "ply")
    assert first.message == "a.png is not a regular file; choose a picture file."
    assert second.status == "skipped"
    (folder / "a.png").unlink()
    first, _second = carry_out(plans, assign, "ply")
    assert "cannot be read (No such file or directory)" in first.message
    with pytest.raises(PictureError, match="cannot be read"):
        picture_fingerprint(Path("a\0b.png"))


@unix_only
def test_a_folder_that_may_not_be_read_is_a_sentence(monkeypatch, tmp_path):
    def refuse(_self):
        raise PermissionError(errno.EACCES, "Permission denied")

    monkeypatch.setattr(Path, "iterdir", refuse)
    with pytest.raises(OutputError, match=r"cannot be read \(Permission denied\): choose another"):
        pictures_in(tmp_path)


# --- two at once --------------------------------------------------------------------------------


def test_the_second_batch_on_a_folder_is_told_that_it_is_busy(pipeline, folder, output, capsys):
    output.mkdir()
    stale = output / ".image_to_mesh-of_the_first"
    stale.mkdir()
    with lock.lock_folder(output):
        assert run_cli([str(folder), "-o", str(output), "--format", "ply"]) == 1
        (line,) = capsys.readouterr().err.splitlines()
        assert "Another batch is writing to" in line
        assert "wait until it has ended, or choose another output folder." in line
        with pytest.raises(OutputUnusable, match="Another batch is writing to"):
            convert(folder, output)
        assert pipeline.requests == []
        assert stale.is_dir()
        assert run_cli([str(folder), "-o", str(output / "other"), "--format", "ply"]) == 0
    assert run_cli([str(folder), "-o", str(output), "--format", "ply"]) == 0
    assert not list(output.glob(".*"))


def test_a_batch_that_loses_its_lock_file_keeps_others_out(pipeline, folder, output):
    """Whoever held it before may delete it while we wait for it."""
    output.mkdir()
    with lock.lock_folder(output) as held:
        (output / lock.LOCK_NAME).unlink()
        with pytest.raises(OutputUnusable, match="is gone or was exchanged"):
            held.require()


def test_a_disk_without_locks_is_used_all_the_same(pipeline, folder, output, monkeypatch):
    fcntl = pytest.importorskip("fcntl")

    def refuse(_file, _how):
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(fcntl, "flock", refuse)
    output.mkdir()
    others = output / ".image_to_mesh-of_another"  # perhaps at work: it must stay
    others.mkdir()
    assert statuses(convert(folder, output)) == ["done", "done"]
    assert others.is_dir()


# --- the terminal -------------------------------------------------------------------------------


def test_a_reader_who_leaves_does_not_end_the_batch(pipeline, folder, output, monkeypatch):
    class Gone:
        encoding = "ascii"

        def write(self, _text):
            raise BrokenPipeError

        def flush(self):
            raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    assert run_cli([str(folder), "-o", str(output), "--format", "ply"]) == 0


def test_a_program_without_a_console_works_in_silence(pipeline, folder, output, monkeypatch):
    monkeypatch.setattr(sys, "stdout", None)
    assert run_cli([str(folder), "-o", str(output), "--format", "ply"]) == 0


def test_a_terminal_without_our_letters_shows_their_numbers(
    pipeline, tmp_path, output, monkeypatch
):
    import io

    picture = tmp_path / "椅子.png"
    picture.write_bytes(b"x")
    told = io.TextIOWrapper(io.BytesIO(), encoding="ascii")
    monkeypatch.setattr(sys, "stdout", told)
    assert run_cli([str(picture), "-o", str(output), "--format", "ply"]) == 0
    told.seek(0)
    assert r"\u6905\u5b50.png -> " in told.read()
