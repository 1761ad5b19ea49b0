"""What is kept with a scene gives the same scene again, and a changed one when asked."""

from __future__ import annotations

import io
import json
import tracemalloc

import damaged_archives
import numpy as np
import pytest
from image_to_mesh.inference.camera import PinholeCamera
from image_to_mesh.inference.contracts import RefineRequest, SceneShaping
from image_to_mesh.inference.engines.scene import SceneSight, build_scene
from image_to_mesh.inference.engines.scene_archive import SceneArchive, pack, unpack
from image_to_mesh.inference.errors import ImageToMeshError
from image_to_mesh.inference.pipeline import refine


def sight() -> SceneSight:
    """A slanted wall with a box before it."""
    rows, columns = np.mgrid[0:48, 0:64].astype(np.float32)
    depth = 5.0 + columns / 32 + rows / 96
    depth[20:40, 20:40] = 2.0
    pixels = np.dstack([rows * 5, columns * 4, np.full_like(rows, 90)]).astype(np.uint8)
    pixels = np.kron(pixels, np.ones((5, 5, 1), np.uint8))
    return SceneSight(
        pixels, depth, np.array([0, -1, 0], np.float32), PinholeCamera(320, 240, 300.0)
    )


def silent(_fraction: float, _stage: str = "") -> None:
    return None


@pytest.fixture(scope="module")
def made():
    return build_scene(sight(), "low", 512, 8.0, SceneShaping(size_m=2.0), silent)


@pytest.fixture(scope="module")
def kept(made) -> bytes:
    return pack(SceneArchive(sight(), 4.0, made.shift, "two-sided 1"))


def refined(archive: bytes, **changes):
    shaping = SceneShaping(**{"size_m": 2.0} | changes)
    return refine(RefineRequest(archive, "place", shaping, "low", 512), silent)


def test_without_changes_the_scene_comes_back_where_it_stood(made, kept) -> None:
    again = refined(kept)
    assert again.engine == "scene"
    np.testing.assert_allclose(again.camera.matrix, made.camera.matrix, atol=1e-6)
    assert len(again.mesh.positions) == pytest.approx(len(made.mesh.positions), rel=0.01)
    for side in (np.min, np.max):
        np.testing.assert_allclose(
            side(again.mesh.positions, axis=0), side(made.mesh.positions, axis=0), atol=0.01
        )


def test_the_archive_is_faithful(kept) -> None:
    read, seen = unpack(kept).sight, sight()
    ratio = read.depth / seen.depth
    assert ratio.max() / ratio.min() - 1 < 1e-4
    assert np.abs(read.pixels.astype(int) - seen.pixels).mean() < 3
    assert (read.camera, read.edge_blur) == (seen.camera, seen.edge_blur)


def test_another_size_scales_scene_and_camera_alike(made, kept) -> None:
    larger = refined(kept, size_m=6.0)
    np.testing.assert_allclose(
        np.ptp(larger.mesh.positions, axis=0), 3 * np.ptp(made.mesh.positions, axis=0), rtol=0.01
    )
    np.testing.assert_allclose(
        larger.camera.matrix[:3, 3], 3 * made.camera.matrix[:3, 3], atol=1e-6
    )


def test_a_solid_is_closed_and_a_flat_scene_is_flat(kept) -> None:
    assert refined(kept, is_solid=True).is_watertight
    flat = refined(kept, depth_range=0.0)
    inverse = np.linalg.inv(flat.camera.matrix)
    depth = flat.mesh.positions @ inverse[2, :3] + inverse[2, 3]
    assert np.ptp(depth) < 1e-3 * depth.mean()


def test_large_pictures_are_kept_smaller_and_come_back_at_their_size() -> None:
    seen = sight()
    pixels = np.kron(seen.pixels, np.ones((20, 20, 1), np.uint8))
    large = SceneSight(pixels, seen.depth, seen.up, PinholeCamera(6400, 4800, 6000.0))
    archive = pack(SceneArchive(large, 4.0, np.zeros(3), "two-sided 1"))
    assert unpack(archive).sight.pixels.shape == (4800, 6400, 3)


@pytest.mark.parametrize("length", [0, 10, 200, -1, -200])
def test_damaged_archives_are_told_in_a_sentence(kept, length) -> None:
    with pytest.raises(ImageToMeshError, match="generate the scene again"):
        refined(kept[:length])


def test_no_flipped_byte_is_called_a_bug(kept) -> None:
    rng = np.random.default_rng(0)
    for at in rng.integers(0, len(kept), 150):
        damaged = bytearray(kept)
        damaged[at] ^= 1 << int(rng.integers(8))
        try:
            archive = unpack(bytes(damaged))
        except ImageToMeshError:
            continue
        assert np.isfinite(archive.sight.depth).all()


def test_no_damaged_file_is_called_a_bug(kept) -> None:
    sound = unpack(kept).sight
    refused = 0
    for name, data in damaged_archives.containers(kept).items():
        try:
            read = unpack(data).sight
        except ImageToMeshError as error:
            refused += "generate the scene again" in str(error)
            continue
        assert np.array_equal(read.depth, sound.depth), name
        assert np.array_equal(read.pixels, sound.pixels), name
    assert refused > 40


@pytest.mark.parametrize(
    ("member", "shape", "kind"),
    [("depth.npy", (10_000, 10_000), "<u2"), ("colour.npy", (200_000_000,), "|u1")],
)
def test_what_inflates_without_end_is_not_made_room_for(kept, member, shape, kind) -> None:
    data = damaged_archives.bomb(damaged_archives.read(kept), member, shape, kind)
    tracemalloc.start()
    with pytest.raises(ImageToMeshError, match="generate the scene again"):
        unpack(data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 20_000_000


def test_pictures_that_say_another_size_are_not_decoded(kept) -> None:
    members = damaged_archives.read(kept)
    for colours in (
        damaged_archives.resized_jpeg(damaged_archives.jpeg(320, height=240), 4000, 3000),
        damaged_archives.resized_jpeg(damaged_archives.jpeg(320, height=240), 65000, 48750),
        damaged_archives.jpeg(320, 2, 1, height=240),  # progressive
    ):
        member = damaged_archives.npy(np.frombuffer(colours, np.uint8))
        with pytest.raises(ImageToMeshError, match="generate the scene again"):
            unpack(damaged_archives.write(members | {"colour.npy": member}))


@pytest.mark.parametrize(
    ("name", "value", "sentence"),
    [
        ("format", 99, "made by a newer Image to Mesh"),
        ("format", "1", "generate the scene again"),
        ("median", float("nan"), "generate the scene again"),
        ("median", -1.0, "generate the scene again"),
        ("up", [0.0, 0.0, 0.0], "generate the scene again"),
        ("shift", [1e12, 0.0, 0.0], "generate the scene again"),
        ("camera", [320, 240, 0.0], "generate the scene again"),
        ("camera", [32, 4000, 300.0], "generate the scene again"),
        ("log_depth", [-99.0, 99.0], "generate the scene again"),
        ("edge_blur", float("inf"), "generate the scene again"),
    ],
)
def test_facts_that_cannot_be_are_told(kept, name, value, sentence) -> None:
    with np.load(io.BytesIO(kept)) as arrays:
        content = dict(arrays)
    facts = json.loads(content["facts"].tobytes())
    facts[name] = value
    content["facts"] = np.frombuffer(json.dumps(facts).encode(), np.uint8)
    stream = io.BytesIO()
    np.savez_compressed(stream, **content)
    with pytest.raises(ImageToMeshError, match=sentence):
        unpack(stream.getvalue())
