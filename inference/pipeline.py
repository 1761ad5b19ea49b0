"""The recipe: picture in, finished arrays out. Runs on the worker thread."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .contracts import CutOut, Picture, Reconstruction, RefineRequest, Request, StageCost
from .cost import StageClock
from .failures import translated_failures
from .networks import Networks
from .subject import CROP_MARGIN, Subject, choose_engine, find_subject

if TYPE_CHECKING:
    from .engines.object import ObjectResult
    from .engines.scene import SceneResult
    from .engines.triplane import PlacedResult
    from .models.two_sided import ObjectGeometry, TwoSidedNetwork
    from .networks import ObjectField, SceneDepth

Report = Callable[[float, str], None]
Floats = NDArray[np.float32]

WIDER = 1.1  # side of the second, wider crop
MASK_SIDE = 768  # largest side of the crop's mask in pixels
OBJECT_FOV = math.radians(30.0)  # field of view of the subject's crop when the camera is unknown
BUNDLED_EDGE_BLUR = 9.0  # half width of depth edges in pixels of the depth map
SHARP_EDGE_BLUR = 1.5  # of installed depth networks, which see edges finely
FAR_SIDE = 512  # pixels of the square in which the far side is imagined, at most
RIM = 0.03  # of that side: how far the far side shows the outline's own colours
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
    from .archive import unpack
    from .engines.object import build_object

    steps.stage("Reading the picture")
    kept = unpack(request.archive)
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


def _read(request: Request, steps: _Run) -> Picture:
    steps.stage("Reading the picture")
    from .picture.load import load_picture

    return load_picture(request.source)


def _run_object(
    picture: Picture, request: Request, subject: Subject, network: Networks, steps: _Run
) -> Reconstruction:
    from .archive import Archive, pack
    from .camera import CropView, PinholeCamera
    from .engines.object import build_object
    from .observation import Observation
    from .picture import cutout
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
    geometry = _looked_at_twice(net, rgb, mask, (x0, y0, side), lambda: report(0.2))
    colours = int(np.clip(side, 256, request.texture_size))
    if subject.is_matte:
        from .picture.matting import foreground_colours

        rgb = foreground_colours(_bytes(rgb), mask, lambda: report(0.8)).astype(np.float32) / 255
    crop = cutout.sample_crop(rgb, x0, y0, side, colours, None)
    sharper = _sharpened(network, rgb, (x0, y0, side), request.texture_size)
    observation = Observation(
        view=view,
        front=geometry.front,
        back=geometry.back,
        normals=geometry.normals,
        up=geometry.up,
        mask=crop_mask,
        colour=crop if sharper is None else sharper,
        back_colour=_far_side(network, crop, crop_mask),
        albedo=_paint(net, rgb, mask, (x0, y0, side), lambda: report(0.9)),
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


def _bytes(colours: Floats) -> NDArray[np.uint8]:
    return np.round(np.clip(colours, 0, 1) * 255).astype(np.uint8)


def _sharpened(
    network: Networks, rgb: Floats, square: tuple[float, float, float], wanted: int
) -> Floats | None:
    """A square of the picture as an installed network for finer textures draws it.

    Args:
        network: May know how to enlarge pictures.
        rgb: (H, W, 3) 0..1 the picture.
        square: Left, top and side in pixels.
        wanted: Side of the texture; the result has no more pixels.

    Returns:
        (S, S, 3) 0..1, or None when no such network is installed or it would show no more.
    """
    from .picture.cutout import sample_crop

    native = max(16, min(round(square[2]), wanted))
    larger = network.upscaled(_bytes(sample_crop(rgb, *square, native, None)), wanted)
    return None if len(larger) == native else larger.astype(np.float32) / 255


def _far_side(network: Networks, crop: Floats, mask: Floats) -> Floats | None:
    """What the far side may look like: the rim's colours, continued by an installed network.

    Args:
        network: May know how to fill holes.
        crop: (C, C, 3) 0..1 the subject's crop.
        mask: (M, M) subject probability of the crop.

    Returns:
        (B, B, 3) 0..1, or None when no such network is installed.
    """
    if network.chosen("inpaint") is None:
        return None
    from .field.two_sided import nearest_inside, signed_pixels
    from .image import enlarge, shrink

    size = min(len(crop), FAR_SIDE)
    depth = signed_pixels(
        enlarge(mask, size, size) if size > len(mask) else shrink(mask, size, size)
    )
    rim = (depth > 0) & (depth <= max(RIM * size, 2.0))
    colours = _bytes(shrink(crop, size, size))
    # Nothing of the background may be taken up: outside, the rim's colours go on.
    colours = colours.reshape(-1, 3)[nearest_inside(rim)]
    filled = network.filled(colours, depth > max(RIM * size, 2.0))
    return None if filled is None else filled.astype(np.float32) / 255


def _paint(
    net: TwoSidedNetwork,
    rgb: Floats,
    mask: Floats,
    square: tuple[float, float, float],
    report: Callable[[], None],
) -> Floats:
    """(A, A, 3) 0..1 what the network takes for the subject's paint; it goes on beyond the outline.

    Arguments as in ``_looked_at_twice``.
    """
    from .field.two_sided import nearest_inside
    from .image import shrink
    from .models.two_sided import OBJECT_SIZE
    from .picture.cutout import sample_crop

    colours = sample_crop(rgb, *square, OBJECT_SIZE, None)
    subject = sample_crop(mask[..., None], *square, OBJECT_SIZE, 0.0)[..., 0]
    albedo = net.estimate_appearance(colours, subject, report).albedo
    inside = shrink(subject, *albedo.shape[1::-1]) > 0.5
    return albedo.reshape(-1, 3)[nearest_inside(inside)] if inside.any() else albedo


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
        sharper = _sharpened(network, drawn.rgb, square, request.texture_size)
        placed = build_from_field(
            drawn.field,
            drawn.axes,
            DrawnSubject(drawn.rgb, mask, *square, _focal(picture, request), sharper),
            request.detail,
            request.texture_size,
            request.size_m,
            steps.stage,
            Finish(delight=request.shaping.delight, relief=request.shaping.bump),
            lambda colours, cover: _far_side(network, colours, cover),
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


def _looked_at_twice(
    net: TwoSidedNetwork,
    rgb: Floats,
    mask: Floats,
    square: tuple[float, float, float],
    report: Callable[[], None],
) -> ObjectGeometry:
    """Average what the network says of a crop and of a wider one; errors of the two differ.

    Args:
        net: The network.
        rgb: (H, W, 3) 0..1 the picture.
        mask: (H, W) 0..1 the subject.
        square: Left, top and side of the crop in pixels.
        report: Raises to cancel.
    """
    from .models.two_sided import OBJECT_SIZE, ObjectGeometry
    from .picture.cutout import sample_crop

    x0, y0, side = square
    size, border = OBJECT_SIZE, side * (WIDER - 1) / 2

    def look(left: float, top: float, width: float) -> ObjectGeometry:
        colours = sample_crop(rgb, left, top, width, size, None)
        subject = sample_crop(mask[..., None], left, top, width, size, 0.0)[..., 0]
        return net.estimate_object(colours, subject, report)

    near, wide = look(x0, y0, side), look(x0 - border, y0 - border, side * WIDER)
    inset = size * (1 - 1 / WIDER) / 2
    stack = np.dstack([wide.front, wide.back, wide.normals])
    stack = sample_crop(stack, inset, inset, size / WIDER, size, None)
    weight = near.mask / max(float(near.mask.sum()), 1.0)
    front, back = stack[..., 0] * WIDER, stack[..., 1] * WIDER  # its unit is that much longer
    shift = float(((near.front - front) * weight).sum())
    normals = near.normals + stack[..., 2:]
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    up = near.up + wide.up
    return ObjectGeometry(
        mask=near.mask,
        front=(near.front + front + shift) / 2,
        back=(near.back + back + shift) / 2,
        normals=normals,
        up=up / max(float(np.linalg.norm(up)), 1e-6),
    )


def _run_scene(
    picture: Picture, request: Request, subject: Subject | None, network: Networks, steps: _Run
) -> Reconstruction:
    from .camera import PinholeCamera
    from .engines.scene import build_scene
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
    result = build_scene(
        rgb,
        scene.depth if finer is None else finer.depth,
        scene.up,
        PinholeCamera(width, height, focal),
        request.detail,
        request.texture_size,
        _median_m(finer, request),
        request.is_solid,
        steps.stage(stage),
        fills_behind=request.fills_behind,
        edge_blur=BUNDLED_EDGE_BLUR if finer is None else SHARP_EDGE_BLUR,
        fill=partial(network.filled, stage=stage) if request.fills_behind else None,
    )
    return _finished(result, "scene", picture, network, steps)


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
    )
