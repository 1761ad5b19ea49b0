"""Who may import whom. A failure here is a design question, not a lint nit."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
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
    "inference/naming.py": BLENDER | HEAVY | {"numpy"},
    "inference/errors.py": BLENDER | HEAVY | {"numpy"},
    "inference/stopping.py": BLENDER | HEAVY | {"numpy"},
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
# The rooms, the lowest first: a module imports from its own room and from rooms above its line in this
# list, never from one below. A line is a folder or a single module; the longest one that fits counts.
ROOMS = (
    "inference/naming",
    "inference/errors",
    "inference/stopping",
    "inference/contracts",
    "inference/image",
    "inference/camera",
    "inference/machine",
    "inference/running",
    "inference/picture/intrinsics",
    "inference/picture/listing",
    "inference/picture/colour",
    "inference/picture/files",
    "inference/picture/cut_out",
    "inference/field",
    "inference/surface",
    "inference/texture",
    "inference/hub",
    "inference/models",
    "inference/models/backbones",
    "inference/models/bundled",
    "inference/models/cut_out",
    "inference/models/depth",
    "inference/models/pixels",
    "inference/models/solids",
    "inference/networks",
    "inference/subject",
    "inference/views/cameras/mirrors",
    "inference/views/contracts",
    "inference/views",
    "inference/views/photos",
    "inference/views/depth",
    "inference/views/cameras",
    "inference/views/placement",
    "inference/views/surface",
    "inference/views/texture",
    "inference/views/outlines",
    "inference/views/told",
    "inference/engines",
    "inference/pipeline",
    "operators/scene",
    "operators",
    "operators/refine",
    "operators/generate",
    "operators/models",
    "operators/cut_out",
    "operators/batch",
    "operators/photos",
    "operators/command",
    "operators/__init__",
    "panels",
    "__init__",
)
# Panels call operators by their names, so they know only what these tell without running anything.
PANELS_MAY_SEE = {
    "operators/options",
    "operators/preferences",
    "operators/session",
    "operators/photos/options",
    "operators/view/belonging",
}
OURS = ("inference", "operators", "panels", "__init__.py")
MOST_MODULES = 15
MOST_LINES = 450
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


def imports(tree: ast.AST) -> set[str]:
    """Top-level packages, those of our own aside."""
    packages: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            packages |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            packages.add(node.module.partition(".")[0])
    return packages


def parse(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@pytest.mark.parametrize(("place", "forbidden"), FORBIDDEN.items())
def test_layer_imports_no_package_of_another_layer(place, forbidden):
    found = {
        path.relative_to(ROOT).as_posix(): bad
        for path in files_in(place)
        if (bad := imports(parse(path)) & forbidden)
    }
    assert not found


def our_modules() -> list[str]:
    """All modules of the extension by path, without ``.py``."""
    return [path.relative_to(ROOT).with_suffix("").as_posix() for o in OURS for path in files_in(o)]


def imported_modules(module: str, known: set[str]) -> Iterator[tuple[str, bool]]:
    """Modules of ours that ``module`` imports, wherever it does, and whether for types only."""
    tree = parse(ROOT / f"{module}.py")
    types_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.stmt) and _is_type_checking(node)
        for inner in ast.walk(node)
    }
    folder = module.split("/")[:-1]
    for node in ast.walk(tree):
        if not isinstance(node, ast.ImportFrom) or not node.level:
            continue
        base = folder[: len(folder) - node.level + 1] + (node.module or "").split(".")
        base = [part for part in base if part]
        for alias in node.names:
            for name in ([*base, alias.name], base, [*base, "__init__"]):
                if "/".join(name) in known:
                    yield "/".join(name), id(node) in types_only
                    break


def room_of(module: str) -> int:
    """Its line in ``ROOMS``."""
    parts = module.split("/")
    if parts[-1] == "__init__" and module not in ROOMS:
        parts = parts[:-1]
    for count in range(len(parts), 0, -1):
        if "/".join(parts[:count]) in ROOMS:
            return ROOMS.index("/".join(parts[:count]))
    raise AssertionError(f"{module} is in no room: put it into one, or add its room to ROOMS")


def test_rooms_build_on_rooms_above_them_only():
    known = set(our_modules())
    wrong = [
        f"{module} imports {other}"
        for module in sorted(known)
        for other, _types in imported_modules(module, known)
        if room_of(other) > room_of(module)
    ]
    assert not wrong


def test_every_line_of_the_rooms_is_there():
    for room in ROOMS:
        assert (ROOT / room).is_dir() or (ROOT / f"{room}.py").is_file(), room


def test_no_modules_import_each_other_in_a_circle():
    """Types aside: those are never imported when the code runs."""
    known = set(our_modules())
    imports_of = {
        m: {o for o, types in imported_modules(m, known) if not types and o != m} for m in known
    }
    while leaves := [module for module, others in imports_of.items() if not others]:
        for leaf in leaves:
            del imports_of[leaf]
        for others in imports_of.values():
            others.difference_update(leaves)
    assert not imports_of


def test_panels_see_nothing_of_operators_that_runs():
    known = set(our_modules())
    for module in sorted(known):
        if module.startswith("panels/"):
            seen = {o for o, _ in imported_modules(module, known) if o.startswith("operators/")}
            assert seen <= PANELS_MAY_SEE, module
            assert "inference/pipeline" not in {o for o, _ in imported_modules(module, known)}


def test_no_room_is_crowded():
    """A newcomer finds the room for a change only while rooms are small."""
    for place in ("inference", "operators", "panels", "benchmarks", "training", "wheels"):
        for folder in {path.parent for path in files_in(place)}:
            modules = [path for path in folder.glob("*.py") if path.stem != "__init__"]
            assert len(modules) <= MOST_MODULES, folder


def test_no_module_is_long():
    for place in (*OURS, "benchmarks", "training", "wheels"):
        for path in files_in(place):
            count = len(path.read_text(encoding="utf-8").splitlines())
            assert count <= MOST_LINES, f"{path}: {count} lines"


@pytest.mark.parametrize(("place", "packages"), LAZY.items())
def test_networks_load_where_they_are_needed(place, packages):
    for path in files_in(place):
        tree = parse(path)
        tree.body = [n for n in tree.body if not isinstance(n, ast.FunctionDef | ast.ClassDef)]
        top = [n for n in tree.body if not _is_type_checking(n)]
        assert not imports(ast.Module(top, [])) & packages, path


def _is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


@pytest.mark.parametrize("place", ["inference", "operators", "panels", "__init__.py"])
def test_our_own_package_is_imported_relatively(place):
    """Installed, its name is bl_ext.<repository>.image_to_mesh."""
    for path in files_in(place):
        ours = imports(parse(path)) & {"image_to_mesh", "inference", "operators", "panels"}
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
