"""What pictures say about a solid, as points in space that a field can be fitted to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..image import blur, enlarge
from .two_sided import nearest_inside, signed_pixels

Floats = NDArray[np.float32]

BREAK = 0.12  # depth step between neighbours, in units of the view, that is no slope
GRAZING = 0.15  # cosine to the line of sight under which a surface says nothing
RIM = 0.6  # surety of the outline: where it is is known, how deep it lies is not
OUTLINE = 0.75  # pixels to the outline within which one lies on it
FLAT = 0.1  # slope of the distance to the outline under which it has no direction
MARGIN = 0.01  # units between a point known to be empty and the nearest possible surface


@dataclass(frozen=True, slots=True)
class Evidence:
    """Points on the surface, outside of it and inside of it.

    Attributes:
        points: (N, 3) on the surface.
        normals: (N, 3) unit, outwards.
        surety: (N,) 0..1 how far to believe each point; also weighs its normal.
        colours: (N, 3) 0..1 sRGB; NaN where unknown.
        outside: (M, 3) points known to be empty.
        clearance: (M,) at least so far from the surface.
        inside: (K, 3) points known to be in the solid.
        depth: (K,) at least so far from the surface.
    """

    points: Floats
    normals: Floats
    surety: Floats
    colours: Floats
    outside: Floats
    clearance: Floats
    inside: Floats
    depth: Floats


def joined(parts: Sequence[Evidence]) -> Evidence:
    """All evidence together, such as that of several views in one frame."""
    names = ("points", "normals", "surety", "colours", "outside", "clearance", "inside", "depth")
    return Evidence(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


def moved_outwards(evidence: Evidence, distance: float) -> Evidence:
    """The evidence of a solid that is larger all round by ``distance``, or smaller where negative."""
    if distance == 0:
        return evidence
    grown = np.float32(distance)
    free, solid = evidence.clearance > grown, evidence.depth > -grown
    return replace(
        evidence,
        points=evidence.points + grown * evidence.normals,
        outside=evidence.outside[free],
        clearance=(evidence.clearance - grown)[free],
        inside=evidence.inside[solid],
        depth=(evidence.depth + grown)[solid],
    )


def evidence_of_view(
    view: CropView,
    front: Floats,
    back: Floats | None,
    mask: Floats,
    colour: Floats | None,
    normals: Floats | None = None,
    front_surety: Floats | float = 1.0,
    back_surety: Floats | float = 1.0,
    seed: int = 0,
) -> Evidence:
    """What one view says, in the view's frame.

    Args:
        view: The crop's camera.
        front: (S, S) depth of the first surface from the view's distance.
        back: (S, S) depth of the last surface, or None when unknown.
        mask: (M, M) subject probability.
        colour: (C, C, 3) float 0..1 sRGB, or None.
        normals: (S, S, 3) unit, facing the viewer; read off the depth if None.
        front_surety: (S, S) or a number, 0..1.
        back_surety: (S, S) or a number, 0..1.
        seed: Of where free space is probed.
    """
    size = front.shape[0]
    random = np.random.default_rng(seed)
    rays = view.crop_rays(size)
    soft = np.asarray(cv2.resize(mask, (size, size), interpolation=cv2.INTER_AREA), np.float32)
    subject = soft > 0.5
    # At the rim a pixel mixes subject and background.
    core = cv2.erode((soft > 0.98).astype(np.uint8), np.ones((3, 3), np.uint8)) > 0
    sides = []
    for depth, given, surety in ((front, normals, front_surety), (back, None, back_surety)):
        if depth is None:
            continue
        away = depth is back
        points = rays * (depth + view.distance)[..., None]
        facing = given if given is not None else _normals_of(points)
        if away:
            facing = -facing
        sight = rays / np.linalg.norm(rays, axis=-1, keepdims=True)
        cosine = (facing * sight).sum(-1) * (1 if away else -1)
        smooth = _is_unbroken(depth, subject)
        weight = np.clip((cosine - GRAZING) / (0.5 - GRAZING), 0, 1) * surety
        use = core & smooth & (weight > 0.02)
        hue = np.full((*depth.shape, 3), np.nan, np.float32)
        if colour is not None and not away:
            hue = np.asarray(cv2.resize(colour, (size, size), interpolation=cv2.INTER_AREA))
        sides.append((points[use], facing[use], weight[use], hue[use]))
    sides.append(_rim(view, front, front if back is None else back, mask, core))
    points, facing, weight, hue = (np.concatenate(part) for part in zip(*sides, strict=True))

    outside, clearance, inside, deep = _probe(view, rays, front, back, mask, subject, random)
    return Evidence(
        points.astype(np.float32),
        facing.astype(np.float32),
        weight.astype(np.float32),
        hue.astype(np.float32),
        outside,
        clearance,
        inside,
        deep,
    )


def _rim(
    view: CropView, front: Floats, back: Floats, mask: Floats, core: NDArray[np.bool_]
) -> tuple[Floats, Floats, Floats, Floats]:
    """Where the lines of sight along the outline touch the solid, half way between its sides.

    Returns:
        Points, normals, surety and (unknown) colours.
    """
    size = mask.shape[0]
    silhouette = signed_pixels(mask)
    rows, columns = np.nonzero((np.abs(silhouette) < OUTLINE) & (mask > 0.02))
    if not len(rows) or not core.any():
        nothing = np.empty((0, 3), np.float32)
        return nothing, nothing, nothing[:, 0], nothing
    down, across = np.gradient(blur(silhouette, 1.0))
    steep = np.hypot(across, down) > FLAT  # things finer than a pixel have no outward side
    rows, columns = rows[steep[rows, columns]], columns[steep[rows, columns]]
    outward = -np.stack([across, down], axis=-1)[rows, columns]
    outward /= np.linalg.norm(outward, axis=1, keepdims=True)
    scale = front.shape[0] / size
    small = (
        ((rows + 0.5) * scale).astype(int).clip(0, front.shape[0] - 1),
        ((columns + 0.5) * scale).astype(int).clip(0, front.shape[0] - 1),
    )
    nearest = nearest_inside(core)[small]
    depth = ((front + back) / 2).ravel()[nearest] + np.float32(view.distance)
    rays = view.crop_rays(size)[rows, columns]
    points = rays * depth[:, None]
    normal = np.concatenate([outward, np.zeros((len(rows), 1))], axis=1)
    normal -= rays * ((normal * rays).sum(1) / (rays * rays).sum(1))[:, None]
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    points += normal * (silhouette[rows, columns] * 2 / size * depth / view.distance)[:, None]
    surety = np.full(len(rows), RIM, np.float32)
    hue = np.full((len(rows), 3), np.nan, np.float32)
    return points.astype(np.float32), normal.astype(np.float32), surety, hue


def _normals_of(points: Floats) -> Floats:
    """(S, S, 3) unit normals of a grid of points, facing the viewer."""
    across = _moved(points, 1, 0) - _moved(points, -1, 0)
    down = _moved(points, 0, 1) - _moved(points, 0, -1)
    normal = np.cross(down, across)
    normal /= np.maximum(np.linalg.norm(normal, axis=-1, keepdims=True), 1e-12)
    return normal.astype(np.float32)


def _moved(values: Floats, columns: int, rows: int) -> Floats:
    """The values moved by whole pixels; the border repeats."""
    moved = np.roll(values, (-rows, -columns), axis=(0, 1))
    if columns:
        edge = -1 if columns > 0 else 0
        moved[:, edge] = values[:, edge]
    if rows:
        edge = -1 if rows > 0 else 0
        moved[edge] = values[edge]
    return moved


def _is_unbroken(depth: Floats, subject: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Where a depth map is a surface and not the edge of one thing before another."""
    window = np.ones((3, 3), np.uint8)
    low = cv2.erode(np.where(subject, depth, 1e6).astype(np.float32), window)
    high = cv2.dilate(np.where(subject, depth, -1e6).astype(np.float32), window)
    return high - low < BREAK


def _probe(
    view: CropView,
    rays: Floats,
    front: Floats,
    back: Floats | None,
    mask: Floats,
    subject: NDArray[np.bool_],
    random: np.random.Generator,
) -> tuple[Floats, Floats, Floats, Floats]:
    """Points before the front, behind the back, beside the outline, and between the two sides."""
    size = front.shape[0]
    unit = 2.0 / size
    reach = cv2.distanceTransform((mask <= 0.5).astype(np.uint8), cv2.DIST_L2, 5)
    beside = enlarge(reach.astype(np.float32), size, size) * np.float32(2.0 / mask.shape[0])
    low, high = float(front[subject].min()), float((front if back is None else back)[subject].max())

    empty = (beside > 2 * unit) & (beside < 0.3)
    depth = random.uniform(low - 0.1, high + 0.1, front.shape).astype(np.float32)
    outside = [(rays * (depth + view.distance)[..., None])[empty]]
    clearance = [np.minimum(beside - unit, 0.05)[empty]]

    nearest = blur(np.asarray(cv2.erode(front, np.ones((3, 3), np.uint8)), np.float32), 0.5)
    gap = random.uniform(2 * MARGIN, 0.25, front.shape).astype(np.float32)
    outside.append((rays * (nearest - gap + view.distance)[..., None])[subject])
    clearance.append(np.full(int(subject.sum()), MARGIN, np.float32))
    inside, deep = np.empty((0, 3), np.float32), np.empty(0, np.float32)
    if back is not None:
        farthest = cv2.dilate(back, np.ones((3, 3), np.uint8))
        outside.append((rays * (farthest + gap + view.distance)[..., None])[subject])
        clearance.append(np.full(int(subject.sum()), MARGIN, np.float32))
        thick = back - front
        inward = cv2.distanceTransform((mask > 0.5).astype(np.uint8), cv2.DIST_L2, 5)
        inward = enlarge(inward.astype(np.float32), size, size) * np.float32(2.0 / mask.shape[0])
        solid = subject & (thick > 6 * unit) & (inward > 3 * unit)
        share = random.uniform(0.25, 0.75, front.shape).astype(np.float32)
        inside = (rays * (front + share * thick + view.distance)[..., None])[solid]
        deep = np.minimum(0.1 * thick, MARGIN)[solid]
    return (
        np.concatenate(outside).astype(np.float32),
        np.concatenate(clearance).astype(np.float32),
        inside.astype(np.float32),
        deep.astype(np.float32),
    )
