"""Points on the surface of a mesh, and what a point cloud is made from."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from .image import image_pixels

TOUCHING = 0.7  # radius of a point in mean distances between neighbours


@dataclass(frozen=True, slots=True)
class SurfaceSamples:
    """N points on a surface in its object's own space.

    Attributes:
        positions: (N, 3) float32.
        normals: (N, 3) float32 unit normals of the faces.
        colours: (N, 4) uint8 sRGB with alpha 255; None when the object has no picture on it.
        area: Area of the surface.
    """

    positions: NDArray[np.float32]
    normals: NDArray[np.float32]
    colours: NDArray[np.uint8] | None
    area: float


def sample_surface(obj: bpy.types.Object, count: int, seed: int) -> SurfaceSamples:
    """Draw points from a mesh, each part of it in proportion to its area.

    Args:
        obj: A mesh object with faces.
        count: Points wanted.
        seed: The same gives the same points.
    """
    mesh = obj.data
    assert isinstance(mesh, bpy.types.Mesh)
    positions = np.empty(len(mesh.vertices) * 3, np.float32)
    mesh.vertices.foreach_get("co", positions)
    positions = positions.reshape(-1, 3)
    triangles = _loop_triangles(mesh, "vertices")
    a, b, c = (positions[triangles[:, k]] for k in range(3))
    normals = np.cross(b - a, c - a)
    doubled = np.linalg.norm(normals, axis=1)
    rng = np.random.default_rng(seed)
    ends = np.cumsum(doubled, dtype=np.float64)
    # One point in each of `count` equal strips of area: more even than independent draws.
    spots = (np.arange(count) + rng.random(count)) / count * ends[-1]
    chosen = np.minimum(np.searchsorted(ends, spots), len(triangles) - 1)
    weights = _inside_triangle(rng, count)
    points = sum(weights[:, k : k + 1] * corner[chosen] for k, corner in enumerate((a, b, c)))
    directions = normals[chosen] / np.maximum(doubled[chosen, None], 1e-20)
    return SurfaceSamples(
        np.asarray(points, np.float32),
        directions.astype(np.float32),
        _colours(mesh, chosen, weights),
        float(ends[-1]) / 2,
    )


def add_vertices(
    scene: bpy.types.Scene, obj: bpy.types.Object, samples: SurfaceSamples
) -> bpy.types.Object:
    """Add the samples as a mesh without faces where ``obj`` is, with a point cloud's attributes."""
    count = len(samples.positions)
    mesh = bpy.data.meshes.new(f"{obj.name} Points")
    mesh.vertices.add(count)
    mesh.attributes["position"].data.foreach_set("vector", samples.positions.ravel())
    normal = mesh.attributes.new("surface_normal", "FLOAT_VECTOR", "POINT")
    normal.data.foreach_set("vector", samples.normals.ravel())
    if samples.colours is not None:
        colour = mesh.attributes.new("Color", "BYTE_COLOR", "POINT")
        floats = samples.colours.astype(np.float32).ravel() / 255
        colour.data.foreach_set("color_srgb", floats)
        mesh.materials.append(_point_material(mesh.name))
    radius = TOUCHING * float(np.sqrt(samples.area / max(count, 1)))
    sizes = mesh.attributes.new("radius", "FLOAT", "POINT")
    sizes.data.foreach_set("value", np.full(count, radius, np.float32))
    cloud = bpy.data.objects.new(mesh.name, mesh)
    cloud.matrix_world = obj.matrix_world
    for collection in obj.users_collection or (scene.collection,):
        collection.objects.link(cloud)
    return cloud


def show_as_points(obj: bpy.types.Object) -> None:
    """Draw and render the vertices that ``add_vertices`` made as points, by Geometry Nodes."""
    tree = bpy.data.node_groups.new(f"{obj.name} as Points", "GeometryNodeTree")
    for direction in ("INPUT", "OUTPUT"):
        tree.interface.new_socket("Geometry", in_out=direction, socket_type="NodeSocketGeometry")
    kinds = ("NodeGroupInput", "GeometryNodeMeshToPoints", "GeometryNodeSetMaterial")
    start, points, paint = (tree.nodes.new(kind) for kind in kinds)
    end = tree.nodes.new("NodeGroupOutput")
    radius = tree.nodes.new("GeometryNodeInputNamedAttribute")
    radius.inputs["Name"].default_value = "radius"
    tree.links.new(start.outputs[0], points.inputs["Mesh"])
    tree.links.new(radius.outputs["Attribute"], points.inputs["Radius"])
    tree.links.new(points.outputs[0], paint.inputs["Geometry"])
    tree.links.new(paint.outputs[0], end.inputs[0])
    mesh = obj.data
    assert isinstance(mesh, bpy.types.Mesh)
    paint.inputs["Material"].default_value = mesh.materials[0] if mesh.materials else None
    for column, node in enumerate((start, points, paint, end)):
        node.location = (200 * column, 0)
    radius.location = (0, -150)
    modifier = obj.modifiers.new("Points", "NODES")
    modifier.node_group = tree


def _loop_triangles(mesh: bpy.types.Mesh, what: str) -> NDArray[np.int32]:
    """(T, 3) vertices or corners ("loops") of a mesh's triangles."""
    mesh.calc_loop_triangles()
    found = np.empty(len(mesh.loop_triangles) * 3, np.int32)
    mesh.loop_triangles.foreach_get(what, found)
    return found.reshape(-1, 3)


def _inside_triangle(rng: np.random.Generator, count: int) -> NDArray[np.float32]:
    """(count, 3) barycentric coordinates, uniform over a triangle."""
    u, v = rng.random((2, count), np.float32)
    root = np.sqrt(u)
    return np.stack([1 - root, root * (1 - v), root * v], axis=1)


def _colours(
    mesh: bpy.types.Mesh, chosen: NDArray[np.intp], weights: NDArray[np.float32]
) -> NDArray[np.uint8] | None:
    """Base colour of each sample from the first picture that a material shows."""
    image = next((found for m in mesh.materials if (found := _base_colour(m)) is not None), None)
    if image is None or mesh.uv_layers.active is None:
        return None
    pixels = image_pixels(image)
    if pixels.size == 0:
        return None
    uvs = np.empty(len(mesh.loops) * 2, np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uvs)
    corners = uvs.reshape(-1, 2)[_loop_triangles(mesh, "loops")[chosen]]
    spot = np.einsum("nk,nkd->nd", weights, corners)
    height, width = pixels.shape[:2]
    columns = np.clip(spot[:, 0] * width, 0, width - 1).astype(np.int32)
    rows = np.clip((1 - spot[:, 1]) * height, 0, height - 1).astype(np.int32)
    colours = pixels[rows, columns].copy()
    colours[:, 3] = 255
    return colours


def _base_colour(material: bpy.types.Material | None) -> bpy.types.Image | None:
    tree = material.node_tree if material is not None else None
    for node in tree.nodes if tree is not None else ():
        if node.bl_idname == "ShaderNodeBsdfPrincipled" and node.inputs["Base Color"].links:
            source = node.inputs["Base Color"].links[0].from_node
            if isinstance(source, bpy.types.ShaderNodeTexImage):
                return source.image
    return None


def _point_material(name: str) -> bpy.types.Material:
    """A material that shows the points' own colours."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # Blender 5 always has one, and warns when asked to make it
        material.use_nodes = True
    tree = material.node_tree
    shader = next(n for n in tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled")
    colour = tree.nodes.new("ShaderNodeAttribute")
    colour.attribute_name = "Color"
    colour.location = (shader.location.x - 250, shader.location.y)
    tree.links.new(colour.outputs["Color"], shader.inputs["Base Color"])
    return material
