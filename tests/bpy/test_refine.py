"""Refine: the same object with other geometry, everything else as the artist made it."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.operators import session
from image_to_mesh.operators.refine import live, refine, shaping
from kept_ball import packed_ball


def height(obj) -> float:
    return float(np.ptp([v.co.z for v in obj.data.vertices]))


def depth(obj) -> float:
    return float(np.ptp([v.co.y for v in obj.data.vertices]))


def test_the_object_keeps_what_it_was_made_from(ball):
    settings = ball.image_to_mesh
    assert bytes(settings.archive) == packed_ball()
    assert (settings.detail, settings.texture_size, settings.is_live) == ("LOW", 256, True)
    copy = ball.copy()
    assert bytes(copy.image_to_mesh.archive) == packed_ball()


def test_archive_survives_saving(ball, tmp_path):
    path = str(tmp_path / "kept.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    assert bytes(bpy.data.objects["chair"].image_to_mesh.archive) == packed_ball()


def test_refining_changes_the_shape_and_nothing_else(ball):
    ball.location = (1, 2, 3)
    ball.name = "my chair"
    material = ball.material_slots[0].material
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    shader.inputs["IOR"].default_value = 1.7
    modifier = ball.modifiers.new("Bevel", "BEVEL")
    mesh, images = ball.data, len(bpy.data.images)
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    round_depth = depth(ball)
    assert height(ball) == pytest.approx(1.0, abs=0.08)
    assert round_depth == pytest.approx(1.0, abs=0.2)
    ball.image_to_mesh.thickness = 0.4
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert depth(ball) < 0.75 * round_depth
    assert (ball.name, tuple(ball.location)) == ("my chair", (1, 2, 3))
    assert ball.data is mesh
    assert [m.name for m in ball.modifiers] == [modifier.name]
    assert ball.material_slots[0].material is material
    assert shader.inputs["IOR"].default_value == pytest.approx(1.7)
    assert len(bpy.data.images) == images
    assert len(bpy.data.materials) == 1


def test_the_texture_is_new_and_keeps_its_name(ball):
    def base_color():
        nodes = ball.material_slots[0].material.node_tree.nodes
        return next(n.image for n in nodes if getattr(n, "label", "") == "Base Color")

    name = base_color().name
    bpy.ops.image_to_mesh.refine()
    assert base_color().name == name
    assert tuple(base_color().size) == (256, 256)
    pixels = np.array(base_color().pixels[:]).reshape(-1, 4)
    assert np.median(pixels[:, 0]) == pytest.approx(0.6, abs=0.1)


def test_a_texture_the_artist_removed_stays_removed(ball):
    tree = ball.material_slots[0].material.node_tree
    for node in [n for n in tree.nodes if n.type == "TEX_IMAGE"]:
        tree.nodes.remove(node)
    count = len(bpy.data.images)
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert not [n for n in tree.nodes if n.type == "TEX_IMAGE"]
    assert len(bpy.data.images) == count


def test_button_shows_a_preview_and_then_the_fine_result(ball, window):
    ball.image_to_mesh.detail = "MEDIUM"
    bpy.context.view_layer.objects.active = ball
    refine.start(ball.session_uid)
    assert session.is_running()
    assert refine.is_refining()
    first = session._task.job
    assert first.join(60)
    session.pump()  # the preview is in, the fine run has begun
    coarse = len(ball.data.polygons)
    assert session.is_running()
    assert session._task.job is not first
    window.settle(120)
    assert len(ball.data.polygons) > 2 * coarse
    assert session.last_summary[0].startswith("chair: refined")


def test_what_happens_meanwhile_ends_it_with_a_sentence(ball, window):
    refine.start(ball.session_uid)
    bpy.data.objects.remove(ball)
    window.settle(60)
    assert "was deleted" in session.last_event.message


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (lambda obj: obj.shape_key_add(name="Basis"), "shape keys"),
        (lambda _obj: bpy.ops.object.mode_set(mode="EDIT"), "Edit Mode"),
        (lambda obj: setattr(obj.image_to_mesh, "archive", b""), "keeps nothing to refine"),
    ],
)
def test_refuses_in_a_sentence(ball, change, sentence):
    change(ball)
    assert sentence in refine.refine_refusal(ball)
    with pytest.raises(RuntimeError, match=sentence):
        bpy.ops.image_to_mesh.refine()


def test_damaged_archives_leave_the_object_alone(ball):
    before = len(ball.data.polygons)
    ball.image_to_mesh.archive = bytes(ball.image_to_mesh.archive)[:200]
    with pytest.raises(RuntimeError, match="generate the object again"):
        bpy.ops.image_to_mesh.refine()
    assert len(ball.data.polygons) == before


def test_without_a_window_sliders_do_not_start_anything(ball):
    ball.image_to_mesh.thickness = 0.7
    assert not bpy.app.timers.is_registered(live._begin)


def test_sliders_start_one_run_after_a_pause(ball, window, monkeypatch):
    started = []
    monkeypatch.setattr(live, "_start", started.append)
    monkeypatch.setattr(live, "_wanted", ball.session_uid)
    assert live._begin() is None
    assert started == [ball.session_uid]
    assert live._begin() is None
    assert started == [ball.session_uid]


def test_shaping_is_handed_over(ball):
    ball.image_to_mesh.level = 0.05
    ball.image_to_mesh.faces = 1234
    shape = shaping.shaping_of(ball)
    assert shape.level == pytest.approx(0.05)
    assert shape.faces == 1234


def test_panel_shows_for_such_objects_only(ball):
    panel = image_to_mesh.panels.refine.IMAGE_TO_MESH_PT_refine
    assert panel.poll(bpy.context)
    other = bpy.data.objects.new("other", bpy.data.meshes.new("other"))
    bpy.context.collection.objects.link(other)
    bpy.context.view_layer.objects.active = other
    assert not panel.poll(bpy.context)
