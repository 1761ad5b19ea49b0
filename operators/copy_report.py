"""A report an artist can paste into a bug tracker without telling who they are."""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# The stubs call much of Blender optional or unknown, Context above all.

from __future__ import annotations

import getpass
import json
import platform
import re
from pathlib import Path

import bpy

from ..inference.contracts import Cancelled, Failed
from . import session
from .preferences import preferred_device
from .versions import versions


def report_text() -> str:
    """Versions, system, settings and the last error, with home folder and user name masked."""
    lines = ["Image to Mesh report", ""]
    lines += [f"{name}: {version}" for name, version in versions().items()]
    lines.append(f"system: {platform.system()} {platform.release()} {platform.machine()}")
    lines.append(f"device: {preferred_device().lower()}")
    lines.append(f"settings: {json.dumps(dict(session.last_settings))}")
    event = session.last_event
    if isinstance(event, Failed):
        lines += ["", event.message, "", event.details.rstrip()]
    elif isinstance(event, Cancelled):
        lines += ["", "The last run was cancelled."]
    else:
        lines += ["", *(session.last_summary or ("No run has ended yet.",))]
    return mask_private("\n".join(lines) + "\n", Path.home(), _user_name())


def mask_private(text: str, home: Path, user: str) -> str:
    """Replace the home folder by ``~`` and the user's name by ``<user>``."""
    for folder in {str(home), home.as_posix(), str(home).replace("\\", "\\\\")}:
        if len(folder) > 1:
            text = text.replace(folder, "~")
    if len(user) > 1:
        text = re.sub(rf"(?<!\w){re.escape(user)}(?!\w)", "<user>", text)
    return text


def _user_name() -> str:
    try:
        return getpass.getuser()
    except (OSError, KeyError, ImportError):  # no such user in a container, or no pwd on Windows
        return ""


class IMAGE_TO_MESH_OT_copy_report(bpy.types.Operator):
    """Copy a report about the last run."""

    bl_idname = "image_to_mesh.copy_report"
    bl_label = "Copy Report"
    bl_description = "Copy versions, settings and the last error to the clipboard for a bug report"
    bl_options = {"INTERNAL"}

    def execute(self, context: bpy.types.Context) -> set[str]:
        context.window_manager.clipboard = report_text()
        self.report({"INFO"}, "The report is on the clipboard")
        return {"FINISHED"}
