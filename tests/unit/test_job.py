"""A job runs on its thread and always ends in exactly one of three events."""

import threading
from pathlib import Path

import pytest
from image_to_mesh.inference.contracts import (
    Cancelled,
    Done,
    Failed,
    PictureFile,
    Progress,
    Request,
)
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.inference.running.job import Job

REQUEST = Request(PictureFile(Path("chair.png")))
RESULT = object()


def run_to_end(job):
    job.start()
    assert job.join(timeout=5)
    return list(job.events())


def test_progress_then_result():
    def run(request, report):
        assert request is REQUEST
        report(0.25, "Reading")
        report(0.5, "Shaping")
        return RESULT

    events = run_to_end(Job(REQUEST, run))
    assert events == [Progress(0.25, "Reading"), Progress(0.5, "Shaping"), Done(RESULT)]


def test_the_worker_is_another_thread_that_does_not_hold_up_quitting():
    threads = []
    run_to_end(Job(REQUEST, lambda request, report: threads.append(threading.current_thread())))
    (thread,) = threads
    assert thread is not threading.main_thread()
    assert thread.daemon


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (PictureError("It is empty: choose another."), "It is empty: choose another."),
        (MemoryError(), "The computer ran out of memory: choose a lower Detail or a smaller"),
        (KeyError("lost key"), "Image to Mesh hit a bug: press Copy Report and send it to us."),
    ],
)
def test_every_failure_becomes_a_sentence_with_a_traceback(error, message):
    def run(request, report):
        raise error

    (event,) = run_to_end(Job(REQUEST, run))
    assert isinstance(event, Failed)
    assert event.message.startswith(message)
    assert type(error).__name__ in event.details
    assert "Traceback" in event.details


def test_cancelled_before_it_starts():
    job = Job(REQUEST, lambda request, report: report(0.1, "go"))
    job.cancel()
    assert run_to_end(job) == [Cancelled()]


def test_cancelled_at_its_next_report():
    reached, go = threading.Event(), threading.Event()

    def run(request, report):
        report(0.1, "first")
        reached.set()
        assert go.wait(5)
        report(0.2, "second")
        raise AssertionError("must not be reached")

    job = Job(REQUEST, run)
    job.start()
    assert reached.wait(5)
    job.cancel()
    assert not job.join(timeout=0.01)
    go.set()
    assert job.join(timeout=5)
    assert list(job.events()) == [Progress(0.1, "first"), Cancelled()]


def test_events_come_once_and_in_parts():
    reached, go = threading.Event(), threading.Event()

    def run(request, report):
        report(0.1, "first")
        reached.set()
        assert go.wait(5)
        return RESULT

    job = Job(REQUEST, run)
    job.start()
    assert reached.wait(5)
    assert list(job.events()) == [Progress(0.1, "first")]
    assert list(job.events()) == []
    go.set()
    assert job.join(timeout=5)
    assert list(job.events()) == [Done(RESULT)]
