"""The ways in that Blender users look for: Add, Import, and a picture dropped into the view."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

import bpy
from bpy.props import StringProperty
from bpy_extras.io_utils import ImportHelper

from . import session

EXTENSIONS = (
    ".png", ".jpg", ".jpeg", ".webp", ".tif", ".tiff", ".bmp", ".exr", ".hdr", ".gif",
)  # fmt: skip


class IMAGE_TO_MESH_OT_import_picture(session.WhileIdle, ImportHelper, bpy.types.Operator):
    """Choose a picture on disk and generate."""

    bl_idname = "image_to_mesh.import_picture"
    bl_label = "Image to Mesh"
    bl_description = "Choose a picture and turn it into a textured mesh with the panel's settings"
    bl_options = {"REGISTER"}

    filter_glob: StringProperty(
        default=";".join(f"*{extension}" for extension in EXTENSIONS), options={"HIDDEN"}
    )

    def execute(self, context: bpy.types.Context) -> set[str]:
        try:
            bpy.ops.image_to_mesh.generate("INVOKE_DEFAULT", filepath=self.filepath)
        except RuntimeError as error:
            self.report({"ERROR"}, str(error).removeprefix("Error: ").strip())
            return {"CANCELLED"}
        return {"FINISHED"}


class IMAGE_TO_MESH_FH_picture(bpy.types.FileHandler):
    """Pictures dropped into a 3D view; Blender lets the artist choose among its handlers."""

    bl_idname = "IMAGE_TO_MESH_FH_picture"
    bl_label = "Image to Mesh"
    bl_import_operator = "image_to_mesh.generate"
    bl_file_extensions = ";".join(EXTENSIONS)

    @classmethod
    def poll_drop(cls, context: bpy.types.Context) -> bool:
        return context.area is not None and context.area.type == "VIEW_3D"


def _draw_import(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    operator = IMAGE_TO_MESH_OT_import_picture.bl_idname
    self.layout.operator(operator, text="Image to Mesh (picture)")


def _draw_add(self: bpy.types.Menu, context: bpy.types.Context) -> None:
    operator = IMAGE_TO_MESH_OT_import_picture.bl_idname
    self.layout.operator(operator, text="Image to Mesh…", icon="IMAGE_DATA")


def register() -> None:
    bpy.types.TOPBAR_MT_file_import.append(_draw_import)
    bpy.types.VIEW3D_MT_mesh_add.append(_draw_add)


def unregister() -> None:
    bpy.types.VIEW3D_MT_mesh_add.remove(_draw_add)
    bpy.types.TOPBAR_MT_file_import.remove(_draw_import)
