"""Colour spaces of three curves and a matrix, and the conversion of pixels to sRGB."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Curve = Callable[[Floats], Floats]  # encoded value to linear light, both 0 to 1

D65 = (0.3127, 0.3290)
D50 = (0.34567, 0.35850)
SRGB_PRIMARIES = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06))

_BRADFORD = np.array(
    [[0.8951, 0.2664, -0.1614], [-0.7502, 1.7135, 0.0367], [0.0389, -0.0685, 1.0296]]
)
_BAND_PIXELS = 1 << 20
_LINEAR_STEPS = 1 << 16  # fine enough that neighbours never differ by a whole step of 8-bit sRGB
_BRIGHTEST = 1e4  # more than any screen is told to show
_SAME = 1  # of 255: spaces this close to sRGB are sRGB, written down with other digits


@dataclass(frozen=True, eq=False)
class ColourSpace:
    """A colour space of three curves and a matrix.

    Attributes:
        curves: From stored values to linear light, for red, green and blue.
        to_xyz: (3, 3) linear red, green, blue to XYZ under D50; white has Y = 1.
        is_hdr: True when values above 1 of linear light are brighter than a sheet of paper.
    """

    curves: tuple[Curve, Curve, Curve]
    to_xyz: Floats
    is_hdr: bool = False

    @property
    def to_linear_srgb(self) -> NDArray[np.float32]:
        """(3, 3) linear red, green, blue to those of sRGB."""
        return (np.linalg.inv(srgb_to_xyz()) @ self.to_xyz).astype(np.float32)


def power(gamma: float) -> Curve:
    """Give the curve ``x ** gamma``."""
    return lambda x: np.power(np.clip(x, 0.0, None), gamma)


def srgb_curve(x: Floats) -> Floats:
    """From sRGB's stored values to linear light."""
    return np.where(x <= 0.04045, x / 12.92, ((np.maximum(x, 0.0) + 0.055) / 1.055) ** 2.4)


def primaries_to_xyz(
    primaries: tuple[tuple[float, float], ...], white: tuple[float, float] = D65
) -> Floats:
    """Give the matrix from linear light to XYZ under D50 (Bradford's adaptation).

    Args:
        primaries: Chromaticities x, y of red, green and blue.
        white: Chromaticity of white.

    Raises:
        ValueError: The chromaticities span no colour space.
    """
    if min(y for _, y in (*primaries, white)) <= 0:
        raise ValueError("a chromaticity has no luminance")
    columns = np.stack([_xyz(point) for point in primaries], axis=1)
    if not np.isfinite(columns).all() or abs(np.linalg.det(columns)) < 1e-6:
        raise ValueError("the primaries lie on one line")
    columns = columns * np.linalg.solve(columns, _xyz(white))
    gains = (_BRADFORD @ _xyz(D50)) / (_BRADFORD @ _xyz(white))
    return np.linalg.inv(_BRADFORD) @ np.diag(gains) @ _BRADFORD @ columns


def _xyz(point: tuple[float, float]) -> Floats:
    x, y = point
    return np.array([x / y, 1.0, (1.0 - x - y) / y])


@cache
def srgb_to_xyz() -> Floats:
    """(3, 3) linear sRGB to XYZ under D50."""
    return primaries_to_xyz(SRGB_PRIMARIES)


def as_srgb(
    pixels: NDArray[np.uint8] | NDArray[np.uint16],
    space: ColourSpace,
    report: Callable[[], None] = lambda: None,
) -> NDArray[np.uint8]:
    """Convert pixels to sRGB. Colours that sRGB does not have are cut off at its nearest values.

    Args:
        pixels: (H, W, 3) of 8 or 16 bits: red, green, blue.
        space: What they are stored in.
        report: Called every million pixels; raises to cancel.
    """
    top = 255 if pixels.dtype == np.uint8 else 65535
    values = np.linspace(0.0, 1.0, top + 1)
    tables = [_table(curve, values) for curve in space.curves]
    matrix, encoded = space.to_linear_srgb.T, _encoding()
    converted = np.empty(pixels.shape, np.uint8)
    rows = max(1, _BAND_PIXELS // max(pixels.shape[1], 1))
    for start in range(0, len(pixels), rows):
        report()
        band = pixels[start : start + rows]
        light = np.stack([tables[c][band[..., c]] for c in range(3)], axis=-1) @ matrix
        np.clip(light, 0.0, 1.0, out=light)
        light *= _LINEAR_STEPS - 1
        converted[start : start + rows] = encoded[(light + 0.5).astype(np.uint16)]
    return converted


def _table(curve: Curve, values: Floats) -> NDArray[np.float32]:
    with np.errstate(all="ignore"):  # a damaged profile may ask for anything
        light = np.nan_to_num(curve(values), nan=0.0, posinf=1.0, neginf=0.0)
    return np.clip(light, 0.0, _BRIGHTEST).astype(np.float32)


@cache
def _encoding() -> NDArray[np.uint8]:
    """8-bit sRGB of evenly spaced linear light."""
    light = np.linspace(0.0, 1.0, _LINEAR_STEPS)
    stored = np.where(light <= 0.0031308, light * 12.92, 1.055 * light ** (1 / 2.4) - 0.055)
    return (stored * 255.0 + 0.5).astype(np.uint8)


def is_srgb(space: ColourSpace) -> bool:
    """Whether conversion would change no 8-bit colour by more than a step."""
    sides = np.arange(0, 256, 15, dtype=np.uint8)
    grid = np.stack(np.meshgrid(sides, sides, sides, indexing="ij"), axis=-1).reshape(1, -1, 3)
    change = as_srgb(grid, space).astype(np.int16) - grid
    return bool(np.abs(change).max() <= _SAME)


def is_usable(space: ColourSpace) -> bool:
    """Whether white stays bright and black dark: a damaged profile must not ruin a picture."""
    ends = np.array([[[0, 0, 0], [255, 255, 255]]], np.uint8)
    black, white = as_srgb(ends, space)[0].astype(int)
    return bool(black.max() <= 40 and white.min() >= 160)
