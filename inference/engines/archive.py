"""What stays with an object in the .blend so that it can be shaped again without a network.

The observation is stored a little coarser than it was computed: depth to a thousandth of the subject's
width, normals to half a degree, colours as JPEG of high quality. That is below what the mesh or its
texture can show, and a tenth of the size.
"""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import CropView, PinholeCamera
from ..errors import ImageToMeshError
from ..field.observation import Observation, WorldFrame
from ..image import as_bytes

FORMAT = 1
JPEG_QUALITY = 95
_BROKEN = (
    "What was kept with this object cannot be read: generate the object again from its picture."
)


@dataclass(frozen=True, slots=True)
class Archive:
    """A kept observation.

    Attributes:
        observation: What the picture said.
        frame: How the object was stood up; shaping again keeps it, so that nothing jumps.
        model: Network and revision that looked at the picture.
    """

    observation: Observation
    frame: WorldFrame
    model: str


def pack(archive: Archive) -> bytes:
    """Compress an archive; a typical one is one to two megabytes."""
    seen = archive.observation
    view, camera = seen.view, seen.view.camera
    facts = {
        "format": FORMAT,
        "model": archive.model,
        "camera": [camera.width, camera.height, camera.focal_px],
        "crop": [view.x0, view.y0, view.side, view.distance],
        "rotation": view.rotation.tolist(),
        "up": seen.up.tolist(),
        "frame": [
            archive.frame.rotation.tolist(),
            archive.frame.scale,
            archive.frame.offset.tolist(),
        ],
    }
    arrays = {
        "facts": np.frombuffer(json.dumps(facts).encode(), np.uint8),
        "front": seen.front.astype(np.float16),
        "back": seen.back.astype(np.float16),
        "normals": np.round(np.clip(seen.normals, -1, 1) * 127).astype(np.int8),
        "mask": as_bytes(seen.mask),
        "surety": as_bytes(seen.surety),
        "colour": _jpeg(seen.colour),
    }
    if seen.back_colour is not None:
        arrays["back_colour"] = _jpeg(seen.back_colour)
    if seen.albedo is not None:
        arrays["albedo"] = _jpeg(seen.albedo)
    stream = io.BytesIO()
    np.savez_compressed(stream, **arrays)
    return stream.getvalue()


def unpack(data: bytes) -> Archive:
    """Read what ``pack`` wrote.

    Raises:
        ImageToMeshError: When the bytes are damaged or come from a newer version.
    """
    try:
        with np.load(io.BytesIO(data), allow_pickle=False) as arrays:
            facts = json.loads(arrays["facts"].tobytes())
            if facts["format"] != FORMAT:
                raise ImageToMeshError(
                    "This object was made by a newer Image to Mesh: update the extension to refine"
                    " it."
                )
            return _archive(facts, arrays)
    except (ValueError, KeyError, TypeError, OSError, EOFError, zipfile.BadZipFile) as error:
        raise ImageToMeshError(_BROKEN) from error


def _archive(facts: dict[str, Any], arrays: Mapping[str, NDArray[Any]]) -> Archive:
    width, height, focal = facts["camera"]
    x0, y0, side, distance = facts["crop"]
    rotation, scale, offset = facts["frame"]
    camera = PinholeCamera(int(width), int(height), float(focal))
    view = CropView(camera, x0, y0, side, np.array(facts["rotation"], np.float64), distance)
    normals = arrays["normals"].astype(np.float32)
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    observation = Observation(
        view=view,
        front=arrays["front"].astype(np.float32),
        back=arrays["back"].astype(np.float32),
        normals=normals,
        up=np.array(facts["up"], np.float32),
        mask=arrays["mask"].astype(np.float32) / 255,
        colour=_from_jpeg(arrays["colour"]),
        back_colour=_from_jpeg(arrays["back_colour"]) if "back_colour" in arrays else None,
        albedo=_from_jpeg(arrays["albedo"]) if "albedo" in arrays else None,
        surety=arrays["surety"].astype(np.float32) / 255 if "surety" in arrays else 0.0,
    )
    frame = WorldFrame(np.array(rotation), float(scale), np.array(offset))
    return Archive(observation, frame, str(facts["model"]))


def _jpeg(colour: NDArray[np.float32]) -> NDArray[np.uint8]:
    pixels = as_bytes(colour)
    full_colour = int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR_444)
    parameters = [
        int(cv2.IMWRITE_JPEG_QUALITY),
        JPEG_QUALITY,
        int(cv2.IMWRITE_JPEG_SAMPLING_FACTOR),
        full_colour,
    ]
    done, data = cv2.imencode(".jpg", pixels[..., ::-1], parameters)
    if not done:
        raise ValueError("OpenCV could not encode the picture")
    return np.asarray(data, np.uint8).ravel()


def _from_jpeg(data: NDArray[np.uint8]) -> NDArray[np.float32]:
    pixels = cv2.imdecode(data, cv2.IMREAD_COLOR)
    if pixels is None:
        raise ValueError("the kept picture is damaged")
    return np.ascontiguousarray(pixels[..., ::-1]).astype(np.float32) / 255
