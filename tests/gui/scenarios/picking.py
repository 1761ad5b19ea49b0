"""Clicks and boxes in an Image Editor."""

from __future__ import annotations

import bpy
from acting import (
    PATIENCE,
    Script,
    click,
    facts,
    mouse,
    screenshot,
    session,
    view,
    wait,
    wait_for_thread,
    window,
)


def pick() -> Script:
    """Click on the subject in an Image Editor, take a click back, draw a box; Enter, then Ctrl-Z."""
    settings = bpy.context.scene.image_to_mesh
    area, _ = view()
    area.type = "IMAGE_EDITOR"
    yield 1.0
    main = next(region for region in area.regions if region.type == "WINDOW")

    def press_pick() -> Script:
        with bpy.context.temp_override(window=window(), area=area, region=main):
            assert bpy.ops.image_to_mesh.pick_subject("INVOKE_DEFAULT") == {"RUNNING_MODAL"}
        yield from wait_for_thread()
        with bpy.context.temp_override(window=window(), area=area, region=main):
            bpy.ops.image.view_all(fit_view=True)
        yield 0.5

    def at(x: float, y: float) -> tuple[float, float]:
        """Window coordinates of a place in the picture, counted from its top left corner."""
        across, up = main.view2d.view_to_region(x, 1.0 - y, clip=False)
        return main.x + across, main.y + up

    def answered() -> Script:
        yield 0.5
        yield from wait(lambda: not session().is_running(), PATIENCE, "The end of the look")
        yield 0.5

    yield from press_pick()
    facts["upright"] = area.spaces.active.image.name
    click(*at(0.5, 0.5))
    yield from answered()
    facts["clicked"] = list(session().last_summary)
    assert settings.mask is not None, f"no mask: {session().last_event}"
    first = settings.mask.name
    yield from screenshot("pick_click")
    mouse("LEFTMOUSE", "PRESS", *at(0.1, 0.1), ctrl=True)
    mouse("LEFTMOUSE", "RELEASE", *at(0.1, 0.1), ctrl=True)
    yield from answered()
    mouse("BACK_SPACE", "PRESS", *at(0.5, 0.5))
    mouse("BACK_SPACE", "RELEASE", *at(0.5, 0.5))
    yield from answered()
    mouse("MOUSEMOVE", "NOTHING", *at(0.15, 0.05))
    mouse("LEFTMOUSE", "PRESS", *at(0.15, 0.05))
    yield 0.1
    mouse("MOUSEMOVE", "NOTHING", *at(0.85, 0.95))
    yield 0.1
    mouse("LEFTMOUSE", "RELEASE", *at(0.85, 0.95))
    yield from answered()
    facts["boxed"] = list(session().last_summary)
    yield from screenshot("pick_box")
    masks = [found.name for found in bpy.data.images if found.name.startswith("Mask: ")]
    assert len(masks) == 1, f"left-over masks {masks}, the first was {first}"
    mouse("RET", "PRESS", *at(0.5, 0.5))
    mouse("RET", "RELEASE", *at(0.5, 0.5))
    yield 1.0
    facts["mask"] = bpy.context.scene.image_to_mesh.mask.name
    with bpy.context.temp_override(window=window()):
        bpy.ops.ed.undo()
    yield 0.5
    facts["after_undo"] = str(bpy.context.scene.image_to_mesh.mask)

    yield from press_pick()  # Esc leaves everything as it was
    click(*at(0.5, 0.5))
    yield from answered()
    mouse("ESC", "PRESS", *at(0.5, 0.5))
    mouse("ESC", "RELEASE", *at(0.5, 0.5))
    yield 1.0
    facts["after_esc"] = str(bpy.context.scene.image_to_mesh.mask)
