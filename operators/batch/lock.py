"""One batch at a time in an output folder."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from .failures import OutputUnusable, writing_to

if sys.platform == "win32":
    import msvcrt
else:
    import fcntl

LOCK_NAME = ".image_to_mesh.lock"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_TAKEN = {errno.EAGAIN, errno.EACCES, errno.EWOULDBLOCK, errno.EDEADLK}


@dataclass(frozen=True, slots=True)
class FolderLock:
    """A folder that is ours.

    Attributes:
        folder: The folder.
        is_certain: Nobody else is at work there. False on disks that know no locks.
    """

    folder: Path
    is_certain: bool
    _file: int

    def require(self) -> None:
        """Make sure that the folder is still the same one.

        Raises:
            OutputUnusable: It was deleted or unmounted.
        """
        if not _is_file_at(self._file, self.folder / LOCK_NAME):
            raise OutputUnusable(
                f"{self.folder} is gone or was exchanged while it was written to: check its disk or"
                " share and run the same again."
            )


@contextmanager
def lock_folder(folder: Path) -> Iterator[FolderLock]:
    """Make a folder if need be, and keep other batches out of it.

    The system itself ends the lock of a process that dies, so that no lock is ever left behind.

    Raises:
        OutputUnusable: Another batch is at work there, or the folder cannot be written to.
    """
    path = folder / LOCK_NAME
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        file, is_certain = _acquire(path)
    try:
        yield FolderLock(folder, is_certain, file)
    finally:
        try:
            with suppress(OSError):  # while it is still locked; Windows deletes no open file
                if _is_file_at(file, path):
                    path.unlink()
        finally:
            os.close(file)
        if sys.platform == "win32":
            with suppress(OSError):
                path.unlink()


def _acquire(path: Path) -> tuple[int, bool]:
    while True:
        file = os.open(path, os.O_RDWR | os.O_CREAT | _NO_LINK, 0o666)
        try:
            is_certain = _lock(file, path.parent)
            # Whoever held it before may have deleted the file between our two steps.
            if _is_file_at(file, path):
                return file, is_certain
        except BaseException:
            os.close(file)
            raise
        os.close(file)


def _lock(file: int, folder: Path) -> bool:
    """Lock an open file; False where that is not possible."""
    try:
        if sys.platform == "win32":
            msvcrt.locking(file, msvcrt.LK_NBLCK, 1)
        else:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        if error.errno in _TAKEN:
            raise OutputUnusable(
                f"Another batch is writing to {folder}: wait until it has ended, or choose another"
                " output folder."
            ) from error
        return False
    return True


def _is_file_at(file: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), path.lstat())
    except OSError:
        return False
