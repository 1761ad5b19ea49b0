"""A whole message in a window of its own, where the panel has room for its beginning only."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

# No "from __future__ import annotations" here: it would turn property declarations into strings.

import textwrap

import bpy
from bpy.props import StringProperty

LETTERS = 72  # of one line


class IMAGE_TO_MESH_OT_show_message(bpy.types.Operator):
    """Show a message in full."""

    bl_idname = "image_to_mesh.show_message"
    bl_label = "Read On"
    bl_description = "Show all of this message"
    bl_options = {"INTERNAL"}

    text: StringProperty(
        name="Message",
        description="What to show; its lines end with line breaks",
        options={"SKIP_SAVE", "HIDDEN"},
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        if bpy.app.background:  # where menus would end Blender
            self.report({"INFO"}, self.text)
            return {"FINISHED"}
        lines = [part for line in self.text.splitlines() for part in textwrap.wrap(line, LETTERS)]

        def draw(menu: bpy.types.Menu, _context: bpy.types.Context) -> None:
            for line in lines:
                menu.layout.label(text=line)

        context.window_manager.popup_menu(draw, title="Image to Mesh")
        return {"FINISHED"}
