"""How far the installation of a model has come."""

from __future__ import annotations

import time
from collections.abc import Callable

from .catalogue import ModelEntry, ModelFile
from .disk import Progress

Report = Callable[[float, str], None]

CONVERTING = 0.1  # share of the progress bar that a conversion gets
REPORT_INTERVAL = 0.1  # seconds


class Meter:
    """Turns the bytes of one model's files into shares of all of them, and words."""

    def __init__(self, entry: ModelEntry, report: Report) -> None:
        self._label, self._report = entry.label, report
        self._weights = {file: float(file.size or 1) for file in entry.files}
        self._share = 1.0 - CONVERTING if entry.source != "safetensors" else 1.0
        self._done = 0.0
        self._fraction, self._words = 0.0, f"Looking for {entry.label}"
        self._told = 0.0
        self._began: tuple[float, int] | None = None

    def finish(self, file: ModelFile) -> None:
        """A file is in its place."""
        self._done += self._weights[file]
        self._began = None

    def waiting(self) -> None:
        """Nothing new; gives the chance to stop."""
        self._tell(self._fraction, self._words)

    def waiting_for_another(self) -> None:
        """Another Blender, or another thread, installs the same model."""
        self._tell(self._fraction, f"Waiting for another download of {self._label}")

    def receiving(self, file: ModelFile) -> Progress:
        """Progress of a transfer, with its speed."""

        def progress(have: int, size: int | None) -> None:
            now = time.monotonic()
            if self._began is None:
                self._began = (now, have)
            seconds, arrived = now - self._began[0], have - self._began[1]
            speed = f", {arrived / seconds / 1e6:.1f} MB/s" if seconds > 1.0 else ""
            total = f" of {size / 1e6:,.0f}" if size else ""
            words = f"Downloading {self._label}: {have / 1e6:,.0f}{total} MB{speed}"
            self._tell(self._total(file, self._share * have / size if size else 0.0), words)

        return progress

    def reading(self, file: ModelFile) -> Progress:
        """Progress of reading or copying a file of this computer."""

        def progress(have: int, size: int | None) -> None:
            share = self._share * have / size if size else 0.0
            self._tell(self._total(file, share), f"Reading {self._label}")

        return progress

    def waiting_for(self, file: ModelFile) -> Progress:
        """Progress of the last look at a converted file."""
        return lambda _have, _size: self._tell(self._total(file, 1.0), f"Checking {self._label}")

    def converting(self, file: ModelFile) -> Report:
        """Progress of a conversion."""

        def report(share: float, words: str) -> None:
            self._tell(self._total(file, self._share + CONVERTING * share), words)

        return report

    def _total(self, file: ModelFile, share: float) -> float:
        return (self._done + share * self._weights[file]) / sum(self._weights.values())

    def _tell(self, fraction: float, words: str) -> None:
        self._fraction, self._words = fraction, words
        if time.monotonic() - self._told >= REPORT_INTERVAL:
            self._told = time.monotonic()
            self._report(min(fraction, 1.0), words)
