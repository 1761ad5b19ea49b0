"""End the running job's refinement and keep what there is."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from .. import session


class IMAGE_TO_MESH_OT_finish_now(bpy.types.Operator):
    """Stop refining and keep the surface as it is now."""

    bl_idname = "image_to_mesh.finish_now"
    bl_label = "Finish Now"
    bl_description = "Stop refining, and texture the surface as it is now. Before refining has begun: leave it out"
    bl_options = {"INTERNAL"}

    @classmethod
    def poll(cls, context: bpy.types.Context) -> bool:
        if not session.can_finish():
            cls.poll_message_set("Nothing is being refined")
            return False
        return True

    def execute(self, context: bpy.types.Context) -> set[str]:
        session.finish_now()
        return {"FINISHED"}
