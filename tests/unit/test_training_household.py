"""Training shapes that open, lie and stand in groups."""

from pathlib import Path

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")

from training.shapes.household import group, merged, tool, vessel  # noqa: E402
from training.shapes.meshes import Library, Mesh  # noqa: E402


def solid(mesh: Mesh, part: int) -> "trimesh.Trimesh":
    return trimesh.Trimesh(mesh.vertices, mesh.faces[mesh.parts == part])


@pytest.mark.parametrize("seed", range(8))
def test_a_vessel_is_closed_and_open_at_the_top(seed: int) -> None:
    mesh = vessel(np.random.default_rng(seed))
    wall = solid(mesh, 0)
    assert wall.is_watertight
    assert wall.volume > 0
    top = wall.vertices[:, 2].max()
    x, y, _ = wall.bounds.mean(0) + 0.003
    inside = wall.ray.intersects_location([[x, y, 2.0]], [[0, 0, -1.0]])[0]
    height = np.ptp(wall.vertices[:, 2])
    assert inside[:, 2].max() < top - 0.3 * height


@pytest.mark.parametrize("seed", range(8))
def test_a_tool_is_long_and_closed(seed: int) -> None:
    mesh = tool(np.random.default_rng(seed))
    for part in range(int(mesh.parts.max()) + 1):
        assert solid(mesh, part).is_watertight
    lengths = np.linalg.svd(mesh.vertices - mesh.vertices.mean(0))[1]
    assert lengths[0] > 2 * lengths[1]


def test_things_of_a_group_stand_on_one_floor(tmp_path: Path) -> None:
    box = trimesh.creation.box((1, 1, 1))
    faces = len(box.faces)
    np.savez(
        tmp_path / "train_box.npz",
        V=np.asarray(box.vertices, np.float32),
        F=np.asarray(box.faces, np.int32),
        P=np.zeros(faces, np.int64),
        C=np.full((faces, 3), 0.5, np.float32),
    )
    library = Library(tmp_path, is_held_out=False)
    for seed in range(6):
        mesh = group(np.random.default_rng(seed), library)
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-4)
        assert mesh.colors is not None
        assert len(mesh.colors) == len(mesh.faces) == len(mesh.parts)
        assert mesh.faces.max() == len(mesh.vertices) - 1


def test_merging_keeps_every_texture_with_its_faces() -> None:
    rng = np.random.default_rng(0)
    face = np.array([[0, 1, 2]], np.int32)
    corner = np.eye(3, dtype=np.float32)
    part = np.zeros(1, np.int64)

    def textured(value: int) -> Mesh:
        return Mesh(
            corner,
            face,
            part,
            np.ones((1, 3), np.float32),
            np.zeros((1, 3, 2), np.float32),
            np.zeros(1, np.int8),
            (np.full((2, 2, 3), value, np.uint8),),
        )

    mesh = merged(rng, [textured(10), Mesh(corner, face, part), textured(20)])
    assert mesh.images is not None
    assert mesh.images.tolist() == [0, -1, 1]
    assert [int(t[0, 0, 0]) for t in mesh.textures] == [10, 20]
    assert mesh.parts.tolist() == [0, 1, 2]
    assert mesh.faces.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
