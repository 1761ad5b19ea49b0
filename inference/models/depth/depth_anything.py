"""Depth Anything V2 (Yang et al. 2024): depth of everything in one picture.

DINOv2 tokens and a dense prediction head. The relative networks say how near things are, up to an
unknown scale and offset; the metric ones (indoor, outdoor) say metres.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ..backbones.dpt import PATCH, DptHead
from ..backbones.vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer
from ..checkpoint import build, read, take_on
from .depth_tiles import refine_with_tiles

Floats = NDArray[np.float32]
Report = Callable[[], None]

SHORT_SIDE = 518  # what the networks were trained at
LONGEST = 4  # a picture's long side is at most this many times its short side; panoramas shrink
FINER = 1.25  # tiles must show the picture this much larger to be worth their time
FAR = 20.0  # relative depth: robust ratio of farthest to nearest, at most


@dataclass(frozen=True, slots=True)
class Variant:
    """Size of one published network; see ``VisionTransformer`` and ``DptHead``."""

    width: int
    depth: int
    heads: int
    taps: tuple[int, int, int, int]
    channels: tuple[int, int, int, int]
    features: int


VARIANTS = {
    "small": Variant(384, 12, 6, (2, 5, 8, 11), (48, 96, 192, 384), 64),
    "base": Variant(768, 12, 12, (2, 5, 8, 11), (96, 192, 384, 768), 128),
    "large": Variant(1024, 24, 16, (4, 11, 17, 23), (256, 512, 1024, 1024), 256),
}


@dataclass(frozen=True, slots=True)
class DepthEstimate:
    """Depth along the optical axis of every pixel of a picture, row 0 on top.

    Attributes:
        depth: (H, W) float32, > 0: metres if ``is_metric``, else relative with median 1.
        nearness: (H, W) float32 inverse depth as the network said it, >= 0, with unknown scale
            and offset; None if the network says depth.
        valid: (H, W) bool; False for sky, where the network knows it.
        is_metric: Whether the unit of ``depth`` is the metre.
        fov_x: Horizontal field of view in radians, if the network says it.
    """

    depth: Floats
    nearness: Floats | None
    valid: NDArray[np.bool_]
    is_metric: bool
    fov_x: float | None = None


class DepthAnythingNet(nn.Module):
    """The network; parameters are named as in the published .pth files."""

    def __init__(self, variant: Variant) -> None:
        super().__init__()
        self.taps = variant.taps
        self.pretrained = VisionTransformer(
            PATCH, variant.width, variant.depth, variant.heads, grid=37
        )
        self.depth_head = DptHead(variant.width, variant.channels, variant.features)

    def forward(self, images: Tensor, report: Report | None = None) -> Tensor:
        """Look at pictures.

        Args:
            images: (B, 3, 14 h, 14 w), normalised as for ImageNet.
            report: Called between blocks; raises to cancel.

        Returns:
            (B, 14 h, 14 w) before the last activation.
        """
        rows, columns = (side // PATCH for side in images.shape[2:])
        tokens = self.pretrained.forward_taps(images, self.taps, report)
        return self.depth_head([t[:, 1:] for t in tokens], rows, columns, report)[:, 0]


# Published names in the "-hf" files, and what they are called in the others.
_BACKBONE = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_BLOCK = {
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}
_HEAD = {
    "conv1": "output_conv1",
    "conv2": "output_conv2.0",
    "conv3": "output_conv2.2",
}
_UNUSED = re.compile(r"(^|\.)mask_token$|^depth_head\.scratch\.refinenet4\.resConfUnit1\.")


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a published state to the names of ``DepthAnythingNet``.

    Takes the original .pth files, the "-hf" safetensors files (with the names that are in the
    files, or those that transformers 5 uses in memory) and what this function returned before.
    """
    if any(key.startswith("backbone.") for key in state):
        state = _from_transformers(state)
    return {key: value for key, value in state.items() if not _UNUSED.search(key)}


def _from_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}  # queries, keys and values become one matrix
    split = re.compile(r"(.*?)\.attention\.(?:attention\.)?(query|key|value|[qkv]_proj)\.(\w+)$")
    for key, value in state.items():
        match = split.match(key)
        if match:
            name = f"{_renamed(match[1])}.attn.qkv.{match[3]}"
            parts.setdefault(name, {})[match[2][0]] = value
        else:
            found[_renamed(key)] = value
    for name, piece in parts.items():
        if piece.keys() == {"q", "k", "v"}:
            found[name] = torch.cat([piece["q"], piece["k"], piece["v"]])
    return found


def _renamed(key: str) -> str:
    if match := re.match(r"backbone\.(?:encoder\.layer|layers)\.(\d+)\.?(.*)", key):
        rest = match[2].replace("attention.o_proj", "attention.output.dense")
        for theirs, ours in _BLOCK.items():
            rest = rest.replace(theirs, ours)
        return f"pretrained.blocks.{match[1]}" + (f".{rest}" if rest else "")
    if match := re.match(r"backbone\.(.*?)(\.weight|\.bias)?$", key):
        return f"pretrained.{_BACKBONE.get(match[1], match[1])}{match[2] or ''}"
    if match := re.match(r"neck\.reassemble_stage\.layers\.(\d)\.(projection|resize)\.(.*)", key):
        kind = {"projection": "projects", "resize": "resize_layers"}[match[2]]
        return f"depth_head.{kind}.{match[1]}.{match[3]}"
    if match := re.match(r"neck\.convs\.(\d)\.(.*)", key):
        return f"depth_head.scratch.layer{int(match[1]) + 1}_rn.{match[2]}"
    if match := re.match(r"neck\.fusion_stage\.layers\.(\d)\.(.*)", key):
        rest = match[2].replace("projection", "out_conv").replace("residual_layer", "resConfUnit")
        rest = rest.replace("convolution", "conv")
        return f"depth_head.scratch.refinenet{4 - int(match[1])}.{rest}"
    if match := re.match(r"head\.(conv\d)\.(.*)", key):
        return f"depth_head.scratch.{_HEAD[match[1]]}.{match[2]}"
    return key


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    max_depth: float | None = None,
) -> DepthAnything:
    """Load a network of any of the three sizes.

    Args:
        path: A .safetensors file with published or mapped names.
        device: Where to run.
        dtype: float32, bfloat16 or float16.
        max_depth: Metres at which a metric network ends (20 for indoor, 80 for outdoor ones);
            None for the relative networks, or if the file's metadata says it ("max_depth").

    Raises:
        WeightsError: The file is missing, damaged or of another network.
    """
    content = read(path)
    state = map_checkpoint(content.tensors)
    width = len(state.get("pretrained.norm.weight", ()))
    variant = next((v for v in VARIANTS.values() if v.width == width), VARIANTS["small"])
    net = build(lambda: DepthAnythingNet(variant))
    take_on(net, state, path, device, dtype)
    if max_depth is None and "max_depth" in content.metadata:
        max_depth = float(content.metadata["max_depth"])
    return DepthAnything(net, max_depth)


class DepthAnything:
    """A loaded network; make it with ``load``."""

    def __init__(self, net: DepthAnythingNet, max_depth: float | None = None) -> None:
        self._net = net
        self._max_depth = max_depth

    @property
    def is_metric(self) -> bool:
        """Whether it says metres."""
        return self._max_depth is not None

    def estimate(
        self,
        rgb: Floats,
        report: Report,
        *,
        short_side: int = SHORT_SIDE,
        max_side: int | None = None,
        detail_side: int | None = None,
        far: float = FAR,
    ) -> DepthEstimate:
        """Estimate the depth of a picture of any size.

        Args:
            rgb: (H, W, 3) sRGB from 0 to 1.
            report: Called at least between blocks; raises to cancel.
            short_side: The picture's short side becomes this long for the network; less is faster
                and needs less memory, more than 518 is not what it was trained for.
            max_side: Most that its long side may become; four times ``short_side`` if None.
            detail_side: If given, and the picture is larger than the network's view, it is also
                looked at in tiles at this length of its long side, which gives finer detail.
            far: Relative networks only, see ``depth_from_nearness``.
        """
        raw = self._look([rgb], short_side, max_side, report)[0]
        height, width = rgb.shape[:2]
        seen = max(network_size(rgb.shape, short_side, max_side))
        scale = min((detail_side or 0) / max(height, width), 1.0)
        if scale * max(height, width) > FINER * seen:
            rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
            picture = rgb
            if scale < 1:
                picture = cv2.resize(rgb, (columns, rows), interpolation=cv2.INTER_AREA)
            raw = refine_with_tiles(
                np.asarray(picture, np.float32),
                raw,
                lambda part: self._look([part], short_side, max_side, report)[0],
                short_side,
            )
        return self._finished(raw, rgb.shape, far)

    def estimate_batch(
        self,
        pictures: Sequence[Floats],
        report: Report,
        *,
        short_side: int = SHORT_SIDE,
        max_side: int | None = None,
        chunk: int = 4,
        far: float = FAR,
    ) -> list[DepthEstimate]:
        """Estimate many pictures; those of one shape go through the network together.

        Args:
            pictures: Each (H, W, 3) sRGB from 0 to 1.
            report: Called between blocks; raises to cancel.
            short_side: See ``estimate``.
            max_side: See ``estimate``.
            chunk: Most pictures at once.
            far: See ``estimate``.
        """
        groups: dict[tuple[int, int], list[int]] = {}
        for index, rgb in enumerate(pictures):
            groups.setdefault(network_size(rgb.shape, short_side, max_side), []).append(index)
        found: dict[int, DepthEstimate] = {}
        for members in groups.values():
            for start in range(0, len(members), chunk):
                part = members[start : start + chunk]
                raws = self._look([pictures[i] for i in part], short_side, max_side, report)
                for index, raw in zip(part, raws, strict=True):
                    found[index] = self._finished(raw, pictures[index].shape, far)
        return [found[index] for index in range(len(pictures))]

    def _look(
        self, pictures: Sequence[Floats], short_side: int, max_side: int | None, report: Report
    ) -> list[Floats]:
        """What the network says, at the pictures' own sizes: nearness, or metres."""
        size = network_size(pictures[0].shape, short_side, max_side)
        weight = self._net.pretrained.cls_token
        images = torch.stack([normalised(rgb, *size) for rgb in pictures])
        with torch.inference_mode():
            raw = self._net(images.to(weight.device, weight.dtype), report).float()
            limit = self._max_depth
            raw = raw.relu_() if limit is None else raw.sigmoid_().mul_(limit)
            results: list[Floats] = []
            for one, rgb in zip(raw, pictures, strict=True):
                shape = rgb.shape[:2]
                full = F.interpolate(one[None, None], shape, mode="bilinear", align_corners=True)
                results.append(full[0, 0].cpu().numpy())
        report()
        return results

    def _finished(self, raw: Floats, shape: tuple[int, ...], far: float) -> DepthEstimate:
        height, width = shape[:2]
        if raw.shape != (height, width):
            resized = cv2.resize(raw, (width, height), interpolation=cv2.INTER_LINEAR)
            raw = np.asarray(resized, np.float32)
        valid = np.ones((height, width), np.bool_)
        if self.is_metric:
            return DepthEstimate(np.maximum(raw, np.float32(1e-3)), None, valid, True)
        raw = np.maximum(raw, 0)
        return DepthEstimate(depth_from_nearness(raw, far), raw, valid, False)


def network_size(
    shape: tuple[int, ...], short_side: int = SHORT_SIDE, max_side: int | None = None
) -> tuple[int, int]:
    """Rows and columns for the network: the published rule, with a limit for panoramas.

    The short side becomes ``short_side`` or a little more, both sides multiples of 14 next to the
    picture's own shape. Where the long side would pass ``max_side``, both shrink.

    Args:
        shape: Of the picture: rows, columns and whatever follows.
        short_side: In pixels.
        max_side: In pixels; four times ``short_side`` if None.
    """
    height, width = shape[:2]
    limit = max_side if max_side is not None else LONGEST * short_side
    scale = short_side / min(height, width)
    least = short_side
    if scale * max(height, width) > limit:
        scale, least = limit / max(height, width), PATCH
    sides: list[int] = []
    for side in (height, width):
        near = round(scale * side / PATCH) * PATCH
        sides.append(near if near >= least else int(np.ceil(least / PATCH)) * PATCH)
    return sides[0], sides[1]


def normalised(rgb: Floats, height: int, width: int) -> Tensor:
    """(H, W, 3) sRGB from 0 to 1 as (3, height, width), cubic like the published code."""
    resized = cv2.resize(rgb, (width, height), interpolation=cv2.INTER_CUBIC)
    resized = (resized - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return torch.from_numpy(np.ascontiguousarray(resized.transpose(2, 0, 1), dtype=np.float32))


def depth_from_nearness(nearness: Floats, far: float = FAR) -> Floats:
    """Turn affine-invariant inverse depth into relative depth.

    The networks know inverse depth up to a scale and an offset, and no picture tells the offset.
    Training made the farthest thing, if anything is at infinity, zero, so the offset is left at
    zero where that gives a believable scene: where the farthest things (2nd percentile) are at
    most ``far`` times as far away as the nearest (98th). Otherwise the smallest offset is added
    that makes them so. What is farther than that ends there.

    Args:
        nearness: (H, W) >= 0.
        far: Greater than 1.

    Returns:
        (H, W) float32 > 0 with median 1; all ones if nothing differs.
    """
    low, high = (float(v) for v in np.percentile(nearness, (2, 98)))
    if high - low <= 1e-6 * max(high, 1e-6):
        return np.ones_like(nearness, dtype=np.float32)
    offset = max(0.0, (high - far * low) / (far - 1))
    depth = 1 / np.maximum(nearness + np.float32(offset), np.float32((high + offset) / far))
    return (depth / np.median(depth)).astype(np.float32)
