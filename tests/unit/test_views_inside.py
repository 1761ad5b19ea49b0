"""Cameras that stand inside or among what they see: a close-up, a room, a wrong estimate."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.views.contracts import View
from image_to_mesh.inference.views.depth.stereo import DepthMap
from image_to_mesh.inference.views.geometry import (
    FARTHEST,
    WIDEST_DISC,
    pixels_across,
    pixels_at,
    project,
)
from image_to_mesh.inference.views.outlines.moved import _overlaps
from image_to_mesh.inference.views.outlines.subject import silhouette
from image_to_mesh.inference.views.placement.focus import find_focus
from image_to_mesh.inference.views.placement.level import level_of_ground
from image_to_mesh.inference.views.placement.region import COARSE, _inside_masks
from image_to_mesh.inference.views.surface.agreement import doubted_share, lost_share
from image_to_mesh.inference.views.surface.fusion import Grid, hull, integrate
from image_to_mesh.inference.views.texture.visibility import look

WIDTH, HEIGHT = 36, 64
STEPS = np.linspace(-1, 1, 12, dtype=np.float32)
CUBE = np.stack(np.meshgrid(STEPS, STEPS, STEPS, indexing="ij"), axis=-1).reshape(-1, 3)

turns = st.tuples(*[st.floats(-np.pi, np.pi)] * 3)
places = st.tuples(*[st.floats(-1.2, 1.2)] * 3)
lenses = st.floats(0.05, 2.6)


def camera_at(place, turn, fov_x) -> CameraArrays:
    a, b, c = turn
    about_x = np.array([[1, 0, 0], [0, np.cos(a), -np.sin(a)], [0, np.sin(a), np.cos(a)]])
    about_y = np.array([[np.cos(b), 0, np.sin(b)], [0, 1, 0], [-np.sin(b), 0, np.cos(b)]])
    about_z = np.array([[np.cos(c), -np.sin(c), 0], [np.sin(c), np.cos(c), 0], [0, 0, 1]])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = about_x @ about_y @ about_z, place
    return CameraArrays(matrix, fov_x, WIDTH, HEIGHT)


def view_of(camera: CameraArrays) -> View:
    mask = np.zeros((HEIGHT, WIDTH), np.float32)
    mask[10:50, 8:30] = 1
    pixels = np.full((HEIGHT, WIDTH, 3), 128, np.uint8)
    pixels[::2, ::3] = 40
    return View("view", pixels, mask, None, camera, None)


cameras = st.builds(camera_at, places, turns, lenses)


@given(cameras)
@settings(deadline=None, max_examples=60)
def test_what_is_not_ahead_is_in_no_picture(camera):
    where, depth = project(camera, np.concatenate([CUBE, camera.matrix[None, :3, 3]]))
    assert np.isfinite(where).all()
    assert np.abs(where).max() <= FARTHEST
    behind = where[depth <= 0]
    assert (behind < 0).all()
    row, column, seen, _ = pixels_at(camera, CUBE, (HEIGHT, WIDTH))
    assert ((row[seen] >= 0) & (row[seen] < HEIGHT)).all()
    assert ((column[seen] >= 0) & (column[seen] < WIDTH)).all()
    assert (depth[: len(CUBE)][seen] > 0).all()


@given(cameras, st.floats(1e-4, 10))
@settings(deadline=None, max_examples=60)
def test_a_cell_is_never_drawn_without_bound(camera, length):
    _, depth = project(camera, CUBE)
    assert 0 <= pixels_across(length, camera, depth, WIDTH) <= WIDEST_DISC


def test_a_length_is_as_wide_as_the_lens_shows_it():
    camera = camera_at((0, 0, -10), (0, 0, 0), 2 * np.arctan(0.5))
    depth = np.array([9.0, 10.0, 11.0, -500.0, -700.0, -900.0, 0.0], np.float32)
    assert pixels_across(5.0, camera, depth, WIDTH) == round(5.0 / 10.0 * WIDTH)
    assert pixels_across(5.0, camera, -np.abs(depth), WIDTH) == 0


@given(st.lists(cameras, min_size=2, max_size=4))
@settings(deadline=None, max_examples=25)
def test_every_question_to_views_stands_cameras_among_the_points(found):
    views = [view_of(camera) for camera in found]
    half = np.ones(3)
    grid = Grid.over(half, 12)
    assert 0 <= lost_share(views, CUBE, 0.1) <= 1
    assert doubted_share(views, half, lambda _: None) > 0
    assert not np.isnan(hull(views, grid, lambda _: None)).any()
    for view in views:
        assert np.isfinite(silhouette(view, CUBE, 0.1, (HEIGHT, WIDTH))).all()
    assert _inside_masks(views, np.zeros(3), half, np.eye(3), 0.2).shape == (COARSE,) * 3
    focus = find_focus(views, CUBE.astype(np.float64))
    assert np.isfinite(focus.centre).all()
    level = level_of_ground(views, half)
    assert level is None or np.isfinite(level)
    overlaps = _overlaps(views)
    assert overlaps is None or np.isfinite(overlaps).all()
    depth = np.full((HEIGHT, WIDTH), 0.5, np.float32)
    evidence = integrate([DepthMap(depth, camera) for camera in found], grid, lambda _: None)
    assert np.isfinite(evidence.distance).all()


def test_half_of_the_hull_behind_the_camera():
    """The median depth of all cells was below zero, and a disc of terabytes was asked for."""
    views = [view_of(camera_at((0, 0, 0.05), (0, 0, 0), 0.75))]
    assert 0 <= lost_share(views, CUBE, 2 / 12) <= 1


@pytest.mark.parametrize("place", [(0, 0, 0), (0, 0, 0.9999), (0.3, -0.9, 0.2)])
def test_faces_around_a_camera_are_seen_where_they_are_ahead(place):
    corners = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]], np.float32)
    positions = np.concatenate([corners, corners * [1, 1, -1]]).astype(np.float32)
    faces = np.array([[0, 1, 2, 3], [7, 6, 5, 4]], np.int32)  # both turned to the middle
    camera = camera_at(place, (0, 0, 0), 1.0)
    view = View("view", np.zeros((HEIGHT, WIDTH, 3), np.uint8), None, None, camera, None)
    pixels = look(positions, faces, [view], lambda _: None).pixels
    assert np.isfinite(pixels).all()
    assert pixels[0, 1] == 0  # behind the camera
