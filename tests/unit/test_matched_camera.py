"""Seen through its camera, a result covers its picture."""

import functools
from pathlib import Path

import numpy as np
import pytest

from benchmarks.quality import matched_camera

PICTURES = Path(__file__).resolve().parents[1] / "data" / "pictures"


@functools.cache
def seen(name):
    """A result and what its camera sees of it; low detail, to save time."""
    result = matched_camera.reconstruct(PICTURES / f"{name}.png", 1024, "low")
    return result, *matched_camera.seen_through_its_camera(result)


@pytest.mark.parametrize("name", ["adventurer", "zombie"])
def test_the_result_overlays_its_picture(name):
    overlay = matched_camera.compare(name, *seen(name))
    assert overlay.iou >= matched_camera.IOU_GOAL
    assert overlay.psnr >= matched_camera.PSNR_GOAL


def test_a_shifted_picture_misses_the_goals():
    result, image, mask = seen("zombie")
    shifted = [np.roll(part, 20, axis=1) for part in (image, mask)]
    assert not matched_camera.compare("moved", result, *shifted).is_reached
