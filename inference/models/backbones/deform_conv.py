"""Modulated deformable convolution (Zhu et al. 2019, "Deformable ConvNets v2") in plain torch.

At every place each tap of the kernel is read from a spot moved by a learned offset and weighted by
a learned factor:

    y(p) = sum_k w_k * m_k(p) * x(p + p_k + d_k(p)),   x bilinear and zero outside.

One row of taps at a time is sampled and multiplied, so memory does not grow with the whole kernel.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..matte import Report


def deform_conv2d(
    x: Tensor, offset: Tensor, weight: Tensor, factor: Tensor, report: Report = lambda: None
) -> Tensor:
    """Convolve with stride 1 and the padding that keeps the size.

    Args:
        x: (B, C, H, W).
        offset: (B, 2 * kh * kw, H, W) pixels; for each tap, row by row, first y and then x.
        weight: (O, C, kh, kw), both sides odd.
        factor: (B, kh * kw, H, W) weight of each tap.
        report: Called once per row of the kernel; may raise to cancel.

    Returns:
        (B, O, H, W).
    """
    batch, channels, height, width = x.shape
    out_channels, _, rows, columns = weight.shape
    # Places need more digits than half precision has.
    precise = x.float()
    moves = offset.float().reshape(batch, rows, columns, 2, height, width)
    factors = factor.reshape(batch, rows, 1, columns * height, width)
    y = torch.arange(height, device=x.device, dtype=torch.float32)
    x_taps = torch.arange(columns, device=x.device, dtype=torch.float32) - columns // 2
    x_places = x_taps[:, None] + torch.arange(width, device=x.device, dtype=torch.float32)
    result = x.new_zeros(batch, out_channels, height * width)
    for row in range(rows):
        spot_y = moves[:, row, :, 0] + (y + (row - rows // 2))[:, None]
        spot_x = moves[:, row, :, 1] + x_places[:, None]
        # grid_sample counts from -1 to 1 between the outer edges of the first and last pixel.
        grid = torch.stack(
            ((2.0 * spot_x + 1.0) / width - 1.0, (2.0 * spot_y + 1.0) / height - 1.0), dim=-1
        ).view(batch, columns * height, width, 2)
        taps = F.grid_sample(precise, grid, align_corners=False).to(x.dtype)
        taps = (taps * factors[:, row]).view(batch, channels * columns, height * width)
        result += weight[:, :, row].reshape(out_channels, channels * columns) @ taps
        report()
    return result.view(batch, out_channels, height, width)


class DeformableConv2d(nn.Module):
    """Predicts offsets and factors (0 to 2) from its input, then convolves with them."""

    def __init__(self, in_channels: int, out_channels: int, side: int) -> None:
        super().__init__()
        taps, padding = side * side, side // 2
        self.offset_conv = nn.Conv2d(in_channels, 2 * taps, side, padding=padding)
        self.modulator_conv = nn.Conv2d(in_channels, taps, side, padding=padding)
        self.regular_conv = nn.Conv2d(in_channels, out_channels, side, padding=padding, bias=False)

    def forward(self, x: Tensor, report: Report) -> Tensor:
        offset = self.offset_conv(x)
        factor = 2.0 * self.modulator_conv(x).sigmoid()
        result = deform_conv2d(x, offset, self.regular_conv.weight, factor, report)
        bias = self.regular_conv.bias
        return result if bias is None else result + bias.view(1, -1, 1, 1)
