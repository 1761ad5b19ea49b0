"""The architectures of MoGe-2: read from the publisher's own description, or from the weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from torch import Tensor

from ...errors import WeightsError

LEVELS = 5

# The name that MoGe gives a backbone: width, depth, heads.
BACKBONES = {
    "dinov2_vits14": (384, 12, 6),
    "dinov2_vitb14": (768, 12, 12),
    "dinov2_vitl14": (1024, 24, 16),
}

# Backbone, blocks whose tokens are used, and residual blocks of the neck.
PUBLISHED = {
    "small": ("dinov2_vits14", (5, 11), (0, 1, 1, 1, 0)),
    "base": ("dinov2_vitb14", (5, 11), (0, 1, 1, 1, 0)),
    "large": ("dinov2_vitl14", (5, 11, 17, 23), (0, 2, 2, 2, 0)),
}


@dataclass(frozen=True, slots=True)
class StackConfig:
    """Sizes of a ``ConvStack``, level by level from coarse to fine.

    Attributes:
        inputs: Channels that come in beside the level before.
        channels: Channels of each level.
        outputs: Channels that each level gives; None passes its own on.
        blocks: Residual blocks of each level.
        resamplers: "conv_transpose" or "bilinear", between one level and the next.
    """

    inputs: tuple[int | None, ...]
    channels: tuple[int, ...]
    outputs: tuple[int | None, ...]
    blocks: tuple[int, ...]
    resamplers: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class MogeConfig:
    """Everything that differs between the published sizes.

    Attributes:
        backbone: A key of ``BACKBONES``.
        taps: Blocks of the transformer whose tokens are used.
        width: Channels that come out of the encoder.
        neck: The stack that all heads share.
        heads: The stacks of "points", "normal" and "mask", those that there are.
        scale: Widths of the perceptron that says how many metres a unit is; empty if none.
        remap: "exp" (points are x z, y z, z of x, y and the logarithm of z) or "linear".
        tokens: Least and most patches that the network was trained for.
    """

    backbone: str
    taps: tuple[int, ...]
    width: int
    neck: StackConfig
    heads: Mapping[str, StackConfig]
    scale: tuple[int, ...]
    remap: str
    tokens: tuple[int, int]


def config_from(model_config: Mapping[str, object]) -> MogeConfig:
    """Read the "model_config" that the publisher keeps beside the weights.

    Raises:
        WeightsError: It describes a network that this code does not know.
    """
    try:
        return _config_from(model_config)
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise WeightsError(
            f"The weights belong to a kind of MoGe that is not known here ({error}): choose another"
            " model in the preferences."
        ) from error


def _config_from(card: Mapping[str, object]) -> MogeConfig:
    encoder, neck = card["encoder"], card["neck"]
    assert isinstance(encoder, Mapping)
    assert isinstance(neck, Mapping)
    heads: dict[str, StackConfig] = {}
    for name in ("points", "normal", "mask"):
        head = card.get(f"{name}_head")
        if isinstance(head, Mapping):
            heads[name] = _stack_from(head)
    scale = card.get("scale_head")
    if encoder["backbone"] not in BACKBONES:
        raise ValueError(f"backbone {encoder['backbone']}")
    remap = str(card.get("remap_output", "linear"))
    if remap not in ("exp", "linear") or "points" not in heads:
        raise ValueError(f"output {remap}")
    least, most = _numbers(card.get("num_tokens_range", (1200, 3600)))
    layers = encoder["intermediate_layers"]
    if isinstance(layers, int):  # the last so many blocks
        depth = BACKBONES[encoder["backbone"]][1]
        layers = range(depth - layers, depth)
    return MogeConfig(
        backbone=encoder["backbone"],
        taps=tuple(int(layer) for layer in layers),
        width=int(encoder["dim_out"]),
        neck=_stack_from(neck),
        heads=heads,
        scale=_numbers(scale["dims"]) if isinstance(scale, Mapping) else (),
        remap=remap,
        tokens=(least, most),
    )


def _numbers(values: object) -> tuple[int, ...]:
    if not isinstance(values, Sequence):
        raise TypeError(f"{values} is not a list")
    return tuple(int(value) for value in values)


def _stack_from(card: Mapping[str, object]) -> StackConfig:
    channels = _numbers(card["dim_res_blocks"])
    if len(channels) != LEVELS:
        raise ValueError(f"{len(channels)} levels")
    for norm in ("res_block_in_norm", "res_block_hidden_norm"):
        if card.get(norm) != "none":
            raise ValueError(f"{norm} {card.get(norm)}")
    if card.get("activation", "relu") != "relu" or card.get("dim_times_res_block_hidden", 1) != 1:
        raise ValueError("blocks of another kind")

    def per_level(value: object) -> tuple[int | None, ...]:
        if isinstance(value, Sequence):
            return tuple(None if v is None else int(v) for v in value)
        return ((None if value is None else int(str(value))),) * LEVELS

    kinds = card["resamplers"]
    resamplers = (kinds,) * (LEVELS - 1) if isinstance(kinds, str) else kinds
    if not isinstance(resamplers, Sequence) or {*resamplers} - {"conv_transpose", "bilinear"}:
        raise ValueError(f"resamplers {kinds}")
    blocks = card.get("num_res_blocks", 1)
    return StackConfig(
        inputs=per_level(card["dim_in"]),
        channels=channels,
        outputs=per_level(card["dim_out"]),
        blocks=_numbers(blocks) if isinstance(blocks, Sequence) else (int(str(blocks)),) * LEVELS,
        resamplers=tuple(str(kind) for kind in resamplers),
    )


def published_config(size: str, heads: Sequence[str] = ("points", "normal", "mask")) -> MogeConfig:
    """The architecture of a published network.

    Args:
        size: "small", "base" or "large".
        heads: What it predicts.
    """
    backbone, taps, neck_blocks = PUBLISHED[size]
    width = BACKBONES[backbone][0]
    channels = (width, 256, 128, 64, 32)
    ups = ("conv_transpose", "conv_transpose", "conv_transpose", "bilinear")
    blocks = (0, 1, 1, 1, 0)

    def head(outputs: int) -> StackConfig:
        return StackConfig(channels, channels, (None, None, None, None, outputs), blocks, ups)

    return MogeConfig(
        backbone=backbone,
        taps=taps,
        width=width,
        neck=StackConfig((width + 2, 2, 2, 2, 2), channels, (None,) * LEVELS, neck_blocks, ups),
        heads={name: head(1 if name == "mask" else 3) for name in heads},
        scale=(width, width, width, 1),
        remap="exp",
        tokens=(1200, 3600),
    )


def config_of(state: Mapping[str, Tensor]) -> MogeConfig:
    """The configuration of published weights whose "model_config" was lost in conversion.

    Raises:
        WeightsError: No published network has these weights.
    """
    found = state.get("encoder.backbone.norm.weight")
    for size, (backbone, _, _) in PUBLISHED.items():
        if found is not None and len(found) == BACKBONES[backbone][0]:
            heads = ("points", "normal", "mask")
            return published_config(
                size, [h for h in heads if any(key.startswith(f"{h}_head.") for key in state)]
            )
    raise WeightsError(
        "The weights file belongs to another network than MoGe-2: delete the model in the"
        " preferences and download it again."
    )
