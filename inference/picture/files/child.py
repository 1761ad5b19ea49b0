"""Decode a picture in a process of its own, with bounded memory and time: the side that waits."""

from __future__ import annotations

import importlib.util
import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from ...contracts import Picture, Place
from ...errors import PictureError
from .child_main import TOO_LARGE, UNAVAILABLE
from .read import name_of
from .recognise import damaged

LISTEN = 0.1  # seconds between looks whether the artist has pressed Cancel
MAX_SECONDS = 300.0  # even on a busy computer; the other process bounds its own work besides

_PACKAGES = ("numpy", "cv2", "PIL")
_TOO_LONG = -int(getattr(signal, "SIGXCPU", 0)) or None


class ChildUnavailable(Exception):
    """No other process can be started here."""


def decode_in_child(
    path: Path, max_side: int, max_bytes: int, report: Callable[[], None]
) -> Picture:
    """Load a picture file in another process.

    Args:
        path: The file.
        max_side: Longest side of the result in pixels.
        max_bytes: Memory that reading and decoding may take.
        report: Called ten times a second; the other process ends when it raises.

    Raises:
        PictureError: The picture cannot be read or used, or takes too much memory or time.
        ChildUnavailable: The process does not start.
    """
    name = name_of(path)
    code, words, pixels = _ask([os.fspath(path), str(max_side), str(max_bytes)], report)
    if code == UNAVAILABLE:
        raise ChildUnavailable
    if code == TOO_LARGE:
        raise PictureError(f"{name} would need too much memory; scale it down or save it as JPEG.")
    if code == _TOO_LONG:
        raise PictureError(
            f"{name} takes too long to read; open it in another program and save it again as PNG or "
            "JPEG."
        )
    if code != 0:
        raise damaged(name)
    told = json.loads(words)
    if "sentence" in told:
        raise PictureError(told["sentence"])
    return Picture(
        np.frombuffer(pixels, np.uint8).reshape(told["shape"]),
        told["has_alpha"],
        told["focal_px"],
        told["name"],
        tuple(told["notes"]),
        None if told["place"] is None else Place(*told["place"]),
        told["sha256"],
    )


def _ask(arguments: list[str], report: Callable[[], None]) -> tuple[int | None, bytes, bytearray]:
    """Run the other process; end it at once when ``report`` raises.

    Returns:
        Its exit status (None when it took too long), the line and the pixels that it wrote.
    """
    script = Path(__file__).with_name("child_main.py")
    try:
        child = subprocess.Popen(
            [_python(), "-s", str(script), *arguments],
            stdin=subprocess.PIPE,  # its end tells the other process that this one is gone
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=_environment(),
            creationflags=getattr(subprocess, "CREATE_NO_WINDOW", 0),
        )
    except OSError as error:
        raise ChildUnavailable from error
    words, pixels = bytearray(), bytearray()

    def read() -> None:
        assert child.stdout is not None
        words.extend(child.stdout.readline())
        pixels.extend(child.stdout.read())

    reader = threading.Thread(target=read, name="image-to-mesh-picture", daemon=True)
    ends_at = time.monotonic() + MAX_SECONDS
    with child:
        try:
            reader.start()
            while reader.is_alive():
                report()
                reader.join(LISTEN)
                if time.monotonic() > ends_at:
                    return _TOO_LONG, b"", bytearray()
            return child.wait(), bytes(words), pixels
        finally:
            child.kill()
            reader.join()


def _python() -> str:
    """Python's own program: Blender's, or the one that has Blender as a module.

    Raises:
        ChildUnavailable: There is none, only a program that has Python inside.
    """
    own = Path(sys.executable or "")
    if own.is_file() and own.stem.lower().startswith("python"):
        return str(own)
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    for place in ("bin", "."):
        for name in (f"python{version}", "python3", "python.exe"):
            program = Path(sys.prefix) / place / name
            if program.is_file():
                return str(program)
    raise ChildUnavailable


def _environment() -> dict[str, str]:
    """Let it find the packages, which Python does not look for where extensions keep them."""
    specs = map(importlib.util.find_spec, _PACKAGES)
    places = {str(Path(spec.origin).parent.parent) for spec in specs if spec and spec.origin}
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sorted(places)),
        # Threads and their heaps would count as memory of the picture.
        "OPENBLAS_NUM_THREADS": "1",
        "OMP_NUM_THREADS": "1",
        "MALLOC_ARENA_MAX": "2",
    }
