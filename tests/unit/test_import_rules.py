"""Who may import whom. A failure here is a design question, not a lint nit."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
BLENDER = {"bpy", "bmesh", "mathutils", "gpu", "blf", "bpy_extras", "bl_ui"}
NETWORKS = {"torch", "timm", "torchvision", "huggingface_hub", "safetensors"}
HEAVY = NETWORKS | {"cv2", "scipy", "skimage"}

# Folder or file -> packages that must not appear, wherever the import stands.
FORBIDDEN = {
    "inference": BLENDER,
    "inference/contracts.py": BLENDER | HEAVY,
    "inference/errors.py": BLENDER | HEAVY | {"numpy"},
    "inference/running/job.py": BLENDER | HEAVY | {"numpy"},
    "inference/running/cost.py": BLENDER | HEAVY | {"numpy"},
    "inference/hub/catalogue.py": BLENDER | HEAVY | {"numpy"},
    "inference/networks/choice.py": BLENDER | HEAVY | {"numpy"},
    "inference/machine/memory.py": BLENDER | HEAVY | {"numpy"},
    "inference/hub/client.py": BLENDER | (HEAVY - {"huggingface_hub"}) | {"numpy"},
    "inference/hub/transfer.py": BLENDER | (HEAVY - {"huggingface_hub"}) | {"numpy"},
    "inference/hub/tensor_file.py": BLENDER | HEAVY | {"numpy"},
    "inference/hub/weights.py": BLENDER | HEAVY | {"numpy"},
    "operators": HEAVY,
    "panels": HEAVY | {"numpy"},
    "__init__.py": BLENDER | HEAVY | {"numpy"},
}
# Folder -> parts of our own package that must not appear in its relative imports.
FORBIDDEN_PARTS = {
    "inference": {"operators", "panels"},
    "operators": {"panels"},
    "operators/scene": {"session", "generate", "batch"},
    "panels": {"pipeline", "generate", "batch", "check_cutout", "command", "models"},
}
# Folder -> packages that may be imported inside a function only.
DOWNLOADS = {"huggingface_hub", "filelock"}
LAZY = {
    "inference/hub": DOWNLOADS,
    "inference/picture": NETWORKS,
    "inference/surface": NETWORKS,
    "inference/texture": NETWORKS,
}


def files_in(place: str) -> list[Path]:
    path = ROOT / place
    return [path] if path.is_file() else sorted(path.rglob("*.py"))


def imports(tree: ast.AST) -> tuple[set[str], set[str]]:
    """Top-level packages, and the parts named in relative imports."""
    packages: set[str] = set()
    parts: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            packages.add(node.module.partition(".")[0])
        elif isinstance(node, ast.ImportFrom):
            parts |= set((node.module or "").split(".")) | {alias.name for alias in node.names}
    return packages, parts


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("place", "forbidden"), FORBIDDEN.items())
def test_layer_imports_no_package_of_another_layer(place, forbidden):
    found = {
        path.relative_to(ROOT).as_posix(): bad
        for path in files_in(place)
        if (bad := imports(parse(path))[0] & forbidden)
    }
    assert not found


@pytest.mark.parametrize(("place", "forbidden"), FORBIDDEN_PARTS.items())
def test_layer_imports_no_part_of_another_layer(place, forbidden):
    found = {
        path.relative_to(ROOT).as_posix(): bad
        for path in files_in(place)
        if (bad := imports(parse(path))[1] & forbidden)
    }
    assert not found


@pytest.mark.parametrize(("place", "packages"), LAZY.items())
def test_networks_load_where_they_are_needed(place, packages):
    for path in files_in(place):
        tree = parse(path)
        tree.body = [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)]
        top = [n for n in tree.body if not _is_type_checking(n)]
        assert not imports(ast.Module(top, []))[0] & packages, path


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize("place", ["inference", "operators", "panels", "__init__.py"])
def test_our_own_package_is_imported_relatively(place):
    """Installed, its name is bl_ext.<repository>.image_to_mesh."""
    for path in files_in(place):
        ours = imports(parse(path))[0] & {"image_to_mesh", "inference", "operators", "panels"}
        assert not ours, path


def test_scene_builders_take_what_they_need_as_arguments():
    for path in files_in("operators/scene"):
        text = path.read_text(encoding="utf-8")
        assert "bpy.context" not in text, path
        assert "bpy.ops" not in text, path


@pytest.mark.parametrize(
    "module",
    [
        "",
        ".inference.contracts",
        ".inference.errors",
        ".inference.running.job",
        ".inference.running.cost",
        ".inference.networks.choice",
        ".inference.hub.weights",
        ".inference.networks.loaded",
    ],
)
def test_importing_the_light_side_loads_nothing_heavy(module):
    """In a fresh process: another test may already have imported bpy or torch."""
    code = (
        "import sys, importlib; sys.path.insert(0, sys.argv[1]); import conftest;"
        f"importlib.import_module('image_to_mesh{module}');"
        "print(sorted({'bpy', 'torch', 'timm', 'cv2', 'scipy'} & sys.modules.keys()))"
    )
    command = [sys.executable, "-c", code, str(ROOT / "tests")]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
