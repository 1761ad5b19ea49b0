"""Several pictures become one surface: reading, cameras, depth, fusion, texture."""

from __future__ import annotations

import struct
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.errors import ImageToMeshError, PictureError, RunCancelled
from image_to_mesh.inference.views import geometry
from image_to_mesh.inference.views.cameras import (
    colmap_child,
    colmap_files,
    estimate,
    pinhole,
    turntable,
)
from image_to_mesh.inference.views.cameras import (
    source as cameras,
)
from image_to_mesh.inference.views.contracts import (
    KnownView,
    Lens,
    Photo,
    Pose,
    Solved,
    SparsePoints,
    View,
    ViewsRequest,
)
from image_to_mesh.inference.views.depth import stereo
from image_to_mesh.inference.views.photos import gather, judge, video
from image_to_mesh.inference.views.placement import region, upright
from image_to_mesh.inference.views.surface import fusion, measuring
from image_to_mesh.inference.views.texture import paint, visibility

COUNT = 12


def silent(*_arguments: object) -> None:
    pass


def as_view(shot: synthetic.Shot, name: str = "a", *, masked: bool = True) -> View:
    height, width = shot.mask.shape
    camera = CameraArrays(shot.matrix, shot.fov_x, width, height)
    mask = shot.mask.astype(np.float32) / 255 if masked else None
    return View(name, shot.pixels, mask, None, camera, None)


def photo(pixels: np.ndarray, name: str = "a.png", **changes: object) -> Photo:
    return replace(Photo(name, pixels, None, None, None, "g"), **changes)


@pytest.fixture(scope="module")
def shots() -> list[synthetic.Shot]:
    return synthetic.orbit(COUNT, 96, (18.0, -14.0))


@pytest.fixture(scope="module")
def orbit_folder(shots, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("orbit") / "cube"
    synthetic.write_orbit(folder, shots)
    return folder


# --- reading ------------------------------------------------------------------------------------


def test_pictures_come_in_natural_order_with_their_masks(orbit_folder, shots):
    found = gather.gather(ViewsRequest(inputs=(orbit_folder,)), silent)
    assert [p.name for p in found.photos] == [f"shot{i}.png" for i in range(COUNT)]
    for read, shot in zip(found.photos, shots, strict=True):
        np.testing.assert_array_equal(read.pixels, shot.pixels)
        np.testing.assert_allclose(read.mask, shot.mask / 255, atol=1e-6)


def test_bad_pictures_are_left_out_with_a_sentence_each(tmp_path, shots):
    paths = synthetic.write_orbit(tmp_path / "set", shots[:4], masks=False)
    folder = paths[0].parent
    (folder / "broken.jpg").write_bytes(b"\xff\xd8\xff no picture")
    cv2.imwrite(str(folder / "blank.png"), np.full((96, 96, 3), 128, np.uint8))
    cv2.imwrite(str(folder / "copy.png"), cv2.resize(shots[1].pixels[..., ::-1], (160, 160)))
    soft = cv2.GaussianBlur(synthetic.shoot(synthetic.camera_at(80, 20, 3.0)).pixels, (0, 0), 4)
    cv2.imwrite(str(folder / "soft.png"), soft[..., ::-1])
    found = gather.gather(ViewsRequest(inputs=(folder,)), silent)
    used = {p.name for p in found.photos}
    # Of the two alike the first in the list stays, which is the copy.
    assert used == {"copy.png", "shot0.png", "shot2.png", "shot3.png", "soft.png"}
    statuses = found.statuses
    assert not statuses["broken.jpg"].is_used
    assert "one even colour" in statuses["blank.png"].sentence
    same = [s for s in statuses.values() if "shows the same as" in s.sentence]
    assert len(same) == 1
    assert not same[0].is_used
    assert statuses["soft.png"].is_used
    assert "blurred" in statuses["soft.png"].sentence


def test_a_folder_of_nothing_is_refused(tmp_path):
    with pytest.raises(PictureError, match="no pictures and no video"):
        gather.gather(ViewsRequest(inputs=(tmp_path,)), silent)


def test_photos_of_a_memory_card_are_found_and_what_cannot_be_read_is_told(tmp_path, shots):
    deep = tmp_path / "card" / "DCIM" / "100PHONE"
    deep.mkdir(parents=True)
    for index in (2, 10):
        cv2.imwrite(str(deep / f"IMG_{index}.JPG"), shots[index].pixels[..., ::-1])
    (deep / "IMG_2.DNG").write_bytes(b"the raw file of the same photo")
    (deep / "IMG_11.HEIC").write_bytes(b"a photo that we cannot read")
    found = gather.gather(ViewsRequest(inputs=(tmp_path / "card",)), silent)
    assert [p.name for p in found.photos] == ["IMG_2.JPG", "IMG_10.JPG"]
    assert "convert it to JPEG" in found.statuses["IMG_11.HEIC"].sentence
    assert "IMG_2.DNG" not in found.statuses
    with pytest.raises(PictureError, match=r"IMG_11.HEIC is a HEIC file"):
        gather.gather(ViewsRequest(inputs=(deep / "IMG_11.HEIC",)), silent)


def test_masks_are_found_by_every_habit(tmp_path):
    pixels = synthetic.shoot(synthetic.camera_at(0, 20, 3.0)).pixels
    mask = np.zeros((96, 96), np.uint8)
    mask[20:60] = 255
    for name, place in (("a.png", "a_mask.png"), ("b.jpg", "masks/b.jpg.png")):
        folder = tmp_path / name[0]
        (folder / "masks").mkdir(parents=True)
        cv2.imwrite(str(folder / name), pixels)
        cv2.imwrite(str(folder / place), mask)
        found = gather.gather(ViewsRequest(inputs=(folder,)), silent)
        assert [p.name for p in found.photos] == [name]
        assert found.photos[0].mask is not None
        np.testing.assert_array_equal(found.photos[0].mask > 0.5, mask > 0)
        without = gather.gather(ViewsRequest(inputs=(folder,), masks="none"), silent)
        assert without.photos[0].mask is None


def write_video(path: Path, frames: list[np.ndarray]) -> None:
    height, width = frames[0].shape[:2]
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 10, (width, height))
    assert writer.isOpened()
    for frame in frames:
        writer.write(frame[..., ::-1])
    writer.release()


@pytest.fixture(scope="module")
def clip(tmp_path_factory) -> Path:
    """The camera stands still, then moves; every third frame is blurred."""
    frames = [synthetic.shoot(synthetic.camera_at(0, 20, 3.0), 160).pixels] * 6
    for step in range(24):
        frame = synthetic.shoot(synthetic.camera_at(2.5 * step, 20, 3.0), 160).pixels
        frames.append(cv2.GaussianBlur(frame, (0, 0), 3) if step % 3 == 1 else frame)
    path = tmp_path_factory.mktemp("clip") / "walk.avi"
    write_video(path, frames)
    return path


def test_frames_are_sharp_and_spread_along_the_way(clip):
    frames, _ = video.pick_frames(clip, 8, 160, silent)
    assert 5 <= len(frames) <= 8
    numbers = [round(frame.seconds * 10) for frame in frames]
    assert sum(number < 6 for number in numbers) <= 1  # where the camera stood still
    assert not any(number >= 6 and (number - 6) % 3 == 1 for number in numbers)
    assert numbers[-1] >= 24


def test_a_broken_frame_does_not_end_the_job(clip, tmp_path):
    data = bytearray(clip.read_bytes())
    starts = [i for i in range(len(data) - 4) if data[i : i + 3] == b"\xff\xd8\xff"]
    for start in starts[10:13]:
        data[start : start + 400] = bytes(400)
    torn = tmp_path / "torn.avi"
    torn.write_bytes(bytes(data))
    frames, _ = video.pick_frames(torn, 6, 160, silent)
    assert len(frames) >= 4
    found = gather.gather(ViewsRequest(inputs=(torn,), max_frames=6), silent)
    assert len(found.photos) >= 4
    assert len({p.group for p in found.photos}) == 1


def test_a_file_that_is_no_video_is_told(tmp_path):
    path = tmp_path / "walk.mp4"
    path.write_bytes(b"nothing of the kind" * 50)
    with pytest.raises(PictureError, match="cannot be read as a video"):
        gather.gather(ViewsRequest(inputs=(path,)), silent)


def test_different_views_are_not_taken_for_copies(shots):
    looks = [judge.look_at(shot.pixels) for shot in shots]
    assert judge.same_as(looks) == [None] * len(shots)
    brighter = np.clip(shots[3].pixels.astype(int) + 12, 0, 255).astype(np.uint8)
    assert judge.same_as([*looks, judge.look_at(brighter)])[-1] == 3


# --- cameras from files -------------------------------------------------------------------------


def test_a_shaken_picture_is_blurred_and_a_dim_or_plain_one_is_not(shots):
    pixels = [shot.pixels for shot in shots[:6]]
    shake = np.zeros((9, 9), np.float32)
    shake[4] = 1 / 9
    pixels.append(np.asarray(cv2.filter2D(shots[6].pixels, -1, shake), np.uint8))
    pixels.append((shots[7].pixels * 0.4).astype(np.uint8))
    plain = shots[8].pixels.copy()
    plain[:60] = 200
    pixels.append(plain)
    found = judge.blurred([judge.look_at(picture) for picture in pixels])
    assert found.tolist() == [False] * 6 + [True, False, False]


def test_cameras_of_a_transforms_file(orbit_folder, shots):
    request = ViewsRequest(inputs=(orbit_folder,))
    found = gather.gather(request, silent)
    solved = cameras.solve_cameras(request, found, silent)
    assert solved.origin == "transforms.json"
    assert len(solved.poses) == COUNT
    for index, shot in enumerate(shots):
        pose = solved.poses[f"shot{index}.png"]
        np.testing.assert_allclose(pose.matrix, synthetic._Z_UP @ shot.matrix, atol=1e-9)
        assert pose.lens.focal_x == pytest.approx(48 / np.tan(shot.fov_x / 2))


def write_colmap(folder: Path, shots: list[synthetic.Shot], *, binary: bool) -> None:
    """The format as COLMAP documents it, with one SIMPLE_RADIAL camera and two points."""
    folder.mkdir(parents=True)
    focal = 48 / np.tan(shots[0].fov_x / 2)
    rows = []
    for shot in shots:
        rotation = shot.matrix[:3, :3].T
        translation = -rotation @ shot.matrix[:3, 3]
        w = np.sqrt(max(0.0, 1 + np.trace(rotation))) / 2
        values, vectors = np.linalg.eig(rotation)
        axis = np.real(vectors[:, np.argmin(np.abs(values - 1))])
        angle = 2 * np.arccos(np.clip(w, -1, 1))
        skew = np.array(
            [
                rotation[2, 1] - rotation[1, 2],
                rotation[0, 2] - rotation[2, 0],
                rotation[1, 0] - rotation[0, 1],
            ]
        )
        axis = axis * (np.sign(axis @ skew) or 1.0)
        rows.append((*(np.cos(angle / 2), *(np.sin(angle / 2) * axis)), *translation))
    if not binary:
        lines = [f"1 SIMPLE_RADIAL 96 96 {focal} 48 48 0.01"]
        (folder / "cameras.txt").write_text("# head\n" + "\n".join(lines) + "\n")
        text = "# head\n"
        for index, row in enumerate(rows):
            text += f"{index + 1} {' '.join(map(str, row))} 1 shot{index}.png\n"
            text += "1.5 2.5 7 3.5 4.5 -1\n" if index else "\n"
        (folder / "images.txt").write_text(text)
        (folder / "points3D.txt").write_text(
            "# head\n7 0.1 0.2 0.3 10 20 30 0.5 1 0 2 0\n8 1 2 3 40 50 60 9.0 1 0\n"
        )
        return
    (folder / "cameras.bin").write_bytes(
        struct.pack("<Q", 1) + struct.pack("<iiQQ4d", 1, 2, 96, 96, focal, 48, 48, 0.01)
    )
    data = struct.pack("<Q", len(rows))
    for index, row in enumerate(rows):
        data += struct.pack("<I7di", index + 1, *row, 1) + f"shot{index}.png".encode() + b"\0"
        data += struct.pack("<Q", 2) + struct.pack("<ddq", 1.5, 2.5, 7) * 1
        data += struct.pack("<ddq", 3.5, 4.5, -1)
    (folder / "images.bin").write_bytes(data)
    data = struct.pack("<Q", 2)
    data += struct.pack("<QdddBBBdQ", 7, 0.1, 0.2, 0.3, 10, 20, 30, 0.5, 2) + bytes(16)
    data += struct.pack("<QdddBBBdQ", 8, 1, 2, 3, 40, 50, 60, 9.0, 1) + bytes(8)
    (folder / "points3D.bin").write_bytes(data)


@pytest.mark.parametrize("binary", [True, False])
def test_cameras_of_a_colmap_folder(tmp_path, shots, binary):
    synthetic.write_orbit(tmp_path / "set", shots[:3], cameras=False)
    write_colmap(tmp_path / "set" / "sparse" / "0", shots[:2], binary=binary)
    request = ViewsRequest(inputs=(tmp_path / "set",))
    solved = cameras.solve_cameras(request, gather.gather(request, silent), silent)
    assert solved.origin == "COLMAP folder"
    assert sorted(solved.poses) == ["shot0.png", "shot1.png"]
    assert "not part of the COLMAP reconstruction" in solved.reasons["shot2.png"]
    for index in range(2):
        pose = solved.poses[f"shot{index}.png"]
        np.testing.assert_allclose(pose.matrix, shots[index].matrix, atol=1e-6)
        assert pose.lens.distortion == (0.01, 0.0, 0.0, 0.0)
    # The second point fits too badly to be kept.
    np.testing.assert_allclose(solved.points.positions, [[0.1, 0.2, 0.3]], atol=1e-6)
    assert solved.points.colours.tolist() == [[10, 20, 30]]


def test_a_damaged_colmap_folder_is_told(tmp_path):
    for name in ("cameras.bin", "images.bin"):
        (tmp_path / name).write_bytes(b"\x05\0\0\0\0\0\0\0abc")
    with pytest.raises(PictureError, match="damaged"):
        colmap_files.read_model(tmp_path)


def test_cameras_that_are_insisted_on_must_be_there(tmp_path, shots):
    synthetic.write_orbit(tmp_path / "set", shots[:3], cameras=False)
    request = ViewsRequest(inputs=(tmp_path / "set",), cameras="existing")
    with pytest.raises(PictureError, match="No cameras were found beside"):
        cameras.solve_cameras(request, gather.gather(request, silent), silent)


def test_sides_become_cameras_around_the_thing(shots):
    pixels, mask = shots[0].pixels, np.zeros((96, 96), np.float32)
    mask[20:80, 30:60] = 1
    sides = [photo(pixels, f"{s}.png", mask=mask) for s in ("Back", "front", "left", "right")]
    solved = turntable.turntable(sides)
    ahead = {name: pose.matrix[:3, 2].round(6).tolist() for name, pose in solved.poses.items()}
    assert ahead["front.png"] == [0, 0, 1]
    assert ahead["Back.png"] == [0, 0, -1]
    assert ahead["right.png"] == [-1, 0, 0]  # Blender's view from the right looks along -x
    assert ahead["left.png"] == [1, 0, 0]
    with pytest.raises(PictureError, match="no cut-out"):
        turntable.turntable([photo(pixels)])


# --- estimation ---------------------------------------------------------------------------------


def test_one_picture_is_told_as_that_also_without_pycolmap(monkeypatch, shots):
    monkeypatch.setattr(estimate, "is_available", lambda: False)
    with pytest.raises(ImageToMeshError, match="One picture shows no depth"):
        estimate.estimate_cameras([photo(shots[0].pixels)], 0, silent)


def test_a_missing_pycolmap_is_told_in_a_sentence(monkeypatch, shots):
    monkeypatch.setattr(estimate, "is_available", lambda: False)
    with pytest.raises(ImageToMeshError, match="pycolmap is missing"):
        estimate.estimate_cameras([photo(s.pixels) for s in shots[:3]], 0, silent)


@pytest.fixture(scope="module")
def estimated():
    """Nine neighbouring pictures and one of somewhere else."""
    pytest.importorskip("pycolmap")
    shots = [synthetic.shoot(synthetic.camera_at(14 * i, 30, 3.2), 320) for i in range(9)]
    photos = [photo(shot.pixels, f"{i}.png") for i, shot in enumerate(shots)]
    other = synthetic.shoot(synthetic.camera_at(0, 80, 2.0), 320, seed=9)
    photos.append(photo(other.pixels, "elsewhere.png"))
    stages: list[str] = []
    solved = estimate.estimate_cameras(photos, 0, lambda share, stage: stages.append(stage))
    return shots, solved, stages


def test_estimated_cameras_are_those_the_pictures_were_taken_with(estimated):
    shots, solved, stages = estimated
    assert sorted(solved.poses) == [f"{i}.png" for i in range(9)]
    assert "elsewhere.png" in solved.reasons
    assert any("Placing cameras" in stage for stage in stages)
    found = np.array([solved.poses[f"{i}.png"].matrix for i in range(9)])
    true = np.array([shot.matrix for shot in shots])
    # Turns between neighbouring pictures do not depend on the world's frame.
    for a, b in zip(range(8), range(1, 9), strict=True):
        relative = found[a, :3, :3].T @ found[b, :3, :3]
        wanted = true[a, :3, :3].T @ true[b, :3, :3]
        off = np.degrees(np.arccos(np.clip((np.trace(relative.T @ wanted) - 1) / 2, -1, 1)))
        assert off < 0.5
    focal = 160 / np.tan(shots[0].fov_x / 2)
    assert solved.poses["0.png"].lens.focal_x == pytest.approx(focal, rel=0.05)
    assert len(solved.points.positions) > 200


def test_the_floor_and_the_cameras_tell_what_is_up(estimated):
    shots, solved, _ = estimated
    up = upright.up_of_cameras([pose.matrix for pose in solved.poses.values()])
    floor = upright.up_of_floor(solved.points.positions, up, 0)
    assert floor is not None
    pose = solved.poses["4.png"].matrix
    wanted = shots[4].matrix[:3, :3].T @ [0.0, -1.0, 0.0]
    for direction, most in ((up, 6.0), (floor[0], 2.0)):
        seen = pose[:3, :3].T @ direction
        assert np.degrees(np.arccos(np.clip(seen @ wanted, -1, 1))) < most


def test_estimation_ends_within_a_moment_when_cancelled(shots):
    pytest.importorskip("pycolmap")
    calls = 0

    def cancel(share: float, stage: str) -> None:
        nonlocal calls
        calls += 1
        if stage not in ("Preparing",):
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        estimate.estimate_cameras([photo(s.pixels) for s in shots[:3]], 0, cancel)
    assert calls <= 5


def test_alike_pictures_are_paired_without_a_vocabulary():
    pytest.importorskip("pycolmap")
    random = np.random.default_rng(0)
    places = random.random((4, 200, 128), np.float32)
    pictures = [
        places[i % 4][random.permutation(200)[:150]]
        + 0.05 * random.standard_normal((150, 128)).astype(np.float32)
        for i in range(12)
    ]
    pairs = colmap_child.alike(pictures, 2, 0)
    assert pairs
    assert all(a % 4 == b % 4 for a, b in pairs)


# --- geometry -----------------------------------------------------------------------------------


def test_a_lens_is_straightened():
    lens = Lens(200, 150, 180.0, 180.0, 104.0, 72.0, (-0.2, 0.05, 0.0, 0.0))
    points = np.random.default_rng(0).uniform(-0.3, 0.3, (40, 3))
    points[:, 2] += 2.0
    inner = np.array([[180.0, 0, 103.5], [0, 180.0, 71.5], [0, 0, 1]])
    seen = cv2.projectPoints(points, np.zeros(3), np.zeros(3), inner, np.array(lens.distortion))
    for spot, point in zip(seen[0][:, 0], points, strict=True):
        picture = np.zeros((150, 200, 3), np.uint8)
        cv2.circle(picture, (round(spot[0] * 16), round(spot[1] * 16)), 40, (255,) * 3, -1, shift=4)
        view = pinhole.undistorted(photo(picture), Pose(lens, np.eye(4)))
        rows, columns = np.nonzero(view.pixels[..., 0] > 128)
        where = geometry.project(view.camera, point)[0]
        np.testing.assert_allclose([columns.mean() + 0.5, rows.mean() + 0.5], where, atol=0.7)


def test_a_pinhole_stays_as_it_is(shots):
    lens = Lens(96, 96, 100.0, 100.0, 48.0, 48.0)
    view = pinhole.undistorted(photo(shots[0].pixels), Pose(lens, np.eye(4)))
    assert view.pixels is not None
    np.testing.assert_array_equal(view.pixels, shots[0].pixels)
    assert view.focal_px == pytest.approx(100.0)


def test_depth_by_plane_sweep_is_the_true_one(shots):
    near = [synthetic.shoot(synthetic.camera_at(12 * i, 20, 3.0), 128) for i in (-1, 0, 1)]
    pictures = [stereo.prepared(as_view(shot), 128) for shot in near]
    planes = stereo.depth_planes(pictures[1].camera, [pictures[0].camera], 2.0, 4.0)
    depth = stereo.sweep(pictures[1], [pictures[0], pictures[2]], planes, None, silent)
    # Plane depth is along the view axis; the rays of the truth are scaled to z = 1 as well.
    truth = near[1].depth
    known = (depth > 0) & (cv2.erode((truth > 0).astype(np.uint8), np.ones((7, 7))) > 0)
    assert known.sum() > 0.6 * (truth > 0).sum()
    error = np.abs(depth - truth)[known] / truth[known]
    assert np.median(error) < 0.004
    assert (error < 0.02).mean() > 0.9


def test_depth_that_others_contradict_is_dropped(shots):
    views = [as_view(shot) for shot in shots[:3]]
    maps = [
        stereo.DepthMap(shot.depth.astype(np.float32), view.camera)
        for shot, view in zip(shots[:3], views, strict=True)
    ]
    wrong = maps[0].depth.copy()
    wrong[40:50, 40:50] *= 0.8
    maps[0] = stereo.DepthMap(wrong, maps[0].camera)
    kept = stereo.agreeing(maps, [[1, 2], [0, 2], [0, 1]], 0.02, 1, silent)
    assert (kept[0].depth[40:50, 40:50] == 0).all()
    assert (kept[0].depth > 0).sum() > 0.3 * (maps[0].depth > 0).sum()


def test_the_hull_holds_the_cube_and_little_more(shots):
    views = [as_view(shot) for shot in shots]
    grid = fusion.Grid.over(np.array([0.9, 0.9, 0.9]), 40)
    distance = fusion.hull(views, grid, silent)
    points = grid.points(0, grid.size)
    inside = (np.abs(points) < synthetic.HALF - 0.03).all(axis=1)
    assert (distance[inside] < 0).all()
    volume = (distance < 0).sum() * grid.spacing**3
    assert 1.0 < volume < 1.9  # silhouettes leave some room at a cube's faces
    assert volume > inside.sum() * grid.spacing**3


def test_the_box_is_that_of_the_subject(shots):
    views = [as_view(shot) for shot in shots]
    up = np.array([0.0, -1.0, 0.0])
    solved = Solved({}, SparsePoints.empty(), {}, up, False, "test")
    found = region.find_region(views, solved, "auto", 0)
    assert found.kind == "object"
    assert found.has_masks
    half = found.half / found.frame.scale
    assert (half > 0.5).all()
    assert (half < 0.95).all()
    assert np.abs(found.frame.centre).max() < 0.25


def test_views_that_look_apart_are_a_place():
    views = []
    for turn in (0, 90, 180, 270):
        matrix = synthetic.camera_at(turn, 0, 0.5)
        matrix[:3, [0, 2]] *= -1  # look outwards
        camera = CameraArrays(matrix, 0.9, 64, 64)
        views.append(View(str(turn), np.zeros((64, 64, 3), np.uint8), None, None, camera, None))
    points = np.random.default_rng(0).uniform(-2, 2, (200, 3)).astype(np.float32)
    cloud = SparsePoints(points, np.zeros((200, 3), np.uint8))
    found = region.find_region(views, Solved({}, cloud, {}, None, False, "test"), "auto", 0)
    assert found.kind == "place"


def cube_mesh() -> tuple[np.ndarray, np.ndarray]:
    corners = np.array(
        [(x, y, z) for x in (-0.5, 0.5) for y in (-0.5, 0.5) for z in (-0.5, 0.5)], np.float32
    )
    faces = np.array(
        [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3), (0, 2, 6, 4)]
    )
    return corners, faces.astype(np.int32)


def test_a_face_is_seen_from_its_own_side_only():
    positions, faces = cube_mesh()
    front = as_view(synthetic.shoot(synthetic.camera_at(0, 0, 3.0)))
    above = as_view(synthetic.shoot(synthetic.camera_at(0, 60, 3.0)))
    sight = visibility.look(positions, faces, [front, above], silent)
    outward = [positions[face].mean(axis=0).tolist() for face in faces]
    seen = {tuple(np.round(o, 3)): sight.pixels[:, i] > 0 for i, o in enumerate(outward)}
    assert seen[(0, 0, -0.5)].tolist() == [True, True]
    assert seen[(0, -0.5, 0)].tolist() == [False, True]
    assert seen[(0, 0, 0.5)].tolist() == [False, False]
    assert seen[(0, 0.5, 0)].tolist() == [False, False]


def test_exposure_is_made_equal(shots):
    views = [as_view(shot) for shot in shots]
    dark = replace(views[1], pixels=(views[1].pixels * 0.7).astype(np.uint8))
    views[1] = dark
    fine = np.stack(np.meshgrid(*[np.linspace(-0.4, 0.4, 12)] * 2), axis=-1).reshape(-1, 2)
    points = np.concatenate(
        [np.insert(fine, axis, sign, axis=1) for axis in range(3) for sign in (-0.5, 0.5)]
    ).astype(np.float32)
    pixels = np.zeros((len(views), len(points)), np.float32)
    for number, view in enumerate(views):
        toward = view.camera.matrix[:3, 3]
        normal = np.where(np.abs(points) == 0.5, np.sign(points), 0)
        pixels[number] = ((toward - points) * normal).sum(axis=1) > 0.8
    gains = paint.exposure_gains(points, views, visibility.Sight(pixels), 0)
    gains -= np.median(gains, axis=0)
    assert gains[1] == pytest.approx(-np.log([0.7] * 3), abs=0.06)
    assert np.abs(np.delete(gains, 1, axis=0)).max() < 0.06


def test_seams_are_levelled_without_touching_the_rest():
    # A strip of faces, the left half seen by view 0, the right half by view 1, a step between.
    count = 12
    positions = np.arange(2 * (count + 1)).reshape(count + 1, 2)
    faces = np.array(
        [
            (positions[i, 0], positions[i + 1, 0], positions[i + 1, 1], positions[i, 1])
            for i in range(count)
        ],
        np.int32,
    )
    label = np.repeat([0, 1], count // 2).astype(np.int32)
    node, vertex, view_of = paint._nodes(faces, label)
    colour = np.where(view_of[:, None] == 0, 0.4, 0.6).repeat(3, axis=1).astype(np.float32)
    known = np.ones(len(vertex), bool)
    offset = paint.level_seams(node, vertex, view_of, colour, known, silent)
    fixed = colour + offset
    seam = [np.flatnonzero(vertex == v) for v in np.unique(vertex) if (vertex == v).sum() == 2]
    assert seam
    for a, b in seam:
        assert abs(fixed[a] - fixed[b]).max() < 0.02
    assert fixed.mean() == pytest.approx(0.5, abs=0.01)


# --- the whole way ------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def coarse():
    """A grid that suits pictures of 96 pixels."""
    kept = dict(measuring.CELLS)
    measuring.CELLS["low"] = 36
    yield
    measuring.CELLS.update(kept)


@pytest.fixture(scope="module")
def reconstruction(orbit_folder):
    request = ViewsRequest(inputs=(orbit_folder,), detail="low", texture_size=256, size_m=2.0)
    shares: list[float] = []

    def report(share: float, stage: str) -> None:
        shares.append(share)

    return engine.run(request, report), shares


def test_a_cube_comes_out_as_a_cube(reconstruction):
    result, shares = reconstruction
    assert result.is_watertight
    assert shares == sorted(shares)
    positions = result.mesh.positions
    low, high = positions.min(axis=0), positions.max(axis=0)
    assert (high - low).max() == pytest.approx(2.0, abs=1e-3)
    assert high[1] == pytest.approx(0.0, abs=1e-4)
    assert (high - low).min() > 1.75
    # The largest coordinate is the same all over a cube; over a ball it varies by 0.42.
    reach = np.abs(positions - (low + high) / 2).max(axis=1)
    assert np.percentile(reach, 95) - np.percentile(reach, 5) < 0.15
    assert all(status.is_used for status in result.statuses)
    assert len(result.views) == COUNT


def test_the_cameras_see_the_result_where_the_pictures_show_it(reconstruction, shots):
    result, _ = reconstruction
    for view, shot in zip(result.views, shots, strict=True):
        where, depth = geometry.project(view.camera, result.mesh.positions)
        assert (depth > 0).all()
        drawn = np.zeros((96, 96), np.uint8)
        for face in result.mesh.corners.reshape(-1, 4):
            cv2.fillConvexPoly(drawn, np.round(where[face] - 0.5).astype(np.int32), (1,))
        both = (drawn > 0) & (shot.mask > 127)
        either = (drawn > 0) | (shot.mask > 127)
        assert both.sum() / either.sum() > 0.93


def test_the_texture_shows_what_the_pictures_show(reconstruction, shots):
    result, _ = reconstruction
    mesh, texture = result.mesh, result.material.base_color
    sight = visibility.look(mesh.positions, mesh.corners.reshape(-1, 4), result.views[:1], silent)
    seen = np.flatnonzero(sight.pixels[0] > 0)
    middle = mesh.positions[mesh.corners.reshape(-1, 4)[seen]].mean(axis=1)
    uv = mesh.corner_uvs.reshape(-1, 4, 2)[seen].mean(axis=1)
    column = np.clip((uv[:, 0] * 256).astype(int), 0, 255)
    row = np.clip(((1 - uv[:, 1]) * 256).astype(int), 0, 255)
    painted = texture[row, column].astype(float)
    soft = cv2.GaussianBlur(shots[0].pixels, (0, 0), 1.0)
    where = geometry.project(result.views[0].camera, middle)[0].astype(int)
    pictured = soft[where[:, 1], where[:, 0]].astype(float)
    assert np.corrcoef(painted.mean(axis=1), pictured.mean(axis=1))[0, 1] > 0.75
    assert abs(painted.mean() - pictured.mean()) < 20


def test_known_cameras_keep_their_place_and_size(shots, tmp_path):
    paths = synthetic.write_orbit(tmp_path / "set", shots, cameras=False)
    moved = np.eye(4)
    moved[:3, 3] = [5.0, 1.0, 2.0]
    known = tuple(
        KnownView(path, moved @ shot.matrix, shot.fov_x)
        for path, shot in zip(paths, shots, strict=True)
    )
    result = engine.run(ViewsRequest(known=known, detail="low", texture_size=256), silent)
    middle = (result.mesh.positions.min(axis=0) + result.mesh.positions.max(axis=0)) / 2
    np.testing.assert_allclose(middle, [5.0, 1.0, 2.0], atol=0.05)
    for view, known_view in zip(result.views, known, strict=True):
        np.testing.assert_allclose(view.camera.matrix, known_view.matrix, atol=1e-6)


def test_a_run_can_be_cancelled_at_every_stage(orbit_folder):
    request = ViewsRequest(inputs=(orbit_folder,), detail="low", texture_size=256)
    for stage in ("Finding the cameras", "Carving by the outlines", "Measuring depth"):

        def cancel(share: float, name: str, stage: str = stage) -> None:
            if name == stage:
                raise RunCancelled("Cancelled")

        with pytest.raises(RunCancelled):
            engine.run(request, cancel)
