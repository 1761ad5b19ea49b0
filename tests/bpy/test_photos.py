"""Photos & Video in Blender: the list, the operator, cameras and points in the scene."""

import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import bmesh
import image_to_mesh
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays, Failed
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.errors import OutputError, PictureError
from image_to_mesh.inference.views.contracts import (
    PictureStatus,
    SparsePoints,
    View,
    ViewsReconstruction,
)
from image_to_mesh.operators import command, session
from image_to_mesh.operators.photos import batch as photo_batch
from image_to_mesh.operators.photos.reconstruct import listed_pictures, scene_views
from image_to_mesh.panels import photos as panel


@pytest.fixture
def folder(tmp_path):
    synthetic.write_orbit(tmp_path / "cup", synthetic.orbit(4, 48))
    return tmp_path / "cup"


@pytest.fixture
def stub(monkeypatch, reconstruction):
    """Stands in for the worker: two views with their files, one frame without."""
    asked = []

    def run(request, report, watch=None):
        asked.append(request)
        report(0.5, "Measuring depth")
        if any("bad" in path.name for path in request.inputs):
            raise PictureError("No two pictures overlap.")
        shots = synthetic.orbit(3, 48)
        base = reconstruction("cup", engine="views", stages=())
        paths = [*request.inputs[0].glob("images/*.png")][:2] if request.inputs else []
        views = [
            View(
                f"shot{index}.png",
                shot.pixels,
                None,
                None,
                CameraArrays(shot.matrix, shot.fov_x, 48, 48),
                paths[index] if index < len(paths) else None,
            )
            for index, shot in enumerate(shots)
        ]
        cloud = SparsePoints(
            np.array([[0, 0, 0], [1, 2, 3]], np.float32),
            np.array([[255, 0, 0], [0, 255, 0]], np.uint8),
        )
        statuses = (
            PictureStatus("shot0.png", True),
            PictureStatus("shot1.png", True, "shot1.png is blurred."),
            PictureStatus("shot3.png", False, "shot3.png does not overlap with any other picture."),
        )
        fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
        return ViewsReconstruction(**fields, views=tuple(views), points=cloud, statuses=statuses)

    monkeypatch.setattr(engine, "run", run)
    return asked


def test_a_folder_becomes_a_mesh_with_cameras_and_points(stub, folder):
    result = bpy.ops.image_to_mesh.reconstruct_views(directory=str(folder), kind="OBJECT", seed=3)
    assert result == {"FINISHED"}
    (request,) = stub
    assert request.inputs == (folder,)
    assert (request.kind, request.seed, request.size_m) == ("object", 3, 1.0)
    assert bpy.context.object.name == "cup"
    assert len(bpy.context.object.data.polygons) == 7
    collection = bpy.data.collections["cup Cameras"]
    cameras = [o for o in collection.objects if o.type == "CAMERA"]
    assert [camera.name for camera in cameras] == ["shot0.png", "shot1.png", "shot2.png"]
    assert len(bpy.data.cameras) == 3
    for camera, shot in zip(cameras, synthetic.orbit(3, 48), strict=True):
        (background,) = camera.data.background_images
        assert tuple(background.image.size) == (48, 48)
        assert camera.data.angle_x == pytest.approx(shot.fov_x, abs=1e-5)
        # OpenCV's z axis is Blender's y axis, and down is -z.
        x, y, z = shot.matrix[:3, 3]
        assert tuple(camera.matrix_world.translation) == pytest.approx((x, z, -y), abs=1e-5)
    packed = [c.data.background_images[0].image.packed_file is not None for c in cameras]
    assert packed == [False, False, True]  # only the frame has no file of its own
    points = bpy.data.objects["cup Points"]
    assert [tuple(v.co) for v in points.data.vertices] == [(0, 0, 0), (1, 3, -2)]
    assert bpy.context.scene.camera == cameras[0]
    kept = json.loads(bpy.data.objects["cup"]["image_to_mesh_pictures"])
    assert kept[2][1] is False


def test_named_files_and_a_video_are_taken_in_order(stub, folder):
    names = [{"name": "shot2.png"}, {"name": "shot0.png"}]
    bpy.ops.image_to_mesh.reconstruct_views(directory=str(folder / "images"), files=names)
    assert [path.name for path in stub[0].inputs] == ["shot2.png", "shot0.png"]
    bpy.ops.image_to_mesh.reconstruct_views(filepath=str(folder / "walk.mp4"), max_frames=12)
    assert [path.name for path in stub[1].inputs] == ["walk.mp4"]
    assert stub[1].max_frames == 12


def test_the_list_shows_what_became_of_each_picture(stub, folder):
    photos = bpy.context.scene.image_to_mesh_photos
    files = [{"name": f"shot{i}.png"} for i in (0, 1, 3)]
    bpy.ops.image_to_mesh.add_photos(directory=str(folder / "images"), files=files)
    bpy.ops.image_to_mesh.add_photos(directory=str(folder / "images"), files=files[:1])
    assert [item.name for item in photos.pictures] == ["shot0.png", "shot1.png", "shot3.png"]
    photos.kind = "PLACE"
    photos.use_size = False
    bpy.context.scene.image_to_mesh.detail = "HIGH"
    bpy.ops.image_to_mesh.reconstruct_views()
    assert (stub[0].kind, stub[0].detail, stub[0].size_m) == ("place", "high", None)
    assert [item.status for item in photos.pictures] == ["USED", "REMARK", "LEFT_OUT"]
    assert "does not overlap" in photos.pictures[2].sentence
    photos.active = 1
    bpy.ops.image_to_mesh.remove_photo()
    assert [item.name for item in photos.pictures] == ["shot0.png", "shot3.png"]
    bpy.ops.image_to_mesh.clear_photos()
    assert not photos.pictures
    with pytest.raises(RuntimeError, match="The list is empty"):
        bpy.ops.image_to_mesh.clear_photos()


def test_without_pictures_it_says_what_to_do(stub):
    with pytest.raises(RuntimeError, match="add photos or a video"):
        bpy.ops.image_to_mesh.reconstruct_views()
    photos = bpy.context.scene.image_to_mesh_photos
    with (
        bpy.context.temp_override(image_to_mesh_photos_panel=photos),
        pytest.raises(RuntimeError, match="Add photos or a video first"),
    ):
        bpy.ops.image_to_mesh.reconstruct_views()


def test_a_failure_is_told_and_leaves_nothing_behind(stub, tmp_path):
    with pytest.raises(RuntimeError, match="No two pictures overlap"):
        bpy.ops.image_to_mesh.reconstruct_views(filepath=str(tmp_path / "bad.png"))
    assert isinstance(session.last_event, Failed)
    assert not bpy.data.objects
    assert not bpy.data.cameras


def test_nothing_stays_when_blender_refuses_a_part(stub, folder, monkeypatch):
    from image_to_mesh.operators.scene import photos as builder

    def refuse(*_arguments):
        raise MemoryError

    monkeypatch.setattr(builder, "_point_object", refuse)
    with pytest.raises(RuntimeError, match="could not be added"):
        bpy.ops.image_to_mesh.reconstruct_views(directory=str(folder))
    assert not bpy.data.objects
    assert not bpy.data.cameras
    assert not bpy.data.meshes
    assert "cup Cameras" not in bpy.data.collections


def test_cameras_of_the_scene_are_used_where_they_are(stub, folder):
    bpy.ops.image_to_mesh.reconstruct_views(directory=str(folder))
    for camera in bpy.data.cameras:
        camera.sensor_fit = "AUTO"
    shots = synthetic.orbit(3, 48)
    views = scene_views(bpy.context.scene)
    assert len(views) == 3
    for view, shot in zip(views, shots, strict=True):
        np.testing.assert_allclose(view.matrix, shot.matrix, atol=1e-5)
        assert view.fov_x == pytest.approx(shot.fov_x, abs=1e-5)
    bpy.data.cameras[0].type = "ORTHO"
    assert len(scene_views(bpy.context.scene)) == 2
    bpy.ops.image_to_mesh.reconstruct_views(cameras="SCENE")
    assert len(stub[-1].known) == 2
    assert len(bpy.data.cameras) == 3  # those of the scene; another would be one too many next time
    assert bpy.context.object.type == "MESH"
    assert bpy.context.scene.camera.name == "shot0.png"


def test_the_panel_draws_with_and_without_pictures(stub, folder):
    class Layout:
        def __init__(self):
            self.texts = []

        def __getattr__(self, name):
            def call(*arguments, **options):
                if "text" in options:
                    self.texts.append(options["text"])
                return self

            return call

    def draw():
        layout = Layout()
        holder = type("Panel", (), {"layout": layout})()
        system = type("System", (), {"ui_scale": 1.0})()
        context = type(
            "Context",
            (),
            {
                "scene": bpy.context.scene,
                "preferences": type("P", (), {"system": system})(),
                "region": type("R", (), {"width": 900})(),
            },
        )()
        panel.IMAGE_TO_MESH_PT_photos.draw(holder, context)
        return layout.texts

    assert not any("overlap" in text for text in draw())
    files = [{"name": f"shot{i}.png"} for i in (0, 3)]
    bpy.ops.image_to_mesh.add_photos(directory=str(folder / "images"), files=files)
    bpy.ops.image_to_mesh.reconstruct_views()
    assert "shot3.png does not overlap with any other picture." in draw()
    item = bpy.context.scene.image_to_mesh_photos.pictures[0]
    layout = Layout()
    panel.IMAGE_TO_MESH_UL_photos.draw_item(None, None, layout, None, item, 0, None, "")
    assert "shot0.png" in layout.texts
    assert panel.thumbnail(str(folder / "gone.png")) == 0


def test_the_button_works_in_the_background(stub, folder, window):
    bpy.ops.image_to_mesh.add_photos(directory=str(folder))
    operator = image_to_mesh.operators.photos.reconstruct.IMAGE_TO_MESH_OT_reconstruct_views
    assert invoke(operator, {}) == {"INTERFACE"}
    assert session.is_running()
    window.settle(60.0)
    assert bpy.context.object.name == "cup"
    assert session.last_summary[0].startswith("cup: views, 7 faces")


def invoke(operator, arguments):
    """Call invoke, which Blender without a window never does: it calls execute instead."""
    original, results = operator.execute, []

    def execute(self, context):
        results.append(operator.invoke(self, context, None))
        return results[0]

    operator.execute = execute
    try:
        bpy.ops.image_to_mesh.reconstruct_views(**arguments)
    finally:
        operator.execute = original
    return results[0]


def test_images_that_are_open_in_blender_go_on_the_list(stub, folder):
    photos = bpy.context.scene.image_to_mesh_photos
    with pytest.raises(RuntimeError, match="no image and no movie"):
        bpy.ops.image_to_mesh.add_loaded_photos(choice="IMAGE gone")
    sequence = bpy.data.images.load(str(folder / "images" / "shot1.png"))
    sequence.source = "SEQUENCE"
    painted = bpy.data.images.new("painted", 8, 8)
    bpy.ops.image_to_mesh.add_loaded_photos(choice=f"IMAGE {sequence.name}")
    names = [item.name for item in photos.pictures]
    assert names == ["shot0.png", "shot1.png", "shot2.png", "shot3.png"]
    for _ in range(2):  # the second time it is there already
        bpy.ops.image_to_mesh.add_loaded_photos(choice="IMAGE painted")
    assert [item.name for item in photos.pictures] == [*names, "painted"]
    stub_inputs = listed_pictures(photos)
    assert [path.name for path in stub_inputs[:4]] == names
    assert stub_inputs[4].name == "painted"
    assert stub_inputs[4].pixels.shape == (8, 8, 4)
    bpy.data.images.remove(painted)


def test_a_known_distance_scales_the_whole_result(stub, folder):
    bpy.ops.image_to_mesh.reconstruct_views(directory=str(folder))
    result = bpy.context.object
    camera = next(o for o in bpy.data.collections["cup Cameras"].objects if o.type == "CAMERA")
    height, away = result.dimensions.z, (camera.location - result.location).length
    with pytest.raises(RuntimeError, match="Select two vertices"):
        bpy.ops.image_to_mesh.scale_to_distance(distance=2.0)
    marker = bpy.data.objects.new("marker", None)
    bpy.context.collection.objects.link(marker)
    marker.location = (0.0, 0.0, 0.5)
    bpy.context.view_layer.update()
    marker.select_set(True)
    bpy.context.scene.cursor.location = (0.0, 0.0, 0.0)
    assert bpy.ops.image_to_mesh.scale_to_distance(distance=2.0) == {"FINISHED"}
    bpy.context.view_layer.update()
    assert result.dimensions.z == pytest.approx(4 * height, rel=1e-5)
    assert (camera.location - result.location).length == pytest.approx(4 * away, rel=1e-5)
    assert tuple(marker.location) == pytest.approx((0, 0, 2.0), abs=1e-6)
    points = bpy.data.objects["cup Points"]
    assert tuple(points.matrix_world @ points.data.vertices[1].co) == pytest.approx((4, 12, -8))
    # Two vertices in Edit Mode: the box is one metre high, now four.
    bpy.context.view_layer.objects.active = result
    bpy.ops.object.mode_set(mode="EDIT")
    mesh = bmesh.from_edit_mesh(result.data)
    for vertex in mesh.verts:
        vertex.select = abs(vertex.co.x - 0.3) < 1e-4 and abs(vertex.co.y - 0.2) < 1e-4
    assert sum(vertex.select for vertex in mesh.verts) == 2
    bpy.ops.image_to_mesh.scale_to_distance(distance=1.0)
    bpy.ops.object.mode_set(mode="OBJECT")
    assert result.dimensions.z == pytest.approx(height, rel=1e-4)


def test_sets_and_clips_are_told_from_folders_of_such(tmp_path, folder):
    shots = synthetic.orbit(2, 32)
    synthetic.write_orbit(tmp_path / "many" / "one", shots)
    synthetic.write_orbit(tmp_path / "many" / "two", shots)
    (tmp_path / "many" / "walk.mp4").write_bytes(b"a clip")
    (tmp_path / "many" / "empty").mkdir()
    (tmp_path / "many" / "notes.txt").write_text("nothing")
    found = photo_batch.photo_sets(tmp_path / "many")
    assert sorted(path.name for path in found) == ["one", "two", "walk.mp4"]
    assert photo_batch.photo_sets(folder) == [folder]
    assert photo_batch.photo_sets(folder / "images") == [folder / "images"]
    with pytest.raises(OutputError, match="no photos and no videos"):
        photo_batch.photo_sets(tmp_path / "many" / "empty")


def test_sets_become_files_from_the_terminal(stub, folder, tmp_path, capsys):
    images = set(bpy.data.images)
    output = tmp_path / "out"
    arguments = ["--photos", str(folder), "-o", str(output / "x.stl"), "--subject", "thing"]
    assert command.run_cli([*arguments, "--masks", "none", "--frames", "12"]) == 0
    told = capsys.readouterr().out
    assert f"{folder} -> {output / 'x.stl'} (7 faces" in told
    assert "  A note." in told
    request = stub[0]
    assert (request.inputs, request.kind, request.masks) == ((folder,), "object", "none")
    assert request.max_frames == 12
    record = json.loads((output / "x.json").read_text())
    assert record["settings"]["kind"] == "object"
    assert not bpy.data.objects
    assert set(bpy.data.images) == images
    # The same again is kept; a new photo makes it anew.
    assert command.run_cli([*arguments, "--masks", "none", "--frames", "12"]) == 0
    assert "kept" in capsys.readouterr().out
    assert len(stub) == 1
    (folder / "images" / "more.png").write_bytes(b"another photo")
    assert command.run_cli([*arguments, "--masks", "none", "--frames", "12"]) == 1
    assert "older" in capsys.readouterr().err
    assert command.run_cli(["--photos", str(tmp_path / "gone"), "-o", str(output)]) == 1
    assert "does not exist" in capsys.readouterr().err
    assert command.run_cli([]) == 2


def test_a_folder_of_sets_is_a_batch(stub, tmp_path):
    for name in ("one", "bad", "two"):
        synthetic.write_orbit(tmp_path / "many" / name, synthetic.orbit(2, 32))
    output = tmp_path / "out"
    result = bpy.ops.image_to_mesh.batch_photos(
        directory=str(tmp_path / "many"), output=str(output), format="STL", detail="LOW"
    )
    assert result == {"FINISHED"}
    assert {path.name for path in output.glob("*.stl")} == {"one.stl", "two.stl"}
    lines = [json.loads(line) for line in (output / "batch.jsonl").read_text().splitlines()]
    assert sorted(line["status"] for line in lines) == ["done", "done", "error"]
    assert all(request.detail == "low" for request in stub)


def test_the_whole_way_from_files_to_the_scene(folder):
    """Without a stub: tiny pictures, known cameras, a real mesh."""
    shots = synthetic.orbit(6, 64, (15.0, 40.0))
    place = folder.parent / "dice"
    synthetic.write_orbit(place, shots)
    result = bpy.ops.image_to_mesh.reconstruct_views(
        directory=str(place), detail="LOW", texture_size=256, size_m=0.5
    )
    assert result == {"FINISHED"}
    obj = bpy.context.object
    assert obj.name == "dice"
    assert max(obj.dimensions) == pytest.approx(0.5, abs=1e-3)
    assert min(v.co.z for v in obj.data.vertices) == pytest.approx(0, abs=1e-4)
    assert len([o for o in bpy.data.objects if o.type == "CAMERA"]) == 6
