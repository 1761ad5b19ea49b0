"""LaMa: fills holes of a picture with what fits their surroundings.

Suvorov et al. 2022, "Resolution-robust Large Mask Inpainting with Fourier Convolutions". Half of
every block works on the picture's frequencies, so that each place sees the whole picture. The
modules carry the names of the published generator (``big-lama``).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from .. import checkpoint
from ..matte import fuse_norm

Report = Callable[[], None]

WIDTH = 64
STEPS = 3  # halvings before the blocks
LOCAL_SHARE = 4  # of the channels in the blocks, one in this many works on places
STRIDE = 8
MAX_SIDE = 1024


class FourierUnit(nn.Module):
    """A 1x1 convolution over the frequencies of the whole picture."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv_layer = nn.Conv2d(2 * channels, 2 * channels, 1, bias=False)
        self.bn: nn.Module = nn.BatchNorm2d(2 * channels)

    def forward(self, x: Tensor) -> Tensor:
        # Transforms need single precision; the channels of the published weights alternate between
        # real and imaginary parts.
        batch, channels, height, width = x.shape
        parts = torch.view_as_real(torch.fft.rfft2(x.float(), norm="ortho")).to(x.dtype)
        waves = parts.permute(0, 1, 4, 2, 3).reshape(batch, 2 * channels, height, -1)
        waves = F.relu(self.bn(self.conv_layer(waves)), inplace=True).float()
        waves = waves.view(batch, channels, 2, height, -1)
        waves = torch.complex(waves[:, :, 0], waves[:, :, 1])
        return torch.fft.irfft2(waves, s=(height, width), norm="ortho").to(x.dtype)


class SpectralTransform(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        half = channels // 2
        self.conv1 = nn.Sequential(
            nn.Conv2d(channels, half, 1, bias=False), nn.BatchNorm2d(half), nn.ReLU(inplace=True)
        )
        self.fu = FourierUnit(half)
        self.conv2 = nn.Conv2d(half, channels, 1, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        x = self.conv1(x)
        return self.conv2(x + self.fu(x))


class FourierConvolution(nn.Module):
    """Convolutions between the local channels and the global ones.

    Args:
        in_local: Channels that work on places, of the input.
        in_global: Channels that work on frequencies, of the input; may be zero.
        out_local: Of the output.
        out_global: Of the output; may be zero.
        side: Of the kernel.
        stride: 1 or 2.
    """

    def __init__(
        self,
        in_local: int,
        in_global: int,
        out_local: int,
        out_global: int,
        side: int,
        stride: int,
    ) -> None:
        super().__init__()
        self.padding = side // 2

        def convolution(before: int, after: int) -> nn.Conv2d:
            return nn.Conv2d(before, after, side, stride=stride, bias=False)

        self.convl2l = convolution(in_local, out_local)
        self.convl2g = convolution(in_local, out_global) if out_global else None
        self.convg2l = convolution(in_global, out_local) if in_global else None
        self.convg2g = SpectralTransform(in_global) if in_global and out_global else None

    def forward(self, local: Tensor, whole: Tensor | None) -> tuple[Tensor, Tensor | None]:
        margin = (self.padding,) * 4
        padded = F.pad(local, margin, mode="reflect")
        new_local = self.convl2l(padded)
        new_whole = None if self.convl2g is None else self.convl2g(padded)
        if whole is not None:
            if self.convg2l is not None:
                new_local += self.convg2l(F.pad(whole, margin, mode="reflect"))
            if self.convg2g is not None and new_whole is not None:
                new_whole += self.convg2g(whole)
        return new_local, new_whole


class FourierBlock(nn.Module):
    """Fourier convolution, batch norms, ReLU."""

    def __init__(
        self,
        in_local: int,
        in_global: int,
        out_local: int,
        out_global: int,
        side: int = 3,
        stride: int = 1,
    ) -> None:
        super().__init__()
        self.ffc = FourierConvolution(in_local, in_global, out_local, out_global, side, stride)
        self.bn_l: nn.Module = nn.BatchNorm2d(out_local)
        self.bn_g: nn.Module = nn.BatchNorm2d(out_global) if out_global else nn.Identity()

    def forward(self, local: Tensor, whole: Tensor | None) -> tuple[Tensor, Tensor | None]:
        local, whole = self.ffc(local, whole)
        local = F.relu(self.bn_l(local), inplace=True)
        return local, None if whole is None else F.relu(self.bn_g(whole), inplace=True)

    def fuse(self) -> None:
        """Fold the batch norms into the convolutions whose sum they normalise."""
        ffc = self.ffc
        for norm, first, second in (
            (self.bn_l, ffc.convl2l, ffc.convg2l),
            (self.bn_g, ffc.convl2g, None if ffc.convg2g is None else ffc.convg2g.conv2),
        ):
            if not isinstance(norm, nn.BatchNorm2d) or first is None:
                continue
            assert norm.running_mean is not None
            assert norm.running_var is not None
            gain = norm.weight * torch.rsqrt(norm.running_var + norm.eps)
            for convolution in (first, second):
                if convolution is not None:
                    weight = convolution.weight * gain.view(-1, 1, 1, 1)
                    convolution.weight = nn.Parameter(weight, requires_grad=False)
            first.bias = nn.Parameter(norm.bias - norm.running_mean * gain, requires_grad=False)
        self.bn_l, self.bn_g = nn.Identity(), nn.Identity()
        if ffc.convg2g is not None:
            spectral = ffc.convg2g
            unit = spectral.fu
            unit.conv_layer, unit.bn = fuse_norm(unit.conv_layer, unit.bn)
            convolution = spectral.conv1[0]
            assert isinstance(convolution, nn.Conv2d)
            spectral.conv1[0], spectral.conv1[1] = fuse_norm(convolution, spectral.conv1[1])


class ResidualFourierBlock(nn.Module):
    def __init__(self, local: int, whole: int) -> None:
        super().__init__()
        self.conv1 = FourierBlock(local, whole, local, whole)
        self.conv2 = FourierBlock(local, whole, local, whole)

    def forward(self, local: Tensor, whole: Tensor, report: Report) -> tuple[Tensor, Tensor]:
        new_local, new_whole = self.conv1(local, whole)
        report()
        new_local, new_whole = self.conv2(new_local, new_whole)
        report()
        return local + new_local, whole + new_whole


class LaMa(nn.Module):
    """The generator.

    Args:
        blocks: Residual blocks at an eighth of the picture's size.
    """

    def __init__(self, blocks: int) -> None:
        super().__init__()
        deepest = WIDTH * 2**STEPS
        local = deepest // LOCAL_SHARE
        whole = deepest - local
        down = [FourierBlock(4, 0, WIDTH, 0, side=7)]
        for step in range(STEPS - 1):
            down.append(FourierBlock(WIDTH << step, 0, WIDTH << (step + 1), 0, stride=2))
        down.append(FourierBlock(deepest // 2, 0, local, whole, stride=2))
        up: list[nn.Module] = []
        for step in range(STEPS, 0, -1):
            before, after = WIDTH << step, WIDTH << (step - 1)
            enlarge = nn.ConvTranspose2d(before, after, 3, stride=2, padding=1, output_padding=1)
            up += [enlarge, nn.BatchNorm2d(after), nn.ReLU(inplace=True)]
        # Places without weights keep the published numbering.
        self.model = nn.ModuleList(
            [
                nn.Identity(),
                *down,
                *(ResidualFourierBlock(local, whole) for _ in range(blocks)),
                nn.Identity(),
                *up,
                nn.Identity(),
                nn.Conv2d(WIDTH, 3, 7),
            ]
        )

    def forward(self, picture: Tensor, hole: Tensor, report: Report) -> Tensor:
        """Guess colours everywhere.

        Args:
            picture: (B, 3, H, W) colours from 0 to 1, sides multiples of 8, at least 16.
            hole: (B, 1, H, W), 1 where the picture is unknown.
            report: Called between blocks.

        Returns:
            (B, 3, H, W) from 0 to 1.
        """
        x = torch.cat((picture * (1.0 - hole), hole), dim=1)
        whole: Tensor | None = None
        for layer in self.model:
            if isinstance(layer, FourierBlock):
                x, whole = layer(x, whole)
            elif isinstance(layer, ResidualFourierBlock):
                assert whole is not None
                x, whole = layer(x, whole, report)
            elif isinstance(layer, nn.Identity):
                if whole is not None:
                    x, whole = torch.cat((x, whole), dim=1), None
            elif isinstance(layer, nn.Conv2d):
                x = layer(F.pad(x, (3, 3, 3, 3), mode="reflect"))
            else:
                x = layer(x)
            report()
        return x.sigmoid()

    def fuse(self) -> None:
        """Fold the batch norms into the convolutions."""
        for module in self.modules():
            if isinstance(module, FourierBlock):
                module.fuse()
        layers = list(self.model)
        for index, (before, norm) in enumerate(pairwise(layers)):
            if isinstance(before, nn.ConvTranspose2d):
                fused, self.model[index + 1] = fuse_norm(before, norm)
                self.model[index] = fused


class FillEstimator:
    """Fills the holes of pictures of any size."""

    def __init__(self, network: LaMa) -> None:
        """Take a network in evaluation mode on its device and in its precision."""
        self._network = network

    def estimate(
        self,
        rgb: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        report: Report,
        *,
        max_side: int = MAX_SIDE,
    ) -> NDArray[np.uint8]:
        """Replace the unknown pixels.

        Args:
            rgb: (H, W, 3) uint8 sRGB; what it holds inside the hole does not matter.
            hole: (H, W), True where the colour is unknown.
            report: Called between blocks; may raise to cancel.
            max_side: A longer picture is filled at this size, and the filling is enlarged.

        Returns:
            (H, W, 3) uint8 sRGB; pixels outside of the hole are untouched.
        """
        if not hole.any():
            return rgb.copy()
        height, width = rgb.shape[:2]
        scale = min(1.0, max_side / max(height, width))
        size = max(1, round(width * scale)), max(1, round(height * scale))
        known = np.where(hole, np.float32(0.0), np.float32(1.0))
        colours = rgb.astype(np.float32) * known[..., None]
        if scale < 1.0:
            # A shrunk pixel is known when any of it is: divide by its known share.
            colours = np.asarray(cv2.resize(colours, size, interpolation=cv2.INTER_AREA))
            known = np.asarray(cv2.resize(known, size, interpolation=cv2.INTER_AREA))
            colours = colours / np.maximum(known, 1e-6)[..., None]
        filled = self._filled(colours / 255.0, known < 1e-3, report)
        if scale < 1.0:
            filled = np.asarray(cv2.resize(filled, (width, height), interpolation=cv2.INTER_CUBIC))
        values = np.clip(np.rint(filled * 255.0), 0.0, 255.0).astype(np.uint8)
        return np.where(hole[..., None], values, rgb)

    def _filled(
        self, colours: NDArray[np.float32], hole: NDArray[np.bool_], report: Report
    ) -> NDArray[np.float32]:
        """Fill (h, w, 3) colours from 0 to 1 at their own size."""
        height, width = hole.shape
        # Mirrored to sides the network can halve three times.
        rest = [(0, max(-side % STRIDE, 2 * STRIDE - side)) for side in (height, width)]
        padded = np.pad(colours, (*rest, (0, 0)), mode="symmetric")
        padded_hole = np.pad(hole, rest, mode="symmetric")
        first = next(self._network.parameters())
        with torch.inference_mode():
            picture = torch.from_numpy(padded).to(first.device, first.dtype).permute(2, 0, 1)
            mask = torch.from_numpy(padded_hole).to(first.device, first.dtype)
            guess = self._network(picture[None], mask[None, None], report)[0]
            guess = guess[:, :height, :width].float().permute(1, 2, 0).cpu().numpy()
        return np.where(hole[..., None], guess, colours)


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep the generator of a published file: a training checkpoint or the generator alone."""
    for prefix in ("generator.model.", "model.model.", "model.generator.model.", "model."):
        if any(key.startswith(prefix + "1.ffc.") for key in state):
            return {
                "model." + key.removeprefix(prefix): value
                for key, value in state.items()
                if key.startswith(prefix)
            }
    return dict(state)


def make_network(state: Mapping[str, Tensor]) -> LaMa:
    """Build, without its weights, the network that ``state`` (mapped keys) is for."""
    return LaMa(sum(key.endswith("conv1.ffc.convl2l.weight") for key in state))


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> FillEstimator:
    """Load big-lama from a .safetensors file.

    Raises:
        WeightsError: The file is missing, damaged or another network's.
    """
    state = map_checkpoint(checkpoint.read(path).tensors)
    network = checkpoint.build(lambda: make_network(state))
    checkpoint.take_on(network, state, path, torch.device("cpu"), torch.float32)
    network.fuse()
    network.to(device, dtype)
    return FillEstimator(network)
