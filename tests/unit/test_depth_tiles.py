"""Fine depth from tiles that each have their own scale and offset: no seams, no drift."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.models.depth.depth_tiles import (
    OVERLAP,
    fit_scale_and_offset,
    refine_with_tiles,
    tile_starts,
)
from numpy.typing import NDArray

Floats = NDArray[np.float32]
HEIGHT, WIDTH, TILE = 220, 340, 96


def scene() -> Floats:
    """Draw nearness: a ramp, broad waves, fine ripples and a disc with a sharp edge."""
    y, x = np.mgrid[0:HEIGHT, 0:WIDTH].astype(np.float32)
    smooth = 2 + y / HEIGHT + 0.4 * np.sin(x / 60) + 0.05 * np.sin(x / 3) * np.sin(y / 4)
    disc = np.hypot(x - 200, y - 100) < 45
    return np.where(disc, smooth + 1.5, smooth).astype(np.float32)


def looked(truth: Floats, seed: int = 0, noise: float = 0.0) -> Floats:
    """Refine what a network without fine sight says of the whole; its tiles are relative."""
    rng = np.random.default_rng(seed)
    coarse = cv2.resize(truth, (WIDTH // 6, HEIGHT // 6), interpolation=cv2.INTER_AREA)

    def look(part: Floats) -> Floats:
        values = part[..., 0] * rng.uniform(0.2, 4) + rng.uniform(-3, 3)
        return (values + noise * rng.standard_normal(values.shape)).astype(np.float32)

    return refine_with_tiles(np.repeat(truth[..., None], 3, 2), coarse, look, TILE)


def test_tiles_cover_everything_and_overlap() -> None:
    for length in (10, 96, 97, 150, 1000, 3840):
        starts = tile_starts(length, 96)
        assert starts[0] == 0
        assert starts[-1] == max(0, length - 96)
        if len(starts) > 1:
            assert max(np.diff(starts)) <= 96 * (1 - OVERLAP) + 1


def test_detail_comes_back_and_the_whole_stays() -> None:
    truth = scene()
    got = looked(truth)
    assert got.shape == truth.shape
    rough = cv2.resize(truth, (WIDTH // 6, HEIGHT // 6), interpolation=cv2.INTER_AREA)
    coarse = cv2.resize(rough, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    assert np.abs(got - truth).mean() < 0.25 * np.abs(coarse - truth).mean()
    ripples = truth - cv2.GaussianBlur(truth, (0, 0), 5)
    found = got - cv2.GaussianBlur(got, (0, 0), 5)
    assert np.corrcoef(ripples.ravel(), found.ravel())[0, 1] > 0.98
    assert cv2.GaussianBlur(got - truth, (0, 0), 20).std() < 0.02


def test_there_are_no_seams_between_tiles() -> None:
    """Steps across the borders of tiles are no larger than elsewhere."""
    truth = scene()
    step = np.abs(np.diff(looked(truth) - truth, axis=1))
    borders = [s for start in tile_starts(WIDTH, TILE) for s in (start, start + TILE - 1)]
    columns = [c for c in borders if 2 < c < WIDTH - 3]
    at_borders = step[:, columns].mean()
    assert at_borders < 1.5 * step.mean() + 1e-3
    assert np.abs(np.diff(looked(truth, noise=0.0) - truth, axis=0)).max() < 0.5


def test_a_picture_of_one_tile_is_only_enlarged() -> None:
    coarse = np.arange(12, dtype=np.float32).reshape(3, 4)
    got = refine_with_tiles(
        np.zeros((30, 40, 3), np.float32), coarse, lambda part: part[..., 0], 64
    )
    assert np.allclose(got, cv2.resize(coarse, (40, 30), interpolation=cv2.INTER_LINEAR))


def test_tiles_that_contradict_the_whole_are_not_believed() -> None:
    truth = scene()
    coarse = cv2.resize(truth, (WIDTH // 6, HEIGHT // 6), interpolation=cv2.INTER_AREA)
    picture = np.repeat(truth[..., None], 3, 2)
    got = refine_with_tiles(picture, coarse, lambda part: -5 * part[..., 0], TILE)
    expected = cv2.resize(coarse, (WIDTH, HEIGHT), interpolation=cv2.INTER_LINEAR)
    assert np.allclose(got, expected, atol=1e-3)


@pytest.mark.parametrize("share", [0.0, 0.25])
def test_outliers_do_not_pull_on_the_fit(share: float) -> None:
    rng = np.random.default_rng(0)
    values = rng.standard_normal((60, 60)).astype(np.float32)
    target = 2.5 * values - 4 + 0.01 * rng.standard_normal(values.shape)
    target[rng.random(values.shape) < share] += 30
    scale, offset, agreement = fit_scale_and_offset(values, target.astype(np.float32))
    assert scale == pytest.approx(2.5, rel=0.01)
    assert offset == pytest.approx(-4, abs=0.02)
    assert agreement > 0.99


def test_nothing_to_fit_changes_nothing_but_the_level() -> None:
    flat = np.full((5, 5), 2.0, np.float32)
    target = np.arange(25, dtype=np.float32).reshape(5, 5)
    assert fit_scale_and_offset(flat, target) == (1.0, 10.0, 0.0)
