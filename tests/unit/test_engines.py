from dataclasses import replace

import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.contracts import SceneShaping
from image_to_mesh.inference.engines import object as object_engine
from image_to_mesh.inference.engines import scene as scene_engine
from image_to_mesh.inference.engines.upright import steadied_up, world_from_camera
from image_to_mesh.inference.errors import CutOutError
from image_to_mesh.inference.surface.relief import smoothed
from image_to_mesh.inference.surface.topology import is_watertight
from image_to_mesh.inference.texture.raster import depth_buffer


def no_stage(_name):
    return lambda share: None


def egg(up=(0.0, -1.0, 0.0), radius=0.8):
    """What a perfect network would say about a ball in the lower right of a picture."""
    view = CropView.of(PinholeCamera(500, 400, 600.0), 220.0, 140.0, 260.0)
    rays = view.crop_rays(128).astype(np.float64)
    centre = np.array([0, 0, view.distance])
    a, b = (rays**2).sum(-1), rays @ centre
    root = b * b - a * (centre @ centre - radius**2)
    mask = root > 0
    root = np.sqrt(np.maximum(root, 0))
    front, back = (b - root) / a - view.distance, (b + root) / a - view.distance
    normals = (rays * (front + view.distance)[..., None] - centre) / radius
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    fine = np.kron(mask, np.ones((2, 2))).astype(np.float32)
    colour = np.full((256, 256, 3), [0.8, 0.3, 0.2], np.float32)
    return object_engine.Observation(
        view,
        front.astype(np.float32),
        back.astype(np.float32),
        normals.astype(np.float32),
        np.array(up, np.float32),
        fine,
        colour,
    )


def triangles_of(mesh):
    starts = np.concatenate([[0], np.cumsum(mesh.face_sizes)[:-1]])
    parts = []
    for corner in (2, 3):
        faces = starts[mesh.face_sizes > corner]
        parts.append(np.stack([mesh.corners[faces + k] for k in (0, corner - 1, corner)], axis=1))
    return np.concatenate(parts)


def seen_through(mesh, camera, scale=1.0):
    """Depth buffer of a mesh through its own camera."""
    rotation, place = camera.matrix[:3, :3], camera.matrix[:3, 3]
    points = (mesh.positions - place) @ rotation
    width, height = round(camera.width * scale), round(camera.height * scale)
    focal = width / 2 / np.tan(camera.fov_x / 2)
    pixels = points[:, :2] / points[:, 2:] * focal + [width / 2, height / 2]
    faces = triangles_of(mesh)
    return depth_buffer(
        pixels[faces].astype(np.float32), points[faces][..., 2].astype(np.float32), width, height
    )


def volume(mesh):
    a, b, c = (mesh.positions[triangles_of(mesh)[:, i]].astype(np.float64) for i in range(3))
    return float((np.cross(a, b) * c).sum()) / 6


@pytest.fixture(scope="module")
def ball():
    return object_engine.build_object(egg(), "low", 256, 2.0, no_stage)


def test_a_ball_becomes_a_closed_ball_on_the_floor(ball):
    mesh = ball.mesh
    assert is_watertight(mesh.corners, mesh.face_sizes)
    low, high = mesh.positions.min(0), mesh.positions.max(0)
    assert (high - low).max() == pytest.approx(2.0, rel=1e-3)
    assert (high - low).min() > 1.8
    assert high[1] == pytest.approx(0, abs=1e-5)
    assert np.allclose((low + high)[[0, 2]], 0, atol=1e-5)
    assert volume(mesh) == pytest.approx(np.pi / 6 * 8, rel=0.12)


def test_the_camera_sees_the_ball_where_the_picture_does(ball):
    seen = np.isfinite(seen_through(ball.mesh, ball.camera))
    observation = egg()
    v = observation.view
    y, x = np.mgrid[0:400, 0:500] + 0.5
    column = ((x - v.x0) / v.side * 256).astype(int)
    row = ((y - v.y0) / v.side * 256).astype(int)
    within = (column >= 0) & (column < 256) & (row >= 0) & (row < 256)
    truth = within & (observation.mask[row.clip(0, 255), column.clip(0, 255)] > 0.5)
    overlap = (seen & truth).sum() / (seen | truth).sum()
    assert overlap > 0.95


def test_the_texture_has_the_picture_everywhere(ball):
    colour = ball.material.base_color.reshape(-1, 3)
    assert np.abs(colour - np.array([204, 76, 51])).max() <= 3


def test_more_detail_means_more_faces():
    few = object_engine.build_object(egg(), "low", 256, 1.0, no_stage)
    many = object_engine.build_object(egg(), "medium", 256, 1.0, no_stage)
    assert len(many.mesh.face_sizes) > 2 * len(few.mesh.face_sizes)


def test_an_empty_cut_out_is_a_sentence():
    observation = egg()
    observation.mask[:] = 0
    with pytest.raises(CutOutError, match="paint a mask"):
        object_engine.build_object(observation, "low", 256, 1.0, no_stage)


def test_cancel_in_every_stage():
    names = []
    object_engine.build_object(egg(), "low", 256, 1.0, lambda n: names.append(n) or no_stage(n))
    assert len(names) == 4

    class Stop(Exception):
        pass

    def stopper(stop_at):
        def stage(name):
            def report(_share):
                if name == stop_at:
                    raise Stop

            return report

        return stage

    for name in names:
        with pytest.raises(Stop):
            object_engine.build_object(egg(), "low", 256, 1.0, stopper(name))


def test_a_tilted_camera_is_set_upright():
    pitch = np.radians(30)
    up = np.array([0, -np.cos(pitch), -np.sin(pitch)])  # the camera looks down by 30 degrees
    rotation = world_from_camera(up, np.array([0, 0, 1.0]))
    assert np.allclose(rotation @ up, [0, -1, 0])
    assert np.allclose(rotation @ rotation.T, np.eye(3))
    assert np.linalg.det(rotation) == pytest.approx(1)
    looking = rotation @ [0, 0, 1]
    assert np.allclose(looking, [0, np.sin(pitch), np.cos(pitch)])


@pytest.mark.parametrize("axis", [(0, 0, 1), (0.3, 0.2, 0.9)])
def test_small_tilts_are_taken_as_level_and_large_ones_kept(axis):
    axis = np.array(axis, float) / np.linalg.norm(axis)
    right = np.cross([0, 1, 0], axis)
    right /= np.linalg.norm(right)
    above = -np.cross(axis, right)
    for degrees, expected in ((3, 0), (-3, 0), (34, 30), (-24, -20)):
        angle = np.radians(degrees)
        steady = steadied_up(np.cos(angle) * above - np.sin(angle) * axis, axis)
        assert np.degrees(np.arcsin(-(steady @ axis))) == pytest.approx(expected, abs=1e-3)
        assert np.linalg.norm(steady) == pytest.approx(1)
    assert steadied_up(np.array([0, 1.0, 0]), axis)[1] < 0


def wall_with_box():
    depth = np.full((48, 64), 6.0, np.float32)
    depth[20:40, 20:40] = 2
    pixels = np.full((240, 320, 3), 90, np.uint8)
    pixels[100:200, 100:200] = [250, 40, 10]
    return pixels, depth


def make_scene(is_solid, fills_behind=True, fill=None, shift=None, **changes):
    pixels, depth = wall_with_box()
    camera = PinholeCamera(320, 240, 300.0)
    up = np.array([0, -1, 0], np.float32)
    return scene_engine.build_scene(
        scene_engine.SceneSight(pixels, depth, up, camera),
        "low",
        1024,
        4.0,
        SceneShaping(is_solid=is_solid, fills_behind=fills_behind, **changes),
        lambda share: None,
        fill=fill,
        shift=shift,
    )


def depths(result):
    """Of the vertices before the camera."""
    world = np.c_[result.mesh.positions, np.ones(len(result.mesh.positions))]
    return (world @ np.linalg.inv(result.camera.matrix).T)[:, 2]


def test_a_scenes_depth_range_keeps_every_vertex_on_its_ray():
    plain = make_scene(is_solid=False)
    for depth_range, ratio in ((0.0, 1.0), (0.5, 3**0.5), (1.5, 3**1.5)):
        result = make_scene(is_solid=False, shift=plain.shift, depth_range=depth_range)
        span = depths(result)
        assert span.max() / span.min() == pytest.approx(ratio, rel=0.03)
        np.testing.assert_array_equal(result.camera.matrix, plain.camera.matrix)
        seen = seen_through(result.mesh, result.camera)
        assert np.isfinite(seen).mean() > 0.93


def test_a_scenes_cut_threshold_says_which_jumps_are_cut():
    whole = make_scene(is_solid=False, fills_behind=False, cut_threshold=9.0)
    assert len(whole.mesh.face_sizes) == 191 * 143
    corners = whole.mesh.corners.reshape(-1, 4)
    assert np.ptp(depths(whole)[corners], axis=1).max() > 2.0  # bridged
    cut = make_scene(is_solid=False, fills_behind=False)
    corners = cut.mesh.corners.reshape(-1, 4)
    assert np.ptp(depths(cut)[corners], axis=1).max() < 1.0


def test_smoothing_calms_slopes_and_leaves_jumps():
    rng = np.random.default_rng(1)
    depth = np.full((40, 60), 2.0, np.float32)
    depth[:, 30:] = 4.0
    noisy = depth * (1 + 0.01 * rng.standard_normal(depth.shape)).astype(np.float32)
    calm = smoothed(noisy, 10)
    assert np.std(calm[:, :30]) < 0.3 * np.std(noisy[:, :30])
    assert calm[:, 29].max() < 2.1
    assert calm[:, 30].min() > 3.9
    np.testing.assert_array_equal(smoothed(noisy, 0), noisy)


def test_a_scene_is_cut_at_the_jump_and_overlays_the_picture():
    result = make_scene(is_solid=False)
    seen = seen_through(result.mesh, result.camera)
    assert np.isfinite(seen).mean() > 0.93
    near = np.isfinite(seen) & (seen < 2.4)
    colour = wall_with_box()[0][..., 0] > 170
    assert (near & colour).sum() / (near | colour).sum() > 0.9
    edges = result.mesh.positions[triangles_of(result.mesh)]
    assert np.ptp(edges[..., 2], axis=1).max() < 1.5
    assert np.median(seen[np.isfinite(seen)]) == pytest.approx(4.0, rel=0.05)


@pytest.mark.parametrize("fills_behind", [False, True])
def test_uvs_of_a_scene_are_the_pixels(fills_behind):
    result = make_scene(is_solid=False, fills_behind=fills_behind)
    mesh, camera = result.mesh, result.camera
    points = (mesh.positions - camera.matrix[:3, 3]) @ camera.matrix[:3, :3]
    focal = 160 / np.tan(camera.fov_x / 2)
    x = points[:, 0] / points[:, 2] * focal / 320 + 0.5
    y = points[:, 1] / points[:, 2] * focal / 240 + 0.5
    height = len(result.material.base_color)
    expected = np.stack([x, 1 - y * 240 / height], axis=1)[mesh.corners]
    wrong = np.abs(mesh.corner_uvs - expected).max(axis=1) > 1e-3
    assert (height > 240) == fills_behind
    assert wrong.mean() < (0.2 if fills_behind else 0.03)  # behind the box, and at its edge
    assert (wrong & (mesh.corner_uvs[:, 1] > 1 - 240 / height + 1e-3)).mean() < 0.03


def test_what_is_painted_behind_is_the_wall_and_not_the_box():
    result = make_scene(is_solid=False)
    picture, _ = wall_with_box()
    painted = result.material.base_color[240:]
    assert len(painted) > 60
    assert (painted[..., 0] > 170).mean() < 0.03  # the box's colour, at its rim
    assert np.abs(painted.mean((0, 1)) - picture[:20].mean((0, 1))).max() < 25


def test_a_network_may_paint_what_is_behind_and_sees_nothing_of_the_box():
    picture, _ = wall_with_box()
    shown = []

    def fill(pixels, hole):
        shown.append(np.where(hole[..., None], 0, pixels))
        return np.where(hole[..., None], np.uint8([0, 255, 0]), pixels)

    result = make_scene(is_solid=False, fill=fill)
    painted = result.material.base_color[240:].astype(int)
    is_green = (painted[..., 1] > 200) & (painted[..., 0] < 60)
    assert is_green.mean() > 0.05
    assert all((pixels[..., 0] > 170).mean() < 0.01 for pixels in shown)
    assert all((pixels[..., 0] == picture[0, 0, 0]).any() for pixels in shown)
    assert np.array_equal(result.material.base_color[:240], picture)
    without = make_scene(is_solid=False, fill=lambda pixels, hole: None)
    assert np.array_equal(
        without.material.base_color, make_scene(is_solid=False).material.base_color
    )


def test_a_solid_scene_is_closed_and_textured_all_round():
    mesh = make_scene(is_solid=True).mesh
    assert is_watertight(mesh.corners, mesh.face_sizes)
    assert volume(mesh) > 0
    assert mesh.corner_uvs.min() >= 0
    assert mesh.corner_uvs.max() <= 1
    starts = np.cumsum(mesh.face_sizes) - mesh.face_sizes
    quads = starts[mesh.face_sizes == 4][:, None] + np.arange(4)
    uv = mesh.corner_uvs[quads]
    d, e = uv[:, 2] - uv[:, 0], uv[:, 3] - uv[:, 1]
    assert (np.abs(d[:, 0] * e[:, 1] - d[:, 1] * e[:, 0]) > 1e-9).mean() > 0.99


def test_a_guess_that_is_far_too_deep_is_held_back():
    deep = egg()
    pole = np.zeros_like(deep.mask)
    pole[30:226, 120:136] = 1
    flat = np.zeros_like(deep.front)
    facing = np.zeros_like(deep.normals) - np.float32([0, 0, 1])
    deep = replace(deep, mask=pole, front=flat, back=flat + 1.5, normals=facing)
    mesh = object_engine.build_object(deep, "low", 256, 1.0, no_stage).mesh
    extent = np.ptp(mesh.positions, axis=0)
    assert extent[2] < 3 * extent[0]
