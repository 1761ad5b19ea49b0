"""What the pictures of a region say about its surface: outlines and the depth of each view.

Nothing is decided here about the surface itself; ``shape.py`` does that.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...contracts import CameraArrays, Detail
from ...errors import PictureError
from ...field.grid import GridField
from ..cameras.reflections import glazed
from ..contracts import View
from ..depth.filling import filled
from ..depth.priors import Prior, guessed
from ..depth.stereo import DepthMap, Picture, agreeing, depth_planes, neighbours_of, prepared, sweep
from ..geometry import project
from ..placement.region import Region
from ..watch import Watch
from .agreement import doubted_share
from .fusion import LENIENT, TRUNCATION, Evidence, Grid, hull, integrate
from .preview import preview_of_field

Floats = NDArray[np.float32]
Stage = Callable[[str], Callable[[float], None]]

CELLS: dict[Detail, int] = {"low": 96, "medium": 144, "high": 208, "ultra": 288}
SIDES: dict[Detail, int] = {"low": 240, "medium": 360, "high": 560, "ultra": 800}
NEIGHBOURS: dict[Detail, int] = {"low": 3, "medium": 4, "high": 5, "ultra": 6}
MOST_SIDES = 4.0  # a small subject's picture is no larger than so many of these sides
PARTNERS = 8  # views that are asked whether they agree
TOLERANCE = 0.01  # of depth
PLACE_TOLERANCE = 0.015
THINNEST = 0.375  # of a cube's cells: a box has so many along its shortest side, if it can
MOST_FINER = 2.0  # times that the cells of a flat box are smaller than those of a cube
BEYOND = 3.0  # how much further than the box depth is sought, where no mask tells the subject


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pictures of a region say about its surface.

    Attributes:
        grid: Where the surface is sampled.
        outside: (N,) signed distance to the visual hull in cells; None without masks.
        maps: Depth of each view that other views agree with.
        known: Share of the subject's pixels for which a depth was found.
        guesses: Depth in the gaps of ``maps``, from what is around them.
        is_place: Guesses are surface where nothing was measured; of a thing they only tell what is
            free and what is hidden, as inside of a bare bowl.
    """

    grid: Grid
    outside: Floats | None
    maps: tuple[DepthMap, ...]
    known: float
    guesses: tuple[DepthMap, ...] = ()
    is_place: bool = False


def measure(
    region: Region,
    detail: Detail,
    stage: Stage,
    watch: Watch | None = None,
    prior: Prior | None = None,
) -> Measured:
    """Carve by the silhouettes and find the depth of each view; as ``shape_by_fusion``."""
    grid = Grid.over(region.half, cells_along(region.half, detail))
    outside = None
    report = stage("Carving by the outlines")
    if region.has_masks:
        doubt = LENIENT
        if region.is_guessed:
            doubt = doubted_share(region.views, region.half, lambda share: report(0.3 * share))
        outside = hull(region.views, grid, lambda share: report(0.3 + 0.7 * share), doubt)
        if not (outside < 0).any():
            raise PictureError(
                "The outlines do not fit together: check the masks, or whether the subject moved"
                " between the pictures."
            )
        _show_hull(region, grid, outside, watch or Watch())
    pictures = [prepared(view, picture_side(view, SIDES[detail])) for view in region.views]
    report = stage("Measuring depth")
    maps, partners, known = _depth_maps(region, pictures, grid, outside, NEIGHBOURS[detail], report)
    report = stage("Comparing depth")
    is_place = region.kind == "place"
    least = 2 if len(maps) > 5 else 1
    tolerance = TOLERANCE
    if is_place:  # few views see the same spot of a wall, and from further away
        least, tolerance = 1, PLACE_TOLERANCE
    found = agreeing(maps, partners, tolerance, least, lambda share: report(0.6 * share))
    if region.mirrors:
        found = [glazed(one, region.mirrors, is_place=is_place) for one in found]
    allowed = [picture.allowed for picture in pictures]
    guesses = filled(found, allowed, partners, lambda share: report(0.6 + 0.4 * share))
    if prior is not None:
        report = stage("Guessing bare surfaces")
        guesses = guessed(prior, region.views, found, allowed, guesses, partners, report)
    return Measured(grid, outside, tuple(found), known, tuple(guesses), is_place)


def _show_hull(region: Region, grid: Grid, outside: Floats, watch: Watch) -> None:
    if watch.show is None:
        return
    cells = np.clip(outside, -TRUNCATION, TRUNCATION).reshape(grid.shape)
    field = GridField(cells * np.float32(grid.spacing), grid.origin, grid.spacing)
    preview = preview_of_field(field, region.views, "Outlines")
    if preview is not None:
        watch.look(preview)


def cells_along(half: NDArray[np.floating], detail: Detail) -> int:
    """Cells along the longest side of a box; a flat one gets more of them.

    What is in a flat box, such as a set of plates or a street, is thin: it needs smaller cells, and
    costs little more with them than what fills a cube.

    Args:
        half: (3,) half sides of the box.
        detail: How fine.
    """
    flat = float(half.min() / half.max())
    return round(CELLS[detail] * min(max(THINNEST / flat, 1.0), MOST_FINER))


def collected(measured: Measured, report: Callable[[float], None]) -> Evidence:
    """What all depth maps say together; guesses count where nothing was measured at all."""
    evidence = integrate(
        measured.maps, measured.grid, (lambda s: report(0.5 * s)) if measured.guesses else report
    )
    if not measured.guesses:
        return evidence
    guessed = integrate(measured.guesses, measured.grid, lambda share: report(0.5 + 0.5 * share))
    unknown = evidence.weight <= 0
    if measured.is_place:
        unknown &= evidence.through == 0
        return replace(
            evidence,
            distance=np.where(unknown, guessed.distance, evidence.distance),
            weight=np.where(unknown, guessed.weight, evidence.weight),
        )
    through, behind = (
        np.where(unknown, np.minimum(own.astype(np.uint16) + more, 255), own).astype(np.uint8)
        for own, more in (
            (evidence.through, guessed.through),
            (evidence.behind, guessed.behind),
        )
    )
    return replace(evidence, through=through, behind=behind)


def picture_side(view: View, wanted: int) -> int:
    """Longest side of the whole picture at which the subject in it is ``wanted`` pixels long."""
    if view.mask is None or not (view.mask > 0.5).any():
        return wanted
    rows, columns = ((view.mask > 0.5).any(axis=axis).nonzero()[0] for axis in (1, 0))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    return round(min(wanted * max(view.mask.shape) / extent, MOST_SIDES * wanted))


def _depth_maps(
    region: Region,
    pictures: list[Picture],
    grid: Grid,
    outside: Floats | None,
    count: int,
    report: Callable[[float], None],
) -> tuple[list[DepthMap], list[list[int]], float]:
    """Depth of every view, whom to compare each with, and the share of pixels that have one."""
    cameras = [picture.camera for picture in pictures]
    inner = _inner_points(region, grid, outside)
    targets = np.stack([_target(region, camera) for camera in cameras])
    partners = neighbours_of(cameras, targets, PARTNERS)
    maps: list[DepthMap] = []
    found = allowed = 0
    for number, picture in enumerate(pictures):

        def tick(number: int = number) -> None:
            report(number / len(pictures))

        tick()
        near, far = _depth_range(region, picture, inner)
        others = [pictures[other] for other in partners[number][:count]]
        planes = depth_planes(picture.camera, [other.camera for other in others], near, far)
        depth = sweep(picture, others, planes, None, tick)
        maps.append(DepthMap(depth, picture.camera))
        found += int((depth > 0).sum())
        allowed += int(picture.allowed.sum())
    return maps, partners, found / max(allowed, 1)


def _inner_points(region: Region, grid: Grid, outside: Floats | None) -> Floats:
    """Points spread over what is to be reconstructed."""
    if outside is not None:
        inside = np.flatnonzero(outside < 0)
        inside = inside[:: max(1, len(inside) // 20_000)]
        index = np.stack(np.unravel_index(inside, grid.shape), axis=1)
        return (grid.origin + index * np.float32(grid.spacing)).astype(np.float32)
    steps = np.linspace(-1, 1, 9)
    cube = np.stack(np.meshgrid(steps, steps, steps), axis=-1).reshape(-1, 3)
    return (cube * region.half).astype(np.float32)


def _target(region: Region, camera: CameraArrays) -> Floats:
    """(3,) the middle of what a camera looks at."""
    if region.kind == "object":
        return np.zeros(3, np.float32)
    points = region.points.positions
    where, depth = project(camera, points)
    seen = (depth > 0) & (where > 0).all(axis=1)
    seen &= (where[:, 0] < camera.width) & (where[:, 1] < camera.height)
    if seen.sum() < 5:
        return np.zeros(3, np.float32)
    return np.median(points[seen], axis=0).astype(np.float32)


def _depth_range(region: Region, picture: Picture, inner: Floats) -> tuple[float, float]:
    """Nearest and farthest depth at which a view's pixels can lie."""
    camera = picture.camera
    depth = project(camera, inner)[1]
    ahead = depth[depth > 1e-3]
    if region.has_masks and len(ahead):
        return max(0.985 * float(ahead.min()), 1e-3), 1.015 * float(ahead.max())
    where, sparse = project(camera, region.points.positions)
    seen = (sparse > 1e-3) & (where > 0).all(axis=1)
    seen &= (where[:, 0] < camera.width) & (where[:, 1] < camera.height)
    if seen.sum() >= 20:
        # A bare floor before the feet is nearer than anything that has features.
        nearer = 0.5 if region.kind == "place" else 0.75
        near = nearer * float(np.percentile(sparse[seen], 0.5))
        far = 1.35 * float(np.percentile(sparse[seen], 99))
        return near, max(far, 1.05 * near)
    if not len(ahead):
        return 0.05, BEYOND
    near = max(float(ahead.min()), 0.05 * float(ahead.max()), 1e-3)
    return near, BEYOND * float(ahead.max())
