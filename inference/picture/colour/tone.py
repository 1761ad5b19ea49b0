"""Turn linear light into display colour."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_MIDDLE_GREY = 0.18
# Half floats end at 65504; anything brighter is an error of the renderer.
_BRIGHTEST = 65504.0
_MAX_SAMPLES = 1 << 16


def without_invalid(linear: NDArray[np.float32]) -> NDArray[np.float32]:
    """Copy light of any shape: NaN and negative become 0, infinite the brightest half float."""
    light = np.nan_to_num(linear, nan=0.0, posinf=_BRIGHTEST, neginf=0.0)
    return np.clip(light, 0.0, _BRIGHTEST, out=light)


def display_from_linear(linear: NDArray[np.float32]) -> tuple[NDArray[np.uint8], bool]:
    """Encode linear light as sRGB, compressing highlights when there are any worth it.

    A picture that fits into 0 to 1, but for a hundredth of its pixels, keeps its values. Any
    other is exposed for middle grey and its luminance rolled off to white.

    Args:
        linear: (H, W, 3) linear light, its channels in any order; NaN and negative count as
            black, infinite as very bright.

    Returns:
        (H, W, 3) uint8 sRGB in the same channel order, and whether it was tone mapped.
    """
    light = without_invalid(linear)
    step = max(1, light.shape[0] * light.shape[1] // _MAX_SAMPLES)
    peaks = light.reshape(-1, 3)[::step].max(axis=1)
    lit = peaks[peaks > 0.0]
    is_mapped = bool(lit.size and np.percentile(peaks, 99.0) > 1.0)
    if is_mapped:
        exposure = _MIDDLE_GREY / float(np.exp(np.log(lit).mean()))
        white = max(float(np.percentile(peaks, 99.5)) * exposure, 1.0)
        light *= exposure
        peak = light.max(axis=2, keepdims=True)
        # Reinhard's curve with a white point, on the peak so that no channel clips before white.
        light *= (1.0 + peak / (white * white)) / (1.0 + peak)
    np.clip(light, 0.0, 1.0, out=light)
    encoded = np.where(light <= 0.0031308, light * 12.92, 1.055 * cv2.pow(light, 1.0 / 2.4) - 0.055)
    return (encoded * 255.0 + 0.5).astype(np.uint8), is_mapped
