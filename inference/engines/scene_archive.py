"""What stays with a scene in the .blend so that its relief can be made again without a network.

Depth is stored to a ten-thousandth of itself or better, colours as JPEG of high quality and at most as fine as the
finest texture that is made of them as a rule.
"""

from __future__ import annotations

import io
import json
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import PinholeCamera
from ..errors import ImageToMeshError
from .array_file import Expected, read_arrays
from .kept_colours import MOST_BYTES, from_jpeg, most_bytes, to_jpeg
from .scene import SceneSight

FORMAT = 1
FINEST = 4096  # pixels of the picture's longer side
LARGEST_DEPTH = 4096  # pixels of the longer side of a depth map
MOST_PIXELS = 90_000_000  # of a picture
_EXPECTED = {
    "facts": Expected("|u1", 1 << 16),
    "depth": Expected("<u2", 2 * LARGEST_DEPTH**2),
    "colour": Expected("|u1", MOST_BYTES * FINEST**2, most_bytes),
}
_BROKEN = "What was kept with this scene cannot be read: generate the scene again from its picture."


@dataclass(frozen=True, slots=True)
class SceneArchive:
    """A kept scene.

    Attributes:
        sight: What was seen.
        median: The median depth in metres at a size of one metre.
        shift: (3,) how the relief was stood up, in median depths; made again it stands there.
        model: Networks that looked at the picture.
    """

    sight: SceneSight
    median: float
    shift: NDArray[np.float64]
    model: str


def pack(archive: SceneArchive) -> bytes:
    """Compress an archive; a typical one is one to three megabytes."""
    sight, camera = archive.sight, archive.sight.camera
    # The logarithm has the same precision near and far.
    log = np.log(sight.depth / np.float32(np.median(sight.depth)))
    low, high = float(log.min()), float(log.max())
    facts = {
        "format": FORMAT,
        "model": archive.model,
        "camera": [camera.width, camera.height, camera.focal_px],
        "up": sight.up.tolist(),
        "edge_blur": sight.edge_blur,
        "log_depth": [low, high],
        "median": archive.median,
        "shift": archive.shift.tolist(),
    }
    arrays = {
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        "depth": np.round((log - low) / max(high - low, 1e-9) * 65535).astype(np.uint16),
        "colour": _jpeg(sight.pixels),
    }
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def unpack(data: bytes) -> SceneArchive:
    """Read what ``pack`` wrote.

    Raises:
        ImageToMeshError: When the bytes are damaged or come from a newer version.
    """
    try:
        arrays = read_arrays(data, _EXPECTED)
        facts = json.loads(arrays["facts"].tobytes())
        version = facts["format"]
        if isinstance(version, int) and version > FORMAT:
            raise ImageToMeshError(
                "This scene was made by a newer Image to Mesh: update the extension to refine it."
            )
        width, height, focal = facts["camera"]
        camera = PinholeCamera(int(width), int(height), float(focal))
        low, high = (float(value) for value in facts["log_depth"])
        if not -40.0 < low <= high < 40.0:
            raise ValueError("no depth has such a logarithm")
        log = low + (high - low) * arrays["depth"].astype(np.float32) / 65535
        pixels = _from_jpeg(arrays["colour"], camera.width, camera.height)
        up = np.array(facts["up"], np.float32)
        shift = np.array(facts["shift"], np.float64)
        sight = SceneSight(
            pixels, np.exp(log).astype(np.float32), up, camera, float(facts["edge_blur"])
        )
        archive = SceneArchive(sight, float(facts["median"]), shift, str(facts["model"]))
    except (ImageToMeshError, MemoryError):
        raise
    except Exception as error:  # each reader has its own words for what is wrong with the bytes
        raise ImageToMeshError(_BROKEN) from error
    if version != FORMAT or not _is_sane(archive):
        raise ImageToMeshError(_BROKEN)
    return archive


def _is_sane(archive: SceneArchive) -> bool:
    """Whether the numbers can have been written by ``pack``."""
    sight, camera = archive.sight, archive.sight.camera
    depth = sight.depth
    return (
        depth.ndim == 2
        and min(depth.shape) >= 2
        and max(depth.shape) <= LARGEST_DEPTH
        and bool(np.isfinite(depth).all())
        and 1e-3 < camera.focal_px / max(camera.width, camera.height) < 1e4
        and sight.up.shape == (3,)
        and bool(1e-3 < np.linalg.norm(sight.up) < 1e3)
        and 0 < sight.edge_blur < 1e3
        and 1e-9 < archive.median < 1e9
        and archive.shift.shape == (3,)
        and bool((np.abs(archive.shift) < 1e9).all())
    )


def _jpeg(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    height, width = pixels.shape[:2]
    scale = FINEST / max(height, width)
    if scale < 1:
        size = max(round(width * scale), 1), max(round(height * scale), 1)
        pixels = np.asarray(cv2.resize(pixels, size, interpolation=cv2.INTER_AREA), np.uint8)
    return to_jpeg(pixels)


def _from_jpeg(data: NDArray[np.uint8], width: int, height: int) -> NDArray[np.uint8]:
    """The picture at the size of its camera, whatever size it was kept with."""
    if not 0 < width * height <= MOST_PIXELS:
        raise ValueError("no picture has such a size")
    pixels = from_jpeg(data, largest=FINEST)
    if pixels.shape[:2] != (height, width):
        if abs(pixels.shape[0] * width - pixels.shape[1] * height) > 2 * max(width, height):
            raise ValueError("the kept picture has another shape")
        pixels = cv2.resize(pixels, (width, height), interpolation=cv2.INTER_LINEAR)
    return np.asarray(pixels, np.uint8)
