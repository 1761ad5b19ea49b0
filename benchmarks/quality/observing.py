"""Overhear what the networks tell the object engine, and replace parts of it by the truth."""

# The checkout is importable as image_to_mesh only once package.py has run.
# pyright: reportMissingImports=false

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np

from ..data.rays import cast
from ..data.truth import View
from ..package import load_extension

load_extension()

if TYPE_CHECKING:
    from inference.field.observation import Observation
else:
    from image_to_mesh.inference.field.observation import Observation

ORACLES = ("mask", "front", "back", "normals", "up", "camera")


@contextlib.contextmanager
def observed(view: View, oracle: frozenset[str]) -> Iterator[list[Observation]]:
    """Overhear what the pipeline tells the object engine, and correct it where asked to.

    Args:
        view: The truth.
        oracle: Names of ``ORACLES`` to replace.

    Yields:
        A list that receives the observation as the network made it (corrected by the oracle).
    """
    from image_to_mesh.inference.engines import object as engine

    heard: list[Observation] = []
    build = engine.build_object

    def listen(observation: Observation, *rest: Any) -> Any:
        heard.append(corrected(observation, view, oracle) if oracle else observation)
        return build(heard[-1], *rest)

    engine.build_object = listen
    try:
        yield heard
    finally:
        engine.build_object = build


def corrected(observation: Observation, view: View, oracle: frozenset[str]) -> Observation:
    """Replace parts of an observation by the truth, seen from the observation's own crop."""
    crop = observation.view
    triangles = crop.to_view(view.triangles)
    size = observation.front.shape[0]
    hits = cast(triangles, crop.crop_rays(size))
    if not hits.mask.any():
        return observation
    near, far = hits.front[hits.mask].min(), hits.back[hits.mask].max()
    unit = 2 * crop.distance / float(near + far)
    # Both zeros are the mean of the front over what both call the subject.
    common = hits.mask & (
        cv2.resize(observation.mask, (size, size), interpolation=cv2.INTER_AREA) > 0.5
    )
    shift = float((observation.front - hits.front * unit)[common].mean()) if common.any() else 0.0
    outside = ~hits.mask
    front = np.where(outside, observation.front, hits.front * unit + shift)
    thickness = observation.back - observation.front
    if "back" in oracle:
        thickness = np.where(outside, thickness, (hits.back - hits.front) * unit)
    if "front" not in oracle:
        front = observation.front
    normals = np.where(outside[..., None], observation.normals, hits.normals)
    return replace(
        observation,
        front=front.astype(np.float32),
        back=(front + thickness).astype(np.float32),
        normals=normals.astype(np.float32) if "normals" in oracle else observation.normals,
        up=crop.to_view(view.up.astype(np.float32)) if "up" in oracle else observation.up,
    )
