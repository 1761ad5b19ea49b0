"""Size and north from GPS positions: only where they say more than their error."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import PictureFile, Place
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.picture.files.exif import read_exif
from image_to_mesh.inference.picture.files.load import load_picture
from image_to_mesh.inference.views.contracts import ViewsRequest
from image_to_mesh.inference.views.photos.gps import EARTH_RADIUS, fit_to_places
from PIL import Image

GPS_IFD = 0x8825
HOME = (-33.8568, 151.2153)  # south and east, so that a lost sign shows


def place_at(east: float, north: float, error: float | None = None) -> Place:
    """A place some metres from home."""
    latitude = HOME[0] + math.degrees(north / EARTH_RADIUS)
    longitude = HOME[1] + math.degrees(east / EARTH_RADIUS / math.cos(math.radians(HOME[0])))
    return Place(latitude, longitude, error)


def ring(radius_m: float, count: int, unit_m: float, turn: float, noise_m: float = 0.0):
    """Cameras on a ring in a frame of units, turned from the map, and what GPS says of them."""
    random = np.random.default_rng(1)
    angle = np.linspace(0, 2 * np.pi, count, endpoint=False)
    on_map = radius_m * np.exp(1j * angle)
    plane = on_map * np.exp(-1j * turn) / unit_m
    cameras = np.stack([plane.real, np.full(count, -1.0), plane.imag], axis=1)
    told = on_map + noise_m * (random.normal(size=count) + 1j * random.normal(size=count))
    return cameras, [place_at(z.real, z.imag) for z in told]


def test_size_and_north_of_a_large_ring():
    cameras, places = ring(40.0, 24, 5.0, 0.8, noise_m=2.0)
    fit = fit_to_places(cameras, places)
    assert fit is not None
    assert fit.is_usable
    assert fit.metres_per_unit == pytest.approx(5.0, rel=0.05)
    assert fit.turn == pytest.approx(0.8, abs=0.05)
    assert fit.span == pytest.approx(80, rel=0.1)
    assert abs(fit.metres_per_unit / 5.0 - 1) < fit.unsure < 0.15


def test_positions_of_a_table_are_not_believed():
    cameras, places = ring(2.0, 24, 0.5, 0.8, noise_m=4.0)
    fit = fit_to_places(cameras, places)
    assert fit is not None
    assert not fit.is_usable


def test_positions_that_do_not_fit_the_cameras_are_not_believed():
    cameras, places = ring(40.0, 24, 5.0, 0.8)
    shuffled = np.random.default_rng(0).permutation(24)
    fit = fit_to_places(cameras, [places[index] for index in shuffled])
    assert fit is not None
    assert not fit.is_usable


def test_what_the_camera_tells_of_its_error_counts():
    cameras, places = ring(40.0, 24, 5.0, 0.8)
    vague = [Place(place.latitude, place.longitude, 30.0) for place in places]
    fit = fit_to_places(cameras, vague)
    assert fit is not None
    assert fit.error == pytest.approx(30.0)
    assert not fit.is_usable


def test_single_strays_do_not_matter():
    cameras, places = ring(40.0, 24, 5.0, 0.8, noise_m=1.0)
    places[3], places[17] = place_at(900.0, -400.0), place_at(-300.0, 700.0)
    fit = fit_to_places(cameras, places)
    assert fit is not None
    assert fit.is_usable
    assert fit.metres_per_unit == pytest.approx(5.0, rel=0.05)
    assert fit.span < 100


def test_one_position_for_all_photos_is_none():
    cameras, places = ring(40.0, 24, 5.0, 0.8)
    assert fit_to_places(cameras, [places[0]] * 24) is None
    assert fit_to_places(cameras[:4], places[:4]) is None


def gps_block(place: Place) -> Image.Exif:
    exif = Image.Exif()
    fields = exif.get_ifd(GPS_IFD)
    fields[1], fields[3] = "S" if place.latitude < 0 else "N", "W" if place.longitude < 0 else "E"
    for tag, value in ((2, abs(place.latitude)), (4, abs(place.longitude))):
        degrees, minutes = int(value), int(value % 1 * 60)
        fields[tag] = (float(degrees), float(minutes), round(value * 3600 % 60, 6))
    if place.error is not None:
        fields[31] = place.error
    return exif


@pytest.mark.parametrize("place", [Place(*HOME, 4.5), Place(48.8584, -2.2945)])
def test_a_photo_tells_where_it_was_taken(tmp_path, place):
    Image.new("RGB", (32, 24), (9, 99, 200)).save(tmp_path / "a.jpg", exif=gps_block(place))
    found = load_picture(PictureFile(tmp_path / "a.jpg")).place
    assert found is not None
    assert found.latitude == pytest.approx(place.latitude, abs=1e-7)
    assert found.longitude == pytest.approx(place.longitude, abs=1e-7)
    assert found.error == place.error


def test_a_camera_without_a_fix_tells_nothing():
    assert read_exif(gps_block(Place(0.0, 0.0)).tobytes()).place is None
    assert read_exif(Image.Exif().tobytes()).place is None
    broken = gps_block(Place(*HOME))
    del broken.get_ifd(GPS_IFD)[1]
    assert read_exif(broken.tobytes()).place is None
    far = gps_block(Place(*HOME))
    far.get_ifd(GPS_IFD)[2] = (400.0, 0.0, 0.0)
    assert read_exif(far.tobytes()).place is None


def test_photos_of_a_building_become_as_large_as_it_is_and_face_north(tmp_path):
    """A cube of 20 m, seen from 60 m away; the first camera stands west of it."""
    shots = synthetic.orbit(6, 64, (15.0, 40.0))
    folder = tmp_path / "house"
    synthetic.write_orbit(folder, shots)
    record = json.loads((folder / "transforms.json").read_text())
    for index, (shot, frame) in enumerate(zip(shots, record["frames"], strict=True)):
        x, _, z = 20.0 * shot.matrix[:3, 3]
        path = folder / frame["file_path"]
        # A quarter turn: what is ahead of the first camera (+z) lies east.
        Image.open(path).save(path.with_suffix(".jpg"), quality=95, exif=gps_block(place_at(z, -x)))
        path.unlink()
        frame["file_path"] = f"images/shot{index}.jpg"
    (folder / "transforms.json").write_text(json.dumps(record))
    request = ViewsRequest(
        inputs=(folder,), detail="low", texture_size=256, surface="fused", is_measured=True
    )
    result = engine.run(request, lambda share, words: None)
    assert any("GPS" in note and "North is along +Y" in note for note in result.notes)
    found = np.array([view.camera.matrix[[0, 2], 3] for view in result.views])
    truth = np.array([20.0 * shot.matrix[[2, 0], 3] * (1, -1) for shot in shots])
    offset = (found - truth).mean(axis=0)  # the result stands on the middle of its footprint
    assert np.abs(offset).max() < 3
    np.testing.assert_allclose(found - offset, truth, atol=0.1)
    # Few outlines leave a hull that is larger than the cube.
    assert 20 < np.ptp(result.mesh.positions[:, 1]) < 32
