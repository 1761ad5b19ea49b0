"""The networks that tell the subject of several pictures from its background."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ..contracts import PictureFile, Request
from ..networks.run import Networks
from ..subject.find import bundled_mask, mask_on_plain
from .contracts import ViewsRequest

Floats = NDArray[np.float32]
Stage = Callable[[str], Callable[[float], None]]


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
        plain = mask_on_plain(self._networks.bundled(), rgb, lambda _: None)
        if plain is not None:
            return plain
        matte = self._networks.matte(rgb)
        if matte is not None:
            return matte
        return bundled_mask(self._networks.bundled(), rgb, lambda _: None)[0]
