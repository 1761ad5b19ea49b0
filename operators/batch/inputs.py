"""Which files of a folder are pictures, and what tells one from its next version."""

from __future__ import annotations

import hashlib
import os
import stat
from pathlib import Path

from ...inference.errors import OutputError, PictureError
from ...inference.picture.listing import is_hidden
from ...inference.views.contracts import VIDEO_EXTENSIONS
from ..import_picture import EXTENSIONS
from .records import made_among, made_in


def pictures_in(folder: Path) -> list[Path]:
    """The pictures of a folder in alphabetical order: not hidden, and not made by an earlier run.

    Raises:
        OutputError: When there is no such folder or no picture in it.
    """
    if not is_folder(folder):
        raise OutputError(f"{folder} is not a folder: give the folder that holds the pictures.")
    made = made_in(folder)
    found = [p for p in entries_of(folder) if is_file_of_kind(p, EXTENSIONS) and p not in made]
    if not found:
        raise OutputError(f"There is no picture in {folder}: give a folder with pictures.")
    return found


def picture_fingerprint(path: Path) -> str:
    """The sha256 of a picture.

    Raises:
        PictureError: It cannot be read.
    """
    try:
        file = os.open(
            path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
        )
        with os.fdopen(file, "rb") as opened:
            if not stat.S_ISREG(os.fstat(file).st_mode):
                raise PictureError(f"{path.name} is not a regular file; choose a picture file.")
            return hashlib.file_digest(opened, "sha256").hexdigest()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise PictureError(f"{path} cannot be read ({reason}): choose it again.") from error


def files_behind(picture: Path, folder: Path) -> list[Path]:
    """The files of an input that must not be replaced: its own, or those of a folder of photos.

    Args:
        picture: A picture, a video or a folder of photos.
        folder: Where results go; they may lie among the photos.
    """
    if not is_folder(picture):
        return [picture]
    made = made_among(picture, folder)
    kinds = (*EXTENSIONS, *VIDEO_EXTENSIONS)
    return [p for p in visible_below(picture) if is_file_of_kind(p, kinds) and p not in made]


def visible_below(folder: Path) -> list[Path]:
    """All files below a folder, in a stable order, without hidden ones and those it may not read."""
    found = []
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if not is_hidden(Path(place, name)))
        files = (Path(place, name) for name in sorted(names))
        found += [file for file in files if not is_hidden(file)]
    return found


def is_file_of_kind(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether a path is a file that is not hidden and has one of these endings."""
    try:
        return path.suffix.lower() in endings and not is_hidden(path) and path.is_file()
    except OSError:  # a folder on the way to it may not be looked into
        return False


def entries_of(folder: Path) -> list[Path]:
    """What is in a folder, in alphabetical order.

    Raises:
        OutputError: It cannot be read.
    """
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        reason = error.strerror or error
        raise OutputError(f"{folder} cannot be read ({reason}): choose another folder.") from error


def is_file(path: Path) -> bool:
    """Whether a path is a file; names that are no names are none."""
    try:
        return path.is_file()
    except OSError:
        return False


def is_folder(path: Path) -> bool:
    """Whether a path is a folder; names that are no names are none."""
    try:
        return path.is_dir()
    except OSError:
        return False
