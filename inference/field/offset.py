"""The same solid, thicker or thinner all over."""

from __future__ import annotations

import math

import numpy as np

from .grid import GridField

SPARE = 2  # samples kept between the moved surface and the border


def offset(field: GridField, distance: float) -> GridField:
    """Move the surface outwards by ``distance`` in the field's units, inwards where negative.

    The grid grows as far as the surface moves, so that nothing is cut off at its border.
    """
    if distance == 0:
        return field
    layers = max(math.ceil(distance / field.spacing), 0) + (SPARE if distance > 0 else 0)
    grid = np.pad(field.distance, layers, mode="edge")
    if layers:  # beyond the old border the distance goes on rising
        index = [np.arange(n, dtype=np.float32) for n in grid.shape]
        beyond = [
            np.maximum(np.maximum(layers - i, i - (n - 1 - layers)), 0)
            for i, n in zip(index, grid.shape, strict=True)
        ]
        x, y, z = np.ix_(*beyond)
        grid += np.sqrt(x * x + y * y + z * z) * np.float32(field.spacing)
    moved = grid - np.float32(distance)
    outermost = np.ones(moved.shape, bool)
    outermost[1:-1, 1:-1, 1:-1] = False
    moved[outermost] = np.maximum(moved[outermost], np.float32(field.spacing))
    origin = field.origin - np.float32(layers * field.spacing)
    return GridField(moved, origin.astype(np.float32), field.spacing)
