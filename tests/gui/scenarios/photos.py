"""Several pictures: the list, the button, the surface that is drawn meanwhile."""

from __future__ import annotations

import bpy
from acting import (
    FOLDER,
    PATIENCE,
    Script,
    click,
    expect_nothing_added,
    facts,
    find_button,
    key,
    look_at_selected,
    objects,
    open_sidebar,
    screenshot,
    session,
    view,
    wait,
    wait_for_stage,
    wait_for_thread,
    window,
)


def photos() -> Script:
    """Press the button of Photos & Video, cancel, press again, look, and take it back."""
    panel = bpy.types.IMAGE_TO_MESH_PT_photos
    bpy.utils.unregister_class(panel)
    # It is closed, and only a click can open it; under another name it is new, and starts open.
    panel.bl_idname, panel.bl_options, panel.bl_order = f"{panel.bl_idname}_open", set(), -1
    bpy.utils.register_class(panel)
    settings = bpy.context.scene.image_to_mesh
    settings.detail, settings.texture_size = "LOW", 256
    bpy.context.scene.image_to_mesh_photos.surface = "FUSED"
    names = sorted(path.name for path in (FOLDER / "walk" / "images").iterdir())
    bpy.ops.image_to_mesh.add_photos(
        directory=str(FOLDER / "walk" / "images"), files=[{"name": name} for name in names]
    )
    bpy.ops.ed.undo_push(message="Add photos")
    yield from open_sidebar()
    before = objects()
    position = yield from find_button("image_to_mesh.reconstruct_views")
    click(*position)
    yield from wait(session().is_running, 5, "The start of the job after the click")
    yield from wait_for_stage(0.05)
    yield from key("ESC")
    yield from wait_for_thread()
    expect_nothing_added(before)

    position = yield from find_button("image_to_mesh.reconstruct_views")
    click(*position)
    yield from wait(session().is_running, 5, "The start of the second job")
    yield from wait_for_stage(0.4)
    yield from screenshot("photos_during")
    # The worker's rank is low: ten seconds on an idle machine are minutes on one that is busy.
    yield from wait(lambda: not session().is_running(), 1.7 * PATIENCE, "The end of the job")
    assert session().last_event is None, f"the job failed: {session().last_event}"
    facts["summary"] = list(session().last_summary)
    added = [bpy.data.objects[name] for name in objects() if name not in before]
    facts["cameras"] = sum(obj.type == "CAMERA" for obj in added)
    mesh = bpy.context.view_layer.objects.active
    facts["faces"] = len(mesh.data.polygons)
    facts["size_m"] = list(mesh.dimensions)
    pictures = bpy.context.scene.image_to_mesh_photos.pictures
    facts["statuses"] = {item.name: item.status for item in pictures}
    look_at_selected()
    yield 2.0
    yield from screenshot("photos_after")
    yield from key("Z", ctrl=True)
    yield 0.5
    facts["after_undo"] = objects()
    expect_nothing_added(before)


def preview() -> Script:
    """Watch photos being refined, go on working meanwhile, end it early; nothing of it stays."""
    settings = bpy.context.scene.image_to_mesh
    settings.detail, settings.texture_size = "LOW", 256
    bpy.context.scene.image_to_mesh_photos.surface = "REFINED"
    bpy.ops.image_to_mesh.add_photos(directory=str(FOLDER / "refined"))
    bpy.ops.ed.undo_push(message="Add photos")
    yield from open_sidebar()
    yield from screenshot("preview_before")
    before = objects()
    with bpy.context.temp_override(window=window(), area=view()[0]):
        bpy.ops.image_to_mesh.reconstruct_views("INVOKE_DEFAULT")
    companion = session()._task.companion
    yield from wait(lambda: companion.shown is not None, PATIENCE, "The first preview")
    yield 0.3
    facts["words"] = companion.shown.words
    yield from screenshot("preview_during")
    expect_nothing_added(before)
    bpy.ops.object.empty_add()  # the artist goes on working
    bpy.ops.ed.undo_push(message="Add Empty")
    yield 0.3
    yield from key("Z", ctrl=True)
    yield 0.3
    expect_nothing_added(before)
    position = yield from find_button("image_to_mesh.finish_now", across=0.7)
    click(*position)
    yield 0.5
    facts["can_finish_again"] = session().can_finish()
    yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the job")
    assert session().last_event is None, f"the job failed: {session().last_event}"
    facts["model"] = bpy.context.view_layer.objects.active["image_to_mesh_model"]
    assert companion.shown is None
    yield 1.0
    yield from screenshot("preview_after")
    yield from key("Z", ctrl=True)
    yield 0.5
    expect_nothing_added(before)
