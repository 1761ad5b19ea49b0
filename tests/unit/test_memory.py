"""Stepping down when memory is not enough, and giving it back."""

import gc
import sys
import types
import weakref
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from image_to_mesh.inference.errors import WeightsError
from image_to_mesh.inference.hub import weights
from image_to_mesh.inference.hub.catalogue import ModelEntry, ModelFile
from image_to_mesh.inference.machine.memory import (
    Effort,
    Memory,
    free_memory,
    give_back,
    is_out_of_memory,
    ladder,
    within_memory,
)
from image_to_mesh.inference.networks import loaded
from image_to_mesh.inference.networks.loaded import LoadedModels

CUDA = Effort("cuda", "float32", None, 16)


def test_the_ladder_saves_what_costs_least_first():
    steps = ladder(CUDA, half="float16", max_sides=(1024, 512), chunks=(4,))
    assert steps == (
        CUDA,
        Effort("cuda", "float32", None, 4),
        Effort("cuda", "float16", None, 4),
        Effort("cuda", "float16", 1024, 4),
        Effort("cuda", "float16", 512, 4),
        Effort("cpu", "float32", None, 4),
        Effort("cpu", "float32", 1024, 4),
        Effort("cpu", "float32", 512, 4),
    )
    assert ladder(Effort("cpu"), half="float16") == (Effort("cpu"),)


def test_the_first_effort_that_fits_runs_and_each_step_is_told():
    def attempt(effort):
        if effort.device == "cuda":
            raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")
        return effort

    steps = ladder(CUDA, half="float16", max_sides=(512,), chunks=(4,))
    result, notes = within_memory(steps, attempt, "MoGe-2")
    assert result.device == "cpu"
    assert notes == (
        "MoGe-2 did not fit into the graphics card's memory and ran in smaller pieces, which takes"
        " longer.",
        "MoGe-2 did not fit into the graphics card's memory and ran in half precision.",
        "MoGe-2 did not fit into the graphics card's memory and ran at 512 pixels, with less detail.",
        "MoGe-2 did not fit into the graphics card's memory and ran on the processor, which takes"
        " longer.",
    )
    assert within_memory(steps, lambda effort: effort.device, "MoGe-2") == ("cuda", ())


def test_what_failed_is_gone_before_the_next_effort():
    seen = []

    class Large:
        pass

    def attempt(effort):
        if effort.device == "cuda":
            large = Large()
            seen.append(weakref.ref(large))
            raise RuntimeError("CUDA out of memory")
        gc.collect()
        return seen[0]() is None

    assert within_memory((CUDA, Effort("cpu")), attempt, "X")[0]


def test_other_failures_and_the_last_one_go_through():
    def fail(error):
        raise error

    for error in (RuntimeError("shape mismatch"), KeyError("x")):
        with pytest.raises(type(error)):
            within_memory((CUDA, Effort("cpu")), lambda _e, error=error: fail(error), "X")
    with pytest.raises(MemoryError):
        within_memory((Effort("cpu"),), lambda _e: fail(MemoryError()), "X")


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (MemoryError(), True),
        (RuntimeError("[enforce fail] DefaultCPUAllocator: can't allocate memory"), True),
        (RuntimeError("MPS backend out of memory"), True),
        (RuntimeError("shapes cannot be multiplied"), False),
        (OSError("out of memory"), False),
    ],
)
def test_lack_of_memory_is_told_from_other_failures(error, expected):
    assert is_out_of_memory(error) == expected


def test_a_real_lack_of_memory_is_recognised():
    with pytest.raises(RuntimeError) as caught:
        torch.empty(1 << 50, dtype=torch.uint8)
    assert is_out_of_memory(caught.value)


def test_free_memory_is_a_plausible_number():
    memory = free_memory("cpu")
    assert memory.main is not None
    assert 10 < memory.main < 10_000_000
    assert (memory.graphics, memory.has_card) == (None, False)


class Card:
    """Stands in for a graphics card of which nobody has asked for anything yet."""

    def __init__(self, *, is_used):
        self.is_used, self.asked = is_used, 0

    def is_available(self):
        return True

    def is_initialized(self):
        return self.is_used

    def mem_get_info(self):
        self.asked += 1
        return 3 * 2**30, 8 * 2**30


def test_the_main_thread_does_not_wait_for_a_card_nobody_used(monkeypatch):
    card = Card(is_used=False)
    monkeypatch.setattr(torch, "cuda", card)
    assert free_memory("auto", may_wait=False).has_card is None
    assert card.asked == 0
    assert free_memory("auto").graphics == 3072
    card.is_used = True
    assert free_memory("cuda", may_wait=False).graphics == 3072


def test_a_torch_that_another_thread_is_still_loading_is_left_alone(monkeypatch):
    half = types.ModuleType("torch")
    half.__spec__ = types.SimpleNamespace(_initializing=True)
    monkeypatch.setitem(sys.modules, "torch", half)
    assert free_memory("auto").has_card is None
    give_back()


# --- networks in memory -------------------------------------------------------------------------

ENTRY = ModelEntry(
    id="tiny",
    label="Tiny",
    tasks=("depth",),
    good_at="Tests",
    repo="owner/tiny",
    files=(ModelFile("model.safetensors"),),
    licence="MIT",
    module="tiny",
    gpu_mb=100,
    cpu_mb=100,
    config=(("max_depth", 20.0),),
)
OTHER = replace(ENTRY, id="other")


class Estimator:
    def __init__(self, *arguments):
        self.arguments = arguments


@pytest.fixture
def network(monkeypatch):
    module = types.ModuleType("image_to_mesh.inference.models.tiny")
    module.load = lambda path, device, dtype, max_depth: Estimator(path, device, dtype, max_depth)
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setattr(weights, "verify", lambda entry, folder, _report: folder / entry.id)
    monkeypatch.setattr(loaded, "free_memory", lambda _device: Memory(150, None, has_card=False))
    return module


def test_a_network_is_loaded_once_with_its_settings(network):
    models = LoadedModels()
    first = models.get(ENTRY, Path("models"), "cpu")
    assert first.arguments == (Path("models/tiny"), torch.device("cpu"), torch.float32, 20.0)
    assert models.get(ENTRY, Path("models"), "cpu") is first
    assert models.get(ENTRY, Path("models"), "cpu", "bfloat16") is not first


def test_networks_stay_only_while_the_next_one_fits(network, monkeypatch):
    models = LoadedModels()
    models.get(ENTRY, Path("models"), "cpu")
    models.get(OTHER, Path("models"), "cpu")
    assert models.names() == ("tiny", "other")
    monkeypatch.setattr(loaded, "free_memory", lambda _device: Memory(50, None, has_card=False))
    models.get(ENTRY, Path("models"), "cpu", "bfloat16")
    assert models.names() == ("tiny",)


def test_free_drops_the_networks(network):
    models = LoadedModels()
    held = weakref.ref(models.get(ENTRY, Path("models"), "cpu"))
    models.free()
    assert held() is None
    assert models.names() == ()


def test_files_that_do_not_fit_the_network(network):
    def refuse(*_arguments, **_options):
        raise RuntimeError("Error(s) in loading state_dict for Net:\n\tMissing key(s)")

    network.load = refuse
    with pytest.raises(WeightsError, match=r"files of Tiny do not fit its network .*delete it"):
        LoadedModels().get(ENTRY, Path("models"), "cpu")

    def too_large(*_arguments, **_options):
        raise RuntimeError("CUDA out of memory")

    network.load = too_large
    with pytest.raises(RuntimeError, match="out of memory"):
        LoadedModels().get(ENTRY, Path("models"), "cpu")


def test_nothing_is_loaded_without_a_folder():
    with pytest.raises(WeightsError, match="Tiny is not installed"):
        LoadedModels().get(ENTRY, None, "cpu")
