"""Mirrors: told from places and from things that are symmetric, and made flat."""

from __future__ import annotations

from dataclasses import replace

import cv2
import numpy as np
import pytest
import synthetic_room as room
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.views.cameras import estimate, reflections
from image_to_mesh.inference.views.cameras.mirrors import (
    Mirror,
    Sight,
    find_mirrors,
    reflected_descriptors,
    through,
    within,
)
from image_to_mesh.inference.views.contracts import Photo, SparsePoints, View
from image_to_mesh.inference.views.depth.stereo import DepthMap, unprojected
from image_to_mesh.inference.views.geometry import Frame
from image_to_mesh.inference.views.placement.region import Region
from image_to_mesh.inference.views.surface import measuring

SQUARE = Mirror(
    np.array([0.0, 0.0, -1.0]),
    np.array([[1.0, -1, 2], [-1, -1, 2], [-1, 1, 2], [1, 1, 2]]),
)


def sight_of(points, descriptors, eyes, is_seen) -> Sight:
    """Every eye sees the points that ``is_seen`` (C, N) says."""
    cameras, numbers = np.nonzero(is_seen)
    looks = np.stack([numbers, cameras], axis=1)
    return Sight(points, descriptors.astype(np.float32), eyes, looks)


@pytest.fixture
def scene():
    """A room's points, half of them reflected at z = 2, with a frame, and eyes before it."""
    random = np.random.default_rng(3)
    real = random.uniform([-1.5, -1, -1], [1.5, 1, 1], (400, 3))
    shown = real[:200] * [1, 1, -1] + [0, 0, 4] + random.normal(0, 0.002, (200, 3))
    turn = np.linspace(0, 2 * np.pi, 80, endpoint=False)
    frame = np.stack([1.5 * np.cos(turn), 1.1 * np.sin(turn), np.full(80, 2.0)], axis=1)
    points = np.concatenate([real, shown, frame])
    looks = random.integers(0, 256, (480, 128)).astype(np.float32)
    descriptors = np.concatenate([looks[:400], reflected_descriptors(looks[:200]), looks[400:]])
    descriptors += random.normal(0, 12, descriptors.shape).astype(np.float32)
    eyes = random.uniform([-0.8, -0.4, -2.5], [0.8, 0.4, -1.8], (12, 3))
    return points, descriptors, eyes


def test_a_turned_picture_has_the_turned_descriptors_of_the_picture():
    """The order of SIFT's numbers, against gradients counted here."""
    random = np.random.default_rng(0)
    patch = cv2.GaussianBlur(random.random((32, 32)).astype(np.float32), (0, 0), 2)

    def described(patch: np.ndarray) -> np.ndarray:
        down, along = np.gradient(patch)
        angle = np.round(np.arctan2(down, along) / (2 * np.pi) * 8).astype(int) % 8
        size = np.hypot(down, along)
        cells = np.zeros((4, 4, 8), np.float32)
        row, column = np.mgrid[0:32, 0:32] // 8
        np.add.at(cells, (row, column, angle), size)
        return cells.reshape(1, 128)

    turned = described(patch[::-1])
    assert np.allclose(reflected_descriptors(described(patch)), turned, atol=1e-3)
    assert not np.allclose(described(patch), turned, atol=1e-2)


def test_a_mirror_is_found_with_all_that_is_seen_in_it(scene):
    points, descriptors, eyes = scene
    found = find_mirrors(sight_of(points, descriptors, eyes, np.ones((12, 680), bool)))
    assert len(found) == 1
    mirror = found[0].mirror
    assert np.degrees(np.arccos(-mirror.normal[2])) < 0.5  # into the room
    assert mirror.offset == pytest.approx(-2.0, abs=0.01)
    is_reflection = np.zeros(680, bool)
    is_reflection[400:600] = True
    assert (found[0].reflected == is_reflection).mean() > 0.95
    assert not found[0].reflected[:400].any()


def test_a_thing_that_is_symmetric_is_no_mirror(scene):
    points, descriptors, eyes = scene
    seen = np.ones((12, 680), bool)
    # Nothing lies on the plane around: its other half is simply there.
    bare = find_mirrors(sight_of(points[:600], descriptors[:600], eyes, seen[:, :600]))
    assert bare == []
    # Cameras on both sides of the plane see both halves.
    around = np.concatenate([eyes, eyes * [1, 1, -1] + [0, 0, 4]])
    assert find_mirrors(sight_of(points, descriptors, around, np.ones((24, 680), bool))) == []


def test_a_place_without_a_mirror_has_none(scene):
    points, descriptors, eyes = scene
    descriptors[400:600] = np.random.default_rng(9).integers(0, 256, (200, 128))
    assert find_mirrors(sight_of(points, descriptors, eyes, np.ones((12, 680), bool))) == []


def test_only_ways_through_the_glass_count():
    eyes = np.array([[0.0, 0, 0], [0, 0, 0], [0, 0, 0], [0, 0, 5]])
    points = np.array([[0.0, 0, 4], [4, 0, 4], [0, 0, 1], [0, 0, 1]])
    assert through(SQUARE, eyes, points).tolist() == [True, False, False, False]
    beside = np.array([[1.2, 0.0, 2.0]])
    assert not within(SQUARE, beside)[0]
    assert within(SQUARE, beside, 1.25)[0]


def test_depth_ends_at_the_glass():
    camera = CameraArrays(np.eye(4), 2 * np.arctan(1.0), 40, 40)
    depth = np.full((40, 40), 3.0, np.float32)  # the plane z = 3, behind the glass at 2
    depth[:, :10] = 1.0  # something stands before it
    depth[0] = 0.0
    glass = reflections.glazed(DepthMap(depth, camera), (SQUARE,), is_place=False)
    assert (glass.depth[:, :10][1:] == 1.0).all()
    assert (glass.depth[0] == 0).all()
    depth[20, 20] = 0.0
    kept = reflections.glazed(DepthMap(depth, camera), (SQUARE,), is_place=False)
    assert kept.depth[20, 20] == 0  # it may be a thing before the mirror
    wall = reflections.glazed(DepthMap(depth, camera), (SQUARE,), is_place=True)
    assert wall.depth[20, 20] == pytest.approx(2.0)
    assert (wall.depth[0] == 0).all()
    z = unprojected(glass)[12:28, 12:28, 2]
    assert np.allclose(z, 2.0, atol=1e-5)
    assert (glass.depth[1:, -3:] == 3.0).all()  # beside the mirror one sees as far as before
    behind = CameraArrays(np.diag([1.0, 1, -1, 1]) @ np.diag([1.0, -1, 1, 1]), 1.0, 40, 40)
    behind.matrix[2, 3] = 5.0
    assert reflections.glazed(DepthMap(depth, behind), (SQUARE,), is_place=True).depth is depth


def test_a_mirror_moves_with_the_frame():
    turn = np.array([[0.0, -1, 0], [1, 0, 0], [0, 0, 1]])
    moved = reflections.in_frame(SQUARE, Frame(turn, np.array([0.0, 0, 1]), 2.0))
    assert moved.offset == pytest.approx(-2.0)
    assert within(moved, moved.outline.mean(axis=0)[None])[0]
    assert np.allclose(moved.outline[0], [2.0, 2.0, 2.0])


def test_a_place_with_a_mirror_has_a_wall_there():
    shots = room.walk(5, 200)
    cameras = [CameraArrays(shot.matrix, shot.fov_x, 200, 150) for shot in shots]
    views = tuple(
        View(str(i), shot.pixels, None, None, camera, None)
        for i, (shot, camera) in enumerate(zip(shots, cameras, strict=True))
    )
    corners = np.array([[x, y, z] for x in (-2, 2) for y in (-2, 1) for z in (0, 5.5)], np.float32)
    points = SparsePoints(corners.repeat(3, axis=0), np.zeros((24, 3), np.uint8))
    frame = Frame(np.eye(3), np.zeros(3), 1.0)
    half = np.array([2.2, 2.2, 2.2], np.float32)
    region = Region(frame, half, "place", views, points, None, has_masks=False)
    left, top, right, bottom = room.MIRROR
    outline = [[right, top, 2.0], [left, top, 2.0], [left, bottom, 2.0], [right, bottom, 2.0]]
    mirror = Mirror(SQUARE.normal, np.array(outline))
    off = {}
    for mirrors in ((), (mirror,)):
        measured = measuring.measure(
            replace(region, mirrors=mirrors), "low", lambda name: lambda share: None
        )
        deeper = []
        for shot, depth_map in zip(shots, measured.maps, strict=True):
            found = depth_map.depth
            true = cv2.resize(shot.depth, found.shape[::-1], interpolation=cv2.INTER_NEAREST)
            spots = unprojected(DepthMap(true, depth_map.camera)).reshape(-1, 3)
            is_glass = within(mirror, spots) & (np.abs(spots[:, 2] - 2) < 1e-3)
            seen = is_glass.reshape(found.shape) & (found > 0)
            deeper.append((found - true)[seen])
        off[len(mirrors)] = np.concatenate(deeper)
    assert np.percentile(off[0], 75) > 0.5  # what is seen is the room behind the glass
    assert off[1].max() < 0.1
    assert (np.abs(off[1]) < 0.05).sum() > 2 * (np.abs(off[0]) < 0.05).sum()


@pytest.fixture(scope="module")
def pictures() -> list[Photo]:
    shots = room.walk(6, 320) + room.turn(24, 320)
    return [
        Photo(f"{i}.png", shot.pixels, None, None, None, "phone") for i, shot in enumerate(shots)
    ]


def test_a_mirror_on_a_wall_is_told_and_its_image_left_out(pictures: list[Photo]):
    pytest.importorskip("pycolmap")
    solved = estimate.estimate_cameras(pictures, 0, lambda share, stage: None)
    assert len(solved.mirrors) == 1
    assert any(note.startswith("A mirror is seen") for note in solved.notes)
    assert "0.png shows a mirror" in solved.doubts["0.png"]
    assert len(solved.doubts) < len(pictures)  # those that look elsewhere show none
    mirror = solved.mirrors[0]
    eyes = np.broadcast_to(solved.poses["0.png"].matrix[:3, 3], solved.points.positions.shape)
    assert through(mirror, eyes, solved.points.positions.astype(float)).mean() < 0.01
    # As wide and high as the mirror is, measured by the way from the first camera to the last.
    ends = [solved.poses[f"{i}.png"].matrix[:3, 3] for i in (0, 5)]
    true = [shot.matrix[:3, 3] for shot in room.walk(6, 8)[::5]]
    metre = np.linalg.norm(ends[1] - ends[0]) / np.linalg.norm(true[1] - true[0])
    left, top, right, bottom = room.MIRROR
    reach = np.linalg.norm(mirror.outline - mirror.outline.mean(axis=0), axis=1).max() / metre
    assert reach == pytest.approx(np.hypot(right - left, bottom - top) / 2, rel=0.15)
    assert np.dot(ends[0] - mirror.outline[0], mirror.normal) / metre == pytest.approx(
        room.WALL - true[0][2], rel=0.05
    )
