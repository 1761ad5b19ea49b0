"""Many pictures of one thing or place become one textured mesh with all their cameras."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..contracts import MaterialArrays, MeshArrays, StageCost
from ..errors import MissingPackage, PictureError
from ..running.cost import StageClock
from ..running.failures import translated_failures
from ..views.contracts import (
    PictureStatus,
    Solved,
    SparsePoints,
    View,
    ViewsReconstruction,
    ViewsRequest,
)

if TYPE_CHECKING:
    from ..views.depth.priors import Prior
    from ..views.photos.gather import Gathered
    from ..views.photos.gps import Fit
    from ..views.placement.region import Region, Setting
    from ..views.surface.shape import Shape
    from ..views.watch import PreviewMesh, Watch

Floats = NDArray[np.float32]
Report = Callable[[float, str], None]

ROUGHNESS = 0.7
FEWEST_VIEWS = 2
MEASURED = ("pycolmap", "COLMAP folder", "transforms.json", "scene")  # cameras that stay
MARGIN_PER_SIZE = 1 / 256  # free texels around each chart

# Share of a run at which each stage begins, measured with 16 to 48 pictures on two cores.
_BEGINS = {
    "Reading the pictures": 0.0,
    "Cutting out the sides": 0.02,
    "Finding the cameras": 0.05,
    "Undistorting": 0.38,
    "Finding the subject": 0.4,
    "Comparing the outlines": 0.405,
    "Cutting out the subject": 0.41,
    "Carving by the outlines": 0.46,
    "Measuring depth": 0.48,
    "Comparing depth": 0.64,
    "Guessing bare surfaces": 0.65,
    "Fusing": 0.66,
    "Refining by the pictures": 0.69,
    "Looking at every face": 0.84,
    "Unwrapping": 0.87,
    "Painting the texture": 0.91,
    "Measuring the size": 0.975,
    "Checking the mesh": 0.98,
}


class _Steps:
    """Progress and cost of one run."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self._clock = StageClock()
        self._last = (0.0, "")

    def stage(self, name: str) -> Callable[[float], None]:
        """Begin a stage; the result reports its finished share, and raises to cancel."""
        detailed = self.stage_in_words(name)
        return lambda share: detailed(share, name)

    def stage_in_words(self, name: str) -> Callable[[float, str], None]:
        """The same, for a stage that tells more exactly what it does."""
        begin = _BEGINS[name]
        end = min((b for b in _BEGINS.values() if b > begin), default=1.0)
        self._clock.next(name)
        self._say(begin, name)
        return lambda share, words: self._say(begin + share * (end - begin), words)

    def again(self) -> None:
        """Report the same once more: raises to cancel."""
        self._report(*self._last)

    def _say(self, share: float, words: str) -> None:
        share = max(share, self._last[0])  # a second way to the cameras begins anew
        self._last = (share, words)
        self._report(share, words)

    def finish(self) -> tuple[StageCost, ...]:
        self._clock.next(None)
        return self._clock.stages()


def run(request: ViewsRequest, report: Report, watch: Watch | None = None) -> ViewsReconstruction:
    """Reconstruct from several pictures.

    Args:
        request: What to make of which pictures.
        report: Called with the finished share (0 to 1) and the stage in words; raises
            ``RunCancelled`` to stop.
        watch: Shown the surface while it is made, and may end the refinement early; see
            ``views.watch``.

    Raises:
        ImageToMeshError: With a sentence for the artist.
    """
    with translated_failures():
        return _run(request, report, watch)


def _run(request: ViewsRequest, report: Report, watch: Watch | None) -> ViewsReconstruction:
    from ..views.cameras.turntable import TAKEN_AS_SIDES, may_be_sides
    from ..views.photos.gather import gather, gather_known
    from ..views.placement.placing import fit_on_map
    from ..views.placement.region import find_setting, region_of

    steps = _Steps(report)
    read = gather_known if request.known else gather
    gathered = read(request, steps.stage("Reading the pictures"))
    _require_two(gathered)
    if request.cameras == "turntable" and not request.known:
        gathered = with_sides_cut(request, gathered, steps)
    try:
        views, solved, statuses = place_views(request, gathered, steps)
    except (MissingPackage, PictureError):
        if not may_be_sides(request, gathered.photos):
            raise
        request = replace(request, cameras="turntable")
        gathered = with_sides_cut(request, gathered, steps)
        gathered = replace(gathered, notes=(*gathered.notes, TAKEN_AS_SIDES))
        views, solved, statuses = place_views(request, gathered, steps)
    steps.stage("Finding the subject")
    setting = find_setting(views, solved, request.kind, request.seed)
    cut = cut_out_subject(request, views, setting, steps)
    region = region_of(cut.views, solved, setting)
    statuses = [cut.statuses.get(status.name, status) for status in statuses]
    gathered = replace(gathered, notes=(*gathered.notes, *cut.notes))
    is_refined = refines(request, has_masks=region.has_masks)
    on_map = fit_on_map(request, gathered, solved, region)
    shape, region = _shape(
        request, solved, region, steps, watch, on_map=on_map, is_refined=is_refined
    )
    return _finished(request, gathered, solved, region, shape, statuses, steps, on_map)


def refines(request: ViewsRequest, *, has_masks: bool) -> bool:
    """Whether the fused surface is refined.

    By itself only where that was measured to be better: for things whose masks were given or found.
    Without masks the whole surroundings would have to be learned along.
    """
    if request.surface == "auto":
        return has_masks and find_spec("torch") is not None
    return request.surface == "refined"


def _shape(
    request: ViewsRequest,
    solved: Solved,
    region: Region,
    steps: _Steps,
    watch: Watch | None,
    *,
    on_map: Fit | None,
    is_refined: bool,
) -> tuple[Shape, Region]:
    """The surface, and the region with the cameras that fit it."""
    from ..views.surface.shape import shape_by_fusion, shape_by_rendering
    from ..views.watch import Watch

    watch = _in_world(watch or Watch(), request, solved, region, on_map)
    prior = prior_of(request, region, steps)
    if not is_refined or watch.is_enough():
        return shape_by_fusion(region, request.detail, steps.stage, watch, prior), region
    from ..machine.device import best_device

    device = best_device(request.device)
    watch.can_finish.set()
    try:
        return shape_by_rendering(
            region,
            request.detail,
            # Reading a grid between its samples, with gradients, is not in every PyTorch for Metal.
            "cpu" if device == "mps" else device,
            request.seed,
            steps.stage,
            watch,
            moves_cameras=solved.origin not in MEASURED,
            prior=prior,
        )
    finally:
        watch.can_finish.clear()


def prior_of(request: ViewsRequest, region: Region, steps: _Steps) -> Prior | None:
    """What a network for depth, an installed one or the built-in, says of a view of a place.

    None for a thing, which has its outlines where nothing can be measured, and without PyTorch.
    """
    if region.kind != "place" or find_spec("torch") is None:
        return None
    from ..views.cut import networks_for

    networks = networks_for(request, lambda name: lambda share: steps.again())

    def look(view: View) -> Floats | None:
        found = networks.scene_depth(view.pixels, view.camera.fov_x)
        if found is not None:
            return found.depth
        rgb = view.pixels.astype(np.float32) / 255
        return networks.bundled().estimate_scene(rgb, steps.again).depth

    return look


def _in_world(
    watch: Watch, request: ViewsRequest, solved: Solved, region: Region, on_map: Fit | None
) -> Watch:
    """The same watch for previews in the region's frame: it sees them where the result will be."""
    from ..views.placement.placing import placing_of

    show = watch.show
    if show is None:
        return watch

    def show_placed(preview: PreviewMesh) -> None:
        placing = placing_of(request, solved, region, preview.positions, on_map)
        show(replace(preview, positions=placing.points(preview.positions)))

    return replace(watch, show=show_placed)


def place_views(
    request: ViewsRequest, gathered: Gathered, steps: _Steps
) -> tuple[list[View], Solved, list[PictureStatus]]:
    """Find all cameras and undistort the pictures that have one.

    Raises:
        PictureError: When fewer than two pictures have a camera.
    """
    from ..views.cameras.pinhole import undistorted
    from ..views.cameras.source import solve_cameras
    from ..views.told import statuses_after

    solved = solve_cameras(request, gathered, steps.stage_in_words("Finding the cameras"))
    report = steps.stage("Undistorting")
    views = []
    for index, photo in enumerate(gathered.photos):
        report(index / len(gathered.photos))
        if photo.name in solved.poses:
            views.append(undistorted(photo, solved.poses[photo.name]))
    ahead = solved.ahead
    if ahead is not None:  # the result's camera is that of its front, wherever it is in the list
        views.sort(key=lambda view: -float(view.camera.matrix[:3, 2] @ ahead))
    if len(views) < FEWEST_VIEWS:
        reason = next(iter(solved.reasons.values()), "")
        raise PictureError(
            f"Only {len(views)} of the pictures has a camera, and two are needed: {reason}"
        )
    return views, solved, statuses_after(gathered.statuses, solved)


def _require_two(gathered: Gathered) -> None:
    """Tell why nothing can be made of a single picture, when there were more."""
    reasons = [status.sentence for status in gathered.statuses.values() if not status.is_used]
    if len(gathered.photos) < FEWEST_VIEWS and reasons:
        raise PictureError(
            f"Only {len(gathered.photos)} of {len(gathered.statuses)} pictures can be used, and two"
            f" are needed: {reasons[0]}"
        )


def with_sides_cut(request: ViewsRequest, gathered: Gathered, steps: _Steps) -> Gathered:
    """Pictures of a thing's sides with a mask each, without which they cannot be placed."""
    if request.masks != "auto" or all(photo.mask is not None for photo in gathered.photos):
        return gathered
    from ..views.cut import Cutter

    report = steps.stage("Cutting out the sides")
    cutter = Cutter(request, lambda name: lambda share: report(0.0))
    photos = []
    for index, photo in enumerate(gathered.photos):
        report(index / len(gathered.photos))
        mask = cutter.alone(photo.pixels) if photo.mask is None else photo.mask
        photos.append(replace(photo, mask=mask))
    return replace(gathered, photos=tuple(photos))


@dataclass(frozen=True, slots=True)
class Cut:
    """Views whose masks are as good as they get.

    Attributes:
        views: Those that show the subject.
        statuses: Of the others, by name.
        notes: Sentences for the artist.
    """

    views: list[View]
    statuses: dict[str, PictureStatus]
    notes: tuple[str, ...] = ()


def cut_out_subject(
    request: ViewsRequest, views: list[View], setting: Setting, steps: _Steps
) -> Cut:
    """Cut a thing out of its surroundings where no masks were given; leave out who contradicts."""
    if not setting.is_object or request.masks == "none":
        return Cut(views, {})
    if setting.has_masks:
        return _without_moved(views, setting, steps)
    from ..views.cut import Cutter
    from ..views.outlines.subject import with_masks

    report = steps.stage("Cutting out the subject")
    report(0.0)
    cutter = Cutter(request, lambda name: lambda share: report(0.0))
    masked = with_masks(views, setting, cutter.look, report)
    if masked is None:
        note = (
            "The subject could not be told from its surroundings: whatever stands in the middle was"
            " kept. Give masks, or photos in which it fills more of the picture, for a clean cut."
        )
        return Cut(views, {}, (note,))
    shown = [view for view in masked if view.mask is not None and (view.mask > 0.5).any()]
    used = {view.name for view in shown}
    statuses = {}
    for view in masked:
        if view.mask is None:
            sentence = (
                f"{view.name} shows bare ground where the subject is in the others: it was moved."
            )
        else:
            sentence = f"{view.name} does not show the subject."
        if view.name not in used:
            statuses[view.name] = PictureStatus(view.name, False, sentence)
    return Cut(shown, statuses)


def _without_moved(views: list[View], setting: Setting, steps: _Steps) -> Cut:
    """The views without those whose masks show the subject elsewhere than the others do."""
    from ..views.outlines.moved import moved

    steps.stage("Comparing the outlines")(0.0)
    away = set(moved(views, setting))
    sentence = (
        "{} shows the subject in another place or shape than the other pictures do: it was moved, or"
        " its mask is wrong."
    )
    names = [views[number].name for number in sorted(away)]
    return Cut(
        [view for number, view in enumerate(views) if number not in away],
        {name: PictureStatus(name, False, sentence.format(name)) for name in names},
    )


def _finished(
    request: ViewsRequest,
    gathered: Gathered,
    solved: Solved,
    region: Region,
    shape: Shape,
    statuses: Sequence[PictureStatus],
    steps: _Steps,
    on_map: Fit | None,
) -> ViewsReconstruction:
    """Texture the surface and put it with its cameras into the world frame."""
    from ..surface.topology import is_watertight
    from ..texture.charts import cut_into_charts
    from ..texture.pack import pack_charts
    from ..views.placement.placing import measured_metres, placing_of, size_notes
    from ..views.texture.paint import paint_views
    from ..views.texture.visibility import look
    from ..views.told import name_of, notes_on

    positions, faces = shape.positions, shape.faces
    sight = look(positions, faces, region.views, steps.stage("Looking at every face"))
    kept = np.ones(len(faces), bool)
    if region.kind == "place":  # the shell's back and its rims are nothing anybody saw
        kept = _grown(sight.is_seen, faces)
        if not kept.any():
            raise PictureError("No picture sees the surface: take more pictures of the place.")
    report = steps.stage("Unwrapping")
    report(0.0)
    charts = cut_into_charts(positions, faces)
    report(0.6)
    size = request.texture_size
    atlas = pack_charts(charts, size, max(2, round(size * MARGIN_PER_SIZE)))
    texture = paint_views(
        positions,
        faces,
        atlas,
        region.views,
        sight,
        request.seed,
        steps.stage("Painting the texture"),
    )
    steps.stage("Checking the mesh")
    used, corners = np.unique(faces[kept], return_inverse=True)
    positions = positions[used]
    metres = measured_metres(request, solved, region, positions, steps.stage, on_map)
    placing = placing_of(request, solved, region, positions, on_map, metres)
    sizes = np.full(int(kept.sum()), faces.shape[1], np.int32)
    corners = corners.reshape(-1).astype(np.int32)
    mesh = MeshArrays(placing.points(positions), corners, sizes, atlas.uvs[kept].reshape(-1, 2))
    views = tuple(placing.view(view) for view in region.views)
    points = SparsePoints(placing.points(region.points.positions), region.points.colours)
    first = views[0]
    alpha = np.full((*first.pixels.shape[:2], 1), 255, np.uint8)
    return ViewsReconstruction(
        name=name_of(request),
        engine="views",
        model=f"{shape.made_by}, cameras: {solved.origin}",
        mesh=mesh,
        material=MaterialArrays(texture, ROUGHNESS),
        camera=first.camera,
        picture=np.concatenate([first.pixels, alpha], axis=-1),
        is_watertight=is_watertight(mesh.corners, mesh.face_sizes),
        notes=(
            *gathered.notes,
            *solved.notes,
            *notes_on(statuses, solved, shape),
            *size_notes(request, solved, metres, on_map),
        ),
        stages=steps.finish(),
        views=views,
        points=points,
        statuses=tuple(statuses),
    )


def _grown(seen: NDArray[np.bool_], faces: NDArray[np.int32]) -> NDArray[np.bool_]:
    """Faces that are seen or lie between such: one ring out, so that no pinholes stay."""
    vertex = np.zeros(int(faces.max()) + 1, np.int32)
    np.add.at(vertex, faces[seen].ravel(), 1)
    return seen | ((vertex[faces] > 0).sum(axis=1) == faces.shape[1])
