"""Print the table of models in docs/MODELS.md, or with --write bring it up to date.

python -m benchmarks.networks.catalogue_table [--write]
"""

from __future__ import annotations

import argparse
import importlib
import sys
from typing import TYPE_CHECKING, Any

from ..package import ROOT

if TYPE_CHECKING:
    from collections.abc import Iterator

DOCUMENT = ROOT / "docs" / "MODELS.md"
BEGIN, END = "<!-- catalogue: begin -->", "<!-- catalogue: end -->"


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--write", action="store_true", help="change docs/MODELS.md")
    if parser.parse_args().write:
        DOCUMENT.write_text(updated(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
    else:
        sys.stdout.write(table())
    return 0


def updated(document: str) -> str:
    """The document with the catalogue of now between its two marks."""
    before, _begin, rest = document.partition(BEGIN)
    _old, _end, after = rest.partition(END)
    return f"{before}{BEGIN}\n{table()}{END}{after}"


def table() -> str:
    """One Markdown table for each stage."""
    catalogue = _catalogue()
    text = ""
    for task, title in catalogue.TASKS.items():
        text += f"\n### {title}\n\n| model | id | good at | licence | download | memory |\n"
        text += "|---|---|---|---|---|---|\n"
        for entry in catalogue.models_for(task):
            text += f"| {' | '.join(_cells(entry))} |\n"
    return text + "\n"


def _cells(entry: Any) -> Iterator[str]:
    yield f"[{entry.label}]({entry.page})"
    yield f"`{entry.id}`"
    yield f"{entry.good_at}. {entry.caveat + '.' if entry.caveat else ''}".strip()
    yield entry.licence if entry.is_commercial else f"**{entry.licence}: non-commercial**"
    yield f"{entry.size / 1e6:,.0f} MB" if entry.size else "not published"
    card = f"{entry.gpu_mb / 1000:.1f} GB on the card"
    main = "" if entry.needs_gpu else f", {entry.cpu_mb / 1000:.1f} GB on the processor"
    yield f"{card}{main}"


def _catalogue() -> Any:
    """The catalogue alone: it imports nothing else of ours."""
    if "image_to_mesh" in sys.modules:
        return importlib.import_module("image_to_mesh.inference.hub.catalogue")
    sys.path.insert(0, str(ROOT / "inference" / "hub"))
    return importlib.import_module("catalogue")


if __name__ == "__main__":
    sys.exit(main())
