"""One picture of a thing becomes a closed, textured mesh of it."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..contracts import CameraArrays, Detail, MaterialArrays, MeshArrays, Shaping
from ..errors import CutOutError
from ..field.grid import GridField
from ..field.integrate import fuse_depth_and_normals
from ..field.observation import Observation, WorldFrame
from ..field.offset import offset
from ..field.outline import local_width, tilt_at_rim
from ..field.protocol import Field
from ..field.symmetry import (
    SymmetricField,
    find_mirror,
    frontal_plane,
    made_symmetric,
    turned_plane,
)
from ..field.two_sided import (
    FILLET,
    TwoSidedSurface,
    nearest_inside,
    signed_pixels,
    solid_from_two_sides,
)
from ..image import blur, enlarge, sample, shrink
from ..surface.bricks import sample_near_surface
from ..surface.contour import dual_contour
from ..surface.decimate import decimate
from ..surface.intersections import parted
from ..surface.nets import smooth
from ..surface.parts import keep_solid_parts
from ..texture.charts import cut_into_charts
from ..texture.delight import drawn
from ..texture.material import Finish, make_material
from ..texture.pack import pack_charts
from .upright import SNAP, steadied_up, world_from_camera

Floats = NDArray[np.float32]

CELLS: dict[Detail, int] = {"low": 64, "medium": 128, "high": 192, "ultra": 288}
FEWEST_FACES = 32  # a smaller budget leaves nothing of a shape
SMALLEST_PART = 0.003  # share of the largest part's volume under which a loose part is dust
DEEPEST = 1.5  # thickness in local widths of the silhouette
BACK_BLUR = 0.014  # of the crop's side: thickness must not press the front's relief into the back
BACK_SURETY = 0.3  # of the guessed far side in a fit, where the near side has 1
THINNEST, THINNEST_GUESS = 0.005, 0.02  # units of the view: of what is measured, and of a guess
TILT = (0.3, 0.55)  # of normals near the silhouette: of what has edges there, and of what is round
ROUNDEST, ROUNDEST_DRAWN = 0.2, 0.4  # radius of the rounding there of what is round, and drawn
ROW = 4096  # points whose colours are looked up at a time
FRONTAL_SNAP = math.radians(15.0)  # what is symmetric and seen from ahead stands upright
MARGIN_PER_SIZE = 1 / 256  # free texels around each chart: enough for three mip levels at 1024 px


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What the object engine makes; see ``contracts.Reconstruction`` for the fields.

    ``frame`` says how the object was stood up, ``crossings`` how many faces pass through others.
    """

    mesh: MeshArrays
    material: MaterialArrays
    camera: CameraArrays
    frame: WorldFrame
    crossings: int


@dataclass(frozen=True, slots=True)
class Dress:
    """What an object is painted with.

    Attributes:
        colour: (C, C, 3) float32 0..1 sRGB picture of the crop.
        mask: (C, C) subject probability.
        up: (3,) up direction in the view frame.
        elsewhere: Colours (N, 3) at (N, 3) points of the view frame that the picture does not show;
            carried over from the picture if None.
        is_frontal: Whether the picture looks straight at the front of a symmetric thing.
    """

    colour: Floats
    mask: Floats
    up: Floats
    elsewhere: Callable[[Floats], Floats] | None = None
    is_frontal: bool = False


Stage = Callable[[str], Callable[[float], None]]


def build_object(
    observation: Observation,
    detail: Detail,
    texture_size: int,
    size_m: float,
    stage: Stage,
    shaping: Shaping | None = None,
    frame: WorldFrame | None = None,
) -> ObjectResult:
    """Build the solid, its surface and its texture.

    Args:
        observation: What the picture says.
        detail: How fine the mesh is.
        texture_size: Side of the square texture in pixels.
        size_m: Longest side of the result's bounding box in metres.
        stage: Called with the name of each stage as it begins; gives a function to report that
            stage's finished share with, which raises to cancel.
        shaping: The artist's changes to the shape.
        frame: How the object stood before it was shaped again; ``size_m`` does not count then.

    Raises:
        CutOutError: When nothing solid is left of the subject.
    """
    view, shaping = observation.view, shaping or Shaping()
    report = stage("Shaping the solid")
    observation = _cut_at(observation, shaping.cut_threshold)
    pictured = observation.mask  # the picture has the thing's colours nowhere else
    mirror = find_mirror(observation)
    is_turned = shaping.symmetry == "x" and shaping.turn != 0
    is_frontal = mirror.is_strong or shaping.symmetry == "x"
    plane = None
    if not is_turned and shaping.symmetry != "off" and is_frontal:
        observation = made_symmetric(observation, mirror)
        plane = frontal_plane(mirror, view)
    field, spacing = shaped_field(observation, CELLS[detail], shaping, report)
    if is_turned:
        plane = turned_plane(field, observation.up, shaping.turn)
        field = SymmetricField(field, plane)

    report = stage("Extracting the surface")
    bricks = sample_near_surface(field, spacing, lambda share: report(0.3 * share))
    positions, quads = dual_contour(bricks, field, lambda share: report(0.3 + 0.6 * share))
    if not len(quads):
        raise CutOutError(
            "Nothing solid was found in the cut-out: check the cut-out or paint a mask."
        )
    positions, quads = keep_solid_parts(positions, quads, SMALLEST_PART)
    positions = smooth(positions, quads, shaping.smoothness)
    faces, finish = quads, Finish(albedo=observation.albedo)
    if 0 < shaping.faces < len(quads):
        budget = max(shaping.faces, FEWEST_FACES)
        positions, faces = decimate(positions, quads, budget, lambda s: report(0.9 + 0.1 * s))
        finish = replace(finish, fine_normals=lambda points: _unit(field.gradient(points)))

    finish = replace(finish, delight=shaping.delight, relief=shaping.bump, mirror=plane)
    side = observation.colour.shape[0]
    mask = enlarge(pictured, side, side)
    is_ahead = is_frontal and not is_turned
    behind = observation.back_colour
    elsewhere = None if behind is None else colours_behind(behind, view)
    dress = Dress(observation.colour, mask, observation.up, elsewhere, is_ahead)
    return finish_object(positions, faces, view, dress, texture_size, size_m, stage, frame, finish)


def finish_object(
    positions: Floats,
    faces: NDArray[np.int32],
    view: CropView,
    dress: Dress,
    texture_size: int,
    size_m: float,
    stage: Stage,
    frame: WorldFrame | None = None,
    finish: Finish | None = None,
) -> ObjectResult:
    """Unwrap a closed surface, paint it and stand it up.

    Args:
        positions: (V, 3) in the view frame.
        faces: (F, 3) or (F, 4), counter-clockwise seen from outside.
        view: The crop's camera.
        dress: What it is painted with.
        texture_size: Side of the square texture in pixels.
        size_m: Longest side of the result's bounding box in metres.
        stage: See ``build_object``.
        frame: How the object is to stand; found if None.
        finish: Which maps the material gets.
    """
    report = stage("Unwrapping")
    report(0.0)
    positions, crossings = parted(positions, faces, lambda: report(0.0))
    report(0.3)
    charts = cut_into_charts(positions, faces)
    margin = max(2, round(texture_size * MARGIN_PER_SIZE))
    atlas = pack_charts(charts, texture_size, margin, lambda share: report(0.6 + 0.4 * share))

    report = stage("Painting the texture")
    inside = signed_pixels(dress.mask)
    material = make_material(
        positions, faces, atlas, view, dress.colour, inside, report, dress.elsewhere, finish
    )

    seen = view.to_camera(positions)
    frame = frame or _upright_frame(seen, view, dress, size_m)
    mesh = MeshArrays(
        frame.place(seen),
        faces.ravel(),
        np.full(len(faces), faces.shape[1], np.int32),
        atlas.uvs.reshape(-1, 2),
    )
    camera = CameraArrays(
        frame.camera_to_world(), view.camera.fov_x, view.camera.width, view.camera.height
    )
    return ObjectResult(mesh, material, camera, frame, crossings)


def shaped_field(
    observation: Observation, cells: int, shaping: Shaping, report: Callable[[float], None]
) -> tuple[Field, float]:
    """Make the field that an observation says, and how finely its surface is to be looked at.

    Args:
        observation: What the picture says.
        cells: Along the longest side of a solid about as wide as high and deep.
        shaping: The artist's changes.
        report: Called with the finished share, 0 to 1; raises to cancel.

    Returns:
        The field in the view frame, and the cell size of its extraction.
    """
    share = 0.2 if shaping.is_neural else 1.0
    surface = _reshaped(two_sided_surface(observation, lambda s: report(share * s)), shaping)
    grid = solid_from_two_sides(surface, observation.view, cells, lambda s: report(share * s))
    solid = offset(grid, shaping.level)
    if not shaping.is_neural:
        return solid, grid.spacing
    field = _fitted(observation, surface, solid, shaping, lambda s: report(0.2 + 0.8 * s))
    return field, grid.spacing


def _fitted(
    observation: Observation,
    surface: TwoSidedSurface,
    solid: GridField,
    shaping: Shaping,
    report: Callable[[float], None],
) -> Field:
    """A neural field on top of a grid, fitted to what both sides look like in detail."""
    from ..machine.device import best_device

    device = best_device("auto")  # loads PyTorch
    from ..field.evidence import evidence_of_view, moved_outwards
    from ..field.fit import Effort, fit

    # Stretched relief no longer fits the normals, which are then read off the depth.
    normals = observation.normals if shaping.depth_range == 1 else None
    evidence = evidence_of_view(
        observation.view,
        surface.front,
        surface.back,
        observation.mask,
        None,
        normals,
        back_surety=np.maximum(np.float32(BACK_SURETY), surface.surety),
    )
    evidence = moved_outwards(evidence, shaping.level)
    return fit(evidence, solid.bounds, solid, Effort(), device, 0, report)


def _unit(vectors: Floats) -> Floats:
    return vectors / np.maximum(np.linalg.norm(vectors, axis=1, keepdims=True), 1e-12)


def colours_behind(back: Floats, view: CropView) -> Callable[[Floats], Floats]:
    """Colours by place in the view frame of what the picture does not show.

    Args:
        back: (B, B, 3) 0..1 what the far side looks like, seen from the front through the thing.
        view: The crop's camera.
    """

    def colours(points: Floats) -> Floats:
        where = view.crop_coordinates(points, len(back))
        rows = -(-len(points) // ROW)  # OpenCV takes no longer rows than 32767
        square = np.zeros((rows * ROW, 2), np.float32)
        square[: len(points)] = where
        return sample(back, square.reshape(rows, ROW, 2)).reshape(-1, 3)[: len(points)]

    return colours


def _cut_at(observation: Observation, threshold: float) -> Observation:
    """Move the subject's border to where its probability is ``threshold``."""
    if threshold == 0.5:
        return observation
    mask = np.clip(observation.mask + np.float32(0.5 - threshold), 0, 1)
    return replace(observation, mask=mask.astype(np.float32))


def _reshaped(surface: TwoSidedSurface, shaping: Shaping) -> TwoSidedSurface:
    """Stretch the front's relief about its middle, and the depth of what lies behind it."""
    if shaping.depth_range == 1 and shaping.thickness == 1:
        return surface
    thickness = (surface.back - surface.front) * np.float32(shaping.thickness)
    middle = np.float32(np.median(surface.front))
    front = middle + (surface.front - middle) * np.float32(shaping.depth_range)
    return replace(surface, front=front, back=np.maximum(front + thickness, front + 0.02))


def two_sided_surface(observation: Observation, report: Callable[[float], None]) -> TwoSidedSurface:
    """Sharpen the front with its normals and centre the solid on the view's distance.

    What is sure stays as it is.
    """
    view = observation.view
    size = observation.front.shape[0]
    mask = shrink(observation.mask, size, size) > 0.5
    if not mask.any():
        raise CutOutError("The cut-out is empty: check the cut-out or paint a mask.")
    front, back = observation.front, np.maximum(observation.back, observation.front)
    centre = float((front[mask].min() + back[mask].max()) / 2)
    depth = np.maximum(front - centre + view.distance, 0.2 * view.distance).astype(np.float32)
    sharp = fuse_depth_and_normals(
        depth, observation.normals, mask, view.crop_rays(size), lambda: report(0.0)
    )
    doubt = 1 - np.broadcast_to(np.float32(observation.surety), depth.shape)
    front = depth + doubt * (sharp - depth) - np.float32(view.distance)
    measured = back - np.float32(centre)
    back = np.minimum(measured, front + _deepest(mask))
    back = measured + doubt * (_smoothed(back, mask, BACK_BLUR * size) - measured)
    thinnest = THINNEST + doubt * (THINNEST_GUESS - THINNEST)
    back = np.maximum(back, front + thinnest).astype(np.float32)
    nearest = nearest_inside(mask)
    return TwoSidedSurface(
        front.astype(np.float32).ravel()[nearest],
        back.ravel()[nearest],
        observation.mask,
        (1 - doubt).ravel()[nearest],
        _fillet(observation),
    )


def _fillet(observation: Observation) -> Floats:
    """(S, S) radius of the rounding at the silhouette, in the view's units.

    What already turns away before the silhouette is round; what is drawn in flat colours shows no
    relief to tell by, and is most often a head or a body.
    """
    size = observation.front.shape[0]
    outline = signed_pixels(shrink(observation.mask, size, size)) * np.float32(2 / size)
    side = observation.colour.shape[0]
    flat = drawn(observation.colour, signed_pixels(enlarge(observation.mask, side, side)))
    low, high = TILT
    tilt = tilt_at_rim(observation.normals, outline)
    round_ = np.clip((tilt - low) / (high - low), 0, 1)
    most = ROUNDEST + flat * (ROUNDEST_DRAWN - ROUNDEST)
    round_ = np.maximum(round_, flat)
    return (FILLET + round_ * (most - FILLET)).astype(np.float32)


def _deepest(mask: NDArray[np.bool_]) -> Floats:
    """(S, S) largest believable thickness in the view's units.

    Depth that nothing in the picture shows is the network's weakest guess, above all for slim
    things: few are much deeper than their outline is wide.
    """
    size = mask.shape[0]
    width = blur(local_width(mask), 0.012 * size) * np.float32(2.0 / size)
    return np.float32(DEEPEST) * np.maximum(width, np.float32(0.02))


def _smoothed(values: Floats, mask: NDArray[np.bool_], sigma: float) -> Floats:
    """Blur inside the mask; nothing leaks in from outside of it."""
    weight = mask.astype(np.float32)
    total = blur(values.astype(np.float32) * weight, sigma)
    return total / np.maximum(blur(weight, sigma), 1e-3)


def _upright_frame(seen: Floats, view: CropView, dress: Dress, size_m: float) -> WorldFrame:
    """Stand the subject's (N, 3) points of the camera frame on the floor, ``size_m`` long."""
    axis = view.rotation[2]
    snap = FRONTAL_SNAP if dress.is_frontal else SNAP
    rotation = world_from_camera(steadied_up(view.to_camera(dress.up), axis, snap), axis)
    world = seen @ rotation.T.astype(np.float32)
    low, high = world.min(axis=0), world.max(axis=0)
    scale = size_m / float((high - low).max())
    base = np.array([(low[0] + high[0]) / 2, high[1], (low[2] + high[2]) / 2])
    return WorldFrame(rotation, scale, -base * scale)
