"""Cameras where matching points fails: a network that sees all pictures at once."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays, ModelChoices
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.networks.run import Networks, SceneDepth, SeveralViews
from image_to_mesh.inference.views import told
from image_to_mesh.inference.views.cameras import posefree
from image_to_mesh.inference.views.cameras import source as cameras
from image_to_mesh.inference.views.contracts import (
    Lens,
    Photo,
    PictureStatus,
    Pose,
    Solved,
    SparsePoints,
    View,
    ViewsRequest,
)
from image_to_mesh.inference.views.cut import Cutter
from image_to_mesh.inference.views.photos.gather import Gathered
from image_to_mesh.inference.views.placement.metres import metres_per_unit
from image_to_mesh.inference.views.surface.shape import Shape


def silent(*_arguments: object) -> None:
    pass


@pytest.fixture(scope="module")
def shots() -> list[synthetic.Shot]:
    return synthetic.orbit(6, 64)


@pytest.fixture
def photos(shots) -> list[Photo]:
    return [Photo(f"{i}.png", s.pixels, None, None, None, "g") for i, s in enumerate(shots)]


@pytest.fixture
def network(monkeypatch, shots):
    """An installed network that knows the truth, in maps of half the pictures' size."""
    focal = 32 / np.tan(shots[0].fov_x / 2)
    inner = np.array([[focal, 0, 32], [0, focal, 32], [0, 0, 1]])
    seen = []

    def several_views(self, pictures):
        seen.append(len(pictures))
        depth = np.stack([shot.depth[::2, ::2] for shot in shots]).astype(np.float32)
        return SeveralViews(
            depth,
            np.where(depth > 0, 9, 1).astype(np.float32),
            np.stack([shot.matrix for shot in shots]),
            np.stack([inner] * len(shots)),
            np.tile([2.0, 2.0, 0.0, 0.0], (len(shots), 1)),
            "da3 (test)",
        )

    monkeypatch.setattr(Networks, "several_views", several_views)
    return seen


def no_match(monkeypatch) -> None:
    def fail(*_arguments, **_options):
        raise PictureError("No two pictures overlap enough.")

    monkeypatch.setattr(cameras, "estimate_cameras", fail)


def gathered(photos: list[Photo]) -> Gathered:
    return Gathered(tuple(photos), {}, None, ())


def test_a_network_places_the_cameras_where_matching_fails(monkeypatch, network, photos, shots):
    no_match(monkeypatch)
    solved = cameras.solve_cameras(ViewsRequest(cameras="estimate"), gathered(photos), silent)
    assert solved.origin == "da3 (test)"
    for photo, shot in zip(photos, shots, strict=True):
        np.testing.assert_allclose(solved.poses[photo.name].matrix, shot.matrix)
    # Points lie on the cube; half a pixel of a coarse map is the tolerance.
    off = np.abs(solved.points.positions).max(axis=1) - synthetic.HALF
    assert len(off) > 500
    assert np.quantile(np.abs(off), 0.9) < 0.06


def test_without_a_network_the_failure_is_told(monkeypatch, photos):
    no_match(monkeypatch)
    with pytest.raises(PictureError, match="overlap"):
        cameras.solve_cameras(ViewsRequest(cameras="estimate"), gathered(photos), silent)


def test_built_in_means_that_no_network_is_asked(monkeypatch, network, photos):
    no_match(monkeypatch)
    request = ViewsRequest(cameras="estimate", models=ModelChoices(views="bundled"))
    with pytest.raises(PictureError, match="overlap"):
        cameras.solve_cameras(request, gathered(photos), silent)
    assert not network


def test_more_pictures_than_the_network_takes_are_spread_evenly(monkeypatch, network, photos):
    monkeypatch.setattr(posefree, "MOST", 6)
    many = [Photo(f"{i}", photos[0].pixels, None, None, None, "g") for i in range(11)]
    solved = posefree.network_cameras(many, Networks(None, None), 0, silent)  # type: ignore[arg-type]
    assert solved is not None
    assert list(solved.poses) == ["0", "2", "4", "6", "8", "10"]
    assert "passed over" in solved.reasons["1"]


def test_metric_depth_gives_the_size(monkeypatch, shots):
    views = [
        View(f"{i}", s.pixels, None, None, CameraArrays(s.matrix, s.fov_x, 64, 64), None)
        for i, s in enumerate(shots)
    ]
    random = np.random.default_rng(0)
    cube = random.uniform(-synthetic.HALF, synthetic.HALF, (3000, 3))
    cube[:, 1] = -synthetic.HALF  # its top, which all cameras see
    calls = iter(range(100))

    def told(factor: float, is_metric: bool):
        def scene_depth(self, rgb, fov_x):
            depth = shots[next(calls) % len(shots)].depth
            return SceneDepth((factor * depth).astype(np.float32), fov_x, is_metric)

        return scene_depth

    networks = Networks(None, None)  # type: ignore[arg-type]
    monkeypatch.setattr(Networks, "scene_depth", told(2.5, True))
    assert metres_per_unit(views, cube, networks, silent) == pytest.approx(2.5, rel=0.03)
    monkeypatch.setattr(Networks, "scene_depth", told(2.5, False))
    assert metres_per_unit(views, cube, networks, silent) is None
    monkeypatch.setattr(Networks, "scene_depth", lambda *_: None)
    assert metres_per_unit(views, cube, networks, silent) is None


def test_copies_of_one_picture_are_told_as_such(tmp_path, shots):
    for index in range(4):
        cv2.imwrite(str(tmp_path / f"{index}.png"), shots[0].pixels)
    with pytest.raises(PictureError, match=r"Only 1 of 4 pictures .* shows the same as"):
        engine.run(ViewsRequest(inputs=(tmp_path,)), silent)


def test_a_subject_that_was_turned_is_cut_out_before_a_second_try(monkeypatch, photos, shots):
    """The background holds still, so that the first try finds all cameras in one place."""
    cloud = np.random.default_rng(0).uniform(-1, 1, (60, 3)).astype(np.float32)
    points = SparsePoints(cloud, np.zeros((60, 3), np.uint8))
    lens = Lens(64, 64, 80, 80, 32, 32)
    asked = []

    def estimate(photos, seed, report, *, use_masks=False, is_thorough=False):
        asked.append((use_masks, sum(photo.mask is not None for photo in photos)))
        matrices = [shot.matrix if use_masks else shots[0].matrix for shot in shots]
        poses = {p.name: Pose(lens, m) for p, m in zip(photos, matrices, strict=True)}
        return Solved(poses, points, {}, None, False, "test")

    monkeypatch.setattr(cameras, "estimate_cameras", estimate)
    monkeypatch.setattr(Cutter, "alone", lambda self, rgb: np.ones(rgb.shape[:2], np.float32))
    solved = cameras.solve_cameras(ViewsRequest(cameras="estimate"), gathered(photos), silent)
    assert asked == [(False, 0), (True, 6)]
    for photo, shot in zip(photos, shots, strict=True):
        np.testing.assert_array_equal(solved.poses[photo.name].matrix, shot.matrix)


@pytest.mark.parametrize(
    ("files", "name"),
    [
        (("cup/images/a.jpg", "cup/images/b.jpg"), "cup"),
        (("cup/a.jpg", "cup/b.jpg"), "cup"),
        (("clips/walk.mp4",), "walk"),
        (("a.jpg", "b.jpg"), "Views"),
    ],
)
def test_a_result_is_called_after_the_folder_that_says_something(files, name):
    assert told.name_of(ViewsRequest(inputs=tuple(map(Path, files)))) == name


@pytest.mark.parametrize(("used", "is_told"), [(4, False), (2, False), (1, True)])
def test_sets_that_do_not_hang_together_are_told(used, is_told):
    statuses = [
        PictureStatus(f"{i}.png", i < used, "" if i < used else f"{i}.png does not overlap.")
        for i in range(4)
    ]
    reasons = {status.name: status.sentence for status in statuses if not status.is_used}
    solved = Solved({}, SparsePoints.empty(), reasons, None, False, "pycolmap")
    empty = np.empty((0, 3), np.float32)
    notes = told.notes_on(statuses, solved, Shape(empty, empty.astype(np.int32), 1.0))
    assert notes[0] == f"{used} of 4 pictures used."
    assert any("did not fit together" in note for note in notes) == is_told
    assert sum("does not overlap" in note for note in notes) == 4 - used
