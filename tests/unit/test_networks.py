"""Installed networks take part in a run; here they are small stand-ins with known answers."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import cv2
import numpy as np
import pytest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import ModelChoices, PicturePixels, Request
from image_to_mesh.inference.engines.archive import unpack
from image_to_mesh.inference.errors import CutOutError, WeightsError
from image_to_mesh.inference.field.protocol import Bounds, FieldSample
from image_to_mesh.inference.hub import weights
from image_to_mesh.inference.models.depth.depth_anything import DepthEstimate
from image_to_mesh.inference.models.depth.moge_camera import PointMap
from image_to_mesh.inference.models.solids.framing import Reconstructed
from image_to_mesh.inference.networks import loaded
from image_to_mesh.inference.networks.scene_depth import with_far_sky

HEIGHT, WIDTH = 120, 160


def quiet(_fraction: float, _stage: str) -> None:
    return None


def slope() -> np.ndarray:
    """(H, W) depth that rises from 2 at the bottom to 6 at the top."""
    return np.repeat(np.linspace(6, 2, HEIGHT, dtype=np.float32)[:, None], WIDTH, axis=1)


@dataclass
class Sloped:
    """Stands in for Depth Anything; ``failures`` runs out of memory that often first."""

    is_metric: bool = True
    failures: int = 0
    asked: list = field(default_factory=list)

    def estimate(self, rgb, report, **options) -> DepthEstimate:
        self.asked.append(options)
        if len(self.asked) <= self.failures:
            raise RuntimeError("CUDA out of memory. Tried to allocate 2 GiB")
        report()
        return DepthEstimate(slope(), None, np.ones((HEIGHT, WIDTH), bool), self.is_metric)


class Stepped:
    """Stands in for Depth Anything: a board stands before a wall."""

    def estimate(self, rgb, report, **_options) -> DepthEstimate:
        depth = np.full((HEIGHT, WIDTH), 6.0, np.float32)
        depth[30:100, 50:110] = 2.0
        return DepthEstimate(depth, None, np.ones((HEIGHT, WIDTH), bool), True)


class Pointed:
    """Stands in for MoGe; the upper quarter is sky."""

    def estimate(self, rgb, report, *, fov_x=None, tokens=None) -> PointMap:
        valid = np.ones((HEIGHT, WIDTH), bool)
        valid[: HEIGHT // 4] = False
        depth = np.where(valid, slope(), 0.1).astype(np.float32)
        return PointMap(np.dstack([depth] * 3), depth, None, valid, fov_x or 1.2, is_metric=True)


@dataclass
class Matte:
    """Stands in for BiRefNet: the subject is a disc of this radius in pixels."""

    radius: float = 40.0
    side: int = 1024

    def estimate(self, rgb, report, *, max_side=None) -> np.ndarray:
        report()
        rows, columns = np.mgrid[: rgb.shape[0], : rgb.shape[1]]
        far = np.hypot(rows - rgb.shape[0] / 2, columns - rgb.shape[1] / 2)
        return np.clip(self.radius - far, 0, 1).astype(np.float32)


@pytest.fixture
def install(monkeypatch: pytest.MonkeyPatch):
    """``install(id, estimator)`` makes a model look installed and loaded."""
    there: dict[str, object] = {}
    monkeypatch.setattr(weights, "installed_ids", lambda _folder: frozenset(there))
    monkeypatch.setattr(
        loaded.LOADED, "get", lambda entry, _folder, _device, _dtype, _report: there[entry.id]
    )
    return there.__setitem__


def picture() -> np.ndarray:
    rng = np.random.default_rng(0)
    pixels = np.full((HEIGHT, WIDTH, 4), 255, np.uint8)
    pixels[..., :3] = rng.integers(0, 255, (HEIGHT, WIDTH, 3))
    return pixels


def run(
    engine: str,
    seed: int = 0,
    steps: int = 50,
    guidance: float = 7.0,
    texture_size: int = 256,
    is_solid: bool = False,
    **models: str,
):
    request = Request(
        PicturePixels(picture(), "Room"),
        engine=engine,  # pyright: ignore[reportArgumentType]
        detail="low",
        texture_size=texture_size,
        device="cpu",
        seed=seed,
        steps=steps,
        guidance=guidance,
        is_solid=is_solid,
        models=ModelChoices(folder=Path("models"), **models),
    )
    return pipeline.run(request, quiet)


def distances(result) -> np.ndarray:
    """Depth of each vertex along the camera's axis, metres."""
    inverse = np.linalg.inv(result.camera.matrix)
    return (result.mesh.positions @ inverse[:3, :3].T + inverse[:3, 3])[:, 2]


def test_an_installed_depth_network_shapes_the_scene_in_real_metres(install) -> None:
    install("depth-anything-v2-indoor-small", Sloped())
    result = run("scene")
    assert distances(result).min() == pytest.approx(2, abs=0.1)
    assert distances(result).max() == pytest.approx(6, abs=0.1)
    assert "depth-anything-v2-indoor-small" in result.model


def test_relative_depth_keeps_the_artists_scale(install) -> None:
    install("depth-anything-v2-small", Sloped(is_metric=False))
    assert np.median(distances(run("scene"))) == pytest.approx(4, rel=0.1)


def test_the_bundled_network_can_be_insisted_on(install) -> None:
    install("depth-anything-v2-indoor-small", Sloped())
    result = run("scene", depth="bundled")
    assert result.model.startswith("two-sided")


def test_moge_gives_the_lens_and_sky_goes_behind_everything(install) -> None:
    install("moge-2-vits", Pointed())
    result = run("scene")
    assert result.camera.fov_x == pytest.approx(1.2, abs=1e-3)
    assert distances(result).max() > 5.2


def test_out_of_memory_steps_down_and_says_so(install) -> None:
    network = Sloped(failures=1)
    install("depth-anything-v2-small", network)
    result = run("scene")
    assert [options.get("short_side") for options in network.asked] == [None, 392]
    assert any("did not fit" in note and "392" in note for note in result.notes)


def test_a_model_that_is_not_there_is_named(install) -> None:
    with pytest.raises(WeightsError, match="MoGe-2 Small is not installed: download it"):
        run("scene", depth="moge-2-vits")


def test_an_installed_cut_out_network_finds_the_subject(install) -> None:
    install("birefnet-lite", Matte())
    result = run("object")
    assert result.is_watertight
    cut = pipeline.cut_out(
        Request(PicturePixels(picture(), "x"), models=ModelChoices(folder=Path("models"))), quiet
    )
    assert cut.mask.sum() == pytest.approx(np.pi * 39.5**2, rel=0.02)
    assert cut.networks == ("BiRefNet Lite",)


def test_a_cut_out_network_that_finds_nothing(install) -> None:
    install("birefnet-lite", Matte(radius=-1))
    assert run("auto").engine == "scene"
    with pytest.raises(CutOutError, match="No subject"):
        run("object")


@dataclass
class Ball:
    """A ball with a bright and a dark half, unless it has no colours: negative inside."""

    has_colours: bool = True
    bounds: ClassVar[Bounds] = Bounds(np.full(3, -0.87, np.float32), np.full(3, 0.87, np.float32))

    def query(self, points: np.ndarray) -> FieldSample:
        colours = np.where(points[:, 2:] > 0, np.float32(0.8), np.float32([[0.2, 0.4, 0.4]]))
        distance = np.linalg.norm(points, axis=1).astype(np.float32) - np.float32(0.6)
        return FieldSample(distance, colours.astype(np.float32) if self.has_colours else None)

    def gradient(self, points: np.ndarray) -> np.ndarray:
        return points / np.maximum(np.linalg.norm(points, axis=1, keepdims=True), 1e-6)


@dataclass
class Drawn:
    """Stands in for TripoSG, which has no colours, or for TripoSR."""

    has_colours: bool = True
    asked: list = field(default_factory=list)

    def estimate(self, rgb, mask, report, *, advance=None, **options) -> Reconstructed:
        self.asked.append(options)
        report()
        return Reconstructed(Ball(self.has_colours), WIDTH / 2 - 50, HEIGHT / 2 - 50, 100.0, 7)


def test_an_installed_object_network_draws_the_solid(install) -> None:
    network = Drawn()
    install("triposg", network)
    install("birefnet-lite", Matte())
    result = run("object", object="triposg", seed=7, steps=12, guidance=3.0)
    assert network.asked == [
        {"steps": 12, "guidance": 3.0, "seed": 7, "tokens": 1024, "chunk": None}
    ]
    assert result.is_watertight
    assert "triposg" in result.model
    extent = np.ptp(result.mesh.positions, axis=0)
    assert extent == pytest.approx(np.ones(3), abs=0.05)
    # What the noisy picture does not show is plain, in the field's two colours.
    texture = result.material.base_color.astype(np.float32)
    is_plain = cv2.blur(texture**2, (5, 5)) - cv2.blur(texture, (5, 5)) ** 2 < 4
    red = texture[..., 0][is_plain.all(axis=-1)]
    assert len(red) > 0.2 * texture[..., 0].size
    assert np.percentile(red, 90) - np.percentile(red, 10) > 40


def test_sky_is_put_behind() -> None:
    depth = np.array([[1, 2], [4, 0.1]], np.float32)
    valid = np.array([[True, True], [True, False]])
    assert with_far_sky(depth, valid)[1, 1] > 4
    assert with_far_sky(depth, np.zeros((2, 2), bool)) is depth


class Doubled:
    """Stands in for Real-ESRGAN: twice the size, and blue."""

    def estimate(self, rgb, report, *, tile=None) -> np.ndarray:
        report()
        blue = np.zeros((2 * rgb.shape[0], 2 * rgb.shape[1], 3), np.uint8)
        blue[..., 2] = 255
        return blue


@dataclass
class Green:
    """Stands in for LaMa: holes become green."""

    holes: list = field(default_factory=list)

    def estimate(self, rgb, hole, report, *, max_side=None) -> np.ndarray:
        report()
        self.holes.append(hole)
        return np.where(hole[..., None], np.array([0, 255, 0], np.uint8), rgb)


def test_an_upscaler_sharpens_what_the_texture_shows(install) -> None:
    install("realesr-general-x4v3", Doubled())
    install("birefnet-lite", Matte())
    colours = run("object", texture_size=512).material.base_color.reshape(-1, 3)
    assert np.median(colours, axis=0) == pytest.approx([0, 0, 255], abs=3)


def test_an_upscaler_sharpens_what_a_drawn_solid_shows(install) -> None:
    install("triposg", Drawn())
    install("realesr-general-x4v3", Doubled())
    install("birefnet-lite", Matte())
    result = run("object", object="triposg", texture_size=512)
    colours = result.material.base_color.reshape(-1, 3)
    is_blue = (colours[:, 2] > 220) & (colours[:, 0] < 30)
    assert 0.2 < is_blue.mean() < 0.8  # the side that the picture shows
    assert "realesr-general-x4v3" in result.model


def test_an_upscaler_is_not_asked_for_what_a_texture_cannot_hold(install) -> None:
    install("realesr-general-x4v3", None)  # asking it would fail
    install("birefnet-lite", Matte(radius=59))
    assert run("object", texture_size=128).is_watertight


def test_the_far_side_is_imagined_inside_the_outline_only(install) -> None:
    network = Green()
    install("big-lama", network)
    install("birefnet-lite", Matte())
    result = run("object")
    (hole,) = network.holes
    assert 0.2 < hole.mean() < 0.5  # the disc's middle; it fills most of its crop
    colours = result.material.base_color.reshape(-1, 3).astype(int)
    is_green = (colours[:, 1] > 200) & (colours[:, 0] < 60) & (colours[:, 2] < 60)
    assert 0.15 < is_green.mean() < 0.7
    assert result.archive is not None
    assert unpack(result.archive).observation.back_colour is not None


def test_the_far_side_of_a_drawn_solid_is_imagined_when_it_has_no_colours(install) -> None:
    network = Green()
    install("triposg", Drawn(has_colours=False))
    install("big-lama", network)
    install("birefnet-lite", Matte())
    result = run("object", object="triposg")
    (hole,) = network.holes
    assert 0.2 < hole.mean() < 0.6
    colours = result.material.base_color.reshape(-1, 3).astype(int)
    is_green = (colours[:, 1] > 200) & (colours[:, 0] < 60) & (colours[:, 2] < 60)
    assert 0.15 < is_green.mean() < 0.7
    assert "big-lama" in result.model


def test_a_drawn_solid_with_colours_of_its_own_keeps_them(install) -> None:
    network = Green()
    install("triposg", Drawn())
    install("big-lama", network)
    install("birefnet-lite", Matte())
    result = run("object", object="triposg")
    assert not network.holes
    assert "big-lama" not in result.model


def test_what_a_scene_hides_is_painted_by_an_installed_network(install) -> None:
    network = Green()
    install("big-lama", network)
    install("depth-anything-v2-outdoor-small", Stepped())
    result = run("scene")
    assert network.holes
    colours = result.material.base_color[HEIGHT:].reshape(-1, 3).astype(int)
    assert ((colours[:, 1] == 255) & (colours[:, 0] == 0) & (colours[:, 2] == 0)).mean() > 0.05
    assert "big-lama" in result.model
    asked = len(network.holes)
    assert "big-lama" not in run("scene", is_solid=True).model
    assert len(network.holes) == asked
