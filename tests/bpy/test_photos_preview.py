"""A run of photos in the window: its surface is drawn while it is made, and it can be ended early."""

import threading

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
import synthetic_orbit as synthetic
from image_to_mesh.inference.contracts import CameraArrays, Cancelled
from image_to_mesh.inference.engines import views as engine
from image_to_mesh.inference.views.contracts import View, ViewsReconstruction
from image_to_mesh.inference.views.watch import PreviewMesh
from image_to_mesh.operators import session
from image_to_mesh.operators.photos.preview import DARKEST, Drawing


def tetrahedron(words):
    """Four triangles, as quads whose last two corners are one; x right, y down, z forward."""
    positions = np.array([[0, 0, 0], [1, 0, 0], [0, -2, 0], [0, 0, 3]], np.float32)
    faces = np.array([[0, 2, 1, 1], [0, 1, 3, 3], [0, 3, 2, 2], [1, 2, 3, 3]], np.int32)
    return PreviewMesh(positions, faces, np.full((4, 3), (255, 0, 0), np.uint8), words)


class Refining:
    """A run that shows one surface and then refines until it is told to end, in either way."""

    def __init__(self, reconstruction):
        self.base = reconstruction("cup", engine="views", stages=())
        self.has_shown = threading.Event()
        self.go_on = threading.Event()
        self.ended_early = False

    def run(self, request, report, watch=None):
        watch.can_finish.set()
        watch.show(tetrahedron("Fused"))
        watch.show(tetrahedron("Refined, 10 %"))
        self.has_shown.set()
        while not watch.is_enough():
            report(0.7, "Refining by the pictures")
            self.go_on.wait(0.01)
        watch.can_finish.clear()
        self.ended_early = True
        shot = synthetic.orbit(1, 32)[0]
        camera = CameraArrays(shot.matrix, shot.fov_x, 32, 32)
        view = View("shot0.png", shot.pixels, None, None, camera, None)
        fields = {name: getattr(self.base, name) for name in self.base.__dataclass_fields__}
        return ViewsReconstruction(**fields, views=(view,))


@pytest.fixture
def refining(monkeypatch, reconstruction, window, tmp_path):
    """A job under way whose first previews have come."""
    run = Refining(reconstruction)
    monkeypatch.setattr(engine, "run", run.run)
    operator = image_to_mesh.operators.photos.reconstruct.IMAGE_TO_MESH_OT_reconstruct_views
    monkeypatch.setattr(
        operator, "execute", lambda self, context: operator.invoke(self, context, None)
    )
    bpy.ops.image_to_mesh.reconstruct_views(directory=str(tmp_path))
    assert run.has_shown.wait(5)
    session.pump()
    yield run
    session.cancel()
    window.settle()


def test_the_newest_surface_is_drawn_and_nothing_of_it_is_in_the_file(refining):
    preview = session._task.companion
    assert preview.shown.words == "Refined, 10 %"
    assert preview._handle is not None
    for kind in (bpy.data.objects, bpy.data.meshes, bpy.data.collections, bpy.data.materials):
        assert not len(kind)


def test_a_drawing_stands_upright_and_every_face_is_there():
    drawing = Drawing.of(tetrahedron("Fused"))
    # OpenCV's z axis is Blender's y axis, and down is -z.
    assert drawing.positions.tolist() == [[0, 0, 0], [1, 0, 0], [0, 0, 2], [0, 3, 0]]
    sides = {frozenset(face) for face in drawing.triangles.tolist()}
    assert {frozenset(s) for s in ((0, 1, 2), (0, 1, 3), (0, 2, 3), (1, 2, 3))} <= sides
    red = drawing.colours[:, 0]
    assert (red >= DARKEST - 1e-6).all()
    assert red.max() <= 1
    assert np.ptp(red) > 0.1  # one colour, several shades
    assert not drawing.colours[:, 1:3].any()
    assert (drawing.colours[:, 3] == 1).all()
    for array in (drawing.positions, drawing.colours, drawing.triangles):
        assert array.flags.c_contiguous  # others are refused when they are drawn


def test_finish_now_keeps_the_result(refining, window):
    assert bpy.ops.image_to_mesh.finish_now.poll()
    preview = session._task.companion
    assert bpy.ops.image_to_mesh.finish_now() == {"FINISHED"}
    assert not bpy.ops.image_to_mesh.finish_now.poll()  # once is enough
    window.settle()
    assert refining.ended_early
    assert bpy.context.object.name == "cup"
    assert (preview.shown, preview._handle) == (None, None)
    assert session.last_event is None


def test_cancelling_takes_the_drawing_away(refining, window):
    preview = session._task.companion
    bpy.ops.image_to_mesh.cancel()
    assert (preview.shown, preview._handle) == (None, None)
    window.settle()
    assert not refining.ended_early
    assert isinstance(session.last_event, Cancelled)
    assert not bpy.data.objects
    with pytest.raises(RuntimeError, match="Nothing is being refined"):
        bpy.ops.image_to_mesh.finish_now()


def test_another_file_takes_the_drawing_away(refining):
    preview = session._task.companion
    bpy.ops.wm.read_homefile(use_empty=True)
    assert (preview.shown, preview._handle) == (None, None)
    assert not session.is_running()


def test_disabling_takes_the_drawing_away(refining):
    preview = session._task.companion
    image_to_mesh.unregister()
    try:
        assert (preview.shown, preview._handle) == (None, None)
    finally:
        image_to_mesh.register()


def test_nothing_drawn_is_touched_when_the_process_ends(refining, window):
    preview = session._task.companion
    session._leave()
    assert preview._handle is not None  # Blender has freed what it belongs to by then
    assert not refining.ended_early
