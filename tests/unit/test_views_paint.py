"""Pictures of different exposure make one even texture."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.surface.nets import surface_nets
from image_to_mesh.inference.texture.charts import cut_into_charts
from image_to_mesh.inference.texture.pack import pack_charts
from image_to_mesh.inference.views.contracts import View
from image_to_mesh.inference.views.texture.paint import paint_views
from image_to_mesh.inference.views.texture.visibility import look

SIZE = 256


def silent(*_arguments: object) -> None:
    pass


def cube(cells: int = 16) -> tuple[np.ndarray, np.ndarray]:
    """The orbit's cube as small quads."""
    steps = (np.arange(cells + 4) - 1.5) / cells - 0.5
    grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    distance = (np.abs(grid).max(axis=-1) - 0.5).astype(np.float32)
    positions, faces = surface_nets(distance)
    return (positions / np.float32(cells) + np.float32(steps[0])), faces


def test_views_of_different_exposure_make_one_even_texture():
    shots = synthetic.orbit(10, 96, (20.0, -15.0), floor=False)
    views = []
    for index, shot in enumerate(shots):
        camera = CameraArrays(shot.matrix, shot.fov_x, 96, 96)
        soft = (0.15 * shot.pixels + 0.85 * 120).astype(np.uint8)  # little contrast: steps show
        mask = shot.mask.astype(np.float32) / 255
        views.append(View(str(index), soft, mask, None, camera, None))
    gains = np.exp(np.random.default_rng(1).uniform(-0.35, 0.35, (len(views), 1)))
    gains = gains * np.exp(np.random.default_rng(2).uniform(-0.1, 0.1, (len(views), 3)))
    uneven = [
        replace(view, pixels=np.clip(view.pixels * gain, 0, 255).astype(np.uint8))
        for view, gain in zip(views, gains, strict=True)
    ]
    positions, faces = cube()
    atlas = pack_charts(cut_into_charts(positions, faces), SIZE, 2)
    uv = atlas.uvs.mean(axis=1)
    row, column = ((1 - uv[:, 1]) * SIZE).astype(int), (uv[:, 0] * SIZE).astype(int)

    def painted(pictures: list[View]) -> np.ndarray:
        sight = look(positions, faces, pictures, silent)
        texture = paint_views(positions, faces, atlas, pictures, sight, 0, silent)
        seen = (sight.pixels > 0).sum(axis=0) > 0
        return texture[row, column].astype(np.float64)[seen]

    even, levelled = painted(views), painted(uneven)
    # Without compensation the same point differs by the gains, a third on average.
    difference = np.log(levelled / even)
    difference -= np.median(difference, axis=0)
    assert np.abs(gains - 1).mean() > 0.15
    assert np.percentile(np.abs(difference), 90) < 0.06
