"""Load PyTorch without stopping Blender, and so that Cancel need not wait for it.

Python's import holds the lock that all its threads share while the system loads a library, for PyTorch
half a second and more, and Blender's main thread waits for that lock. A plain call of the system's own
loader does not hold it; the import that follows finds the libraries loaded.
"""

from __future__ import annotations

import ctypes
import importlib
import importlib.util
import os
import sys
from pathlib import Path

from ..stopping import do_aside


def import_torch() -> None:
    """Import PyTorch, two seconds and more of work; the caller's own import says when it is missing."""
    if "torch" not in sys.modules or getattr(sys.modules["torch"].__spec__, "_initializing", False):
        do_aside("torch", _import_torch)


def _import_torch() -> None:
    load_torch_libraries()
    importlib.import_module("torch")


def load_torch_libraries() -> None:
    """Load what ``import torch`` would; do nothing where it cannot help.

    On Windows PyTorch itself loads its libraries this way.
    """
    if os.name != "posix" or "torch" in sys.modules:
        return
    spec = importlib.util.find_spec("torch")
    if spec is None or spec.origin is None:
        return  # the import will say that PyTorch is missing
    loader = ctypes.CDLL(None).dlopen
    loader.argtypes = [ctypes.c_char_p, ctypes.c_int]
    loader.restype = ctypes.c_void_p
    # Not libtorch_python: it belongs to Python and must be loaded under the lock.
    for path in Path(spec.origin).parent.glob("lib/libtorch.*"):
        loader(
            os.fsencode(path), os.RTLD_LAZY
        )  # what fails here fails in the import, with a reason
