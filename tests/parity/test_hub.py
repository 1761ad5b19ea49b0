"""Our loopback hub and our reading of the shared cache, against Hugging Face's own client."""

import hashlib
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from image_to_mesh.inference.hub import disk, weights
from image_to_mesh.inference.hub.catalogue import ModelEntry, ModelFile
from loopback_hub import COMMIT
from safetensors.numpy import save as to_bytes

pytestmark = pytest.mark.parity

CONTENT = to_bytes({"weight": np.arange(50_000, dtype=np.float32)})
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
    cpu_mb=2,
    revision=COMMIT,
)


def their_download() -> str:
    """Fetch with huggingface_hub in a process of its own: it reads its settings when it is imported."""
    code = (
        "from huggingface_hub import hf_hub_download;"
        "print(hf_hub_download('owner/tiny', 'model.safetensors'))"
    )
    environment = {**os.environ, "HF_HUB_DISABLE_XET": "1", "PYTHONPATH": os.pathsep.join(sys.path)}
    result = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False
    )
    assert result.returncode == 0, result.stderr
    return result.stdout.strip().splitlines()[-1]


@pytest.mark.parametrize("entry", [TINY, replace(TINY, revision=None)])
def test_their_client_downloads_from_our_hub_and_we_use_its_cache(
    loopback_hub, tmp_path, monkeypatch, entry
):
    pytest.importorskip("huggingface_hub")
    loopback_hub.files["owner/tiny/model.safetensors"] = CONTENT
    theirs = their_download()
    assert disk.hash_file(Path(theirs), lambda *_: None) == SHA256
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    loopback_hub.seen.clear()
    path = weights.download(entry, tmp_path, lambda *_: None)
    assert path.read_bytes() == CONTENT
    assert path.samefile(theirs)
    assert loopback_hub.seen == []
