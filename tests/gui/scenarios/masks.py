"""A mask is painted over its picture, starts from what was picked, and stays with its picture."""

from __future__ import annotations

import importlib

import bpy
import numpy as np
from acting import (
    PACKAGE,
    PATIENCE,
    Script,
    click,
    facts,
    screenshot,
    session,
    view,
    wait,
    wait_for_thread,
    window,
)

CLICK = "[(0.5, 0.5, 1)]"  # the middle is the subject


def _values(image: bpy.types.Image) -> np.ndarray:
    """(H, W) red of an image, bottom row first."""
    values = np.empty(len(image.pixels), np.float32)
    image.pixels.foreach_get(values)
    return values.reshape(image.size[1], image.size[0], -1)[..., 0]


def masks() -> Script:
    """Pick, New Mask to Paint, a stroke, Edit Mask, another picture and back."""
    settings = bpy.context.scene.image_to_mesh
    picture = settings.picture
    area, _ = view()
    area.type = "IMAGE_EDITOR"
    yield 1.0
    main = next(region for region in area.regions if region.type == "WINDOW")

    def press(name: str, how: str = "INVOKE_DEFAULT", **options: str) -> Script:
        with bpy.context.temp_override(window=window(), area=area, region=main):
            getattr(bpy.ops.image_to_mesh, name)(how, **options)
        yield 0.3
        yield from wait(lambda: not session().is_running(), PATIENCE, f"The end of {name}")
        assert session().last_event is None, f"{name} failed: {session().last_event}"
        yield 0.5

    def at(x: float, y: float) -> tuple[float, float]:
        across, up = main.view2d.view_to_region(x, 1.0 - y, clip=False)
        return main.x + across, main.y + up

    yield from press("pick_subject", "EXEC_DEFAULT", points=CLICK)
    picked = _values(settings.mask)
    yield from press("new_mask")
    mask = settings.mask
    facts["starts_from_pick"] = float(np.abs(_values(mask) - picked).max())
    with bpy.context.temp_override(window=window(), area=area, region=main):
        bpy.ops.image.view_all(fit_view=True)
    yield 1.0
    facts["mode"] = area.spaces.active.ui_mode
    facts["shown"] = area.spaces.active.image == mask
    facts["places"] = {name: at(*place) for name, place in PLACES.items()}
    yield from screenshot("masks_before_stroke")

    # As a white stroke over the corner: Debian's Blender comes without the brushes to paint one.
    before = _values(mask)
    values = np.empty(len(mask.pixels), np.float32)
    mask.pixels.foreach_get(values)
    rows, columns = mask.size[1], mask.size[0]
    values.reshape(rows, columns, -1)[round(0.85 * rows) : round(0.95 * rows), : columns // 5] = 1.0
    mask.pixels.foreach_set(values)
    mask.update()
    area.tag_redraw()
    yield 1.0
    facts["painted"] = int((np.abs(_values(mask) - before) > 0.5).sum())
    yield from screenshot("masks_after_stroke")
    facts["preview_after_painting"] = str(settings.cutout_preview)

    area.spaces.active.ui_mode = "VIEW"
    importlib.import_module(f"{PACKAGE}.operators.cut_out.tinted")._forget()
    yield from press("edit_mask")
    facts["edit"] = [area.spaces.active.ui_mode, area.spaces.active.image == mask]
    yield from press("check_cutout")
    facts["preview"] = str(settings.cutout_preview)
    settings.picture = other = bpy.data.images.new("other", 64, 64)
    yield 0.5
    facts["of_other"] = [str(settings.mask), str(settings.cutout_preview)]
    settings.mask = bpy.data.images.new("tiny", 16, 16)
    try:
        with bpy.context.temp_override(window=window(), area=area, region=main):
            bpy.ops.image_to_mesh.generate("INVOKE_DEFAULT")
    except RuntimeError as error:
        facts["refusal"] = str(error)
    bpy.data.images.remove(other)
    settings.picture = picture
    yield 0.5
    facts["back"] = settings.mask == mask
    click(*at(0.5, -0.2))
    yield from wait_for_thread()


# Of the picture, from its top left corner: on the subject, and off it.
PLACES = {"subject": (0.5, 0.5), "corner": (0.1, 0.1)}
