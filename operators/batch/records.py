"""What earlier runs made in a folder, as the JSON beside each result tells."""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path

from ...inference.errors import OutputError
from ..scene.material import MAPS
from .formats import SUFFIXES
from .log import LOG_NAME
from .names import Plan, texture_name
from .staging import OPEN, committed_names, facts_of, read_json


@dataclass(frozen=True, slots=True)
class Earlier:
    """A result that an earlier run has made of the same picture.

    Attributes:
        is_kept: It is whole, and there is nothing to do.
        faces: Of its mesh.
        files: Names of those of its files that are there; when it is not kept, they may be replaced.
    """

    is_kept: bool
    faces: int
    files: frozenset[str]


def earlier_result(
    plan: Plan,
    settings: Mapping[str, object],
    file_format: str,
    fingerprint: Callable[[], str],
) -> Earlier | None:
    """Look for a result of the same picture and the same settings.

    Args:
        plan: What is to be made.
        settings: With which settings.
        file_format: A key of ``SUFFIXES``.
        fingerprint: Tells the picture as it is now.

    Raises:
        OutputError: When something else is in the way.
        PictureError: When the picture cannot be read.
    """
    main, sidecar = plan.file(SUFFIXES[file_format]), plan.file(".json")
    if not os.path.lexists(main) and not os.path.lexists(sidecar):
        return None
    record = read_json(sidecar)
    if record.get("picture") != plan.picture_name:
        blocking = main if os.path.lexists(main) else sidecar
        raise OutputError(
            f"{blocking} exists and was not made from {plan.picture_name}: choose another output"
            " folder or allow overwriting."
        )
    if record.get("format") != file_format:
        raise OutputError(
            f"{sidecar} belongs to a {record.get('format')} file made earlier: choose another"
            " output folder or allow overwriting."
        )
    there = _unchanged_files(plan, record)
    complete = os.path.lexists(main) and there >= _listed(record).keys()
    if not complete:  # somebody deleted our result, or a part of it, so they want it anew
        return Earlier(False, 0, there | {sidecar.name})
    wanted = {
        "status": "done",
        "settings": json.loads(json.dumps(settings)),
        "picture_sha256": fingerprint(),
    }
    if any(record.get(key) != value for key, value in wanted.items()):
        raise OutputError(
            f"{main} was made with other settings or from an older {plan.picture_name}: choose"
            " another output folder or allow overwriting."
        )
    faces = record.get("faces", 0)
    return Earlier(True, faces if isinstance(faces, int) else 0, there | {sidecar.name})


def files_record(files: Mapping[str, Path]) -> dict[str, dict[str, object]]:
    """What a result's JSON says of the files beside it, by which they are known again."""
    return {name: asdict(facts_of(path)) for name, path in files.items()}


def made_in(folder: Path) -> frozenset[Path]:
    """All files in a folder that earlier runs have made, logs and JSONs included.

    A folder may hold pictures and results; the textures of these are no pictures.
    """
    made = {folder / name for name in committed_names(folder)}
    try:
        entries = list(folder.iterdir())
    except OSError:
        return frozenset(made)
    stem, _dot, suffix = LOG_NAME.partition(".")
    for path in entries:
        if path.name.startswith(OPEN) or (
            path.name.startswith(stem) and path.name.endswith(suffix)
        ):
            made.add(path)
        elif path.suffix == ".json":
            record = read_json(path)
            if {"status", "format", "picture", "engine"} <= record.keys():
                made |= {path, *(folder / name for name in _names_of(path.stem, record))}
    return frozenset(made)


def made_among(pictures: Path, folder: Path) -> frozenset[Path]:
    """The same where results go into a folder of pictures or one below it; else nothing.

    Args:
        pictures: A folder of pictures, by way of which the files are named; or something else.
        folder: Where results go.
    """
    try:
        below = Path(os.path.realpath(folder)).relative_to(os.path.realpath(pictures))
    except ValueError:
        return frozenset()
    return made_in(pictures / below)


def _listed(record: Mapping[str, object]) -> dict[str, object]:
    """What a JSON says of its files; nothing in those of older versions."""
    files = record.get("files")
    return files if isinstance(files, dict) else {}


def _names_of(stem: str, record: Mapping[str, object]) -> list[str]:
    names = list(_listed(record))
    if not names and record.get("format") == "obj":  # by an older version
        names = [texture_name(stem, label) for label in MAPS]
    return names


def _unchanged_files(plan: Plan, record: Mapping[str, object]) -> frozenset[str]:
    """The files of a result that are there.

    Raises:
        OutputError: One is there, but is another one: it is somebody's work, or damaged.
    """
    there = set()
    for name, facts in _listed(record).items():
        path = plan.folder / name
        try:
            is_ours = asdict(facts_of(path)) == facts
        except FileNotFoundError:
            continue
        except OSError:
            is_ours = False
        if not is_ours:
            raise OutputError(
                f"{path} is no longer the file that was made of {plan.picture_name}: move it"
                " elsewhere to make it anew, choose another output folder or allow overwriting."
            )
        there.add(name)
    return frozenset(there)
