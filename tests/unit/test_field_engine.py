"""From a network's field to a finished object, proved with a field whose truth is known."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.engines import triplane
from image_to_mesh.inference.engines.matching import place_in_view
from image_to_mesh.inference.errors import CutOutError, RunCancelled
from image_to_mesh.inference.field.banded import BandedField
from image_to_mesh.inference.surface.bricks import sample_near_surface
from image_to_mesh.inference.surface.contour import dual_contour
from image_to_mesh.inference.surface.topology import is_watertight
from image_to_mesh.inference.texture.raster import fragments
from torch import Tensor

WIDTH, HEIGHT, FOCAL = 240, 180, 260.0
FRONT, BACK = np.array([0.9, 0.3, 0.2]), np.array([0.1, 0.7, 0.3])


class Kettle(BandedField):
    """A body with an arm to the left and a ring to the upper right, seen from +x; z is up.

    Red towards +x, green away from it, as a network would say: a little dull.
    """

    has_colours = True

    def __init__(self, report=lambda: None):
        corner = np.full(3, 0.87, np.float32)
        super().__init__(-corner, corner, torch.device("cpu"), report)
        self.look(40)

    @property
    def portion(self) -> int:
        return 1 << 15

    def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
        x, y, z = points.T
        body = 0.3 * (torch.sqrt((x / 0.3) ** 2 + (y / 0.35) ** 2 + ((z + 0.15) / 0.4) ** 2) - 1)
        ring = torch.hypot(torch.hypot(y - 0.35, z - 0.25) - 0.2, x) - 0.07
        arm = torch.hypot(torch.hypot(x, y + 0.4), z + 0.1) - 0.15
        solid = torch.minimum(torch.minimum(body, ring), arm)
        dull = [torch.from_numpy(0.8 * c + 0.1).float() for c in (FRONT, BACK)]
        return torch.tanh(4 * solid), torch.where((x > 0)[:, None], *dull)


def triangles_of(quads):
    return np.concatenate([quads[:, [0, 1, 2]], quads[:, [0, 2, 3]]])


def rendered(points, triangles, colour, camera):
    """(H, W, 3) colours of the nearest triangle's first corners, and (H, W) what is covered."""
    depth = points[triangles][..., 2]
    nearest = np.full(camera.height * camera.width, np.inf)
    found = np.full(len(nearest), -1)
    for part in fragments(camera.project(points)[triangles], camera.width, camera.height):
        z = (part.weights * depth[part.triangle]).sum(axis=1)
        np.minimum.at(nearest, part.pixel, z)
        first = z <= nearest[part.pixel]
        found[part.pixel[first]] = part.triangle[first]
    image = np.where(found[:, None] >= 0, colour[triangles[found, 0]], 0)
    shape = (camera.height, camera.width)
    return image.reshape(*shape, 3).astype(np.float32), (found >= 0).reshape(shape)


def turned(yaw, pitch):
    cy, sy, cp, sp = np.cos(yaw), np.sin(yaw), np.cos(pitch), np.sin(pitch)
    about_y = np.array([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    return np.array([[1, 0, 0], [0, cp, -sp], [0, sp, cp]]) @ about_y


@pytest.fixture(scope="module")
def kettle() -> Kettle:
    return Kettle()


@pytest.fixture(scope="module")
def surface(kettle):
    bricks = sample_near_surface(kettle, 1.3 / 64, lambda _: None)
    return dual_contour(bricks, kettle, lambda _: None)


def photographed(surface, yaw, pitch) -> triplane.Subject:
    """A picture of the kettle by a camera that the engine does not know."""
    positions, quads = surface
    camera = PinholeCamera(WIDTH, HEIGHT, FOCAL)
    axes = triplane.AXES["triposr"]
    seen = positions @ (turned(yaw, pitch) @ axes).T + [0.12, -0.05, 2.3]
    colour = np.where(positions[:, :1] > 0, FRONT, BACK)
    rgb, mask = rendered(seen.astype(np.float32), triangles_of(quads), colour, camera)
    rows, columns = np.nonzero(mask)
    side = max(np.ptp(rows), np.ptp(columns)) / 0.85
    x0 = (columns.min() + columns.max() + 1 - side) / 2
    y0 = (rows.min() + rows.max() + 1 - side) / 2
    return triplane.Subject(rgb, mask.astype(np.float32), x0, y0, side)


def silent(_name):
    return lambda _share: None


@pytest.fixture(scope="module")
def subject(surface):
    return photographed(surface, 0.35, 0.2)


@pytest.fixture(scope="module")
def placed(kettle, subject):
    return triplane.build_from_field(kettle, "triposr", subject, "low", 256, 2.0, silent)


def test_the_object_is_closed_and_stands_on_the_floor_in_metres(placed):
    mesh = placed.result.mesh
    assert is_watertight(mesh.corners, mesh.face_sizes)
    low, high = mesh.positions.min(axis=0), mesh.positions.max(axis=0)
    assert (high - low).max() == pytest.approx(2.0, rel=1e-4)
    assert high[1] == pytest.approx(0, abs=1e-5)  # down is +y
    assert (low + high)[[0, 2]] == pytest.approx(0, abs=1e-4)


def test_its_own_camera_sees_it_where_the_picture_shows_it(placed, subject):
    result = placed.result
    world_to_camera = np.linalg.inv(result.camera.matrix)
    seen = result.mesh.positions @ world_to_camera[:3, :3].T + world_to_camera[:3, 3]
    assert (result.camera.width, result.camera.height) == (WIDTH, HEIGHT)
    camera = PinholeCamera(WIDTH, HEIGHT, WIDTH / 2 / np.tan(result.camera.fov_x / 2))
    triangles = triangles_of(result.mesh.corners.reshape(-1, 4))
    nothing = np.zeros((len(seen), 3))
    _, covered = rendered(seen.astype(np.float32), triangles, nothing, camera)
    wanted = subject.mask > 0.5
    overlap = (covered & wanted).sum() / (covered | wanted).sum()
    assert overlap > 0.94
    assert placed.overlap == pytest.approx(overlap, abs=0.04)


def test_it_is_painted_all_round(placed):
    mesh, texture = placed.result.mesh, placed.result.material.base_color / 255.0
    size = texture.shape[0]
    corners = mesh.positions[mesh.corners.reshape(-1, 4)]
    normal = np.cross(corners[:, 2] - corners[:, 0], corners[:, 3] - corners[:, 1])
    normal /= np.linalg.norm(normal, axis=1, keepdims=True)
    uv = mesh.corner_uvs.reshape(-1, 4, 2).mean(axis=1)
    row = np.clip(((1 - uv[:, 1]) * size).astype(int), 0, size - 1)
    column = np.clip((uv[:, 0] * size).astype(int), 0, size - 1)
    colour = texture[row, column]
    towards, away = colour[normal[:, 2] < -0.7], colour[normal[:, 2] > 0.7]
    assert len(towards) > 200
    assert len(away) > 200
    # The front is the picture's own colour, the back the field's, brought to the picture's range.
    assert np.median(np.abs(towards - FRONT).max(axis=1)) < 0.03
    assert np.median(np.abs(away - BACK).max(axis=1)) < 0.2


def test_the_viewer_looks_along_the_world(placed):
    forward = placed.result.camera.matrix[:3, 2]
    assert forward[0] == pytest.approx(0, abs=0.2)
    assert forward[2] > 0.9


@pytest.mark.parametrize(("yaw", "pitch"), [(0.0, 0.0), (0.5, 0.3), (-0.4, -0.15)])
def test_the_outline_tells_how_the_solid_is_turned(surface, yaw, pitch):
    subject = photographed(surface, yaw, pitch)
    view = CropView.of(PinholeCamera(WIDTH, HEIGHT, FOCAL), subject.x0, subject.y0, subject.side)
    from image_to_mesh.inference.picture.cut_out.cutout import sample_crop

    mask = sample_crop(subject.mask[..., None], subject.x0, subject.y0, subject.side, 160)[..., 0]
    axes = triplane.AXES["triposr"]
    placement = place_in_view(surface[0], axes, view, mask, lambda _: None)
    assert placement.overlap > 0.95
    true = view.rotation @ turned(yaw, pitch) @ axes
    angle = np.arccos(np.clip((np.trace(placement.rotation.T @ true) - 1) / 2, -1, 1))
    assert angle < np.radians(14)
    there = placement.to_view(surface[0])
    np.testing.assert_allclose(placement.to_solid(there), surface[0], atol=1e-5)


def test_a_known_focal_length_is_kept(kettle, subject):
    known = triplane.Subject(
        subject.rgb, subject.mask, subject.x0, subject.y0, subject.side, focal_px=FOCAL
    )
    camera = triplane.build_from_field(kettle, "triposr", known, "low", 256, 1.0, silent)
    assert camera.result.camera.fov_x == pytest.approx(2 * np.arctan(WIDTH / 2 / FOCAL))


def test_frames_of_the_networks_are_right_handed():
    for axes in triplane.AXES.values():
        np.testing.assert_allclose(axes @ axes.T, np.eye(3))
        assert np.linalg.det(axes) == pytest.approx(1)


def test_it_can_be_cancelled_in_the_middle(kettle, subject):
    def stage(_name):
        def report(share):
            if share > 0.3:
                raise RunCancelled

        return report

    with pytest.raises(RunCancelled):
        triplane.build_from_field(kettle, "triposr", subject, "low", 256, 1.0, stage)


def test_a_field_of_nothing_is_told_in_a_sentence(subject):
    class Nothing(Kettle):
        def values(self, points: Tensor) -> tuple[Tensor, Tensor]:
            return torch.ones(len(points)), torch.zeros(len(points), 3)

    with pytest.raises(CutOutError, match="nothing solid"):
        triplane.build_from_field(Nothing(), "triposr", subject, "low", 256, 1.0, silent)
