"""Networks from a hub on this computer, got in the preferences and run."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib
import json
import mmap
import os
import sys
import time
from pathlib import Path

import bpy
from acting import (
    FOLDER,
    PACKAGE,
    TAB,
    Script,
    facts,
    look_at_selected,
    objects,
    open_sidebar,
    press_generate,
    screenshot,
    session,
    view,
    wait,
    wait_for_stage,
    wait_for_thread,
    window,
)

CLICK = "[(0.5, 0.5, 1)]"  # the middle is the subject
LONG_RUN = 1500.0  # seconds that a run with a large network may take on a slow machine


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
