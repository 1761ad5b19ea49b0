"""Read ``transforms.json``, the camera file of NeRF tools.

Fields as instant-ngp and Nerfstudio write them: one camera for all frames or one for each, angles
or focal lengths in pixels, OpenCV's distortion; matrices are camera-to-world with OpenGL axes
(x right, y up, z towards the viewer) and the world's +z up.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...errors import PictureError
from ..contracts import Lens, Pose

_NAMES = ("transforms.json", "transforms_train.json")
_OPENGL_TO_OPENCV = np.diag([1.0, -1.0, -1.0, 1.0])
UP = np.array([0.0, 0.0, 1.0])


@dataclass(frozen=True, slots=True)
class Frame:
    """One picture of the file.

    Attributes:
        name: As written, with forward slashes; its suffix may be missing.
        lens: None when the file does not tell the field of view; sizes of 0 mean "the picture's".
        angle_x: Horizontal field of view in radians, when that is all that is known.
        matrix: (4, 4) camera-to-world in OpenCV axes.
    """

    name: str
    lens: Lens | None
    angle_x: float | None
    matrix: NDArray[np.float64]

    def pose_for(self, width: int, height: int) -> Pose | None:
        """The camera of a picture of this size; None when the field of view is unknown."""
        if self.lens is not None:
            return Pose(self.lens.scaled_to(width, height), self.matrix)
        if self.angle_x is None:
            return None
        focal = width / 2 / math.tan(self.angle_x / 2)
        return Pose(Lens(width, height, focal, focal, width / 2, height / 2), self.matrix)


def find_transforms(folder: Path) -> Path | None:
    """The camera file in or above ``folder``."""
    for base in (folder, folder.parent):
        for name in _NAMES:
            if (base / name).is_file():
                return base / name
    return None


def read_transforms(path: Path) -> list[Frame]:
    """Read all frames of a camera file.

    Raises:
        PictureError: When it is damaged.
    """
    try:
        record = json.loads(path.read_text(encoding="utf-8"))
        return [_frame(record, frame) for frame in record["frames"]]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise PictureError(
            f"{path.name} is damaged or no camera file: write it again, or set Cameras to Estimate."
        ) from error


def _frame(record: dict, frame: dict) -> Frame:
    matrix = np.array(frame["transform_matrix"], np.float64)
    if matrix.shape == (3, 4):
        matrix = np.vstack([matrix, [0.0, 0.0, 0.0, 1.0]])
    if matrix.shape != (4, 4) or not np.isfinite(matrix).all():
        raise ValueError("transform_matrix")

    def value(key: str) -> float | None:
        found = frame.get(key, record.get(key))
        return None if found is None else float(found)

    name = str(frame["file_path"]).replace("\\", "/").removeprefix("./")
    focal, width, height = value("fl_x"), value("w"), value("h")
    lens = None
    if focal and width and height:
        centre_x, centre_y = value("cx"), value("cy")
        is_fisheye = "FISHEYE" in str(record.get("camera_model", ""))
        keys = ("k1", "k2", "k3", "k4") if is_fisheye else ("k1", "k2", "p1", "p2", "k3")
        distortion = tuple(value(key) or 0.0 for key in keys)
        lens = Lens(
            round(width),
            round(height),
            focal,
            value("fl_y") or focal,
            width / 2 if centre_x is None else centre_x,
            height / 2 if centre_y is None else centre_y,
            distortion if any(distortion) else (),
            is_fisheye,
        )
    turned = np.asarray(matrix @ _OPENGL_TO_OPENCV, np.float64)
    return Frame(name, lens, value("camera_angle_x"), turned)
