"""Masks: cleaned, refined, taken from alpha or a plain background, cropped and resampled."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.contracts import PictureFile, PicturePixels
from image_to_mesh.inference.errors import CutOutError
from image_to_mesh.inference.picture.cut_out.colour_cut import colour_cut
from image_to_mesh.inference.picture.cut_out.cutout import (
    alpha_mask,
    clean_mask,
    crop_square,
    refine_mask,
    sample_crop,
)
from image_to_mesh.inference.picture.cut_out.masks import denied_holes, resize_mask
from image_to_mesh.inference.picture.cut_out.plain_background import (
    holds_another_thing,
    is_seen_whole,
    plain_background_mask,
)
from image_to_mesh.inference.picture.files.load import load_picture

DATA = Path(__file__).parents[1] / "data" / "pictures"


def disc(height, width, x, y, radius):
    """Antialiased disc, 0 to 1."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    distance = np.hypot(columns - x, rows - y)
    return np.clip(radius - distance + 0.5, 0, 1).astype(np.float32)


def overlap(a, b):
    a, b = a >= 0.5, b >= 0.5
    return (a & b).sum() / (a | b).sum()


def painted(mask, subject, background):
    share = mask[..., None]
    colour = np.asarray(subject, float) * share + np.asarray(background, float) * (1 - share)
    return np.round(np.clip(colour, 0, 255)).astype(np.uint8)


def test_alpha_is_the_mask():
    picture = load_picture(PictureFile(DATA / "robot.png"))
    mask = alpha_mask(picture)
    assert mask.dtype == np.float32
    assert (np.round(mask * 255) == picture.pixels[..., 3]).all()


def test_alpha_that_separates_nothing():
    picture = load_picture(PicturePixels(np.full((20, 20, 4), 255, np.uint8), "wall"))
    with pytest.raises(CutOutError, match="wall has no transparent background"):
        alpha_mask(picture)


def test_mask_of_another_size_and_type():
    given = np.zeros((10, 20), np.uint8)
    given[:, 10:] = 255
    mask = resize_mask(given, (35, 80))
    assert mask.shape == (35, 80)
    assert mask.dtype == np.float32
    assert mask[:, :35].max() == 0
    assert mask[:, 45:].min() == 1
    assert np.abs(resize_mask(mask, (10, 20)) - given / 255).max() < 0.2
    lines = np.zeros((64, 64), np.float32)
    lines[::2] = 1
    assert np.abs(resize_mask(lines, (16, 16)) - 0.5).max() < 1e-6


def test_clean_up_keeps_parts_holes_and_soft_edges():
    body = disc(200, 300, 100, 100, 80)
    probability = body - disc(200, 300, 100, 100, 25)
    probability = np.maximum(probability, disc(200, 300, 240, 60, 35))
    wanted = probability.copy()
    probability[100, 45:48] = 0.1
    probability[180:184, 270:274] = 0.9
    probability[5:20, 290:] = 0.3
    cleaned = clean_mask(probability)
    wanted[100, 45:48] = 1
    assert cleaned.dtype == np.float32
    assert np.abs(cleaned - wanted).max() == 0
    assert ((cleaned > 0) & (cleaned < 1)).any()


def test_clean_up_drops_scraps_far_away_and_keeps_a_pair():
    body = disc(200, 300, 60, 100, 50)
    scrap = disc(200, 300, 280, 20, 18)
    assert clean_mask(np.maximum(body, scrap))[20, 280] == 0
    other = disc(200, 300, 230, 100, 45)
    assert clean_mask(np.maximum(body, other))[100, 230] == 1


def test_colours_correct_a_rough_mask():
    rng = np.random.default_rng(5)
    true = disc(240, 320, 150, 120, 80)
    colours = true[..., None] * (190, 60, 40) + (1 - true[..., None]) * (60, 110, 90)
    rgb = np.clip(colours + rng.normal(0, 12, colours.shape), 0, 255).astype(np.uint8)
    rough = cv2.GaussianBlur(disc(240, 320, 135, 128, 70), (0, 0), 14)
    rough = np.maximum(rough, 0.6 * disc(240, 320, 245, 120, 30))
    calls = []
    cut = colour_cut(rgb, rough, lambda: calls.append(1))
    assert len(calls) >= 3
    assert overlap(rough, true) < 0.8
    assert overlap(cut, true) > 0.93
    assert np.array_equal(cut, colour_cut(rgb, rough, lambda: None))


def test_colours_that_tell_nothing_change_little():
    rough = cv2.GaussianBlur(disc(100, 150, 70, 50, 30), (0, 0), 8)
    for shade in (0, 255):
        flat = np.full((200, 300, 3), shade, np.uint8)
        assert overlap(colour_cut(flat, rough, lambda: None), resize_mask(rough, (200, 300))) > 0.3
    for size in ((1, 1), (1, 9), (3, 2)):
        tiny = colour_cut(np.zeros((*size, 3), np.uint8), np.ones(size, np.float32), lambda: None)
        assert tiny.shape == size
        assert (tiny >= 0.5).all()


def test_empty_masks_are_refused():
    for empty in (np.zeros((30, 30), np.float32), np.full((30, 30), 0.4, np.float32)):
        for use in (clean_mask, crop_square):
            with pytest.raises(CutOutError, match="No subject was found"):
                use(empty)


def test_whole_picture_is_a_valid_mask():
    full = np.ones((30, 40), np.float32)
    assert (clean_mask(full) == 1).all()
    assert crop_square(full, 0.0) == (0.0, -5.0, 40.0)


@pytest.mark.parametrize("size", [(480, 640), (60, 80), (1350, 1800)])
def test_refined_outline_follows_the_edge(size):
    height, width = size
    truth = disc(height, width, 0.4 * width, 0.5 * height, 0.3 * height)
    truth = np.maximum(truth, np.float32(0))
    truth[int(0.45 * height) : int(0.55 * height), int(0.5 * width) : int(0.8 * width)] = 1
    noise = np.random.default_rng(2).normal(0, 6, (height, width, 3))
    rgb = painted(truth, (190, 90, 60), (70, 120, 130))
    rgb = np.clip(rgb + noise, 0, 255).astype(np.uint8)
    coarse = resize_mask(truth, (48, 64))
    coarse = cv2.GaussianBlur(coarse, (0, 0), 1.0)
    refined = refine_mask(rgb, coarse)
    assert refined.shape == size
    assert refined.dtype == np.float32
    assert refined.min() >= 0
    assert refined.max() <= 1
    if height > 60:
        naive = resize_mask(coarse, size)
        assert overlap(refined, truth) > 0.985
        assert np.abs(refined - truth).mean() < 0.6 * np.abs(naive - truth).mean()
    assert overlap(refined, truth) > 0.95


def test_refining_stays_near_the_coarse_outline():
    rgb = np.random.default_rng(4).integers(0, 256, (256, 256, 3), np.uint8)
    coarse = disc(32, 32, 16, 16, 8)
    refined = refine_mask(rgb, coarse)
    assert (refined[disc(256, 256, 128, 128, 35) == 1] > 0.9).all()
    assert (refined[disc(256, 256, 128, 128, 90) == 0] < 0.1).all()


@pytest.mark.parametrize("name", ["adventurer", "robot", "zombie"])
@pytest.mark.parametrize("background", [(255, 255, 255), (0, 0, 0), (128, 120, 190)])
def test_sprites_on_plain_backgrounds(name, background):
    picture = load_picture(PictureFile(DATA / f"{name}.png"))
    truth = alpha_mask(picture)
    mask = plain_background_mask(painted(truth, picture.pixels[..., :3], background))
    assert mask is not None
    assert mask.dtype == np.float32
    assert overlap(mask, truth) > 0.95


def test_plain_background_gives_an_antialiased_outline():
    truth = disc(300, 400, 201.3, 148.6, 90)
    mask = plain_background_mask(painted(truth, (200, 60, 40), (240, 240, 235)))
    assert mask is not None
    is_outline = (truth > 0) & (truth < 1)
    assert np.abs(mask - truth)[is_outline].mean() < 0.05
    assert np.abs(mask - truth).max() < 0.3
    assert mask.sum() == pytest.approx(truth.sum(), rel=0.003)


def test_background_with_noise_and_falling_light():
    truth = disc(300, 400, 200, 150, 90)
    rows, columns = np.mgrid[:300, :400]
    light = 225 - 0.0006 * ((columns - 200) ** 2 + (rows - 150) ** 2)
    noise = np.random.default_rng(7).normal(0, 2, (300, 400, 1))
    backdrop = np.repeat(light[..., None], 3, axis=2) + noise
    mask = plain_background_mask(painted(truth, (60, 90, 160), backdrop))
    assert mask is not None
    assert overlap(mask, truth) > 0.99


def test_subject_that_touches_the_border():
    truth = np.zeros((300, 300), np.float32)
    truth[100:, 120:200] = 1
    mask = plain_background_mask(painted(truth, (30, 90, 40), (250, 250, 250)))
    assert mask is not None
    assert overlap(mask, truth) > 0.99


def test_real_hole_opens_and_the_white_of_an_eye_does_not():
    ring = disc(300, 300, 150, 150, 120) - disc(300, 300, 150, 150, 60)
    face = disc(300, 300, 150, 150, 120)
    eyed = face - disc(300, 300, 110, 120, 12)
    for drawn, wanted in ((ring, ring), (eyed, face)):
        mask = plain_background_mask(painted(drawn, (220, 160, 30), (255, 255, 255)))
        assert mask is not None
        assert overlap(mask, wanted) > 0.99


def test_line_drawing_is_filled_even_through_gaps():
    paper = np.full((400, 400, 3), 255, np.uint8)
    cv2.ellipse(paper, (200, 200), (120, 90), 0, 4, 356, (10, 10, 10), 4)
    cv2.circle(paper, (170, 180), 10, (10, 10, 10), 3)
    mask = plain_background_mask(paper)
    assert mask is not None
    filled = np.zeros((400, 400), np.uint8)
    cv2.ellipse(filled, (200, 200), (122, 92), 0, 0, 360, 1, -1)
    assert overlap(mask, filled) > 0.95


def test_pictures_without_a_plain_background():
    choice = np.random.default_rng(9)
    noise = choice.integers(0, 256, (200, 200, 3), np.uint8)
    blotches = cv2.GaussianBlur(noise, (0, 0), 5)
    blotches = cv2.normalize(blotches, None, 0, 255, cv2.NORM_MINMAX)
    halves = np.zeros((200, 200, 3), np.uint8)
    halves[:100] = (120, 170, 250)
    halves[100:] = (60, 120, 40)
    flat = np.full((200, 200, 3), 80, np.uint8)
    bricks = np.full((200, 200, 3), 150, np.uint8)
    bricks[::20], bricks[:, ::25] = 60, 60
    for picture in (noise, blotches, halves, flat, bricks):
        assert plain_background_mask(picture) is None


def test_implausible_subjects():
    speck = painted(disc(300, 300, 150, 150, 4), (200, 0, 0), (255, 255, 255))
    assert plain_background_mask(speck) is None
    confetti = np.full((300, 300, 3), 255, np.uint8)
    for y in range(20, 290, 40):
        for x in range(20, 290, 40):
            cv2.circle(confetti, (x, y), 12, (200, 30, 30), -1)
    assert plain_background_mask(confetti) is None


def test_shadow_without_an_edge_is_not_cut_out():
    rows, columns = np.mgrid[:300, :300]
    shadow = 60 * np.exp(-((columns - 150) ** 2 + (rows - 150) ** 2) / (2 * 50.0**2))
    rgb = np.repeat((230 - shadow)[..., None], 3, axis=2).astype(np.uint8)
    assert plain_background_mask(rgb) is None


def test_holes_are_denied_by_another_opinion_and_bays_are_not():
    solid = np.zeros((40, 60), bool)
    solid[5:35, 5:55] = True
    solid[12:20, 12:20] = False  # denied
    solid[12:20, 30:38] = False  # both see it
    solid[25:35, 40:50] = False  # open to the outside
    chance = np.where(solid, 0.9, 0.1).astype(np.float32)
    chance[12:20, 12:20] = 0.8
    chance[25:35, 40:50] = 0.8
    chance[0] = 0.9
    wanted = np.zeros_like(solid)
    wanted[12:20, 12:20] = True
    assert (denied_holes(solid, chance) == wanted).all()
    assert not denied_holes(np.ones((4, 4), bool), np.ones((4, 4), np.float32)).any()
    assert not denied_holes(np.zeros((4, 4), bool), np.ones((4, 4), np.float32)).any()


def test_what_a_cut_opens_in_the_same_colour_as_the_table_stays_closed():
    wood, rim = (120, 80, 50), (235, 230, 225)
    cup = disc(200, 200, 100, 100, 60)
    coffee = disc(200, 200, 100, 100, 35)
    picture = painted(cup, rim, wood)
    picture[coffee > 0.5] = wood
    picture = np.clip(
        picture + np.random.default_rng(0).normal(0, 3, picture.shape), 0, 255
    ).astype(np.uint8)
    rough = cv2.GaussianBlur(0.95 * cup, (0, 0), 4) - 0.2 * coffee
    cut = colour_cut(picture, rough, lambda: None)
    assert overlap(resize_mask(cut, (200, 200)), cup) > 0.93
    # A hole that the rough mask shows, too, is one.
    ring = colour_cut(picture, rough - 0.6 * coffee, lambda: None)
    assert overlap(resize_mask(ring, (200, 200)), cup - coffee) > 0.9


def test_a_network_is_asked_about_what_runs_out_of_the_picture():
    subject = disc(300, 300, 150, 150, 70)
    cupboard = np.zeros((300, 300), np.float32)
    cupboard[180:, :60] = 1
    both = np.maximum(subject, cupboard)
    asked = []

    def seen() -> np.ndarray:
        asked.append(True)
        return cv2.resize(subject, (64, 64), interpolation=cv2.INTER_AREA)

    assert not holds_another_thing(subject, seen)
    assert not asked
    assert holds_another_thing(both, seen)
    assert asked
    assert not holds_another_thing(both, lambda: both)
    # What it does not see inside of the picture is left to colours, and so is a thin edge.
    assert not holds_another_thing(subject, lambda: np.zeros((64, 64), np.float32))
    edge = subject.copy()
    edge[-3:] = 1
    assert not holds_another_thing(edge, seen)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (4000, 3)])
def test_odd_sizes_hold_nothing_else(size):
    mask = np.ones(size, np.float32)
    assert not holds_another_thing(mask, lambda: np.ones((8, 8), np.float32))


@pytest.mark.parametrize("size", [(8, 8), (16, 400), (28, 34)])
def test_tiny_pictures_do_not_fail(size):
    truth = disc(*size, size[1] / 2, size[0] / 2, min(size) / 3)
    mask = plain_background_mask(painted(truth, (200, 30, 30), (255, 255, 255)))
    assert mask is None or mask.shape == size


def test_square_around_the_subject():
    mask = np.zeros((100, 200), np.float32)
    mask[20:60, 150:170] = 0.7
    mask[0, 0] = 0.3
    assert crop_square(mask, margin=0.0) == (140.0, 20.0, 40.0)
    assert crop_square(mask, margin=0.25) == (130.0, 10.0, 60.0)


def ramp(height, width):
    """Channels hold the x and y of each pixel's centre."""
    rows, columns = np.mgrid[:height, :width] + 0.5
    return np.dstack([columns, rows]).astype(np.float32)


@pytest.mark.parametrize(
    ("side", "size"), [(40.0, 40), (40.0, 10), (33.3, 7), (20.0, 90), (11.0, 64)]
)
def test_crop_samples_the_right_places(side, size):
    x0, y0 = 20.25, 17.5
    crop = sample_crop(ramp(100, 120), x0, y0, side, size)
    centres = (np.arange(size) + 0.5) * side / size
    assert crop.shape == (size, size, 2)
    assert crop.dtype == np.float32
    assert np.abs(crop[..., 0] - (x0 + centres)).max() < 0.02 * max(side / size, 0.1)
    assert np.abs(crop[..., 1] - (y0 + centres)[:, None]).max() < 0.02 * max(side / size, 0.1)


def test_identical_crop_changes_nothing():
    image = np.random.default_rng(1).random((32, 32, 5), np.float32)
    assert np.abs(sample_crop(image, 0, 0, 32, 32) - image).max() < 1e-6


def test_crop_does_not_alias():
    stripes = np.zeros((256, 256, 1), np.float32)
    stripes[:, ::2] = 1
    crop = sample_crop(stripes, 0, 0, 256, 32, border=None)
    assert np.abs(crop[:, 1:-1] - 0.5).max() < 0.02


def test_crop_beyond_the_picture():
    image = np.full((20, 20, 3), 0.5, np.float32)
    crop = sample_crop(image, -20, -20, 60, 30, border=0.0)
    assert (crop[:9] == 0).all()
    assert np.abs(crop[12:18, 12:18] - 0.5).max() < 1e-6
    bordered = sample_crop(image, -20, -20, 60, 30, border=1.0)
    assert np.abs(bordered[:9] - 1).max() < 1e-6
    assert np.abs(bordered[12:18, 12:18] - 0.5).max() < 1e-6
    assert np.abs(sample_crop(image, -20, -20, 60, 30, border=None) - 0.5).max() < 1e-6
    outside = sample_crop(image, 100, 100, 10, 4, border=0.25)
    assert np.abs(outside - 0.25).max() < 1e-6


def test_a_set_of_things_before_a_plain_wall_is_cut_out_if_a_network_sees_it_whole() -> None:
    rgb = np.full((240, 320, 3), 228, np.uint8)
    truth = np.zeros((240, 320), np.float32)
    for left, top in ((40, 60), (130, 90), (220, 60)):
        rgb[top : top + 60, left : left + 60] = (90, 20 + left, 30)
        truth[top : top + 60, left : left + 60] = 1.0
    assert plain_background_mask(rgb) is None  # none of them is most of it
    group = plain_background_mask(rgb, is_group=True)
    assert group is not None
    assert np.abs(group - truth).mean() < 0.01
    assert is_seen_whole(group, truth * 0.7)
    one = truth.copy()
    one[:, 120:] = 0.0
    assert not is_seen_whole(group, one)  # it takes one of them for the subject
    assert not is_seen_whole(group, np.ones_like(truth))  # or the wall, too
    rgb[60:120, :60] = (90, 60, 30)  # one runs out of the picture: there is more of it
    assert plain_background_mask(rgb, is_group=True) is None
