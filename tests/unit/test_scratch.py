"""What a job leaves on the computer when its process is killed, and who removes it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import pytest
from image_to_mesh.inference.running import scratch
from image_to_mesh.inference.views.cameras import estimate

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 60.0  # seconds; what is waited for takes a fraction of one

WORK_UNTIL_KILLED = """
import importlib.util, subprocess, sys, time
from pathlib import Path
root = Path(sys.argv[1])
spec = importlib.util.spec_from_file_location(
    "image_to_mesh", root / "__init__.py", submodule_search_locations=[str(root)]
)
sys.modules["image_to_mesh"] = importlib.util.module_from_spec(spec)
from image_to_mesh.inference.running.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "photo.jpg").write_bytes(bytes(1000))
    child = subprocess.Popen(
        [sys.executable, "-c", sys.argv[2], str(root)], stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    child.stdout.readline()
    print(folder, child.pid, flush=True)
    time.sleep(600)
"""
CHILD = """
import importlib.util, sys, time
spec = importlib.util.spec_from_file_location(
    "parent", f"{sys.argv[1]}/inference/views/cameras/parent.py"
)
parent = importlib.util.module_from_spec(spec)
spec.loader.exec_module(parent)
%s
parent.end_with_parent()
print("ready", flush=True)
time.sleep(600)
"""


@pytest.fixture
def temporary(tmp_path, monkeypatch) -> Path:
    """A temporary folder of its own, for this process and those it starts."""
    for name in ("TMPDIR", "TEMP", "TMP"):
        monkeypatch.setenv(name, str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    assert tempfile.gettempdir() == str(tmp_path)
    return tmp_path


def killed(child: str = CHILD % "") -> tuple[Path, int]:
    """A process with a folder and a child of its own, killed; the folder and the child's number."""
    command = [sys.executable, "-c", WORK_UNTIL_KILLED, str(ROOT), child]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        folder, _, number = process.stdout.readline().strip().rpartition(" ")
        process.kill()
    return Path(folder), int(number)


def is_alive(number: int) -> bool:
    """Whether a process is there and not merely waits to be forgotten."""
    try:
        os.kill(number, 0)
        state = Path(f"/proc/{number}/stat").read_text(encoding="ascii")
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return state.rpartition(")")[2].split()[0] != "Z"


def ends(number: int) -> bool:
    until = time.monotonic() + PATIENCE
    while is_alive(number) and time.monotonic() < until:
        time.sleep(0.02)
    return not is_alive(number)


def test_a_folder_is_gone_when_its_work_is_done_or_fails(temporary) -> None:
    with scratch.scratch_folder() as folder:
        assert folder.parent.name.startswith(f"image_to_mesh-{os.getpid()}-")
        assert folder.parent.parent == temporary
        assert not list(folder.iterdir())
    assert not list(temporary.iterdir())
    with contextlib.suppress(ZeroDivisionError), scratch.scratch_folder() as folder:
        (folder / "some").write_text("words", encoding="utf-8")
        raise ZeroDivisionError
    assert not list(temporary.iterdir())


@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
def test_what_a_killed_process_left_is_removed_by_the_next_one(temporary) -> None:
    folder, child = killed()
    assert (folder / "photo.jpg").is_file()
    scratch.sweep()
    assert not list(temporary.iterdir())
    assert ends(child)


@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
def test_enabling_removes_it_without_waiting(temporary) -> None:
    folder, _ = killed()
    before = set(threading.enumerate())
    scratch.sweep_aside()
    for thread in set(threading.enumerate()) - before:
        assert thread.daemon
        thread.join(PATIENCE)
    assert not folder.exists()


def test_what_is_in_use_or_not_ours_stays(temporary) -> None:
    strange = [
        "image_to_mesh-12-short",
        "image_to_mesh_abcdefgh",
        "other",
        "image_to_mesh-x-abcdefgh",
    ]
    for name in strange:
        (temporary / name).mkdir()
    (temporary / "image_to_mesh-1-abcdefgh").symlink_to(temporary / "other")
    just_made = temporary / "image_to_mesh-2-abcdefgh"  # not locked yet
    just_made.mkdir()
    forgotten = temporary / "image_to_mesh-3-abcdefgh"  # killed before it was locked
    forgotten.mkdir()
    os.utime(forgotten, (time.time() - 7200,) * 2)
    with scratch.scratch_folder() as folder:
        scratch.sweep()
        assert folder.is_dir()
        left = {path.name for path in temporary.iterdir()}
    assert left == {*strange, "image_to_mesh-1-abcdefgh", just_made.name, folder.parent.name}


@pytest.mark.skipif(os.name == "nt", reason="processes are killed otherwise there")
@pytest.mark.parametrize("without", ["", "parent.sys.platform = 'another'"])
def test_children_end_with_the_process_that_started_them(temporary, without) -> None:
    _, child = killed(CHILD % without)
    try:
        assert ends(child)
    finally:
        if is_alive(child):
            os.kill(child, signal.SIGKILL)


def test_the_process_for_cameras_lives_in_such_a_folder_and_hears_the_end(
    temporary, monkeypatch
) -> None:
    seen = {}

    def start(command, **options):
        seen["folder"] = Path(command[-1]).parent
        seen["stdin"] = options["stdin"]
        raise OSError("enough seen")

    monkeypatch.setattr(estimate, "is_available", lambda: True)
    monkeypatch.setattr(estimate, "_write_pictures", lambda *_: [])
    monkeypatch.setattr(estimate, "_job", lambda *_, **__: {})
    monkeypatch.setattr(estimate.subprocess, "Popen", start)
    with pytest.raises(OSError, match="enough seen"):
        estimate.estimate_cameras([object(), object()], 0, lambda *_: None)  # pyright: ignore[reportArgumentType]
    assert seen["folder"].parent.name.startswith("image_to_mesh-")
    assert seen["stdin"] == subprocess.PIPE
    assert not list(temporary.iterdir())
