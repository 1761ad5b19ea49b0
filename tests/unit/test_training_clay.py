"""Training shapes made of rounded bodies and of planks and sticks."""

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")

from training.shapes.carved import fruit, shoe  # noqa: E402
from training.shapes.clay import Clay, block, ellipsoid, rod, side  # noqa: E402
from training.shapes.creatures import animal, head, person  # noqa: E402
from training.shapes.furniture import chair, furniture, table  # noqa: E402
from training.shapes.meshes import Mesh, joined  # noqa: E402


def solid(mesh: Mesh) -> "trimesh.Trimesh":
    return trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)


def test_a_hole_through_a_block_is_a_hole() -> None:
    clay = Clay()
    clay.add(block(np.zeros(3), [0.8, 0.8, 0.3], 0.02), np.zeros(3), 1.2, 0, 0.01)
    clay.cut(rod(np.zeros(3), 0.3, 2.0), np.zeros(3), 3.0, 1)
    mesh = clay.mesh()
    assert solid(mesh).is_watertight
    assert solid(mesh).euler_number == 0  # a torus
    drilled = mesh.vertices[np.unique(mesh.faces[mesh.parts == 1])]
    assert np.linalg.norm(drilled[:, :2], axis=1).max() < 0.5


def test_bodies_blend_and_the_volume_is_that_of_the_ball() -> None:
    clay = Clay()
    clay.add(ellipsoid(np.zeros(3), [0.9, 0.9, 0.9]), np.zeros(3), 0.9, 0, 0.05)
    clay.cut(side([0, 0, 0], [0, 0, 1]), np.zeros(3), 9.0, 1)
    half = solid(clay.mesh())
    scale = np.ptp(half.vertices[:, 0]) / 2
    assert half.volume / scale**3 == pytest.approx(2 / 3 * np.pi, rel=0.03)


def test_an_empty_lump_says_so() -> None:
    with pytest.raises(ValueError, match="left"):
        Clay().mesh()


@pytest.mark.parametrize("make", [animal, head, person, fruit, shoe])
def test_each_is_closed_and_whole(make) -> None:
    for seed in range(3):
        mesh = make(np.random.default_rng(seed))
        body = solid(mesh)
        assert body.is_watertight
        assert body.volume > 0.01
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-4)
        assert mesh.parts.min() == 0


def test_creatures_are_as_tall_as_they_were_made() -> None:
    """The box that holds the lump must not cut heads off."""
    for seed in range(4):
        mesh = animal(np.random.default_rng(seed))
        top = mesh.vertices[:, 2].max()
        corners = mesh.vertices[mesh.faces]
        is_flat = (corners[..., 2] > top - 1e-3).all(axis=1)
        assert is_flat.mean() < 0.005


@pytest.mark.parametrize("make", [table, chair])
def test_legs_reach_the_floor_and_every_piece_is_closed(make) -> None:
    for seed in range(5):
        pieces = make(np.random.default_rng(seed))
        assert all(p.is_watertight for p in pieces)
        assert len(joined(pieces).faces) == sum(len(p.faces) for p in pieces)
        lows = [p.bounds[0, 2] for p in pieces]
        assert min(lows) == pytest.approx(0, abs=0.09)


def test_furniture_of_every_kind_has_parts() -> None:
    for seed in range(12):
        mesh = furniture(np.random.default_rng(seed))
        assert mesh.parts.max() >= 1
        assert np.isfinite(mesh.vertices).all()
