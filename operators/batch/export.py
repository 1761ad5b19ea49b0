"""One built result becomes files: whole or not at all, with a JSON beside them."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import bpy

from ...inference.contracts import Reconstruction, StageCost
from ...inference.errors import OutputError
from ...inference.naming import token
from ...inference.running.cost import StageClock
from ..scene.build import Built
from ..versions import versions
from .failures import disk_full, is_full, number_in, writing_to
from .formats import METRES_PER_UNIT, SUFFIXES, camera_in_file, write_files
from .names import LONGEST_PATH, Plan
from .records import files_record
from .staging import Permission, commit, staging_folder, write_synced
from .whole import Counts, is_whole


def write_result(
    plan: Plan,
    file_format: str,
    scene: bpy.types.Scene,
    built: Built,
    result: Reconstruction,
    record: Mapping[str, object],
    clock: StageClock,
    permission: Permission,
) -> Path:
    """Write a scene that holds one result, and the JSON beside it.

    Everything is written to a hidden folder first, checked, and moved into place at the end, so a
    full disk or a crash never leaves half a file under the final name.

    Args:
        plan: The existing output folder, and the name of the files.
        file_format: A key of ``SUFFIXES``.
        scene: Holds only the result; its render size is the picture's.
        built: What the result became in Blender.
        result: The arrays it came from.
        record: Fields of the JSON besides those about the result itself.
        clock: Has timed the stages since the result arrived; times the writing too.
        permission: Which files that are in the way may be replaced.

    Returns:
        The main file.

    Raises:
        OutputError: When a file is in the way, or the exporter is missing or fails.
        OutputUnusable: When the disk is full or the folder cannot be written to.
    """
    final = plan.file(SUFFIXES[file_format])
    with writing_to(plan.folder), staging_folder(plan.folder) as files:
        inside = token(plan.stem)
        _require_short(files / inside)
        clock.next("Writing the file")
        with _blaming_the_disk(plan.folder):
            written, beside = write_files(files, inside, file_format, scene, built, result)
        clock.next(None)
        if not written.is_file() or written.stat().st_size == 0:
            if is_full(plan.folder):
                raise disk_full(plan.folder)
            raise OutputError(f"Blender wrote no {file_format} file: try another format.")
        main = written.rename(files / final.name)
        mesh = built.object.data
        assert isinstance(mesh, bpy.types.Mesh)
        for path in (main, *beside):
            _require_whole(path, mesh, plan.folder)
        names = {path.relative_to(files).as_posix(): path for path in (main, *beside)}
        stages = (*result.stages, *clock.stages())
        sidecar = _sidecar(file_format, mesh, result, record, stages)
        text = json.dumps({**sidecar, "files": files_record(names)}, indent=1)
        json_name = plan.file(".json").name
        write_synced(files / json_name, (text + "\n").encode())
        commit(files, plan.folder, [*names, json_name], permission)
    return final


def _sidecar(
    file_format: str,
    mesh: bpy.types.Mesh,
    result: Reconstruction,
    record: Mapping[str, object],
    stages: Sequence[StageCost],
) -> dict[str, object]:
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
        "metres_per_unit": METRES_PER_UNIT.get(file_format, 1.0),
        "camera": {
            "matrix_world": camera_in_file(result, file_format).tolist(),
            "fov_x": camera.fov_x,
            "width": camera.width,
            "height": camera.height,
        },
        "versions": versions(),
    }


def _require_short(path: Path) -> None:
    """Blender cuts long paths off, and then writes somewhere else."""
    if len(os.fsencode(path.absolute())) > LONGEST_PATH:
        raise OutputError(
            f"The path of {path.name[:20]}... is too long for Blender: choose an output folder"
            " nearer to the disk's root."
        )


def _require_whole(path: Path, mesh: bpy.types.Mesh, folder: Path) -> None:
    """Make sure that an exporter's file has all that it should.

    Raises:
        OutputError: It has not, and nothing tells why.
        OSError: It has not, for this reason.
    """
    triangles = len(mesh.loops) - 2 * len(mesh.polygons)
    counts = Counts(len(mesh.vertices), len(mesh.polygons), triangles)
    if is_whole(path, counts):
        return
    if is_full(folder):
        raise disk_full(folder)
    with path.open("ab") as file:  # whatever cut it short refuses this, too, and says why
        file.write(bytes(1 << 16))
        file.flush()
        os.fsync(file.fileno())
    raise OutputError(
        f"{path.name} was not written whole: check the disk, its quota and the connection to it, and"
        " run the same again."
    )


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
        number = number_in(str(error))
        if number is not None:
            raise OSError(number, os.strerror(number)) from error
        if is_full(folder):
            raise disk_full(folder) from error
        lines = [line for line in str(error).splitlines() if line and "Location: " not in line]
        reason = lines[-1].removeprefix("Error: ") if lines else "no reason given"
        raise OutputError(
            f"Blender could not export the result ({reason}): try another format."
        ) from error
