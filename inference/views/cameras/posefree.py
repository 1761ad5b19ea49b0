"""Cameras by a network that sees all pictures at once, where matching points finds none."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...networks.run import Networks, SeveralViews
from ..contracts import Lens, Photo, Pose, Solved, SparsePoints

Floats = NDArray[np.float32]

MOST = 48  # pictures at once: time and memory grow with the square of their number
POINTS = 300  # of each picture's depth that become sparse points
CONFIDENT = 0.5  # share of a picture's pixels, those the network is surest of
GUESSED = 1.05  # confidence under which the network only guesses


def network_cameras(
    photos: Sequence[Photo], networks: Networks, seed: int, report: Callable[[float, str], None]
) -> Solved | None:
    """Let an installed network place the cameras.

    Args:
        photos: At least two.
        networks: Knows which network is installed.
        seed: Of the choice of points.
        report: Called with the finished share and what is being done; raises to cancel.

    Returns:
        None when no network for it is installed.
    """
    chosen = _spread(len(photos), MOST)
    used = [photos[index] for index in chosen]
    report(0.0, "Placing cameras with a network")
    found = networks.several_views([photo.pixels for photo in used])
    if found is None:
        return None
    reasons = {
        photo.name: f"{photo.name} was passed over: the network sees {MOST} pictures at most."
        for index, photo in enumerate(photos)
        if index not in set(chosen)
    }
    poses: dict[str, Pose] = {}
    for index, photo in enumerate(used):
        height, width = photo.pixels.shape[:2]
        inner = found.intrinsics[index]
        lens = Lens(width, height, inner[0, 0], inner[1, 1], inner[0, 2], inner[1, 2])
        poses[photo.name] = Pose(lens, found.camera_to_world[index])
    points = _points(used, found, seed)
    return Solved(poses, points, reasons, None, False, found.model)


def _spread(count: int, most: int) -> list[int]:
    """Indices of at most so many, evenly."""
    return sorted({round(i) for i in np.linspace(0, count - 1, min(count, most))})


def _points(photos: Sequence[Photo], found: SeveralViews, seed: int) -> SparsePoints:
    """What the network is surest of in each picture's depth, as points with the picture's colours."""
    random = np.random.default_rng(seed)
    positions, colours = [], []
    for index, photo in enumerate(photos):
        depth, confidence = found.depth[index], found.confidence[index]
        sure = confidence >= max(float(np.quantile(confidence, 1 - CONFIDENT)), GUESSED)
        rows, columns = np.nonzero(sure & (depth > 0) & np.isfinite(depth))
        if not len(rows):
            continue
        some = random.permutation(len(rows))[:POINTS]
        rows, columns = rows[some], columns[some]
        scale, offset = found.to_picture[index, :2], found.to_picture[index, 2:]
        where = (np.stack([columns, rows], axis=1) + 0.5) * scale + offset
        inner = found.intrinsics[index]
        rays = np.ones((len(where), 3))
        rays[:, :2] = (where - inner[:2, 2]) / inner[[0, 1], [0, 1]]
        seen = rays * depth[rows, columns][:, None]
        matrix = found.camera_to_world[index]
        positions.append(seen @ matrix[:3, :3].T + matrix[:3, 3])
        height, width = photo.pixels.shape[:2]
        at = np.clip(where.astype(np.int64), 0, [width - 1, height - 1])
        colours.append(photo.pixels[at[:, 1], at[:, 0]])
    if not positions:
        return SparsePoints.empty()
    return SparsePoints(np.concatenate(positions).astype(np.float32), np.concatenate(colours))
