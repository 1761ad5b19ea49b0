"""A batch that is killed at any moment neither blocks nor misleads the next one."""

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.operators.batch import staging
from image_to_mesh.operators.batch.folder import carry_out, of_pictures
from image_to_mesh.operators.batch.names import plan_outputs

CHILD = Path(__file__).with_name("batch_child.py")
STEPS = ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "mkdir"), (shutil, "rmtree"))


class Death(BaseException):
    """Stands in for SIGKILL: nothing of the run does anything afterwards."""


@pytest.fixture
def one(tmp_path):
    """A folder with one picture."""
    path = tmp_path / "pictures"
    path.mkdir()
    (path / "a.png").write_bytes(b"a")
    return path


@pytest.fixture
def folder(one):
    """A folder with two pictures."""
    (one / "b.png").write_bytes(b"b")
    return one


def convert(folder, output, file_format, **options):
    plans = plan_outputs(sorted(folder.iterdir()), output)
    request = Request(PictureFile(Path()))
    return [o.status for o in carry_out(plans, of_pictures(request), file_format, **options)]


def killed(monkeypatch, step, run, *arguments, **options):
    """Run until just before the n-th change of the disk; whether it came so far."""
    done = 0

    def mortal(function):
        def act(*arguments, **options):
            nonlocal done
            done += 1
            if done >= step:
                raise Death
            return function(*arguments, **options)

        return act

    with monkeypatch.context() as patch:
        for module, name in STEPS:
            patch.setattr(module, name, mortal(getattr(module, name)))
        try:
            run(*arguments, **options)
        except Death:
            return True
    return False


def assert_true_records(output):
    """Whatever JSON there is describes the very files beside it."""
    for path in output.glob("*.json"):
        for name, facts in json.loads(path.read_text())["files"].items():
            assert staging.facts_of(output / name) == staging.FileFacts(**facts), (path, name)


def visible(output):
    return sorted(p.relative_to(output).as_posix() for p in output.rglob("*") if p.is_file())


@pytest.mark.parametrize("file_format", ["obj", "usd"])
def test_a_first_run_that_is_killed_is_finished_by_the_next(
    pipeline, one, tmp_path, monkeypatch, file_format
):
    convert(one, tmp_path / "whole", file_format)
    wanted = visible(tmp_path / "whole")
    for step in range(1, 1000):
        output = tmp_path / f"out{step}"
        output.mkdir()
        if not killed(monkeypatch, step, convert, one, output, file_format):
            break
        assert_true_records(output)
        statuses = convert(one, output, file_format)
        assert set(statuses) <= {"done", "skipped"}, step
        assert visible(output) == wanted, step
        assert_true_records(output)
        shutil.rmtree(output)
    assert step > 10


def test_replacing_that_is_killed_leaves_no_old_record_beside_a_new_file(
    pipeline, one, tmp_path, monkeypatch
):
    """The new mesh has as many bytes as the old one, so that its size alone tells nothing."""
    first = tmp_path / "first"
    convert(one, first, "ply")

    def larger(result):
        return replace(result, mesh=replace(result.mesh, positions=result.mesh.positions * 2))

    for step in range(1, 1000):
        output = tmp_path / f"out{step}"
        shutil.copytree(first, output)
        pipeline.change = larger
        old = (output / "a.ply").read_bytes()
        if not killed(monkeypatch, step, convert, one, output, "ply", overwrite=True):
            break
        assert_true_records(output)
        # Resuming without leave to overwrite is not blocked, and keeps what is there.
        assert convert(one, output, "ply") == ["skipped"], step
        assert_true_records(output)
        assert not [p for p in output.iterdir() if p.name.startswith(".")]
        # With leave to do so, all are new in the end.
        assert convert(one, output, "ply", overwrite=True) == ["done"]
        assert (output / "a.ply").read_bytes() != old
        assert len((output / "a.ply").read_bytes()) == len(old)
        shutil.rmtree(output)
    assert step > 10


def test_a_process_that_is_killed_leaves_nothing_behind(folder, tmp_path):
    for step in (6, 12, 18):
        output = tmp_path / f"out{step}"
        argv = [str(folder), "-o", str(output), "--format", "obj", "-q"]
        job = json.dumps({"argv": argv, "die_at": step})
        command = [sys.executable, str(CHILD)]
        run = subprocess.run([*command, job], capture_output=True, timeout=300, check=False)
        assert run.returncode == -signal.SIGKILL
        again = [*command, json.dumps({"argv": argv})]
        run = subprocess.run(again, capture_output=True, text=True, timeout=300, check=False)
        assert "status 0" in run.stdout, run.stderr[-2000:]
        names = {p.name for p in output.iterdir()}
        assert {"a.obj", "a.json", "b.obj", "b.json", "batch.jsonl"} <= names
        assert not [name for name in names if name.startswith(".")]
        assert_true_records(output)


def test_the_remains_of_a_killed_run_are_swept(pipeline, folder, tmp_path):
    output = tmp_path / "out"
    stale = output / f"{staging.OPEN}abcd1234"
    (stale / "files").mkdir(parents=True)
    (stale / "files" / "a.ply").write_bytes(b"half a file")
    older = output / f"{staging.OPEN}old"  # as older versions left it
    older.mkdir()
    (older / "b.ply").write_bytes(b"half a file")
    assert convert(folder, output, "ply") == ["done", "done"]
    assert visible(output) == ["a.json", "a.ply", "b.json", "b.ply", "batch.jsonl"]
    assert not [p for p in output.iterdir() if p.name.startswith(".")]


def commit_halfway(pipeline, folder, output, monkeypatch):
    """Kill a run right after its commit, before anything is in place."""
    for step in range(1, 1000):
        shutil.rmtree(output, ignore_errors=True)
        output.mkdir()
        assert killed(monkeypatch, step, convert, folder, output, "obj")
        if list(output.glob(f"{staging.READY}*")):
            return
    raise AssertionError


def test_what_a_stranger_put_there_meanwhile_is_not_replaced(
    pipeline, folder, tmp_path, monkeypatch
):
    output = tmp_path / "out"
    commit_halfway(pipeline, folder, output, monkeypatch)
    (output / "a.mtl").write_text("precious")
    assert convert(folder, output, "obj") == ["error", "done"]
    assert (output / "a.mtl").read_text() == "precious"
    assert not (output / "a.obj").exists()
    assert not (output / "a.json").exists()
    assert not [p for p in output.iterdir() if p.name.startswith(".")]


def test_textures_of_a_killed_run_are_no_pictures(pipeline, one, monkeypatch):
    """Even when the killed run had moved only its textures into the folder of the pictures."""
    from image_to_mesh.operators.batch.inputs import pictures_in

    for step in range(1, 1000):
        for path in one.iterdir():
            if path.name != "a.png":
                shutil.rmtree(path) if path.is_dir() else path.unlink()

        def run():
            plans = plan_outputs(pictures_in(one), one)
            carry_out(plans, of_pictures(Request(PictureFile(Path()))), "obj")

        if not killed(monkeypatch, step, run):
            break
        assert [p.name for p in pictures_in(one)] == ["a.png"], step
    assert step > 10


def test_a_folder_of_a_strangers_that_looks_like_ours_changes_nothing_outside(
    pipeline, folder, tmp_path
):
    output = tmp_path / "out"
    ready = output / f"{staging.READY}evil"
    (ready / "files").mkdir(parents=True)
    (tmp_path / "precious").write_text("precious")
    (ready / "files" / "x").write_text("x")
    manifest = {"files": {"../precious": {}, "x": {}}, "replaces": ["../precious", "x"]}
    (ready / "manifest.json").write_text(json.dumps(manifest))
    convert(folder, output, "ply")
    assert (tmp_path / "precious").read_text() == "precious"
