"""The Swin transformer (Liu et al. 2021), first version, as a backbone for pictures of any size.

Attention inside square windows; every second block shifts the windows by half their side. timm gives
the layers. Ours are three things. Maps are padded to whole windows before they are shifted, as the
networks built on Swin were trained; timm shifts first, which changes every map whose sides are no
multiple of the window's. Only windows that a seam divides get a mask; timm writes one out for every
window. And every layer's output is given, behind a norm of its own, under the names of the published
checkpoints: ``patch_embed``, ``layers.N.blocks.M``, ``layers.N.downsample``, ``norm0`` to ``norm3``.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..matte import Report
from .timm_parts import timm_module

if TYPE_CHECKING:
    from timm.layers.mlp import Mlp
    from timm.layers.patch_embed import PatchEmbed
    from timm.models.swin_transformer import PatchMerging, get_relative_position_index
    from timm.models.swin_transformer import WindowAttention as TimmWindowAttention
else:
    _timm = timm_module("models.swin_transformer")
    Mlp, PatchEmbed = timm_module("layers").Mlp, timm_module("layers").PatchEmbed
    PatchMerging, TimmWindowAttention = _timm.PatchMerging, _timm.WindowAttention
    get_relative_position_index = _timm.get_relative_position_index

PATCH = 4
MLP_RATIO = 4
ALL, INNER, LAST = slice(None), slice(0, -1), slice(-1, None)


class WindowAttention(TimmWindowAttention):
    """Attention among the places of a window, with a learned bias for each relative place."""

    def __init__(self, width: int, heads: int, window: int) -> None:
        super().__init__(width, heads, window_size=window)
        self.fused_attn = True  # timm would write out the weights of all windows

    def _init_buffers(self) -> None:
        """What timm calls for the table's rows: numbers in memory even where weights have none yet."""
        self.relative_position_index = relative_places(self.window_size[0])


class Block(nn.Module):
    """Window attention and a perceptron, both beside an identity.

    Args:
        width: Channels.
        heads: Divides ``width``.
        window: Side of a window in places.
        shift: How far windows are shifted down and to the right.
    """

    def __init__(self, width: int, heads: int, window: int, shift: int) -> None:
        super().__init__()
        self.window, self.shift = window, shift
        self.norm1 = nn.LayerNorm(width)
        self.attn = WindowAttention(width, heads, window)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = Mlp(width, MLP_RATIO * width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (B, H, W, C) to the same shape."""
        x = x + self._attended(self.norm1(x))
        return x + self.mlp(self.norm2(x))

    def _attended(self, x: Tensor) -> Tensor:
        batch, height, width, channels = x.shape
        side, shift = self.window, self.shift
        x = F.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = x.shape[1] // side, x.shape[2] // side
        if shift:
            x = x.roll((-shift, -shift), dims=(1, 2))
        windows = x.view(batch, rows, side, columns, side, channels).transpose(2, 3)
        mixed = torch.empty(windows.shape, dtype=x.dtype, device=x.device)
        for part, mask in self._parts(x):
            some = windows[part]
            if some.numel():
                places = some.reshape(-1, side * side, channels)
                mixed[part] = self.attn(places, mask).view(some.shape)
        x = mixed.transpose(2, 3).reshape(batch, rows * side, columns * side, channels)
        if shift:
            x = x.roll((shift, shift), dims=(1, 2))
        return x[:, :height, :width]

    def _parts(self, like: Tensor) -> Iterator[tuple[tuple[slice, slice, slice], Tensor | None]]:
        """Parts of (B, rows, columns) windows, and the (1, N, N) mask of each one's N places.

        After a shift the last row and column of windows hold pieces from opposite sides of the
        picture, which must not see each other.
        """
        if not self.shift:
            yield (ALL, ALL, ALL), None
            return
        in_last_row, in_last_column = seams(self.window, self.shift, like.device)
        yield (ALL, INNER, INNER), None
        for rows, columns, differ in (
            (LAST, INNER, in_last_row),
            (INNER, LAST, in_last_column),
            (LAST, LAST, in_last_row | in_last_column),
        ):
            mask = torch.zeros(differ.shape, dtype=like.dtype, device=like.device)
            yield (ALL, rows, columns), mask.masked_fill_(differ, float("-inf"))[None]


class Layer(nn.Module):
    """The blocks of one resolution and the step to the next."""

    def __init__(self, width: int, depth: int, heads: int, window: int, is_last: bool) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(
            Block(width, heads, window, window // 2 if index % 2 else 0) for index in range(depth)
        )
        self.downsample = None if is_last else PatchMerging(width)


class SwinTransformer(nn.Module):
    """Features at 1/4, 1/8, 1/16 and 1/32 of the picture's size.

    Args:
        width: Channels of the first layer; they double at each of the others.
        depths: Blocks of each layer.
        heads: Attention heads of each layer.
        window: Side of a window in places.
    """

    def __init__(
        self, width: int, depths: tuple[int, ...], heads: tuple[int, ...], window: int
    ) -> None:
        super().__init__()
        self.patch_embed = PatchEmbed(
            img_size=None,
            patch_size=PATCH,
            embed_dim=width,
            norm_layer=nn.LayerNorm,
            output_fmt="NHWC",
            dynamic_img_pad=True,
        )
        self.layers = nn.ModuleList(
            Layer(width * 2**index, depth, count, window, index == len(depths) - 1)
            for index, (depth, count) in enumerate(zip(depths, heads, strict=True))
        )
        for index in range(len(depths)):
            self.add_module(f"norm{index}", nn.LayerNorm(width * 2**index))

    def forward(self, picture: Tensor, report: Report) -> list[Tensor]:
        """Give the (B, C, h, w) features of each layer for a normalised (B, 3, H, W) picture."""
        x = self.patch_embed(picture)
        features = []
        for index, layer in enumerate(self.layers):
            assert isinstance(layer, Layer)
            for block in layer.blocks:
                x = block(x)
                report()
            features.append(self.get_submodule(f"norm{index}")(x).permute(0, 3, 1, 2))
            if layer.downsample is not None:
                x = layer.downsample(x)
        return features


@lru_cache(maxsize=4)
def relative_places(window: int) -> Tensor:
    """Give the (N, N) row of the bias table for each pair of a window's N places."""
    with torch.device("cpu"):
        return get_relative_position_index(window, window)


def seams(window: int, shift: int, device: torch.device) -> tuple[Tensor, Tensor]:
    """Say which (N, N) pairs of places a seam divides, in the last row and the last column."""
    is_far = torch.arange(window, device=device) >= window - shift
    below = is_far.repeat_interleave(window)
    right = is_far.repeat(window)
    return below[:, None] != below, right[:, None] != right
