"""How close a reconstructed shape is to the true one, and whether it is a sound solid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components
from scipy.spatial import KDTree

THRESHOLDS = (0.02, 0.05, 0.1)
SURFACE_POINTS = 10_000
FIT_POINTS = 2_000
FIT_STEPS = 20
START_SCALES = (0.8, 1.0, 1.25)


@dataclass(frozen=True, slots=True)
class ShapeScore:
    """Distance between two surfaces after scale and translation were fitted.

    Attributes:
        chamfer: Mean distance from one to the other plus the mean distance back, as a fraction of
            the truth's bounding-box diagonal.
        f_scores: F-score at each of ``THRESHOLDS``, fractions of the same diagonal.
        scale: Fitted scale of the prediction.
        offset: (3,) fitted translation, applied after the scale.
    """

    chamfer: float
    f_scores: tuple[float, ...]
    scale: float
    offset: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Solidity:
    """Whether a mesh encloses a volume, by its connectivity alone.

    Attributes:
        is_closed: Every edge belongs to exactly two faces.
        is_oriented: The two faces of every edge run along it in opposite directions.
        is_fan: The faces around every vertex form one fan (no two cones touching in a point).
        degenerate: Faces that repeat a vertex or have no area.
        parts: Connected pieces.
        volume: Enclosed volume in cubic units; positive when the faces look outwards.
    """

    is_closed: bool
    is_oriented: bool
    is_fan: bool
    degenerate: int
    parts: int
    volume: float

    @property
    def is_watertight(self) -> bool:
        return self.is_closed and self.is_oriented and self.degenerate == 0 and self.volume > 0

    @property
    def is_manifold(self) -> bool:
        return self.is_closed and self.is_oriented and self.is_fan


def sample_surface(
    triangles: NDArray[np.floating], count: int, seed: int = 0
) -> NDArray[np.float64]:
    """Draw points evenly over a surface.

    Args:
        triangles: (T, 3, 3) corners.
        count: Number of points.
        seed: Of the random choice.

    Returns:
        (count, 3).
    """
    random = np.random.default_rng(seed)
    corners = np.asarray(triangles, np.float64)
    edge_a, edge_b = corners[:, 1] - corners[:, 0], corners[:, 2] - corners[:, 0]
    area = np.linalg.norm(np.cross(edge_a, edge_b), axis=1)
    # One stratum per point: neighbouring faces get neighbouring points, which halves the noise.
    level = (np.arange(count) + random.random(count)) / count
    cumulative = np.cumsum(area)
    face = np.searchsorted(cumulative, level * cumulative[-1]).clip(max=len(area) - 1)
    u, v = random.random((2, count, 1))
    over = u + v > 1
    u, v = np.where(over, 1 - u, u), np.where(over, 1 - v, v)
    return corners[face, 0] + u * edge_a[face] + v * edge_b[face]


def compare_shapes(
    predicted: NDArray[np.floating], truth: NDArray[np.floating], seed: int = 0
) -> ShapeScore:
    """Score a predicted surface against the true one, fitting only scale and translation.

    The fit starts from the bounding boxes and from the means at several scales and the best
    Chamfer distance wins, so that no method is judged by an unlucky start.

    Args:
        predicted: (T, 3, 3) triangles, oriented as the truth.
        truth: (T, 3, 3) triangles.
        seed: Of the surface points.
    """
    corners = np.asarray(truth, np.float64).reshape(-1, 3)
    diagonal = float(np.linalg.norm(corners.max(0) - corners.min(0)))
    a = sample_surface(truth, SURFACE_POINTS, seed) / diagonal
    b = sample_surface(predicted, SURFACE_POINTS, seed + 1) / diagonal
    tree_a, tree_b = KDTree(a), KDTree(b)
    step = SURFACE_POINTS // FIT_POINTS
    coarse_a, coarse_b = KDTree(a[::step]), KDTree(b[::step])
    candidates = [_fit(coarse_a, coarse_b, scale, offset) for scale, offset in _fit_starts(a, b)]
    scale, offset = min(candidates, key=lambda fit: fit[0])[1:]
    to_truth = tree_a.query(b * scale + offset)[0]
    to_predicted = tree_b.query((a - offset) / scale)[0] * scale
    f_scores = []
    for threshold in THRESHOLDS:
        precision, recall = (to_truth < threshold).mean(), (to_predicted < threshold).mean()
        f_scores.append(float(2 * precision * recall / max(precision + recall, 1e-9)))
    chamfer = float(to_truth.mean() + to_predicted.mean())
    return ShapeScore(chamfer, tuple(f_scores), scale, offset * diagonal)


def _fit_starts(
    a: NDArray[np.float64], b: NDArray[np.float64]
) -> Iterable[tuple[float, NDArray[np.float64]]]:
    box_a, box_b = (a.min(0), a.max(0)), (b.min(0), b.max(0))
    by_box = np.linalg.norm(box_a[1] - box_a[0]) / np.linalg.norm(box_b[1] - box_b[0])
    by_spread = np.sqrt(a.var(0).sum() / b.var(0).sum())
    for factor in START_SCALES:
        scale = float(by_box * factor)
        yield scale, (box_a[0] + box_a[1]) / 2 - scale * (box_b[0] + box_b[1]) / 2
        scale = float(by_spread * factor)
        yield scale, a.mean(0) - scale * b.mean(0)


def _fit(
    tree_a: KDTree, tree_b: KDTree, scale: float, offset: NDArray[np.float64]
) -> tuple[float, float, NDArray[np.float64]]:
    """Iterate closest points in both directions; give the best (Chamfer, scale, offset) seen."""
    a, b = tree_a.data, tree_b.data
    best = (np.inf, scale, offset)
    for _ in range(FIT_STEPS):
        to_a, near_a = tree_a.query(b * scale + offset)
        to_b, near_b = tree_b.query((a - offset) / scale)
        chamfer = float(to_a.mean() + scale * to_b.mean())
        if chamfer < best[0]:
            best = (chamfer, scale, offset)
        source = np.concatenate([b, b[near_b]])
        target = np.concatenate([a[near_a], a])
        middle_s, middle_t = source.mean(0), target.mean(0)
        spread = source - middle_s
        fitted = float((spread * (target - middle_t)).sum() / (spread**2).sum())
        # Closest points cling to each other, so one step must not collapse the scale.
        new_scale = float(np.clip(fitted, 0.9 * scale, 1.1 * scale))
        new_offset = middle_t - new_scale * middle_s
        moved = abs(new_scale / scale - 1) + float(np.abs(new_offset - offset).max())
        scale, offset = new_scale, new_offset
        if moved < 1e-4:
            break
    return best


def mask_iou(predicted: NDArray[np.bool_], truth: NDArray[np.bool_]) -> float:
    """Intersection over union of two masks, 0 to 1; two empty masks agree."""
    union = (predicted | truth).sum()
    return float((predicted & truth).sum() / union) if union else 1.0


def normal_errors(
    predicted: NDArray[np.floating], truth: NDArray[np.floating], mask: NDArray[np.bool_]
) -> tuple[float, float]:
    """Median and mean angle between unit normals, degrees; nan where the mask is empty.

    Args:
        predicted: (H, W, 3) unit vectors.
        truth: (H, W, 3) unit vectors.
        mask: (H, W) pixels to compare.
    """
    if not mask.any():
        return float("nan"), float("nan")
    cosine = (predicted[mask] * truth[mask]).sum(1).clip(-1, 1)
    angle = np.degrees(np.arccos(cosine))
    return float(np.median(angle)), float(angle.mean())


def aligned_depth_error(
    predicted: NDArray[np.floating],
    truth: NDArray[np.floating],
    mask: NDArray[np.bool_],
    diagonal: float,
) -> float:
    """Mean absolute depth error after the best scale and shift, as a fraction of ``diagonal``.

    Args:
        predicted: (H, W) depth in any unit.
        truth: (H, W) depth.
        mask: (H, W) pixels to compare.
        diagonal: Bounding-box diagonal of the truth, in the truth's unit.
    """
    if mask.sum() < 2:
        return float("nan")
    z, t = np.asarray(predicted[mask], np.float64), np.asarray(truth[mask], np.float64)
    spread = z - z.mean()
    # A depth map is never turned inside out to fit.
    scale = max(float((spread * (t - t.mean())).sum() / max((spread**2).sum(), 1e-12)), 0.0)
    aligned = spread * scale + t.mean()
    return float(np.abs(aligned - t).mean() / diagonal)


def triangulate(
    positions: NDArray[np.floating], corners: NDArray[np.integer], face_sizes: NDArray[np.integer]
) -> NDArray[np.int64]:
    """Split faces of 3 or 4 corners into triangles, (T, 3) vertex indices."""
    starts = np.cumsum(face_sizes) - face_sizes
    quads = starts[face_sizes == 4]
    first = corners[starts[:, None] + np.arange(3)]
    second = corners[quads[:, None] + np.array([0, 2, 3])]
    triangles = np.concatenate([first, second]).astype(np.int64)
    if triangles.size and triangles.max() >= len(positions):
        raise ValueError(f"corner {triangles.max()} points past {len(positions)} vertices")
    return triangles


def weld(
    positions: NDArray[np.floating], triangles: NDArray[np.integer]
) -> tuple[NDArray[np.floating], NDArray[np.int64]]:
    """Merge vertices at equal positions and drop the triangles that collapse.

    Readers of glTF do this, because seams of the texture split vertices there: a mesh must still
    be closed afterwards.

    Args:
        positions: (V, 3).
        triangles: (T, 3) vertex indices.
    """
    merged, index = np.unique(positions, axis=0, return_inverse=True)
    triangles = index.reshape(-1)[triangles]
    a, b, c = triangles.T
    return merged, triangles[(a != b) & (b != c) & (c != a)]


def check_solid(
    positions: NDArray[np.floating], corners: NDArray[np.integer], face_sizes: NDArray[np.integer]
) -> Solidity:
    """Check a polygon mesh for closedness, orientation, fans, empty faces and volume.

    Args:
        positions: (V, 3).
        corners: (C,) vertex of each face corner, faces one after another.
        face_sizes: (F,) corners of each face, 3 or 4.
    """
    corners = np.asarray(corners, np.int64)
    face = np.repeat(np.arange(len(face_sizes)), face_sizes)
    starts = np.cumsum(face_sizes) - face_sizes
    following = np.arange(len(corners)) + 1
    following[starts + face_sizes - 1] = starts
    head, tail = corners, corners[following]
    low, high = np.minimum(head, tail), np.maximum(head, tail)
    keys = low * len(positions) + high
    _, edge, uses = np.unique(keys, return_inverse=True, return_counts=True)
    is_closed = bool((uses == 2).all())
    direction = np.bincount(edge, weights=np.where(head < tail, 1, -1))
    is_oriented = bool((direction == 0).all())

    points = np.asarray(positions, np.float64)
    triangles = triangulate(points, corners, np.asarray(face_sizes))
    a, b, c = points[triangles[:, 0]], points[triangles[:, 1]], points[triangles[:, 2]]
    origin = points.mean(0)
    volume = float(((a - origin) * np.cross(b - origin, c - origin)).sum() / 6)
    area = np.linalg.norm(np.cross(b - a, c - a), axis=1) / 2
    extent = float(np.linalg.norm(np.ptp(points, axis=0)))
    repeats = (
        (triangles[:, 0] == triangles[:, 1])
        | (triangles[:, 1] == triangles[:, 2])
        | (triangles[:, 2] == triangles[:, 0])
    )
    degenerate = int((repeats | (area < 1e-14 * extent**2)).sum())

    count = len(face_sizes)
    parts = _components(face, edge + count, count + len(uses))
    return Solidity(
        is_closed, is_oriented, _is_fan(corners, following, edge), degenerate, parts, volume
    )


def _components(from_node: NDArray[np.integer], to_node: NDArray[np.integer], count: int) -> int:
    graph = coo_matrix((np.ones(len(from_node), np.int8), (from_node, to_node)), (count, count))
    return int(connected_components(graph, directed=False, return_labels=False))


def _is_fan(
    corners: NDArray[np.integer], following: NDArray[np.integer], edge: NDArray[np.integer]
) -> bool:
    """Check that the faces around each vertex hang together through shared edges.

    Args:
        corners: (C,) vertex of each face corner.
        following: (C,) next corner in the same face.
        edge: (C,) id of the edge that leaves each corner.
    """
    count = len(corners)
    # Every (vertex, edge) pair is a node after the corners; a corner touches the edge that leaves
    # it and the edge that enters it, both at its own vertex.
    entering = np.empty(count, np.int64)
    entering[following] = edge
    edges = int(edge.max()) + 1
    spokes = np.concatenate([corners * edges + edge, corners * edges + entering])
    ids = np.unique(spokes, return_inverse=True)[1]
    nodes = np.concatenate([np.arange(count), np.arange(count)])
    fans = _components(nodes, ids + count, count + int(ids.max()) + 1)
    return fans == len(np.unique(corners))
