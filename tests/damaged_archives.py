"""Damaged and hostile versions of what is kept with an object, made from a sound one."""

from __future__ import annotations

import io
import json
import struct
import zipfile
from collections.abc import Callable, Iterator
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

Members = dict[str, bytes]
Array = NDArray[Any]

_END = b"PK\x05\x06"
_ENTRY = b"PK\x01\x02"


def flipped(data: bytes, count: int, seed: int) -> Iterator[tuple[str, bytes]]:
    """Versions with one byte changed; half of them where the zip file tells of its members."""
    random = np.random.default_rng(seed)
    places = [*_headers(data)]
    for number in range(count):
        if number % 2:
            at = int(places[random.integers(len(places))])
        else:
            at = int(random.integers(len(data)))
        value = int(random.integers(1, 256)) ^ data[at]
        yield f"byte {at} = {value}", data[:at] + bytes([value]) + data[at + 1 :]


def _headers(data: bytes) -> Iterator[int]:
    """Where each byte of the zip file's own structures lies, and the first ones of each member."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        for info in file.infolist():
            yield from range(info.header_offset, info.header_offset + 200)
    yield from range(data.index(_ENTRY), len(data))


def changed(data: bytes) -> dict[str, bytes]:
    """Versions changed on purpose, by what was done to them."""
    members = read(data)
    facts = json.loads(array_of(members["facts.npy"]).tobytes())
    made: dict[str, bytes] = {}
    made |= {f"zip: {name}": value for name, value in containers(data).items()}
    for name, value in _headers_of_arrays(members).items():
        made[f"array: {name}"] = write(members | value)
    for name, change in _FACTS.items():
        altered = json.loads(json.dumps(facts))
        text = change(altered)
        words = text if isinstance(text, str) else json.dumps(altered)
        made[f"facts: {name}"] = write(members | {"facts.npy": npy(_as_bytes(words))})
    for name, value in _values(members).items():
        made[f"values: {name}"] = write(members | value)
    return made


def read(data: bytes) -> Members:
    """The members of a sound archive."""
    with zipfile.ZipFile(io.BytesIO(data)) as file:
        return {info.filename: file.read(info) for info in file.infolist()}


def write(members: Members, method: int = zipfile.ZIP_DEFLATED) -> bytes:
    """An archive with these members."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", method) as file:
        for name, value in members.items():
            file.writestr(name, value)
    return stream.getvalue()


def array_of(member: bytes) -> Array:
    """The array in a member."""
    return np.load(io.BytesIO(member), allow_pickle=False)


def npy(array: Array) -> bytes:
    """A member that holds an array."""
    stream = io.BytesIO()
    np.save(stream, array, allow_pickle=True)
    return stream.getvalue()


def header(words: str, body: bytes = b"", version: bytes = b"\x01\x00") -> bytes:
    """A member whose header says something else than its body holds."""
    text = words.encode() + b"\n"
    length = struct.pack("<H" if version == b"\x01\x00" else "<I", len(text))
    return b"\x93NUMPY" + version + length + text + body


def bomb(members: Members, member: str, shape: tuple[int, ...], kind: str) -> bytes:
    """A small archive in which one member is all of a huge array of zeros."""
    size = int(np.prod(shape)) * np.dtype(kind).itemsize
    words = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape!r}, }}"
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as file:
        for name, value in members.items():
            if name != member:
                file.writestr(name, value)
        info = zipfile.ZipInfo(member)
        info.compress_type = zipfile.ZIP_DEFLATED
        with file.open(info, "w", force_zip64=True) as writer:
            writer.write(header(words))
            block = bytes(1 << 20)
            for _ in range(size >> 20):
                writer.write(block)
            writer.write(bytes(size & ((1 << 20) - 1)))
    return stream.getvalue()


def _as_bytes(words: str) -> Array:
    return np.frombuffer(words.encode(), np.uint8)


def _patched(data: bytes, entry: int, at: int, value: bytes, *, local: int | None = None) -> bytes:
    """Overwrite a field of the ``entry``th member in the directory, and in its own header."""
    changed = bytearray(data)
    place = -1
    for _ in range(entry + 1):
        place = data.index(_ENTRY, place + 1)
    changed[place + at : place + at + len(value)] = value
    if local is not None:
        start = struct.unpack_from("<I", data, place + 42)[0] + local
        changed[start : start + len(value)] = value
    return bytes(changed)


def containers(data: bytes) -> Members:
    """Versions whose zip file or members are damaged, whatever the archive holds."""
    members = read(data)
    end = data.rindex(_END)
    first = next(iter(members))
    u16, u32 = struct.Struct("<H").pack, struct.Struct("<I").pack
    made = {
        "empty": b"",
        "one byte": b"P",
        "no zip file": b"not at all a zip file" * 50,
        "no members": write({}),
        "end of directory cut": data[:end],
        "junk before": b"\0" * 1000 + data,
        "junk after": data + b"\0" * 1000,
        "long comment said": data[: end + 20] + u16(60000),
        "stored": write(members, zipfile.ZIP_STORED),
        "bzip2": write(members, zipfile.ZIP_BZIP2),
        "lzma": write(members, zipfile.ZIP_LZMA),
        "unknown method": _patched(data, 0, 10, u16(99), local=8),
        "method stored said": _patched(data, 0, 10, u16(0), local=8),
        "encrypted": _patched(data, 0, 8, u16(1), local=6),
        "strong encryption": _patched(data, 0, 8, u16(64), local=6),
        "patched data": _patched(data, 0, 8, u16(32), local=6),
        "newest version": _patched(data, 0, 6, u16(0x0F98), local=4),
        "wrong checksum": _patched(data, 0, 16, u32(1), local=14),
        "smaller size said": _patched(data, 1, 24, u32(1000), local=22),
        "larger size said": _patched(data, 1, 24, u32(2_000_000_000), local=22),
        "smaller body said": _patched(data, 1, 20, u32(100), local=18),
        "larger body said": _patched(data, 1, 20, u32(4_000_000_000), local=18),
        "place far away": _patched(data, 1, 42, u32(4_000_000_000)),
        "place of another": _patched(data, 1, 42, u32(0)),
        "long extra field said": _patched(data, 0, 30, u16(65000)),
        "broken extra field": _patched(data, 0, 30, u16(3)),
        "long name said": _patched(data, 0, 28, u16(65000)),
        "name that is no text": _patched(data, 0, 46, b"\xff\xfe\xfd", local=30),
        "name of a folder above": _patched(data, 0, 46, b"../", local=30),
        "more entries said": data[: end + 8] + u16(5000) + u16(5000) + data[end + 12 :],
        "directory elsewhere": data[: end + 16] + u32(0) + data[end + 20 :],
        "directory size wrong": data[: end + 12] + u32(0xFFFFFF) + data[end + 16 :],
        "member twice": _twice(members, first),
        "many members": write({f"{n}.npy": b"" for n in range(20000)} | members),
        "unknown member": write(members | {"other.npy": npy(np.zeros(3))}),
        "names without an ending": write({k.removesuffix(".npy"): v for k, v in members.items()}),
    }
    for name in members:
        made[f"without {name}"] = write({k: v for k, v in members.items() if k != name})
        made[f"empty {name}"] = write(members | {name: b""})
        made[f"half of {name}"] = write(members | {name: members[name][: len(members[name]) // 2]})
        made[f"junk in {name}"] = write(members | {name: b"\x00\xff" * 300})
    for share in (0.01, 0.3, 0.7, 0.99, 0.999):
        made[f"cut at {share:.1%}"] = data[: int(len(data) * share)]
    return made


def _twice(members: Members, name: str) -> bytes:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as file:
        for key, value in members.items():
            file.writestr(key, value)
        file.filelist[0].filename = "swapped"
        del file.NameToInfo[name]
        file.writestr(name, members[name])
        file.filelist[0].filename = name
    return stream.getvalue()


def _headers_of_arrays(members: Members) -> dict[str, Members]:
    front = array_of(members["front.npy"])
    body = front.tobytes()
    side = front.shape[0]

    def said(shape: str, kind: str = "'<f2'", order: str = "False", more: str = "") -> str:
        return f"{{'descr': {kind}, 'fortran_order': {order}, 'shape': {shape}, {more}}}"

    wrong = {
        "huge shape": header(said("(2147483648, 2147483648)"), body),
        "long shape": header(said(f"({side}, {side}, 100000)"), body),
        "negative shape": header(said("(-1, 256)"), body),
        "empty shape": header(said("()"), body),
        "nothing in it": header(said("(0, 0)")),
        "one in it": header(said("(1, 1)"), body[:2]),
        "many dimensions": header(said("(" + "1, " * 40 + ")"), body[:2]),
        "flat": header(said(f"({side * side},)"), body),
        "not square": header(said(f"({side // 2}, {side * 2})"), body),
        "shape of floats": header(said("(256.0, 256)"), body),
        "shape of text": header(said("('a', 256)"), body),
        "shape that is no tuple": header(said("256"), body),
        "objects": header(said(f"({side}, {side})", "'|O'"), body),
        "text": header(said(f"({side}, {side})", "'<U1'"), body + body),
        "complex numbers": header(said(f"({side}, {side})", "'<c8'"), body * 4),
        "dates": header(said(f"({side}, {side})", "'<M8[s]'"), body * 4),
        "doubles": npy(front.astype(np.float64)),
        "whole numbers": npy(front.astype(np.int16)),
        "truth values": npy(front > 0),
        "other byte order": npy(front.astype(">f2")),
        "columns first": npy(np.asfortranarray(front)),
        "a structure": npy(np.zeros((side, side), [("a", "<f2"), ("b", "<i4")])),
        "unknown kind": header(said(f"({side}, {side})", "'<q9'"), body),
        "kind that is no text": header(said(f"({side}, {side})", "5"), body),
        "nested kind": header(said(f"({side}, {side})", "[" * 200 + "]" * 200), body),
        "order that is no truth value": header(said(f"({side}, {side})", order="7"), body),
        "more keys": header(said(f"({side}, {side})", more="'more': 1, "), body),
        "no keys": header("{}", body),
        "no dictionary": header("[1, 2]", body),
        "no Python": header("{'descr': ", body),
        "nested brackets": header("(" * 5000 + ")" * 5000, body),
        "old numbers": header(said("(256L, 256L)"), body),
        "bare quotes": header("'''" + said("(256, 256)"), body),
        "indented": header("  \n\t  if" + said("(256, 256)"), body),
        "not ASCII": header(said("(256, 256)") + "\u20ac", body),
        "version 2": header(said(f"({side}, {side})"), body, b"\x02\x00"),
        "version 3": header(said(f"({side}, {side})"), body, b"\x03\x00"),
        "version 9": header(said(f"({side}, {side})"), body, b"\x09\x00"),
        "long header said": b"\x93NUMPY\x01\x00\xff\xff" + body,
        "longest header said": b"\x93NUMPY\x02\x00\xff\xff\xff\xff" + body,
        "no magic": body,
        "a pickle": b"cbuiltins\nexit\n(tR.",
        "a value short": header(said(f"({side}, {side})"), body[:-2]),
        "a value more": header(said(f"({side}, {side})"), body + b"\0\0"),
    }
    made = {name: {"front.npy": value} for name, value in wrong.items()}
    made["objects in it"] = {"front.npy": npy(np.array([{"a": 1}, None], dtype=object))}
    made["smaller back"] = {"back.npy": npy(array_of(members["back.npy"])[: side // 2])}
    made["normals of two"] = {"normals.npy": npy(array_of(members["normals.npy"])[..., :2])}
    made["surety of three"] = {"surety.npy": npy(np.zeros((3,), np.uint8))}
    made["surety of rows"] = {"surety.npy": npy(np.zeros((side, 1), np.uint8))}
    made["tiny"] = {
        "front.npy": npy(front[:1, :1]),
        "back.npy": npy(front[:1, :1]),
        "normals.npy": npy(array_of(members["normals.npy"])[:1, :1]),
        "surety.npy": npy(np.zeros((), np.uint8)),
    }
    made["tiny mask"] = {"mask.npy": npy(np.full((1, 1), 255, np.uint8))}
    made["mask of rows"] = {"mask.npy": npy(np.full((64, 2), 255, np.uint8))}
    return made


def _set(key: str, value: Any, at: int | None = None) -> Callable[[dict[str, Any]], None]:
    def change(facts: dict[str, Any]) -> None:
        if at is None:
            facts[key] = value
        else:
            facts[key][at] = value

    return change


_FACTS: dict[str, Callable[[dict[str, Any]], Any]] = {
    "no text": lambda _facts: "\0\0\0",
    "no JSON": lambda _facts: "{",
    "a list": lambda _facts: "[1, 2]",
    "a number": lambda _facts: "5",
    "null": lambda _facts: "null",
    "nested": lambda _facts: "[" * 100_000,
    "a long number": lambda _facts: '{"format": ' + "9" * 100_000 + "}",
    "nothing": lambda facts: facts.clear(),
    "format as text": _set("format", "1"),
    "format as a list": _set("format", [1]),
    "no format": _set("format", None),
    "format minus one": _set("format", -1),
    "format not a number": _set("format", float("nan")),
    "model as a list": _set("model", [[]] * 10),
    "model very long": _set("model", "x" * 500_000),
    "camera as text": _set("camera", "abc"),
    "camera of two": _set("camera", [10, 10]),
    "camera of four": _set("camera", [10, 10, 10, 10]),
    "camera none": _set("camera", None),
    "width zero": _set("camera", 0, 0),
    "width negative": _set("camera", -500, 0),
    "width huge": _set("camera", 10**30, 0),
    "width not a number": _set("camera", float("nan"), 0),
    "width infinite": _set("camera", float("inf"), 0),
    "width as text": _set("camera", "many", 0),
    "focal zero": _set("camera", 0.0, 2),
    "focal negative": _set("camera", -100.0, 2),
    "focal tiny": _set("camera", 1e-300, 2),
    "focal huge": _set("camera", 1e300, 2),
    "focal not a number": _set("camera", float("nan"), 2),
    "focal infinite": _set("camera", float("inf"), 2),
    "crop of three": _set("crop", [0, 0, 1]),
    "crop as text": _set("crop", ["a", "b", "c", "d"]),
    "crop nested": _set("crop", [[0], [0], [10], [5]]),
    "crop far away": _set("crop", 1e30, 0),
    "crop not a number": _set("crop", float("nan"), 1),
    "side zero": _set("crop", 0.0, 2),
    "side negative": _set("crop", -50.0, 2),
    "side tiny": _set("crop", 1e-30, 2),
    "side none": _set("crop", None, 2),
    "distance zero": _set("crop", 0.0, 3),
    "distance negative": _set("crop", -5.0, 3),
    "distance huge": _set("crop", 1e38, 3),
    "distance not a number": _set("crop", float("nan"), 3),
    "rotation of zeros": _set("rotation", [[0.0] * 3] * 3),
    "rotation of ones": _set("rotation", [[1.0] * 3] * 3),
    "rotation large": _set("rotation", [[1e30, 0, 0], [0, 1e30, 0], [0, 0, 1e30]]),
    "rotation of two": _set("rotation", [[1, 0], [0, 1]]),
    "rotation uneven": _set("rotation", [[1, 0, 0], [0, 1]]),
    "rotation as text": _set("rotation", "abc"),
    "rotation not a number": _set("rotation", [[float("nan")] * 3] * 3),
    "up of zeros": _set("up", [0.0, 0.0, 0.0]),
    "up of two": _set("up", [0.0, -1.0]),
    "up huge": _set("up", [0.0, -1e38, 0.0]),
    "up not a number": _set("up", [float("nan")] * 3),
    "up as text": _set("up", ["a", "b", "c"]),
    "frame of two": _set("frame", [[[1, 0, 0], [0, 1, 0], [0, 0, 1]], 1.0]),
    "frame none": _set("frame", None),
    "frame's rotation not a number": _set("frame", [[float("nan")] * 3] * 3, 0),
    "frame's rotation large": _set("frame", [[1e200] * 3] * 3, 0),
    "frame's rotation of one": _set("frame", [1.0], 0),
    "frame's rotation of text": _set("frame", [["a"] * 3] * 3, 0),
    "scale zero": _set("frame", 0.0, 1),
    "scale negative": _set("frame", -1.0, 1),
    "scale huge": _set("frame", 1e300, 1),
    "scale infinite": _set("frame", float("inf"), 1),
    "scale not a number": _set("frame", float("nan"), 1),
    "scale as text": _set("frame", "1", 1),
    "offset not a number": _set("frame", [float("nan")] * 3, 2),
    "offset infinite": _set("frame", [float("inf"), 0, 0], 2),
    "offset huge": _set("frame", [1e300, 0, 0], 2),
    "offset of one": _set("frame", [0.0], 2),
    "offset of rows": _set("frame", [[0.0, 0.0, 0.0]] * 2, 2),
    "offset none": _set("frame", None, 2),
}


def jpeg(side: int, *options: int, height: int | None = None, channels: int = 3) -> bytes:
    """A grey JPEG file as OpenCV writes it."""
    shape = (height or side, side, 3) if channels == 3 else (height or side, side)
    return cv2.imencode(".jpg", np.full(shape, 128, np.uint8), list(options))[1].tobytes()


def resized_jpeg(data: bytes, width: int, height: int) -> bytes:
    """A JPEG file that says it has another size than it has."""
    at = data.index(b"\xff\xc0")
    return data[: at + 5] + struct.pack(">HH", height, width) + data[at + 9 :]


def _values(members: Members) -> dict[str, Members]:
    front = array_of(members["front.npy"])
    back = array_of(members["back.npy"])
    mask = array_of(members["mask.npy"])
    normals = array_of(members["normals.npy"])
    colour = array_of(members["colour.npy"]).tobytes()

    def fronts(value: float, every: int = 1) -> Members:
        altered = front.copy()
        altered.ravel()[::every] = value
        return {"front.npy": npy(altered)}

    def colours(data: bytes) -> Members:
        return {"colour.npy": npy(np.frombuffer(data, np.uint8))}

    picture = np.full((300, 300, 3), 90, np.uint8)
    no_numbers = np.full_like(front, np.nan)
    return {
        "front not a number": fronts(float("nan")),
        "front partly not a number": fronts(float("nan"), 7),
        "front infinite": fronts(float("inf")),
        "front partly minus infinite": fronts(float("-inf"), 11),
        "front as far as can be": fronts(65504.0),
        "front partly as far as can be": fronts(65504.0, 5),
        "front as near as can be": fronts(-65504.0),
        "back not a number": {"back.npy": npy(no_numbers)},
        "back before front": {"back.npy": npy(front), "front.npy": npy(back)},
        "back as far as can be": {"back.npy": npy(np.full_like(front, 65504.0))},
        "both as far as can be": fronts(-65504.0) | {"back.npy": npy(np.full_like(front, 65504.0))},
        "sure of what is far": fronts(65504.0, 5)
        | {"surety.npy": npy(np.full(front.shape, 255, np.uint8))},
        "normals of zeros": {"normals.npy": npy(np.zeros_like(normals))},
        "normals of noise": {
            "normals.npy": npy(
                np.random.default_rng(0).integers(-128, 128, normals.shape).astype(np.int8)
            )
        },
        "no mask": {"mask.npy": npy(np.zeros_like(mask))},
        "all mask": {"mask.npy": npy(np.full_like(mask, 255))},
        "one pixel of mask": {"mask.npy": npy(_one_pixel(mask))},
        "mask of noise": {
            "mask.npy": npy(np.random.default_rng(1).integers(0, 256, mask.shape).astype(np.uint8))
        },
        "no colours": colours(b""),
        "cut colours": colours(colour[: len(colour) // 2]),
        "colours of zeros": colours(bytes(len(colour))),
        "colours as text": {"colour.npy": npy(np.array(["a"]))},
        "colours as doubles": {"colour.npy": npy(np.zeros(100))},
        "colours in two rows": {"colour.npy": npy(np.zeros((2, 100), np.uint8))},
        "colours as PNG": colours(cv2.imencode(".png", picture)[1].tobytes()),
        "colours as TIFF": colours(cv2.imencode(".tiff", picture)[1].tobytes()),
        "colours as WebP": colours(cv2.imencode(".webp", picture)[1].tobytes()),
        "colours of one pixel": colours(jpeg(1)),
        "grey colours": colours(jpeg(64, channels=1)),
        "colours not square": colours(jpeg(64, height=32)),
        "progressive colours": colours(jpeg(64, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)),
        "colours said to be huge": colours(resized_jpeg(jpeg(64), 65500, 65500)),
        "colours said to be large": colours(resized_jpeg(jpeg(64), 8192, 8192)),
        "colours said to be empty": colours(resized_jpeg(jpeg(64), 0, 0)),
        "colours said to be long": colours(resized_jpeg(jpeg(64), 65500, 1)),
        "junk after colours": colours(colour + b"\xff" * 1000),
    }


def _one_pixel(mask: Array) -> Array:
    altered = np.zeros_like(mask)
    altered[len(mask) // 2, len(mask) // 2] = 255
    return altered
