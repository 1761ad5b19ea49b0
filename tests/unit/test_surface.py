import numpy as np
import pytest
from image_to_mesh.inference.surface import nets, relief, topology


def sphere_distance(size=48, radius=17.0):
    index = np.stack(np.meshgrid(*[np.arange(size)] * 3, indexing="ij"), -1)
    return (np.linalg.norm(index - (size - 1) / 2 - 0.2, axis=-1) - radius).astype(np.float32)


def fans(quads, vertex_count):
    """Number of face fans: equal to the number of used vertices when every vertex is manifold."""
    neighbours = topology.face_neighbours(quads)
    pairs = []
    for side in range(4):
        other = neighbours[:, side]
        at = (quads[other] == quads[:, side, None]).argmax(axis=1)
        pairs.append(np.stack([np.arange(len(quads)) * 4 + side, other * 4 + at], axis=1))
    return topology.connected_components(np.concatenate(pairs), quads.size).max() + 1


def volume(positions, quads):
    a, b, c, d = (positions[quads[:, i]].astype(np.float64) for i in range(4))
    return float((np.cross(a, b) * c).sum() + (np.cross(a, c) * d).sum()) / 6


def sizes(quads):
    return np.full(len(quads), 4, np.int32)


def test_a_sphere_is_closed_outward_and_accurate():
    positions, quads = nets.surface_nets(sphere_distance())
    assert topology.is_watertight(quads.ravel(), sizes(quads))
    assert volume(positions, quads) == pytest.approx(4 / 3 * np.pi * 17**3, rel=0.01)
    radius = np.linalg.norm(positions - 23.7, axis=1)
    assert np.abs(radius - 17).max() < 0.1


@pytest.mark.parametrize("seed", range(3))
def test_even_noise_gives_a_manifold(seed):
    noise = np.random.default_rng(seed).normal(size=(24, 24, 24)).astype(np.float32)
    positions, quads = nets.surface_nets(np.pad(noise, 2, constant_values=1))
    assert topology.is_watertight(quads.ravel(), sizes(quads))
    assert len(np.unique(quads)) == len(positions)
    assert fans(quads, len(positions)) == len(positions)


def test_two_voxels_that_touch_in_a_corner_are_joined():
    grid = np.ones((6, 6, 6), np.float32)
    grid[2, 2, 2] = grid[3, 3, 3] = -1
    positions, quads = nets.surface_nets(grid)
    assert topology.is_watertight(quads.ravel(), sizes(quads))
    assert fans(quads, len(positions)) == len(positions)
    assert topology.face_components(quads, len(positions)).max() == 0


def test_nothing_inside_gives_no_faces():
    positions, quads = nets.surface_nets(np.ones((5, 5, 5), np.float32))
    assert positions.shape == (0, 3)
    assert quads.shape == (0, 4)


def test_small_parts_are_dropped():
    grid = np.minimum(sphere_distance(), np.inf)
    grid[1:3, 1:3, 1:3] = -1
    grid[0], grid[:, 0], grid[:, :, 0] = 1, 1, 1
    positions, quads = nets.surface_nets(grid)
    assert topology.face_components(quads, len(positions)).max() == 1
    kept, faces = nets.drop_small_parts(positions, quads, 0.05)
    assert topology.face_components(faces, len(kept)).max() == 0
    assert len(np.unique(faces)) == len(kept)
    assert topology.is_watertight(faces.ravel(), sizes(faces))


def test_smoothing_removes_ripples_and_keeps_the_size():
    positions, quads = nets.surface_nets(sphere_distance())
    ripples = np.random.default_rng(0).normal(scale=0.15, size=positions.shape)
    rough = (positions + ripples).astype(np.float32)
    even = nets.smooth(rough, quads, 4)
    radius = np.linalg.norm(even - 23.7, axis=1)
    assert radius.std() < 0.6 * np.linalg.norm(rough - 23.7, axis=1).std()
    assert radius.mean() == pytest.approx(17, abs=0.1)


def test_components_of_a_long_chain_and_loners():
    chain = np.stack([np.arange(0, 999), np.arange(1, 1000)], axis=1)[::-1]
    parts = topology.connected_components(chain, 1002)
    assert len(np.unique(parts[:1000])) == 1
    assert len(np.unique(parts)) == 3


def test_watertight_says_no_to_holes_and_flips():
    _, quads = nets.surface_nets(sphere_distance(24, 8))
    assert not topology.is_watertight(quads[1:].ravel(), sizes(quads[1:]))
    flipped = quads.copy()
    flipped[0] = flipped[0, ::-1]
    assert not topology.is_watertight(flipped.ravel(), sizes(flipped))
    assert not topology.is_watertight(np.empty(0, np.int32), np.empty(0, np.int32))


def rays(height, width):
    x, y = np.meshgrid(
        (np.arange(width) - width / 2) / width, (np.arange(height) - height / 2) / width
    )
    return np.stack([x, y, np.ones_like(x)], -1).astype(np.float32)


def test_a_step_is_cut_without_a_crack_and_a_floor_is_not():
    depth = np.full((40, 60), 2.0, np.float32)
    depth[:, 30:] = 5
    cut = relief.cut_relief(rays(40, 60) * depth[..., None])
    vertices, quads = cut.vertices, cut.quads
    assert len(quads) == 39 * 59  # every cell is still there
    assert np.ptp(vertices[quads][..., 2], axis=1).max() < 1e-4  # and none spans the step
    assert len(vertices) == 40 * 61
    on_screen = vertices[quads] / vertices[quads][..., 2:]
    moved = np.abs(on_screen - rays(40, 60).reshape(-1, 3)[cut.shown]).max(axis=-1)
    assert (moved > 1e-6).any(axis=1).sum() == 39  # the background's edge shows its own pixel
    assert topology.face_components(quads, len(vertices)).max() == 1
    direction = rays(40, 60)
    floor = 1.0 / np.maximum(direction[..., 1] + 0.45, 0.02)
    whole = relief.cut_relief(direction * floor[..., None].astype(np.float32))
    assert len(whole.vertices) == 40 * 60
    assert not whole.is_behind.any()


def test_a_wall_goes_on_behind_a_box_as_the_plane_it_is():
    direction = rays(60, 80)
    wall = 5 / (1 + 0.6 * direction[..., 0])  # a wall that turns away
    depth = wall.copy()
    depth[20:40, 30:50] = 2
    cut = relief.cut_relief(direction * depth[..., None].astype(np.float32), reach=8)
    hidden = np.unique(cut.quads[cut.is_behind])
    x, _, z = cut.vertices[hidden].T
    assert len(hidden) == 20 * 20 - 4 * 4  # eight grid points inwards from each side
    assert np.allclose(z + 0.6 * x, 5, atol=0.15)
    assert np.allclose(
        cut.behind[20:40, 30:50][cut.behind[20:40, 30:50] > 0],
        wall[20:40, 30:50][cut.behind[20:40, 30:50] > 0],
        rtol=0.03,
    )
    assert topology.face_components(cut.quads, len(cut.vertices)).max() == 1  # box and wall


def test_jumps_in_a_row_become_one():
    depth = np.full((40, 60), 2.0, np.float32)
    depth[:, 30:33] = [2.6, 3.4, 4.2]
    depth[:, 33:] = 5
    cut = relief.cut_relief(rays(40, 60) * depth[..., None], reach=5)
    assert np.ptp(cut.vertices[cut.quads][..., 2], axis=1).max() < 0.1
    assert topology.face_components(cut.quads, len(cut.vertices)).max() == 1


def test_an_edge_goes_where_the_colours_change():
    ramp = np.interp(np.arange(60), [0, 24, 36, 59], [2, 2, 5, 5]).astype(np.float32)
    colours = np.zeros((20, 60, 3), np.float32)
    colours[:, :28, 0] = 80
    sharp = relief.sharpen_jumps(np.tile(ramp, (20, 1)), reach=8, colours=colours)
    assert (sharp[5:15, :28] < 3).all()
    assert (sharp[5:15, 28:] > 4).all()


def test_a_blurred_edge_becomes_a_step():
    ramp = np.interp(np.arange(60), [0, 24, 36, 59], [2, 2, 5, 5]).astype(np.float32)
    sharp = relief.sharpen_jumps(np.tile(ramp, (20, 1)), reach=8)
    between = (sharp > 2.2) & (sharp < 4.8)
    assert between.sum() <= 20
    floor = np.tile(1 / np.linspace(0.2, 1, 60, dtype=np.float32), (20, 1))
    assert np.allclose(relief.sharpen_jumps(floor, reach=8)[:, 8:-8], floor[:, 8:-8])


def test_the_border_ring_goes_once_around():
    ring = relief.border_ring(4, 5)
    assert len(ring) == len(set(ring.tolist())) == 14
    assert ring[:4].tolist() == [0, 5, 10, 15]
