"""Faces that pass through others are found, all of them and no others, and parted."""

from __future__ import annotations

import numpy as np
import pytest
from image_to_mesh.inference.surface.intersections import crossing_faces, parted
from image_to_mesh.inference.surface.nets import surface_nets


def ball(size=24, radius=0.7):
    axis = np.linspace(-1, 1, size, dtype=np.float32)
    x, y, z = np.meshgrid(axis, axis, axis, indexing="ij")
    positions, quads = surface_nets(np.sqrt(x * x + y * y + z * z) - np.float32(radius))
    return (positions / (size - 1) * 2 - 1).astype(np.float32), quads


def test_a_ball_crosses_nothing():
    assert len(crossing_faces(*ball())) == 0


def test_nothing_crosses_nothing():
    assert len(crossing_faces(np.zeros((0, 3), np.float32), np.zeros((0, 4), np.int32))) == 0


@pytest.mark.parametrize("turn", [0, 1, 2])
def test_two_triangles_through_each_other(turn):
    positions = np.array(
        [[0, 0, 0], [1, 0, 0], [0, 1, 0], [0.2, 0.2, -1], [0.2, 0.3, 1], [0.3, 0.2, 1]], np.float32
    )
    faces = np.array([[0, 1, 2], np.roll([3, 4, 5], turn)], np.int32)
    assert crossing_faces(positions, faces).tolist() == [0, 1]
    positions[3:, 0] += 1  # beside it
    assert crossing_faces(positions, faces).tolist() == []


def test_two_balls_cross_along_a_circle():
    positions, quads = ball()
    aside = positions + np.array([0.5, 0, 0], np.float32)
    both = np.concatenate([positions, aside])
    faces = np.concatenate([quads, quads + len(positions)]).astype(np.int32)
    crossing = crossing_faces(both, faces)
    assert len(crossing) > 40
    middle = both[faces[crossing]].mean(axis=1)
    assert np.abs(middle[:, 0] - 0.25).max() < 0.1
    assert np.abs(np.hypot(middle[:, 1], middle[:, 2]) - np.sqrt(0.49 - 0.0625)).max() < 0.12


def test_a_dent_pushed_out_of_the_other_side_is_parted():
    positions, quads = ball()
    pushed = positions.copy()
    spot = np.argmax(positions[:, 0])
    pushed[spot, 0] = -0.9
    assert len(crossing_faces(pushed, quads)) >= 4
    mended, left = parted(pushed, quads)
    assert left == 0
    assert len(crossing_faces(mended, quads)) == 0
    far = positions[:, 0] < -0.3
    far &= np.hypot(positions[:, 1], positions[:, 2]) > 0.4
    assert np.array_equal(mended[far], positions[far])
