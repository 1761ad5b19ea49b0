"""What can go wrong with an output folder, in sentences."""

from __future__ import annotations

import errno
import os
import shutil
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
