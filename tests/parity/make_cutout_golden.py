"""Make tests/data/golden/cutout.npz from the authors' code of BiRefNet, IS-Net and U2-Net.

python tests/parity/make_cutout_golden.py <BiRefNet checkout> <DIS checkout> <U-2-Net checkout>

None of them is in a package index, so what they say with weights made from their names is stored.
Made with commits 25cb930, b6764e2 and ac7e1c8 of the repositories of ZhengPeng7 and xuebinqin.
BiRefNet's own code needs einops, kornia, timm, huggingface-hub and torchvision with its operators.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
sys.path.insert(0, str(HERE))

cutout_state = importlib.import_module("cutout_state")
BACKBONES = {"birefnet_lite": ("swin_v1_t", [768, 384, 192, 96])}


def module_from(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def birefnet(checkout: Path, name: str) -> nn.Module:
    """Build the authors' class with another backbone than their default."""
    sys.path.insert(0, str(checkout))
    labels = types.ModuleType("dataset")
    labels.class_labels_TR_sorted = []  # type: ignore[attr-defined]
    sys.modules["dataset"] = labels
    config = importlib.import_module("config").Config
    backbone, channels = BACKBONES[name]
    default = config.__init__

    def init(self: Any) -> None:
        default(self)
        self.bb = backbone
        self.lateral_channels_in_collection = [2 * count for count in channels]
        self.cxt = self.lateral_channels_in_collection[1:][::-1][-3:]

    config.__init__ = init
    return importlib.import_module("models.birefnet").BiRefNet(bb_pretrained=False)


def take_on(net: nn.Module, name: str) -> nn.Module:
    state = cutout_state.published_state(name)
    own = net.state_dict()
    for key in own:
        if key.endswith("relative_position_index"):
            state[key] = own[key]
    net.load_state_dict(state)
    return net.eval()


def main() -> None:
    birefnet_folder, dis_folder, u2net_folder = map(Path, sys.argv[1:4])
    torch.set_num_threads(1)
    torch.nn.functional.upsample = torch.nn.functional.interpolate
    dis = module_from(dis_folder / "IS-Net" / "models" / "isnet.py")
    u2net = module_from(u2net_folder / "model" / "u2net.py")
    says: dict[str, Tensor] = {}
    with torch.no_grad():
        for name, net in (
            ("isnet", dis.ISNetDIS()),
            ("u2net", u2net.U2NET()),
            ("u2netp", u2net.U2NETP()),
            ("birefnet_lite", birefnet(birefnet_folder, "birefnet_lite")),
        ):
            take_on(net, name)
            for look, shape in cutout_state.LOOKS.items():
                out = net(cutout_state.look(shape))
                if name == "birefnet_lite":
                    says[f"{name}_{look}"] = out[0].sigmoid()
                else:
                    says[f"{name}_{look}"] = out[0][0] if name == "isnet" else out[0]
    step = cutout_state.STEP
    arrays = {key: value[..., ::step, ::step].numpy() for key, value in says.items()}
    np.savez_compressed(DATA / "golden" / "cutout.npz", **arrays)


if __name__ == "__main__":
    main()
