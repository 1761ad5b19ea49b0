"""TripoSR (Tochilkin et al. 2024): a whole thing from one picture in one pass.

A transformer turns the tokens of a picture into three feature planes through the thing's middle (a
triplane, Chan et al. 2022); a small perceptron reads density and colour at any point off them. After
the large reconstruction model of Hong et al. (2024).

Frame of the field: z up, the picture was taken from +x, image right is +y. The thing lies within
``RADIUS`` of the middle along each axis.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ...errors import CutOutError
from ...field.triplane import LATTICE, TriplaneField
from ..backbones.attention import Attention, FeedForward
from ..backbones.vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer
from ..checkpoint import build, read, take_on
from .framing import Cover, FramedPicture, Reconstructed

Floats = NDArray[np.float32]
Report = Callable[[], None]

RADIUS = 0.87  # half the side of the cube that the planes cover
PICTURE_SIDE = 512  # what the network was trained at
FOREGROUND = 0.85  # share of the picture's side that the subject's longer side takes
BACKGROUND = 0.5  # grey behind the subject
DENSITY_BIAS = -1.0
SURFACE_DENSITY = 25.0  # where the published code puts the surface
CHUNK_CPU, CHUNK_GPU = 1 << 13, 1 << 17  # points decoded at once: what fits a processor's cache


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the network; the defaults are the published ones.

    Attributes:
        picture_width: Channels of the picture's tokens.
        picture_depth: Blocks of the picture's transformer.
        picture_heads: Its heads.
        picture_patch: Side of its patches.
        picture_grid: Side of the square that its position embedding was trained for.
        plane: Side of each plane in tokens.
        width: Channels of the planes' tokens.
        depth: Blocks of the planes' transformer.
        heads: Its heads.
        features: Channels of the planes that are read.
        hidden: Channels of the perceptron.
        layers: Hidden layers of the perceptron.
    """

    picture_width: int = 768
    picture_depth: int = 12
    picture_heads: int = 12
    picture_patch: int = 16
    picture_grid: int = 14
    plane: int = 32
    width: int = 1024
    depth: int = 16
    heads: int = 16
    features: int = 40
    hidden: int = 64
    layers: int = 9


class _PictureTokens(nn.Module):
    """DINO ViT (Caron et al. 2021), class token included."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.model = VisionTransformer(
            shape.picture_patch,
            shape.picture_width,
            shape.picture_depth,
            shape.picture_heads,
            grid=shape.picture_grid,
            layer_scale=False,
            eps=1e-12,
        )

    def forward(self, images: Tensor, report: Report) -> Tensor:
        """(B, 3, H, W) normalised for ImageNet -> (B, 1 + N, picture_width)."""
        return self.model.forward_taps(images, [len(self.model.blocks) - 1], report)[0]


class _PlaneTokens(nn.Module):
    """The learned tokens that the planes grow from."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.embeddings = nn.Parameter(torch.zeros(3, shape.width, shape.plane, shape.plane))


class _Block(nn.Module):
    """Tokens look at each other, then at the picture."""

    def __init__(self, width: int, heads: int, context_width: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, heads)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(width, heads, context_width)
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width, is_gated=True)

    def forward(self, x: Tensor, context: Tensor) -> Tensor:
        x = x + self.attn1(self.norm1(x))
        x = x + self.attn2.attend(self.norm2(x), self.attn2.keys_values(context))
        return x + self.ff(self.norm3(x))


class _Backbone(nn.Module):
    """The transformer that writes the planes."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.norm = nn.GroupNorm(32, shape.width, eps=1e-6)
        self.proj_in = nn.Linear(shape.width, shape.width)
        self.transformer_blocks = nn.ModuleList(
            _Block(shape.width, shape.heads, shape.picture_width) for _ in range(shape.depth)
        )
        self.proj_out = nn.Linear(shape.width, shape.width)

    def forward(self, tokens: Tensor, context: Tensor, report: Report) -> Tensor:
        """(B, width, N) tokens and their picture's tokens -> (B, width, N)."""
        x = self.proj_in(self.norm(tokens).transpose(1, 2))
        for block in self.transformer_blocks:
            report()
            x = block(x, context)
        return self.proj_out(x).transpose(1, 2) + tokens


class _Upsampler(nn.Module):
    """Twice the resolution, few channels."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.upsample = nn.ConvTranspose2d(shape.width, shape.features, 2, stride=2)


class PointDecoder(nn.Module):
    """A perceptron from the planes' features at a point to density and colour."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        widths = [3 * shape.features, *[shape.hidden] * shape.layers]
        layers: list[nn.Module] = []
        for width in widths[:-1]:
            layers += [nn.Linear(width, shape.hidden), nn.SiLU(inplace=True)]
        self.layers = nn.Sequential(*layers, nn.Linear(shape.hidden, 4))

    def forward(self, features: Tensor) -> tuple[Tensor, Tensor]:
        """(N, 3 features), plane by plane -> (N,) density and (N, 3) sRGB colour 0..1."""
        out = self.layers(features)
        return (out[:, 0] + DENSITY_BIAS).exp(), out[:, 1:].sigmoid()


class TripoSRNet(nn.Module):
    """The network; parameters are named as published, but for the picture's tokens (timm's names)."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.image_tokenizer = _PictureTokens(shape)
        self.tokenizer = _PlaneTokens(shape)
        self.backbone = _Backbone(shape)
        self.post_processor = _Upsampler(shape)
        self.decoder = PointDecoder(shape)

    def forward(self, images: Tensor, report: Report) -> Tensor:
        """Write the planes of pictures.

        Args:
            images: (B, 3, H, W) from 0 to 1 on grey; H and W are multiples of the patch.
            report: Called between blocks; raises to cancel.

        Returns:
            (B, 3, features, 2 plane, 2 plane): planes xy, xz and yz, the first axis along columns.
        """
        mean = images.new_tensor(IMAGENET_MEAN)[:, None, None]
        std = images.new_tensor(IMAGENET_STD)[:, None, None]
        context = self.image_tokenizer((images - mean) / std, report)
        seeds = self.tokenizer.embeddings
        side = seeds.shape[-1]
        tokens = seeds.transpose(0, 1).flatten(1)[None].expand(len(images), -1, -1)
        tokens = self.backbone(tokens, context, report)
        planes = tokens.unflatten(2, (3, side, side)).transpose(1, 2).flatten(0, 1)
        return self.post_processor.upsample(planes).unflatten(0, (len(images), 3))


_PICTURE = "image_tokenizer.model."
_PICTURE_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_BLOCK_NAMES = {
    "layernorm_before": "norm1",
    "layernorm_after": "norm2",
    "attention.output.dense": "attn.proj",
    "intermediate.dense": "mlp.fc1",
    "output.dense": "mlp.fc2",
}


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the published state to the names of ``TripoSRNet``.

    Takes the keys of ``model.ckpt`` and what this function returned before.
    """
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}  # queries, keys and values become one matrix
    for key, value in state.items():
        if not key.startswith(_PICTURE):
            found[key] = value
            continue
        name = key.removeprefix(_PICTURE)
        if name.startswith("pooler."):
            continue
        name, _, kind = (
            name.rpartition(".") if name.endswith(("weight", "bias")) else (name, "", "")
        )
        kind = f".{kind}" if kind else ""
        if match := re.match(r"encoder\.layer\.(\d+)\.(.*)", name):
            block, rest = f"{_PICTURE}blocks.{match[1]}.", match[2]
            if split := re.match(r"attention\.attention\.(query|key|value)$", rest):
                parts.setdefault(f"{block}attn.qkv{kind}", {})[split[1]] = value
                continue
            found[block + _BLOCK_NAMES.get(rest, rest) + kind] = value
        else:
            found[_PICTURE + _PICTURE_NAMES.get(name, name) + kind] = value
    for name, part in parts.items():
        if part.keys() == {"query", "key", "value"}:
            found[name] = torch.cat([part["query"], part["key"], part["value"]])
    return found


def frame_subject(rgb: Floats, mask: Floats) -> FramedPicture:
    """Cut a subject out and set it in the middle of a grey square, as in training.

    Args:
        rgb: (H, W, 3) sRGB 0..1.
        mask: (H, W) 0..1 subject.

    Raises:
        CutOutError: Nothing is cut out.
    """
    found = Cover.of(mask)
    # The last row and column are left out, and all halves rounded down, as when it was trained.
    top, left = found.top, found.left
    height, width = found.bottom - top, found.right - left
    if not (height and width):
        raise CutOutError("The cut-out is empty but for a line: check the cut-out or paint a mask.")
    inner = max(height, width)
    side = int(inner / FOREGROUND)
    border = (side - inner) // 2
    y0, x0 = top - (inner - height) // 2 - border, left - (inner - width) // 2 - border
    colour = np.round(np.clip(rgb[top : top + height, left : left + width], 0, 1) * 255)
    colour = colour.astype(np.float32) / 255
    cover = found.alpha[top : top + height, left : left + width, None].astype(np.float32) / 255
    square = np.full((side, side, 3), BACKGROUND, np.float32)
    square[top - y0 : top - y0 + height, left - x0 : left - x0 + width] = colour * cover + (
        1 - cover
    ) * np.float32(BACKGROUND)
    levels = (square * 255).astype(np.uint8).astype(np.float32) / np.float32(255)
    return FramedPicture(levels.astype(np.float32), float(x0), float(y0), float(side))


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> TripoSR:
    """Load the network.

    Args:
        path: A .safetensors file with published or mapped names.
        device: Where to run.
        dtype: float32, bfloat16 or float16; points are decoded in float32 in any case.

    Raises:
        WeightsError: The file is missing, damaged or of another network.
    """
    net = build(lambda: TripoSRNet(Shape()))
    take_on(net, map_checkpoint(read(path).tensors), path, device, dtype)
    return TripoSR(net)


class TripoSR:
    """A loaded network; make it with ``load``."""

    def __init__(self, net: TripoSRNet) -> None:
        self._net = net.eval().requires_grad_(False)
        net.decoder.float()

    def estimate(
        self,
        rgb: Floats,
        mask: Floats,
        report: Report,
        *,
        picture_side: int = PICTURE_SIDE,
        chunk: int | None = None,
        cells: int = LATTICE,
    ) -> Reconstructed[TriplaneField]:
        """Reconstruct the subject of a picture.

        Args:
            rgb: (H, W, 3) sRGB 0..1.
            mask: (H, W) 0..1 subject.
            report: Called at least between blocks, and by the field's queries; raises to cancel.
            picture_side: What the framed picture is scaled to; a multiple of 16. Less needs less
                memory and shows less.
            chunk: Points that the field decodes at once; less needs less memory. None: by the
                device.
            cells: Of the field's coarse look, along each side.

        Raises:
            CutOutError: Nothing is cut out.
        """
        framed = frame_subject(rgb, mask)
        planes = self.planes(framed.rgb, report, picture_side)
        if chunk is None:
            chunk = CHUNK_CPU if planes.device.type == "cpu" else CHUNK_GPU
        field = TriplaneField(
            planes,
            self._net.decoder,
            SURFACE_DENSITY,
            RADIUS,
            report,
            chunk=chunk,
            cells=cells,
        )
        return Reconstructed(field, framed.x0, framed.y0, framed.side)

    def planes(self, framed: Floats, report: Report, picture_side: int = PICTURE_SIDE) -> Tensor:
        """(3, C, P, P) float32 planes of a framed picture (side, side, 3)."""
        weight = self._net.tokenizer.embeddings
        image = torch.from_numpy(np.ascontiguousarray(framed.transpose(2, 0, 1)))[None]
        image = F.interpolate(
            image.to(weight.device), (picture_side, picture_side), mode="bilinear", antialias=True
        )
        with torch.inference_mode():
            return self._net(image.to(weight.dtype), report)[0].float()
