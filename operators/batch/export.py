"""One built result becomes files: whole or not at all, with a JSON beside them."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import errno
import gc
import json
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import MeshArrays, Reconstruction, StageCost
from ...inference.errors import OutputError
from ...inference.running.cost import StageClock
from ..scene.axes import BLENDER_TO_Y_UP, opencv_to_blender_camera
from ..scene.build import Built
from ..scene.mesh import colour_vertices
from ..versions import versions

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
FULL_DISK = 64 * 1024  # free bytes under which a failed or short write is blamed on the disk


class OutputUnusable(OutputError):
    """Nothing more can be written to the output folder; going on is pointless."""


def write_result(
    folder: Path,
    stem: str,
    file_format: str,
    scene: bpy.types.Scene,
    built: Built,
    result: Reconstruction,
    record: Mapping[str, object],
    clock: StageClock,
    *,
    overwrite: bool,
) -> Path:
    """Write a scene that holds one result, and the JSON beside it.

    Everything is written to a hidden folder first and moved into place at the end, so a full disk
    or a crash never leaves half a file under the final name.

    Args:
        folder: Existing output folder.
        stem: Name of the files without suffix.
        file_format: A key of ``SUFFIXES``.
        scene: Holds only the result; its render size is the picture's.
        built: What the result became in Blender.
        result: The arrays it came from.
        record: Fields of the JSON besides those about the result itself.
        clock: Has timed the stages since the result arrived; times the writing too.
        overwrite: Replace files that are in the way.

    Returns:
        The main file.

    Raises:
        OutputError: When a file is in the way, or the exporter is missing or fails.
        OutputUnusable: When the disk is full or the folder cannot be written to.
    """
    with writing_to(folder):
        staging = Path(tempfile.mkdtemp(prefix=".image_to_mesh-", dir=folder))
        try:
            main = staging / f"{stem}{SUFFIXES[file_format]}"
            clock.next("Writing the file")
            with _blaming_the_disk(folder):
                _WRITERS[file_format](main, scene, built, result)
            clock.next(None)
            if not main.is_file() or main.stat().st_size == 0:
                raise _failure(folder, f"Blender wrote no {file_format} file: try another format.")
            if shutil.disk_usage(folder).free < FULL_DISK:
                raise _disk_full(folder)
            stages = (*result.stages, *clock.stages())
            text = json.dumps(_sidecar(file_format, built, result, record, stages), indent=1)
            (staging / f"{stem}.json").write_text(text + "\n", encoding="utf-8")
            _move_into_place(staging, folder, overwrite=overwrite)
        finally:
            shutil.rmtree(staging, ignore_errors=True)
    return folder / main.name


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn the system's refusals into sentences about the output folder."""
    try:
        yield
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT} or _names_full_disk(error):
            raise _disk_full(folder) from error
        if error.errno in {errno.EACCES, errno.EPERM, errno.EROFS}:
            raise OutputUnusable(
                f"{folder} cannot be written to: choose another output folder."
            ) from error
        raise OutputUnusable(
            f"{folder} cannot be used ({error.strerror or error}): choose another output folder."
        ) from error


def camera_in_file(result: Reconstruction, file_format: str) -> NDArray[np.float64]:
    """(4, 4) camera-to-world in the file's own axes; the camera looks along its -z, +y is up."""
    matrix = opencv_to_blender_camera(result.camera.matrix)
    return BLENDER_TO_Y_UP @ matrix if file_format in Y_UP_FORMATS else matrix


def _sidecar(
    file_format: str,
    built: Built,
    result: Reconstruction,
    record: Mapping[str, object],
    stages: Sequence[StageCost],
) -> dict[str, object]:
    mesh = built.object.data
    assert isinstance(mesh, bpy.types.Mesh)
    camera = result.camera
    return {
        "status": "done",
        "message": " ".join(result.notes),
        "engine": result.engine,
        "model": result.model,
        "format": file_format,
        **record,
        "stages": [
            {"name": s.name, "seconds": round(s.seconds, 3), "peak_mb": round(s.peak_mb, 1)}
            for s in stages
        ],
        "faces": len(mesh.polygons),
        "vertices": len(mesh.vertices),
        "watertight": result.is_watertight,
        "self_intersections": result.self_intersections,
        "camera": {
            "matrix_world": camera_in_file(result, file_format).tolist(),
            "fov_x": camera.fov_x,
            "width": camera.width,
            "height": camera.height,
        },
        "versions": versions(),
    }


def _move_into_place(staging: Path, folder: Path, *, overwrite: bool) -> None:
    files = sorted(path.relative_to(staging) for path in staging.rglob("*") if path.is_file())
    # The JSON goes last: its presence says that everything else is there.
    files.sort(key=lambda path: path.suffix == ".json")
    if not overwrite:
        for file in files:
            if (folder / file).exists():
                raise OutputError(
                    f"{folder / file} exists already: choose another output folder or allow"
                    " overwriting."
                )
    for file in files:
        (folder / file).parent.mkdir(parents=True, exist_ok=True)
        os.replace(staging / file, folder / file)  # noqa: PTH105 - one name for every system


def _disk_full(folder: Path) -> OutputUnusable:
    return OutputUnusable(
        f"The disk that holds {folder} is full: free some space and run the same again, finished"
        " pictures are kept."
    )


def _failure(folder: Path, sentence: str) -> OutputError:
    full = shutil.disk_usage(folder).free < FULL_DISK
    return _disk_full(folder) if full else OutputError(sentence)


def _names_full_disk(error: Exception) -> bool:
    """Blender hands the system's words on, but not its error number."""
    return os.strerror(errno.ENOSPC) in str(error)


@contextmanager
def _blaming_the_disk(folder: Path) -> Iterator[None]:
    """Blender's exporters raise RuntimeError for everything, a full disk included."""
    try:
        yield
    except AttributeError as error:  # what bpy.ops raises for an operator that is not there
        raise OutputError(
            "Blender's exporter for this format is switched off: enable it in the add-ons list of"
            " the preferences."
        ) from error
    except RuntimeError as error:
        if _names_full_disk(error):
            raise _disk_full(folder) from error
        lines = [line for line in str(error).splitlines() if line and "Location: " not in line]
        reason = lines[-1].removeprefix("Error: ") if lines else "no reason given"
        raise _failure(
            folder, f"Blender could not export the result ({reason}): try another format."
        ) from error


@contextmanager
def _in_scene(scene: bpy.types.Scene) -> Iterator[None]:
    """Make exporters see ``scene`` without switching the artist's window to it."""
    view_layer = scene.view_layers[0]
    with bpy.context.temp_override(scene=scene, view_layer=view_layer):
        view_layer.update()
        yield


Writer = Callable[[Path, bpy.types.Scene, Built, Reconstruction], None]


def _write_glb(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    with _in_scene(scene):
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
    _write_images(built, path.parent)
    with _in_scene(scene):
        bpy.ops.wm.obj_export(
            filepath=str(path),
            forward_axis="NEGATIVE_Z",
            up_axis="Y",
            export_materials=True,
            export_pbr_extensions=True,
            path_mode="STRIP",  # the textures lie in the same folder
        )


def _write_fbx(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    with _in_scene(scene):
        bpy.ops.export_scene.fbx(
            filepath=str(path),
            object_types={"MESH", "CAMERA"},
            apply_scale_options="FBX_SCALE_ALL",  # numbers in the file are metres
            axis_forward="-Z",
            axis_up="Y",
            path_mode="COPY",
            embed_textures=True,
        )


def _write_usd(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    with _in_scene(scene):
        bpy.ops.wm.usd_export(filepath=str(path), export_materials=True, export_animation=False)


def _write_stl(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    with _in_scene(scene):
        bpy.ops.wm.stl_export(filepath=str(path), forward_axis="Y", up_axis="Z")


def _write_ply(path: Path, scene: bpy.types.Scene, built: Built, result: Reconstruction) -> None:
    mesh = built.object.data
    assert isinstance(mesh, bpy.types.Mesh)
    _colour(mesh, result.mesh, result.material.base_color)
    with _in_scene(scene):
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


def _write_images(built: Built, folder: Path) -> None:
    """Write the material's packed images under the names that the exporter gives them."""
    material = built.object.active_material
    assert material is not None
    assert material.node_tree is not None
    for node in material.node_tree.nodes:
        image = getattr(node, "image", None)
        if isinstance(image, bpy.types.Image) and image.packed_file is not None:
            name = bpy.path.basename(image.filepath_raw)
            (folder / name).write_bytes(image.packed_file.data)
