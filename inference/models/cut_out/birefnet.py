"""BiRefNet: a cut-out of high resolution with soft hair and edges.

Zheng et al. 2024, "Bilateral Reference for High-Resolution Dichotomous Image Segmentation". A Swin
transformer sees the picture at two scales; the decoder reads pieces of the picture itself again at
every step. The modules carry the names of the published checkpoints (``BiRefNet``,
``BiRefNet_lite`` and their relatives with a Swin backbone).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from .. import checkpoint
from ..backbones.deform_conv import DeformableConv2d
from ..backbones.swin import SwinTransformer
from ..matte import IMAGENET_MEAN, IMAGENET_STD, MatteEstimator, Report, fuse_norm

SIDE = 1024
STRIDE = 32
INNER = 64  # channels inside every decoder block
ASPP = 256  # channels of each of its branches
GRADIENT = 16
KERNELS = (1, 3, 7)

# What only training reads.
_UNUSED = ("conv_ms_spvn_", "gdt_convs_pred_", "cls_head")
_TABLE = re.compile(r"bb\.layers\.([0-3])\.blocks\.(\d+)\.attn\.relative_position_bias_table")


class DeformableBranch(nn.Module):
    """Deformable convolution, batch norm, ReLU."""

    def __init__(self, side: int) -> None:
        super().__init__()
        self.atrous_conv = DeformableConv2d(INNER, ASPP, side)
        self.bn: nn.Module = nn.BatchNorm2d(ASPP)

    def forward(self, x: Tensor, report: Report) -> Tensor:
        return F.relu(self.bn(self.atrous_conv(x, report)), inplace=True)

    def fuse(self) -> None:
        self.atrous_conv.regular_conv, self.bn = fuse_norm(self.atrous_conv.regular_conv, self.bn)


class DeformablePyramid(nn.Module):
    """Views of several widths and one of the whole picture, mixed."""

    def __init__(self) -> None:
        super().__init__()
        self.aspp1 = DeformableBranch(1)
        self.aspp_deforms = nn.ModuleList(DeformableBranch(side) for side in KERNELS)
        self.global_avg_pool = nn.Sequential(
            nn.AdaptiveAvgPool2d(1),
            nn.Conv2d(INNER, ASPP, 1, bias=False),
            nn.BatchNorm2d(ASPP),
            nn.ReLU(),
        )
        self.conv1 = nn.Conv2d(ASPP * (2 + len(KERNELS)), INNER, 1, bias=False)
        self.bn1: nn.Module = nn.BatchNorm2d(INNER)

    def forward(self, x: Tensor, report: Report) -> Tensor:
        # The mixing convolution is a sum over branches, so that only one of them is in memory.
        *shares, whole_share = self.conv1.weight.split(ASPP, dim=1)
        mixed = F.conv2d(self.global_avg_pool(x), whole_share, self.conv1.bias)
        for branch, share in zip((self.aspp1, *self.aspp_deforms), shares, strict=True):
            mixed = mixed + F.conv2d(branch(x, report), share)
            report()
        return F.relu(self.bn1(mixed), inplace=True)

    def fuse(self) -> None:
        self.conv1, self.bn1 = fuse_norm(self.conv1, self.bn1)
        convolution = self.global_avg_pool[1]
        assert isinstance(convolution, nn.Conv2d)
        fused = fuse_norm(convolution, self.global_avg_pool[2])
        self.global_avg_pool[1], self.global_avg_pool[2] = fused


class DecoderBlock(nn.Module):
    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv_in = nn.Conv2d(in_channels, INNER, 3, padding=1)
        self.bn_in: nn.Module = nn.BatchNorm2d(INNER)
        self.dec_att = DeformablePyramid()
        self.conv_out = nn.Conv2d(INNER, out_channels, 3, padding=1)
        self.bn_out: nn.Module = nn.BatchNorm2d(out_channels)

    def forward(self, x: Tensor, report: Report) -> Tensor:
        x = F.relu(self.bn_in(self.conv_in(x)), inplace=True)
        report()
        return self.bn_out(self.conv_out(self.dec_att(x, report)))

    def fuse(self) -> None:
        self.conv_in, self.bn_in = fuse_norm(self.conv_in, self.bn_in)
        self.conv_out, self.bn_out = fuse_norm(self.conv_out, self.bn_out)


class PictureBlock(nn.Module):
    """Two convolutions over pieces of the picture itself."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, INNER, 3, padding=1)
        self.conv_out = nn.Conv2d(INNER, out_channels, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv_out(self.conv1(x))


class LateralBlock(nn.Module):
    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(channels, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Decoder(nn.Module):
    """From the coarsest features to logits at the picture's size.

    Args:
        channels: Of the features from 1/4 to 1/32 of the picture's size.
    """

    def __init__(self, channels: tuple[int, int, int, int]) -> None:
        super().__init__()
        at4, at8, at16, at32 = channels
        self.ipt_blk5 = PictureBlock(3 * 32**2, at32 // 8)
        self.ipt_blk4 = PictureBlock(3 * 16**2, at32 // 8)
        self.ipt_blk3 = PictureBlock(3 * 8**2, at16 // 8)
        self.ipt_blk2 = PictureBlock(3 * 4**2, at8 // 8)
        self.ipt_blk1 = PictureBlock(3, at4 // 8)
        self.decoder_block4 = DecoderBlock(at32 + at32 // 8, at16)
        self.decoder_block3 = DecoderBlock(at16 + at32 // 8, at8)
        self.decoder_block2 = DecoderBlock(at8 + at16 // 8, at4)
        self.decoder_block1 = DecoderBlock(at4 + at8 // 8, at4 // 2)
        self.lateral_block4 = LateralBlock(at16)
        self.lateral_block3 = LateralBlock(at8)
        self.lateral_block2 = LateralBlock(at4)
        for step, out in ((4, at16), (3, at8), (2, at4)):
            gradient = (nn.Conv2d(out, GRADIENT, 3, padding=1), nn.BatchNorm2d(GRADIENT), nn.ReLU())
            self.add_module(f"gdt_convs_{step}", nn.Sequential(*gradient))
            attention = nn.Sequential(nn.Conv2d(GRADIENT, 1, 1))
            self.add_module(f"gdt_convs_attn_{step}", attention)
        self.conv_out1 = nn.Sequential(nn.Conv2d(at4 // 2 + at4 // 8, 1, 1))

    def forward(self, picture: Tensor, features: list[Tensor], report: Report) -> Tensor:
        x = features[3]
        for step in (4, 3, 2, 1):
            pieces = picture_pieces(picture, x.shape[2:])
            pieces = self.get_submodule(f"ipt_blk{step + 1}")(pieces)
            x = self.get_submodule(f"decoder_block{step}")(torch.cat((x, pieces), dim=1), report)
            if step == 1:
                break
            edges = self.get_submodule(f"gdt_convs_{step}")(x)
            x = x * self.get_submodule(f"gdt_convs_attn_{step}")(edges).sigmoid()
            skip = features[step - 2]
            x = _resized(x, skip.shape[2:]) + self.get_submodule(f"lateral_block{step}")(skip)
            report()
        return self._logits(picture, x)

    def _logits(self, picture: Tensor, x: Tensor) -> Tensor:
        """Mix the last features, enlarged, with the picture.

        A 1x1 convolution commutes with bilinear enlarging and with the linear block before it, so
        one channel is enlarged where the original enlarges hundreds.
        """
        last = self.conv_out1[0]
        assert isinstance(last, nn.Conv2d)
        assert last.bias is not None
        assert self.ipt_blk1.conv_out.bias is not None
        share, picture_share = last.weight.split((x.shape[1], last.in_channels - x.shape[1]), dim=1)
        logits = _resized(F.conv2d(x, share, last.bias), picture.shape[2:])
        mix = picture_share[0, :, 0, 0]
        kernel = torch.einsum("o,oihw->ihw", mix, self.ipt_blk1.conv_out.weight)[None]
        bias = (mix @ self.ipt_blk1.conv_out.bias)[None]
        return logits + F.conv2d(self.ipt_blk1.conv1(picture), kernel, bias, padding=1)


class BiRefNet(nn.Module):
    """Backbone, a block that squeezes the features of all scales, decoder.

    Args:
        width: Channels of the backbone's first layer.
        depths: Its blocks in each layer.
        heads: Its attention heads in each layer.
        window: Side of its windows.
    """

    def __init__(
        self, width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int
    ) -> None:
        super().__init__()
        self.bb = SwinTransformer(width, depths, heads, window)
        # Two scales side by side.
        channels = (2 * width, 4 * width, 8 * width, 16 * width)
        self.squeeze_module = nn.Sequential(DecoderBlock(sum(channels), channels[3]))
        self.decoder = Decoder(channels)

    def forward(self, picture: Tensor, report: Report) -> Tensor:
        """Give (B, 1, H, W) logits of a normalised (B, 3, H, W) picture; sides are multiples of 32."""
        height, width = picture.shape[2:]
        fine = self.bb(picture, report)
        coarse = self.bb(_resized(picture, (height // 2, width // 2)), report)
        features = [
            torch.cat((ours, _resized(other, ours.shape[2:])), dim=1)
            for ours, other in zip(fine, coarse, strict=True)
        ]
        del fine, coarse
        size = features[3].shape[2:]
        context = torch.cat([_resized(level, size) for level in features], dim=1)
        features[3] = self.squeeze_module[0](context, report)
        return self.decoder(picture, features, report)

    def fuse(self) -> None:
        """Fold the batch norms into the convolutions."""
        for module in self.modules():
            if isinstance(module, DecoderBlock | DeformablePyramid | DeformableBranch):
                module.fuse()
        for step in (4, 3, 2):
            gradient = self.decoder.get_submodule(f"gdt_convs_{step}")
            assert isinstance(gradient, nn.Sequential)
            convolution = gradient[0]
            assert isinstance(convolution, nn.Conv2d)
            gradient[0], gradient[1] = fuse_norm(convolution, gradient[1])


def picture_pieces(picture: Tensor, size: torch.Size) -> Tensor:
    """Cut (B, C, H, W) into pieces of ``size`` (h, w) and stack them as channels (c, row, column)."""
    batch, channels, height, width = picture.shape
    rows, columns = height // size[0], width // size[1]
    pieces = picture.view(batch, channels, rows, size[0], columns, size[1])
    return pieces.permute(0, 1, 2, 4, 3, 5).reshape(batch, -1, *size)


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what inference needs of a published BiRefNet file with a Swin backbone."""
    plain = {key.removeprefix("module.").removeprefix("_orig_mod."): v for key, v in state.items()}
    return {
        key: value
        for key, value in plain.items()
        if not any(part in key for part in _UNUSED) and not key.endswith("relative_position_index")
    }


def make_network(state: Mapping[str, Tensor]) -> BiRefNet:
    """Build, without its weights, the network that ``state`` (mapped keys) is for."""
    width, depths, heads, window = 96, [0, 0, 0, 0], [3, 6, 12, 24], 7
    for key, value in state.items():
        if key == "bb.norm0.weight":
            width = value.shape[0]
        elif match := _TABLE.fullmatch(key):
            layer, block = int(match[1]), int(match[2])
            depths[layer] = max(depths[layer], block + 1)
            heads[layer] = value.shape[1]
            window = (round(value.shape[0] ** 0.5) + 1) // 2
    return BiRefNet(width, tuple(depths), tuple(heads), window)


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> MatteEstimator:
    """Load a BiRefNet with a Swin backbone of any size from a .safetensors file.

    Raises:
        WeightsError: The file is missing, damaged or another network's.
    """
    state = map_checkpoint(checkpoint.read(path).tensors)
    network = checkpoint.build(lambda: make_network(state))
    checkpoint.take_on(network, state, path, torch.device("cpu"), torch.float32)
    network.fuse()
    network.to(device, dtype)
    return MatteEstimator(network, SIDE, STRIDE, IMAGENET_MEAN, IMAGENET_STD)


def _resized(x: Tensor, size: torch.Size | tuple[int, int]) -> Tensor:
    if x.shape[2:] == size:
        return x
    return F.interpolate(x, size=size, mode="bilinear", align_corners=True)
