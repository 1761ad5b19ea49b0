"""Masks and previews belong to their picture; painting starts from the mask in use."""

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

from image_to_mesh.operators import session
from image_to_mesh.operators.cut_out import tinted
from image_to_mesh.operators.scene.image import image_pixels
from image_to_mesh.operators.view import belonging


@pytest.fixture
def panel():
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("chair", 30, 40)
    return settings


def painted(name, width=30, height=40, value=1.0):
    image = bpy.data.images.new(name, width, height)
    image.pixels.foreach_set(np.full(width * height * 4, value, np.float32))
    image.pack()
    return image


def test_a_new_mask_starts_from_the_mask_in_use(pipeline, panel):
    panel.mask = painted("mine")
    bpy.ops.image_to_mesh.new_mask()
    assert (pipeline.requests[0].mask == 255).all()
    assert panel.mask != bpy.data.images["mine"]
    panel.cut_out = "NONE"  # now no mask is in use
    bpy.ops.image_to_mesh.new_mask()
    assert pipeline.requests[1].mask is None


def test_a_mask_in_use_comes_through_the_real_pipeline_unchanged(panel, tmp_path):
    rng = np.random.default_rng(3)
    panel.picture.pixels.foreach_set(rng.random(30 * 40 * 4).astype(np.float32))
    mask = bpy.data.images.new("mine", 30, 40)
    mask.colorspace_settings.name = "Non-Color"
    values = np.repeat(rng.integers(0, 256, 1200).astype(np.float32) / 255, 4)
    values[3::4] = 1.0
    mask.pixels.foreach_set(values)
    before = image_pixels(mask)
    panel.mask = mask
    assert bpy.ops.image_to_mesh.new_mask() == {"FINISHED"}
    assert panel.mask != mask
    np.testing.assert_array_equal(image_pixels(panel.mask)[..., 0], before[..., 0])


def test_another_picture_brings_its_own_mask_or_none(pipeline, panel):
    first = panel.picture
    bpy.ops.image_to_mesh.new_mask()
    mask = panel.mask
    assert belonging.belongings(mask).picture == first
    panel.picture = second = bpy.data.images.new("table", 30, 40)
    assert panel.mask is None
    panel.mask = loaded = painted("loaded")
    panel.picture = first
    assert panel.mask == mask
    panel.picture = second
    assert panel.mask == loaded
    panel.picture = None
    assert panel.mask is None
    bpy.ops.wm.read_homefile(use_empty=True)


def test_taking_the_mask_away_is_remembered_too(pipeline, panel):
    bpy.ops.image_to_mesh.new_mask()
    first = panel.picture
    panel.mask = None
    panel.picture = bpy.data.images.new("table", 30, 40)
    panel.picture = first
    assert panel.mask is None


def test_a_preview_goes_with_what_it_shows(pipeline, panel):
    def check():
        bpy.ops.image_to_mesh.check_cutout()
        assert belonging.true_preview(panel) == panel.cutout_preview is not None

    check()
    panel.picture = bpy.data.images.new("table", 30, 40)
    assert panel.cutout_preview is None
    assert [i.name for i in bpy.data.images if i.name.startswith("Cut-out")] == []
    check()
    panel.mask = painted("mine")
    assert panel.cutout_preview is None
    check()
    panel.cut_out = "NONE"
    assert belonging.true_preview(panel) is None
    panel.cut_out = "AUTO"
    assert belonging.true_preview(panel) is not None
    panel.mask.pixels[0] = 0.5  # painted on
    assert panel.mask.is_dirty
    assert belonging.true_preview(panel) is None


def test_a_cut_out_that_comes_late_does_not_land_on_another_picture(pipeline, panel, window):
    pipeline.wait_at = "Estimating"
    first = panel.picture
    for press in (window.press_check_cutout, window.press_new_mask):
        pipeline.go.clear()
        pipeline.waiting.clear()
        panel.picture = first
        press()
        assert pipeline.waiting.wait(5)
        panel.picture = bpy.data.images.new("table", 30, 40)
        pipeline.go.set()
        window.settle()
        assert panel.cutout_preview is None
        assert panel.mask is None
    panel.picture = first
    assert panel.mask.name == "Mask: pixels"


@pytest.mark.parametrize("operator", ["generate", "check_cutout", "edit_mask"])
def test_a_mask_of_another_size_is_refused(pipeline, panel, operator):
    panel.mask = painted("small", 16, 16)
    with pytest.raises(
        RuntimeError, match="small has 16 x 16 pixels and the picture chair 30 x 40"
    ):
        getattr(bpy.ops.image_to_mesh, operator)()
    assert pipeline.requests == []
    panel.mask = painted("lying", 40, 30)  # a photo that Blender does not turn upright
    bpy.ops.image_to_mesh.generate()


@pytest.mark.parametrize("operator", ["generate", "check_cutout", "edit_mask"])
def test_a_mask_of_another_picture_is_refused(pipeline, panel, operator):
    bpy.ops.image_to_mesh.new_mask()
    mask = panel.mask
    panel.picture = bpy.data.images.new("table", 30, 40)
    panel.mask = mask
    asked = len(pipeline.requests)
    with pytest.raises(RuntimeError, match="Mask: pixels belongs to the picture chair"):
        getattr(bpy.ops.image_to_mesh, operator)()
    assert len(pipeline.requests) == asked


def test_the_pipeline_refuses_a_mask_of_another_shape(panel, tmp_path):
    image = bpy.data.images.new("file", 60, 40)
    image.filepath_raw, image.file_format = str(tmp_path / "file.png"), "PNG"
    image.save()
    mask = painted("square", 40, 40)
    with pytest.raises(RuntimeError, match="The mask has 40 x 40 pixels and the picture, upright"):
        bpy.ops.image_to_mesh.generate(
            filepath=str(tmp_path / "file.png"), mask=mask.name, engine="OBJECT"
        )


def test_edit_mask_shows_the_upright_picture_under_the_present_mask(pipeline, panel):
    with pytest.raises(RuntimeError, match="There is no mask: press New Mask to Paint"):
        bpy.ops.image_to_mesh.edit_mask()
    panel.mask = mask = painted("mine")
    bpy.ops.image_to_mesh.check_cutout()
    assert bpy.ops.image_to_mesh.edit_mask() == {"FINISHED"}
    assert panel.mask == mask
    assert panel.cutout_preview is None  # painting makes it untrue
    assert pipeline.requests[-1].cut_out == "none"
    assert tinted.knows(mask)
    pixels = tinted._backdrops[mask.session_uid].pixels
    assert pixels.shape == (40, 30, 4)
    assert pixels[0, 0, 0] == pytest.approx(200 / 255)
    assert session.last_summary[0].startswith("mine is ready to paint")


def test_a_file_that_is_opened_starts_without_backdrops(pipeline, panel):
    panel.mask = painted("mine")
    bpy.ops.image_to_mesh.edit_mask()
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not tinted._backdrops


def test_what_belongs_together_is_saved(pipeline, panel, tmp_path):
    bpy.ops.image_to_mesh.new_mask()
    path = str(tmp_path / "kept.blend")
    bpy.ops.wm.save_as_mainfile(filepath=path)
    bpy.ops.wm.open_mainfile(filepath=path)
    settings = bpy.context.scene.image_to_mesh
    settings.picture = bpy.data.images.new("table", 30, 40)
    settings.picture = bpy.data.images["chair"]
    assert settings.mask.name == "Mask: pixels"
