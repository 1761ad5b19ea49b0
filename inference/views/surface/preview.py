"""The coarse, coloured mesh that is shown of a surface while it is being made."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ...field.grid import GridField
from ...surface.nets import surface_nets
from ...texture.project import vertex_normals
from ..contracts import View
from ..geometry import pixels_at
from ..watch import PreviewMesh

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]
Bytes = NDArray[np.uint8]

MOST_SAMPLES = 1_200_000  # of a grid that is shown; a finer one is thinned out
MOST_VIEWS = 12  # that give a preview its colours


def preview_of_field(
    surface: GridField, views: Sequence[View], words: str, colours: Floats | None = None
) -> PreviewMesh | None:
    """A coarse mesh of a distance grid, in the grid's frame.

    Args:
        surface: The distance.
        views: In the same frame; they give the colours where ``colours`` does not.
        words: What it is.
        colours: (3, X, Y, Z) sRGB, about 0 to 1, at the samples of the grid.

    Returns:
        None when there is no surface.
    """
    step = 1
    while surface.distance.size / step**3 > MOST_SAMPLES:
        step += 1
    distance = np.ascontiguousarray(surface.distance[::step, ::step, ::step])
    # The outermost layer must be outside, and thinning may have left out the last.
    distance = np.pad(distance, 1, constant_values=np.float32(surface.spacing))
    if not (distance < 0).any():
        return None
    index, faces = surface_nets(distance)
    index = (index - 1) * np.float32(step)
    positions = (surface.origin + index * np.float32(surface.spacing)).astype(np.float32)
    if colours is None:
        painted = colours_from_views(positions, faces, views)
    else:
        last = np.array(surface.distance.shape) - 1
        nearest = np.clip(np.rint(index).astype(np.int64), 0, last)
        found = colours[:, nearest[:, 0], nearest[:, 1], nearest[:, 2]].T
        painted = np.clip(np.rint(found * 255), 0, 255).astype(np.uint8)
    return PreviewMesh(positions, faces, painted, words)


def colours_from_views(positions: Floats, faces: Ints, views: Sequence[View]) -> Bytes:
    """(V, 3) sRGB colours of vertices from the pictures that face them, hidden or not."""
    normals = vertex_normals(positions, faces)
    total = np.full((len(positions), 3), 128e-4, np.float32)  # grey where nobody looks
    weights = np.full(len(positions), 1e-4, np.float32)
    for view in views[:: max(1, -(-len(views) // MOST_VIEWS))]:
        row, column, seen, _ = pixels_at(view.camera, positions, view.pixels.shape)
        toward = view.camera.matrix[:3, 3].astype(np.float32) - positions
        toward /= np.maximum(np.linalg.norm(toward, axis=1, keepdims=True), 1e-12)
        weight = np.where(seen, np.maximum((normals * toward).sum(axis=1), 0) ** 4, 0)
        chosen = np.flatnonzero(weight > 0)
        colour = view.pixels[row[chosen], column[chosen]].astype(np.float32)
        total[chosen] += weight[chosen, None] * colour
        weights[chosen] += weight[chosen]
    return np.clip(np.rint(total / weights[:, None]), 0, 255).astype(np.uint8)
