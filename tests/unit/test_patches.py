"""Holes filled with pieces of what lies beside them."""

import numpy as np
from image_to_mesh.inference.texture.patches import filled_from


def stripes(height=120, width=160):
    column = np.arange(width) // 8 % 2
    picture = np.where(column[None, :, None] > 0, [200, 120, 40], [40, 60, 90])
    return np.broadcast_to(picture, (height, width, 3)).astype(np.uint8)


def test_a_pattern_goes_on_through_the_hole_and_nothing_else_changes():
    picture = stripes()
    hole = np.zeros(picture.shape[:2], bool)
    hole[40:80, 60:100] = True
    torn = picture.copy()
    torn[hole] = 255
    filled = filled_from(torn, hole, ~hole)
    assert (filled[~hole] == torn[~hole]).all()
    error = np.abs(filled[hole].astype(int) - picture[hole]).mean()
    flat = np.abs(picture[hole].astype(int) - picture.reshape(-1, 3).mean(0)).mean()
    assert error < 0.35 * flat


def test_only_the_source_is_used():
    picture = stripes()
    picture[:, :60] = [255, 0, 0]  # a foreground beside the hole
    hole = np.zeros(picture.shape[:2], bool)
    hole[:, 40:60] = True
    source = np.zeros_like(hole)
    source[:, 60:] = True
    filled = filled_from(picture, hole, source)
    assert filled[hole][:, 0].max() <= 205
    assert (filled[:, :40] == picture[:, :40]).all()


def test_the_same_seed_paints_the_same_and_tiny_pictures_work():
    picture = np.random.default_rng(0).integers(0, 255, (50, 40, 3)).astype(np.uint8)
    hole = np.zeros((50, 40), bool)
    hole[10:30, 10:30] = True
    first, second = (filled_from(picture, hole, ~hole, seed=3) for _ in range(2))
    assert (first == second).all()
    for size in ((1, 1), (2, 3), (5, 1)):
        one = np.zeros(size, bool)
        one[0, 0] = True
        tiny = np.full((*size, 3), 9, np.uint8)
        assert filled_from(tiny, one, ~one).shape == (*size, 3)
