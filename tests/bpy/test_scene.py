"""Arrays become data-blocks: axes, faces, textures, camera."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from bpy_extras.object_utils import world_to_camera_view
from image_to_mesh.inference.contracts import MaterialArrays, MeshArrays
from image_to_mesh.inference.naming import token
from image_to_mesh.operators.scene.build import Prepared, add_reconstruction
from image_to_mesh.operators.scene.image import (
    PngImage,
    image_from_png,
    image_pixels,
)
from image_to_mesh.operators.scene.mesh import is_sound


@pytest.fixture
def build():
    def add(result, **options):
        scene = bpy.context.scene
        prepared = Prepared.from_reconstruction(result)
        options = {"use_matched_render": True, **options}
        return add_reconstruction(scene, scene.view_layers[0], result, prepared, {}, **options)

    return add


def project(camera, points):
    """Pixel coordinates of OpenCV world points by the contract's own definition."""
    local = (points - camera.matrix[:3, 3]) @ camera.matrix[:3, :3]
    focal = camera.width / 2 / np.tan(camera.fov_x / 2)
    middle = np.array([camera.width, camera.height]) / 2
    return local[:, :2] / local[:, 2:] * focal + middle


def test_faces_normals_and_uvs_survive(build, reconstruction):
    result = reconstruction()
    mesh = build(result).object.data
    assert (len(mesh.vertices), len(mesh.polygons), len(mesh.loops)) == (8, 7, 26)
    assert sorted(len(p.vertices) for p in mesh.polygons) == [3, 3, 4, 4, 4, 4, 4]
    for polygon in mesh.polygons:  # seen from outside: away from the middle of the box
        middle = np.array(polygon.center) - [0, 0, 0.5]
        assert np.dot(polygon.normal, middle) > 0
        assert polygon.use_smooth
    uvs = np.empty(26 * 2, np.float32)
    mesh.uv_layers.active.uv.foreach_get("vector", uvs)
    np.testing.assert_array_equal(uvs.reshape(-1, 2), result.mesh.corner_uvs)


def test_result_stands_on_the_floor_and_faces_the_front(build, reconstruction):
    built = build(reconstruction())
    corners = np.array([v.co for v in built.object.data.vertices])
    np.testing.assert_allclose(corners.min(axis=0), [-0.3, -0.2, 0.0], atol=1e-6)
    np.testing.assert_allclose(corners.max(axis=0), [0.3, 0.2, 1.0], atol=1e-6)
    assert built.camera.matrix_world.translation.y < -1  # the viewer stands at -Y


def test_camera_sees_vertices_where_the_picture_has_them(build, reconstruction):
    result = reconstruction()
    built = build(result)
    scene = bpy.context.scene
    bpy.context.view_layer.update()
    seen = [world_to_camera_view(scene, built.camera, v.co) for v in built.object.data.vertices]
    pixels = np.array([(s.x * 60, (1 - s.y) * 90) for s in seen])
    np.testing.assert_allclose(pixels, project(result.camera, result.mesh.positions), atol=1e-3)
    data = built.camera.data
    assert data.clip_start < min(s.z for s in seen)
    assert data.clip_end > max(s.z for s in seen)
    background = data.background_images[0].image
    np.testing.assert_array_equal(image_pixels(background), result.picture)


def test_textures_reach_the_shader(build, reconstruction):
    result = reconstruction()
    material = build(result).object.active_material
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    color = shader.inputs["Base Color"].links[0].from_node.image
    roughness = shader.inputs["Roughness"].links[0].from_node.image
    bump = shader.inputs["Normal"].links[0].from_node
    normal = bump.inputs["Color"].links[0].from_node.image
    assert color.colorspace_settings.name == "sRGB"
    assert roughness.colorspace_settings.name == normal.colorspace_settings.name == "Non-Color"
    np.testing.assert_array_equal(image_pixels(color)[..., :3], result.material.base_color)
    np.testing.assert_array_equal(image_pixels(roughness)[..., 0], result.material.roughness)
    np.testing.assert_array_equal(image_pixels(normal)[..., :3], result.material.normal)
    assert shader.inputs["Metallic"].default_value == 0.25


def test_numbers_instead_of_maps(build, reconstruction):
    maps = MaterialArrays(np.zeros((4, 4, 3), np.uint8), 0.3)
    material = build(reconstruction(material=maps)).object.active_material
    shader = next(n for n in material.node_tree.nodes if n.type == "BSDF_PRINCIPLED")
    assert shader.inputs["Roughness"].default_value == pytest.approx(0.3)
    assert not shader.inputs["Normal"].links
    assert len([n for n in material.node_tree.nodes if n.type == "TEX_IMAGE"]) == 1


def test_a_saved_file_reopens_with_its_textures(build, reconstruction, tmp_path):
    result = reconstruction()
    build(result)
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=path)
    image = bpy.data.images["box Base Color"]
    assert image.packed_file is not None
    np.testing.assert_array_equal(image_pixels(image)[..., :3], result.material.base_color)


def test_the_panels_choices_are_saved_but_not_the_state_of_a_run(tmp_path, pipeline, picture):
    bpy.context.scene.image_to_mesh.detail = "HIGH"
    bpy.context.scene.image_to_mesh.size_m = 3.0
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    path = str(tmp_path / "saved.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.wm.open_mainfile(filepath=path)
    settings = bpy.context.scene.image_to_mesh
    assert (settings.detail, settings.size_m) == ("HIGH", 3.0)
    names = {p.identifier for p in settings.bl_rna.properties}
    assert not {n for n in names if "progress" in n or "status" in n or "running" in n}


def test_removing_a_result_leaves_nothing(build, reconstruction):
    before = {p.identifier: len(getattr(bpy.data, p.identifier)) for p in collections()}
    build(reconstruction()).remove()
    after = {p.identifier: len(getattr(bpy.data, p.identifier)) for p in collections()}
    assert before == after


def collections():
    return [p for p in bpy.data.bl_rna.properties if p.type == "COLLECTION"]


@pytest.mark.parametrize("shape", [(5, 3), (3, 5, 3), (4, 4, 4), (1, 1, 4)])
def test_png_bytes_hold_the_pixels(shape):
    pixels = np.random.default_rng(2).integers(0, 256, shape, dtype=np.uint8)
    if pixels.ndim == 3 and pixels.shape[2] == 4:
        pixels[..., 3] = 255
    image = image_from_png("p", PngImage.from_pixels(pixels), is_colour=True)
    channels = pixels[..., None] if pixels.ndim == 2 else pixels
    read = image_pixels(image)
    np.testing.assert_array_equal(read[..., : channels.shape[2]], channels)


def test_float_images_are_read_as_srgb():
    image = bpy.data.images.new("linear", 2, 1, alpha=True, float_buffer=True)
    image.pixels.foreach_set([0.2140, 0.2140, 0.2140, 1.0, 0.1070, 0.1070, 0.1070, 0.5])
    pixels = image_pixels(image)
    np.testing.assert_allclose(pixels[0], [[127, 127, 127, 255], [127, 127, 127, 128]], atol=1)


def test_file_names_keep_every_alphabet():
    assert token('Stühl 椅子/a:b*"c') == "Stühl_椅子_a_b__c"


def fold(mesh):
    mesh.corners[:4] = [0, 0, 1, 1]


def cross(mesh):
    mesh.corners[-3:] = [1, 2, 1]


def point_nowhere(mesh):
    mesh.corners[5] = 99


def lose_a_vertex(mesh):
    mesh.positions[2] = np.nan


def lose_a_uv(mesh):
    mesh.corner_uvs[2] = np.inf


@pytest.mark.parametrize("damage", [fold, cross, point_nowhere, lose_a_vertex, lose_a_uv])
def test_a_damaged_mesh_is_noticed_and_still_arrives(build, reconstruction, caplog, damage):
    result = reconstruction()
    assert is_sound(result.mesh)
    damage(result.mesh)
    assert not is_sound(result.mesh)
    built = build(result)
    assert 0 < len(built.object.data.polygons) <= 7
    assert not built.object.data.validate()
    assert "repair" in caplog.text


def test_face_sizes_that_blender_cannot_hold_are_noticed():
    arrays = MeshArrays(
        np.zeros((5, 3), np.float32), np.arange(5, dtype=np.int32), np.array([5], np.int32),
        np.zeros((5, 2), np.float32),
    )  # fmt: skip
    assert not is_sound(arrays)
