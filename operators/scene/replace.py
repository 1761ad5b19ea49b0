"""Put a new result into an object that exists, and leave all else about it as the artist made it."""

from __future__ import annotations

import zlib
from dataclasses import dataclass

import bpy
import numpy as np

from ...inference.contracts import Reconstruction
from ...inference.errors import ImageToMeshError
from .build import PreparedMesh
from .carry_over import Attached
from .exchange import exchange_images
from .material import material_from_pngs
from .mesh import fill_mesh


@dataclass(frozen=True, slots=True)
class Found:
    """An object's mesh when work for it began, to tell later whether it is still the same.

    Attributes:
        mesh: Blender's number of the mesh, which survives undo and renaming.
        geometry: Checksum of its vertices and faces.
    """

    mesh: int
    geometry: int

    @classmethod
    def of(cls, obj: bpy.types.Object) -> Found:
        """Look at an object that ``refusal`` has nothing against."""
        mesh = obj.data
        assert isinstance(mesh, bpy.types.Mesh)
        return cls(mesh.session_uid, _geometry(mesh))

    def contradiction(self, obj: bpy.types.Object) -> str | None:
        """Why a result no longer belongs into the object; None when it does."""
        mesh = obj.data
        assert isinstance(mesh, bpy.types.Mesh)
        if mesh.session_uid != self.mesh:
            return f"{obj.name} was given another mesh meanwhile, which was left as it is"
        if _geometry(mesh) != self.geometry:
            return f"{obj.name}'s mesh was changed meanwhile, and was left as it is"
        return None


@dataclass(frozen=True, slots=True)
class Replaced:
    """What an exchange did.

    Attributes:
        before: What was attached to the old mesh.
        put: What is attached to the new one.
        found: The new mesh, for whatever is to follow.
        copies: Sentences about materials that the object has copies of now.
    """

    before: Attached
    put: Attached
    found: Found
    copies: tuple[str, ...]

    def notes(self) -> tuple[str, ...]:
        """Sentences for the artist about what could not stay."""
        if not self.before.lost:
            return self.copies
        return (*self.copies, f"With the old mesh went {', '.join(self.before.lost)}.")


def replace_geometry(
    obj: bpy.types.Object,
    result: Reconstruction,
    prepared: PreparedMesh,
    found: Found,
    earlier: Replaced | None = None,
) -> Replaced:
    """Exchange the mesh's geometry and the material's images.

    Transform, name, modifiers, vertex groups, material settings and node edits stay. Images are found
    by the label of their nodes; where the artist has removed or exchanged one, it stays so. What other
    objects use, too, is left to them: this one gets a copy.

    Args:
        obj: Takes the result.
        result: What to put into it.
        prepared: What the worker did ahead for it.
        found: Its mesh when the work began.
        earlier: The exchange for a coarse preview of the same result.

    Raises:
        ImageToMeshError: When the object cannot take new geometry now; it is unchanged then.
    """
    mesh = obj.data
    reason = refusal(obj) or found.contradiction(obj)
    if reason is not None or not isinstance(mesh, bpy.types.Mesh):
        raise ImageToMeshError(f"{reason}.")
    material, images = material_from_pngs(result.name, result.material, prepared.material)
    try:
        before = Attached.of(obj)
        if earlier is not None:
            before = before.or_before(earlier.before, earlier.put)
        mesh.clear_geometry()
        fill_mesh(mesh, result.mesh, is_checked=prepared.is_mesh_sound, uv_name=before.uv_name)
        before.put_on(obj)
        copies = exchange_images(obj, material, images)
    finally:
        bpy.data.batch_remove([material, *images])
    if earlier is not None:
        copies = (*earlier.copies, *copies)
    return Replaced(before, Attached.of(obj), Found.of(obj), copies)


def refusal(obj: bpy.types.Object) -> str | None:
    """Why an object cannot take new geometry; None when it can."""
    mesh = obj.data
    if not isinstance(mesh, bpy.types.Mesh):
        return f"{obj.name} is no longer a mesh"
    if obj.library is not None or mesh.library is not None:
        return f"{obj.name} is linked from another file: make it local first"
    if obj.override_library is not None or mesh.override_library is not None:
        return f"{obj.name} is a library override: make it local first"
    if obj.mode != "OBJECT":
        return f"Leave {obj.name}'s {obj.mode.replace('_', ' ').title()} Mode first"
    if mesh.shape_keys is not None:
        return f"{obj.name} has shape keys, which new geometry would break: remove them first"
    others = _others_with(mesh, obj)
    if others:
        whom = f"{others[0].name} and {len(others) - 1} more" if others[1:] else others[0].name
        return (
            f"{obj.name} shares its mesh with {whom}, which would change, too: choose Object >"
            " Relations > Make Single User > Object & Data first"
        )
    return None


def _others_with(mesh: bpy.types.Mesh, obj: bpy.types.Object) -> list[bpy.types.Object]:
    """Other objects that have a mesh."""
    if mesh.users - mesh.use_fake_user <= 1:  # counting is quick, and panels ask often
        return []
    return [
        other for other in bpy.data.objects if other.data == mesh and other != obj and other.users
    ]


def _geometry(mesh: bpy.types.Mesh) -> int:
    """Checksum of a mesh's vertices and faces."""
    places = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", places)
    corners = np.empty(len(mesh.loops), np.int32)
    mesh.loops.foreach_get("vertex_index", corners)
    return zlib.crc32(corners.data, zlib.crc32(places.data, len(mesh.polygons)))
