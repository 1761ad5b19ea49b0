"""The networks that tell the subject of several pictures from its background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contracts import PictureFile, Request
from ..networks import Networks
from ..picture.colour_cut import colour_cut
from ..picture.cutout import clean_mask, crop_square, refine_mask, resize_mask, sample_crop
from ..picture.plain_background import plain_background_mask
from .contracts import ViewsRequest

Floats = NDArray[np.float32]
Stage = Callable[[str], Callable[[float], None]]

CROP_MARGIN = 0.15  # free border around the subject that the built-in network knows
SIDE = 256  # of its crops


def networks_for(request: ViewsRequest, stage: Stage) -> Networks:
    """The networks that a request for several pictures may use."""
    return Networks(
        Request(PictureFile(Path()), device=request.device, models=request.models), stage
    )


class Cutter:
    """Cuts single pictures with the installed network that the artist chose, or the built-in one."""

    def __init__(self, request: ViewsRequest, stage: Stage) -> None:
        self._networks = networks_for(request, stage)

    def look(self, crop: NDArray[np.uint8]) -> Floats:
        """(s, s) 0..1 chance of the subject in a square crop (S, S, 3)."""
        matte = self._networks.matte(crop)
        if matte is not None:
            return matte
        return self._networks.bundled().estimate_object(crop.astype(np.float32) / 255).mask

    def alone(self, rgb: NDArray[np.uint8]) -> Floats:
        """(H, W) 0..1 mask of the subject of one whole picture (H, W, 3).

        Raises:
            CutOutError: When nothing stands out.
        """
        plain = plain_background_mask(rgb)
        if plain is not None:
            return plain
        matte = self._networks.matte(rgb)
        if matte is not None:
            return matte
        height, width = rgb.shape[:2]
        colours = rgb.astype(np.float32) / 255
        net = self._networks.bundled()
        whole = resize_mask(clean_mask(net.estimate_scene(colours).mask), (height, width))
        x0, y0, side = crop_square(whole, CROP_MARGIN)
        crop = sample_crop(colours, x0, y0, side, SIDE, None)
        closer = net.estimate_object(crop).mask
        placed = sample_crop(
            closer[..., None],
            -x0 * SIDE / side,
            -y0 * SIDE / side,
            max(height, width) * SIDE / side,
            max(height, width),
            0.0,
        )
        rough = 0.35 * whole + 0.65 * placed[:height, :width, 0]
        return refine_mask(rgb, clean_mask(colour_cut(rgb, rough.astype(np.float32), lambda: None)))
