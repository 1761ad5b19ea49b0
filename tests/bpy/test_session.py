"""Jobs that meet an artist who does something else meanwhile."""

import time

import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.contracts import Cancelled, Failed
from image_to_mesh.inference.running.remaining import History
from image_to_mesh.operators import cancel, session
from image_to_mesh.operators.view import status_bar


def has_result() -> bool:
    return bool(bpy.data.meshes)


@pytest.fixture
def running(pipeline, picture, window, monkeypatch):
    """A run that waits in its middle stage; none of its kind was measured before."""
    monkeypatch.setattr(session, "_history", History())
    pipeline.wait_at = "Estimating"
    window.press_generate(filepath=str(picture))
    assert pipeline.waiting.wait(5)
    session.pump()
    return session._task.job


@pytest.mark.parametrize("stage", ["Reading", "Estimating", "Texturing"])
def test_cancel_at_every_stage_frees_the_artist_at_once(stage, pipeline, picture, window):
    pipeline.wait_at = stage
    window.press_generate(filepath=str(picture))
    assert pipeline.waiting.wait(5)
    session.pump()
    started = time.perf_counter()
    assert bpy.ops.image_to_mesh.cancel() == {"FINISHED"}
    assert time.perf_counter() - started < 0.5
    assert not session.is_running()
    assert isinstance(session.last_event, Cancelled)
    pipeline.go.set()
    window.settle()
    assert not has_result()
    assert isinstance(session.last_event, Cancelled)


def test_a_new_run_waits_until_the_cancelled_one_has_ended(running, pipeline, picture, window):
    session.cancel()
    assert not bpy.ops.image_to_mesh.generate.poll()
    assert session.pump() == session.PUMP_INTERVAL
    with pytest.raises(RuntimeError, match="The cancelled run is still stopping"):
        bpy.ops.image_to_mesh.generate(filepath=str(picture))
    pipeline.go.set()
    window.settle()
    bpy.ops.image_to_mesh.generate(filepath=str(picture))
    assert has_result()


def test_only_one_run_at_a_time(running, picture):
    for operator, arguments in (
        (bpy.ops.image_to_mesh.generate, {"filepath": str(picture)}),
        (bpy.ops.image_to_mesh.check_cutout, {}),
        (bpy.ops.image_to_mesh.new_mask, {}),
        (bpy.ops.image_to_mesh.batch, {}),
        (bpy.ops.image_to_mesh.import_picture, {"filepath": str(picture)}),
    ):
        with pytest.raises(RuntimeError, match="A picture is being worked on"):
            operator(**arguments)
    assert session.is_running()


def test_cancel_is_only_offered_while_something_runs(pipeline):
    assert not bpy.ops.image_to_mesh.cancel.poll()  # so Esc passes through
    with pytest.raises(RuntimeError, match="Nothing is running"):
        bpy.ops.image_to_mesh.cancel()


def test_opening_another_file_throws_the_result_away(running, pipeline, window):
    bpy.ops.wm.read_homefile(use_empty=True)
    assert not session.is_running()
    pipeline.go.set()
    window.settle()
    assert not has_result()
    assert session.last_event is None


def test_a_deleted_scene_gets_nothing_and_neither_does_another(pipeline, picture, window):
    pipeline.wait_at = "Texturing"
    doomed = bpy.context.scene
    window.press_generate(filepath=str(picture))
    other = bpy.data.scenes.new("other")
    bpy.context.window.scene = other
    name = doomed.name
    bpy.data.scenes.remove(doomed)
    bpy.data.scenes.new(name)  # another scene under the same name
    pipeline.go.set()
    window.settle()
    assert not has_result()
    assert isinstance(session.last_event, Failed)
    assert session.last_event.message == (
        f"The scene {name} was deleted, so its result was thrown away: generate it again in"
        " another scene."
    )


def test_the_result_follows_its_scene_when_it_is_renamed_or_left(running, pipeline, window):
    asked = bpy.context.scene
    asked.name = "renamed"
    bpy.context.window.scene = bpy.data.scenes.new("other")
    pipeline.go.set()
    window.settle()
    assert {obj.name for obj in asked.objects} == {"chair", "chair Camera"}
    assert not bpy.data.scenes["other"].objects


def test_undo_while_running_is_harmless(pipeline, picture, window):
    bpy.ops.ed.undo_push(message="one")
    bpy.ops.mesh.primitive_cube_add()
    bpy.ops.ed.undo_push(message="two")
    pipeline.wait_at = "Estimating"
    window.press_generate(filepath=str(picture))
    assert pipeline.waiting.wait(5)
    bpy.ops.ed.undo()
    pipeline.go.set()
    window.settle()
    assert {obj.name for obj in bpy.context.scene.objects} == {"chair", "chair Camera"}
    bpy.ops.ed.undo()
    assert not bpy.context.scene.objects


def test_disabling_the_extension_stops_the_run(running, pipeline, monkeypatch):
    monkeypatch.setattr(session, "SHUTDOWN_PATIENCE", 0.2)
    started = time.perf_counter()
    image_to_mesh.unregister()
    assert time.perf_counter() - started < 2.0
    assert not session.is_running()
    assert not bpy.app.timers.is_registered(session.pump)
    assert session._abandon_on_load not in bpy.app.handlers.load_pre
    pipeline.go.set()
    assert running.join(5)
    image_to_mesh.register()
    assert session.pump() is None
    assert not has_result()


def test_disabling_waits_for_a_run_that_stops_in_time(running, pipeline):
    pipeline.go.set()
    image_to_mesh.unregister()
    assert running.join(0.0)
    image_to_mesh.register()


@pytest.mark.parametrize("end", ["_shut_down", "_leave"])
def test_a_run_is_stopped_when_the_process_ends(running, pipeline, end):
    pipeline.go.set()
    getattr(session, end)()
    assert running.join(0.0)
    assert not has_result()


def test_handlers_survive_opening_a_file():
    bpy.ops.wm.read_homefile(use_empty=True)
    assert session._abandon_on_load in bpy.app.handlers.load_pre
    at_exit = getattr(bpy.app.handlers, "exit_pre", None)
    assert at_exit is None or session._shut_down in at_exit


def test_interrupting_the_waiting_call_stops_the_worker(pipeline, picture, monkeypatch):
    from image_to_mesh.inference.contracts import PictureFile, Request
    from image_to_mesh.inference.running.job import Job

    def interrupt(_progress):
        raise KeyboardInterrupt

    job = Job(Request(PictureFile(picture)), pipeline.run)
    with pytest.raises(KeyboardInterrupt):
        session.run(job, interrupt, {})
    assert job.join(5)
    assert session.busy_reason() is None


def test_a_running_job_tells_its_picture_stage_share_and_time(running, pipeline, window, picture):
    told = session.running()
    assert (told.title, told.stage) == ("chair.png", "Estimating")
    assert told.fraction == pytest.approx(1 / 3, abs=0.02)
    assert told.seconds_left is None  # nothing was measured yet
    session._redrawn_at = 0.0
    session.pump()
    assert status_bar.shown.line() == "chair.png: Estimating, 32%, time not known yet"
    pipeline.go.set()
    window.settle()
    assert session.running() is None
    assert status_bar.shown is None
    window.press_generate(filepath=str(picture), seed=4)  # of the same kind
    assert session.running().seconds_left is not None
    window.settle()


def test_a_cancelled_job_leaves_the_status_bar(running, pipeline, window):
    session.cancel()
    assert status_bar.shown is None
    pipeline.go.set()
    window.settle()


def test_escape_cancels_and_is_given_back():
    ((keymap, item),) = cancel._keymap_items
    assert (keymap.name, item.type, item.idname) == (
        "3D View Generic", "ESC", "image_to_mesh.cancel",
    )  # fmt: skip
    assert keymap.space_type == "VIEW_3D"
    image_to_mesh.unregister()
    config = bpy.context.window_manager.keyconfigs.addon
    left = [i.idname for i in config.keymaps["3D View Generic"].keymap_items]
    assert "image_to_mesh.cancel" not in left
    image_to_mesh.register()


def test_register_twice_leaves_nothing_behind():
    image_to_mesh.unregister()
    assert not hasattr(bpy.types.Scene, "image_to_mesh")
    assert not hasattr(bpy.types, "IMAGE_TO_MESH_OT_generate")
    assert not hasattr(bpy.types, "IMAGE_TO_MESH_FH_picture")
    assert session._abandon_on_load not in bpy.app.handlers.load_pre
    image_to_mesh.register()
    image_to_mesh.unregister()
    image_to_mesh.register()
    assert bpy.app.handlers.load_pre.count(session._abandon_on_load) == 1
    assert bpy.context.scene.image_to_mesh.detail == "MEDIUM"
