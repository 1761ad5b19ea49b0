"""What the cut-out networks share: a picture in, how much of each pixel is the subject out."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

Report = Callable[[], None]
Convolution = TypeVar("Convolution", nn.Conv2d, nn.ConvTranspose2d)

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class MatteNetwork(Protocol):
    """A network that gives (1, 1, S, S) logits for a (1, 3, S, S) picture."""

    def __call__(self, picture: Tensor, report: Report) -> Tensor: ...


class MatteEstimator:
    """A cut-out network with its size, its colours' statistics and where it runs."""

    def __init__(
        self,
        network: nn.Module,
        side: int,
        stride: int,
        mean: tuple[float, float, float],
        std: tuple[float, float, float],
    ) -> None:
        """Take a network in evaluation mode on its device and in its precision.

        Args:
            network: A ``MatteNetwork``.
            side: Side in pixels that it was trained at.
            stride: Every other side must be a multiple of this.
            mean: Subtracted from the colours (0 to 1).
            std: Divides them then.
        """
        self.side = side
        self._network = network
        self._stride = stride
        self._mean, self._std = mean, std

    def estimate(
        self, rgb: NDArray[np.uint8], report: Report, *, max_side: int | None = None
    ) -> NDArray[np.float32]:
        """Say how much of each pixel is the subject.

        Args:
            rgb: (H, W, 3) uint8 sRGB of any size and shape.
            report: Called between blocks; may raise to cancel.
            max_side: Run at this many pixels a side at most: a smaller picture needs less memory
                and loses fine parts.

        Returns:
            (H, W) float32, 0 background to 1 subject, bilinear from the network's size.
        """
        side = self.side if max_side is None else min(self.side, max_side)
        side = max(self._stride, side // self._stride * self._stride)
        first = next(self._network.parameters())
        with torch.inference_mode():
            pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(first.device)
            picture = pixels.permute(2, 0, 1)[None].float()
            picture = F.interpolate(picture, (side, side), mode="bilinear", antialias=True) / 255.0
            mean = torch.tensor(self._mean, device=first.device).view(1, 3, 1, 1)
            std = torch.tensor(self._std, device=first.device).view(1, 3, 1, 1)
            report()
            logits = self._network(((picture - mean) / std).to(first.dtype), report)
            alpha = logits.float().sigmoid()
            alpha = F.interpolate(alpha, rgb.shape[:2], mode="bilinear", align_corners=False)
            return alpha[0, 0].cpu().numpy()


def fuse_norm(convolution: Convolution, norm: nn.Module) -> tuple[Convolution, nn.Module]:
    """Fold an evaluated batch norm into the convolution before it; return what replaces both."""
    if not isinstance(norm, nn.BatchNorm2d):
        return convolution, norm
    is_transposed = isinstance(convolution, nn.ConvTranspose2d)
    return fuse_conv_bn_eval(convolution, norm, transpose=is_transposed), nn.Identity()
