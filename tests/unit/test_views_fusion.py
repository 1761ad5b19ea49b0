"""Depth maps and outlines become a distance grid: grazing ground, thin parts, boxes along walls."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.views.contracts import Solved, SparsePoints, View
from image_to_mesh.inference.views.depth.stereo import DepthMap
from image_to_mesh.inference.views.placement.region import find_region
from image_to_mesh.inference.views.surface.fusion import (
    TRUNCATION,
    Evidence,
    Grid,
    facing_of,
    fuse,
    integrate,
)
from image_to_mesh.inference.views.surface.measuring import CELLS, MOST_FINER, cells_along

EYE = 1.6  # height of the camera above level ground
WIDE, HIGH = 160, 120
FOV = 1.15


def silent(*_arguments: object) -> None:
    pass


def looking_ahead(z: float = 0.0) -> CameraArrays:
    matrix = np.eye(4)
    matrix[2, 3] = z
    return CameraArrays(matrix, FOV, WIDE, HIGH)


def ground_ahead(z: float = 0.0) -> DepthMap:
    """Depth of level ground, as far as 30 metres; y points down."""
    focal = WIDE / 2 / np.tan(FOV / 2)
    row = np.arange(HIGH) + 0.5 - HIGH / 2
    depth = np.where(row > 0, EYE * focal / np.maximum(row, 1e-6), 0)
    depth[depth > 30] = 0
    return DepthMap(np.repeat(depth[:, None], WIDE, axis=1).astype(np.float32), looking_ahead(z))


def empty_evidence(grid: Grid) -> Evidence:
    zero, none = np.zeros(grid.size, np.float32), np.zeros(grid.size, np.uint8)
    return Evidence(zero, zero, none, none)


def test_ground_is_as_far_below_a_point_as_it_is_and_not_as_far_ahead():
    depth_map = ground_ahead()
    facing = facing_of(depth_map)
    focal = WIDE / 2 / np.tan(FOV / 2)
    row = np.arange(HIGH) + 0.5 - HIGH / 2
    # A point on the ray at depth d and the ground at depth D: their heights differ by
    # (D - d) * row / focal.
    rows = (depth_map.depth[:, 0] > 0) & (depth_map.depth[:, 0] < 10)
    rows[-3:] = False
    expected = np.clip(row / focal, 0.1, 1)
    assert np.abs(facing[rows] - expected[rows, None]).max() < 0.02


def test_a_wall_square_to_the_camera_is_as_far_as_its_depth_says():
    wall = DepthMap(np.full((HIGH, WIDE), 4.0, np.float32), looking_ahead())
    assert np.allclose(facing_of(wall), 1, atol=1e-4)


def test_a_jump_of_depth_is_no_slope():
    depth = np.full((HIGH, WIDE), 4.0, np.float32)
    depth[:, WIDE // 2 :] = 6.0
    assert np.allclose(facing_of(DepthMap(depth, looking_ahead())), 1, atol=1e-4)


def test_coarse_cells_keep_the_ground_of_a_street():
    grid = Grid.over(np.array([4.0, 3.0, 12.0]), 60)  # cells of 0.4 metres
    maps = [replace(ground_ahead(z), camera=looking_ahead(z)) for z in np.arange(-14.0, 0.0, 1.5)]
    field = fuse(grid, integrate(maps, grid, silent), None, None, is_object=False)
    along = grid.origin[2] + grid.spacing * np.arange(grid.shape[2])
    middle = grid.shape[0] // 2
    below = round((EYE + 0.3 - grid.origin[1]) / grid.spacing)
    above = round((EYE - 0.6 - grid.origin[1]) / grid.spacing)
    ahead = (along > -10.0) & (along < 8.0)
    assert (field.distance[middle, below, ahead] < 0).mean() > 0.95
    assert (field.distance[middle, above, ahead] > 0).all()


@pytest.mark.parametrize("offset", [0.0, 0.3])
def test_a_plate_of_one_cell_is_not_smoothed_away(offset):
    grid = Grid.over(np.ones(3), 24)
    y = grid.points(0, grid.size)[:, 1] / grid.spacing
    outside = (np.abs(y - offset) - 0.5).astype(np.float32)
    field = fuse(grid, empty_evidence(grid), outside, None, is_object=True)
    inner = field.distance[4:-4, :, 4:-4]
    assert (inner.min(axis=1) < 0).all()
    assert np.abs(field.distance).max() <= TRUNCATION * grid.spacing + 1e-6


def test_a_flat_box_has_smaller_cells_than_a_cube():
    assert cells_along(np.ones(3), "low") == CELLS["low"]
    half = np.array([1.0, 0.3, 0.7])
    assert cells_along(half, "medium") * 0.3 == pytest.approx(0.375 * CELLS["medium"], rel=0.02)
    assert cells_along(np.array([0.02, 1.0, 0.02]), "low") == MOST_FINER * CELLS["low"]


def test_the_box_of_a_place_lies_along_its_walls():
    random = np.random.default_rng(0)
    turn = np.radians(30.0)
    rotation = np.array(
        [[np.cos(turn), 0, np.sin(turn)], [0, 1, 0], [-np.sin(turn), 0, np.cos(turn)]]
    )
    points = random.uniform([-2, -1.5, -8], [2, 1.5, 8], (3000, 3))
    side = random.integers(2, size=3000) * 4.0 - 2
    points[:, 0] = np.where(random.random(3000) < 0.8, side, points[:, 0])  # mostly two walls
    views = []
    for z in (-4.0, -2.0, 0.0, 2.0):
        matrix = np.eye(4)
        matrix[2, 3] = z
        turned = np.eye(4)
        turned[:3, :3] = rotation
        pixels = np.zeros((HIGH, WIDE, 3), np.uint8)
        camera = CameraArrays(turned @ matrix, FOV, WIDE, HIGH)
        views.append(View(str(z), pixels, None, None, camera, None))
    # The first camera looks 20 degrees off the street.
    off = np.radians(20.0)
    views[0].camera.matrix[:3, :3] = rotation @ np.array(
        [[np.cos(off), 0, np.sin(off)], [0, 1, 0], [-np.sin(off), 0, np.cos(off)]]
    )
    cloud = SparsePoints((points @ rotation.T).astype(np.float32), np.zeros((3000, 3), np.uint8))
    solved = Solved({}, cloud, {}, np.array([0.0, -1.0, 0.0]), False, "pycolmap")
    region = find_region(views, solved, "place", 0)
    assert region.half[2] == pytest.approx(1.0)
    assert region.half[0] < 0.4  # it is 4 by 16, and a margin; askew it would be 0.5 and more
    kept = find_region(views, replace(solved, keeps_world=True), "place", 0)
    assert np.array_equal(kept.frame.rotation, np.eye(3))


@pytest.mark.parametrize(("share", "is_free"), [(0.65, True), (0.2, False)])
def test_scattered_votes_leave_one_border_and_no_rags(share, is_free):
    grid = Grid.over(np.ones(3), 48)
    points = grid.points(0, grid.size)
    outside = ((np.abs(points).max(axis=1) - 0.8) / grid.spacing).astype(np.float32)
    hollow = points[:, 1] < 0
    seen_through = hollow & (np.random.default_rng(0).random(grid.size) < share)
    evidence = replace(empty_evidence(grid), through=np.where(seen_through, 4, 0).astype(np.uint8))
    field = fuse(grid, evidence, outside, None, is_object=True)
    free = field.distance.ravel() > 0
    inner = outside < -3
    assert (free[inner & (points[:, 1] < -0.3)] == is_free).all()
    assert not free[inner & (points[:, 1] > 0.3)].any()


def test_votes_do_not_change_what_was_measured():
    grid = Grid.over(np.ones(3), 24)
    points = grid.points(0, grid.size)
    outside = ((np.abs(points).max(axis=1) - 0.8) / grid.spacing).astype(np.float32)
    near = np.abs(points[:, 1]) < 0.15
    distance = np.where(near, -points[:, 1] / grid.spacing, 0).astype(np.float32)
    # Seen through everywhere else, even behind the surface: the surface stays where it is.
    evidence = Evidence(
        distance,
        np.where(near, 5, 0).astype(np.float32),
        np.where(near, 0, 3).astype(np.uint8),
        np.zeros(grid.size, np.uint8),
    )
    field = fuse(grid, evidence, outside, None, is_object=True)
    middle = tuple(s // 2 for s in grid.shape)
    column = field.distance[middle[0], :, middle[2]]
    y = grid.origin[1] + grid.spacing * np.arange(grid.shape[1])
    assert column[np.abs(y - 0.08).argmin()] < 0 < column[np.abs(y + 0.08).argmin()]
