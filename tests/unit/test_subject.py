"""Auto's choice between an object and a place."""

from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.errors import CutOutError
from image_to_mesh.inference.networks.run import Networks
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.subject import find as subject

DATA = Path(__file__).parents[1] / "data" / "pictures"
ABOVE = subject.OBJECT_SCORE + 0.05
BETWEEN = (subject.OBJECT_SCORE + subject.CLEAR_SCORE) / 2
BELOW = subject.CLEAR_SCORE - 0.05


def disc(radius, softness):
    y, x = np.mgrid[-1:1:64j, -1:1:64j]
    edge = (radius - np.hypot(x, y)) / softness
    return (1 / (1 + np.exp(-edge))).astype(np.float32)


@pytest.mark.parametrize(
    ("score", "mask", "expected"),
    [
        (ABOVE, disc(0.5, 0.3), "object"),
        (BETWEEN, disc(0.5, 0.002), "object"),  # in doubt, but it stands out clearly
        (BETWEEN, disc(0.5, 0.3), "scene"),
        (BETWEEN, disc(0.1, 0.005), "scene"),
        (BELOW, disc(0.5, 0.005), "scene"),
        (0.9, np.zeros((64, 64), np.float32), "scene"),
    ],
)
def test_a_clear_subject_needs_a_lower_score(monkeypatch, tmp_path, score, mask, expected):
    found = SimpleNamespace(
        cut_out=SimpleNamespace(mask=mask, origin="network"),
        scene=SimpleNamespace(object_score=score),
    )
    monkeypatch.setattr(subject, "find_subject", lambda *_: found)
    request = Request(source=PictureFile(tmp_path / "any.png"))
    engine, given = subject.choose_engine(None, request, None, None)
    assert engine == expected
    assert given is found


@pytest.mark.parametrize("engine", ["auto", "object"])
@pytest.mark.parametrize("has_alpha", [False, True])
def test_where_nothing_stands_out_auto_makes_a_place(monkeypatch, tmp_path, engine, has_alpha):
    def nothing(*_):
        raise CutOutError("No subject was found in the picture.")

    monkeypatch.setattr(subject, "find_subject", nothing)
    request = Request(source=PictureFile(tmp_path / "any.png"), engine=engine)
    picture = SimpleNamespace(has_alpha=has_alpha)
    if engine == "auto" and not has_alpha:
        assert subject.choose_engine(picture, request, None, None) == ("scene", None)
    else:
        with pytest.raises(CutOutError):
            subject.choose_engine(picture, request, None, None)


def test_a_cupboard_before_the_same_wall_is_left_out(tmp_path):
    sprite = cv2.imread(str(DATA / "adventurer.png"), cv2.IMREAD_UNCHANGED)
    scale = 260 / max(sprite.shape)
    sprite = cv2.resize(sprite, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    height, width = sprite.shape[:2]
    room = np.full((400, 400, 3), (222, 226, 230), np.float32)
    wanted = np.zeros((400, 400), np.float32)
    part = np.s_[70 : 70 + height, 340 - width : 340]
    share = sprite[..., 3:] / 255
    room[part] = share * sprite[..., :3] + (1 - share) * room[part]
    wanted[part] = share[..., 0]
    room[250:, :90] = (40, 60, 92)
    cv2.imwrite(str(tmp_path / "room.png"), room)

    request = Request(PictureFile(tmp_path / "room.png"))
    networks = Networks(request, lambda _: lambda _: None)
    found = subject.find_subject(
        load_picture(request.source), request, networks, lambda _: lambda _: None
    )
    both = (found.cut_out.mask > 0.5) & (wanted > 0.5)
    either = (found.cut_out.mask > 0.5) | (wanted > 0.5)
    assert both.sum() > 0.85 * either.sum()


@pytest.mark.parametrize(("beside", "is_kept"), [(0.58, False), (0.8, True)])
def test_what_hangs_on_to_the_subject_needs_better_odds(beside, is_kept):
    """A box of the same colour touches the subject; how sure the network is of it decides."""
    side = 96
    rgb = np.full((side, side, 3), 200, np.uint8)
    chances = np.full((side, side), 0.01, np.float32)
    rgb[30:70, 20:50], chances[30:70, 20:50] = 60, 0.99
    rgb[30:60, 50:80], chances[30:60, 50:80] = 66, beside

    class Net:
        def estimate_scene(self, colours, report):
            return SimpleNamespace(mask=chances)

        def estimate_object(self, crop, mask, report):
            # What it sees closer is the same: find the square by its colours.
            grey = crop[..., 0] * 255
            near = np.select([grey < 63, grey < 130], [0.99, beside], 0.01)
            return SimpleNamespace(mask=near.astype(np.float32))

    found, _ = subject.bundled_mask(Net(), rgb, lambda _: None)
    assert found[35:65, 25:45].min() > 0.5
    assert (found[35:55, 56:76].mean() > 0.5) == is_kept


def test_a_subject_that_is_nowhere_sure_is_still_cut_out():
    side = 96
    rgb = np.full((side, side, 3), 200, np.uint8)
    rgb[30:70, 20:50] = 60
    chances = np.where(rgb[..., 0] < 100, 0.55, 0.01).astype(np.float32)

    class Net:
        def estimate_scene(self, colours, report):
            return SimpleNamespace(mask=chances)

        def estimate_object(self, crop, mask, report):
            return SimpleNamespace(mask=np.where(crop[..., 0] < 0.4, 0.55, 0.01).astype(np.float32))

    found, _ = subject.bundled_mask(Net(), rgb, lambda _: None)
    assert found[35:65, 25:45].min() > 0.5
    assert found[:20].max() < 0.5
