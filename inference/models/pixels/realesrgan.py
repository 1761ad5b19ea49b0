"""Real-ESRGAN: more pixels for a texture, with invented but plausible detail.

Wang et al. 2021, "Real-ESRGAN: Training Real-World Blind Super-Resolution with Pure Synthetic
Data". Two networks: the compact one of plain convolutions (``realesr-general-x4v3``) and the large
one of residual-in-residual dense blocks (``RealESRGAN_x4plus``), ten times slower and sharper.
The modules carry the names of the published checkpoints.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import checkpoint

Report = Callable[[], None]
Window = tuple[slice, slice]  # rows and columns of a picture

TILE = 256
# The large network sees 350 pixels far, but what it sees there counts less and less. With the
# published weights, cutting off what is 24 pixels away changes a pixel by up to 9/255, 48 by 2.3,
# 64 by 0.43 (grass, bricks, fur, noise and a flat grey).
LARGE_HALO = 64
MARGIN = 2  # the layers after its first enlargement see less far than this
GROWTH = 32
SLOPE = 0.2
RESIDUAL = 0.2

_LAYER = re.compile(r"body\.\d+\.weight")


class CompactNet(nn.Module):
    """Plain 3x3 convolutions, then one shuffle of channels into pixels.

    Args:
        width: Channels.
        depth: Convolutions between the first and the last.
        scale: Enlargement.
    """

    def __init__(self, width: int, depth: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.halo = depth + 2  # a pixel sees this far
        body: list[nn.Module] = [nn.Conv2d(3, width, 3, padding=1), nn.PReLU(width)]
        for _ in range(depth):
            body += [nn.Conv2d(width, width, 3, padding=1), nn.PReLU(width)]
        body.append(nn.Conv2d(width, 3 * scale**2, 3, padding=1))
        self.body = nn.ModuleList(body)

    def forward(self, x: Tensor, report: Report, kept: Window | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) colours from 0 to 1, or the window of them that is kept."""
        picture = x
        for layer in self.body:
            x = layer(x)
            report()
        if kept is not None:
            x, picture = x[:, :, kept[0], kept[1]], picture[:, :, kept[0], kept[1]]
        enlarged = F.interpolate(picture, scale_factor=self.scale, mode="nearest")
        return F.pixel_shuffle(x, self.scale) + enlarged


class DenseBlock(nn.Module):
    """Five convolutions, each of which sees all before it."""

    def __init__(self, width: int) -> None:
        super().__init__()
        for index in range(4):
            seen = width + index * GROWTH
            self.add_module(f"conv{index + 1}", nn.Conv2d(seen, GROWTH, 3, padding=1))
        self.conv5 = nn.Conv2d(width + 4 * GROWTH, width, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        # All that has been seen lies side by side in one array, instead of ever longer copies.
        batch, width, height, columns = x.shape
        seen = x.new_empty(batch, width + 4 * GROWTH, height, columns)
        seen[:, :width] = x
        for index in range(4):
            end = width + index * GROWTH
            grown = self.get_submodule(f"conv{index + 1}")(seen[:, :end])
            seen[:, end : end + GROWTH] = F.leaky_relu_(grown, SLOPE)
        return self.conv5(seen).mul_(RESIDUAL).add_(x)


class ResidualDenseGroup(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.rdb1, self.rdb2, self.rdb3 = DenseBlock(width), DenseBlock(width), DenseBlock(width)

    def forward(self, x: Tensor, report: Report) -> Tensor:
        inner = x
        for block in (self.rdb1, self.rdb2, self.rdb3):
            inner = block(inner)
            report()
        return inner.mul_(RESIDUAL).add_(x)


class LargeNet(nn.Module):
    """Residual-in-residual dense blocks at low resolution, then twice as large, twice.

    Args:
        width: Channels.
        depth: Groups of three dense blocks.
        scale: 4, or 2 for a network that first turns 2 x 2 pixels into channels.
    """

    def __init__(self, width: int, depth: int, scale: int) -> None:
        super().__init__()
        self.scale = scale
        self.shuffle = 4 // scale
        self.halo = LARGE_HALO * self.shuffle
        self.conv_first = nn.Conv2d(3 * self.shuffle**2, width, 3, padding=1)
        self.body = nn.ModuleList(ResidualDenseGroup(width) for _ in range(depth))
        self.conv_body = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up1 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_up2 = nn.Conv2d(width, width, 3, padding=1)
        self.conv_hr = nn.Conv2d(width, width, 3, padding=1)
        self.conv_last = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, x: Tensor, report: Report, kept: Window | None = None) -> Tensor:
        """Enlarge (B, 3, H, W) colours from 0 to 1, or the window of them that is kept.

        Only the window and the little around it that counts is enlarged: most of the memory goes
        there.
        """
        height, width = x.shape[2:]
        rows, columns = kept or (slice(0, height), slice(0, width))
        if self.shuffle > 1:
            rest = (0, -width % self.shuffle, 0, -height % self.shuffle)
            x = F.pixel_unshuffle(F.pad(x, rest, mode="replicate"), self.shuffle)
        first = self.conv_first(x)
        x = first
        for group in self.body:
            x = group(x, report)
        x = self.conv_body(x).add_(first)
        down, above = _around(rows, self.shuffle)
        across, before = _around(columns, self.shuffle)
        x = x[:, :, down, across]
        for convolution in (self.conv_up1, self.conv_up2):
            x = F.interpolate(x, scale_factor=2, mode="nearest")
            x = F.leaky_relu_(convolution(x), SLOPE)
            report()
        x = F.leaky_relu_(self.conv_hr(x), SLOPE)
        report()
        enlarged = self.conv_last(x)
        inner = _enlarged(rows, above, self.scale), _enlarged(columns, before, self.scale)
        return enlarged[:, :, inner[0], inner[1]]


def _around(kept: slice, shuffle: int) -> tuple[slice, int]:
    """The features to enlarge for the pixels that are kept, and how many pixels come before those."""
    first = max(kept.start // shuffle - MARGIN, 0)
    return slice(first, -(-kept.stop // shuffle) + MARGIN), kept.start - first * shuffle


def _enlarged(kept: slice, before: int, scale: int) -> slice:
    return slice(before * scale, (before + kept.stop - kept.start) * scale)


class UpscaleEstimator:
    """Enlarges pictures of any size in tiles."""

    def __init__(self, network: CompactNet | LargeNet) -> None:
        """Take a network in evaluation mode on its device and in its precision."""
        self.scale = network.scale
        self._network = network

    def estimate(
        self, rgb: NDArray[np.uint8], report: Report, *, tile: int | None = None
    ) -> NDArray[np.uint8]:
        """Enlarge a picture ``scale`` times.

        Every tile is read with what surrounds it and cropped again, so that no seam shows. Colour
        only: enlarge alpha by interpolation.

        Args:
            rgb: (H, W, 3) uint8 sRGB.
            report: Called between blocks; may raise to cancel.
            tile: Side of a tile in pixels of ``rgb``; smaller ones need less memory.

        Returns:
            (H * scale, W * scale, 3) uint8 sRGB.
        """
        network, scale = self._network, self.scale
        side, halo = tile or TILE, network.halo
        first = next(network.parameters())
        height, width = rgb.shape[:2]
        result = np.empty((height * scale, width * scale, 3), np.uint8)
        for top in range(0, height, side):
            for left in range(0, width, side):
                bottom, right = min(top + side, height), min(left + side, width)
                above, before = min(halo, top), min(halo, left)
                seen = rgb[top - above : bottom + halo, left - before : right + halo]
                with torch.inference_mode():
                    pixels = torch.from_numpy(np.ascontiguousarray(seen)).to(first.device)
                    colours = pixels.permute(2, 0, 1)[None].to(first.dtype) / 255.0
                    rows = slice(above, above + bottom - top)
                    columns = slice(before, before + right - left)
                    enlarged = network(colours, report, (rows, columns))[0]
                    kept = enlarged.float().clamp(0.0, 1.0) * 255.0
                    values = kept.round().to(torch.uint8).permute(1, 2, 0).cpu().numpy()
                result[top * scale : bottom * scale, left * scale : right * scale] = values
        return result


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Take a published file's tensors as they are; the names need no change."""
    return {key.removeprefix("module."): value for key, value in state.items()}


def with_denoise(
    keeps_noise: Mapping[str, Tensor], removes_noise: Mapping[str, Tensor], strength: float
) -> dict[str, Tensor]:
    """Mix the weights of ``realesr-general-wdn-x4v3`` and ``realesr-general-x4v3``.

    Args:
        keeps_noise: Mapped state of the ``wdn`` file.
        removes_noise: Mapped state of the other.
        strength: 0 keeps noise and grain, 1 removes both.
    """
    return {
        key: torch.lerp(keeps_noise[key].float(), value.float(), strength)
        for key, value in removes_noise.items()
    }


def make_network(state: Mapping[str, Tensor]) -> CompactNet | LargeNet:
    """Build, without its weights, the network that ``state`` (mapped keys) is for."""
    first = state.get("conv_first.weight")
    if first is not None:
        depth = len({key.split(".")[1] for key in state if key.startswith("body.")})
        return LargeNet(first.shape[0], depth, 4 if first.shape[1] == 3 else 2)
    layers = [key.split(".")[1] for key in state if _LAYER.fullmatch(key)]
    last = max(map(int, layers), default=2)
    ends = [state.get(f"body.{index}.weight") for index in (0, last)]
    if ends[0] is None or ends[1] is None:
        return CompactNet(64, 32, 4)
    return CompactNet(ends[0].shape[0], last // 2 - 1, round((ends[1].shape[0] / 3) ** 0.5))


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    *,
    noisy_path: Path | None = None,
    denoise: float = 1.0,
) -> UpscaleEstimator:
    """Load either network from a .safetensors file; which one, its tensors tell.

    Args:
        path: The weights.
        device: Where to run.
        dtype: Precision to run in.
        noisy_path: The ``wdn`` file of the compact network, for ``denoise`` under 1.
        denoise: 0 keeps noise and grain, 1 removes both.

    Raises:
        WeightsError: A file is missing, damaged or another network's.
    """
    state = map_checkpoint(checkpoint.read(path).tensors)
    network = checkpoint.build(lambda: make_network(state))
    if noisy_path is not None and denoise < 1.0:
        noisy = map_checkpoint(checkpoint.read(noisy_path).tensors)
        checkpoint.take_on(network, noisy, noisy_path, torch.device("cpu"), torch.float32)
        state = with_denoise(noisy, state, denoise)
    checkpoint.take_on(network, state, path, device, dtype)
    return UpscaleEstimator(network)
