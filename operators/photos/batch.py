"""Many sets of photos, or many clips, become files."""

import hashlib
import os
import stat
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import bpy
from bpy.props import StringProperty

from ...inference.contracts import Reconstruction
from ...inference.errors import OutputError
from ...inference.picture.listing import is_hidden
from ...inference.running.job import Job
from ...inference.views.contracts import (
    PICTURE_FOLDERS,
    VIDEO_EXTENSIONS,
    ViewsReconstruction,
    ViewsRequest,
)
from .. import session
from ..batch.folder import Assign, Assignment, FolderBatch
from ..batch.inputs import entries_of, is_file, is_file_of_kind, is_folder, visible_below
from ..batch.names import Plan
from ..batch.records import made_among, made_in
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
    if not is_folder(path):
        if not is_file(path):
            raise OutputError(f"{path} does not exist: give a folder of photos or a video.")
        return [path]
    made = made_in(path)

    def holds(folder: Path, kinds: tuple[str, ...]) -> bool:
        places = [folder / name for name in ("", *PICTURE_FOLDERS)]
        return any(
            is_file_of_kind(p, kinds) and p not in made
            for place in places
            if is_folder(place)
            for p in entries_of(place)
        )

    if holds(path, EXTENSIONS):
        return [path]
    inside = [p for p in entries_of(path) if not is_hidden(p)]
    sets = [p for p in inside if is_file_of_kind(p, VIDEO_EXTENSIONS)]
    sets += [p for p in inside if is_folder(p) and holds(p, (*EXTENSIONS, *VIDEO_EXTENSIONS))]
    if not sets:
        raise OutputError(f"There are no photos and no videos in {path}: give another folder.")
    return sets


def of_photos(template: ViewsRequest) -> Assign:
    """Assign each plan's folder of photos or video to the pipeline, with the template's settings."""

    def assign(plan: Plan) -> Assignment:
        made = made_among(plan.picture, plan.folder)
        request = replace(template, inputs=(plan.picture,), ignored=made)
        before = photos_fingerprint(plan.picture, made)
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
            lambda: before,
            lambda show: session.run(Job(request, work.run), show, settings),
            lambda _result: before,  # photos that change from here on make it an older set's result
            build,
        )

    return assign


def photos_fingerprint(path: Path, made: frozenset[Path]) -> str:
    """Of names, sizes and times: reading hundreds of photos only to compare them takes too long.

    Args:
        path: A video, or a folder of photos.
        made: Files that are none of them, because earlier runs have made them.
    """
    files = visible_below(path) if is_folder(path) else [path]
    digest = hashlib.sha256()
    for file in files:
        try:
            facts = file.stat()
        except OSError:  # a link to nowhere, or deleted while we looked
            continue
        if stat.S_ISREG(facts.st_mode) and file not in made:
            line = f"{file.name} {facts.st_size} {facts.st_mtime_ns}\n"
            digest.update(os.fsencode(line))
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
