"""Every map reaches the shader, the exported file and back, and means there what it meant here."""

import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.inference.contracts import MaterialArrays
from image_to_mesh.inference.surface import topology
from image_to_mesh.inference.surface.nets import surface_nets
from image_to_mesh.inference.texture import charts, pack, project, tangent
from image_to_mesh.operators.scene.build import Prepared, add_reconstruction
from image_to_mesh.operators.scene.image import image_pixels


def all_maps():
    rng = np.random.default_rng(3)

    def noise(*shape):
        return rng.integers(0, 256, shape, dtype=np.uint8)

    return MaterialArrays(
        noise(64, 64, 3), noise(32, 32), noise(32, 32), noise(64, 64, 3), noise(32, 32)
    )


@pytest.fixture
def built(reconstruction):
    def build(maps):
        result = reconstruction(material=maps)
        scene = bpy.context.scene
        return add_reconstruction(
            scene, scene.view_layers[0], result, Prepared.from_reconstruction(result), {},
            use_matched_render=True,
        )  # fmt: skip

    return build


def test_occlusion_and_metallic_reach_their_nodes_as_data(built):
    maps = all_maps()
    tree = built(maps).object.active_material.node_tree
    shader = next(n for n in tree.nodes if n.type == "BSDF_PRINCIPLED")
    metallic = shader.inputs["Metallic"].links[0].from_node.image
    group = next(n for n in tree.nodes if n.type == "GROUP")
    occlusion = group.inputs["Occlusion"].links[0].from_node.image
    for image, pixels in ((metallic, maps.metallic), (occlusion, maps.occlusion)):
        assert image.colorspace_settings.name == "Non-Color"
        assert image.packed_file is not None
        np.testing.assert_array_equal(image_pixels(image)[..., 0], pixels)


def test_removing_a_result_takes_its_node_group_along(built):
    before = len(bpy.data.node_groups)
    built(all_maps()).remove()
    assert len(bpy.data.node_groups) == before


def glb_of(path):
    bpy.ops.export_scene.gltf(filepath=str(path), export_format="GLB")
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    return json.loads(data[20 : 20 + length])


def test_a_glb_carries_all_maps_and_blender_reads_them_back(built, tmp_path):
    maps = all_maps()
    built(maps)
    path = tmp_path / "maps.glb"
    (material,) = glb_of(path)["materials"]
    packed = material["pbrMetallicRoughness"]["metallicRoughnessTexture"]
    assert {"normalTexture", "occlusionTexture"} <= material.keys()
    assert material["occlusionTexture"]["index"] == packed["index"]  # one ORM image
    bpy.ops.wm.read_homefile(use_empty=True)
    bpy.ops.import_scene.gltf(filepath=str(path))
    orm = next(image for image in bpy.data.images if tuple(image.size) == (32, 32))
    pixels = image_pixels(orm)
    for channel, wanted in enumerate((maps.occlusion, maps.roughness, maps.metallic)):
        assert np.abs(pixels[..., channel].astype(int) - wanted).max() <= 1


def test_occlusion_alone_is_exported_beside_plain_numbers(built, tmp_path):
    maps = all_maps()
    built(MaterialArrays(maps.base_color, 0.6, 0.0, None, maps.occlusion))
    (material,) = glb_of(tmp_path / "occlusion.glb")["materials"]
    assert "occlusionTexture" in material
    assert material["pbrMetallicRoughness"]["roughnessFactor"] == pytest.approx(0.6)
    assert "metallicRoughnessTexture" not in material["pbrMetallicRoughness"]


def test_our_tangents_are_blenders():
    index = np.stack(np.meshgrid(*[np.linspace(-1, 1, 24)] * 3, indexing="ij"), -1)
    distance = np.linalg.norm(index * [1, 1.3, 1], axis=-1) - 0.7 + 0.05 * np.sin(index @ [5, 7, 3])
    positions, quads = surface_nets(distance.astype(np.float32))
    faces = topology.split_faces(quads)
    atlas = pack.pack_charts(charts.cut_into_charts(positions, faces), 512, 2)
    mesh = bpy.data.meshes.new("tangents")
    mesh.from_pydata(positions.tolist(), [], faces.tolist())
    mesh.shade_smooth()
    mesh.uv_layers.new(name="UVMap").uv.foreach_set("vector", atlas.uvs.ravel())
    normals = np.empty(len(positions) * 3, np.float32)
    mesh.vertex_normals.foreach_get("vector", normals)
    normals = normals.reshape(-1, 3)
    ours = project.vertex_normals(positions, faces)
    assert (ours * normals).sum(axis=1).min() > np.cos(np.radians(0.5))
    mesh.calc_tangents()
    theirs = np.empty(len(mesh.loops) * 3, np.float32)
    signs = np.empty(len(mesh.loops), np.float32)
    mesh.loops.foreach_get("tangent", theirs)
    mesh.loops.foreach_get("bitangent_sign", signs)
    found = tangent.corner_tangents(positions, normals, faces, atlas.uvs).reshape(-1, 3)
    cosine = (found * theirs.reshape(-1, 3)).sum(axis=1)
    assert (signs == 1).all()
    assert np.percentile(np.degrees(np.arccos(np.clip(cosine, -1, 1))), 99) < 1
