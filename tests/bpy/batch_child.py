"""Run the command line in a process of its own, which may be limited or killed, with a stub pipeline.

usage: batch_child.py JOB...

Each JOB is JSON: ``argv``; ``limit``, the largest file in bytes; ``die_at``, the number of the step
(a rename, a deletion, a flush to the disk) before which the process kills itself.
Prints the exit status of each job on a line of its own that begins with "status ".
"""

import importlib.util
import json
import os
import resource
import shutil
import signal
import sys
import types
from dataclasses import replace
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
STEPS = ((os, "replace"), (os, "rename"), (os, "unlink"), (os, "fsync"), (shutil, "rmtree"))


def load(name: str, path: Path, *, is_package: bool = False) -> types.ModuleType:
    places = [str(path.parent)] if is_package else None
    spec = importlib.util.spec_from_file_location(name, path, submodule_search_locations=places)
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    spec.loader.exec_module(module)
    return module


def sheet(side: int = 60):
    """A mesh whose file is larger than the log, whatever the format."""
    import numpy as np
    from image_to_mesh.inference.contracts import MeshArrays

    random = np.random.default_rng(0)
    x, z = np.meshgrid(np.linspace(-0.5, 0.5, side), np.linspace(-0.5, 0.5, side))
    y = -random.random((side, side))
    index = np.arange(side * side).reshape(side, side)
    quads = np.stack([index[:-1, :-1], index[:-1, 1:], index[1:, 1:], index[1:, :-1]], axis=-1)
    corners = quads.reshape(-1).astype(np.int32)
    uvs = random.random((len(corners), 2), np.float32)
    positions = np.stack([x, y, z], axis=-1).reshape(-1, 3).astype(np.float32)
    return MeshArrays(positions, corners, np.full(len(corners) // 4, 4, np.int32), uvs)


def kill_before(step: int) -> None:
    """Have this process killed before its n-th step."""
    done = 0

    def counting(function):
        def count(*arguments, **options):
            nonlocal done
            done += 1
            if done == step:
                os.kill(os.getpid(), signal.SIGKILL)
            return function(*arguments, **options)

        return count

    for module, name in STEPS:
        setattr(module, name, counting(getattr(module, name)))


def main() -> None:
    load("image_to_mesh", ROOT / "__init__.py", is_package=True)
    sys.path.append(str(ROOT / "tests"))  # as for the tests themselves
    stub = load("stub", Path(__file__).with_name("conftest.py")).StubPipeline()
    import bpy
    import image_to_mesh

    module = types.ModuleType("image_to_mesh.inference.pipeline")
    stub.change = lambda result: replace(result, mesh=sheet())
    module.run, module.cut_out = stub.run, stub.cut_out
    sys.modules[module.__name__] = image_to_mesh.inference.pipeline = module
    bpy.ops.wm.read_homefile(use_empty=True)
    image_to_mesh.register()
    from image_to_mesh.operators.command import run_cli

    # As in Blender's own program; plain Python ignores it already.
    signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
    _soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    for text in sys.argv[1:]:
        job = json.loads(text)
        if "die_at" in job:
            kill_before(job["die_at"])
        resource.setrlimit(resource.RLIMIT_FSIZE, (job.get("limit", hard), hard))
        status = run_cli(job["argv"])
        sys.stdout.write(f"\nstatus {status}\n")
        sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
