"""Stop the running job."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from . import session


class IMAGE_TO_MESH_OT_cancel(bpy.types.Operator):
    """Stop working on the picture."""

    bl_idname = "image_to_mesh.cancel"
    bl_label = "Cancel"
    bl_description = "Stop working on the picture. Esc over the 3D view does the same"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not session.is_running():
            cls.poll_message_set("Nothing is running")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.cancel()
        return {"FINISHED"}


_keymap_items: list[tuple[bpy.types.KeyMap, bpy.types.KeyMapItem]] = []


def register() -> None:
    """Let Esc cancel.

    Only with the mouse over a 3D view or its sidebar: Esc in another editor means something else. Modal
    tools, menus and text fields get it before any key map, and while nothing runs the poll lets it pass.
    """
    manager = bpy.context.window_manager
    config = manager.keyconfigs.addon if manager is not None else None
    if config is None:  # without a window there are no keys
        return
    keymap = config.keymaps.new(name="3D View Generic", space_type="VIEW_3D")
    item = keymap.keymap_items.new(IMAGE_TO_MESH_OT_cancel.bl_idname, type="ESC", value="PRESS")
    _keymap_items.append((keymap, item))


def unregister() -> None:
    for keymap, item in _keymap_items:
        keymap.keymap_items.remove(item)
    _keymap_items.clear()
