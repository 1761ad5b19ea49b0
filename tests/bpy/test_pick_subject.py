"""Picking the subject from a script: clicks and boxes become the mask that the button uses."""

import types

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators import worker
from image_to_mesh.operators.cut_out import pick as pick_subject
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


# --- by hand: the operator's own methods, with a stand-in for the window ---------------------------


class View:
    """An Image Editor's view: the picture fills 200 x 100 pixels of the region from (10, 20)."""

    def region_to_view(self, x, y):
        return (x - 10) / 200, (y - 20) / 100


class Hand:
    """Clicks and keys for the operator as a window would send them."""

    def __init__(self):
        names = vars(pick_subject.IMAGE_TO_MESH_OT_pick_subject)
        methods = {k: v for k, v in names.items() if isinstance(v, types.FunctionType)}
        self.operator = type("Operator", (), methods)()
        self.region = types.SimpleNamespace(
            type="WINDOW", x=0, y=0, width=300, height=200, view2d=View()
        )
        active = types.SimpleNamespace(ui_mode="VIEW", image=None)
        self.area = types.SimpleNamespace(
            type="IMAGE_EDITOR",
            spaces=types.SimpleNamespace(active=active),
            regions=[self.region],
            tag_redraw=lambda: None,
        )
        manager = types.SimpleNamespace(
            event_timer_add=lambda *_a, **_k: "timer",
            event_timer_remove=lambda _timer: None,
            modal_handler_add=lambda _operator: None,
        )
        self.context = types.SimpleNamespace(
            scene=bpy.context.scene,
            window=types.SimpleNamespace(screen=types.SimpleNamespace(areas=[self.area])),
            area=self.area,
            window_manager=manager,
            workspace=types.SimpleNamespace(status_text_set=lambda _text: None),
        )

    def begin(self):
        return self.operator.invoke(self.context, None)

    def send(self, kind, value="PRESS", at=(0.0, 0.0), ctrl=False):
        """An event at a place in the picture, from 0 to 1 from its top left corner."""
        x, y = 10 + 200 * at[0], 20 + 100 * (1 - at[1])
        event = types.SimpleNamespace(type=kind, value=value, mouse_x=x, mouse_y=y, ctrl=ctrl)
        return self.operator.modal(self.context, event)

    def click(self, x, y, ctrl=False):
        self.send("LEFTMOUSE", "PRESS", (x, y), ctrl)
        self.send("LEFTMOUSE", "RELEASE", (x, y), ctrl)
        self.send("TIMER", "NOTHING")

    def drag(self, start, end):
        self.send("LEFTMOUSE", "PRESS", start)
        self.send("MOUSEMOVE", "NOTHING", end)
        self.send("LEFTMOUSE", "RELEASE", end)
        self.send("TIMER", "NOTHING")


@pytest.fixture
def hand(pipeline, panel, window, monkeypatch):
    monkeypatch.setattr(worker, "free_models", lambda: None)
    hand = Hand()
    assert hand.begin() == {"RUNNING_MODAL"}
    window.settle()
    return hand


def test_first_the_upright_picture_is_shown_whole(hand, pipeline, panel):
    assert pipeline.requests[0].cut_out == "none"
    assert pipeline.requests[0].picks is None
    assert panel.cutout_preview.name == "Cut-out: pixels"
    assert panel.mask is None


def test_each_click_is_answered_and_enter_keeps_the_mask(hand, pipeline, panel, window):
    hand.click(0.25, 0.5)
    assert hand.send("RET") == {"RUNNING_MODAL"}  # not before the answer is there
    window.settle()
    assert pipeline.requests[1].picks.points == ((0.25, 0.5, True),)
    hand.click(0.75, 0.25, ctrl=True)
    window.settle()
    assert pipeline.requests[2].picks.points == ((0.25, 0.5, True), (0.75, 0.25, False))
    hand.drag((0.8, 0.9), (0.1, 0.2))
    window.settle()
    assert pipeline.requests[3].picks.box == pytest.approx((0.1, 0.2, 0.8, 0.9))
    assert [i.name for i in bpy.data.images if i.name.startswith("Mask")] == [panel.mask.name]
    assert hand.send("RET") == {"FINISHED"}
    assert panel.mask is not None


def test_backspace_takes_the_last_click_back(hand, pipeline, window):
    hand.click(0.25, 0.5)
    window.settle()
    hand.click(0.75, 0.25, ctrl=True)
    window.settle()
    hand.send("BACK_SPACE")
    hand.send("TIMER", "NOTHING")
    window.settle()
    assert pipeline.requests[-1].picks.points == ((0.25, 0.5, True),)
    hand.send("BACK_SPACE")
    hand.send("TIMER", "NOTHING")  # nothing is picked: nothing to look for
    assert len(pipeline.requests) == 4


def test_escape_puts_the_old_mask_back(hand, panel, window):
    old = bpy.data.images.new("mine", 3, 4)
    hand.operator._before = old.name
    hand.click(0.25, 0.5)
    window.settle()
    assert panel.mask != old
    assert hand.send("ESC") == {"CANCELLED"}
    assert panel.mask == old
    assert not [image for image in bpy.data.images if image.name.startswith("Mask")]


def test_clicks_beside_the_picture_do_nothing_and_the_view_can_be_moved(hand, pipeline):
    hand.click(1.2, 0.5)
    assert len(pipeline.requests) == 1
    assert hand.send("MIDDLEMOUSE") == {"PASS_THROUGH"}
    assert hand.send("X") == {"RUNNING_MODAL"}


def test_without_an_image_editor_it_says_so(pipeline, panel):
    hand, said = Hand(), []
    hand.context.window.screen.areas = []
    hand.operator.report = lambda kind, text: said.append(text)
    assert hand.begin() == {"CANCELLED"}
    assert said == ["Open an Image Editor to click in: any area can become one."]
