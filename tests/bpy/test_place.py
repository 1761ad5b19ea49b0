"""Where results arrive: at the cursor and beside things for buttons, exactly where said for calls."""

from __future__ import annotations

import math

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from bpy_extras.object_utils import world_to_camera_view
from image_to_mesh.operators.view import onlooker, place
from mathutils import Matrix, Vector


def bounds(obj):
    bpy.context.view_layer.update()
    corners = np.array([obj.matrix_world @ Vector(corner) for corner in obj.bound_box])
    return corners.min(axis=0), corners.max(axis=0)


def overlap(one, other) -> bool:
    (low, high), (low2, high2) = bounds(one), bounds(other)
    return bool((low < high2 - 0.02).all() and (high > low2 + 0.02).all())


def press(window, picture, **options):
    window.press_generate(filepath=str(picture), **options)
    window.settle()
    return bpy.context.view_layer.objects.active


def cube(size, location=(0.0, 0.0, 0.0), scale=(1.0, 1.0, 1.0)):
    bpy.ops.mesh.primitive_cube_add(size=size, location=location, scale=scale)
    return bpy.context.object


def test_the_button_places_results_beside_what_is_there_and_each_other(pipeline, picture, window):
    there = [cube(2.0)]
    for _ in range(3):
        made = press(window, picture)
        assert not any(overlap(made, other) for other in there)
        assert bounds(made)[0][2] == pytest.approx(0.0, abs=1e-5)
        assert made.location.y == 0.0
        there.append(made)
    assert [obj.location.x for obj in there] == sorted(obj.location.x for obj in there)
    assert there[-1].location.x < 5.0  # a row without large holes


def test_the_button_takes_the_cursor_where_nothing_is(pipeline, picture, window):
    bpy.context.scene.cursor.location = (3.0, -2.0, 0.5)
    assert tuple(press(window, picture).location) == (3.0, -2.0, 0.5)


def test_the_matched_camera_goes_along(pipeline, picture, window, reconstruction):
    cube(2.0)
    cursor = bpy.context.scene.cursor
    cursor.location, cursor.rotation_euler = (0.3, 0.1, -0.2), (0.4, 0.2, 1.0)
    bpy.context.preferences.edit.object_align = "CURSOR"
    try:
        made = press(window, picture)
    finally:
        bpy.context.preferences.edit.object_align = "WORLD"
    assert made.rotation_euler.z == pytest.approx(1.0, abs=1e-4)
    bpy.context.view_layer.update()
    scene, camera = bpy.context.scene, bpy.data.objects["chair Camera"]
    scene.render.resolution_x, scene.render.resolution_y = 60, 90
    seen = [
        tuple(world_to_camera_view(scene, camera, made.matrix_world @ v.co))[:2]
        for v in made.data.vertices
    ]
    result = reconstruction()
    inverse = np.linalg.inv(result.camera.matrix)
    local = result.mesh.positions @ inverse[:3, :3].T + inverse[:3, 3]
    focal = 0.5 / math.tan(result.camera.fov_x / 2)
    expected = local[:, :2] / local[:, 2:] * focal * (1.0, 60 / 90)
    np.testing.assert_allclose(seen, expected * (1, -1) + 0.5, atol=1e-4)


def test_calls_stand_exactly_where_they_say(pipeline, picture):
    cube(2.0)
    bpy.context.scene.cursor.location = (5.0, 5.0, 5.0)
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert bpy.context.object.matrix_world == Matrix.Identity(4)
    bpy.ops.image_to_mesh.generate(
        filepath=str(picture), location=(1.0, 2.0, 3.0), rotation=(0.0, 0.0, 0.5)
    )
    assert tuple(bpy.context.object.location) == (1.0, 2.0, 3.0)
    assert bpy.context.object.rotation_euler.z == pytest.approx(0.5)
    bpy.context.scene.cursor.rotation_euler.z = 0.25
    bpy.ops.image_to_mesh.generate(filepath=str(picture), align="CURSOR")
    assert bpy.context.object.rotation_euler.z == pytest.approx(0.25)
    assert tuple(bpy.context.object.location) == (0.0, 0.0, 0.0)


def test_a_button_with_a_location_stands_there_too(pipeline, picture, window):
    cube(2.0)
    assert tuple(press(window, picture, location=(0.1, 0.0, 0.0)).location) == pytest.approx(
        (0.1, 0.0, 0.0)
    )


@pytest.mark.parametrize("is_turned", [False, True])
def test_a_floor_and_a_room_are_no_obstacles_but_a_block_is(pipeline, picture, window, is_turned):
    bpy.ops.mesh.primitive_plane_add(size=50.0)
    room = cube(20.0, (0.0, 0.0, 9.0))
    if is_turned:  # walls that face inwards, as a room's do
        room.data.flip_normals()
    made = press(window, picture)
    assert (made.location.x == 0.0) is is_turned
    assert is_turned or bounds(made)[0][0] > 10.0


def test_hidden_things_cameras_and_lamps_are_no_obstacles(pipeline, picture, window):
    cube(2.0).hide_set(True)
    for data in (bpy.data.cameras.new("c"), bpy.data.lights.new("l", "POINT")):
        bpy.context.collection.objects.link(bpy.data.objects.new("o", data))
    assert press(window, picture).location.x == 0.0


def test_collection_instances_are_obstacles(pipeline, picture, window):
    hidden = bpy.data.collections.new("kept")
    block = cube(2.0)
    bpy.context.collection.objects.unlink(block)
    hidden.objects.link(block)
    empty = bpy.data.objects.new("instance", None)
    empty.instance_type, empty.instance_collection = "COLLECTION", hidden
    bpy.context.collection.objects.link(empty)
    assert press(window, picture).location.x > 1.0


def test_a_hidden_collection_does_not_swallow_the_result(pipeline, picture, window):
    mine = bpy.data.collections.new("mine")
    bpy.context.scene.collection.children.link(mine)
    layer = bpy.context.view_layer.layer_collection.children["mine"]
    bpy.context.view_layer.active_layer_collection = layer
    layer.hide_viewport = True
    assert press(window, picture).visible_get()


def test_variants_of_the_button_stand_side_by_side(pipeline, picture, window, reconstruction):
    pipeline.change = lambda _result: reconstruction("chair", uses_seed=True)
    window.press_generate(filepath=str(picture), variants=2)
    for _ in range(2):
        from image_to_mesh.operators import session

        assert session._task.job.join(10)
        session.pump()
    made = [obj for obj in bpy.data.objects if obj.type == "MESH"]
    assert len(made) == 2
    assert not overlap(*made)


def test_many_obstacles_end(pipeline):
    corners = np.array([(x, y, z) for x in (0, 1) for y in (0, 1) for z in (0, 1)], np.float64)
    row = [
        place._Obstacle(np.array([i, 0.0, 0.0]), np.array([i + 1.0, 1.0, 1.0])) for i in range(200)
    ]
    step = place._step_aside(corners, row, bpy.context.view_layer)
    assert 200.0 < step < 201.0


class _Shading:
    type, color_type = "SOLID", "MATERIAL"


def _area():
    space = type("Space", (), {"shading": _Shading()})()
    spaces = type("Spaces", (), {"active": space})()
    return type("Area", (), {"spaces": spaces, "as_pointer": lambda self: 7})()


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        ("TEXTURE", ("SOLID", "TEXTURE")),
        ("MATERIAL", ("MATERIAL", "MATERIAL")),
        ("KEEP", ("SOLID", "MATERIAL")),
    ],
)
def test_a_grey_view_is_coloured_once(wanted, expected):
    area = _area()
    shading = area.spaces.active.shading
    onlooker._colour(area, wanted)
    assert (shading.type, shading.color_type) == expected
    shading.type, shading.color_type = "SOLID", "MATERIAL"  # the artist wants it grey
    onlooker._colour(area, wanted)
    assert (shading.type, shading.color_type) == ("SOLID", "MATERIAL")


def test_other_shadings_are_left_alone():
    for kind in ("WIREFRAME", "RENDERED", "MATERIAL"):
        area = _area()
        area.spaces.active.shading.type = kind
        onlooker._colour(area, "TEXTURE")
        assert area.spaces.active.shading.color_type == "MATERIAL"
        onlooker._forget(None)


def _bar(x, y, width, height):
    return type("Region", (), {"x": x, "y": y, "width": width, "height": height})()


def test_framing_steers_around_what_lies_over_the_view():
    whole = _bar(100, 50, 1000, 600)
    free = onlooker.free_rectangle(
        whole,
        [
            _bar(850, 50, 250, 560),
            _bar(100, 50, 40, 560),
            _bar(100, 620, 1000, 30),
            _bar(0, 0, 1, 1),
        ],
    )
    np.testing.assert_allclose(free, [[-0.92, -1.0], [0.5, 0.9]], atol=1e-9)
    np.testing.assert_allclose(
        onlooker.free_rectangle(whole, [_bar(150, 50, 950, 600)]).T, [[-1, 1]] * 2
    )


@pytest.mark.parametrize("is_perspective", [True, False])
@pytest.mark.parametrize("size", [(0.001, 0.002, 0.001), (1.0, 0.2, 3.0), (500.0, 900.0, 20.0)])
def test_all_of_a_box_is_seen_in_the_free_part(is_perspective, size):
    corners = np.array([(x, y, z) for x in (-1, 1) for y in (-1, 1) for z in (-1, 1)]) * size / 2
    free = np.array([[-0.9, -1.0], [0.5, 0.9]])
    scale = np.array([1.4, 2.3])
    distance, aside = onlooker.framing(corners, tuple(scale), free, is_perspective=is_perspective)
    depth = corners[:, 2] if is_perspective else 0 * corners[:, 2]
    seen = (corners[:, :2] + aside) * scale / (distance - depth)[:, None]
    assert (seen > free[0]).all()
    assert (seen < free[1]).all()
    assert (np.ptp(seen, axis=0) / (free[1] - free[0])).max() > 0.6
