"""The whole worker side with the bundled network, on pictures made here."""

import hashlib
import sys

import cv2
import numpy as np
import pytest
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PictureFile, PicturePixels, Reconstruction, Request
from image_to_mesh.inference.errors import (
    CutOutError,
    DeviceUnavailable,
    MissingPackage,
    OutOfMemory,
    RunCancelled,
)
from image_to_mesh.inference.machine.device import best_device
from image_to_mesh.inference.models.bundled import two_sided
from image_to_mesh.inference.surface.topology import is_watertight


def quiet(_fraction, _stage):
    pass


def vase(size=220):
    """(size, size, 4) a shaded vase on transparency."""
    y, x = np.mgrid[-1 : 1 : size * 1j, -1 : 1 : size * 1j]
    half = 0.35 + 0.18 * np.sin(3 * y + 0.5)
    inside = (np.abs(x) < half) & (np.abs(y) < 0.85)
    shade = np.clip(1.05 - (x / half + 0.3) ** 2 * 0.6, 0.1, 1)
    pixels = np.zeros((size, size, 4), np.uint8)
    pixels[..., :3] = (shade[..., None] * [210, 120, 60]).astype(np.uint8)
    pixels[..., 3] = 255 * inside
    return pixels


def on_background(pixels, colour=(235, 235, 230)):
    alpha = pixels[..., 3:] / 255.0
    flat = pixels.copy()
    flat[..., :3] = pixels[..., :3] * alpha + np.array(colour) * (1 - alpha)
    flat[..., 3] = 255
    return flat


def street(height=120, width=200):
    """A noisy picture without any plain border."""
    rng = np.random.default_rng(0)
    pixels = np.full((height, width, 4), 255, np.uint8)
    coarse = rng.integers(0, 255, (9, 15, 3)).astype(np.uint8)
    pixels[..., :3] = cv2.resize(coarse, (width, height), interpolation=cv2.INTER_CUBIC)
    return pixels


def request(pixels, **options):
    options = {"detail": "low", "texture_size": 256, "device": "cpu"} | options
    return Request(PicturePixels(pixels, "Vase"), **options)


def run(pixels, **options):
    result = pipeline.run(request(pixels, **options), quiet)
    assert isinstance(result, Reconstruction)
    return result


def test_transparency_makes_an_object_that_is_closed_and_textured():
    result = run(vase())
    assert (result.engine, result.name) == ("object", "Vase")
    assert result.is_watertight
    assert is_watertight(result.mesh.corners, result.mesh.face_sizes)
    assert result.material.base_color.shape == (256, 256, 3)
    assert result.material.base_color.max(axis=2).min() > 10
    assert np.isfinite(result.mesh.positions).all()
    assert result.camera.width == 220
    assert two_sided.load("cpu").revision == result.model
    names = [stage.name for stage in result.stages]
    assert names[0] == "Reading the picture"
    assert "Painting the texture" in names
    assert all(s.seconds >= 0 and s.peak_mb > 10 for s in result.stages)


def test_a_file_with_a_plain_background_is_cut_out(tmp_path):
    path = tmp_path / "vase.png"
    cv2.imwrite(str(path), cv2.cvtColor(on_background(vase())[..., :3], cv2.COLOR_RGB2BGR))
    result = pipeline.run(
        Request(PictureFile(path), detail="low", texture_size=256, device="cpu"), quiet
    )
    assert result.engine == "object"
    assert result.is_watertight
    assert result.picture_sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    found = pipeline.cut_out(Request(PictureFile(path), device="cpu"), quiet)
    truth = vase()[..., 3] > 127
    mask = found.mask > 0.5
    assert (mask & truth).sum() / (mask | truth).sum() > 0.95


def test_progress_only_moves_forward():
    seen = []
    pipeline.run(request(vase()), lambda fraction, stage: seen.append((fraction, stage)))
    fractions = [fraction for fraction, _ in seen]
    assert fractions == sorted(fractions)
    assert fractions[0] >= 0
    assert fractions[-1] <= 1


@pytest.mark.parametrize("engine", ["object", "scene"])
def test_cancel_stops_in_any_stage(engine, monkeypatch):
    network = two_sided.load("cpu")
    for name in ("estimate_object", "estimate_scene"):
        kept = getattr(network, name)(np.zeros((64, 64, 3), np.float32))
        monkeypatch.setattr(
            two_sided.TwoSidedNetwork, name, lambda _s, *args, kept=kept: (args[-1](), kept)[1]
        )
    stages = []
    pipeline.run(request(vase(), engine=engine), lambda _f, stage: stages.append(stage))
    for number in sorted({stages.index(s) for s in stages} | {len(stages) - 1}):
        calls = []

        def report(_fraction, stage, calls=calls, number=number):
            calls.append(stage)
            if len(calls) > number:
                raise RunCancelled("Cancelled")

        with pytest.raises(RunCancelled):
            pipeline.run(request(vase(), engine=engine), report)
        assert calls == stages[: number + 1]


def test_the_same_request_gives_the_same_result():
    first, second = run(vase()), run(vase())
    assert np.array_equal(first.mesh.positions, second.mesh.positions)
    assert np.array_equal(first.material.base_color, second.material.base_color)


def test_scene_of_a_picture_and_its_solid():
    relief = run(street(), engine="scene")
    assert relief.engine == "scene"
    assert not relief.is_watertight
    assert relief.camera.fov_x == pytest.approx(np.radians(60), rel=1e-6)
    solid = run(street(), engine="scene", is_solid=True)
    assert solid.is_watertight


def test_field_of_view_of_the_artist_wins():
    assert run(vase(), fov_x=0.5).camera.fov_x == pytest.approx(0.5)
    assert run(street(), engine="scene", fov_x=1.2).camera.fov_x == pytest.approx(1.2)


def test_size_is_the_longest_side():
    result = run(vase(), size_m=3.0)
    assert np.ptp(result.mesh.positions, axis=0).max() == pytest.approx(3.0, rel=1e-4)


def test_the_artists_mask_is_used():
    mask = np.zeros((55, 55), np.uint8)
    mask[10:45, 20:36] = 255
    found = pipeline.cut_out(request(street(220, 220), mask=mask), quiet)
    assert found.origin == "mask"
    assert found.mask.shape == (220, 220)
    assert (found.mask > 0.5).mean() == pytest.approx((mask > 0).mean(), abs=0.02)
    assert run(street(220, 220), mask=mask).engine == "object"


def test_no_cut_out_takes_the_whole_picture():
    found = pipeline.cut_out(request(street(), cut_out="none"), quiet)
    assert found.origin == "none"
    assert found.mask.min() == 1
    assert run(street(), cut_out="none").engine == "scene"


def test_wishes_that_cannot_be_met_are_sentences():
    with pytest.raises(CutOutError, match="no transparency"):
        run(street(), cut_out="alpha")
    with pytest.raises(CutOutError, match="No mask was given"):
        run(street(), cut_out="mask")
    with pytest.raises(CutOutError, match="give a mask"):
        run(street(), mask=np.zeros((20, 20), np.uint8))
    if not __import__("torch").cuda.is_available():
        with pytest.raises(DeviceUnavailable, match="NVIDIA graphics card"):
            best_device("cuda")


def test_a_missing_package_is_a_sentence(monkeypatch):
    monkeypatch.setitem(sys.modules, "cv2", None)
    for name in [n for n in sys.modules if n.startswith("image_to_mesh.inference.picture")]:
        monkeypatch.delitem(sys.modules, name)
    with pytest.raises(MissingPackage, match="cv2 is missing"):
        run(vase())


@pytest.mark.parametrize(
    ("failure", "sentence"),
    [
        (MemoryError(), "computer ran out of memory"),
        (RuntimeError("CUDA out of memory. Tried to allocate"), "graphics card ran out"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "computer ran out"),
    ],
)
def test_running_out_of_memory_is_a_sentence(monkeypatch, failure, sentence):
    def fail(*_args, **_options):
        raise failure

    monkeypatch.setattr(two_sided.TwoSidedNetwork, "estimate_object", fail)
    with pytest.raises(OutOfMemory, match=sentence):
        run(vase())


@pytest.mark.parametrize("shape", [(16, 16), (40, 1200), (900, 30)])
def test_odd_sizes(shape):
    pixels = np.zeros((*shape, 4), np.uint8)
    pixels[..., 0] = 200
    height, width = shape
    pixels[height // 4 : height - height // 4, width // 4 : width - width // 4, 3] = 255
    assert run(pixels).is_watertight
    pixels[..., 3] = 255
    assert len(run(pixels, engine="scene").mesh.face_sizes) > 0
