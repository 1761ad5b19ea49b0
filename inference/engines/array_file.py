"""Read the arrays of an .npz file that may be damaged or made to do harm.

NumPy's own reader believes what the file says: how far its members inflate, and how large its arrays
are. Here the caller says what it expects, and nothing is made room for that does not fit. Only what
``numpy.savez_compressed`` writes is understood: members stored or deflated, plain numbers.
"""

from __future__ import annotations

import io
import re
import zipfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

MOST_MEMBERS = 64
_ENTRY = b"PK\x01\x02"  # begins each entry of a zip file's directory
_HEADER = re.compile(
    rb"\x93NUMPY\x01\x00(?P<length>..)"
    rb"\{'descr': '(?P<kind>[<|][a-z]\d)', 'fortran_order': (?P<order>True|False),"
    rb" 'shape': \((?P<shape>[\d, ]{0,40})\), \} *\n",
    re.DOTALL,
)
_LONGEST_HEADER = 256  # bytes
_HEAD = 2048  # bytes of an array that tell what it holds


@dataclass(frozen=True, slots=True)
class Expected:
    """What an array may be.

    Attributes:
        kind: Its type of number, such as "<f2".
        largest: Most bytes that it may take.
        told: From its first bytes to the most that it may take by what they tell; raises ValueError
            where they are not of the kind.
    """

    kind: str
    largest: int
    told: Callable[[bytes], int] | None = None


def read_arrays(data: bytes, expected: Mapping[str, Expected]) -> dict[str, NDArray[Any]]:
    """Read those arrays of an .npz file that are expected; others are passed over.

    Args:
        data: The whole file.
        expected: By name what an array may be.

    Returns:
        By name the arrays that are there, read-only.

    Raises:
        Exception: Whatever the damage makes the readers of zip files raise; ValueError where an
            array is not as expected.
    """
    if data.count(_ENTRY) > MOST_MEMBERS:
        raise ValueError("the file has too many members")
    found: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for info in file.infolist():
            name = info.filename.removesuffix(".npy")
            if name not in expected:
                continue
            if name in found:
                raise ValueError(f"{name} is there twice")
            wanted = expected[name]
            found[name] = _array(_content(file, info, wanted), wanted)
    return found


def _content(file: zipfile.ZipFile, info: zipfile.ZipInfo, wanted: Expected) -> bytes:
    """Inflate a member; its checksum is compared on the way."""
    largest = wanted.largest
    if info.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise ValueError("a member is packed in another way")
    if wanted.told is not None:
        with file.open(info) as reader:
            head = reader.read(_HEAD)
        header = _HEADER.match(head)
        largest = min(largest, wanted.told(head[header.end() :] if header is not None else b""))
    if info.file_size > largest + _LONGEST_HEADER:
        raise ValueError("a member is larger than it may be")
    with file.open(info) as reader:
        content = reader.read(info.file_size + 1)  # beyond the end, where the checksum is looked at
    if len(content) != info.file_size:
        raise ValueError("a member ends early")
    return content


def _array(content: bytes, wanted: Expected) -> NDArray[Any]:
    """The array in a member."""
    header = _HEADER.match(content, 0, _LONGEST_HEADER)
    if header is None or int.from_bytes(header["length"], "little") != header.end() - 10:
        raise ValueError("a member is no array as it was written")
    if header["kind"].decode() != wanted.kind:
        raise ValueError("an array is of another type")
    shape = tuple(int(side) for side in header["shape"].split(b",") if side.strip())
    # Fails unless the numbers that are there fill the shape exactly.
    flat = np.frombuffer(content, np.dtype(wanted.kind), offset=header.end())
    return flat.reshape(shape, order="F" if header["order"] == b"True" else "C")
