"""Several files appear in a folder as one: all of them or none, whenever the power fails.

A result is written into a hidden folder beside its place. When all its files are there and on the
disk, that folder is renamed: this one step is the commit. Then its files are moved into place.
Whoever finds a folder from before that step deletes it, and one from after it moves the rest.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from pathlib import Path, PurePath

from ...inference.errors import OutputError
from .failures import writing_to

OPEN = ".image_to_mesh-"  # begins the name of a folder that is being written
READY = ".image_to_mesh-ready-"  # the same with everything in it
_FILES, _MANIFEST = "files", "manifest.json"
_PIECE = 1 << 20
_LARGEST_JSON = 16 << 20  # bytes; ours have a few thousand

FileIds = frozenset[tuple[int, int]]


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What tells a file from every other."""

    bytes: int
    sha256: str


@dataclass(frozen=True, slots=True)
class Permission:
    """What may be replaced.

    Attributes:
        everything: All but what is protected.
        names: Without that, these files of the folder: our own of an earlier run.
        protected: Never these: pictures that are still to be read. See ``ids_of``.
    """

    everything: bool = False
    names: frozenset[str] = frozenset()
    protected: FileIds = frozenset()

    def allows(self, name: str) -> bool:
        return self.everything or name in self.names


@contextmanager
def staging_folder(folder: Path) -> Iterator[Path]:
    """A new hidden folder for the files of one result; gone afterwards, unless it was committed."""
    root = Path(tempfile.mkdtemp(prefix=OPEN, dir=folder))
    try:
        files = root / _FILES
        files.mkdir()
        yield files
    finally:
        shutil.rmtree(root, ignore_errors=True)


def commit(files: Path, folder: Path, names: Sequence[str], permission: Permission) -> None:
    """Move a staging folder's files into place, the last one at the very end.

    Args:
        files: From ``staging_folder``.
        folder: Where they belong.
        names: Of the files, with "/" between folder and name; the last one vouches for the others.
        permission: What may be replaced.

    Raises:
        OutputError: Something is in the way; nothing has changed.
        OSError: The system refuses.
    """
    _require_free(folder, names, permission)
    facts = {name: facts_of(files / name, is_synced=True) for name in names}
    root = files.parent
    manifest = {
        "files": {name: asdict(fact) for name, fact in facts.items()},
        "replaces": [name for name in names if permission.allows(name)],
    }
    write_synced(root / _MANIFEST, json.dumps(manifest).encode())
    for place in {*(files.joinpath(name).parent for name in names), root}:
        _sync_folder(place)
    ready = folder / f"{READY}{root.name.removeprefix(OPEN)}"
    root.rename(ready)
    _sync_folder(folder)
    _move_into_place(ready, folder)


def sweep(folder: Path) -> None:
    """Finish or undo what runs that were killed have left in a folder.

    Raises:
        OutputUnusable: The system refuses.
    """
    with writing_to(folder):
        for root in sorted(folder.glob(f"{OPEN}*")):
            if not root.is_dir() or root.is_symlink():
                continue
            if root.name.startswith(READY) and (root / _MANIFEST).is_file():
                _move_into_place(root, folder)
            else:
                shutil.rmtree(root, ignore_errors=True)  # perhaps another user's


def committed_names(folder: Path) -> set[str]:
    """Files that are about to be in a folder: those of a run that was killed after its commit."""
    names: set[str] = set()
    with suppress(OSError):
        for root in folder.glob(f"{READY}*"):
            names.update(_inside(read_json(root / _MANIFEST).get("files")))
    return names


def facts_of(path: Path, *, is_synced: bool = False) -> FileFacts:
    """Size and hash of a file, which is on the disk itself when this returns if ``is_synced``."""
    if not stat.S_ISREG(path.lstat().st_mode):  # a pipe would have us wait for its writer
        raise OSError(errno.EINVAL, f"{path.name} is no file")
    digest, count = hashlib.sha256(), 0
    with path.open("rb+" if is_synced else "rb") as file:
        while piece := file.read(_PIECE):
            digest.update(piece)
            count += len(piece)
        if is_synced:
            os.fsync(file.fileno())
    return FileFacts(count, digest.hexdigest())


def write_synced(path: Path, data: bytes) -> None:
    """Write a file that is on the disk itself when this returns.

    Raises:
        OSError: It cannot be written, or not all of it.
    """
    with path.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    if path.stat().st_size != len(data):
        raise OSError(errno.EIO, os.strerror(errno.EIO))


def read_json(path: Path) -> dict[str, object]:
    """A JSON object; an empty one when the file is missing or something else."""
    try:
        # A pipe would have us wait for whoever writes to it.
        file = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0))
        with os.fdopen(file, "rb") as opened:
            facts = os.fstat(file)
            if not stat.S_ISREG(facts.st_mode) or facts.st_size > _LARGEST_JSON:
                return {}
            record = json.loads(opened.read(_LARGEST_JSON))
    except (OSError, ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def ids_of(paths: Iterable[Path]) -> FileIds:
    """What the system knows files by, whatever their names; missing ones have none."""
    found = set()
    for path in paths:
        for look in (path.stat, path.lstat):
            with suppress(OSError, ValueError):
                facts = look()
                found.add((facts.st_dev, facts.st_ino))
    return frozenset(found)


def _require_free(folder: Path, names: Sequence[str], permission: Permission) -> None:
    for name in names:
        path = folder / name
        try:
            facts = path.lstat()
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(facts.st_mode):
            raise OutputError(
                f"{path} is a folder, so no file can be written there: choose another output folder."
            )
        if (facts.st_dev, facts.st_ino) in permission.protected:
            raise OutputError(
                f"{path} is one of the pictures and would be replaced: choose another output folder."
            )
        if not permission.allows(name):
            raise OutputError(
                f"{path} exists already: choose another output folder or allow overwriting."
            )


def _move_into_place(ready: Path, folder: Path) -> None:
    """Move what a committed folder still holds; from a certain point on this cannot fail by halves.

    Whatever the files replace must lose its JSON first: no JSON may ever lie beside files that it
    does not describe.
    """
    manifest = read_json(ready / _MANIFEST)
    names, replaces = _inside(manifest.get("files")), _inside(manifest.get("replaces"))
    waiting = [name for name in names if os.path.lexists(ready / _FILES / name)]
    if any(os.path.lexists(folder / name) and name not in replaces for name in waiting):
        # Somebody else's file has come meanwhile, and goes before our own half of a result.
        facts = manifest["files"]
        for name in set(names) - set(waiting):
            _remove_if(folder / name, facts[name] if isinstance(facts, dict) else None)
    elif waiting:
        if names[-1] in replaces:
            (folder / names[-1]).unlink(missing_ok=True)
        _sync_folder(folder)
        for name in waiting:
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            os.replace(ready / _FILES / name, folder / name)  # noqa: PTH105 - same on every system
        for place in {(folder / name).parent for name in names}:
            _sync_folder(place)
    shutil.rmtree(ready, ignore_errors=True)  # what stays is swept later


def _remove_if(path: Path, fact: object) -> None:
    with suppress(OSError):
        if asdict(facts_of(path)) == fact:
            path.unlink()


def _inside(names: object) -> list[str]:
    """Those of the names in a file that stay inside a folder, whoever wrote them."""
    if not isinstance(names, list | dict):
        return []
    return [
        name
        for name in names
        if isinstance(name, str) and not PurePath(name).anchor and ".." not in PurePath(name).parts
    ]


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk itself, on systems that can be asked for that."""
    if os.name == "nt":
        return
    file = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(file)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.EBADF, errno.ENOTSUP}:
            raise
    finally:
        os.close(file)
