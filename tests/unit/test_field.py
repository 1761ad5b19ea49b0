import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.field.integrate import fuse_depth_and_normals
from image_to_mesh.inference.field.outline import local_width, tilt_at_rim
from image_to_mesh.inference.field.two_sided import (
    TwoSidedSurface,
    nearest_inside,
    signed_pixels,
    solid_from_two_sides,
)


def view(x0=100.0, y0=60.0, side=300.0):
    return CropView.of(PinholeCamera(640, 480, 800.0), x0, y0, side)


def sphere_sides(crop_view, size, radius=0.8):
    """Front and back depth, normals and mask of a sphere in the middle of the crop."""
    rays = crop_view.crop_rays(size).astype(np.float64)
    centre = np.array([0, 0, crop_view.distance])
    a, b = (rays**2).sum(-1), rays @ centre
    root = b * b - a * (centre @ centre - radius**2)
    mask = root > 0
    root = np.sqrt(np.maximum(root, 0))
    front, back = (b - root) / a, (b + root) / a
    normals = (rays * front[..., None] - centre) / radius
    normals /= np.linalg.norm(normals, axis=-1, keepdims=True)
    return front - crop_view.distance, back - crop_view.distance, normals, mask


def test_crop_view_and_camera_agree():
    v = view()
    points = np.random.default_rng(0).normal(size=(50, 3)).astype(np.float32)
    points[:, 2] += v.distance
    assert np.allclose(v.to_view(v.to_camera(points)), points, atol=1e-5)
    assert np.allclose(v.rotation @ v.rotation.T, np.eye(3), atol=1e-12)
    assert np.linalg.det(v.rotation) == pytest.approx(1)
    pixels = v.camera.project(v.to_camera(points))
    again = v.camera.rays(pixels) * v.to_camera(points)[:, 2:]
    assert np.allclose(again, v.to_camera(points), atol=1e-4)
    middle = v.crop_coordinates(np.array([[0, 0, v.distance]], np.float32), 64)
    assert np.allclose(middle, 32, atol=1e-3)
    edge = v.crop_coordinates(np.array([[1, 0, v.distance]], np.float32), 64)
    assert edge[0, 0] == pytest.approx(64, abs=2.5)


def test_two_sides_of_a_sphere_give_back_the_sphere():
    v = view()
    front, back, _, mask = sphere_sides(v, 128)
    inside = nearest_inside(mask)
    surface = TwoSidedSurface(
        front.ravel()[inside].astype(np.float32),
        back.ravel()[inside].astype(np.float32),
        mask.astype(np.float32),
    )
    field = solid_from_two_sides(surface, v, 64, lambda share: None)
    angles = np.random.default_rng(1).normal(size=(500, 3))
    outward = (angles / np.linalg.norm(angles, axis=1, keepdims=True)).astype(np.float32)
    centre = np.array([0, 0, v.distance], np.float32)
    error = field.query(centre + 0.8 * outward).distance
    assert np.abs(error).mean() < 0.02
    assert (field.query(centre + 0.6 * outward).distance < 0).all()
    assert (field.query(centre + 1.0 * outward).distance > 0).all()
    slope = field.gradient(centre + 0.8 * outward)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    assert np.median((slope * outward).sum(1)) > 0.97


def test_a_slab_gets_round_sides_and_a_closed_border():
    v = view()
    mask = np.zeros((128, 128), np.float32)
    mask[30:98, 30:98] = 1
    surface = TwoSidedSurface(
        np.full((128, 128), -0.1, np.float32), np.full((128, 128), 0.1, np.float32), mask
    )
    field = solid_from_two_sides(surface, v, 64, lambda share: None)
    assert (field.distance[0] > 0).all()
    assert (field.distance[:, :, -1] > 0).all()
    solid = field.distance < 0
    thickness = solid.sum(axis=2)
    middle = thickness.shape[0] // 2
    profile = thickness[:, thickness.shape[1] // 2]
    edge = np.flatnonzero(profile)[0]
    assert profile[edge] < 0.75 * profile[middle]


@pytest.mark.parametrize("surety", [1.0, 0.0])
def test_sides_and_steps_are_as_sharp_as_they_are_sure(surety):
    v = view()
    mask = np.zeros((128, 128), np.float32)
    mask[32:96, 32:96] = 1
    front = np.full((32, 32), -0.1, np.float32)
    front[:, 16:] = -0.5  # the right half is thicker
    sides = TwoSidedSurface(front, np.full((32, 32), 0.1, np.float32), mask, surety)
    field = solid_from_two_sides(sides, v, 128, lambda share: None)

    def is_solid(across, depth):
        z = v.distance + depth
        point = np.array([[across * z / v.distance, 0, z]], np.float32)
        return field.query(point).distance[0] < 0

    # Just behind the front's plane: flat up to the outline where sure, rounded off where not.
    assert is_solid(-0.3, -0.08)
    assert is_solid(-0.48, -0.08) == (surety == 1)
    # Beside the step, nearly at the near half's front and nearly at the far half's.
    assert is_solid(0.025, -0.47) == (surety == 1)
    assert is_solid(-0.025, -0.14) == (surety == 0)


def test_normals_sharpen_a_blurred_depth():
    v = view()
    front, _, normals, mask = sphere_sides(v, 96)
    truth = front + v.distance
    inner = mask & (normals[..., 2] < -0.35)
    wave = 0.03 * np.sin(np.arange(96) / 3.0)
    noisy = (truth + wave[None, :]).astype(np.float32)
    better = fuse_depth_and_normals(
        np.where(inner, noisy, v.distance).astype(np.float32),
        normals.astype(np.float32),
        inner,
        v.crop_rays(96),
        lambda: None,
    )

    def roughness(depth):
        return np.abs(np.diff(depth - truth, axis=1)[:, 1:])[inner[:, 2:] & inner[:, :-2]].mean()

    assert roughness(better) < 0.5 * roughness(noisy)
    assert np.abs(better - truth)[inner].mean() < np.abs(noisy - truth)[inner].mean()


def test_cancel_reaches_the_loops():
    class Stop(Exception):
        pass

    def stop(*_):
        raise Stop

    v = view()
    front, back, normals, mask = sphere_sides(v, 64)
    surface = TwoSidedSurface(
        front.astype(np.float32), back.astype(np.float32), mask.astype(np.float32)
    )
    with pytest.raises(Stop):
        solid_from_two_sides(surface, v, 32, stop)
    with pytest.raises(Stop):
        fuse_depth_and_normals(
            (front + v.distance).astype(np.float32),
            normals.astype(np.float32),
            mask,
            v.crop_rays(64),
            stop,
        )


def test_grid_query_is_exact_on_a_plane():
    x = np.arange(6, dtype=np.float32)
    grid = np.broadcast_to(x[:, None, None] * 0.5 - 1, (6, 5, 4)).copy()
    field = GridField(grid, np.array([1, 2, 3], np.float32), 0.5)
    points = np.array([[1.3, 2.2, 3.1], [2.9, 3.0, 4.0], [-5, 2, 3]], np.float32)
    assert np.allclose(field.query(points).distance, [-0.7, 0.9, -1.0], atol=2e-3)
    assert np.allclose(field.gradient(points[:1]), [[1, 0, 0]], atol=1e-3)
    assert np.allclose(field.bounds.low, [1, 2, 3])
    assert np.allclose(field.bounds.high, [3.5, 4, 4.5])


def test_local_width_of_a_cross_is_that_of_each_bar():
    mask = np.zeros((200, 200), bool)
    mask[20:180, 80:120] = True
    mask[95:105, 10:190] = True
    width = local_width(mask)
    assert width[40:60, 85:115].min() == pytest.approx(40, abs=4)
    assert width[60, 81] == pytest.approx(40, abs=8)
    assert width[97:103, 30:60].max() == pytest.approx(10, abs=2)
    assert width[~mask].max() == 0
    assert local_width(np.zeros((9, 9), bool)).max() == 0


def test_the_shades_of_a_slanting_edge_leave_no_steps():
    y, x = np.mgrid[:64, :64] + 0.5
    truth = (x - 30 - y / 9) / np.hypot(1, 1 / 9)
    mask = np.clip(truth + 0.5, 0, 1).astype(np.float32)
    near = (np.abs(truth) < 1) & (y > 6) & (y < 58)
    error = signed_pixels(mask) - truth
    assert np.abs(error[near]).max() < 0.35
    stepped = signed_pixels((mask > 0.5).astype(np.float32)) - truth
    assert error[near].std() < 0.8 * stepped[near].std()


def test_a_ball_turns_away_at_its_rim_and_a_board_does_not():
    y, x = (np.mgrid[:128, :128] + 0.5) / 64 - 1
    silhouette = (0.7 - np.hypot(x, y)).astype(np.float32)
    z = np.sqrt(np.maximum(0.49 - x * x - y * y, 1e-3))
    ball = (np.dstack([x, y, -z]) / 0.7).astype(np.float32)
    board = np.zeros((128, 128, 3), np.float32)
    board[..., 2] = -1
    rim = (silhouette > 0) & (silhouette < 0.2)
    assert (tilt_at_rim(ball, silhouette)[rim] > 0.7).all()
    assert np.abs(tilt_at_rim(board, silhouette)).max() == 0
