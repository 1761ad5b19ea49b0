"""Stand a result on the floor."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

SNAP = math.radians(4.0)  # a horizon closer to level than this was meant to be level


def world_from_camera(up: NDArray[np.floating], axis: NDArray[np.floating]) -> NDArray[np.float64]:
    """Rotation from the camera frame to the upright world frame.

    Args:
        up: (3,) up direction in the camera frame.
        axis: (3,) direction from the camera to the subject in the camera frame.

    Returns:
        (3, 3) rotation; world +y is down and ``axis`` has no world x component.
    """
    down = -_unit(np.asarray(up, np.float64))
    axis = _unit(np.asarray(axis, np.float64))
    level = axis - (axis @ down) * down
    if np.linalg.norm(level) < 0.05:  # seen from straight above or below: keep the picture's top up
        top = np.array([0.0, -1.0, 0.0])
        level = (top - (top @ down) * down) * np.sign(axis @ down)
    forward = _unit(level)
    return np.stack([np.cross(down, forward), down, forward])


def steadied_up(
    up: NDArray[np.floating], axis: NDArray[np.floating], snap: float = SNAP
) -> NDArray[np.float64]:
    """Take the tremble out of an estimated up direction.

    Hand-held pictures and drawings are level far more often than a network can tell: a roll or
    pitch of a few degrees is taken as none, and larger ones lose as much, so nothing jumps.

    Args:
        up: (3,) estimate in the camera frame.
        axis: (3,) viewing direction to the subject in the camera frame.
        snap: Radians of tilt that are taken as none.
    """
    axis = _unit(np.asarray(axis, np.float64))
    up = _unit(np.asarray(up, np.float64))
    if up[1] > -0.2:  # upside down or lying on its side: no picture is taken like that on purpose
        up = _unit(np.array([0.0, -1.0, 0.0]) - 0.3 * axis)
    right = _unit(np.cross([0.0, 1.0, 0.0], axis))
    above = np.cross(axis, right) * -1.0
    pitch = math.asin(float(np.clip(-(up @ axis), -1, 1)))
    roll = math.atan2(float(up @ right), float(up @ above))
    pitch, roll = _shrunk(pitch, snap), _shrunk(roll, snap)
    level = math.cos(roll) * above + math.sin(roll) * right
    return math.cos(pitch) * level - math.sin(pitch) * axis


def _shrunk(angle: float, snap: float) -> float:
    return math.copysign(max(abs(angle) - snap, 0.0), angle)


def _unit(vector: NDArray[np.float64]) -> NDArray[np.float64]:
    return vector / max(float(np.linalg.norm(vector)), 1e-12)
