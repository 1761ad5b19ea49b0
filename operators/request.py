"""Blender's properties and images become a request; copies only, so that undo cannot hurt."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from typing import cast

import bpy
import numpy as np
from numpy.typing import NDArray

from ..inference.contracts import (
    Device,
    ModelChoices,
    Picks,
    PictureFile,
    PicturePixels,
    Request,
    Shaping,
)
from ..inference.errors import CutOutError, PictureError
from .options import ReconstructionOptions
from .preferences import models_folder
from .scene.image import image_pixels

MAX_PACKED_PIXELS = 100_000_000  # Blender holds 16 bytes for each
NARROWEST_FOV = 0.02  # radians; anything below means "not known"
SHAPED = ("symmetry", "is_neural", "delight", "bump")  # of a Shaping, asked for beforehand
STAGES = ("cut_out", "pick", "depth", "object", "upscale", "inpaint")  # fields of ModelChoices


def request_from(
    options: ReconstructionOptions,
    source: PictureFile | PicturePixels,
    mask: NDArray[np.uint8] | None,
    device: str,
    picks: Picks | None = None,
) -> Request:
    """Put together what the worker needs.

    Args:
        options: An operator or a property group that mixes the options in.
        source: The picture.
        mask: (H, W) uint8, 255 = subject, or None.
        device: One of the identifiers of ``options.DEVICES``.
        picks: What was clicked on, if anything.
    """
    return Request(
        source=source,
        engine=options.engine.lower(),
        detail=options.detail.lower(),
        mask=mask,
        picks=picks,
        cut_out=options.cut_out.lower(),
        texture_size=options.texture_size,
        size_m=options.size_m,
        is_solid=options.is_solid,
        fills_behind=options.use_fill_behind,
        fov_x=options.fov_x if options.fov_x >= NARROWEST_FOV else None,
        device=device_named(device),
        seed=options.seed,
        steps=options.steps,
        guidance=options.guidance,
        shaping=Shaping(
            symmetry=options.symmetry.lower(),
            is_neural=options.is_neural,
            delight=options.delight,
            bump=options.bump,
        ),
        models=model_choices({stage: getattr(options, f"{stage}_model") for stage in STAGES}),
    )


def model_choices(wanted: Mapping[str, str]) -> ModelChoices:
    """Which networks run, looked for in the folder of the preferences.

    Args:
        wanted: For each of ``STAGES`` "AUTO", "BUNDLED" or a model's id.
    """
    plain = {stage: name.lower() if name.isupper() else name for stage, name in wanted.items()}
    return ModelChoices(**plain, folder=models_folder())


def device_named(identifier: str) -> Device:
    """The worker's name of one of ``options.DEVICES``."""
    return cast("Device", identifier.lower())


def settings_from(request: Request) -> dict[str, object]:
    """Everything that shapes the result except the picture, ready for JSON."""
    settings = {
        name: getattr(request, name)
        for name in Request.__dataclass_fields__
        if name not in {"source", "mask", "picks", "device", "models", "shaping"}
    }
    settings |= {name: getattr(request.shaping, name) for name in SHAPED}
    settings["has_mask"] = request.mask is not None
    if request.picks is not None:
        settings["picks"] = asdict(request.picks)
    chosen = {stage: getattr(request.models, stage) for stage in STAGES}
    settings["models"] = {stage: model for stage, model in chosen.items() if model != "auto"}
    return settings


def source_from_image(image: bpy.types.Image) -> PictureFile | PicturePixels:
    """Take the picture's file when it is the whole truth, else its pixels.

    The file is better: the worker reads it without stopping Blender, and it knows the focal length.

    Raises:
        PictureError: When the image holds no still picture.
    """
    if image.source in {"MOVIE", "TILED"}:
        raise PictureError(f"{image.name} is not a still picture: choose a single image.")
    if image.source in {"FILE", "SEQUENCE"} and not image.packed_files and not image.is_dirty:
        path = Path(bpy.path.abspath(image.filepath, library=image.library))
        if path.is_file():
            return PictureFile(path)
    if image.size[0] * image.size[1] > MAX_PACKED_PIXELS:
        raise PictureError(
            f"{image.name} is too large to be read from the .blend: unpack it to a file first."
        )
    pixels = image_pixels(image)
    if pixels.size == 0:
        raise PictureError(
            f"{image.name} has no pixels: open its file again, or save a render to a file first."
        )
    return PicturePixels(pixels, Path(image.name).stem)


def source_from_path(path: str) -> PictureFile:
    """A picture on disk; ``path`` may start with Blender's ``//``."""
    return PictureFile(Path(bpy.path.abspath(path)))


def image_named(name: str) -> bpy.types.Image:
    """Find a loaded image.

    Raises:
        PictureError: When there is none of that name.
    """
    image = bpy.data.images.get(name)
    if image is None:
        raise PictureError(f"There is no image called {name}: open the picture first.")
    return image


def mask_from_image(image: bpy.types.Image) -> NDArray[np.uint8]:
    """Read a mask: white is the subject; black and transparent are the background.

    Raises:
        CutOutError: When the image has no pixels.
    """
    pixels = image_pixels(image)
    if pixels.size == 0:
        raise CutOutError(f"The mask {image.name} has no pixels: paint it or choose another.")
    grey = pixels[..., :3].astype(np.uint32).sum(axis=2) * pixels[..., 3] // (3 * 255)
    return grey.astype(np.uint8)
