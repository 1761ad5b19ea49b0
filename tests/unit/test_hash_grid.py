"""The neural field: its encoding, its fit to evidence, and what may go wrong in between."""

import numpy as np
import pytest
import torch
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.field import fit as fitting
from image_to_mesh.inference.field.evidence import Evidence, evidence_of_view, joined
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.field.hash_grid import HashGrid, HashGridNetwork, Layout
from image_to_mesh.inference.field.protocol import Bounds

SMALL = Layout(levels=3, coarsest=6, finest=24, table_bits=11, width=16)
QUICK = fitting.Effort(layout=SMALL, steps=80, batch=256, pool=3000)
BOX = Bounds(np.full(3, -1, np.float32), np.full(3, 1, np.float32))


def nothing(_share=0.0):
    return None


def ball_evidence(count=3000, radius=0.6, noise=0.0, surety=1.0, seed=0):
    random = np.random.default_rng(seed)
    normals = random.normal(size=(count, 3))
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    points = normals * (radius + random.normal(scale=noise, size=(count, 1)))
    outside = random.uniform(-1, 1, (count, 3))
    gap = np.linalg.norm(outside, axis=1) - radius
    outside, gap = outside[gap > 0.05], gap[gap > 0.05]
    colours = np.where(normals[:, :1] > 0, [[0.9, 0.1, 0.1]], [[0.1, 0.1, 0.9]])
    parts = (points, normals, np.full(count, surety), colours, outside, 0.8 * gap)
    inside = (normals[:300] * 0.2, np.full(300, 0.05))
    return Evidence(*(np.asarray(part, np.float32) for part in (*parts, *inside)))


def ball_grid(radius=0.6, side=24):
    axis = np.linspace(-1, 1, side, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    distance = np.sqrt(x * x + y * y + z * z) - np.float32(radius)
    return GridField(distance, np.full(3, -1, np.float32), float(axis[1] - axis[0]))


def on_sphere(radius, count=800, seed=5):
    direction = np.random.default_rng(seed).normal(size=(count, 3))
    return (radius * direction / np.linalg.norm(direction, axis=1, keepdims=True)).astype(
        np.float32
    )


@pytest.mark.parametrize("bits", [20, 9])
def test_the_encoding_is_continuous_and_exact_at_grid_corners(bits):
    torch.manual_seed(0)
    grid = HashGrid(Layout(levels=2, coarsest=4, finest=16, table_bits=bits))
    torch.nn.init.normal_(grid.table)
    points = torch.rand(200, 3)
    rows, weights = grid.locate(points)
    assert int(rows.max()) < len(grid.table)
    assert torch.allclose(weights.sum(-1), torch.ones(200, 2), atol=1e-5)
    here = grid.features(rows, weights)
    near = grid.features(*grid.locate(points + 1e-5))
    assert float((here - near).detach().abs().max()) < 0.01
    corner = grid.locate(torch.tensor([[0.25, 0.5, 0.75]]))
    assert float(corner[1].max(-1).values.min()) == pytest.approx(1)
    half = grid.features(rows, weights, share=0.5)
    assert torch.equal(half[:, 2:], torch.zeros_like(half[:, 2:]))
    assert torch.equal(half[:, :2], here[:, :2])


def test_without_a_base_it_starts_as_a_ball_and_with_one_as_nothing():
    torch.manual_seed(0)
    points = torch.rand(500, 3)
    for ball in (0.3, None):
        network = HashGridNetwork(Layout(width=64), ball)
        features = network.grid.features(*network.grid.locate(points))
        found = network.distance(points, features)
        if ball is None:
            assert float(found.abs().max()) < 0.01
        else:
            truth = (points - 0.5).norm(dim=1) - ball
            assert float(torch.corrcoef(torch.stack([found, truth]))[0, 1]) > 0.7


@pytest.fixture(scope="module")
def fitted():
    torch.set_num_threads(1)
    return fitting.fit(ball_evidence(), BOX, None, QUICK, "cpu", 0, nothing)


def test_a_ball_is_fitted_from_scratch(fitted):
    assert np.abs(fitted.query(on_sphere(0.6)).distance).mean() < 0.02
    assert (fitted.query(on_sphere(0.35)).distance < 0).all()
    assert (fitted.query(on_sphere(0.85)).distance > 0).mean() > 0.98


def test_its_gradient_is_the_normal_and_of_length_one(fitted):
    points = on_sphere(0.6)
    slope = fitted.gradient(points)
    assert np.median(np.linalg.norm(slope, axis=1)) == pytest.approx(1, abs=0.15)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    assert np.median((slope * points / 0.6).sum(axis=1)) > 0.98
    step = np.float32(0.04)
    moved = [
        fitted.query(points + step * e).distance - fitted.query(points - step * e).distance
        for e in np.eye(3, dtype=np.float32)
    ]
    numeric = np.stack(moved, axis=1)
    numeric /= np.linalg.norm(numeric, axis=1, keepdims=True)
    assert np.median((numeric * slope).sum(axis=1)) > 0.98


def test_colours_are_learned(fitted):
    points = on_sphere(0.6)
    colour = fitted.query(points).colour
    redness = colour[:, 0] - colour[:, 2]
    assert np.median(redness[points[:, 0] > 0.1]) > 0.15
    assert np.median(redness[points[:, 0] < -0.1]) < -0.15


def test_a_fit_is_deterministic(fitted):
    again = fitting.fit(ball_evidence(), BOX, None, QUICK, "cpu", 0, nothing)
    points = on_sphere(0.7)
    assert np.array_equal(again.query(points).distance, fitted.query(points).distance)
    before = torch.random.get_rng_state()
    other = fitting.fit(ball_evidence(), BOX, None, QUICK, "cpu", 1, nothing)
    assert torch.equal(before, torch.random.get_rng_state())
    assert not np.array_equal(other.query(points).distance, fitted.query(points).distance)


def test_a_base_is_corrected_where_there_is_evidence_and_kept_elsewhere():
    evidence = ball_evidence(radius=0.7)
    front = evidence.points[:, 2] < -0.2
    half = Evidence(
        evidence.points[front],
        evidence.normals[front],
        evidence.surety[front],
        evidence.colours[front],
        *(np.empty((0, *shape), np.float32) for shape in ((3,), (), (3,), ())),
    )
    base = ball_grid(0.6)
    field = fitting.fit(half, base.bounds, base, QUICK, "cpu", 0, nothing)
    points = on_sphere(0.7)
    seen, hidden = points[:, 2] < -0.35, points[:, 2] > 0.4
    assert np.abs(field.query(points[seen]).distance).mean() < 0.025
    assert np.abs(field.query(points[hidden]).distance - 0.1).mean() < 0.03


def test_noise_is_smoothed_where_unsure_and_kept_where_sure():
    def roughness(surety):
        evidence = ball_evidence(noise=0.03, surety=surety)
        field = fitting.fit(evidence, BOX, ball_grid(), QUICK, "cpu", 0, nothing)
        return field.query(on_sphere(0.6)).distance.std()

    assert roughness(0.05) < 0.8 * roughness(1.0)


def test_a_fit_can_be_cancelled():
    class Stop(Exception):
        pass

    def stop(share):
        if share > 0.5:
            raise Stop

    with pytest.raises(Stop):
        fitting.fit(ball_evidence(), BOX, None, QUICK, "cpu", 0, stop)


def test_less_is_tried_when_memory_does_not_suffice(monkeypatch):
    tried = []

    def attempt(evidence, bounds, base, effort, device, seed, report):
        tried.append((device, effort.batch))
        if device != "cpu" or effort.batch > 128:
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return "a field"

    monkeypatch.setattr(fitting, "_fit", attempt)
    assert fitting.fit(None, BOX, None, fitting.Effort(), "cuda", 0, nothing) == "a field"
    assert tried == [("cuda", 512), ("cuda", 256), ("cuda", 128), ("cpu", 128)]
    monkeypatch.setattr(fitting, "_fit", lambda *_: (_ for _ in ()).throw(RuntimeError("a bug")))
    with pytest.raises(RuntimeError, match="a bug"):
        fitting.fit(None, BOX, None, fitting.Effort(), "cuda", 0, nothing)


def ball_view(size=96, radius=0.6):
    view = CropView.of(PinholeCamera(400, 400, 600.0), 50.0, 50.0, 300.0)
    rays = view.crop_rays(size).astype(np.float64)
    centre = np.array([0, 0, view.distance])
    a, b = (rays**2).sum(-1), rays @ centre
    root = b * b - a * (centre @ centre - radius**2)
    mask = (root > 0).astype(np.float32)
    root = np.sqrt(np.maximum(root, 0))
    sides = [((b + sign * root) / a - view.distance).astype(np.float32) for sign in (-1, 1)]
    return view, centre, mask, *sides


def test_the_evidence_of_a_view_lies_where_it_should():
    view, centre, mask, front, back = ball_view()
    colour = np.full((96, 96, 3), 0.25, np.float32)
    found = evidence_of_view(view, front, back, mask, colour)
    radius = np.linalg.norm(found.points - centre, axis=1)
    assert np.abs(radius - 0.6).max() < 0.03
    outward = ((found.points - centre) * found.normals).sum(axis=1) / radius
    assert outward.min() > 0.85
    assert (found.points[:, 2] > centre[2]).any()
    assert (np.linalg.norm(found.outside - centre, axis=1) - 0.6 > found.clearance - 0.02).all()
    assert (0.6 - np.linalg.norm(found.inside - centre, axis=1) > found.depth).all()
    assert np.isfinite(found.colours).any()
    assert np.allclose(found.colours[np.isfinite(found.colours)], 0.25)
    twice = joined([found, found])
    assert len(twice.points) == 2 * len(found.points)


def test_a_dot_has_no_outward_side():
    view, *_ = ball_view(48)
    mask = np.zeros((96, 96), np.float32)
    mask[20:70, 40:60] = mask[8, 80] = 1
    flat = np.zeros((48, 48), np.float32)
    found = evidence_of_view(view, flat, flat + 0.2, mask, None)
    assert np.linalg.norm(found.normals, axis=1) == pytest.approx(1, abs=1e-4)
    across, down = view.crop_coordinates(found.points, 96).T
    assert not (np.hypot(across - 80.5, down - 8.5) < 3).any()
    assert (np.hypot(across - 40.0, down - 45.0) < 3).any()


def test_unsure_sides_weigh_less():
    view, _, mask, front, back = ball_view()
    sure = evidence_of_view(view, front, back, mask, None, back_surety=1.0)
    unsure = evidence_of_view(view, front, back, mask, None, back_surety=0.2)
    assert unsure.surety.sum() < 0.8 * sure.surety.sum()
    only = evidence_of_view(view, front, None, mask, None)
    assert len(only.inside) == 0
    assert len(only.points) < 0.7 * len(sure.points)
