"""The cameras and sparse points of a reconstruction from several pictures, as objects."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import json
import math
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.naming import shown
from ...inference.views.contracts import KnownView, SparsePoints, View, ViewsReconstruction
from .axes import blender_to_opencv_camera, opencv_to_blender_points
from .build import Built, Prepared, add_reconstruction
from .camera import camera_from_arrays
from .image import PngImage, image_from_png

PACKED_SIDE = 900  # longest side of a photo that has to be stored in the .blend
CAMERAS_PROPERTY = "image_to_mesh_cameras"  # of a result's mesh object: the collection of cameras
CAMERA_SHARE = 0.06  # size of a camera's drawing in distances to the subject


@dataclass(frozen=True, slots=True)
class PreparedViews:
    """What the worker does ahead.

    Attributes:
        main: As for any reconstruction.
        photos: For each view its encoded picture, or None when its file can be shown itself.
    """

    main: Prepared
    photos: tuple[PngImage | None, ...]

    @classmethod
    def from_reconstruction(cls, result: ViewsReconstruction) -> PreparedViews:
        """Encode pictures that have no file; takes a while, so never call it on the main thread."""
        photos = [
            None
            if view.path is not None and _is_readable(view.path)
            else PngImage.from_pixels(_shrunk(view.pixels))
            for view in result.views
        ]
        return cls(Prepared.from_reconstruction(result), tuple(photos))


def _is_readable(path: Path) -> bool:
    """Whether Blender finds a file itself: it takes a backslash in a name for a slash."""
    return path.is_file() and (os.sep == "\\" or "\\" not in str(path))


def _shrunk(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Average blocks of pixels until the longest side fits."""
    step = math.ceil(max(pixels.shape[:2]) / PACKED_SIDE)
    if step == 1:
        return pixels
    height, width = (side // step * step for side in pixels.shape[:2])
    blocks = pixels[:height, :width].reshape(height // step, step, width // step, step, 3)
    return blocks.mean(axis=(1, 3)).astype(np.uint8)


def add_views(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    result: ViewsReconstruction,
    prepared: PreparedViews,
    properties: Mapping[str, str],
    *,
    with_cameras: bool = True,
    with_points: bool = True,
) -> Built:
    """Add the mesh, its cameras with the photos behind them, and the sparse points.

    Cameras and points go to a collection of their own, which can be hidden with one click. If
    anything fails, nothing is left behind.

    Args:
        scene: Scene that receives the result.
        view_layer: One of its view layers.
        result: What to build.
        prepared: What the worker did ahead for it.
        properties: Custom properties of the mesh object.
        with_cameras: Add a camera for each photo; without, the scene must have its own.
        with_points: Add the sparse points, as an object that is not rendered.
    """
    result = replace(result, name=shown(result.name))
    built = add_reconstruction(
        scene, view_layer, result, prepared.main, properties, use_matched_render=False
    )
    blocks: list[bpy.types.ID] = []
    main = built.camera
    kept = built.blocks
    try:
        statuses = [[s.name, s.is_used, s.sentence] for s in result.statuses]
        built.object["image_to_mesh_pictures"] = json.dumps(statuses)
        parent = built.object.users_collection[0]
        collection = bpy.data.collections.new(f"{result.name} Cameras")
        blocks.append(collection)
        parent.children.link(collection)
        built.object[CAMERAS_PROPERTY] = collection
        if with_cameras:
            cameras = _cameras(result, prepared.photos, blocks)
            for camera in cameras:
                collection.objects.link(camera)
        else:
            there = [obj for obj in scene.objects if obj.type == "CAMERA" and obj != built.camera]
            cameras = [obj for obj in there if obj.data.background_images] or [built.camera]
        main = cameras[0]
        if scene.camera == built.camera:
            scene.camera = main
        if with_points and len(result.points.positions):
            collection.objects.link(_point_object(f"{result.name} Points", result.points, blocks))
        if main != built.camera:
            kept = _drop(built)
    except BaseException:
        bpy.data.batch_remove(blocks)
        built.remove()
        raise
    return Built(built.object, main, (*kept, *blocks))


def _drop(built: Built) -> tuple[bpy.types.ID, ...]:
    """Delete the single camera and its picture; returns the data-blocks that stay."""
    data = built.camera.data
    pictures = [layer.image for layer in data.background_images if layer.image is not None]
    gone = [built.camera, data, *pictures]
    kept = tuple(b for b in built.blocks if all(b != other for other in gone))
    bpy.data.batch_remove(gone)
    return kept


def _cameras(
    result: ViewsReconstruction,
    photos: Sequence[PngImage | None],
    blocks: list[bpy.types.ID],
) -> list[bpy.types.Object]:
    cameras = []
    for view, photo in zip(result.views, photos, strict=True):
        before = len(bpy.data.images)
        image = _photo_image(view, photo)
        if len(bpy.data.images) > before:  # an image of a file may have been in Blender already
            blocks.append(image)
        camera = camera_from_arrays(view.camera, view.name, image, result.mesh.positions)
        blocks += [camera.data, camera]
        middle = result.mesh.positions.mean(axis=0)
        distance = float(np.linalg.norm(view.camera.matrix[:3, 3] - middle))
        camera.data.display_size = max(CAMERA_SHARE * distance, 1e-4)
        cameras.append(camera)
    return cameras


def _photo_image(view: View, photo: PngImage | None) -> bpy.types.Image:
    if photo is not None:
        return image_from_png(view.name, photo, is_colour=True)
    return bpy.data.images.load(str(view.path), check_existing=True)


def _point_object(name: str, points: SparsePoints, blocks: list[bpy.types.ID]) -> bpy.types.Object:
    """A mesh of loose vertices with a colour each."""
    mesh = bpy.data.meshes.new(name)
    blocks.append(mesh)
    mesh.vertices.add(len(points.positions))
    positions = opencv_to_blender_points(points.positions)
    mesh.attributes["position"].data.foreach_set("vector", np.ascontiguousarray(positions).ravel())
    colours = np.ones((len(positions), 4), np.float32)
    colours[:, :3] = points.colours.astype(np.float32) / 255.0
    layer = mesh.color_attributes.new("Color", "BYTE_COLOR", "POINT")
    layer.data.foreach_set("color_srgb", colours.ravel())
    mesh.update()
    obj = bpy.data.objects.new(name, mesh)
    blocks.append(obj)
    obj.hide_render = True
    return obj


def known_view(camera: bpy.types.Object, width: int, height: int) -> KnownView | None:
    """A scene's camera as the worker takes it, without its picture.

    Args:
        camera: A camera object.
        width: Of its background picture in pixels.
        height: Of its background picture in pixels.

    Returns:
        None for cameras that are no plain pinhole: orthographic, panoramic, shifted.
    """
    data = camera.data
    if data.type != "PERSP" or abs(data.shift_x) > 1e-6 or abs(data.shift_y) > 1e-6:
        return None
    is_across = data.sensor_fit == "HORIZONTAL" or (data.sensor_fit == "AUTO" and width >= height)
    sensor = data.sensor_height if data.sensor_fit == "VERTICAL" else data.sensor_width
    focal = data.lens / sensor * (width if is_across else height)
    matrix = blender_to_opencv_camera(np.array(camera.matrix_world, np.float64))
    return KnownView(Path(), matrix, 2 * math.atan(width / 2 / focal))
