"""Models in Blender: nothing is fetched unasked, and every button does what it says."""

import hashlib
import os
import sys
import time
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.contracts import Failed, Progress
from image_to_mesh.inference.hub import disk, transfer, weights
from image_to_mesh.inference.hub.catalogue import CATALOGUE, TASKS, ModelFile, model
from image_to_mesh.inference.networks.loaded import LOADED
from image_to_mesh.operators import models, options, preferences, session
from image_to_mesh.operators.request import STAGES, request_from, settings_from
from image_to_mesh.panels import networks
from image_to_mesh.panels import photos as photos_page
from image_to_mesh.panels import preferences as page
from loopback_hub import COMMIT
from safetensors.numpy import save as to_bytes

CONTENT = to_bytes({"weight": np.arange(300_000, dtype=np.float32)})


class Layout:
    """Records what a panel draws; every sub-layout is itself."""

    def __init__(self):
        self.texts, self.calls = [], []

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.calls.append((name, arguments))
            if "text" in options:
                self.texts.append(options["text"])
            return self

        return call

    def operators(self):
        return [arguments[0] for name, arguments in self.calls if name == "operator"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    """An empty models folder and an unhurried hub."""
    monkeypatch.setattr(preferences, "default_models_folder", lambda: str(tmp_path / "models"))
    monkeypatch.setattr(transfer, "RETRY_WAITS", (0.01,))
    monkeypatch.setattr(disk, "SPARE", 0)
    return tmp_path / "models"


@pytest.fixture
def online(monkeypatch):
    monkeypatch.setattr(models, "network_refusal", lambda: None)


@pytest.fixture
def hub(loopback_hub, monkeypatch):
    """A hub with one model, which the catalogue's entry of that id now points to."""
    entry = replace(
        model("da3-small"),
        repo="owner/da3",
        revision=None,
        files=(ModelFile("model.safetensors", len(CONTENT)),),
    )
    loopback_hub.files["owner/da3/model.safetensors"] = CONTENT
    monkeypatch.setattr(models, "model", lambda _id: entry)
    loopback_hub.entry = entry
    return loopback_hub


def draw_page():
    layout = Layout()
    me = types.SimpleNamespace(layout=layout, device="AUTO", models_folder="")
    page.ImageToMeshPreferences.draw(me, bpy.context)
    return layout


def draw_panel(panel=networks.IMAGE_TO_MESH_PT_models):
    layout = Layout()
    system = types.SimpleNamespace(ui_scale=1.0)
    context = types.SimpleNamespace(
        scene=bpy.context.scene,
        preferences=types.SimpleNamespace(system=system),
        region=types.SimpleNamespace(width=1200),
    )
    panel.draw(types.SimpleNamespace(layout=layout), context)
    return layout


# --- nothing unasked ----------------------------------------------------------------------------


def test_the_manifest_says_what_the_network_is_for():
    import tomllib

    root = Path(image_to_mesh.__file__).parent
    manifest = tomllib.loads((root / "blender_manifest.toml").read_text(encoding="utf-8"))
    reason = manifest["permissions"]["network"]
    assert reason == "Download the models you choose in the preferences"
    assert len(reason) <= 64


def test_without_online_access_nothing_is_asked_and_the_artist_reads_where_to_turn_it_on(hub):
    assert not bpy.app.online_access
    with pytest.raises(RuntimeError, match=r"Preferences > System > Network > Allow Online Access"):
        bpy.ops.image_to_mesh.download_model(model="da3-small")
    assert hub.seen == []
    assert any("Allow Online Access" in text for text in draw_page().texts)


def test_the_shared_cache_needs_no_online_access(hub, folder):
    snapshot = Path(os.environ["HF_HOME"]) / "hub" / "models--owner--da3" / "snapshots" / "abc"
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").write_bytes(CONTENT)
    (snapshot.parents[1] / "refs").mkdir()
    (snapshot.parents[1] / "refs" / "main").write_text("abc")
    assert bpy.ops.image_to_mesh.download_model(model="da3-small") == {"FINISHED"}
    assert weights.installed(hub.entry, folder) is not None
    assert hub.seen == []


def test_drawing_and_enabling_ask_nobody_and_load_no_torch(hub):
    import subprocess

    draw_page()
    draw_panel()
    assert hub.seen == []
    code = (
        "import sys; sys.path.insert(0, sys.argv[1]); import conftest, bpy, image_to_mesh;"
        "image_to_mesh.register(); image_to_mesh.panels.networks.choices(bpy.context.scene.image_to_mesh);"
        "heavy = {'torch', 'cv2', 'safetensors', 'timm', 'huggingface_hub', 'httpx2', 'filelock'};"
        "found = sorted(heavy & sys.modules.keys());"
        "image_to_mesh.unregister(); print('found', found, flush=True); import os; os._exit(0)"
    )
    tests = Path(__file__).resolve().parents[1]
    command = [sys.executable, "-c", code, str(tests)]
    result = subprocess.run(command, capture_output=True, text=True, check=True)
    assert result.stdout.strip().splitlines()[-1] == "found []"


# --- the buttons --------------------------------------------------------------------------------


def test_download_check_and_delete(hub, folder, online):
    assert bpy.ops.image_to_mesh.download_model(model="da3-small") == {"FINISHED"}
    path = weights.installed(hub.entry, folder)
    assert path.read_bytes() == CONTENT
    assert session.last_summary == ("Depth Anything 3 Small is installed.",)
    assert bpy.ops.image_to_mesh.verify_model(model="da3-small") == {"FINISHED"}
    assert session.last_summary == ("Depth Anything 3 Small is what was installed.",)
    content = bytearray(CONTENT)
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(RuntimeError, match="has changed since it was installed"):
        bpy.ops.image_to_mesh.verify_model(model="da3-small")
    assert bpy.ops.image_to_mesh.delete_model(model="da3-small") == {"FINISHED"}
    assert weights.status(hub.entry, folder).state == "missing"


@pytest.mark.parametrize("known", CATALOGUE, ids=lambda entry: entry.id)
def test_every_model_is_listed_downloaded_checked_and_deleted(
    known, loopback_hub, folder, online, monkeypatch
):
    """With small stand-ins for the publishers' files, at their own repository and revision."""
    contents = {
        file.name: to_bytes({"weight": np.full(1000 + number, number, np.float32)})
        for number, file in enumerate(known.files)
    }
    files = tuple(
        ModelFile(name, len(content), hashlib.sha256(content).hexdigest())
        for name, content in contents.items()
    )
    entry = replace(
        known, repo=f"owner/{known.id}", files=files, source="safetensors", revision=COMMIT
    )
    monkeypatch.setattr(models, "model", lambda _id: entry)
    loopback_hub.files |= {f"{entry.repo}/{name}": content for name, content in contents.items()}
    texts = draw_page().texts
    assert known.label in texts
    assert page.licence_text(known) in texts
    assert page.status_text(known, weights.status(known, folder)) in texts
    assert bpy.ops.image_to_mesh.download_model(model=known.id) == {"FINISHED"}
    for name, content in contents.items():
        assert (folder / known.id / name).read_bytes() == content
    assert known.id in weights.installed_ids(folder)
    assert f"Installed, {page.size_text(sum(map(len, contents.values())))}" in draw_page().texts
    assert bpy.ops.image_to_mesh.verify_model(model=known.id) == {"FINISHED"}
    assert bpy.ops.image_to_mesh.delete_model(model=known.id) == {"FINISHED"}
    assert not (folder / known.id).exists()


def test_a_failed_download_is_told(hub, online):
    hub.answers = [(404, {})]
    with pytest.raises(RuntimeError, match="is no longer at"):
        bpy.ops.image_to_mesh.download_model(model="da3-small")
    assert isinstance(session.last_event, Failed)
    assert any("is no longer at" in text for text in draw_page().texts)


def test_without_huggingface_hub_only_downloads_are_missing(hub, folder, online, monkeypatch):
    sentence = "Download needs the Python package huggingface_hub, which the full zip brings"
    assert not any(text.startswith(sentence) for text in draw_page().texts)
    for name in [*sys.modules, "huggingface_hub"]:
        if name.partition(".")[0] == "huggingface_hub":
            monkeypatch.setitem(sys.modules, name, None)
    assert any(text.startswith(sentence) for text in draw_page().texts)
    with pytest.raises(RuntimeError, match=r"huggingface_hub is missing.*or press Use File"):
        bpy.ops.image_to_mesh.download_model(model="da3-small")
    assert hub.seen == []


def test_a_download_in_a_window_shows_progress_and_can_be_cancelled(hub, folder, online):
    hub.pace = 0.05
    operator = models.IMAGE_TO_MESH_OT_download_model
    task = models._ModelTask(hub.entry, folder)
    operator._run(None, bpy.context, task, models._download, "downloaded", wait=False)
    deadline = time.monotonic() + 10
    while not (isinstance(session.last_event, Progress) and session.last_event.fraction > 0.2):
        assert time.monotonic() < deadline
        session.pump()
        time.sleep(0.02)
    assert session.busy_reason() == (
        "Depth Anything 3 Small is being downloaded: wait for it or press Cancel"
    )
    layout = draw_page()
    assert "image_to_mesh.cancel" in layout.operators()
    assert any(text.startswith("Downloading Depth Anything 3 Small") for text in layout.texts)
    job, started = session._task.job, time.monotonic()
    bpy.ops.image_to_mesh.cancel()
    assert not session.is_running()
    assert job.join(5)
    assert time.monotonic() - started < 1.0
    assert session.pump() is None
    assert weights.status(hub.entry, folder).state == "partial"


def test_use_file(tmp_path, folder, monkeypatch):
    entry = replace(model("da3-small"), files=(ModelFile("model.safetensors"),))
    monkeypatch.setattr(models, "model", lambda _id: entry)
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(CONTENT)
    assert bpy.ops.image_to_mesh.use_model_file(model="da3-small", filepath=str(mine)) == {
        "FINISHED"
    }
    assert session.last_summary == ("Depth Anything 3 Small is installed from mine.safetensors.",)
    assert weights.installed(entry, folder) is not None
    with pytest.raises(RuntimeError, match=r"There is no file .*nothing\.pth"):
        bpy.ops.image_to_mesh.use_model_file(
            model="da3-small", filepath=str(tmp_path / "nothing.pth")
        )


def test_free_memory_drops_what_is_loaded(monkeypatch):
    monkeypatch.setitem(LOADED._models, ("da3-small", "cpu", "float32"), object())
    assert bpy.ops.image_to_mesh.free_memory() == {"FINISHED"}
    assert LOADED.names() == ()


def test_a_run_drops_its_networks_and_a_batch_keeps_them_until_its_end(pipeline, tmp_path):
    held = []

    def load_something(result):
        held.append(LOADED.names())
        LOADED._models["da3-small", "cpu", "float32"] = object()
        return result

    pipeline.change = load_something
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(name.encode())
    bpy.ops.image_to_mesh.generate(filepath=str(tmp_path / "a.png"))
    assert LOADED.names() == ()
    bpy.ops.image_to_mesh.batch(directory=str(tmp_path), output=str(tmp_path / "out"), format="STL")
    assert held == [(), (), ("da3-small",)]
    assert LOADED.names() == ()


# --- what the artist reads ----------------------------------------------------------------------


def test_the_preferences_list_every_model_with_licence_size_and_status(folder):
    layout = draw_page()
    for entry in CATALOGUE:
        assert entry.label in layout.texts
        assert entry.good_at in layout.texts
        assert page.licence_text(entry) in layout.texts
    assert "CC-BY-NC-4.0: NON-COMMERCIAL" in layout.texts
    assert "419 MB to download" in layout.texts
    assert layout.operators().count("image_to_mesh.download_model") == len(CATALOGUE)
    assert "image_to_mesh.delete_model" not in layout.operators()


@pytest.mark.parametrize(
    ("state", "size", "text"),
    [
        ("installed", 137_000_000, "Installed, 137 MB"),
        ("partial", 50_000_000, "50 MB of 137 MB have arrived"),
        ("damaged", 5, "A file was lost or changed: download again"),
        ("missing", 0, "137 MB to download"),
    ],
)
def test_the_status_of_a_model(monkeypatch, state, size, text):
    entry = model("da3-small")
    assert page.status_text(entry, weights.Status(state, size)) == text
    monkeypatch.setattr(weights, "status", lambda _entry, _folder: weights.Status(state, size))
    operators = draw_page().operators()
    assert ("image_to_mesh.delete_model" in operators) == (state != "missing")
    assert ("image_to_mesh.verify_model" in operators) == (state == "installed")
    assert ("image_to_mesh.download_model" in operators) == (state != "installed")


def test_the_panel_says_which_network_runs_and_why(monkeypatch):
    settings = bpy.context.scene.image_to_mesh
    layout = draw_panel()
    assert "All of it is built in: nothing has to be downloaded." in layout.texts
    settings.depth_model = "moge-2-vits"
    expected = "MoGe-2 Small is not installed: download it in the preferences"
    assert any(expected in text for text in draw_panel().texts)
    monkeypatch.setattr(networks, "installed_ids", lambda _folder: {"moge-2-vits"})
    assert "MoGe-2 Small runs: you chose it." in draw_panel().texts
    settings.depth_model, settings.engine = "AUTO", "OBJECT"
    assert not any("MoGe-2" in text for text in draw_panel().texts)  # an object has no use for it


def test_the_photos_panel_says_which_network_places_cameras(monkeypatch):
    photos = bpy.context.scene.image_to_mesh_photos
    expected = "Cameras are found by matching points, without a network: no model"
    assert any(
        text.startswith(expected) for text in draw_panel(photos_page.IMAGE_TO_MESH_PT_photos).texts
    )
    photos.views_model = "da3-small"
    expected = "Depth Anything 3 Small is not installed: download it in the preferences"
    assert any(expected in text for text in draw_panel(photos_page.IMAGE_TO_MESH_PT_photos).texts)
    photos.cameras = "TURNTABLE"
    assert not any(
        expected in text for text in draw_panel(photos_page.IMAGE_TO_MESH_PT_photos).texts
    )


def test_every_stage_has_a_setting_with_every_model():
    settings = bpy.context.scene.image_to_mesh
    assert {task.replace("-", "_") for task in networks.SHOWN} == set(STAGES)
    assert set(networks.SHOWN) < set(TASKS)
    for task in networks.SHOWN:
        items = settings.bl_rna.properties[networks.property_name(task)].enum_items
        wanted = {"AUTO", "BUNDLED"} | {e.id for e in CATALOGUE if task in e.tasks}
        assert set(items.keys()) == wanted
        numbers = [item[3] for item in options.model_items(task)]
        assert len(set(numbers)) == len(numbers)


def test_a_saved_choice_does_not_depend_on_the_catalogue_s_order():
    by_id = {item[0]: item[3] for item in options.model_items("depth")}
    assert by_id["moge-2-vits"] == 631697736
    assert by_id["AUTO"] == 1345308750


def test_the_choices_reach_the_request_and_the_settings(folder):
    settings = bpy.context.scene.image_to_mesh
    settings.depth_model, settings.object_model = "moge-2-vitb", "BUNDLED"
    request = request_from(settings, None, None, "CPU")
    assert (request.models.depth, request.models.object) == ("moge-2-vitb", "bundled")
    assert (request.models.cut_out, request.models.folder) == ("auto", folder)
    assert settings_from(request)["models"] == {"depth": "moge-2-vitb", "object": "bundled"}


def test_the_command_line_chooses_networks(pipeline, tmp_path, capsys):
    from image_to_mesh.operators.command import run_cli

    (tmp_path / "a.png").write_bytes(b"a")
    arguments = [str(tmp_path / "a.png"), "-o", str(tmp_path / "a.stl")]
    assert run_cli([*arguments, "--depth-model", "moge-2-vits", "--cut-out-model", "bundled"]) == 0
    chosen = pipeline.requests[0].models
    assert (chosen.depth, chosen.cut_out, chosen.object) == ("moge-2-vits", "bundled", "auto")
    assert run_cli([*arguments, "--depth-model", "triposr"]) == 2
    assert "must be one of auto, bundled, moge-2-vitl" in capsys.readouterr().err


def test_a_model_of_a_forbidding_licence_asks_first(online, monkeypatch):
    asked = []
    manager = types.SimpleNamespace(
        invoke_props_dialog=lambda _operator, title: asked.append(title) or {"RUNNING_MODAL"}
    )
    operator = models.IMAGE_TO_MESH_OT_download_model
    me = types.SimpleNamespace(
        model="depth-anything-v2-large", _start=lambda _context, wait: asked.append("started")
    )
    operator.invoke(me, types.SimpleNamespace(window_manager=manager), None)
    assert asked == ["Non-Commercial Licence"]
    me.model = "depth-anything-v2-small"
    operator.invoke(me, types.SimpleNamespace(window_manager=manager), None)
    assert asked[1:] == ["started"]
