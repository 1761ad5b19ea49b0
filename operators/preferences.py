"""Read the add-on's preferences; they are missing when it runs from a script."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

from pathlib import Path

import bpy

from .versions import ROOT_PACKAGE

BEST = "best for this computer"  # stands for a model's id while several are downloaded
RESULT_SHADINGS = (
    ("TEXTURE", "Textured", "Solid shading with the texture's colours: at once, on any computer"),
    ("MATERIAL", "Material Preview", "With light and reflections; the first time takes a while"),
    ("KEEP", "As It Is", "The view's shading is left alone"),
)


def preferred_device() -> str:
    """The device chosen in the preferences, as an identifier of ``options.DEVICES``."""
    return getattr(_preferences(), "device", "AUTO")


def chosen_device(identifier: str) -> str:
    """One of ``options.DEVICES`` in any case; Automatic follows the preferences."""
    return preferred_device() if identifier.upper() == "AUTO" else identifier


def models_folder() -> Path:
    """Where downloaded networks are kept; it need not exist."""
    chosen = getattr(_preferences(), "models_folder", "")
    return Path(bpy.path.abspath(chosen) if chosen else default_models_folder())


def default_models_folder() -> str:
    """The folder Blender keeps for this extension; it is deleted when the extension is."""
    try:
        return bpy.utils.extension_path_user(ROOT_PACKAGE, path="models")
    except ValueError:  # run from a script, not installed as an extension
        return bpy.utils.user_resource("DATAFILES", path="image_to_mesh/models")


def frames_results() -> bool:
    """Whether the view that started a run turns to its result."""
    return getattr(_preferences(), "use_frame_result", True)


def result_shading() -> str:
    """How that view shows the result, as an identifier of ``RESULT_SHADINGS``."""
    return getattr(_preferences(), "result_shading", "TEXTURE")


def network_refusal() -> str | None:
    """Why Blender may not use the internet, as a sentence; None when it may."""
    if bpy.app.online_access:
        return None
    if getattr(bpy.app, "online_access_override", False):
        return (
            "Blender was started in offline mode: start it without --offline-mode, or press Use File for"
            " a file that you have."
        )
    return (
        "Blender may not use the internet: turn on Preferences > System > Network > Allow Online Access,"
        " or press Use File for a file that you have."
    )


def _preferences() -> object:
    preferences = bpy.context.preferences
    addon = preferences.addons.get(ROOT_PACKAGE) if preferences is not None else None
    return addon.preferences if addon is not None else None
