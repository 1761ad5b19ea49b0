"""Many sets of photos, or many clips, become files."""

import hashlib
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ...inference.contracts import Reconstruction
from ...inference.errors import OutputError
from ...inference.running.job import Job
from ...inference.views.contracts import (
    PICTURE_FOLDERS,
    VIDEO_EXTENSIONS,
    ViewsReconstruction,
    ViewsRequest,
)
from .. import session
from ..batch.folder import Assign, Assignment, FolderBatch, Plan
from ..import_picture import EXTENSIONS
from ..scene.build import Built
from ..scene.photos import add_views
from .options import PhotoOptions, SharedOptions
from .reconstruct import ViewsWork, photos_request, provenance, settings_of


def photo_sets(path: Path) -> list[Path]:
    """The sets of photos and the clips at a place.

    A video is a set, and so is a folder with photos, also where they lie in a sub-folder that is
    named for it. Any other folder is one of sets: its sub-folders with photos, and its videos.

    Raises:
        OutputError: When there is nothing of the kind.
    """
    if path.is_file():
        return [path]
    if not path.is_dir():
        raise OutputError(f"{path} does not exist: give a folder of photos or a video.")
    if _has_photos(path) or any(_has_photos(path / name) for name in PICTURE_FOLDERS):
        return [path]
    inside = sorted(path.iterdir())
    sets = [p for p in inside if p.is_file() and p.suffix.lower() in VIDEO_EXTENSIONS]
    for folder in inside:
        if folder.is_dir() and not folder.name.startswith("."):
            own = [folder / name for name in ("", *PICTURE_FOLDERS)]
            if any(_has_photos(place) or _has_video(place) for place in own):
                sets.append(folder)
    if not sets:
        raise OutputError(f"There are no photos and no videos in {path}: give another folder.")
    return sets


def _has_photos(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in EXTENSIONS for p in folder.iterdir())


def _has_video(folder: Path) -> bool:
    return folder.is_dir() and any(p.suffix.lower() in VIDEO_EXTENSIONS for p in folder.iterdir())


def of_photos(template: ViewsRequest) -> Assign:
    """Assign each plan's folder of photos or video to the pipeline, with the template's settings."""

    def assign(plan: Plan) -> Assignment:
        request = replace(template, inputs=(plan.picture,))
        work = ViewsWork(keeps_models=True)
        settings = settings_of(request)

        def build(scene: bpy.types.Scene, result: Reconstruction) -> Built:
            assert isinstance(result, ViewsReconstruction)
            layer = scene.view_layers[0]
            return add_views(
                scene, layer, result, work.prepared, provenance(result, request), with_points=False
            )

        return Assignment(
            settings,
            lambda: _fingerprint(plan.picture),
            lambda show: session.run(Job(request, work.run), show, settings),
            build,
        )

    return assign


def _fingerprint(path: Path) -> str:
    """Of names, sizes and times: reading hundreds of photos only to compare them takes too long."""
    files = [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file())
    digest = hashlib.sha256()
    for file in files:
        facts = file.stat()
        digest.update(f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n".encode())
    return digest.hexdigest()


class IMAGE_TO_MESH_OT_batch_photos(FolderBatch, PhotoOptions, SharedOptions, bpy.types.Operator):
    """Turn every set of photos and every clip of a folder into a file; see ``FolderBatch``."""

    bl_idname = "image_to_mesh.batch_photos"
    bl_label = "Photos to Mesh Batch"
    bl_description = "Turn every set of photos and every clip of a folder into a mesh file"
    bl_options = {"INTERNAL"}
    inputs = "photos"

    directory: StringProperty(
        name="Photos",
        description="Folder of photos, or folder that holds such folders and clips",
        subtype="DIR_PATH",
        options={"SKIP_SAVE"},
    )

    def find(self, folder: Path) -> Sequence[Path]:
        return photo_sets(folder)

    def assigned(self, device: str) -> Assign:
        return of_photos(photos_request(self, (), (), device))


CLASSES = (IMAGE_TO_MESH_OT_batch_photos,)
