"""Auto's choice between an object and a place."""

from types import SimpleNamespace

import numpy as np
import pytest
from image_to_mesh.inference import subject
from image_to_mesh.inference.contracts import PictureFile, Request
from image_to_mesh.inference.errors import CutOutError

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
