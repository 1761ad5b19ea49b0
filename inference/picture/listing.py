"""Which entries of a folder a person would see there."""

from __future__ import annotations

import os
import stat
from pathlib import Path

# What cameras' cards, archives and network drives keep beside pictures, with or without a dot.
_SYSTEM_NAMES = frozenset(
    (
        "thumbs.db",
        "desktop.ini",
        "__macosx",
        "@eadir",
        "#recycle",
        "$recycle.bin",
        "system volume information",
        "lost+found",
    )
)
_WINDOWS_HIDDEN = 0x2 | 0x4  # FILE_ATTRIBUTE_HIDDEN and FILE_ATTRIBUTE_SYSTEM


def is_hidden(path: Path) -> bool:
    """Whether file managers leave a file or folder out, as they do the ``._`` files of Macs.

    Only the last part of the path counts: whoever names a hidden folder wants what is in it.
    """
    if path.name.startswith(".") or path.name.casefold() in _SYSTEM_NAMES:
        return True
    try:
        info = os.lstat(path)
    except (OSError, ValueError):
        return False  # gone or out of reach, which whoever opens it will say
    attributes = getattr(info, "st_file_attributes", 0)  # on Windows
    flags = getattr(info, "st_flags", 0)  # on macOS
    return bool(attributes & _WINDOWS_HIDDEN or flags & stat.UF_HIDDEN)
