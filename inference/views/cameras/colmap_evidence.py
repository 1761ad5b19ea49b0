"""What pairs of pictures say for and against cameras; part of the process of ``colmap_child.py``.

Like it, this must not import anything of the extension but what lies beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pycolmap  # pyright: ignore[reportMissingImports] - optional
from numpy.typing import NDArray

if __package__:
    from . import repeats
else:  # beside a script
    import repeats  # pyright: ignore[reportMissingImports]

TURNED = 45.0  # degrees that neither a guessed focal length nor a long way explains
FAR_OFF = 6.0  # pixels of a match from where the cameras would have it
FEWEST_MATCHES = 15  # under which a pair is nothing


@dataclass(frozen=True)
class Evidence:
    """What pairs of pictures say about how the camera was turned between them.

    Attributes:
        names: Of all pictures, by their number here.
        ids: (N,) of the same in the database.
        pairs: (E, 2) numbers of pictures.
        turns: (E, 3, 3) from the first one's camera to the second's.
        weights: (E,) ``repeats.strength``.
        ends: Of each pair (M, 4) pixels of its matches in the first and in the second picture.
    """

    names: list[str]
    ids: list[int]
    pairs: NDArray[np.int64]
    turns: NDArray[np.float64]
    weights: NDArray[np.float64]
    ends: list[NDArray[np.float64]]


def read_evidence(path: Path) -> Evidence:
    """Turns and strength of all verified pairs."""
    pairs, turns, weights, matched = [], [], [], []
    with pycolmap.Database.open(path) as database:
        images = {image.image_id: image for image in database.read_all_images()}
        numbers = {image_id: number for number, image_id in enumerate(images)}
        cameras = {camera.camera_id: camera for camera in database.read_all_cameras()}
        points = {
            image_id: np.asarray(database.read_keypoints(image_id))[:, :2].astype(np.float64)
            for image_id in images
        }
        for pair_id, geometry in zip(*database.read_two_view_geometries(), strict=True):
            matches = np.asarray(geometry.inlier_matches)
            if len(matches) < FEWEST_MATCHES:
                continue
            a, b = pycolmap.pair_id_to_image_pair(pair_id)
            lenses = cameras[images[a].camera_id], cameras[images[b].camera_id]
            found = pycolmap.estimate_two_view_geometry_pose(
                lenses[0], points[a], lenses[1], points[b], geometry
            )
            if not found or geometry.cam2_from_cam1 is None:
                continue
            pairs.append((numbers[a], numbers[b]))
            turns.append(geometry.cam2_from_cam1.rotation.matrix())
            first, second = (float(max(lens.width, lens.height)) for lens in lenses)
            ends = points[a][matches[:, 0]], points[b][matches[:, 1]]
            weights.append(repeats.strength(*ends, (first, second)))
            matched.append(np.hstack(ends))
    return Evidence(
        [image.name for image in images.values()],
        list(images),
        np.array(pairs, np.int64).reshape(-1, 2),
        np.array(turns, np.float64).reshape(-1, 3, 3),
        np.array(weights, np.float64),
        matched,
    )


def drop_repeats(path: Path, evidence: Evidence, agreed: NDArray[np.float64]) -> None:
    """Take out pairs that fit only by things that repeat: the (N, 3, 3) agreed turns tell them."""
    off = repeats.degrees_off(evidence.pairs, evidence.turns, agreed)
    with pycolmap.Database.open(path) as database:
        for a, b in evidence.pairs[off >= repeats.CONTRADICTS]:
            database.delete_inlier_matches(evidence.ids[a], evidence.ids[b])


def contradictions(evidence: Evidence, agreed: NDArray[np.float64], model: Any) -> dict[str, Any]:
    """What speaks against the cameras that were found.

    Returns:
        ``repeated``: share of all evidence that contradicts them; ``doubts``: the same share of each
        picture's own evidence, by name; ``turned``: how many cameras look elsewhere than the
        strongest pairs agree on.
    """
    placed = {
        number: model.images[image_id]
        for number, image_id in enumerate(evidence.ids)
        if image_id in model.images and model.images[image_id].has_pose
    }
    both = np.array([a in placed and b in placed for a, b in evidence.pairs], bool)
    pairs, weights = evidence.pairs[both], evidence.weights[both]
    against = weights.copy()
    for place, edge in enumerate(np.flatnonzero(both)):
        a, b = (placed[number] for number in evidence.pairs[edge])
        against[place] *= _share_off(model, a, b, evidence.ends[edge])
    of_each, of_all = np.zeros((2, len(evidence.names)))
    np.add.at(of_each, pairs, against[:, None])
    np.add.at(of_all, pairs, weights[:, None])
    turned = 0
    if len(agreed) and len(placed) > 2:
        seen = [number for number in placed if of_all[number] > 0]
        found = [placed[number].cam_from_world().rotation.matrix() for number in seen]
        if seen:
            apart = repeats.degrees_apart(np.array(found), agreed[seen])
            turned = int((apart >= TURNED).sum())
    shares = (of_each / np.maximum(of_all, 1e-9)).round(3).tolist()
    return {
        "repeated": float(against.sum() / max(float(weights.sum()), 1e-9)),
        "doubts": dict(zip(evidence.names, shares, strict=True)),
        "turned": turned,
    }


def _share_off(model: Any, first: Any, second: Any, ends: NDArray[np.float64]) -> float:
    """Share of (M, 4) matches that are further than ``FAR_OFF`` from their epipolar lines."""
    lenses = model.cameras[first.camera_id], model.cameras[second.camera_id]
    rays = [
        np.hstack([np.asarray(lens.cam_from_img(part)), np.ones((len(part), 1))])
        for lens, part in zip(lenses, (ends[:, :2], ends[:, 2:]), strict=True)
    ]
    start, end = first.cam_from_world().matrix(), second.cam_from_world().matrix()
    turn = end[:, :3] @ start[:, :3].T
    x, y, z = end[:, 3] - turn @ start[:, 3]
    lines = rays[0] @ (np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]]) @ turn).T
    off = np.abs((lines * rays[1]).sum(axis=1)) / np.maximum(
        np.linalg.norm(lines[:, :2], axis=1), 1e-12
    )
    return float((off * lenses[1].mean_focal_length() > FAR_OFF).mean())
