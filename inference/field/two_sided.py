"""Turn the front and back surface seen from one camera into a closed solid.

A point is inside when it lies behind the front surface, before the back surface and within the
silhouette. Each of the three gives a distance; their maximum is the field. Towards the silhouette
the two surfaces are drawn together, so that sides close round instead of as a slab.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..image import blur, enlarge, sample
from ..stopping import chance_to_stop
from .grid import GridField
from .outline import local_width

Floats = NDArray[np.float32]

FILLET = 0.14  # radius of the rounding at the silhouette where nothing more is known
SOFT = 0.012  # of the crop's side: blur of what is carried outwards to the silhouette
WIDELY = 0.04  # of the side: blur of the thickness from which sides are rounded off
FINEST = 0.4  # smallest cell of a slim solid, as a share of a cube's
JUMP = 0.06  # depth step between neighbours, in the view's units, that is no slope
PAD = 3  # samples between the solid and the border of the grid


@dataclass(frozen=True, slots=True)
class TwoSidedSurface:
    """What a subject's crop shows and hides. Lengths in the view's units.

    Attributes:
        front: (S, S) depth of the first surface along the view axis.
        back: (S, S) depth of the last surface, >= front.
        mask: (M, M) subject probability 0..1; M may be finer than S.
        surety: How far both depths are believed up to the silhouette and across their jumps, 0 to 1,
            as one number or (S, S). Where it is 0 sides are rounded, where it is 1 they are taken
            as they are.
        fillet: Radius of the rounding at the silhouette in the view's units, as one number or
            (S, S); at most half as wide as the part is there.
    """

    front: Floats
    back: Floats
    mask: Floats
    surety: Floats | float = 0.0
    fillet: Floats | float = FILLET


def solid_from_two_sides(
    surface: TwoSidedSurface,
    view: CropView,
    cells: int,
    report: Callable[[float], None],
) -> GridField:
    """Sample the solid between front and back.

    Args:
        surface: The two sides.
        view: Where they were seen from.
        cells: Grid cells along the longest side of a solid about as wide as high and deep; slim
            ones get finer cells, so that the number of faces stays about the same.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Returns:
        The field in the view frame.
    """
    size = surface.mask.shape[0]
    silhouette = signed_pixels(surface.mask) * np.float32(2.0 / size)
    middle, half = _rounded_sides(surface, silhouette)
    front, back = middle - half, middle + half
    maps = np.dstack([front, back, _steepness(front), _steepness(back)]).astype(np.float32)

    inside = silhouette > 0
    rows, columns = np.nonzero(inside)
    depth_low = float(np.percentile(front[inside], 0.1)) + view.distance
    depth_high = float(np.percentile(back[inside], 99.9)) + view.distance
    rays = view.crop_rays(size)[rows, columns, :2]
    # The frustum widens with depth, so the far end decides how wide the grid must be.
    low = np.append(np.minimum(rays.min(0) * depth_high, rays.min(0) * depth_low), depth_low)
    high = np.append(np.maximum(rays.max(0) * depth_high, rays.max(0) * depth_low), depth_high)
    spacing = _spacing(high - low, cells)
    counts = np.ceil((high - low) / spacing).astype(int) + 1 + 2 * PAD
    origin = (low - PAD * spacing).astype(np.float32)
    origin[2] = max(origin[2], 0.05 * view.distance)  # never behind the camera

    x = origin[0] + spacing * np.arange(counts[0], dtype=np.float32)
    y = origin[1] + spacing * np.arange(counts[1], dtype=np.float32)
    plane = np.empty((counts[0], counts[1], 3), np.float32)
    plane[..., 0], plane[..., 1] = x[:, None], y[None, :]
    distance = np.empty(tuple(counts), np.float32)
    for k in range(int(counts[2])):
        if k % 16 == 0:
            report(k / counts[2])
        z = float(origin[2] + spacing * k)
        plane[..., 2] = z
        where = view.crop_coordinates(plane, size)
        sides, outline = sample(maps, where), sample(silhouette, where)
        before = (sides[..., 0] - (z - view.distance)) * sides[..., 2]
        behind = ((z - view.distance) - sides[..., 1]) * sides[..., 3]
        distance[:, :, k] = np.maximum(np.maximum(before, behind), -outline)
    # The blur takes steps off hollows and flats; alone it would eat thin legs and sharp ridges.
    distance = np.minimum(distance, _blurred(distance))
    border = np.ones_like(distance, bool)
    border[1:-1, 1:-1, 1:-1] = False
    distance[border] = np.maximum(distance[border], spacing)
    return GridField(distance, origin, spacing)


def _spacing(extent: NDArray[np.floating], cells: int) -> float:
    """Cell size that spends as many faces on any box as ``cells`` do on a cube."""
    longest = float(extent.max())
    area = 2 * float(extent[0] * extent[1] + extent[1] * extent[2] + extent[2] * extent[0])
    fineness = np.sqrt(area / (6 * longest**2))
    return longest / cells * float(np.clip(fineness, FINEST, 1))


def signed_pixels(mask: Floats) -> Floats:
    """Pixels to the silhouette, positive inside, from a soft mask.

    Next to the silhouette the mask's shades tell where it runs within a pixel, so that slanting edges
    have no steps.
    """
    inside = (mask > 0.5).astype(np.uint8)
    chance_to_stop()
    inner = cv2.distanceTransform(inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    chance_to_stop()
    outer = cv2.distanceTransform(1 - inside, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    hard = np.where(inside > 0, inner - 0.5, 0.5 - outer).astype(np.float32)
    shade = blur(mask.astype(np.float32), 0.7)
    chance_to_stop()
    down, across = np.gradient(shade)
    exact = (shade - 0.5) / np.maximum(np.hypot(down, across), 0.1)
    chance_to_stop()
    near = np.clip(2 - np.abs(hard), 0, 1)
    hard += near * (np.clip(exact, hard - 1, hard + 1) - hard)
    return blur(hard.astype(np.float32), 0.8)


def _rounded_sides(surface: TwoSidedSurface, silhouette: Floats) -> tuple[Floats, Floats]:
    """Middle surface and half thickness at the mask's resolution, rounded at the silhouette."""
    size = silhouette.shape[0]
    scale = size / surface.front.shape[0]
    given = np.broadcast_to(np.float32(surface.surety), surface.front.shape)
    doubt = 1 - enlarge(np.ascontiguousarray(given), size, size)
    # The network's outermost pixels mix subject and background: take them from further inside.
    sure = silhouette > 1.2 * scale * 2.0 / size * doubt
    if not sure.any():
        sure = silhouette > 0
    nearest = nearest_inside(sure)
    front = _enlarged(surface.front, given, size).ravel()[nearest]
    back = _enlarged(surface.back, given, size).ravel()[nearest]
    middle = (front + back) / 2
    middle = middle + doubt * (blur(middle, 0.7 * scale) - middle)
    rim = np.clip(1 - silhouette / (SOFT * 8), 0, 1)
    middle = middle + doubt * rim * (blur(middle, SOFT * size) - middle)
    half = np.maximum((back - front) / 2, 0.01).astype(np.float32)
    fillet = np.broadcast_to(np.float32(surface.fillet), surface.front.shape)
    fillet = enlarge(np.ascontiguousarray(fillet), size, size)
    half = np.maximum(half + doubt * _cut(half, silhouette, fillet), 1e-3)
    half = half + doubt * (blur(half.astype(np.float32), 0.5 * scale) - half)
    return middle.astype(np.float32), half.astype(np.float32)


def _enlarged(depth: Floats, surety: Floats, size: int) -> Floats:
    """(size, size) depth; where it is believed, its jumps stay as sharp as they are."""
    smooth = enlarge(depth, size, size)
    window = np.ones((3, 3), np.uint8)
    jumps = (cv2.dilate(depth, window) - cv2.erode(depth, window) > JUMP) & (surety > 0.5)
    if not jumps.any():
        return smooth
    shape = (size, size)
    sharp = np.asarray(cv2.resize(depth, shape, interpolation=cv2.INTER_NEAREST))
    at_jump = cv2.resize(jumps.astype(np.uint8), shape, interpolation=cv2.INTER_NEAREST) > 0
    return np.where(at_jump, sharp, smooth)


def _cut(half: Floats, silhouette: Floats, fillet: Floats) -> Floats:
    """What is taken off the half thickness so that it closes round at the silhouette; at most 0.

    A quarter of an ellipse from the silhouette to the thickness found at its inner end. What is
    rounder already, like a ball, stays as it is.
    """
    inside = silhouette > 0
    size = len(silhouette)
    unit = 2.0 / size
    reach = np.minimum(local_width(inside) * np.float32(unit / 2), fillet)
    reach = np.maximum(blur(reach, SOFT * size), np.float32(unit))
    inner = inside & (silhouette >= 0.9 * reach)
    if not inner.any():
        return np.zeros_like(half)
    height = blur(half.ravel()[nearest_inside(inner)], WIDELY * size)
    along = np.clip(silhouette / reach, 0, 1)
    round_ = height * np.sqrt(1 - (1 - along) ** 2)
    cut = np.where(along < 1, np.minimum(round_ - half, 0), 0).astype(np.float32)
    # Where what is cut off from two sides meets, there would be a crease.
    return cut + np.clip(2 * along, 0, 1) * (blur(cut, SOFT * size) - cut)


def nearest_inside(inside: NDArray[np.bool_]) -> NDArray[np.intp]:
    """(H, W) flat index of the nearest True pixel of each pixel; itself where True."""
    chance_to_stop()
    _, labels = cv2.distanceTransformWithLabels(
        (~inside).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    chance_to_stop()
    index_of = np.zeros(int(labels.max()) + 1, np.intp)
    flat = np.flatnonzero(inside)
    index_of[labels.ravel()[flat]] = flat
    return index_of[np.asarray(labels, np.int32)]


def _steepness(depth: Floats) -> Floats:
    """Cosine that turns a distance along the ray into one along the normal, at least 0.25."""
    step = 2.0 / depth.shape[0]
    smooth = blur(depth, 1.0)
    dy, dx = np.gradient(smooth, step)
    return np.maximum(1.0 / np.sqrt(1.0 + dx * dx + dy * dy), 0.25).astype(np.float32)


def _blurred(grid: Floats) -> Floats:
    """Binomial 1-2-1 blur along each axis; the outermost layer stays."""
    grid = grid.copy()
    for axis in range(3):
        chance_to_stop()
        moved = np.moveaxis(grid, axis, 0)
        moved[1:-1] = 0.25 * (moved[:-2] + moved[2:]) + 0.5 * moved[1:-1]
    return grid
