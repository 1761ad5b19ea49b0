"""Refine and what an artist does beside it: nothing but the object that was asked for is changed."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators import session
from image_to_mesh.operators.refine import refine
from kept_ball import packed_ball


def places(mesh) -> np.ndarray:
    found = np.empty(3 * len(mesh.vertices), np.float32)
    mesh.vertices.foreach_get("co", found)
    return found


def base_color(obj):
    nodes = obj.material_slots[0].material.node_tree.nodes
    return next(node for node in nodes if node.label == "Base Color")


def given_another_mesh(obj):
    obj.data = bpy.data.meshes.new("other")
    obj.data.from_pydata([(0, 0, 0), (1, 0, 0), (0, 1, 0)], [], [(0, 1, 2)])
    return obj.data


def given_a_mesh_of_its_own(obj):
    obj.data = obj.data.copy()
    return obj.data


def edited(obj):
    obj.data.vertices[0].co.z += 0.5
    return obj.data


def shared(obj):
    other = obj.copy()
    bpy.context.collection.objects.link(other)
    return obj.data


def in_edit_mode(obj):
    bpy.ops.object.mode_set(mode="EDIT")
    return obj.data


def given_shape_keys(obj):
    obj.shape_key_add(name="Basis")
    return obj.data


def made_from_another_picture(obj):
    obj.image_to_mesh.archive = packed_ball() + b" "
    return obj.data


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (given_another_mesh, "was given another mesh meanwhile"),
        (given_a_mesh_of_its_own, "was given another mesh meanwhile"),
        (edited, "mesh was changed meanwhile"),
        (shared, "shares its mesh with chair.001"),
        (in_edit_mode, "Edit Mode"),
        (given_shape_keys, "shape keys"),
        (made_from_another_picture, "was made from another picture meanwhile"),
    ],
)
def test_a_mesh_that_was_changed_meanwhile_is_left_alone(ball, window, change, sentence):
    first = ball.data
    refine.start(ball.session_uid)
    mesh = change(ball)
    before, first_before = places(mesh), places(first)
    images = set(bpy.data.images)
    window.settle(60)
    assert sentence in session.last_event.message
    assert "chair" in session.last_event.message
    if ball.mode != "OBJECT":
        bpy.ops.object.mode_set(mode="OBJECT")
    assert np.array_equal(places(mesh), before)
    assert np.array_equal(places(first), first_before)
    assert set(bpy.data.images) == images


def test_what_an_undo_brings_back_is_left_alone(ball, window):
    bpy.ops.ed.undo_push(message="Made")
    ball.data.vertices[0].co.z += 0.5
    bpy.ops.ed.undo_push(message="Edited")
    refine.start(ball.session_uid)
    bpy.ops.ed.undo()
    ball = bpy.data.objects["chair"]
    before = places(ball.data)
    window.settle(60)
    ball = bpy.data.objects["chair"]
    assert np.array_equal(places(ball.data), before)


def test_a_change_between_preview_and_result_keeps_the_change(ball, window):
    ball.image_to_mesh.detail = "MEDIUM"
    refine.start(ball.session_uid)
    assert session._task.job.join(60)
    session.pump()  # the preview is in, the fine run has begun
    edited(ball)
    before = places(ball.data)
    window.settle(120)
    assert "was changed meanwhile" in session.last_event.message
    assert np.array_equal(places(ball.data), before)


def test_meshes_of_several_objects_are_refused_at_once(ball):
    other = ball.copy()
    bpy.context.collection.objects.link(other)
    before = places(ball.data)
    assert "shares its mesh with chair.001, which would change, too" in refine.refine_refusal(ball)
    with pytest.raises(RuntimeError, match="Make Single User"):
        bpy.ops.image_to_mesh.refine()
    assert np.array_equal(places(other.data), before)
    ball.data.use_fake_user = True
    bpy.data.objects.remove(other)
    assert refine.refine_refusal(ball) is None


def test_vertex_groups_go_along(ball):
    ball.vertex_groups.new(name="Empty")
    left = ball.vertex_groups.new(name="Left")
    left.lock_weight = True
    for vertex in ball.data.vertices:  # of the box that the ball's object begins as
        if vertex.co.x < 0:
            left.add((vertex.index,), 0.75, "REPLACE")
    mask = ball.modifiers.new("Mask", "MASK")
    mask.vertex_group = "Left"
    ball.vertex_groups.active_index = 0
    for _ in range(2):  # from the box to the ball, and from the ball to itself
        assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
        assert [group.name for group in ball.vertex_groups] == ["Empty", "Left"]
        assert [group.lock_weight for group in ball.vertex_groups] == [False, True]
        assert ball.vertex_groups.active_index == 0
        assert mask.vertex_group == "Left"
        for vertex in ball.data.vertices:
            weight = {g.group: g.weight for g in vertex.groups}.get(1, 0.0)
            if vertex.co.x < -0.35:
                assert weight == pytest.approx(0.75, abs=0.02)
            if vertex.co.x > 0.35:
                assert weight == pytest.approx(0.0, abs=0.02)
    assert session.last_summary[1:] == ()


def test_weights_are_not_blurred_by_the_preview(ball, window):
    ball.image_to_mesh.detail = "MEDIUM"
    bpy.ops.image_to_mesh.refine()
    half = ball.vertex_groups.new(name="Half")
    half.add([v.index for v in ball.data.vertices if v.co.x < 0], 1.0, "REPLACE")
    bpy.ops.image_to_mesh.refine()
    sharp = [v.groups[0].weight if v.groups else 0.0 for v in ball.data.vertices]
    refine.start(ball.session_uid)
    assert session._task.job.join(60)
    session.pump()  # the coarse preview is in
    assert len(ball.data.vertices) < len(sharp)
    window.settle(120)
    again = [v.groups[0].weight if v.groups else 0.0 for v in ball.data.vertices]
    assert session.last_summary[0].startswith("chair: refined")
    assert np.abs(np.subtract(again, sharp)).max() < 1e-3


def test_what_cannot_go_along_is_told(ball):
    mesh = ball.data
    mesh.uv_layers[0].name = "Skin"
    mesh.uv_layers.new(name="Second")
    mesh.color_attributes.new("Paint", "BYTE_COLOR", "POINT")
    mesh.attributes.new("mine", "FLOAT", "POINT")
    mesh.materials.append(bpy.data.materials.new("Chrome"))
    mesh.polygons[0].material_index = 1
    hook = ball.modifiers.new("Hook", "HOOK")
    hook.vertex_indices_set([0])
    child = bpy.data.objects.new("lamp", None)
    bpy.context.collection.objects.link(child)
    child.parent, child.parent_type = ball, "VERTEX"
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    told = " ".join(session.last_summary)
    for words in (
        "the UV map Second",
        "the colours Paint",
        "the attribute mine",
        "the materials of single faces",
        "the vertices of Hook: assign them again",
        "the place of lamp, whose parent is a vertex",
    ):
        assert words in told
    assert [layer.name for layer in mesh.uv_layers] == ["Skin"]
    assert [material.name for material in mesh.materials][1] == "Chrome"
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert "With the old mesh went" not in " ".join(session.last_summary[:1])


def test_an_object_that_has_the_same_material_keeps_its_texture(ball):
    other = ball.copy()  # as Shift+D does: a mesh of its own, the same material
    other.data = ball.data.copy()
    bpy.context.collection.objects.link(other)
    image, material = base_color(ball).image, ball.material_slots[0].material
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert other.material_slots[0].material == material
    assert base_color(other).image == image
    assert image.packed_file is not None
    assert ball.material_slots[0].material != material
    assert base_color(ball).image != image
    assert tuple(base_color(ball).image.size) == (256, 256)
    assert "is used by others, too" in session.last_summary[1]
    mine = ball.material_slots[0].material
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert ball.material_slots[0].material == mine
    assert len(session.last_summary) == 1


def test_an_image_that_another_material_shows_stays(ball):
    image = base_color(ball).image
    other = ball.material_slots[0].material.copy()
    sign = bpy.data.objects.new("sign", bpy.data.meshes.new("sign"))
    sign.data.materials.append(other)
    bpy.context.collection.objects.link(sign)
    material = ball.material_slots[0].material
    assert bpy.ops.image_to_mesh.refine() == {"FINISHED"}
    assert ball.material_slots[0].material == material
    assert base_color(ball).image != image
    assert base_color(sign).image == image


def test_linked_objects_are_refused(ball, tmp_path):
    path = str(tmp_path / "library.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    with bpy.data.libraries.load(path, link=True) as (_, wanted):
        wanted.objects = ["chair"]
    linked = wanted.objects[0]
    bpy.context.collection.objects.link(linked)
    assert "linked from another file" in refine.refine_refusal(linked)
    local = linked.copy()
    bpy.context.collection.objects.link(local)
    assert "linked from another file" in refine.refine_refusal(local)
    override = linked.override_create()
    assert refine.refine_refusal(override) is not None
