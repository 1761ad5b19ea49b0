"""One function for each file format that results are written in."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import MeshArrays, Reconstruction
from ..scene.axes import BLENDER_TO_Y_UP, opencv_to_blender_camera
from ..scene.build import Built
from ..scene.mesh import colour_vertices
from .failures import require_room
from .fbx import without_folders
from .names import texture_name
from .staging import write_synced

SUFFIXES = {
    "glb": ".glb",
    "blend": ".blend",
    "obj": ".obj",
    "fbx": ".fbx",
    "usd": ".usdc",
    "stl": ".stl",
    "ply": ".ply",
}
Y_UP_FORMATS = frozenset({"glb", "obj", "fbx"})  # the others are written in Blender's z-up axes
METRES_PER_UNIT = {"stl": 0.001}  # slicers take STL's numbers, which name no unit, for millimetres
# What the Wavefront format itself knows. Readers stumble over lines beyond it: assimp 5 refuses a
# file with "aniso" in its material.
_MTL_WORDS = frozenset(
    [
        "newmtl",
        "Ka",
        "Kd",
        "Ks",
        "Ke",
        "Ns",
        "Ni",
        "d",
        "illum",
        "map_Ka",
        "map_Kd",
        "map_Ks",
        "map_Ke",
        "map_Ns",
        "map_d",
        "map_refl",
    ]
)


def write_files(
    folder: Path,
    inside: str,
    file_format: str,
    scene: bpy.types.Scene,
    built: Built,
    result: Reconstruction,
) -> tuple[Path, list[Path]]:
    """Have Blender write a scene that holds one result.

    Args:
        folder: An empty folder.
        inside: What files call each other by; see ``naming.token``.
        file_format: A key of ``SUFFIXES``.
        scene: Holds only the result.
        built: What the result became in Blender.
        result: The arrays it came from.

    Returns:
        The main file, whose name nothing in the others depends on, and all others.

    Raises:
        RuntimeError: As Blender's exporters do.
        AttributeError: The exporter is switched off.
        OSError: The system refuses.
    """
    main = folder / f"{inside}{SUFFIXES[file_format]}"
    _name_textures(built, inside)
    with _in_scene(scene):
        _WRITERS[file_format](main, scene, built, result)
    beside = {"obj": (f"{inside}.mtl", f"{inside}_*.png"), "usd": ("textures/*",)}
    patterns = beside.get(file_format, ())
    return main, sorted(path for pattern in patterns for path in folder.glob(pattern))


def camera_in_file(result: Reconstruction, file_format: str) -> NDArray[np.float64]:
    """(4, 4) camera-to-world in the file's own axes and unit; the camera looks along -z, +y is up."""
    matrix = opencv_to_blender_camera(result.camera.matrix)
    if file_format in Y_UP_FORMATS:
        matrix = BLENDER_TO_Y_UP @ matrix
    matrix[:3, 3] /= METRES_PER_UNIT.get(file_format, 1.0)
    return matrix


@contextmanager
def _in_scene(scene: bpy.types.Scene) -> Iterator[None]:
    """Make exporters see ``scene`` without switching the artist's window to it."""
    view_layer = scene.view_layers[0]
    with bpy.context.temp_override(scene=scene, view_layer=view_layer):
        view_layer.update()
        yield


def _images(built: Built) -> dict[str, bpy.types.Image]:
    """The material's packed images by what they are."""
    material = built.object.active_material
    assert material is not None
    assert material.node_tree is not None
    found = {}
    for node in material.node_tree.nodes:
        image = getattr(node, "image", None)
        if isinstance(image, bpy.types.Image) and image.packed_file is not None:
            found[node.label] = image
    return found


def _name_textures(built: Built, inside: str) -> None:
    """Name textures after the result: Blender cuts the names of images to 63 bytes.

    Exporters call their files so.
    """
    for label, image in _images(built).items():
        image.filepath_raw = f"//{texture_name(inside, label)}"
        for packed in image.packed_files:
            packed.filepath = image.filepath_raw  # what the USD exporter goes by


Writer = Callable[[Path, bpy.types.Scene, Built, Reconstruction], None]


def _write_glb(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    bpy.ops.export_scene.gltf(
        filepath=str(path),
        export_format="GLB",
        use_active_scene=True,
        export_cameras=True,
        export_extras=True,  # where the result comes from
        export_yup=True,
    )
    gc.collect()  # the exporter leaves decoded images in reference cycles: megabytes per result


def _write_blend(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    bpy.data.libraries.write(str(path), {scene}, fake_user=False, compress=True)


def _write_obj(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    # The OBJ exporter names packed images but does not write them.
    for label, image in _images(built).items():
        write_synced(path.parent / texture_name(path.stem, label), image.packed_file.data)
    bpy.ops.wm.obj_export(
        filepath=str(path),
        forward_axis="NEGATIVE_Z",
        up_axis="Y",
        export_materials=True,
        export_pbr_extensions=False,
        path_mode="STRIP",  # the textures lie in the same folder
    )
    library = path.with_suffix(".mtl")
    roughness = float(np.mean(result.material.roughness))
    if isinstance(result.material.roughness, np.ndarray):
        roughness /= 255
    write_synced(library, plain_mtl(library.read_text(encoding="utf-8"), roughness).encode())


def plain_mtl(text: str, roughness: float) -> str:
    """A material library of Blender's with what every reader understands, and no more.

    The normal map goes where readers look for one: Blender, Godot, assimp and tinyobjloader know
    ``map_bump``, some of them only without options and in small letters.

    Args:
        text: Blender's own, with one material.
        roughness: 0 to 1, for the shine of readers that do not take it from a texture.
    """
    lines = [line.split(maxsplit=1) for line in text.splitlines() if line[:1] not in ("", "#")]
    kept = []
    for word, value in (line for line in lines if len(line) == 2):
        if word.casefold() in {"map_bump", "bump", "norm"}:
            kept.append(("map_bump", value.split()[-1]))  # texture names have no spaces
        elif word in _MTL_WORDS:
            kept.append((word, value))
    words = {word for word, _value in kept}
    if "Kd" not in words:  # a texture is multiplied by this, and where it is missing by less
        kept.insert(1, ("Kd", "1.000000 1.000000 1.000000"))
    if "Ns" not in words:
        kept.insert(1, ("Ns", f"{1000 * (1 - roughness) ** 2:.6f}"))  # as Blender does
    return "".join(f"{word} {value}\n" for word, value in kept)


def _write_fbx(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    bpy.ops.export_scene.fbx(
        filepath=str(path),
        object_types={"MESH", "CAMERA"},
        apply_scale_options="FBX_SCALE_ALL",  # numbers in the file are metres
        bake_space_transform=True,  # the mesh itself is y up, no node turns it
        axis_forward="-Z",
        axis_up="Y",
        path_mode="COPY",
        embed_textures=True,
    )
    # Blender names embedded textures by the folder that the file is written in.
    folder = os.path.abspath(path.parent)  # noqa: PTH100 - as the exporter does
    write_synced(path, without_folders(path.read_bytes(), folder))


def _write_usd(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    mesh = built.object.data
    assert isinstance(mesh, bpy.types.Mesh)
    parts = len(mesh.vertices) + len(mesh.polygons) + len(mesh.loops)
    textures = [image.packed_file.size for image in _images(built).values()]
    # The most that the mesh takes before it is packed.
    require_room(path, max((1 << 16) + 32 * parts, *textures, 0))
    bpy.ops.wm.usd_export(filepath=str(path), export_materials=True, export_animation=False)


def _write_stl(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    bpy.ops.wm.stl_export(
        filepath=str(path),
        forward_axis="Y",
        up_axis="Z",
        global_scale=1 / METRES_PER_UNIT["stl"],
    )


def _write_ply(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    mesh = built.object.data
    assert isinstance(mesh, bpy.types.Mesh)
    _colour(mesh, result.mesh, result.material.base_color)
    bpy.ops.wm.ply_export(
        filepath=str(path),
        forward_axis="Y",
        up_axis="Z",
        export_uv=False,  # readers that see UVs look for a texture and ignore the colours
        export_normals=True,
        export_colors="SRGB",
        export_triangulated_mesh=True,  # many readers stumble over mixed face sizes
    )


def _colour(mesh: bpy.types.Mesh, arrays: MeshArrays, base_color: NDArray[np.uint8]) -> None:
    if len(mesh.vertices) == len(arrays.positions):  # Blender may have repaired the mesh
        colour_vertices(mesh, arrays, base_color)


_WRITERS: dict[str, Writer] = {
    "glb": _write_glb,
    "blend": _write_blend,
    "obj": _write_obj,
    "fbx": _write_fbx,
    "usd": _write_usd,
    "stl": _write_stl,
    "ply": _write_ply,
}
