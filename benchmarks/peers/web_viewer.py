"""Does an exported GLB look the same in a web viewer as in Blender?

    python -m benchmarks.peers.web_viewer --out build/bench --modules build/web [--picture FILE]

Makes a GLB from a picture as ``make mesh`` does and
renders its base colour through the camera inside it twice: in Blender (imported again, an emission
material, Cycles) and with three.js in a headless Chromium. Printed is the PSNR where both see the
object, and the IoU of their silhouettes. Needs node, a ``chromium`` and the npm packages of
``benchmarks/peers/three_js/package.json``: ``make bench-web`` sees to the last.
"""

# pyright: reportAttributeAccessIssue=false, reportOptionalMemberAccess=false
# pyright: reportMissingImports=false, reportArgumentType=false

from __future__ import annotations

import argparse
import json
import math
import shutil
import subprocess
import sys
from pathlib import Path

import bpy
import cv2
import numpy as np
from numpy.typing import NDArray

from ..blender import inside_blender, quiet_blender
from ..package import ROOT

HERE = Path(__file__).parent


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--modules", type=Path, required=True, help="folder with node_modules")
    parser.add_argument("--picture", type=Path, default=ROOT / "docs/demo_pictures/stool.png")
    parser.add_argument("--chromium", default=shutil.which("chromium") or "chromium")
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    glb = arguments.out / f"{arguments.picture.stem}.glb"
    with quiet_blender():
        from image_to_mesh.operators.command import run_cli

        options = ["--engine", "object", "--format", "glb", "--overwrite", "--quiet"]
        status = run_cli([str(arguments.picture), "--output", str(arguments.out), *options])
    if status != 0:
        return 1
    record = json.loads(glb.with_suffix(".json").read_text(encoding="utf-8"))
    width, height = record["camera"]["width"], record["camera"]["height"]
    web_png, blender_png = arguments.out / "web.png", arguments.out / "blender.png"
    command = [
        "node", str(HERE / "three_js" / "render.mjs"), str(arguments.modules), arguments.chromium,
        str(glb), str(width), str(height), str(web_png),
    ]  # fmt: skip
    web = subprocess.run(command, check=True, capture_output=True, text=True)
    with quiet_blender():
        render_in_blender(glb, width, height, blender_png)
    one, other = _read(web_png), _read(blender_png)
    both = (one[..., 3] > 127) & (other[..., 3] > 127)
    either = (one[..., 3] > 127) | (other[..., 3] > 127)
    error = float(((one[both][:, :3].astype(float) - other[both][:, :3]) ** 2).mean())
    cv2.imwrite(
        str(arguments.out / "web_viewer.png"), np.hstack([_on_paper(one), _on_paper(other)])
    )
    sys.stdout.write(
        f"\n{glb.name}: three.js against Blender, base colour through the camera in the file:"
        f" PSNR {10 * math.log10(255**2 / max(error, 1e-9)):.1f} dB,"
        f" silhouettes' IoU {both.sum() / max(either.sum(), 1):.4f};"
        f" maps seen by three.js: {', '.join(json.loads(web.stdout)['maps'])};"
        f" side by side in {arguments.out / 'web_viewer.png'}\n"
    )
    return 0


def render_in_blender(glb: Path, width: int, height: int, target: Path) -> None:
    """Import the file into an empty scene and render its base colour through its camera."""
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(glb))
    scene = bpy.context.scene
    scene.camera = next(obj for obj in scene.objects if obj.type == "CAMERA")
    for material in bpy.data.materials:
        if material.node_tree is not None:
            _emit_base_colour(material)
    scene.render.engine = "CYCLES"
    scene.cycles.device = "CPU"
    scene.cycles.samples = 16
    scene.cycles.use_denoising = False
    scene.render.film_transparent = True
    scene.render.resolution_x, scene.render.resolution_y = width, height
    scene.render.resolution_percentage = 100
    scene.render.image_settings.file_format = "PNG"
    scene.render.image_settings.color_mode = "RGBA"
    scene.view_settings.view_transform = "Standard"
    scene.render.filepath = str(target)
    bpy.ops.render.render(write_still=True)


def _emit_base_colour(material: bpy.types.Material) -> None:
    tree = material.node_tree
    shader = next((n for n in tree.nodes if n.type == "BSDF_PRINCIPLED"), None)
    output = next((n for n in tree.nodes if n.type == "OUTPUT_MATERIAL"), None)
    if shader is None or output is None or not shader.inputs["Base Color"].links:
        return
    emission = tree.nodes.new("ShaderNodeEmission")
    tree.links.new(shader.inputs["Base Color"].links[0].from_socket, emission.inputs["Color"])
    tree.links.new(emission.outputs["Emission"], output.inputs["Surface"])


def _read(path: Path) -> NDArray[np.uint8]:
    """(H, W, 4) BGRA with straight alpha."""
    image = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
    assert image is not None
    return np.asarray(image, np.uint8)


def _on_paper(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    alpha = image[..., 3:] / 255
    return (image[..., :3] * alpha + 255 * (1 - alpha)).astype(np.uint8)


if __name__ == "__main__":
    inside_blender(main)
