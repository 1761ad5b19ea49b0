"""Press the button once with every network of the catalogue, with random weights of the real shapes.

    python -m benchmarks.networks.every_model --out build/every_model [--only ID ...] [--heavy]

For each model a file with the published names and shapes is written, taken with Use File, converted as
a downloaded one would be, loaded, and run from picture to mesh. What comes out has no meaning; that it
comes out, closed and textured, is the point. A network for several pictures places the cameras of six
as well. One line each, with the seconds from picture to mesh and the most memory that the process held
meanwhile; the exit status is 1 when one fails.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import gc
import json
import shutil
import sys
import time
from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import torch
from safetensors.torch import save_file

from ..package import ROOT, load_extension
from .aimed_cameras import aim_cameras
from .port import KEYS, seeded
from .ports import keep_depth_in_range

load_extension()
sys.path.append(str(ROOT / "tests"))

from image_to_mesh.inference import pipeline  # noqa: E402
from image_to_mesh.inference.contracts import (  # noqa: E402
    ModelChoices,
    Picks,
    PicturePixels,
    Request,
)
from image_to_mesh.inference.engines import views  # noqa: E402
from image_to_mesh.inference.errors import CutOutError  # noqa: E402
from image_to_mesh.inference.hub import weights  # noqa: E402
from image_to_mesh.inference.hub.catalogue import CATALOGUE, ModelEntry, ModelFile  # noqa: E402
from image_to_mesh.inference.networks.loaded import LOADED  # noqa: E402
from image_to_mesh.inference.views.contracts import ViewsRequest  # noqa: E402
from synthetic_orbit import Shot, orbit, write_orbit  # noqa: E402

# Model -> lists of names and shapes in tests/data/keys, one for each of its files.
LISTS: dict[str, tuple[str, ...]] = {
    "depth-anything-v2-small": ("depth_anything_v2_small",),
    "depth-anything-v2-indoor-small": ("depth_anything_v2_small",),
    "depth-anything-v2-outdoor-small": ("depth_anything_v2_small",),
    "depth-anything-v2-base": ("depth_anything_v2_base",),
    "depth-anything-v2-large": ("depth_anything_v2_large",),
    "moge-2-vits": ("moge_2_small",),
    "moge-2-vitb": ("moge_2_base",),
    "moge-2-vitl": ("moge_2_large",),
    "da3-small": ("depth_anything_3_small",),
    "da3-base": ("depth_anything_3_base",),
    "da3-mono-large": ("depth_anything_3_mono_large",),
    "da3-metric-large": ("depth_anything_3_mono_large",),
    "birefnet": ("birefnet",),
    "birefnet-lite": ("birefnet_lite",),
    "isnet": ("isnet",),
    "u2netp": ("u2netp",),
    "sam-2-1-small": ("sam2_1_small",),
    "sam-2-1-tiny": ("sam2_1_tiny",),
    "triposr": ("triposr",),
    "triposg": ("triposg_transformer", "triposg_vae", "triposg_image_encoder_dinov2"),
    "realesr-general-x4v3": ("realesr_general_x4v3",),
    "realesrgan-x4plus": ("realesrgan_x4plus",),
    "big-lama": ("big_lama",),
}
STAGES = tuple(field.name for field in dataclasses.fields(ModelChoices) if field.name != "folder")
HEAVY_MB = 4000  # of main memory


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--out", type=Path, required=True, help="folder for the weights; emptied")
    parser.add_argument("--only", nargs="+", metavar="ID")
    parser.add_argument("--heavy", action="store_true", help="models of many gigabytes too")
    arguments = parser.parse_args()
    failures = 0
    for entry in CATALOGUE:
        if arguments.only and entry.id not in arguments.only:
            continue
        if entry.cpu_mb > HEAVY_MB and not arguments.heavy and not arguments.only:
            sys.stdout.write(f"{entry.id}: left out, needs {entry.cpu_mb} MB (--heavy)\n")
            continue
        try:
            verdict = press(entry, arguments.out / entry.id)
        except Exception as error:  # noqa: BLE001 - the others are still to be tried
            verdict, failures = f"FAILED: {type(error).__name__}: {error}", failures + 1
        sys.stdout.write(f"{entry.id}: {verdict}\n")
        sys.stdout.flush()
        LOADED.free()
        shutil.rmtree(arguments.out / entry.id, ignore_errors=True)
    return 1 if failures else 0


def press(entry: ModelEntry, folder: Path) -> str:
    """Install random weights, run the pipeline, and say what came out."""
    missing = [name for name in LISTS[entry.id] if not (KEYS / f"{name}.json").is_file()]
    if missing:
        raise FileNotFoundError(f"no list of names and shapes: {', '.join(missing)}")
    files = [folder / file for file in write_weights(entry.id, folder)]
    # The hash in the catalogue is that of the real file, which this one is not.
    stand_in = dataclasses.replace(
        entry,
        files=tuple(ModelFile(file.path, None, None, file.url) for file in entry.files),
        source="safetensors" if entry.source == "safetensors" else "pickle",
    )
    models, source = folder / "models", folder / "weights"
    with _in_catalogue(stand_in, CATALOGUE.index(entry)):
        place = files[0] if len(files) == 1 else source / entry.id
        weights.use_file(stand_in, place, models, lambda _share, _words: None)
        shutil.rmtree(source)
        gc.collect()
        verdicts = [_timed(lambda: _from_one_picture(entry, models))]
        if entry.task == "views":
            verdicts.append(_timed(lambda: _from_several_pictures(entry, models, folder / "walk")))
    return "; ".join(verdicts)


def _timed(run: Callable[[], str]) -> str:
    _forget_peak()
    started = time.perf_counter()
    verdict = run()
    return f"{verdict}, {time.perf_counter() - started:.0f} s, {_peak_mb():,.0f} MB"


def _from_one_picture(entry: ModelEntry, models: Path) -> str:
    """From a picture to a mesh with nothing downloaded but this model."""
    stage = "depth" if entry.task == "views" else entry.task
    request = Request(
        PicturePixels(picture(), entry.id),
        engine="scene" if stage == "depth" else "object",
        detail="low",
        texture_size=512,
        device="cpu",
        steps=2,
        guidance=1.0,
        picks=Picks(((0.5, 0.5, True),)) if stage == "pick" else None,
        models=_only(stage, entry, models),
    )
    try:
        result = pipeline.run(request, lambda _share, _words: None)
    except CutOutError as error:
        # Noise may show no solid and no subject; the network has run all the same.
        if stage == "depth":
            raise
        return f"ran, its noise holds nothing: {error}"
    closed = "watertight" if result.is_watertight else "open"
    return f"{len(result.mesh.face_sizes):,} faces, {closed}, by {result.model}"


def _from_several_pictures(entry: ModelEntry, models: Path, folder: Path) -> str:
    """From pictures of a cube to its mesh with the cameras that the network says."""
    shots = photos()
    request = ViewsRequest(
        tuple(write_orbit(folder, shots, cameras=False)),
        surface="fused",
        detail="low",
        texture_size=512,
        device="cpu",
        models=_only("views", entry, models),
    )
    result = views.run(request, lambda _share, _words: None)
    placed = sum(status.is_used for status in result.statuses)
    return f"{len(result.mesh.face_sizes):,} faces of {placed} pictures, by {result.model}"


def _only(stage: str, entry: ModelEntry, models: Path) -> ModelChoices:
    chosen = dict.fromkeys(STAGES, "bundled") | {stage.replace("-", "_"): entry.id}
    return ModelChoices(**chosen, folder=models)


def write_weights(name: str, folder: Path) -> list[str]:
    """Random weights of a model as its publisher gives them; returns its files' names in a folder."""
    entry = next(entry for entry in CATALOGUE if entry.id == name)
    written = []
    for file, keys in zip(entry.files, LISTS[name], strict=True):
        facts = json.loads((KEYS / f"{keys}.json").read_text(encoding="utf-8"))
        state = seeded(facts["shapes"])
        if entry.task == "views":
            keep_depth_in_range(state)
            shots = photos()
            aim_cameras(
                state,
                name.removeprefix("da3-"),
                [shot.pixels for shot in shots],
                [shot.matrix for shot in shots],
                shots[0].fov_x,
            )
        path = folder / "weights" / name / file.path
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.suffix == ".safetensors":
            save_file({key: value.contiguous() for key, value in state.items()}, path)
        elif "model_config" in facts:
            torch.save({"model_config": facts["model_config"], "model": state}, path)
        else:
            torch.save(state, path)
        written.append(str(path.relative_to(folder)))
    return written


def _forget_peak() -> None:
    """Let the peak of memory start anew; only Linux can, elsewhere it includes making the weights."""
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")


def _peak_mb() -> float:
    """Most memory that this process has held since ``_forget_peak``, in MB."""
    try:
        lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    except OSError:
        return float("nan")
    return next(int(line.split()[1]) * 1024 / 1e6 for line in lines if line.startswith("VmHWM:"))


class _in_catalogue:  # noqa: N801 - used as a statement
    """Let the extension see an entry in place of the catalogue's own of that id."""

    def __init__(self, entry: ModelEntry, index: int) -> None:
        from image_to_mesh.inference.hub import catalogue

        self._modules = (catalogue, weights)
        self._by_id = catalogue._BY_ID
        self._entries = CATALOGUE[index], entry
        self._changed = (*CATALOGUE[:index], entry, *CATALOGUE[index + 1 :])

    def __enter__(self) -> None:
        for module in self._modules:
            module.CATALOGUE = self._changed
        self._by_id[self._entries[1].id] = self._entries[1]

    def __exit__(self, *_error: object) -> None:
        for module in self._modules:
            module.CATALOGUE = CATALOGUE
        self._by_id[self._entries[0].id] = self._entries[0]


def photos() -> list[Shot]:
    """Six pictures from around a cube."""
    return orbit(6, 64, (18.0, 40.0))


def picture() -> np.ndarray:
    """(192, 256, 4) a ball on a table, all opaque but the upper corners."""
    pixels = np.full((192, 256, 4), 255, np.uint8)
    pixels[..., :3] = np.linspace(60, 200, 192, dtype=np.uint8)[:, None, None]
    colour = np.zeros((192, 256, 3), np.uint8)
    cv2.circle(colour, (128, 96), 60, (200, 80, 40), -1, cv2.LINE_AA)
    pixels[..., :3] = np.where(colour.any(axis=2, keepdims=True), colour, pixels[..., :3])
    return pixels


if __name__ == "__main__":
    sys.exit(main())
