"""Hands and eyes inside a real Blender window: press, wait, look, and write down facts.

Imported by the scenarios inside Blender. Every function that takes time is a generator: each
``yield seconds`` gives Blender its event loop back for that long.
"""

from __future__ import annotations

import importlib
import itertools
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import bpy

PACKAGE = "bl_ext.user_default.image_to_mesh"
TAB = "Image to Mesh"
SCREENS, NOTCHES = 3, 10  # how often a panel is searched, and how far the wheel turns in between
PATIENCE = 240.0  # seconds a job may take on a slow, shared machine

SCENARIO, FOLDER = sys.argv[-2], Path(sys.argv[-1])
Script = Iterator[float]

facts: dict[str, object] = {"scenario": SCENARIO}
ticks: list[tuple[float, str]] = []  # when, and the stage of the job at that time


def session():
    return importlib.import_module(f"{PACKAGE}.operators.session")


def window() -> bpy.types.Window:
    return bpy.context.window_manager.windows[0]


def view() -> tuple[bpy.types.Area, bpy.types.Region]:
    area = next(area for area in window().screen.areas if area.type == "VIEW_3D")
    return area, next(region for region in area.regions if region.type == "UI")


def objects() -> list[str]:
    return sorted(obj.name for obj in bpy.data.objects)


def mouse(kind: str, value: str, x: float, y: float, **modifiers: bool) -> None:
    window().event_simulate(type=kind, value=value, x=int(x), y=int(y), **modifiers)


def key(kind: str, over: str = "VIEW_3D", **modifiers: bool) -> Script:
    """Press and release a key with the mouse over the middle of the first editor of a type."""
    area = next(area for area in window().screen.areas if area.type == over)
    x, y = area.x + area.width * 0.4, area.y + area.height * 0.5
    mouse("MOUSEMOVE", "NOTHING", x, y)
    yield 0.1
    mouse(kind, "PRESS", x, y, **modifiers)
    mouse(kind, "RELEASE", x, y, **modifiers)
    yield 0.1


def click(x: float, y: float) -> None:
    mouse("MOUSEMOVE", "NOTHING", x, y)
    mouse("LEFTMOUSE", "PRESS", x, y)
    mouse("LEFTMOUSE", "RELEASE", x, y)


def wait(condition: Callable[[], object], seconds: float, what: str) -> Script:
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"{what} did not happen within {seconds:.0f} s")
        yield 0.02


def screenshot(name: str) -> Script:
    """Blender's own screenshot operator gives an empty picture on a virtual display."""
    shot = subprocess.Popen(["import", "-window", "root", str(FOLDER / f"{name}.png")])
    yield from wait(lambda: shot.poll() is not None, 20, "The screenshot")


def look_at_selected() -> None:
    area, _ = view()
    shading = area.spaces.active.shading
    shading.type, shading.color_type = "SOLID", "TEXTURE"
    main = next(region for region in area.regions if region.type == "WINDOW")
    with bpy.context.temp_override(window=window(), area=area, region=main):
        bpy.ops.view3d.view_selected()


def open_sidebar() -> Script:
    yield 1.0
    area, _ = view()
    area.spaces.active.show_region_ui = True
    area.tag_redraw()
    yield 0.5
    area, sidebar = view()
    sidebar.active_panel_category = TAB
    area.tag_redraw()
    yield 0.5


def choose_picture() -> Script:
    image = bpy.data.images.load(str(FOLDER / "picture.png"))
    bpy.context.scene.image_to_mesh.picture = image
    bpy.ops.ed.undo_push(message="Choose picture")
    view()[0].tag_redraw()
    yield 1.0


def find_button(name: str, across: float = 0.4) -> Iterator[float]:
    """Slide and scroll down the sidebar until what is under the mouse is an operator's button or a property.

    Returns its window coordinates. Blender can copy a button's Python command and a property's data
    path: that tells what is under the mouse without guessing pixels. ``across`` is the share of the
    sidebar's width.
    """
    area, sidebar = view()
    x = sidebar.x + sidebar.width * across
    for _ in range(SCREENS):
        mouse("MOUSEMOVE", "NOTHING", area.x + area.width * 0.3, area.y + area.height * 0.5)
        yield 0.3  # the button that was under the mouse lets go
        for y in range(sidebar.y + sidebar.height - 8, sidebar.y + 10, -8):
            mouse("MOUSEMOVE", "NOTHING", x, y)
            yield 0.03
            if name in _under_mouse(area, sidebar):
                return x, y
        for _ in range(NOTCHES):
            mouse("WHEELDOWNMOUSE", "PRESS", x, sidebar.y + sidebar.height / 2)
            yield 0.05
        yield 0.5
    raise AssertionError(f"There is nothing called {name} in the sidebar")


def _under_mouse(area: bpy.types.Area, region: bpy.types.Region) -> str:
    """The Python command or data path of what is under the mouse; empty over anything else."""
    manager = bpy.context.window_manager
    manager.clipboard = ""
    with bpy.context.temp_override(
        window=window(), screen=window().screen, area=area, region=region
    ):
        for copy in (bpy.ops.ui.copy_python_command_button, bpy.ops.ui.copy_data_path_button):
            if copy.poll():
                copy()
    return manager.clipboard


def press_generate() -> Script:
    position = yield from find_button("image_to_mesh.generate")
    facts["button"] = position
    yield 0.2
    click(*position)
    yield from wait(session().is_running, 5, "The start of the job after the click")


def wait_for_stage(share: float) -> Script:
    """Wait until the job has told of progress beyond ``share``."""
    yield from wait(
        lambda: (
            getattr(session().last_event, "fraction", 0.0) > share or not session().is_running()
        ),
        PATIENCE,
        f"Progress beyond {share:.0%}",
    )
    assert session().is_running(), f"the job ended early: {session().last_event}"


def wait_for_thread() -> Script:
    """Wait until no worker is left, wanted or not."""
    yield from wait(lambda: session().busy_reason() is None, PATIENCE, "The end of the worker")
    yield 0.5


def expect_nothing_added(before: list[str]) -> None:
    assert objects() == before, f"{objects()} instead of {before}"
    names = [image.name for image in bpy.data.images if image.name.startswith("picture ")]
    assert not names, f"left-over images {names}"


def gaps(since: int) -> dict[str, float]:
    """Milliseconds between ticks of Blender's main loop since tick number ``since``."""
    sizes = [size for size, _ in slowest_first(since)][::-1]
    at = {"p50": 0.5, "p95": 0.95, "p99": 0.99}
    result = {name: sizes[int(len(sizes) * share)] for name, share in at.items()}
    return result | {"max": sizes[-1], "count": len(sizes)}


def slowest_first(since: int) -> list[tuple[float, str]]:
    """The same gaps with the stage of the job in each."""
    pairs = itertools.pairwise(ticks[since:])
    return sorted(((round(1000 * (b - a), 1), stage) for (a, _), (b, stage) in pairs), reverse=True)
