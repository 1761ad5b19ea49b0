"""Models on disk: installing, checking, converting and removing them, with a hub on this computer."""

import errno
import hashlib
import json
import os
import shutil
import sys
import types
from collections import namedtuple
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import RunCancelled, WeightsError
from image_to_mesh.inference.hub import convert, disk, installation, transfer, weights
from image_to_mesh.inference.hub.catalogue import ModelEntry, ModelFile
from loopback_hub import COMMIT
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

TENSORS = {"weight": np.arange(600_000, dtype=np.float32), "bias": np.ones(3, np.float16)}
CONTENT = to_bytes(TENSORS)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

TINY = ModelEntry(
    id="tiny",
    label="Tiny",
    tasks=("depth",),
    good_at="Tests",
    repo="owner/tiny",
    files=(ModelFile("model.safetensors", len(CONTENT), SHA256),),
    licence="MIT",
    module="tiny",
    gpu_mb=1,
    cpu_mb=1,
    revision=COMMIT,
)
UNKNOWN = replace(TINY, revision=None, files=(ModelFile("model.safetensors"),))
PICKLED = replace(TINY, files=(ModelFile("weights/model.pth"),), source="pickle")
SEVERAL = replace(
    TINY, files=(ModelFile("main/model.safetensors"), ModelFile("vae/model.safetensors"))
)


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(transfer, "RETRY_WAITS", (0.01,))
    monkeypatch.setattr(disk, "SPARE", 0)
    monkeypatch.setattr(installation, "REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(weights, "_verified", set())


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """A network whose publisher writes "net." before each key."""
    module = types.ModuleType("image_to_mesh.inference.models.tiny")

    def map_checkpoint(state):
        return {k.removeprefix("net."): v for k, v in state.items() if k.startswith("net.")}

    module.map_checkpoint = map_checkpoint
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def hub(loopback_hub):
    loopback_hub.files["owner/tiny/model.safetensors"] = CONTENT
    return loopback_hub


def quiet(_fraction, _words):
    pass


def pickled(content, path: Path) -> bytes:
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save(content, path)
    return path.read_bytes()


def record_of(path: Path) -> dict:
    return json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))


# --- from the hub -------------------------------------------------------------------------------


def test_download_installs_the_file_with_its_record(hub, tmp_path):
    said = []
    path = weights.download(TINY, tmp_path / "models", lambda f, words: said.append((f, words)))
    assert path == tmp_path / "models" / "tiny" / "model.safetensors"
    assert np.array_equal(load_file(path)["weight"], TENSORS["weight"])
    record = record_of(path)
    assert (record["origin"], record["revision"]) == ("hub", COMMIT)
    assert record["sha256"] == record["source_sha256"] == SHA256
    assert weights.installed(TINY, tmp_path / "models") == path
    assert weights.status(TINY, tmp_path / "models").state == "installed"
    assert said[-1] == (1.0, "Downloading Tiny: 2 of 2 MB")
    shares = [share for share, _words in said]
    assert shares == sorted(shares)


def test_an_installed_model_needs_no_hub(hub, tmp_path, monkeypatch):
    weights.download(TINY, tmp_path, quiet)
    hub.seen.clear()
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    weights.download(TINY, tmp_path, quiet)
    assert weights.verify(TINY, tmp_path, quiet).name == "model.safetensors"
    assert hub.seen == []


def test_offline_nothing_is_asked(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*press Use File"):
        weights.download(TINY, tmp_path, quiet)
    assert hub.seen == []


def test_an_unknown_revision_and_hash_are_recorded_and_hold_from_then_on(hub, tmp_path):
    path = weights.download(UNKNOWN, tmp_path, quiet)
    assert (record_of(path)["revision"], record_of(path)["sha256"]) == (COMMIT, SHA256)
    assert f"/owner/tiny/resolve/{COMMIT}/model.safetensors" in {s.path for s in hub.seen}
    path.unlink()
    assert weights.status(UNKNOWN, tmp_path).state == "damaged"
    hub.seen.clear()
    hub.files["owner/tiny/model.safetensors"] = to_bytes({"weight": np.zeros(4, np.float32)})
    with pytest.raises(WeightsError, match=r"publisher has replaced .* update Image to Mesh"):
        weights.download(UNKNOWN, tmp_path, quiet)
    assert all("main" not in seen.path for seen in hub.seen)


def test_a_replaced_file_is_refused_before_it_is_fetched(hub, tmp_path):
    other = replace(TINY, files=(ModelFile("model.safetensors", None, "0" * 64),))
    with pytest.raises(WeightsError, match="publisher has replaced the file of Tiny"):
        weights.download(other, tmp_path, quiet)
    assert hub.ranges() == []


def test_a_cancelled_download_is_partial_and_goes_on(hub, tmp_path):
    def stop(_fraction, words):
        if words.startswith("Downloading Tiny: 1 of"):
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        weights.download(TINY, tmp_path, stop)
    assert weights.status(TINY, tmp_path).state == "partial"
    assert weights.installed(TINY, tmp_path) is None
    hub.seen.clear()
    weights.download(TINY, tmp_path, quiet)
    assert hub.ranges()[0] is not None
    assert weights.status(TINY, tmp_path).state == "installed"


@pytest.mark.parametrize("status", [401, 403])
def test_a_gated_model_says_how_to_get_it(hub, tmp_path, status):
    hub.answers = [(status, {"X-Error-Code": "GatedRepo"})]
    with pytest.raises(WeightsError, match=r"accept its licence.*HF_TOKEN.*token"):
        weights.download(TINY, tmp_path, quiet)
    assert weights.status(TINY, tmp_path).state == "missing"


def test_the_token_of_the_shared_file_opens_a_gated_model(hub, tmp_path):
    hub.token = "secret"
    Path(os.environ["HF_HOME"], "token").write_text("secret\n", encoding="utf-8")
    assert weights.download(TINY, tmp_path, quiet).exists()


def test_a_file_that_is_gone(hub, tmp_path):
    del hub.files["owner/tiny/model.safetensors"]
    with pytest.raises(WeightsError, match=r"no longer at .*owner/tiny.*press Use File"):
        weights.download(TINY, tmp_path, quiet)


def test_a_repository_that_is_gone_looks_like_401_to_strangers(hub, tmp_path):
    hub.answers = [(401, {"X-Error-Code": "RepoNotFound"})]
    with pytest.raises(WeightsError, match="no longer at"):
        weights.download(TINY, tmp_path, quiet)


def test_a_busy_hub(hub, tmp_path):
    hub.answers = [(429, {"Retry-After": "600"})]
    with pytest.raises(WeightsError, match="asks to come back in 10 minutes"):
        weights.download(TINY, tmp_path, quiet)


def test_a_full_disk(hub, tmp_path, monkeypatch):
    usage = namedtuple("usage", "total used free")(10**9, 10**9, 1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _folder: usage)
    with pytest.raises(WeightsError, match="choose another Models Folder in the preferences"):
        weights.download(TINY, tmp_path, quiet)


def test_a_models_folder_that_cannot_be_made(hub, tmp_path):
    (tmp_path / "models").write_text("a file")
    with pytest.raises(WeightsError, match="cannot be written to"):
        weights.download(TINY, tmp_path / "models", quiet)


def test_several_files_share_one_progress(hub, tmp_path):
    hub.files["owner/tiny/main/model.safetensors"] = CONTENT
    hub.files["owner/tiny/vae/model.safetensors"] = CONTENT
    shares = []
    path = weights.download(SEVERAL, tmp_path, lambda share, _words: shares.append(share))
    assert path == tmp_path / "tiny"
    assert shares == sorted(shares)
    assert {p.relative_to(path).as_posix() for p in path.rglob("*.safetensors")} == {
        "main/model.safetensors",
        "vae/model.safetensors",
    }
    (path / "vae" / "model.safetensors").unlink()
    assert weights.installed(SEVERAL, tmp_path) is None
    assert weights.status(SEVERAL, tmp_path).state == "damaged"
    weights.delete(SEVERAL, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_delete_leaves_what_is_not_ours(hub, tmp_path):
    path = weights.download(TINY, tmp_path, quiet)
    (path.parent / "notes.txt").write_text("mine")
    weights.delete(TINY, tmp_path)
    assert [p.name for p in path.parent.iterdir()] == ["notes.txt"]
    assert weights.status(TINY, tmp_path).state == "missing"


# --- checking -----------------------------------------------------------------------------------


def test_a_file_that_changed_is_refused(hub, tmp_path):
    path = weights.download(TINY, tmp_path, quiet)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    os.utime(path, ns=(1, 1))
    with pytest.raises(
        WeightsError, match=r"has changed since it was installed.*download it again"
    ):
        weights.verify(TINY, tmp_path, quiet)


def test_a_file_is_read_once_per_session(hub, tmp_path, monkeypatch):
    weights.download(TINY, tmp_path, quiet)
    weights._verified.clear()
    weights.verify(TINY, tmp_path, quiet)
    monkeypatch.setattr(weights, "hash_file", lambda *_: pytest.fail("read again"))
    weights.verify(TINY, tmp_path, quiet)


def test_verify_of_nothing(tmp_path):
    with pytest.raises(WeightsError, match="Tiny is not installed: download it"):
        weights.verify(TINY, tmp_path, quiet)
    assert weights.installed(TINY, None) is None


# --- from the shared cache ----------------------------------------------------------------------


def fill_cache(content: bytes, revision: str, *, with_ref: bool) -> Path:
    store = Path(os.environ["HF_HOME"]) / "hub" / "models--owner--tiny"
    blob = store / "blobs" / hashlib.sha256(content).hexdigest()
    blob.parent.mkdir(parents=True)
    blob.write_bytes(content)
    snapshot = store / "snapshots" / revision
    snapshot.mkdir(parents=True)
    (snapshot / "model.safetensors").symlink_to(blob)
    if with_ref:
        (store / "refs").mkdir()
        (store / "refs" / "main").write_text(revision)
    return blob


@pytest.mark.parametrize(
    ("entry", "revision"), [(TINY, COMMIT), (TINY, "another"), (UNKNOWN, "newest")]
)
def test_the_shared_cache_is_used_without_the_hub(hub, tmp_path, monkeypatch, entry, revision):
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    blob = fill_cache(CONTENT, revision, with_ref=True)
    path = weights.download(entry, tmp_path / "models", quiet)
    assert path.samefile(blob)  # no second copy
    assert not path.is_symlink()  # it stays when the cache is cleaned
    assert (record_of(path)["origin"], record_of(path)["revision"]) == ("cache", revision)
    assert hub.seen == []


def test_a_damaged_file_in_the_shared_cache_is_not_used(hub, tmp_path):
    fill_cache(CONTENT[:-1] + b"x", COMMIT, with_ref=False)
    path = weights.download(TINY, tmp_path / "models", quiet)
    assert (record_of(path)["origin"], record_of(path)["sha256"]) == ("hub", SHA256)


# --- from a file of the artist ------------------------------------------------------------------


@pytest.mark.parametrize("can_link", [True, False])
def test_use_file_keeps_the_original(tmp_path, monkeypatch, can_link):
    if not can_link:
        monkeypatch.setattr(os, "link", lambda *_: (_ for _ in ()).throw(OSError("no links")))
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(CONTENT)
    path = weights.use_file(TINY, mine, tmp_path / "models", quiet)
    assert path.read_bytes() == CONTENT
    assert path.samefile(mine) == can_link
    assert record_of(path)["origin"] == "file"
    weights.delete(TINY, tmp_path / "models")
    assert mine.read_bytes() == CONTENT


def test_use_file_finds_all_files_of_a_model(tmp_path):
    for part in ("main", "vae"):
        (tmp_path / "mine" / part).mkdir(parents=True)
        (tmp_path / "mine" / part / "model.safetensors").write_bytes(CONTENT)
    models = tmp_path / "models"
    assert weights.use_file(SEVERAL, tmp_path / "mine", models, quiet) == models / "tiny"
    weights.delete(SEVERAL, models)
    main = tmp_path / "mine" / "main" / "model.safetensors"
    assert weights.use_file(SEVERAL, main, models, quiet) == models / "tiny"
    (tmp_path / "mine" / "vae" / "model.safetensors").unlink()
    weights.delete(SEVERAL, models)
    with pytest.raises(WeightsError, match=r"no file .*vae.model\.safetensors"):
        weights.use_file(SEVERAL, tmp_path / "mine", models, quiet)


def test_use_file_refuses_another_file(tmp_path):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(to_bytes({"weight": np.zeros(3, np.float32)}))
    with pytest.raises(WeightsError, match="is not the file of Tiny that this version knows"):
        weights.use_file(TINY, mine, tmp_path / "models", quiet)
    assert weights.status(TINY, tmp_path / "models").state == "missing"


@pytest.mark.parametrize("content", [b"", b"\x08\0\0\0\0\0\0\0nonsense", CONTENT[:-5]])
def test_use_file_refuses_half_files(tmp_path, content):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(content)
    with pytest.raises(WeightsError, match=r"mine\.safetensors is not a whole \.safetensors file"):
        weights.use_file(UNKNOWN, mine, tmp_path / "models", quiet)
    assert weights.status(UNKNOWN, tmp_path / "models").state == "missing"


def test_use_file_says_that_a_file_cannot_be_read(tmp_path, monkeypatch):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(CONTENT)

    def refuse(path):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(disk, "pieces", refuse)
    with pytest.raises(
        WeightsError, match=r"mine.safetensors cannot be read \(Input/output error\)"
    ):
        weights.use_file(TINY, mine, tmp_path / "models", quiet)


def test_use_file_refuses_what_is_no_weights_file(tmp_path):
    picture = tmp_path / "cat.png"
    picture.write_bytes(b"cat")
    with pytest.raises(WeightsError, match=r"cat\.png is not a weights file"):
        weights.use_file(TINY, picture, tmp_path / "models", quiet)
    with pytest.raises(WeightsError, match=r"There is no file .*dog\.pth"):
        weights.use_file(TINY, tmp_path / "dog.pth", tmp_path / "models", quiet)


# --- conversion ---------------------------------------------------------------------------------


@pytest.mark.parametrize("wrap", ["bare", "state_dict", "model", "params_ema"])
@pytest.mark.parametrize("is_new_format", [True, False])
def test_a_pickle_is_converted_once(hub, tmp_path, wrap, is_new_format):
    state = {
        "net.weight": torch.arange(6, dtype=torch.float32).reshape(2, 3).t(),
        "net.half": torch.full((5,), 0.5, dtype=torch.bfloat16),
        "net.count": torch.tensor(7),
        "net.nothing": torch.zeros(0, 3),
        "net.flag": torch.tensor([True, False]),
        "head.unused": torch.zeros(1),
        "net.epoch": 3,
    }
    content = state if wrap == "bare" else {wrap: state, "model_config": {"levels": [1, 2]}}
    published = tmp_path / "published.pth"
    torch.save(content, published, _use_new_zipfile_serialization=is_new_format)
    hub.files["owner/tiny/weights/model.pth"] = published.read_bytes()
    path = weights.download(PICKLED, tmp_path / "models", quiet)
    assert path == tmp_path / "models" / "tiny" / "weights" / "model.safetensors"
    assert sorted(p.name for p in path.parent.iterdir()) == ["model.json", "model.safetensors"]
    from safetensors import safe_open

    with safe_open(path, framework="pt") as file:
        found = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
        metadata = file.metadata() or {}
    expected = {k.removeprefix("net."): v for k, v in state.items() if k != "net.epoch"}
    del expected["head.unused"]
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[k], expected[k]) for k in expected)
    assert all(found[k].dtype == expected[k].dtype for k in expected)
    assert metadata == ({} if wrap == "bare" else {"model_config": '{"levels": [1, 2]}'})
    assert weights.verify(PICKLED, tmp_path / "models", quiet) == path
    assert record_of(path)["source_size"] == published.stat().st_size


class Malicious:
    def __reduce__(self):
        return (os.mkdir, ("malicious-was-here",))


def test_a_pickle_with_a_program_is_refused(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    published = tmp_path / "published.pth"
    content = pickled({"net.weight": torch.zeros(3), "extra": Malicious()}, published)
    hub.files["owner/tiny/weights/model.pth"] = content
    with pytest.raises(WeightsError, match=r"could run a program on your computer.*not opened"):
        weights.download(PICKLED, tmp_path / "models", quiet)
    with pytest.raises(WeightsError, match="could run a program"):
        weights.use_file(PICKLED, published, tmp_path / "models", quiet)
    assert not (tmp_path / "malicious-was-here").exists()
    assert weights.installed(PICKLED, tmp_path / "models") is None
    assert published.exists()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ({"other": torch.zeros(1)}, "holds no weights"),
        ({"epoch": 3}, "holds no weights"),
        ([1, 2], "holds no weights"),
        ({"net.w": torch.zeros(2, dtype=torch.complex64)}, "complex64, which cannot be converted"),
    ],
)
def test_a_pickle_of_something_else(tmp_path, content, sentence):
    mine = tmp_path / "mine.pth"
    pickled(content, mine)
    with pytest.raises(WeightsError, match=sentence):
        weights.use_file(PICKLED, mine, tmp_path / "models", quiet)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no zip", b"text" * 100])
def test_a_damaged_pickle(tmp_path, content):
    mine = tmp_path / "mine.pth"
    mine.write_bytes(content)
    with pytest.raises(WeightsError, match=r"is damaged or not a weights file|run a program"):
        weights.use_file(PICKLED, mine, tmp_path / "models", quiet)


def test_a_cancelled_conversion_leaves_the_download_and_goes_on(hub, tmp_path):
    hub.files["owner/tiny/weights/model.pth"] = pickled(
        {"net.weight": torch.zeros(100_000)}, tmp_path / "published.pth"
    )

    def stop(_fraction, words):
        if words.startswith("Converting"):
            raise RunCancelled("Cancelled")

    with pytest.raises(RunCancelled):
        weights.download(PICKLED, tmp_path / "models", stop)
    place = tmp_path / "models" / "tiny" / "weights"
    assert [p.name for p in place.iterdir()] == ["model.pth"]
    assert weights.status(PICKLED, tmp_path / "models").state == "partial"
    hub.seen.clear()
    assert weights.download(PICKLED, tmp_path / "models", quiet).exists()
    assert hub.ranges() == []
    assert not (place / "model.pth").exists()


def test_what_an_older_version_left_unconverted_is_fetched_anew(hub, tmp_path):
    published = pickled({"net.weight": torch.ones(10)}, tmp_path / "published.pth")
    hub.files["owner/tiny/weights/model.pth"] = published
    place = tmp_path / "models" / "tiny" / "weights"
    place.mkdir(parents=True)
    (place / "model.pth").write_bytes(
        pickled({"net.weight": torch.zeros(10)}, tmp_path / "old.pth")
    )
    path = weights.download(PICKLED, tmp_path / "models", quiet)
    assert record_of(path)["source_sha256"] == hashlib.sha256(published).hexdigest()
    assert load_file(path)["weight"].sum() == 10


def test_use_file_converts_a_pickle_and_keeps_it(tmp_path):
    mine = tmp_path / "mine.ckpt"
    pickled({"state_dict": {"net.weight": torch.ones(3)}}, mine)
    path = weights.use_file(PICKLED, mine, tmp_path / "models", quiet)
    assert np.array_equal(load_file(path)["weight"], np.ones(3, np.float32))
    assert mine.exists()


def test_torchscript_is_converted_only_if_its_hash_is_known(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.net = torch.nn.Linear(2, 2)

        def forward(self, x):
            return self.net(x)

    mine, net = tmp_path / "mine.pt", Net()
    torch.jit.script(net).save(str(mine))
    sha256 = disk.hash_file(mine, lambda *_: None)
    known = replace(TINY, files=(ModelFile("model.pt", None, sha256),), source="torchscript")
    path = weights.use_file(known, mine, tmp_path / "models", quiet)
    assert np.array_equal(load_file(path)["weight"], net.net.weight.detach().numpy())
    unknown = replace(known, id="other", files=(ModelFile("model.pt"),))
    with pytest.raises(WeightsError, match="holds a program and is not the file"):
        weights.use_file(unknown, mine, tmp_path / "models", quiet)


def test_conversion_onto_a_full_disk(tmp_path, monkeypatch):
    mine = tmp_path / "mine.pth"
    pickled({"net.weight": torch.zeros(10)}, mine)

    def full(*_arguments):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(convert.tensor_file, "write", full)
    with pytest.raises(WeightsError, match=r"disk of .* is full"):
        weights.use_file(PICKLED, mine, tmp_path / "models", quiet)
