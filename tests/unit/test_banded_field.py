"""Fields made of functions that only tell inside from outside."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.field.banded import BandedField
from torch import Tensor


class Torus(BandedField):
    """A torus around z whose function is far from a distance, with a colour for each octant."""

    has_colours = True

    def __init__(self, half=1.0, cells=40, portion=1 << 14, raised=0.0, report=lambda: None):
        corner = np.full(3, half, np.float32)
        super().__init__(-corner, corner, torch.device("cpu"), report)
        self._portion = portion
        self._raised = raised
        self.asked = 0
        self.look(cells)

    @property
    def portion(self) -> int:
        return self._portion

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        self.asked += len(points)
        assert len(points) <= self._portion
        distance = torch.from_numpy(true_distance(points.numpy()))
        return torch.sinh(3 * distance) * 7 + self._raised, (points > 0).float()


def true_distance(points):
    ring = np.linalg.norm(points[:, :2], axis=1) - 0.55
    return np.hypot(ring, points[:, 2]) - 0.22


@pytest.fixture(scope="module")
def torus() -> Torus:
    return Torus()


@pytest.fixture(scope="module")
def points():
    return np.random.default_rng(0).uniform(-0.99, 0.99, (20_000, 3)).astype(np.float32)


def test_the_sign_is_the_functions_everywhere(torus, points):
    np.testing.assert_array_equal(torus.query(points).distance < 0, true_distance(points) < 0)


def test_distances_are_right_near_the_surface_and_never_overstated(torus, points):
    found, true = torus.query(points).distance, true_distance(points)
    near = np.abs(true) < 0.02
    assert near.sum() > 300
    assert np.abs(found - true)[near].max() < 1e-3
    assert (np.abs(found) <= 1.15 * np.abs(true) + 1e-4).all()


def test_gradients_point_outwards_at_unit_length(torus, points):
    near = points[np.abs(true_distance(points)) < 0.03]
    centre = np.zeros_like(near)
    centre[:, :2] = 0.55 * near[:, :2] / np.linalg.norm(near[:, :2], axis=1, keepdims=True)
    normal = (near - centre) / np.linalg.norm(near - centre, axis=1, keepdims=True)
    found = torus.gradient(near)
    length = np.linalg.norm(found, axis=1)
    assert np.abs(length - 1).max() < 0.15
    assert ((found * normal).sum(axis=1) / length).min() > 0.998


def test_colours_come_along(torus, points):
    np.testing.assert_array_equal(torus.query(points).colour, (points > 0).astype(np.float32))


def test_portions_do_not_change_the_answer(torus, points):
    small = Torus(portion=777)
    np.testing.assert_allclose(
        small.query(points).distance, torus.query(points).distance, atol=1e-6
    )


def test_what_the_box_cuts_is_closed_there():
    cut = Torus(half=0.6)
    middle = np.array([[0.59, 0, 0]], np.float32)
    assert cut.query(middle).distance[0] == pytest.approx(-0.01, abs=1e-5)
    wall = np.array([[0.6, 0, 0.01]], np.float32)
    np.testing.assert_allclose(cut.gradient(wall), [[1, 0, 0]], atol=1e-6)
    beyond = np.array([[0.7, 0.1, 0], [3, 0, 0]], np.float32)
    np.testing.assert_allclose(cut.query(beyond).distance, [0.1, 2.4], atol=1e-5)


def test_bounds_hold_the_surface_closely(torus):
    assert (torus.bounds.low <= [-0.77, -0.77, -0.22]).all()
    assert (torus.bounds.low >= [-0.9, -0.9, -0.35]).all()
    assert (torus.bounds.high >= [0.77, 0.77, 0.22]).all()


def test_a_function_that_finds_nothing_inside_still_gives_a_solid():
    faint = Torus(raised=500.0)
    assert faint.is_faint
    assert not Torus().is_faint
    points = np.random.default_rng(1).uniform(-1, 1, (5000, 3)).astype(np.float32)
    share = (faint.query(points).distance < 0).mean()
    assert 0.02 < share < 0.08
    ring = np.array([[0.55, 0, 0], [0, 0, 0.9]], np.float32)
    assert list(faint.query(ring).distance < 0) == [True, False]


def test_looking_and_asking_can_be_cancelled():
    calls = 0

    def stop():
        nonlocal calls
        calls += 1
        if calls > 3:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        Torus(portion=500, report=stop)
    assert calls == 4


def test_a_field_without_colours_is_only_asked_near_its_surface():
    class Plain(Torus):
        has_colours = False

    plain = Plain()
    before = plain.asked
    far = np.tile(np.array([[0, 0, 0.9]], np.float32), (1000, 1))
    sample = plain.query(far)
    assert plain.asked == before
    assert sample.colour is None
    assert (sample.distance > 0.2).all()
