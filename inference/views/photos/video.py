"""Frames of a video worth reconstructing from: sharp ones, evenly along the camera's way."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from ...errors import PictureError
from ...picture.files.quiet import quiet_opencv
from .judge import BLANK, look_at, sharpest_in_each

LOOKED_AT = 900  # frames that are judged at most; the others of a long video are passed over
TRACK_SIDE = 240  # longest side at which motion is measured
STEP = (
    0.06  # motion in picture widths between neighbouring frames that are kept: much overlap stays
)
MOST_BROKEN = 200  # frames in a row that cannot be read before the rest is given up


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame of a video.

    Attributes:
        seconds: Its time.
        pixels: (H, W, 3) uint8 sRGB, upright.
    """

    seconds: float
    pixels: NDArray[np.uint8]


def pick_frames(
    path: Path, most: int, max_side: int, report: Callable[[float], None]
) -> tuple[list[Frame], list[str]]:
    """Read a video twice: once to judge its frames, once to fetch the chosen ones.

    Args:
        path: The video.
        most: At most so many frames.
        max_side: Longest side of the frames in pixels.
        report: Called with the finished share; raises to cancel.

    Returns:
        The frames in order, and sentences about what was wrong with the video.

    Raises:
        PictureError: When not a single frame can be read.
    """
    numbers, sharpness, travelled, broken = _judge(path, lambda share: report(0.6 * share))
    if not len(numbers):
        raise PictureError(
            f"{path.name} cannot be read as a video: convert it to MP4 (H.264) and try again."
        )
    count = min(most, max(2, math.ceil(float(travelled[-1]) / STEP)))
    chosen = {int(numbers[i]) for i in sharpest_in_each(sharpness, travelled, count)}
    frames = _fetch(path, chosen, max_side, lambda share: report(0.6 + 0.4 * share))
    notes = []
    if broken:
        what = "1 frame" if broken == 1 else f"{broken} frames"
        notes.append(f"{path.name}: {what} could not be read and were passed over.")
    if float(travelled[-1]) < 2 * STEP:
        notes.append(f"{path.name}: the camera hardly moves: walk around the subject.")
    return frames, notes


def _judge(
    path: Path, report: Callable[[float], None]
) -> tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64], int]:
    """Number, sharpness and way so far of the frames looked at, and how many were broken."""
    video = _open(path)
    total = max(int(video.get(cv2.CAP_PROP_FRAME_COUNT)), 0)
    every = max(1, total // LOOKED_AT)
    numbers: list[int] = []
    sharpness: list[float] = []
    travelled: list[float] = []
    earlier: NDArray[np.uint8] | None = None
    number, broken = -1, 0
    in_a_row = 0
    while in_a_row < MOST_BROKEN:
        number += 1
        is_there = video.grab()
        if not is_there:
            if number >= total:
                break
            in_a_row += 1
            broken += 1
            continue
        in_a_row = 0
        if number % every:
            continue
        report(number / max(total, number + 1))
        is_read, image = video.retrieve()
        if not is_read or image is None or image.size == 0:
            broken += 1
            continue
        look = look_at(np.asarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB), np.uint8))
        if look.contrast < BLANK:
            continue
        small = _for_tracking(image)
        moved = 0.0 if earlier is None else _motion(earlier, small)
        earlier = small
        numbers.append(number)
        sharpness.append(look.sharpness)
        travelled.append((travelled[-1] if travelled else 0.0) + moved)
    video.release()
    broken = 0 if number < total and not numbers else broken
    return np.array(numbers, np.int64), np.array(sharpness), np.array(travelled), broken


def _fetch(
    path: Path, chosen: set[int], max_side: int, report: Callable[[float], None]
) -> list[Frame]:
    video = _open(path)
    rate = video.get(cv2.CAP_PROP_FPS) or 25.0
    frames: list[Frame] = []
    for number in range(max(chosen) + 1):
        is_there = video.grab()
        if number % 16 == 0:
            report(number / (max(chosen) + 1))
        if not is_there or number not in chosen:
            continue
        is_read, image = video.retrieve()
        if not is_read or image is None:
            continue
        height, width = image.shape[:2]
        scale = max_side / max(height, width)
        if scale < 1:
            size = (round(width * scale), round(height * scale))
            image = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
        pixels = np.ascontiguousarray(cv2.cvtColor(image, cv2.COLOR_BGR2RGB))
        frames.append(Frame(number / rate, np.asarray(pixels, np.uint8)))
    video.release()
    return frames


def _open(path: Path) -> cv2.VideoCapture:
    with quiet_opencv():
        return cv2.VideoCapture(str(path))


def _for_tracking(image: NDArray) -> NDArray[np.uint8]:
    height, width = image.shape[:2]
    scale = TRACK_SIDE / max(height, width)
    size = (max(round(width * scale), 16), max(round(height * scale), 16))
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    return np.asarray(cv2.resize(grey, size, interpolation=cv2.INTER_AREA), np.uint8)


def _motion(first: NDArray[np.uint8], second: NDArray[np.uint8]) -> float:
    """Median way that corners have moved, in picture widths (Lucas and Kanade 1981, tracked)."""
    corners = cv2.goodFeaturesToTrack(first, 120, 0.01, 6)
    if corners is None or len(corners) < 8:
        return 0.0
    moved, found, _ = cv2.calcOpticalFlowPyrLK(first, second, corners, np.empty(0, np.float32))
    kept = found.ravel() == 1
    if kept.sum() < 8:
        return 0.25  # nothing of the earlier frame is left: a cut or a fast turn
    way = np.linalg.norm((moved - corners).reshape(-1, 2)[kept], axis=1)
    return float(np.median(way)) / first.shape[1]
