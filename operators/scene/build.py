"""A finished reconstruction becomes objects in a scene."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import bpy

from ...inference.contracts import Reconstruction
from ...inference.naming import shown
from .camera import camera_from_arrays, match_render
from .image import PngImage, image_from_png
from .material import MaterialPngs, material_from_pngs
from .mesh import is_sound, mesh_from_arrays


@dataclass(frozen=True, slots=True)
class PreparedMesh:
    """What the worker does ahead, so that Blender's main thread is held up as little as can be.

    Attributes:
        material: The material's maps, encoded.
        is_mesh_sound: Blender need not check the mesh.
    """

    material: MaterialPngs
    is_mesh_sound: bool

    @classmethod
    def from_reconstruction(cls, result: Reconstruction) -> PreparedMesh:
        """Encode and check; takes up to a second, so never call it on the main thread."""
        return cls(MaterialPngs.from_arrays(result.material), is_sound(result.mesh))


@dataclass(frozen=True, slots=True)
class Prepared:
    """The same with the picture behind the camera.

    Attributes:
        mesh: The mesh's part.
        picture: The picture, encoded.
    """

    mesh: PreparedMesh
    picture: PngImage

    @classmethod
    def from_reconstruction(cls, result: Reconstruction) -> Prepared:
        """Encode and check; takes up to a second, so never call it on the main thread."""
        mesh = PreparedMesh.from_reconstruction(result)
        return cls(mesh, PngImage.from_pixels(result.picture))


@dataclass(frozen=True, slots=True)
class Built:
    """What a reconstruction became, and every data-block it brought along."""

    object: bpy.types.Object
    camera: bpy.types.Object
    blocks: tuple[bpy.types.ID, ...]

    def companions(self) -> tuple[bpy.types.Object, ...]:
        """What came along and sees the object or lies on it: cameras, points."""
        found = (block for block in self.blocks if isinstance(block, bpy.types.Object))
        return tuple(block for block in found if block != self.object)

    def remove(self) -> None:
        """Delete it all from the file."""
        bpy.data.batch_remove(self.blocks)


def add_reconstruction(
    scene: bpy.types.Scene,
    view_layer: bpy.types.ViewLayer,
    result: Reconstruction,
    prepared: Prepared,
    properties: Mapping[str, str],
    *,
    use_matched_render: bool,
) -> Built:
    """Add a reconstruction and its camera to the active collection, as Blender's own Add menu does.

    The object becomes the active one, unless another object is being edited: that would pull the
    artist out of their work. If anything fails, nothing is left behind.

    Args:
        scene: Scene that receives the result.
        view_layer: One of its view layers.
        result: What to build.
        prepared: What the worker did ahead for it.
        properties: Custom properties of the object that say where it comes from.
        use_matched_render: Render through the matched camera at the picture's size. Without it a
            scene's own camera and render size stay; only a scene without a camera gets this one.
    """
    result = replace(result, name=shown(result.name))
    blocks: list[bpy.types.ID] = []
    try:
        mesh = mesh_from_arrays(result.mesh, result.name, is_checked=prepared.mesh.is_mesh_sound)
        blocks.append(mesh)
        material, images = material_from_pngs(result.name, result.material, prepared.mesh.material)
        blocks += [material, *images]
        mesh.materials.append(material)
        picture = image_from_png(f"{result.name} Picture", prepared.picture, is_colour=True)
        blocks.append(picture)
        camera = camera_from_arrays(
            result.camera, f"{result.name} Camera", picture, result.mesh.positions
        )
        assert camera.data is not None
        blocks += [camera.data, camera]
        obj = bpy.data.objects.new(result.name, mesh)
        blocks.append(obj)
        for key, value in properties.items():
            obj[f"image_to_mesh_{key}"] = value
        collection = _target_collection(scene, view_layer)
        collection.objects.link(obj)
        collection.objects.link(camera)
        if use_matched_render:
            match_render(scene, camera, result.camera.width, result.camera.height)
        elif scene.camera is None:
            scene.camera = camera
        make_active(view_layer, obj)
    except BaseException:
        bpy.data.batch_remove(blocks)
        raise
    return Built(obj, camera, tuple(blocks))


def _target_collection(
    scene: bpy.types.Scene, view_layer: bpy.types.ViewLayer
) -> bpy.types.Collection:
    """The active collection if a new object would be seen there, else the scene's."""
    active = view_layer.active_layer_collection
    root = scene.collection
    assert root is not None
    if active is None or active.collection is None or active.exclude or not active.is_visible:
        return root
    return root if active.collection.library is not None else active.collection


def make_active(view_layer: bpy.types.ViewLayer, obj: bpy.types.Object) -> None:
    """Select an object alone, unless another one is being edited."""
    active = view_layer.objects.active
    if active is not None and active.mode != "OBJECT":
        return
    for other in list(view_layer.objects.selected):
        other.select_set(False, view_layer=view_layer)
    obj.select_set(True, view_layer=view_layer)
    view_layer.objects.active = obj
