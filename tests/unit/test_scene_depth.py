"""Finer depth of large pictures in tiles, for networks that see little at a time."""

from __future__ import annotations

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.models.depth.depth_anything import DepthEstimate
from image_to_mesh.inference.models.depth.depth_tiles import tile_starts
from image_to_mesh.inference.models.depth.moge_camera import PointMap
from image_to_mesh.inference.networks.scene_depth import FINE, LOOKS, Look

HEIGHT, WIDTH = 660, 1024
SEEN = 72  # pixels along the longer side that the stand-ins see, as a network sees patches
POLES = range(60, WIDTH, 90)


def truth() -> np.ndarray:
    """(H, W) depth: a floor that rises to the horizon, waves, and thin poles before it."""
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    depth = 3 + 9 * (1 - rows / HEIGHT) + 0.5 * np.sin(columns / 130)
    for left in POLES:
        depth[80:560, left : left + 7] = 2.5
    return depth


def picture(depth: np.ndarray) -> np.ndarray:
    """(H, W, 3) that tells the stand-ins the depth; its logarithm, so that scaling blurs that."""
    return np.repeat((np.log(depth) / 4)[..., None], 3, axis=2).astype(np.float32)


class Sees:
    """Tells coarse depth, each time in another unit; the uppermost rows of the picture are sky."""

    is_metric = False

    def __init__(self) -> None:
        self.shapes: list[tuple[int, ...]] = []

    def _look(self, rgb: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        rng = np.random.default_rng(len(self.shapes))
        self.shapes.append(rgb.shape[:2])
        height, width = rgb.shape[:2]
        scale = SEEN / max(height, width)
        small = cv2.resize(
            rgb[..., 0], (round(width * scale), round(height * scale)), interpolation=cv2.INTER_AREA
        )
        unit = 1.0 if len(self.shapes) == 1 else rng.uniform(0.3, 3)
        depth = np.exp(4 * cv2.resize(small, (width, height))) * np.float32(unit)
        return depth, np.asarray(rgb[..., 0] > 0)


class SeesDepth(Sees):
    """Stands in for Depth Anything 3."""

    def estimate(self, rgb, report, *, fov_x=None, long_side=504) -> DepthEstimate:
        report()
        depth, valid = self._look(rgb)
        return DepthEstimate(depth, None, valid, False)


class SeesPoints(Sees):
    """Stands in for MoGe."""

    def estimate(self, rgb, report, *, fov_x=None, tokens=None) -> PointMap:
        report()
        depth, valid = self._look(rgb)
        return PointMap(np.dstack([depth] * 3), depth, None, valid, fov_x or 1.0, is_metric=True)


def asked(kind: str, fine_side: int, depth: np.ndarray, tick=lambda: None, max_side=None):
    network = SeesDepth() if kind == "depth.depth_anything_3" else SeesPoints()
    found = LOOKS[kind](network, Look(picture(depth), 1.0, max_side, fine_side, tick))
    return found.depth, network.shapes


def contrast(depth: np.ndarray) -> float:
    """How much nearer the poles are than what is beside them, as a ratio."""
    rows = slice(150, 350)
    beside = [depth[rows, left - 20].mean() for left in POLES]
    return float(
        np.mean([b / depth[rows, p + 3].mean() for b, p in zip(beside, POLES, strict=True)])
    )


@pytest.mark.parametrize("kind", ["depth.depth_anything_3", "depth.moge"])
def test_thin_things_become_sharper_and_the_whole_stays(kind: str) -> None:
    true = truth()
    whole, _ = asked(kind, 0, true)
    fine, shapes = asked(kind, 1024, true)
    assert fine.shape == true.shape
    assert len(shapes) >= 3
    assert contrast(true) > 3
    assert np.log(contrast(fine)) > 1.35 * np.log(contrast(whole))
    error, before = np.abs(np.log(fine / true)), np.abs(np.log(whole / true))
    assert error.mean() < 0.85 * before.mean()
    # What is broad is as the whole look says.
    broad = cv2.GaussianBlur(np.log(fine / whole), (0, 0), 60)
    assert np.abs(broad).max() < 0.05


def test_tiles_leave_no_seams() -> None:
    rows, columns = np.mgrid[:HEIGHT, :WIDTH].astype(np.float32)
    true = 3 + 9 * (1 - rows / HEIGHT) + 0.5 * np.sin(columns / 130)
    fine, _ = asked("depth.depth_anything_3", 1024, true)
    step = np.abs(np.diff(np.log(fine / true), axis=1))
    borders = [s + e for s in tile_starts(WIDTH, 504) for e in (0, 503) if 2 < s + e < WIDTH - 3]
    assert borders
    # A thousandth of the distance; a tile's own unit would make steps of a half and more.
    assert step[8:-8, borders].max() < 1e-3
    assert step.max() < 5e-3


def test_sky_stays_sky() -> None:
    true = truth()
    true[:120] = 1.0  # its logarithm is 0, which the stand-ins take for sky
    fine, _ = asked("depth.moge", 1024, true)
    assert fine[:110].min() > 1.1 * np.percentile(fine[130:], 99)
    assert fine[:110].max() == fine[:110].min()


@pytest.mark.parametrize("kind", ["depth.depth_anything_3", "depth.moge"])
def test_small_pictures_and_short_memory_take_one_look(kind: str) -> None:
    true = truth()
    small = cv2.resize(true, (400, 258), interpolation=cv2.INTER_AREA)
    for depth, side, limit in ((small, 400, None), (true, 0, None), (true, 0, 392)):
        _, shapes = asked(kind, side, depth, max_side=limit)
        assert shapes == [depth.shape]


def test_detail_decides_how_fine() -> None:
    assert FINE["low"] == FINE["medium"] == 0
    assert 0 < FINE["high"] < FINE["ultra"]


def test_tiles_can_be_cancelled() -> None:
    calls = []

    def stop() -> None:
        calls.append(1)
        if len(calls) == 4:
            raise RunCancelled

    with pytest.raises(RunCancelled):
        asked("depth.moge", 1024, truth(), stop)
    assert len(calls) == 4


@pytest.mark.parametrize("kind", ["depth.depth_anything_3", "depth.moge", "depth_anything"])
def test_impossible_depth_is_kept_within_reason(kind: str) -> None:
    class Wild:
        """Says zero, infinity and nonsense among depth."""

        def estimate(self, rgb, report, **_options) -> DepthEstimate:
            depth = np.full(rgb.shape[:2], 2.0, np.float32)
            depth[0, 0], depth[0, 1], depth[0, 2], depth[0, 3] = 0, np.inf, np.nan, -1
            return DepthEstimate(depth, None, np.ones(depth.shape, bool), False, 1.0)

    rgb = np.zeros((20, 30, 3), np.float32)
    depth = LOOKS[kind](Wild(), Look(rgb, None, None, 0, lambda: None)).depth
    assert np.isfinite(depth).all()
    assert depth.min() > 0
    assert np.median(depth) == 2
