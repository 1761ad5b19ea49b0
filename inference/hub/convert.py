"""Turn a publisher's .pth, .ckpt or TorchScript file into .safetensors, once.

A pickle can run any program when it is opened. PyTorch's own reader with ``weights_only=True`` knows
tensors and plain containers and refuses everything else; after the conversion nobody opens the pickle again.
A TorchScript archive is read by ``torchscript``, which runs nothing of it, and only if its hash is the one
in the catalogue.
"""

from __future__ import annotations

import importlib
import json
import pickle
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, cast

from ..errors import WeightsError
from . import tensor_file, torchscript
from .disk import disk_failure

if TYPE_CHECKING:
    from torch import Tensor

Report = Callable[[float, str], None]

# Where publishers put the weights inside a larger dictionary; the first that is there counts.
STATE_KEYS = ("params_ema", "state_dict", "model", "params", "net")
CONFIG_KEYS = ("model_config", "config")
DTYPES = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "bool": "BOOL",
}


def to_safetensors(
    source: Path, target: Path, *, is_torchscript: bool, module: str, report: Report
) -> None:
    """Convert a file; the original stays.

    Args:
        source: The publisher's file.
        target: The .safetensors file to write; it appears when it is complete.
        is_torchscript: Whether the original is a TorchScript archive instead of a pickle.
        module: The network's module in ``inference.models``; its ``map_checkpoint`` names the tensors.
        report: Called with the finished share and words; raises to stop.

    Raises:
        WeightsError: The original is damaged, holds something else than weights, or the disk is full.
    """
    words = f"Converting {source.name}"
    report(0.0, words)
    content = _torchscript_state(source) if is_torchscript else _unpickled(source)
    state, metadata = _state_in(content, source)
    for name, tensor in state.items():
        if (oddity := _oddity(tensor)) is not None:
            raise WeightsError(
                f"{source.name} holds {name[:80]} as {oddity}, which weights are not: choose the"
                " publisher's own file."
            )
    network = importlib.import_module(f"..models.{module}", __package__)
    try:
        mapped = cast("dict[str, Tensor]", network.map_checkpoint(state))
    except (KeyError, ValueError, IndexError, RuntimeError) as error:
        raise WeightsError(
            f"{source.name} does not hold the weights of this network ({error}): choose the publisher's"
            " own file."
        ) from error
    if not mapped:
        raise WeightsError(f"{source.name} holds no weights: choose the publisher's own file.")
    tensors = [_as_bytes(name, tensor, source) for name, tensor in sorted(mapped.items())]
    try:
        tensor_file.write(
            target, tensors, metadata, lambda done, size: report(done / max(size, 1), words)
        )
    except OSError as error:
        raise disk_failure(error, target.parent) from error


def _unpickled(source: Path) -> object:
    import torch

    is_zip = zipfile.is_zipfile(source)  # files of before PyTorch 1.6 cannot be mapped
    try:
        return torch.load(source, map_location="cpu", weights_only=True, mmap=is_zip)
    except pickle.UnpicklingError as error:
        raise WeightsError(
            f"{source.name} holds more than weights, which could run a program on your computer, so it"
            " was not opened: use the publisher's own file."
        ) from error
    except MemoryError:
        raise
    except Exception as error:  # a pickle of garbage can fail in any way
        raise _damaged(source) from error


def _torchscript_state(source: Path) -> object:
    try:
        return torchscript.read_state(source)
    except (pickle.UnpicklingError, ValueError, OSError) as error:
        raise _damaged(source) from error


def _damaged(source: Path) -> WeightsError:
    return WeightsError(
        f"{source.name} is damaged or not a weights file: delete it and download it again."
    )


def _state_in(content: object, source: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The named tensors in what a file holds, and as JSON the settings that lie beside them."""
    import torch

    if isinstance(content, Mapping):
        settings = {key: _json(content[key]) for key in CONFIG_KEYS if content.get(key) is not None}
        nested = next((content[k] for k in STATE_KEYS if isinstance(content.get(k), Mapping)), None)
        inner = nested if nested is not None else content
        assert isinstance(inner, Mapping)
        state = {str(k): v for k, v in inner.items() if isinstance(v, torch.Tensor)}
        if state:
            return state, {key: text for key, text in settings.items() if text is not None}
    raise WeightsError(f"{source.name} holds no weights: choose the publisher's own file.")


def _oddity(tensor: Tensor) -> str | None:
    """How a tensor is not a plain block of numbers; None when it is one.

    A file of a few bytes can hold tensors that would fill the memory or the disk when they are written out.
    """
    import torch

    if tensor.is_nested or tensor.layout != torch.strided:
        return "a sparse or nested tensor"
    if tensor.is_quantized:
        return "a quantized tensor"
    if tensor.device.type != "cpu":
        return "a tensor without numbers"
    is_repeated = any(
        n > 1 and step == 0 for n, step in zip(tensor.shape, tensor.stride(), strict=True)
    )
    if is_repeated or tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        return "numbers that are repeated"
    return None


def _json(settings: object) -> str | None:
    """Settings as JSON, None when it cannot hold them."""
    try:
        return json.dumps(settings)
    except (TypeError, ValueError):
        return None


def _as_bytes(name: str, tensor: Tensor, source: Path) -> tensor_file.TensorBytes:
    import torch

    dtype = DTYPES.get(str(tensor.dtype).removeprefix("torch."))
    if dtype is None:
        raise WeightsError(
            f"{source.name} holds numbers of the kind {tensor.dtype}, which cannot be converted: choose"
            " the publisher's own file."
        )

    def read() -> memoryview:
        flat = tensor.detach().contiguous().reshape(-1)
        return flat.view(torch.uint8).numpy().data

    return tensor_file.TensorBytes(
        name, dtype, tuple(tensor.shape), tensor.numel() * tensor.element_size(), read
    )
