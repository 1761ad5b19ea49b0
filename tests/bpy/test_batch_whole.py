"""A file that was not written to its end is never called done."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.operators.batch import failures, formats, staging, whole
from image_to_mesh.operators.batch.folder import carry_out, of_pictures
from image_to_mesh.operators.batch.names import plan_outputs

FORMATS = sorted(formats.SUFFIXES)
CHILD = Path(__file__).with_name("batch_child.py")


@pytest.fixture
def folder(tmp_path):
    path = tmp_path / "pictures"
    path.mkdir()
    (path / "a.png").write_bytes(b"a")
    return path


def convert(folder, output, file_format, **options):
    plans = plan_outputs(sorted(folder.iterdir()), output)
    return carry_out(plans, of_pictures(Request(PictureFile(Path()))), file_format, **options)


def mesh_counts(record):
    triangles = 12
    return whole.Counts(record["vertices"], record["faces"], triangles)


@pytest.mark.parametrize("file_format", FORMATS)
def test_every_file_that_was_cut_short_is_told_from_a_whole_one(
    pipeline, folder, tmp_path, file_format
):
    (outcome,) = convert(folder, tmp_path / "out", file_format)
    assert outcome.status == "done", outcome.message
    record = json.loads((tmp_path / "out" / "a.json").read_text())
    names = [n for n in record["files"] if not n.endswith(".mtl")]  # written and counted by us
    for name in names:
        path = tmp_path / "out" / name
        data = path.read_bytes()
        assert whole.is_whole(path, mesh_counts(record)), name
        step = max(1, len(data) // 100)
        cut = tmp_path / f"cut{path.suffix}"
        for length in {*range(0, len(data), step), *range(max(0, len(data) - 64), len(data))}:
            cut.write_bytes(data[:length])
            assert not whole.is_whole(cut, mesh_counts(record)), (name, length, len(data))


@pytest.mark.skipif(sys.platform == "win32", reason="Windows limits no file's size")
def test_files_that_the_system_cuts_short_are_errors_in_every_format(folder, tmp_path):
    """A limit on the size of files, as ulimit -f sets it, in a process like Blender's own."""
    (folder / "b.png").write_bytes(b"b")
    jobs = []
    for file_format in FORMATS:
        argv = [str(folder), "-o", str(tmp_path / file_format), "--format", file_format]
        jobs.append({"argv": argv, "limit": 20_000})
        jobs.append({"argv": argv})
    command = [sys.executable, str(CHILD), *map(json.dumps, jobs)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert run.returncode == 0, run.stderr[-2000:]
    statuses = [line for line in run.stdout.splitlines() if line.startswith("status ")]
    assert statuses == ["status 1", "status 0"] * len(FORMATS)
    for file_format in FORMATS:
        output = tmp_path / file_format
        log = [json.loads(line) for line in (output / "batch.jsonl").read_text().splitlines()]
        assert [line["status"] for line in log] == ["error"] * 2 + ["done"] * 2, file_format
        for line in log[:2]:
            assert "larger than this system allows" in line["message"], file_format
        assert not [p.name for p in output.iterdir() if p.name.startswith(".")]
        for line in log[2:]:
            record = json.loads(Path(line["output"]).with_suffix(".json").read_text())
            for name, facts in record["files"].items():
                assert staging.facts_of(output / name) == staging.FileFacts(**facts)


def cutting(writer, length):
    """An exporter that writes only a part and says nothing, as some of Blender's do."""

    def write(path, *rest):
        writer(path, *rest)
        path.write_bytes(path.read_bytes()[:length])

    return write


@pytest.mark.parametrize("file_format", FORMATS)
def test_a_cut_file_leaves_nothing_and_can_be_made_again(
    pipeline, folder, tmp_path, monkeypatch, file_format
):
    output = tmp_path / "out"
    with monkeypatch.context() as patch:
        writer = formats._WRITERS[file_format]
        patch.setitem(formats._WRITERS, file_format, cutting(writer, 300))
        (outcome,) = convert(folder, output, file_format)
    assert outcome.status == "error"
    assert "was not written whole: check the disk" in outcome.message
    assert [p.name for p in output.iterdir()] == ["batch.jsonl"]
    (outcome,) = convert(folder, output, file_format)
    assert outcome.status == "done"


def test_a_texture_that_was_cut_is_noticed_too(pipeline, folder, tmp_path, monkeypatch):
    writer = formats._WRITERS["usd"]

    def write(path, *rest):
        writer(path, *rest)
        texture = next((path.parent / "textures").iterdir())
        texture.write_bytes(texture.read_bytes()[:-20])

    monkeypatch.setitem(formats._WRITERS, "usd", write)
    (outcome,) = convert(folder, tmp_path / "out", "usd")
    assert outcome.status == "error"
    assert "was not written whole" in outcome.message


def test_what_is_found_out_only_when_the_disk_is_asked_is_an_error(
    pipeline, folder, tmp_path, monkeypatch
):
    """Shares and quotas may refuse long after the program believes that all is written."""

    def refuse(_file):
        raise OSError(failures.errno.EDQUOT, "Disk quota exceeded")

    monkeypatch.setattr(staging.os, "fsync", refuse)
    with pytest.raises(failures.OutputUnusable, match="is full: free some space"):
        convert(folder, tmp_path / "out", "ply")
    assert not list((tmp_path / "out").iterdir())


def test_an_output_folder_that_vanishes_stops_the_batch(pipeline, folder, tmp_path):
    for name in "bc":
        (folder / f"{name}.png").write_bytes(b"x")
    output = tmp_path / "out"

    def unmount(outcome):
        if outcome.picture.endswith("a.png"):
            output.rename(tmp_path / "elsewhere")
            output.mkdir()

    with pytest.raises(failures.OutputUnusable, match="is gone or was exchanged"):
        convert(folder, output, "ply", on_outcome=unmount)
    assert len(pipeline.requests) == 1
