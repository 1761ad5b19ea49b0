"""Read the add-on's preferences; they are missing when it runs from a script."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import bpy

from .versions import ROOT_PACKAGE


def preferred_device() -> str:
    """The device chosen in the preferences, as an identifier of ``options.DEVICES``."""
    preferences = bpy.context.preferences
    addon = preferences.addons.get(ROOT_PACKAGE) if preferences is not None else None
    return getattr(addon.preferences, "device", "AUTO") if addon is not None else "AUTO"
