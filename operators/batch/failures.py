"""What can go wrong with an output folder, in sentences."""

from __future__ import annotations

import errno
import os
import shutil
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from ...inference.errors import OutputError

FULL_DISK = 64 * 1024  # free bytes under which a failed or short write is blamed on the disk
_REFUSED = {errno.EACCES, errno.EPERM, errno.EROFS}
_FULL = {errno.ENOSPC, errno.EDQUOT}
# What Blender's exporters may hand on in words alone, without the number.
_NAMED = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, getattr(errno, "ESTALE", errno.EIO))


class OutputUnusable(OutputError):
    """Nothing more can be written to the output folder; going on is pointless."""


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn the system's refusals into sentences about the output folder.

    Raises:
        OutputError: When one file is larger than the system allows; others may be smaller.
        OutputUnusable: For everything else.
    """
    try:
        yield
    except OSError as error:
        number = error.errno if error.errno is not None else number_in(str(error))
        if number in _FULL:
            raise disk_full(folder) from error
        if number == errno.EFBIG:
            raise OutputError(
                "The file would be larger than this system allows for one file: raise that limit"
                " (ulimit -f; some disks allow 4 GB), or choose less Detail or a smaller Texture"
                " Size."
            ) from error
        if number in _REFUSED:
            raise OutputUnusable(
                f"{folder} cannot be written to: choose another output folder."
            ) from error
        raise OutputUnusable(
            f"{folder} cannot be used ({error.strerror or error}): choose another output folder."
        ) from error


@contextmanager
def refusals_as_errors() -> Iterator[None]:
    """Have the system report a file that grows too large and a reader that has gone as errors.

    By itself it ends the whole program, Blender included.
    """
    before = {}
    for name in ("SIGXFSZ", "SIGPIPE"):
        number = getattr(signal, name, None)
        if number is not None and threading.current_thread() is threading.main_thread():
            before[number] = signal.signal(number, signal.SIG_IGN)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, signal.SIG_DFL if handler is None else handler)


def require_room(path: Path, size: int) -> None:
    """Make sure that a file of so many bytes can be written.

    For exporters that end the whole program when they cannot write.

    Raises:
        OSError: It cannot.
    """
    if not hasattr(os, "posix_fallocate"):
        return
    with path.open("wb") as file:
        try:
            os.posix_fallocate(file.fileno(), 0, size)
        except OSError as error:
            if error.errno in {*_FULL, errno.EFBIG}:
                raise
    path.unlink()


def number_in(text: str) -> int | None:
    """The system's error number that a text gives in the system's own words; None without one."""
    return next((number for number in _NAMED if os.strerror(number) in text), None)


def disk_full(folder: Path) -> OutputUnusable:
    """The error for a disk without room, or a quota that is used up."""
    return OutputUnusable(
        f"The disk that holds {folder} is full: free some space and run the same again, finished"
        " pictures are kept."
    )


def is_full(folder: Path) -> bool:
    """Whether the disk has no room left for anything of use."""
    return shutil.disk_usage(folder).free < FULL_DISK
