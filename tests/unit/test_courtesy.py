"""The worker runs at a lower priority than the main thread, and changes nothing there."""

import os
import sys
import threading

import pytest
from image_to_mesh.inference.running.courtesy import quick_handover, yield_to_main_thread


@pytest.mark.skipif(sys.platform != "linux", reason="thread ranks are read Linux's way")
def test_only_the_calling_thread_and_its_children_step_back() -> None:
    def rank() -> int:
        return os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    before, seen = rank(), []

    def work() -> None:
        yield_to_main_thread()
        seen.append(rank())
        child = threading.Thread(target=lambda: seen.append(rank()))
        child.start()
        child.join()

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    assert seen == [min(before + 10, 19)] * 2
    assert rank() == before


def test_handover_is_quick_inside_and_as_before_afterwards() -> None:
    before = sys.getswitchinterval()
    with quick_handover():
        assert sys.getswitchinterval() == pytest.approx(0.001)
    assert sys.getswitchinterval() == pytest.approx(before)
