"""One installation of a model at a time, in this Blender and in all others that share the models folder."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from .background import TICK, Check
from .disk import told_failures

if TYPE_CHECKING:
    from filelock import BaseFileLock


@contextmanager
def held(lock: Path, wait: Check) -> Iterator[None]:
    """Hold a lock; whoever else wants it waits.

    Args:
        lock: A file that exists only while somebody holds the lock; its folder exists.
        wait: Called ten times a second while another one holds it; raises to give up.

    Raises:
        WeightsError: The file cannot be made.
    """
    try:
        from filelock import FileLock, Timeout
    except ImportError:  # it comes with what downloads need, so no download can be running here
        yield
        return
    mine = FileLock(lock)
    while not _is_taken(mine, lock, Timeout):
        wait()
        time.sleep(TICK)
    try:
        yield
    finally:
        # While it is held: who waits for a file that has gone makes a new one. Windows removes none then.
        with suppress(OSError):
            lock.unlink()
        mine.release()
        if os.name == "nt":
            with suppress(OSError):
                lock.unlink()


def _is_taken(mine: BaseFileLock, lock: Path, timeout: type[Exception]) -> bool:
    with told_failures(lock.parent):
        try:
            mine.acquire(timeout=0)
        except timeout:
            return False
        return True
