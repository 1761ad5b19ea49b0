"""Refine by its sliders: one Ctrl+Z each, and nothing under the mouse moves."""

from __future__ import annotations

import bpy
from acting import (
    PATIENCE,
    Script,
    facts,
    find_button,
    key,
    press_generate,
    screenshot,
    session,
    view,
    wait,
    wait_for_stage,
)

THICKNESS, DEPTH = ("thickness", 0.4), ("depth_range", 0.5)


def _made() -> bpy.types.Object:
    return next(obj for obj in bpy.data.objects if "image_to_mesh_engine" in obj)


def _state() -> list[float]:
    obj = _made()
    settings = obj.image_to_mesh
    across = sorted(vertex.co.y for vertex in obj.data.vertices)
    depth = across[-1] - across[0]
    return [round(settings.thickness, 3), round(settings.depth_range, 3), round(depth, 4)]


def _drag(name: str, value: float) -> Script:
    """What letting go of a slider does: the value, Blender's undo step, and Live after a moment."""
    setattr(_made().image_to_mesh, name, value)
    bpy.ops.ed.undo_push(message=name)
    yield from wait(session().is_running, 10, "The start of the refinement")
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the refinement")
    assert session().last_event is None, f"it failed: {session().last_event}"
    yield 0.5


def _refine_engine(engine: str, name: str, value: float) -> Script:
    settings = bpy.context.scene.image_to_mesh
    settings.detail, settings.texture_size, settings.engine = "LOW", 1024, engine
    bpy.ops.ed.undo_push(message="Settings")
    yield from press_generate()
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    assert session().last_event is None, f"the job failed: {session().last_event}"
    yield 1.5
    before = _state()
    yield from _drag(name, value)
    after = _state()
    yield from screenshot(f"refining_{engine.lower()}")
    yield from key("Z", ctrl=True)
    yield 2.0
    undone = _state()
    yield from key("Z", ctrl=True, shift=True)
    yield 2.0
    return {"before": before, "after": after, "undone": undone, "redone": _state()}


def refining() -> Script:
    """An object by its thickness: undo, redo, and where the panel's sliders are all the while."""
    facts["object"] = yield from _refine_engine("OBJECT", *THICKNESS)
    places = {"after": (yield from find_button("thickness", across=0.7))}
    _made().image_to_mesh.smoothness = 6
    bpy.ops.ed.undo_push(message="smoothness")
    yield from wait(session().is_running, 10, "The start of the refinement")
    yield from wait_for_stage(0.0)
    view()[0].tag_redraw()
    yield 0.3
    places["during"] = yield from find_button("thickness", across=0.7)
    facts["was_running"] = session().is_running()
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the refinement")
    session().forget()
    view()[0].tag_redraw()
    yield 0.5
    places["nothing"] = yield from find_button("thickness", across=0.7)
    facts["places"] = places


def refining_scene() -> Script:
    """A scene by its depth range."""
    facts["scene"] = yield from _refine_engine("SCENE", *DEPTH)
