"""Maps of a Principled BSDF to a material whose textures are packed."""

from __future__ import annotations

from dataclasses import dataclass

import bpy
import numpy as np
from numpy.typing import NDArray

from ...inference.contracts import MaterialArrays
from .image import PngImage, image_from_png

MAPS = ("Base Color", "Roughness", "Normal", "Metallic", "Occlusion")  # what textures are labelled
GLTF_GROUP = "glTF Material Output"  # the name that Blender's glTF importer and exporter know


@dataclass(frozen=True, slots=True)
class MaterialPngs:
    """The maps of ``MaterialArrays``, encoded; None where the material has a number or nothing."""

    base_color: PngImage
    roughness: PngImage | None
    metallic: PngImage | None
    normal: PngImage | None
    occlusion: PngImage | None

    @classmethod
    def from_arrays(cls, arrays: MaterialArrays) -> MaterialPngs:
        """Encode every map; runs on the worker thread."""

        def encoded(pixels: NDArray[np.uint8] | float | None) -> PngImage | None:
            return PngImage.from_pixels(pixels) if isinstance(pixels, np.ndarray) else None

        return cls(
            PngImage.from_pixels(arrays.base_color),
            encoded(arrays.roughness),
            encoded(arrays.metallic),
            encoded(arrays.normal),
            encoded(arrays.occlusion),
        )


def material_from_pngs(
    name: str, arrays: MaterialArrays, pngs: MaterialPngs
) -> tuple[bpy.types.Material, list[bpy.types.ID]]:
    """Make a material, and what only it uses: packed images, and a node group for glTF."""
    material = bpy.data.materials.new(name)
    if material.node_tree is None:  # Blender 5 always has one, and warns when asked to make it
        material.use_nodes = True
    tree = material.node_tree
    assert tree is not None
    shader = _principled(tree)
    blocks: list[bpy.types.ID] = []

    def texture(label: str, png: PngImage, row: int, *, is_colour: bool) -> bpy.types.NodeSocket:
        image = image_from_png(f"{name} {label}", png, is_colour=is_colour)
        blocks.append(image)
        node = tree.nodes.new("ShaderNodeTexImage")
        assert isinstance(node, bpy.types.ShaderNodeTexImage)
        node.image = image
        node.label = label
        node.location = (shader.location.x - 600.0, shader.location.y - 300.0 * row)
        return node.outputs["Color"]  # pyright: ignore[reportOptionalSubscript]

    def map_or_number(
        label: str, png: PngImage | None, value: NDArray[np.uint8] | float, row: int
    ) -> None:
        if png is not None:
            _link(tree, texture(label, png, row, is_colour=False), shader, label)
        elif isinstance(value, float | int):
            _set(shader, label, float(value))

    _link(tree, texture("Base Color", pngs.base_color, 0, is_colour=True), shader, "Base Color")
    map_or_number("Roughness", pngs.roughness, arrays.roughness, 1)
    if pngs.normal is not None:
        bump = tree.nodes.new("ShaderNodeNormalMap")
        bump.location = (shader.location.x - 250.0, shader.location.y - 600.0)
        _link(tree, texture("Normal", pngs.normal, 2, is_colour=False), bump, "Color")
        _link(tree, bump.outputs["Normal"], shader, "Normal")
    map_or_number("Metallic", pngs.metallic, arrays.metallic, 3)
    if pngs.occlusion is not None:
        node = tree.nodes.new("ShaderNodeGroup")
        assert isinstance(node, bpy.types.ShaderNodeGroup)
        node.node_tree = _gltf_group()
        blocks.append(node.node_tree)
        node.location = (shader.location.x, shader.location.y + 200.0)
        _link(tree, texture("Occlusion", pngs.occlusion, 4, is_colour=False), node, "Occlusion")
    return material, blocks


def _gltf_group() -> bpy.types.ShaderNodeTree:
    """Where Blender's glTF exporter looks for what the Principled BSDF has no input for.

    It goes by the beginning of the name. Renders ignore it: they find occlusion themselves.
    """
    group = bpy.data.node_groups.new(GLTF_GROUP, "ShaderNodeTree")
    assert isinstance(group, bpy.types.ShaderNodeTree)
    assert group.interface is not None
    socket = group.interface.new_socket("Occlusion", in_out="INPUT", socket_type="NodeSocketFloat")
    assert isinstance(socket, bpy.types.NodeTreeInterfaceSocketFloat)
    socket.default_value = 1.0
    group.nodes.new("NodeGroupInput")
    return group


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
