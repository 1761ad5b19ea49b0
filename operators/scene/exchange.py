"""Give an object's materials new images, and leave those of other objects alone."""

from __future__ import annotations

import bpy

# What shows an image without depending on it.
_ONLOOKERS = (bpy.types.Screen, bpy.types.WindowManager, bpy.types.WorkSpace)


def exchange_images(
    obj: bpy.types.Object, source: bpy.types.Material, images: list[bpy.types.ID]
) -> tuple[str, ...]:
    """Put a new material's images where an object's materials have images of the same label.

    Args:
        obj: Its materials keep everything but the images.
        source: The new material.
        images: What only the new material uses; images that have found a place are taken out.

    Returns:
        Sentences for the artist.
    """
    notes = []
    for label, new in images_by_label(source).items():
        for slot in obj.material_slots:
            old = images_by_label(slot.material).get(label)
            if old is None or old is new or old.packed_file is None:
                continue
            material = slot.material
            assert material is not None
            if _is_shared(material, obj):
                slot.material = material.copy()
                assert slot.material is not None
                notes.append(
                    f"{obj.name} has the material {slot.material.name} now: {material.name} is used by"
                    " others, too, whose textures stay as they are."
                )
            assert slot.material is not None
            _exchange(old, new, slot.material)
            images.remove(new)
            break
    return tuple(notes)


def images_by_label(material: bpy.types.Material | None) -> dict[str, bpy.types.Image]:
    """The images of a material's texture nodes, by the nodes' labels."""
    tree = material.node_tree if material is not None else None
    if tree is None:
        return {}
    return {
        node.label: node.image
        for node in tree.nodes
        if isinstance(node, bpy.types.ShaderNodeTexImage) and node.label and node.image is not None
    }


def _is_shared(material: bpy.types.Material, obj: bpy.types.Object) -> bool:
    """Whether a material is anything else's than an object's, or of another file."""
    if material.library is not None or material.override_library is not None:
        return True
    return bool(_users(material) - {obj, obj.data})


def _exchange(old: bpy.types.Image, new: bpy.types.Image, material: bpy.types.Material) -> None:
    """Replace an image; packing it anew would go on showing what is decoded.

    Only in the material if anything else uses the image, too.
    """
    users = _users(old)
    groups = {user for user in users if isinstance(user, bpy.types.NodeTree)}
    own = {material} | {group for group in groups if _users(group) <= {material}}
    if old.library is None and users <= own:
        name = old.name
        old.user_remap(new)
        bpy.data.images.remove(old)
        new.name = name
        return
    for tree in (material.node_tree, *(own - {material})):
        for node in tree.nodes if isinstance(tree, bpy.types.NodeTree) else ():
            if isinstance(node, bpy.types.ShaderNodeTexImage) and node.image == old:
                node.image = new


def _users(block: bpy.types.ID) -> set[bpy.types.ID]:
    """What depends on a data-block; neither what merely shows it nor what is gone itself."""
    found = bpy.data.user_map(subset=[block])[block]
    return {user for user in found if user.users and not isinstance(user, _ONLOOKERS)}
