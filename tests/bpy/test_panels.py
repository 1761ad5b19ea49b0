"""What the artist reads: panels that draw, reasons, reports, the cut-out check."""

import ast
import inspect
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.contracts import Cancelled, Failed
from image_to_mesh.inference.errors import CutOutError
from image_to_mesh.operators import copy_report, session
from image_to_mesh.operators import preferences as chosen
from image_to_mesh.operators.scene.image import image_pixels
from image_to_mesh.operators.view.status_bar import Running
from image_to_mesh.panels import networks, preferences, progress, sidebar


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


def draw(panel_class):
    layout = Layout()
    panel = type("Panel", (), {"layout": layout})()
    region = type("Region", (), {"width": 300})()
    system = type("System", (), {"ui_scale": 1.0})()  # without a window Blender says 0
    preferences_ = type("Preferences", (), {"system": system})()
    context = type(
        "Context",
        (),
        {"scene": bpy.context.scene, "preferences": preferences_, "region": region},
    )()
    panel_class.draw(panel, context)
    return layout


PANELS = [
    sidebar.IMAGE_TO_MESH_PT_main,
    sidebar.IMAGE_TO_MESH_PT_cut_out,
    sidebar.IMAGE_TO_MESH_PT_output,
    networks.IMAGE_TO_MESH_PT_models,
]


@pytest.mark.parametrize("panel", PANELS)
def test_panels_draw_only_what_exists(panel):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("p", 4, 4)
    settings.cutout_preview = settings.picture
    for name, arguments in draw(panel).calls:
        if name in {"prop", "template_ID", "template_ID_preview"}:
            assert hasattr(arguments[0], arguments[1])
        if name == "operator":
            module, verb = arguments[0].split(".")
            assert getattr(getattr(bpy.ops, module), verb).get_rna_type()  # KeyError if unknown


@pytest.fixture
def running(monkeypatch):
    told = Running("chair.png", "Estimating the shape", 0.4, 12.0)
    monkeypatch.setattr(session, "is_running", lambda: True)
    monkeypatch.setattr(session, "running", lambda: told)


def test_cancel_takes_the_buttons_place_and_the_box_tells_how_far_it_is(running):
    layout = draw(sidebar.IMAGE_TO_MESH_PT_main)
    operators = [arguments[0] for name, arguments in layout.calls if name == "operator"]
    assert operators == ["image_to_mesh.cancel"]
    told = {"40%", "Estimating the shape", "chair.png", "about 10 s left"}
    assert told <= set(layout.texts)


def test_an_error_is_wrapped_and_comes_with_copy_report(monkeypatch):
    sentence = "The picture cannot be read because it is not a picture: choose another file."
    monkeypatch.setattr(session, "last_event", Failed(sentence, "details"))
    layout = draw(sidebar.IMAGE_TO_MESH_PT_main)
    operators = [arguments[0] for name, arguments in layout.calls if name == "operator"]
    assert operators == ["image_to_mesh.generate", "image_to_mesh.copy_report"]
    first = next(i for i, text in enumerate(layout.texts) if "picture cannot" in text)
    lines = [text for text in layout.texts[first:] if text]
    assert " ".join(lines) == sentence
    assert len(lines) > 1


def test_a_cancelled_run_and_a_good_one_are_told_apart(monkeypatch):
    monkeypatch.setattr(session, "last_event", Cancelled())
    assert "Cancelled" in draw(sidebar.IMAGE_TO_MESH_PT_main).texts
    monkeypatch.setattr(session, "last_event", None)
    monkeypatch.setattr(session, "last_summary", ("chair: object", "A note."))
    assert {"chair: object", "A note."} <= set(draw(sidebar.IMAGE_TO_MESH_PT_main).texts)


STATES = {
    "nothing yet": (None, ()),
    "a result": (None, ("chair: object, 7 faces, watertight, 3 s",)),
    "a result with much to say": (None, ("word " * 30, "and " * 40)),
    "a short error": (Failed("No.", ""), ()),
    "a long error": (Failed("word " * 90, ""), ()),
    "cancelled": (Cancelled(), ()),
}


@pytest.mark.parametrize("letters", [16, 26, 80])
def test_the_box_has_one_height_for_everything(letters, monkeypatch, request):
    for event, summary in STATES.values():
        monkeypatch.setattr(session, "last_event", event)
        monkeypatch.setattr(session, "last_summary", summary)
        told = progress.rows(letters, ("Open a picture.",))
        assert len(told) == progress.ROWS
        assert all(len(row.text) <= letters or row.operator for row in told)
        whole = event.message if isinstance(event, Failed) else "\n".join(summary)
        read = " ".join(row.text for row in told)
        assert " ".join(whole.split()) in " ".join(read.split()) or any(
            row.operator == "image_to_mesh.show_message" and row.text == whole for row in told
        )
    request.getfixturevalue("running")
    assert len(progress.rows(letters)) == progress.ROWS


def test_a_message_can_be_read_whole():
    assert bpy.ops.image_to_mesh.show_message(text="word " * 100) == {"FINISHED"}


def test_the_button_says_that_a_picture_is_missing(pipeline):
    settings = bpy.context.scene.image_to_mesh
    with bpy.context.temp_override(image_to_mesh_panel=settings):
        assert not bpy.ops.image_to_mesh.generate.poll()
        with pytest.raises(RuntimeError, match="Open or choose a picture first"):
            bpy.ops.image_to_mesh.generate()
        settings.picture = bpy.data.images.new("p", 4, 4)
        assert bpy.ops.image_to_mesh.generate.poll()


def test_cut_out_buttons_say_that_a_picture_is_missing(pipeline):
    for operator in (bpy.ops.image_to_mesh.check_cutout, bpy.ops.image_to_mesh.new_mask):
        with pytest.raises(RuntimeError, match="Choose a picture first"):
            operator()


def test_every_property_and_operator_explains_itself():
    operators = [
        getattr(bpy.ops.image_to_mesh, name).get_rna_type() for name in dir(bpy.ops.image_to_mesh)
    ]
    registered = image_to_mesh.operators.CLASSES
    assert len(operators) == sum(issubclass(cls, bpy.types.Operator) for cls in registered)
    groups = [
        type(bpy.context.scene.image_to_mesh).bl_rna,
        preferences.ImageToMeshPreferences.bl_rna,
    ]
    for rna in operators:
        assert rna.description
        assert not rna.description.endswith(".")
    inherited = {"filter_glob", "check_existing", "bl_idname", "name", "rna_type"}
    for rna in operators + groups:
        for prop in rna.properties:
            if prop.identifier not in inherited:
                assert prop.description, f"{rna.identifier}.{prop.identifier}"


def test_every_poll_that_refuses_says_why():
    """Wherever a poll of ours can return False, poll_message_set is called in it."""
    root = Path(image_to_mesh.__file__).parent
    for path in (root / "operators").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.FunctionDef) and node.name == "poll":
                assert "poll_message_set" in ast.unparse(node), path


def test_check_cutout_shows_the_subject_over_a_checkerboard(pipeline, window):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    window.press_check_cutout()
    window.settle()
    first = settings.cutout_preview
    assert first.name == "Cut-out: pixels"
    pixels = image_pixels(first)
    assert pixels.shape == (40, 30, 4)
    assert (pixels[:20, :, :3] == 200).all()  # the subject as it is
    assert len(np.unique(pixels[20:, :, 0])) == 2  # two greys outside
    assert pixels[20:, :, 0].max() < 150
    assert session.last_summary == (
        "The subject covers 50 % of the picture (found automatically).",
    )
    pipeline.cut_out_networks = ("IS-Net",)
    bpy.ops.image_to_mesh.check_cutout()
    assert session.last_summary == (
        "The subject covers 50 % of the picture (found automatically by IS-Net).",
    )


def test_checking_again_shows_the_new_cut_out_under_the_same_name(pipeline):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    user = bpy.data.textures.new("user", "IMAGE")
    bpy.ops.image_to_mesh.check_cutout()
    user.image = settings.cutout_preview
    assert image_pixels(user.image)[0, 0, 0] == 200
    pipeline.is_upside_down = True
    assert bpy.ops.image_to_mesh.check_cutout() == {"FINISHED"}
    assert settings.cutout_preview.name == "Cut-out: pixels"
    assert user.image == settings.cutout_preview
    assert image_pixels(user.image)[0, 0, 0] < 200
    assert image_pixels(user.image)[-1, 0, 0] == 200
    assert len(bpy.data.images) == 2


def test_new_mask_is_the_cut_out_ready_to_paint(pipeline, window):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    bpy.ops.ed.undo_push(message="before")
    window.press_new_mask()
    window.settle()
    mask = bpy.context.scene.image_to_mesh.mask
    assert mask.name == "Mask: pixels"
    pixels = image_pixels(mask)
    assert (pixels[:20, :, 0] == 255).all()
    assert (pixels[20:, :, 0] == 0).all()
    bpy.ops.ed.undo()
    assert bpy.context.scene.image_to_mesh.mask is None


def test_the_panel_shows_why_a_mask_is_refused():
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    settings.mask = bpy.data.images.new("small", 16, 16)
    text = " ".join(draw(sidebar.IMAGE_TO_MESH_PT_cut_out).texts)
    assert "small has 16 x 16 pixels" in text


def test_cut_out_failures_are_told(pipeline, window):
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    pipeline.error = CutOutError("No subject was found: paint a mask.")
    with pytest.raises(RuntimeError, match="No subject was found: paint a mask"):
        bpy.ops.image_to_mesh.check_cutout()
    window.press_new_mask()
    window.settle()
    assert session.last_event.message == "No subject was found: paint a mask."
    assert settings.mask is None


def test_report_masks_who_the_artist_is():
    text = "C:\\Users\\ann\\x /home/ann/y ann's banner, ann"
    assert copy_report.mask_private(text, Path("/home/ann"), "ann") == (
        "C:\\Users\\<user>\\x ~/y <user>'s banner, <user>"
    )


def test_report_has_versions_settings_and_the_traceback(pipeline, picture, window):
    pipeline.error = KeyError("lost key")
    window.press_generate(filepath=str(picture), detail="HIGH")
    window.settle()
    bpy.ops.image_to_mesh.copy_report()
    report = copy_report.report_text()
    for part in ("blender: ", "python: ", "torch: ", "system: ", "device: ", '"detail": "high"',
                 "KeyError: 'lost key'", "Traceback"):  # fmt: skip
        assert part in report
    assert str(Path.home()) not in report


@pytest.mark.parametrize(
    ("event", "part"),
    [(None, "No run has ended yet."), (Cancelled(), "The last run was cancelled.")],
)
def test_report_without_an_error(event, part, monkeypatch):
    monkeypatch.setattr(session, "last_event", event)
    assert part in copy_report.report_text()


def test_preferences_tell_whether_packages_are_there(monkeypatch):
    assert preferences.missing_packages() == [
        label
        for name, label in preferences.NEEDED.items()
        if preferences.importlib.util.find_spec(name) is None
    ]
    monkeypatch.setattr(preferences.importlib.util, "find_spec", lambda name: None)
    layout = Layout()
    page = type("Page", (), {"layout": layout, "device": "AUTO", "models_folder": ""})()
    preferences.ImageToMeshPreferences.draw(page, bpy.context)
    assert "PyTorch and OpenCV and safetensors not found" in layout.texts[-1]


def test_models_folder_has_a_default(monkeypatch):
    assert chosen.models_folder().name == "models"
    page = type("Page", (), {"models_folder": "/somewhere/else"})()
    monkeypatch.setattr(chosen, "_preferences", lambda: page)
    assert chosen.models_folder() == Path("/somewhere/else")


def test_importing_the_picture_file_types_is_offered_on_drop():
    handler = image_to_mesh.operators.import_picture.IMAGE_TO_MESH_FH_picture
    assert ".jpg" in handler.bl_file_extensions.split(";")
    area = type("Area", (), {"type": "VIEW_3D"})()
    assert handler.poll_drop(type("Context", (), {"area": area})())
    area.type = "IMAGE_EDITOR"
    assert not handler.poll_drop(type("Context", (), {"area": area})())
    assert "filepath" in inspect.get_annotations(
        image_to_mesh.operators.generate.IMAGE_TO_MESH_OT_generate
    )
