"""A closed surface of a truncated distance grid, sampled only where the surface is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ...field.grid import GridField
from ...field.protocol import Field
from ...surface.bricks import sample_near_surface
from ...surface.contour import dual_contour

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

FARTHEST = 24  # cells up to which the way to the surface is counted; more saves little


def contoured(field: Field, spacing: float, report: Callable[[float], None]) -> tuple[Floats, Ints]:
    """The zero level as (V, 3) vertices and (F, 4) quads, closed and manifold, maybe empty.

    Args:
        field: Understates distances far from its surface, if anything.
        spacing: Size of a cell.
        report: Called with the finished share; raises to cancel.
    """
    bricks = sample_near_surface(field, spacing, lambda share: report(0.5 * share))
    return dual_contour(bricks, field, lambda share: report(0.5 + 0.5 * share))


def reaching_far(field: GridField, truncation: float, report: Callable[[], None]) -> GridField:
    """The same field with distances that go on growing where they were cut off.

    An octree passes over space by its distance to the surface: cut off at a few cells, it could pass
    over none. Rings of cells are counted outwards, which never overstates.

    Args:
        field: Distances are cut off at ``truncation`` cells.
        truncation: Cells.
        report: Called after each ring; raises to cancel.
    """
    limit = np.float32(0.95 * truncation * field.spacing)
    reached = (np.abs(field.distance) < limit).astype(np.uint8)
    rings = np.zeros(reached.shape, np.uint8)
    for ring in range(1, FARTHEST + 1):
        report()
        grown = _grown(reached)
        rings[(grown > 0) & (reached == 0)] = ring
        if np.array_equal(grown, reached):
            break
        reached = grown
    rings[reached == 0] = FARTHEST
    further = rings.astype(np.float32) * np.float32(field.spacing)
    return replace(field, distance=field.distance + np.sign(field.distance) * further)


def _grown(cells: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Marked cells and all 26 neighbours of each."""
    depth, height, width = cells.shape
    flat = cv2.dilate(cells.reshape(depth, -1), np.ones((3, 1), np.uint8))
    rows = np.asarray(flat, np.uint8).reshape(-1, width)
    rows = np.asarray(cv2.dilate(rows, np.ones((1, 3), np.uint8)), np.uint8)
    cube = rows.reshape(depth, height, width)
    result = cube.copy()
    np.maximum(result[:, 1:], cube[:, :-1], out=result[:, 1:])
    np.maximum(result[:, :-1], cube[:, 1:], out=result[:, :-1])
    return result
