"""One picture of a place becomes the relief that its camera saw."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import PinholeCamera
from ..contracts import CameraArrays, Detail, MaterialArrays, MeshArrays, SceneShaping
from ..field.two_sided import nearest_inside
from ..image import enlarge, shrink
from ..surface.hidden import grown
from ..surface.relief import (
    CutRelief,
    border_ring,
    cut_relief,
    grid_quads,
    sharpen_jumps,
    smoothed,
    split_jumps,
)
from ..texture.patches import filled_from
from .upright import steadied_up, world_from_camera

Floats = NDArray[np.float32]
# Paints the unknown pixels (H, W) of a picture (H, W, 3); None where it cannot.
Fill = Callable[[NDArray[np.uint8], NDArray[np.bool_]], NDArray[np.uint8] | None]

VERTICES: dict[Detail, int] = {"low": 192, "medium": 384, "high": 640, "ultra": 1024}
ROUGHNESS = 0.8
HIDDEN = 0.14  # of the longer side: how far background goes on under a foreground
LAYERS = 3  # of depth, in which hidden sheets are painted
# Ratios of depths within which what is seen tells the colours of what is hidden.
NEARER, FARTHER = 0.97, 1.2
HALO = 0.008  # of the longer side: pixels at a jump are mixed from both its sides
WALL_SHARE = 0.12  # share of the picture mirrored onto the side walls of a solid


@dataclass(frozen=True, slots=True)
class SceneResult:
    """What the scene engine makes; see ``contracts.Reconstruction`` for the other fields.

    Attributes:
        shift: (3,) from the turned camera frame to the world, in median depths.
    """

    mesh: MeshArrays
    material: MaterialArrays
    camera: CameraArrays
    shift: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SceneSight:
    """What a picture and the networks say of a scene; all that the relief is made from.

    Attributes:
        pixels: (H, W, 3) uint8 sRGB picture.
        depth: (h, w) depth along the optical axis, > 0, any scale.
        up: (3,) up direction in the camera frame.
        camera: The picture's camera.
        edge_blur: Half width of the depth's edges in its own pixels.
    """

    pixels: NDArray[np.uint8]
    depth: Floats
    up: Floats
    camera: PinholeCamera
    edge_blur: float = 9.0


def build_scene(
    sight: SceneSight,
    detail: Detail,
    texture_size: int,
    median_m: float,
    shaping: SceneShaping,
    report: Callable[[float], None],
    fill: Fill | None = None,
    shift: NDArray[np.float64] | None = None,
) -> SceneResult:
    """Build the relief.

    Every vertex stays on the ray of its pixel whatever the shaping, so the camera goes on matching.

    Args:
        sight: What was seen.
        detail: How many vertices the longer side gets.
        texture_size: Longest side of the texture.
        median_m: The median depth becomes this many metres.
        shaping: How the relief is made; its size is in ``median_m`` already.
        report: Called with the finished share; raises to cancel.
        fill: Paints what goes on behind; pieces of what lies around if None.
        shift: (3,) where the relief stood before, in median depths, to stand there again; None
            stands it on the floor, in the middle of its footprint.
    """
    report(0.0)
    pixels, depth, camera = sight.pixels, sight.depth, sight.camera
    height, width = pixels.shape[:2]
    longest = min(VERTICES[detail], max(height, width))
    scale = longest / max(height, width)
    rows, columns = max(round(height * scale), 3), max(round(width * scale), 3)
    seen = depth.shape
    depth = _guided_enlarge(depth, pixels, rows, columns)
    ramp = max(2, round(sight.edge_blur * longest / max(seen)))
    small = shrink(np.asarray(pixels, np.float32) / 255, columns, rows)
    colours = np.asarray(cv2.cvtColor(small, cv2.COLOR_RGB2LAB), np.float32)
    depth = sharpen_jumps(depth, ramp, colours=colours)
    depth = depth / np.float32(np.median(depth))
    step = 1.0 + shaping.cut_threshold
    depth = smoothed(depth**shaping.depth_range, shaping.smoothness, step) * np.float32(median_m)
    report(0.3)

    # The outermost vertices lie on the picture's border, so the relief fills the frame.
    x, y = np.meshgrid(np.linspace(0, width, columns), np.linspace(0, height, rows))
    spots = np.stack([x, y], axis=-1).astype(np.float32)
    points = camera.rays(spots) * depth[..., None]
    uvs = spots / np.array([width, height], np.float32)
    uvs[..., 1] = 1 - uvs[..., 1]
    texture = _texture(pixels, texture_size)
    report(0.5)
    if shaping.is_solid:
        positions, corners, sizes, corner_uvs = _closed(points, uvs)
    else:
        reach = max(1, round(HIDDEN * longest)) if shaping.fills_behind else 1
        relief = cut_relief(points, reach, step)
        positions, sizes = relief.vertices, np.full(len(relief.quads), 4)
        corners = relief.quads.reshape(-1)
        texture, corner_uvs = _with_hidden(texture, relief, uvs, fill)
    report(0.8)

    axis = np.array([0.0, 0.0, 1.0])
    rotation = world_from_camera(steadied_up(sight.up, axis), axis)
    world = positions @ rotation.T.astype(np.float32)
    if shift is None:
        low, high = world.min(axis=0), world.max(axis=0)
        # Robust floor: a few stray points must not lift the whole scene.
        floor = float(np.percentile(world[:, 1], 99.8))
        shift = -np.array([(low[0] + high[0]) / 2, floor, (low[2] + high[2]) / 2]) / median_m
    moved = shift * median_m
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, moved
    mesh = MeshArrays(
        (world + moved).astype(np.float32),
        corners.astype(np.int32),
        sizes.astype(np.int32),
        corner_uvs.astype(np.float32),
    )
    material = MaterialArrays(texture, ROUGHNESS)
    report(1.0)
    return SceneResult(mesh, material, CameraArrays(matrix, camera.fov_x, width, height), shift)


def _texture(pixels: NDArray[np.uint8], longest: int) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return np.ascontiguousarray(pixels)
    size = (max(round(width * scale), 1), max(round(height * scale), 1))
    return np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)


def _with_hidden(
    texture: NDArray[np.uint8], relief: CutRelief, uvs: Floats, fill: Fill | None
) -> tuple[NDArray[np.uint8], Floats]:
    """Give the hidden sheet a picture of its own under the picture.

    Returns:
        The texture, the picture on top, and (C, 2) UVs of the corners.
    """
    rows, columns = uvs.shape[:2]
    flat = uvs.reshape(-1, 2)[relief.shown]
    if not relief.is_behind.any():
        return texture, flat.reshape(-1, 2)
    cell = relief.shown[relief.is_behind].min(axis=1)  # its upper left corner
    hidden = np.zeros((rows, columns), np.bool_)
    hidden.ravel()[cell] = True
    height = len(texture)
    picture = _painted_behind(texture, relief, hidden, fill)

    first = max(int(cell.min()) // columns - 1, 0)
    last = min(int(cell.max()) // columns + 2, rows - 1)
    top, bottom = first * height // (rows - 1), -(-last * height // (rows - 1))
    whole = height + bottom - top
    down = 1 - flat[..., 1]
    down = np.where(relief.is_behind[:, None], down * height - top + height, down * height) / whole
    return (
        np.concatenate([texture, picture[top:bottom]]),
        np.stack([flat[..., 0], 1 - down], axis=-1).reshape(-1, 2).astype(np.float32),
    )


def _painted_behind(
    texture: NDArray[np.uint8],
    relief: CutRelief,
    hidden: NDArray[np.bool_],
    fill: Fill | None,
) -> NDArray[np.uint8]:
    """Paint (H, W) hidden grid cells into a copy of the texture, each from what lies at its depth."""
    size = texture.shape[1::-1]

    def large(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        return cv2.resize(mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST) > 0

    halo = 2 * round(HALO * max(relief.depth.shape)) + 1
    around = np.ones((halo, halo), np.uint8)
    # The colours right beside a jump are mixed from both its sides.
    jumps = relief.jumps
    mixed = cv2.dilate((jumps.near | jumps.far).astype(np.uint8), around) > 0
    hole = cv2.dilate(hidden.astype(np.uint8), around) > 0
    sheet = relief.behind.ravel()[nearest_inside(relief.behind > 0)]
    reach = max(1, round(HIDDEN * max(hole.shape)))
    window = np.ones((2 * reach + 1, 2 * reach + 1), np.uint8)
    near_hole = cv2.dilate(hole.astype(np.uint8), window) > 0
    bounds = np.quantile(sheet[hole], np.linspace(0, 1, LAYERS + 1))
    result = texture.copy()
    for low, high in pairwise(bounds):
        is_here = (sheet >= low) & (sheet <= high)
        layer = hole & is_here
        before = grown((jumps.near & is_here) * np.int32(reach // 2), jumps) > 0
        alike = (relief.depth > low * NEARER) & (relief.depth < high * FARTHER)
        chosen = large(layer)
        source = alike & ~mixed & ~layer & ~before
        painted = None if fill is None else _filled(texture, chosen, large(source), fill)
        if painted is None:
            painted = filled_from(texture, chosen, large(source & near_hole))
        result[chosen] = painted[chosen]
    return result


def _filled(
    texture: NDArray[np.uint8], hole: NDArray[np.bool_], source: NDArray[np.bool_], fill: Fill
) -> NDArray[np.uint8] | None:
    """Let ``fill`` paint (H, W) a hole and all else around it that is not ``source``.

    Returns:
        (H, W, 3), right in the hole; None where nothing is known around it or ``fill`` cannot.
    """
    if not hole.any():
        return None
    margin = round(HIDDEN * max(hole.shape))
    rows, columns = (np.flatnonzero(hole.any(axis=axis)) for axis in (1, 0))
    window = tuple(
        slice(max(int(found[0]) - margin, 0), int(found[-1]) + margin + 1)
        for found in (rows, columns)
    )
    if not source[window].any():
        return None
    painted = fill(np.ascontiguousarray(texture[window]), ~source[window])
    if painted is None:
        return None
    result = texture.copy()
    result[window] = painted
    return result


def _guided_enlarge(depth: Floats, pixels: NDArray[np.uint8], rows: int, columns: int) -> Floats:
    """Enlarge depth so that its edges follow the picture's (guided filter, He et al. 2010).

    Works on inverse depth, where planes stay planes.
    """
    grey = cv2.cvtColor(pixels, cv2.COLOR_RGB2GRAY)
    guide = shrink(np.asarray(grey, np.float32) / 255, columns, rows)
    nearness = enlarge(1 / depth, columns, rows)
    radius = max(2, round(max(rows, columns) / max(depth.shape) * 2))
    window = (2 * radius + 1, 2 * radius + 1)

    def mean(values: Floats) -> Floats:
        filtered = cv2.boxFilter(values, -1, window, borderType=cv2.BORDER_REFLECT)
        return np.asarray(filtered, np.float32)

    average, level = mean(guide), mean(nearness)
    gain = (mean(guide * nearness) - average * level) / (mean(guide * guide) - average**2 + 2e-3)
    fitted = mean(gain) * guide + mean(level - gain * average)
    # Texture must not become relief: follow the guide only as far as the depth itself varies there.
    low = cv2.erode(nearness, np.ones(window, np.uint8))
    high = cv2.dilate(nearness, np.ones(window, np.uint8))
    return (1 / np.clip(fitted, low, high)).astype(np.float32)


def _closed(
    points: Floats, uvs: Floats
) -> tuple[Floats, NDArray[np.int32], NDArray[np.int32], Floats]:
    """Close a grid with walls along the view's edges and a flat back.

    Returns:
        Positions (V, 3), corners (C,), face sizes (F,) and corner UVs (C, 2).
    """
    height, width = points.shape[:2]
    ring = border_ring(height, width)
    flat, flat_uv = points.reshape(-1, 3), uvs.reshape(-1, 2)
    far = 1.04 * float(flat[:, 2].max())
    back = flat[ring] * (far / flat[ring, 2:])
    count, first = len(ring), len(flat)
    middle = first + count
    positions = np.concatenate([flat, back, back.mean(axis=0, keepdims=True)])

    front = grid_quads(height, width)
    here = np.arange(count)
    after = (here + 1) % count
    walls = np.stack([ring[here], first + here, first + after, ring[after]], axis=1)
    fan = np.stack([first + here, np.full(count, middle), first + after], axis=1)
    # Walls continue the picture mirrored at its border, so that no pixel is drawn out into a line.
    inward = flat_uv[ring] + (0.5 - flat_uv[ring]) * 2 * WALL_SHARE
    wall_uv = np.stack([flat_uv[ring], inward, inward[after], flat_uv[ring][after]], axis=1)
    front_uv = _unstretched(flat, flat_uv, front)
    centre = np.full((count, 2), 0.5, np.float32)
    fan_uv = np.stack([flat_uv[ring], centre, flat_uv[ring][after]], axis=1)
    corners = np.concatenate([front.ravel(), walls.ravel(), fan.ravel()])
    sizes = np.concatenate([np.full(len(front) + count, 4), np.full(count, 3)])
    corner_uvs = np.concatenate(
        [front_uv.reshape(-1, 2), wall_uv.reshape(-1, 2), fan_uv.reshape(-1, 2)]
    )
    return positions, corners.astype(np.int32), sizes.astype(np.int32), corner_uvs


def _unstretched(flat: Floats, flat_uv: Floats, front: NDArray[np.int32]) -> Floats:
    """(F, 4, 2) UVs of a solid's front, with walls at depth jumps that show the background.

    A wall lies between two pixels; their colours drawn out over it would be a streak. Instead the
    wall continues the background mirrored at its foot.
    """
    uv = flat_uv[front]
    is_wall, is_near = split_jumps(flat[front])
    depth = flat[front][..., 2]
    share = 1 - depth.min(axis=1) / depth.max(axis=1)
    near = np.where(is_near[..., None], uv, 0).sum(1) / np.maximum(is_near.sum(1), 1)[:, None]
    foot = np.where(is_near[..., None], 0, uv).sum(1) / np.maximum((~is_near).sum(1), 1)[:, None]
    outwards = foot - near
    outwards /= np.maximum(np.linalg.norm(outwards, axis=1, keepdims=True), 1e-9)
    top = np.clip(foot + outwards * (WALL_SHARE * share)[:, None], 0, 1)
    moved = is_wall[:, None] & is_near
    return np.where(moved[..., None], top[:, None], uv).astype(np.float32)
