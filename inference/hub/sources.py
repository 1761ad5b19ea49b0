"""Where a model's file comes from: the hub, the cache that Hugging Face's tools share, the artist's own folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from ..errors import WeightsError
from . import client, transfer
from .answers import Refused
from .catalogue import ModelEntry, ModelFile
from .disk import hash_file, told_failures
from .installation import Meter

KINDS = frozenset({".safetensors", ".pth", ".pt", ".ckpt", ".bin"})


@dataclass(frozen=True, slots=True)
class Source:
    """A publisher's file on this computer.

    Attributes:
        path: Where it is.
        sha256: Of its content.
        origin: "hub", "cache" or "file".
        revision: The hub's commit, None where unknown.
    """

    path: Path
    sha256: str
    origin: str
    revision: str | None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which content of a file is wanted.

    Attributes:
        revision: The hub's commit; None for the newest.
        sha256: None when any will do.
    """

    revision: str | None
    sha256: str | None


def in_shared_cache(
    entry: ModelEntry, file: ModelFile, wanted: Wanted, meter: Meter
) -> Source | None:
    """A file that another program has downloaded; None when it is not there or not as wanted.

    Raises:
        MissingPackage: huggingface_hub is not installed.
        WeightsError: It cannot be read.
    """
    found = client.cached(entry.repo, file.path, wanted.revision, wanted.sha256)
    if found is None:
        return None
    path, revision = found
    sha256 = hash_file(path, meter.reading(file))
    if wanted.sha256 not in (None, sha256):
        return None
    return Source(path, sha256, "cache", revision)


def on_hub(entry: ModelEntry, file: ModelFile, wanted: Wanted, place: Path, meter: Meter) -> Source:
    """Download a file into the model's own folder, under the publisher's name.

    Raises:
        MissingPackage: huggingface_hub is not installed.
        WeightsError: With a sentence for the artist.
    """
    path = place / file.name
    with told_failures(place):
        path.parent.mkdir(parents=True, exist_ok=True)
    original = path.with_name(PurePosixPath(file.path).name)
    is_hub = not file.url
    try:
        url = file.url or client.address(entry.repo, file.path, wanted.revision)
        remote = transfer.look_up(url, meter.waiting, is_hub=is_hub)
        revision = wanted.revision or remote.revision
        if wanted.sha256 is not None and remote.sha256 not in (None, wanted.sha256):
            raise WeightsError(
                f"The publisher has replaced the file of {entry.label} (sha256"
                f" {(remote.sha256 or '')[:8]} instead of {wanted.sha256[:8]}): update Image to Mesh, or"
                " press Use File for a file that you have."
            )
        if remote.size is None:
            remote = transfer.Remote(file.size, remote.sha256, remote.revision, remote.tag)
        expected, found = wanted.sha256 or remote.sha256, None
        if original.exists() and original != path:  # it arrived, and its conversion was interrupted
            found = hash_file(original, meter.reading(file))
        if found is None or expected not in (None, found):
            room = (remote.size or 0) if original != path else 0
            url = file.url or client.address(entry.repo, file.path, revision)
            found = transfer.download(
                url, original, remote, wanted.sha256, meter.receiving(file), room, is_hub=is_hub
            )
    except Refused as error:
        raise _explained(error, entry, file) from error
    return Source(original, found, "hub", revision)


def of_artist(entry: ModelEntry, source: Path) -> dict[ModelFile, Path]:
    """Which of the artist's files is which of the model's.

    Args:
        entry: The model.
        source: Its file, or the folder that holds its files as the publisher arranges them.

    Raises:
        WeightsError: One is missing or no weights file.
    """
    if len(entry.files) == 1 and not source.is_dir():
        found = {entry.files[0]: source}
    else:
        root = source
        if not source.is_dir():  # they chose the main file of several
            root = source.parents[len(PurePosixPath(entry.files[0].path).parts) - 1]
        found = {}
        for file in entry.files:
            paths = [root / file.path, root / file.name]
            found[file] = next((path for path in paths if path.is_file()), paths[0])
    for path in found.values():
        if not path.is_file():
            raise WeightsError(f"There is no file {path}: choose the model's file, or its folder.")
        if path.suffix.lower() not in KINDS:
            raise WeightsError(
                f"{path.name} is not a weights file: choose a .safetensors, .pth, .pt or .ckpt file."
            )
    return found


def _explained(error: Refused, entry: ModelEntry, file: ModelFile) -> WeightsError:
    """What a refusal means for this model."""
    if error.status in {401, 403} and error.reason not in {"RepoNotFound", "RevisionNotFound"}:
        return WeightsError(
            f"{entry.label} is only given to those who accept its licence: log in at {entry.page},"
            " accept it, and put an access token into the environment variable HF_TOKEN or the file"
            f" {client.token_file()}."
        )
    if error.status in {401, 403, 404, 410}:
        return WeightsError(
            f"{file.path} of {entry.label} is no longer at {entry.page}: update Image to Mesh, or press"
            " Use File for a file that you have."
        )
    return error
