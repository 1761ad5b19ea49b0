"""Soft edges at a picture's own size, and colours without the background's share."""

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.errors import RunCancelled
from image_to_mesh.inference.picture.cut_out.matting import foreground_colours, refine_alpha


def nothing():
    pass


def fringe(height, width, radius, softness):
    """A disc with a wavy soft edge, like hair: alpha from 0 to 1."""
    y, x = np.mgrid[:height, :width]
    y, x = y - height / 2 + 0.5, x - width / 2 + 0.5
    wavy = radius + 0.08 * radius * np.sin(np.arctan2(y, x) * 40)
    return np.clip((wavy - np.hypot(x, y)) / softness + 0.5, 0, 1).astype(np.float32)


def scene(alpha):
    """Red with stripes over green with waves; also the red alone."""
    height, width = alpha.shape
    y, x = np.mgrid[:height, :width]
    red = np.stack((200 + 20 * np.sin(x / 9), 60 + 20 * np.cos(y / 7), 40 + 0 * x), axis=2)
    green = np.stack((30 + 0 * x, 180 + 30 * np.sin(x / 40), 60 + 0 * x), axis=2)
    mixed = alpha[..., None] * red + (1 - alpha[..., None]) * green
    return mixed.astype(np.uint8), red


def test_half_covered_pixels_lose_the_background():
    alpha = fringe(300, 400, 100, 20)
    picture, red = scene(alpha)
    colours = foreground_colours(picture, alpha, nothing)
    is_mixed = (alpha > 0.1) & (alpha < 0.9)
    assert np.abs(picture[is_mixed] - red[is_mixed]).mean() > 45
    assert np.abs(colours[is_mixed] - red[is_mixed]).mean() < 6
    is_subject = alpha >= 0.98
    assert np.array_equal(colours[is_subject], picture[is_subject])
    just_outside = (alpha < 0.02) & (cv2.dilate(alpha, np.ones((5, 5))) > 0.02)
    assert colours[just_outside][:, 0].mean() > 150 > colours[just_outside][:, 1].mean()


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (5, 2), (33, 64)])
def test_colours_of_any_size_and_any_alpha(size):
    picture = np.full((*size, 3), 90, np.uint8)
    for value in (0.0, 0.5, 1.0):
        colours = foreground_colours(picture, np.full(size, value, np.float32), nothing)
        assert colours.shape == picture.shape
        assert np.abs(colours.astype(int) - 90).max() <= 1


def test_alpha_follows_a_large_pictures_hard_edge():
    y, x = np.mgrid[:600, :750]
    alpha = np.clip(180.5 - np.hypot(x - 375, y - 300), 0, 1).astype(np.float32)
    picture, _ = scene(alpha)
    seen = cv2.resize(alpha, (96, 96), interpolation=cv2.INTER_AREA)
    rough = cv2.resize(seen, (750, 600))
    refined = refine_alpha(picture, rough, 96, nothing)
    assert refined.min() >= 0
    assert refined.max() <= 1 + 1e-6
    assert np.abs(refined - alpha).mean() < 0.6 * np.abs(rough - alpha).mean()
    is_far = (cv2.dilate(rough, np.ones((41, 41))) < 0.02) | (
        cv2.erode(rough, np.ones((41, 41))) > 0.98
    )
    assert np.array_equal(refined[is_far], rough[is_far])


def test_soft_alpha_of_a_large_picture_stays():
    alpha = cv2.GaussianBlur(fringe(600, 750, 200, 30), (0, 0), 25)
    picture, _ = scene(alpha)
    assert np.array_equal(refine_alpha(picture, alpha, 128, nothing), alpha)


def test_alpha_of_a_small_picture_stays():
    alpha = fringe(200, 200, 60, 9)
    picture, _ = scene(alpha)
    assert np.array_equal(refine_alpha(picture, alpha, 1024, nothing), alpha)
    empty = np.zeros((300, 300), np.float32)
    assert not refine_alpha(np.zeros((300, 300, 3), np.uint8), empty, 32, nothing).any()


@pytest.mark.parametrize("work", ["alpha", "colours"])
def test_both_can_be_cancelled(work):
    alpha = fringe(300, 300, 90, 20)
    picture, _ = scene(alpha)

    def cancel():
        raise RunCancelled("Cancelled")

    def start():
        if work == "alpha":
            return refine_alpha(picture, alpha, 64, cancel)
        return foreground_colours(picture, alpha, cancel)

    with pytest.raises(RunCancelled):
        start()
