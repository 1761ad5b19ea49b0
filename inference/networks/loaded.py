"""Networks that are in memory: loaded once, shared by the stages of a run, dropped on request.

One network at a time unless the next one fits beside those that are there.
"""

from __future__ import annotations

import importlib
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

from ..errors import WeightsError
from ..hub import weights
from ..hub.catalogue import ModelEntry
from ..machine.memory import free_memory, give_back, is_out_of_memory
from ..machine.native import import_torch

Report = Callable[[float, str], None]
Key = tuple[str, str, str]


class LoadedModels:
    """The networks that are in memory, by model, device and type of number."""

    def __init__(self) -> None:
        self._models: dict[Key, Any] = {}  # the one used last comes last
        self._lock = threading.RLock()

    def get(
        self,
        entry: ModelEntry,
        folder: Path | None,
        device: str,
        dtype: str = "float32",
        report: Report = lambda _fraction, _words: None,
    ) -> Any:
        """The estimator of a model, loaded when it is not in memory yet.

        Args:
            entry: The model.
            folder: The models folder.
            device: "cpu", "cuda" or "mps".
            dtype: "float32", "float16" or "bfloat16".
            report: Called with the finished share and words; raises to stop.

        Raises:
            WeightsError: It is not installed, has changed, or does not fit the network.
            RuntimeError: There is not enough memory.
        """
        key = (entry.id, device, dtype)
        with self._lock:
            if key in self._models:
                self._models[key] = self._models.pop(key)
                return self._models[key]
            if folder is None:
                raise WeightsError(
                    f"{entry.label} is not installed: download it in the preferences, or choose another"
                    " model."
                )
            path = weights.verify(entry, folder, report)
            report(1.0, f"Loading {entry.label}")
            cost = float(entry.cpu_mb if device == "cpu" else entry.gpu_mb)
            self._make_room(cost, device)
            self._models[key] = _loaded(entry, path, device, dtype)
            return self._models[key]

    def names(self) -> tuple[str, ...]:
        """Ids of what is in memory, the one used last at the end."""
        return tuple(key[0] for key in list(self._models))

    def free(self) -> None:
        """Drop all of them and give their memory back."""
        with self._lock:
            self._models.clear()
        give_back()

    def _make_room(self, cost: float, device: str) -> None:
        """Drop what was not used for longest until the next one fits."""
        while self._models:
            memory = free_memory(device)
            free = memory.main if device == "cpu" else memory.graphics
            if free is None or free < cost:
                oldest = next(iter(self._models))
                del self._models[oldest]
                give_back()
            else:
                return


LOADED = LoadedModels()
"""Those of this process."""


def _loaded(entry: ModelEntry, path: Path, device: str, dtype: str) -> Any:
    import_torch()
    import torch

    network = importlib.import_module(f"..models.{entry.module}", __package__)
    try:
        return network.load(path, torch.device(device), getattr(torch, dtype), **dict(entry.config))
    except (RuntimeError, KeyError, ValueError) as error:
        if is_out_of_memory(error):
            raise
        raise WeightsError(
            f"The files of {entry.label} do not fit its network ({str(error).splitlines()[0][:120]}):"
            " delete it in the preferences and download it again."
        ) from error
