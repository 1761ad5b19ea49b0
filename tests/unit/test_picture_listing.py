"""Hidden files are passed over wherever a folder is looked through."""

import os
import sys

import pytest
from image_to_mesh.inference.picture import listing
from image_to_mesh.inference.picture.listing import is_hidden
from image_to_mesh.inference.views.photos.gather import find

HIDDEN = ["._IMG_0001.jpg", ".DS_Store", ".hidden.png", "Thumbs.db", "desktop.ini"]
HIDDEN_FOLDERS = [".thumbnails", "__MACOSX", "@eaDir", "$RECYCLE.BIN", "#recycle"]


def visible_in(folder):
    return sorted(path for path in folder.iterdir() if not is_hidden(path))


@pytest.fixture
def card(tmp_path):
    """A folder as it comes from a Mac over a network drive."""
    for name in ("IMG_0002.jpg", "IMG_0001.jpg", "_MG_0003.JPG", *HIDDEN):
        (tmp_path / name).write_bytes(b"x")
    for name in ("more", *HIDDEN_FOLDERS):
        (tmp_path / name).mkdir()
        (tmp_path / name / "IMG_0001.jpg").write_bytes(b"x")
    return tmp_path


def test_what_a_person_sees(card):
    names = ["IMG_0001.jpg", "IMG_0002.jpg", "_MG_0003.JPG", "more"]
    assert [path.name for path in visible_in(card)] == names


def test_photos_of_a_folder(card):
    names = ["IMG_0001.jpg", "IMG_0002.jpg", "_MG_0003.JPG"]
    assert sorted(path.name for path in find([card]).photos) == names


def test_photos_in_folders_below(card):
    for path in card.glob("*.jpg"):
        path.unlink()
    (card / "_MG_0003.JPG").unlink()
    assert find([card]).photos == [card / "more" / "IMG_0001.jpg"]


def test_what_is_named_is_not_passed_over(card):
    """Hidden counts for what is listed, not for the way there."""
    assert not is_hidden(card / ".thumbnails" / "IMG_0001.jpg")
    assert visible_in(card / ".thumbnails") == [card / ".thumbnails" / "IMG_0001.jpg"]
    assert find([card / ".hidden.png"]).photos == [card / ".hidden.png"]


@pytest.mark.parametrize(
    "marks", [{"st_file_attributes": 2}, {"st_file_attributes": 4}, {"st_flags": 0x8000}]
)
def test_files_that_other_systems_mark_as_hidden(card, monkeypatch, marks):
    class Marked:
        def __init__(self, **values):
            self.__dict__.update(values)

    status = os.lstat

    def lstat(path):
        plain = status(path)
        return Marked(**marks) if os.fspath(path).endswith("IMG_0002.jpg") else plain

    monkeypatch.setattr(listing.os, "lstat", lstat)
    assert [path.name for path in visible_in(card)] == ["IMG_0001.jpg", "_MG_0003.JPG", "more"]


@pytest.mark.skipif(sys.platform == "win32", reason="links need rights there")
def test_links_to_nowhere_and_missing_files(tmp_path):
    (tmp_path / "link.png").symlink_to(tmp_path / "gone.png")
    assert visible_in(tmp_path) == [tmp_path / "link.png"]
    assert not is_hidden(tmp_path / "gone" / "picture.png")
