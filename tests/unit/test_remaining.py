"""Remaining time comes from measurements."""

import pytest
from image_to_mesh.inference.running.remaining import History, Remaining, time_text


def test_a_first_run_goes_by_its_own_pace():
    run = Remaining()
    assert run.seconds_left(0.5) is None
    run.note(0.25, 10.0)
    assert run.seconds_left(10.0) == pytest.approx(30.0)
    assert run.seconds_left(15.0) == pytest.approx(25.0)  # time goes on without news
    assert run.seconds_left(100.0) == 0.0


def test_the_next_run_of_the_kind_knows_where_time_goes():
    history = History()
    first = history.begin("object low")
    first.note(0.5, 4.0)
    first.note(0.9, 5.0)
    history.end("object low", first, 40.0)  # nearly all of it after 90 %
    second = history.begin("object low")
    assert second.seconds_left(0.0) == pytest.approx(40.0)
    second.note(0.9, 5.0)
    assert second.seconds_left(5.0) == pytest.approx(35.0)
    slower = history.begin("object low")
    slower.note(0.9, 10.0)
    assert slower.seconds_left(10.0) == pytest.approx(70.0)
    assert history.begin("another").seconds_left(1.0) is None


def test_shares_that_go_back_are_no_news():
    run = Remaining()
    run.note(0.5, 5.0)
    run.note(0.2, 6.0)
    assert run.seconds_left(6.0) == pytest.approx(4.0)


def test_the_history_does_not_grow_forever():
    history = History()
    for number in range(200):
        history.end(str(number), Remaining(), 1.0)
    assert len(history._curves) == 64
    assert history.begin("199").seconds_left(0.0) == 1.0


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (None, "time not known yet"),
        (0.4, "nearly done"),
        (7.2, "about 7 s left"),
        (43.0, "about 45 s left"),
        (130.0, "about 2 min left"),
        (7200.0, "about 2.0 h left"),
    ],
)
def test_times_are_told_as_people_read_them(seconds, text):
    assert time_text(seconds) == text
