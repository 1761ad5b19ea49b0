"""The networks that ``models.py`` times, each with its reference. A new port adds one entry to PORTS.

``port.py`` says what a row is.
"""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .port import TESTS, Port, Published, State, as_loaded, module_in, network, taken_on

sys.path.append(str(TESTS / "parity"))
import make_moge_golden as golden


def _quiet() -> None:
    """The report of a network that nobody wants to stop."""


# --- Depth Anything V2: transformers at the trained size, where both resample positions alike ---


def _depth_anything(size: str) -> Port:
    width, heads, channels, features = {
        "small": (384, 6, [48, 96, 192, 384], 64),
        "base": (768, 12, [96, 192, 384, 768], 128),
    }[size]

    def ours(state: State) -> nn.Module:
        module = network("depth.depth_anything")
        mapped = module.map_checkpoint(state)
        return taken_on(lambda: module.DepthAnythingNet(module.VARIANTS[size]), mapped)

    def reference() -> nn.Module:
        import transformers

        backbone = transformers.Dinov2Config(
            image_size=518,
            patch_size=14,
            hidden_size=width,
            num_attention_heads=heads,
            num_hidden_layers=12,
            out_features=["stage3", "stage6", "stage9", "stage12"],
            reshape_hidden_states=False,
            apply_layernorm=True,
        )
        config = transformers.DepthAnythingConfig(
            backbone_config=backbone,
            reassemble_hidden_size=width,
            patch_size=14,
            neck_hidden_sizes=channels,
            fusion_hidden_size=features,
        )
        return transformers.DepthAnythingForDepthEstimation(config)

    def keep_the_last_relu_open(state: State) -> None:
        last = "head.conv3" if "head.conv3.bias" in state else "depth_head.scratch.output_conv2.2"
        state[f"{last}.bias"] += 3.0

    return Port(
        name=f"Depth Anything V2 {size.capitalize()}",
        model=f"depth-anything-v2-{size}",
        shape=(1, 3, 518, 518),
        ours=ours,
        ask=lambda net, x: net(x).relu(),
        keys=f"depth_anything_v2_{size}",
        reference=reference,
        ask_reference=lambda net, x: net(pixel_values=x).predicted_depth,
        needs=("transformers",),
        change=keep_the_last_relu_open,
    )


# --- MoGe-2: the authors' class, at as many patches as the picture has -----------------------------


def _moge(size: str) -> Port:
    patches = 37 * 37

    def reference() -> nn.Module:
        sys.modules.setdefault("utils3d", ModuleType("utils3d"))  # the network needs nothing of it
        return importlib.import_module("moge.model.v2").MoGeModel(**golden.configuration(size))

    def calm(state: State) -> None:
        golden.calm(state)

    def ask(net: Any, x: Tensor) -> Tensor:
        found = net(x.sigmoid(), patches, _quiet)
        found.pop("scale")
        full = {
            key: F.interpolate(value.float(), x.shape[2:], mode="bilinear", align_corners=False)
            for key, value in found.items()
        }
        full["points"][:, 2] = full["points"][:, 2].exp()
        full["points"][:, :2] *= full["points"][:, 2:]
        return full["points"]

    def ours(state: State) -> nn.Module:
        module = network("depth.moge")
        mapped = module.map_checkpoint(state)
        return taken_on(lambda: module.MogeNet(module.config_of(mapped)), mapped)

    return Port(
        name=f"MoGe-2 {size.capitalize()}",
        model={"small": "moge-2-vits", "base": "moge-2-vitb", "large": "moge-2-vitl"}[size],
        shape=(1, 3, 518, 518),
        ours=ours,
        ask=ask,
        keys=f"moge_2_{size}",
        reference=reference,
        ask_reference=lambda net, x: net(x.sigmoid(), patches)["points"].permute(0, 3, 1, 2),
        needs=("moge", "torchvision", "huggingface_hub"),
        change=calm,
        is_heavy=size == "large",
    )


# --- Depth Anything 3, two views; the authors' code ------------------------------------------------


def keep_depth_in_range(state: State) -> None:
    """Depth is an exponential: large logits would show rounding alone."""
    for key, value in state.items():
        if key.endswith("scratch.output_conv2.2.weight"):
            value *= 0.01


def _depth_anything_3(size: str) -> Port:
    def ours(state: State) -> nn.Module:
        module = network("depth.depth_anything_3")
        return taken_on(lambda: module.ViewsNet(size), module.map_checkpoint(state))

    def reference() -> nn.Module:
        from depth_anything_3.cfg import create_object, load_config
        from depth_anything_3.registry import MODEL_REGISTRY

        return create_object(load_config(MODEL_REGISTRY[f"da3-{size}"]))

    return Port(
        name=f"Depth Anything 3 {size.capitalize()}, 2 pictures",
        model=f"da3-{size}",
        shape=(2, 3, 378, 504),
        ours=ours,
        ask=lambda net, x: net(x, _quiet, 4)[0],
        keys=f"depth_anything_3_{size}",
        reference=reference,
        ask_reference=lambda net, x: net(x[None].clone()).depth[0],
        needs=("depth_anything_3", "addict", "einops", "omegaconf"),
        change=keep_depth_in_range,
        is_heavy=size == "base",
    )


# --- Real-ESRGAN ----------------------------------------------------------------------------------


def _upscaler(
    name: str,
    model: str,
    keys: str,
    side: int,
    architecture: str,
    make: Callable[[Any], nn.Module],
) -> Port:
    def ours(state: State) -> nn.Module:
        return as_loaded("pixels.realesrgan", state)

    return Port(
        name=name,
        model=model,
        shape=(1, 3, side, side),
        ours=ours,
        ask=lambda net, x: net(x.sigmoid(), _quiet),
        keys=keys,
        reference=lambda: make(importlib.import_module(f"spandrel.architectures.{architecture}")),
        ask_reference=lambda net, x: net(x.sigmoid()),
        needs=("spandrel",),
    )


# --- cut-outs and filling: batch norms folded and convolutions channels-last, as from a file ------


def _cut_out(
    name: str,
    model: str,
    keys: str,
    side: int,
    file: tuple[str, str, str] | None = None,
    answer: Callable[[Any], Tensor] = lambda said: said,
) -> Port:
    """Make a row of a network for cut-outs; ``file`` is a package, a file in it and a class."""

    def reference() -> nn.Module:
        assert file is not None
        package, place, kind = file
        return getattr(module_in(package, place), kind)()

    return Port(
        name=name,
        model=model,
        shape=(1, 3, side, side),
        ours=lambda state: as_loaded(
            "cut_out.birefnet" if "birefnet" in model else "cut_out.isnet", state
        ),
        ask=lambda net, x: net(x, _quiet).sigmoid(),
        keys=keys,
        reference=None if file is None else reference,
        ask_reference=lambda net, x: answer(net(x)),
        needs=() if file is None else (file[0], "torchvision"),
        change=_settle_windows,
        is_heavy=side > 512,
    )


def _settle_windows(state: State) -> None:
    for key in [key for key in state if key.endswith("relative_position_index")]:
        del state[key]


def _lama() -> Port:
    def keep_the_blocks_calm(state: State) -> None:
        for key in state:
            if key.endswith(("bn_l.weight", "bn_g.weight")):
                state[key] *= 0.35  # thirty-six in a row would drive every pixel to black or white

    return Port(
        name="LaMa",
        model="big-lama",
        shape=(1, 4, 256, 256),
        ours=lambda state: as_loaded("pixels.lama", state),
        ask=lambda net, x: net(x[:, :3].sigmoid(), (x[:, 3:] > 1).to(x.dtype), _quiet),
        keys="big_lama",
        reference=lambda: importlib.import_module("spandrel.architectures.LaMa").LaMa(
            in_nc=4, out_nc=3
        ),
        ask_reference=lambda net, x: net.model(
            x[:, :3].sigmoid() * (x[:, 3:] <= 1), (x[:, 3:] > 1).to(x.dtype)
        ),
        needs=("spandrel",),
        change=keep_the_blocks_calm,
    )


# --- SAM 2.1: a look at the picture and one click ----------------------------------------------------


def _sam2(size: str) -> Port:
    def reference() -> nn.Module:
        import transformers

        stages, whole = {
            "tiny": ([1, 2, 7, 2], [5, 7, 9]),
            "small": ([1, 2, 11, 2], [7, 10, 13]),
        }[size]
        backbone = transformers.Sam2HieraDetConfig(
            blocks_per_stage=stages, global_attention_blocks=whole
        )
        vision = transformers.Sam2VisionConfig(backbone_config=backbone)
        return transformers.Sam2Model(transformers.Sam2Config(vision_config=vision))

    def share_the_matrix(state: State) -> None:
        own = "prompt_encoder.shared_embedding.positional_embedding"
        if own in state:  # the published .pt holds it once
            state["shared_image_embedding.positional_embedding"] = state[own]

    def ask(net: Any, x: Tensor) -> Tensor:
        place = torch.full((1, 2), 0.5 + 0.5 / x.shape[3], device=x.device)
        return net.answer(net.look(x, _quiet), place, [1])[0][1:]

    def ask_reference(net: Any, x: Tensor) -> Tensor:
        point = torch.full((1, 1, 1, 2), 0.5 * x.shape[3], device=x.device, dtype=x.dtype)
        return net(x, input_points=point).pred_masks[0, 0]

    return Port(
        name=f"SAM 2.1 {size.capitalize()}, one click",
        model=f"sam-2-1-{size}",
        shape=(1, 3, 1024, 1024),
        ours=lambda state: as_loaded("cut_out.sam2", state),
        ask=ask,
        keys=f"sam2_1_{size}",
        reference=reference,
        ask_reference=ask_reference,
        needs=("transformers",),
        change=share_the_matrix,
        is_heavy=size == "small",
    )


PORTS: list[Port] = [
    _depth_anything("small"),
    _depth_anything("base"),
    _moge("small"),
    _moge("base"),
    _moge("large"),
    _depth_anything_3("small"),
    _depth_anything_3("base"),
    _upscaler(
        "Real-ESRGAN General x4v3",
        "realesr-general-x4v3",
        "realesr_general_x4v3",
        128,
        "Compact.__arch.SRVGG",
        lambda a: a.SRVGGNetCompact(num_feat=64, num_conv=32, upscale=4, act_type="prelu"),
    ),
    _upscaler(
        "Real-ESRGAN x4plus",
        "realesrgan-x4plus",
        "realesrgan_x4plus",
        48,
        "ESRGAN",
        lambda a: Published("realesrgan_x4plus", lambda state: a.ESRGANArch().load(state).model),
    ),
    _lama(),
    _sam2("tiny"),
    _sam2("small"),
    _cut_out(
        *("IS-Net", "isnet", "isnet", 1024),
        file=("dis_inference", "models/isnet.py", "ISNetDIS"),
        answer=lambda said: said[0][0],
    ),
    _cut_out(
        *("U2-Net P", "u2netp", "u2netp", 320),
        file=("backgroundremover", "u2net/u2net.py", "U2NETP"),
        answer=lambda said: said[0],
    ),
    _cut_out("BiRefNet Lite", "birefnet-lite", "birefnet_lite", 1024),
    _cut_out("BiRefNet", "birefnet", "birefnet", 1024),
]
