"""Build the extension's zip, with or without the Python packages it imports.

    python wheels/package.py [--output build] [--full] [--python 3.11 3.13] [--platform linux-x64 ...]

Without ``--full`` the zip is light: Blender's Python must find PyTorch, OpenCV and safetensors by itself.
With it, ``wheels/fetch.py`` downloads them as wheels, for this machine unless told otherwise, and they
are listed in the manifest of the zip. The committed manifest lists none.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import fetch

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--output", type=Path, default=ROOT / "build", help="folder for the zip")
    parser.add_argument("--full", action="store_true", help="put the wheels inside")
    fetch.add_arguments(parser)
    arguments = parser.parse_args()
    try:
        package = build(arguments)
    except (fetch.FetchError, BuildError) as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{package} ({package.stat().st_size / 1e6:.0f} MB)\n")
    return 0


class BuildError(Exception):
    """Blender's own tool refused to build; its words are the message."""


def build(arguments: argparse.Namespace) -> Path:
    """Build from a copy of the checkout, so that wheels and their list never reach the original."""
    arguments.output.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="image_to_mesh-") as scratch:
        source = Path(scratch) / "image_to_mesh"
        copy_tracked(source)
        if arguments.full:
            wheels = fetch.download(arguments.platform, arguments.python, source / "wheels")
            add_wheels(source / "blender_manifest.toml", wheels, arguments.platform)
        name = "{id}-{version}".format(**manifest_facts(source))
        suffix = "-" + "-".join(arguments.platform) if arguments.full else ""
        package = arguments.output.resolve() / f"{name}{suffix}.zip"
        extension_tool("build", "--source-dir", str(source), "--output-filepath", str(package))
    extension_tool("validate", str(package))
    return package


def copy_tracked(target: Path) -> None:
    """Copy what belongs to the extension; other files that lie about in the folder do not."""
    git = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if git.returncode != 0:  # an unpacked release without its history
        shutil.copytree(ROOT, target, ignore=shutil.ignore_patterns(".*", "build", "__pycache__"))
        return
    for name in git.stdout.split("\0"):
        path = ROOT / name
        if name and path.is_file():
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(path, target / name)


def manifest_facts(source: Path) -> dict[str, str]:
    import tomllib

    return tomllib.loads((source / "blender_manifest.toml").read_text(encoding="utf-8"))


def add_wheels(manifest: Path, wheels: list[Path], platforms: list[str]) -> None:
    """List ``wheels`` in a manifest; top-level keys must come before its first table."""
    lines = ["platforms = [", *(f'  "{name}",' for name in platforms), "]"]
    lines += ["wheels = [", *(f'  "./wheels/{wheel.name}",' for wheel in wheels), "]", ""]
    head, table, rest = manifest.read_text(encoding="utf-8").partition("[permissions]")
    manifest.write_text(head + "\n".join([*lines, table]) + rest, encoding="utf-8")


def extension_tool(*arguments: str) -> None:
    """Run the tool behind ``blender --command extension``, which the bpy wheel brings along."""
    tool = find_extension_tool()
    result = subprocess.run(
        [sys.executable, str(tool), *arguments], capture_output=True, text=True, check=False
    )
    if result.returncode != 0:
        raise BuildError(f"{result.stdout}{result.stderr}".strip())


def find_extension_tool() -> Path:
    """Find it without importing bpy, which takes a second and starts a whole Blender."""
    import importlib.util

    spec = importlib.util.find_spec("bpy")
    folder = Path(spec.origin).parent if spec is not None and spec.origin else None
    found = sorted(folder.glob("*/scripts/addons_core/bl_pkg/cli/blender_ext.py")) if folder else []
    if not found:
        raise BuildError(
            "The bpy wheel is missing: use make zip, which installs it in .venv first."
        )
    return found[-1]


if __name__ == "__main__":
    sys.exit(main())
