"""Paint an atlas with the picture where it sees the surface, and with a guess elsewhere.

What is known is a picture and where it may be trusted; what is not shown is completed on the mesh:
from a field that has colours, or by spreading what the picture shows over the surface.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..field.mirror import MirrorPlane
from ..image import blur, sample
from ..stopping import chance_to_stop
from ..surface.topology import split_faces
from .charts import face_vectors
from .complete import bleed_outwards
from .diffuse import diffuse, mesh_edges
from .far_side import far_side
from .pack import Atlas
from .raster import depth_buffer
from .surface_map import SurfaceMap, enlarged_rows, map_surface

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

GRAZING = (0.12, 0.42)  # cosines from which the picture is trusted hardly and fully at the rim,
INNER_GRAZING = (0.03, 0.16)  # and further inside, where nothing of the background is near
INNER = 12 / 512  # distance from the rim at which that is, in sides of the crop
SOURCE = (0.3, 0.6)  # cosines from which a pixel may colour what is hidden, hardly and fully
AWAY = (-0.35, 0.05)  # cosines from which the far side's picture is used hardly and fully
SPREAD = 1.5 / 128  # blur of the colours that spread, in sides of the crop
MIRRORED = 0.04  # units that a point's mirror image may lie off the visible surface
CHUNK = 400_000  # points whose hidden colour is asked for at once
ROWS = 128  # of the map, painted at once; bounds memory


def paint(
    positions: Floats,
    faces: Ints,
    atlas: Atlas,
    view: CropView,
    crop: Floats,
    inside: Floats,
    report: Callable[[float], None],
    elsewhere: Callable[[Floats], Floats] | None = None,
    surface: SurfaceMap | None = None,
    imagined: Floats | None = None,
    mirror: MirrorPlane | None = None,
) -> NDArray[np.uint8]:
    """Fill the atlas with colour.

    Args:
        positions: (V, 3) in the view frame.
        faces: (F, K).
        atlas: Where each face lies in the texture.
        view: The camera of the crop.
        crop: (S, S, 3) float32 0..1 sRGB colours of the crop.
        inside: (S, S) crop pixels to the silhouette, positive inside.
        report: Called with the finished share, 0 to 1; raises to cancel.
        elsewhere: Colours (N, 3) sRGB 0..1 at (N, 3) points of the view frame that the picture does
            not show; what the picture shows spreads over the surface if None.
        surface: The atlas's surface map if it is already there.
        imagined: (B, B, 3) sRGB 0..1 the far side, seen from the front through the thing; made of the
            crop as it is if None. Not used with ``elsewhere``.
        mirror: The plane in which the thing is symmetric: what is hidden gets the colour of its
            mirror image where the picture shows that.

    Returns:
        (size, size, 3) uint8 sRGB, row 0 on top, painted in every pixel.
    """
    report(0.0)
    surface = surface or map_surface(faces, atlas)
    report(0.25)
    normals = vertex_normals(positions, faces)
    side = crop.shape[0]
    chance_to_stop()
    front = _front(positions, split_faces(faces), view, side)
    subject = bleed_outwards(crop, inside > min(1.5, 0.3 * float(inside.max())))
    report(0.35)

    here = surface.of_vertices(np.concatenate([positions, normals], axis=1))
    points, facing = here[:, :3], _unit(here[:, 3:])
    chance_to_stop()
    where = view.crop_coordinates(points, side)
    trust = _trust(points, facing, sample_points(front, where)[:, 0], inside, where)
    report(0.5)
    if elsewhere is None:
        hidden = surface.of_vertices(
            spread_colours(positions, normals, faces, view, front, subject, inside), is_bounded=True
        )
        behind = far_side(crop, inside) if imagined is None else imagined
        shown = sample_points(behind, view.crop_coordinates(points, len(behind)))
        hidden += _away(points, facing) * (shown - hidden)
    else:
        hidden = _asked(elsewhere, points, trust, report)
    report(0.75)

    grid = surface.covered.shape
    beside = sight = None
    if mirror is not None:
        beside, sight = _mirrored(points, facing, front, inside, view, mirror)
        beside, sight = beside.reshape(*grid, 2), sight.reshape(*grid, 1)
    where, hidden = where.reshape(*grid, 2), hidden.reshape(*grid, 3)
    texture = np.empty((atlas.size, atlas.size, 3), np.uint8)
    for first in range(0, grid[0], ROWS):
        report(0.75 + 0.25 * first / grid[0])
        last = min(first + ROWS, grid[0])
        rows = slice(first * surface.factor, last * surface.factor)
        spots, guess, sure = (
            enlarged_rows(part, surface.factor, first, last)
            for part in (where, hidden, trust.reshape(*grid, 1))
        )
        sure = sure.reshape(*spots.shape[:2], 1)
        if beside is not None and sight is not None:
            other, seen = (
                enlarged_rows(part, surface.factor, first, last) for part in (beside, sight)
            )
            seen = seen.reshape(*spots.shape[:2], 1)
            guess = guess + seen * (sample(subject, other) - guess)
        colour = guess + sure * (sample(subject, spots) - guess)
        texture[rows] = np.clip(colour, 0, 1) * 255 + 0.5
    return texture


def spread_colours(
    positions: Floats,
    normals: Floats,
    faces: Ints,
    view: CropView,
    front: Floats,
    subject: Floats,
    inside: Floats,
) -> Floats:
    """(V, 3) colours of the vertices, carried over the surface from where the picture shows it well.

    Args:
        positions: (V, 3) in the view frame.
        normals: (V, 3) unit.
        faces: (F, K).
        view: The camera of the crop.
        front: (S, S, 1) depth of the first surface.
        subject: (S, S, 3) sRGB 0..1, without background.
        inside: (S, S) crop pixels to the silhouette, positive inside.
    """
    side = subject.shape[0]
    where = view.crop_coordinates(positions, side)
    trust = _trust(
        positions, normals, sample_points(front, where)[:, 0], inside, where, SOURCE, SOURCE
    )
    shown = sample_points(blur(subject, SPREAD * side), where)
    found = diffuse(positions, normals, mesh_edges(faces), shown, trust, chance_to_stop)
    return np.clip(found, 0, 1)


def picture_trust(
    positions: Floats, faces: Ints, view: CropView, inside: Floats, points: Floats, normals: Floats
) -> tuple[Floats, Floats]:
    """How far a picture may be used at points of a surface, and where they lie in it.

    Args:
        positions: (V, 3) vertices in the view frame.
        faces: (F, K).
        view: The camera of the crop.
        inside: (S, S) crop pixels to the silhouette, positive inside.
        points: (N, 3) on the surface.
        normals: (N, 3) unit, there.

    Returns:
        (N,) 0 to 1, and (N, 2) continuous crop pixels.
    """
    side = inside.shape[0]
    front = _front(positions, split_faces(faces), view, side)
    where = view.crop_coordinates(points, side)
    return _trust(points, normals, sample_points(front, where)[:, 0], inside, where), where


def _mirrored(
    points: Floats,
    normals: Floats,
    front: Floats,
    inside: Floats,
    view: CropView,
    mirror: MirrorPlane,
) -> tuple[Floats, Floats]:
    """Where the mirror images of points lie in the crop, (N, 2), and how far they are seen, (N,)."""
    images, facing = mirror.reflected(points), mirror.turned(normals)
    where = view.crop_coordinates(images, inside.shape[0])
    surface = sample_points(front, where)[:, 0]
    sight = _trust(images, facing, surface, inside, where)
    # A mirror image before the surface is that of something the picture does not show.
    off = (surface - images[:, 2]) / np.float32(MIRRORED)
    return where, (sight * np.clip(2 - off, 0, 1)).astype(np.float32)


def _away(points: Floats, normals: Floats) -> Floats:
    """(N, 1) how far points look away from the camera, 0 to 1."""
    direction = points / np.linalg.norm(points, axis=1, keepdims=True)
    cosine = (normals * direction).sum(axis=1, keepdims=True)
    return np.clip((cosine - AWAY[0]) / (AWAY[1] - AWAY[0]), 0, 1)


def _asked(
    elsewhere: Callable[[Floats], Floats],
    points: Floats,
    trust: Floats,
    report: Callable[[float], None],
) -> Floats:
    """(N, 3) colours from elsewhere, asked for only where the picture is not trusted fully."""
    hidden = np.zeros_like(points)
    needed = np.flatnonzero(trust < 1)
    for start in range(0, len(needed), CHUNK):
        report(0.5 + 0.25 * start / len(needed))
        some = needed[start : start + CHUNK]
        hidden[some] = elsewhere(points[some])
    return hidden


def vertex_normals(positions: Floats, faces: Ints) -> Floats:
    """(V, 3) unit normals: the mean of the (F, K) faces around, by the angle they take up there.

    That is how Blender shades a smooth surface, which normal maps build on.
    """
    corners = positions[faces]
    face = _unit(face_vectors(corners))
    ahead = _unit(np.roll(corners, -1, axis=1) - corners)
    back = -np.roll(ahead, 1, axis=1)
    angle = np.arccos(np.clip((ahead * back).sum(axis=-1), -1, 1))
    total = np.zeros_like(positions)
    for corner in range(faces.shape[1]):
        chance_to_stop()
        for axis in range(3):
            weighted = angle[:, corner] * face[:, axis]
            total[:, axis] += np.bincount(faces[:, corner], weighted, len(positions))
    return _unit(total)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-20)


def _front(positions: Floats, triangles: NDArray[np.int32], view: CropView, side: int) -> Floats:
    """(side, side, 1) depth of the first surface; the nearest known one outside of it."""
    depth = depth_buffer(
        view.crop_coordinates(positions, side)[triangles], positions[triangles][..., 2], side, side
    )
    seen = np.isfinite(depth)
    if not seen.any():  # thinner than a pixel everywhere
        return np.full((side, side, 1), positions[:, 2].mean(), np.float32)
    return bleed_outwards(depth[..., None], seen)


def _trust(
    points: Floats,
    normals: Floats,
    front: Floats,
    inside: Floats,
    where: Floats,
    rim_cosines: tuple[float, float] = GRAZING,
    inner_cosines: tuple[float, float] = INNER_GRAZING,
) -> Floats:
    """How far the picture's colour may be used at each point, 0 to 1.

    Args:
        points: (N, 3) in the view frame.
        normals: (N, 3) unit.
        front: (N,) depth of the first surface in the direction of each point.
        inside: (S, S) crop pixels to the silhouette.
        where: (N, 2) the points' places in the crop.
        rim_cosines: Between normal and ray, from which it is used hardly, and fully, at the rim.
        inner_cosines: The same further inside.
    """
    chance_to_stop()
    direction = points / np.linalg.norm(points, axis=1, keepdims=True)
    facing = -(normals * direction).sum(axis=1)
    rim = sample_points(inside[..., None], where)[:, 0]
    feather = min(3.0, 0.5 * float(inside.max()))
    chance_to_stop()
    deep = np.clip((rim - feather) / (INNER * inside.shape[0]), 0, 1)
    low = rim_cosines[0] + deep * (inner_cosines[0] - rim_cosines[0])
    high = rim_cosines[1] + deep * (inner_cosines[1] - rim_cosines[1])
    trust = np.clip((facing - low) / (high - low), 0, 1)
    pixel = 2.0 / inside.shape[0]  # the depth buffer is that coarse, and steep faces vary within it
    trust *= points[:, 2] < front + 3 * pixel * (1 + 1 / np.maximum(facing, 0.2))
    return (trust * np.clip(rim / feather, 0, 1)).astype(np.float32)


def sample_points(image: Floats, where: Floats) -> Floats:
    """(N, C) bilinear samples of an (H, W, C) image at (N, 2) continuous pixel coordinates."""
    columns = 4096  # OpenCV samples images only: fold the list of points into one
    rows = -(-len(where) // columns)
    grid = np.zeros((rows * columns, 2), np.float32)
    grid[: len(where)] = where
    samples = sample(image, grid.reshape(rows, columns, 2))
    return samples.reshape(rows * columns, -1)[: len(where)]
