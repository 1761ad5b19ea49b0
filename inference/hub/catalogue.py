"""The networks on offer, read from ``entries/``: one TOML file for each task. Nothing is fetched here.

Sizes, hashes and revisions are of the publishers' own files and were gathered from what several public
projects that use them have written down; None means that no trustworthy value was found. Then the revision
that "main" means at the first download, and the hash of what arrives, are recorded beside the file and hold
from then on. Memory is an estimate from the number of weights and published measurements, at the size at
which we run the network: half precision on a graphics card, single precision on the processor.
"""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

Task = Literal["cut-out", "pick", "depth", "object", "views", "upscale", "inpaint"]
Source = Literal["safetensors", "pickle", "torchscript"]

TASKS: dict[Task, str] = {
    "cut-out": "Cut-Out",
    "pick": "Pick",
    "depth": "Depth",
    "object": "Object",
    "views": "Photos",
    "upscale": "Upscale",
    "inpaint": "Inpaint",
}
SEEDED = frozenset({"solids.triposg"})  # modules of networks that draw by seed
COMMERCIAL = frozenset({"MIT", "Apache-2.0", "BSD-3-Clause"})


@dataclass(frozen=True, slots=True)
class ModelFile:
    """One file of a model.

    Attributes:
        path: Where the publisher keeps it: a path in the hub repository.
        size: Bytes, or None where unknown.
        sha256: Of the publisher's file, or None where unknown.
        url: Full address when it is not kept on the hub; else empty.
    """

    path: str
    size: int | None = None
    sha256: str | None = None
    url: str = ""

    @property
    def name(self) -> str:
        """The file in the model's own folder: the publisher's path, always as safetensors."""
        stem, dot, _suffix = self.path.rpartition(".")
        return f"{stem if dot else self.path}.safetensors"


@dataclass(frozen=True, slots=True)
class ModelEntry:
    """One network with its weights.

    Attributes:
        id: Never changes: settings and .blend files remember it.
        label: What the artist reads.
        tasks: What it can do, its main task first.
        good_at: One sentence without a full stop.
        repo: Repository on the hub, or the page that explains it when its files have a full address.
        files: At least one; the main one first.
        licence: SPDX identifier of the weights' licence.
        module: The network's module in ``inference.models``.
        package: The Python package that it needs beside PyTorch, or empty.
        gpu_mb: Graphics memory it needs, megabytes.
        cpu_mb: Main memory it needs on the processor, megabytes.
        revision: The hub's commit, or None: see the module's docstring.
        source: What the publisher's file is. Anything but safetensors is converted once.
        config: Keyword arguments of the module's ``load`` beyond path, device and dtype.
        is_heavy: Auto avoids it on the processor while a lighter one is installed.
        needs_gpu: Auto never takes it on the processor, where it would run for an hour or more.
        has_colours: What it draws is coloured all round.
        caveat: What an artist should know before using it, or empty.
    """

    id: str
    label: str
    tasks: tuple[Task, ...]
    good_at: str
    repo: str
    files: tuple[ModelFile, ...]
    licence: str
    module: str
    gpu_mb: int
    cpu_mb: int
    package: str = ""
    revision: str | None = None
    source: Source = "safetensors"
    config: tuple[tuple[str, object], ...] = ()
    is_heavy: bool = False
    needs_gpu: bool = False
    has_colours: bool = False
    caveat: str = ""

    @property
    def draws_by_seed(self) -> bool:
        """Whether another seed gives another result."""
        return self.module in SEEDED

    @property
    def task(self) -> Task:
        """The main task."""
        return self.tasks[0]

    @property
    def is_commercial(self) -> bool:
        """Whether the licence allows commercial use."""
        return self.licence in COMMERCIAL

    @property
    def size(self) -> int | None:
        """Bytes of all files together, None when one is unknown."""
        sizes = [file.size for file in self.files]
        return None if None in sizes else sum(size for size in sizes if size is not None)

    @property
    def page(self) -> str:
        """Where the publisher explains the model."""
        return self.repo if "://" in self.repo else f"https://huggingface.co/{self.repo}"


ENTRIES = Path(__file__).with_name("entries")


def read_entries(file: Path) -> tuple[ModelEntry, ...]:
    """The models that a file of ``entries/`` lists.

    Raises:
        TypeError: A field is missing or unknown.
    """
    with file.open("rb") as stream:
        models = tomllib.load(stream)["models"]
    return tuple(_entry(**fields) for fields in models)


def _entry(
    *,
    tasks: list[Task],
    files: list[dict[str, Any]],
    config: dict[str, object] | None = None,
    **fields: Any,
) -> ModelEntry:
    return ModelEntry(
        tasks=tuple(tasks),
        files=tuple(ModelFile(**file) for file in files),
        config=tuple((config or {}).items()),
        **fields,
    )


# Within a task the best comes first: Auto takes the first that is installed and fits.
CATALOGUE: tuple[ModelEntry, ...] = tuple(
    entry
    for name in ("depth", "cut_out", "pick", "object", "upscale", "inpaint")
    for entry in read_entries(ENTRIES / f"{name}.toml")
)

_BY_ID = {entry.id: entry for entry in CATALOGUE}


def model(model_id: str) -> ModelEntry:
    """The entry of that id.

    Raises:
        KeyError: When there is none.
    """
    return _BY_ID[model_id]


def models_for(task: Task) -> tuple[ModelEntry, ...]:
    """All models that can do a task, the best first."""
    return tuple(entry for entry in CATALOGUE if task in entry.tasks)
