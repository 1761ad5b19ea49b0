import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.surface import topology
from image_to_mesh.inference.surface.nets import surface_nets
from image_to_mesh.inference.surface.topology import face_neighbours
from image_to_mesh.inference.texture import (
    charts,
    complete,
    crossings,
    diffuse,
    far_side,
    pack,
    project,
    raster,
    surface_map,
)

from benchmarks.quality import unwrapping


def bumpy_blob(size=56):
    """A closed mesh with overhangs, in the view frame of ``crop_view``."""
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij"), -1)
    ball = np.linalg.norm(index, axis=-1) - 0.55
    arm = np.maximum(
        np.linalg.norm(index[..., 1:] - [0.35, 0.2], axis=-1) - 0.14, np.abs(index[..., 0]) - 0.85
    )
    distance = np.minimum(ball + 0.05 * np.sin(index @ [9, 7, 11]), arm).astype(np.float32)
    positions, quads = surface_nets(distance)
    positions = positions * np.float32(2 / (size - 1)) - 1
    positions[:, 2] += crop_view().distance
    return positions.astype(np.float32), quads


def crop_view():
    return CropView.of(PinholeCamera(400, 300, 500.0), 60.0, 20.0, 250.0)


@pytest.fixture(scope="module")
def blob():
    positions, quads = bumpy_blob()
    cut = charts.cut_into_charts(positions, quads)
    return positions, quads, cut, pack.pack_charts(cut, 512, 3)


def coverage(points, width, height, inner=1e-4):
    count = np.zeros(width * height, int)
    for part in raster.fragments(points, width, height):
        within = part.weights.min(axis=1) > inner
        np.add.at(count, part.pixel[within], 1)
    return count.reshape(height, width)


def test_rasteriser_covers_what_a_point_in_triangle_test_covers():
    rng = np.random.default_rng(0)
    points = rng.uniform(-10, 50, (40, 3, 2)).astype(np.float32)
    count = coverage(points, 37, 29, inner=0)
    x, y = np.meshgrid(np.arange(37) + 0.5, np.arange(29) + 0.5)
    spots = np.stack([x, y], -1)[:, :, None]
    a, b, c = points[:, 0], points[:, 1], points[:, 2]

    def side(p, q):
        return (q - p)[:, 0] * (spots - p)[..., 1] - (q - p)[:, 1] * (spots - p)[..., 0]

    s = np.stack([side(a, b), side(b, c), side(c, a)])
    expected = ((s > 0).all(0) | (s < 0).all(0)).sum(-1)
    assert (np.abs(count - expected) > 0).mean() < 0.001


def test_barycentric_weights_reproduce_the_pixel_centre():
    points = np.random.default_rng(1).uniform(0, 40, (25, 3, 2)).astype(np.float32)
    for part in raster.fragments(points, 40, 40):
        spot = np.einsum("nk,nkc->nc", part.weights, points[part.triangle])
        assert np.allclose(spot[:, 0], part.pixel % 40 + 0.5, atol=1e-2)
        assert np.allclose(spot[:, 1], part.pixel // 40 + 0.5, atol=1e-2)


def test_depth_buffer_keeps_the_nearest_and_interpolates_in_perspective():
    square = np.array([[[0, 0], [20, 0], [0, 20]], [[20, 0], [20, 20], [0, 20]]], np.float32)
    points = np.concatenate([square, square])
    depth = np.concatenate([np.full((2, 3), 7), [[1, 3, 1], [3, 3, 1]]]).astype(np.float32)
    buffer = raster.depth_buffer(points, depth, 20, 20)
    expected = 1 / (1 + (1 / 3 - 1) * (np.arange(20) + 0.5) / 20)
    assert np.allclose(buffer, expected[None, :], rtol=1e-4)


def test_charts_keep_winding_and_fill_the_square(blob):
    _, _, cut, atlas = blob
    pixels = atlas.uvs * 512
    count = coverage(topology.split_faces(pixels), 512, 512)
    assert (count > 0).mean() > 0.45
    assert atlas.uvs.min() >= 0
    assert atlas.uvs.max() <= 1
    corner = topology.split_faces(pixels).astype(np.float64)
    first, second = corner[:, 1] - corner[:, 0], corner[:, 2] - corner[:, 0]
    assert (first[:, 0] * second[:, 1] > first[:, 1] * second[:, 0]).all()
    assert cut.count < 40


def test_no_two_triangles_of_the_atlas_overlap(blob):
    positions, quads, _, atlas = blob
    assert (
        len(unwrapping.overlapping_pairs(topology.split_faces(atlas.uvs).astype(np.float64))) == 0
    )
    triangles = topology.split_faces(quads)
    cut = charts.cut_into_charts(positions, triangles)
    packed = pack.pack_charts(cut, 512, 3)
    assert len(unwrapping.overlapping_pairs(packed.uvs.astype(np.float64))) == 0


def test_the_overlap_test_finds_overlaps_and_only_those():
    one = np.array([[0.1, 0.1], [0.5, 0.1], [0.1, 0.5]])
    other = np.array([[0.5, 0.1], [0.5, 0.5], [0.1, 0.5]])  # shares an edge
    inside = np.array([[0.15, 0.15], [0.2, 0.15], [0.15, 0.2]])
    crossing = np.array([[0.4, 0.4], [0.9, 0.45], [0.9, 0.4]])
    pairs = unwrapping.overlapping_pairs(np.stack([one, other, inside, crossing]))
    assert pairs.tolist() == [[0, 2], [1, 3]]


def spiral_ramp(turns=2.2, steps=120):
    """A closed solid ramp that winds around twice: seen from above it lies over itself."""
    angle = np.linspace(0, turns * 2 * np.pi, steps)
    ring = []
    for radius, lift in ((0.4, 0.0), (0.9, 0.0), (0.9, -0.08), (0.4, -0.08)):
        points = [radius * np.cos(angle), -0.09 * angle + lift, radius * np.sin(angle)]
        ring.append(np.stack(points, axis=1))
    positions = np.stack(ring, axis=1).reshape(-1, 3).astype(np.float32)
    at = np.arange(steps - 1)[:, None] * 4
    sides = [
        np.stack([at + k, at + (k + 1) % 4, at + 4 + (k + 1) % 4, at + 4 + k], -1) for k in range(4)
    ]
    last = (steps - 1) * 4
    caps = [[3, 2, 1, 0], [last, last + 1, last + 2, last + 3]]
    quads = np.concatenate([*(side.reshape(-1, 4) for side in sides), caps]).astype(np.int32)
    corner = positions[quads].astype(np.float64)
    volume = (np.cross(corner[:, 0], corner[:, 1]) * corner[:, 2]).sum()
    return positions, quads if volume > 0 else quads[:, ::-1].copy()


def test_a_ramp_that_winds_over_itself_is_parted():
    positions, quads = spiral_ramp()
    cut = charts.cut_into_charts(positions, quads)
    uvs = topology.split_faces(pack.pack_charts(cut, 512, 2).uvs).astype(np.float64)
    quality = unwrapping.measure_uv(topology.split_faces(positions[quads]), uvs)
    assert quality.overlaps == 0
    assert quality.flipped == 0


def test_segments_cross_unless_they_share_an_end():
    first = np.array([[0, 0], [0, 1], [1, 1], [5, 5], [0.2, 0.2]], np.float32)
    second = np.array([[1, 1], [1, 0], [2, 1], [6, 5], [0.4, 0.9]], np.float32)
    pairs = crossings.crossing_segments(first, second, np.zeros(5, np.int32))
    assert sorted(map(tuple, np.sort(pairs, axis=1).tolist())) == [(0, 1), (0, 4), (1, 4)]
    apart = np.array([0, 1, 0, 0, 2], np.int32)
    assert len(crossings.crossing_segments(first, second, apart)) == 0


def test_measures_of_a_known_map():
    square = np.array([[[0, 0, 0], [1, 0, 0], [1, 1, 0]], [[0, 0, 0], [1, 1, 0], [0, 1, 0]]])
    same = unwrapping.measure_uv(square, square[..., :2] * 0.5)
    assert (same.stretch, same.area, same.angle) == pytest.approx((1, 1, 1))
    assert (same.islands, same.filling) == (1, pytest.approx(0.25))
    wide = unwrapping.measure_uv(square, square[..., :2] * [1.0, 0.25])
    assert wide.angle == pytest.approx((4 + 1 / 4) / 2)
    assert wide.stretch == pytest.approx(np.sqrt((1 + 16) / 2 * 0.25))
    apart = square[..., :2] * 0.4 + np.array([0.0, 0.5])[:, None, None]
    assert unwrapping.measure_uv(square, apart).islands == 2


def test_charts_keep_their_distance(blob):
    _, _, cut, atlas = blob
    owner = np.full(512 * 512, -1)
    near = np.zeros(512 * 512, bool)
    for part in raster.fragments(topology.split_faces(atlas.uvs * 512), 512, 512):
        owner[part.pixel] = cut.chart[part.triangle // 2]
    grid = owner.reshape(512, 512)
    for step in (1, 2):
        for moved in (np.roll(grid, step, 0), np.roll(grid, step, 1)):
            near |= ((grid >= 0) & (moved >= 0) & (grid != moved)).ravel()
    assert near.sum() == 0


def test_texel_density_is_even(blob):
    positions, quads, _, atlas = blob
    corner = positions[quads]
    world = np.linalg.norm(
        np.cross(corner[:, 2] - corner[:, 0], corner[:, 3] - corner[:, 1]), axis=1
    )
    first, second = atlas.uvs[:, 2] - atlas.uvs[:, 0], atlas.uvs[:, 3] - atlas.uvs[:, 1]
    flat = np.abs(first[:, 0] * second[:, 1] - first[:, 1] * second[:, 0])
    density = np.sqrt(flat / world) * 512 * atlas.texel
    assert np.percentile(density, 5) > 0.4
    assert np.percentile(density, 95) < 1.05


def test_charts_are_connected(blob):
    _, quads, cut, _ = blob
    neighbours = face_neighbours(quads)
    alone = (cut.chart[neighbours] != cut.chart[:, None]).all(axis=1)
    assert alone.mean() < 0.01


def test_filling_holes_keeps_the_known_and_stays_within_its_range():
    rng = np.random.default_rng(0)
    image = rng.uniform(0.2, 0.7, (50, 70, 3)).astype(np.float32)
    known = np.zeros((50, 70), np.float32)
    known[10:20, 10:60] = 1
    image[known == 0] = 99
    filled = complete.fill_holes(np.where(known[..., None] > 0, image, 0), known)
    assert np.allclose(filled[known > 0], image[known > 0])
    assert filled.min() > 0.15
    assert filled.max() < 0.75


def drawn_disc(side=160):
    """A blue disc with a green lower half and a red spot in the middle; distances to its outline."""
    y, x = np.mgrid[-1 : 1 : side * 1j, -1 : 1 : side * 1j]
    radius = np.hypot(x, y)
    image = np.where(y[..., None] < 0.2, [0.1, 0.2, 0.8], [0.1, 0.7, 0.2]).astype(np.float32)
    image[np.hypot(x, y + 0.25) < 0.25] = [0.9, 0.1, 0.1]
    image[radius > 0.85] = [1, 1, 0]  # the background
    return image, ((0.85 - radius) * side / 2).astype(np.float32)


def test_far_side_keeps_what_reaches_the_outline_and_covers_what_does_not():
    image, inside = drawn_disc()
    behind = far_side.far_side(image, inside)
    assert np.abs(behind[40, 80] - [0.1, 0.2, 0.8]).max() < 0.1  # blue above
    assert np.abs(behind[130, 80] - [0.1, 0.7, 0.2]).max() < 0.1  # green below
    assert np.abs(behind[60, 80] - [0.1, 0.2, 0.8]).max() < 0.1  # and no red spot
    subject = inside > 3
    assert behind[subject][:, 0].max() < 0.3
    assert (behind[91, 30:130, 1] < 0.35).all()  # where blue becomes green, it does so sharply
    assert (behind[100, 30:130, 1] > 0.55).all()


def test_far_side_leaves_writing_in_front_and_takes_grain_along():
    random = np.random.default_rng(3)
    image, inside = drawn_disc(320)
    image[:] = [0.5, 0.5, 0.5]
    image += random.normal(0, 0.03, (320, 320, 1)).astype(np.float32)
    rough = far_side.far_side(image, inside)
    subject = inside > 6
    assert rough[subject].std() > 0.02
    image[158:161, 120:200] = [0.8, 0.8, 0.8]  # a line of writing
    behind = far_side.far_side(image, inside)
    assert abs(behind[158:161, 120:200].mean() - 0.5) < 0.2


def test_far_side_of_a_thread_has_its_colour():
    image = np.full((64, 64, 3), 1.0, np.float32)
    image[:, 31:33] = [0.2, 0.4, 0.6]
    inside = np.full((64, 64), -5.0, np.float32)
    inside[:, 31:33] = 0.5
    behind = far_side.far_side(image, inside)
    assert np.abs(behind[:, 31:33] - [0.2, 0.4, 0.6]).max() < 0.05


def test_painting_puts_the_picture_where_it_sees_and_the_guess_behind(blob):
    positions, quads, _, atlas = blob
    view = crop_view()
    side = 200
    where = view.crop_coordinates(positions, side)
    depth = raster.depth_buffer(
        where[topology.split_faces(quads)],
        positions[topology.split_faces(quads)][..., 2],
        side,
        side,
    )
    seen = np.isfinite(depth)
    import cv2

    inside = cv2.distanceTransform(seen.astype(np.uint8), cv2.DIST_L2, 5) - cv2.distanceTransform(
        (~seen).astype(np.uint8), cv2.DIST_L2, 5
    )
    crop = np.zeros((side, side, 3), np.float32)
    crop[..., 0] = np.linspace(0.2, 1, side)[None]
    crop[..., 1] = np.linspace(0.2, 1, side)[:, None]
    crop[~seen] = [0, 0, 1]  # background: must not appear anywhere
    texture = project.paint(positions, quads, atlas, view, crop, inside, lambda share: None)
    assert texture.shape == (512, 512, 3)
    assert texture[..., 2].max() < 40
    assert texture[..., 0].min() > 25
    corner = atlas.uvs.mean(axis=1) * 512
    colour = texture[(511.5 - corner[:, 1]).astype(int), corner[:, 0].astype(int)] / 255
    normal = charts.face_vectors(positions[quads])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    middle = positions[quads].mean(axis=1)
    spot = view.crop_coordinates(middle, side)
    expected = np.stack([0.2 + 0.8 * spot[:, 0] / side, 0.2 + 0.8 * spot[:, 1] / side], axis=1)
    front = (normal[:, 2] < -0.75) & (middle[:, 2] < view.distance - 0.3)
    assert front.sum() > 50
    assert np.abs(colour[front, :2] - expected[front]).max() < 0.06


def test_colours_spread_along_the_surface_not_through_it():
    """A thin sheet: red is known on the front's left half, blue on the back's right half."""
    x, y = np.meshgrid(np.linspace(0, 1, 40), np.linspace(0, 1, 40))
    flat = np.stack([x.ravel(), y.ravel()], axis=1)
    sheet = [np.column_stack([flat, np.full(1600, z)]) for z in (0.0, 0.01)]
    positions = np.concatenate(sheet).astype(np.float32)
    normals = np.repeat(np.array([[0, 0, -1], [0, 0, 1]], np.float32), 1600, axis=0)
    index = np.arange(1600).reshape(40, 40)
    edges = np.concatenate(
        [
            np.stack([a.ravel(), b.ravel()], 1)
            for a, b in ((index[:, 1:], index[:, :-1]), (index[1:], index[:-1]))
        ]
    )
    edges = np.concatenate([edges, edges + 1600])
    colour = np.zeros((3200, 2), np.float32)
    known = np.zeros(3200, np.float32)
    left = flat[:, 0] < 0.5
    colour[:1600][left], known[:1600][left] = [1, 0], 1
    colour[1600:][~left], known[1600:][~left] = [0, 1], 1
    found = diffuse.diffuse(positions, normals, edges, colour, known)
    assert found[:1600, 0].min() > 0.8
    assert found[1600:, 1].min() > 0.8


def test_an_unknown_ring_becomes_a_slope_between_what_it_joins():
    count = 200
    ring = np.arange(count)
    angle = 2 * np.pi * ring / count
    positions = np.stack([np.cos(angle), np.sin(angle), 0 * angle], axis=1).astype(np.float32)
    edges = np.stack([ring, np.roll(ring, -1)], axis=1)
    known = np.zeros(count, np.float32)
    known[[0, 100]] = 1
    values = np.where(ring == 100, 1.0, 0.0)[:, None].astype(np.float32)
    found = diffuse.diffuse(positions, positions, edges, values, known)[:, 0]
    assert 0.3 < found[50] < 0.7
    assert 0.3 < found[150] < 0.7
    assert found[10] < 0.35
    assert found[90] > 0.65


def test_the_surface_map_finds_the_surface_and_continues_it_beyond_the_charts(blob):
    positions, quads, _, atlas = blob
    surface = surface_map.map_surface(quads, atlas)
    assert surface.factor == 1
    points = surface.of_vertices(positions).reshape(512, 512, 3)
    uvs = topology.split_faces(atlas.uvs)
    middle = uvs.mean(axis=1) * 512
    column, row = middle[:, 0].astype(int), (512 - middle[:, 1]).astype(int)
    place = positions[topology.split_faces(quads)].mean(axis=1)
    error = np.linalg.norm(points[row, column] - place, axis=1)
    assert np.percentile(error, 99) < 3 * atlas.texel
    # Beyond a border the steps from texel to texel stay what they are inside.
    near = ~surface.covered & (np.roll(surface.covered, 1, 0) | np.roll(surface.covered, 1, 1))
    step = np.linalg.norm(points[near] - np.roll(points, 1, 1)[near], axis=1)
    assert np.percentile(step, 80) < 4 * atlas.texel


def test_a_large_texture_is_painted_from_a_smaller_map():
    assert [surface_map.map_factor(size) for size in (512, 1024, 2048, 4096, 1500, 1501)] == [
        1, 1, 2, 4, 2, 1,
    ]  # fmt: skip
    image = np.random.default_rng(0).random((20, 20, 2)).astype(np.float32)
    whole = surface_map.enlarged_rows(image, 4, 0, 20)
    assert whole.shape == (80, 80, 2)
    parts = [surface_map.enlarged_rows(image, 4, a, a + 5) for a in range(0, 20, 5)]
    np.testing.assert_allclose(np.concatenate(parts), whole, atol=1e-5)


def test_hidden_colours_of_another_source_go_where_the_picture_does_not_see(blob):
    positions, quads, _, atlas = blob
    crop = np.full((64, 64, 3), [1, 0, 0], np.float32)
    inside = np.full((64, 64), 20, np.float32)
    green = np.array([0, 1, 0], np.float32)
    texture = project.paint(
        positions, quads, atlas, crop_view(), crop, inside, lambda s: None,
        lambda points: np.broadcast_to(green, points.shape).astype(np.float32),
    )  # fmt: skip
    normal = project.vertex_normals(positions, quads)[quads].mean(axis=1)
    middle = atlas.uvs.mean(axis=1) * 512
    colour = texture[(511.5 - middle[:, 1]).astype(int), middle[:, 0].astype(int)]
    assert (colour[normal[:, 2] > 0.3] == [0, 255, 0]).all(axis=1).mean() > 0.99


def test_a_spiral_ramp_that_covers_itself_from_above_is_parted_in_the_end():
    """Three turns of a ramp, closed all round: every fold's whole chart lies over itself."""
    steps, turns = 180, 3
    angle = np.linspace(0, 2 * np.pi * turns, steps)
    section = np.array([[0.5, -0.05], [1.0, -0.05], [1.0, 0.05], [0.5, 0.05]])
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    flat = ring[:, None] * section[None, :, :1]
    depth = (0.5 * angle / (2 * np.pi))[:, None] + section[None, :, 1]
    positions = np.concatenate([flat, depth[..., None]], axis=2).reshape(-1, 3).astype(np.float32)
    first = 4 * np.arange(steps - 1)[:, None] + np.arange(4)
    ahead = 4 * np.arange(steps - 1)[:, None] + (np.arange(4) + 1) % 4
    sides = np.stack([first, ahead, ahead + 4, first + 4], axis=-1).reshape(-1, 4)
    caps = np.array([[3, 2, 1, 0], 4 * (steps - 1) + np.arange(4)])
    faces = np.concatenate([sides, caps]).astype(np.int32)
    for orientation in (faces, faces[:, ::-1].copy()):
        cut = charts.cut_into_charts(positions, orientation)
        atlas = pack.pack_charts(cut, 512, 2)
        triangles = topology.split_faces(atlas.uvs).astype(np.float64)
        assert len(unwrapping.overlapping_pairs(triangles)) == 0


def test_charts_that_only_ever_leave_as_a_whole_are_taken_apart(monkeypatch, blob):
    """What never ended: a fold test that keeps finding all faces of a chart."""
    rounds = []
    honest = charts._folded_faces

    def stubborn(faces, flat, chart, neighbours, rings):
        rounds.append(rings)
        if len(rounds) <= charts._PATIENCE + 1:
            return np.ones(len(faces), bool)
        return honest(faces, flat, chart, neighbours, rings)

    monkeypatch.setattr(charts, "_folded_faces", stubborn)
    positions, faces, _, _ = blob
    cut = charts.cut_into_charts(positions, faces)
    assert cut.count == len(faces)
    assert len(rounds) == charts._PATIENCE + 2


@pytest.mark.parametrize(("height", "overlap"), [(0.1, True), (-0.1, False), (0.0, False)])
def test_faces_that_close_over_a_gap_are_found(height, overlap):
    """The face between A, B and C has left the chart; C lies in the face above A and B, or not."""
    places = np.array([[0, 0], [1, 0], [0.5, height], [0.5, 1], [0.5, -1]], np.float32)
    faces = np.array([[0, 1, 3], [0, 4, 2], [4, 1, 2]], np.int32)
    found = charts._overlapping_sectors(
        faces, places[faces], np.zeros(3, np.int32), np.arange(5, dtype=np.int32)
    )
    assert bool(len(found)) == overlap
    apart = charts._overlapping_sectors(
        faces, places[faces], np.array([1, 0, 0], np.int32), np.arange(5, dtype=np.int32)
    )
    assert not len(apart)
