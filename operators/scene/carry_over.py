"""What an artist has attached to a mesh: what goes along to its new geometry, and what cannot.

Vertex groups go along: each new vertex takes the weights of the nearest place on the old surface, so that
modifiers that go by a group's name go on working. What is bound to single vertices, edges or faces cannot,
and is told.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false, reportArgumentType=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass, replace

import bpy
import numpy as np
from mathutils.bvhtree import BVHTree
from mathutils.interpolate import poly_3d_calc

UV_NAME = "UVMap"
LEAST_WEIGHT = 1e-4  # less pull than that is none

# Layers that new geometry has anyway, or that only say what is selected or hidden.
_OWN = {"position", "sharp_face", "shade_smooth"}
_WORDS = {
    "material_index": "the materials of single faces",
    "sharp_edge": "sharp edges",
    "uv_seam": "seams",
    "crease_edge": "creases",
    "crease_vert": "creases of vertices",
    "bevel_weight_edge": "bevel weights",
    "bevel_weight_vert": "bevel weights of vertices",
    "custom_normal": "custom normals",
    ".sculpt_face_set": "face sets",
    ".sculpt_mask": "the sculpting mask",
}


@dataclass(frozen=True, slots=True)
class _Group:
    name: str
    is_locked: bool


@dataclass(frozen=True, slots=True)
class Attached:
    """What is attached to an object's mesh.

    Attributes:
        uv_name: Name of the UV map that renders use.
        groups: The vertex groups in their order.
        active: Index of the active one; -1 for none.
        weights: Of each vertex, group index and weight.
        surface: The surface that the weights lie on; None when no vertex has any.
        lost: What cannot go along, in words for the artist.
    """

    uv_name: str
    groups: tuple[_Group, ...]
    active: int
    weights: tuple[dict[int, float], ...]
    surface: _Surface | None
    lost: tuple[str, ...]

    @classmethod
    def of(cls, obj: bpy.types.Object) -> Attached:
        """Look at what is there, before the old geometry goes."""
        mesh = obj.data
        assert isinstance(mesh, bpy.types.Mesh)
        groups = tuple(_Group(group.name, group.lock_weight) for group in obj.vertex_groups)
        weights: tuple[dict[int, float], ...] = ()
        if groups:
            weights = tuple({g.group: g.weight for g in v.groups} for v in mesh.vertices)
        return cls(
            next((layer.name for layer in mesh.uv_layers if layer.active_render), UV_NAME),
            groups,
            obj.vertex_groups.active_index if groups else -1,
            weights,
            _Surface.of(mesh) if any(weights) and len(mesh.polygons) else None,
            tuple(_lost_layers(mesh) + _lost_bindings(obj)),
        )

    def or_before(self, before: Attached | None, put: Attached | None) -> Attached:
        """What was there before an earlier exchange, as long as the artist has not touched it since.

        Weights that are read off one surface after the other become ever more blurred.

        Args:
            before: What was there before the earlier exchange, if there was one.
            put: What that has put onto the mesh.
        """
        if before is None or put is None:
            return self
        lost = (*before.lost, *self.lost)
        if (self.groups, self.weights) != (put.groups, put.weights):
            return replace(self, lost=lost)
        return replace(before, lost=lost, active=self.active, uv_name=self.uv_name)

    def put_on(self, obj: bpy.types.Object) -> None:
        """Give the object's new geometry its vertex groups back."""
        mesh = obj.data
        assert isinstance(mesh, bpy.types.Mesh)
        new = []
        for group in self.groups:
            made = obj.vertex_groups.new(name=group.name)
            made.lock_weight = group.is_locked
            new.append(made)
        if self.groups:
            obj.vertex_groups.active_index = self.active
        if self.surface is None:
            return
        for vertex in mesh.vertices:
            pulled: dict[int, float] = {}
            for old, share in self.surface.nearest(vertex.co):
                for group, weight in self.weights[old].items():
                    pulled[group] = pulled.get(group, 0.0) + share * weight
            for group, weight in pulled.items():
                if weight > LEAST_WEIGHT:
                    new[group].add((vertex.index,), weight, "REPLACE")


@dataclass(frozen=True, slots=True)
class _Surface:
    """A surface to find the nearest place on."""

    tree: BVHTree
    corners: tuple[tuple[int, ...], ...]
    places: tuple

    @classmethod
    def of(cls, mesh: bpy.types.Mesh) -> _Surface:
        places = tuple(vertex.co.copy() for vertex in mesh.vertices)
        corners = tuple(tuple(face.vertices) for face in mesh.polygons)
        return cls(BVHTree.FromPolygons(places, corners), corners, places)

    def nearest(self, place) -> list[tuple[int, float]]:
        """Vertices of the nearest face and their shares of its nearest point."""
        point, _, face, _ = self.tree.find_nearest(place)
        if face is None:
            return []
        corners = self.corners[face]
        shares = poly_3d_calc([self.places[corner] for corner in corners], point)
        return list(zip(corners, shares, strict=True))


def _lost_layers(mesh: bpy.types.Mesh) -> list[str]:
    """Layers of the mesh that have no counterpart on new geometry."""
    kept = {layer.name for layer in mesh.uv_layers if layer.active_render}
    maps = {layer.name for layer in mesh.uv_layers}
    colours = {layer.name for layer in mesh.color_attributes}
    lost = []
    for layer in mesh.attributes:
        name = layer.name
        if name in _WORDS:
            if name != "material_index" or _has_several_materials(mesh):
                lost.append(_WORDS[name])
        elif name in maps:
            if name not in kept:
                lost.append(f"the UV map {name}")
        elif name in colours:
            lost.append(f"the colours {name}")
        elif name not in _OWN and not name.startswith("."):
            lost.append(f"the attribute {name}")
    if mesh.skin_vertices:
        lost.append("skin radii")
    return lost


def _has_several_materials(mesh: bpy.types.Mesh) -> bool:
    index = np.zeros(len(mesh.polygons), np.int32)
    mesh.polygons.foreach_get("material_index", index)
    return bool(index.any())


def _lost_bindings(obj: bpy.types.Object) -> list[str]:
    """Modifiers and children that go by single vertices of the mesh."""
    lost = []
    for modifier in obj.modifiers:
        if getattr(modifier, "is_bound", False) or getattr(modifier, "is_bind", False):
            lost.append(f"what {modifier.name} was bound to: bind it again")
        elif modifier.type == "HOOK" and len(modifier.vertex_indices) and not modifier.vertex_group:
            lost.append(f"the vertices of {modifier.name}: assign them again")
        elif modifier.type == "MULTIRES" and modifier.total_levels:
            lost.append(f"what was sculpted in {modifier.name}")
        elif modifier.type == "MESH_CACHE":
            lost.append(f"the animation of {modifier.name}, which was made for other vertices")
    lost += [
        f"the place of {child.name}, whose parent is a vertex"
        for child in obj.children
        if child.parent_type in {"VERTEX", "VERTEX_3"}
    ]
    return lost
