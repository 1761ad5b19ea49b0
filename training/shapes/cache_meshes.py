"""Turn a folder of GLB/glTF files into small NumPy archives that the renderer reads quickly.

    python -m training.shapes.cache_meshes MESH_FOLDER CACHE_FOLDER

The folder holds a ``manifest.json``: a list of {"path", "faces", "train"}. Objects are turned from
y-up to z-up (front towards -y) and scaled into the unit sphere.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import random
from pathlib import Path

import cv2
import numpy as np
import trimesh
from numpy.typing import NDArray

logger = logging.getLogger(__name__)

MAX_FACES = 20_000
MAX_TEXTURE = 512


def is_held_out(path: str) -> bool:
    """Say whether an object belongs to validation; decided by its name, so it never changes."""
    return hashlib.sha1(path.encode()).digest()[0] < 13


def cached_name(path: str) -> str:
    """Give the archive's file name; held-out objects start with ``val_``."""
    digest = hashlib.sha1(path.encode()).hexdigest()[:16]
    return f"{'val' if is_held_out(path) else 'train'}_{digest}.npz"


def y_up_to_z_up(points: NDArray[np.float64]) -> NDArray[np.float64]:
    """Turn (V, 3) glTF points (y up, front +z) into z up, front -y."""
    return points[:, [0, 2, 1]] * np.array([1.0, -1.0, 1.0])


def load_mesh(file: Path) -> dict[str, NDArray[np.generic]]:
    """Read one file into arrays.

    Returns:
        V (V, 3) float32 in the unit sphere, F (T, 3) int32, C (T, 3) float32 linear colour 0..1,
        P (T,) int16 part; for textured objects UV (T, 3, 2) float16, I (T,) int8 image of each face
        (-1 none) and tex0, tex1, ... PNG bytes.
    """
    scene = trimesh.load(file, force="scene")
    vertices, faces, colors, uvs, images_of, parts = [], [], [], [], [], []
    textures: list[NDArray[np.uint8]] = []
    keys: dict[bytes, int] = {}
    offset = 0
    for part, geometry in enumerate(scene.dump(concatenate=False)):
        if not hasattr(geometry, "faces") or len(geometry.faces) == 0:
            continue
        count = len(geometry.faces)
        visual = geometry.visual
        color, uv, image = np.full((count, 3), 0.6), np.zeros((count, 3, 2)), -1
        material = getattr(visual, "material", None)
        picture = getattr(material, "baseColorTexture", None) or getattr(material, "image", None)
        if picture is not None and getattr(visual, "uv", None) is not None:
            pixels = np.array(picture.convert("RGB"))
            scale = MAX_TEXTURE / max(pixels.shape[:2])
            if scale < 1:
                pixels = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            png = cv2.imencode(".png", pixels[..., ::-1])[1]
            if png.tobytes() not in keys:
                keys[png.tobytes()] = len(textures)
                textures.append(png)
            image = keys[png.tobytes()]
            uv = np.asarray(visual.uv)[geometry.faces]
        if visual.kind in ("vertex", "face"):
            color = visual.face_colors[:, :3] / 255.0
        elif material is not None:
            color = np.tile(np.asarray(material.main_color)[:3] / 255.0, (count, 1))
        points = np.array(geometry.vertices)
        vertices.append(points)
        faces.append(np.array(geometry.faces) + offset)
        colors.append(color)
        uvs.append(uv)
        images_of.append(np.full(count, image))
        parts.append(np.full(count, part))
        offset += len(points)
    points = y_up_to_z_up(np.concatenate(vertices))
    points -= (points.max(0) + points.min(0)) / 2
    points /= np.linalg.norm(points, axis=1).max()
    arrays: dict[str, NDArray[np.generic]] = {
        "V": points.astype(np.float32),
        "F": np.concatenate(faces).astype(np.int32),
        "C": np.concatenate(colors).astype(np.float32),
        "P": np.concatenate(parts).astype(np.int16),
    }
    if textures:
        arrays["UV"] = np.concatenate(uvs).astype(np.float16)
        arrays["I"] = np.concatenate(images_of).astype(np.int8)
        arrays.update({f"tex{i}": png for i, png in enumerate(textures)})
    return arrays


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("meshes", type=Path)
    parser.add_argument("cache", type=Path)
    arguments = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    logging.getLogger("trimesh").setLevel(logging.ERROR)
    arguments.cache.mkdir(parents=True, exist_ok=True)
    entries = json.loads((arguments.meshes / "manifest.json").read_text())
    entries = [e for e in entries if e["train"] and e["faces"] < MAX_FACES]
    random.Random(0).shuffle(entries)
    done = 0
    for entry in entries:
        target = arguments.cache / cached_name(entry["path"])
        if target.exists():
            done += 1
            continue
        try:
            arrays = load_mesh(arguments.meshes / entry["path"])
        except Exception as error:  # noqa: BLE001  a broken file among thousands is skipped, by name
            logger.warning("skipped %s: %s", entry["path"], error)
            continue
        partial = target.with_suffix(".tmp.npz")
        np.savez(partial, **arrays)  # type: ignore[arg-type]
        partial.rename(target)
        done += 1
    logger.info("cached %d of %d", done, len(entries))


if __name__ == "__main__":
    main()
