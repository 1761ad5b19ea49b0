"""Make the checkout importable as ``image_to_mesh``, whatever its folder is called."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def module_command(name: str) -> list[str]:
    """The beginning of a command line that runs a module of this folder: "quality.shape", say."""
    return [sys.executable, "-m", f"{__package__}.{name}"]


def load_extension() -> None:
    """Register the checkout in ``sys.modules``; its submodules import as of a normal package."""
    if "image_to_mesh" in sys.modules:
        return
    spec = importlib.util.spec_from_file_location(
        "image_to_mesh", ROOT / "__init__.py", submodule_search_locations=[str(ROOT)]
    )
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["image_to_mesh"] = module
    spec.loader.exec_module(module)
