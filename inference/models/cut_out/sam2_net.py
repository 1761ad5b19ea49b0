"""The network of SAM 2.1, as far as pictures need it (see ``sam2``).

Modules carry the names of the published ``.pt`` checkpoints, but for the backbone's perceptrons, which
are timm's.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from itertools import pairwise

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from ..backbones.hiera import Hiera

Report = Callable[[], None]
Stages = tuple[int, int, int, int]

WIDTH = 256
HEADS = 8

# Blocks of each stage -> the ones that look at everything, as published.
WHOLE: dict[Stages, tuple[int, ...]] = {(1, 2, 7, 2): (5, 7, 9), (1, 2, 11, 2): (7, 10, 13)}


class Mlp(nn.Module):
    """Linear layers with ReLU between them."""

    def __init__(self, *widths: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(*pair) for pair in pairwise(widths))

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers[:-1]:
            x = layer(x).relu_()
        return self.layers[-1](x)


class _Token(nn.Module):
    """Learned tokens, named as an embedding."""

    def __init__(self, count: int = 1) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.zeros(count, WIDTH))


class _Waves(nn.Module):
    """Random Fourier features of places (Tancik et al. 2020)."""

    def __init__(self) -> None:
        super().__init__()
        self.positional_encoding_gaussian_matrix = nn.Buffer(torch.zeros(2, WIDTH // 2))

    def forward(self, places: Tensor) -> Tensor:
        """(..., 2) x and y from 0 to 1 -> (..., WIDTH)."""
        matrix = self.positional_encoding_gaussian_matrix
        angle = 2 * math.pi * ((2 * places - 1).to(matrix.dtype) @ matrix)
        return torch.cat([angle.sin(), angle.cos()], dim=-1)


class PromptEncoder(nn.Module):
    """Clicks as tokens."""

    def __init__(self) -> None:
        super().__init__()
        self.pe_layer = _Waves()
        self.point_embeddings = nn.ModuleList(_Token() for _ in range(4))
        self.not_a_point_embed = _Token()
        self.no_mask_embed = _Token()

    def forward(self, places: Tensor, kinds: list[int]) -> Tensor:
        """(N, 2) x and y from 0 to 1 and their kinds -> (1, N + 1, WIDTH).

        The network was trained with a token that says nothing at the end.
        """
        names = [f"point_embeddings.{kind}.weight" for kind in kinds]
        kinds_of = torch.cat([self.get_parameter(name) for name in names])
        tokens = self.pe_layer(places) + kinds_of
        return torch.cat([tokens, self.not_a_point_embed.weight])[None]

    def grid(self, rows: int, columns: int) -> Tensor:
        """(1, rows * columns, WIDTH) the places of a map's middles."""
        device = self.no_mask_embed.weight.device
        y = (torch.arange(rows, device=device) + 0.5) / rows
        x = (torch.arange(columns, device=device) + 0.5) / columns
        places = torch.stack([x.expand(rows, -1), y[:, None].expand(-1, columns)], dim=-1)
        return self.pe_layer(places).flatten(0, 1)[None]


class CrossAttention(nn.Module):
    """Multi-head attention in fewer channels."""

    def __init__(self, inner: int) -> None:
        super().__init__()
        self.q_proj, self.k_proj = nn.Linear(WIDTH, inner), nn.Linear(WIDTH, inner)
        self.v_proj, self.out_proj = nn.Linear(WIDTH, inner), nn.Linear(inner, WIDTH)

    def forward(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        parts = (self.q_proj(q), self.k_proj(k), self.v_proj(v))
        heads = (part.unflatten(2, (HEADS, -1)).transpose(1, 2) for part in parts)
        mixed = F.scaled_dot_product_attention(*heads)
        return self.out_proj(mixed.transpose(1, 2).flatten(2))


class TwoWayBlock(nn.Module):
    """Clicks look at each other and at the picture, then the picture looks at them."""

    def __init__(self, is_first: bool) -> None:
        super().__init__()
        self.is_first = is_first
        self.self_attn = CrossAttention(WIDTH)
        self.norm1 = nn.LayerNorm(WIDTH)
        self.cross_attn_token_to_image = CrossAttention(WIDTH // 2)
        self.norm2 = nn.LayerNorm(WIDTH)
        self.mlp = Mlp(WIDTH, 8 * WIDTH, WIDTH)
        self.norm3 = nn.LayerNorm(WIDTH)
        self.norm4 = nn.LayerNorm(WIDTH)
        self.cross_attn_image_to_token = CrossAttention(WIDTH // 2)

    def forward(self, x: Tensor, image: Tensor, own: Tensor, places: Tensor) -> tuple[Tensor, ...]:
        asked = x if self.is_first else x + own
        seen = self.self_attn(asked, asked, x)
        x = self.norm1(seen if self.is_first else x + seen)
        keys = image + places
        x = self.norm2(x + self.cross_attn_token_to_image(x + own, keys, image))
        x = self.norm3(x + self.mlp(x))
        image = self.norm4(image + self.cross_attn_image_to_token(keys, x + own, x))
        return x, image


class TwoWayTransformer(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.ModuleList(TwoWayBlock(index == 0) for index in range(2))
        self.final_attn_token_to_image = CrossAttention(WIDTH // 2)
        self.norm_final_attn = nn.LayerNorm(WIDTH)

    def forward(self, image: Tensor, places: Tensor, tokens: Tensor) -> tuple[Tensor, Tensor]:
        x = tokens
        for layer in self.layers:
            x, image = layer(x, image, tokens, places)
        last = self.final_attn_token_to_image(x + tokens, image + places, image)
        return self.norm_final_attn(x + last), image


class ChannelNorm(nn.LayerNorm):
    """A layer norm over the channels of (B, C, H, W)."""

    def forward(self, input: Tensor) -> Tensor:
        return super().forward(input.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)


class MaskDecoder(nn.Module):
    """Four masks for a set of clicks, and how well each is thought to fit."""

    def __init__(self) -> None:
        super().__init__()
        self.transformer = TwoWayTransformer()
        self.iou_token, self.obj_score_token, self.mask_tokens = _Token(), _Token(), _Token(4)
        self.output_upscaling = nn.ModuleDict(
            {
                "0": nn.ConvTranspose2d(WIDTH, WIDTH // 4, 2, stride=2),
                "1": ChannelNorm(WIDTH // 4, eps=1e-6),
                "3": nn.ConvTranspose2d(WIDTH // 4, WIDTH // 8, 2, stride=2),
            }
        )
        self.conv_s0 = nn.Conv2d(WIDTH, WIDTH // 8, 1)
        self.conv_s1 = nn.Conv2d(WIDTH, WIDTH // 4, 1)
        self.output_hypernetworks_mlps = nn.ModuleList(
            Mlp(WIDTH, WIDTH, WIDTH, WIDTH // 8) for _ in range(4)
        )
        self.iou_prediction_head = Mlp(WIDTH, WIDTH, WIDTH, 4)

    def forward(self, look: Look, clicks: Tensor) -> tuple[Tensor, Tensor]:
        """Answer clicks.

        Args:
            look: At the picture.
            clicks: (1, N, WIDTH).

        Returns:
            (4, h, w) logits at a quarter of the picture's size and (4,) expected overlaps, from 0
            to 1: first the mask for many clicks, then three for one click, which may mean a thing,
            a part of it or a part of that.
        """
        tokens_of = (self.obj_score_token, self.iou_token, self.mask_tokens)
        own = torch.cat([token.weight for token in tokens_of])
        tokens = torch.cat([own[None], clicks], dim=1)
        tokens, image = self.transformer(look.image, look.places, tokens)
        x = image.transpose(1, 2).unflatten(2, (look.rows, look.columns))
        up = self.output_upscaling
        x = F.gelu(up["1"](up["0"](x).add_(look.half)))
        x = F.gelu(up["3"](x).add_(look.quarter))
        mixes = [mlp(tokens[0, 2 + i]) for i, mlp in enumerate(self.output_hypernetworks_mlps)]
        logits = torch.einsum("mc,chw->mhw", torch.stack(mixes), x[0])
        return logits, self.iou_prediction_head(tokens[0, 1]).sigmoid()


@dataclass(frozen=True, slots=True)
class Look:
    """What the network has seen of a picture, ready for any clicks.

    Attributes:
        image: (1, rows * columns, WIDTH) at 1/16 of the size.
        places: Of that shape: where each of them is.
        half: (1, WIDTH / 4, 2 rows, 2 columns) finer features.
        quarter: (1, WIDTH / 8, 4 rows, 4 columns) the finest.
        rows: Of ``image``.
        columns: Of ``image``.
    """

    image: Tensor
    places: Tensor
    half: Tensor
    quarter: Tensor
    rows: int
    columns: int


class _Neck(nn.Module):
    """Brings all stages to the same channels, the coarsest first."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.convs = nn.ModuleList(
            nn.ModuleDict({"conv": nn.Conv2d(width * 2**stage, WIDTH, 1)}) for stage in (3, 2, 1, 0)
        )

    def layer(self, stage: int) -> nn.Conv2d:
        """The layer of a stage, counted from the finest."""
        found = self.get_submodule(f"convs.{3 - stage}.conv")
        assert isinstance(found, nn.Conv2d)
        return found


class _ImageEncoder(nn.Module):
    def __init__(self, width: int, stages: Stages) -> None:
        super().__init__()
        whole = WHOLE[stages]
        self.trunk = Hiera(width, stages, whole)
        self.neck = _Neck(width)


class Sam2Net(nn.Module):
    """The network; parameters are named as in the published ``.pt`` files.

    Args:
        width: Channels of the backbone's first stage.
        stages: Blocks of each stage; a key of ``WHOLE``.
    """

    def __init__(self, width: int, stages: Stages) -> None:
        super().__init__()
        self.no_mem_embed = nn.Parameter(torch.zeros(1, 1, WIDTH))
        self.image_encoder = _ImageEncoder(width, stages)
        self.sam_prompt_encoder = PromptEncoder()
        self.sam_mask_decoder = MaskDecoder()

    def look(self, picture: Tensor, report: Report) -> Look:
        """Look at a normalised (1, 3, H, W) picture; sides are multiples of 32."""
        stages = self.image_encoder.trunk.forward_stages(picture, report)
        report()
        prompts, decoder = self.sam_prompt_encoder, self.sam_mask_decoder
        neck = self.image_encoder.neck
        image = F.linear(stages[2], *_weights(neck.layer(2)))
        above = F.linear(stages[3], *_weights(neck.layer(3))).permute(0, 3, 1, 2)
        image += F.interpolate(above, scale_factor=2.0, mode="nearest").permute(0, 2, 3, 1)
        # Nothing is remembered of earlier pictures, and no mask is given: constants say so.
        image += (self.no_mem_embed + prompts.no_mask_embed.weight)[None]
        half = F.linear(stages[1], *_joined(neck.layer(1), decoder.conv_s1)).permute(0, 3, 1, 2)
        quarter = F.linear(stages[0], *_joined(neck.layer(0), decoder.conv_s0)).permute(0, 3, 1, 2)
        rows, columns = image.shape[1:3]
        places = prompts.grid(rows, columns)
        return Look(image.flatten(1, 2), places, half, quarter, rows, columns)

    def answer(self, look: Look, places: Tensor, kinds: list[int]) -> tuple[Tensor, Tensor]:
        """All four masks for clicks at (N, 2) places from 0 to 1; see ``MaskDecoder``."""
        return self.sam_mask_decoder(look, self.sam_prompt_encoder(places, kinds))


def _weights(layer: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """A 1x1 convolution as a matrix and a bias."""
    assert layer.bias is not None
    return layer.weight.flatten(1), layer.bias


def _joined(first: nn.Conv2d, second: nn.Conv2d) -> tuple[Tensor, Tensor]:
    """Two 1x1 convolutions as one, so that the many channels between them never exist."""
    (before, bias), (after, last) = _weights(first), _weights(second)
    return after @ before, after @ bias + last
