"""A depth map for each view from its neighbours, on the CPU and without training.

Plane sweep (Collins 1996): neighbours are warped onto planes parallel to the picture, the similarity
is normalised cross-correlation over a small window, and the best half of the neighbours counts, as
the others may not see the spot. Depth is then chosen by semi-global matching (Hirschmueller 2008)
along four directions, refined to a fraction of a plane, and kept where other views agree.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ...contracts import CameraArrays
from ..contracts import View
from ..geometry import pixels_at, project

Floats = NDArray[np.float32]

WINDOW = 5  # pixels
BEST_ANGLE = np.radians(14.0)  # between neighbouring views of a spot; less tells no depth
WIDEST_ANGLE = np.radians(50.0)
SMALL_STEP, LARGE_STEP = 0.05, 0.35  # smoothness penalties, in units of 1 - correlation
LEAST_CORRELATION = 0.45  # under which a match is none
FLAT = 2.5  # standard deviation of grey levels under which a window has nothing to compare
MOST_PLANES = 224
UNSEEN = -2.0  # in place of a correlation where a neighbour's picture ends


@dataclass(frozen=True, slots=True)
class Picture:
    """A view at the size that depth is sought at.

    Attributes:
        grey: (h, w) float32 0..255.
        allowed: (h, w) bool: pixels that may show the subject.
        camera: Its camera, for that size.
    """

    grey: Floats
    allowed: NDArray[np.bool_]
    camera: CameraArrays


@dataclass(frozen=True, slots=True)
class DepthMap:
    """Depth along the view axis.

    Attributes:
        depth: (h, w) float32; 0 where not known.
        camera: For this size.
    """

    depth: Floats
    camera: CameraArrays


def prepared(view: View, side: int) -> Picture:
    """Scale a view so that its longest side is at most ``side`` pixels."""
    height, width = view.pixels.shape[:2]
    scale = min(1.0, side / max(height, width))
    size = (max(round(width * scale), 8), max(round(height * scale), 8))
    grey = cv2.cvtColor(view.pixels, cv2.COLOR_RGB2GRAY)
    grey = cv2.resize(grey, size, interpolation=cv2.INTER_AREA).astype(np.float32)
    allowed = np.ones((size[1], size[0]), bool)
    if view.valid is not None:
        allowed &= cv2.resize(view.valid.astype(np.uint8), size, interpolation=cv2.INTER_AREA) > 0
    if view.mask is not None:
        allowed &= cv2.resize(view.mask, size, interpolation=cv2.INTER_AREA) > 0.3
    camera = CameraArrays(view.camera.matrix, view.camera.fov_x, size[0], size[1])
    return Picture(grey, allowed, camera)


def neighbours_of(cameras: Sequence[CameraArrays], targets: Floats, count: int) -> list[list[int]]:
    """The other views that tell a view's depth best, best first.

    Args:
        cameras: Of all views.
        targets: (N, 3) for each view a point in the middle of what it looks at.
        count: At most so many.
    """
    positions = np.array([camera.matrix[:3, 3] for camera in cameras])
    chosen = []
    for index, (camera, target) in enumerate(zip(cameras, targets, strict=True)):
        own = _unit(camera.matrix[:3, 3] - target)
        to = positions - target
        distance = np.maximum(np.linalg.norm(to, axis=1), 1e-12)
        angle = np.arccos(np.clip(to @ own / distance, -1, 1))
        score = np.exp(-(((angle - BEST_ANGLE) / np.where(angle < BEST_ANGLE, 0.1, 0.3)) ** 2))
        ratio = distance / distance[index]
        score *= np.minimum(ratio, 1 / ratio)  # one much nearer shows another scale
        for other, its_camera in enumerate(cameras):
            where, depth = project(its_camera, target[None])
            is_seen = (
                depth[0] > 0
                and 0 <= where[0, 0] <= its_camera.width
                and 0 <= where[0, 1] <= its_camera.height
            )
            if other == index or not is_seen or angle[other] > WIDEST_ANGLE:
                score[other] = 0
        order = [int(i) for i in np.argsort(-score) if score[i] > 1e-4]
        # Of views that stand side by side one is enough: take the next from elsewhere.
        kept: list[int] = []
        for other in order:
            apart = [np.linalg.norm(positions[other] - positions[k]) for k in kept]
            if not apart or min(apart) > 0.3 * np.linalg.norm(positions[other] - positions[index]):
                kept.append(other)
        kept += [other for other in order if other not in kept]
        chosen.append(kept[:count])
    return chosen


def depth_planes(
    camera: CameraArrays, others: Sequence[CameraArrays], near: float, far: float
) -> Floats:
    """(D,) rising depths that step the most distant neighbour by about a pixel each."""
    focal = camera.width / 2 / np.tan(camera.fov_x / 2)
    baseline = max(
        (np.linalg.norm(other.matrix[:3, 3] - camera.matrix[:3, 3]) for other in others), default=0
    )
    pixels = float(focal * baseline * (1 / near - 1 / far))
    count = int(np.clip(pixels, 24, MOST_PLANES))
    return (1 / np.linspace(1 / near, 1 / far, count)).astype(np.float32)


def sweep(
    picture: Picture,
    others: Sequence[Picture],
    planes: Floats,
    nearest: Floats | None,
    report: Callable[[], None],
) -> Floats:
    """Find a view's depth.

    Args:
        picture: The view.
        others: Its neighbours.
        planes: (D,) rising depths.
        nearest: (h, w) depth in front of which there is nothing (a visual hull); None without.
        report: Called often; raises to cancel.

    Returns:
        (h, w) float32 depth; 0 where no neighbour agrees.
    """
    rows, columns = np.nonzero(picture.allowed)
    if not len(rows) or not others:
        return np.zeros(picture.grey.shape, np.float32)
    # Work in the rectangle that holds the subject.
    margin = WINDOW
    top, bottom = max(rows.min() - margin, 0), min(rows.max() + 1 + margin, len(picture.grey))
    left = max(columns.min() - margin, 0)
    right = min(columns.max() + 1 + margin, picture.grey.shape[1])
    box = (slice(top, bottom), slice(left, right))
    grey = np.ascontiguousarray(picture.grey[box])
    cost = _matching_cost(picture, others, planes, (left, top), grey, report)
    if nearest is not None:
        cost[planes[None, None] < 0.995 * nearest[box][..., None]] = 1.0
    is_flat = _deviation(grey) < FLAT
    total = _semi_global(cost, grey, report)
    best = total.argmin(axis=2)
    depth = _between_planes(total, best, planes)
    matched = np.take_along_axis(cost, best[..., None], axis=2)[..., 0] < 1 - LEAST_CORRELATION
    inner = (best > 0) & (best < len(planes) - 1)
    depth[~(matched & inner & ~is_flat & picture.allowed[box])] = 0
    whole = np.zeros(picture.grey.shape, np.float32)
    whole[box] = depth
    return whole


def _matching_cost(
    picture: Picture,
    others: Sequence[Picture],
    planes: Floats,
    corner: tuple[int, int],
    grey: Floats,
    report: Callable[[], None],
) -> Floats:
    """(h, w, D) 1 - correlation with the better half of the neighbours, 0 good to 1 none."""
    height, width = grey.shape
    mean, deviation = _mean(grey), _deviation(grey)
    half = max(1, (len(others) + 1) // 2)
    warps = [_warps(picture.camera, other.camera, planes, corner) for other in others]
    cost = np.empty((height, width, len(planes)), np.float32)
    flags = cv2.INTER_LINEAR | cv2.WARP_INVERSE_MAP
    for plane in range(len(planes)):
        report()
        scores = np.empty((len(others), height, width), np.float32)
        for index, other in enumerate(others):
            warp, size = warps[index][plane], (width, height)
            warped = cv2.warpPerspective(other.grey, warp, size, flags=flags, borderValue=(-1e4,))
            outside = np.asarray(warped < -1, bool)
            seen = np.asarray(np.where(outside, mean, warped), np.float32)
            other_mean = _mean(seen)
            spread = np.sqrt(np.maximum(_mean(seen * seen) - other_mean**2, 1.0))
            shared = _mean(seen * grey) - other_mean * mean
            score = shared / (spread * np.maximum(deviation, 1.0))
            score[outside] = UNSEEN
            scores[index] = score
        if len(others) > half:
            scores = np.partition(scores, len(others) - half, axis=0)[-half:]
        # Neighbours whose pictures end before the spot have no say; who looks down is one of few.
        seen_by = scores > UNSEEN
        alike = np.where(seen_by, scores, 0).sum(axis=0) / np.maximum(seen_by.sum(axis=0), 1)
        cost[..., plane] = 1 - np.clip(alike, 0, 1)
    return cost


def _warps(
    camera: CameraArrays, other: CameraArrays, planes: Floats, corner: tuple[int, int]
) -> NDArray[np.float64]:
    """(D, 3, 3) from array indices of the view's rectangle to those of the neighbour."""
    inner, outer = _intrinsics(camera), _intrinsics(other)
    turn = other.matrix[:3, :3].T @ camera.matrix[:3, :3]
    shift = other.matrix[:3, :3].T @ (camera.matrix[:3, 3] - other.matrix[:3, 3])
    inverse = np.linalg.inv(inner)
    move = np.array([[1.0, 0, corner[0]], [0, 1.0, corner[1]], [0, 0, 1]])
    normal = np.array([0.0, 0.0, 1.0])
    return np.stack(
        [outer @ (turn + np.outer(shift, normal) / depth) @ inverse @ move for depth in planes]
    )


def _intrinsics(camera: CameraArrays) -> NDArray[np.float64]:
    """(3, 3) to array indices: the middle of the first pixel is 0."""
    focal = camera.width / 2 / np.tan(camera.fov_x / 2)
    return np.array(
        [[focal, 0, camera.width / 2 - 0.5], [0, focal, camera.height / 2 - 0.5], [0, 0, 1]]
    )


def _mean(image: Floats) -> Floats:
    return np.asarray(cv2.blur(image, (WINDOW, WINDOW)), np.float32)


def _deviation(image: Floats) -> Floats:
    return np.sqrt(np.maximum(_mean(image * image) - _mean(image) ** 2, 0))


def _semi_global(cost: Floats, grey: Floats, report: Callable[[], None]) -> Floats:
    """Sum of the cheapest paths to each pixel and plane along four directions."""
    total = np.zeros_like(cost)
    for axis in (0, 1):
        lines = np.moveaxis(cost, axis, 0)
        sums = np.moveaxis(total, axis, 0)
        edges = np.abs(np.diff(grey, axis=axis, prepend=grey.take([0], axis)))
        # A jump in depth usually shows in the picture: it costs less at an edge.
        jump = np.moveaxis(LARGE_STEP / (1 + edges / 12), axis, 0)[..., None].astype(np.float32)
        for backwards in (False, True):
            order = range(len(lines) - 1, -1, -1) if backwards else range(len(lines))
            path: Floats | None = None
            for count, line in enumerate(order):
                if count % 64 == 0:
                    report()
                if path is None:
                    path = lines[line].copy()
                else:
                    edge = jump[line + 1] if backwards else jump[line]
                    least = path.min(axis=1, keepdims=True)
                    step = np.minimum(path, least + np.maximum(edge, SMALL_STEP))
                    np.minimum(step[:, 1:], path[:, :-1] + SMALL_STEP, out=step[:, 1:])
                    np.minimum(step[:, :-1], path[:, 1:] + SMALL_STEP, out=step[:, :-1])
                    path = lines[line] + step - least
                sums[line] += path
    return total


def _between_planes(total: Floats, best: NDArray[np.int64], planes: Floats) -> Floats:
    """Depth at the vertex of a parabola through the best plane and its neighbours."""
    middle = np.clip(best, 1, len(planes) - 2)[..., None]
    before, here, after = (
        np.take_along_axis(total, middle + step, axis=2)[..., 0] for step in (-1, 0, 1)
    )
    bend = before - 2 * here + after
    shift = np.where(bend > 1e-9, 0.5 * (before - after) / np.maximum(bend, 1e-9), 0)
    place = middle[..., 0] + np.clip(shift, -0.5, 0.5)
    inverse = 1 / planes
    steps = inverse[1] - inverse[0]  # planes are evenly spaced in inverse depth
    return (1 / (inverse[0] + steps * place)).astype(np.float32)


def agreeing(
    maps: Sequence[DepthMap],
    partners: Sequence[Sequence[int]],
    tolerance: float,
    least: int,
    report: Callable[[float], None],
) -> list[DepthMap]:
    """Keep depth that other views see at the same spot, and average it with theirs.

    Args:
        maps: Of all views.
        partners: For each view the views to ask.
        tolerance: Largest difference of depth, as a share of it.
        least: How many partners must agree.
        report: Called with the finished share; raises to cancel.
    """
    checked = []
    for index, own in enumerate(maps):
        report(index / len(maps))
        known = own.depth > 0
        points = unprojected(own)[known]
        depth = own.depth[known]
        votes = np.zeros(len(points), np.int32)
        summed, weight = depth.copy(), np.ones(len(points), np.float32)
        for other in partners[index]:
            found, expected = depth_at(maps[other], points)
            ratio = found / np.maximum(expected, 1e-9)
            agrees = (found > 0) & (np.abs(ratio - 1) < tolerance)
            votes += agrees
            summed[agrees] += depth[agrees] * ratio[agrees]
            weight += agrees
        result = np.zeros_like(own.depth)
        result[known] = np.where(votes >= least, summed / weight, 0)
        checked.append(DepthMap(result, own.camera))
    return checked


def depth_at(depth_map: DepthMap, points: Floats) -> tuple[Floats, Floats]:
    """What a depth map holds where it shows (N, 3) points, 0 for nothing, and how deep they are there."""
    row, column, seen, expected = pixels_at(depth_map.camera, points, depth_map.depth.shape)
    found = np.zeros(len(points), np.float32)
    found[seen] = depth_map.depth[row[seen], column[seen]]
    return found, expected


def unprojected(depth_map: DepthMap) -> Floats:
    """(h, w, 3) the point that each pixel shows, in the frame of the camera's matrix."""
    camera = depth_map.camera
    height, width = depth_map.depth.shape
    focal = camera.width / 2 / np.tan(camera.fov_x / 2)
    x = (np.arange(width, dtype=np.float32) + 0.5 - width / 2) / np.float32(focal)
    y = (np.arange(height, dtype=np.float32) + 0.5 - height / 2) / np.float32(focal)
    rays = np.stack([*np.meshgrid(x, y), np.ones((height, width), np.float32)], axis=-1)
    points = rays * depth_map.depth[..., None]
    rotation, origin = camera.matrix[:3, :3], camera.matrix[:3, 3]
    return (points @ rotation.T.astype(np.float32) + origin.astype(np.float32)).astype(np.float32)


def _unit(vector: NDArray) -> NDArray:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
