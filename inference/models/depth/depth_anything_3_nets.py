"""The two networks of Depth Anything 3 (Lin et al. 2025), for several pictures and for one.

Both are DINOv2 with a DPT head. In the one for several, later blocks let the tokens of all pictures
attend to each other, queries and keys are rotated by the token's place, and a small decoder says each
picture's camera.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..backbones.dpt import PATCH, DptHead
from ..backbones.vit import Attention, VisionTransformer, VitBlock, add_scaled
from .depth_anything import VARIANTS

Report = Callable[[], None]

REORDER_FROM = 3  # views from which the network chooses the one that the others refer to
WAVE_BASE = 100.0


@dataclass(frozen=True, slots=True)
class ViewVariant:
    """How a network for views differs from plain DINOv2.

    Attributes:
        taps: Blocks whose output the head sees.
        start: First block with camera tokens, normalised queries and keys, and rotations; from
            the next one on, odd blocks look at all pictures at once.
    """

    taps: tuple[int, int, int, int]
    start: int


VIEW_VARIANTS = {
    "small": ViewVariant((5, 7, 9, 11), 4),
    "base": ViewVariant((5, 7, 9, 11), 4),
    "large": ViewVariant((11, 15, 19, 23), 8),
}


class RotatedAttention(Attention):
    """Attention with normalised queries and keys that are rotated by the token's place.

    timm's own rotated attention pairs the halves of a head's channels; this network was trained with
    pairs within each half, one half for rows and one for columns, and rotates the class token, too.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, qkv_bias=True, qk_norm=True, norm_layer=nn.LayerNorm)

    def looked(self, x: Tensor, waves: Tensor) -> Tensor:
        """(B, N, width) -> (B, N, width); ``waves`` as from ``rotations``."""
        parts = self.qkv(x).unflatten(2, (3, self.num_heads, self.head_dim))
        q, k, v = parts.permute(2, 0, 3, 1, 4).unbind(0)
        q, k = rotated(self.q_norm(q), waves), rotated(self.k_norm(k), waves)
        mixed = F.scaled_dot_product_attention(q, k, v)
        return self.proj(mixed.transpose(1, 2).flatten(2))


class ViewBlock(VitBlock):
    """A block whose attention is rotated."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__(width, heads, qkv_bias=True, init_values=1.0)
        self.attn = RotatedAttention(width, heads)

    def looked(self, x: Tensor, waves: Tensor) -> Tensor:
        """Do what ``forward`` does, with rotations."""
        attention = self.attn
        assert isinstance(attention, RotatedAttention)
        x = add_scaled(x, attention.looked(self.norm1(x), waves), self.ls1)
        return add_scaled(x, self.mlp(self.norm2(x)), self.ls2)


def rotations(rows: Tensor, columns: Tensor, size: int, like: Tensor) -> Tensor:
    """Cosines and sines for tokens at places (Su et al. 2021, in two dimensions).

    Args:
        rows: (N,) place from top to bottom.
        columns: (N,) place from left to right.
        size: Channels of a head; a multiple of 4.
        like: Gives device and type.

    Returns:
        (2, N, 2, 1, size / 4): cosines and sines; for the first half of the channels by row, for
        the second by column.
    """
    count = size // 4
    speed = WAVE_BASE ** -(torch.arange(count, device=like.device, dtype=torch.float32) / count)
    places = torch.stack([rows, columns], 1).to(like.device, torch.float32)
    angle = (places[..., None] * speed)[:, :, None]
    return torch.stack([angle.cos(), angle.sin()]).to(like.dtype)


def rotated(x: Tensor, waves: Tensor) -> Tensor:
    """Rotate pairs of channels of (B, heads, N, size) by the angles in ``waves``."""
    first, second = x.unflatten(3, (2, 2, -1)).split(1, dim=4)
    cosine, sine = waves
    pairs = [first * cosine - second * sine, second * cosine + first * sine]
    return torch.cat(pairs, 4).flatten(3)


class ViewTransformer(VisionTransformer):
    """DINOv2 whose later blocks look from picture to picture."""

    def __init__(self, width: int, depth: int, heads: int, variant: ViewVariant) -> None:
        super().__init__(PATCH, width, depth, heads, grid=37)
        self.variant = variant
        self.head_width = width // heads
        self.camera_token = nn.Parameter(torch.zeros(1, 2, width))
        self.norm = nn.LayerNorm(width)
        for index in range(variant.start, depth):
            self.blocks[index] = ViewBlock(width, heads)

    def forward_views(self, images: Tensor, report: Report) -> tuple[list[Tensor], Tensor]:
        """Look at pictures of one place.

        Args:
            images: (N, 3, 14 h, 14 w), normalised as for ImageNet.
            report: Called before each block; raises to cancel.

        Returns:
            Per tap (N, h * w, 2 width), what was seen alone and what together; and (N, 2 width)
            summaries of the pictures' cameras.
        """
        start, taps = self.variant.start, self.variant.taps
        views, (rows, columns) = len(images), (side // PATCH for side in images.shape[2:])
        x = alone = self.embed(images)
        size = self.head_width
        down = torch.arange(rows).repeat_interleave(columns) + 1
        across = torch.arange(columns).repeat(rows) + 1
        zero = torch.zeros(1, dtype=torch.long)
        here = rotations(torch.cat([zero, down]), torch.cat([zero, across]), size, x)
        # From picture to picture a place means nothing; only the camera's token differs.
        flat = torch.cat([zero, torch.ones_like(down)]).repeat(views)
        anywhere = rotations(flat, flat, size, x)
        order = list(range(views))
        found: list[Tensor] = []
        summary = x[:, 0]
        for index in range(max(taps) + 1):
            report()
            if index == start - 1 and views >= REORDER_FROM:
                main = reference_view(x[:, 0])
                order.insert(0, order.pop(main))
                x, alone = x[order], alone[order]
            if index == start:
                first, others = self.camera_token[0]
                x = x.clone()
                x[:1, 0] = first
                x[1:, 0] = others
            block = self.blocks[index]
            if not isinstance(block, ViewBlock):
                x = alone = block(x)
            elif index % 2 == 0:
                x = alone = block.looked(x, here)
            else:
                x = block.looked(x.flatten(0, 1)[None], anywhere)[0].unflatten(0, (views, -1))
            if index in taps:
                back = [order.index(view) for view in range(views)]
                together = torch.cat([alone[back, 1:], self.norm(x[back, 1:])], 2)
                found.append(together)
                summary = torch.cat([alone[back, 0], x[back, 0]], 1)
        return found, summary


def reference_view(summaries: Tensor) -> int:
    """The picture that the others refer to: the most ordinary one by three measures.

    Args:
        summaries: (N, width) class tokens.
    """
    tokens = summaries.float()
    length = tokens.norm(dim=1)
    directions = tokens / length[:, None]
    likeness = ((directions @ directions.T).sum(1) - 1) / (len(tokens) - 1)
    total = torch.zeros_like(length)
    for measure in (likeness, length, directions.var(1)):
        spread = measure.max() - measure.min()
        total += ((measure - measure.min()) / (spread + 1e-8) - 0.5).abs()
    return int(total.argmin())


class CameraDecoder(nn.Module):
    """From the summary of a picture to its camera."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.backbone = nn.Sequential(
            nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width), nn.ReLU()
        )
        self.fc_t = nn.Linear(width, 3)
        self.fc_qvec = nn.Linear(width, 4)
        self.fc_fov = nn.Sequential(nn.Linear(width, 2), nn.ReLU())

    def forward(self, summary: Tensor) -> Tensor:
        """(N, width) -> (N, 9): position, quaternion (x, y, z, w), vertical and horizontal fov."""
        x = self.backbone(summary)
        return torch.cat([self.fc_t(x), self.fc_qvec(x), self.fc_fov(x)], 1).float()


class ViewsNet(nn.Module):
    """The network for several pictures; parameters are named as in the published files."""

    def __init__(self, size: str) -> None:
        super().__init__()
        plain, variant = VARIANTS[size], VIEW_VARIANTS[size]
        self.backbone = nn.Module()
        self.backbone.pretrained = ViewTransformer(plain.width, plain.depth, plain.heads, variant)
        self.head = DptHead(
            2 * plain.width,
            plain.channels,
            plain.features,
            outputs=2,
            has_norm=True,
            has_positions=True,
        )
        self.cam_dec = CameraDecoder(2 * plain.width)

    def forward(self, images: Tensor, report: Report, chunk: int) -> tuple[Tensor, Tensor, Tensor]:
        """(N, 3, 14 h, 14 w) -> depth (N, 14 h, 14 w), confidence of that shape, cameras (N, 9)."""
        transformer = self.backbone.get_submodule("pretrained")
        assert isinstance(transformer, ViewTransformer)
        tokens, summary = transformer.forward_views(images, report)
        cameras = self.cam_dec(summary)
        rows, columns = (side // PATCH for side in images.shape[2:])
        maps: list[Tensor] = []
        for begin in range(0, len(images), chunk):
            part = [level[begin : begin + chunk] for level in tokens]
            maps.append(self.head(part, rows, columns, report))
        depth, confidence = torch.cat(maps).exp_().unbind(1)
        return depth, confidence + 1, cameras


class SkyNet(nn.Module):
    """The network for one picture with a sky; parameters are named as in the published files."""

    def __init__(self, size: str = "large") -> None:
        super().__init__()
        plain = VARIANTS[size]
        self.taps = plain.taps
        self.backbone = nn.Module()
        transformer = VisionTransformer(PATCH, plain.width, plain.depth, plain.heads, grid=37)
        transformer.norm = nn.LayerNorm(plain.width)
        self.backbone.pretrained = transformer
        self.head = DptHead(plain.width, plain.channels, plain.features, has_sky=True)

    def forward(self, images: Tensor, report: Report) -> tuple[Tensor, Tensor]:
        """(B, 3, 14 h, 14 w) -> depth (B, 14 h, 14 w) and how much a pixel is sky, that shape."""
        transformer = self.backbone.get_submodule("pretrained")
        assert isinstance(transformer, VisionTransformer)
        rows, columns = (side // PATCH for side in images.shape[2:])
        tokens = transformer.forward_taps(images, self.taps, report)
        depth, sky = self.head([t[:, 1:] for t in tokens], rows, columns, report).unbind(1)
        return depth.exp(), sky.relu()
