"""Run all benchmarks and print one table: speed, memory, networks and, with objects, quality.

python -m benchmarks.bench --out build/bench [--objects FOLDER] [--gui-json FILE] [--only-models]
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

from .package import module_command


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--objects", type=Path, help="folder of .glb files to measure quality on")
    parser.add_argument("--views", type=int, default=2, help="pictures of each object, 1 to 4")
    parser.add_argument("--limit", type=int, help="only so many objects")
    parser.add_argument("--photos", type=Path, help="folder of pictures to use as backgrounds")
    parser.add_argument(
        "--orbits", type=int, default=2, help="objects to reconstruct from 16 photos; 0 for none"
    )
    parser.add_argument("--count", type=int, default=100, help="pictures of the batch; 0 for none")
    parser.add_argument("--gui-json", type=Path, help="facts written by the tests in tests/gui")
    parser.add_argument("--no-models", action="store_true", help="without downloadable networks")
    parser.add_argument("--only-models", action="store_true", help="nothing but those networks")
    parser.add_argument("--heavy", action="store_true", help="the largest of them too")
    arguments = parser.parse_args()
    out = arguments.out
    heavy = ["--heavy"] if arguments.heavy else []
    if arguments.only_models:
        return _printed([("MODELS", _run("networks.models", out, *heavy))], out)
    gui = ["--gui-json", str(arguments.gui_json)] if arguments.gui_json else []
    sections = [("SPEED", _run("speed.stages", out, *gui))]
    if arguments.count:
        text = _run("speed.batch_memory", out, "--count", str(arguments.count))
        sections.append(("MEMORY", text.strip().splitlines()[-1]))  # Blender's exporters chat
    if arguments.objects is not None:
        options = ["--objects", str(arguments.objects), "--views", str(arguments.views)]
        for name in ("limit", "photos"):
            if getattr(arguments, name) is not None:
                options += [f"--{name}", str(getattr(arguments, name))]
        text = _run("quality.shape", out, *options)
        sections.append(("QUALITY", text[text.rindex("\n\n") + 2 :]))
    options = ["--truth", str(out / "truth")] if arguments.objects is not None else []
    sections.append(("SURFACE", _run("peers.surface", out, *options)))
    if arguments.objects is not None:
        limit = ["--limit", str(arguments.limit)] if arguments.limit is not None else []
        sections.append(("NEURAL FIELD", _run("quality.field", out, *limit)))
        sections.append(("SOUNDNESS", _run("quality.soundness", out, *limit)))
        if arguments.orbits:
            options = ["--objects", str(arguments.objects), "--limit", str(arguments.orbits)]
            orbits = out / "orbits"
            _run("photos.orbit", orbits, *options)
            options = ["--orbits", str(orbits), "--views", "16"]
            sections.append(("PHOTOS", _run("photos.views", out / "views.json", *options)))
    if not arguments.no_models:
        sections.append(("MODELS", _run("networks.models", out, *heavy)))
    known = ["--pictures", str(out / "truth")] if arguments.objects is not None else []
    if arguments.limit is not None:
        known += ["--limit", str(arguments.limit)]
    for name, module, options in (
        ("UV MAPS", "peers.uv", []),
        ("MATCHED CAMERA", "quality.matched_camera", known),
    ):
        text = _run(module, out, *options)
        sections.append((name, text[text.rindex("\n\n") + 2 :]))
    return _printed(sections, out)


def _printed(sections: list[tuple[str, str]], out: Path) -> int:
    """Show all sections and keep them in a file."""
    sheet = "\n".join(f"=== {name} ===\n{text.strip()}\n" for name, text in sections)
    (out / "bench.txt").write_text(sheet, encoding="utf-8")
    sys.stdout.write(f"\n{sheet}")
    return 0


def _run(module: str, out: Path, *options: str) -> str:
    """Run one benchmark, show its output as it comes, and give it back."""
    command = [*module_command(module), "--out", str(out), *options]
    lines = []
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            sys.stderr.write(line)
            lines.append(line)
    if process.returncode:
        raise SystemExit(f"{module} failed with status {process.returncode}: see above.")
    return "".join(lines)


if __name__ == "__main__":
    sys.exit(main())
