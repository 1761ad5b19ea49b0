"""Download the wheels of ``requirements.txt`` and what they need, for one or more systems.

    python wheels/fetch.py FOLDER [--python 3.11 3.13] [--platform linux-x64 windows-x64 ...]

Uses pip and its configuration, so that whoever prefers another build of PyTorch only has to tell pip.
"""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

# pip's names for Blender's platforms, the most recent first: a wheel fits if one of them matches.
PIP_PLATFORMS = {
    "linux-x64": (
        *(f"manylinux_2_{minor}_x86_64" for minor in (34, 31, 28, 27, 24, 17, 12, 5)),
        "manylinux2014_x86_64",
        "linux_x86_64",
    ),
    "windows-x64": ("win_amd64",),
    "macos-arm64": tuple(f"macosx_{major}_0_arm64" for major in (14, 13, 12, 11)),
}
# Blender's own Python has these; a second numpy in the same process breaks Blender.
IN_BLENDER = frozenset({"numpy", "requests", "certifi", "idna", "urllib3", "charset-normalizer"})
# What some packages name but nothing here imports at run time: installers, the parts of huggingface_hub and
# httpx2 for terminals and asynchronous programs, Xet (see requirements.txt), and torchvision, of which the
# networks that timm gives run nothing.
NOT_IMPORTED = frozenset(
    {"setuptools", "pip", "anyio", "click", "hf-xet", "packaging", "torchvision"}
)


class FetchError(Exception):
    """pip could not download something; its words are the message."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of platforms and Python versions, which default to this machine's."""
    here = f"{sys.version_info.major}.{sys.version_info.minor}"
    names = sorted(PIP_PLATFORMS)
    parser.add_argument("--platform", nargs="+", choices=names, default=[this_platform()])
    parser.add_argument(
        "--python",
        nargs="+",
        default=[here],
        help="Blender 4.2 to 5.0 use 3.11, later ones 3.13 (default: the running one)",
    )


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("folder", type=Path)
    add_arguments(parser)
    arguments = parser.parse_args()
    try:
        wheels = download(arguments.platform, arguments.python, arguments.folder)
    except FetchError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for wheel in wheels:
        sys.stdout.write(f"{wheel} ({wheel.stat().st_size / 1e6:.1f} MB)\n")
    return 0


def this_platform() -> str:
    """Blender's name for the running system."""
    systems = {"Linux": "linux", "Windows": "windows", "Darwin": "macos"}
    machine = {"x86_64": "x64", "AMD64": "x64", "arm64": "arm64"}
    name = f"{systems.get(platform.system(), '')}-{machine.get(platform.machine(), '')}"
    return name if name in PIP_PLATFORMS else "linux-x64"


def download(platforms: list[str], pythons: list[str], folder: Path) -> list[Path]:
    """Fill ``folder`` with wheels and return them.

    Raises:
        FetchError: When pip fails or only finds a source distribution.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name in platforms:
        for python in pythons:
            with tempfile.TemporaryDirectory(dir=folder) as scratch:
                _pip_download(name, python, Path(scratch))
                for wheel in Path(scratch).glob("*.whl"):
                    if _package(wheel) not in IN_BLENDER | NOT_IMPORTED:
                        wheel.replace(folder / wheel.name)
    return sorted(folder.glob("*.whl"))


def _pip_download(name: str, python: str, folder: Path) -> None:
    requirements = Path(__file__).with_name("requirements.txt")
    command = [sys.executable, "-m", "pip", "--disable-pip-version-check", "download", "--quiet"]
    command += ["--dest", str(folder), "--requirement", str(requirements)]
    command += ["--only-binary", ":all:", "--implementation", "cp", "--python-version", python]
    command += ["--abi", f"cp{python.replace('.', '')}", "--abi", "abi3", "--abi", "none"]
    if name != "linux-x64":
        # pip looks up dependencies for the system it runs on; requirements.txt has them all, except
        # the CUDA libraries of Linux.
        command.append("--no-deps")
    elif platform.system() != "Linux":
        raise FetchError(
            "pip finds PyTorch's CUDA libraries for Linux only on Linux: build it there."
        )
    for tag in PIP_PLATFORMS[name]:
        command += ["--platform", tag]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode != 0:
        raise FetchError(
            f"No wheels for Blender on {name}, Python {python}:\n{result.stderr.strip()}"
        )


def _package(wheel: Path) -> str:
    return wheel.name.partition("-")[0].lower().replace("_", "-")


if __name__ == "__main__":
    sys.exit(main())
