"""Pictures in which the subject stands elsewhere are found by their outlines, and left out."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.views.contracts import Solved, SparsePoints, View, ViewsRequest
from image_to_mesh.inference.views.outlines import subject
from image_to_mesh.inference.views.outlines.moved import moved
from image_to_mesh.inference.views.placement.region import Setting, find_setting


def views_of(shots) -> list[View]:
    return [
        View(
            f"{index}.png",
            shot.pixels,
            shot.mask.astype(np.float32) / 255,
            None,
            CameraArrays(shot.matrix, shot.fov_x, *shot.mask.shape[::-1]),
            None,
        )
        for index, shot in enumerate(shots)
    ]


def setting_of(views) -> Setting:
    nothing = SparsePoints.empty()
    solved = Solved({}, nothing, {}, np.array([0.0, -1.0, 0.0]), False, "transforms.json")
    return find_setting(views, solved, "object", 0)


@pytest.fixture(scope="module")
def orbit() -> list[View]:
    return views_of(synthetic.orbit(12, 96, (15.0, 40.0), floor=False))


def elsewhere(view: View, shift: int) -> View:
    assert view.mask is not None
    return replace(view, mask=np.roll(view.mask, shift, axis=1))


def test_a_subject_that_stays_where_it_is_is_never_left_out(orbit):
    assert moved(orbit, setting_of(orbit)) == []
    assert moved(orbit[:4], setting_of(orbit[:4])) == []


def test_pictures_with_the_subject_elsewhere_or_a_wrong_mask_are_found(orbit):
    views = list(orbit)
    views[3] = elsewhere(views[3], 30)
    views[8] = replace(views[8], mask=1 - views[8].mask)
    assert moved(views, setting_of(views)) == [3, 8]


def test_where_most_contradict_each_other_nobody_is_left_out(orbit):
    views = [elsewhere(view, 40 if number % 2 else 0) for number, view in enumerate(orbit)]
    assert moved(views, setting_of(views)) == []


def test_the_artist_is_told_and_the_rest_is_kept(orbit):
    views = list(orbit)
    views[5] = elsewhere(views[5], -32)
    setting = setting_of(views)
    steps = engine._Steps(lambda share, words: None)
    cut = engine.cut_out_subject(ViewsRequest(kind="object"), views, setting, steps)
    assert [view.name for view in cut.views] == [v.name for v in views if v.name != "5.png"]
    assert "another place or shape" in cut.statuses["5.png"].sentence
    assert not cut.statuses["5.png"].is_used


def test_bare_ground_in_place_of_the_subject_is_told(orbit, monkeypatch):
    unmasked = [replace(view, mask=None) for view in orbit]
    found = [replace(orbit[0], mask=None), replace(orbit[1], mask=np.zeros((96, 96), np.float32))]
    monkeypatch.setattr(subject, "with_masks", lambda *_: [*found, *orbit[2:]])
    steps = engine._Steps(lambda share, words: None)
    request = ViewsRequest(kind="object")
    cut = engine.cut_out_subject(request, unmasked, setting_of(unmasked), steps)
    assert [view.name for view in cut.views] == [view.name for view in orbit[2:]]
    assert "bare ground" in cut.statuses["0.png"].sentence
    assert "does not show the subject" in cut.statuses["1.png"].sentence
    assert len(cut.statuses) == 2
