"""What is installed is what the catalogue names, holds nothing but weights, and stays what it was."""

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import threading
import types
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from image_to_mesh.inference.errors import MissingPackage, WeightsError
from image_to_mesh.inference.hub import disk, installation, transfer, weights
from image_to_mesh.inference.hub.catalogue import CATALOGUE, ModelEntry, ModelFile, model
from loopback_hub import COMMIT
from safetensors import SafetensorError, safe_open
from safetensors.numpy import load_file
from safetensors.numpy import save as to_bytes

CONTENT = to_bytes({"weight": np.arange(600_000, dtype=np.float32)})
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
PICKLED = replace(TINY, files=(ModelFile("model.pth"),), source="pickle")
PINNED = [entry for entry in CATALOGUE if all(file.sha256 for file in entry.files)]


@pytest.fixture(autouse=True)
def hurry(monkeypatch):
    monkeypatch.setattr(transfer, "RETRY_WAITS", (0.01,))
    monkeypatch.setattr(disk, "SPARE", 0)
    monkeypatch.setattr(installation, "REPORT_INTERVAL", 0.0)
    monkeypatch.setattr(weights, "_verified", set())


@pytest.fixture(autouse=True)
def tiny_network(monkeypatch):
    """A network whose weights are called as its publisher calls them."""
    module = types.ModuleType("image_to_mesh.inference.models.tiny")
    module.map_checkpoint = dict
    monkeypatch.setitem(sys.modules, module.__name__, module)


@pytest.fixture
def hub(loopback_hub):
    loopback_hub.files["owner/tiny/model.safetensors"] = CONTENT
    return loopback_hub


def quiet(_fraction, _words):
    pass


# --- it is the file that the catalogue names ----------------------------------------------------


@pytest.mark.parametrize("ending", [".safetensors", ".pth", ".pt", ".ckpt", ".bin"])
@pytest.mark.parametrize("entry", PINNED, ids=lambda entry: entry.id)
def test_the_known_hash_holds_whatever_the_file_is_called(tmp_path, entry, ending):
    folder = tmp_path / "mine"
    for file in entry.files:
        mine = (folder / file.path).with_suffix(ending if len(entry.files) == 1 else ".safetensors")
        mine.parent.mkdir(parents=True, exist_ok=True)
        if ending == ".safetensors":
            mine.write_bytes(to_bytes({"weight": np.zeros(3, np.float32)}))
        else:
            torch.save({"weight": torch.zeros(3)}, mine)
    chosen = mine if len(entry.files) == 1 else folder
    with pytest.raises(WeightsError, match=r"is not the file of .* that this version knows"):
        weights.use_file(entry, chosen, tmp_path / "models", quiet)
    assert weights.status(entry, tmp_path / "models").state == "missing"


def test_what_an_older_version_installed_from_another_file_is_not_used(hub, tmp_path):
    """It let a file of another ending in, whatever its hash."""
    wrong = tmp_path / "wrong.safetensors"
    wrong.write_bytes(to_bytes({"weight": np.zeros(3, np.float32)}))
    weights.use_file(UNKNOWN, wrong, tmp_path / "models", quiet)
    with pytest.raises(WeightsError, match=r"installed from another file .* download it again"):
        weights.verify(TINY, tmp_path / "models", quiet)
    weights.download(TINY, tmp_path / "models", quiet)
    path = weights.verify(TINY, tmp_path / "models", quiet)
    assert path.read_bytes() == CONTENT
    assert wrong.stat().st_size < 200


def change_record(path: Path, **facts: object) -> None:
    record = path.with_suffix(".json")
    known = json.loads(record.read_text(encoding="utf-8"))
    record.write_text(json.dumps(known | facts), encoding="utf-8")


def test_the_known_hash_holds_whatever_the_record_says(hub, tmp_path):
    path = weights.download(TINY, tmp_path, quiet)
    other = CONTENT[:-1] + b"x"
    path.write_bytes(other)
    change_record(path, sha256=hashlib.sha256(other).hexdigest())
    with pytest.raises(WeightsError, match="installed from another file than this version knows"):
        weights.verify(TINY, tmp_path, quiet)


@pytest.mark.parametrize("facts", [{"sha256": 5}, {"source_sha256": None}, {"size": "much"}])
def test_a_record_that_is_none_counts_as_missing(hub, tmp_path, facts):
    path = weights.download(TINY, tmp_path, quiet)
    change_record(path, **facts)
    assert weights.status(TINY, tmp_path).state in {"partial", "damaged"}
    with pytest.raises(WeightsError, match="is not installed"):
        weights.verify(TINY, tmp_path, quiet)
    assert weights.download(TINY, tmp_path, quiet).read_bytes() == CONTENT


def put_beside(path: Path, content: bytes) -> None:
    other = path.with_name("other")
    other.write_bytes(content)
    other.replace(path)


@pytest.mark.parametrize("tamper", [Path.write_bytes, put_beside])
def test_a_change_is_noticed_though_size_and_time_stay(hub, tmp_path, tamper):
    path = weights.download(TINY, tmp_path, quiet)
    weights.verify(TINY, tmp_path, quiet)
    before = path.stat()
    tamper(path, CONTENT[:-1] + b"x")
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(WeightsError, match="has changed since it was installed"):
        weights.verify(TINY, tmp_path, quiet)


# --- it holds nothing but weights ---------------------------------------------------------------


def safetensors(header: object, body: int = 24, *, length: int | None = None) -> bytes:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return (len(text) if length is None else length).to_bytes(8, "little") + text + bytes(body)


def tensor(shape=(3,), offsets=(0, 12), dtype="F32") -> dict:
    return {"dtype": dtype, "shape": list(shape), "data_offsets": list(offsets)}


BAD_HEADERS = {
    "overlap": safetensors(
        {"a": tensor(), "b": tensor(offsets=(8, 20)), "c": tensor((1,), (20, 24))}
    ),
    "same place": safetensors({"a": tensor((6,), (0, 24)), "b": tensor((6,), (0, 24))}),
    "hole": safetensors({"a": tensor(), "b": tensor((2,), (16, 24))}),
    "begins late": safetensors({"a": tensor((5,), (4, 24))}),
    "negative begin": safetensors({"a": tensor((7,), (-4, 24))}),
    "negative size": safetensors({"a": tensor((-3, -2), (0, 24))}),
    "backwards": safetensors({"a": tensor((6,), (24, 0))}),
    "too few bytes": safetensors({"a": tensor((1000,), (0, 24))}),
    "too many bytes": safetensors({"a": tensor((2,), (0, 24))}),
    "huge shape": safetensors({"a": tensor((2**62, 2**62), (0, 24))}),
    "huge number": safetensors(
        b'{"a":{"dtype":"F32","shape":[' + b"9" * 5000 + b'],"data_offsets":[0,24]}}'
    ),
    "many axes": safetensors({"a": tensor((1,) * 100_000 + (6,), (0, 24))}),
    "fraction": safetensors({"a": tensor((6.0,), (0, 24))}),
    "truth": safetensors({"a": tensor((True, 6), (False, 24))}),
    "infinite": safetensors(b'{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,Infinity]}}'),
    "text": safetensors({"a": tensor(("6",), (0, "24"))}),
    "no shape": safetensors({"a": {"dtype": "F32", "data_offsets": [0, 24]}}),
    "one offset": safetensors({"a": tensor((6,), (0,))}),
    "unknown type": safetensors({"a": tensor((6,), (0, 24), "X32")}),
    "type of no type": safetensors({"a": tensor((6,), (0, 24), None)}),
    "twice": safetensors(
        b'{"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]},'
        b'"a":{"dtype":"F32","shape":[6],"data_offsets":[0,24]}}'
    ),
    "a list": safetensors([1, 2, 3]),
    "a tensor that is a list": safetensors({"a": [0, 24]}),
    "deep": safetensors(b"[" * 100_000, 0),
    "metadata of numbers": safetensors({"__metadata__": {"a": 1}, "b": tensor((6,), (0, 24))}),
    "metadata of a list": safetensors({"__metadata__": ["a"], "b": tensor((6,), (0, 24))}),
    "header longer than the file": safetensors({"a": tensor((6,), (0, 24))}, length=2**40),
    "nothing": safetensors({}, 0),
    "more behind": safetensors({"a": tensor((6,), (0, 24))}, 25),
}


# The publisher's package reads them: no tensors, of two with one name the last, more axes than PyTorch has.
OURS_ALONE = {"nothing", "twice", "many axes"}


@pytest.mark.parametrize("content", BAD_HEADERS.values(), ids=BAD_HEADERS)
def test_a_header_that_says_what_cannot_be_is_refused(tmp_path, content):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(content)
    with pytest.raises(WeightsError, match=r"mine\.safetensors is not a whole \.safetensors file"):
        weights.use_file(UNKNOWN, mine, tmp_path / "models", quiet)
    assert weights.status(UNKNOWN, tmp_path / "models").state == "missing"


@pytest.mark.parametrize("name", sorted({*BAD_HEADERS} - OURS_ALONE))
def test_what_is_refused_is_refused_by_the_publisher_s_package_too(tmp_path, name):
    path = tmp_path / "a.safetensors"
    path.write_bytes(BAD_HEADERS[name])
    with pytest.raises(SafetensorError), safe_open(path, framework="np") as _file:
        pass


@pytest.mark.parametrize(
    "content",
    [
        safetensors({"a": tensor((6,), (0, 24))}),
        safetensors({"__metadata__": {"a": "b"}, "b": tensor((2, 3), (0, 24))}),
        safetensors(
            {
                "b": tensor((3,), (12, 24)),
                "a": tensor((), (8, 12)),
                "c": tensor((4,), (0, 8), "F16"),
            }
        ),
        safetensors(
            {"a": tensor((0, 5), (0, 0)), "b": tensor((6,), (0, 24)), "c": tensor((0,), (24, 24))}
        ),
        to_bytes({"a": np.zeros((2, 3), np.float64), "b": np.ones(5, np.uint8)}, {"made": "by us"}),
    ],
)
def test_a_sound_header_is_taken(tmp_path, content):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(content)
    assert weights.use_file(UNKNOWN, mine, tmp_path / "models", quiet).read_bytes() == content


ODD_TENSORS = {
    "sparse": lambda: torch.eye(3).to_sparse(),
    "compressed": lambda: torch.eye(3).to_sparse_csr(),
    "meta": lambda: torch.empty(10**6, device="meta"),
    "expanded": lambda: torch.zeros(1).expand(10**13),
    "expanded a little": lambda: torch.zeros(2, 1).expand(2, 3),
    "overlapping": lambda: torch.zeros(1999).as_strided((1000, 1000), (1, 1)),
    "quantized": lambda: torch.quantize_per_tensor(torch.zeros(3), 0.1, 0, torch.qint8),
}


@pytest.mark.parametrize("make", ODD_TENSORS.values(), ids=ODD_TENSORS)
@pytest.mark.parametrize("wrap", [None, "state_dict"])
def test_a_tensor_that_is_no_block_of_numbers_is_refused(tmp_path, make, wrap):
    state = {"weight": torch.zeros(3), "odd": make()}
    mine = tmp_path / "mine.pth"
    torch.save(state if wrap is None else {wrap: state}, mine)
    with pytest.raises(WeightsError, match=r"mine\.pth holds odd as .* publisher's own file"):
        weights.use_file(PICKLED, mine, tmp_path / "models", quiet)
    assert weights.status(PICKLED, tmp_path / "models").state == "missing"


def test_a_tensor_that_is_repeated_in_an_archive_with_a_program_is_refused(tmp_path):
    class Net(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.register_buffer("odd", torch.zeros(1).expand(10**13))

        def forward(self, x):
            return x

    mine = tmp_path / "mine.pt"
    torch.jit.script(Net()).save(str(mine))
    known = disk.hash_file(mine, lambda *_: None)
    entry = replace(TINY, files=(ModelFile("mine.pt", None, known),), source="torchscript")
    with pytest.raises(WeightsError, match="holds odd as numbers that are repeated"):
        weights.use_file(entry, mine, tmp_path / "models", quiet)


def test_views_of_one_storage_and_axes_of_length_one_are_plain(tmp_path):
    base = torch.arange(12, dtype=torch.float32)
    state = {"a": base[2:8].reshape(2, 3).t(), "b": base[:1].expand(1, 1), "c": base}
    mine = tmp_path / "mine.pth"
    torch.save(state, mine)
    found = load_file(weights.use_file(PICKLED, mine, tmp_path / "models", quiet))
    assert all(np.array_equal(found[name], state[name].numpy()) for name in state)


# --- one at a time ------------------------------------------------------------------------------


def test_two_downloads_of_one_model_wait_for_each_other(hub, tmp_path):
    hub.pace = 0.01
    paths, words = [], []

    def run():
        paths.append(weights.download(TINY, tmp_path, lambda _share, said: words.append(said)))

    threads = [threading.Thread(target=run) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert paths == [tmp_path / "tiny" / "model.safetensors"] * 3
    assert len([seen for seen in hub.seen if seen.path.startswith("/far/")]) == 1
    assert "Waiting for another download of Tiny" in words
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


@contextlib.contextmanager
def another_blender(folder: Path):
    """A process that installs the model; it is done when its input ends."""
    code = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[1]); import conftest;"
        "from image_to_mesh.inference.hub.lock import held\n"
        "with held(Path(sys.argv[2]), lambda: None): print('held', flush=True); sys.stdin.read()"
    )
    tests, lock = Path(__file__).resolve().parents[1], folder / "tiny.lock"
    command = [sys.executable, "-c", code, str(tests), str(lock)]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "held\n"
        yield process


def test_a_download_waits_for_another_blender(hub, tmp_path):
    with another_blender(tmp_path) as process:
        waited = []

        def report(_share, words):
            if words.startswith("Waiting for another"):
                waited.append(hub.seen[:])
                if len(waited) == 3:
                    process.stdin.close()

        assert weights.download(TINY, tmp_path, report).exists()
    assert waited[2] == []


def test_what_another_blender_is_installing_is_not_deleted(hub, tmp_path):
    path = weights.download(TINY, tmp_path, quiet)
    with another_blender(tmp_path):
        with pytest.raises(WeightsError, match="Another Blender is installing this model"):
            weights.delete(TINY, tmp_path)
        assert path.exists()
    weights.delete(TINY, tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_a_lock_left_by_a_crash_holds_nobody_up(hub, tmp_path):
    with another_blender(tmp_path) as process:
        process.kill()
    assert (tmp_path / "tiny.lock").exists()
    assert weights.download(TINY, tmp_path, quiet).exists()
    assert [path.name for path in tmp_path.iterdir()] == ["tiny"]


# --- without huggingface_hub, and offline -------------------------------------------------------


@pytest.fixture
def no_hub_package(monkeypatch):
    names = [
        name for name in sys.modules if name.partition(".")[0] in {"huggingface_hub", "filelock"}
    ]
    for name in (*names, "huggingface_hub", "filelock"):
        monkeypatch.setitem(sys.modules, name, None)


def test_without_huggingface_hub_a_download_says_what_is_missing(hub, tmp_path, no_hub_package):
    sentence = r"package huggingface_hub is missing.*install the full Image to Mesh zip.*Use File"
    with pytest.raises(MissingPackage, match=sentence):
        weights.download(TINY, tmp_path, quiet)
    with pytest.raises(WeightsError, match="No internet today"):
        weights.download(TINY, tmp_path, quiet, "No internet today.")
    assert hub.seen == []


def test_without_huggingface_hub_everything_but_downloads_works(tmp_path, no_hub_package):
    mine = tmp_path / "mine.safetensors"
    mine.write_bytes(CONTENT)
    models = tmp_path / "models"
    path = weights.use_file(TINY, mine, models, quiet)
    assert weights.verify(TINY, models, quiet) == weights.download(TINY, models, quiet) == path
    weights.delete(TINY, models)
    assert weights.status(TINY, models).state == "missing"


def test_an_old_huggingface_hub_is_told(hub, tmp_path, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.delattr(constants, "is_offline_mode")
    monkeypatch.setattr("importlib.reload", lambda module: module)
    with pytest.raises(MissingPackage, match=r"too old to download models: install \d"):
        weights.download(TINY, tmp_path, quiet)


@pytest.mark.parametrize("name", ["HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE"])
def test_offline_counts_whenever_it_is_set_or_unset(hub, tmp_path, monkeypatch, name):
    monkeypatch.setenv(name, "1")
    with pytest.raises(WeightsError, match=r"HF_HUB_OFFLINE is set.*press Use File"):
        weights.download(TINY, tmp_path, quiet)
    assert hub.seen == []
    monkeypatch.delenv(name)
    assert weights.download(TINY, tmp_path, quiet).exists()


def test_the_shared_cache_is_where_the_environment_says_now(hub, tmp_path, monkeypatch):
    for home in ("first", "second"):
        monkeypatch.setenv("HF_HOME", str(tmp_path / home))
        snapshot = tmp_path / home / "hub" / "models--owner--tiny" / "snapshots" / COMMIT
        snapshot.mkdir(parents=True)
        (snapshot / "model.safetensors").write_bytes(CONTENT)
        path = weights.download(TINY, tmp_path / f"models of {home}", quiet)
        assert path.samefile(snapshot / "model.safetensors")
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "third"))
    weights.download(TINY, tmp_path / "models", quiet)
    assert hub.seen


def test_the_token_is_never_sent_to_where_a_file_lies_elsewhere(hub, tmp_path, monkeypatch):
    monkeypatch.setenv("HF_TOKEN", "secret")
    url = f"{hub.address}/far/owner/tiny/model.safetensors"
    entry = replace(TINY, repo=hub.address, files=(replace(TINY.files[0], url=url),))
    assert weights.download(entry, tmp_path, quiet).read_bytes() == CONTENT
    assert {seen.authorization for seen in hub.seen} == {None}


def test_the_catalogue_s_smallest_is_known_by_its_hash():
    """What the first test above stands on."""
    assert model("u2netp") in PINNED
    assert len(PINNED) > 15
