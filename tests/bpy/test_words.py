"""Words: what is greyed says why, sentences use the names that menus show, and no name is cut off."""

from __future__ import annotations

import ast
import math
import re
from pathlib import Path

import pytest

bpy = pytest.importorskip("bpy")

import blf
import image_to_mesh
from image_to_mesh.inference.hub import weights
from image_to_mesh.inference.hub.catalogue import model
from image_to_mesh.inference.machine.memory import Memory
from image_to_mesh.inference.networks.choice import recommended
from image_to_mesh.operators import models
from image_to_mesh.operators.photos.listing import natural_key
from image_to_mesh.panels import networks, photos, preferences, refine, sidebar

ROOT = Path(image_to_mesh.__file__).parent
LABEL_WIDTH = 88.0  # pixels of a property's name at the default width of the sidebar, font size 11
BUTTON_WIDTH = 190.0  # of the text on a button that fills the sidebar, beside its icon


class Layout:
    """Records what a panel draws; every sub-layout remembers whether it is greyed."""

    def __init__(self, log=None, greyed=False):
        object.__setattr__(self, "log", [] if log is None else log)
        object.__setattr__(self, "greyed", greyed)

    def __setattr__(self, name, value):
        if name == "enabled":
            object.__setattr__(self, "greyed", self.greyed or not value)

    def __getattr__(self, name):
        def call(*arguments, **options):
            self.log.append((name, arguments, options, self.greyed))
            return Layout(self.log, self.greyed)

        return call

    def texts(self):
        return [options["text"] for _, _, options, _ in self.log if options.get("text")]

    def props(self):
        return {a[1]: greyed for name, a, _, greyed in self.log if name == "prop"}


def draw(panel, **more):
    layout = Layout()
    region = type("Region", (), {"width": 260})()
    system = type("System", (), {"ui_scale": 1.0})()
    shown = type("Preferences", (), {"system": system})()
    fields = {"scene": bpy.context.scene, "preferences": shown, "region": region, **more}
    panel.draw(type("Panel", (), {"layout": layout})(), type("Context", (), fields)())
    return layout


# --- variants -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("engine", "chosen", "is_greyed", "reason"),
    [
        ("AUTO", "BUNDLED", True, "The built-in network has one variant"),
        ("OBJECT", "triposr", True, "TripoSR has one variant"),
        ("OBJECT", "triposg", False, ""),
        ("AUTO", "triposg", False, ""),
        ("SCENE", "triposg", True, "Scenes have one variant"),
    ],
)
def test_variants_are_greyed_with_the_reason(monkeypatch, engine, chosen, is_greyed, reason):
    monkeypatch.setattr(networks, "installed_ids", lambda _folder: {"triposr", "triposg"})
    settings = bpy.context.scene.image_to_mesh
    settings.engine = engine
    monkeypatch.setattr(
        networks,
        "choices",
        lambda _settings: {
            "object": networks._chosen({"object": chosen}, "unknown")["object"],
        },
    )
    layout = draw(networks.IMAGE_TO_MESH_PT_models)
    assert layout.props()["variants"] is is_greyed
    assert layout.props()["steps"] is is_greyed
    assert (reason in " ".join(layout.texts())) if reason else "one variant" not in layout.texts()


def test_what_is_built_in_takes_one_line(monkeypatch):
    monkeypatch.setattr(networks, "installed_ids", lambda _folder: set())
    text = " ".join(draw(networks.IMAGE_TO_MESH_PT_models).texts())
    assert text.count("built in") + text.count("Built in") == 1
    monkeypatch.setattr(networks, "installed_ids", lambda _folder: {"moge-2-vits"})
    bpy.context.scene.image_to_mesh.depth_model = "moge-2-vits"
    text = " ".join(draw(networks.IMAGE_TO_MESH_PT_models).texts())
    assert "MoGe-2 Small runs: you chose it." in text
    assert "Built in: Cut-Out, Pick, Object, Upscale, Inpaint." in text


# --- the recommended set --------------------------------------------------------------------------


def test_the_best_for_a_computer_may_be_used_fits_and_has_a_size():
    strong = recommended(Memory(64_000.0, 24_000.0, has_card=True))
    weak = recommended(Memory(6_000.0, None, has_card=False))
    assert strong
    assert weak
    assert strong != weak
    for entry in (*strong, *weak):
        assert entry.is_commercial
    assert all(not entry.needs_gpu and entry.cpu_mb <= 6_000 for entry in weak)
    assert len(set(strong)) == len(strong)


def test_one_button_gets_all_that_is_missing(monkeypatch, tmp_path):
    fetched = []
    best = (model("da3-small"), model("u2netp"))
    monkeypatch.setattr(models, "recommended", lambda _memory: best)
    monkeypatch.setattr(preferences, "recommended", lambda _memory: best)
    for module in (models, preferences):
        monkeypatch.setattr(module, "models_folder", lambda: tmp_path)

    def download(entry, folder, report, forbidden):
        report(0.5, "Downloading")
        fetched.append(entry.id)

    monkeypatch.setattr(weights, "download", download)
    assert bpy.ops.image_to_mesh.download_best() == {"FINISHED"}
    assert fetched == ["da3-small", "u2netp"]
    layout = Layout()
    preferences._draw_best(layout, tmp_path)
    size = preferences.size_text(sum(entry.size or 0 for entry in best))
    assert f"Get the Best for This Computer ({size})" in layout.texts()
    monkeypatch.setattr(weights, "status", lambda _entry, _folder: weights.Status("installed", 1))
    preferences._draw_best(layout, tmp_path)
    assert "All of it is installed" in layout.texts()


# --- names ----------------------------------------------------------------------------------------


def test_the_button_says_what_it_does():
    assert "Make Mesh" in draw(sidebar.IMAGE_TO_MESH_PT_main).texts()


def test_options_stand_under_what_they_are_for():
    settings = bpy.context.scene.image_to_mesh
    headings = {"AUTO": ["For Objects", "For Scenes"], "OBJECT": ["For Objects"]}
    headings["SCENE"] = ["For Scenes"]
    for engine, expected in headings.items():
        settings.engine = engine
        texts = draw(sidebar.IMAGE_TO_MESH_PT_output).texts()
        assert [text for text in texts if text.startswith("For ")] == expected


def test_the_field_of_view_is_automatic_in_words():
    settings = bpy.context.scene.image_to_mesh
    assert (settings.field_of_view, settings.fov_x) == ("AUTO", 0.0)
    assert "fov_x" not in draw(sidebar.IMAGE_TO_MESH_PT_output).props()
    settings.field_of_view = "GIVEN"
    assert settings.fov_x == pytest.approx(math.radians(60))
    assert "fov_x" in draw(sidebar.IMAGE_TO_MESH_PT_output).props()
    settings.fov_x = 0.5
    settings.field_of_view = "GIVEN"
    assert settings.fov_x == 0.5
    settings.field_of_view = "AUTO"
    assert settings.fov_x == 0.0


def panels():
    mesh = bpy.data.meshes.new("m")
    for engine in ("object", "scene"):
        obj = bpy.data.objects.new(engine, mesh)
        obj.image_to_mesh.engine = engine
        yield draw(refine.IMAGE_TO_MESH_PT_refine, active_object=obj)
    for given in ("AUTO", "GIVEN"):
        bpy.context.scene.image_to_mesh.field_of_view = given
        yield draw(sidebar.IMAGE_TO_MESH_PT_output)
    bpy.context.scene.image_to_mesh_photos.cameras = "TURNTABLE"
    for panel in (
        sidebar.IMAGE_TO_MESH_PT_main,
        sidebar.IMAGE_TO_MESH_PT_cut_out,
        networks.IMAGE_TO_MESH_PT_models,
        photos.IMAGE_TO_MESH_PT_photos,
    ):
        yield draw(panel)
    bpy.context.scene.image_to_mesh_photos.cameras = "AUTO"
    yield draw(photos.IMAGE_TO_MESH_PT_photos)


def test_no_name_is_cut_at_the_default_width_of_the_sidebar():
    blf.size(0, 11.0)
    cut = {}
    for layout in panels():
        for name, arguments, options, _ in layout.log:
            if name != "prop" or options.get("expand") or options.get("text") == "":
                continue
            prop = arguments[0].bl_rna.properties[arguments[1]]
            text = options.get("text", prop.name)
            room = LABEL_WIDTH if prop.type != "BOOLEAN" else 1.4 * LABEL_WIDTH
            width = blf.dimensions(0, text)[0]
            assert width > 0
            if width > room:
                cut[text] = width
    assert not cut


def test_no_button_is_cut():
    blf.size(0, 11.0)
    for layout in panels():
        for name, arguments, options, _ in layout.log:
            if name == "operator" and options.get("text") != "":
                module, verb = arguments[0].split(".")
                label = getattr(getattr(bpy.ops, module), verb).get_rna_type().name
                width = blf.dimensions(0, options.get("text", label))[0]
                assert 0 < width < BUTTON_WIDTH, arguments[0]


def sentences():
    """Every string of the package, with those that are joined put together."""
    for path in sorted(ROOT.rglob("*.py")):
        if path.relative_to(ROOT).parts[0] not in {"inference", "operators", "panels"}:
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value
            elif isinstance(node, ast.JoinedStr):
                parts = [v.value if isinstance(v, ast.Constant) else "…" for v in node.values]
                yield path, "".join(map(str, parts))


def choices():
    """The names of menus, each with the names of what is on it."""
    scene = bpy.context.scene
    groups = [type(scene.image_to_mesh), type(scene.image_to_mesh_photos)]
    found: dict[str, set[str]] = {}
    for rna in (*(g.bl_rna for g in groups), preferences.ImageToMeshPreferences.bl_rna):
        for prop in rna.properties:
            if prop.type == "ENUM":
                found.setdefault(prop.name, set()).update(i.name for i in prop.enum_items)
    return found


def test_sentences_use_the_names_that_menus_show():
    menus, seen = choices(), 0
    pattern = re.compile(r"\bset ([A-Z][\w-]*(?: [A-Z][\w-]*)*) to ([A-Z][\w-]*(?: [A-Z][\w-]*)*)")
    for path, text in sentences():
        for name, value in pattern.findall(text):
            seen += 1
            assert name in menus, f"{path}: there is no menu called {name}"
            assert value in menus[name], f"{path}: {name} does not offer {value}"
    assert seen > 5


def test_sentences_name_buttons_that_exist():
    labels = {
        getattr(bpy.ops.image_to_mesh, name).get_rna_type().name
        for name in dir(bpy.ops.image_to_mesh)
    } | {"Make Mesh"}
    pattern = re.compile(r"\b[Pp]ress ((?:[A-Z][\w-]*)(?: (?:to )?[A-Z][\w-]*)*)")
    seen = 0
    for path, text in sentences():
        for name in pattern.findall(text):
            seen += 1
            assert name in labels, f"{path}: there is no button called {name}"
    assert seen > 5


# --- the order of photos --------------------------------------------------------------------------


def names():
    return [item.name for item in bpy.context.scene.image_to_mesh_photos.pictures]


def test_photos_can_be_moved_and_sorted(tmp_path):
    photos_ = bpy.context.scene.image_to_mesh_photos
    for name in ("p10.png", "P2.png", "p1.png"):
        item = photos_.pictures.add()
        item.name, item.filepath = name, str(tmp_path / name)
    photos_.active = 2
    assert bpy.ops.image_to_mesh.move_photo(direction="UP") == {"FINISHED"}
    assert (names(), photos_.active) == (["p10.png", "p1.png", "P2.png"], 1)
    assert bpy.ops.image_to_mesh.move_photo(direction="DOWN") == {"FINISHED"}
    assert bpy.ops.image_to_mesh.move_photo(direction="DOWN") == {"CANCELLED"}
    assert bpy.ops.image_to_mesh.sort_photos() == {"FINISHED"}
    assert (names(), photos_.active) == (["p1.png", "P2.png", "p10.png"], 0)
    assert [Path(item.filepath).name for item in photos_.pictures] == names()
    photos_.pictures.clear()
    with pytest.raises(RuntimeError, match="The list is empty"):
        bpy.ops.image_to_mesh.sort_photos()


def test_names_of_digits_and_letters_compare():
    assert sorted(["b", "10", "2", "a1"], key=natural_key) == ["2", "10", "a1", "b"]
