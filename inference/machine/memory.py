"""How much memory there is, and what to do when it was not enough.

PyTorch reports every lack of memory, on a graphics card and on the processor, as a RuntimeError of some
kind; ``is_out_of_memory`` knows them. ``within_memory`` goes down a ladder of efforts until one fits.
"""

from __future__ import annotations

import gc
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

T = TypeVar("T")

MB = 1024 * 1024
USABLE = 0.6  # of the main memory, where the system does not tell how much is free


@dataclass(frozen=True, slots=True)
class Memory:
    """Free memory in megabytes.

    Attributes:
        main: For the processor; None when the system does not tell.
        graphics: On the graphics card; None when there is none or it is not known yet.
        has_card: Whether networks run on a graphics card; None when it is not known yet.
    """

    main: float | None
    graphics: float | None
    has_card: bool | None


def free_memory(device: str, *, may_wait: bool = True) -> Memory:
    """Look at what is free.

    The graphics card can only be asked through PyTorch, which takes seconds to load: it is asked when
    PyTorch is loaded already.

    Args:
        device: "auto", "cpu", "cuda" or "mps".
        may_wait: Ask a graphics card even if nothing has run on it yet: the first question takes a
            second and some of its memory. Blender's main thread must not.
    """
    main = _free_main_mb()
    if device == "cpu":
        return Memory(main, None, has_card=False)
    torch = _loaded_torch()
    if torch is None or not (may_wait or torch.cuda.is_initialized()):
        return Memory(main, None, has_card=None if device == "auto" else True)
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return Memory(main, torch.cuda.mem_get_info()[0] / MB, has_card=True)
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return Memory(main, main, has_card=True)  # it shares the main memory
    return Memory(main, None, has_card=False)


def likely_memory(device: str) -> Memory:
    """The same as ``free_memory`` before PyTorch is loaded, with a guess at whether there is a card."""
    found = free_memory(device, may_wait=False)
    if found.has_card is not None:
        return found
    return replace(found, has_card=_has_card_driver())


def _has_card_driver() -> bool:
    """Whether the system has a driver for a card that PyTorch can use."""
    import platform
    import shutil

    if sys.platform == "darwin":
        return platform.machine() == "arm64"
    return Path("/proc/driver/nvidia/version").exists() or shutil.which("nvidia-smi") is not None


def device_words(device: str) -> str:
    """What networks run on here, as far as that is known without waiting."""
    if device == "cpu":
        return "the processor"
    torch = _loaded_torch()
    if torch is None:
        kind = "a graphics card" if _has_card_driver() else "the processor"
        return f"{kind}, as it seems before the first run"
    if device in ("auto", "cuda") and torch.cuda.is_available():
        return str(torch.cuda.get_device_name(0))
    if device in ("auto", "mps") and torch.backends.mps.is_available():
        return "Apple graphics"
    return "the processor" if device == "auto" else "nothing: this device is not there"


def _loaded_torch() -> Any:
    """PyTorch if it is loaded; None also while another thread is still loading it."""
    torch = sys.modules.get("torch")
    is_loading = getattr(getattr(torch, "__spec__", None), "_initializing", False)
    return None if is_loading else torch


def _free_main_mb() -> float | None:
    if sys.platform == "linux":
        try:
            for line in Path("/proc/meminfo").read_text(encoding="ascii").splitlines():
                if line.startswith("MemAvailable:"):
                    return int(line.split()[1]) / 1024
        except (OSError, ValueError, IndexError):
            return None
    if sys.platform == "win32":
        return _free_windows_mb()
    import os

    try:
        return USABLE * os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / MB
    except (OSError, ValueError, AttributeError):
        return None


def _free_windows_mb() -> float | None:
    import ctypes

    class Status(ctypes.Structure):
        """MEMORYSTATUSEX of the Windows API."""

        _fields_ = [("length", ctypes.c_ulong), ("load", ctypes.c_ulong)] + [
            (name, ctypes.c_ulonglong)
            for name in ("total", "free", "pages", "free_pages", "virtual", "free_virtual", "more")
        ]

    status = Status(length=ctypes.sizeof(Status))
    if not ctypes.windll.kernel32.GlobalMemoryStatusEx(ctypes.byref(status)):  # type: ignore[attr-defined]
        return None
    return status.free / MB


def give_back() -> None:
    """Return what nothing uses any more, to the system and to the graphics card."""
    gc.collect()
    torch = _loaded_torch()
    if torch is None:
        return
    if torch.cuda.is_available() and torch.cuda.is_initialized():
        torch.cuda.empty_cache()
    if torch.backends.mps.is_available():
        torch.mps.empty_cache()


@dataclass(frozen=True, slots=True)
class Effort:
    """How a network runs.

    Attributes:
        device: "cpu", "cuda" or "mps".
        dtype: "float32", "float16" or "bfloat16".
        max_side: Longest side in pixels at which it looks; None is its own choice.
        chunk: How much it does at once (pictures, points); None is its own choice.
    """

    device: str
    dtype: str = "float32"
    max_side: int | None = None
    chunk: int | None = None


def ladder(
    first: Effort,
    *,
    half: str | None = None,
    max_sides: Sequence[int] = (),
    chunks: Sequence[int] = (),
) -> tuple[Effort, ...]:
    """The efforts to try, one after another, each needing less of the device's memory.

    Smaller chunks change nothing but the time, half precision hardly anything, a smaller side loses
    detail, and the processor is slow: in this order.

    Args:
        first: The best one.
        half: "float16" or "bfloat16" where the network runs well in it.
        max_sides: Smaller and smaller.
        chunks: Smaller and smaller.
    """
    steps = [first]
    steps += [replace(steps[-1], chunk=chunk) for chunk in chunks]
    if half is not None and first.dtype == "float32" and first.device != "cpu":
        steps.append(replace(steps[-1], dtype=half))
    steps += [replace(steps[-1], max_side=side) for side in max_sides]
    if first.device != "cpu":
        least = chunks[-1] if chunks else first.chunk
        steps.append(Effort("cpu", "float32", first.max_side, least))
        steps += [Effort("cpu", "float32", side, least) for side in max_sides]
    return tuple(steps)


def within_memory(
    efforts: Sequence[Effort],
    attempt: Callable[[Effort], T],
    name: str,
    make_room: Callable[[], None] = give_back,
) -> tuple[T, tuple[str, ...]]:
    """Do something with the first effort that fits into memory.

    Args:
        efforts: From ``ladder``.
        attempt: Does it; whatever it raises beside a lack of memory goes through.
        name: What runs, for the sentences.
        make_room: Called after each failure.

    Returns:
        The result, and a sentence for each step down.

    Raises:
        RuntimeError: Or MemoryError: not even the last effort fits.
    """
    notes: list[str] = []
    for index, effort in enumerate(efforts):
        try:
            return attempt(effort), tuple(notes)
        except (RuntimeError, MemoryError) as error:
            if not is_out_of_memory(error) or index == len(efforts) - 1:
                raise
        # Out of the handler, so that the traceback no longer holds the tensors.
        make_room()
        notes.append(_step_down(name, effort, efforts[index + 1]))
    raise ValueError("there must be at least one effort")


def _step_down(name: str, before: Effort, after: Effort) -> str:
    if after.device != before.device:
        how = "on the processor, which takes longer"
    elif after.max_side != before.max_side:
        how = f"at {after.max_side} pixels, with less detail"
    elif after.dtype != before.dtype:
        how = "in half precision"
    else:
        how = "in smaller pieces, which takes longer"
    where = "main memory" if before.device == "cpu" else "the graphics card's memory"
    return f"{name} did not fit into {where} and ran {how}."


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an exception means that memory was not enough."""
    if isinstance(error, MemoryError):
        return True
    text = str(error).lower()
    signs = (
        "out of memory",
        "can't allocate memory",
        "not enough memory",
        "cublas_status_alloc_failed",
    )
    return isinstance(error, RuntimeError) and any(sign in text for sign in signs)
