"""Views from a thing's sides: what is named front faces the viewer, in whatever order files come."""

import cv2
import numpy as np
import pytest
from image_to_mesh.inference.engines import views
from image_to_mesh.inference.errors import MissingPackage, PictureError
from image_to_mesh.inference.views.cameras import estimate, turntable
from image_to_mesh.inference.views.contracts import Photo, ViewsRequest

COLOURS = {"front": (220, 40, 40), "left": (40, 40, 220), "back": (40, 200, 40)}
COLOURS["right"] = (220, 200, 40)
SIZES = {"front": 40, "back": 40, "left": 24, "right": 24}  # widths in pixels


def silent(_share, _name):
    pass


def write_sides(folder, names):
    """A box of 40 x 60 x 24 with a colour for each side, as pictures with transparency."""
    folder.mkdir()
    for side, name in names.items():
        pixels = np.zeros((96, 96, 4), np.uint8)
        half = SIZES[side] // 2
        pixels[18:78, 48 - half : 48 + half] = (*COLOURS[side][::-1], 255)
        cv2.imwrite(str(folder / name), pixels)


def photo(name):
    mask = np.zeros((64, 64), np.float32)
    mask[16:48, 24:40] = 1
    return Photo(name, np.zeros((64, 64, 3), np.uint8), mask, None, None, "g")


def placed(names, **options):
    """Degrees around the vertical at which the pictures were taken; 0 is in front of the thing."""
    solved = turntable.turntable([photo(name) for name in names], **options)
    places = [solved.poses[name].matrix[:3, 3] for name in names]
    return [round(np.degrees(np.arctan2(x, -z))) % 360 for x, _y, z in places]


@pytest.mark.parametrize(
    "names",
    [
        {side: f"{side}.png" for side in COLOURS},  # back comes first in the alphabet
        {"left": "1 left.png", "back": "2 back.png", "right": "3.png", "front": "4 FRONT.png"},
    ],
)
def test_the_front_faces_the_viewer_whatever_the_order_of_files(tmp_path, names):
    write_sides(tmp_path / "box", names)
    request = ViewsRequest(
        inputs=(tmp_path / "box",), cameras="turntable", surface="fused", detail="low",
        texture_size=256,
    )  # fmt: skip
    result = views.run(request, silent)
    # The result's camera is that of the front, and looks along +z.
    np.testing.assert_allclose(result.camera.matrix[:3, 2], [0, 0, 1], atol=1e-6)
    assert result.views[0].name == names["front"]
    middle = result.picture[48, 48, :3].astype(int)
    assert np.abs(middle - COLOURS["front"]).max() < 30
    # The side of the mesh that faces the viewer has the front's colour, the far one the back's.
    mesh, texture = result.mesh, result.material.base_color
    faces = mesh.corners.reshape(len(mesh.face_sizes), -1)
    centres = mesh.positions[faces].mean(axis=1)
    uvs = mesh.corner_uvs.reshape(*faces.shape, 2).mean(axis=1)
    columns = (uvs[:, 0] * texture.shape[1]).astype(int)
    rows = ((1 - uvs[:, 1]) * texture.shape[0]).astype(int)
    colours = texture[rows, columns].astype(int)
    inner = np.abs(centres[:, 0]) < 0.2
    depth = np.ptp(mesh.positions[:, 2])
    for side, is_there in (
        ("front", centres[:, 2] < mesh.positions[:, 2].min() + 0.1 * depth),
        ("back", centres[:, 2] > mesh.positions[:, 2].max() - 0.1 * depth),
    ):
        shown = np.median(colours[inner & is_there], axis=0)
        assert np.abs(shown - COLOURS[side]).max() < 40, side
    assert np.ptp(mesh.positions[:, 0]) > 1.3 * depth  # as wide as the front, as deep as the side


def test_one_named_picture_tells_where_the_turn_begins():
    assert placed(["1.png", "2.png", "front.png", "4.png"]) == [180, 90, 0, 270]
    assert placed(["a.png", "b.png", "c.png", "d.png"]) == [0, 270, 180, 90]
    assert placed(["storefront1.png", "storefront2.png"]) == [0, 180]
    assert placed(["x.png", "front.png"], step=np.radians(30)) == [30, 0]


def nothing_matches(monkeypatch, error):
    def fail(*_arguments, **_options):
        raise error

    monkeypatch.setattr(estimate, "estimate_cameras", fail)
    monkeypatch.setattr("image_to_mesh.inference.views.cameras.source.estimate_cameras", fail)


@pytest.mark.parametrize(
    "error", [PictureError("No overlap: take more."), MissingPackage("No pycolmap: get it.")]
)
def test_named_sides_that_do_not_overlap_are_taken_as_sides(tmp_path, monkeypatch, error):
    write_sides(tmp_path / "box", {side: f"cup {side}.png" for side in COLOURS})
    nothing_matches(monkeypatch, error)
    shares = []
    request = ViewsRequest(
        inputs=(tmp_path / "box",), surface="fused", detail="low", texture_size=256
    )
    result = views.run(request, lambda share, _name: shares.append(share))
    np.testing.assert_allclose(result.camera.matrix[:3, 2], [0, 0, 1], atol=1e-6)
    assert turntable.TAKEN_AS_SIDES in result.notes
    assert shares == sorted(shares)


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ({"left": "left.png", "right": "right.png"}, {}),  # those of one's eyes
        ({"left": "left.png", "back": "back.png", "right": "right.png"}, {}),
        ({side: f"{side}.png" for side in COLOURS}, {"cameras": "estimate"}),
        ({side: f"{side}.png" for side in COLOURS}, {"kind": "place"}),
    ],
)
def test_other_pictures_that_do_not_overlap_are_an_error(tmp_path, monkeypatch, names, options):
    write_sides(tmp_path / "box", names)
    nothing_matches(monkeypatch, PictureError("No overlap: take more."))
    request = ViewsRequest(inputs=(tmp_path / "box",), detail="low", **options)
    with pytest.raises(PictureError, match="No overlap"):
        views.run(request, silent)
