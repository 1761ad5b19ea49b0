"""Draw a contact sheet of a shard, to see what the network sees.

python -m training.pictures.sheet SHARD.npz SHEET.png
"""

from __future__ import annotations

import argparse
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray


def tint(values: NDArray[np.generic], mask: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Colour (H, W) values inside a mask from near (warm) to far."""
    numbers = np.asarray(values, np.float32)
    if not mask.any():
        return np.zeros((*mask.shape, 3), np.uint8)
    low, high = np.percentile(numbers[mask], [1, 99])
    grey = (255 - 255 * np.clip((numbers - low) / (high - low + 1e-6), 0, 1)).astype(np.uint8)
    return cv2.applyColorMap(grey, cv2.COLORMAP_TURBO) * mask[..., None].astype(np.uint8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("shard", type=Path)
    parser.add_argument("sheet", type=Path)
    arguments = parser.parse_args()
    data = np.load(arguments.shard)
    cells = []
    for i in range(min(24, len(data["image"]))):
        mask = data["mask"][i] > 0
        n = data["normals"][i].astype(np.float32) / 127 * [1, -1, -1]
        has = np.ones_like(mask) if data["has_depth"][i] else mask
        shown = data["log_depth"][i] if data["has_depth"][i] else data["front"][i]
        cell = [
            data["image"][i][..., ::-1],
            ((n + 1) * 127)[..., ::-1].astype(np.uint8),
            tint(shown, has),
            tint(data["thickness"][i], mask),
        ]
        cells.append(np.hstack([cv2.resize(c, (128, 128)) for c in cell]))
    rows = [np.hstack(cells[i : i + 3]) for i in range(0, len(cells) - 2, 3)]
    cv2.imwrite(str(arguments.sheet), np.vstack(rows))


if __name__ == "__main__":
    main()
