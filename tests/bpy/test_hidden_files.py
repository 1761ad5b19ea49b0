"""Files that Macs, cameras and network drives leave beside pictures are no pictures."""

import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.inference.errors import OutputError
from image_to_mesh.operators import command
from image_to_mesh.operators.batch.inputs import pictures_in
from image_to_mesh.operators.photos.batch import photo_sets, photos_fingerprint

HIDDEN = ("._IMG_0001.png", ".thumb.jpg", "Thumbs.db")


def add(folder, *names):
    folder.mkdir(parents=True, exist_ok=True)
    for name in names:
        (folder / name).write_bytes(name.encode())


def test_batch_passes_hidden_files_over(pipeline, tmp_path, capsys):
    add(tmp_path / "in", "IMG_0001.png", *HIDDEN)
    assert (
        command.run_cli([str(tmp_path / "in"), "-o", str(tmp_path / "out"), "--format", "ply"]) == 0
    )
    assert [request.source.path.name for request in pipeline.requests] == ["IMG_0001.png"]
    assert capsys.readouterr().err == ""


def test_folder_of_nothing_but_hidden_files_has_no_picture(tmp_path):
    add(tmp_path / "in", *HIDDEN)
    with pytest.raises(OutputError, match="no picture"):
        pictures_in(tmp_path / "in")
    with pytest.raises(OutputError, match="no photos"):
        photo_sets(tmp_path / "in")


def test_hidden_files_that_come_later_make_no_older_set(tmp_path):
    add(tmp_path / "chair", "1.jpg", "2.jpg")
    before = photos_fingerprint(tmp_path / "chair", frozenset())
    add(tmp_path / "chair", ".DS_Store", *HIDDEN)
    add(tmp_path / "chair" / "@eaDir", "1.jpg")
    assert photos_fingerprint(tmp_path / "chair", frozenset()) == before
    add(tmp_path / "chair" / "more", "3.jpg")
    assert photos_fingerprint(tmp_path / "chair", frozenset()) != before


def test_sets_of_photos_are_looked_for_among_visible_folders(tmp_path):
    add(tmp_path, "._walk.mp4", "walk.mp4", *HIDDEN)
    for name in ("chair", "__MACOSX", "@eaDir", ".cache"):
        add(tmp_path / name, "1.jpg", "2.jpg")
    add(tmp_path / "only_hidden", *HIDDEN)
    assert [path.name for path in photo_sets(tmp_path)] == ["walk.mp4", "chair"]
