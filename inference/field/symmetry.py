"""Find and use the plane in which a thing seen from straight ahead is its own mirror image.

Creatures, vehicles, furniture and bottles have such a plane. Seen from straight ahead it passes
through the camera, so that it shows as a column of the crop about which outline and colours are
mirrored. From other sides one half hides the other, and what a network guesses of it is too rough to
tell symmetry by; there nothing is found, but the artist may say how far the thing is turned: then the
solid itself tells where the plane lies.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..image import blur, sample, shrink
from ..stopping import chance_to_stop
from .mirror import MirrorPlane
from .observation import Observation
from .protocol import Bounds, Field, FieldSample
from .two_sided import signed_pixels

Floats = NDArray[np.float32]

LOOK = 128  # side of the pictures that are compared
SPREAD = 0.06  # of the side: how far from the outline's middle the plane may lie
STEPS = 25  # columns that are tried
OUTLINE = 0.84  # overlap of the outline with its mirror image from which it is symmetric
PAINT = 0.5  # share of the colours' differences that the mirror image must explain
ASIDE = 0.25  # of the solid's width: how far from its middle the plane of a turned thing may lie
LATTICE = 24  # probes along each axis by which that plane is found
PLAIN = 0.03  # mean difference of colours under which they say nothing


@dataclass(frozen=True, slots=True)
class Mirror:
    """A vertical plane through the camera.

    Attributes:
        column: Where it crosses the crop, 0 at the left edge to 1 at the right one.
        outline: Overlap of the outline with its mirror image, 0 to 1.
        paint: Share of the differences between colours that the mirror image explains; 1 when
            there is but one colour.
    """

    column: float
    outline: float
    paint: float

    @property
    def is_strong(self) -> bool:
        """Whether the thing is believed to be symmetric."""
        return self.outline >= OUTLINE and self.paint >= PAINT


def find_mirror(observation: Observation) -> Mirror:
    """The best vertical plane through the camera, however good it is."""
    mask = shrink(observation.mask, LOOK, LOOK)
    colour = blur(shrink(observation.colour, LOOK, LOOK), 0.02 * LOOK)
    columns = np.flatnonzero((mask > 0.5).any(axis=0))
    if not len(columns):
        return Mirror(0.5, 0.0, 0.0)
    middle = (columns[0] + columns[-1] + 1) / 2 / LOOK
    found = [
        _compared(mask, colour, float(column))
        for column in np.linspace(middle - SPREAD, middle + SPREAD, STEPS)
    ]
    return max(found, key=lambda mirror: mirror.outline + 0.2 * mirror.paint)


def _compared(mask: Floats, colour: Floats, column: float) -> Mirror:
    other, hue = _flipped(mask, column), _flipped(colour, column)
    union = float(np.maximum(mask, other).sum())
    both = np.minimum(mask, other)
    total = max(float(both.sum()), 1e-6)
    wrong = float((np.abs(hue - colour).mean(axis=2) * both).sum()) / total
    mean = (colour * both[..., None]).sum(axis=(0, 1)) / total
    # Two colours drawn at random differ about 1.4 times as much as one does from the mean.
    usual = 1.4 * float((np.abs(colour - mean).mean(axis=2) * both).sum()) / total
    paint = 1.0 if usual < PLAIN else float(np.clip(1 - wrong / usual, 0, 1))
    return Mirror(column, total / max(union, 1e-6), paint)


def _flipped(image: Floats, column: float) -> Floats:
    """The mirror image about a column, 0 to 1 of the width; the border goes on."""
    height, width = image.shape[:2]
    x = 2 * column * width - (np.arange(width, dtype=np.float32) + 0.5)
    y = np.arange(height, dtype=np.float32) + 0.5
    where = np.stack(np.meshgrid(x.astype(np.float32), y), axis=-1)
    return sample(image, where)


def frontal_plane(mirror: Mirror, view: CropView) -> MirrorPlane:
    """The mirror as a plane of the view frame."""
    across = view.crop_rays(LOOK)[LOOK // 2, :, 0]
    at = np.interp(mirror.column * LOOK - 0.5, np.arange(LOOK), across)
    normal = np.array([1, 0, -at], np.float32)
    return MirrorPlane(normal / np.linalg.norm(normal).astype(np.float32), 0.0)


def turned_plane(solid: Field, up: Floats, turn: float) -> MirrorPlane:
    """The upright plane in which a solid that does not face the camera is most symmetric.

    Args:
        solid: In the view frame.
        up: (3,) its up direction in the view frame.
        turn: Radians that its front is turned away from the camera, to the picture's right where
            positive.
    """
    up = up / max(float(np.linalg.norm(up)), 1e-6)
    ahead, right = (axis - (axis @ up) * up for axis in (-np.eye(3)[2], np.eye(3)[0]))
    normal = np.cos(turn) * right / np.linalg.norm(right)
    normal = normal - np.sin(turn) * ahead / max(float(np.linalg.norm(ahead)), 1e-6)
    normal = (normal / np.linalg.norm(normal)).astype(np.float32)
    bounds = solid.bounds
    axes = [np.linspace(*ends, LATTICE) for ends in zip(bounds.low, bounds.high, strict=True)]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1).reshape(-1, 3).astype(np.float32)
    points = points[solid.query(points).distance < 0]
    if not len(points):
        return MirrorPlane(normal, 0.0)
    along = points @ normal
    low, high = np.percentile(along, [1, 99])
    best, offset = -1.0, float((low + high) / 2)
    for aside in np.linspace(-ASIDE, ASIDE, STEPS) * (high - low):
        chance_to_stop()
        plane = MirrorPlane(normal, float((low + high) / 2 + aside))
        again = float((solid.query(plane.reflected(points)).distance < 0).mean())
        if again > best:
            best, offset = again, plane.offset
    return MirrorPlane(normal, offset)


@dataclass(frozen=True, slots=True)
class SymmetricField:
    """A field whose halves are alike: the mean of another field and its mirror image."""

    half: Field
    plane: MirrorPlane

    @property
    def bounds(self) -> Bounds:
        low, high = self.half.bounds.low, self.half.bounds.high
        box = np.stack([low, high])
        corners = np.array([[box[i, 0], box[j, 1], box[k, 2]] for i, j, k in np.ndindex(2, 2, 2)])
        every = np.concatenate([corners, self.plane.reflected(corners.astype(np.float32))])
        return Bounds(every.min(axis=0).astype(np.float32), every.max(axis=0).astype(np.float32))

    def query(self, points: Floats) -> FieldSample:
        """Signed distance at (N, 3) points."""
        own, other = self._distance(points), self._distance(self.plane.reflected(points))
        return FieldSample((own + other) / 2)

    def gradient(self, points: Floats) -> Floats:
        """(N, 3) gradient of the distance."""
        other = self.half.gradient(self.plane.reflected(points))
        return (self.half.gradient(points) + self.plane.turned(other)) / 2

    def _distance(self, points: Floats) -> Floats:
        # Beyond its box a field need not rise; against its mirror image it has to.
        bounds = self.half.bounds
        beyond = np.maximum(np.maximum(bounds.low - points, points - bounds.high), 0)
        return self.half.query(points).distance + np.linalg.norm(beyond, axis=1)


def made_symmetric(observation: Observation, mirror: Mirror) -> Observation:
    """Let both halves of the shape agree: each becomes the mean of itself and the other.

    Colours stay as they are. Where only one half is there, it counts alone.
    """
    column = mirror.column
    mask = observation.mask
    outline = signed_pixels(mask)
    outline = (outline + _flipped(outline, column)) / 2
    shape = (observation.front.shape[1], observation.front.shape[0])
    own = np.asarray(cv2.resize(mask, shape, interpolation=cv2.INTER_AREA), np.float32)
    own = np.maximum(own, 1e-3)[..., None]
    stack = np.dstack([observation.front, observation.back, observation.normals]).astype(np.float32)
    other = np.dstack([_flipped(part, column) for part in (stack[..., :3], stack[..., 3:])])
    other[..., 2] *= -1  # the normals' x
    weight = _flipped(own[..., 0], column)[..., None]
    stack = (stack * own + other * weight) / (own + weight)
    normals = stack[..., 2:]
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    surety = np.broadcast_to(np.float32(observation.surety), observation.front.shape)
    return replace(
        observation,
        surety=((surety + _flipped(np.ascontiguousarray(surety), column)) / 2).astype(np.float32),
        front=stack[..., 0],
        back=stack[..., 1],
        normals=normals,
        mask=np.clip(outline + 0.5, 0, 1).astype(np.float32),
    )
