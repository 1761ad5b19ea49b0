"""The benchmark's measures give the known answer on shapes whose answer is known."""

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("scipy")
pytest.importorskip("embreex")

from benchmarks.data import pictures, rays
from benchmarks.data.composed import from_afar
from benchmarks.data.truth import View
from benchmarks.quality import baselines, metrics, table
from benchmarks.speed import memory_curve


def sphere(rows: int = 40, columns: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """Unit sphere: (V, 3) positions and (T, 3) outward triangles."""
    polar = np.linspace(0, np.pi, rows + 1)[1:-1, None]
    around = np.linspace(0, 2 * np.pi, columns, endpoint=False)[None]
    ring = np.stack(
        np.broadcast_arrays(
            np.sin(polar) * np.cos(around), np.sin(polar) * np.sin(around), np.cos(polar)
        ),
        axis=-1,
    ).reshape(-1, 3)
    positions = np.concatenate([ring, [[0, 0, 1.0], [0, 0, -1.0]]])
    north, south = len(ring), len(ring) + 1
    index = np.arange(len(ring)).reshape(rows - 1, columns)
    right = np.roll(index, -1, axis=1)
    upper = np.stack([index[:-1], index[1:], right[1:]], axis=-1).reshape(-1, 3)
    lower = np.stack([index[:-1], right[1:], right[:-1]], axis=-1).reshape(-1, 3)
    top = np.stack([np.full(columns, north), index[0], right[0]], axis=-1)
    bottom = np.stack([np.full(columns, south), right[-1], index[-1]], axis=-1)
    return positions, np.concatenate([upper, lower, top, bottom])


def solidity(positions: np.ndarray, triangles: np.ndarray) -> metrics.Solidity:
    return metrics.check_solid(positions, triangles.ravel(), np.full(len(triangles), 3))


def test_sphere_equals_itself_moved_and_scaled() -> None:
    positions, triangles = sphere()
    truth = positions[triangles]
    score = metrics.compare_shapes(truth * 0.3 + np.array([5, -2, 7]), truth)
    assert score.f_scores == pytest.approx((1, 1, 1), abs=0.002)
    assert score.chamfer < 0.015
    assert score.scale == pytest.approx(1 / 0.3, rel=0.01)
    assert score.offset == pytest.approx(np.array([-5, 2, -7]) / 0.3, abs=0.2)


def test_fit_does_not_turn_a_half_into_a_whole() -> None:
    positions, triangles = sphere()
    truth = positions[triangles]
    half = truth[truth[..., 2].max(1) < 0.01]
    score = metrics.compare_shapes(half, truth)
    assert score.f_scores[1] < 0.8
    assert score.chamfer > 0.05


def test_chamfer_of_three_floors_one_of_them_moved() -> None:
    square = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]], float)
    up = np.array([0, 0, 1.0])
    truth = np.concatenate([square, square + up, square + 2 * up])
    moved = np.concatenate([square, square + 1.3 * up, square + 2 * up])
    score = metrics.compare_shapes(moved, truth)
    # A third of each surface is 0.3 away; the rest is as near as sampled points are dense.
    density = metrics.SURFACE_POINTS / 3
    expected = 2 * (0.3 / 3 + 2 / 3 * 0.5 / np.sqrt(density)) / np.linalg.norm([1, 1, 2])
    assert score.chamfer == pytest.approx(expected, rel=0.05)
    assert score.scale == pytest.approx(1, abs=0.02)


def test_points_cover_triangles_by_area() -> None:
    big = np.array([[0, 0, 0], [3, 0, 0], [0, 3, 0]], float)
    small = np.array([[0, 0, 1], [1, 0, 1], [0, 1, 1]], float)
    points = metrics.sample_surface(np.stack([big, small]), 10_000)
    assert (points[:, 2] > 0.5).mean() == pytest.approx(0.1, abs=0.005)
    assert (points[:, :2].sum(1) <= 3 + 1e-9).all()


def test_sphere_is_a_sound_solid() -> None:
    positions, triangles = sphere()
    solid = solidity(positions, triangles)
    assert solid.is_watertight
    assert solid.is_manifold
    assert solid.parts == 1
    assert solid.volume == pytest.approx(4 / 3 * np.pi, rel=0.01)


def test_quads_are_checked_as_quads() -> None:
    positions = np.array([[x, y, z] for z in (0, 1) for y in (0, 1) for x in (0, 1)], float)
    faces = [[0, 2, 3, 1], [4, 5, 7, 6], [0, 1, 5, 4], [2, 6, 7, 3], [0, 4, 6, 2], [1, 3, 7, 5]]
    solid = metrics.check_solid(positions, np.ravel(faces), np.full(6, 4))
    assert solid.is_watertight
    assert solid.volume == pytest.approx(1)


def test_hole_flip_and_inside_out_are_found() -> None:
    positions, triangles = sphere()
    assert not solidity(positions, triangles[1:]).is_closed
    flipped = triangles.copy()
    flipped[5] = flipped[5, ::-1]
    assert solidity(positions, flipped).is_closed
    assert not solidity(positions, flipped).is_oriented
    assert solidity(positions, triangles[:, ::-1]).is_manifold
    assert not solidity(positions, triangles[:, ::-1]).is_watertight


def test_two_cones_touching_in_a_point_are_not_manifold() -> None:
    positions, triangles = sphere()
    moved = positions + np.array([0, 0, 2])
    # The second sphere stands on the first: its south pole is the first one's north pole.
    count = len(positions)
    second = triangles + count
    second[second == 2 * count - 1] = count - 2
    solid = solidity(np.concatenate([positions, moved]), np.concatenate([triangles, second]))
    assert solid.is_closed
    assert not solid.is_fan
    assert solid.parts == 2


def test_face_without_area_is_found() -> None:
    positions, triangles = sphere()
    positions = positions.copy()
    positions[triangles[0, 1]] = positions[triangles[0, 0]]
    assert solidity(positions, triangles).degenerate >= 1


def test_weld_joins_split_seams_and_drops_what_collapses() -> None:
    positions, triangles = sphere()
    split, loose = positions[triangles.ravel()], np.arange(triangles.size).reshape(-1, 3)
    assert not solidity(split, loose).is_closed
    merged, welded = metrics.weld(split, loose)
    assert len(merged) == len(positions)
    assert solidity(merged, welded).is_watertight
    collapsed = np.concatenate([loose, [[0, 0, 1]]])
    assert len(metrics.weld(split, collapsed)[1]) == len(triangles)


def test_mask_iou() -> None:
    a, b = np.zeros((4, 4), bool), np.zeros((4, 4), bool)
    assert metrics.mask_iou(a, b) == 1
    a[:2], b[1:3] = True, True
    assert metrics.mask_iou(a, b) == pytest.approx(1 / 3)


def test_normal_errors_in_degrees() -> None:
    truth = np.zeros((2, 2, 3))
    truth[..., 2] = -1
    turned = truth.copy()
    turned[0, 0] = [0, np.sin(np.radians(40)), -np.cos(np.radians(40))]
    median, mean = metrics.normal_errors(turned, truth, np.ones((2, 2), bool))
    assert median == pytest.approx(0, abs=1e-5)
    assert mean == pytest.approx(10)


def test_depth_error_ignores_scale_and_shift_but_not_shape() -> None:
    random = np.random.default_rng(0)
    truth = random.random((16, 16)) + 2
    mask = np.ones((16, 16), bool)
    assert metrics.aligned_depth_error(truth * 3 - 1, truth, mask, 1.0) == pytest.approx(0)
    flat = metrics.aligned_depth_error(np.ones((16, 16)), truth, mask, 1.0)
    assert flat == pytest.approx(np.abs(truth - truth.mean()).mean())
    assert metrics.aligned_depth_error(-truth, truth, mask, 1.0) == pytest.approx(flat)


def test_displaced_plane_is_closed_and_keeps_the_front() -> None:
    mask = np.zeros((32, 32), bool)
    mask[8:24, 8:24] = True
    camera_rays = rays.pixel_rays(0.6, 32, 32)
    front = np.full((32, 32), -0.2, np.float32)
    front[12:20, 12:20] = -0.4
    positions, triangles = baselines.displaced_plane(front, mask, camera_rays, 3.0)
    solid = solidity(positions, triangles)
    assert solid.is_watertight
    assert solid.is_manifold
    hits = rays.cast(positions[triangles], camera_rays)
    assert hits.mask[9:23, 9:23].all()
    assert hits.front[16, 16] == pytest.approx(2.6, abs=1e-4)
    assert hits.back[16, 16] == pytest.approx(2.82, abs=1e-4)


def test_inflated_disc_is_a_sphere() -> None:
    size, fov_x, distance = 128, 0.02, 100.0
    x = np.arange(size) + 0.5 - size / 2
    mask = np.hypot(x[:, None], x) < 40
    unit = 2 * np.tan(fov_x / 2) * distance / size
    positions, triangles = baselines.inflated_silhouette(
        mask, rays.pixel_rays(fov_x, size, size), distance, unit
    )
    score = metrics.compare_shapes(positions[triangles], np.take(*sphere(), axis=0))
    assert score.f_scores[1] > 0.99
    assert solidity(positions, triangles).volume > 0


def test_ray_cast_sphere_has_exact_depth_and_normals() -> None:
    positions, triangles = sphere(160, 240)
    directions = rays.pixel_rays(0.7, 64, 64)
    hits = rays.cast((positions + np.array([0, 0, 4]))[triangles], directions)
    directions = directions.astype(float)
    b, c = directions[..., 2] * 4, 15.0
    a = (directions**2).sum(-1)
    root = np.sqrt(np.maximum(b * b - a * c, 0))
    sure = (b * b - a * c) > 0.5
    assert hits.mask[sure].all()
    assert np.abs(hits.front - (b - root) / a)[sure].max() < 2e-3
    assert np.abs(hits.back - (b + root) / a)[sure].max() < 2e-3
    exact = directions * ((b - root) / a)[..., None] - np.array([0, 0, 4])
    assert metrics.normal_errors(hits.normals, exact, sure)[1] < 1.5


def test_failed_picture_counts_as_no_match_at_all() -> None:
    good = {"object": "cup", "view": "cup_0", "background": "plain", "seconds": 2.0}
    good |= {"watertight": True, "manifold": True, "welded": True}
    good |= {f"{key}_{m}": 0.8 for m in table.METHODS for key in ("cd", "f0.02", "f0.05", "f0.1")}
    good |= {key: 1.0 for _, key, _ in table.COLUMNS}
    bad = {"object": "cup", "view": "cup_1", "background": "plain", "error": "No subject."}
    text = table.table([good, bad])
    mean = next(line for line in text.splitlines() if line.startswith("cup"))
    assert ".800/.800/.800 .400/.400/.400" in mean
    assert "FAILED cup_1 plain: No subject." in text


def test_memory_level_ignores_what_a_stage_needs_for_a_moment() -> None:
    growing = [(n, 500 + 2.0 * n + spike) for n in range(20) for spike in (300, 0, 50)]
    flat = [(n, 500 + spike) for n in range(20) for spike in (300, 0, 50)]
    assert memory_curve.summarise(growing, 20)["slope_mb"] == pytest.approx(2.0)
    assert memory_curve.summarise(flat, 20)["slope_mb"] == pytest.approx(0.0, abs=1e-9)
    assert memory_curve.summarise(flat, 20)["end_mb"] == pytest.approx(500)


def test_mug_is_whole_and_stands_on_transparency() -> None:
    picture = pictures.mug(64, 3)
    subject = picture[..., 3] > 0
    assert 0.1 < subject.mean() < 0.6
    assert not subject[[0, -1]].any()
    assert not subject[:, [0, -1]].any()


def test_from_afar_the_camera_sees_the_same_surfaces() -> None:
    positions, faces = sphere()
    triangles = (positions + np.array([0.1, -0.2, 4])).astype(np.float32)[faces]
    fov = 0.7
    hits = rays.cast(triangles, rays.pixel_rays(fov, 40, 40))
    near = View("ball_0", Path("ball_0.png"), fov, np.array([0, -1, 0.0]), triangles, hits)
    far = from_afar(near, 2)
    seen = rays.cast(triangles, rays.pixel_rays(far.fov_x, 80, 80))
    assert (far.hits.mask == seen.mask).all()
    np.testing.assert_allclose(far.hits.front, seen.front, atol=1e-4)
    np.testing.assert_allclose(far.hits.normals, seen.normals, atol=1e-4)
    assert far.hits.mask.sum() == hits.mask.sum() > 100
