"""Clicks and boxes: the classical cut, and what the pipeline makes of them."""

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.contracts import Picks
from image_to_mesh.inference.errors import CutOutError
from image_to_mesh.inference.picture.cut_out.masks import resize_mask
from image_to_mesh.inference.picture.cut_out.picked import cut_picked
from image_to_mesh.inference.subject import picking

SHAPE = (180, 300)
DISCS = {"red": ((80, 90), 45, (190, 60, 50)), "blue": ((215, 90), 40, (50, 70, 180))}


def quiet() -> None:
    pass


@pytest.fixture(scope="module")
def picture() -> np.ndarray:
    """A red and a blue disc on a grey, noisy ground."""
    pixels = np.full((*SHAPE, 3), 128, np.uint8)
    for middle, radius, colour in DISCS.values():
        cv2.circle(pixels, middle, radius, colour, -1, cv2.LINE_AA)
    noise = np.random.default_rng(3).normal(0, 6, pixels.shape)
    return np.clip(pixels + noise, 0, 255).astype(np.uint8)


def disc(*names: str) -> np.ndarray:
    canvas = np.zeros(SHAPE, np.uint8)
    for name in names:
        middle, radius, _ = DISCS[name]
        cv2.circle(canvas, middle, radius, (1,), -1)
    return canvas > 0


def overlap(mask: np.ndarray, truth: np.ndarray) -> float:
    found = resize_mask(mask, SHAPE) >= 0.5
    return float((found & truth).sum() / (found | truth).sum())


def on(name: str, is_subject: bool = True) -> tuple[float, float, bool]:
    (x, y), _, _ = DISCS[name]
    return x / SHAPE[1], y / SHAPE[0], is_subject


RED_BOX = (30 / 300, 40 / 180, 130 / 300, 140 / 180)


@pytest.mark.parametrize("name", DISCS)
def test_a_click_cuts_out_what_is_under_it_alone(picture, name):
    mask = cut_picked(picture, Picks((on(name),)), None, quiet)
    assert overlap(mask, disc(name)) > 0.9


def test_two_clicks_cut_out_both(picture):
    mask = cut_picked(picture, Picks((on("red"), on("blue"))), None, quiet)
    assert overlap(mask, disc("red", "blue")) > 0.9


def test_a_box_cuts_out_what_it_frames(picture):
    mask = cut_picked(picture, Picks((), RED_BOX), None, quiet)
    assert overlap(mask, disc("red")) > 0.9


def test_nothing_outside_of_a_box_is_taken(picture):
    half = (0.0, 0.0, 80 / 300, 1.0)
    mask = cut_picked(picture, Picks((on("red"),), half), None, quiet)
    assert (resize_mask(mask, SHAPE)[:, 90:] < 0.5).all()  # but for the click itself


def test_a_guess_is_followed_and_a_click_on_the_background_corrects_it(picture):
    guess = cv2.GaussianBlur(disc("red", "blue").astype(np.float32), (0, 0), 3)
    # The click names one of the two parts of the guess.
    mask = cut_picked(picture, Picks((on("blue"),)), guess, quiet)
    assert overlap(mask, disc("blue")) > 0.9
    # Joined by a bridge they are one part, which a click on what is not meant divides.
    bridged = guess.copy()
    bridged[80:100, 100:200] = 1.0
    both = Picks((on("blue"), on("red", is_subject=False)))
    mask = cut_picked(picture, both, bridged, quiet)
    found = resize_mask(mask, SHAPE) >= 0.5
    assert found[disc("blue")].mean() > 0.95
    assert found[disc("red")].mean() < 0.05


def test_the_same_picks_give_the_same_mask(picture):
    picks = Picks((on("red"),), RED_BOX)
    first, second = (cut_picked(picture, picks, None, quiet) for _ in range(2))
    assert np.array_equal(first, second)


def test_a_report_can_stop_the_cut(picture):
    class Stop(Exception):
        pass

    def stop() -> None:
        raise Stop

    with pytest.raises(Stop):
        cut_picked(picture, Picks((on("red"),)), None, stop)


@pytest.mark.parametrize(
    ("points", "box", "words"),
    [
        ((), None, "a click on the subject or a box"),
        (((0.5, 0.5, False),), None, "a click on the subject or a box"),
        (((1.5, 0.5, True),), None, "from 0 to 1"),
        ((), (0.6, 0.1, 0.4, 0.9), "left, top, right, bottom"),
    ],
)
def test_picks_that_mean_nothing_are_refused(points, box, words):
    with pytest.raises(ValueError, match=words):
        Picks(points, box)


class FakeNetworks:
    """An installed network that answers with a given map."""

    def __init__(self, answer: np.ndarray) -> None:
        self.answer = answer

    def picked(self, rgb: np.ndarray, picks: Picks) -> np.ndarray:
        return self.answer


def stage(_name: str):
    return lambda _share: None


def test_an_installed_network_goes_before_colours(picture):
    # It says the blue disc, though the click is on the red one.
    answer = cv2.resize(disc("blue").astype(np.float32), (64, 64), interpolation=cv2.INTER_AREA)
    mask = picking.picked_mask(picture, Picks((on("red"),)), FakeNetworks(answer), stage)  # pyright: ignore[reportArgumentType]
    assert mask.shape == SHAPE
    assert overlap(mask, disc("blue")) > 0.9


def test_nothing_found_is_told(picture):
    nothing = FakeNetworks(np.zeros((64, 64), np.float32))
    with pytest.raises(CutOutError, match="click on the middle of the subject, or draw a box"):
        picking.picked_mask(picture, Picks((on("red"),)), nothing, stage)  # pyright: ignore[reportArgumentType]
