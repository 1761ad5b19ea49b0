"""Solids read off a large network: few questions, exact slopes, a sponge ends soon."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.field.vecset import VecSetField
from image_to_mesh.inference.surface.bricks import sample_near_surface
from image_to_mesh.inference.surface.contour import dual_contour
from torch import Tensor

Shape = Callable[[Tensor], Tensor]
LATTICE_POINTS = 66**3
RADIUS, CUT_OFF = 0.7, 0.05


class Counted:
    """A distance that is cut off, as a network gives it, and how often it was asked."""

    def __init__(self, shape: Shape, cut_off: float = CUT_OFF) -> None:
        self._shape = shape
        self._cut_off = cut_off
        self.asked = 0
        self.derived = 0

    def __call__(self, points: Tensor) -> Tensor:
        if points.requires_grad:
            self.derived += len(points)
        else:
            self.asked += len(points)
        return (self._shape(points) / self._cut_off).clamp(-1, 1)


def ball(points: Tensor) -> Tensor:
    return points.norm(dim=1) - RADIUS


def rod(points: Tensor) -> Tensor:
    """A rod of a third of a coarse cell's width, askew, off the lattice."""
    axis = torch.tensor([0.36, 0.48, 0.8])
    moved = points - torch.tensor([0.05, -0.02, 0.0])
    along = moved @ axis
    beside = (moved - along[:, None] * axis).norm(dim=1)
    return torch.maximum(beside - 0.02, along.abs() - 0.7)


def sponge(points: Tensor) -> Tensor:
    waves = points @ torch.tensor([[81.0, -81.0], [47.0, 97.0], [63.0, 33.0]])
    return torch.sin(waves).prod(dim=1)


def field_of(decode: Counted, report: Callable[[], None] = lambda: None) -> VecSetField:
    return VecSetField(decode, 1.005, torch.device("cpu"), report, chunk=8192)


def surface_of(field: VecSetField, cells: int) -> tuple[np.ndarray, np.ndarray]:
    spacing = field.affordable(float((field.bounds.high - field.bounds.low).max()) / cells)
    bricks = sample_near_surface(field, spacing, lambda _: None)
    return dual_contour(bricks, field, lambda _: None)


def test_a_ball_is_found_exactly_with_few_questions() -> None:
    decode = Counted(ball)
    field = field_of(decode)
    assert decode.asked < 0.4 * LATTICE_POINTS
    looked, decode.asked, decode.derived = decode.asked, 0, 0
    positions, quads = surface_of(field, 96)
    assert field.coarsened == 1
    assert len(quads) > 10_000
    assert np.abs(np.linalg.norm(positions, axis=1) - RADIUS).max() < 2e-3
    # Dense sampling of the ball's box would ask 900 thousand points.
    assert decode.asked < 120_000
    assert decode.derived < 1.1 * len(quads)
    assert looked + decode.asked + 2.4 * decode.derived < 320_000


def test_distances_and_gradients_are_true_near_the_surface() -> None:
    field = field_of(Counted(ball))
    rng = np.random.default_rng(0)
    ways = rng.standard_normal((4000, 3))
    ways /= np.linalg.norm(ways, axis=1, keepdims=True)
    off = rng.uniform(-0.02, 0.02, 4000)
    points = (ways * (RADIUS + off)[:, None]).astype(np.float32)
    distance, gradient = field.distance_and_gradient(points)
    np.testing.assert_allclose(distance, off, atol=2e-3)
    np.testing.assert_allclose(field.query(points).distance, distance, atol=2e-6)
    length = np.linalg.norm(gradient, axis=1)
    assert np.abs(length - 1).max() < 0.15
    assert ((gradient * ways).sum(axis=1) / length).min() > 0.9999
    np.testing.assert_array_equal(field.gradient(points), gradient)


def test_what_is_answered_without_asking_has_the_right_side() -> None:
    decode = Counted(ball)
    field = field_of(decode)
    points = np.random.default_rng(1).uniform(-1, 1, (30_000, 3)).astype(np.float32)
    decode.asked = 0
    found = field.query(points).distance
    true = np.linalg.norm(points, axis=1) - RADIUS
    np.testing.assert_array_equal(found < 0, true < 0)
    assert (np.abs(found) < 1.2 * np.abs(true) + 1e-3).all()
    assert 0 < decode.asked < 0.15 * len(points)


def test_a_thin_rod_is_not_lost() -> None:
    positions, _quads = surface_of(field_of(Counted(rod)), 96)
    along = positions @ np.array([0.36, 0.48, 0.8]) - (0.05 * 0.36 - 0.02 * 0.48)
    assert along.min() == pytest.approx(-0.7, abs=0.02)
    assert along.max() == pytest.approx(0.7, abs=0.02)
    counts, _ = np.histogram(along, 40, (-0.68, 0.68))
    assert counts.min() > 10  # in one piece


def test_a_narrow_cut_off_is_looked_at_everywhere() -> None:
    decode = Counted(ball, cut_off=0.01)
    field = field_of(decode)
    assert decode.asked >= LATTICE_POINTS
    positions, _quads = surface_of(field, 64)
    assert np.abs(np.linalg.norm(positions, axis=1) - RADIUS).max() < 4e-3


def test_a_sponge_is_made_coarser_instead_of_taking_forever() -> None:
    decode = Counted(sponge, cut_off=1.0)
    field = field_of(decode)
    decode.asked = 0
    _positions, quads = surface_of(field, 64)
    assert field.coarsened > 1.5
    assert 1_000 < len(quads) < 40_000
    assert decode.asked < 100_000


def test_deriving_can_be_cancelled() -> None:
    calls = [-(10**9)]

    def stop() -> None:
        calls[0] += 1
        if calls[0] > 2:
            raise RunCancelled

    field = field_of(Counted(ball), stop)
    calls[0] = 0
    points = np.full((100_000, 3), 0.4, np.float32)
    with pytest.raises(RunCancelled):
        field.distance_and_gradient(points)
    assert calls == [3]
