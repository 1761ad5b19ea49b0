"""Which versions made a result, read without importing the packages."""

from __future__ import annotations

import platform
import tomllib
from importlib import metadata
from pathlib import Path

import bpy

ROOT_PACKAGE = __name__.rsplit(".", 2)[0]  # bl_ext.<repository>.image_to_mesh
_MANIFEST = Path(__file__).resolve().parent.parent / "blender_manifest.toml"


def extension_version() -> str:
    """The version in the manifest, the only place that states it."""
    with _MANIFEST.open("rb") as file:
        return tomllib.load(file)["version"]


def versions() -> dict[str, str]:
    """Versions of everything that shapes a result."""
    found = {
        "image_to_mesh": extension_version(),
        "blender": bpy.app.version_string,
        "python": platform.python_version(),
    }
    for label, names in {
        "numpy": ("numpy",),
        "torch": ("torch",),
        "opencv": ("opencv-python-headless", "opencv-python", "opencv-contrib-python"),
    }.items():
        found[label] = next((v for n in names if (v := _installed(n))), "not found")
    return found


def _installed(distribution: str) -> str | None:
    try:
        return metadata.version(distribution)
    except metadata.PackageNotFoundError:
        return None
