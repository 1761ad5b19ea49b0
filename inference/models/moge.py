"""MoGe-2 (Wang et al. 2025): points, normals, field of view and size of everything in one picture.

The network gives an affine point map (right up to a shift along the view axis and the focal
length), a mask of what has a finite depth, normals, and how many metres a unit is. The camera is
recovered from the points themselves, or taken as known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import WeightsError
from .checkpoint import build, read, take_on
from .vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer, token_map

Floats = NDArray[np.float32]
Report = Callable[[], None]

PATCH = 14
LEVELS = 5
FIT_SIDE = 64  # points per side that the camera is recovered from
FLAT = 100.0  # points without perspective are moved away by at most this many times their depth
LIKELY_FOV = math.radians(60.0)  # of the diagonal, where points say nothing about the camera

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


@dataclass(frozen=True, slots=True)
class PointMap:
    """Geometry of a picture in the camera's frame (OpenCV axes), row 0 on top.

    Attributes:
        points: (H, W, 3) float32; metres if ``is_metric``. On the rays of a pinhole camera whose
            principal point is the picture's middle. Finite everywhere, meaningful where ``valid``.
        depth: (H, W) float32 > 0, their z.
        normals: (H, W, 3) float32 unit normals, z < 0 towards the viewer; None if the network
            has no head for them.
        valid: (H, W) bool; False for sky and what else has no depth.
        fov_x: Horizontal field of view in radians, found or as given.
        is_metric: Whether the unit is the metre.
    """

    points: Floats
    depth: Floats
    normals: Floats | None
    valid: NDArray[np.bool_]
    fov_x: float
    is_metric: bool


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the network says of one picture, at its size.

    Attributes:
        points: (3, H, W) float32 affine point map.
        normals: (3, H, W) float32 of any length, or None.
        mask: (1, H, W) float32 logits of being at a finite distance, or None.
        metres: Metres per unit, or None.
    """

    points: Floats
    normals: Floats | None
    mask: Floats | None
    metres: float | None


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions beside an identity; ``layers`` has the published numbering."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.ModuleDict(
            {"2": _conv3(channels, channels), "5": _conv3(channels, channels)}
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.layers["5"](self.layers["2"](x.relu()).relu_()).add_(x)


class SmoothConv(nn.Conv2d):
    """A 3x3 convolution that continues the picture's border outwards."""

    def forward(self, input: Tensor) -> Tensor:
        return F.conv2d(F.pad(input, (1, 1, 1, 1), mode="replicate"), self.weight, self.bias)


def _conv3(inputs: int, outputs: int) -> SmoothConv:
    return SmoothConv(inputs, outputs, 3)


class Resampler(nn.Module):
    """Twice the size; children have the published numbering."""

    def __init__(self, inputs: int, outputs: int, kind: str) -> None:
        super().__init__()
        if kind == "conv_transpose":
            self.add_module("0", nn.ConvTranspose2d(inputs, outputs, 2, stride=2))
            self.add_module("1", _conv3(outputs, outputs))
        else:
            self.add_module("1", _conv3(inputs, outputs))
        self.is_learned = kind == "conv_transpose"

    def forward(self, x: Tensor) -> Tensor:
        if self.is_learned:
            x = self.get_submodule("0")(x)
        else:
            x = F.interpolate(x, scale_factor=2.0, mode="bilinear", align_corners=False)
        return self.get_submodule("1")(x)


class ConvStack(nn.Module):
    """A pyramid from coarse to fine."""

    def __init__(self, config: StackConfig) -> None:
        super().__init__()

        def plain(inputs: int | None, outputs: int | None) -> nn.Module:
            if inputs is None or outputs is None:
                return nn.Identity()
            return nn.Conv2d(inputs, outputs, 1)

        pairs = list(zip(config.channels, config.channels[1:], config.resamplers, strict=False))
        self.input_blocks = nn.ModuleList(
            plain(i, c) for i, c in zip(config.inputs, config.channels, strict=True)
        )
        self.resamplers = nn.ModuleList(Resampler(a, b, kind) for a, b, kind in pairs)
        self.res_blocks = nn.ModuleList(
            nn.Sequential(*(ResidualBlock(c) for _ in range(n)))
            for c, n in zip(config.channels, config.blocks, strict=True)
        )
        self.output_blocks = nn.ModuleList(
            plain(c, o) for c, o in zip(config.channels, config.outputs, strict=True)
        )

    def forward(
        self, inputs: Sequence[Tensor], report: Report, is_last_only: bool = False
    ) -> list[Tensor]:
        """One map per level, or only the finest, which is float32 then."""
        outputs: list[Tensor] = []
        x: Tensor | None = None
        for level, blocks in enumerate(self.res_blocks):
            report()
            beside = self.input_blocks[level](inputs[level])
            x = beside if x is None else x.add_(beside)
            x = blocks(x)
            assert x is not None
            last = self.output_blocks[level]
            if not is_last_only:
                outputs.append(last(x))
            elif level == LEVELS - 1:
                outputs.append(_exactly(last, x))
            if level < LEVELS - 1:
                report()
                x = self.resamplers[level](x)
        return outputs


def _exactly(layer: nn.Module, x: Tensor) -> Tensor:
    """A 1x1 convolution in float32: half precision would turn smooth depth into terraces."""
    if isinstance(layer, nn.Conv2d) and layer.bias is not None:
        return F.conv2d(x.float(), layer.weight.float(), layer.bias.float())
    return layer(x).float()


class Encoder(nn.Module):
    """DINOv2 and the sum of projections of what its blocks say."""

    def __init__(self, config: MogeConfig) -> None:
        super().__init__()
        width, depth, heads = BACKBONES[config.backbone]
        self.taps = config.taps
        self.backbone = VisionTransformer(PATCH, width, depth, heads, grid=37)
        self.output_projections = nn.ModuleList(
            nn.Conv2d(width, config.width, 1) for _ in config.taps
        )
        self.image_mean = nn.Buffer(torch.tensor(IMAGENET_MEAN)[None, :, None, None])
        self.image_std = nn.Buffer(torch.tensor(IMAGENET_STD)[None, :, None, None])

    def forward(
        self, images: Tensor, rows: int, columns: int, report: Report
    ) -> tuple[Tensor, Tensor]:
        """(B, 3, H, W) from 0 to 1 -> (B, width, rows, columns) and the class tokens (B, D)."""
        size = (rows * PATCH, columns * PATCH)
        # Scaling with antialiasing exists in full precision only.
        x = F.interpolate(images.float(), size, mode="bilinear", antialias=True)
        x = ((x - self.image_mean) / self.image_std).to(self.backbone.cls_token.dtype)
        found = self.backbone.forward_features(x, self.taps, report)
        total: Tensor | None = None
        for tokens, project in zip(found, self.output_projections, strict=True):
            assert isinstance(project, nn.Conv2d)
            part = F.linear(tokens, project.weight.flatten(1), project.bias)
            total = part if total is None else total.add_(part)
        assert total is not None
        return token_map(total, rows, columns), found[-1][:, 0]


class MogeNet(nn.Module):
    """The network; parameters are named as in the published files."""

    def __init__(self, config: MogeConfig) -> None:
        super().__init__()
        self.config = config
        self.encoder = Encoder(config)
        self.neck = ConvStack(config.neck)
        for name, stack in config.heads.items():
            self.add_module(f"{name}_head", ConvStack(stack))
        if config.scale:
            layers: list[nn.Module] = []
            for inputs, outputs in zip(config.scale, config.scale[1:], strict=False):
                layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            self.scale_head = nn.Sequential(*layers[:-1])

    def forward(self, images: Tensor, tokens: int, report: Report) -> dict[str, Tensor]:
        """Look at pictures.

        Args:
            images: (B, 3, H, W) sRGB from 0 to 1.
            tokens: About as many patches are used.
            report: Called between blocks; raises to cancel.

        Returns:
            "points" (B, 3, h, w), "normal" (B, 3, h, w), "mask" (B, 1, h, w) before enlarging to
            the pictures' size and before any activation, and "scale" (B,) in metres per unit;
            those that the network has.
        """
        height, width = images.shape[2:]
        rows, columns = token_grid(height, width, tokens)
        x, summary = self.encoder(images, rows, columns, report)
        inputs: list[Tensor] = []
        for level in range(LEVELS):
            places = plane_coordinates(rows * 2**level, columns * 2**level, width / height, x)
            places = places.expand(len(images), -1, -1, -1)
            inputs.append(torch.cat([x, places], 1) if level == 0 else places)
        shared = self.neck(inputs, report)
        found: dict[str, Tensor] = {}
        for name in self.config.heads:
            head = self.get_submodule(f"{name}_head")
            found[name] = head(shared, report, is_last_only=True)[0]
        if self.config.scale:
            found["scale"] = self.scale_head(summary)[:, 0].float().exp()
        return found


def token_grid(height: int, width: int, tokens: int) -> tuple[int, int]:
    """Rows and columns of about ``tokens`` square patches in a picture's shape."""
    aspect = width / height
    return max(1, round(math.sqrt(tokens / aspect))), max(1, round(math.sqrt(tokens * aspect)))


def plane_coordinates(rows: int, columns: int, aspect: float, like: Tensor) -> Tensor:
    """(1, 2, rows, columns) x and y of pixel centres; the picture's half diagonal is 1."""
    diagonal = math.sqrt(1 + aspect * aspect)
    x, y = (
        torch.linspace(-1 + 1 / n, 1 - 1 / n, n, device=like.device) * span
        for n, span in ((columns, aspect / diagonal), (rows, 1 / diagonal))
    )
    return torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)])[None].to(like.dtype)


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a published state (the "model" of model.pt) to the names of ``MogeNet``."""
    return {key: value for key, value in state.items() if not key.endswith(".mask_token")}


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


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> Moge:
    """Load a network of any of the published sizes.

    Args:
        path: A .safetensors file; its metadata may hold the publisher's "model_config" as JSON,
            under that name or "config".
        device: Where to run.
        dtype: float32, bfloat16 or float16.

    Raises:
        WeightsError: The file is missing, damaged or of another network.
    """
    content = read(path)
    state = map_checkpoint(content.tensors)
    card = content.metadata.get("model_config", content.metadata.get("config"))
    config = config_of(state) if card is None else config_from(json.loads(card))
    net = build(lambda: MogeNet(config))
    take_on(net, state, path, device, dtype)
    return Moge(net)


class Moge:
    """A loaded network; make it with ``load``."""

    def __init__(self, net: MogeNet) -> None:
        self._net = net

    @property
    def is_metric(self) -> bool:
        """Whether it says metres."""
        return bool(self._net.config.scale)

    def estimate(
        self,
        rgb: Floats,
        report: Report,
        *,
        fov_x: float | None = None,
        quality: float = 1.0,
        tokens: int | None = None,
    ) -> PointMap:
        """Estimate the geometry of a picture of any size.

        Args:
            rgb: (H, W, 3) sRGB from 0 to 1.
            report: Called at least between blocks; raises to cancel.
            fov_x: Horizontal field of view in radians if it is known.
            quality: 0 to 1, from the least to the most patches that the network was trained for.
            tokens: The number of patches itself; for less memory than quality 0 takes.
        """
        return self.estimate_batch(
            [rgb], report, fov_x=fov_x, quality=quality, tokens=tokens, chunk=1
        )[0]

    def estimate_batch(
        self,
        pictures: Sequence[Floats],
        report: Report,
        *,
        fov_x: float | None = None,
        quality: float = 1.0,
        tokens: int | None = None,
        chunk: int = 4,
    ) -> list[PointMap]:
        """Estimate many pictures; those of one size go through the network together.

        Args:
            pictures: Each (H, W, 3) sRGB from 0 to 1.
            report: Called between blocks; raises to cancel.
            fov_x: Horizontal field of view of all of them in radians if it is known.
            quality: See ``estimate``.
            tokens: See ``estimate``.
            chunk: Most pictures at once.
        """
        least, most = self._net.config.tokens
        count = tokens if tokens is not None else int(least + quality * (most - least))
        groups: dict[tuple[int, ...], list[int]] = {}
        for index, rgb in enumerate(pictures):
            groups.setdefault(rgb.shape, []).append(index)
        found: dict[int, PointMap] = {}
        for members in groups.values():
            for start in range(0, len(members), chunk):
                part = members[start : start + chunk]
                maps = self._look([pictures[i] for i in part], count, report)
                for index, one in zip(part, maps, strict=True):
                    report()
                    found[index] = geometry(one, fov_x)
        return [found[index] for index in range(len(pictures))]

    def _look(self, pictures: Sequence[Floats], tokens: int, report: Report) -> list[Prediction]:
        weight = self._net.encoder.backbone.cls_token
        size = pictures[0].shape[:2]
        stack = np.stack([np.ascontiguousarray(rgb.transpose(2, 0, 1)) for rgb in pictures])
        with torch.inference_mode():
            images = torch.from_numpy(stack).to(weight.device)
            found = self._net(images, tokens, report)
            scales = found.pop("scale", None)
            results: list[Prediction] = []
            for index in range(len(pictures)):
                maps: dict[str, Floats] = {}
                for name, value in found.items():
                    report()
                    one = value[index : index + 1].float()
                    full = F.interpolate(one, size, mode="bilinear", align_corners=False)
                    maps[name] = full[0].cpu().numpy()
                points = maps["points"]
                if self._net.config.remap == "exp":
                    np.exp(points[2], out=points[2])
                    points[:2] *= points[2]
                metres = None if scales is None else float(scales[index])
                results.append(Prediction(points, maps.get("normal"), maps.get("mask"), metres))
        return results


def geometry(prediction: Prediction, fov_x: float | None = None) -> PointMap:
    """Turn what the network says into points seen by a camera.

    Args:
        prediction: Of one picture.
        fov_x: Known horizontal field of view in radians.
    """
    points, normals, mask = prediction.points, prediction.normals, prediction.mask
    metres = prediction.metres
    height, width = points.shape[1:]
    valid = np.ones((height, width), np.bool_) if mask is None else mask[0] > 0
    aspect = width / height
    diagonal = math.sqrt(1 + aspect * aspect)
    known = None if fov_x is None else aspect / diagonal / math.tan(fov_x / 2)
    focal, shift = recover_camera(points, valid, known)
    depth = points[2] + np.float32(shift)
    valid = valid & (depth > 0)
    nearest = float(depth[valid].min()) if valid.any() else 1.0
    depth = np.maximum(depth, np.float32(0.5 * nearest)) * np.float32(metres or 1.0)
    x = (np.arange(width, dtype=np.float32) + 0.5) / width * 2 - 1
    y = (np.arange(height, dtype=np.float32) + 0.5) / height * 2 - 1
    rays_x = x * np.float32(aspect / diagonal / focal)
    rays_y = y * np.float32(1 / diagonal / focal)
    seen = np.stack([depth * rays_x[None, :], depth * rays_y[:, None], depth], -1)
    directions = None
    if normals is not None:
        length = np.sqrt(np.einsum("chw,chw->hw", normals, normals))
        directions = np.moveaxis(normals / np.maximum(length, 1e-12), 0, -1)
        directions = np.ascontiguousarray(directions, dtype=np.float32)
    return PointMap(
        points=seen.astype(np.float32),
        depth=depth.astype(np.float32),
        normals=directions,
        valid=valid,
        fov_x=2 * math.atan(aspect / diagonal / focal),
        is_metric=metres is not None,
    )


def recover_camera(
    points: NDArray[np.float32], valid: NDArray[np.bool_], focal: float | None = None
) -> tuple[float, float]:
    """Find the shift along the view axis, and the focal length, that put points on their pixels.

    Minimises |f (x, y) / (z + s) - (u, v)|^2 over s, where the best f for each s is known in
    closed form, by Gauss-Newton steps with damping (Levenberg 1944), on at most 64 x 64 points.

    Args:
        points: (3, H, W).
        valid: (H, W) points to use.
        focal: Known focal length in half diagonals of the picture.

    Returns:
        Focal length in half diagonals, and the shift; a usual lens and the least shift where
        the points say nothing.
    """
    height, width = valid.shape
    rows = (np.arange(min(FIT_SIDE, height)) * max(1.0, height / FIT_SIDE)).astype(int)
    columns = (np.arange(min(FIT_SIDE, width)) * max(1.0, width / FIT_SIDE)).astype(int)
    diagonal = math.hypot(height, width)
    u = (2 * columns + 1 - width) / diagonal
    v = (2 * rows + 1 - height) / diagonal
    used = valid[np.ix_(rows, columns)]
    x, y, z = (p[np.ix_(rows, columns)][used].astype(np.float64) for p in points)
    target = np.stack(np.meshgrid(u, v), -1)[used]
    likely = 1 / math.tan(LIKELY_FOV / 2)
    if len(z) < 2 or not np.square(target).sum() * (np.square(x) + np.square(y)).sum() > 0:
        return focal if focal is not None else likely, 0.0
    side = np.stack([x, y], -1)
    closest, furthest = float(z.min()), FLAT * float(np.abs(z).max())

    def fit(shift: float) -> tuple[float, NDArray[np.float64], NDArray[np.float64]]:
        """Best focal length, residuals, and their derivative by the shift."""
        depth = (z + shift)[:, None]
        seen = side / depth
        moved = -seen / depth
        power = float((seen * seen).sum())
        if focal is not None:
            return focal, focal * seen - target, focal * moved
        best = float((seen * target).sum()) / power
        change = (float((moved * target).sum()) - 2 * best * float((seen * moved).sum())) / power
        return best, best * seen - target, best * moved + change * seen

    shift, damping = 0.0, 1e-3
    if closest <= 0:  # start with everything in front of the camera
        shift = -closest + 0.1 * float(np.ptp(z) + 1e-6)
    start = shift
    best, rest, slope = fit(shift)
    error = float((rest * rest).sum())
    for _ in range(60):
        steep = float((slope * slope).sum())
        step = -float((slope * rest).sum()) / (steep * (1 + damping) + 1e-30)
        trial = shift + step
        if trial + closest <= 0.02 * (shift + closest):  # stay in front of the camera
            trial = 0.5 * (shift - closest)
        trial = min(trial, furthest)
        found = fit(trial)
        changed = float((found[1] * found[1]).sum())
        if changed < error:
            is_done = error - changed < 1e-10 * error
            shift, (best, rest, slope), error = trial, found, changed
            damping = max(damping / 10, 1e-9)
            if is_done:
                break
        else:
            damping = max(damping * 10, 1e-6)
            if damping > 1e9:
                break
    is_flat = focal is None and shift > 0.9 * furthest
    if is_flat or not math.isfinite(best) or best <= 0:
        return focal if focal is not None else likely, max(0.0, start)
    return best, shift
