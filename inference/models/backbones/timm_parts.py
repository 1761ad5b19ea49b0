"""Modules of timm, the library of published backbones, without what no backbone here needs.

``import timm`` loads every network it has (about 100 MB and more than a second during which Blender's
window waits) and asks for torchvision, of which a backbone runs nothing. So a single module is loaded
with the layers it is built of, and where torchvision is missing, or was built for another PyTorch and
cannot be imported, empty classes stand in for its names for as long as the import lasts. Afterwards
nothing of this is left to be found: whoever imports timm or torchvision gets them as they are.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import Any

# Packages whose __init__.py would import everything there is.
_BARE = ("timm", "timm.models", "timm.data")
# Where timm would fetch weights; it imports huggingface_hub. Ours come by ``hub``.
_FETCHING = "timm.models._hub"
# What a torchvision says that does not fit the installed PyTorch: one of these, by its age and system.
_BROKEN = (ImportError, RuntimeError, AttributeError, OSError)

_lock = threading.Lock()
_loaded: dict[str, ModuleType] = {}


def timm_module(name: str) -> Any:
    """Give a module of timm; a second call gives the same one.

    Args:
        name: Its name within timm, such as "models.vision_transformer".

    Raises:
        ModuleNotFoundError: timm is not installed; the error's ``name`` says so.
    """
    with _lock:
        if "timm" in sys.modules:  # another add-on has the whole of it in memory
            return importlib.import_module(f"timm.{name}")
        spec = importlib.util.find_spec("timm")
        if spec is None or spec.origin is None:
            raise ModuleNotFoundError("No module named 'timm'", name="timm")
        with torchvision_or_stand_in():
            try:
                return _alone(f"timm.{name}", Path(spec.origin).parent)
            except (ImportError, AttributeError):
                # Another version of timm, in which that module needs more of its packages.
                return importlib.import_module(f"timm.{name}")


def _alone(name: str, folder: Path) -> ModuleType:
    """Load one module and what it imports; ``sys.modules`` looks as before."""
    sys.modules.update(_loaded)
    try:
        if not _loaded:
            _add_bare_packages(folder)
        found = importlib.import_module(name)
        _loaded.update((k, module) for k, module in sys.modules.items() if _belongs(k, "timm"))
        return found
    finally:
        _forget("timm", set())


def _add_bare_packages(folder: Path) -> None:
    """Put packages with nothing but their place into ``sys.modules``, and what modules ask them for."""
    for name in _BARE:
        spec = ModuleSpec(name, None, is_package=True)
        spec.submodule_search_locations = [str(folder.joinpath(*name.split(".")[1:]))]
        sys.modules[name] = importlib.util.module_from_spec(spec)
    version, constants = (
        importlib.import_module(f"timm.{n}") for n in ("version", "data.constants")
    )
    vars(sys.modules["timm"])["__version__"] = version.__version__
    known = {key: value for key, value in vars(constants).items() if not key.startswith("_")}
    vars(sys.modules["timm.data"]).update(known)
    sys.modules[_FETCHING] = _EmptyModule(_FETCHING)


@contextmanager
def torchvision_or_stand_in() -> Iterator[bool]:
    """Let ``import torchvision`` succeed; gives whether it is the real one.

    A torchvision that works is left alone. The stand-in is gone at the end.
    """
    if _torchvision_works():
        yield True
        return
    finder = _StandIn()
    sys.meta_path.insert(0, finder)
    try:
        yield False
    finally:
        sys.meta_path.remove(finder)
        _forget("torchvision", set())


def _torchvision_works() -> bool:
    before = set(sys.modules)
    try:
        importlib.import_module("torchvision")
    except _BROKEN:
        _forget("torchvision", before)  # what was imported before it failed
        return False
    return True


def _forget(package: str, kept: set[str]) -> None:
    for key in [key for key in sys.modules if _belongs(key, package) and key not in kept]:
        del sys.modules[key]


def _belongs(name: str, package: str) -> bool:
    return name.partition(".")[0] == package


class _StandIn(MetaPathFinder, Loader):
    """Answers for every module of torchvision with one that has any name it is asked for."""

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if not _belongs(fullname, "torchvision"):
            return None
        return ModuleSpec(fullname, self, is_package=True)

    def create_module(self, spec: ModuleSpec) -> ModuleType:
        return _EmptyModule(spec.name)

    def exec_module(self, module: ModuleType) -> None:
        """Nothing to run."""


class _EmptyModule(ModuleType):
    def __getattr__(self, name: str) -> type:
        return _empty_class(self, name)


class _EmptyMeta(type):
    """Classes that have any name they are asked for, as an enumeration has its members."""

    def __getattr__(cls, name: str) -> type:
        return _empty_class(cls, name)


def _empty_class(owner: object, name: str) -> type:
    """A class that can be named, derived and asked for, and is no class of any object."""
    if name.startswith("__"):
        raise AttributeError(name)
    found = _EmptyMeta(name, (), {})
    setattr(owner, name, found)
    return found
