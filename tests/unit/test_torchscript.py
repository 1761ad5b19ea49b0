"""Weights of a TorchScript archive are read without running it."""

from __future__ import annotations

import io
import pickle
import warnings
import zipfile
from pathlib import Path

import pytest
import torch
from image_to_mesh.inference.hub import torchscript
from torch import nn


class Small(nn.Module):
    """Has all that a published network has: nested and repeated modules, buffers, shared weights."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU())
        self.first = nn.Linear(4, 4)
        self.second = nn.Linear(4, 4)
        self.second.weight = self.first.weight
        self.register_buffer("table", torch.arange(6, dtype=torch.float16).view(2, 3).T)
        self.steps = [1, 2, 3]

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.second(self.first(self.layers(x).mean((2, 3)))) * self.steps[0]


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    torch.manual_seed(1)
    path = tmp_path / "small.pt"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        torch.jit.script(Small().eval()).save(str(path))
    return path


def test_the_tensors_are_those_of_the_state(archive: Path) -> None:
    torch.manual_seed(1)
    expected = Small().state_dict()
    found = torchscript.read_state(archive)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor), name
    assert found["first.weight"].data_ptr() == found["second.weight"].data_ptr()


def rewritten(archive: Path, entry: str, content: bytes) -> Path:
    """The archive with other content in one of its files."""
    target = archive.with_name("other.pt")
    with zipfile.ZipFile(archive) as old, zipfile.ZipFile(target, "w") as new:
        for name in old.namelist():
            new.writestr(name, content if name.endswith(entry) else old.read(name))
    return target


class Ill:
    """Runs a program when it is unpickled by a reader that trusts it."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple:
        return Path.touch, (self.path,)


def test_a_program_in_it_does_not_run(archive: Path, tmp_path: Path) -> None:
    ran = tmp_path / "ran"
    content = io.BytesIO()
    pickle.dump({"weight": Ill(ran)}, content)
    pickle.loads(content.getvalue())
    assert ran.exists()
    ran.unlink()
    with pytest.raises(pickle.UnpicklingError, match="is no weight"):
        torchscript.read_state(rewritten(archive, "/data.pkl", content.getvalue()))
    assert not ran.exists()


def test_damage_is_told(archive: Path, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="storage 0"):
        torchscript.read_state(rewritten(archive, "/data/0", b"\0" * 6))
    archive.write_bytes(archive.read_bytes()[:-400])
    with pytest.raises(ValueError, match=r"small\.pt"):
        torchscript.read_state(archive)
    empty = tmp_path / "empty.pt"
    with zipfile.ZipFile(empty, "w") as file:
        file.writestr("notes.txt", "nothing")
    with pytest.raises(ValueError, match=r"no data\.pkl"):
        torchscript.read_state(empty)
