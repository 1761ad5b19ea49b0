"""What several pictures look at, and how it is cut out of all of them at once."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.views.contracts import Solved, SparsePoints, View
from image_to_mesh.inference.views.outlines import subject
from image_to_mesh.inference.views.placement import region
from image_to_mesh.inference.views.placement.focus import find_focus, ground_under


def silent(*_arguments: object) -> None:
    pass


def as_view(shot: synthetic.Shot, name: str) -> View:
    height, width = shot.mask.shape
    camera = CameraArrays(shot.matrix, shot.fov_x, width, height)
    return View(name, shot.pixels, None, None, camera, None)


def solved_with(points: np.ndarray) -> Solved:
    cloud = SparsePoints(points.astype(np.float32), np.zeros((len(points), 3), np.uint8))
    return Solved({}, cloud, {}, None, False, "test")


def floor_points(random: np.random.Generator, height: float, half: float, count: int) -> np.ndarray:
    across = random.uniform(-half, half, (count, 2))
    return np.stack([across[:, 0], np.full(count, height), across[:, 1]], axis=1)


@pytest.fixture(scope="module")
def shots() -> list[synthetic.Shot]:
    return synthetic.orbit(12, 96, (18.0, 40.0))


@pytest.fixture(scope="module")
def views(shots) -> list[View]:
    return [as_view(shot, f"{i}") for i, shot in enumerate(shots)]


def test_the_focus_is_where_most_cameras_look(views):
    astray = synthetic.camera_at(60, 20, 3.0)
    astray[:3, :3] = astray[:3, :3] @ np.array([[0.0, 0, 1], [0, 1, 0], [-1, 0, 0]])
    other = replace(views[0], camera=replace(views[0].camera, matrix=astray))
    focus = find_focus([*views, other], np.zeros((0, 3)))
    assert np.linalg.norm(focus.centre) < 0.05
    assert focus.distance == pytest.approx(3.0, abs=0.1)
    assert focus.is_thing


def test_cameras_that_look_across_a_room_see_a_place(views):
    random = np.random.default_rng(0)
    walls = random.normal(size=(3000, 3))
    walls *= 9 / np.linalg.norm(walls, axis=1, keepdims=True)  # far beyond the cameras
    assert not find_focus(views, walls).is_thing
    near = np.concatenate([walls, random.uniform(-0.5, 0.5, (1500, 3))])
    assert find_focus(views, near).is_thing


def test_the_ground_is_the_table_and_not_the_floor_below(views):
    random = np.random.default_rng(1)
    table = floor_points(random, 0.5, 1.0, 800)
    floor = floor_points(random, 3.0, 6.0, 4000)  # more points, further down
    points = np.concatenate([table, floor, random.uniform(-0.5, 0.5, (200, 3))])
    found = ground_under(find_focus(views, points), points, np.array([0.0, -1.0, 0.0]), 0)
    assert found is not None
    assert found[0][1] == pytest.approx(-1, abs=0.01)
    assert found[1] == pytest.approx(-0.5, abs=0.03)


def painted(shots: list[synthetic.Shot], wrong: dict[int, np.ndarray]) -> list[View]:
    """Views whose redness is what a network says: the subject, except where it is wrong."""
    views = []
    for index, shot in enumerate(shots):
        chance = wrong.get(index, shot.mask)
        pixels = np.full((*chance.shape, 3), 90, np.uint8)
        pixels[..., 0] = chance
        views.append(replace(as_view(shot, f"{index}"), pixels=pixels))
    return views


def redness(crop: np.ndarray) -> np.ndarray:
    return crop[..., 0].astype(np.float32) / 255


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    first, second = mask > 0.5, truth > 127
    return float((first & second).sum() / (first | second).sum())


def test_views_overrule_what_a_network_gets_wrong_in_some(shots):
    with_table = shots[1].mask.copy()
    with_table[60:, 10:80] = 255  # takes the table along
    other_thing = np.zeros_like(shots[4].mask)
    other_thing[5:30, 5:30] = 255
    views = painted(shots, {1: with_table, 4: other_thing, 7: np.zeros_like(shots[7].mask)})
    setting = region.find_setting(views, solved_with(np.zeros((0, 3))), "auto", 0)
    masked = subject.with_masks(views, setting, redness, silent)
    assert masked is not None
    scores = [overlap(v.mask, s.mask) for v, s in zip(masked, shots, strict=True)]
    right = [score for index, score in enumerate(scores) if index not in (1, 4, 7)]
    assert min(right) > 0.85
    assert min(scores) > 0.6  # from the others alone, without an edge in the picture to follow


def test_masks_that_were_given_stay(shots):
    views = painted(shots, {})
    given = np.zeros((96, 96), np.float32)
    given[40:50] = 1
    views[2] = replace(views[2], mask=given)
    setting = region.find_setting(views, solved_with(np.zeros((0, 3))), "auto", 0)
    assert not setting.has_masks  # one is not enough
    masked = subject.with_masks(views, setting, redness, silent)
    assert masked is not None
    np.testing.assert_array_equal(masked[2].mask, given)


def test_the_nearest_thing_is_the_subject_and_its_neighbour_is_not(shots):
    """Another thing stands aside in the same place in space: it votes well, but not in the middle."""
    views = painted(shots, {})
    aside = np.array([1.15, 0.1, 0.9])
    for index, view in enumerate(views):
        there = view.camera.matrix[:3, :3].T @ (aside - view.camera.matrix[:3, 3])
        column, row = (there[:2] / there[2] * view.focal_px + 48).astype(int)
        if 8 <= column < 88 and 8 <= row < 88:
            view.pixels[row - 6 : row + 6, column - 6 : column + 6, 0] = 255
        del index
    setting = region.find_setting(views, solved_with(np.zeros((0, 3))), "auto", 0)
    masked = subject.with_masks(views, setting, redness, silent)
    assert masked is not None
    scores = [overlap(v.mask, s.mask) for v, s in zip(masked, shots, strict=True)]
    assert np.median(scores) > 0.85


def test_noise_is_no_subject(shots):
    random = np.random.default_rng(0)
    wrong = {i: (random.random((96, 96)) * 255).astype(np.uint8) for i in range(len(shots))}
    views = painted(shots, wrong)
    setting = region.find_setting(views, solved_with(np.zeros((0, 3))), "auto", 0)
    assert subject.with_masks(views, setting, redness, silent) is None


def test_sides_are_placed_by_name_step_and_height():
    from image_to_mesh.inference.views.cameras.turntable import turntable
    from image_to_mesh.inference.views.contracts import Photo

    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 24:40] = 1
    pixels = np.zeros((64, 64, 3), np.uint8)

    def placed(names: list[str], **options: float) -> list[np.ndarray]:
        photos = [Photo(name, pixels, mask, None, None, "g") for name in names]
        solved = turntable(photos, **options)
        return [solved.poses[name].matrix for name in names]

    front, corner, back = placed(["cup_front.png", "cup front-left.png", "cup_back.png"])
    assert front[2, 3] < 0  # in front of the thing, which faces the viewer
    assert abs(front[0, 3]) < 1e-9
    np.testing.assert_allclose(back[:3, 3], -front[:3, 3], atol=1e-9)
    distance = np.linalg.norm(front[:3, 3])
    np.testing.assert_allclose(np.abs(corner[[0, 2], 3]), distance / np.sqrt(2), rtol=1e-6)
    first, second = placed(["a.png", "b.png"], step=np.radians(30), elevation=np.radians(20))
    assert np.degrees(
        np.arccos(first[[0, 2], 2] @ second[[0, 2], 2] / np.cos(np.radians(20)) ** 2)
    ) == pytest.approx(30)
    assert first[1, 3] == pytest.approx(-distance * np.sin(np.radians(20)), rel=1e-6)
    for matrix in (first, second):
        np.testing.assert_allclose(matrix[:3, :3] @ matrix[:3, :3].T, np.eye(3), atol=1e-9)
        assert np.linalg.det(matrix[:3, :3]) == pytest.approx(1)


def test_the_box_of_a_flat_place_has_room_below_its_ground(views):
    random = np.random.default_rng(3)
    street = np.concatenate(
        [
            floor_points(random, 0.5, 10.0, 500),
            random.uniform([-10, 0, -10], [10, 0.5, 10], (500, 3)),
        ]
    )
    _, half = region._box_of_points(views, street, np.eye(3))
    cell = 2 * float(half.max()) / 96
    assert half[1] - 0.25 > 3 * cell
