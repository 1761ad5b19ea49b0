"""The point of the surface behind each texel of an atlas."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..stopping import bands, chance_to_stop
from ..surface.topology import split_faces
from .pack import Atlas
from .raster import rasterise

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

LARGEST = 1024  # side of the map; larger textures interpolate it, since surfaces are smooth
REACH = 4.0  # texels beyond a chart's border that continue its surface; further out it stops


@dataclass(frozen=True, slots=True)
class SurfaceMap:
    """Which triangle lies behind each texel, and where in it.

    Texels beside a chart belong to the chart's nearest triangle, continued beyond its border. So
    what is painted there continues the picture, and nothing strange bleeds in at any mip level.

    Attributes:
        covered: (S, S) True where the texel's centre lies in a chart.
        corners: (S * S, 3) vertices of the texel's triangle.
        triangle: (S * S,) the triangle; face and half of it, see ``split_faces``.
        weights: (S * S, 3) float32 barycentric coordinates; outside of 0..1 beyond the border.
        factor: Texels of the texture along one texel of this map.
    """

    covered: NDArray[np.bool_]
    corners: Ints
    triangle: Ints
    weights: Floats
    factor: int

    def of_vertices(
        self,
        values: Floats,
        texels: NDArray[np.int64] | None = None,
        is_bounded: bool = False,
    ) -> Floats:
        """Interpolate values of vertices.

        Args:
            values: (V, C).
            texels: Flat indices of the wanted texels; all of them if None.
            is_bounded: Stay between the triangle's values beyond the border too, as colours must.

        Returns:
            (N, C).
        """
        corners = self.corners if texels is None else self.corners[texels]
        weights = self.weights if texels is None else self.weights[texels]
        result = np.empty((len(corners), values.shape[1]), values.dtype)
        for some in bands(len(corners), 3 * values.shape[1]):
            shares = weights[some]
            if is_bounded:
                shares = np.maximum(shares, 0)
                shares /= shares.sum(axis=1, keepdims=True)
            result[some] = _blend([values[corners[some, k]] for k in range(3)], shares)
        return result

    def of_corners(self, values: Floats) -> Floats:
        """(S * S, C) the (T, 3, C) values of the triangles' corners, interpolated."""
        result = np.empty((len(self.triangle), values.shape[2]), values.dtype)
        for some in bands(len(self.triangle), 3 * values.shape[2]):
            parts = [values[self.triangle[some], k] for k in range(3)]
            result[some] = _blend(parts, self.weights[some])
        return result


def _blend(parts: list[Floats], weights: Floats) -> Floats:
    total = parts[0] * weights[:, :1]
    for k in (1, 2):
        total += parts[k] * weights[:, k : k + 1]
    return total


def map_surface(faces: Ints, atlas: Atlas) -> SurfaceMap:
    """Rasterise an atlas.

    Args:
        faces: (F, K) vertices of the faces.
        atlas: Where they lie.
    """
    factor = map_factor(atlas.size)
    side = atlas.size // factor
    spots = atlas.uvs * np.float32(side)
    spots[..., 1] = side - spots[..., 1]
    triangles = split_faces(spots)
    buffer = rasterise(triangles, side, side)
    covered = buffer.triangle >= 0
    if not covered.any():  # an atlas of slivers: any triangle is as good as the other
        return SurfaceMap(
            np.ones_like(covered),
            np.broadcast_to(split_faces(faces)[:1], (side * side, 3)),
            np.zeros(side * side, np.int32),
            np.full((side * side, 3), 1 / 3, np.float32),
            factor,
        )
    chance_to_stop()
    distance, nearest = _nearest_covered(covered)
    chance_to_stop()
    triangle = buffer.triangle.ravel()[nearest]
    weights = buffer.weights.reshape(-1, 3)[nearest]
    beside = np.flatnonzero((distance > 0) & (distance <= REACH))
    weights[beside] = _barycentric(triangles[triangle[beside]], beside, side)
    return SurfaceMap(covered, split_faces(faces)[triangle], triangle, weights, factor)


def map_factor(size: int) -> int:
    """Texels of a texture along one texel of its map."""
    factor = 1
    while size // factor > LARGEST and size % (2 * factor) == 0:
        factor *= 2
    return factor


def _nearest_covered(covered: NDArray[np.bool_]) -> tuple[Floats, NDArray[np.int64]]:
    """(S * S,) distance to the nearest covered texel, and its flat index."""
    distance, labels = cv2.distanceTransformWithLabels(
        (~covered).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_5, labelType=cv2.DIST_LABEL_PIXEL
    )
    label = np.asarray(labels, np.int32).ravel()
    index_of = np.zeros(int(label.max()) + 1, np.int64)
    flat = np.flatnonzero(covered)
    index_of[label[flat]] = flat
    return np.asarray(distance, np.float32).ravel(), index_of[label]


def _barycentric(triangles: Floats, texel: NDArray[np.int64], side: int) -> Floats:
    """(N, 3) coordinates of texel centres in their triangles, held to what continues them sanely."""
    spot = np.stack([texel % side, texel // side], axis=1) + 0.5 - triangles[:, 0]
    a, b = triangles[:, 1] - triangles[:, 0], triangles[:, 2] - triangles[:, 0]
    area = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    area = np.where(np.abs(area) < 1e-9, np.inf, area)
    second = (spot[:, 0] * b[:, 1] - spot[:, 1] * b[:, 0]) / area
    third = (a[:, 0] * spot[:, 1] - a[:, 1] * spot[:, 0]) / area
    # A sliver would be continued far along its length.
    weights = np.stack([1 - second - third, second, third], axis=1)
    limit = np.clip(weights, -REACH, 1 + REACH)
    return (limit / limit.sum(axis=1, keepdims=True)).astype(np.float32)


def enlarged_rows(image: Floats, factor: int, first: int, last: int) -> Floats:
    """Rows ``first`` to ``last`` of a map, enlarged smoothly to the texture's size.

    Args:
        image: (S, S, C) float32, C at most 4.
        factor: See ``SurfaceMap.factor``.
        first: First row of the map.
        last: Row after the last.

    Returns:
        ((last - first) * factor, S * factor, C).
    """
    part = image[max(first - 1, 0) : last + 1]
    if factor == 1:
        start = first - max(first - 1, 0)
        return part[start : start + last - first]
    size = (part.shape[1] * factor, part.shape[0] * factor)
    large = np.asarray(cv2.resize(part, size, interpolation=cv2.INTER_LINEAR), np.float32)
    start = (first - max(first - 1, 0)) * factor
    return large.reshape(size[1], size[0], -1)[start : start + (last - first) * factor]
