"""What the networks for whole objects share: a framed subject in, a solid with its frame out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from ...errors import CutOutError
from ...image import as_bytes

Floats = NDArray[np.float32]
Solid = TypeVar("Solid")

FAINT = 4  # alpha up to this (of 255) counts as background when the subject is framed


@dataclass(frozen=True, slots=True)
class FramedPicture:
    """A subject as a network wants to see it.

    Attributes:
        rgb: (side, side, 3) float32 sRGB 0..1 of the subject on plain ground.
        x0: Left edge of what is seen in pixels of the picture; may lie outside of it.
        y0: Its top edge.
        side: Its side.
    """

    rgb: Floats
    x0: float
    y0: float
    side: float


@dataclass(frozen=True, slots=True)
class Reconstructed(Generic[Solid]):
    """What a network made of a picture.

    Attributes:
        field: The thing; see the network's module for its frame.
        x0: Left edge of the square that the network looked at, in pixels of the picture.
        y0: Its top edge.
        side: Its side.
        seed: The seed it grew from; None where nothing is drawn by seed.
    """

    field: Solid
    x0: float
    y0: float
    side: float
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Cover:
    """A cut-out in 8 bits without its faintest traces.

    Attributes:
        alpha: (H, W) uint8.
        top: First row with anything of the subject.
        left: First column.
        bottom: Last row.
        right: Last column.
    """

    alpha: NDArray[np.uint8]
    top: int
    left: int
    bottom: int
    right: int

    @classmethod
    def of(cls, mask: Floats) -> Cover:
        """Round a (H, W) mask from 0 to 1.

        Raises:
            CutOutError: Nothing is cut out.
        """
        alpha = as_bytes(mask)
        alpha[alpha <= FAINT] = 0
        rows, columns = np.flatnonzero(alpha.any(axis=1)), np.flatnonzero(alpha.any(axis=0))
        if not len(rows):
            raise CutOutError("The cut-out is empty: check the cut-out or paint a mask.")
        return cls(alpha, int(rows[0]), int(columns[0]), int(rows[-1]), int(columns[-1]))
