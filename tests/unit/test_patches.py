"""Holes filled with pieces of what lies beside them."""

import numpy as np
from image_to_mesh.inference.texture.patches import filled_from


def grainy(height=120, width=160):
    """Bricks of two near colours, brighter to the right."""
    rows, columns = np.indices((height, width))
    grain = np.where((rows // 2 + columns // 2) % 2, 18, -18)
    shade = 90 + columns * 0.5
    return np.stack([shade + grain, shade * 0.6 + grain, 40 + grain], axis=-1).astype(np.uint8)


def test_grain_and_shade_go_on_through_the_hole_and_nothing_else_changes():
    picture = grainy()
    hole = np.zeros(picture.shape[:2], bool)
    hole[40:80, 60:100] = True
    torn = picture.copy()
    torn[hole] = 255
    filled = filled_from(torn, hole, ~hole)
    assert (filled[~hole] == torn[~hole]).all()
    found, true = (image[40:80, 60:100].astype(float) for image in (filled, picture))
    assert np.abs(found[:, :8].mean((0, 1)) - true[:, :8].mean((0, 1))).max() < 6
    assert np.abs(found[:, -8:].mean((0, 1)) - true[:, -8:].mean((0, 1))).max() < 6
    assert found[..., 2].std() > 0.6 * true[..., 2].std()


def test_only_the_source_is_used():
    picture = grainy()
    picture[:, :60] = [255, 0, 0]  # a foreground beside the hole
    hole = np.zeros(picture.shape[:2], bool)
    hole[:, 40:60] = True
    source = np.zeros_like(hole)
    source[:, 60:] = True
    filled = filled_from(picture, hole, source)
    assert filled[hole][:, 0].max() < 190
    assert filled[hole][:, 1].min() > 30
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
