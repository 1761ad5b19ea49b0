"""Act as an artist inside a real Blender window and write down what happened.

Runs inside Blender: ``blender --enable-event-simulate --python driver.py -- SCENARIO FOLDER``. One
timer steps a generator; every ``yield seconds`` gives Blender its event loop back for that long.
FOLDER holds this file, ``acting.py``, ``scenarios/`` and ``picture.png``, and receives ``SCENARIO.json``
and screenshots.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from pathlib import Path

import bpy

sys.path.insert(0, str(Path(__file__).resolve().parent))
from acting import (
    FOLDER,
    PACKAGE,
    SCENARIO,
    Script,
    choose_picture,
    facts,
    open_sidebar,
    press_generate,
    ticks,
    wait_for_stage,
    window,
)
from scenarios import first_minute, masks, models, photos, picking, refining, runs

TICK = 0.01  # seconds; gaps between these ticks are what the artist feels
REST = 0.005  # seconds


def quit_blender() -> Script:
    """Quit in the middle of a job; the caller looks at the exit status and the time it takes."""
    yield from press_generate()
    yield from wait_for_stage(0.1)
    finish("passed")
    (FOLDER / "quit_at").write_text(str(time.time()), encoding="utf-8")
    with bpy.context.temp_override(window=window()):
        bpy.ops.wm.quit_blender()
    yield 1.0


SCENARIOS = {
    function.__name__: function
    for function in (
        *(runs.generate, runs.cancel, runs.open_file, runs.undo, runs.delete_scene, runs.disable),
        *(quit_blender, models.models, models.hub_models, picking.pick),
        *(photos.photos, photos.preview),
        *(masks.masks, refining.refining, refining.refining_scene),
        *(first_minute.first_minute, first_minute.cursor_align, first_minute.quiet_view),
    )
}


def play() -> Script:
    facts["blender"] = bpy.app.version_string
    yield from open_sidebar()
    yield from choose_picture()
    yield from SCENARIOS[SCENARIO]()


def finish(verdict: str) -> None:
    facts["verdict"] = verdict
    text = json.dumps(facts, indent=1, default=str)
    (FOLDER / f"{SCENARIO}.json").write_text(text + "\n", encoding="utf-8")


_script = play()


def step() -> float | None:
    try:
        return next(_script)
    except StopIteration:
        finish("passed")
    except BaseException:  # noqa: BLE001 - a timer's exception would only reach the console
        finish(traceback.format_exc())
        picture = FOLDER / f"{SCENARIO}_failed.png"
        subprocess.run(["import", "-window", "root", str(picture)], timeout=20, check=False)
    sys.stdout.flush()
    os._exit(0)


def tick() -> float:
    module = sys.modules.get(f"{PACKAGE}.operators.session")
    news = getattr(module, "last_event", None)
    ticks.append((time.perf_counter(), getattr(news, "stage", "")))
    return TICK


def rest() -> float:
    """Sleep as Blender does between events; where events can be simulated it spins instead.

    Spinning took the worker, which runs at a lower priority than the window, more than a core of two.
    """
    time.sleep(REST)
    return 0.0


bpy.context.preferences.view.show_splash = False  # before the first redraw would show it
bpy.app.timers.register(step, first_interval=0.5, persistent=True)
bpy.app.timers.register(tick, first_interval=0.5, persistent=True)
bpy.app.timers.register(rest, first_interval=0.5, persistent=True)
