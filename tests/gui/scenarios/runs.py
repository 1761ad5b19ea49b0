"""One picture and its button, and what an artist does meanwhile."""

from __future__ import annotations

import importlib
import time

import addon_utils
import bpy
from acting import (
    FOLDER,
    PACKAGE,
    PATIENCE,
    Script,
    choose_picture,
    expect_nothing_added,
    facts,
    gaps,
    key,
    look_at_selected,
    objects,
    open_sidebar,
    press_generate,
    screenshot,
    session,
    slowest_first,
    ticks,
    wait,
    wait_for_stage,
    wait_for_thread,
    window,
)


def generate() -> Script:
    """Press the button, wait for the mesh, take it back with one Ctrl-Z."""
    yield from screenshot("generate_before")
    before = objects()
    yield 1.0
    idle = len(ticks)
    yield 2.0
    facts["idle_gaps_ms"] = gaps(idle)

    yield from press_generate()
    started, first = time.monotonic(), len(ticks)
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    facts["seconds"] = round(time.monotonic() - started, 2)
    facts["gaps_ms"] = gaps(first)
    facts["longest_ms"] = slowest_first(first)[:10]
    facts["summary"] = list(session().last_summary)
    assert session().last_event is None, f"the job failed: {session().last_event}"

    added = [bpy.data.objects[name] for name in objects() if name not in before]
    meshes = [obj for obj in added if obj.type == "MESH"]
    assert [obj.type for obj in added].count("CAMERA") == 1, f"added {added}"
    assert len(meshes) == 1, f"added {added}"
    mesh = meshes[0]
    assert bpy.context.view_layer.objects.active == mesh
    nodes = mesh.active_material.node_tree.nodes
    textures = [node.image for node in nodes if node.type == "TEX_IMAGE"]
    assert textures, "the material has no texture"
    assert all(image.packed_file for image in textures), "a texture is not packed"
    facts["faces"] = len(mesh.data.polygons)
    facts["lowest_z"] = min((mesh.matrix_world @ v.co).z for v in mesh.data.vertices)
    facts["size_m"] = list(mesh.dimensions)

    look_at_selected()
    yield 2.0
    yield from screenshot("generate_after")

    yield from key("Z", ctrl=True)
    yield 0.5
    facts["after_undo"] = objects()
    expect_nothing_added(before)


def status_bar():
    return importlib.import_module(f"{PACKAGE}.operators.view.status_bar")


def cancel() -> Script:
    """Press the button, then Esc: over other editors, where it means something else, and the view."""
    before = objects()
    yield from press_generate()
    yield from wait_for_stage(0.1)
    yield 2.5
    yield from screenshot("cancel_during")
    facts["told"] = status_bar().shown.line()
    for editor in ("DOPESHEET_EDITOR", "OUTLINER", "PROPERTIES"):
        yield from key("ESC", over=editor)
        yield 0.2
        assert session().is_running(), f"Esc over {editor} cancelled the job"
    pressed = time.monotonic()
    yield from key("ESC")
    yield from wait(lambda: not session().is_running(), 5, "The end of the job after Esc")
    facts["seconds_to_free"] = round(time.monotonic() - pressed, 2)
    yield from wait_for_thread()
    facts["seconds_to_stop"] = round(time.monotonic() - pressed, 2)
    expect_nothing_added(before)
    yield from screenshot("cancel_after")
    yield from press_generate()  # it can start again at once
    yield from key("ESC")
    yield from wait_for_thread()


def open_file() -> Script:
    """Open another file in the middle of a job: nothing may land in it."""
    other = FOLDER / "other.blend"
    bpy.ops.wm.save_as_mainfile(filepath=str(other), copy=True)
    yield from press_generate()
    yield from wait_for_stage(0.1)
    with bpy.context.temp_override(window=window()):
        bpy.ops.wm.open_mainfile(filepath=str(other))
    yield 1.0
    before = objects()
    assert not session().is_running()
    yield from wait_for_thread()
    yield 1.0
    expect_nothing_added(before)
    yield from open_sidebar()
    yield from press_generate()  # the button works in the new file
    yield from key("ESC")
    yield from wait_for_thread()


def undo() -> Script:
    """Undo something else in the middle of a job: the mesh still arrives, and Blender lives."""
    bpy.ops.mesh.primitive_ico_sphere_add()
    bpy.ops.ed.undo_push(message="Add Ico Sphere")  # operators push none when a timer calls them
    yield 0.3
    before = objects()
    yield from press_generate()
    yield from wait_for_stage(0.1)
    yield from key("Z", ctrl=True)
    assert len(objects()) == len(before) - 1, "Ctrl-Z did not reach Blender"
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    yield 0.5
    facts["event"] = str(session().last_event)
    added = [name for name in objects() if name not in before]
    assert len(added) == 2, f"added {added}"


def delete_scene() -> Script:
    """Delete the scene in the middle of a job: the result is thrown away with a sentence."""
    asking = window().scene
    yield from press_generate()
    yield from wait_for_stage(0.1)
    window().scene = bpy.data.scenes.new("Another")
    bpy.data.scenes.remove(asking)
    yield 0.2
    before = objects()
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    yield 0.5
    facts["message"] = getattr(session().last_event, "message", "")
    assert "deleted" in facts["message"], facts["message"]
    expect_nothing_added(before)


def disable() -> Script:
    """Disable the extension in the middle of a job, then enable it again."""
    before = objects()
    yield from press_generate()
    yield from wait_for_stage(0.1)
    started = time.monotonic()
    addon_utils.disable(PACKAGE)
    facts["seconds_to_disable"] = round(time.monotonic() - started, 2)
    assert not hasattr(bpy.types.Scene, "image_to_mesh")
    yield 3.0
    expect_nothing_added(before)
    assert addon_utils.enable(PACKAGE) is not None
    yield 0.5
    yield from open_sidebar()
    yield from choose_picture()
    yield from press_generate()
    yield from key("ESC")
    yield from wait_for_thread()
    expect_nothing_added(before)
