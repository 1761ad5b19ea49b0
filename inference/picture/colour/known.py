"""Colour spaces that pictures only name: by code points, primaries and exponents."""

from __future__ import annotations

import math

import numpy as np

from .space import (
    D65,
    SRGB_PRIMARIES,
    ColourSpace,
    Curve,
    Floats,
    power,
    primaries_to_xyz,
    srgb_curve,
)

_ADOBE_PRIMARIES = ((0.64, 0.33), (0.21, 0.71), (0.15, 0.06))
# By the code points of ITU-T H.273: primaries and white.
_PRIMARIES = {
    1: (SRGB_PRIMARIES, D65),
    4: (((0.67, 0.33), (0.21, 0.71), (0.14, 0.08)), (0.310, 0.316)),
    5: (((0.64, 0.33), (0.29, 0.60), (0.15, 0.06)), D65),
    6: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    7: (((0.630, 0.340), (0.310, 0.595), (0.155, 0.070)), D65),
    9: (((0.708, 0.292), (0.170, 0.797), (0.131, 0.046)), D65),
    11: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), (0.314, 0.351)),
    12: (((0.680, 0.320), (0.265, 0.690), (0.150, 0.060)), D65),
}
_PQ, _HLG = 16, 18
_PAPER_WHITE = 203.0  # candela per square metre of a white sheet in HDR pictures (ITU-R BT.2408)
_USUAL_EXPONENT = 1 / 2.2
_SAME_EXPONENT = 0.005
_SAME_CHROMATICITY = 0.005


def adobe_rgb() -> ColourSpace:
    """Adobe RGB (1998), which cameras name in EXIF without embedding a profile."""
    return _space(power(563 / 256), primaries_to_xyz(_ADOBE_PRIMARIES))


def of_code_points(primaries: int, transfer: int, is_full_range: bool) -> ColourSpace | None:
    """Give the space of H.273's code points, as PNG's cICP has them; None for unknown ones."""
    curve = _transfer(transfer)
    if primaries not in _PRIMARIES or curve is None:
        return None
    matrix = primaries_to_xyz(*_PRIMARIES[primaries])
    return _space(
        curve if is_full_range else _of_video_range(curve), matrix, is_hdr=transfer in (_PQ, _HLG)
    )


def of_exponent(
    exponent: float | None,
    chromaticities: tuple[tuple[float, float], ...] | None,
) -> ColourSpace | None:
    """Give the space of PNG's gAMA and cHRM; None where that means sRGB or nothing.

    The usual exponent with sRGB's primaries is how programs write sRGB, whose curve is no power.

    Args:
        exponent: Of the encoding, 1 / 2.2 for instance; None when there is none.
        chromaticities: x, y of red, green, blue and white; None when there are none.
    """
    is_usual = exponent is None or abs(exponent - _USUAL_EXPONENT) <= _SAME_EXPONENT
    usual = (*SRGB_PRIMARIES, D65)
    is_srgb = chromaticities is None or np.allclose(chromaticities, usual, atol=_SAME_CHROMATICITY)
    if (is_usual and is_srgb) or (exponent is not None and not 0.1 <= exponent <= 10.0):
        return None
    red, green, blue, white = usual if chromaticities is None else chromaticities
    try:
        matrix = primaries_to_xyz((red, green, blue), white)
    except ValueError:
        return None
    return _space(srgb_curve if exponent is None else power(1 / exponent), matrix)


def of_linear_light(chromaticities: tuple[tuple[float, float], ...]) -> ColourSpace | None:
    """Give the space of linear light with these red, green, blue and white; None if they are none."""
    if not all(math.isfinite(value) for point in chromaticities for value in point):
        return None
    if np.allclose(chromaticities, (*SRGB_PRIMARIES, D65), atol=_SAME_CHROMATICITY):
        return None
    red, green, blue, white = chromaticities
    try:
        return _space(power(1.0), primaries_to_xyz((red, green, blue), white))
    except ValueError:
        return None


def _of_video_range(curve: Curve) -> Curve:
    """Black is stored as 16 of 255 there, and white as 235."""
    return lambda x: curve(np.clip((x * 255.0 - 16.0) / 219.0, 0.0, 1.0))


def _space(curve: Curve, matrix: Floats, is_hdr: bool = False) -> ColourSpace:
    return ColourSpace((curve, curve, curve), matrix, is_hdr)


def _transfer(code: int) -> Curve | None:
    if code in (1, 6, 13, 14, 15):  # video curves are shown like sRGB, as browsers do
        return srgb_curve
    if code == _PQ:
        return _perceptual_quantizer
    if code == _HLG:
        return _hybrid_log_gamma
    exponent = {4: 2.2, 5: 2.8, 8: 1.0}.get(code)
    return None if exponent is None else power(exponent)


def _perceptual_quantizer(x: Floats) -> Floats:
    """SMPTE ST 2084 in multiples of paper white."""
    root = np.power(x, 32 / 2523)
    light = np.maximum(root - 3424 / 4096, 0.0) / (2413 / 128 - 2392 / 128 * root)
    return 10000.0 / _PAPER_WHITE * np.power(light, 8192 / 1305)


def _hybrid_log_gamma(x: Floats) -> Floats:
    """ITU-R BT.2100's HLG on a display of 1000 candela, in multiples of paper white."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    light = np.where(x <= 0.5, x * x / 3.0, (np.exp((x - c) / a) + b) / 12.0)
    return 1000.0 / _PAPER_WHITE * np.power(light, 1.2)
