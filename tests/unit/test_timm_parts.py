"""timm with every kind of torchvision, without timm, and beside someone who uses all of it.

Each in a process of its own: what is imported first decides.
"""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[1]

BEGIN = """
import importlib, importlib.abc, json, sys
sys.path.insert(0, sys.argv[1])
import conftest

class Without(importlib.abc.MetaPathFinder):
    "An installation that lacks a package."
    def __init__(self, package):
        self.package = package

    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] == self.package:
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)

def installed(package):
    "How the package is to others: works, is missing, or is broken and why."
    try:
        return "works: " + importlib.import_module(package).__name__
    except ModuleNotFoundError:
        return "missing"
    except Exception as error:
        return f"broken: {error}"

def traces():
    return sorted(m for m in sys.modules if m.partition(".")[0] in ("timm", "torchvision"))
"""
USE = """
import torch
from image_to_mesh.inference.models import checkpoint
from image_to_mesh.inference.models.backbones import hiera, swin, timm_parts, vit

def numbers(net, ask):
    "What a network says with weights that its names decide."
    built = checkpoint.build(net)
    state = {
        key: torch.linspace(-0.3, 0.4, value.numel()).view(value.shape)
        for key, value in built.state_dict().items()
    }
    built.load_state_dict(state, assign=True)
    with torch.inference_mode():
        return [float(x.mean()) for x in ask(built.eval())]

picture = torch.linspace(-1, 1, 3 * 64 * 96).view(1, 3, 64, 96)
told = {
    "vit": numbers(lambda: vit.VisionTransformer(16, 24, 2, 3, 5),
                   lambda net: net.forward_taps(picture, [0, 1])),
    "swin": numbers(lambda: swin.SwinTransformer(16, (2, 2), (1, 2), 5),
                    lambda net: net(picture, lambda: None)),
    "hiera": numbers(lambda: hiera.Hiera(16, (1, 1, 2, 1), (3,)),
                     lambda net: net.forward_stages(picture, lambda: None)),
    "frozen norm": timm_parts.timm_module("layers").norm_act.FrozenBatchNorm2d.__module__,
    "same": timm_parts.timm_module("models.swin_transformer").PatchMerging is swin.PatchMerging,
}
"""
TELL = "print(json.dumps(told))"


def told_by(code: str, *arguments: str, path: Path | None = None) -> dict:
    """Run a program and read what it prints last."""
    folders = [] if path is None else [f"sys.path.insert(0, {str(path)!r})"]
    program = "\n".join([BEGIN, *folders, code, TELL])
    command = [sys.executable, "-c", program, str(TESTS), *arguments]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout.splitlines()[-1])


def fake_torchvision(folder: Path, start: str = "") -> Path:
    """A package with what timm's layers ask for, which begins with ``start``."""
    for package, content in {
        "torchvision": "import torchvision.extension\n" + start,
        "torchvision/ops": "",
        "torchvision/models": "",
    }.items():
        (folder / package).mkdir(parents=True)
        (folder / package / "__init__.py").write_text(content)
    (folder / "torchvision/extension.py").write_text("")
    (folder / "torchvision/ops/misc.py").write_text(
        "import torch\nclass FrozenBatchNorm2d(torch.nn.Module):\n    pass\n"
    )
    (folder / "torchvision/models/feature_extraction.py").write_text(
        "create_feature_extractor = get_graph_node_names = print\n"
    )
    return folder


@pytest.fixture(scope="module")
def expected() -> dict:
    """With no torchvision at all."""
    return told_by(
        "sys.meta_path.insert(0, Without('torchvision'))"
        + USE
        + "told['traces'] = traces(); told['torchvision'] = installed('torchvision')"
    )


def test_a_missing_torchvision_stays_missing(expected):
    assert len(expected["vit"]) == len(expected["swin"]) == 2
    assert expected["same"]
    assert expected["traces"] == []
    assert expected["torchvision"] == "missing"


def test_a_broken_torchvision_stays_broken(tmp_path, expected):
    """Built for another PyTorch, it fails when half of it is imported."""
    words = "operator torchvision::nms does not exist"
    path = fake_torchvision(tmp_path, f"raise RuntimeError({words!r})")
    told = told_by(
        USE + "told['traces'] = traces(); told['torchvision'] = installed('torchvision')", path=path
    )
    assert told.pop("torchvision") == f"broken: {words}"
    assert told == {key: expected[key] for key in told}
    assert told["traces"] == []


def test_a_torchvision_that_works_is_used_and_stays(tmp_path, expected):
    told = told_by(
        USE + "told['traces'] = traces(); told['torchvision'] = installed('torchvision')",
        path=fake_torchvision(tmp_path),
    )
    assert told["frozen norm"] == "torchvision.ops.misc"
    assert told["torchvision"] == "works: torchvision"
    assert "torchvision.ops.misc" in told["traces"]
    assert not [name for name in told["traces"] if name.startswith("timm")]
    for name in ("vit", "swin", "hiera"):
        assert told[name] == expected[name]


def test_timm_as_a_whole_can_be_imported_afterwards(expected):
    """By another add-on, which gets all of it and nothing of ours."""
    told = told_by(
        USE
        + """
with timm_parts.torchvision_or_stand_in() as is_real:
    import timm
    made = timm.create_model("resnet10t", num_classes=3)
told["is real"] = is_real
told["hub"] = hasattr(timm.models, "load_state_dict_from_hf")
told["other"] = timm.models.vision_transformer.VisionTransformer not in vit.VisionTransformer.__mro__
told["traces"] = [name for name in traces() if name.startswith("torchvision")]
""",
    )
    assert told["other"]
    assert told["hub"]
    assert told["traces"] == [] or told["is real"]
    for name in ("vit", "swin", "hiera"):
        assert told[name] == expected[name]


@pytest.mark.parametrize(
    "before",
    [
        # Another add-on was first.
        "with parts.torchvision_or_stand_in():\n    import timm",
        # A version of timm in which a module cannot be loaded on its own.
        "bare = parts._add_bare_packages\n"
        "def without_constants(folder):\n"
        "    bare(folder)\n"
        "    del sys.modules['timm.data'].IMAGENET_DEFAULT_MEAN\n"
        "parts._add_bare_packages = without_constants",
    ],
    ids=["in memory", "another version"],
)
def test_timm_as_a_whole_serves_as_well(expected, before):
    told = told_by(
        "import image_to_mesh.inference.models.backbones.timm_parts as parts\n"
        + before
        + USE
        + "told['timm'] = 'timm.models.resnet' in sys.modules",
    )
    assert told["timm"]
    for name in ("vit", "swin", "hiera"):
        assert told[name] == expected[name]


def test_importing_the_parts_loads_little_and_asks_no_hub():
    told = told_by(
        "sys.meta_path.insert(0, Without('torchvision'))\n"
        "from image_to_mesh.inference.models.backbones import hiera, swin, timm_parts, vit\n"
        "told = {'hub': 'huggingface_hub' in sys.modules, 'compiler': 'sympy' in sys.modules,"
        "'modules': sorted(timm_parts._loaded)}"
    )
    assert not told["hub"]
    assert not told["compiler"]
    assert "timm.models.vision_transformer" in told["modules"]
    assert "timm.models.resnet" not in told["modules"]


def test_building_a_network_without_weights_imports_no_compiler():
    """``checkpoint.build`` leaves initial weights out; drawing them would import it."""
    told = told_by(USE + "told['compiler'] = 'sympy' in sys.modules")
    assert not told["compiler"]


def test_without_timm_one_sentence_says_so_and_what_is_built_in_works():
    told = told_by(
        """
sys.meta_path.insert(0, Without('timm'))
import numpy as np
from image_to_mesh.inference import pipeline
from image_to_mesh.inference.contracts import PicturePixels, Request
from image_to_mesh.inference.errors import MissingPackage
from image_to_mesh.inference.hub.catalogue import CATALOGUE
from image_to_mesh.inference.running.failures import translated_failures

rng = np.random.default_rng(0)
pixels = rng.integers(0, 90, (64, 64, 4), np.uint8)
pixels[16:52, 20:44, :3] += 120
pixels[..., 3] = 255
request = Request(PicturePixels(pixels, "Box"), detail="low", texture_size=256, device="cpu")
found = pipeline.cut_out(request, lambda share, stage: None)
told = {"mask": list(found.mask.shape), "traces": traces(), "sentences": {}}
for entry in CATALOGUE:
    try:
        with translated_failures():
            importlib.import_module(f"image_to_mesh.inference.models.{entry.module}")
    except MissingPackage as error:
        told["sentences"][entry.id] = str(error)
told["needed"] = [entry.id for entry in CATALOGUE if entry.package == "timm"]
told["packages"] = sorted({entry.package for entry in CATALOGUE})
"""
    )
    assert told["mask"] == [64, 64]
    assert told["traces"] == []
    assert told["packages"] == ["", "timm"]
    assert sorted(told["sentences"]) == sorted(told["needed"])
    assert len(told["needed"]) == 18
    assert set(told["sentences"].values()) == {
        "The Python package timm is missing: install the full Image to Mesh zip for your system,"
        " which brings it along (see the README)."
    }
