"""Where the finished surface and its cameras go: upright on the floor, how large, and facing where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..contracts import Solved, View, ViewsRequest
from ..cut import networks_for
from ..photos.gather import Gathered
from ..photos.gps import Fit, fit_to_places
from .metres import metres_per_unit
from .region import Region

Floats = NDArray[np.float32]

UNMEASURED = ("pycolmap", "COLMAP folder")  # cameras whose world has no unit


@dataclass(frozen=True, slots=True)
class Placing:
    """From the region's frame to the world: ``rotation @ (x - base) * scale``."""

    rotation: NDArray[np.float64]
    base: NDArray[np.float64]
    scale: float

    def points(self, points: NDArray[np.floating]) -> Floats:
        moved = (np.asarray(points, np.float64) - self.base) @ self.rotation.T * self.scale
        return moved.astype(np.float32)

    def view(self, view: View) -> View:
        matrix = np.eye(4)
        matrix[:3, :3] = self.rotation @ view.camera.matrix[:3, :3]
        matrix[:3, 3] = self.rotation @ (view.camera.matrix[:3, 3] - self.base) * self.scale
        return replace(view, camera=replace(view.camera, matrix=matrix))


def fit_on_map(
    request: ViewsRequest, gathered: Gathered, solved: Solved, region: Region
) -> Fit | None:
    """How the region's frame lies on the map, where its size is not known otherwise."""
    if solved.keeps_world or solved.origin == "turntable":
        return None
    places = {photo.name: photo.place for photo in gathered.photos if photo.place is not None}
    views = [view for view in region.views if view.name in places]
    if not views:
        return None
    cameras = np.array([view.camera.matrix[:3, 3] for view in views])
    return fit_to_places(cameras, [places[view.name] for view in views])


def _deciding(on_map: Fit | None, request: ViewsRequest, solved: Solved) -> Fit | None:
    """The GPS positions if they decide on size and north."""
    if on_map is None or not on_map.is_usable:
        return None
    is_wanted = request.is_measured or (request.size_m is None and solved.origin in UNMEASURED)
    return on_map if is_wanted else None


def measured_metres(
    request: ViewsRequest,
    solved: Solved,
    region: Region,
    positions: Floats,
    stage: Callable[[str], Callable[[float], None]],
    on_map: Fit | None,
) -> float | None:
    """Metres of one unit of the region's frame by a network, where the artist wants them measured."""
    is_known = solved.keeps_world or (on_map is not None and on_map.is_usable)
    if not request.is_measured or is_known:
        return None
    report = stage("Measuring the size")
    networks = networks_for(request, lambda name: lambda share: report(0.0))
    some = positions[:: max(1, len(positions) // 4000)]
    return metres_per_unit(region.views, some, networks, report)


def size_notes(
    request: ViewsRequest, solved: Solved, metres: float | None, on_map: Fit | None
) -> list[str]:
    """A sentence on where the size comes from, or how to get it, where that is of interest."""
    map_fit = _deciding(on_map, request, solved)
    if map_fit is not None:
        return [
            f"Size and north are those of the photos' GPS positions, which lie {map_fit.span:.0f} m"
            f" apart: expect the size to be off by up to {map_fit.unsure:.0%}. North is along +Y."
        ]
    if request.is_measured and metres is not None:
        return ["The size was measured by a network: expect it to be off by a tenth or more."]
    if request.is_measured and on_map is not None:
        return [
            f"The photos' GPS positions are too near each other ({on_map.span:.0f} m, and each is off"
            f" by {on_map.error:.0f} m) to tell the size: use Scale to Distance."
        ]
    if request.is_measured:
        return [
            "The size could not be measured: install a network for metric depth in the preferences"
            " and choose it for Depth, or use Scale to Distance."
        ]
    if on_map is not None and on_map.is_usable and solved.origin in UNMEASURED:
        return ["The photos' GPS positions tell the true size: turn on Measure Size to use it."]
    return []


def placing_of(
    request: ViewsRequest,
    solved: Solved,
    region: Region,
    positions: Floats,
    on_map: Fit | None = None,
    metres: float | None = None,
) -> Placing:
    """Upright on the floor at the wanted size; or back where the artist's own cameras are."""
    if solved.keeps_world:
        frame = region.frame
        # x_source = R^T (x / s) + c = R^T (x + s R c) / s
        back = -frame.scale * (frame.rotation @ frame.centre)
        return Placing(frame.rotation.T, back, 1 / frame.scale)
    rotation = np.eye(3)
    map_fit = _deciding(on_map, request, solved)
    if map_fit is not None:
        cosine, sine = np.cos(map_fit.turn), np.sin(map_fit.turn)
        rotation = np.array([[cosine, 0.0, -sine], [0.0, 1.0, 0.0], [sine, 0.0, cosine]])
        metres = map_fit.metres_per_unit
    turned = positions @ rotation.T
    low, high = turned.min(axis=0), turned.max(axis=0)
    scale = 1 / region.frame.scale
    if metres is not None:
        scale = metres
    elif request.size_m is not None:
        scale = request.size_m / max(float((high - low).max()), 1e-9)
    base = np.array([(low[0] + high[0]) / 2, high[1], (low[2] + high[2]) / 2], np.float64)
    return Placing(rotation, rotation.T @ base, scale)
