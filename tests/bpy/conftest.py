"""Run the extension in the bpy wheel, with a reconstruction made of a few arrays."""

from __future__ import annotations

import importlib
import os
import shutil
import sys
import threading
import types
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest

bpy = pytest.importorskip("bpy")

import image_to_mesh
from image_to_mesh.inference.contracts import (
    CameraArrays,
    CutOut,
    MaterialArrays,
    MeshArrays,
    Picture,
    PictureFile,
    Reconstruction,
    StageCost,
)
from image_to_mesh.inference.errors import PictureError
from image_to_mesh.operators import session
from kept_ball import packed_ball


@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session: pytest.Session, exitstatus: int) -> None:
    session.config.stash[_STATUS] = int(exitstatus)


@pytest.hookimpl(trylast=True)
def pytest_unconfigure(config: pytest.Config) -> None:
    """Leave without tearing Blender down: some bpy wheels crash or hang there."""
    shutil.rmtree(bpy.app.tempdir, ignore_errors=True)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(config.stash.get(_STATUS, 0))


_STATUS = pytest.StashKey[int]()


# A box of 0.6 x 1 x 0.4 metres on the floor; five quads and two triangles, seen from outside.
BOX_CORNERS = np.array(
    [(x, y, z) for x in (-0.3, 0.3) for y in (-1.0, 0.0) for z in (-0.2, 0.2)], np.float32
)
BOX_QUADS = [(0, 1, 3, 2), (4, 6, 7, 5), (0, 4, 5, 1), (2, 3, 7, 6), (1, 5, 7, 3)]
BOX_TRIANGLES = [(0, 2, 6), (0, 6, 4)]


def box_arrays() -> MeshArrays:
    corners = np.array([v for face in BOX_QUADS + BOX_TRIANGLES for v in face], np.int32)
    sizes = np.array([4] * len(BOX_QUADS) + [3] * len(BOX_TRIANGLES), np.int32)
    uvs = np.random.default_rng(1).random((len(corners), 2), np.float32)
    return MeshArrays(BOX_CORNERS.copy(), corners, sizes, uvs)


def tilted_camera() -> CameraArrays:
    """Beside and above the box, looking at its middle; a tall picture."""
    eye, middle = np.array([0.8, -1.4, -2.5]), np.array([0.0, -0.5, 0.0])
    forward = (middle - eye) / np.linalg.norm(middle - eye)
    right = np.cross([0.0, 1.0, 0.0], forward)
    right /= np.linalg.norm(right)
    matrix = np.eye(4)
    matrix[:3, :3] = np.stack([right, np.cross(forward, right), forward], axis=1)
    matrix[:3, 3] = eye
    return CameraArrays(matrix, 0.7, 60, 90)


def make_reconstruction(name: str = "box") -> Reconstruction:
    rng = np.random.default_rng(0)

    def noise(*shape: int) -> np.ndarray:
        return rng.integers(0, 256, shape, dtype=np.uint8)

    return Reconstruction(
        name=name,
        engine="object",
        model="test 1 (00000000)",
        mesh=box_arrays(),
        material=MaterialArrays(noise(64, 64, 3), noise(64, 64), 0.25, noise(64, 64, 3)),
        camera=tilted_camera(),
        picture=noise(90, 60, 4),
        is_watertight=True,
        notes=("A note.",),
        stages=(StageCost("Boxing", 0.1, 100.0),),
    )


STAGES = ("Reading", "Estimating", "Texturing")


@dataclass
class StubPipeline:
    """Stands in for the networks.

    Attributes:
        wait_at: The stage at which a run waits for ``go``, as inside a long kernel.
        error: What a run raises after its last stage.
        is_upside_down: The cut-out is the lower half of the picture instead of the upper one.
        cut_out_networks: Labels of the networks that found it.
        change: Applied to each result.
        requests: What was asked.
    """

    wait_at: str | None = None
    error: Exception | None = None
    is_upside_down: bool = False
    cut_out_networks: tuple[str, ...] = ()
    change: Callable[[Reconstruction], Reconstruction] = field(default=lambda result: result)
    requests: list = field(default_factory=list)
    go: threading.Event = field(default_factory=threading.Event)
    waiting: threading.Event = field(default_factory=threading.Event)

    def _step_through(self, request, report) -> str:
        self.requests.append(request)
        name = request.source.path.stem if isinstance(request.source, PictureFile) else "pixels"
        for index, stage in enumerate(STAGES):
            report(index / len(STAGES), stage)
            if stage == self.wait_at:
                self.waiting.set()
                assert self.go.wait(10.0)
        if isinstance(request.source, PictureFile) and "bad" in name:
            raise PictureError("The picture cannot be read: choose another.")
        if self.error is not None:
            raise self.error
        report(1.0, "Done")
        return name

    def run(self, request, report) -> Reconstruction:
        return self.change(make_reconstruction(self._step_through(request, report)))

    def cut_out(self, request, report) -> CutOut:
        name = self._step_through(request, report)
        pixels = np.full((40, 30, 4), 200, np.uint8)
        mask = np.zeros((40, 30), np.float32)
        mask[20:] = 1.0
        if not self.is_upside_down:
            mask = mask[::-1].copy()
        return CutOut(mask, "network", Picture(pixels, False, None, name), self.cut_out_networks)


@pytest.fixture(autouse=True)
def addon() -> Iterator[None]:
    bpy.ops.wm.read_homefile(use_empty=True)
    image_to_mesh.register()
    yield
    image_to_mesh.unregister()


@pytest.fixture
def pipeline(monkeypatch: pytest.MonkeyPatch, addon: None) -> Iterator[StubPipeline]:
    stub = StubPipeline()
    module = types.ModuleType("image_to_mesh.inference.pipeline")
    module.run, module.cut_out = stub.run, stub.cut_out
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(image_to_mesh.inference, "pipeline", module, raising=False)
    yield stub
    stub.go.set()


@pytest.fixture
def picture(tmp_path: Path) -> Path:
    """A file that exists; the stub pipeline never looks inside."""
    path = tmp_path / "chair.png"
    path.write_bytes(b"not looked at")
    return path


@dataclass
class Window:
    """Presses buttons as a window would: in the background, with the timer driven by hand."""

    def press_generate(self, **arguments: object) -> set[str]:
        operator = image_to_mesh.operators.generate.IMAGE_TO_MESH_OT_generate
        return _invoke(operator, arguments)

    def press_check_cutout(self) -> set[str]:
        return _invoke(image_to_mesh.operators.cut_out.check.IMAGE_TO_MESH_OT_check_cutout, {})

    def press_new_mask(self) -> set[str]:
        return _invoke(image_to_mesh.operators.cut_out.check.IMAGE_TO_MESH_OT_new_mask, {})

    def settle(self, seconds: float = 10.0) -> None:
        """Let the timer run until it ends itself."""
        job = session._task.job if session._task is not None else session._stopping
        assert job is None or job.join(seconds)
        assert session.pump() is None


_captured: dict[str, set[str]] = {}


def _invoke(operator: type, arguments: dict) -> set[str]:
    """Call invoke, which Blender without a window never does: it calls execute instead."""
    original = operator.execute
    operator.execute = lambda self, context: _captured.setdefault(
        "result", operator.invoke(self, context, None)
    )
    _captured.clear()
    try:
        module, name = operator.bl_idname.split(".")
        getattr(getattr(bpy.ops, module), name)(**arguments)
    finally:
        operator.execute = original
    return _captured["result"]


@pytest.fixture
def window() -> Window:
    return Window()


@pytest.fixture
def reconstruction() -> Callable[..., Reconstruction]:
    """``reconstruction(name, **changes)`` makes a result to build."""
    return lambda name="box", **changes: replace(make_reconstruction(name), **changes)


@pytest.fixture
def ball(pipeline, picture, reconstruction, monkeypatch):
    """An object made by the button that keeps a ball; refining it runs the real engine."""
    archive = packed_ball()
    pipeline.change = lambda _result: reconstruction("chair", archive=archive)
    bpy.ops.image_to_mesh.generate(filepath=str(picture), detail="LOW", texture_size=256)
    monkeypatch.undo()  # the stub has no refine
    importlib.import_module("image_to_mesh.inference.pipeline")
    return bpy.context.object
