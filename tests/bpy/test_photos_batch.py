"""Batches of photo sets: results among the photos, photos that change, odd names."""

import json
import shutil
import sys
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.errors import OutputError
from image_to_mesh.inference.views.contracts import SparsePoints, View, ViewsReconstruction
from image_to_mesh.inference.views.photos.gather import find
from image_to_mesh.operators import command
from image_to_mesh.operators.photos.batch import photo_sets
from image_to_mesh.operators.scene.photos import PreparedViews


@pytest.fixture
def sets(tmp_path):
    """A folder with two sets of photos."""
    for name in ("one", "two"):
        synthetic.write_orbit(tmp_path / "many" / name, synthetic.orbit(3, 32), cameras=False)
    return tmp_path / "many"


@pytest.fixture
def stub(monkeypatch, reconstruction):
    """Stands in for the worker; calls ``stub.meanwhile`` while it works."""

    class Stub(list):
        meanwhile = staticmethod(lambda: None)

    asked = Stub()

    def run(request, _report, watch=None):
        asked.append(request)
        asked.meanwhile()
        base = reconstruction("cup", engine="views", stages=())
        shots = synthetic.orbit(2, 32)
        views = [
            View(f"{n}.png", s.pixels, None, None, CameraArrays(s.matrix, s.fov_x, 32, 32), None)
            for n, s in enumerate(shots)
        ]
        fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
        return ViewsReconstruction(**fields, views=tuple(views), points=SparsePoints.empty())

    monkeypatch.setattr(engine, "run", run)
    return asked


@pytest.mark.parametrize("file_format", ["obj", "usd", "stl"])
def test_results_among_the_sets_are_no_sets(stub, sets, capsys, file_format):
    arguments = ["--photos", str(sets), "-o", str(sets), "--format", file_format, "-q"]
    assert command.run_cli(arguments) == 0
    assert [path.name for path in photo_sets(sets)] == ["one", "two"]
    assert command.run_cli(arguments) == 0
    assert len(stub) == 2
    log = [json.loads(line) for line in (sets / "batch.jsonl").read_text().splitlines()]
    assert [line["status"] for line in log] == ["done", "done", "skipped", "skipped"]


@pytest.mark.parametrize("below", [".", "results"])
def test_results_among_the_photos_are_no_photos(stub, sets, capsys, monkeypatch, below):
    folder = sets / "one"
    for path in (folder / "images").iterdir():
        path.rename(folder / path.name)  # the textures will lie right beside them
    photos = find([folder]).photos
    monkeypatch.chdir(folder)  # the same folder by another name
    arguments = ["--photos", str(folder), "-o", below, "--format", "obj", "-q"]
    assert command.run_cli(arguments) == 0
    assert command.run_cli(arguments) == 0
    assert len(stub) == 1
    assert command.run_cli([*arguments, "--overwrite"]) == 0
    assert len(stub) == 2
    assert find(list(stub[1].inputs), stub[1].ignored).photos == photos
    assert command.run_cli(arguments) == 0
    assert len(stub) == 2


def test_photos_that_change_while_they_are_worked_on_are_not_vouched_for(stub, sets, capsys):
    photo = sets / "one" / "images" / "shot0.png"
    stub.meanwhile = lambda: photo.write_bytes(b"another photo")
    arguments = ["--photos", str(sets / "one"), "-o", str(sets / "out"), "--format", "stl", "-q"]
    assert command.run_cli(arguments) == 0
    stub.meanwhile = lambda: None
    assert command.run_cli(arguments) == 1
    assert "from an older one" in capsys.readouterr().err


def test_photos_that_vanish_while_they_are_worked_on_are_done(stub, sets):
    stub.meanwhile = lambda: shutil.rmtree(sets / "one", ignore_errors=True)
    arguments = ["--photos", str(sets / "one"), "-o", str(sets / "out"), "--format", "stl", "-q"]
    assert command.run_cli(arguments) == 0


def test_hidden_photos_make_no_set(tmp_path):
    (tmp_path / "mac").mkdir()
    (tmp_path / "mac" / "._shot.jpg").write_bytes(b"\0\5\x16\7")
    with pytest.raises(OutputError, match="no photos and no videos"):
        photo_sets(tmp_path)


@pytest.mark.skipif(sys.platform == "win32", reason="no such names there")
def test_a_photo_that_blender_would_not_find_is_packed(reconstruction, tmp_path):
    pixels = np.zeros((8, 8, 3), np.uint8)
    camera = CameraArrays(np.eye(4), 0.7, 8, 8)
    paths = [tmp_path / "plain.png", tmp_path / r"back\slash.png", tmp_path / "gone.png"]
    for path in paths[:2]:
        path.write_bytes(b"x")
    views = tuple(View(p.name, pixels, None, None, camera, Path(p)) for p in paths)
    base = reconstruction("cup", engine="views")
    fields = {name: getattr(base, name) for name in base.__dataclass_fields__}
    result = ViewsReconstruction(**fields, views=views, points=SparsePoints.empty())
    prepared = PreparedViews.from_reconstruction(result)
    assert [photo is None for photo in prepared.photos] == [True, False, False]
