"""Whether a file was written to its end, by what its own format says about its length.

Exporters do not always notice that the system took only a part of what they wrote.
"""

from __future__ import annotations

import json
import re
import struct
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .fbx import is_whole_fbx

_PLY_SIZES = {
    "char": 1, "uchar": 1, "int8": 1, "uint8": 1, "short": 2, "ushort": 2, "int16": 2, "uint16": 2,
    "int": 4, "uint": 4, "int32": 4, "uint32": 4, "float": 4, "float32": 4, "double": 8,
    "float64": 8,
}  # fmt: skip
_PNG_END = b"\0\0\0\0IEND\xaeB`\x82"
_SEEK_TABLE = 0x8F92EAB1  # what ends a seekable Zstandard file
_SKIPPABLE = 0x184D2A5E  # what begins its table


@dataclass(frozen=True, slots=True)
class Counts:
    """What a mesh file must hold."""

    vertices: int
    faces: int
    triangles: int


def is_whole(path: Path, counts: Counts) -> bool:
    """Whether a file holds all that it announces, and a mesh file all of its mesh.

    Args:
        path: A file; its ending tells its format.
        counts: Of the mesh.
    """
    data = path.read_bytes()
    try:
        return _CHECKS[path.suffix.lower()](data, counts)
    except (ValueError, KeyError, IndexError, struct.error):
        return False


def _glb(data: bytes, counts: Counts) -> bool:
    magic, _version, length = struct.unpack_from("<4sII", data)
    at, chunks = 12, 0
    while at < len(data):
        size, kind = struct.unpack_from("<I4s", data, at)
        if kind == b"JSON":
            json.loads(data[at + 8 : at + 8 + size])
        at, chunks = at + 8 + size, chunks + 1
    return magic == b"glTF" and chunks == 2 and at == length == len(data)


def _blend(data: bytes, counts: Counts) -> bool:
    if data.startswith(b"BLENDER"):  # not compressed: its blocks end with an empty one
        return b"ENDB" in data[-64:]
    frames, _flags, magic = struct.unpack("<IBI", data[-9:])
    table = 9 + 8 * frames
    start, size = struct.unpack_from("<II", data, len(data) - table - 8)
    sizes = struct.unpack_from(f"<{2 * frames}I", data, len(data) - table)[::2]
    return (
        magic == _SEEK_TABLE
        and (start, size) == (_SKIPPABLE, table)
        and sum(sizes) + table + 8 == len(data)
    )


def _obj(data: bytes, counts: Counts) -> bool:
    # Every line begins after another one: there is a comment on top.
    found = data.count(b"\nv "), data.count(b"\nf ")
    return found == (counts.vertices, counts.faces) and data.endswith(b"\n")


def _usd(data: bytes, counts: Counts) -> bool:
    magic, contents = struct.unpack_from("<8s8xq", data)
    (sections,) = struct.unpack_from("<q", data, contents)
    end = contents + 8 + 32 * sections
    for number in range(sections):
        start, size = struct.unpack_from("<16x2q", data, contents + 8 + 32 * number)
        end = max(end, start + size)
    return magic == b"PXR-USDC" and sections > 0 and contents > 0 and end == len(data)


def _stl(data: bytes, counts: Counts) -> bool:
    (triangles,) = struct.unpack_from("<I", data, 80)
    return triangles == counts.triangles and len(data) == 84 + 50 * triangles


def _ply(data: bytes, counts: Counts) -> bool:
    head, end, body = data.partition(b"end_header\n")
    lines = [line.split() for line in head.decode("ascii").splitlines()]
    elements: dict[str, int] = {}
    stride, corners, name = 0, 0, ""
    for line in lines:
        if line[0] == "element":
            name = line[1]
            elements[name] = int(line[2])
        elif line[0] == "property" and name == "vertex":
            stride += _PLY_SIZES[line[1]]
        elif line[:2] == ["property", "list"] and name == "face":
            corners = _PLY_SIZES[line[2]] + 3 * _PLY_SIZES[line[3]]
    # All faces are triangles.
    length = stride * elements["vertex"] + corners * elements["face"]
    return (
        bool(end)
        and elements == {"vertex": counts.vertices, "face": counts.triangles}
        and len(body) == length
    )


def _png(data: bytes, counts: Counts) -> bool:
    return data.startswith(b"\x89PNG") and data.endswith(_PNG_END)


def _text(data: bytes, counts: Counts) -> bool:
    return data.endswith(b"\n")


def _mtl(data: bytes, counts: Counts) -> bool:
    return data.endswith(b"\n") and bool(re.search(rb"^newmtl ", data, re.MULTILINE))


_CHECKS: dict[str, Callable[[bytes, Counts], bool]] = {
    ".glb": _glb,
    ".blend": _blend,
    ".obj": _obj,
    ".mtl": _mtl,
    ".fbx": lambda data, _counts: is_whole_fbx(data),
    ".usdc": _usd,
    ".stl": _stl,
    ".ply": _ply,
    ".png": _png,
    ".json": _text,
}
