"""The recipe: picture in, finished arrays out. Runs on the worker thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .contracts import (
    CutOut,
    Picture,
    Reconstruction,
    RefineRequest,
    Request,
    SceneShaping,
    StageCost,
)
from .networks.run import Networks
from .running.cost import StageClock
from .running.failures import translated_failures
from .subject.crop import far_side, looked_at_twice, paint, sharpened
from .subject.find import CROP_MARGIN, Subject, choose_engine, find_subject

if TYPE_CHECKING:
    from .engines.object import ObjectResult
    from .engines.scene import SceneResult
    from .engines.triplane import PlacedResult
    from .networks.run import ObjectField, SceneDepth

Report = Callable[[float, str], None]
Floats = NDArray[np.float32]

MASK_SIDE = 768  # largest side of the crop's mask in pixels
OBJECT_FOV = math.radians(30.0)  # field of view of the subject's crop when the camera is unknown
BUNDLED_EDGE_BLUR = 9.0  # half width of depth edges in pixels of the depth map
SHARP_EDGE_BLUR = 1.5  # of installed depth networks, which see edges finely
MATCHED = 0.85  # overlap of outlines below which the artist is told
SCENE_FOV = math.radians(60.0)  # field of view of a scene's longer side when the camera is unknown

# Share of a run at which each stage begins, measured on two cores at medium detail.
_BEGINS = {
    "Reading the picture": 0.0,
    "Loading the network": 0.03,
    "Cutting out the subject": 0.12,
    "Estimating the shape": 0.2,
    "Sharpening the picture": 0.3,
    "Imagining the far side": 0.33,
    "Shaping the solid": 0.35,
    "Extracting the surface": 0.55,
    "Unwrapping": 0.62,
    "Painting the texture": 0.75,
    "Building the relief": 0.5,
    "Checking the mesh": 0.97,
}


class _Run:
    """Progress and cost of one run."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._clock = StageClock()
        self._furthest = 0.0

    def stage(self, name: str) -> Callable[[float], None]:
        """Begin a stage; the result reports its finished share, and raises to cancel."""
        begin = _BEGINS[name]
        end = min((b for b in _BEGINS.values() if b > begin), default=1.0)
        self._clock.next(name)
        self._tell(begin, name)
        return lambda share: self._tell(begin + share * (end - begin), name)

    def _tell(self, fraction: float, name: str) -> None:
        """Report; the bar never goes back, though networks may be loaded amid other stages."""
        self._furthest = max(self._furthest, fraction)
        self._report(self._furthest, name)

    def finish(self) -> tuple[StageCost, ...]:
        self._clock.next(None)
        return self._clock.stages()


def run(request: Request, report: Report) -> Reconstruction:
    """Reconstruct one picture.

    Args:
        request: What to make of what.
        report: Called with the finished share (0 to 1) and the stage in words; raises
            ``RunCancelled`` to stop.

    Raises:
        ImageToMeshError: With a sentence for the artist.
    """
    with translated_failures():
        return _run(request, _Run(report))


def refine(request: RefineRequest, report: Report) -> Reconstruction:
    """Shape a finished object again from what was kept with it; no network runs.

    The result stands where the first one stood, so its camera still matches.

    Raises:
        ImageToMeshError: With a sentence for the artist.
    """
    with translated_failures():
        return _refine(request, _Run(report))


def cut_out(request: Request, report: Report) -> CutOut:
    """Only find the subject, so that the artist can check it before generating.

    Raises:
        ImageToMeshError: With a sentence for the artist.
    """
    with translated_failures():
        steps = _Run(report)
        picture = _read(request, steps)
        networks = Networks(request, steps.stage)
        found = find_subject(picture, request, networks, steps.stage).cut_out
        return replace(found, networks=networks.labels())


def _run(request: Request, steps: _Run) -> Reconstruction:
    picture = _read(request, steps)
    network = Networks(request, steps.stage)
    engine, subject = choose_engine(picture, request, network, steps.stage)
    if engine == "object":
        assert subject is not None
        return _run_object(picture, request, subject, network, steps)
    return _run_scene(picture, request, subject, network, steps)


def _refine(request: RefineRequest, steps: _Run) -> Reconstruction:
    if isinstance(request.shaping, SceneShaping):
        return _refine_scene(request, request.shaping, steps)
    from .engines.archive import unpack
    from .engines.object import build_object

    steps.stage("Reading the picture")
    kept = unpack(request.archive, request.texture_size)
    result = build_object(
        kept.observation,
        request.detail,
        request.texture_size,
        1.0,
        steps.stage,
        request.shaping,
        kept.frame,
    )
    pixels = np.round(kept.observation.colour * 255).astype(np.uint8)
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    picture = Picture(np.concatenate([pixels, opaque], axis=2), False, None, request.name)
    return _finished(result, "object", picture, kept.model, steps, request.archive)


def _refine_scene(request: RefineRequest, shaping: SceneShaping, steps: _Run) -> Reconstruction:
    from .engines.scene import build_scene
    from .engines.scene_archive import unpack

    steps.stage("Reading the picture")
    kept = unpack(request.archive)
    result = build_scene(
        kept.sight,
        request.detail,
        request.texture_size,
        kept.median * shaping.size_m,
        shaping,
        steps.stage("Building the relief"),
        shift=kept.shift,
    )
    pixels = kept.sight.pixels
    opaque = np.full((*pixels.shape[:2], 1), 255, np.uint8)
    picture = Picture(np.concatenate([pixels, opaque], axis=2), False, None, request.name)
    return _finished(result, "scene", picture, kept.model, steps, request.archive)


def _read(request: Request, steps: _Run) -> Picture:
    report = steps.stage("Reading the picture")
    from .picture.files.load import load_picture

    return load_picture(request.source, report=lambda: report(0.0))


def _run_object(
    picture: Picture, request: Request, subject: Subject, network: Networks, steps: _Run
) -> Reconstruction:
    from .camera import CropView, PinholeCamera
    from .engines.archive import Archive, pack
    from .engines.object import build_object
    from .field.observation import Observation
    from .picture.cut_out import cutout
    from .picture.intrinsics import focal_from_fov

    drawn = _draw_object(picture, request, subject, network, steps)
    if drawn is not None:
        return drawn
    net = network.bundled()
    report = steps.stage("Estimating the shape")
    mask = subject.cut_out.mask
    height, width = mask.shape
    x0, y0, side = cutout.crop_square(mask, CROP_MARGIN)
    focal = _focal(picture, request)
    if focal is None:
        focal = focal_from_fov(OBJECT_FOV, side)
    view = CropView.of(PinholeCamera(width, height, focal), x0, y0, side)

    rgb = picture.pixels[..., :3].astype(np.float32) / 255
    if subject.cut_out.origin == "alpha":
        rgb = rgb * mask[..., None] + 0.5 * (1 - mask[..., None])
    fine = int(np.clip(side, 256, MASK_SIDE))
    crop_mask = cutout.sample_crop(mask[..., None], x0, y0, side, fine, 0.0)[..., 0]
    geometry = looked_at_twice(net, rgb, mask, (x0, y0, side), lambda: report(0.2))
    colours = int(np.clip(side, 256, request.texture_size))
    if subject.is_matte:
        from .image import as_bytes
        from .picture.cut_out.matting import foreground_colours

        rgb = foreground_colours(as_bytes(rgb), mask, lambda: report(0.8)).astype(np.float32) / 255
    crop = cutout.sample_crop(rgb, x0, y0, side, colours, None)
    sharper = sharpened(network, rgb, (x0, y0, side), request.texture_size)
    observation = Observation(
        view=view,
        front=geometry.front,
        back=geometry.back,
        normals=geometry.normals,
        up=geometry.up,
        mask=crop_mask,
        colour=crop if sharper is None else sharper,
        back_colour=far_side(network, crop, crop_mask),
        albedo=paint(net, rgb, mask, (x0, y0, side), lambda: report(0.9)),
    )
    result = build_object(
        observation,
        request.detail,
        request.texture_size,
        request.size_m,
        steps.stage,
        request.shaping,
    )
    archive = pack(Archive(observation, result.frame, network.name()))
    return _finished(result, "object", picture, network, steps, archive)


def _draw_object(
    picture: Picture, request: Request, subject: Subject, network: Networks, steps: _Run
) -> Reconstruction | None:
    """The object as an installed network draws it; None when there is no such network."""
    from .engines.triplane import Subject as DrawnSubject
    from .engines.triplane import build_from_field
    from .texture.material import Finish

    pixels, mask = picture.pixels[..., :3], subject.cut_out.mask

    def finish(drawn: ObjectField) -> tuple[PlacedResult, bool]:
        square = drawn.x0, drawn.y0, drawn.side
        sharper = sharpened(network, drawn.rgb, square, request.texture_size)
        placed = build_from_field(
            drawn.field,
            drawn.axes,
            DrawnSubject(drawn.rgb, mask, *square, _focal(picture, request), sharper),
            request.detail,
            request.texture_size,
            request.size_m,
            steps.stage,
            Finish(delight=request.shaping.delight, relief=request.shaping.bump),
            lambda colours, cover: far_side(network, colours, cover),
        )
        return placed, getattr(drawn.field, "is_faint", False)

    found = network.with_object_field(pixels, mask, finish)
    if found is None:
        return None
    placed, is_faint = found
    if is_faint:
        network.notes.append(
            "The network saw hardly anything solid: check the cut-out, or try another model or seed."
        )
    elif placed.overlap < MATCHED:
        network.notes.append(
            f"The shape covers only {placed.overlap:.0%} of the subject's outline: another model or"
            " seed may fit better."
        )
    return _finished(placed.result, "object", picture, network, steps)


def _run_scene(
    picture: Picture, request: Request, subject: Subject | None, network: Networks, steps: _Run
) -> Reconstruction:
    from .camera import PinholeCamera
    from .engines.scene import SceneSight, build_scene
    from .engines.scene_archive import SceneArchive, pack
    from .picture.intrinsics import focal_from_fov

    net = network.bundled()
    report = steps.stage("Estimating the shape")
    rgb = np.ascontiguousarray(picture.pixels[..., :3])
    scene = subject.scene if subject is not None else None
    if scene is None:
        scene = net.estimate_scene(rgb.astype(np.float32) / 255, lambda: report(0.3))
    height, width = rgb.shape[:2]
    focal = _focal(picture, request)
    fov_x = None if focal is None else PinholeCamera(width, height, focal).fov_x
    finer = network.scene_depth(rgb, fov_x)
    if focal is None and finer is not None and finer.fov_x is not None:
        focal = focal_from_fov(finer.fov_x, width)
    if focal is None:
        focal = focal_from_fov(SCENE_FOV, max(height, width))
    stage = "Building the relief"
    sight = SceneSight(
        rgb,
        scene.depth if finer is None else finer.depth,
        scene.up,
        PinholeCamera(width, height, focal),
        BUNDLED_EDGE_BLUR if finer is None else SHARP_EDGE_BLUR,
    )
    median_m = _median_m(finer, request)
    result = build_scene(
        sight,
        request.detail,
        request.texture_size,
        median_m,
        SceneShaping(
            fills_behind=request.fills_behind, is_solid=request.is_solid, size_m=request.size_m
        ),
        steps.stage(stage),
        fill=partial(network.filled, stage=stage) if request.fills_behind else None,
    )
    archive = pack(SceneArchive(sight, median_m / request.size_m, result.shift, network.name()))
    return _finished(result, "scene", picture, network, steps, archive)


def _median_m(depth: SceneDepth | None, request: Request) -> float:
    """A scene's median depth in metres: as the artist says, or real where a network knows it."""
    if depth is None or not depth.is_metric:
        return 4.0 * request.size_m
    return float(np.median(depth.depth)) * request.size_m


def _focal(picture: Picture, request: Request) -> float | None:
    """Focal length in pixels: what the artist said, else what the camera wrote, else None."""
    if request.fov_x is not None:
        from .picture.intrinsics import focal_from_fov

        return focal_from_fov(request.fov_x, picture.pixels.shape[1])
    return picture.focal_px


def _finished(
    result: ObjectResult | SceneResult,
    engine: str,
    picture: Picture,
    made_by: Networks | str,
    steps: _Run,
    archive: bytes | None = None,
) -> Reconstruction:
    from .surface.topology import is_watertight

    steps.stage("Checking the mesh")
    closed = is_watertight(result.mesh.corners, result.mesh.face_sizes)
    return Reconstruction(
        name=picture.name,
        engine=engine,
        model=made_by if isinstance(made_by, str) else made_by.name(),
        mesh=result.mesh,
        material=result.material,
        camera=result.camera,
        picture=picture.pixels,
        is_watertight=closed,
        notes=picture.notes if isinstance(made_by, str) else (*picture.notes, *made_by.notes),
        stages=steps.finish(),
        uses_seed=not isinstance(made_by, str) and made_by.uses_seed,
        archive=archive,
        self_intersections=getattr(result, "crossings", None),
        picture_sha256=picture.sha256,
    )
