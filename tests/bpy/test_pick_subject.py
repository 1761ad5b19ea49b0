"""Picking the subject from a script: clicks and boxes become the mask that the button uses."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators.scene.image import image_pixels


@pytest.fixture
def panel():
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    return settings


def test_points_and_a_box_reach_the_worker_and_the_cut_out_becomes_the_mask(pipeline, panel):
    points = [(0.25, 0.5, 1), (0.75, 0.9, 0)]
    found = bpy.ops.image_to_mesh.pick_subject(points=str(points), box=(0.1, 0.2, 0.8, 0.9))
    assert found == {"FINISHED"}
    picks = pipeline.requests[0].picks
    assert picks.points == ((0.25, 0.5, True), (0.75, 0.9, False))
    assert picks.box == pytest.approx((0.1, 0.2, 0.8, 0.9))
    pixels = image_pixels(panel.mask)
    assert (pixels[:20, :, 0] == 255).all()
    assert (pixels[20:, :, 0] == 0).all()
    assert panel.cutout_preview.name == "Cut-out: pixels"
    bpy.ops.image_to_mesh.generate()
    request = pipeline.requests[1]
    assert request.picks is None
    assert np.array_equal(request.mask, pixels[..., 0])


def test_what_was_picked_is_used_though_another_cut_out_was_chosen(pipeline, panel):
    panel.cut_out = "ALPHA"
    bpy.ops.image_to_mesh.pick_subject(box=(0.1, 0.2, 0.8, 0.9))
    assert panel.cut_out == "MASK"


@pytest.mark.parametrize(
    "arguments",
    [{}, {"points": "[(0.5, 0.5, 0)]"}, {"box": (0.8, 0.2, 0.1, 0.9)}],
)
def test_picks_that_mean_nothing_are_told(pipeline, panel, arguments):
    with pytest.raises(RuntimeError, match="Nothing is picked: "):
        bpy.ops.image_to_mesh.pick_subject(**arguments)
    assert pipeline.requests == []
    assert panel.mask is None


@pytest.mark.parametrize("text", ["here", "[(0.5, 0.5)]", "__import__('os')", "(1, 2, 3)"])
def test_clicks_that_cannot_be_read_are_told(pipeline, panel, text):
    with pytest.raises(RuntimeError, match=r"Clicks are given as \[\(x, y, 1\), \.\.\.\]"):
        bpy.ops.image_to_mesh.pick_subject(points=text)
    assert pipeline.requests == []


def test_without_a_picture_there_is_nothing_to_pick(pipeline):
    with pytest.raises(RuntimeError, match="Choose a picture first"):
        bpy.ops.image_to_mesh.pick_subject(box=(0.1, 0.2, 0.8, 0.9))
