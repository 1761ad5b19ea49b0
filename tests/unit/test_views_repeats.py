"""Things that repeat: pairs of pictures that fit, and are wrong, are found out by the others."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.views.cameras import estimate, repeats
from image_to_mesh.inference.views.cameras.colmap_files import ColmapModel
from image_to_mesh.inference.views.contracts import (
    PictureStatus,
    Solved,
    SparsePoints,
)
from image_to_mesh.inference.views.told import statuses_after


def turn_about_y(degrees: float) -> np.ndarray:
    return cv2.Rodrigues(np.array([0.0, np.radians(degrees), 0.0]))[0]


@pytest.fixture
def walk():
    """Twelve pictures around something, 15 degrees apart, and a patch that repeats after 90.

    Pictures fit their three neighbours on either side. Besides, the last five fit the first five
    by the patch, which is more pairs than there are true ones from the first five to the rest.
    """
    random = np.random.default_rng(0)
    pairs, turns, weights, is_true = [], [], [], []
    for a in range(12):
        for b in range(a + 1, 12):
            if b - a <= 3:
                off, weight = random.normal(0, 1.0), 3000 / (b - a)
            elif a < 5 and b >= 7:
                off, weight = -90 + random.normal(0, 1.0), 900
            else:
                continue
            pairs.append((a, b))
            turns.append(turn_about_y(15 * (b - a) + off))
            weights.append(weight)
            is_true.append(b - a <= 3)
    return np.array(pairs), np.array(turns), np.array(weights), np.array(is_true)


def test_pairs_that_fit_by_a_repeated_patch_are_told_from_the_rest(walk):
    pairs, turns, weights, is_true = walk
    assert (~is_true).sum() == 24
    found = repeats.agreed_turns(pairs, turns, weights)
    off = repeats.degrees_off(pairs, turns, found)
    assert off[is_true].max() < 5
    assert off[~is_true].min() > 80
    np.testing.assert_array_equal(off >= repeats.CONTRADICTS, ~is_true)


def test_a_guessed_focal_length_is_no_contradiction(walk):
    pairs, turns, weights, is_true = walk
    stretched = np.stack([cv2.Rodrigues(1.2 * cv2.Rodrigues(turn)[0])[0] for turn in turns])
    found = repeats.agreed_turns(pairs[is_true], stretched[is_true], weights[is_true])
    off = repeats.degrees_off(pairs[is_true], stretched[is_true], found)
    assert off.max() < repeats.CONTRADICTS


def test_matches_all_over_the_picture_count_more_than_a_patch():
    random = np.random.default_rng(0)
    everywhere = random.uniform(0, 600, (100, 2))
    patch = random.uniform(0, 100, (150, 2))
    sizes = (600.0, 600.0)
    assert repeats.strength(everywhere, everywhere, sizes) > 5 * repeats.strength(
        everywhere[:100], patch[:100], sizes
    )
    assert repeats.strength(patch, patch, sizes) < repeats.strength(everywhere, everywhere, sizes)


def test_cameras_of_two_worlds_are_laid_upon_each_other():
    first = np.stack([turn_about_y(15.0 * number) for number in range(12)])
    other_world = cv2.Rodrigues(np.array([0.3, -1.2, 0.5]))[0]
    second = first @ other_world
    second[7] = turn_about_y(90) @ second[7]
    apart = repeats.degrees_apart(first, second)
    assert apart[7] == pytest.approx(90, abs=1e-3)
    assert np.delete(apart, 7).max() < 1e-3


@pytest.mark.parametrize(
    ("repeated", "turned", "is_told"),
    # As measured with a floor of equal tiles: all cameras right, some wrong, some far off.
    [(0.188, 0, False), (0.34, 0, True), (0.204, 3, True), (0.027, 2, False)],
)
def test_things_that_repeat_are_told_where_cameras_may_be_wrong(repeated, turned, is_told):
    model = ColmapModel({}, {}, SparsePoints.empty(), np.empty(0), {})
    result = {"others": [], "doubts": {}, "error_px": 0.5, "repeated": repeated, "turned": turned}
    result["mirrors"] = []
    solved = estimate._solved([], [], result, model)
    assert any("repeat" in note for note in solved.notes) == is_told


def test_a_camera_that_also_fits_elsewhere_is_told():
    solved = Solved(
        {"a.png": None, "b.png": None},  # type: ignore[dict-item]
        SparsePoints.empty(),
        {},
        None,
        False,
        "pycolmap",
        doubts={"b.png": "b.png also fits elsewhere: its camera may be wrong."},
    )
    read = {name: PictureStatus(name, True) for name in ("a.png", "b.png")}
    first, second = statuses_after(read, solved)
    assert (first.is_used, first.sentence) == (True, "")
    assert second.is_used
    assert "may be wrong" in second.sentence
