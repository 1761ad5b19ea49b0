"""Read the header of a .safetensors file and write one piece by piece. Standard library only.

The format: eight bytes with the header's length (little endian), the header as JSON (for each tensor its
type, shape and place), then all tensors one after another.

The publisher's package writes a file in one call that can neither be stopped nor tell how far it is.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from ..errors import WeightsError

LONGEST_HEADER = 100_000_000  # bytes, the format's own limit
MOST_AXES = 64  # PyTorch's own limit
# Of one number, by the format's names; those that PyTorch packs below a byte are not among them.
BITS = {
    **dict.fromkeys(("BOOL", "U8", "I8", "F8_E5M2", "F8_E4M3", "F8_E8M0"), 8),
    **dict.fromkeys(("U16", "I16", "F16", "BF16"), 16),
    **dict.fromkeys(("U32", "I32", "F32"), 32),
    **dict.fromkeys(("U64", "I64", "F64", "C64"), 64),
}
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


def require_sound(path: Path) -> None:
    """Make sure that every tensor of a file has its own bytes, as many as it needs, and none are left over.

    Raises:
        WeightsError: It is not a whole .safetensors file, or its header says what cannot be.
        OSError: It cannot be read.
    """
    damaged = WeightsError(
        f"{path.name} is not a whole .safetensors file: download it again, or choose another."
    )
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= min(LONGEST_HEADER, size - 8):
            raise damaged
        text = file.read(length)
    try:
        header = json.loads(text, object_pairs_hook=_without_doubles)
        if any(type(text) is not str for text in header.get("__metadata__", {}).values()):
            raise damaged
        places = sorted(_place(tensor) for key, tensor in header.items() if key != "__metadata__")
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise damaged from error
    end = 0
    for first, last in places:
        if first != end:
            raise damaged
        end = last
    if not places or size != 8 + length + end:
        raise damaged


def _place(tensor: dict[str, object]) -> tuple[int, int]:
    """Where a tensor begins and ends, from what the header says of it; raises when that does not add up."""
    shape, offsets = tensor["shape"], tensor["data_offsets"]
    if not isinstance(shape, list) or not isinstance(offsets, list) or len(shape) > MOST_AXES:
        raise TypeError("no lists of sizes")
    if any(type(number) is not int or number < 0 for number in (*shape, *offsets)):
        raise ValueError("sizes are whole numbers")
    first, last = offsets
    bits = BITS[str(tensor["dtype"])] * math.prod(shape)
    if 8 * (last - first) != bits:
        raise ValueError("too many bytes or too few")
    return first, last


def _without_doubles(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name twice")
    return found
