"""The surface of a region: by depth maps and silhouettes, and refined by volume rendering if wanted.

Everything after them, texture above all, does not know which of the two it was.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from ...contracts import Detail
from ...errors import PictureError
from ...field.grid import GridField
from ...surface.nets import drop_small_parts, smooth
from ..depth.priors import Prior
from ..placement.region import Region
from ..watch import Watch
from .contouring import contoured, reaching_far
from .fusion import TRUNCATION, Evidence, fuse
from .measuring import SIDES, Measured, Stage, collected, measure, picture_side
from .preview import preview_of_field

Floats = NDArray[np.float32]
Ints = NDArray[np.int32]

STEPS: dict[Detail, int] = {"low": 120, "medium": 250, "high": 350, "ultra": 450}
RAYS: dict[Detail, int] = {"low": 2048, "medium": 4096, "high": 6144, "ultra": 8192}
SMOOTHING = 3
SMALLEST_PART = 0.02
AGREED = 2  # depth maps with which a surface counts as measured, and is held while it is refined
COLOURS_LEARNT = 0.15  # of a refinement: before, a preview takes its colours from the pictures


@dataclass(frozen=True, slots=True)
class Shape:
    """A surface in the region's frame.

    Attributes:
        positions: (V, 3) float32.
        faces: (F, 4) int32 of a closed mesh.
        known: Share of the subject's pixels for which a depth was found.
        made_by: How, in words.
    """

    positions: Floats
    faces: Ints
    known: float
    made_by: str = "fused depth"


def shape_by_fusion(
    region: Region,
    detail: Detail,
    stage: Stage,
    watch: Watch | None = None,
    prior: Prior | None = None,
) -> Shape:
    """Find depth for each view, fuse it, cut it by the silhouettes, extract the surface.

    Args:
        region: Views in the frame of their box.
        detail: How fine.
        stage: Called with the name of each stage as it begins; gives a function to report that
            stage's finished share with, which raises to cancel.
        watch: Shown the outlines' hull and the fused surface.
        prior: Guesses depth where none can be measured.

    Raises:
        PictureError: When no surface is found.
    """
    watch = watch or Watch()
    measured = measure(region, detail, stage, watch, prior)
    report = stage("Fusing")
    evidence = collected(measured, report)
    _show_fused(region, measured, evidence, watch)
    return extract(region, measured, evidence, lambda: report(1.0))


def shape_by_rendering(
    region: Region,
    detail: Detail,
    device: str,
    seed: int,
    stage: Stage,
    watch: Watch,
    *,
    moves_cameras: bool,
    prior: Prior | None = None,
) -> tuple[Shape, Region]:
    """Refine the fused surface until it looks like the pictures.

    Args:
        region: Views in the frame of their box.
        detail: How fine, and how much work.
        device: Of PyTorch.
        seed: Of every random choice.
        stage: As for ``shape_by_fusion``.
        watch: Sees the surface as it becomes better, and may end the refinement early.
        moves_cameras: Turn and shift each camera a little, too: they were estimated.
        prior: As for ``shape_by_fusion``.

    Returns:
        The shape, and the region with cameras that fit it better if those could be moved.

    Raises:
        PictureError: When no surface is found.
    """
    measured = measure(region, detail, stage, watch, prior)
    report = stage("Fusing")
    evidence = collected(measured, report)
    _show_fused(region, measured, evidence, watch)
    if watch.is_enough():
        return extract(region, measured, evidence, lambda: report(1.0)), region
    report = stage("Refining by the pictures")
    return refined_shape(
        region,
        measured,
        evidence,
        detail,
        device,
        seed,
        report,
        watch,
        moves_cameras=moves_cameras,
    )


def refined_shape(
    region: Region,
    measured: Measured,
    evidence: Evidence,
    detail: Detail,
    device: str,
    seed: int,
    report: Callable[[float], None],
    watch: Watch,
    *,
    moves_cameras: bool,
) -> tuple[Shape, Region]:
    """The refinement of ``shape_by_rendering`` alone."""
    from .photometric import Sample, Training, refine

    def look(share: float, sample: Sample) -> bool:
        if watch.wants_to_see():
            field, colours = sample()
            words = f"Refined, {share:.0%}"
            learnt = colours if share > COLOURS_LEARNT else None
            preview = preview_of_field(field, region.views, words, learnt)
            if preview is not None:
                watch.look(preview)
        return watch.is_enough()

    side = round(float(np.median([picture_side(view, SIDES[detail]) for view in region.views])))
    training = Training(STEPS[detail], RAYS[detail], side, moves_cameras=moves_cameras)
    start = fused(region, measured, evidence)
    agreed = evidence.weight >= AGREED
    refined = refine(region, start, training, device, seed, report, look, agreed)
    positions, faces = _surface(refined.field, lambda share: report(1.0))
    made_by = "volume rendering"
    if len(refined.losses) < training.steps:
        made_by += f", finished early at {len(refined.losses) / training.steps:.0%}"
    shape = Shape(positions, faces, measured.known, made_by)
    return shape, replace(region, views=refined.views)


def _show_fused(region: Region, measured: Measured, evidence: Evidence, watch: Watch) -> None:
    if watch.show is not None:
        preview = preview_of_field(fused(region, measured, evidence), region.views, "Fused")
        if preview is not None:
            watch.look(preview)


def extract(
    region: Region,
    measured: Measured,
    evidence: Evidence,
    report: Callable[[], None] = lambda: None,
) -> Shape:
    """The surface that depth and silhouettes leave.

    Args:
        region: The views.
        measured: What they say.
        evidence: What their depth maps say together.
        report: Called often; raises to cancel.

    Raises:
        PictureError: When there is none.
    """
    field = fused(region, measured, evidence)
    positions, faces = _surface(field, lambda share: report())
    return Shape(smooth(positions, faces, SMOOTHING), faces, measured.known)


def fused(region: Region, measured: Measured, evidence: Evidence) -> GridField:
    """The distance that depth and silhouettes leave, cut off a few cells from the surface."""
    is_object = region.kind == "object"
    if not is_object:
        evidence = _shell(evidence)
    outside, floor = measured.outside, region.floor
    return fuse(measured.grid, evidence, outside, floor, is_object=is_object)


def _surface(field: GridField, report: Callable[[float], None]) -> tuple[Floats, Ints]:
    """The zero level without crumbs, closed.

    Raises:
        PictureError: When there is none.
    """
    far = reaching_far(field, TRUNCATION, lambda: report(0.0))
    positions, faces = contoured(far, field.spacing, report)
    if not len(faces):
        raise PictureError(
            "No surface was found that several pictures agree on: take more pictures with more"
            " overlap, or give masks."
        )
    return drop_small_parts(positions, faces, SMALLEST_PART)


def _shell(evidence: Evidence) -> Evidence:
    """A place is a thin closed shell behind what was seen; its back is taken off later."""
    nothing = np.zeros_like(evidence.behind)
    return Evidence(evidence.distance, evidence.weight, evidence.through, nothing)
