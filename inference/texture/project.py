"""Paint an atlas with the picture where it sees the surface, and with a guess elsewhere."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..image import blur, sample
from .charts import face_vectors, split_faces
from .complete import bleed_outwards, hidden_side
from .pack import Atlas
from .raster import depth_buffer, rasterise

Floats = NDArray[np.float32]

GRAZING = 0.12  # cosine at which the picture stops being trusted
HEAD_ON = 0.42  # cosine from which it is trusted fully
SOFTENING = 0.12  # distance behind the visible surface for each step of blur, in the view's units
CHUNK = 1_000_000  # texels painted at once; bounds memory to some 200 MB


def paint(
    positions: Floats,
    quads: NDArray[np.int32],
    atlas: Atlas,
    view: CropView,
    crop: Floats,
    inside: Floats,
    report: Callable[[float], None],
    elsewhere: Callable[[Floats], Floats] | None = None,
) -> NDArray[np.uint8]:
    """Fill the atlas with colour.

    Args:
        positions: (V, 3) in the view frame.
        quads: (F, 4).
        atlas: Where each face lies in the texture.
        view: The camera of the crop.
        crop: (S, S, 3) float32 0..1 sRGB colours of the crop.
        inside: (S, S) crop pixels to the silhouette, positive inside.
        report: Called with the finished share, 0 to 1; raises to cancel.
        elsewhere: Colours (N, 3) sRGB 0..1 at (N, 3) points of the view frame that the picture does
            not show; carried over from the silhouette if None.

    Returns:
        (size, size, 3) uint8 sRGB, row 0 on top, painted in every pixel.
    """
    size = atlas.size
    report(0.0)
    corner_pixels = atlas.uvs * np.float32(size)
    corner_pixels[..., 1] = size - corner_pixels[..., 1]
    buffer = rasterise(split_faces(corner_pixels), size, size)
    triangles = split_faces(quads)
    report(0.25)

    vertex = np.concatenate([positions, vertex_normals(positions, quads)], axis=1)
    side = crop.shape[0]
    front = _front(positions, triangles, view, side)
    subject = bleed_outwards(crop, inside > min(1.5, 0.3 * float(inside.max())))
    hidden = _softened(hidden_side(crop, inside)) if elsewhere is None else []
    report(0.4)

    texture = np.zeros((size * size, 3), np.uint8)
    covered = np.flatnonzero(buffer.triangle >= 0)
    for start in range(0, len(covered), CHUNK):
        report(0.4 + 0.5 * start / len(covered))
        texel = covered[start : start + CHUNK]
        corners = triangles[buffer.triangle.ravel()[texel]]
        weights = buffer.weights.reshape(-1, 3)[texel]
        here = np.einsum("nk,nkc->nc", weights, vertex[corners])
        points, normals = here[:, :3], here[:, 3:]
        normals = normals / np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
        where = view.crop_coordinates(points, side)
        first = _sample(front, where)[:, 0]
        rim = _sample(inside[..., None], where)[:, 0]
        trust = _trust(points, normals, first, rim, inside)[:, None]
        if elsewhere is None:
            guess = _sample_softened(hidden, where, np.maximum(points[:, 2] - first, 0))
        else:
            guess = elsewhere(points)
        colour = trust * _sample(subject, where) + (1 - trust) * guess
        texture[texel] = np.clip(colour, 0, 1) * 255 + 0.5
    report(0.9)
    is_covered = buffer.triangle >= 0
    return bleed_outwards(texture.reshape(size, size, 3), is_covered)


def vertex_normals(positions: Floats, faces: NDArray[np.int32]) -> Floats:
    """(V, 3) unit normals: the mean of the (F, K) faces around each vertex, by area."""
    face = face_vectors(positions[faces])
    total = np.zeros_like(positions)
    for corner in range(faces.shape[1]):
        for axis in range(3):
            total[:, axis] += np.bincount(faces[:, corner], face[:, axis], len(positions))
    return total / np.maximum(np.linalg.norm(total, axis=1, keepdims=True), 1e-20)


def _front(positions: Floats, triangles: NDArray[np.int32], view: CropView, side: int) -> Floats:
    """(side, side, 1) depth of the first surface; the nearest known one outside of it."""
    depth = depth_buffer(
        view.crop_coordinates(positions, side)[triangles], positions[triangles][..., 2], side, side
    )
    seen = np.isfinite(depth)
    if not seen.any():  # thinner than a pixel everywhere
        return np.full((side, side, 1), positions[:, 2].mean(), np.float32)
    return bleed_outwards(depth[..., None], seen)


def _trust(points: Floats, normals: Floats, front: Floats, rim: Floats, inside: Floats) -> Floats:
    """How far the picture's colour may be used at each point, 0 to 1.

    Args:
        points: (N, 3) in the view frame.
        normals: (N, 3) unit.
        front: (N,) depth of the first surface in the direction of each point.
        rim: (N,) crop pixels to the silhouette at each point.
        inside: (S, S) crop pixels to the silhouette.
    """
    direction = points / np.linalg.norm(points, axis=1, keepdims=True)
    facing = -(normals * direction).sum(axis=1)
    trust = np.clip((facing - GRAZING) / (HEAD_ON - GRAZING), 0, 1)
    pixel = 2.0 / inside.shape[0]  # the depth buffer is that coarse, and steep faces vary within it
    trust *= points[:, 2] < front + 3 * pixel * (1 + 1 / np.maximum(facing, 0.2))
    feather = min(3.0, 0.5 * float(inside.max()))
    return (trust * np.clip(rim / feather, 0, 1)).astype(np.float32)


def _sample(image: Floats, where: Floats) -> Floats:
    """(N, C) bilinear samples of an (H, W, C) image at (N, 2) continuous pixel coordinates."""
    columns = 4096  # OpenCV samples images only: fold the list of points into one
    rows = -(-len(where) // columns)
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(where)] = where
    samples = sample(image, grid.reshape(rows, columns, 2))
    return samples.reshape(rows * columns, -1)[: len(where)]


def _softened(image: Floats) -> list[Floats]:
    """The image and ever softer versions of it."""
    blurs = (4.0, 10.0, 22.0)  # pixels in an image of 512
    return [image] + [blur(image, sigma * image.shape[0] / 512) for sigma in blurs]


def _sample_softened(levels: list[Floats], where: Floats, behind: Floats) -> Floats:
    """Samples that grow softer the further behind the visible surface they lie.

    Along a side wall all points fall on the same pixels of the rim; without the blur each pixel of
    the rim would be drawn out into a streak.

    Args:
        levels: Images, sharp first.
        where: (N, 2) continuous pixel coordinates.
        behind: (N,) distance behind the visible surface in the view's units.
    """
    samples = np.stack([_sample(level, where) for level in levels])
    level = np.clip(behind / SOFTENING, 0, len(levels) - 1)
    low = np.minimum(level.astype(np.int64), len(levels) - 2)
    part = (level - low)[:, None]
    rows = np.arange(len(where))
    return (samples[low, rows] * (1 - part) + samples[low + 1, rows] * part).astype(np.float32)
