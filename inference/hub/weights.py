"""Downloaded models on disk: what is there, where it came from, and whether it still is what it was.

A model's files lie in a folder of the models folder that is named after its id, always as .safetensors. Beside
each lies a JSON record: where it came from, its revision, and the sha256 that it must have from then on.
Standard library only; ``convert`` loads PyTorch when a pickle has to be converted.

A model can come from the hub, from the cache that Hugging Face's own tools share, or from a file that the
artist has. The last two are linked where the file system allows it, so that they take no space twice.
"""

from __future__ import annotations

import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Literal

from ..errors import MissingPackage, WeightsError
from . import client, sources, tensor_file
from .catalogue import CATALOGUE, ModelEntry, ModelFile
from .disk import Progress, disk_failure, hash_file, pieces, require_space, told_failures
from .installation import Meter, Report
from .lock import held
from .records import Record, is_whole, read_record, record_path, size_of, write_record
from .sources import Source, Wanted

logger = logging.getLogger(__name__)

State = Literal["installed", "partial", "damaged", "missing"]


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
    on_disk = sum(size_of(path) or 0 for path in _belongings(entry, place))
    whole = [is_whole(place / file.name) for file in entry.files]
    if all(whole):
        return Status("installed", on_disk)
    recorded = [read_record(place / file.name) is not None for file in entry.files]
    if any(known and not good for known, good in zip(recorded, whole, strict=True)):
        return Status("damaged", on_disk)
    return Status("partial" if on_disk else "missing", on_disk)


def installed_ids(folder: Path | None) -> frozenset[str]:
    """Ids of all models that are installed."""
    return frozenset(e.id for e in CATALOGUE if installed(e, folder) is not None)


_verified: set[tuple[str | int, ...]] = set()


def verify(entry: ModelEntry, folder: Path, report: Report) -> Path:
    """Make sure that an installed model is what was installed, and say where it is.

    Each file is read once per session and again when anything tells that it may have changed.

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
        record = read_record(path)
        assert record is not None
        if not record.is_of(file):
            raise WeightsError(
                f"{entry.label} was installed from another file than this version knows (its sha256"
                f" begins {record.source_sha256[:8]} instead of {(file.sha256 or '')[:8]}): delete it in"
                " the preferences and download it again."
            )
        state = _state(path, record.sha256)
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
    place = folder / entry.id
    if all(_is_done(file, place / file.name) for file in entry.files):
        return _checked(entry, folder)
    meter = Meter(entry, report)
    with told_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(_lock(entry, folder), meter.waiting_for_another):
        for file in entry.files:
            _install(entry, file, place, meter, forbidden)
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
    meter = Meter(entry, report)
    found = sources.of_artist(entry, source)
    with told_failures(folder):
        folder.mkdir(parents=True, exist_ok=True)
    with held(_lock(entry, folder), meter.waiting_for_another):
        for file, path in found.items():
            sha256 = hash_file(path, meter.reading(file))
            _take(entry, file, Source(path, sha256, "file", None), folder / entry.id, meter)
            meter.finish(file)
        return _checked(entry, folder)


def delete(entry: ModelEntry, folder: Path) -> None:
    """Remove a model's files, finished or not, and nothing else.

    Raises:
        WeightsError: A file cannot be removed.
    """
    place = folder / entry.id
    if not place.is_dir():
        return
    with held(_lock(entry, folder), _refuse_to_wait):
        for path in _belongings(entry, place):
            try:
                path.unlink(missing_ok=True)
            except OSError as error:
                raise WeightsError(
                    f"{path.name} cannot be deleted ({error.strerror}): press Free Memory Now in case it"
                    " is in use, and try again."
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
    if _is_done(file, path):
        return
    wanted = _wanted(entry, file, read_record(path))
    source = None if file.url else _shared(entry, file, wanted, meter, forbidden)
    if source is None:
        if forbidden is not None:
            raise WeightsError(forbidden)
        if client.is_offline():
            raise WeightsError(
                "HF_HUB_OFFLINE is set, so nothing is downloaded: unset it, or press Use File for a file"
                " that you have."
            )
        source = sources.on_hub(entry, file, wanted, place, meter)
    _take(entry, file, source, place, meter)
    if source.origin == "hub" and source.path != path:
        try:
            source.path.unlink()
        except OSError as error:  # it does no harm, and Delete removes it
            logger.warning("%s stays: %s", source.path, error)


def _is_done(file: ModelFile, path: Path) -> bool:
    """Whether the catalogue's file is installed; another one is brought anew."""
    record = read_record(path)
    return record is not None and record.is_of(file) and is_whole(path)


def _wanted(entry: ModelEntry, file: ModelFile, earlier: Record | None) -> Wanted:
    """What the catalogue says, or what was recorded at the first download, which holds from then on."""
    if earlier is None or earlier.origin == "file" or not earlier.is_of(file):
        return Wanted(entry.revision, file.sha256)
    return Wanted(entry.revision or earlier.revision, earlier.source_sha256)


def _shared(
    entry: ModelEntry, file: ModelFile, wanted: Wanted, meter: Meter, forbidden: str | None
) -> Source | None:
    try:
        return sources.in_shared_cache(entry, file, wanted, meter)
    except MissingPackage:
        if forbidden is None:
            raise
        return None  # whoever may not download need not hear what downloads lack


def _take(entry: ModelEntry, file: ModelFile, source: Source, place: Path, meter: Meter) -> None:
    """Make a whole file on this computer the installed one, and write its record.

    Raises:
        WeightsError: It is not the file that the catalogue knows, or holds anything but weights.
    """
    if file.sha256 not in (None, source.sha256):
        raise WeightsError(
            f"{source.path.name} is not the file of {entry.label} that this version knows (its sha256"
            f" begins {source.sha256[:8]} instead of {(file.sha256 or '')[:8]}): get it from"
            f" {entry.page}."
        )
    path = place / file.name
    size = source.path.stat().st_size
    with told_failures(place):
        path.parent.mkdir(parents=True, exist_ok=True)
    if source.path.suffix.lower() == ".safetensors":
        try:
            tensor_file.require_sound(source.path)
            if not path.exists() or not path.samefile(source.path):
                _place(source.path, path, meter.reading(file))
        except OSError as error:
            raise disk_failure(error, place) from error
        sha256 = source.sha256
    else:
        require_space(place, size)
        if entry.source == "torchscript" and file.sha256 is None:
            raise WeightsError(
                f"{source.path.name} holds a program and is not the file that this version knows: get it"
                f" from {entry.page}."
            )
        from .convert import to_safetensors

        to_safetensors(
            source.path,
            path,
            is_torchscript=entry.source == "torchscript",
            module=entry.module,
            report=meter.converting(file),
        )
        sha256 = hash_file(path, meter.waiting_for(file))
    record = Record(
        model=entry.id,
        origin=source.origin,
        repo=entry.repo,
        revision=source.revision,
        source_sha256=source.sha256,
        source_size=size,
        sha256=sha256,
        size=path.stat().st_size,
        date=time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    )
    write_record(path, record)
    _verified.add(_state(path, sha256))


def _state(path: Path, sha256: str) -> tuple[str | int, ...]:
    """What the file system tells of a file; another state means that it may have another content.

    The time of the last change of its entry is among it: a program can set the time of the last change of
    its content back to what it was.
    """
    seen = path.stat()
    times = seen.st_mtime_ns, seen.st_ctime_ns
    return str(path), sha256, seen.st_size, seen.st_ino, seen.st_dev, *times


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


def _lock(entry: ModelEntry, folder: Path) -> Path:
    return folder / f"{entry.id}.lock"


def _refuse_to_wait() -> None:
    raise WeightsError(
        "Another Blender is installing this model: wait until it is done there, and try again."
    )


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
        names = {path, original, record_path(path), path.with_name(f"{path.name}.unfinished")}
        names |= set(path.parent.glob(f"{original.name}.*.incomplete"))
        found += sorted(name for name in names if name.exists())
    return found
