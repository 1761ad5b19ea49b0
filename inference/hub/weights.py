"""Downloaded models on disk: what is there, where it came from, and whether it still is what it was.

A model's files lie in a folder of the models folder that is named after its id, always as .safetensors. Beside
each lies a JSON record: where it came from, its revision, and the sha256 that it must have from then on.
Standard library only; ``convert`` loads PyTorch when a pickle has to be converted.

A model can come from the hub, from the cache that Hugging Face's own tools share, or from a file that the
artist has. The last two are linked where the file system allows it, so that they take no space twice.
"""

from __future__ import annotations

import json
import logging
import os
import time
from dataclasses import asdict, dataclass
from pathlib import Path, PurePosixPath
from typing import Literal
from urllib.parse import quote

from ..errors import WeightsError
from . import fetch, tensor_file
from .catalogue import CATALOGUE, ModelEntry, ModelFile
from .disk import Progress, disk_failure, hash_file, pieces, require_space, told_failures
from .hub_cache import cached, is_offline, token, token_file
from .installation import Meter, Report

logger = logging.getLogger(__name__)

State = Literal["installed", "partial", "damaged", "missing"]

HUB = "https://huggingface.co"


@dataclass(frozen=True, slots=True)
class Record:
    """What we know of an installed file, kept beside it.

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


@dataclass(frozen=True, slots=True)
class Status:
    """What of a model is there.

    Attributes:
        state: "partial" when a download can go on, "damaged" when a file was changed or lost.
        size: Bytes on disk.
    """

    state: State
    size: int


def installed(entry: ModelEntry, folder: Path | None) -> Path | None:
    """Where an installed model is: its file, or its folder when it has several files.

    Looks at sizes only; ``verify`` looks at what is inside.

    Args:
        entry: The model.
        folder: The models folder; None when there is none.
    """
    if folder is None or status(entry, folder).state != "installed":
        return None
    place = folder / entry.id
    return place / entry.files[0].name if len(entry.files) == 1 else place


def status(entry: ModelEntry, folder: Path) -> Status:
    """Look at the sizes of a model's files; takes a fraction of a millisecond."""
    place = folder / entry.id
    if not place.is_dir():
        return Status("missing", 0)
    records = [_record(place / file.name) for file in entry.files]
    sizes = [_size(place / file.name) for file in entry.files]
    on_disk = sum(_size(path) or 0 for path in _belongings(entry, place))
    pairs = list(zip(records, sizes, strict=True))
    if all(record is not None and size == record.size for record, size in pairs):
        return Status("installed", on_disk)
    if any(record is not None and size != record.size for record, size in pairs):
        return Status("damaged", on_disk)
    return Status("partial" if on_disk else "missing", on_disk)


def installed_ids(folder: Path | None) -> frozenset[str]:
    """Ids of all models that are installed."""
    return frozenset(e.id for e in CATALOGUE if installed(e, folder) is not None)


_verified: set[tuple[str, int, int, str]] = set()


def verify(entry: ModelEntry, folder: Path, report: Report) -> Path:
    """Make sure that an installed model is what was installed, and say where it is.

    Each file is read once per session and again when it has changed.

    Raises:
        WeightsError: It is not installed, or a file is not what it was.
    """
    where = installed(entry, folder)
    if where is None:
        raise WeightsError(
            f"{entry.label} is not installed: download it in the preferences, or choose another model."
        )
    for file in entry.files:
        path = folder / entry.id / file.name
        record = _record(path)
        assert record is not None
        seen = path.stat()
        state = (str(path), seen.st_size, seen.st_mtime_ns, record.sha256)
        if state in _verified:
            continue
        words = f"Checking {entry.label}"
        found = hash_file(path, lambda done, size, say=words: report(done / (size or 1), say))
        if found != record.sha256:
            raise WeightsError(
                f"{entry.label} has changed since it was installed (its sha256 begins {found[:8]}"
                f" instead of {record.sha256[:8]}): delete it in the preferences and download it again."
            )
        _verified.add(state)
    return where


def forget_verified() -> None:
    """Have every file read again by the next ``verify``."""
    _verified.clear()


def download(entry: ModelEntry, folder: Path, report: Report, forbidden: str | None = None) -> Path:
    """Install a model from the shared cache or the hub; goes on where an earlier try stopped.

    Args:
        entry: The model.
        folder: The models folder; made when it does not exist.
        report: Called at least ten times a second with the finished share and words; raises to stop,
            and what has arrived is kept.
        forbidden: Why nothing may be fetched, as a sentence; then only the shared cache is looked into.

    Returns:
        Where it is, like ``installed``.

    Raises:
        WeightsError: With a sentence for the artist.
    """
    _make(folder)
    meter = Meter(entry, report)
    for file in entry.files:
        _install(entry, file, folder / entry.id, meter, forbidden)
        meter.finish(file)
    return _checked(entry, folder)


def use_file(entry: ModelEntry, source: Path, folder: Path, report: Report) -> Path:
    """Install a model from what the artist has; the original stays where it is.

    Args:
        entry: The model.
        source: Its file, or the folder that holds its files as the publisher arranges them.
        folder: The models folder; made when it does not exist.
        report: As for ``download``.

    Raises:
        WeightsError: The file is missing, damaged, or known to be another.
    """
    _make(folder)
    meter = Meter(entry, report)
    for file, path in _found_in(entry, source).items():
        place = folder / entry.id
        _require_file(path)
        found = hash_file(path, meter.reading(file))
        is_published = path.suffix.lower() == PurePosixPath(file.path).suffix
        if is_published and file.sha256 not in (None, found):
            raise WeightsError(
                f"{path.name} is not the file of {entry.label} that this version knows (its sha256"
                f" begins {found[:8]} instead of {(file.sha256 or '')[:8]}): get it from {entry.page}."
            )
        _take(entry, file, path, place, found, "file", None, meter)
        meter.finish(file)
    return _checked(entry, folder)


def delete(entry: ModelEntry, folder: Path) -> None:
    """Remove a model's files, finished or not, and nothing else.

    Raises:
        WeightsError: A file cannot be removed.
    """
    place = folder / entry.id
    for path in _belongings(entry, place):
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            raise WeightsError(
                f"{path.name} cannot be deleted ({error.strerror}): press Free Memory Now in case it is"
                " in use, and try again."
            ) from error
    inner = {(place / file.name).parent for file in entry.files} | {place}
    for path in sorted(inner, key=lambda path: -len(path.parts)):
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()


def _install(
    entry: ModelEntry, file: ModelFile, place: Path, meter: Meter, forbidden: str | None
) -> None:
    """Bring one file into its place."""
    path = place / file.name
    earlier = _record(path)
    if earlier is not None and _size(path) == earlier.size:
        return
    # What was recorded at the first download holds from then on.
    revision = entry.revision or (earlier.revision if earlier is not None else None)
    sha256 = file.sha256 or (
        earlier.source_sha256 if earlier is not None and earlier.origin != "file" else None
    )
    shared = None if file.url else cached(entry.repo, file.path, revision, sha256)
    if shared is not None:
        source, found_revision = shared
        found = hash_file(source, meter.reading(file))
        if sha256 in (None, found):
            _take(entry, file, source, place, found, "cache", found_revision, meter)
            return
    if forbidden is None and is_offline():
        forbidden = (
            "HF_HUB_OFFLINE is set, so nothing is downloaded: unset it, or press Use File for a file"
            " that you have."
        )
    if forbidden is not None:
        raise WeightsError(forbidden)
    with told_failures(place):
        path.parent.mkdir(parents=True, exist_ok=True)
    original = path.with_name(PurePosixPath(file.path).name)
    access = None if file.url else token()
    try:
        remote = fetch.look_up(_address(entry, file, revision), access, meter.waiting)
        revision = revision or remote.revision
        if sha256 is not None and remote.sha256 not in (None, sha256):
            raise WeightsError(
                f"The publisher has replaced the file of {entry.label} (sha256"
                f" {(remote.sha256 or '')[:8]} instead of {sha256[:8]}): update Image to Mesh, or press"
                " Use File for a file that you have."
            )
        if remote.size is None:
            remote = fetch.Remote(file.size, remote.sha256, remote.revision, remote.tag)
        expected, found = sha256 or remote.sha256, None
        if original.exists() and original != path:  # it arrived, and its conversion was interrupted
            found = hash_file(original, meter.reading(file))
        if found is None or expected not in (None, found):
            room = (remote.size or 0) if original != path else 0
            url = _address(entry, file, revision)
            found = fetch.download(
                url, original, remote, sha256, access, meter.receiving(file), room
            )
    except fetch.Refused as error:
        raise _explained(error, entry, file) from error
    _take(entry, file, original, place, found, "hub", revision, meter)
    if original != path:
        try:
            original.unlink()
        except OSError as error:  # it does no harm, and Delete removes it
            logger.warning("%s stays: %s", original, error)


def _address(entry: ModelEntry, file: ModelFile, revision: str | None) -> str:
    hub = os.environ.get("HF_ENDPOINT", HUB).rstrip("/")
    commit = quote(revision or "main", safe="")
    return file.url or f"{hub}/{entry.repo}/resolve/{commit}/{quote(file.path)}"


def _take(
    entry: ModelEntry,
    file: ModelFile,
    source: Path,
    place: Path,
    sha256: str,
    origin: str,
    revision: str | None,
    meter: Meter,
) -> None:
    """Make a whole file on this computer the installed one, and write its record."""
    path = place / file.name
    size = source.stat().st_size
    with told_failures(place):
        path.parent.mkdir(parents=True, exist_ok=True)
    if source.suffix.lower() == ".safetensors":
        try:
            tensor_file.keys(source)
            if not path.exists() or not path.samefile(source):
                _place(source, path, meter.reading(file))
        except OSError as error:
            raise disk_failure(error, place) from error
        found = sha256
    else:
        require_space(place, size)
        is_torchscript = entry.source == "torchscript"
        if is_torchscript and file.sha256 != sha256:
            raise WeightsError(
                f"{source.name} holds a program and is not the file that this version knows: get it from"
                f" {entry.page}."
            )
        from .convert import to_safetensors

        to_safetensors(
            source,
            path,
            is_torchscript=is_torchscript,
            module=entry.module,
            report=meter.converting(file),
        )
        found = hash_file(path, meter.waiting_for(file))
    _write_record(
        path,
        Record(
            model=entry.id,
            origin=origin,
            repo=entry.repo,
            revision=revision,
            source_sha256=sha256,
            source_size=size,
            sha256=found,
            size=path.stat().st_size,
            date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        ),
    )
    seen = path.stat()
    _verified.add((str(path), seen.st_size, seen.st_mtime_ns, found))


def _place(source: Path, path: Path, progress: Progress) -> None:
    """Link a file, or copy it where that cannot be done."""
    source = source.resolve()  # the hub's cache holds links of its own
    unfinished = path.with_name(f"{path.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        os.link(source, unfinished)
    except OSError:
        size = source.stat().st_size
        require_space(path.parent, size)
        try:
            with unfinished.open("wb") as writer:
                for piece in pieces(source):
                    writer.write(piece)
                    progress(writer.tell(), size)
        except BaseException:
            unfinished.unlink(missing_ok=True)
            raise
    unfinished.replace(path)


def _found_in(entry: ModelEntry, source: Path) -> dict[ModelFile, Path]:
    """Which of the artist's files is which of the model's."""
    if len(entry.files) == 1 and not source.is_dir():
        return {entry.files[0]: source}
    root = source
    if not source.is_dir():  # they chose the main file of several
        root = source.parents[len(PurePosixPath(entry.files[0].path).parts) - 1]
    found = {}
    for file in entry.files:
        paths = [root / file.path, root / file.name]
        found[file] = next((path for path in paths if path.is_file()), paths[0])
    return found


def _require_file(path: Path) -> None:
    if not path.is_file():
        raise WeightsError(f"There is no file {path}: choose the model's file, or its folder.")
    if path.suffix.lower() not in {".safetensors", ".pth", ".pt", ".ckpt", ".bin"}:
        raise WeightsError(
            f"{path.name} is not a weights file: choose a .safetensors, .pth, .pt or .ckpt file."
        )


def _explained(error: fetch.Refused, entry: ModelEntry, file: ModelFile) -> WeightsError:
    """What a refusal means for this model."""
    if error.status in {401, 403} and error.reason not in {"RepoNotFound", "RevisionNotFound"}:
        return WeightsError(
            f"{entry.label} is only given to those who accept its licence: log in at {entry.page},"
            " accept it, and put an access token into the environment variable HF_TOKEN or the file"
            f" {token_file()}."
        )
    if error.status in {401, 403, 404, 410}:
        return WeightsError(
            f"{file.path} of {entry.label} is no longer at {entry.page}: update Image to Mesh, or press"
            " Use File for a file that you have."
        )
    return error


def _checked(entry: ModelEntry, folder: Path) -> Path:
    where = installed(entry, folder)
    assert where is not None
    return where


def _belongings(entry: ModelEntry, place: Path) -> list[Path]:
    """Everything that is ours in a model's folder."""
    found: list[Path] = []
    for file in entry.files:
        path = place / file.name
        original = path.with_name(PurePosixPath(file.path).name)
        names = {path, original, _record_path(path), path.with_name(f"{path.name}.unfinished")}
        names |= set(path.parent.glob(f"{original.name}.*.incomplete"))
        found += sorted(name for name in names if name.exists())
    return found


def _record_path(path: Path) -> Path:
    return path.with_suffix(".json")


def _record(path: Path) -> Record | None:
    """The record beside an installed file; None when there is none or it is not one."""
    try:
        return Record(**json.loads(_record_path(path).read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError):
        return None


def _write_record(path: Path, record: Record) -> None:
    unfinished = _record_path(path).with_suffix(".json.unfinished")
    with told_failures(path.parent):
        unfinished.write_text(json.dumps(asdict(record), indent=2) + "\n", encoding="utf-8")
        unfinished.replace(_record_path(path))


def _size(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except OSError:
        return None


def _make(folder: Path) -> None:
    with told_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
