"""Folders for what another process must see, gone when they are no longer needed, whatever happens.

Each lies in the system's temporary folder, is named after this program and its process, and holds a
locked file. The system unlocks it when the process ends, in whichever way: so a folder whose file can be
locked belongs to nobody, and ``sweep`` removes it.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

PREFIX = "image_to_mesh-"
LOCK = "in_use"
UNLOCKED_FOR = 3600.0  # seconds after which a folder without a locked file was never finished
_NAME = re.compile(rf"{re.escape(PREFIX)}\d+-\w{{8}}")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """An empty folder, removed at the end; what others have left behind is removed first."""
    sweep()
    folder = Path(tempfile.mkdtemp(prefix=f"{PREFIX}{os.getpid()}-"))
    try:
        with (folder / LOCK).open("wb") as lock:
            _lock(lock)
            inside = folder / "work"
            inside.mkdir()
            yield inside
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep_aside() -> None:
    """Remove, on a thread of its own, what processes have left behind that were killed."""
    threading.Thread(target=sweep, name="image-to-mesh-sweep", daemon=True).start()


def sweep() -> None:
    """Remove what processes have left behind that were killed; never fails."""
    with contextlib.suppress(OSError), os.scandir(tempfile.gettempdir()) as entries:
        for entry in entries:
            if _NAME.fullmatch(entry.name) and _is_left_behind(entry):
                shutil.rmtree(entry.path, ignore_errors=True)


def _is_left_behind(entry: os.DirEntry[str]) -> bool:
    """Whether a folder belongs to no process that is alive. Folders of other people do not count."""
    try:
        if not entry.is_dir(follow_symlinks=False):
            return False
        seen = entry.stat(follow_symlinks=False)
        if hasattr(os, "getuid") and seen.st_uid != os.getuid():
            return False
        path = Path(entry.path) / LOCK
        if not path.exists():  # killed before it was locked, or being made at this very moment
            return time.time() - seen.st_mtime > UNLOCKED_FOR
        with path.open("r+b") as lock:
            return _lock(lock)
    except OSError:
        return False


def _lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; False when another process, or this one, has it locked."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
