"""All maps of an object's material from one picture of it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from ..camera import CropView
from ..contracts import MaterialArrays
from ..field.mirror import MirrorPlane
from ..image import blur, enlarge, shrink
from ..stopping import bands, chance_to_stop
from ..surface.topology import split_faces
from .charts import triangle_normals
from .complete import bleed_outwards
from .delight import (
    LUMINANCE,
    Shading,
    drawn,
    fit_shading,
    light_beyond,
    linear_from_srgb,
    without_light,
)
from .far_side import SIDE, far_side
from .occlusion import ambient_occlusion
from .pack import Atlas
from .project import paint, picture_trust, sample_points, vertex_normals
from .raster import depth_buffer, fragments
from .surface_map import SurfaceMap, map_surface
from .tangent import tangent_normals

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

MATT = 0.6  # roughness of what shows no highlights
GLOSSIEST = 0.45  # roughness of what shows as many as MANY
MANY = 0.02  # share of the visible surface in highlights
OCCLUSION_SIDE = 256  # of the map that occlusion is found on; it varies smoothly
FIT_SIDE = 160  # of the crop that the light is fitted on
RELIEF_BLUR = (0.8, 5.0)  # sigmas in crop pixels between which brightness is taken for relief


@dataclass(frozen=True, slots=True)
class Finish:
    """How a material is made.

    Attributes:
        delight: How much of the fitted light is taken out of the base colour, 0 to 1.
        relief: Height of the picture's fine brightness as relief in the normal map; 0 for none.
        occlusion: Whether to make an ambient occlusion map.
        fine_normals: Unit normals (N, 3) of the fine surface at (N, 3) points of the view frame: what
            a decimated mesh has lost; None when the mesh has lost nothing. 0 where unknown.
        albedo: (A, A, 3) sRGB 0..1 what a network takes for the crop's paint, coarsely; it has a say in
            what is taken out as light. None when nothing is known.
        mirror: The plane in which the thing is symmetric, so that what is hidden is painted like its
            mirror image; None when there is none.
    """

    delight: float = 0.0
    relief: float = 0.0
    occlusion: bool = True
    fine_normals: Callable[[Floats], Floats] | None = None
    albedo: Floats | None = None
    mirror: MirrorPlane | None = None


def make_material(
    positions: Floats,
    faces: Ints,
    atlas: Atlas,
    view: CropView,
    crop: Floats,
    inside: Floats,
    report: Callable[[float], None],
    elsewhere: Callable[[Floats], Floats] | None = None,
    finish: Finish | None = None,
) -> MaterialArrays:
    """Paint base colour and make the other maps.

    Args:
        positions: (V, 3) in the view frame.
        faces: (F, K).
        atlas: Where each face lies in the texture.
        view: The camera of the crop.
        crop: (S, S, 3) float32 0..1 sRGB colours of the crop.
        inside: (S, S) crop pixels to the silhouette, positive inside.
        report: Called with the finished share, 0 to 1; raises to cancel.
        elsewhere: Colours of what the picture does not show, see ``paint``.
        finish: Which maps, and how strong.
    """
    finish = finish or Finish()
    report(0.0)
    surface = map_surface(faces, atlas)
    report(0.15)
    normals = vertex_normals(positions, faces)
    seen = _normals_in_crop(positions, faces, normals, view, min(FIT_SIDE, crop.shape[0]))
    shading, highlights = _light(seen, crop, inside)
    lit = 1 - drawn(crop, inside)
    delight = lit * finish.delight
    if delight > 0:
        light = shading.log(_continued(seen, crop.shape[0]))
        if finish.albedo is not None:  # the errors of the two differ
            light = (light + light_beyond(crop, finish.albedo, inside)) / 2
        crop = without_light(crop, light, delight)
    imagined = None
    if elsewhere is None:
        # What lights the near side does not light the far one. The fit alone: a network's guess of the
        # paint leaves pattern in the light.
        side = min(SIDE, crop.shape[0])
        depth = shrink(inside, side, side) * np.float32(side / inside.shape[0])
        left = shading.log(_continued(seen, side)) * np.float32(lit - delight)
        imagined = far_side(without_light(shrink(crop, side, side), left, 1.0), depth)
    report(0.25)
    base = paint(
        positions, faces, atlas, view, crop, inside, lambda s: report(0.25 + 0.45 * s),
        elsewhere, surface, imagined, finish.mirror,
    )  # fmt: skip
    report(0.7)
    occlusion = None
    if finish.occlusion:
        occlusion = _occlusion(surface, positions, normals, atlas, lambda s: report(0.7 + 0.2 * s))
    report(0.9)
    normal = None
    if finish.fine_normals is not None or finish.relief > 0:
        wanted = _wanted_normals(surface, positions, normals, faces, view, crop, inside, finish)
        normal = tangent_normals(surface, positions, normals, faces, atlas, wanted)
    report(1.0)
    roughness = MATT - (MATT - GLOSSIEST) * min(highlights / MANY, 1.0)
    return MaterialArrays(base, round(roughness, 3), 0.0, normal, occlusion)


def _light(seen: Floats, crop: Floats, inside: Floats) -> tuple[Shading, float]:
    """The light on the visible surface, and the share of it in highlights.

    A highlight is clearly brighter than the fitted light allows, nearly white, and small.
    """
    side = len(seen)
    step = crop.shape[0] / side
    spots = ((np.arange(side) + 0.5) * step).astype(np.int64)
    colours = blur(crop, 0.5 * step)[spots][:, spots] if step > 1 else crop
    sure = inside[spots][:, spots] > 2 * step
    sure &= (np.linalg.norm(seen, axis=-1) > 0.5) & (seen[..., 2] < -0.25)
    if not sure.any():
        return Shading(np.zeros(4), 0.0), 0.0
    chosen, facing = colours[sure], seen[sure]
    shading = fit_shading(chosen, facing)
    luminance = linear_from_srgb(chosen) @ LUMINANCE
    beyond = np.log(np.maximum(luminance, 1e-3) / max(float(np.median(luminance)), 1e-3))
    beyond -= shading.log(facing)
    pale = chosen.max(axis=1) - chosen.min(axis=1) < 0.2
    bright = (beyond > 0.8) & pale & (luminance > 0.5)
    share = float(bright.mean())
    return shading, share if share < 1.5 * MANY else 0.0  # more than that is white paint


def _normals_in_crop(
    positions: Floats, faces: Ints, normals: Floats, view: CropView, side: int
) -> Floats:
    """(side, side, 3) normal of the first surface at each pixel; 0 where there is none."""
    triangles = split_faces(faces)
    turned = triangle_normals(positions[triangles])
    front = (turned * positions[triangles[:, 0]]).sum(axis=1) < 0
    triangles = triangles[front]
    points = view.crop_coordinates(positions, side)[triangles]
    depth = positions[triangles][..., 2]
    nearest = depth_buffer(points, depth, side, side).ravel()
    found = np.zeros((side * side, 3), np.float32)
    for part in fragments(points, side, side):
        here = 1 / (part.weights / depth[part.triangle]).sum(axis=1)
        first = here <= nearest[part.pixel] * (1 + 1e-6)
        corners = triangles[part.triangle[first]]
        found[part.pixel[first]] = np.einsum("nk,nkc->nc", part.weights[first], normals[corners])
    found /= np.maximum(np.linalg.norm(found, axis=1, keepdims=True), 1e-12)
    return found.reshape(side, side, 3)


def _continued(image: Floats, side: int) -> Floats:
    """(side, side, 3) normals enlarged, and continued beyond the silhouette."""
    known = np.linalg.norm(image, axis=-1) > 0.5
    if not known.any():
        return np.zeros((side, side, 3), np.float32)
    image = enlarge(blur(bleed_outwards(image, known), 1.0), side, side)
    for rows in bands(side, 6 * side):
        image[rows] /= np.maximum(np.linalg.norm(image[rows], axis=-1, keepdims=True), 1e-6)
    return image


def _occlusion(
    surface: SurfaceMap,
    positions: Floats,
    normals: Floats,
    atlas: Atlas,
    report: Callable[[float], None],
) -> NDArray[np.uint8]:
    """(M, M) uint8 linear, 255 = open; M is the side of the surface map or a part of it."""
    side = surface.covered.shape[0]
    step = max(1, side // OCCLUSION_SIDE)
    rows = np.arange(step // 2, side, step)
    texels = (rows[:, None] * side + rows).ravel()
    here = surface.of_vertices(np.concatenate([positions, normals], axis=1), texels)
    points = here[:, :3]
    facing = here[:, 3:] / np.maximum(np.linalg.norm(here[:, 3:], axis=1, keepdims=True), 1e-12)
    on = surface.covered.ravel()[texels]
    if on.sum() < 64:
        return np.full((len(rows), len(rows)), 255, np.uint8)
    spacing = atlas.texel * surface.factor * step
    found = np.ones(len(texels), np.float32)
    found[on] = ambient_occlusion(points[on], facing[on], spacing, report)
    image = bleed_outwards(
        found.reshape(len(rows), len(rows), 1), on.reshape(len(rows), len(rows))
    )[..., 0]
    large = blur(image, 0.7)
    return (np.clip(large, 0, 1) * 255 + 0.5).astype(np.uint8)


def _wanted_normals(
    surface: SurfaceMap,
    positions: Floats,
    normals: Floats,
    faces: Ints,
    view: CropView,
    crop: Floats,
    inside: Floats,
    finish: Finish,
) -> Floats:
    """(S * S, 3) unit normals that the map is to show."""
    here = surface.of_vertices(np.concatenate([positions, normals], axis=1))
    points, wanted = here[:, :3], here[:, 3:]
    wanted = wanted / np.maximum(np.linalg.norm(wanted, axis=1, keepdims=True), 1e-12)
    if finish.fine_normals is not None:
        chance_to_stop()
        fine = finish.fine_normals(points)
        # What looks another way belongs to another part of the surface close by.
        usable = (fine * wanted).sum(axis=1) > 0.2
        wanted = np.where(usable[:, None], fine, wanted)
    if finish.relief > 0:
        trust, where = picture_trust(positions, faces, view, inside, points, wanted)
        grey = np.log(np.maximum(linear_from_srgb(crop) @ LUMINANCE, 0.02))
        height = blur(grey, RELIEF_BLUR[0]) - blur(grey, RELIEF_BLUR[1])
        height = np.clip(height, -0.5, 0.5) * np.float32(finish.relief * RELIEF_BLUR[1])
        chance_to_stop()
        dy, dx = np.gradient(height)
        slope = sample_points(np.dstack([dx, dy]).astype(np.float32), where)
        moved = wanted.copy()
        moved[:, :2] -= trust[:, None] * slope
        wanted = moved / np.maximum(np.linalg.norm(moved, axis=1, keepdims=True), 1e-12)
    return wanted
