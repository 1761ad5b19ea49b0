"""Gaps in depth maps that their surroundings close."""

from __future__ import annotations

import numpy as np
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.views.depth.filling import filled
from image_to_mesh.inference.views.depth.stereo import DepthMap

WIDTH, HEIGHT = 80, 60
CAMERA = CameraArrays(np.eye(4), 1.0, WIDTH, HEIGHT)
ANYWHERE = np.ones((HEIGHT, WIDTH), bool)


def silent(*_arguments: object) -> None:
    pass


def slanted() -> np.ndarray:
    """Depth of a plane that leans back to the right: one over depth is linear."""
    column, row = np.meshgrid(np.arange(WIDTH), np.arange(HEIGHT))
    return (1 / (0.6 - 0.003 * column + 0.001 * row)).astype(np.float32)


def with_hole(depth: np.ndarray) -> np.ndarray:
    holed = depth.copy()
    holed[22:34, 30:46] = 0
    return holed


def guess_of(depth: np.ndarray, others: tuple[DepthMap, ...] = ()) -> np.ndarray:
    maps = [DepthMap(depth, CAMERA), *others]
    partners = [list(range(1, len(maps))), *([[]] * len(others))]
    return filled(maps, [ANYWHERE] * len(maps), partners, silent)[0].depth


def test_a_gap_in_a_plane_is_closed_by_the_plane():
    true = slanted()
    guess = guess_of(with_hole(true))
    hole = np.zeros(true.shape, bool)
    hole[22:34, 30:46] = True
    assert (guess[hole] > 0).all()
    np.testing.assert_allclose(guess[hole], true[hole], rtol=0.01)
    assert (guess[~hole] == 0).all()  # what was measured is no guess


def test_a_gap_between_near_and_far_stays_open():
    depth = np.full((HEIGHT, WIDTH), 4.0, np.float32)
    depth[:, :40] = 2.0
    depth[:, 36:44] = 0
    assert (guess_of(depth) == 0).all()


def test_what_lies_beyond_the_measured_is_not_guessed():
    depth = np.zeros((HEIGHT, WIDTH), np.float32)
    depth[:, :30] = slanted()[:, :30]
    assert (guess_of(depth) == 0).all()
    only = guess_of(with_hole(slanted()))
    masked = filled([DepthMap(with_hole(slanted()), CAMERA)], [only == 0], [[]], silent)[0]
    assert (masked.depth == 0).all()


def test_a_guess_that_another_view_sees_through_is_taken_back():
    behind = DepthMap(np.full((HEIGHT, WIDTH), 6.0, np.float32), CAMERA)
    before = DepthMap(np.full((HEIGHT, WIDTH), 1.0, np.float32), CAMERA)
    holed = with_hole(slanted())
    assert (guess_of(holed, (behind,)) == 0).all()
    assert (guess_of(holed, (before,)) > 0).any()
