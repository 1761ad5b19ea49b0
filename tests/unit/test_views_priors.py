"""A network's depth, fitted to measured depth, fills what is bare."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
from image_to_mesh.inference.contracts import CameraArrays, ModelChoices
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.networks.scene_depth import SceneDepth
from image_to_mesh.inference.views import cut
from image_to_mesh.inference.views.contracts import View, ViewsRequest
from image_to_mesh.inference.views.depth import priors
from image_to_mesh.inference.views.depth.stereo import DepthMap

HEIGHT, WIDTH = 96, 128
CAMERA = CameraArrays(np.eye(4), 1.0, WIDTH, HEIGHT)
VIEW = View("a", np.zeros((HEIGHT, WIDTH, 3), np.uint8), None, None, CAMERA, None)
EVERYWHERE = np.ones((HEIGHT, WIDTH), bool)


def silent(_share: float) -> None:
    pass


@pytest.fixture
def corner() -> np.ndarray:
    """(h, w) depth of a floor and of two walls that meet."""
    v, u = np.mgrid[-0.4 : 0.4 : HEIGHT * 1j, -0.55 : 0.55 : WIDTH * 1j]
    floor = 1.5 / np.maximum(v, 1e-3)
    walls = np.minimum(4.0 / (1 + 0.9 * u), 5.0 / np.maximum(1 - 0.8 * u, 0.1))
    return np.minimum(floor, walls).astype(np.float32)


@pytest.fixture
def measured(corner) -> np.ndarray:
    """The same, but for the right wall, which is bare, and a third of all other pixels."""
    random = np.random.default_rng(0)
    depth = corner * random.normal(1, 0.004, corner.shape)
    depth[random.random(corner.shape) < 0.3] = 0
    depth[10:70, 70:120] = 0
    return depth.astype(np.float32)


def seen_by_network(depth: np.ndarray) -> np.ndarray:
    """In another unit, one over depth shifted, and bent over the picture."""
    v, u = np.mgrid[-1 : 1 : depth.shape[0] * 1j, -1 : 1 : depth.shape[1] * 1j]
    return (1 / (0.3 / depth + 0.05) * (1 + 0.05 * u - 0.04 * v * v)).astype(np.float32)


def test_a_network_tells_the_depth_of_a_bare_wall(corner, measured):
    guess = priors.fit(seen_by_network(corner), measured)
    assert guess is not None
    bare = np.zeros_like(EVERYWHERE)
    bare[10:70, 70:120] = True
    off = np.abs(guess[bare] / corner[bare] - 1)
    assert np.median(off) < 0.02
    assert np.percentile(off, 95) < 0.06


@pytest.mark.parametrize(
    "said",
    [
        np.random.default_rng(1).uniform(0.5, 4, (HEIGHT, WIDTH)),
        np.tile(np.linspace(1, 5, WIDTH), (HEIGHT, 1)),
        np.ones((HEIGHT, WIDTH)),
    ],
    ids=["noise", "a slope that is not there", "nothing"],
)
def test_what_contradicts_the_measured_depth_is_not_believed(corner, measured, said):
    assert priors.fit(said.astype(np.float32), measured) is None
    assert priors.fit(1 / seen_by_network(corner), measured) is None  # near taken for far


def test_little_measured_depth_makes_no_fit(corner, measured):
    few = np.where(np.arange(WIDTH) < 2, measured, 0).astype(np.float32)
    assert priors.fit(seen_by_network(corner), few) is None
    assert priors.fit(seen_by_network(corner), np.zeros_like(few)) is None


def guesses(prior, measured, filled=None, partner=None) -> np.ndarray:
    """Of the first of two views from one spot, the second of which measured ``partner`` or the same."""
    own = np.zeros_like(measured) if filled is None else filled
    maps = [DepthMap(measured, CAMERA), DepthMap(measured if partner is None else partner, CAMERA)]
    known = [DepthMap(own, CAMERA), DepthMap(np.zeros_like(own), CAMERA)]
    views = [VIEW, replace(VIEW, name="b")]
    allowed, partners = [EVERYWHERE] * 2, [[1], [0]]
    return priors.guessed(prior, views, maps, allowed, known, partners, silent)[0].depth


def test_only_what_is_unknown_is_guessed(corner, measured):
    filled = np.zeros_like(measured)
    filled[20:30, 80:90] = 3.0
    small = seen_by_network(corner)[::2, ::2]  # networks answer at a size of their own
    found = guesses(lambda view: small, measured, filled)
    assert (found[measured > 0] == 0).all()
    assert (found[20:30, 80:90] == 3.0).all()
    assert (found[40:60, 75:115] > 0).mean() > 0.9


def test_a_guess_gives_way_to_what_another_view_sees(corner, measured):
    through = np.full_like(measured, 50.0)  # sees far behind the guess
    assert (guesses(lambda view: seen_by_network(corner), measured, partner=through) == 0).all()


def test_a_guess_that_no_other_view_confirms_is_dropped(corner, measured):
    def prior(view: View) -> np.ndarray | None:
        wall = corner.copy()
        wall[10:70, 70:120] *= 1.0 if view.name == "a" else 1.2
        return seen_by_network(wall)

    assert (guesses(lambda view: seen_by_network(corner), measured)[40:60, 75:115] > 0).mean() > 0.9
    assert (guesses(prior, measured)[40:60, 75:115] > 0).mean() < 0.1
    # None but its own: the other view says nothing at all.
    alone = guesses(lambda view: prior(view) if view.name == "a" else None, measured)
    assert (alone == 0).all()


def test_a_picture_without_bare_parts_is_not_asked_about(corner):
    def prior(view: View) -> None:
        raise AssertionError("asked")

    assert (guesses(prior, corner) == 0).all()


def test_the_slopes_of_a_networks_edges_are_left_out():
    step = np.full((HEIGHT, WIDTH), 2.0, np.float32)
    step[:, 60:] = 4.0
    step[:, 58:60] = (2.6, 3.3)
    known = step.copy()
    known[:, 50:70] = 0
    found = guesses(lambda view: 3 * step, known)
    assert (found[:, 57:61] == 0).all()
    assert np.allclose(found[5:-5, 52:56], 2.0, rtol=0.02)
    assert np.allclose(found[5:-5, 63:68], 4.0, rtol=0.02)


@pytest.mark.parametrize(
    ("kind", "is_installed"), [("place", True), ("place", False), ("object", True)]
)
def test_a_network_is_asked_about_places(monkeypatch, corner, kind, is_installed):
    class Bundled:
        def estimate_scene(self, rgb, report) -> SceneDepth:
            assert rgb.max() <= 1
            report()
            return SceneDepth(2 * corner, None, False)

    class Some:
        def __init__(self, request, stage) -> None:
            self._stage = stage

        def scene_depth(self, pixels, fov_x) -> SceneDepth | None:
            self._stage("Estimating the shape")(0.5)
            return SceneDepth(corner, None, False) if is_installed else None

        def bundled(self) -> Bundled:
            return Bundled()

    said: list[str] = []
    monkeypatch.setattr(cut, "networks_for", Some)
    steps = engine._Steps(lambda share, words: said.append(words))
    steps.stage("Measuring depth")
    prior = engine.prior_of(ViewsRequest(models=ModelChoices()), SimpleNamespace(kind=kind), steps)
    assert (prior is not None) == (kind == "place")
    if prior is not None:
        found = prior(VIEW)
        assert np.array_equal(found, corner if is_installed else 2 * corner)
        assert set(said) == {"Measuring depth"}  # told again and again, so that it can be cancelled
        assert len(said) >= 2


def test_without_pytorch_nothing_is_guessed(monkeypatch):
    monkeypatch.setattr(engine, "find_spec", lambda name: None)
    steps = engine._Steps(lambda share, words: None)
    assert engine.prior_of(ViewsRequest(), SimpleNamespace(kind="place"), steps) is None
