"""Point clouds and volumes from a finished object."""

from __future__ import annotations

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators.refine.derive import can_convert_to_points
from image_to_mesh.operators.scene.points import (
    add_vertices,
    sample_surface,
    show_as_points,
)


@pytest.fixture
def box(pipeline, picture):
    """The stub's box: 0.6 x 1 x 0.4 metres, with a noisy texture."""
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    return bpy.context.object


def test_points_lie_on_the_surface_in_proportion_to_its_area(box):
    samples = sample_surface(box, 20_000, seed=0)
    spots = samples.positions
    low, high = np.array([-0.3, -0.2, 0.0]), np.array([0.3, 0.2, 1.0])
    to_face = np.minimum(np.abs(spots - low), np.abs(spots - high))
    assert to_face.min(axis=1).max() < 1e-5
    on_top = np.abs(spots[:, 2] - 1) < 1e-5
    whole = 2 * (0.6 * 1 + 0.4 * 1 + 0.6 * 0.4)
    assert on_top.mean() == pytest.approx(0.6 * 0.4 / whole, abs=0.002)
    assert samples.area == pytest.approx(whole, rel=1e-4)
    np.testing.assert_allclose(samples.normals[on_top], [[0, 0, 1]] * on_top.sum(), atol=1e-5)
    assert np.ptp(samples.colours[:, 0].astype(int)) > 200
    assert (samples.colours[:, 3] == 255).all()


def test_the_same_seed_gives_the_same_points(box):
    first, again, other = (sample_surface(box, 500, seed).positions for seed in (1, 1, 2))
    np.testing.assert_array_equal(first, again)
    assert np.abs(first - other).max() > 0.01


def test_point_cloud_object(box):
    box.location = (1, 2, 3)
    bpy.context.view_layer.update()
    assert bpy.ops.image_to_mesh.add_point_cloud(count=3000) == {"FINISHED"}
    cloud = bpy.context.object
    is_own_type = can_convert_to_points()
    assert (cloud.type, cloud.name) == ("POINTCLOUD" if is_own_type else "MESH", "chair Points")
    assert len(cloud.data.points if is_own_type else cloud.data.vertices) == 3000
    assert tuple(cloud.matrix_world.translation) == (1, 2, 3)
    names = set(cloud.data.attributes.keys())
    assert {"position", "radius", "Color", "surface_normal"} <= names
    radius = cloud.data.attributes["radius"].data[0].value
    assert radius == pytest.approx(0.7 * np.sqrt(2.48 / 3000), rel=1e-3)
    assert box.type == "MESH"
    assert not [mesh for mesh in bpy.data.meshes if mesh.users == 0]


def test_where_blender_has_no_such_object_the_points_are_shown_by_nodes(box):
    """Blender 4.2; what is drawn and rendered is the same in all versions."""
    cloud = add_vertices(bpy.context.scene, box, sample_surface(box, 500, 0))
    show_as_points(cloud)
    graph = bpy.context.evaluated_depsgraph_get()
    shown = [
        [(len(i.object.data.points), i.object.data.attributes["radius"].data[0].value)]
        + [m.name for m in i.object.data.materials]
        for i in graph.object_instances
        if i.object.type == "POINTCLOUD"
    ]
    radius = cloud.data.attributes["radius"].data[0].value
    assert shown == [[(500, pytest.approx(radius)), cloud.data.materials[0].name]]


def test_a_mesh_without_a_picture_gives_points_without_colours(box):
    box.data.materials.clear()
    assert bpy.ops.image_to_mesh.add_point_cloud(count=10) == {"FINISHED"}
    assert "Color" not in bpy.context.object.data.attributes


def test_volume_fills_the_object_and_follows_it(box):
    assert bpy.ops.image_to_mesh.add_volume(voxels=48) == {"FINISHED"}
    volume = bpy.context.object
    assert volume.type == "VOLUME"
    shown = volume.evaluated_get(bpy.context.evaluated_depsgraph_get())
    assert [grid.name for grid in shown.data.grids] == ["density"]
    corners = np.array(shown.bound_box)
    block = 8 * np.sqrt(0.6**2 + 0.4**2 + 1) / 48  # OpenVDB's bounds end with blocks of voxels
    extent = np.ptp(corners, axis=0)
    assert (extent > [0.55, 0.35, 0.95]).all()
    assert (extent < np.array([0.6, 0.4, 1.0]) + 2 * block).all()
    assert volume.parent is box


def test_they_say_what_they_need(box):
    bpy.context.view_layer.objects.active = None
    for operator in (bpy.ops.image_to_mesh.add_point_cloud, bpy.ops.image_to_mesh.add_volume):
        with pytest.raises(RuntimeError, match="Select a mesh with faces"):
            operator()
