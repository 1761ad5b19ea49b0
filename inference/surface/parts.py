"""Keep the parts of a surface that an artist wants: no dust, no cavities inside."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from ..stopping import chance_to_stop
from .topology import face_components

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]


def keep_solid_parts(positions: Floats, faces: Ints, smallest: float) -> tuple[Floats, Ints]:
    """Remove small parts, fill internal cavities and drop what floats inside them.

    Args:
        positions: (V, 3).
        faces: (F, 3) or (F, 4), closed, counter-clockwise seen from outside.
        smallest: Share of the largest part's volume under which a part is dust.

    Returns:
        The vertices that are still used and the faces that are left.
    """
    if not len(faces):
        return positions, faces
    part = face_components(faces, len(positions))
    count = int(part.max()) + 1
    volume = np.bincount(part, _cone_volumes(positions, faces), count)
    keep = volume >= smallest * volume.max()
    kept = np.flatnonzero(keep)
    if len(kept) > 1:
        # What lies inside another part is in one of its cavities: the cavity is filled, too.
        low, high = _boxes(positions, faces, part, count)
        for one in kept:
            chance_to_stop()
            around = [
                other
                for other in kept
                if volume[other] > volume[one]
                and (low[other] <= low[one]).all()
                and (high[other] >= high[one]).all()
            ]
            point = positions[faces[np.argmax(part == one), 0]]
            keep[one] = not any(
                winding_number(positions, faces[part == other], point) > 0.5 for other in around
            )
    faces = faces[keep[part]]
    chance_to_stop()
    used, corners = np.unique(faces, return_inverse=True)
    return positions[used], corners.reshape(faces.shape).astype(np.int32)


def winding_number(positions: Floats, faces: Ints, point: Floats) -> float:
    """How often a closed surface goes around a point: 1 inside, 0 outside.

    The solid angles of its triangles, after van Oosterom and Strackee (1983).
    """
    total = 0.0
    for k in range(1, faces.shape[1] - 1):
        chance_to_stop()
        a, b, c = (positions[faces[:, i]].astype(np.float64) - point for i in (0, k, k + 1))
        la, lb, lc = (np.linalg.norm(v, axis=1) for v in (a, b, c))
        triple = (np.cross(a, b) * c).sum(axis=1)
        rest = la * lb * lc + (a * b).sum(1) * lc + (b * c).sum(1) * la + (c * a).sum(1) * lb
        total += float(np.arctan2(triple, rest).sum())
    return total / (2 * np.pi)


def _cone_volumes(positions: Floats, faces: Ints) -> NDArray[np.float64]:
    """(F,) signed volume between each face and the origin; sums to a closed part's volume."""
    result = np.zeros(len(faces))
    for k in range(1, faces.shape[1] - 1):
        chance_to_stop()
        a, b, c = (positions[faces[:, i]].astype(np.float64) for i in (0, k, k + 1))
        result += (np.cross(a, b) * c).sum(axis=1) / 6
    return result


def _boxes(
    positions: Floats, faces: Ints, part: NDArray[np.int64], count: int
) -> tuple[Floats, Floats]:
    """(P, 3) smallest and largest corner of each part."""
    low = np.full((count, 3), np.inf, np.float32)
    high = np.full((count, 3), -np.inf, np.float32)
    for corner in faces.T:
        chance_to_stop()
        np.minimum.at(low, part, positions[corner])
        np.maximum.at(high, part, positions[corner])
    return low, high
