"""Refine for scenes, and one undo step for a slider and the mesh that follows it."""

from __future__ import annotations

import importlib

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from bpy_extras.object_utils import world_to_camera_view
from image_to_mesh.inference.camera import PinholeCamera
from image_to_mesh.inference.contracts import RefineRequest, SceneShaping
from image_to_mesh.inference.engines.scene import SceneSight, build_scene
from image_to_mesh.inference.engines.scene_archive import SceneArchive, pack
from image_to_mesh.operators import session
from image_to_mesh.operators.refine import live_undo, refine, shaping


def silent(_fraction, _stage=""):
    return None


@pytest.fixture
def place(pipeline, picture, reconstruction, monkeypatch):
    """A scene made by the button: a wall with a box before it; refining it runs the real engine."""
    depth = np.full((24, 32), 6.0, np.float32)
    depth[10:20, 10:20] = 2.0
    pixels = np.full((120, 160, 3), 90, np.uint8)
    sight = SceneSight(
        pixels, depth, np.array([0, -1, 0], np.float32), PinholeCamera(160, 120, 150.0), 1.5
    )
    made = build_scene(sight, "low", 256, 4.0, SceneShaping(), silent)
    archive = pack(SceneArchive(sight, 4.0, made.shift, "two-sided 1"))
    pipeline.change = lambda _result: reconstruction(
        "place", engine="scene", mesh=made.mesh, material=made.material, camera=made.camera,
        archive=archive,
    )  # fmt: skip
    bpy.ops.image_to_mesh.generate(
        filepath=str(picture), detail="LOW", texture_size=256, location=(7.0, 0.0, 0.0)
    )
    monkeypatch.undo()  # the stub has no refine
    importlib.import_module("image_to_mesh.inference.pipeline")
    return bpy.context.object


def seen(obj, camera):
    """Bounds of an object in its camera's picture."""
    bpy.context.view_layer.update()
    scene = bpy.context.scene
    scene.render.resolution_x, scene.render.resolution_y = 160, 120
    points = [
        tuple(world_to_camera_view(scene, camera, obj.matrix_world @ v.co))
        for v in obj.data.vertices
    ]
    return np.array(points)


def test_the_settings_are_how_it_was_made(place):
    settings = place.image_to_mesh
    assert settings.engine == "scene"
    assert shaping.shaping_of(place) == SceneShaping(cut_threshold=settings.jump)
    assert settings.jump == pytest.approx(0.08)
    assert settings.camera == bpy.data.objects["place Camera"]
    assert settings.built == shaping.wanted(settings)


def test_sliders_change_the_scene_and_the_camera_goes_on_matching(place):
    settings = place.image_to_mesh
    camera = settings.camera
    before = seen(place, camera)
    settings.depth_range = 0.5
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    after = seen(place, camera)
    assert after[:, 2].max() / after[:, 2].min() == pytest.approx(3**0.5, rel=0.05)
    for axis in (0, 1):
        assert np.ptp(after[:, axis]) == pytest.approx(np.ptp(before[:, axis]), abs=0.01)
    settings.size_m = 2.0
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    larger = seen(place, camera)
    assert larger[:, 2].min() == pytest.approx(2 * after[:, 2].min(), rel=0.02)
    for axis in (0, 1):
        assert larger[:, axis].min() == pytest.approx(after[:, axis].min(), abs=0.01)
    assert tuple(place.location) == (7.0, 0.0, 0.0)
    assert larger[:, 2].max() < camera.data.clip_end


def test_a_scene_can_become_solid_and_lose_its_fill(place):
    settings = place.image_to_mesh
    filled = len(place.data.polygons)
    settings.use_fill_behind = False
    bpy.ops.image_to_mesh.refine()
    assert len(place.data.polygons) < filled
    settings.is_solid = True
    bpy.ops.image_to_mesh.refine()
    edges = {}
    for polygon in place.data.polygons:
        for key in polygon.edge_keys:
            edges[key] = edges.get(key, 0) + 1
    assert set(edges.values()) == {2}


def test_a_deleted_camera_is_no_obstacle(place):
    bpy.data.objects.remove(place.image_to_mesh.camera)
    place.image_to_mesh.size_m = 3.0
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}


def test_none_of_the_settings_can_be_animated():
    for prop in shaping.ImageToMeshShaping.bl_rna.properties:
        if prop.identifier not in {"rna_type", "name"}:
            assert not prop.is_animatable, prop.identifier


# --- one undo step --------------------------------------------------------------------------------


def press_until_coherent():
    """Stand in for Blender's timer, which never fires without a window."""
    if not bpy.app.timers.is_registered(live_undo._go_on):
        return
    for _ in range(40):  # it stays registered while it runs, as Blender has it
        if live_undo._go_on() is None:
            bpy.app.timers.unregister(live_undo._go_on)
            return
    raise AssertionError("undo never came to rest")


def drag(obj, window, **changes):
    """Drag sliders as an artist would, each a step of its own, and let Live refine."""
    uid = obj.session_uid
    for name, value in changes.items():
        setattr(refine.object_with(uid).image_to_mesh, name, value)
        bpy.ops.ed.undo_push(message=name)
    refine.start(uid)
    while session.is_running():
        assert session._task.job.join(120)
        session.pump()
    assert session.last_event is None


def state(uid):
    obj = refine.object_with(uid)
    return round(obj.image_to_mesh.depth_range, 3), len(obj.data.polygons), obj.image_to_mesh.built


def test_one_undo_takes_slider_and_mesh_back_and_one_redo_brings_both_again(place, window):
    uid = place.session_uid
    place.image_to_mesh.detail = "MEDIUM"  # so that there is a coarse preview as well
    bpy.ops.image_to_mesh.refine()
    bpy.ops.ed.undo_push(message="before")
    first = state(uid)
    drag(place, window, depth_range=0.5)
    second = state(uid)
    drag(refine.object_with(uid), window, smoothness=3, depth_range=0.7)  # two sliders, one mesh
    third = state(uid)
    assert len({first, second, third}) == 3
    for expected in (second, first):
        bpy.ops.ed.undo()
        press_until_coherent()
        assert state(uid) == expected
    for expected in (second, third):
        bpy.ops.ed.redo()
        press_until_coherent()
        assert state(uid) == expected


def test_undo_of_something_else_stays_one_step(place, window):
    uid = place.session_uid
    bpy.ops.ed.undo_push(message="before")
    drag(place, window, depth_range=0.5)
    after = state(uid)
    bpy.ops.object.empty_add()
    bpy.ops.ed.undo_push(message="Add Empty")
    bpy.ops.ed.undo()
    assert not bpy.app.timers.is_registered(live_undo._go_on)
    assert state(uid) == after


def test_settings_of_an_object_that_is_not_live_are_steps_of_their_own(place, window):
    uid = place.session_uid
    place.image_to_mesh.is_live = False
    bpy.ops.ed.undo_push(message="before")
    for value in (0.5, 0.6):
        refine.object_with(uid).image_to_mesh.depth_range = value
        bpy.ops.ed.undo_push(message="slider")
    bpy.ops.ed.undo()
    press_until_coherent()
    assert state(uid)[0] == 0.5


@pytest.mark.parametrize("is_done", [False, True])
def test_undo_in_the_middle_of_a_refinement_stops_it(place, window, is_done):
    uid = place.session_uid
    bpy.ops.ed.undo_push(message="before")
    before = state(uid)
    place.image_to_mesh.depth_range = 0.5
    bpy.ops.ed.undo_push(message="slider")
    refine.start(uid)
    if is_done:  # the result is there, but Blender has not taken it yet
        assert session._task.job.join(120)
    bpy.ops.ed.undo()
    press_until_coherent()
    assert not session.is_running()
    window.settle(120)
    assert state(uid) == before


def test_requests_follow_the_kind_of_object(place):
    assert isinstance(refine._request(place), RefineRequest)
    assert isinstance(refine._request(place).shaping, SceneShaping)
