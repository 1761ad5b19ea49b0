"""Pictures of one thing in its place: what is told of them agrees with itself."""

from pathlib import Path

import cv2
import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")
pytest.importorskip("embreex")

from training.pictures.generate import render_shard  # noqa: E402
from training.pictures.staged import staged_picture  # noqa: E402
from training.pictures.surroundings import Surroundings  # noqa: E402
from training.shapes.meshes import Library  # noqa: E402


@pytest.fixture(scope="module")
def world(tmp_path_factory) -> tuple[Library, Surroundings]:
    """One box, one tile, one sky."""
    folder: Path = tmp_path_factory.mktemp("world")
    box = trimesh.creation.box((1, 1, 1))
    np.savez(
        folder / "train_box.npz",
        V=np.asarray(box.vertices, np.float32),
        F=np.asarray(box.faces, np.int32),
        P=np.zeros(len(box.faces), np.int64),
        C=np.full((len(box.faces), 3), 0.5, np.float32),
    )
    rng = np.random.default_rng(0)
    cv2.imwrite(str(folder / "tile.jpg"), rng.integers(0, 255, (64, 64, 3)).astype(np.uint8))
    cv2.imwrite(str(folder / "sky.hdr"), rng.uniform(0.1, 2, (32, 64, 3)).astype(np.float32))
    return Library(folder, is_held_out=False), Surroundings(folder)


def test_mask_sides_and_depth_of_a_subject_agree(world) -> None:
    rng = np.random.default_rng(4)
    covers = []
    for _ in range(10):
        sample = staged_picture(rng, *world)
        assert sample is not None
        mask = sample["mask"] > 0
        covers.append(mask.mean())
        front, thickness = (sample[k].astype(np.float64) for k in ("front", "thickness"))
        assert thickness.min() >= 0
        assert (front[~mask] == 0).all()
        assert (thickness[~mask] == 0).all()
        assert abs(front[mask].mean()) < 1e-2
        # One camera saw both: z = D (1 + t front) where D is the subject's mean depth.
        depth = np.exp(sample["log_depth"].astype(np.float64))[mask]
        expected = 1 + float(sample["half"]) * front[mask]
        np.testing.assert_allclose(depth / depth.mean(), expected, atol=4e-3)
        assert sample["has_depth"] == 1
        assert sample["is_object"] == 1
        assert sample["counts"] == 0
        assert (np.abs(sample["normals"].astype(int)).sum(-1)[mask] > 0).all()
    assert min(covers) > 0.01
    assert max(covers) > 3 * min(covers)  # near ones and far ones


def test_what_surrounds_a_subject_is_more_than_it(world) -> None:
    """There is something behind, and it is not at the subject's depth everywhere."""
    rng = np.random.default_rng(5)
    spreads = []
    for _ in range(6):
        sample = staged_picture(rng, *world)
        assert sample is not None
        spreads.append(np.ptp(sample["log_depth"][sample["mask"] == 0].astype(np.float64)))
    assert np.median(spreads) > 0.3


def test_a_shard_holds_the_share_that_was_asked_for(world) -> None:
    shard = render_shard(1, 6, *world, scene_share=0.0, household_share=0.0, staged_share=0.5)
    assert (shard["counts"] == 0).sum() == 3
    assert len(shard["image"]) == 6
    assert shard["albedo"].shape[1:] == (128, 128, 3)
