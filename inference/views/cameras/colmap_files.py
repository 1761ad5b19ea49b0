"""Read reconstructions in COLMAP's text and binary formats, without COLMAP.

Format: https://colmap.github.io/format.html. A camera's world is turned so that x_camera = R x + t;
quaternions are written w first; pixel (0.5, 0.5) is the middle of the first one, as here.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from ...errors import PictureError
from ..contracts import Lens, SparsePoints

# Number in the binary format, and how the parameters are to be read.
_MODELS = (
    "SIMPLE_PINHOLE",
    "PINHOLE",
    "SIMPLE_RADIAL",
    "RADIAL",
    "OPENCV",
    "OPENCV_FISHEYE",
    "FULL_OPENCV",
    "FOV",
    "SIMPLE_RADIAL_FISHEYE",
    "RADIAL_FISHEYE",
    "THIN_PRISM_FISHEYE",
)
_PARAMETERS = (3, 4, 4, 5, 8, 8, 12, 5, 4, 5, 12)
_PLACES = ("", "sparse/0", "sparse", "colmap/sparse/0", "distorted/sparse/0", "model", "0")


@dataclass(frozen=True, slots=True)
class ColmapModel:
    """A reconstruction as it was written.

    Attributes:
        lenses: By camera number.
        poses: By picture name (a path relative to the pictures' folder, with forward slashes):
            the number of its camera and its (4, 4) camera-to-world matrix.
        points: Sparse points with their colours.
        errors: (N,) reprojection error of each point in pixels.
        observers: How many points each picture sees, by name.
    """

    lenses: dict[int, Lens]
    poses: dict[str, tuple[int, NDArray[np.float64]]]
    points: SparsePoints
    errors: NDArray[np.float64]
    observers: dict[str, int]


def find_model(folder: Path) -> Path | None:
    """The folder in or beside ``folder`` that holds a COLMAP reconstruction."""
    for base in (folder, folder.parent):
        for place in _PLACES if base == folder else _PLACES[1:]:
            candidate = base / place
            for suffix in (".bin", ".txt"):
                if all((candidate / f"{n}{suffix}").is_file() for n in ("cameras", "images")):
                    return candidate
    return None


def read_model(folder: Path) -> ColmapModel:
    """Read a reconstruction.

    Raises:
        PictureError: When it is damaged or uses an unknown kind of lens.
    """
    try:
        if (folder / "cameras.bin").is_file():
            return _read_binary(folder)
        return _read_text(folder)
    except (OSError, ValueError, IndexError, KeyError, struct.error) as error:
        raise PictureError(
            f"The COLMAP reconstruction in {folder} is damaged: write it again, or set Cameras to"
            " Estimate."
        ) from error


def _lens(model: str, width: int, height: int, p: list[float]) -> Lens:
    if model in ("SIMPLE_PINHOLE", "SIMPLE_RADIAL", "RADIAL", "SIMPLE_RADIAL_FISHEYE") or (
        model == "RADIAL_FISHEYE"
    ):
        focal, rest = (p[0], p[0]), p[1:]
    else:
        focal, rest = (p[0], p[1]), p[2:]
    centre, k = (rest[0], rest[1]), rest[2:]
    if model in ("SIMPLE_PINHOLE", "PINHOLE"):
        distortion: tuple[float, ...] = ()
    elif model == "SIMPLE_RADIAL":
        distortion = (k[0], 0.0, 0.0, 0.0)
    elif model == "RADIAL":
        distortion = (k[0], k[1], 0.0, 0.0)
    elif model in ("OPENCV", "FULL_OPENCV", "OPENCV_FISHEYE"):
        distortion = tuple(k)
    elif model == "SIMPLE_RADIAL_FISHEYE":
        distortion = (k[0], 0.0, 0.0, 0.0)
    elif model == "RADIAL_FISHEYE":
        distortion = (k[0], k[1], 0.0, 0.0)
    else:
        raise PictureError(
            f"The COLMAP reconstruction uses the lens model {model}, which is not read here:"
            " undistort it with COLMAP first."
        )
    return Lens(width, height, *focal, *centre, distortion, model.endswith("FISHEYE"))


def _matrix(quaternion: list[float], translation: list[float]) -> NDArray[np.float64]:
    w, x, y, z = np.array(quaternion) / np.linalg.norm(quaternion)
    rotation = np.array(
        [
            [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
            [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
            [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
        ]
    )
    matrix = np.eye(4)
    matrix[:3, :3] = rotation.T
    matrix[:3, 3] = -rotation.T @ np.array(translation)
    return matrix


def _read_text(folder: Path) -> ColmapModel:
    lenses: dict[int, Lens] = {}
    for line in _lines(folder / "cameras.txt"):
        number, model, width, height, *parameters = line.split()
        lenses[int(number)] = _lens(model, int(width), int(height), [float(p) for p in parameters])
    poses: dict[str, tuple[int, NDArray[np.float64]]] = {}
    observers: dict[str, int] = {}
    # Two lines a picture; the second, its features, may be empty but is there.
    text = (folder / "images.txt").read_text(encoding="utf-8").splitlines()
    lines = [line for line in text if not line.startswith("#")]
    for header, features in zip(lines[::2], [*lines[1::2], ""], strict=False):
        if not header.strip():
            continue
        fields = header.split(maxsplit=9)
        pose = [float(value) for value in fields[1:8]]
        name = fields[9].strip().replace("\\", "/")
        poses[name] = (int(fields[8]), _matrix(pose[:4], pose[4:]))
        observers[name] = sum(int(number) >= 0 for number in features.split()[2::3])
    rows: list[list[float]] = []
    if (folder / "points3D.txt").is_file():
        rows = [[float(v) for v in line.split()[1:8]] for line in _lines(folder / "points3D.txt")]
    table = np.array(rows, np.float64).reshape(-1, 7)
    points = SparsePoints(table[:, :3].astype(np.float32), table[:, 3:6].astype(np.uint8))
    return ColmapModel(lenses, poses, points, table[:, 6], observers)


def _lines(path: Path) -> list[str]:
    text = path.read_text(encoding="utf-8").splitlines()
    return [line for line in text if line.strip() and not line.startswith("#")]


def _read_binary(folder: Path) -> ColmapModel:
    lenses: dict[int, Lens] = {}
    with (folder / "cameras.bin").open("rb") as file:
        for _ in range(_take(file, "<Q")[0]):
            number, model, width, height = _take(file, "<iiQQ")
            parameters = list(_take(file, f"<{_PARAMETERS[model]}d"))
            lenses[number] = _lens(_MODELS[model], width, height, parameters)
    poses: dict[str, tuple[int, NDArray[np.float64]]] = {}
    observers: dict[str, int] = {}
    with (folder / "images.bin").open("rb") as file:
        for _ in range(_take(file, "<Q")[0]):
            _, *pose, camera = _take(file, "<I7di")
            letters = bytearray()
            while (letter := file.read(1)) not in (b"\0", b""):
                letters += letter
            name = letters.decode("utf-8").replace("\\", "/")
            count = _take(file, "<Q")[0]
            record = np.dtype([("x", "<f8"), ("y", "<f8"), ("point", "<i8")])
            features = np.frombuffer(file.read(count * record.itemsize), record, count)
            poses[name] = (camera, _matrix(pose[:4], pose[4:]))
            observers[name] = int((features["point"] >= 0).sum())
    rows: list[tuple[float, ...]] = []
    if (folder / "points3D.bin").is_file():
        with (folder / "points3D.bin").open("rb") as file:
            for _ in range(_take(file, "<Q")[0]):
                _, x, y, z, r, g, b, error, length = _take(file, "<QdddBBBdQ")
                file.seek(8 * length, 1)
                rows.append((x, y, z, r, g, b, error))
    table = np.array(rows, np.float64).reshape(-1, 7)
    points = SparsePoints(table[:, :3].astype(np.float32), table[:, 3:6].astype(np.uint8))
    return ColmapModel(lenses, poses, points, table[:, 6], observers)


def _take(file: BinaryIO, layout: str) -> tuple:
    return struct.unpack(layout, file.read(struct.calcsize(layout)))
