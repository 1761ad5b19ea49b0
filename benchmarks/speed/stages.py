"""Measure seconds and peak memory of every stage, and what enabling the extension costs.

    python -m benchmarks.speed.stages --out build/bench [--sizes 512 2048] [--gui-json FILE]

Every case runs twice in a fresh process: the first run pays for loading PyTorch and the network,
the second one is what an artist waits for from then on. "reference" rows are plain tools doing a
comparable job in the same run, to tell a slow machine from a slow program.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from ..data import pictures
from ..package import load_extension, module_command

GRID = 128
CHILDREN: dict[str, Callable[[argparse.Namespace], dict[str, Any]]] = {}


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--sizes", type=int, nargs="+", default=[512, 2048], help="pixels")
    parser.add_argument(
        "--engines", nargs="+", choices=("object", "scene"), default=["object", "scene"]
    )
    parser.add_argument("--detail", default="medium")
    parser.add_argument("--texture-size", type=int, default=2048)
    parser.add_argument("--gui-json", type=Path, help="facts written by the tests in tests/gui")
    parser.add_argument("--child", choices=sorted(CHILDREN), help=argparse.SUPPRESS)
    parser.add_argument("--engine", help=argparse.SUPPRESS)
    parser.add_argument("--size", type=int, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    if arguments.child:
        _finish(CHILDREN[arguments.child](arguments), arguments.out)

    results: dict[str, Any] = {"load_average": os.getloadavg()[0], "cores": os.cpu_count()}
    results["enable"] = _spawn(arguments, "enable")
    results["reference"] = _spawn(arguments, "reference")
    results["runs"] = [
        _spawn(arguments, "run", "--engine", engine, "--size", str(size))
        for engine in arguments.engines
        for size in arguments.sizes
    ]
    if arguments.gui_json is not None:
        results["gui"] = json.loads(arguments.gui_json.read_text(encoding="utf-8"))
    (arguments.out / "speed.json").write_text(json.dumps(results, indent=1), encoding="utf-8")
    sys.stdout.write(table(results) + "\n")
    return 0


def _spawn(arguments: argparse.Namespace, child: str, *extra: str) -> dict[str, Any]:
    """Run one measurement in a process of its own."""
    answer = arguments.out / "child.json"
    answer.unlink(missing_ok=True)
    command = [
        *module_command("speed.stages"),
        "--child",
        child,
        "--out",
        str(arguments.out),
        *extra,
    ]
    command += ["--detail", arguments.detail, "--texture-size", str(arguments.texture_size)]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    measured = json.loads(answer.read_text(encoding="utf-8"))
    answer.unlink()
    return measured


def _finish(measured: dict[str, Any], out: Path) -> None:
    (out / "child.json").write_text(json.dumps(measured), encoding="utf-8")
    sys.stdout.flush()
    # Some bpy wheels crash or hang when Python takes them apart.
    os._exit(0)


def measure_run(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run the pipeline twice on one picture."""
    load_extension()
    from image_to_mesh.inference import pipeline  # pyright: ignore[reportMissingImports]
    from image_to_mesh.inference.contracts import (  # pyright: ignore[reportMissingImports]
        PictureFile,
        Request,
    )

    path = arguments.out / f"speed_{arguments.size}.png"
    cv2.imwrite(str(path), pictures.mug_in_room(arguments.size)[..., ::-1])
    request = Request(
        PictureFile(path),
        engine=arguments.engine,
        detail=arguments.detail,
        texture_size=arguments.texture_size,
    )
    measured: dict[str, Any] = {"engine": arguments.engine, "size": arguments.size}
    for name in ("first", "next"):
        start, cpu = time.perf_counter(), time.process_time()
        result = pipeline.run(request, lambda fraction, stage: None)
        measured[name] = {
            "seconds": time.perf_counter() - start,
            "cpu_seconds": time.process_time() - cpu,
            "faces": len(result.mesh.face_sizes),
            "stages": [[s.name, s.seconds, s.peak_mb] for s in result.stages],
        }
    return measured


def measure_enable(arguments: argparse.Namespace) -> dict[str, Any]:
    """Enable and disable the extension twice in a fresh Blender."""
    start = time.perf_counter()
    import bpy  # noqa: F401 - everything after it is the extension's own cost

    measured: dict[str, Any] = {"import_bpy": time.perf_counter() - start}
    start = time.perf_counter()
    load_extension()
    extension = sys.modules["image_to_mesh"]
    extension.register()
    measured["register"] = time.perf_counter() - start
    extension.unregister()
    start = time.perf_counter()
    extension.register()
    measured["again"] = time.perf_counter() - start
    extension.unregister()
    measured["loads_torch"] = "torch" in sys.modules
    return measured


def measure_reference(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time plain tools, and our surface extraction on the same grid."""
    load_extension()
    import torch
    from image_to_mesh.inference.surface.nets import (  # pyright: ignore[reportMissingImports]
        surface_nets,
    )

    axis = np.linspace(-1.2, 1.2, GRID, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij", sparse=True)
    wobble = np.float32(0.1) * np.sin(9 * x) * np.sin(9 * y) * np.sin(9 * z)
    field = np.sqrt(x * x + y * y + z * z) - np.float32(0.9) + wobble
    matrix = torch.rand(1024, 1024)
    measured: dict[str, Any] = {
        "matmul": _best(lambda: [matrix @ matrix for _ in range(10)]),
        "surface_nets": _best(lambda: surface_nets(field)),
    }
    try:
        from skimage.measure import marching_cubes
    except ImportError:
        return measured
    measured["marching_cubes"] = _best(lambda: marching_cubes(field, 0.0))
    return measured


def _best(job: Callable[[], object]) -> float:
    seconds = []
    for _ in range(3):
        start = time.perf_counter()
        job()
        seconds.append(time.perf_counter() - start)
    return min(seconds)


CHILDREN |= {"run": measure_run, "enable": measure_enable, "reference": measure_reference}


def table(results: dict[str, Any]) -> str:
    """Lay everything out as text."""
    lines = [
        f"{results['cores']} cores, load average {results['load_average']:.1f} at the start",
        "",
    ]
    runs = results["runs"]
    heads = [f"{run['engine']} {run['size']}" for run in runs]
    lines.append(f"{'seconds (peak MB) when loaded':32s}" + "".join(f"{h:>18s}" for h in heads))
    names = list(dict.fromkeys(s[0] for run in runs for s in run["next"]["stages"]))
    for name in names:
        cells = []
        for run in runs:
            found = [s for s in run["next"]["stages"] if s[0] == name]
            seconds, peak = sum(s[1] for s in found), max((s[2] for s in found), default=0)
            cells.append(f"{seconds:.2f} ({peak:.0f})" if found else "-")
        lines.append(f"{name:32s}" + "".join(f"{cell:>18s}" for cell in cells))
    totals = {
        "TOTAL when loaded": lambda run: f"{run['next']['seconds']:.2f}",
        "  processor seconds": lambda run: f"{run['next']['cpu_seconds']:.2f}",
        "  first run with loading": lambda run: f"{run['first']['seconds']:.2f}",
        "  peak MB": lambda run: f"{run['next']['stages'][-1][2]:.0f}",
        "  faces": lambda run: f"{run['next']['faces']}",
    }
    for name, cell in totals.items():
        lines.append(f"{name:32s}" + "".join(f"{cell(run):>18s}" for run in runs))
    reference, enable = results["reference"], results["enable"]
    lines += ["", f"reference: ten 1024 x 1024 matrix products {reference['matmul']:.2f} s"]
    nets = reference["surface_nets"]
    lines.append(f"surface of a {GRID}^3 grid: ours {nets:.2f} s")
    if "marching_cubes" in reference:
        plain = reference["marching_cubes"]
        lines[-1] += f", scikit-image's marching cubes {plain:.2f} s, ratio {nets / plain:.1f}"
    loads = "LOADS TORCH" if enable["loads_torch"] else "loads no torch"
    lines.append(
        f"enabling: {1000 * enable['register']:.0f} ms, again {1000 * enable['again']:.0f} ms,"
        f" {loads} (Blender itself {enable['import_bpy']:.2f} s)"
    )
    for key in ("idle_gaps_ms", "gaps_ms"):
        if key in results.get("gui", {}):
            gaps = ", ".join(f"{name} {value:.0f}" for name, value in results["gui"][key].items())
            lines.append(f"main thread {key.replace('_', ' ')}: {gaps}")
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
