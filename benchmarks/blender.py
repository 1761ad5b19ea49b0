"""The extension inside the bpy wheel: registered on entry, and left without Python's own shutdown."""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import bpy

from .package import load_extension


def inside_blender(work: Callable[[], int]) -> None:
    """Run ``work`` in an empty file with the extension enabled, and exit with what it returns.

    Some bpy wheels crash or hang when Python takes them apart, so the process ends at once.
    """
    load_extension()
    import image_to_mesh

    bpy.ops.wm.read_homefile(use_empty=True)
    image_to_mesh.register()
    try:
        status = work()
    except SystemExit as ended:  # argparse: --help, or an option it does not know
        status = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
        if isinstance(ended.code, str):
            sys.stderr.write(f"{ended.code}\n")
    except BaseException:  # noqa: BLE001 - nothing gets past os._exit, so tell it here
        traceback.print_exc()
        status = 1
    image_to_mesh.unregister()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


@contextmanager
def quiet_blender() -> Iterator[None]:
    """Keep what Blender itself prints (exporters, renders, saves) off the standard output."""
    sys.stdout.flush()
    kept = os.dup(1)
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(kept, 1)
        os.close(kept)
        os.close(nowhere)
