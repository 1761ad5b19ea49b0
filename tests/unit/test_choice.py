"""Which network runs at a stage, and what the artist reads about it."""

import sys

import pytest
from image_to_mesh.inference.hub.catalogue import CATALOGUE, TASKS, Task, models_for
from image_to_mesh.inference.machine.memory import Memory
from image_to_mesh.inference.networks.choice import BUILT_IN, UNUSED, choose, choose_all, known

CARD = Memory(16000, 8000, has_card=True)
SMALL_CARD = Memory(16000, 1300, has_card=True)
PROCESSOR = Memory(16000, None, has_card=False)
UNKNOWN = Memory(None, None, has_card=None)
MOGE = {"moge-2-vitl", "moge-2-vitb", "moge-2-vits"}


@pytest.mark.parametrize("task", TASKS)
def test_without_any_model_the_built_in_one_runs(task):
    choice = choose(task, "auto", set(), CARD)
    assert (choice.model, choice.is_possible) == (None, True)
    assert choice.sentence == f"{BUILT_IN[task]}: no model for this is installed."
    assert choose(task, "bundled", MOGE, CARD).sentence == f"{BUILT_IN[task]}."


def test_auto_takes_the_best_that_fits():
    assert choose("depth", "auto", MOGE, CARD).model == "moge-2-vitl"
    assert choose("depth", "auto", MOGE, UNKNOWN).model == "moge-2-vitl"
    small = choose("depth", "auto", MOGE, SMALL_CARD)
    assert small.model == "moge-2-vits"
    assert small.sentence == (
        "MoGe-2 Small runs: MoGe-2 Large needs 2.6 GB of graphics memory, and 1.3 GB are free."
    )


def test_auto_on_the_processor_avoids_minutes_of_waiting():
    choice = choose("depth", "auto", MOGE, PROCESSOR)
    assert choice.model == "moge-2-vitb"
    assert choice.sentence.endswith("MoGe-2 Large would take minutes on the processor.")
    assert choose("depth", "auto", {"moge-2-vitl"}, PROCESSOR).model == "moge-2-vitl"
    alone = choose("object", "auto", {"triposg"}, PROCESSOR)
    assert alone.model is None
    assert alone.sentence.endswith("TripoSG needs a graphics card.")
    assert choose("object", "auto", {"triposg", "triposr"}, PROCESSOR).model == "triposr"


def test_auto_in_little_memory():
    choice = choose("object", "auto", {"triposr"}, Memory(3000, None, has_card=False))
    assert choice.model is None
    assert choice.sentence.endswith("TripoSR needs 5.0 GB of memory, and 3.0 GB are free.")


def test_auto_never_takes_a_non_commercial_model():
    paid = {entry.id for entry in CATALOGUE if not entry.is_commercial}
    assert paid
    choice = choose("depth", "auto", paid, CARD)
    assert choice.model is None
    assert "forbids commercial use" in choice.sentence
    assert choose("depth", "auto", paid | {"depth-anything-v2-small"}, CARD).model == (
        "depth-anything-v2-small"
    )


def test_without_its_package_a_model_is_passed_over_or_says_what_to_install(monkeypatch):
    needs = "BiRefNet needs the Python package timm, which the full zip brings"
    assert choose("cut-out", "auto", {"birefnet"}, CARD).model == "birefnet"
    monkeypatch.setitem(sys.modules, "timm", None)
    alone = choose("cut-out", "auto", {"birefnet"}, CARD)
    assert (alone.model, alone.is_possible) == (None, True)
    assert alone.sentence == f"{BUILT_IN['cut-out']}: {needs}."
    assert choose("cut-out", "auto", {"birefnet", "isnet"}, CARD).model == "isnet"
    chosen = choose("cut-out", "birefnet", {"birefnet"}, CARD)
    assert (chosen.model, chosen.is_possible) == (None, False)
    assert chosen.sentence == f"{needs}: install that zip, or choose another model."


def test_auto_looks_at_the_picture():
    assert choose("depth", "auto", MOGE, CARD, "object").model is None
    assert choose("depth", "auto", MOGE, CARD, "scene").model == "moge-2-vitl"
    assert choose("object", "auto", {"triposr"}, CARD, "scene").model is None
    assert choose("object", "auto", {"triposr"}, CARD, "object").model == "triposr"


def test_what_a_scene_or_an_object_has_no_use_for_is_not_said_to_run():
    for task, kind in UNUSED:
        for entry in models_for(task):
            for installed in ({entry.id}, set()):
                choice = choose(task, entry.id, installed, CARD, kind)
                assert (choice.model, choice.is_possible) == (None, True)
                assert "no" in choice.sentence or "as it is" in choice.sentence


def test_a_network_that_colours_all_sides_leaves_nothing_to_paint():
    there = {"triposr", "triposg", "big-lama"}
    wanted: dict[Task, str] = {"object": "triposr", "inpaint": "big-lama"}
    painted = choose_all(wanted, there, CARD, "object")["inpaint"]
    assert (painted.model, painted.is_possible) == (None, True)
    assert painted.sentence == "TripoSR colours the far side itself."
    plain: dict[Task, str] = {"object": "triposg", "inpaint": "big-lama"}
    assert choose_all(plain, there, CARD, "object")["inpaint"].model == "big-lama"
    assert choose_all(wanted, there, CARD, "unknown")["inpaint"].model == "big-lama"
    assert choose_all(wanted, there - {"triposr"}, CARD, "object")["inpaint"].model == "big-lama"


def test_a_scene_has_hidden_parts_to_paint_only_where_they_are_filled():
    wanted: dict[Task, str] = {"inpaint": "auto"}
    assert choose_all(wanted, {"big-lama"}, CARD, "scene")["inpaint"].model == "big-lama"
    without = choose_all(wanted, {"big-lama"}, CARD, "scene", is_filled=False)["inpaint"]
    assert without.model is None
    assert "Fill Behind" in without.sentence


def test_a_network_for_views_only_helps_where_matching_fails():
    assert choose("views", "auto", {"da3-small"}, CARD).sentence == (
        "Depth Anything 3 Small places the cameras where matching points fails: the one that is"
        " installed."
    )
    assert choose("views", "da3-small", {"da3-small"}, CARD).sentence == (
        "Depth Anything 3 Small runs: you chose it."
    )


def test_what_the_artist_chose_is_not_replaced():
    choice = choose("depth", "moge-2-vitl", MOGE, SMALL_CARD)
    assert choice.model == "moge-2-vitl"
    assert "though MoGe-2 Large needs 2.6 GB" in choice.sentence
    licence = choose("depth", "depth-anything-v2-large", {"depth-anything-v2-large"}, CARD)
    assert "its licence (CC-BY-NC-4.0) forbids commercial use" in licence.sentence


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ("moge-2-vitl", "MoGe-2 Large is not installed: download it in the preferences"),
        ("triposr", "TripoSR is not made for this stage: choose one of auto, bundled, moge-2-vitl"),
        ("midas", "There is no model called midas: choose one of auto, bundled,"),
    ],
)
def test_what_cannot_run_says_what_to_do(wanted, sentence):
    choice = choose("depth", wanted, {"triposr"}, CARD)
    assert (choice.model, choice.is_possible) == (None, False)
    assert choice.sentence.startswith(sentence)


def test_every_model_can_be_chosen():
    for task in TASKS:
        for name in known(task):
            assert choose(task, name, {entry.id for entry in CATALOGUE}, CARD).is_possible
    offered = {name for task in TASKS for name in known(task)}
    assert offered == {"auto", "bundled"} | {entry.id for entry in CATALOGUE}
