"""What is known of an installed file, kept as JSON beside it. Standard library only."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path

from .catalogue import ModelFile
from .disk import told_failures


@dataclass(frozen=True, slots=True)
class Record:
    """What we know of an installed file.

    Attributes:
        model: Id of the catalogue's entry.
        origin: "hub", "cache" or "file".
        repo: Where the publisher keeps it.
        revision: Its commit there; None when the artist brought the file.
        source_sha256: Of the publisher's file.
        source_size: Its bytes.
        sha256: Of the installed file; another one when it was converted.
        size: Its bytes.
        date: When it was installed, ISO 8601.
    """

    model: str
    origin: str
    repo: str
    revision: str | None
    source_sha256: str
    source_size: int
    sha256: str
    size: int
    date: str

    def is_of(self, file: ModelFile) -> bool:
        """Whether it was made from the file that the catalogue names, or is that file."""
        hashes = {self.source_sha256}
        if file.path == file.name:  # it is installed as it comes
            hashes.add(self.sha256)
        return file.sha256 is None or hashes == {file.sha256}


def record_path(path: Path) -> Path:
    """Where the record of an installed file is."""
    return path.with_suffix(".json")


def read_record(path: Path) -> Record | None:
    """The record beside an installed file; None when there is none or it is not one."""
    try:
        record = Record(**json.loads(record_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError, RecursionError):
        return None
    has_hashes = isinstance(record.sha256, str) and isinstance(record.source_sha256, str)
    return record if has_hashes else None


def write_record(path: Path, record: Record) -> None:
    """Put the record beside an installed file.

    Raises:
        WeightsError: It cannot be written.
    """
    target = record_path(path)
    unfinished = target.with_suffix(".json.unfinished")
    with told_failures(path.parent):
        unfinished.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        unfinished.replace(target)


def is_whole(path: Path) -> bool:
    """Whether a file is there with the size that its record says; its content is not looked at."""
    record = read_record(path)
    return record is not None and size_of(path) == record.size


def size_of(path: Path) -> int | None:
    """A file's bytes; None when it is not there."""
    try:
        return path.stat().st_size
    except OSError:
        return None
