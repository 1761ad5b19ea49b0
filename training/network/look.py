"""Draw what exported weights make of pictures: picture, mask, normals, depths and a side view.

    python -m training.network.look SHEET.png PICTURE... [--weights FILE.safetensors] [--scene]

Pictures with alpha are cropped to it; others go in whole, and the network finds the mask.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from inference.models.bundled.two_sided import WEIGHTS, ObjectGeometry, TwoSidedNetwork, load

from ..pictures.sheet import tint
from ..pictures.tracing import Camera, Tracer, look
from ..pictures.tracing import Thing as Placed
from ..shapes.meshes import Mesh

CELL = 144
Pixels = NDArray[np.uint8]


def read(file: Path) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Read a picture as (H, W, 3) sRGB 0..1 and its alpha, if that separates anything."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if image.ndim == 2:
        image = cv2.cvtColor(image, cv2.COLOR_GRAY2BGR)
    rgb = image[..., 2::-1].astype(np.float32) / 255
    if image.shape[2] == 4 and image[..., 3].min() < 250:
        return rgb, image[..., 3].astype(np.float32) / 255
    return rgb, None


def square(
    rgb: NDArray[np.float32], alpha: NDArray[np.float32] | None
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None]:
    """Crop to the alpha with a margin, or pad the whole picture to a square."""
    h, w = rgb.shape[:2]
    if alpha is None:
        side = max(h, w)
        top, left = (side - h) // 2, (side - w) // 2
        pad = ((top, side - h - top), (left, side - w - left), (0, 0))
        return np.pad(rgb, pad, mode="edge"), None
    rows, columns = np.where(alpha > 0.5)
    side = int(max(np.ptp(rows), np.ptp(columns)) * 1.15) + 2
    y = int(rows.min() + rows.max()) // 2 + side
    x = int(columns.min() + columns.max()) // 2 + side
    padded = np.pad(rgb, ((side, side), (side, side), (0, 0)))
    cover = np.pad(alpha, side)
    window = np.s_[y - side // 2 : y - side // 2 + side, x - side // 2 : x - side // 2 + side]
    return padded[window], cover[window]


def shell(geometry: ObjectGeometry) -> Mesh:
    """Join front and back into a closed mesh, straight rays, z up; rough but honest."""
    mask = geometry.mask > 0.5
    size = len(mask)
    number = np.full(mask.shape, -1)
    number[mask] = np.arange(mask.sum())
    u = (np.arange(size) + 0.5) / size * 2 - 1
    x, y = np.meshgrid(u, u)
    sides = [
        np.stack([x[mask], depth[mask], -y[mask]], 1) for depth in (geometry.front, geometry.back)
    ]
    a, b, c, d = number[:-1, :-1], number[:-1, 1:], number[1:, 1:], number[1:, :-1]
    whole = (a >= 0) & (b >= 0) & (c >= 0) & (d >= 0)
    a, b, c, d = a[whole], b[whole], c[whole], d[whole]
    front = np.concatenate([np.stack([a, d, c], 1), np.stack([a, c, b], 1)])
    count = int(mask.sum())
    edges = np.concatenate([front[:, [0, 1]], front[:, [1, 2]], front[:, [2, 0]]])
    ordered = np.sort(edges, 1)
    _, index, times = np.unique(ordered, axis=0, return_index=True, return_counts=True)
    rim = edges[index[times == 1]]
    wall = np.concatenate(
        [
            np.column_stack([rim[:, 0], rim[:, 1], rim[:, 1] + count]),
            np.column_stack([rim[:, 0], rim[:, 1] + count, rim[:, 0] + count]),
        ]
    )
    faces = np.concatenate([front, front[:, ::-1] + count, wall]).astype(np.int32)
    return Mesh(np.concatenate(sides).astype(np.float32), faces, np.zeros(len(faces), np.int64))


def view(mesh: Mesh, azimuth: float, elevation: float = 0.25) -> Pixels:
    """Draw a mesh in clay from an angle (0 = where the picture was taken)."""
    out = np.array(
        [
            np.cos(elevation) * np.sin(azimuth),
            -np.cos(elevation) * np.cos(azimuth),
            np.sin(elevation),
        ]
    )
    middle = (mesh.vertices.max(0) + mesh.vertices.min(0)) / 2
    position = middle + out * 8
    axes = look(position, middle, 0.0)
    camera = Camera(position.astype("f4"), axes, 0.16, CELL)
    rays = camera.rays()
    tracer = Tracer([Placed(mesh, None, np.eye(3, dtype="f4"), np.zeros(3, "f4"))])
    hits = tracer.first(np.broadcast_to(camera.position, rays.shape), rays)
    lamp = np.array([-0.4, -0.6, -0.7]) @ axes
    lamp /= np.linalg.norm(lamp)
    tone = np.clip(hits.normal @ lamp, 0, 1) * 200 + 40
    tone = np.where(np.isfinite(hits.distance), tone, 255).reshape(CELL, CELL)
    return np.repeat(tone[..., None], 3, 2).astype(np.uint8)


def _small(image: NDArray[np.generic]) -> Pixels:
    return cv2.resize(np.asarray(image, np.uint8), (CELL, CELL), interpolation=cv2.INTER_AREA)


def object_row(network: TwoSidedNetwork, file: Path) -> Pixels:
    """Draw one picture taken as an object."""
    rgb, alpha = square(*read(file))
    got = network.estimate_object(rgb, alpha)
    mask = got.mask > 0.5
    normals = ((got.normals * [1, -1, -1] + 1) * 127 * mask[..., None])[..., ::-1]
    cells = [
        _small(np.clip(rgb, 0, 1)[..., ::-1] * 255),
        _small(np.repeat(got.mask[..., None] * 255, 3, 2)),
        _small(normals),
        _small(tint(got.front, mask)),
        _small(tint(got.back, mask)),
    ]
    if mask.sum() > 100:
        mesh = shell(got)
        cells += [view(mesh, angle) for angle in (0.4, 1.2, np.pi)]
    else:
        cells += [np.zeros((CELL, CELL, 3), np.uint8)] * 3
    row = np.hstack(cells)
    pitch = np.degrees(np.arctan2(-got.up[2], -got.up[1]))
    roll = np.degrees(np.arctan2(got.up[0], -got.up[1]))
    text = f"pitch {pitch:.0f} roll {roll:.0f}"
    cv2.putText(row, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 255), 1)
    return row


def scene_row(network: TwoSidedNetwork, file: Path) -> Pixels:
    """Draw one picture taken as a scene."""
    rgb, _ = read(file)
    got = network.estimate_scene(rgb)
    everywhere = np.ones(got.depth.shape, bool)
    cells = [
        _small(rgb[..., ::-1] * 255),
        _small(tint(np.log(got.depth), everywhere)),
        _small(np.repeat(got.mask[..., None] * 255, 3, 2)),
    ]
    row = np.hstack(cells)
    pitch = np.degrees(np.arctan2(-got.up[2], -got.up[1]))
    text = f"pitch {pitch:.0f} object {got.object_score:.2f}"
    cv2.putText(row, text, (3, 12), cv2.FONT_HERSHEY_SIMPLEX, 0.4, (0, 0, 255), 1)
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sheet", type=Path)
    parser.add_argument("pictures", type=Path, nargs="+")
    parser.add_argument("--weights", type=Path, default=WEIGHTS)
    parser.add_argument("--scene", action="store_true")
    arguments = parser.parse_args()
    network = load("cpu", arguments.weights)
    row = scene_row if arguments.scene else object_row
    rows = [row(network, file) for file in arguments.pictures]
    cv2.imwrite(str(arguments.sheet), np.vstack(rows))


if __name__ == "__main__":
    main()
