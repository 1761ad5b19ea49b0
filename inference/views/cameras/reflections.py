"""What becomes of mirrors that were found: words for the artist, and glass in place of the second room."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..depth.stereo import DepthMap, unprojected
from ..geometry import Frame
from .mirrors import Mirror, within

SHOWS = 12  # looks at reflections from which a picture is said to show a mirror
RIM = 1.25  # the glass reaches as far, where something is seen behind the plane
BEHIND = 0.02  # of the depth: what is so far behind the plane is a reflection


def read_mirrors(found: Sequence[dict[str, Any]]) -> tuple[Mirror, ...]:
    """Mirrors as the process that runs pycolmap writes them."""
    return tuple(
        Mirror(np.array(entry["normal"], np.float64), np.array(entry["outline"], np.float64))
        for entry in found
    )


def pictures_of(found: Sequence[dict[str, Any]]) -> set[str]:
    """Names of the pictures that show reflections."""
    return {
        name for entry in found for name, count in entry["looks"].items() if int(count) >= SHOWS
    }


def told(mirrors: Sequence[Mirror]) -> tuple[str, ...]:
    """What the artist is told of them."""
    if not mirrors:
        return ()
    what, its = ("A mirror is", "its") if len(mirrors) == 1 else ("Mirrors are", "their")
    return (
        f"{what} seen in some pictures: what is only {its} image was left out, and {its} glass is a"
        " flat surface.",
    )


def in_frame(mirror: Mirror, frame: Frame) -> Mirror:
    """The same mirror in another frame."""
    return Mirror(frame.rotation @ mirror.normal, frame.points(mirror.outline))


def glazed(depth_map: DepthMap, mirrors: Sequence[Mirror], *, is_place: bool) -> DepthMap:
    """Depth that ends at the glass instead of in what it shows.

    What was measured behind the plane, through the outline or near it, is a reflection. (The outline is
    that of what was recognised in the mirror, which seldom reaches its frame.) In a place the glass is
    also where nothing was measured within the outline; a thing may stand there before it.
    """
    depth = depth_map.depth
    camera = depth_map.camera
    eye = camera.matrix[:3, 3]
    for mirror in mirrors:
        high = float(eye @ mirror.normal - mirror.offset)
        if high <= 0:
            continue  # seen from behind
        one = DepthMap(np.ones_like(depth), camera)
        rays = unprojected(one).reshape(-1, 3).astype(np.float64) - eye  # of depth 1
        falling = -(rays @ mirror.normal)
        ahead = falling > 1e-6
        glass = high / np.where(ahead, falling, 1.0)
        spots = eye + rays * glass[:, None]
        inside = (ahead & within(mirror, spots)).reshape(depth.shape)
        around = (ahead & within(mirror, spots, RIM)).reshape(depth.shape)
        glass = glass.reshape(depth.shape).astype(np.float32)
        ends = around & (depth > (1 + BEHIND) * glass)
        if is_place:
            ends |= inside & (depth <= 0)
        depth = np.where(ends, glass, depth)
    return DepthMap(depth, camera)
