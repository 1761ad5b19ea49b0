"""``batch.jsonl``: one line for each picture."""

from __future__ import annotations

import json
import os
import re
import stat
import unicodedata
from collections.abc import Mapping
from pathlib import Path

from ...inference.naming import shown
from .failures import writing_to

LOG_NAME = "batch.jsonl"
_TRIES = 100  # names that may be taken by something that is no file
_OPEN = os.O_RDWR | os.O_APPEND | getattr(os, "O_BINARY", 0)
# A link would have us write elsewhere, and a pipe would have us wait for its reader.
_OPEN |= getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)


def log_path(folder: Path) -> Path:
    """The file that a folder's log goes to: ``batch.jsonl``, or another if that is no file."""
    stem, dot, suffix = LOG_NAME.rpartition(".")
    for number in range(1, _TRIES):
        path = folder / (LOG_NAME if number == 1 else f"{stem}-{number}{dot}{suffix}")
        try:
            if stat.S_ISREG(path.lstat().st_mode):
                return path
        except OSError:  # it is not there yet, or nothing can be: writing to it will tell
            return path
    return folder / LOG_NAME


def append(folder: Path, record: Mapping[str, object]) -> None:
    """Add a line.

    Raises:
        OutputUnusable: The line cannot be written.
    """
    line = _json_line(record).encode()
    with writing_to(folder):
        file = os.open(log_path(folder), _OPEN | os.O_CREAT, 0o666)
        with os.fdopen(file, "rb+", buffering=0) as log:
            if not stat.S_ISREG(os.fstat(log.fileno()).st_mode):
                raise OSError(f"{LOG_NAME} is no file")
            size = log.seek(0, os.SEEK_END)
            if size > 0:
                log.seek(-1, os.SEEK_END)
                if log.read(1) != b"\n":  # an earlier run was killed amid its line
                    line = b"\n" + line
            try:
                while line:
                    line = line[log.write(line) or 0 :]
            except OSError:
                log.truncate(size)  # no half line
                raise


def _json_line(record: Mapping[str, object]) -> str:
    """JSON that any reader takes: names as they are, but nothing that turns or breaks a line."""
    text = json.dumps(record, ensure_ascii=False)
    text = re.sub("[\udc80-\udcff]", lambda byte: json.dumps(shown(byte[0]))[1:-1], text)
    marks = {c for c in text if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    for mark in marks:
        text = text.replace(mark, json.dumps(mark)[1:-1])
    return text + "\n"
