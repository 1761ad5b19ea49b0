"""Paint an atlas from many pictures: the best view for each face, without visible seams.

Exposure is made equal between views first, from faces that several see. Each face then takes its
colour from one view, chosen so that neighbouring faces agree where that costs little (as Lempitsky
and Ivanov 2007), because mixing views would blur. The steps that are left along seams are taken away
by an offset that jumps at seams only and is smooth elsewhere (Waechter, Moehrle and Goesele 2014).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from numpy.typing import NDArray

from ...image import blur
from ...surface.topology import face_neighbours
from ...texture.complete import bleed_outwards
from ...texture.pack import Atlas
from ...texture.raster import rasterise
from ..contracts import View
from ..geometry import project
from .visibility import Sight, triangulated

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

CANDIDATES = 5  # best views that a face may choose from
AGREEMENT = 0.35  # gain of agreeing with all neighbours, in units of a factor e in resolution
ROUNDS = 40
GAIN_FACES = 6000
STRONGEST_GAIN = 0.5  # natural logarithm
SMOOTHNESS = 0.4  # of the offsets inside a patch against the steps at its seam
SOLVER_STEPS = 150
CHUNK = 1_000_000  # texels painted at once


def paint_views(
    positions: Floats,
    faces: Ints,
    atlas: Atlas,
    views: Sequence[View],
    sight: Sight,
    seed: int,
    report: Callable[[float], None],
) -> NDArray[np.uint8]:
    """Fill the atlas.

    Args:
        positions: (V, 3) in the frame of the views' cameras.
        faces: (F, K) of a closed mesh.
        atlas: Where each face lies.
        views: The pictures.
        sight: Which view sees which face.
        seed: Of random choices.
        report: Called with the finished share; raises to cancel.

    Returns:
        (size, size, 3) uint8 sRGB, row 0 on top, painted in every pixel.
    """
    report(0.0)
    middle = positions[faces].mean(axis=1)
    gains = exposure_gains(middle, views, sight, seed)
    report(0.15)
    label = choose_views(faces, sight, seed, lambda share: report(0.15 + 0.15 * share))
    node, node_vertex, node_view = _nodes(faces, label)
    colour, known = _node_colours(positions, node_vertex, node_view, views, gains)
    report(0.4)
    offset = level_seams(node, node_vertex, node_view, colour, known, lambda: report(0.45))
    report(0.55)
    guess = _diffused(faces, node, node_vertex, colour + offset, known, len(positions))
    report(0.65)
    return _painted(
        positions,
        faces,
        atlas,
        views,
        label,
        gains,
        offset[node],
        guess,
        lambda share: report(0.65 + 0.35 * share),
    )


def exposure_gains(points: Floats, views: Sequence[View], sight: Sight, seed: int) -> Floats:
    """(V, 3) natural logarithm of the factor that makes each view's colours agree with the others.

    Args:
        points: (F, 3) the faces' middles.
        views: The pictures.
        sight: Which view sees which face.
        seed: Of the choice of faces.
    """
    shared = np.flatnonzero((sight.pixels > 0).sum(axis=0) >= 2)
    gains = np.zeros((len(views), 3), np.float32)
    if len(shared) < 20 or len(views) < 2:
        return gains
    shared = np.random.default_rng(seed).permutation(shared)[:GAIN_FACES]
    logs = np.full((len(views), len(shared), 3), np.nan, np.float32)
    for number, view in enumerate(views):
        seen = np.flatnonzero(sight.pixels[number, shared] > 0)
        if len(seen):
            where = project(view.camera, points[shared[seen]])[0]
            found = sample_pixels(_softened(view), where)
            # Clipped and black pixels say nothing about exposure.
            found[(found < 0.04) | (found > 0.97)] = np.nan
            logs[number, seen] = np.log(found)
    counted = np.isfinite(logs)
    values = np.where(counted, logs, 0)
    for _ in range(12):
        total = ((values + gains[:, None]) * counted).sum(axis=0)
        mean = total / np.maximum(counted.sum(axis=0), 1)
        left = np.where(counted, mean - values, np.nan)
        with np.errstate(all="ignore"):
            fresh = np.nanmedian(left, axis=1) if counted.any() else gains
        fresh = np.nan_to_num(fresh)
        gains = (fresh - fresh.mean(axis=0)).astype(np.float32)
    return np.clip(gains, -STRONGEST_GAIN, STRONGEST_GAIN)


def choose_views(faces: Ints, sight: Sight, seed: int, report: Callable[[float], None]) -> Ints:
    """(F,) the view that each face takes its colour from; -1 when none sees it.

    Iterated conditional modes over each face's best views: resolution against agreement.
    """
    count = min(CANDIDATES, len(sight.pixels))
    best = np.argpartition(-sight.pixels, count - 1, axis=0)[:count]
    pixels = np.take_along_axis(sight.pixels, best, axis=0)
    score = np.where(pixels > 0, 0.5 * np.log(np.maximum(pixels, 1e-12)), -np.inf)
    seen = np.isfinite(score).any(axis=0)
    columns = np.arange(len(faces))
    label = np.where(seen, best[score.argmax(axis=0), columns], -1).astype(np.int32)
    neighbours = face_neighbours(faces)
    random = np.random.default_rng(seed)
    for round_ in range(ROUNDS):
        report(round_ / ROUNDS)
        around = label[neighbours]
        agree = (best[:, :, None] == around[None]).mean(axis=2)
        # The pull grows, so that first the surroundings settle and then single faces give in.
        total = score + 4 * AGREEMENT * min(1.0, (round_ + 4) / 20) * agree
        fresh = np.where(seen, best[total.argmax(axis=0), columns], -1).astype(np.int32)
        changing = (fresh != label) & (random.random(len(faces)) < 0.6)
        if not (fresh != label).any():
            break
        label = np.where(changing, fresh, label)
    return label


def _nodes(faces: Ints, label: Ints) -> tuple[NDArray[np.int64], NDArray, NDArray]:
    """Pairs of vertex and view: (F, K) the node of each corner, and each node's two members."""
    views = int(label.max()) + 2
    key = faces.astype(np.int64) * views + (label[:, None] + 1)
    unique, node = np.unique(key, return_inverse=True)
    return node.reshape(faces.shape), unique // views, unique % views - 1


def _node_colours(
    positions: Floats, vertex: NDArray, view_of: NDArray, views: Sequence[View], gains: Floats
) -> tuple[Floats, NDArray[np.bool_]]:
    """(N, 3) sRGB 0..1 of each node in its own view, and whether it has one."""
    colour = np.zeros((len(vertex), 3), np.float32)
    for number, view in enumerate(views):
        chosen = np.flatnonzero(view_of == number)
        if len(chosen):
            where = project(view.camera, positions[vertex[chosen]])[0]
            colour[chosen] = sample_pixels(_softened(view), where) * np.exp(gains[number])
    return np.clip(colour, 0, 1), view_of >= 0


def level_seams(
    node: NDArray[np.int64],
    vertex: NDArray,
    view_of: NDArray,
    colour: Floats,
    known: NDArray[np.bool_],
    report: Callable[[], None],
) -> Floats:
    """(N, 3) offset of each node: equal colours on both sides of a seam, smooth inside patches.

    Least squares by conjugate gradients; the matrix is the Laplacian of a graph whose edges join
    nodes of one vertex (seams) and neighbours within a patch.
    """
    a = node.ravel()
    b = np.roll(node, -1, axis=1).ravel()
    usable = known[a] & known[b]
    inner = np.stack([a[usable], b[usable]])
    order = np.lexsort((view_of, vertex))
    same = (vertex[order][1:] == vertex[order][:-1]) & known[order[1:]] & known[order[:-1]]
    seam = np.stack([order[:-1][same], order[1:][same]])
    if not seam.shape[1]:
        return np.zeros_like(colour)
    count = len(vertex)
    start = np.concatenate([seam[0], inner[0]])
    end = np.concatenate([seam[1], inner[1]])
    weight = np.concatenate([np.ones(seam.shape[1]), np.full(inner.shape[1], SMOOTHNESS)])
    wanted = np.zeros((len(weight), 3))
    wanted[: seam.shape[1]] = colour[seam[1]] - colour[seam[0]]

    def gathered(along: NDArray) -> NDArray:
        """Sum edge values into their ends: plus at the start, minus at the end."""
        return np.stack(
            [
                np.bincount(start, along[:, c], count) - np.bincount(end, along[:, c], count)
                for c in range(3)
            ],
            axis=1,
        )

    def applied(x: NDArray) -> NDArray:
        return gathered(weight[:, None] * (x[start] - x[end])) + 1e-3 * x

    x = np.zeros((count, 3))
    residual = gathered(weight[:, None] * wanted) - applied(x)
    direction = residual.copy()
    size = (residual**2).sum(axis=0)
    first = size.copy()
    for _ in range(SOLVER_STEPS):
        report()
        moved = applied(direction)
        step = size / np.maximum((direction * moved).sum(axis=0), 1e-30)
        x += step * direction
        residual -= step * moved
        fresh = (residual**2).sum(axis=0)
        if (fresh < 1e-8 * np.maximum(first, 1e-30)).all():
            break
        direction = residual + fresh / np.maximum(size, 1e-30) * direction
        size = fresh
    return np.where(known[:, None], x, 0).astype(np.float32)


def _diffused(
    faces: Ints,
    node: NDArray[np.int64],
    vertex: NDArray,
    colour: Floats,
    known: NDArray[np.bool_],
    count: int,
) -> Floats:
    """(V, 3) colour of every vertex; where no view sees it, that of its surroundings.

    Colours spread from the known vertices outwards, ring by ring, then settle into a mean of their
    neighbours.
    """
    weight = np.bincount(vertex[known], minlength=count).astype(np.float32)
    total = np.stack(
        [np.bincount(vertex[known], colour[known, c], count) for c in range(3)], axis=1
    )
    result = (total / np.maximum(weight, 1)[:, None]).astype(np.float32)
    fixed = weight > 0
    if not fixed.any():
        return np.full((count, 3), 0.5, np.float32)
    a = faces.ravel()
    b = np.roll(faces, -1, axis=1).ravel()
    reached = fixed.copy()
    settling = 60
    while settling > 0:
        crossing = reached[b]
        around = np.bincount(a[crossing], minlength=count)
        mean = (
            np.stack(
                [np.bincount(a[crossing], result[b[crossing], c], count) for c in range(3)], axis=1
            )
            / np.maximum(around, 1)[:, None]
        )
        open_ = ~fixed & (around > 0)
        result[open_] = mean[open_]
        grown = reached | open_
        if np.array_equal(grown, reached):
            settling -= 1
        reached = grown
    return np.clip(result, 0, 1)


def _painted(
    positions: Floats,
    faces: Ints,
    atlas: Atlas,
    views: Sequence[View],
    label: Ints,
    gains: Floats,
    offset: Floats,
    guess: Floats,
    report: Callable[[float], None],
) -> NDArray[np.uint8]:
    """Fill the texels: ``offset`` is (F, K, 3) for each corner, ``guess`` (V, 3) for each vertex."""
    size = atlas.size
    corner_pixels = atlas.uvs * np.float32(size)
    corner_pixels[..., 1] = size - corner_pixels[..., 1]
    pieces = faces.shape[1] - 2
    corners_of = triangulated(np.arange(faces.size, dtype=np.int32).reshape(-1, faces.shape[1]))
    buffer = rasterise(corner_pixels.reshape(-1, 2)[corners_of], size, size)
    vertices = faces.ravel()[corners_of]
    offsets = offset.reshape(-1, 3)[corners_of]
    view_of = np.repeat(label, pieces)
    texture = np.zeros((size * size, 3), np.uint8)
    triangle = buffer.triangle.ravel()
    covered = np.flatnonzero(triangle >= 0)
    order = covered[np.argsort(view_of[triangle[covered]], kind="stable")]
    bounds = np.searchsorted(view_of[triangle[order]], np.arange(-1, len(views) + 1))
    weights = buffer.weights.reshape(-1, 3)
    for number in range(-1, len(views)):
        report((number + 1) / (len(views) + 1))
        begin, end = bounds[number + 1], bounds[number + 2]
        for start in range(begin, end, CHUNK):
            texel = order[start : min(start + CHUNK, end)]
            which, part = triangle[texel], weights[texel]
            if number < 0:
                colour = np.einsum("nk,nkc->nc", part, guess[vertices[which]])
            else:
                view = views[number]
                point = np.einsum("nk,nkc->nc", part, positions[vertices[which]])
                where = project(view.camera, point)[0]
                colour = sample_pixels(view.pixels, where) * np.exp(gains[number])
                colour = colour + np.einsum("nk,nkc->nc", part, offsets[which])
            texture[texel] = np.clip(colour, 0, 1) * 255 + 0.5
    return bleed_outwards(texture.reshape(size, size, 3), buffer.triangle >= 0)


def _softened(view: View) -> NDArray[np.uint8]:
    """The picture a little blurred: what is compared between views must not be single pixels."""
    soft = blur(view.pixels.astype(np.float32), max(1.0, 0.002 * max(view.pixels.shape)))
    return np.clip(soft + 0.5, 0, 255).astype(np.uint8)


def sample_pixels(pixels: NDArray[np.uint8], where: Floats) -> Floats:
    """(N, 3) bilinear samples, 0..1, at (N, 2) continuous pixel coordinates; borders repeat."""
    height, width = pixels.shape[:2]
    x = np.clip(where[:, 0] - 0.5, 0, width - 1.001)
    y = np.clip(where[:, 1] - 0.5, 0, height - 1.001)
    column, row = x.astype(np.int64), y.astype(np.int64)
    u, v = (x - column).astype(np.float32)[:, None], (y - row).astype(np.float32)[:, None]
    upper = pixels[row, column] * (1 - u) + pixels[row, column + 1] * u
    lower = pixels[row + 1, column] * (1 - u) + pixels[row + 1, column + 1] * u
    return ((upper * (1 - v) + lower * v) / 255).astype(np.float32)
