"""What one picture says about a thing: both of its sides as seen through one camera."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Observation:
    """What is known about a subject from one picture, in the frame and units of its crop's view.

    Attributes:
        view: The crop's camera.
        front: (S, S) depth of the first surface along the view axis; the zero is arbitrary.
        back: (S, S) depth of the last surface, same zero.
        normals: (S, S, 3) unit normals of the first surface, facing the viewer.
        up: (3,) up direction in the view frame.
        mask: (M, M) subject probability of the crop.
        colour: (C, C, 3) float32 0..1 sRGB picture of the crop.
        back_colour: (B, B, 3) float32 0..1 sRGB what the far side looks like from here, as if the
            near side were not there; None when nothing says so.
        albedo: (A, A, 3) float32 0..1 sRGB what a network takes for the near side's paint without
            light, coarsely; goes on beyond the outline. None when nothing says so.
        surety: How far front and back are believed, 0 to 1, as one number or (S, S). Where it is 0
            they are guesses: the shape is kept round and smooth; where it is 1 they are measured:
            every step and edge of theirs is kept.
    """

    view: CropView
    front: Floats
    back: Floats
    normals: Floats
    up: Floats
    mask: Floats
    colour: Floats
    back_colour: Floats | None = None
    albedo: Floats | None = None
    surety: Floats | float = 0.0


@dataclass(frozen=True, slots=True)
class WorldFrame:
    """How a result stands in the world: ``world = rotation @ camera * scale + offset``.

    Attributes:
        rotation: (3, 3) from the camera's axes to the world's.
        scale: Metres per unit of the camera frame.
        offset: (3,) metres; where the camera stands.
    """

    rotation: NDArray[np.float64]
    scale: float
    offset: NDArray[np.float64]

    def camera_to_world(self) -> NDArray[np.float64]:
        """(4, 4) matrix of the camera in the world; unlike points it is not scaled."""
        matrix = np.eye(4)
        matrix[:3, :3], matrix[:3, 3] = self.rotation, self.offset
        return matrix

    def place(self, points: Floats) -> Floats:
        """(N, 3) points of the camera frame in the world."""
        world = points @ (self.rotation.T * self.scale) + self.offset
        return world.astype(np.float32)
