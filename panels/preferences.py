"""Facts about this computer, kept out of the .blend."""

import importlib.util

import bpy
from bpy.props import EnumProperty, StringProperty

from ..operators.options import DEVICES

ROOT_PACKAGE = __name__.rsplit(".", 2)[0]  # bl_ext.<repository>.image_to_mesh
NEEDED = {"torch": "PyTorch", "cv2": "OpenCV", "safetensors": "safetensors"}


def default_models_folder() -> str:
    """The folder Blender keeps for this extension; it is deleted when the extension is."""
    try:
        return bpy.utils.extension_path_user(ROOT_PACKAGE, path="models")
    except ValueError:  # run from a script, not installed as an extension
        return bpy.utils.user_resource("DATAFILES", path="image_to_mesh/models")


def models_folder(preferences: bpy.types.AddonPreferences) -> str:
    """Where downloaded networks are kept."""
    chosen = getattr(preferences, "models_folder", "")
    return bpy.path.abspath(chosen) if chosen else default_models_folder()


def missing_packages() -> list[str]:
    """Names of the packages that a run would miss; looks for them without importing them."""
    return [label for name, label in NEEDED.items() if importlib.util.find_spec(name) is None]


class ImageToMeshPreferences(bpy.types.AddonPreferences):
    """Device and folders."""

    bl_idname = ROOT_PACKAGE

    device: EnumProperty(
        name="Device",
        description="Where networks run",
        items=DEVICES,
        default="AUTO",
    )
    models_folder: StringProperty(
        name="Models Folder",
        description="Where networks that you download are kept; empty means Blender's folder for"
        " this extension, which is deleted with it. The built-in network needs none",
        subtype="DIR_PATH",
    )

    def draw(self, context: bpy.types.Context) -> None:
        layout = self.layout
        layout.use_property_split = True
        layout.use_property_decorate = False
        layout.prop(self, "device")
        layout.prop(self, "models_folder", placeholder=default_models_folder())
        missing = missing_packages()
        if missing:
            row = layout.row()
            row.alert = True
            row.label(
                text=f"{' and '.join(missing)} not found: install the full zip for your system",
                icon="ERROR",
            )
        else:
            layout.label(text="PyTorch and OpenCV are installed", icon="CHECKMARK")
