"""What the artist sees of photos' surface while it is made, and ending it early."""

from __future__ import annotations

import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays, PicturePixels
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.views.contracts import KnownView, View, ViewsRequest
from image_to_mesh.inference.views.surface import preview
from image_to_mesh.inference.views.surface.preview import preview_of_field
from image_to_mesh.inference.views.watch import PreviewMesh, Watch


def ball(cells: int = 24) -> GridField:
    """A ball of radius 0.5 in a box of half side 0.7."""
    spacing = 1.4 / cells
    steps = -0.7 + spacing * np.arange(cells + 1, dtype=np.float32)
    points = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1)
    distance = np.linalg.norm(points, axis=-1).astype(np.float32) - np.float32(0.5)
    return GridField(distance, np.full(3, -0.7, np.float32), spacing)


def test_a_preview_is_where_the_surface_is_however_fine_its_grid(monkeypatch):
    for most in (10**9, 3000):
        monkeypatch.setattr(preview, "MOST_SAMPLES", most)
        shown = preview_of_field(ball(), (), "Fused")
        assert shown is not None
        away = np.linalg.norm(shown.positions, axis=1)
        assert np.abs(away - 0.5).max() < 0.06
        assert shown.faces.max() < len(shown.positions) == len(shown.colours)
    assert len(shown.positions) < 800  # thinned out
    empty = GridField(np.ones((8, 8, 8), np.float32), np.zeros(3, np.float32), 0.1)
    assert preview_of_field(empty, (), "Fused") is None


def test_a_preview_has_the_colours_of_the_grid_or_of_the_pictures():
    surface = ball()
    colours = np.zeros((3, *surface.distance.shape), np.float32)
    colours[0, 12:] = 1.0  # red for x > 0
    shown = preview_of_field(surface, (), "Refined, 40 %", colours)
    assert shown is not None
    right = shown.positions[:, 0] > 0.1
    assert (shown.colours[right] == [255, 0, 0]).all()
    assert (shown.colours[shown.positions[:, 0] < -0.1] == 0).all()
    matrix = np.eye(4)
    matrix[2, 3] = -2.0  # looks along +z from before the ball
    blue = np.full((32, 32, 3), (0, 0, 255), np.uint8)
    view = View("a", blue, None, None, CameraArrays(matrix, 1.2, 32, 32), None)
    shown = preview_of_field(surface, (view,), "Fused")
    assert shown is not None
    front = shown.positions[:, 2] < -0.3
    assert np.abs(shown.colours[front].astype(int) - [0, 0, 255]).max() < 3
    assert (shown.colours[shown.positions[:, 2] > 0.3] == 128).all()  # nobody sees it


@pytest.fixture(scope="module")
def request_of_a_cube() -> ViewsRequest:
    known = []
    for shot in synthetic.orbit(10, 64, (25.0, -20.0), floor=False):
        alpha = np.asarray(shot.mask, np.uint8)[..., None]
        pixels = PicturePixels(np.concatenate([shot.pixels, alpha], axis=-1), "cube")
        known.append(KnownView(pixels, shot.matrix, shot.fov_x))
    return ViewsRequest(known=tuple(known), detail="low", texture_size=256, surface="refined")


def test_the_surface_is_shown_where_the_result_will_be_and_ended_early(request_of_a_cube):
    watch = Watch(interval=0.0)
    seen: list[PreviewMesh] = []

    def show(shown: PreviewMesh) -> None:
        assert watch.can_finish.is_set()
        seen.append(shown)
        if len(seen) == 5:
            watch.finish_now.set()

    watch.show = show
    result = engine.run(request_of_a_cube, lambda share, words: None, watch)
    words = [shown.words for shown in seen]
    assert words[:2] == ["Outlines", "Fused"]
    assert words[2].startswith("Refined")
    assert len(seen) == 5  # nothing after Finish Now
    assert not watch.can_finish.is_set()
    assert "finished early" in result.model
    low, high = result.mesh.positions.min(axis=0), result.mesh.positions.max(axis=0)
    for shown in seen[1:]:
        assert np.abs(shown.positions.min(axis=0) - low).max() < 0.06 * (high - low).max()
        assert np.abs(shown.positions.max(axis=0) - high).max() < 0.06 * (high - low).max()


def test_finishing_before_the_refinement_leaves_it_out(request_of_a_cube):
    watch = Watch()
    watch.finish_now.set()
    result = engine.run(request_of_a_cube, lambda share, words: None, watch)
    assert result.model.startswith("fused depth")
    assert len(result.mesh.positions) > 100
