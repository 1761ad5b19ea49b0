"""Large files on this computer's disk: whether there is room, what is in them, what went wrong."""

from __future__ import annotations

import errno
import hashlib
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ..errors import WeightsError

PIECE = 1 << 22  # bytes read at a time
SPARE = 100_000_000  # bytes that stay free on the disk
FULL_DISK = {errno.ENOSPC, errno.EDQUOT}
WINDOWS_FULL_DISK = {39, 112}  # ERROR_HANDLE_DISK_FULL, ERROR_DISK_FULL

Progress = Callable[[int, int | None], None]


def require_space(folder: Path, needed: int) -> None:
    """Make sure that the disk has room.

    Raises:
        WeightsError: It has not, or cannot be asked.
    """
    with told_failures(folder):
        free = shutil.disk_usage(folder).free
    if needed + SPARE > free:
        raise WeightsError(
            f"{(needed + SPARE) / 1e9:.1f} GB are needed in {folder}, and {free / 1e9:.1f} GB are free:"
            " free some space or choose another Models Folder in the preferences."
        )


def hash_file(path: Path, progress: Progress) -> str:
    """The sha256 of a file; ``progress`` is called for every piece and raises to stop.

    Raises:
        WeightsError: It cannot be read.
    """
    digest, have = hashlib.sha256(), 0
    try:
        size = path.stat().st_size
        for piece in pieces(path):
            digest.update(piece)
            have += len(piece)
            progress(have, size)
    except OSError as error:
        raise WeightsError(
            f"{path} cannot be read ({error.strerror or error}): check its permissions and its disk, or"
            " use another file."
        ) from error
    return digest.hexdigest()


def pieces(path: Path) -> Iterator[bytes]:
    """What is in a file, in pieces."""
    with path.open("rb") as file:
        while piece := file.read(PIECE):
            yield piece


@contextmanager
def told_failures(folder: Path) -> Iterator[None]:
    """Turn what the file system raises into a ``WeightsError`` that names the folder."""
    try:
        yield
    except OSError as error:
        raise disk_failure(error, folder) from error


def disk_failure(error: OSError, folder: Path) -> WeightsError:
    """A sentence for what the file system raised."""
    if is_full_disk(error):
        return WeightsError(
            f"The disk of {folder} is full: free some space or choose another Models Folder in the"
            " preferences. A download goes on where it stopped."
        )
    reason = error.strerror or str(error)
    return WeightsError(
        f"{folder} cannot be written to ({reason}): choose another Models Folder in the preferences."
    )


def is_full_disk(error: OSError) -> bool:
    """Whether an error means that the disk is full."""
    return error.errno in FULL_DISK or getattr(error, "winerror", None) in WINDOWS_FULL_DISK
