"""The button and the call: picture in, object in the scene, one step to undo."""

import dataclasses
import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.contracts import Cancelled, Failed, PictureFile, PicturePixels
from image_to_mesh.inference.errors import MissingPackage
from image_to_mesh.operators import preferences, session


def objects() -> set[str]:
    return {obj.name for obj in bpy.data.objects}


def test_call_waits_and_leaves_the_object_active_and_selected(pipeline, picture):
    old = bpy.data.objects.new("old", None)
    bpy.context.collection.objects.link(old)
    old.select_set(True)
    assert bpy.ops.image_to_mesh.generate(filepath=str(picture)) == {"FINISHED"}
    assert bpy.context.object.name == "chair"
    assert [obj.name for obj in bpy.context.selected_objects] == ["chair"]
    assert objects() == {"old", "chair", "chair Camera"}


def test_call_passes_its_arguments_on(pipeline, picture):
    bpy.ops.image_to_mesh.generate(
        filepath=str(picture), engine="SCENE", detail="HIGH", texture_size=512, size_m=2.5,
        is_solid=True, fov_x=1.0, device="CPU", seed=7, cut_out="NONE",
    )  # fmt: skip
    (request,) = pipeline.requests
    assert request.source == PictureFile(picture)
    assert (request.engine, request.detail, request.cut_out) == ("scene", "high", "none")
    assert (request.texture_size, request.size_m, request.is_solid) == (512, 2.5, True)
    assert (request.fov_x, request.device, request.seed) == (1.0, "cpu", 7)


def test_call_with_a_picture_ignores_the_panel_and_without_one_follows_it(pipeline, picture):
    settings = bpy.context.scene.image_to_mesh
    settings.detail = "LOW"
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    image = bpy.data.images.new("painted", 4, 3)
    settings.picture = image
    bpy.ops.image_to_mesh.generate()
    given, from_panel = pipeline.requests
    assert (given.detail, from_panel.detail) == ("medium", "low")
    assert isinstance(from_panel.source, PicturePixels)
    assert from_panel.source.pixels.shape == (3, 4, 4)


def test_button_takes_unset_options_from_the_panel(pipeline, picture, window):
    bpy.context.scene.image_to_mesh.detail = "ULTRA"
    bpy.context.scene.image_to_mesh.fov_x = 0.5
    window.press_generate(filepath=str(picture), engine="OBJECT")
    window.settle()
    (request,) = pipeline.requests
    assert (request.engine, request.detail, request.fov_x) == ("object", "ultra", 0.5)


def test_button_works_in_the_background_and_sums_up(pipeline, picture, window):
    pipeline.wait_at = "Estimating"
    assert window.press_generate(filepath=str(picture)) == {"INTERFACE"}
    assert pipeline.waiting.wait(5)
    assert session.pump() == session.PUMP_INTERVAL
    assert session.last_event.stage == "Estimating"
    assert "chair" not in objects()
    pipeline.go.set()
    window.settle()
    assert "chair" in objects()
    assert session.last_event is None
    assert session.last_summary[0].startswith("chair: object, 7 faces, watertight")
    assert session.last_summary[-1] == "A note."


def test_one_undo_step_removes_the_buttons_result(pipeline, picture, window):
    bpy.ops.ed.undo_push(message="before")
    window.press_generate(filepath=str(picture))
    window.settle()
    assert "chair" in objects()
    bpy.ops.ed.undo()
    assert objects() == set()
    bpy.ops.ed.redo()
    assert "chair" in objects()


def test_one_undo_step_removes_the_calls_result(pipeline, picture):
    bpy.ops.ed.undo_push(message="before")
    bpy.ops.image_to_mesh.generate("EXEC_DEFAULT", True, filepath=str(picture))
    assert "chair" in objects()
    bpy.ops.ed.undo()
    assert objects() == set()


def test_result_says_where_it_comes_from(pipeline, picture):
    bpy.ops.image_to_mesh.generate(filepath=str(picture), seed=3)
    obj = bpy.context.object
    assert obj["image_to_mesh_engine"] == "object"
    assert obj["image_to_mesh_picture"] == "chair.png"
    assert json.loads(obj["image_to_mesh_settings"])["seed"] == 3


def test_results_of_two_pictures_with_one_name_share_nothing(pipeline, picture):
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    first = bpy.context.object
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    second = bpy.context.object
    assert first.data != second.data
    assert first.active_material != second.active_material
    textures = [
        {n.image.name for n in o.active_material.node_tree.nodes if n.type == "TEX_IMAGE"}
        for o in (first, second)
    ]
    assert len(textures[0]) == 3
    assert not textures[0] & textures[1]


def test_render_settings_change_only_for_scenes_and_only_when_asked(
    pipeline, picture, reconstruction
):
    render = bpy.context.scene.render
    own = bpy.data.objects.new("own", bpy.data.cameras.new("own"))
    bpy.context.collection.objects.link(own)
    bpy.context.scene.camera = own
    before = (render.resolution_x, render.resolution_y)
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert (render.resolution_x, render.resolution_y) == before
    assert bpy.context.scene.camera == own

    pipeline.change = lambda result: reconstruction("view", engine="scene")
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert (render.resolution_x, render.resolution_y) == before
    assert bpy.context.scene.camera == own

    bpy.ops.image_to_mesh.generate(filepath=str(picture), use_matched_render=True)
    assert (render.resolution_x, render.resolution_y) == (60, 90)
    assert bpy.context.scene.camera.name.startswith("view Camera")
    assert "Render size set to 60 x 90 to match the picture." in session.last_summary


def test_editing_another_object_is_not_interrupted(pipeline, picture, window):
    bpy.ops.mesh.primitive_cube_add()
    cube = bpy.context.object
    bpy.ops.object.mode_set(mode="EDIT")
    window.press_generate(filepath=str(picture))
    window.settle()
    assert "chair" in objects()
    assert bpy.context.view_layer.objects.active == cube
    assert cube.mode == "EDIT"


def test_result_joins_the_active_collection_unless_it_is_excluded(pipeline, picture):
    mine = bpy.data.collections.new("mine")
    bpy.context.scene.collection.children.link(mine)
    layer = bpy.context.view_layer.layer_collection.children["mine"]
    bpy.context.view_layer.active_layer_collection = layer
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert {obj.name for obj in mine.objects} == {"chair", "chair Camera"}
    layer.exclude = True
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert bpy.context.object.name == "chair.001"


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "No picture is chosen: open one in the Image to Mesh tab first."),
        ({"image": "gone"}, "There is no image called gone: open the picture first."),
        ({"filepath": "x.png", "mask": "gone"}, "There is no image called gone"),
    ],
)
def test_what_cannot_start_says_why(pipeline, arguments, sentence):
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.image_to_mesh.generate(**arguments)
    assert pipeline.requests == []


def test_a_picture_without_pixels_says_why(pipeline):
    bpy.data.images.new("lost", 4, 4).source = "FILE"
    with pytest.raises(RuntimeError, match="lost has no pixels: open its file again"):
        bpy.ops.image_to_mesh.generate(image="lost")


def test_a_film_says_why(pipeline):
    bpy.data.images.new("film", 4, 4).source = "MOVIE"
    with pytest.raises(RuntimeError, match="film is not a still picture"):
        bpy.ops.image_to_mesh.generate(image="film")


def test_a_huge_packed_picture_says_why(pipeline, monkeypatch):
    monkeypatch.setattr(image_to_mesh.operators.request, "MAX_PACKED_PIXELS", 10)
    bpy.data.images.new("huge", 4, 4)
    with pytest.raises(RuntimeError, match="huge is too large to be read from the"):
        bpy.ops.image_to_mesh.generate(image="huge")


def test_an_empty_mask_says_why(pipeline, picture):
    bpy.data.images.new("mask", 4, 4).source = "FILE"
    with pytest.raises(RuntimeError, match="The mask mask has no pixels: paint it"):
        bpy.ops.image_to_mesh.generate(filepath=str(picture), mask="mask")


def test_failure_of_a_run_is_raised_as_its_sentence(pipeline, picture):
    pipeline.error = MissingPackage("PyTorch is missing: install the full zip.")
    with pytest.raises(RuntimeError, match=r"PyTorch is missing: install the full zip\."):
        bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert objects() == set()
    assert isinstance(session.last_event, Failed)


def test_a_bug_in_the_worker_is_reported_with_its_traceback(pipeline, picture, window):
    pipeline.error = KeyError("lost key")
    window.press_generate(filepath=str(picture))
    window.settle()
    assert isinstance(session.last_event, Failed)
    assert "Copy Report" in session.last_event.message
    assert "lost key" in session.last_event.details


def test_a_builder_that_breaks_leaves_nothing_behind(pipeline, picture, window, monkeypatch):
    from image_to_mesh.operators.scene import build

    def broken(*_arguments):
        raise ZeroDivisionError("boom")

    monkeypatch.setattr(build, "_target_collection", broken)
    window.press_generate(filepath=str(picture))
    window.settle()
    assert session.last_event.message.startswith("The result could not be added to Blender")
    assert "boom" in session.last_event.details
    for blocks in (bpy.data.objects, bpy.data.meshes, bpy.data.materials, bpy.data.images,
                   bpy.data.cameras):  # fmt: skip
        assert len(blocks) == 0


def test_cancelling_the_call_is_an_error_without_a_result(pipeline, picture, monkeypatch):
    from image_to_mesh.inference.errors import RunCancelled

    pipeline.error = RunCancelled("Cancelled")
    assert bpy.ops.image_to_mesh.generate(filepath=str(picture)) == {"CANCELLED"}
    assert isinstance(session.last_event, Cancelled)
    assert objects() == set()


def test_painted_mask_reaches_the_worker(pipeline, picture):
    mask = bpy.data.images.new("mask", 2, 2, alpha=True)
    # Bottom row first: white, black; then half grey, transparent white.
    mask.pixels.foreach_set([1, 1, 1, 1, 0, 0, 0, 1, 0.5, 0.5, 0.5, 1, 1, 1, 1, 0])
    bpy.ops.image_to_mesh.generate(filepath=str(picture), mask="mask")
    (request,) = pipeline.requests
    np.testing.assert_allclose(request.mask, [[128, 0], [255, 0]], atol=1)


def test_panel_mask_is_used_only_with_the_panels_picture(pipeline, picture, window):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("painted", 4, 3)
    settings.mask = bpy.data.images.new("mask", 4, 3)
    window.press_generate()
    window.settle()
    window.press_generate(filepath=str(picture))
    window.settle()
    settings.cut_out = "NONE"
    window.press_generate()
    window.settle()
    assert [request.mask is not None for request in pipeline.requests] == [True, False, False]


def test_a_loaded_file_is_read_by_the_worker_and_a_changed_one_by_its_pixels(pipeline, tmp_path):
    image = bpy.data.images.new("saved", 3, 2, alpha=True)
    image.pixels.foreach_set(np.linspace(0, 1, 24, dtype=np.float32))
    image.filepath_raw, image.file_format = str(tmp_path / "saved.png"), "PNG"
    image.save()
    loaded = bpy.data.images.load(str(tmp_path / "saved.png"))
    bpy.ops.image_to_mesh.generate(image=loaded.name)
    loaded.pixels[0] = 0.25
    bpy.ops.image_to_mesh.generate(image=loaded.name)
    from_file, from_pixels = pipeline.requests
    assert from_file.source == PictureFile(tmp_path / "saved.png")
    assert from_pixels.source.pixels[-1, 0, 0] == 64


def test_import_menu_starts_the_same_run(pipeline, picture):
    assert bpy.ops.image_to_mesh.import_picture(filepath=str(picture)) == {"FINISHED"}
    assert "chair" in objects()
    with pytest.raises(RuntimeError, match="cannot be read"):
        bpy.ops.image_to_mesh.import_picture(filepath=str(picture.with_name("bad.png")))


def test_generate_uses_the_device_of_the_preferences(pipeline, picture, monkeypatch):
    monkeypatch.setattr(preferences, "preferred_device", lambda: "CPU")
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert pipeline.requests[0].device == "cpu"


def test_variants_stand_side_by_side_each_of_its_own_seed(pipeline, picture):
    pipeline.change = lambda result: dataclasses.replace(result, uses_seed=True)
    bpy.ops.image_to_mesh.generate(filepath=str(picture), variants=3, seed=5, size_m=2.0)
    assert [request.seed for request in pipeline.requests] == [5, 6, 7]
    chairs = [obj for obj in bpy.data.objects if obj.type == "MESH"]
    assert sorted(round(obj.location.x, 4) for obj in chairs) == [0.0, 2.5, 5.0]
    cameras = sorted(obj.location.x for obj in bpy.data.objects if obj.type == "CAMERA")
    assert np.diff(cameras) == pytest.approx([2.5, 2.5], abs=1e-4)


def test_variants_that_would_be_alike_are_not_made(pipeline, picture):
    bpy.ops.image_to_mesh.generate(filepath=str(picture), variants=3)
    assert len(pipeline.requests) == 1


def test_the_button_makes_variants_too(pipeline, picture, window):
    pipeline.change = lambda result: dataclasses.replace(result, uses_seed=True)
    window.press_generate(filepath=str(picture), variants=2)
    for _ in range(2):
        assert session._task.job.join(10)
        session.pump()
    assert not session.is_running()
    assert len([obj for obj in bpy.data.objects if obj.type == "MESH"]) == 2
