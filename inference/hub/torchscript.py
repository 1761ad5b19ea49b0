"""The tensors in a TorchScript archive, read without running anything of it.

An archive is a zip file. ``data.pkl`` is a pickle that says which module holds which tensor, the numbers
lie beside it in ``data/``, and ``code/`` holds the program, which is not looked at. The pickle is read by
an unpickler that knows nothing but tensors, lists and empty shells in place of modules. The format is that
of PyTorch's own serialisation (torch/csrc/jit/serialization/pickler.cpp).
"""

from __future__ import annotations

import io
import pickle
import zipfile
from collections import OrderedDict
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch
    from torch import Tensor

MODULES = "__torch__"  # the package that all classes of an archive are in
STORAGES = {
    "DoubleStorage": "float64",
    "FloatStorage": "float32",
    "HalfStorage": "float16",
    "BFloat16Storage": "bfloat16",
    "LongStorage": "int64",
    "IntStorage": "int32",
    "ShortStorage": "int16",
    "CharStorage": "int8",
    "ByteStorage": "uint8",
    "BoolStorage": "bool",
}
LISTS = ("build_intlist", "build_doublelist", "build_boollist", "build_tensorlist")


def read_state(path: Path) -> dict[str, Tensor]:
    """Tensors by the names that the module's ``state_dict`` gives them.

    A tensor that a module holds as a plain attribute is among them, which ``state_dict`` leaves out.

    Raises:
        pickle.UnpicklingError: The archive holds something else than modules, tensors and numbers.
        ValueError: It is damaged, or no archive.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith("/data.pkl")]
            if len(names) != 1:
                raise ValueError("no data.pkl")
            folder = names[0].removesuffix("data.pkl")
            root = _Reader(archive, folder).load()
    except (zipfile.BadZipFile, KeyError, EOFError, RuntimeError, TypeError, IndexError) as error:
        raise ValueError(f"{path.name}: {error}") from error
    return dict(_tensors(root, ""))


class _Shell:
    """A module of the archive: its attributes and no methods."""

    attributes: object = None

    def __setstate__(self, state: object) -> None:
        self.attributes = state


class _Reader(pickle.Unpickler):
    """Reads ``data.pkl``; each storage is read once however many tensors share it."""

    def __init__(self, archive: zipfile.ZipFile, folder: str) -> None:
        super().__init__(io.BytesIO(archive.read(f"{folder}data.pkl")))
        self._archive = archive
        self._folder = folder
        self._storages: dict[str, Tensor] = {}

    def find_class(self, module: str, name: str) -> object:
        """The few things that an archive of weights refers to."""
        if module.partition(".")[0] == MODULES:
            return _Shell
        if module == "torch" and name in STORAGES:
            return STORAGES[name]
        if (module, name) == ("torch._utils", "_rebuild_tensor_v2"):
            return _tensor
        if (module, name) == ("collections", "OrderedDict"):
            return OrderedDict
        if module == "torch.jit._pickle" and name in LISTS:
            return list
        if (module, name) == ("torch.jit._pickle", "restore_type_tag"):
            return _untagged
        raise pickle.UnpicklingError(f"{module}.{name} is no weight")

    def persistent_load(self, pid: tuple[str, str, str, str, int]) -> Tensor:
        """A storage by ("storage", type, name, device, count of numbers)."""
        import torch

        kind, dtype_name, name, _device, count = pid
        if kind != "storage" or not isinstance(dtype_name, str):
            raise pickle.UnpicklingError(f"{kind} is no storage")
        if name not in self._storages:
            dtype: torch.dtype = getattr(torch, dtype_name)
            content = bytearray(self._archive.read(f"{self._folder}data/{name}"))
            if len(content) != count * dtype.itemsize:
                raise ValueError(f"storage {name} has {len(content)} bytes")
            self._storages[name] = (
                torch.frombuffer(content, dtype=dtype) if content else torch.empty(0, dtype=dtype)
            )
        return self._storages[name]


def _tensor(
    storage: Tensor, offset: int, size: tuple[int, ...], stride: tuple[int, ...], *_rest: object
) -> Tensor:
    return storage.as_strided(size, stride, offset)


def _untagged(value: object, _type: str) -> object:
    return value


def _tensors(value: object, name: str) -> Iterator[tuple[str, Tensor]]:
    """Tensors in a shell and in the shells in it, with dotted names."""
    import torch

    if isinstance(value, torch.Tensor):
        yield name, value
    elif isinstance(value, _Shell) and isinstance(value.attributes, dict):
        for key, inner in value.attributes.items():
            yield from _tensors(inner, f"{name}.{key}" if name else str(key))
