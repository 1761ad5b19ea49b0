"""One picture to one mesh file without an installed Blender: what ``make mesh`` runs.

usage: python -m benchmarks.mesh PICTURE --output chair.glb [options of ``blender --command image_to_mesh``]
"""

from __future__ import annotations

import sys

from .blender import inside_blender


def main() -> int:
    from image_to_mesh.operators.command import run_cli

    return run_cli(sys.argv[1:])


if __name__ == "__main__":
    inside_blender(main)
