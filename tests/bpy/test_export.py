"""Every format: the file holds the result, and the JSON's camera fits the file's own axes."""

import json
import re
import shutil
import subprocess
from collections import Counter

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
    """``write(format)`` exports the box from a picture; returns the file and its record."""

    def run(file_format, name="chair ä"):
        folder = tmp_path / "in"
        folder.mkdir(exist_ok=True)
        (folder / f"{name}.png").write_bytes(b"x")
        output = tmp_path / file_format
        bpy.ops.image_to_mesh.batch(
            directory=str(folder), output=str(output), format=file_format, detail="LOW"
        )
        (path,) = output.glob(f"*.{SUFFIX[file_format]}")
        return path, json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))

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


def read_strictly(path):
    """An OBJ file and its materials, by a reader that knows the Wavefront format and nothing else.

    It splits lines at spaces, as small readers such as tinyobjloader do, and takes no line that is
    not in the format's description.
    """
    counts, materials, used = Counter(), {}, set()
    for line in path.read_text(encoding="utf-8").splitlines():
        word, *values = line.split("#")[0].split() or [""]
        counts[word] += 1
        if word == "mtllib":
            (name,) = values
            for text in (path.parent / name).read_text(encoding="utf-8").splitlines():
                key, *rest = text.split("#")[0].split() or [""]
                if key == "newmtl":
                    (current,) = rest
                    materials[current] = {}
                elif key.startswith(("map_", "bump", "disp", "decal", "refl")):
                    (file,) = rest  # options would be for readers that know them
                    assert (path.parent / file).is_file(), text
                    materials[current][key] = file
                elif key:
                    assert key in {"Ka", "Kd", "Ks", "Ke", "Ns", "Ni", "d", "illum"}, text
                    materials[current][key] = [float(value) for value in rest]
        elif word == "usemtl":
            (name,) = values
            used.add(name)
        else:
            assert word in {"", "v", "vt", "vn", "f", "o", "g", "s"}, line
    assert used == materials.keys()
    return counts, materials


@pytest.mark.parametrize("name", ["chair ä", "my chair (1)", "-o", "a#b", "C:x y\tz"])
def test_small_readers_read_obj(write, name):
    path, record = write("OBJ", name)
    counts, materials = read_strictly(path)
    assert (counts["v"], counts["f"]) == (record["vertices"], record["faces"])
    (material,) = materials.values()
    textures = {key: file for key, file in material.items() if isinstance(file, str)}
    assert textures.keys() == {"map_Kd", "map_Ns", "map_bump"}
    assert len(set(textures.values())) == 3
    assert material["Kd"] == [1, 1, 1]
    assert set(record["files"]) == {p.name for p in path.parent.iterdir()} - {
        "batch.jsonl", path.with_suffix(".json").name,
    }  # fmt: skip


@pytest.mark.parametrize("file_format", ["OBJ", "FBX", "GLB", "STL", "PLY"])
def test_assimp_reads_it(write, file_format):
    """The library behind many viewers and engines, as Debian has it."""
    assimp = shutil.which("assimp")
    if assimp is None:
        pytest.skip("needs the program assimp (Debian: assimp-utils)")
    path, record = write(file_format)
    told = subprocess.run(
        [assimp, "info", path.name], cwd=path.parent, capture_output=True, text=True, check=False
    )
    assert told.returncode == 0, told.stdout
    assert "Failed" not in told.stdout + told.stderr
    faces = re.search(r"^Faces:\s+(\d+)", told.stdout, re.MULTILINE)
    assert int(faces[1]) == 12
    low, high = (
        np.array(re.search(rf"{word} point\s+\((.*?)\)", told.stdout)[1].split(), float)
        for word in ("Minimum", "Maximum")
    )
    scale = 1 / record["metres_per_unit"]
    if file_format in {"OBJ", "FBX", "GLB"}:  # y up
        np.testing.assert_allclose(low, np.array([-0.3, 0, -0.2]) * scale, atol=1e-5)
        np.testing.assert_allclose(high, np.array([0.3, 1, 0.2]) * scale, atol=1e-5)
    else:
        np.testing.assert_allclose(low, np.array([-0.3, -0.2, 0]) * scale, atol=1e-3)
        np.testing.assert_allclose(high, np.array([0.3, 0.2, 1]) * scale, atol=1e-3)
    if file_format == "OBJ":
        assert re.search(r"\$tex\.file.*Diffuse", told.stdout)
        assert re.search(r"\$tex\.file.*(Height|Normals)", told.stdout)
    if file_format == "FBX":
        assert re.search(r"Textures \(embed\.\):\s+3", told.stdout)


def normal_map_of(obj):
    """The image that turns an object's normals, by the nodes of its material."""
    shader = next(
        n for n in obj.active_material.node_tree.nodes if n.bl_idname == "ShaderNodeBsdfPrincipled"
    )
    node = shader.inputs["Normal"].links[0].from_node
    assert node.bl_idname == "ShaderNodeNormalMap"
    return node.inputs["Color"].links[0].from_node.image


@pytest.mark.parametrize("file_format", ["OBJ", "FBX", "GLB", "USD"])
def test_textures_are_found_where_the_file_is_moved(write, tmp_path, file_format):
    path, _record = write(file_format)
    moved = tmp_path / "elsewhere"
    path.parent.rename(moved)
    bpy.ops.wm.read_homefile(use_empty=True)
    IMPORTERS[file_format](str(moved / path.name))
    (obj,) = [o for o in bpy.data.objects if o.type == "MESH"]
    normal = normal_map_of(obj)
    assert tuple(normal.size) == (64, 64)
    assert "Normal" in normal.name
    sizes = [tuple(image.size) for image in bpy.data.images if image.type == "IMAGE"]
    assert sizes == [(64, 64)] * 3


def test_fbx_names_no_folder_of_ours(write, tmp_path):
    path, _record = write("FBX")
    data = path.read_bytes()
    for text in (str(tmp_path), ".image_to_mesh", ".fbm", str(path.parent)):
        assert text.encode() not in data
    assert data.count(b"chair_\xc3\xa4_Base_Color.png") >= 3


def fbx_nodes(path):
    parse_fbx = pytest.importorskip("io_scene_fbx.parse_fbx")  # Blender's own
    root, _version = parse_fbx.parse(str(path))
    return {elem.id: elem for elem in root.elems}


def test_fbx_turns_the_mesh_and_not_its_node(write):
    path, _record = write("FBX")
    nodes = fbx_nodes(path)
    models = [elem for elem in nodes[b"Objects"].elems if elem.id == b"Model"]
    (mesh,) = [elem for elem in models if elem.props[2] == b"Mesh"]
    (properties,) = [elem for elem in mesh.elems if elem.id == b"Properties70"]
    placed = {elem.props[0]: elem.props[4:] for elem in properties.elems}
    assert placed.get(b"Lcl Rotation", [0.0] * 3) == pytest.approx([0.0] * 3, abs=1e-6)
    assert placed.get(b"Lcl Scaling", [1.0] * 3) == pytest.approx([1.0] * 3)
    assert b"PreRotation" not in placed
    (geometry,) = [elem for elem in nodes[b"Objects"].elems if elem.id == b"Geometry"]
    (vertices,) = [elem for elem in geometry.elems if elem.id == b"Vertices"]
    points = np.array(vertices.props[0]).reshape(-1, 3)
    np.testing.assert_allclose(points.min(axis=0), [-0.3, 0, -0.2], atol=1e-6)  # y is up
    np.testing.assert_allclose(points.max(axis=0), [0.3, 1, 0.2], atol=1e-6)


def test_stl_is_in_millimetres_and_says_so(write):
    path, record = write("STL")
    mesh = trimesh.load(path, process=False)
    np.testing.assert_allclose(mesh.extents, [600, 400, 1000], rtol=1e-5)
    assert record["metres_per_unit"] == 0.001
    place = np.array(record["camera"]["matrix_world"])[:3, 3]
    np.testing.assert_allclose(place, [800, -2500, 1400], rtol=1e-6)


@pytest.mark.parametrize("file_format", sorted(SUFFIX))
def test_every_file_is_in_the_record(write, file_format):
    path, record = write(file_format)
    listed = {path.parent / name for name in record["files"]}
    others = {path.parent / "batch.jsonl", path.with_suffix(".json")}
    assert listed == {p for p in path.parent.rglob("*") if p.is_file()} - others
    assert path in listed
    if file_format != "STL":
        assert record["metres_per_unit"] == 1.0


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
