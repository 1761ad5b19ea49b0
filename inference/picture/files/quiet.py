"""Keep OpenCV's own lines off the console where a sentence of ours follows."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2


@contextmanager
def quiet_opencv() -> Iterator[None]:
    """Let OpenCV log nothing meanwhile."""
    opencv: Any = cv2  # the stubs know one of both
    log = opencv if hasattr(opencv, "setLogLevel") else opencv.utils.logging  # since OpenCV 5
    level = log.getLogLevel()
    log.setLogLevel(0)
    try:
        yield
    finally:
        log.setLogLevel(level)
