"""What each kind of depth network is asked, and its answer in one form.

A network sees some five hundred pixels of a picture at a time. Where Detail asks for more, the picture
is also looked at in tiles, which are fitted to the look at the whole (``models.depth_tiles``).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contracts import Detail

Floats = NDArray[np.float32]

DEEPEST = 1e4  # times the median depth: beyond it, and this much nearer, depth is an error
FAR = 1.3  # of the deepest valid depth: where sky goes
# Pixels along the picture's longer side in which tiles are looked at; 0: only the whole picture.
FINE: dict[Detail, int] = {"low": 0, "medium": 0, "high": 1024, "ultra": 1536}
FINER = 1.25  # tiles must show the picture this much larger to be worth their time
MOGE_TILE = 700  # pixels; it takes more patches of a picture than the others


@dataclass(frozen=True, slots=True)
class SceneDepth:
    """What an installed network says of a whole picture.

    Attributes:
        depth: (h, w) float32 > 0 along the optical axis, at the picture's aspect.
        fov_x: Horizontal field of view in radians, when the network found it; else None.
        is_metric: Whether depth is in metres.
    """

    depth: Floats
    fov_x: float | None
    is_metric: bool


@dataclass(frozen=True, slots=True)
class Look:
    """What a network is asked.

    Attributes:
        rgb: (H, W, 3) float32 0..1 the picture.
        fov_x: Its horizontal field of view in radians if that is known.
        max_side: Where memory is short: longest side in pixels at which the network looks.
        fine_side: Longer side in pixels at which tiles are looked at, too; 0 for none.
        tick: Called again and again; raises to cancel.
    """

    rgb: Floats
    fov_x: float | None
    max_side: int | None
    fine_side: int
    tick: Callable[[], None]


def _depth_anything(estimator: Any, look: Look) -> SceneDepth:
    if look.max_side is not None:
        found = estimator.estimate(look.rgb, look.tick, short_side=look.max_side)
    elif look.fine_side:  # its tiles are fitted in what it says, which need not be depth
        found = estimator.estimate(look.rgb, look.tick, detail_side=look.fine_side)
    else:
        found = estimator.estimate(look.rgb, look.tick)
    return _answer(found.depth, found.valid, found)


def _depth_anything_3(estimator: Any, look: Look) -> SceneDepth:
    from ..models.depth.depth_anything_3 import LONG_SIDE

    options: dict[str, Any] = {} if look.max_side is None else {"long_side": look.max_side}
    if not hasattr(estimator, "estimate_views"):  # the others find the field of view by themselves
        options["fov_x"] = look.fov_x
    found = estimator.estimate(look.rgb, look.tick, **options)

    def part(rgb: Floats) -> Any:
        return estimator.estimate(rgb, look.tick)

    depth, valid = _in_tiles(found, look, part, LONG_SIDE)
    return _answer(depth, valid, found)


def _moge(estimator: Any, look: Look) -> SceneDepth:
    tokens = None if look.max_side is None else (look.max_side // 14) ** 2
    found = estimator.estimate(look.rgb, look.tick, fov_x=look.fov_x, tokens=tokens)
    half = math.tan((found.fov_x or 1.0) / 2)

    def part(rgb: Floats) -> Any:
        share = rgb.shape[1] * max(look.rgb.shape[:2]) / look.rgb.shape[1] / look.fine_side
        return estimator.estimate(rgb, look.tick, fov_x=2 * math.atan(share * half), tokens=None)

    depth, valid = _in_tiles(found, look, part, MOGE_TILE)
    return _answer(depth, valid, found)


def _answer(depth: Floats, valid: NDArray[np.bool_], found: Any) -> SceneDepth:
    """Depth that geometry can be made of: sky behind everything, nothing infinite or zero."""
    middle = float(np.median(depth[valid])) if valid.any() else float(np.median(depth))
    middle = middle if 0 < middle < math.inf else 1.0
    depth = np.nan_to_num(depth, nan=middle, posinf=middle * DEEPEST)
    depth = np.clip(depth, middle / DEEPEST, middle * DEEPEST).astype(np.float32)
    return SceneDepth(with_far_sky(depth, valid), found.fov_x, found.is_metric)


def _in_tiles(
    found: Any, look: Look, part: Callable[[Floats], Any], tile: int
) -> tuple[Floats, NDArray[np.bool_]]:
    """Depth with the detail that tiles show, and where it is valid.

    Args:
        found: What the network says of the whole picture, with ``depth`` and ``valid``.
        look: What was asked.
        part: Asks the network about a tile.
        tile: Side of a tile in pixels.
    """
    if look.fine_side <= FINER * tile:
        return found.depth, found.valid
    import cv2

    from ..models.depth.depth_tiles import refine_with_tiles, resized

    height, width = look.rgb.shape[:2]
    scale = look.fine_side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    picture = look.rgb
    if scale < 1:
        small = cv2.resize(picture, (columns, rows), interpolation=cv2.INTER_AREA)
        picture = np.asarray(small, np.float32)

    def seen(rgb: Floats) -> Floats:
        look.tick()
        said = part(rgb)
        return _log(said.depth, said.valid)

    # The logarithm: a tile's scale is an offset, and what is near counts as much as what is far.
    fine = np.exp(refine_with_tiles(picture, _log(found.depth, found.valid), seen, tile))
    valid = resized(found.valid.astype(np.float32), *fine.shape) > 0.5
    return fine.astype(np.float32), valid


def _log(depth: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Logarithm of depth; what has none is as far as the farthest."""
    if valid.any() and not valid.all():
        depth = np.where(valid, depth, np.float32(np.percentile(depth[valid], 99.5)))
    return np.log(np.maximum(depth, np.float32(1e-6))).astype(np.float32)


def with_far_sky(depth: Floats, valid: NDArray[np.bool_]) -> Floats:
    """Put what has no depth behind everything that has."""
    if valid.all() or not valid.any():
        return depth
    far = np.float32(FAR * np.percentile(depth[valid], 99.5))
    return np.where(valid, depth, far).astype(np.float32)


LOOKS: dict[str, Callable[[Any, Look], SceneDepth]] = {
    "depth.depth_anything": _depth_anything,
    "depth.depth_anything_3": _depth_anything_3,
    "depth.moge": _moge,
}
