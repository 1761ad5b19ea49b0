"""Make tests/data/golden/moge.npz and the key lists of MoGe-2 from the authors' code.

python tests/parity/make_moge_golden.py <MoGe checkout>

The project is in no package index, so what it says with weights made from their names is stored.
Made with commit 0744441 of github.com/microsoft/MoGe; its utils3d is not needed for the network.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import types
from pathlib import Path

import numpy as np
import torch

HERE = Path(__file__).parent
DATA = HERE.parent / "data"
SIZES = {
    "small": ("dinov2_vits14", 384, [5, 11], 1),
    "base": ("dinov2_vitb14", 768, [5, 11], 1),
    "large": ("dinov2_vitl14", 1024, [5, 11, 17, 23], 2),
}
LOOKS = {"wide": (60, 80, 60), "tall": (97, 53, 40)}
STEP = 4


def configuration(size: str) -> dict:
    """The "model_config" of a published file.

    That of the large network is the one it was trained with (configs/train/v2.json); the others
    differ in width, taps and the neck's blocks, and the sizes of their files agree.
    """
    backbone, width, taps, blocks = SIZES[size]
    channels = [width, 256, 128, 64, 32]
    stack = {
        "dim_res_blocks": channels,
        "res_block_in_norm": "none",
        "res_block_hidden_norm": "none",
        "resamplers": ["conv_transpose", "conv_transpose", "conv_transpose", "bilinear"],
    }
    card: dict = {
        "encoder": {"backbone": backbone, "intermediate_layers": taps, "dim_out": width},
        "neck": {
            **stack,
            "dim_in": [width + 2, 2, 2, 2, 2],
            "dim_out": None,
            "num_res_blocks": [0, blocks, blocks, blocks, 0],
        },
        "scale_head": {"dims": [width, width, width, 1]},
        "remap_output": "exp",
        "num_tokens_range": [1200, 3600],
    }
    for name, outputs in (("points", 3), ("normal", 3), ("mask", 1)):
        card[f"{name}_head"] = {
            **stack,
            "dim_in": channels,
            "dim_out": [None, None, None, None, outputs],
            "num_res_blocks": [0, 1, 1, 1, 0],
        }
    return card


def calm(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """Keep random weights from growing level by level, and the points near the camera."""
    for key, value in state.items():
        if key.endswith("image_mean"):
            state[key] = torch.tensor([0.485, 0.456, 0.406])[None, :, None, None]
        elif key.endswith("image_std"):
            state[key] = torch.tensor([0.229, 0.224, 0.225])[None, :, None, None]
        elif value.ndim == 4 and not key.startswith("encoder."):
            state[key] = value * (0.05 if ".output_blocks." in key else 0.7)
    return state


def picture(height: int, width: int) -> np.ndarray:
    """(height, width, 3) float32 from 0 to 1, the same everywhere."""
    return np.random.default_rng(height).random((height, width, 3), np.float32)


def main() -> None:
    sys.modules["utils3d"] = types.ModuleType("utils3d")
    hub = types.ModuleType("huggingface_hub")
    hub.hf_hub_download = None  # type: ignore[attr-defined]
    sys.modules.setdefault("huggingface_hub", hub)
    sys.path.insert(0, sys.argv[1])
    from moge.model.v2 import MoGeModel  # type: ignore[import-not-found]

    spec = importlib.util.spec_from_file_location("weights", HERE / "conftest.py")
    assert spec is not None
    assert spec.loader is not None
    weights = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(weights)

    net = MoGeModel(**configuration("small")).eval()
    shapes = {key: tuple(value.shape) for key, value in net.state_dict().items()}
    net.load_state_dict(calm({k: weights._seeded(k, v) for k, v in shapes.items()}))
    found: dict[str, np.ndarray] = {}
    for name, (height, width, tokens) in LOOKS.items():
        image = torch.from_numpy(picture(height, width)).permute(2, 0, 1)[None]
        with torch.inference_mode():
            said = net(image, tokens)
        for kind in ("points", "normal", "mask"):
            found[f"{name}_{kind}"] = said[kind][0, ::STEP, ::STEP].numpy()
        found[f"{name}_metres"] = said["metric_scale"].numpy()
    (DATA / "golden").mkdir(exist_ok=True)
    np.savez_compressed(DATA / "golden" / "moge.npz", **found)

    for size in SIZES:
        net = MoGeModel(**configuration(size))
        rows = ",\n".join(
            f"{json.dumps(key)}: {json.dumps(list(value.shape), separators=(',', ':'))}"
            for key, value in net.state_dict().items()
        )
        source = (
            f"moge-2-vit{size[0]}-normal model.pt: state_dict of the authors' class"
            " (tests/parity/make_moge_golden.py)"
        )
        text = f'{{"source": {json.dumps(source)},\n"shapes": {{\n{rows}\n}}}}\n'
        (DATA / "keys" / f"moge_2_{size}.json").write_text(text)


if __name__ == "__main__":
    main()
