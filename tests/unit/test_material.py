"""The maps beside the base colour: occlusion, light, tangent-space normals."""

import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.surface.nets import surface_nets
from image_to_mesh.inference.texture import (
    charts,
    delight,
    material,
    occlusion,
    pack,
    project,
    surface_map,
    tangent,
)

VIEW = CropView.of(PinholeCamera(400, 400, 700.0), 60.0, 60.0, 280.0)


def ball(size=40, radius=0.8):
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, size)] * 3, indexing="ij"), -1)
    positions, quads = surface_nets((np.linalg.norm(index, axis=-1) - radius).astype(np.float32))
    positions = positions * np.float32(2 / (size - 1)) - 1
    positions[:, 2] += VIEW.distance
    return positions.astype(np.float32), quads


@pytest.fixture(scope="module")
def scene():
    positions, quads = ball()
    atlas = pack.pack_charts(charts.cut_into_charts(positions, quads), 512, 2)
    return positions, quads, atlas, surface_map.map_surface(quads, atlas)


def test_a_ball_is_open_and_the_bottom_of_a_well_is_not():
    rng = np.random.default_rng(0)
    unit = rng.normal(size=(6000, 3)).astype(np.float32)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    spacing = float(np.sqrt(4 * np.pi / 6000))
    assert occlusion.ambient_occlusion(unit, unit, spacing).min() > 0.9

    # A floor of radius 1 inside of a wall of height 2: from the middle, the sky is seen within
    # atan(1 / 2) of straight up, and its cosine-weighted share is the squared sine of that.
    step = 0.05
    x, z = np.meshgrid(np.arange(-1, 1, step), np.arange(-1, 1, step))
    inside = np.hypot(x, z) < 1
    floor = np.stack([x[inside], 0 * x[inside], z[inside]], axis=1)
    angle, height = np.meshgrid(np.arange(0, 2 * np.pi, step), np.arange(0, 2, step))
    wall = np.stack([np.cos(angle), -height, np.sin(angle)], axis=-1).reshape(-1, 3)
    points = np.concatenate([floor, wall]).astype(np.float32)
    inward = np.concatenate([np.tile([0.0, -1.0, 0.0], (len(floor), 1)), -wall * [1, 0, 1]])
    found = occlusion.ambient_occlusion(points, inward.astype(np.float32), step)
    middle = np.hypot(floor[:, 0], floor[:, 2]) < 0.2
    assert found[: len(floor)][middle].mean() == pytest.approx(0.2, abs=0.07)


def test_directions_are_even():
    directions = occlusion.even_directions(64)
    assert np.allclose(np.linalg.norm(directions, axis=1), 1)
    assert np.abs(directions.mean(axis=0)).max() < 0.02
    assert np.allclose(directions.T @ directions / 64, np.eye(3) / 3, atol=0.02)


def test_srgb_and_back():
    colour = np.linspace(0, 1, 256, dtype=np.float32)
    linear = delight.linear_from_srgb(colour)
    assert linear[128] == pytest.approx(0.2159, abs=1e-3)
    np.testing.assert_allclose(delight.srgb_from_linear(linear), colour, atol=1e-5)


def lit_ball_colours(random, paint):
    """Visible normals of a ball, its paint, and the picture of it under a lamp from the upper left."""
    normals = random.normal(size=(8000, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    normals[:, 2] = -np.abs(normals[:, 2])
    light = np.exp(normals @ np.array([-0.35, -0.3, -0.1], np.float32))
    linear = delight.linear_from_srgb(paint) * light[:, None]
    return normals, light, delight.srgb_from_linear(np.clip(linear, 0, 1))


def test_light_is_found_beside_paint_and_divided_out():
    random = np.random.default_rng(0)
    paint = np.where(random.random((8000, 1)) < 0.3, [0.2, 0.3, 0.6], [0.5, 0.4, 0.3])
    paint = paint.astype(np.float32)
    normals, light, seen = lit_ball_colours(random, paint)
    shading = delight.fit_shading(seen, normals)
    error = shading.log(normals) - np.log(light)
    assert np.std(error) < 0.06
    assert shading.explained > 0.5
    clean = delight.without_light(seen, shading.log(normals), 1.0)
    before = np.abs(np.log(delight.linear_from_srgb(seen) / delight.linear_from_srgb(paint)))
    after = np.log(delight.linear_from_srgb(clean) / delight.linear_from_srgb(paint))
    after = np.abs(after - np.median(after))
    assert after.mean() < 0.35 * before.mean()


def test_taking_light_out_keeps_hue_and_does_nothing_at_strength_zero():
    random = np.random.default_rng(1)
    colour = random.random((500, 3)).astype(np.float32) * 0.8 + 0.1
    shading = random.normal(size=500).astype(np.float32) * 0.5
    np.testing.assert_allclose(delight.without_light(colour, shading, 0.0), colour, atol=1e-5)
    changed = delight.linear_from_srgb(delight.without_light(colour, shading, 0.7))
    ratio = changed / delight.linear_from_srgb(colour)
    np.testing.assert_allclose(ratio, ratio[:, :1].repeat(3, 1), rtol=1e-3)
    assert changed.max() <= 1


def test_a_flat_grey_picture_has_no_light_to_take_out():
    random = np.random.default_rng(2)
    normals = random.normal(size=(4000, 3)).astype(np.float32)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    shading = delight.fit_shading(np.full((4000, 3), 0.5, np.float32), normals)
    assert np.abs(shading.log(normals)).max() < 0.01


def test_the_meshs_own_normals_make_an_even_map(scene):
    positions, quads, atlas, surface = scene
    normals = project.vertex_normals(positions, quads)
    wanted = surface.of_vertices(normals)
    wanted /= np.linalg.norm(wanted, axis=1, keepdims=True)
    pixels = tangent.tangent_normals(surface, positions, normals, quads, atlas, wanted)
    error = np.abs(pixels[surface.covered].astype(int) - [128, 128, 255])
    assert np.percentile(error, 99.5) <= 1


def test_a_normal_map_gives_back_what_it_was_made_from(scene):
    """Decoded as a renderer does: interpolated tangent frame times the map."""
    positions, quads, atlas, surface = scene
    normals = project.vertex_normals(positions, quads)
    here = surface.of_vertices(np.concatenate([positions, normals], axis=1))
    bumps = 0.4 * np.sin(here[:, :3] * 9)
    wanted = here[:, 3:] / np.linalg.norm(here[:, 3:], axis=1, keepdims=True) + bumps
    wanted = (wanted / np.linalg.norm(wanted, axis=1, keepdims=True)).astype(np.float32)
    pixels = tangent.tangent_normals(surface, positions, normals, quads, atlas, wanted)
    local = pixels.reshape(-1, 3).astype(np.float32) / 255 * 2 - 1
    along = surface.of_corners(tangent.corner_tangents(positions, normals, quads, atlas.uvs))
    decoded = along * local[:, :1] + np.cross(here[:, 3:], along) * local[:, 1:2]
    decoded += here[:, 3:] * local[:, 2:]
    decoded /= np.linalg.norm(decoded, axis=1, keepdims=True)
    cosine = (decoded * wanted).sum(axis=1)[surface.covered.ravel()]
    assert np.degrees(np.arccos(np.clip(np.percentile(cosine, 1), -1, 1))) < 2


def test_a_fine_mesh_lends_its_normals():
    positions, quads = ball(64)
    positions = positions - np.array([0, 0, VIEW.distance], np.float32)
    ask = tangent.normals_of_mesh(positions, project.vertex_normals(positions, quads))
    points = np.random.default_rng(0).normal(size=(2000, 3)).astype(np.float32)
    points /= np.linalg.norm(points, axis=1, keepdims=True)
    cosine = (ask(points * np.float32(0.8)) * points).sum(axis=1)
    assert np.degrees(np.arccos(cosine.min())) < 4
    assert (ask(points * np.float32(0.2)) == 0).all()


def make(scene, colour, **finish):
    positions, quads, atlas, _ = scene
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    inside = ((0.78 - np.hypot(x, y)) * 64).astype(np.float32)
    return material.make_material(
        positions, quads, atlas, VIEW, colour.astype(np.float32), inside, lambda share: None,
        finish=material.Finish(**finish),
    )  # fmt: skip


def test_a_ball_in_plain_light_has_even_open_maps(scene):
    maps = make(scene, np.full((128, 128, 3), 0.5))
    assert maps.occlusion.min() > 215
    assert maps.roughness == material.MATT
    assert maps.metallic == 0
    assert maps.normal is None
    assert np.abs(maps.base_color.astype(int) - 128).max() <= 2


def test_delight_moves_the_base_colour_towards_even(scene):
    shade = np.linspace(0.3, 0.8, 128)[:, None, None] * np.ones((128, 128, 3))
    as_seen, even = make(scene, shade), make(scene, shade, delight=1.0)
    assert even.base_color.std() < 0.6 * as_seen.base_color.std()


def test_small_pale_highlights_make_it_glossier(scene):
    y, x = np.mgrid[-1:1:128j, -1:1:128j]
    spot = np.hypot(x + 0.2, y + 0.2) < 0.08
    colour = np.where(spot[..., None], 0.97, np.array([0.35, 0.1, 0.1]))
    assert make(scene, colour).roughness < material.MATT - 0.05


def test_relief_follows_the_pictures_fine_brightness(scene):
    stripes = 0.5 + 0.2 * np.sign(np.sin(np.arange(128) * 0.8))[None, :, None] * np.ones(
        (128, 128, 3)
    )
    flat, ribbed = make(scene, stripes), make(scene, stripes, relief=1.0)
    assert flat.normal is None
    assert ribbed.normal[..., 0].std() > 5
    assert ribbed.normal[..., 2].min() > 128


def test_flat_colours_are_a_drawing_and_shaded_ones_are_not():
    inside = np.full((64, 64), 20, np.float32)
    flat = np.where(np.arange(64)[:, None, None] < 30, (0.9, 0.3, 0.2), (0.1, 0.4, 0.8))
    flat = np.broadcast_to(flat, (64, 64, 3)).astype(np.float32)
    shade = np.linspace(0.3, 1, 64 * 64).reshape(64, 64, 1)
    assert delight.drawn(flat, inside) == 1
    assert delight.drawn((flat * shade).astype(np.float32), inside) == 0


def test_a_drawing_keeps_its_dark_paint_behind(scene):
    """A dark lower half in flat colour is paint, not shadow, and is as dark from behind."""
    light, dark = 0.8, 0.4
    colour = np.full((128, 128, 3), light)
    colour[64:] = dark
    base = make(scene, colour).base_color / 255
    positions, quads, _, surface = scene
    assert base.shape[0] == len(surface.covered) * surface.factor
    texels = base[:: surface.factor, :: surface.factor].reshape(-1, 3)
    facing = surface.of_vertices(project.vertex_normals(positions, quads))[:, 2]
    height = surface.of_vertices(positions)[:, 1]
    behind = surface.covered.ravel() & (facing > 0.5)
    assert np.median(texels[behind & (height > 0.2)]) == pytest.approx(dark, abs=0.03)
    assert np.median(texels[behind & (height < -0.2)]) == pytest.approx(light, abs=0.03)
