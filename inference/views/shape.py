"""The surface of a region by depth maps and silhouettes: no network, no training.

Other ways to a surface (a field trained by volume rendering) take the same ``Region`` and give the
same ``Shape``; everything after them, texture above all, does not know which it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..contracts import CameraArrays, Detail
from ..errors import PictureError
from ..surface.nets import drop_small_parts, smooth, surface_nets
from .contracts import View
from .fusion import Evidence, Grid, fuse, hull, integrate
from .geometry import project
from .region import Region
from .stereo import DepthMap, Picture, agreeing, depth_planes, neighbours_of, prepared, sweep

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Stage = Callable[[str], Callable[[float], None]]

CELLS: dict[Detail, int] = {"low": 96, "medium": 144, "high": 208, "ultra": 288}
SIDES: dict[Detail, int] = {"low": 240, "medium": 360, "high": 560, "ultra": 800}
NEIGHBOURS: dict[Detail, int] = {"low": 3, "medium": 4, "high": 5, "ultra": 6}
MOST_SIDES = 4.0  # a small subject's picture is no larger than so many of these sides
PARTNERS = 8  # views that are asked whether they agree
TOLERANCE = 0.01  # of depth
SMOOTHING = 3
SMALLEST_PART = 0.02
SMALLEST_UNMASKED = 0.2  # what stands around a thing without masks is not of it
BEYOND = 3.0  # how much further than the box depth is sought, where no mask tells the subject


@dataclass(frozen=True, slots=True)
class Shape:
    """A surface in the region's frame.

    Attributes:
        positions: (V, 3) float32.
        faces: (F, 4) int32 of a closed mesh.
        known: Share of the subject's pixels for which a depth was found.
    """

    positions: Floats
    faces: Ints
    known: float


@dataclass(frozen=True, slots=True)
class Measured:
    """What the pictures of a region say about its surface.

    Attributes:
        grid: Where the surface is sampled.
        outside: (N,) signed distance to the visual hull in cells; None without masks.
        maps: Depth of each view that other views agree with.
        known: Share of the subject's pixels for which a depth was found.
    """

    grid: Grid
    outside: Floats | None
    maps: tuple[DepthMap, ...]
    known: float


def shape_by_fusion(region: Region, detail: Detail, stage: Stage) -> Shape:
    """Find depth for each view, fuse it, cut it by the silhouettes, extract the surface.

    Args:
        region: Views in the frame of their box.
        detail: How fine.
        stage: Called with the name of each stage as it begins; gives a function to report that
            stage's finished share with, which raises to cancel.

    Raises:
        PictureError: When no surface is found.
    """
    measured = measure(region, detail, stage)
    report = stage("Fusing")
    evidence = integrate(measured.maps, measured.grid, report)
    report(1.0)
    return extract(region, measured, evidence)


def measure(region: Region, detail: Detail, stage: Stage) -> Measured:
    """Carve by the silhouettes and find the depth of each view; as ``shape_by_fusion``."""
    grid = Grid.over(region.half, CELLS[detail])
    outside = None
    report = stage("Carving by the outlines")
    if region.has_masks:
        outside = hull(region.views, grid, report)
        if not (outside < 0).any():
            raise PictureError(
                "The outlines do not fit together: check the masks, or whether the subject moved"
                " between the pictures."
            )
    pictures = [prepared(view, _side(view, SIDES[detail])) for view in region.views]
    report = stage("Measuring depth")
    maps, partners, known = _depth_maps(region, pictures, grid, outside, NEIGHBOURS[detail], report)
    report = stage("Comparing depth")
    least = 2 if len(maps) > 5 else 1
    return Measured(grid, outside, tuple(agreeing(maps, partners, TOLERANCE, least, report)), known)


def _side(view: View, wanted: int) -> int:
    """Longest side of the whole picture at which the subject in it is ``wanted`` pixels long."""
    if view.mask is None or not (view.mask > 0.5).any():
        return wanted
    rows, columns = ((view.mask > 0.5).any(axis=axis).nonzero()[0] for axis in (1, 0))
    extent = max(np.ptp(rows), np.ptp(columns)) + 1
    return round(min(wanted * max(view.mask.shape) / extent, MOST_SIDES * wanted))


def extract(region: Region, measured: Measured, evidence: Evidence) -> Shape:
    """The surface that depth and silhouettes leave.

    Raises:
        PictureError: When there is none.
    """
    is_object = region.kind == "object"
    if not is_object:
        evidence = _shell(evidence)
    outside, floor = measured.outside, region.floor
    field, _ = fuse(measured.grid, evidence, outside, floor, is_object=is_object)
    positions, faces = surface_nets(field.distance)
    if not len(faces):
        raise PictureError(
            "No surface was found that several pictures agree on: take more pictures with more"
            " overlap, or give masks."
        )
    smallest = SMALLEST_PART if region.has_masks or not is_object else SMALLEST_UNMASKED
    positions, faces = drop_small_parts(positions, faces, smallest)
    positions = smooth(positions, faces, SMOOTHING)
    positions = field.origin + positions * np.float32(field.spacing)
    return Shape(positions.astype(np.float32), faces, measured.known)


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
        near = 0.75 * float(np.percentile(sparse[seen], 0.5))
        far = 1.35 * float(np.percentile(sparse[seen], 99))
        return near, max(far, 1.05 * near)
    if not len(ahead):
        return 0.05, BEYOND
    near = max(float(ahead.min()), 0.05 * float(ahead.max()), 1e-3)
    return near, BEYOND * float(ahead.max())


def _shell(evidence: Evidence) -> Evidence:
    """A place is a thin closed shell behind what was seen; its back is taken off later."""
    nothing = np.zeros_like(evidence.behind)
    return Evidence(evidence.distance, evidence.weight, evidence.through, nothing)
