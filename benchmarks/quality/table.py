"""The table of shapes: ours beside both baselines, for each object, each background and all."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..data import backgrounds
from . import metrics

METHODS = ("ours", "relief", "pillow")
COLUMNS = (
    ("mask", "mask_iou", "5.3f"),
    ("silh", "silhouette_iou", "5.3f"),
    ("nrm°", "normal_median", "5.1f"),
    ("mean°", "normal_mean", "5.1f"),
    ("depth", "depth", "5.3f"),
    ("up°", "up_error", "5.1f"),
    ("s", "seconds", "5.1f"),
)


def table(rows: Sequence[dict[str, Any]]) -> str:
    """Lay the means of every object, every background and all pictures out as text."""
    head = f"{'object (mean)':34s}n   " + "".join(
        f"{m:^17s}" for m in ("CD", *(f"F@{t}" for t in metrics.THRESHOLDS))
    )
    lines = [
        "Chamfer and F-score: ours/displaced plane/pillow, fractions of the truth's diagonal",
        head + "".join(f"{name:>6s}" for name, _, _ in COLUMNS) + "  solid",
    ]
    objects = sorted({row["object"] for row in rows})
    kinds = [kind for kind in backgrounds.KINDS if any(row["background"] == kind for row in rows)]
    groups = [(name, [row for row in rows if row["object"] == name]) for name in objects]
    groups += [
        (f"MEAN {kind}", [row for row in rows if row["background"] == kind]) for kind in kinds
    ]
    groups.append(("MEAN", list(rows)))
    lines += [line(_mean(group), label, len(group)) for label, group in groups]
    failed = [row for row in rows if "error" in row]
    lines += [f"FAILED {row['view']} {row['background']}: {row['error']}" for row in failed]
    return "\n".join(lines)


def _mean(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Average every number; a failed picture scores F = 0 and is left out of the other columns."""
    good = [row for row in rows if "error" not in row]
    if not good:
        return {"error": "every picture failed"}
    mean: dict[str, Any] = {}
    for key, value in good[0].items():
        if isinstance(value, int | float):
            mean[key] = float(np.nanmean([row[key] for row in good]))
            if key.startswith("f0"):
                mean[key] *= len(good) / len(rows)
    return mean


def line(row: dict[str, Any], label: str, count: int = 1) -> str:
    """Lay one row out: a picture, or the mean of ``count``."""
    if "error" in row:
        return f"{label:34s}{row['error']}"
    measures = ("cd", *(f"f{t}" for t in metrics.THRESHOLDS))
    groups = ["/".join(f"{row[f'{key}_{m}']:.3f}" for m in METHODS) for key in measures]
    values = "".join(f" {row[key]:{form}}" for _, key, form in COLUMNS)
    solid = f"{100 * min(row['watertight'], row['manifold'], row['welded']):5.0f}%"
    return f"{label:34s}{count:<3d} " + " ".join(groups).replace("0.", ".") + values + "  " + solid
