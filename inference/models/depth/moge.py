"""MoGe-2 (Wang et al. 2025): points, normals, field of view and size of everything in one picture.

The network gives an affine point map (right up to a shift along the view axis and the focal
length), a mask of what has a finite depth, normals, and how many metres a unit is. The camera is
recovered from the points themselves, or taken as known.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ..backbones.vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer, token_map
from ..checkpoint import build, read, take_on
from .moge_camera import PointMap, Prediction, geometry
from .moge_config import BACKBONES, LEVELS, MogeConfig, StackConfig, config_from, config_of

Floats = NDArray[np.float32]
Report = Callable[[], None]

PATCH = 14


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
        found = self.backbone.forward_taps(x, self.taps, report)
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
