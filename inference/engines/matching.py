"""Turn a solid so that it covers its picture.

A network that builds a solid from a picture does not say from where it was seen, only roughly: from
the front. The camera's place is found by making the solid's outline cover the subject's.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import CropView

Floats = NDArray[np.float32]

COARSE, FINE = 64, 160  # sides of the outlines that are compared, in pixels
POINTS = 40_000  # of the surface that are projected, at most
YAWS = np.radians([-50.0, -25.0, 0.0, 25.0, 50.0])  # where the search begins
PITCHES = np.radians([-30.0, -10.0, 10.0, 30.0])
DOUBT = 0.12  # how much of the overlap a turn by one radian must win: outlines say little of turns
_STEPS = np.array([0.2, 0.2, 0.06, 0.05, 0.04, 0.04])  # yaw, pitch, roll, log size, right, down
_HALVINGS = 6


@dataclass(frozen=True, slots=True)
class Placement:
    """Where a solid stands in a view: ``view = scale * rotation @ solid + offset``.

    Attributes:
        rotation: (3, 3).
        scale: Units of the view per unit of the solid's frame.
        offset: (3,) where the solid's origin goes.
        overlap: Intersection over union of the two outlines, 0 to 1.
    """

    rotation: NDArray[np.float64]
    scale: float
    offset: NDArray[np.float64]
    overlap: float

    def to_view(self, points: Floats) -> Floats:
        """(N, 3) points of the solid's frame in the view frame."""
        moved = points @ (self.rotation.T * self.scale) + self.offset
        return moved.astype(np.float32)

    def to_solid(self, points: Floats) -> Floats:
        """(N, 3) points of the view frame in the solid's frame."""
        return ((points - self.offset) @ self.rotation / self.scale).astype(np.float32)


def place_in_view(
    points: Floats,
    axes: NDArray[np.float64],
    view: CropView,
    mask: Floats,
    report: Callable[[float], None],
) -> Placement:
    """Find the placement whose outline covers the subject best.

    Args:
        points: (N, 3) on the solid's surface, dense enough to cover it.
        axes: (3, 3) rows are the view's axes in the solid's frame, as far as they are known.
        view: The crop's camera.
        mask: (M, M) subject probability of the crop.
        report: Called with the finished share, 0 to 1; raises to cancel.
    """
    cloud = points[:: max(1, len(points) // POINTS)].astype(np.float64)
    middle = (cloud.min(axis=0) + cloud.max(axis=0)) / 2
    centred = (cloud - middle) @ axes.T
    radius = float(np.linalg.norm(centred, axis=1).max())
    best = _search(centred / radius, view, mask, report)
    rotation, size, place = _pose(best, view)
    overlap = _overlap(_outline(centred / radius, best, view, FINE), _scaled(mask, FINE))
    turned = rotation @ axes
    scale = size / radius
    return Placement(turned, scale, place - scale * turned @ middle, overlap)


def _search(
    points: NDArray[np.float64], view: CropView, mask: Floats, report: Callable[[float], None]
) -> NDArray[np.float64]:
    """The best yaw, pitch, roll (radians), log size, and shifts right and down (crop widths)."""
    target = _scaled(mask, COARSE)
    starts = []
    for number, (yaw, pitch) in enumerate((y, p) for y in YAWS for p in PITCHES):
        report(0.4 * number / (len(YAWS) * len(PITCHES)))
        pose = _fitted_box(points, np.array([yaw, pitch, 0, 0, 0, 0]), view, target)
        starts.append((_score(points, pose, view, target), pose))
    starts.sort(key=lambda pair: -pair[0])
    best, pose = -np.inf, starts[0][1]
    for number, (_, start) in enumerate(starts[:3]):
        found = _climb(points, start, view, target, 3, lambda: report(0.4))
        score = _score(points, found, view, target)
        report(0.4 + 0.1 * number)
        if score > best:
            best, pose = score, found
    fine = _scaled(mask, FINE)
    return _climb(points, pose, view, fine, _HALVINGS, lambda: report(0.8))


def _climb(
    points: NDArray[np.float64],
    pose: NDArray[np.float64],
    view: CropView,
    target: Floats,
    halvings: int,
    report: Callable[[], None],
) -> NDArray[np.float64]:
    """Follow single steps that help, then halve them (Hooke and Jeeves 1961)."""
    best = _score(points, pose, view, target)
    steps = _STEPS.copy()
    for _ in range(halvings):
        for _ in range(4):
            before = best
            for axis in range(len(steps)):
                report()
                for sign in (1, -1):
                    trial = pose.copy()
                    trial[axis] += sign * steps[axis]
                    score = _score(points, trial, view, target)
                    if score > best:
                        best, pose = score, trial
                        break
            if best == before:
                break
        steps = steps / 2
    return pose


def _score(
    points: NDArray[np.float64], pose: NDArray[np.float64], view: CropView, target: Floats
) -> float:
    """Overlap of the outlines, less a little for every turn away from what is known."""
    outline = _outline(points, pose, view, target.shape[0])
    return _overlap(outline, target) - DOUBT * float((pose[:3] ** 2 * [1, 1, 2]).sum())


def _pose(
    pose: NDArray[np.float64], view: CropView
) -> tuple[NDArray[np.float64], float, NDArray[np.float64]]:
    """Rotation in the view frame, size, and where the middle goes."""
    yaw, pitch, roll = pose[:3]
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_x = np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]])
    cr, sr = np.cos(roll), np.sin(roll)
    about_z = np.array([[cr, -sr, 0], [sr, cr, 0], [0, 0, 1]])
    place = np.array([2 * pose[4], 2 * pose[5], view.distance])
    turned = np.asarray(about_z @ about_x @ about_y, np.float64)
    return turned, float(np.exp(pose[3])), place


def _outline(
    points: NDArray[np.float64], pose: NDArray[np.float64], view: CropView, size: int
) -> Floats:
    """(size, size) 1 where the points cover the crop."""
    where = _projected(points, pose, view, size)
    column, row = np.floor(where).astype(np.int64).T
    seen = (column >= 0) & (column < size) & (row >= 0) & (row < size)
    image = np.zeros(size * size, np.uint8)
    image[row[seen] * size + column[seen]] = 1
    closed = cv2.morphologyEx(image.reshape(size, size), cv2.MORPH_CLOSE, np.ones((3, 3), np.uint8))
    return np.asarray(closed, np.float32)


def _projected(
    points: NDArray[np.float64], pose: NDArray[np.float64], view: CropView, size: int
) -> Floats:
    rotation, scale, place = _pose(pose, view)
    moved = points @ (rotation.T * scale) + place
    moved[:, 2] = np.maximum(moved[:, 2], 0.05 * view.distance)
    return view.crop_coordinates(moved.astype(np.float32), size)


def _fitted_box(
    points: NDArray[np.float64], pose: NDArray[np.float64], view: CropView, target: Floats
) -> NDArray[np.float64]:
    """Set size and shifts so that the outline's box is about the target's."""
    size = target.shape[0]
    rows, columns = np.nonzero(target > 0.5)
    if not len(rows):
        return pose
    wanted = np.array([[columns.min(), rows.min()], [columns.max() + 1, rows.max() + 1]])
    pose = pose.copy()
    pose[3] = np.log(0.7)
    for _ in range(3):
        where = _projected(points, pose, view, size)
        box = np.stack([where.min(axis=0), where.max(axis=0)])
        grow = np.linalg.norm(wanted[1] - wanted[0]) / max(np.linalg.norm(box[1] - box[0]), 1e-6)
        pose[3] += np.log(grow)
        pose[4:] += (wanted.mean(axis=0) - box.mean(axis=0)) / size
    return pose


def _scaled(mask: Floats, size: int) -> Floats:
    how = cv2.INTER_AREA if mask.shape[0] >= size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(mask, (size, size), interpolation=how), np.float32)


def _overlap(first: Floats, second: Floats) -> float:
    union = float(np.maximum(first, second).sum())
    return float(np.minimum(first, second).sum()) / union if union else 0.0
