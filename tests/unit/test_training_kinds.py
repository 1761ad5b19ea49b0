"""Vehicles, plants, stones, devices and soft things that the network learns from."""

import numpy as np
import pytest

trimesh = pytest.importorskip("trimesh")

from training.shapes.devices import appliance, computer, device, guitar, held, soft, worn  # noqa: E402
from training.shapes.grown import cactus, grown, mushroom, potted, shells, stones, tree  # noqa: E402
from training.shapes.vehicles import aeroplane, boat, car, robot, two_wheeler  # noqa: E402


@pytest.mark.parametrize("make", [car, aeroplane, boat, two_wheeler, robot])
def test_each_vehicle_is_one_closed_body_of_several_parts(make) -> None:
    for seed in range(2):
        mesh = make(np.random.default_rng(seed))
        body = trimesh.Trimesh(mesh.vertices, mesh.faces, process=False)
        assert body.is_watertight
        assert body.volume > 0.005
        assert np.linalg.norm(mesh.vertices, axis=1).max() == pytest.approx(1, abs=1e-4)
        assert mesh.parts.max() >= 1


def test_a_car_is_longer_than_wide_and_stands_on_its_wheels() -> None:
    for seed in range(2):
        mesh = car(np.random.default_rng(seed))
        flat = mesh.vertices[:, :2] - mesh.vertices[:, :2].mean(0)
        spread = np.sqrt(np.linalg.eigvalsh(flat.T @ flat / len(flat)))
        assert spread[1] > 1.3 * spread[0]
        low = mesh.vertices[:, 2] < mesh.vertices[:, 2].min() + 0.02
        assert np.ptp(flat[low], axis=0).max() > 0.5  # on more than one spot


@pytest.mark.parametrize(
    "make",
    [
        computer,
        appliance,
        held,
        worn,
        soft,
        guitar,
        potted,
        tree,
        cactus,
        mushroom,
        stones,
        shells,
    ],
)
def test_every_piece_is_closed_and_its_faces_look_outwards(make) -> None:
    for seed in range(6):
        for piece in make(np.random.default_rng(seed)):
            assert piece.is_watertight, seed
            assert piece.volume > 0, seed


@pytest.mark.parametrize("pick", [device, grown])
def test_a_seed_gives_the_same_thing_twice(pick) -> None:
    a, b = (pick(np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(a.vertices, b.vertices)
    assert len(a.parts) == len(a.faces)
    assert np.linalg.norm(a.vertices, axis=1).max() == pytest.approx(1, abs=1e-4)
