"""A thing seen from straight ahead shows its plane of symmetry; other things show none."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from image_to_mesh.inference.camera import CropView, PinholeCamera
from image_to_mesh.inference.contracts import Shaping
from image_to_mesh.inference.engines.object import build_object
from image_to_mesh.inference.engines.upright import steadied_up
from image_to_mesh.inference.field.grid import GridField
from image_to_mesh.inference.field.observation import Observation
from image_to_mesh.inference.field.symmetry import (
    SymmetricField,
    find_mirror,
    made_symmetric,
    turned_plane,
)

SIZE = 96


def figure(shift=0.0, wave=0.0) -> Observation:
    """A body with a head and two coloured arms; ``wave`` lifts one arm, ``shift`` moves it all."""
    view = CropView.of(PinholeCamera(256, 256, 500.0), 0.0, 0.0, 256.0)
    steps = (np.arange(SIZE, dtype=np.float32) + 0.5) / SIZE * 2 - 1
    x, y = np.meshgrid(steps - np.float32(shift), steps)
    parts = [
        (np.hypot(x, y + 0.5) - 0.25, (0.9, 0.7, 0.5)),
        (np.maximum(np.abs(x) - 0.2, np.abs(y - 0.2) - 0.5), (0.1, 0.3, 0.8)),
        (np.hypot(x + 0.45, y - 0.1) - 0.16, (0.8, 0.1, 0.1)),
        (np.hypot(x - 0.45, y - 0.1 + wave) - 0.16, (0.8, 0.1, 0.1)),
    ]
    distance = np.min([part for part, _ in parts], axis=0)
    nearest = np.argmin([part for part, _ in parts], axis=0)
    z = np.sqrt(np.clip(-distance, 0, 1) * 0.5).astype(np.float32)
    normals = np.zeros((SIZE, SIZE, 3), np.float32)
    normals[..., 2] = -1
    return Observation(
        view=view,
        front=-z,
        back=z,
        normals=normals,
        up=np.array([0, -np.cos(0.2), -np.sin(0.2)], np.float32),
        mask=np.clip(0.5 - distance * SIZE / 2, 0, 1).astype(np.float32),
        colour=np.array([hue for _, hue in parts], np.float32)[nearest],
    )


def test_the_plane_is_found_where_it_is():
    for shift in (0.0, 0.1):
        mirror = find_mirror(figure(shift))
        assert mirror.is_strong
        assert mirror.column == pytest.approx(0.5 + shift / 2, abs=0.006)
        assert mirror.outline > 0.95


def test_a_thing_that_is_not_symmetric_has_none():
    assert not find_mirror(figure(wave=0.45)).is_strong
    painted = figure()
    colour = painted.colour.copy()
    colour[:, : SIZE // 2] = [1, 1, 0]
    assert not find_mirror(replace(painted, colour=colour)).is_strong


def test_both_halves_become_alike():
    uneven = figure(wave=0.12)
    mirror = find_mirror(uneven)
    even = made_symmetric(uneven, replace(mirror, column=0.5))
    for name in ("front", "back", "mask"):
        value = getattr(even, name)
        assert np.allclose(value, value[:, ::-1], atol=1e-4), name
    assert np.allclose(even.normals[..., 0], -even.normals[:, ::-1, 0], atol=1e-4)
    assert not np.allclose(uneven.mask, uneven.mask[:, ::-1], atol=0.1)


@pytest.mark.parametrize(("symmetry", "is_even"), [("off", False), ("auto", False), ("x", True)])
def test_the_setting_shapes_the_mesh(symmetry, is_even):
    observation = figure(wave=0.45)  # too uneven for Automatic
    result = build_object(
        observation, "low", 256, 1.0, lambda name: lambda share: None, Shaping(symmetry=symmetry)
    )
    positions = result.mesh.positions
    left, right = positions[positions[:, 0] < -0.12], positions[positions[:, 0] > 0.12]
    difference = abs(left[:, 1].mean() - right[:, 1].mean())
    assert (difference < 0.02) == is_even


def test_what_symmetry_adds_is_not_painted_with_the_background():
    observation = figure(wave=0.2)
    colour = np.where(observation.mask[..., None] > 0, observation.colour, (1.0, 0.0, 1.0))
    observation = replace(observation, colour=colour.astype(np.float32))
    stage = lambda name: lambda share: None  # noqa: E731
    made = build_object(observation, "low", 256, 1.0, stage, Shaping(symmetry="x"))
    red, green, blue = np.moveaxis(made.material.base_color.astype(int), -1, 0)
    assert not ((red > 200) & (green < 60) & (blue > 200)).any()


def test_a_frontal_symmetric_thing_stands_upright():
    stage = lambda name: lambda share: None  # noqa: E731
    upright = build_object(figure(), "low", 256, 1.0, stage).frame.rotation
    assert np.degrees(np.arccos(np.clip(-upright[1] @ [0, -1, 0], -1, 1))) < 1
    uneven = build_object(figure(wave=0.45), "low", 256, 1.0, stage).frame.rotation
    assert np.degrees(np.arccos(np.clip(-uneven[1] @ [0, -1, 0], -1, 1))) > 5
    assert steadied_up(np.array([0, -1, -0.2]), np.array([0, 0, 1.0]), 0.3)[2] == 0


def test_the_plane_of_a_turned_thing_goes_through_its_middle():
    turn, centre = 0.6, np.array([0.1, 0.0, 5.0])
    right = np.array([np.cos(turn), 0, np.sin(turn)])
    ahead = np.array([np.sin(turn), 0, -np.cos(turn)])
    axes = [np.linspace(c - 1, c + 1, 48) for c in centre]
    points = np.stack(np.meshgrid(*axes, indexing="ij"), axis=-1) - centre
    across, along = points @ right, points @ ahead
    box = np.maximum(np.maximum(abs(across) - 0.3, abs(points[..., 1]) - 0.4), abs(along) - 0.5)
    bite = np.maximum(0.15 - across, along + 0.3)  # a network missed a part of the hidden half
    grid = GridField(
        np.maximum(box, -bite).astype(np.float32),
        np.array([axis[0] for axis in axes], np.float32),
        float(axes[0][1] - axes[0][0]),
    )
    plane = turned_plane(grid, np.array([0, -1, 0], np.float32), turn)
    assert plane.normal == pytest.approx(right, abs=1e-6)
    assert plane.offset == pytest.approx(float(centre @ right), abs=0.03)
    whole = SymmetricField(grid, plane)
    some = np.random.default_rng(0).uniform(-1.3, 1.3, (200, 3)).astype(np.float32) + np.float32(
        centre
    )
    value = whole.query(some).distance
    assert whole.query(plane.reflected(some)).distance == pytest.approx(value, abs=1e-5)
    slope = whole.gradient(some)
    assert plane.turned(whole.gradient(plane.reflected(some))) == pytest.approx(slope, abs=1e-3)
    assert (whole.bounds.high - whole.bounds.low >= 2 - 1e-5).all()


def test_what_is_hidden_is_painted_like_its_visible_mirror_image():
    view = CropView.of(PinholeCamera(256, 256, 500.0), 0.0, 0.0, 256.0)
    steps = (np.arange(128, dtype=np.float32) + 0.5) / 128 * 2 - 1
    x, y = np.meshgrid(steps, steps)
    z = np.sqrt(np.clip(0.49 - x * x - y * y, 0, 1)).astype(np.float32)
    normals = np.dstack([x, y, -np.maximum(z, 0.02)]) / 0.7
    spot = np.hypot(x + 0.7 * np.sin(np.radians(20)), y) < 0.12  # on the picture's left
    colour = np.where(spot[..., None], [0.9, 0.1, 0.1], [0.1, 0.8, 0.1]).astype(np.float32)
    ball = Observation(
        view=view,
        front=-z,
        back=z,
        normals=(normals / np.linalg.norm(normals, axis=2, keepdims=True)).astype(np.float32),
        up=np.array([0, -1, 0], np.float32),
        mask=(np.hypot(x, y) < 0.7).astype(np.float32),
        colour=colour,
        surety=1.0,
    )

    def redness(shaping: Shaping) -> float:
        made = build_object(ball, "low", 256, 1.0, lambda _name: lambda _share: None, shaping)
        mesh = made.mesh
        corners = mesh.positions[mesh.corners.reshape(-1, int(mesh.face_sizes[0]))]
        middle = (
            corners.mean(axis=1) - (mesh.positions.max(axis=0) + mesh.positions.min(axis=0)) / 2
        )
        azimuth = np.degrees(np.arctan2(middle[:, 0], -middle[:, 2]))
        chosen = (abs(azimuth - 110) < 5) & (abs(middle[:, 1]) < 0.04)
        uv = mesh.corner_uvs.reshape(len(corners), -1, 2).mean(axis=1)[chosen]
        row, column = ((1 - uv[:, 1]) * 256).astype(int), (uv[:, 0] * 256).astype(int)
        assert chosen.sum() > 3
        return float((made.material.base_color[row, column, 0] > 130).mean())

    # The ball's face looks 45 degrees to the right: 20 to the left is the image of 110 to the right.
    assert redness(Shaping(symmetry="x", turn=np.pi / 4)) > 0.9
    assert redness(Shaping()) == 0
