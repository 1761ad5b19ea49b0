"""Sampling near the surface, dual contouring, parts and decimation, on shapes known exactly."""

import numpy as np
import pytest
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.field.protocol import Bounds, FieldSample
from image_to_mesh.inference.surface import contour
from image_to_mesh.inference.surface.bricks import SIDE, sample_near_surface
from image_to_mesh.inference.surface.decimate import decimate
from image_to_mesh.inference.surface.parts import keep_solid_parts, winding_number
from image_to_mesh.inference.surface.topology import face_components, is_manifold

TURN = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))[0]


def box(points, half):
    q = np.abs(points) - half
    return np.linalg.norm(np.maximum(q, 0), axis=1) + np.minimum(q.max(axis=1), 0)


def ball(points, centre, radius):
    return np.linalg.norm(points - centre, axis=1) - radius


SHAPES = {
    "torus": lambda p: np.hypot(np.hypot(p[:, 0], p[:, 1]) - 0.7, p[:, 2]) - 0.25,
    "cube": lambda p: box(p @ TURN.T, np.array([0.6, 0.5, 0.55])),
    "thin plate": lambda p: box(p @ TURN.T, np.array([0.8, 0.6, 0.03])),
    "two balls": lambda p: np.minimum(ball(p, [-0.5, 0, 0], 0.4), ball(p, [0.5, 0, 0], 0.4)),
}


class Shape:
    """A field from a formula; counts what it is asked."""

    def __init__(self, formula):
        self.formula = formula
        self.bounds = Bounds(np.full(3, -1.1, np.float32), np.full(3, 1.1, np.float32))
        self.asked = 0

    def query(self, points):
        self.asked += len(points)
        return FieldSample(self.formula(points).astype(np.float32))

    def gradient(self, points):
        p, step = points.astype(np.float64), 1e-4
        sides = [self.formula(p + d) - self.formula(p - d) for d in np.eye(3) * step]
        return (np.stack(sides, axis=1) / (2 * step)).astype(np.float32)


def extract(field, cells=64):
    bricks = sample_near_surface(field, 2.2 / cells, lambda share: None)
    return contour.dual_contour(bricks, field, lambda share: None)


def surface_points(positions, faces, count=4000, seed=0):
    random = np.random.default_rng(seed)
    share = random.dirichlet(np.ones(faces.shape[1]), count).astype(np.float32)
    return (positions[faces[random.integers(len(faces), size=count)]] * share[..., None]).sum(1)


@pytest.mark.parametrize("name", SHAPES)
def test_shapes_are_closed_manifold_and_exact(name):
    field = Shape(SHAPES[name])
    positions, quads = extract(field)
    assert is_manifold(quads)
    assert face_components(quads, len(positions)).max() == (1 if name == "two balls" else 0)
    assert field.asked < 0.45 * 64**3
    error = np.abs(SHAPES[name](surface_points(positions, quads)))
    cell = 2.2 / 64
    assert error.mean() < 0.02 * cell
    assert np.percentile(error, 99) < 0.15 * cell
    diagonals = [
        np.cross(*(positions[quads[:, k]] - positions[quads[:, 0]] for k in pair))
        for pair in ((1, 2), (2, 3))
    ]
    areas = np.linalg.norm(np.concatenate(diagonals), axis=1)
    assert areas.min() > 1e-6 * cell**2


def test_the_corners_of_a_cube_are_sharp():
    positions, _ = extract(Shape(SHAPES["cube"]))
    corners = np.array(np.meshgrid(*[[-1, 1]] * 3)).reshape(3, -1).T * [0.6, 0.5, 0.55] @ TURN
    nearest = np.linalg.norm(positions[:, None] - corners, axis=-1).min(axis=0)
    assert nearest.max() < 0.5 * 2.2 / 64
    assert np.median(nearest) < 0.2 * 2.2 / 64


@pytest.mark.parametrize("seed", range(3))
def test_even_noise_gives_a_manifold(seed):
    noise = np.random.default_rng(seed).normal(size=(20, 20, 20)).astype(np.float32)
    grid = np.pad(noise, 1, constant_values=1)
    field = GridField(grid, np.zeros(3, np.float32), 1.0)
    positions, quads = extract_lattice(field)
    assert is_manifold(quads)
    assert len(np.unique(quads)) == len(positions)


def extract_lattice(field):
    bricks = sample_near_surface(field, field.spacing, lambda share: None)
    return contour.dual_contour(bricks, field, lambda share: None)


def test_samples_that_touch_in_a_corner_are_joined():
    grid = np.ones((9, 9, 9), np.float32)
    grid[3, 3, 3] = grid[4, 4, 4] = -1
    _, quads = extract_lattice(GridField(grid, np.zeros(3, np.float32), 1.0))
    assert is_manifold(quads)


def test_a_surface_that_the_octree_misses_is_followed():
    """This field overstates its distances four times, so most cubes look empty."""
    field = Shape(lambda p: 4 * SHAPES["torus"](p))
    positions, quads = extract(field)
    assert is_manifold(quads)
    assert face_components(quads, len(positions)).max() == 0
    assert np.abs(SHAPES["torus"](positions)).max() < 0.01


def test_nothing_inside_gives_no_faces():
    positions, quads = extract(Shape(lambda p: ball(p, [0, 0, 0], -0.5)))
    assert positions.shape == (0, 3)
    assert quads.shape == (0, 4)


def test_a_shape_that_fills_its_bounds_is_closed_there():
    positions, quads = extract(Shape(lambda p: np.full(len(p), -1.0)), 16)
    assert is_manifold(quads)
    assert np.abs(positions).max() == pytest.approx(1.1, abs=0.2)


def test_bricks_give_back_what_was_sampled():
    field = Shape(SHAPES["torus"])
    bricks = sample_near_surface(field, 2.2 / 48, lambda share: None)
    random = np.random.default_rng(0)
    index = random.integers(0, np.array(bricks.table.shape) * SIDE, (2000, 3))
    truth = field.formula(bricks.origin + np.float32(bricks.spacing) * index)
    found = bricks.values(index)
    assert (np.sign(found) == np.sign(truth)).all()
    near = np.abs(truth) < bricks.spacing
    assert near.sum() > 50
    assert np.abs(found - truth)[near].max() < 1e-5


def test_dust_and_cavities_and_what_is_in_them_go():
    def formula(p):
        shell = np.maximum(ball(p, [0, 0, 0], 0.9), -ball(p, [0, 0, 0], 0.6))
        return np.minimum.reduce(
            [shell, ball(p, [0.1, 0, 0], 0.4), ball(p, [0.95, 0.95, 0.95], 0.08)]
        )

    positions, quads = extract(Shape(formula), 48)
    assert face_components(quads, len(positions)).max() == 3
    kept, faces = keep_solid_parts(positions, quads, 0.01)
    assert face_components(faces, len(kept)).max() == 0
    assert is_manifold(faces)
    assert np.abs(np.linalg.norm(kept, axis=1) - 0.9).max() < 0.01
    assert winding_number(kept, faces, np.zeros(3, np.float32)) == pytest.approx(1, abs=1e-3)
    assert winding_number(kept, faces, np.float32([2, 0, 0])) == pytest.approx(0, abs=1e-3)


@pytest.mark.parametrize("name", SHAPES)
def test_decimation_keeps_shape_edges_and_manifold(name):
    positions, quads = extract(Shape(SHAPES[name]), 48)
    fewer, faces = decimate(positions, quads, 800, lambda share: None)
    assert len(faces) <= 800
    assert is_manifold(faces)
    assert len(np.unique(faces)) == len(fewer)
    error = np.abs(SHAPES[name](surface_points(fewer, faces)))
    assert error.mean() < 0.004
    again = decimate(positions, quads, 800, lambda share: None)
    assert np.array_equal(again[0], fewer)
    assert np.array_equal(again[1], faces)


def test_decimation_keeps_chosen_vertices():
    positions, quads = extract(Shape(SHAPES["torus"]), 32)
    keep = positions[:, 2] > 0.2
    fewer, _ = decimate(positions, quads, 500, lambda share: None, keep)
    distance = np.linalg.norm(positions[keep][:, None] - fewer, axis=-1).min(axis=1)
    assert distance.max() < 1e-5


def test_decimation_of_rough_noise_stays_manifold_and_stops_in_time():
    noise = np.random.default_rng(0).normal(size=(16, 16, 16)).astype(np.float32)
    grid = np.pad(noise, 1, constant_values=1)
    positions, quads = extract_lattice(GridField(grid, np.zeros(3, np.float32), 1.0))
    fewer, faces = decimate(positions, quads, 4, lambda share: None)
    assert is_manifold(faces)
    assert len(faces) < 0.3 * 2 * len(quads)
    assert len(fewer) == len(np.unique(faces))


def test_every_stage_can_be_cancelled():
    class Stop(Exception):
        pass

    def stop(_share):
        raise Stop

    field = Shape(SHAPES["torus"])
    with pytest.raises(Stop):
        sample_near_surface(field, 2.2 / 32, stop)
    bricks = sample_near_surface(field, 2.2 / 32, lambda share: None)
    with pytest.raises(Stop):
        contour.dual_contour(bricks, field, stop)
    positions, quads = contour.dual_contour(bricks, field, lambda share: None)
    with pytest.raises(Stop):
        decimate(positions, quads, 100, stop)
