"""How long a unit of the cameras' world is in metres, by a network that sees metric depth."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...networks.run import Networks
from ..contracts import View
from ..geometry import project

LOOKS = 6  # pictures that the network is asked about
LEAST_POINTS = 12  # seen in a picture, so that its answer counts
UNSURE = 0.35  # spread between pictures, as a share, from which the answer is worth nothing


def metres_per_unit(
    views: Sequence[View],
    points: NDArray[np.floating],
    networks: Networks,
    report: Callable[[float], None],
) -> float | None:
    """Compare a network's metric depth with that of the points.

    Args:
        views: In the frame of the points.
        points: (N, 3) points on what the pictures show.
        networks: Knows which network is installed.
        report: Called with the finished share; raises to cancel.

    Returns:
        None when no network for metric depth is installed or its answers do not agree.
    """
    answers = []
    chosen = sorted({round(i) for i in np.linspace(0, len(views) - 1, min(len(views), LOOKS))})
    for number, index in enumerate(chosen):
        report(number / len(chosen))
        view = views[index]
        where, depth = project(view.camera, points)
        size = np.array([view.camera.width, view.camera.height])
        seen = (depth > 1e-6) & (where >= 0).all(axis=1) & (where < size).all(axis=1)
        if seen.sum() < LEAST_POINTS:
            continue
        found = networks.scene_depth(view.pixels, view.camera.fov_x)
        if found is None or not found.is_metric:
            return None
        scale = np.array([found.depth.shape[1], found.depth.shape[0]]) / size
        column, row = np.floor(where[seen] * scale).astype(np.int64).T
        # Points that something hides make the ratio too small; the median does not care for a few.
        answers.append(float(np.median(found.depth[row, column] / depth[seen])))
    if not answers:
        return None
    middle = float(np.median(answers))
    spread = float(np.median(np.abs(np.array(answers) - middle))) / max(middle, 1e-12)
    return middle if middle > 0 and spread < UNSURE else None
