"""A solid that a network drew from one picture becomes a closed, textured mesh of it.

The field may be TripoSR's triplane or any other that obeys ``field.protocol``: it is contoured,
turned until its outline covers the subject in the picture, and painted with the picture where that
sees it. Elsewhere it has the field's own colours; where it has none, what the far side is imagined
to look like.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView, PinholeCamera
from ..contracts import Detail
from ..errors import CutOutError
from ..field.protocol import Field
from ..field.vecset import VecSetField
from ..picture.cut_out.cutout import sample_crop
from ..picture.intrinsics import focal_from_fov
from ..surface.bricks import sample_near_surface
from ..surface.contour import dual_contour
from ..surface.nets import smooth
from ..surface.parts import keep_solid_parts
from ..texture.material import Finish
from .matching import Placement, place_in_view
from .object import CELLS, Dress, ObjectResult, Stage, colours_behind, finish_object

Floats = NDArray[np.float32]
Axes = Literal["triposr", "triposg"]
Imagine = Callable[[Floats, Floats], Floats | None]

MASK_SIDE = 512  # of the crop's mask in pixels, at most
SMALLEST_PART = 0.004  # share of the largest part's volume under which a loose part is dust
SMOOTHING = 2  # rounds; takes off the ripples between the features of a plane
FOV = 0.6981317  # of the network's square when the camera is unknown: 40 degrees, as in training
BLENDED = 4096  # vertices that tell how the field's colours differ from the picture's, at most
GAIN = (0.6, 1.7)  # least and most that the field's colours are stretched
DOUBT = 0.03**2  # variance of colours under which they do not tell a gain

# Rows: what is right, down and away from the viewer, in the field's frame.
AXES: dict[Axes, NDArray[np.float64]] = {
    "triposr": np.array([[0.0, 1, 0], [0, 0, -1], [-1, 0, 0]]),
    "triposg": np.array([[1.0, 0, 0], [0, -1, 0], [0, 0, -1]]),
}


@dataclass(frozen=True, slots=True)
class Subject:
    """A picture, what is cut out of it, and where the network looked.

    Attributes:
        rgb: (H, W, 3) float32 sRGB 0..1.
        mask: (H, W) subject probability.
        x0: Left edge of the square that the network saw, in pixels; may lie outside.
        y0: Its top edge.
        side: Its side.
        focal_px: Focal length of the picture in pixels if known.
        sharper: (S, S, 3) the square, finer than the picture shows it; None when there is none.
    """

    rgb: Floats
    mask: Floats
    x0: float
    y0: float
    side: float
    focal_px: float | None = None
    sharper: Floats | None = None


@dataclass(frozen=True, slots=True)
class PlacedResult:
    """The finished object, and how well its outline covers the subject's (0 to 1)."""

    result: ObjectResult
    overlap: float


def build_from_field(
    field: Field,
    axes: Axes,
    subject: Subject,
    detail: Detail,
    texture_size: int,
    size_m: float,
    stage: Stage,
    finish: Finish | None = None,
    imagine: Imagine | None = None,
) -> PlacedResult:
    """Contour a field, match it to its picture, unwrap and paint it.

    Args:
        field: The solid, in the network's own frame.
        axes: Whose frame that is.
        subject: What it was made of.
        detail: How fine the mesh is.
        texture_size: Side of the square texture in pixels.
        size_m: Longest side of the result's bounding box in metres.
        stage: Called with the name of each stage as it begins; gives a function to report that
            stage's finished share with, which raises to cancel.
        finish: Which maps the material gets.
        imagine: From the crop's colours (C, C, 3) and its mask (C, C) to what the far side looks
            like, (B, B, 3) seen from the front through the thing, or None where that is not known;
            asked only when the field has no colours.

    Raises:
        CutOutError: When nothing solid is in the field.
    """
    report = stage("Extracting the surface")
    positions, quads = _surface(field, CELLS[detail], lambda share: report(0.7 * share))

    view = _view(subject)
    size = int(np.clip(subject.side, 64, MASK_SIDE))
    mask = _crop(subject.mask[..., None], subject, size, 0.0)[..., 0]
    placement = place_in_view(
        positions, AXES[axes], view, mask, lambda share: report(0.7 + 0.3 * share)
    )
    seen = placement.to_view(positions)

    colour = subject.sharper
    if colour is None:
        side = int(np.clip(subject.side, 256, texture_size))
        colour = _crop(subject.rgb, subject, side, None)
    mask = _crop(subject.mask[..., None], subject, len(colour), 0.0)[..., 0]
    up = (placement.rotation @ -AXES[axes][1]).astype(np.float32)
    paint = _field_colours(field, placement, view, seen, quads, colour, mask)
    if paint is None and imagine is not None:
        behind = imagine(colour, mask)
        paint = None if behind is None else colours_behind(behind, view)
    dress = Dress(colour, mask, up, paint)
    result = finish_object(seen, quads, view, dress, texture_size, size_m, stage, finish=finish)
    return PlacedResult(result, placement.overlap)


def _surface(
    field: Field, cells: int, report: Callable[[float], None]
) -> tuple[Floats, NDArray[np.int32]]:
    extent = field.bounds.high - field.bounds.low
    spacing = float(extent.max()) / cells
    if isinstance(field, VecSetField):
        spacing = field.affordable(spacing)
    bricks = sample_near_surface(field, spacing, lambda share: report(0.6 * share))
    positions, quads = dual_contour(bricks, field, lambda share: report(0.6 + 0.4 * share))
    positions, quads = keep_solid_parts(positions, quads, SMALLEST_PART)
    if not len(quads):
        raise CutOutError(
            "The network found nothing solid in the cut-out: check the cut-out or paint a mask."
        )
    return smooth(positions, quads, SMOOTHING), quads


def _view(subject: Subject) -> CropView:
    """The camera of the square that the network saw."""
    height, width = subject.mask.shape
    focal = subject.focal_px
    if focal is None:
        focal = focal_from_fov(FOV, subject.side)
    return CropView.of(PinholeCamera(width, height, focal), subject.x0, subject.y0, subject.side)


def _crop(image: Floats, subject: Subject, size: int, border: float | None) -> Floats:
    return sample_crop(image, subject.x0, subject.y0, subject.side, size, border)


def _field_colours(
    field: Field,
    placement: Placement,
    view: CropView,
    seen: Floats,
    quads: NDArray[np.int32],
    colour: Floats,
    mask: Floats,
) -> Callable[[Floats], Floats] | None:
    """Colours by place in the view frame, made to fit the picture's; None if the field has none."""
    from ..texture.project import vertex_normals

    facing = (vertex_normals(seen, quads) * -seen).sum(axis=1) / np.linalg.norm(seen, axis=1)
    where = np.floor(view.crop_coordinates(seen, mask.shape[0])).astype(np.int64)
    where = np.clip(where, 0, mask.shape[0] - 1)
    row, column = where[:, 1], where[:, 0]
    known = np.flatnonzero((facing > 0.6) & (mask[row, column] > 0.95))
    known = known[:: max(1, len(known) // BLENDED)]
    said = field.query(placement.to_solid(seen[known])).colour
    if said is None:
        return None
    gain, offset = np.ones(3), np.zeros(3)
    if len(known) >= 32:
        gain, offset = _colour_change(said, colour[row[known], column[known]])

    def paint(points: Floats) -> Floats:
        found = field.query(placement.to_solid(points)).colour
        assert found is not None
        return np.clip(found * gain + offset, 0, 1).astype(np.float32)

    return paint


def _colour_change(said: Floats, shown: Floats) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Gain and offset of each channel that bring some colours (N, 3) closest to others."""
    first, second = said.astype(np.float64), shown.astype(np.float64)
    apart = first - first.mean(axis=0)
    together = (apart * (second - second.mean(axis=0))).mean(axis=0)
    # Where hardly anything varies, nothing tells the gain: it stays near one.
    gain = (together + DOUBT) / ((apart**2).mean(axis=0) + DOUBT)
    gain = np.clip(gain, *GAIN)
    return gain, second.mean(axis=0) - gain * first.mean(axis=0)
