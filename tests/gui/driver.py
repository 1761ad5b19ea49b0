"""Act as an artist inside a real Blender window and write down what happened.

Runs inside Blender: ``blender --enable-event-simulate --python driver.py -- SCENARIO FOLDER``. One
timer steps a generator; every ``yield seconds`` gives Blender its event loop back for that long.
FOLDER holds ``picture.png`` and receives ``SCENARIO.json`` and screenshots.
"""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import itertools
import json
import mmap
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import addon_utils
import bpy

PACKAGE = "bl_ext.user_default.image_to_mesh"
TAB = "Image to Mesh"
TICK = 0.01  # seconds; gaps between these ticks are what the artist feels
REST = 0.005  # seconds
CLICK = "[(0.5, 0.5, 1)]"  # the middle is the subject
PATIENCE = 240.0  # seconds a job may take on a slow, shared machine
LONG_RUN = 1500.0  # seconds that one with a large network may take there

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


def key(kind: str, **modifiers: bool) -> Script:
    """Press and release a key with the mouse over the middle of the 3D view."""
    area, _ = view()
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
    cube = bpy.data.objects.get("Cube")
    if cube is not None:  # larger than what will appear in the same place
        bpy.data.objects.remove(cube)
    image = bpy.data.images.load(str(FOLDER / "picture.png"))
    bpy.context.scene.image_to_mesh.picture = image
    bpy.ops.ed.undo_push(message="Choose picture")
    view()[0].tag_redraw()
    yield 1.0


def find_button(operator: str, across: float = 0.4) -> Iterator[float]:
    """Slide down the sidebar until the button under the mouse is ``operator``'s.

    Returns its window coordinates. Ctrl-C over a button copies its Python command: that tells what
    is under the mouse without guessing pixels. ``across`` is the share of the sidebar's width.
    """
    area, sidebar = view()
    manager = bpy.context.window_manager
    x = sidebar.x + sidebar.width * across
    for y in range(sidebar.y + sidebar.height - 8, sidebar.y + 10, -8):
        mouse("MOUSEMOVE", "NOTHING", x, y)
        yield 0.03
        manager.clipboard = ""
        with bpy.context.temp_override(
            window=window(), screen=window().screen, area=area, region=sidebar
        ):
            if bpy.ops.ui.copy_python_command_button.poll():
                bpy.ops.ui.copy_python_command_button()
        if operator in manager.clipboard:
            return x, y
    raise AssertionError(f"There is no button for {operator} in the sidebar")


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


# --- scenarios ----------------------------------------------------------------------------------


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


def cancel() -> Script:
    """Press the button, then Esc."""
    before = objects()
    yield from press_generate()
    yield from wait_for_stage(0.1)
    yield from screenshot("cancel_during")
    assert session().is_running(), "the job ended before it could be cancelled"
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


def quit_blender() -> Script:
    """Quit in the middle of a job; the caller looks at the exit status and the time it takes."""
    yield from press_generate()
    yield from wait_for_stage(0.1)
    finish("passed")
    (FOLDER / "quit_at").write_text(str(time.time()), encoding="utf-8")
    with bpy.context.temp_override(window=window()):
        bpy.ops.wm.quit_blender()
    yield 1.0


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


def models() -> Script:
    """Get a model in the preferences from a hub on this computer: cancel, go on, check, delete."""
    sys.path.insert(0, str(FOLDER))
    from loopback_hub import LoopbackHub

    catalogue = importlib.import_module(f"{PACKAGE}.inference.hub.catalogue")
    weights = importlib.import_module(f"{PACKAGE}.inference.hub.weights")
    buttons = importlib.import_module(f"{PACKAGE}.operators.models")
    folder = importlib.import_module(f"{PACKAGE}.operators.preferences").models_folder()
    file = catalogue.ModelFile("model.safetensors")
    entry = dataclasses.replace(
        catalogue.model("da3-small"), repo="owner/da3", revision=None, files=(file,)
    )
    buttons.model = lambda _id: entry
    header = b'{"weight":{"dtype":"U8","shape":[4000000],"data_offsets":[0,4000000]}}'
    content = len(header).to_bytes(8, "little") + header + bytes(4_000_000)

    def press(name: str) -> None:
        with bpy.context.temp_override(window=window()):
            getattr(bpy.ops.image_to_mesh, name)("EXEC_DEFAULT", model=entry.id)

    with LoopbackHub(files={"owner/da3/model.safetensors": content}, pace=0.4) as hub:
        os.environ["HF_ENDPOINT"] = hub.address
        area, _ = view()  # a window of its own would not fit on the display
        area.type = "PREFERENCES"
        bpy.context.preferences.active_section = "ADDONS"
        bpy.context.window_manager.addon_search = TAB
        with bpy.context.temp_override(window=window(), area=area):
            bpy.ops.preferences.addon_expand(module=PACKAGE)
            bpy.ops.screen.screen_full_area()
        yield 2.0
        yield from screenshot("models_offline")
        bpy.context.preferences.system.use_online_access = False
        press("download_model")
        yield from wait(lambda: not session().is_running(), 10, "The refusal")
        facts["offline"] = session().last_event.message
        assert not hub.seen, f"asked {hub.seen} while offline"

        bpy.context.preferences.system.use_online_access = True
        press("download_model")
        yield from wait_for_stage(0.3)
        yield from screenshot("models_during")
        pressed = time.monotonic()
        bpy.ops.image_to_mesh.cancel()
        yield from wait_for_thread()
        facts["seconds_to_stop"] = round(time.monotonic() - pressed - 0.5, 2)
        facts["after_cancel"] = weights.status(entry, folder).state
        hub.pace = 0.0
        press("download_model")
        yield from wait(lambda: not session().is_running(), 60, "The rest of the download")
        facts["ranges"] = hub.ranges()
        facts["installed"] = [session().last_summary, weights.status(entry, folder).state]
        press("verify_model")
        yield from wait(lambda: not session().is_running(), 60, "The check")
        facts["checked"] = session().last_summary
        yield 0.5
        yield from screenshot("models_after")
        press("delete_model")
        facts["after_delete"] = weights.status(entry, folder).state
        bpy.ops.image_to_mesh.free_memory()
    yield 0.5


def hub_models() -> Script:
    """For each model of hub_files.json: get it, check it, press the real button with it, delete it."""
    sys.path.insert(0, str(FOLDER))
    from loopback_hub import LoopbackHub

    weights = importlib.import_module(f"{PACKAGE}.inference.hub.weights")
    folder = importlib.import_module(f"{PACKAGE}.operators.preferences").models_folder()
    yield from note_listed_models()
    yield from open_sidebar()
    settings, photos = bpy.context.scene.image_to_mesh, bpy.context.scene.image_to_mesh_photos
    settings.picture = bpy.data.images.load(str(FOLDER / "ball.png"))
    settings.detail, settings.texture_size, settings.steps = "LOW", 512, 2
    photos.surface = "FUSED"
    bpy.ops.image_to_mesh.add_photos(directory=str(FOLDER / "hub_walk"))
    stages = [name for name in settings.bl_rna.properties.keys() if name.endswith("_model")]  # noqa: SIM118
    bpy.context.preferences.system.use_online_access = True

    def press(operator: str, how: str = "EXEC_DEFAULT", **options: str) -> Script:
        with bpy.context.temp_override(window=window(), area=view()[0]):
            getattr(bpy.ops.image_to_mesh, operator)(how, **options)
        yield from wait(lambda: not session().is_running(), LONG_RUN, f"The end of {operator}")
        yield 0.3

    def succeeded(what: str) -> None:
        assert session().last_event is None, f"{what}: {session().last_event}"

    def run(entry, task: str) -> Script:
        """Press the button that uses the model for one of its tasks; returns what came out."""
        before, started = objects(), time.monotonic()
        for stage in stages:
            setattr(settings, stage, "BUNDLED")
        setattr(photos if task == "views" else settings, stage_of(task), entry.id)
        settings.engine = "SCENE" if task == "depth" else "OBJECT"
        settings.mask, settings.cut_out = None, "AUTO"
        picked = []
        if task == "pick":
            yield from press("pick_subject", points=CLICK)
            picked = list(session().last_summary)
        if task == "views":
            yield from press("reconstruct_views", "INVOKE_DEFAULT")
        else:
            yield from press_generate()
            yield from wait(lambda: not session().is_running(), LONG_RUN, f"The end of {task}")
            yield 0.3
        succeeded(f"{entry.label}, {task}")
        mesh = bpy.context.view_layer.objects.active
        assert mesh.name not in before, f"{entry.label} made nothing"
        look_at_selected()
        yield 1.0
        yield from screenshot(f"hub_{entry.id}_{task}")
        return {
            "faces": len(mesh.data.polygons),
            "model": mesh["image_to_mesh_model"],
            "picked": picked,
            "seconds": round(time.monotonic() - started, 1),
        }

    for name, files in json.loads((FOLDER / "hub_files.json").read_text("utf-8")).items():
        entry = stand_in(name, files)
        found = facts.setdefault("models", {})[name] = {
            "label": entry.label,
            "sizes": [file.size for file in entry.files],
        }
        contents = {
            f"{entry.repo}/{part.path}": mapped(FOLDER / file)
            for part, file in zip(entry.files, files, strict=True)
        }
        for file in files:  # gigabytes that the disk need not hold twice
            (FOLDER / file).unlink()
        with LoopbackHub(files=contents) as hub:
            os.environ["HF_ENDPOINT"] = hub.address
            for part in entry.files:  # counted already: the first answer need not wait for it
                path = f"{entry.repo}/{part.path}"
                hub.hashed[path] = contents[path], part.sha256, part.sha256[:40]
            yield from press("download_model", model=name)
            succeeded(f"The download of {name}")
            found["transfers"] = [seen.path for seen in hub.seen if seen.method == "GET"][1::2]
            hub.hashed.clear()
        while contents:
            contents.popitem()[1].close()  # only now the disk has the room again
        yield from press("verify_model", model=name)
        succeeded(f"The check of {name}")
        found["checked"] = list(session().last_summary)
        found["runs"] = {}
        for task in entry.tasks:
            found["runs"][task] = yield from run(entry, task)
        yield from press("delete_model", model=name)
        found["after_delete"] = weights.status(entry, folder).state
        button = {"views": "reconstruct_views", "pick": "pick_subject"}.get(entry.task, "generate")
        options = {"points": CLICK} if entry.task == "pick" else {}
        try:
            yield from press(button, **options)
        except RuntimeError as error:
            found["refusal"] = str(error)


def mapped(path: Path) -> mmap.mmap:
    """A file's content, gigabytes of which need no memory."""
    with path.open("rb") as file:
        return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)


def note_listed_models() -> Script:
    """Show the preferences and note which models they list, with what licence."""
    catalogue = importlib.import_module(f"{PACKAGE}.inference.hub.catalogue")
    preferences = importlib.import_module(f"{PACKAGE}.panels.preferences")
    listed: dict[str, str] = {}
    draw_model = preferences._draw_model

    def draw_and_note(layout, entry, status) -> None:
        listed[entry.id] = preferences.licence_text(entry)
        draw_model(layout, entry, status)

    preferences._draw_model = draw_and_note
    area, _ = view()
    area.type = "PREFERENCES"
    bpy.context.preferences.active_section = "ADDONS"
    bpy.context.window_manager.addon_search = TAB
    with bpy.context.temp_override(window=window(), area=area):
        bpy.ops.preferences.addon_expand(module=PACKAGE)
    yield 2.0
    preferences._draw_model = draw_model
    facts["listed"] = listed
    facts["catalogue"] = [entry.id for entry in catalogue.CATALOGUE]
    area.type = "VIEW_3D"


def stand_in(name: str, files: list[str]):
    """Let the extension see a model's entry with the sizes and hashes of other files; returns it."""
    catalogue = importlib.import_module(f"{PACKAGE}.inference.hub.catalogue")
    weights = importlib.import_module(f"{PACKAGE}.inference.hub.weights")
    number = [entry.id for entry in catalogue.CATALOGUE].index(name)
    known = catalogue.CATALOGUE[number]
    parts = []
    for file, given in zip(known.files, files, strict=True):
        with mapped(FOLDER / given) as content:
            sha256 = hashlib.sha256(content).hexdigest()
            parts.append(catalogue.ModelFile(file.path, len(content), sha256))
    entry = dataclasses.replace(
        known,
        repo=f"owner/{name}",
        revision=None,
        files=tuple(parts),
        source="safetensors" if known.source == "safetensors" else "pickle",
    )
    everything = list(catalogue.CATALOGUE)
    everything[number] = catalogue._BY_ID[name] = entry
    catalogue.CATALOGUE = weights.CATALOGUE = tuple(everything)
    return entry


def stage_of(task: str) -> str:
    """The setting that chooses the network of a task."""
    return f"{task.replace('-', '_')}_model"


SCENARIOS = {
    function.__name__: function
    for function in (
        *(generate, cancel, open_file, undo, delete_scene, disable, quit_blender, models),
        *(photos, preview, pick, hub_models),
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
