"""ICC profiles of our own making, and pictures stored in their colours."""

from __future__ import annotations

import struct

import numpy as np

# Linear light to XYZ under D50, as each profile holds it (columns red, green, blue).
TO_XYZ = {
    "srgb": np.array(
        [[0.4360, 0.3851, 0.1431], [0.2225, 0.7169, 0.0606], [0.0139, 0.0971, 0.7139]]
    ),
    "p3": np.array([[0.5151, 0.2920, 0.1571], [0.2412, 0.6922, 0.0666], [-0.0011, 0.0419, 0.7841]]),
    "adobe": np.array(
        [[0.6097, 0.2053, 0.1492], [0.3111, 0.6257, 0.0632], [0.0195, 0.0609, 0.7446]]
    ),
    "prophoto": np.array(
        [[0.7977, 0.1352, 0.0313], [0.2880, 0.7119, 0.0001], [0.0000, 0.0000, 0.8249]]
    ),
}
_SRGB_PARAMETERS = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def srgb_light(stored: np.ndarray) -> np.ndarray:
    """From sRGB's stored values, 0 to 1, to linear light."""
    return np.where(stored <= 0.04045, stored / 12.92, ((stored + 0.055) / 1.055) ** 2.4)


def srgb_stored(light: np.ndarray) -> np.ndarray:
    """From linear light to sRGB's stored values."""
    return np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)


def gamma(value: float) -> bytes:
    """The tag of a curve that is a power."""
    return struct.pack(">4s4xIH2x", b"curv", 1, round(value * 256))


def sampled(values: np.ndarray) -> bytes:
    """The tag of a curve given by samples."""
    words = np.round(np.asarray(values) * 65535).astype(">u2").tobytes()
    return _padded(struct.pack(">4s4xI", b"curv", len(values)) + words)


def parametric(function: int, *parameters: float) -> bytes:
    """The tag of one of the five parametric curves."""
    numbers = (round(parameter * 65536) for parameter in parameters)
    return struct.pack(f">4s4xH2x{len(parameters)}i", b"para", function, *numbers)


SRGB_CURVE = parametric(3, *_SRGB_PARAMETERS)


def matrix_profile(to_xyz: np.ndarray, curve: bytes, name: str = "Test") -> bytes:
    """A profile of three equal curves and a matrix."""
    tags = {b"desc": _text(name), b"wtpt": _xyz(np.array([0.9642, 1.0, 0.8249]))}
    for column, letter in enumerate((b"r", b"g", b"b")):
        tags[letter + b"XYZ"] = _xyz(to_xyz[:, column])
        tags[letter + b"TRC"] = curve
    return profile(b"RGB ", b"XYZ ", tags)


def grey_profile(curve: bytes) -> bytes:
    """A profile for grey pictures."""
    white = _xyz(np.array([0.9642, 1.0, 0.8249]))
    return profile(b"GRAY", b"XYZ ", {b"desc": _text("Grey"), b"wtpt": white, b"kTRC": curve})


def table_profile(space: bytes, corners: np.ndarray) -> bytes:
    """A profile that is a table of Lab colours at the corners of ``space``.

    Args:
        space: ``b"RGB "`` or ``b"CMYK"``.
        corners: (2 ** channels, 3) Lab; the last channel changes fastest.
    """
    channels = {b"RGB ": 3, b"CMYK": 4}[space]
    scale, offset = np.array([255 / 100, 1.0, 1.0]), np.array([0.0, 128.0, 128.0])
    table = np.round(corners * scale + offset).astype(np.uint8).tobytes()
    head = struct.pack(">4s4xBBBx", b"mft1", channels, 3, 2)
    identity = struct.pack(">9i", *(65536 if i % 4 == 0 else 0 for i in range(9)))
    ramp = bytes(range(256))
    tag = _padded(head + identity + ramp * channels + table + ramp * 3)
    white = _xyz(np.array([0.9642, 1.0, 0.8249]))
    tags = {b"desc": _text("Table"), b"wtpt": white, b"A2B0": tag}
    return profile(space, b"Lab ", tags)


def profile(space: bytes, connection: bytes, tags: dict[bytes, bytes]) -> bytes:
    """Put a profile of version 2 together."""
    at = 132 + 12 * len(tags)
    directory, body = struct.pack(">I", len(tags)), b""
    for name, content in tags.items():
        directory += struct.pack(">4sII", name, at + len(body), len(content))
        body += _padded(content)
    kind = b"prtr" if space == b"CMYK" else b"mntr"
    head = struct.pack(
        ">I4sI4s4s4s12s4s24xI3i48x",
        128 + len(directory) + len(body),
        b"test",
        0x02400000,
        kind,
        space,
        connection,
        bytes(12),
        b"acsp",
        0,
        round(0.9642 * 65536),
        65536,
        round(0.8249 * 65536),
    )
    return head + directory + body


def stored_in(to_xyz: np.ndarray, exponent: float | None, srgb: np.ndarray) -> np.ndarray:
    """Give 8-bit sRGB colours as values from 0 to 1 of another space.

    Args:
        to_xyz: The other space's matrix.
        exponent: Of its curve; None for sRGB's own curve.
        srgb: (..., 3) uint8.
    """
    light = srgb_light(srgb / 255.0) @ (np.linalg.inv(to_xyz) @ TO_XYZ["srgb"]).T
    light = np.clip(light, 0.0, 1.0)
    return srgb_stored(light) if exponent is None else light ** (1 / exponent)


def _xyz(values: np.ndarray) -> bytes:
    return struct.pack(">4s4x3i", b"XYZ ", *(round(value * 65536) for value in values))


def _text(words: str) -> bytes:
    text = words.encode("ascii") + b"\0"
    return _padded(struct.pack(">4s4xI", b"desc", len(text)) + text + bytes(78))


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 4)
