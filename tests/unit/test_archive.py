"""What is kept with an object gives the same object again, and a changed one when asked."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import damaged_archives
import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.contracts import RefineRequest, Shaping
from image_to_mesh.inference.engines.archive import Archive, pack, unpack
from image_to_mesh.inference.engines.object import build_object
from image_to_mesh.inference.errors import CutOutError, ImageToMeshError
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.field.observation import Observation
from image_to_mesh.inference.field.offset import offset
from image_to_mesh.inference.pipeline import refine

SIZE = 64


def ball() -> Observation:
    """A ball of radius 0.7 seen from the front; the rim of its mask is soft."""
    view = CropView.of(PinholeCamera(256, 256, 500.0), 0.0, 0.0, 256.0)
    steps = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(steps, steps)
    radius = np.hypot(x, y)
    z = np.sqrt(np.maximum(0.49 - radius**2, 0.0))
    normals = np.stack([x, y, -np.maximum(z, 0.05)], axis=-1) / 0.7
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    colour = np.stack([0.5 + x / 2, 0.5 + y / 2, np.full_like(x, 0.3)], axis=-1)
    return Observation(
        view=view,
        front=-z,
        back=z,
        normals=normals.astype(np.float32),
        up=np.array([0, -1, 0], np.float32),
        mask=np.clip((0.7 - radius) * 4 + 0.5, 0, 1).astype(np.float32),
        colour=colour.astype(np.float32),
    )


def silent(_fraction: float, _stage: str = "") -> None:
    return None


@pytest.fixture(scope="module")
def kept() -> tuple[bytes, np.ndarray]:
    observation = ball()
    result = build_object(observation, "low", 256, 2.0, lambda _name: silent)
    return pack(Archive(observation, result.frame, "two-sided 1")), result.mesh.positions


def refined(archive: bytes, **changes: float) -> np.ndarray:
    request = RefineRequest(archive, "ball", Shaping(**changes), "low", 256)  # pyright: ignore[reportArgumentType]
    result = refine(request, silent)
    assert result.is_watertight
    assert result.archive is not None
    return result.mesh.positions


def test_without_changes_the_object_comes_back_where_it_stood(kept) -> None:
    archive, before = kept
    after = refined(archive)
    assert np.ptp(after, axis=0) == pytest.approx(np.ptp(before, axis=0), abs=0.01)
    assert after.mean(axis=0) == pytest.approx(before.mean(axis=0), abs=0.01)


def test_what_was_measured_stays_measured(kept) -> None:
    frame = unpack(kept[0]).frame
    surety = np.linspace(0, 1, SIZE * SIZE, dtype=np.float32).reshape(SIZE, SIZE)
    read = unpack(pack(Archive(replace(ball(), surety=surety), frame, "scanner"))).observation
    assert np.abs(read.surety - surety).max() < 0.003


def test_archive_is_small_and_faithful(kept) -> None:
    observation, read = ball(), unpack(kept[0])
    assert len(kept[0]) < 60_000
    assert read.model == "two-sided 1"
    assert np.abs(read.observation.front - observation.front).max() < 1e-3
    assert np.abs(read.observation.colour - observation.colour).mean() < 0.01
    assert read.observation.surety == 0
    cosine = (read.observation.normals * observation.normals).sum(axis=-1)
    assert np.degrees(np.arccos(np.clip(cosine.min(), -1, 1))) < 1
    np.testing.assert_allclose(read.observation.view.rotation, observation.view.rotation)
    assert read.observation.view.camera == observation.view.camera


def test_thickness_stretches_only_the_depth(kept) -> None:
    archive, before = kept
    width, height, depth = np.ptp(refined(archive, thickness=0.5), axis=0) / np.ptp(before, axis=0)
    assert (width, height) == (pytest.approx(1, abs=0.06), pytest.approx(1, abs=0.06))  # nearer
    assert depth < 0.8


def test_depth_range_flattens_the_front(kept) -> None:
    archive, before = kept
    flat = refined(archive, depth_range=0.2)
    assert flat[:, 2].min() > before[:, 2].min() + 0.1


def test_threshold_and_level_move_the_border(kept) -> None:
    archive, before = kept
    width = np.ptp(before[:, 0])
    assert np.ptp(refined(archive, cut_threshold=0.9)[:, 0]) < 0.92 * width
    assert np.ptp(refined(archive, level=0.1)[:, 0]) == pytest.approx(width * 0.8 / 0.7, rel=0.04)
    assert np.ptp(refined(archive, level=-0.1)[:, 0]) == pytest.approx(width * 0.6 / 0.7, rel=0.04)


def test_face_budget_keeps_the_shape_and_bakes_what_is_lost(kept) -> None:
    archive, before = kept
    request = RefineRequest(archive, "ball", Shaping(faces=300), "low", 256)
    result = refine(request, silent)
    assert result.is_watertight
    assert 100 < len(result.mesh.face_sizes) <= 300
    assert np.ptp(result.mesh.positions, axis=0) == pytest.approx(np.ptp(before, axis=0), rel=0.06)
    assert result.material.normal is not None
    tilt = result.material.normal[..., :2].astype(int) - 128
    assert np.abs(tilt).max() > 10  # the round ball on flat faces
    assert np.abs(np.median(tilt)) < 6


def test_neural_surface_keeps_the_shape_and_moves_with_the_level(kept) -> None:
    archive, before = kept
    width = np.ptp(before[:, 0])
    assert np.ptp(refined(archive, is_neural=True), axis=0) == pytest.approx(
        np.ptp(before, axis=0), rel=0.04
    )
    grown = refined(archive, is_neural=True, level=0.1)
    assert np.ptp(grown[:, 0]) == pytest.approx(width * 0.8 / 0.7, rel=0.04)


def test_light_and_grain_reach_the_material(kept) -> None:
    def material(**changes: float):
        request = RefineRequest(kept[0], "ball", Shaping(**changes), "low", 256)  # pyright: ignore[reportArgumentType]
        return refine(request, silent).material

    plain = material()
    assert plain.normal is None
    assert material(bump=1.0).normal is not None
    even = material(delight=1.0)
    assert even.base_color.astype(int).sum(2).std() < plain.base_color.astype(int).sum(2).std()


def test_nothing_left_says_so(kept) -> None:
    with pytest.raises(CutOutError, match="cut-out"):
        refined(kept[0], level=-0.9)


SENTENCE = (
    "What was kept with this object cannot be read: generate the object again from its picture."
)

# Changes that leave something to shape: what they say is unusual, but possible.
STILL_SOUND = {
    "zip: junk before",
    "zip: junk after",
    "zip: long comment said",
    "zip: stored",
    "zip: larger body said",
    "zip: more entries said",
    "zip: unknown member",
    "zip: names without an ending",
    "zip: without surety.npy",
    "array: columns first",
    "values: front as far as can be",
    "values: front partly as far as can be",
    "values: front as near as can be",
    "values: back before front",
    "values: back as far as can be",
    "values: both as far as can be",
    "values: sure of what is far",
    "values: normals of zeros",
    "values: normals of noise",
    "values: no mask",
    "values: all mask",
    "values: one pixel of mask",
    "values: mask of noise",
}


def sentence_or_archive(data: bytes) -> str | Archive:
    try:
        return unpack(data)
    except ImageToMeshError as error:
        return str(error)


def test_archives_that_were_changed_are_refused_in_a_sentence(kept) -> None:
    accepted = set()
    for name, data in damaged_archives.changed(kept[0]).items():
        read = sentence_or_archive(data)
        if isinstance(read, Archive):
            accepted.add(name)
        else:
            assert read == SENTENCE, name
    assert accepted == STILL_SOUND


@pytest.mark.parametrize(
    "change", ["front as far as can be", "both as far as can be", "normals of zeros", "no mask"]
)
def test_what_is_unusual_is_shaped_or_refused_in_a_sentence(kept, change: str) -> None:
    data = damaged_archives.changed(kept[0])[f"values: {change}"]
    try:
        positions = refined(data)
    except CutOutError:
        return
    assert np.isfinite(positions).all()


def test_a_byte_that_was_changed_is_noticed_or_does_no_harm(kept) -> None:
    sound = unpack(kept[0]).observation
    refused = 0
    for name, data in damaged_archives.flipped(kept[0], 600, seed=0):
        read = sentence_or_archive(data)
        if isinstance(read, str):
            assert read == SENTENCE, name
            refused += 1
            continue
        read = read.observation
        assert np.array_equal(read.front, sound.front), name
        assert np.array_equal(read.colour, sound.colour), name
        assert np.array_equal(read.mask, sound.mask), name
    assert refused > 300


@pytest.mark.parametrize(
    ("member", "shape", "kind"),
    [
        ("facts.npy", (200_000_000,), "|u1"),
        ("front.npy", (10_000, 10_000), "<f2"),
        ("mask.npy", (14_000, 14_000), "|u1"),
        ("albedo.npy", (200_000_000,), "|u1"),
        ("colour.npy", (200_000_000,), "|u1"),
    ],
)
def test_what_inflates_without_end_is_not_made_room_for(kept, member, shape, kind) -> None:
    data = damaged_archives.bomb(damaged_archives.read(kept[0]), member, shape, kind)
    assert len(data) < 1_000_000
    tracemalloc.start()
    with pytest.raises(ImageToMeshError, match=SENTENCE):
        unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_colours_are_read_no_finer_than_they_are_wanted(kept) -> None:
    frame = unpack(kept[0]).frame
    fine = np.full((1000, 1000, 3), 0.25, np.float32)
    data = pack(Archive(replace(ball(), colour=fine), frame, "camera"))
    assert unpack(data).observation.colour.shape == (1000, 1000, 3)
    assert unpack(data, 600).observation.colour.shape == (1000, 1000, 3)
    small = unpack(data, 256).observation.colour
    assert small.shape == (500, 500, 3)
    assert np.abs(small - 0.25).max() < 0.01


def test_depth_beyond_half_precision_stays_a_number(kept) -> None:
    frame = unpack(kept[0]).frame
    far = ball()
    far.back[0, 0] = 1e6
    assert np.isfinite(unpack(pack(Archive(far, frame, "scanner"))).observation.back).all()


def test_newer_archives_are_refused(kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("image_to_mesh.inference.engines.archive.FORMAT", 0)
    with pytest.raises(ImageToMeshError, match="update the extension"):
        unpack(kept[0])


def test_offset_grows_the_grid_with_the_surface() -> None:
    steps = np.linspace(-1.2, 1.2, 25, dtype=np.float32)
    x, y, z = np.meshgrid(steps, steps, steps, indexing="ij")
    field = GridField(np.sqrt(x * x + y * y + z * z) - 1, np.full(3, -1.2, np.float32), 0.1)
    moved = offset(field, 0.5)
    at = moved.query(np.array([[1.4, 0, 0], [1.6, 0, 0], [0, 0, -1.45]], np.float32)).distance
    assert at == pytest.approx([-0.1, 0.1, -0.05], abs=0.02)
    assert (moved.distance[0] > 0).all()
    assert offset(field, 0.0) is field
