"""One picture of a thing becomes a closed, textured mesh of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..contracts import CameraArrays, Detail, MaterialArrays, MeshArrays
from ..errors import CutOutError
from ..field.integrate import fuse_depth_and_normals
from ..field.outline import local_width
from ..field.two_sided import TwoSidedSurface, nearest_inside, signed_pixels, solid_from_two_sides
from ..image import blur, enlarge, shrink
from ..surface.nets import drop_small_parts, smooth, surface_nets
from ..texture.charts import cut_into_charts
from ..texture.pack import pack_charts
from ..texture.project import paint
from .upright import steadied_up, world_from_camera

Floats = NDArray[np.float32]

CELLS: dict[Detail, int] = {"low": 64, "medium": 128, "high": 192, "ultra": 288}
ROUGHNESS = 0.6
SMOOTHING = 4  # rounds; wipes out ripples of about two cells and keeps what is larger
SMALLEST_PART = 0.02  # share of the largest part's faces under which a loose part is dust
DEEPEST = 1.5  # thickness in local widths of the silhouette
BACK_BLUR = 0.014  # of the crop's side: thickness must not press the front's relief into the back
FOLD_CHECK = (
    1024  # texture size up to which a chart's folds are looked for; smaller ones do not show
)
MARGIN_PER_SIZE = 1 / 256  # free texels around each chart: enough for three mip levels at 1024 px


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
    """

    view: CropView
    front: Floats
    back: Floats
    normals: Floats
    up: Floats
    mask: Floats
    colour: Floats


@dataclass(frozen=True, slots=True)
class ObjectResult:
    """What the object engine makes; see ``contracts.Reconstruction`` for the fields."""

    mesh: MeshArrays
    material: MaterialArrays
    camera: CameraArrays


Stage = Callable[[str], Callable[[float], None]]


def build_object(
    observation: Observation, detail: Detail, texture_size: int, size_m: float, stage: Stage
) -> ObjectResult:
    """Build the solid, its surface and its texture.

    Args:
        observation: What the picture says.
        detail: How fine the mesh is.
        texture_size: Side of the square texture in pixels.
        size_m: Longest side of the result's bounding box in metres.
        stage: Called with the name of each stage as it begins; gives a function to report that
            stage's finished share with, which raises to cancel.

    Raises:
        CutOutError: When nothing solid is left of the subject.
    """
    view = observation.view
    report = stage("Shaping the solid")
    surface = two_sided_surface(observation, report)
    field = solid_from_two_sides(surface, view, CELLS[detail], report)

    report = stage("Extracting the surface")
    report(0.0)
    positions, quads = surface_nets(field.distance)
    if not len(quads):
        raise CutOutError(
            "Nothing solid was found in the cut-out: check the cut-out or paint a mask."
        )
    positions, quads = drop_small_parts(positions, quads, SMALLEST_PART)
    positions = smooth(positions, quads, SMOOTHING)
    positions = field.origin + positions * np.float32(field.spacing)

    report = stage("Unwrapping")
    report(0.0)
    charts = cut_into_charts(
        positions, quads, texel=_texel(positions, quads, min(texture_size, FOLD_CHECK))
    )
    report(0.6)
    atlas = pack_charts(charts, texture_size, max(2, round(texture_size * MARGIN_PER_SIZE)))

    report = stage("Painting the texture")
    side = observation.colour.shape[0]
    mask = enlarge(observation.mask, side, side)
    texture = paint(positions, quads, atlas, view, observation.colour, signed_pixels(mask), report)

    mesh, matrix = _stand_up(positions, quads, atlas.uvs, observation, size_m)
    camera = CameraArrays(matrix, view.camera.fov_x, view.camera.width, view.camera.height)
    return ObjectResult(mesh, MaterialArrays(texture, ROUGHNESS), camera)


def two_sided_surface(observation: Observation, report: Callable[[float], None]) -> TwoSidedSurface:
    """Sharpen the front with its normals and centre the solid on the view's distance."""
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
    front = sharp - np.float32(view.distance)
    back = np.minimum(back - centre, front + _deepest(mask))
    back = _smoothed(back, mask, BACK_BLUR * size)
    back = np.maximum(back, front + 0.02).astype(np.float32)
    nearest = nearest_inside(mask)
    return TwoSidedSurface(front.ravel()[nearest], back.ravel()[nearest], observation.mask)


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


def _texel(positions: Floats, quads: NDArray[np.int32], texture_size: int) -> float:
    """Well under the texel size that the atlas will have, to find overlaps at."""
    corner = positions[quads]
    normal = np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1])
    area = 0.5 * float(np.linalg.norm(normal, axis=1).sum())
    return float(0.7 * np.sqrt(area) / texture_size)


def _stand_up(
    positions: Floats,
    quads: NDArray[np.int32],
    uvs: Floats,
    observation: Observation,
    size_m: float,
) -> tuple[MeshArrays, NDArray[np.float64]]:
    """The mesh upright on the floor in metres, and the camera-to-world matrix."""
    view = observation.view
    axis = view.rotation[2]
    up = steadied_up(view.to_camera(observation.up), axis)
    rotation = world_from_camera(up, axis)
    world = view.to_camera(positions) @ rotation.T.astype(np.float32)
    low, high = world.min(axis=0), world.max(axis=0)
    scale = size_m / float((high - low).max())
    base = np.array([(low[0] + high[0]) / 2, high[1], (low[2] + high[2]) / 2])
    matrix = np.eye(4)
    matrix[:3, :3], matrix[:3, 3] = rotation, -base * scale
    mesh = MeshArrays(
        ((world - base) * scale).astype(np.float32),
        quads.ravel(),
        np.full(len(quads), 4, np.int32),
        uvs.reshape(-1, 2),
    )
    return mesh, matrix
