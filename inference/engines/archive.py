"""What stays with an object in the .blend so that it can be shaped again without a network.

The observation is stored a little coarser than it was computed: depth to a thousandth of the subject's
width, normals to half a degree, colours as JPEG of high quality. That is below what the mesh or its
texture can show, and a tenth of the size.
"""

from __future__ import annotations

import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView, PinholeCamera
from ..errors import ImageToMeshError
from ..field.observation import Observation, WorldFrame
from ..image import as_bytes
from .array_file import Expected, read_arrays
from .kept_colours import LARGEST, MOST_BYTES, from_jpeg, most_bytes, to_jpeg

Floats = NDArray[np.float32]

FORMAT = 1

# Pixels along a side: of what is worth anything, and the most that may be kept. Depth is as large as
# networks look, the mask a little finer; guesses of the far side and the paint are coarse; colours
# are as fine as the finest texture.
SMALLEST = 8
LARGEST_DEPTH, LARGEST_MASK, LARGEST_GUESS, LARGEST_COLOUR = 1024, 2048, 1024, LARGEST
LONGEST_NAME = 4096  # characters of what names the networks
_EXPECTED = {
    "facts": Expected("|u1", 1 << 16),
    "front": Expected("<f2", 2 * LARGEST_DEPTH**2),
    "back": Expected("<f2", 2 * LARGEST_DEPTH**2),
    "normals": Expected("|i1", 3 * LARGEST_DEPTH**2),
    "mask": Expected("|u1", LARGEST_MASK**2),
    "surety": Expected("|u1", LARGEST_DEPTH**2),
    "colour": Expected("|u1", MOST_BYTES * LARGEST_COLOUR**2, most_bytes),
    "back_colour": Expected("|u1", MOST_BYTES * LARGEST_GUESS**2, most_bytes),
    "albedo": Expected("|u1", MOST_BYTES * LARGEST_GUESS**2, most_bytes),
}
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
        "front": _half(seen.front),
        "back": _half(seen.back),
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


def unpack(data: bytes, finest: int = LARGEST_COLOUR) -> Archive:
    """Read what ``pack`` wrote.

    Args:
        data: The bytes, which may have been damaged, or made by somebody else.
        finest: Pixels that colours are wanted with along a side; finer ones are read at a half, a
            quarter or an eighth of their size, as far as at least so many are left.

    Raises:
        ImageToMeshError: When the bytes are damaged or come from a newer version.
    """
    try:
        arrays = read_arrays(data, _EXPECTED)
        facts = json.loads(arrays["facts"].tobytes())
        version = _whole(facts["format"], -(2**31), 2**31)
        if version > FORMAT:
            raise ImageToMeshError(
                "This object was made by a newer Image to Mesh: update the extension to refine it."
            )
        _require(version == FORMAT)
        model = facts["model"]
        _require(isinstance(model, str) and len(model) < LONGEST_NAME)
        return Archive(_observation(facts, arrays, finest), _frame(facts), model)
    except (ImageToMeshError, MemoryError):
        raise
    except Exception as error:  # each reader has its own words for what is wrong with the bytes
        raise ImageToMeshError(_BROKEN) from error


def _observation(
    facts: dict[str, Any], arrays: Mapping[str, NDArray[Any]], finest: int
) -> Observation:
    front = _square(arrays["front"], LARGEST_DEPTH)
    size = len(front)
    back, normals = arrays["back"], arrays["normals"]
    _require(back.shape == front.shape and normals.shape == (size, size, 3))
    _require(bool(np.isfinite(front).all() and np.isfinite(back).all()))
    mask = _square(arrays["mask"], LARGEST_MASK)
    directions = normals.astype(np.float32)
    directions /= np.maximum(np.linalg.norm(directions, axis=-1, keepdims=True), 1e-6)
    surety: Floats | float = 0.0
    if "surety" in arrays:  # older ones have none
        _require(arrays["surety"].shape in ((), front.shape))
        surety = arrays["surety"].astype(np.float32) / 255
    up = _numbers(facts["up"], (3,), 2.0)
    _require(float(np.linalg.norm(up)) > 1e-3)
    others = {
        name: _from_jpeg(arrays[name], LARGEST_GUESS, finest) if name in arrays else None
        for name in ("back_colour", "albedo")
    }
    return Observation(
        view=_view(facts),
        front=front.astype(np.float32),
        back=back.astype(np.float32),
        normals=directions,
        up=up.astype(np.float32),
        mask=mask.astype(np.float32) / 255,
        colour=_from_jpeg(arrays["colour"], LARGEST_COLOUR, finest),
        surety=surety,
        **others,
    )


def _view(facts: dict[str, Any]) -> CropView:
    """The crop's camera; what follows from the rest of it must do so."""
    width, height, focal = facts["camera"]
    camera = PinholeCamera(_whole(width, 1, 1 << 20), _whole(height, 1, 1 << 20), float(focal))
    _require(1e-3 < camera.focal_px / max(camera.width, camera.height) < 1e4)
    x0, y0, side, distance = _numbers(facts["crop"], (4,), 1e7).tolist()
    _require(side >= 1)
    rotation = _numbers(facts["rotation"], (3, 3), 2.0)
    expected = CropView.of(camera, x0, y0, side)
    _require(np.allclose(rotation, expected.rotation, atol=1e-3))
    _require(np.isclose(distance, expected.distance, rtol=1e-3))
    return CropView(camera, x0, y0, side, rotation, distance)


def _frame(facts: dict[str, Any]) -> WorldFrame:
    """How the object was stood up."""
    turned, scale, moved = facts["frame"]
    rotation = _numbers(turned, (3, 3), 2.0)
    _require(np.allclose(rotation @ rotation.T, np.eye(3), atol=1e-3))
    _require(np.linalg.det(rotation) > 0)
    size = float(_numbers(scale, (), 1e9))
    _require(size > 1e-9)
    return WorldFrame(rotation, size, _numbers(moved, (3,), 1e12))


def _require(holds: bool | np.bool_) -> None:
    if not holds:
        raise ValueError("what was kept contradicts itself")


def _whole(value: object, least: int, most: int) -> int:
    """A whole number of a JSON file."""
    if not isinstance(value, int) or not least <= value <= most:
        raise ValueError("a number is not as it was written")
    return value


def _numbers(values: object, shape: tuple[int, ...], most: float) -> NDArray[np.float64]:
    """Numbers of a JSON file, none of them larger than ``most``."""
    array = np.array(values)
    _require(array.dtype.kind in "if" and array.shape == shape)
    array = array.astype(np.float64)
    _require(bool((np.abs(array) <= most).all()))  # false for what is not a number, too
    return array


def _square(array: NDArray[Any], largest: int) -> NDArray[Any]:
    """An (S, S) array of a size that is worth anything."""
    _require(array.ndim == 2 and SMALLEST <= len(array) <= largest)
    _require(array.shape[0] == array.shape[1])
    return array


def _half(depth: Floats) -> NDArray[np.float16]:
    """Depth in half precision, which has no room for what is very far away."""
    return np.clip(depth, -60000, 60000).astype(np.float16)


def _jpeg(colour: Floats) -> NDArray[np.uint8]:
    return to_jpeg(as_bytes(colour))


def _from_jpeg(data: NDArray[np.uint8], largest: int, finest: int) -> Floats:
    pixels = from_jpeg(data, finest, largest)
    _require(pixels.shape[0] == pixels.shape[1] >= SMALLEST)
    return pixels.astype(np.float32) / 255
