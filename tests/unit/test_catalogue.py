"""The catalogue is complete, its networks exist, and the document shows what it says."""

import importlib
import inspect
import re
from pathlib import Path

import pytest
from image_to_mesh.inference.hub.catalogue import CATALOGUE, TASKS, model, models_for

ROOT = Path(__file__).resolve().parents[2]
IDS = [entry.id for entry in CATALOGUE]


@pytest.mark.parametrize("entry", CATALOGUE, ids=IDS)
def test_every_entry_is_complete(entry):
    assert re.fullmatch(r"[a-z0-9-]+", entry.id)
    assert entry.label
    assert entry.good_at
    assert not entry.good_at.endswith(".")
    assert set(entry.tasks) <= set(TASKS)
    assert 0 < entry.gpu_mb < entry.cpu_mb
    assert entry.page.startswith("https://")
    for file in entry.files:
        assert file.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", file.sha256)
        assert file.size is None or file.size > 1_000_000
        assert file.name.endswith(".safetensors")
        assert file.url == "" or file.url.startswith("https://")
        assert (entry.source == "safetensors") == (file.path == file.name)
        assert entry.revision or file.sha256, "without a hash the revision is needed"
    if not any(file.url for file in entry.files):
        assert re.fullmatch(r"[\w.-]+/[\w.-]+", entry.repo)
        assert entry.revision is None or re.fullmatch(r"[0-9a-f]{40}", entry.revision)


def test_ids_and_files_are_unique():
    assert len(set(IDS)) == len(IDS)
    for entry in CATALOGUE:
        names = [file.name for file in entry.files]
        assert len(set(names)) == len(names)
        assert model(entry.id) is entry


def test_every_stage_has_a_model_for_commercial_use_on_any_computer():
    for task in TASKS:
        assert any(e.is_commercial and not e.needs_gpu for e in models_for(task)), task


def test_only_known_licences_allow_commercial_use():
    allowed = {entry.licence for entry in CATALOGUE if entry.is_commercial}
    forbidden = {entry.licence for entry in CATALOGUE if not entry.is_commercial}
    assert allowed == {"MIT", "Apache-2.0", "BSD-3-Clause"}
    assert forbidden == {"CC-BY-NC-4.0"}


def test_torchscript_only_with_a_known_hash():
    for entry in CATALOGUE:
        if entry.source == "torchscript":
            assert all(file.sha256 for file in entry.files)


@pytest.mark.parametrize("entry", CATALOGUE, ids=IDS)
def test_every_network_exists_and_takes_its_settings(entry):
    network = importlib.import_module(f"image_to_mesh.inference.models.{entry.module}")
    assert callable(network.map_checkpoint)
    parameters = inspect.signature(network.load).parameters
    assert list(parameters)[:3] == ["path", "device", "dtype"]
    assert {name for name, _value in entry.config} <= set(list(parameters)[3:])


def test_the_benchmark_times_models_of_the_catalogue():
    from benchmarks.networks.port import KEYS
    from benchmarks.networks.ports import PORTS

    for port in PORTS:
        entry = model(port.model)
        assert entry.label.split()[0] in port.name
        assert port.keys or port.reference is not None
        assert not port.keys or (KEYS / f"{port.keys}.json").is_file()


def test_the_document_shows_the_catalogue():
    from benchmarks.networks import catalogue_table

    text = (ROOT / "docs" / "MODELS.md").read_text(encoding="utf-8")
    command = "python -m benchmarks.networks.catalogue_table --write"
    assert text == catalogue_table.updated(text), f"run: {command}"
    for entry in CATALOGUE:
        assert f"`{entry.id}`" in text
