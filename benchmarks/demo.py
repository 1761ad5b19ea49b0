"""The main job on the bundled CC0 pictures: what ``make demo`` runs.

For each picture it writes a .glb with its .json, a .blend and a contact sheet into the output
folder, and prints one table. ``index.png`` there shows all sheets.
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

import bpy
import cv2
import numpy as np

from .blender import inside_blender, quiet_blender
from .package import ROOT

PICTURES = ROOT / "docs" / "demo_pictures"
SCENES = ("coffee",)  # shown as scenes; everything else is left to Auto


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--output", type=Path, default=Path("build/demo"))
    parser.add_argument("--pictures", type=Path, default=PICTURES, help="folder of pictures")
    parser.add_argument("--only", nargs="*", help="names of the pictures to do")
    parser.add_argument("--detail", default="medium")
    arguments = parser.parse_args()
    arguments.output.mkdir(parents=True, exist_ok=True)
    pictures = sorted(
        p
        for p in arguments.pictures.iterdir()
        if p.suffix.lower() in (".png", ".jpg") and (not arguments.only or p.stem in arguments.only)
    )
    _say(f"{'picture':<16}{'engine':<8}{'seconds':>8}{'peak MB':>9}{'faces':>8}  watertight")
    sheets, failures = [], 0
    for picture in pictures:
        with quiet_blender():
            record = _convert(picture, arguments.output, arguments.detail)
        if record is None:
            failures += 1
            continue
        with quiet_blender():
            sheets.append(_show(picture, arguments.output, arguments.detail))
        peak = max(stage["peak_mb"] for stage in record["stages"])
        seconds = sum(stage["seconds"] for stage in record["stages"])
        closed = "yes" if record["watertight"] else "no"
        _say(
            f"{picture.stem:<16}{record['engine']:<8}{seconds:>8.1f}{peak:>9.0f}"
            f"{record['faces']:>8}  {closed}"
        )
    if sheets:
        cv2.imwrite(str(arguments.output / "index.png"), np.vstack(sheets))
        _say(f"Contact sheets, .glb and .blend files: {arguments.output}/ (see index.png)")
    return 1 if failures or not sheets else 0


def _say(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()


def _convert(picture: Path, folder: Path, detail: str) -> dict | None:
    """The command line's own way to a .glb; its JSON, or None when it failed."""
    from image_to_mesh.operators.command import run_cli

    engine = "scene" if picture.stem in SCENES else "auto"
    options = ["--engine", engine, "--detail", detail, "--overwrite", "--quiet", "--solid"]
    if run_cli([str(picture), "--output", str(folder), "--format", "glb", *options]) != 0:
        return None
    return json.loads((folder / f"{picture.stem}.json").read_text(encoding="utf-8"))


def _show(picture: Path, folder: Path, detail: str) -> np.ndarray:
    """The operator's way into a .blend, and that file's contact sheet."""
    from .sheet import contact_sheet

    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.image_to_mesh.generate(
        filepath=str(picture),
        engine="SCENE" if picture.stem in SCENES else "AUTO",
        detail=detail.upper(),
        use_matched_render=True,
    )
    obj = bpy.context.active_object
    camera = bpy.context.scene.camera
    assert obj is not None
    assert camera is not None
    bpy.context.preferences.filepaths.save_version = 0
    bpy.ops.wm.save_as_mainfile(filepath=str(folder / f"{picture.stem}.blend"), compress=True)
    sheet = contact_sheet(picture, obj, camera)
    cv2.imwrite(str(folder / f"{picture.stem}.png"), sheet)
    return sheet


if __name__ == "__main__":
    inside_blender(main)
