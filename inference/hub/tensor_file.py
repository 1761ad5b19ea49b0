"""Read the header of a .safetensors file and write one piece by piece. Standard library only.

The format: eight bytes with the header's length (little endian), the header as JSON (for each tensor its
type, shape and place), then all tensors one after another.

The publisher's package writes a file in one call that can neither be stopped nor tell how far it is.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from ..errors import WeightsError

LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
PIECE = 1 << 24  # bytes written at a time


@dataclass(frozen=True, slots=True)
class TensorBytes:
    """One tensor to write.

    Attributes:
        name: Its key.
        dtype: The format's name of its type, such as "F32".
        shape: Its shape.
        size: Bytes.
        read: Gives them, row-major and little endian; called once.
    """

    name: str
    dtype: str
    shape: tuple[int, ...]
    size: int
    read: Callable[[], memoryview]


def write(
    path: Path,
    tensors: list[TensorBytes],
    metadata: dict[str, str],
    progress: Callable[[int, int], None],
) -> None:
    """Write a file; it gets its name when it is complete.

    Args:
        path: Where to.
        tensors: What is in it.
        metadata: Strings for the header.
        progress: Called with the bytes written and the bytes in all; raises to stop.

    Raises:
        OSError: The disk is full or cannot be written to.
    """
    header: dict[str, object] = {"__metadata__": metadata} if metadata else {}
    end = 0
    for tensor in tensors:
        offsets = [end, end := end + tensor.size]
        header[tensor.name] = {
            "dtype": tensor.dtype,
            "shape": list(tensor.shape),
            "data_offsets": offsets,
        }
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)  # tensors begin at a multiple of eight bytes
    unfinished = path.with_name(f"{path.name}.unfinished")
    try:
        with unfinished.open("wb") as file:
            file.write(len(text).to_bytes(8, "little") + text)
            done = 0
            for tensor in tensors:
                content = tensor.read()
                for begin in range(0, len(content), PIECE):
                    progress(done, end)
                    done += file.write(content[begin : begin + PIECE])
            file.flush()
            os.fsync(file.fileno())
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def keys(path: Path) -> Iterator[str]:
    """Names of the tensors in a file whose length fits its header.

    Raises:
        WeightsError: It is not a whole .safetensors file.
    """
    damaged = WeightsError(
        f"{path.name} is not a whole .safetensors file: download it again, or choose another."
    )
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= LONGEST_HEADER:
                raise damaged
            header = json.loads(file.read(length))
        header.pop("__metadata__", None)
        end = max((int(place["data_offsets"][1]) for place in header.values()), default=0)
        is_whole = path.stat().st_size == 8 + length + end
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise damaged from error
    if not is_whole or not header:
        raise damaged
    return iter(cast("dict[str, object]", header))
