"""Where the cameras of a request come from: files beside the pictures, the scene, or estimation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from ...errors import CutOutError, ImageToMeshError, PictureError
from ...networks.choice import AUTO, BUNDLED
from ...picture.intrinsics import focal_from_fov
from ..contracts import Lens, Photo, Pose, Solved, SparsePoints, ViewsRequest
from ..photos.gather import Gathered, known_name
from .colmap_files import find_model, read_model
from .estimate import WORST_POINT, estimate_cameras
from .transforms_file import UP, find_transforms, read_transforms
from .turntable import turntable

FEW = 0.5  # share of pictures with a camera under which another way is tried
NEARLY_ALL, SMALL_SET = 0.9, 60
STILL = 0.12  # spread of camera positions over their distance that is no walk around a subject

Report = Callable[[float, str], None]


def solve_cameras(request: ViewsRequest, gathered: Gathered, report: Report) -> Solved:
    """Find the camera of every picture by the way that the request asks for.

    Raises:
        PictureError: When it cannot be done; the sentence says what would help.
    """
    photos = gathered.photos
    if request.known:
        return _known(request, photos)
    if request.cameras == "turntable":
        return turntable(photos, request.turn_step, request.elevation)
    if request.cameras in ("auto", "existing"):
        existing = _existing(photos, gathered.folder)
        if existing is not None:
            return existing
        if request.cameras == "existing":
            raise PictureError(
                "No cameras were found beside the pictures: put a transforms.json or a COLMAP"
                " reconstruction (sparse/0) there, or set Cameras to Estimate."
            )
    return _estimated(request, photos, report)


def _estimated(request: ViewsRequest, photos: Sequence[Photo], report: Report) -> Solved:
    """Estimate by matching points, or by an installed network where that fails."""
    wanted = request.models.views
    if wanted not in (AUTO, BUNDLED):
        solved = _by_network(request, photos, report)
        if solved is not None:
            return solved
    try:
        matched = _matched(request, photos, report)
    except ImageToMeshError:
        solved = _by_network(request, photos, report) if wanted == AUTO else None
        if solved is None:
            raise
        return solved
    if wanted == AUTO and len(matched.poses) < FEW * len(photos):
        solved = _by_network(request, photos, report)
        if solved is not None and len(solved.poses) > len(matched.poses):
            return solved
    return matched


def _by_network(request: ViewsRequest, photos: Sequence[Photo], report: Report) -> Solved | None:
    """Cameras by an installed network; None when there is none or too few pictures."""
    if len(photos) < 2:
        return None
    from ..cut import networks_for
    from .posefree import network_cameras

    words = "Placing cameras with a network"
    networks = networks_for(request, lambda name: lambda share: report(0.9, words))
    return network_cameras(photos, networks, request.seed, report)


def _matched(request: ViewsRequest, photos: Sequence[Photo], report: Report) -> Solved:
    """Match points; where that joins few pictures, try what may help and keep the best."""
    tries = [{"use_masks": False}]
    if sum(photo.mask is not None for photo in photos) > len(photos) / 2:
        tries.append({"use_masks": True})
    tries.append({"is_thorough": True})
    best: Solved | None = None
    failure: PictureError | None = None
    for number, options in enumerate(tries):

        def share(part: float, stage: str, number: int = number) -> None:
            words = stage if number == 0 else f"{stage}, try {number + 1}"
            report((number + part) / len(tries), words)

        if best is not None and "use_masks" in options and len(best.poses) > FEW * len(photos):
            continue  # nothing speaks for a turned subject
        try:
            solved = estimate_cameras(photos, request.seed, share, **options)
        except PictureError as error:
            failure = failure or error
            continue
        if _is_still(solved):
            if not any(photo.mask is not None for photo in photos) and request.masks == "auto":
                photos = _cut_alone(request, photos, share)
                tries.insert(number + 1, {"use_masks": True})
            if len(tries) > number + 1:
                continue  # the background was solved for, in front of which the subject was turned
        if best is None or len(solved.poses) > len(best.poses):
            best = solved
        # A few missing ones of a small set are worth another try; of a large one they are not.
        if len(best.poses) > (NEARLY_ALL if len(photos) <= SMALL_SET else FEW) * len(photos):
            break
    if best is None:
        raise failure or PictureError(
            "The camera stood still while the subject was turned: give masks or transparency, so"
            " that only the subject is looked at."
        )
    return best


def _cut_alone(request: ViewsRequest, photos: Sequence[Photo], report: Report) -> list[Photo]:
    """Photos with a mask of what stands out in each; those where nothing does have none."""
    from ..cut import Cutter

    words = "Cutting out the turned subject"
    cutter = Cutter(request, lambda name: lambda share: report(1.0, words))
    cut: list[Photo] = []
    for photo in photos:
        report(1.0, words)
        try:
            cut.append(replace(photo, mask=cutter.alone(photo.pixels)))
        except CutOutError:
            cut.append(photo)
    return cut


def _is_still(solved: Solved) -> bool:
    """Whether all cameras are in nearly one place, as before a turntable with a background."""
    if len(solved.points.positions) < 10:
        return False
    positions = np.array([pose.matrix[:3, 3] for pose in solved.poses.values()])
    middle = np.median(solved.points.positions, axis=0)
    distance = float(np.median(np.linalg.norm(positions - middle, axis=1)))
    spread = float(np.linalg.norm(positions - positions.mean(axis=0), axis=1).max())
    return spread < STILL * distance


def _known(request: ViewsRequest, photos: Sequence[Photo]) -> Solved:
    by_name = {known_name(request, index): known for index, known in enumerate(request.known)}
    poses: dict[str, Pose] = {}
    for photo in photos:
        known = by_name[photo.name]
        height, width = photo.pixels.shape[:2]
        focal = focal_from_fov(known.fov_x, width)
        lens = Lens(width, height, focal, focal, width / 2, height / 2)
        poses[photo.name] = Pose(lens, known.matrix)
    up = np.array([0.0, -1.0, 0.0])
    return Solved(poses, SparsePoints.empty(), {}, up, True, "scene")


def _existing(photos: Sequence[Photo], folder: Path | None) -> Solved | None:
    if folder is None:
        return None
    path = find_transforms(folder)
    if path is not None:
        return _from_transforms(photos, path)
    model = find_model(folder)
    return None if model is None else _from_colmap(photos, model)


def _from_transforms(photos: Sequence[Photo], path: Path) -> Solved:
    frames = read_transforms(path)
    by_name = _matcher([frame.name for frame in frames])
    poses: dict[str, Pose] = {}
    reasons: dict[str, str] = {}
    for photo in photos:
        index = by_name(photo)
        height, width = photo.pixels.shape[:2]
        pose = None if index is None else frames[index].pose_for(width, height)
        if pose is not None:
            poses[photo.name] = pose
        elif index is None:
            reasons[photo.name] = f"{photo.name} is not listed in {path.name}."
        else:
            reasons[photo.name] = f"{path.name} does not tell the field of view of {photo.name}."
    _require(poses, path.name)
    return Solved(poses, SparsePoints.empty(), reasons, UP, False, "transforms.json")


def _from_colmap(photos: Sequence[Photo], folder: Path) -> Solved:
    model = read_model(folder)
    names = list(model.poses)
    by_name = _matcher(names)
    poses: dict[str, Pose] = {}
    reasons: dict[str, str] = {}
    for photo in photos:
        index = by_name(photo)
        if index is None:
            reasons[photo.name] = f"{photo.name} is not part of the COLMAP reconstruction."
            continue
        camera, matrix = model.poses[names[index]]
        height, width = photo.pixels.shape[:2]
        poses[photo.name] = Pose(model.lenses[camera].scaled_to(width, height), matrix)
    _require(poses, "the COLMAP reconstruction")
    kept = model.errors <= WORST_POINT
    points = SparsePoints(model.points.positions[kept], model.points.colours[kept])
    error = float(model.errors.mean()) if len(model.errors) else None
    return Solved(poses, points, reasons, None, False, "COLMAP folder", error)


def _require(poses: dict[str, Pose], what: str) -> None:
    if len(poses) < 2:
        raise PictureError(
            f"The pictures are not those of {what}: their names do not agree. Set Cameras to"
            " Estimate, or choose the folder that belongs to it."
        )


def _matcher(names: Sequence[str]) -> Callable[[Photo], int | None]:
    """Find a photo among written names: by its path's end, by file name, then without suffix."""
    whole = {name.casefold(): index for index, name in enumerate(names)}
    files: dict[str, list[int]] = {}
    stems: dict[str, list[int]] = {}
    for index, name in enumerate(names):
        file = name.rpartition("/")[2].casefold()
        files.setdefault(file, []).append(index)
        stems.setdefault(Path(file).stem if "." in file else file, []).append(index)

    def find(photo: Photo) -> int | None:
        if photo.path is None:
            return None
        parts = [part.casefold() for part in photo.path.parts]
        for length in range(min(len(parts), 6), 0, -1):
            index = whole.get("/".join(parts[-length:]))
            if index is not None:
                return index
        for table, key in ((files, parts[-1]), (stems, photo.path.stem.casefold())):
            found = table.get(key, [])
            if len(found) == 1:
                return found[0]
        return None

    return find
