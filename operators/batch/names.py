"""Where each picture's result goes: names that no system refuses and no two results share."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from ...inference.errors import OutputError
from ...inference.naming import LONGEST_STEM, on_disk, safe_stem, shown, token
from ..scene.material import MAPS

LONGEST_PATH = 1000  # bytes; Blender cuts paths at 1024, and would write somewhere else


@dataclass(frozen=True, slots=True)
class Plan:
    """One picture and where its result goes."""

    picture: Path
    folder: Path
    stem: str

    def file(self, suffix: str) -> Path:
        """A file of the result, such as ".json"."""
        return self.folder / f"{self.stem}{suffix}"

    @property
    def picture_name(self) -> str:
        """What the picture is called in records and messages."""
        return shown(self.picture.name)


def plan_outputs(pictures: Sequence[Path], folder: Path) -> list[Plan]:
    """Give every picture a file name of its own, even a.png beside a.jpg.

    Names are compared as the most careless disk does: without case, and without what a texture's
    name leaves out, for textures lie beside the result in some formats. Nor may they lie where a
    picture is.
    """
    require_usable(folder)
    stems = [safe_stem(picture.stem) for picture in pictures]
    counts = Counter(map(on_disk, stems))
    taken: set[str] = set()
    pictures_there = _names_in(folder, pictures)
    plans = []
    for picture, name in zip(pictures, stems, strict=True):
        stem = name
        if counts[on_disk(name)] > 1 and picture.suffix:
            stem = f"{name}_{safe_stem(picture.suffix.lower())}"
        candidate, number = stem, 2
        while on_disk(token(candidate)) in taken or _texture_keys(candidate) & pictures_there:
            candidate, number = f"{stem}_{number}", number + 1
        taken.add(on_disk(token(candidate)))
        plans.append(Plan(picture, folder, candidate))
    return plans


def named_plan(picture: Path, file: Path) -> Plan:
    """The plan for a picture whose file the artist names.

    Raises:
        OutputError: The name is too long.
    """
    require_usable(file.parent)
    if len(os.fsencode(file.stem)) > LONGEST_STEM:
        raise OutputError(
            f"The name {file.stem[:20]}... is too long: give --output one of at most {LONGEST_STEM}"
            " letters."
        )
    return Plan(picture, file.parent, file.stem)


def require_usable(folder: Path) -> None:
    """Make sure that Blender can write to a folder of this name.

    Raises:
        OutputError: It would write somewhere else.
    """
    if os.sep != "\\" and "\\" in str(folder.absolute()):
        raise OutputError(
            f"{folder} has a backslash in its name, which Blender takes for a slash: choose another"
            " output folder."
        )
    if len(os.fsencode(folder.absolute())) > LONGEST_PATH - 2 * LONGEST_STEM:
        raise OutputError(
            f"The path of the folder {folder.name[:20]}... is too long for Blender: choose another"
            " output folder."
        )


def texture_name(stem: str, label: str) -> str:
    """What a texture is called that lies beside a result; ``label`` says what it is."""
    return f"{token(stem)}_{token(label)}.png"


def _texture_keys(stem: str) -> set[str]:
    return {texture_name(stem, label).casefold() for label in MAPS}


def _names_in(folder: Path, pictures: Iterable[Path]) -> set[str]:
    """Names of the pictures that lie where textures would."""
    places = {os.path.realpath(folder), os.path.realpath(folder / "textures")}
    parents = {p.parent for p in pictures}
    inside = {parent for parent in parents if os.path.realpath(parent) in places}
    return {p.name.casefold() for p in pictures if p.parent in inside}
