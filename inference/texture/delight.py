"""Take lighting out of a picture: a heuristic, since one picture cannot tell paint from light.

Light from far away shades a matt surface by a smooth function of its normal; nine spherical harmonics
hold 98 percent of it (Ramamoorthi and Hanrahan 2001). The four lowest are fitted to the logarithm of
the luminance over the visible surface. Paint disturbs that fit, so outliers lose their say, and what
is explained by the position in the picture alone is not trusted to be light. The picture is divided
by the fitted shading, by the same factor in all channels: brightness moves, hue never does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..image import blur, enlarge, shrink
from ..stopping import bands, chance_to_stop

Floats = NDArray[np.float32]

ROUNDS = 12
CURVE = 2  # steps of a colour's curve, in numbers worked on
DARKEST, BRIGHTEST = -0.7, 0.7  # limits of the natural logarithm of the shading
SHRINKAGE = 0.01  # ridge on the directional terms, in shares of the pixels
SMOOTH = 0.02  # of the crop's side: blur of the light that a network sees; paint is finer
LUMINANCE = np.array([0.2126, 0.7152, 0.0722], np.float32)
FEW = 12  # colours that fill a drawing
COUNTED = 1 << 20  # pixels, at most, whose colours are counted
PHOTOGRAPH, DRAWING = 0.3, 0.45  # shares of the subject that the few commonest colours fill


@dataclass(frozen=True, slots=True)
class Shading:
    """Smooth light on a surface, as natural logarithm around its median.

    Attributes:
        terms: (4,) coefficients of 1, x, y and z of the normal.
        explained: Share of the luminance's variance that it explains, 0 to 1.
    """

    terms: NDArray[np.float64]
    explained: float

    def log(self, normals: Floats) -> Floats:
        """(...,) logarithm of the shading at (..., 3) unit normals, limited."""
        value = self.terms[0] + normals @ self.terms[1:].astype(np.float32)
        return np.clip(value, DARKEST, BRIGHTEST).astype(np.float32)


def drawn(colours: Floats, inside: Floats) -> float:
    """Say whether a picture is drawn in flat colours, in which light and paint are one.

    Photographs and renderings of lit things have nearly as many colours as pixels.

    Args:
        colours: (S, S, 3) sRGB 0..1.
        inside: (S, S) pixels to the silhouette, positive inside.

    Returns:
        0 for a photograph to 1 for a drawing.
    """
    subject = colours[inside > min(2.0, 0.3 * float(inside.max()))]
    if len(subject) == 0:
        return 0.0
    subject = subject[:: -(-len(subject) // COUNTED)]
    chance_to_stop()
    levels = np.rint(np.clip(subject, 0, 1) * 255).astype(np.int64) @ (65536, 256, 1)
    counts = np.sort(np.unique(levels, return_counts=True)[1])
    share = float(counts[-FEW:].sum()) / len(subject)
    return float(np.clip((share - PHOTOGRAPH) / (DRAWING - PHOTOGRAPH), 0, 1))


def linear_from_srgb(colour: Floats) -> Floats:
    """IEC 61966-2-1, 0..1 to 0..1."""
    result = np.empty(colour.shape, np.float32)
    for some in bands(len(colour), CURVE * colour[:1].size):
        part = colour[some]
        curve = ((np.maximum(part, 0.04045) + 0.055) / 1.055) ** 2.4
        result[some] = np.where(part <= 0.04045, part / 12.92, curve)
    return result


def srgb_from_linear(colour: Floats) -> Floats:
    """The inverse of ``linear_from_srgb``."""
    result = np.empty(colour.shape, np.float32)
    for some in bands(len(colour), CURVE * colour[:1].size):
        part = colour[some]
        curve = 1.055 * np.maximum(part, 0.0031308) ** (1 / 2.4) - 0.055
        result[some] = np.where(part <= 0.0031308, part * 12.92, curve)
    return result


def fit_shading(colours: Floats, normals: Floats) -> Shading:
    """Fit smooth light to what a picture shows.

    Robust regression by iteratively reweighted least squares with Tukey's biweight.

    Args:
        colours: (N, 3) sRGB 0..1 of visible points.
        normals: (N, 3) unit.
    """
    luminance = linear_from_srgb(colours) @ LUMINANCE
    usable = (luminance > 0.004) & (luminance < 0.98)
    if usable.sum() < 64:
        return Shading(np.zeros(4), 0.0)
    target = np.log(luminance[usable]).astype(np.float64)
    target -= np.median(target)
    basis = np.concatenate([np.ones((len(target), 1)), normals[usable]], axis=1).astype(np.float64)
    ridge = np.diag([0.0, 1, 1, 1]) * SHRINKAGE * len(target)
    weight = np.ones(len(target))
    terms = np.zeros(4)
    for _ in range(ROUNDS):
        chance_to_stop()
        weighted = basis * weight[:, None]
        terms = np.linalg.solve(weighted.T @ basis + ridge, weighted.T @ target)
        left = target - basis @ terms
        spread = 1.4826 * float(np.median(np.abs(left))) + 1e-3
        weight = np.maximum(1 - (left / (4.685 * spread)) ** 2, 0) ** 2
    shading = basis @ terms
    terms[0] -= float(np.median(shading))
    variance = float(np.average((target - np.average(target, weights=weight)) ** 2, weights=weight))
    left = float(np.average((target - shading) ** 2, weights=weight))
    return Shading(terms, float(np.clip(1 - left / max(variance, 1e-9), 0, 1)))


def light_beyond(colours: Floats, albedo: Floats, inside: Floats) -> Floats:
    """Light as what is left of a picture when a network's guess of the paint is divided out.

    Args:
        colours: (S, S, 3) sRGB 0..1 the picture.
        albedo: (A, A, 3) sRGB 0..1 the guess, A at most S.
        inside: (S, S) pixels to the silhouette, positive inside.

    Returns:
        (S, S) natural logarithm of the shading around its median, smooth and limited.
    """
    side = albedo.shape[0]
    seen = linear_from_srgb(shrink(colours, side, side)) @ LUMINANCE
    paint = linear_from_srgb(albedo) @ LUMINANCE
    mask = (shrink(inside, side, side) > 0).astype(np.float32)
    if not mask.any():
        return np.zeros(colours.shape[:2], np.float32)
    ratio = np.log(np.maximum(seen, 2e-3)) - np.log(np.maximum(paint, 2e-3))
    light = blur(ratio * mask, SMOOTH * side) / np.maximum(blur(mask, SMOOTH * side), 1e-3)
    light -= np.median(light[mask > 0])
    return enlarge(np.clip(light, DARKEST, BRIGHTEST), colours.shape[1], colours.shape[0])


def without_light(colours: Floats, shading_log: Floats, strength: float) -> Floats:
    """Divide the light out.

    Args:
        colours: (..., 3) sRGB 0..1.
        shading_log: (...,) natural logarithm of the shading.
        strength: 0 leaves the colours, 1 takes out all of the shading.

    Returns:
        (..., 3) sRGB 0..1. What would become brighter than white only goes as far as white.
    """
    result = np.empty(colours.shape, np.float32)
    for some in bands(len(colours), 2 * CURVE * colours[:1].size):
        linear = linear_from_srgb(colours[some])
        gain = np.exp(-np.float32(strength) * shading_log[some])
        room = 1 / np.maximum(linear.max(axis=-1), 1e-4)
        gain = np.minimum(gain, np.maximum(room, 1))
        result[some] = srgb_from_linear(np.clip(linear * gain[..., None], 0, 1))
    return result
