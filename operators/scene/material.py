"""Maps of a Principled BSDF to a material whose textures are packed."""

from __future__ import annotations

from dataclasses import dataclass

import bpy

from ...inference.contracts import MaterialArrays
from .image import PngImage, image_from_png


@dataclass(frozen=True, slots=True)
class MaterialPngs:
    """The maps of ``MaterialArrays``, encoded; None where the material has a number or nothing."""

    base_color: PngImage
    roughness: PngImage | None
    normal: PngImage | None

    @classmethod
    def from_arrays(cls, arrays: MaterialArrays) -> MaterialPngs:
        """Encode every map; runs on the worker thread."""
        roughness, normal = arrays.roughness, arrays.normal
        return cls(
            PngImage.from_pixels(arrays.base_color),
            None if isinstance(roughness, float | int) else PngImage.from_pixels(roughness),
            None if normal is None else PngImage.from_pixels(normal),
        )


def material_from_pngs(
    name: str, arrays: MaterialArrays, pngs: MaterialPngs
) -> tuple[bpy.types.Material, list[bpy.types.Image]]:
    """Make a material and the packed images it uses."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # Blender 5 always has one, and warns when asked to make it
        material.use_nodes = True
    tree = material.node_tree
    assert tree is not None
    shader = _principled(tree)
    images: list[bpy.types.Image] = []

    def texture(label: str, png: PngImage, row: int, *, is_colour: bool) -> bpy.types.NodeSocket:
        image = image_from_png(f"{name} {label}", png, is_colour=is_colour)
        images.append(image)
        node = tree.nodes.new("ShaderNodeTexImage")
        assert isinstance(node, bpy.types.ShaderNodeTexImage)
        node.image = image
        node.label = label
        node.location = (shader.location.x - 600.0, shader.location.y - 300.0 * row)
        return node.outputs["Color"]  # pyright: ignore[reportOptionalSubscript]

    _link(tree, texture("Base Color", pngs.base_color, 0, is_colour=True), shader, "Base Color")
    _set(shader, "Metallic", arrays.metallic)
    if pngs.roughness is not None:
        _link(tree, texture("Roughness", pngs.roughness, 1, is_colour=False), shader, "Roughness")
    elif isinstance(arrays.roughness, float | int):
        _set(shader, "Roughness", float(arrays.roughness))
    if pngs.normal is not None:
        bump = tree.nodes.new("ShaderNodeNormalMap")
        bump.location = (shader.location.x - 250.0, shader.location.y - 600.0)
        _link(tree, texture("Normal", pngs.normal, 2, is_colour=False), bump, "Color")
        _link(tree, bump.outputs["Normal"], shader, "Normal")
    return material, images


def _principled(tree: bpy.types.ShaderNodeTree) -> bpy.types.Node:
    """Find the shader by type: its name is translated in a localised Blender."""
    for node in tree.nodes:
        if node.bl_idname == "ShaderNodeBsdfPrincipled":
            return node
    shader = tree.nodes.new("ShaderNodeBsdfPrincipled")
    output = next((n for n in tree.nodes if n.bl_idname == "ShaderNodeOutputMaterial"), None)
    if output is None:
        output = tree.nodes.new("ShaderNodeOutputMaterial")
        output.location = (300.0, 0.0)
    tree.links.new(shader.outputs["BSDF"], output.inputs["Surface"])
    return shader


def _link(
    tree: bpy.types.ShaderNodeTree, output: bpy.types.NodeSocket, node: bpy.types.Node, name: str
) -> None:
    socket = node.inputs.get(name)
    if socket is not None:
        tree.links.new(output, socket)


def _set(node: bpy.types.Node, name: str, value: float) -> None:
    socket = node.inputs.get(name)
    if isinstance(socket, bpy.types.NodeSocketFloat | bpy.types.NodeSocketFloatFactor):
        socket.default_value = value
