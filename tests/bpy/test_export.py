"""Every format: the file holds the result, and the JSON's camera fits the file's own axes."""

import json

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")
trimesh = pytest.importorskip("trimesh")

SUFFIX = {
    "GLB": "glb", "BLEND": "blend", "OBJ": "obj", "FBX": "fbx", "USD": "usdc", "STL": "stl",
    "PLY": "ply",
}  # fmt: skip


@pytest.fixture
def write(pipeline, tmp_path):
    """``write(format)`` exports the box from a picture and returns the file and its record."""

    def run(file_format):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        (folder / "chair ä.png").write_bytes(b"x")
        output = tmp_path / file_format
        bpy.ops.image_to_mesh.batch(
            directory=str(folder), output=str(output), format=file_format, detail="LOW"
        )
        record = json.loads((output / "chair ä.json").read_text(encoding="utf-8"))
        return output / f"chair ä.{SUFFIX[file_format]}", record

    return run


def project_by_record(record, points):
    """What a reader does who knows nothing but the JSON: a camera that looks along -z."""
    camera = record["camera"]
    matrix = np.array(camera["matrix_world"])
    local = (points - matrix[:3, 3]) @ matrix[:3, :3]
    assert (local[:, 2] < 0).all()
    focal = camera["width"] / 2 / np.tan(camera["fov_x"] / 2)
    x = local[:, 0] / -local[:, 2] * focal + camera["width"] / 2
    y = camera["height"] / 2 - local[:, 1] / -local[:, 2] * focal
    return np.stack([x, y], axis=1)


def expected_pixels(result):
    camera = result.camera
    local = (result.mesh.positions - camera.matrix[:3, 3]) @ camera.matrix[:3, :3]
    focal = camera.width / 2 / np.tan(camera.fov_x / 2)
    return local[:, :2] / local[:, 2:] * focal + np.array([camera.width, camera.height]) / 2


def assert_same_points(found, wanted):
    """Each found point lies on a wanted one and the other way round."""
    distance = np.linalg.norm(found[:, None] - wanted[None], axis=2)
    assert distance.min(axis=1).max() < 1e-2
    assert distance.min(axis=0).max() < 1e-2


@pytest.mark.parametrize("file_format", ["GLB", "OBJ", "STL", "PLY"])
def test_the_camera_fits_the_files_own_axes(write, reconstruction, file_format):
    path, record = write(file_format)
    mesh = trimesh.load(path, force="mesh", process=False)
    found = project_by_record(record, np.asarray(mesh.vertices))
    assert_same_points(found, expected_pixels(reconstruction()))


IMPORTERS = {
    "FBX": lambda path: bpy.ops.import_scene.fbx(filepath=path),
    "USD": lambda path: bpy.ops.wm.usd_import(filepath=path),
    "GLB": lambda path: bpy.ops.import_scene.gltf(filepath=path),
    "OBJ": lambda path: bpy.ops.wm.obj_import(filepath=path),
}
Y_UP = np.array([[1, 0, 0], [0, 0, 1], [0, -1, 0]])


@pytest.mark.parametrize("file_format", IMPORTERS)
def test_blender_reads_back_mesh_textures_and_camera(write, reconstruction, file_format):
    path, record = write(file_format)
    bpy.ops.wm.read_homefile(use_empty=True)
    IMPORTERS[file_format](str(path))
    bpy.context.view_layer.update()
    (obj,) = [o for o in bpy.data.objects if o.type == "MESH"]
    assert len(obj.data.polygons) in {7, 12}  # glTF holds triangles only
    points = np.array([obj.matrix_world @ v.co for v in obj.data.vertices])
    own_axes = points if file_format == "USD" else points @ Y_UP.T
    pixels = project_by_record(record, own_axes)
    assert_same_points(pixels, expected_pixels(reconstruction()))
    with_pixels = [image.name for image in bpy.data.images if image.size[0] == 64]
    assert with_pixels
    if file_format != "OBJ":  # OBJ files hold no cameras
        (camera,) = [o for o in bpy.data.objects if o.type == "CAMERA"]
        wanted = np.array(record["camera"]["matrix_world"])[:3, 3]
        place = np.array(camera.matrix_world.translation)
        own = place if file_format == "USD" else Y_UP @ place
        np.testing.assert_allclose(own, wanted, atol=1e-3)


def test_fbx_numbers_are_metres(write):
    path, _record = write("FBX")
    data = path.read_bytes()
    at = data.index(b"UnitScaleFactor")
    assert b"d" in data[at : at + 60]
    value = np.frombuffer(data[data.rindex(b"D", at, at + 60) + 1 :][:8], "<f8")[0]
    assert value == 100.0  # centimetres per unit


def test_blend_opens_on_its_scene_with_textures_and_camera(write):
    path, record = write("BLEND")
    bpy.ops.wm.open_mainfile(filepath=str(path), load_ui=False)
    scene = bpy.context.scene
    assert {o.name for o in scene.objects} == {"chair ä", "chair ä Camera"}
    assert scene.camera.name == "chair ä Camera"
    np.testing.assert_allclose(
        np.array(scene.camera.matrix_world), record["camera"]["matrix_world"], atol=1e-6
    )
    assert (scene.render.resolution_x, scene.render.resolution_y) == (60, 90)
    assert bpy.data.images["chair ä Base Color"].packed_file is not None


def test_usd_textures_stay_beside_the_file(write):
    path, _record = write("USD")
    names = sorted(p.relative_to(path.parent).as_posix() for p in path.parent.rglob("*.*"))
    assert not [n for n in names if n.startswith(".")]
    assert len([n for n in names if n.endswith(".png")]) >= 3


def test_obj_material_names_its_textures_without_folders(write):
    path, _record = write("OBJ")
    lines = path.with_name("chair_ä.mtl").read_text(encoding="utf-8").splitlines()
    maps = [line for line in lines if line.startswith("map_")]
    assert maps
    for line in maps:
        named = line.split(maxsplit=1)[1].split("-bm 1.000000 ")[-1]
        assert (path.parent / named).is_file(), line


def test_ply_has_the_textures_colours(write, reconstruction):
    path, _record = write("PLY")
    mesh = trimesh.load(path, process=False)
    colours = mesh.visual.vertex_colors[:, None, :3].astype(int)
    texels = reconstruction().material.base_color.reshape(1, -1, 3).astype(int)
    assert np.abs(colours - texels).max(axis=2).min(axis=1).max() <= 2


def test_glb_holds_three_textures_and_a_camera(write):
    path, _record = write("GLB")
    data = path.read_bytes()
    length = int.from_bytes(data[12:16], "little")
    scene = json.loads(data[20 : 20 + length])
    (material,) = scene["materials"]
    pbr = material["pbrMetallicRoughness"]
    assert {"baseColorTexture", "metallicRoughnessTexture"} <= pbr.keys()
    assert "normalTexture" in material
    assert scene["cameras"][0]["perspective"]["aspectRatio"] == pytest.approx(60 / 90)
    extras = next(n["extras"] for n in scene["nodes"] if "mesh" in n)
    assert extras["image_to_mesh_engine"] == "object"


def test_record_says_everything_about_the_result(write):
    _path, record = write("GLB")
    assert (record["status"], record["message"], record["picture"]) == (
        "done", "A note.", "chair ä.png",
    )  # fmt: skip
    assert (record["engine"], record["model"]) == ("object", "test 1 (00000000)")
    assert record["settings"]["detail"] == "low"
    assert record["stages"][0] == {"name": "Boxing", "seconds": 0.1, "peak_mb": 100.0}
    assert [s["name"] for s in record["stages"]][1:] == [
        "Building in Blender", "Writing the file",
    ]  # fmt: skip
    assert (record["faces"], record["vertices"], record["watertight"]) == (7, 8, True)
    assert (record["camera"]["width"], record["camera"]["height"]) == (60, 90)
    assert {"image_to_mesh", "blender", "python", "numpy", "torch", "opencv"} <= set(
        record["versions"]
    )
