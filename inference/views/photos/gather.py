"""Find and read the pictures of a request: photos, folders, videos, masks."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ...contracts import Picture, PictureFile, PicturePixels
from ...errors import PictureError
from ...naming import shown
from ...picture.cut_out.cutout import resize_mask
from ...picture.files.load import load_picture
from ...picture.intrinsics import focal_from_fov
from ...picture.listing import is_hidden
from ..contracts import PICTURE_FOLDERS, VIDEO_EXTENSIONS, Photo, PictureStatus, ViewsRequest
from .judge import BLANK, Look, blurred, look_at, same_as
from .video import pick_frames

PHOTO_SUFFIXES = frozenset(
    (".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr", ".gif")
)
UNREADABLE_SUFFIXES = frozenset((".heic", ".heif", ".avif", ".dng", ".cr2", ".cr3", ".nef", ".arw"))
DEEPEST = 3  # levels of sub-folders in which photos are looked for
MASK_FOLDERS = ("masks", "mask", "silhouettes")
MASK_ENDINGS = ("_mask", "-mask", ".mask")
MEMORY_BYTES = 1_200_000_000  # for all pictures of a run together
LARGEST_SIDE, SMALLEST_SIDE = 2400, 640


@dataclass(frozen=True, slots=True)
class Gathered:
    """All pictures that can be used, and what became of every one.

    Attributes:
        photos: Read, judged, in order; names are unique.
        statuses: By name, of the photos and of those that were left out.
        folder: Where an existing reconstruction may lie; None when nothing is on disk.
        notes: Sentences for the artist.
    """

    photos: tuple[Photo, ...]
    statuses: dict[str, PictureStatus]
    folder: Path | None
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class _Found:
    photos: list[Path]
    videos: list[Path]
    masks: dict[str, Path]  # by ``_mask_key``
    folder: Path | None
    unreadable: list[Path]


def gather(request: ViewsRequest, report: Callable[[float], None]) -> Gathered:
    """Read every picture of a request; a bad one is left out with a sentence.

    Args:
        request: What to read.
        report: Called with the finished share; raises to cancel.

    Raises:
        PictureError: When there is nothing that can be read.
    """
    files = [entry for entry in request.inputs if isinstance(entry, Path)]
    found = find(files, request.ignored)
    given = [entry for entry in request.inputs if isinstance(entry, PicturePixels)]
    statuses: dict[str, PictureStatus] = {}
    for path in found.unreadable:
        kind = path.suffix[1:].upper()
        name = shown(path.name)
        sentence = f"{name} is a {kind} file, which cannot be read: convert it to JPEG."
        statuses[name] = PictureStatus(name, False, sentence)
    if not found.photos and not found.videos and not given and statuses:
        raise PictureError(next(iter(statuses.values())).sentence)
    if not found.photos and not found.videos and not given:
        raise PictureError(
            "There are no pictures and no video in what you chose: choose photos, a folder of"
            " photos or a video."
        )
    side = _side_for(len(found.photos) + len(given) + len(found.videos) * request.max_frames)
    photos: list[Photo] = []
    notes: list[str] = []
    names = _unique_names(found.photos)
    steps = max(len(found.photos) + 8 * len(found.videos), 1)
    for index, (path, name) in enumerate(zip(found.photos, names, strict=True)):
        report(index / steps)
        try:
            photo = _read_photo(
                path, name, found.masks, side, request, lambda at=index: report(at / steps)
            )
        except PictureError as error:
            statuses[name] = PictureStatus(name, False, str(error))
            continue
        photos.append(photo)
    for picture in given:
        report(len(found.photos) / steps)
        photo = _photo_of(load_picture(picture, side), picture.name, None, None, request)
        if photo.name not in {other.name for other in photos}:
            photos.append(photo)
    for number, path in enumerate(found.videos):
        begin = (len(found.photos) + 8 * number) / steps

        def share(part: float, begin: float = begin) -> None:
            report(begin + part * 8 / steps)

        try:
            frames, remarks = pick_frames(path, request.max_frames, side, share)
        except PictureError as error:
            name = shown(path.name)
            statuses[name] = PictureStatus(name, False, str(error))
            continue
        notes += remarks
        focal = _given_focal(request, frames[0].pixels.shape[1]) if frames else None
        photos += [
            Photo(
                f"{shown(path.stem)} {frame.seconds:07.2f} s",
                frame.pixels,
                None,
                focal,
                None,
                path.name,
                number,
            )
            for frame in frames
        ]
    photos = _without_bad(photos, statuses)
    if not photos:
        reasons = [status.sentence for status in statuses.values()]
        raise PictureError(
            reasons[0] if len(reasons) == 1 else f"None of the pictures can be used: {reasons[0]}"
        )
    return Gathered(tuple(photos), statuses, found.folder, tuple(notes))


def gather_known(request: ViewsRequest, report: Callable[[float], None]) -> Gathered:
    """Read the pictures of cameras that are already placed; their names are those of the files."""
    statuses: dict[str, PictureStatus] = {}
    photos: list[Photo] = []
    side = _side_for(len(request.known))
    for index, known in enumerate(request.known):
        report(index / len(request.known))
        source = known.picture
        name = known_name(request, index)
        try:
            if isinstance(source, PicturePixels):
                photos.append(_photo_of(load_picture(source, side), name, None, None, request))
            else:
                masks = _masks_beside([source])
                photo = _read_photo(
                    source,
                    name,
                    masks,
                    side,
                    request,
                    lambda at=index: report(at / len(request.known)),
                )
                photos.append(photo)
        except PictureError as error:
            statuses[name] = PictureStatus(name, False, str(error))
    for photo in photos:
        statuses[photo.name] = PictureStatus(photo.name, True)
    return Gathered(tuple(photos), statuses, None, ())


def known_name(request: ViewsRequest, index: int) -> str:
    """The unique name of the picture of a known camera."""
    source = request.known[index].picture
    return f"{index + 1:03d} {shown(source.name)}"


def find(inputs: Sequence[Path], ignored: frozenset[Path] = frozenset()) -> _Found:
    """Sort out files and folders; nothing is opened.

    Pictures of a folder come in natural order (2 before 10). A folder without pictures of its own
    may have them in a sub-folder with a usual name, as reconstructions do, or else anywhere below.
    Files that are masks of other files are taken as those. Files of folders that are ``ignored``
    are passed over.
    """
    photos: list[Path] = []
    videos: list[Path] = []
    masks: dict[str, Path] = {}
    passed: list[Path] = []
    folder: Path | None = None
    for entry in inputs:
        if entry.is_dir():
            folder = folder or entry
            inside = _files_of(entry, ignored)
            if not any(_is_photo(path) or _is_video(path) for path in inside):
                for name in PICTURE_FOLDERS:
                    inside += _files_of(entry / name, ignored)
            if not any(_is_photo(path) or _is_video(path) for path in inside):
                inside += _files_below(entry, ignored)
            photos += [path for path in inside if _is_photo(path)]
            videos += [path for path in inside if _is_video(path)]
            passed += [path for path in inside if path.suffix.lower() in UNREADABLE_SUFFIXES]
        elif entry.suffix.lower() in UNREADABLE_SUFFIXES:
            passed.append(entry)
        elif _is_video(entry):
            videos.append(entry)
        else:
            photos.append(entry)
    photos = list(dict.fromkeys(photos))
    if folder is None and photos:
        folder = photos[0].parent
    masks = _masks_beside(photos)
    of_masks = set(masks.values())
    # A camera's raw file beside the JPEG of the same name is no loss.
    stems = {path.with_suffix("") for path in photos}
    unreadable = [path for path in passed if path.with_suffix("") not in stems]
    photos = [path for path in photos if path not in of_masks]
    return _Found(photos, videos, masks, folder, unreadable)


def natural_key(name: str) -> list[tuple[int, int, str]]:
    """Sort key under which picture2 comes before picture10."""
    return [
        (0, int(part), "") if part.isdigit() else (1, 0, part.casefold())
        for part in re.split(r"(\d+)", name)
        if part
    ]


def _files_of(folder: Path, ignored: frozenset[Path] = frozenset()) -> list[Path]:
    if not folder.is_dir():
        return []
    files = [p for p in folder.iterdir() if p.is_file() and not is_hidden(p)]
    files = [path for path in files if path not in ignored]
    return sorted(files, key=lambda path: natural_key(path.name))


def _files_below(folder: Path, ignored: frozenset[Path], level: int = 1) -> list[Path]:
    """Files of all sub-folders but those of masks, as memory cards have them."""
    files: list[Path] = []
    inside = [p for p in folder.iterdir() if p.is_dir() and not is_hidden(p)]
    for place in sorted(inside, key=lambda path: natural_key(path.name)):
        if place.name.casefold() not in MASK_FOLDERS:
            files += _files_of(place, ignored)
            files += _files_below(place, ignored, level + 1) if level < DEEPEST else []
    return files


def _is_photo(path: Path) -> bool:
    return path.suffix.lower() in PHOTO_SUFFIXES


def _is_video(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_EXTENSIONS


def _masks_beside(photos: Sequence[Path]) -> dict[str, Path]:
    """Mask files by the ``_mask_key`` of their photo.

    Known habits: ``masks/NAME.png`` in or beside the photos' folder, ``NAME_mask.png``, and
    COLMAP's ``masks/NAME.jpg.png``.
    """
    masks: dict[str, Path] = {}
    for folder in dict.fromkeys(photo.parent for photo in photos):
        candidates: dict[str, Path] = {}
        for name in MASK_FOLDERS:
            for place in (folder / name, folder.parent / name):
                for path in _files_of(place) if place != folder else ():
                    if _is_photo(path):
                        candidates.setdefault(path.stem.casefold(), path)
        for path in _files_of(folder):
            stem = path.stem.casefold()
            for ending in MASK_ENDINGS:
                if _is_photo(path) and stem.endswith(ending) and len(stem) > len(ending):
                    candidates.setdefault(stem.removesuffix(ending), path)
        for photo in photos:
            if photo.parent == folder:
                for stem in (photo.stem, photo.name):
                    mask = candidates.get(stem.casefold())
                    if mask is not None and mask != photo:
                        masks[_mask_key(photo)] = mask
    return masks


def _mask_key(photo: Path) -> str:
    return str(photo)


def _unique_names(paths: Sequence[Path]) -> list[str]:
    names = [shown(path.name) for path in paths]
    return [
        f"{shown(path.parent.name)}/{name}" if names.count(name) > 1 else name
        for path, name in zip(paths, names, strict=True)
    ]


def _side_for(count: int) -> int:
    """Longest side at which so many pictures fit into memory together."""
    pixels = MEMORY_BYTES / max(count, 1) / 7  # colour, a float mask and room
    return int(np.clip(np.sqrt(pixels * 4 / 3), SMALLEST_SIDE, LARGEST_SIDE))


def _read_photo(
    path: Path,
    name: str,
    masks: dict[str, Path],
    side: int,
    request: ViewsRequest,
    report: Callable[[], None],
) -> Photo:
    picture = load_picture(PictureFile(path), side, report)
    mask = None
    if request.masks != "none":
        if _mask_key(path) in masks:
            mask = _read_mask(masks[_mask_key(path)], picture.pixels.shape[:2], report)
        elif picture.has_alpha:
            mask = picture.pixels[..., 3].astype(np.float32) / 255
        elif request.masks == "files":
            raise PictureError(
                f"{name} has no mask: give it transparency or a file {path.stem}_mask.png, or set"
                " Masks to Automatic."
            )
    return _photo_of(picture, name, mask, path, request)


def _photo_of(
    picture: Picture,
    name: str,
    mask: NDArray[np.float32] | None,
    path: Path | None,
    request: ViewsRequest,
) -> Photo:
    height, width = picture.pixels.shape[:2]
    if mask is None and picture.has_alpha and request.masks != "none":
        mask = picture.pixels[..., 3].astype(np.float32) / 255
    focal = _given_focal(request, width) or picture.focal_px
    # Pictures of one size with one focal length come from one camera at one zoom.
    group = f"{width}x{height} {round(focal) if focal else 0}"
    pixels = picture.pixels[..., :3]
    if picture.has_alpha:  # what lies under transparency is arbitrary
        alpha = picture.pixels[..., 3:].astype(np.uint16)
        pixels = ((pixels * alpha + 127 * (255 - alpha)) // 255).astype(np.uint8)
    return Photo(name, np.ascontiguousarray(pixels), mask, focal, path, group, place=picture.place)


def _given_focal(request: ViewsRequest, width: int) -> float | None:
    return None if request.fov_x is None else focal_from_fov(request.fov_x, width)


def _read_mask(
    path: Path, shape: tuple[int, ...], report: Callable[[], None]
) -> NDArray[np.float32]:
    """(H, W) 0..1: white is the subject; transparent is the background."""
    pixels = load_picture(PictureFile(path), max(shape), report).pixels.astype(np.float32)
    grey = pixels[..., :3].mean(axis=2) * pixels[..., 3] / (255 * 255)
    return resize_mask(grey, (shape[0], shape[1]))


def _without_bad(photos: list[Photo], statuses: dict[str, PictureStatus]) -> list[Photo]:
    """Drop blank and repeated pictures; flag blurred ones."""
    if not photos:
        return []
    looks = [look_at(photo.pixels) for photo in photos]
    kept: list[tuple[Photo, Look]] = []
    for photo, look, twin in zip(photos, looks, same_as(looks), strict=True):
        if look.contrast < BLANK:
            sentence = f"{photo.name} shows nothing: it is one even colour."
            statuses[photo.name] = PictureStatus(photo.name, False, sentence)
        elif twin is not None:
            sentence = f"{photo.name} shows the same as {photos[twin].name}; one of them is enough."
            statuses[photo.name] = PictureStatus(photo.name, False, sentence)
        else:
            kept.append((photo, look))
    is_blurred = blurred([look for _, look in kept]) if kept else []
    for (photo, _), blurry in zip(kept, is_blurred, strict=True):
        sentence = f"{photo.name} is blurred." if blurry else ""
        statuses[photo.name] = PictureStatus(photo.name, True, sentence)
    return [photo for photo, _ in kept]
