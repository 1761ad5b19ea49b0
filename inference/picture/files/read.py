"""Read a picture's bytes from disk, with a sentence for everything that can go wrong."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from ...errors import PictureError

MAX_MEMORY_BYTES = 1_500_000_000  # for a file and all that decoding it takes
MAX_FILE_BYTES = MAX_MEMORY_BYTES // 2  # a file is held twice: as stored, and as decoders get it

_PIECE = 8 << 20


def read_start(path: Path, count: int) -> tuple[bytes, int]:
    """Read the first bytes of a file.

    Returns:
        At most ``count`` bytes, and the size of the whole file.

    Raises:
        PictureError: There is no such file, or it cannot be read.
    """
    name = name_of(path)
    with _sentences(path):
        info = path.stat()
        if stat.S_ISDIR(info.st_mode):
            raise PictureError(f"{name} is a folder; choose a picture file in it.")
        if not stat.S_ISREG(info.st_mode):
            raise PictureError(f"{name} is not a regular file; choose a picture file.")
        if info.st_size == 0:
            raise PictureError(f"{name} is empty (0 bytes); save or download it again.")
        with _without_length_limit(path).open("rb") as file:
            return file.read(count), info.st_size


def read_whole(path: Path, report: Callable[[], None], piece_bytes: int = _PIECE) -> bytes:
    """Read a file in pieces.

    Args:
        path: The file; ``read_start`` has found it in order.
        report: Called with every piece; raises to cancel.
        piece_bytes: Size of a piece. A file of several is in memory twice for a moment.

    Raises:
        PictureError: It is too large, or cannot be read.
    """
    pieces: list[bytes] = []
    length = 0
    with _sentences(path), _without_length_limit(path).open("rb", buffering=0) as file:
        while piece := file.read(piece_bytes):
            report()
            length += len(piece)
            if length > MAX_FILE_BYTES:
                raise too_large(path)
            pieces.append(piece)
    return pieces[0] if len(pieces) == 1 else b"".join(pieces)


def too_large(path: Path) -> PictureError:
    """Give the error for a file that is larger than any that is read."""
    return PictureError(f"{name_of(path)} is larger than 750 MB; scale it down and save it again.")


def name_of(path: Path) -> str:
    """What a file is called in messages."""
    return path.name or str(path)


@contextmanager
def _sentences(path: Path) -> Iterator[None]:
    """Turn what the system raises into sentences."""
    name = name_of(path)
    try:
        yield
    except (FileNotFoundError, NotADirectoryError) as error:
        raise PictureError(
            f"There is no file {path}; it may have been moved or renamed, so choose it again."
        ) from error
    except PermissionError as error:
        raise PictureError(
            f"{name} may not be read; give yourself permission to read it, or copy it elsewhere."
        ) from error
    except ValueError as error:
        raise PictureError("The picture's path contains a null character; choose it again.") from (
            error
        )
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            raise PictureError(
                f"The path of {name[:60]}... is too long for this system; move the picture."
            ) from error
        raise PictureError(
            f"{name} cannot be read ({error.strerror or error}); copy it to this computer's disk "
            "and try again."
        ) from error


def _without_length_limit(path: Path) -> Path:
    """Lift Windows' limit of 260 characters; other systems' paths stay as they are."""
    if os.name != "nt":
        return path
    text = str(path.absolute())
    if text.startswith("\\\\"):
        return path
    return Path("\\\\?\\" + text)
