"""Binary FBX: are all its nodes there, and paths in it without folders.

A file is a tree of nodes, each of which says where it ends, so that shorter text moves every end
after it. https://code.blender.org/2013/08/fbx-binary-file-format-specification
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

_MAGIC = b"Kaydara FBX Binary  \0\x1a\0"
_HEAD = len(_MAGIC) + 4  # with the version
_FOOT = b"\xf8\x5a\x8c\x6a\xde\xf5\xd9\x7e\xec\xe9\x0c\xe3\x75\x8f\x29\x0b"
_WIDE = 7500  # version from which lengths have 64 bits
_SIZES = {b"B": 1, b"C": 1, b"Y": 2, b"I": 4, b"F": 4, b"D": 8, b"L": 8}
_LISTS = b"bcilfd"
_ALIGNED, _FOOT_ID, _FOOT_REST = 16, 16 + 4, 4 + 120 + len(_FOOT)


@dataclass(frozen=True, slots=True)
class _Node:
    name: bytes
    properties: list[bytes]  # each as it stands in the file
    children: list[_Node]
    has_end: bool  # of its children, which may be there without any of them


def is_whole_fbx(data: bytes) -> bool:
    """Whether a file holds all of its nodes, and the foot after them.

    Raises:
        ValueError: It is no such file.
        struct.error: It ends too early.
    """
    _nodes, end, _wide = _read(data)
    return data.endswith(_FOOT) and len(data) == end + len(_foot(data, end, end))


def without_folders(data: bytes, folder: str) -> bytes:
    """A copy in which every path into ``folder``, and to its textures, is a bare file name.

    Raises:
        ValueError: It is no binary FBX file.
        struct.error: It ends too early.
    """
    nodes, end, wide = _read(data)
    inside = re.escape(os.fsencode(folder).replace(b"\\", b"/"))
    path = re.compile(rb"(?s)(?:%s(?:/.*)?|(?:.*/)?[^/]*\.fbm)/([^/]+)" % inside)

    def bare(text: bytes) -> bytes:
        match = path.fullmatch(text.replace(b"\\", b"/"))
        return match[1] if match else text

    out = bytearray(data[:_HEAD])
    for node in nodes:
        _write(_renamed(node, bare), out, wide)
    out += bytes(_null(wide))
    return bytes(out + _foot(data, end, len(out)))


def _read(data: bytes) -> tuple[list[_Node], int, bool]:
    """The top nodes, where they end, and how lengths are written."""
    if not data.startswith(_MAGIC):
        raise ValueError("no binary FBX file")
    wide = struct.unpack_from("<I", data, len(_MAGIC))[0] >= _WIDE
    nodes, at = _children(data, _HEAD, len(data), wide)
    return nodes, at, wide


def _children(data: bytes, at: int, end: int, wide: bool) -> tuple[list[_Node], int]:
    """Nodes up to the empty one that ends them, and the place after it."""
    nodes = []
    while at < end:
        stop, count, length, size = struct.unpack_from("<3QB" if wide else "<3IB", data, at)
        at += _null(wide)
        if stop == 0:
            return nodes, at
        begin = at + size
        if not begin + length <= stop <= end:
            raise ValueError("a node ends outside of the one that holds it")
        properties = list(_properties(data, begin, count))
        if sum(map(len, properties)) != length:
            raise ValueError("a node's properties have another length than it says")
        inner, has_end = [], begin + length < stop
        if has_end:
            inner, last = _children(data, begin + length, stop, wide)
            if last != stop:
                raise ValueError("a node ends elsewhere than it says")
        nodes.append(_Node(data[at:begin], properties, inner, has_end))
        at = stop
    raise ValueError("the empty node at the end is missing")


def _properties(data: bytes, at: int, count: int) -> Iterator[bytes]:
    for _ in range(count):
        kind = data[at : at + 1]
        if kind in _SIZES:
            size = _SIZES[kind]
        elif kind in (b"S", b"R"):
            size = 4 + struct.unpack_from("<I", data, at + 1)[0]
        elif kind and kind in _LISTS:
            size = 12 + struct.unpack_from("<I", data, at + 9)[0]
        else:
            raise ValueError(f"unknown property {kind!r}")
        yield data[at : at + 1 + size]
        at += 1 + size


def _renamed(node: _Node, bare: Callable[[bytes], bytes]) -> _Node:
    properties = []
    for value in node.properties:
        if value[:1] == b"S":
            text = bare(value[5:])
            value = b"S" + struct.pack("<I", len(text)) + text
        properties.append(value)
    return _Node(node.name, properties, [_renamed(c, bare) for c in node.children], node.has_end)


def _write(node: _Node, out: bytearray, wide: bool) -> None:
    """Add a node at the end; its own end is known only when it is there."""
    at, form = len(out), "<3Q" if wide else "<3I"
    length = sum(map(len, node.properties))
    out += bytes(struct.calcsize(form)) + bytes([len(node.name)]) + node.name
    for value in node.properties:
        out += value
    for child in node.children:
        _write(child, out, wide)
    if node.has_end:
        out += bytes(_null(wide))
    struct.pack_into(form, out, at, len(out), len(node.properties), length)


def _null(wide: bool) -> int:
    """Length of an empty node."""
    return struct.calcsize("<3QB" if wide else "<3IB")


def _foot(data: bytes, end: int, new_end: int) -> bytes:
    """What follows the nodes: its second part begins at a multiple of 16."""
    padding = _ALIGNED - (new_end + _FOOT_ID) % _ALIGNED
    return data[end : end + _FOOT_ID] + bytes(padding) + data[-_FOOT_REST:]
