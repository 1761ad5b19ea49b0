"""What stands before the ground, told by how the ground looks from elsewhere."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.views.contracts import View
from image_to_mesh.inference.views.outlines import subject
from image_to_mesh.inference.views.placement import ground
from image_to_mesh.inference.views.placement.ground import before_ground
from image_to_mesh.inference.views.placement.level import level_of_ground
from image_to_mesh.inference.views.surface import agreement
from image_to_mesh.inference.views.surface.fusion import Grid, hull


def silent(*_arguments: object) -> None:
    pass


@pytest.fixture(scope="module")
def shots() -> list[synthetic.Shot]:
    return synthetic.orbit(12, 96, (35.0, 50.0))


@pytest.fixture(scope="module")
def views(shots) -> list[View]:
    return [
        View(str(i), s.pixels, None, None, CameraArrays(s.matrix, s.fov_x, 96, 96), None)
        for i, s in enumerate(shots)
    ]


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures of 96 pixels need no finer ground."""
    monkeypatch.setattr(ground, "CELLS", 128)


def test_the_subject_differs_from_the_ground_and_the_ground_from_nothing(shots, views):
    found = before_ground(views, synthetic.HALF, 1.5, silent)
    assert found is not None
    for shot, before in zip(shots, found, strict=True):
        assert before is not None
        known = ~np.isnan(before)
        inside, outside = shot.mask > 250, shot.mask < 5
        assert known[outside].mean() > 0.3
        assert (before[inside & known] > 0.5).mean() > 0.85
        assert (before[outside & known] > 0.5).mean() < 0.05


def test_exposure_is_no_difference(shots, views):
    brighter = [
        replace(v, pixels=np.clip(v.pixels * (0.75 + 0.04 * i), 0, 255).astype(np.uint8))
        for i, v in enumerate(views)
    ]
    found = before_ground(brighter, synthetic.HALF, 1.5, silent)
    assert found is not None
    for shot, before in zip(shots, found, strict=True):
        assert before is not None
        assert (before[(shot.mask < 5) & ~np.isnan(before)] > 0.5).mean() < 0.08


def test_a_wrong_plane_or_level_cameras_say_nothing(views):
    wrong = before_ground(views, synthetic.HALF + 1.5, 1.5, silent)
    shares = [np.isnan(b).mean() for b in wrong or [] if b is not None]
    right = before_ground(views, synthetic.HALF, 1.5, silent)
    assert right is not None
    assert np.mean(shares or [1.0]) > np.mean([np.isnan(b).mean() for b in right if b is not None])
    assert before_ground(views, -3.0, 1.5, silent) is None  # all cameras are below it
    assert before_ground(views[:4], synthetic.HALF, 1.5, silent) is None

    def cancel(share: float) -> None:
        if share > 0.5:
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        before_ground(views, synthetic.HALF, 1.5, cancel)


def test_the_ground_overrules_a_network_that_is_not_sure(shots, views):
    """The network takes the cube's surroundings along, as it does what is seen between legs."""
    box = np.full(3, 0.9)

    def blurry(crop: np.ndarray) -> np.ndarray:
        return np.full(crop.shape[:2], 0.7, np.float32)

    found = before_ground(views, synthetic.HALF, 1.5, silent)
    assert found is not None
    opinion = subject._opinion(views[0], np.zeros(3), box, blurry, found[0])
    chance = cv2.resize(opinion.whole(views[0]), (96, 96), interpolation=cv2.INTER_AREA)
    before, mask = found[0], shots[0].mask
    assert before is not None
    shown = chance > 0  # the square that the network saw
    assert (chance[(mask < 5) & shown & (before < 0.2)] > 0.5).mean() < 0.1
    assert chance[(mask > 250) & shown & (before > 0.8)].mean() > 0.9
    assert np.abs(chance[shown & np.isnan(before)] - 0.7).max() < 0.3  # stays as it was


def test_outlines_are_doubted_only_where_they_contradict_each_other(shots, views):
    masked = [
        replace(v, mask=s.mask.astype(np.float32) / 255) for v, s in zip(views, shots, strict=True)
    ]
    half = np.full(3, 0.7, np.float32)
    assert agreement.doubted_share(masked, half, silent) == agreement.DOUBTS[0]
    wrong = list(masked)
    cut = masked[3].mask
    assert cut is not None
    cut = cut.copy()
    cut[:, :48] = 0  # half of the cube is lost in one picture, and would be everywhere
    wrong[3] = replace(masked[3], mask=cut)
    doubt = agreement.doubted_share(wrong, half, silent)
    assert doubt > agreement.DOUBTS[0]
    grid = Grid.over(half, 24)
    kept, carved = (
        (hull(wrong, grid, silent, share) < 0).sum() for share in (doubt, agreement.DOUBTS[0])
    )
    true = (np.abs(grid.points(0, grid.size)) < synthetic.HALF).all(axis=1).sum()
    assert carved < 0.9 * true
    assert kept > 0.95 * true


@pytest.fixture(scope="module")
def masked(shots, views) -> list[View]:
    return [
        replace(view, mask=shot.mask.astype(np.float32) / 255)
        for shot, view in zip(shots, views, strict=True)
    ]


def test_the_level_that_the_pictures_agree_on_is_the_grounds(masked):
    half = np.full(3, 1.2 * synthetic.HALF)
    level = level_of_ground(masked, half)
    assert level == pytest.approx(synthetic.HALF, abs=0.02)


def test_no_level_is_told_where_no_ground_is_shown(masked):
    half = np.full(3, 1.2 * synthetic.HALF)
    random = np.random.default_rng(0)
    for noise in (0, 40):
        bare = [
            replace(v, pixels=(128 + noise * random.normal(size=v.pixels.shape)).astype(np.uint8))
            for v in masked
        ]
        assert level_of_ground(bare, half) is None
    assert level_of_ground(masked[:5], half) is None
    unmasked = [replace(v, mask=None) for v in masked]
    assert level_of_ground(unmasked, half) is None


def test_pictures_taken_before_the_subject_was_moved_are_found(shots, views):
    grid = Grid.over(np.full(3, synthetic.HALF), 24)
    points = grid.points(0, grid.size)
    found = before_ground(views, synthetic.HALF, 1.5, silent)
    assert found is not None
    assert subject.away_from(views, found, points, grid.spacing) == set()

    def with_moved(numbers: tuple[int, ...]) -> set[int]:
        mixed = list(views)
        for number in numbers:
            right = 1.2 * shots[number].matrix[:3, 0]
            moved = synthetic.shoot(shots[number].matrix, aside=(right[0], right[2]))
            mixed[number] = replace(views[number], pixels=moved.pixels)
        looks = before_ground(mixed, synthetic.HALF, 1.5, silent)
        assert looks is not None
        return subject.away_from(mixed, looks, points, grid.spacing)

    assert with_moved((2, 9)) == {2, 9}
    assert with_moved((1, 3, 5, 7, 9, 11)) == set()  # who is right?
