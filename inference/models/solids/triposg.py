"""TripoSG (Li et al. 2025): the whole shape of a thing from one picture, drawn from noise.

A transformer that has seen the picture turns noise into a set of vectors step by step (``flow``),
and a decoder reads a solid off them (``vecset``). Another seed gives another solid that fits the
picture as well. There are no colours.

Frame of the field: y up, x to the right and z towards the viewer; the thing fills about -1 to 1.

This is our own writing of the published network from its description and its weights' names.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from ...field.vecset import LATTICE, VecSetField
from ..backbones.attention import Attention, FeedForward, KeysValues
from ..backbones.vit import IMAGENET_MEAN, IMAGENET_STD, VisionTransformer
from ..checkpoint import build, read, take_on
from . import vecset
from .flow import Velocity, follow_flow, guided, noise_levels, start_noise
from .framing import Reconstructed
from .triposg_framing import frame_subject
from .vecset import VecSetDecoder

Floats = NDArray[np.float32]
Report = Callable[[], None]

RADIUS = 1.005  # half the side of the cube that the published code looks at
STEPS = 50
GUIDANCE = 7.0
TOKENS = 2048  # vectors of a solid; what it was trained with
SHIFT = 1.0  # of the noise levels, as published
CHUNK_CPU, CHUNK_GPU = 1 << 12, 1 << 15  # points decoded at once
_ENCODER = Path("image_encoder_dinov2/model.safetensors")
_DECODER = Path("vae/diffusion_pytorch_model.safetensors")
_DENOISER = Path("transformer/diffusion_pytorch_model.safetensors")


@dataclass(frozen=True, slots=True)
class Shape:
    """Sizes of the denoiser; the defaults are the published ones.

    Attributes:
        channels: Of a latent vector.
        width: Channels of a token.
        depth: Blocks, an odd number.
        heads: Attention heads.
        context: Channels of the picture's tokens.
    """

    channels: int = 64
    width: int = 2048
    depth: int = 21
    heads: int = 16
    context: int = 1024


class PictureEncoder(VisionTransformer):
    """DINOv2 ViT-L/14 (Oquab et al. 2024), class token included; sizes as its parent's."""

    def positions(self, rows: int, columns: int) -> Tensor:
        """Position embedding, resampled to the very size of the grid.

        This network was trained on top of a library that had given up the factor of its parent.
        """
        if rows == columns == self.grid:
            return self.pos_embed
        return self.resampled(size=(rows, columns))


class _TimeTokens(nn.Module):
    """One token that says how much noise there is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.linear_1 = nn.Linear(width, 4 * width)
        self.linear_2 = nn.Linear(4 * width, width)

    def forward(self, level: float) -> Tensor:
        """(1, 1, width) of a share of noise from 0 to 1, as a thousandth of a step."""
        weight = self.linear_1.weight
        half = weight.shape[1] // 2
        count = torch.arange(half, device=weight.device, dtype=torch.float32)
        angle = 1000.0 * level * 10000.0 ** (-count / half)
        wave = torch.cat([angle.sin(), angle.cos()])[None, None].to(weight.dtype)
        return self.linear_2(F.gelu(self.linear_1(wave)))


class _Block(nn.Module):
    """Tokens look at each other, then at the picture; late blocks recall what early ones said."""

    skip_linear: nn.Linear | None
    skip_norm: nn.LayerNorm | None

    def __init__(self, shape: Shape, recalls: bool) -> None:
        super().__init__()
        width = shape.width
        self.norm1 = nn.LayerNorm(width)
        self.attn1 = Attention(width, shape.heads, is_packed=True, has_query_norm=True)
        self.norm2 = nn.LayerNorm(width)
        self.attn2 = Attention(
            width, shape.heads, shape.context, is_packed=True, has_query_norm=True
        )
        self.norm3 = nn.LayerNorm(width)
        self.ff = FeedForward(width)
        self.skip_linear = nn.Linear(2 * width, width) if recalls else None
        self.skip_norm = nn.LayerNorm(width) if recalls else None

    def forward(
        self, x: Tensor, earlier: Tensor | None, context: KeysValues | None, report: Report
    ) -> Tensor:
        """Pass the tokens (1, N, width) through the block.

        Args:
            x: The tokens.
            earlier: What the block across the middle said, for blocks that recall.
            context: The picture, or None for no picture.
            report: Called between the layers; raises to cancel.
        """
        if self.skip_linear is not None and self.skip_norm is not None and earlier is not None:
            x = self.skip_norm(self.skip_linear(torch.cat([earlier, x], dim=-1)))
        report()
        x = x + self.attn1(self.norm1(x))
        report()
        if context is None:
            x = x + self.attn2.of_nothing()  # no picture is one whose tokens are all zero
        else:
            x = x + self.attn2.attend(self.norm2(x), context)
        report()
        return x + self.ff(self.norm3(x))


class Denoiser(nn.Module):
    """The transformer that says where the data lies; parameters are named as published."""

    def __init__(self, shape: Shape) -> None:
        super().__init__()
        self.time_proj = _TimeTokens(shape.width)
        self.proj_in = nn.Linear(shape.channels, shape.width)
        self.blocks = nn.ModuleList(
            _Block(shape, recalls=index > shape.depth // 2) for index in range(shape.depth)
        )
        self.norm_out = nn.LayerNorm(shape.width)
        self.proj_out = nn.Linear(shape.width, shape.channels)

    def contexts(self, tokens: Tensor) -> list[KeysValues]:
        """What each block needs to know of a picture (1, M, context); the same at every step."""
        blocks = (block for block in self.blocks if isinstance(block, _Block))
        return [block.attn2.keys_values(tokens) for block in blocks]

    def forward(
        self, state: Tensor, level: float, contexts: list[KeysValues] | None, report: Report
    ) -> Tensor:
        """Direction from noise to data.

        Args:
            state: (1, N, channels).
            level: Share of noise in it, 0 to 1.
            contexts: From ``contexts``, or None for no picture.
            report: Called within each block; raises to cancel.

        Returns:
            (1, N, channels).
        """
        x = torch.cat([self.time_proj(level), self.proj_in(state)], dim=1)
        said: list[Tensor] = []
        middle = len(self.blocks) // 2
        for index, block in enumerate(self.blocks):
            earlier = said.pop() if index > middle else None
            x = block(x, earlier, None if contexts is None else contexts[index], report)
            if index < middle:
                said.append(x)
        return self.proj_out(self.norm_out(x[:, 1:]))


_ENCODER_NAMES = {
    "embeddings.cls_token": "cls_token",
    "embeddings.position_embeddings": "pos_embed",
    "embeddings.patch_embeddings.projection": "patch_embed.proj",
    "layernorm": "norm",
}
_LAYER_NAMES = {
    "attention.output.dense": "attn.proj",
    "layer_scale1.lambda1": "ls1.gamma",
    "layer_scale2.lambda1": "ls2.gamma",
}


def map_encoder(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the picture encoder's published state (DINOv2 as on the hub) to timm's names."""
    found: dict[str, Tensor] = {}
    parts: dict[str, dict[str, Tensor]] = {}  # queries, keys and values become one matrix
    for key, value in state.items():
        if key == "embeddings.mask_token":
            continue
        name, _, kind = key.rpartition(".")
        if match := re.match(r"encoder\.layer\.(\d+)\.(.*)", key):
            block, rest = f"blocks.{match[1]}.", match[2]
            if split := re.match(r"attention\.attention\.(query|key|value)\.(\w+)$", rest):
                parts.setdefault(f"{block}attn.qkv.{split[2]}", {})[split[1]] = value
                continue
            for theirs, ours in _LAYER_NAMES.items():
                rest = rest.replace(theirs, ours)
            found[block + rest] = value
        elif key in _ENCODER_NAMES:
            found[_ENCODER_NAMES[key]] = value
        elif name in _ENCODER_NAMES:
            found[f"{_ENCODER_NAMES[name]}.{kind}"] = value
        else:
            found[key] = value
    for name, part in parts.items():
        if part.keys() == {"query", "key", "value"}:
            found[name] = torch.cat([part["query"], part["key"], part["value"]])
    return found


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring any one of the three published files to our names.

    The denoiser's are ours; of the auto-encoder only the decoding half is kept.
    """
    if any(key.startswith(("embeddings.", "encoder.layer.")) for key in state):
        return map_encoder(state)
    return {k: v for k, v in state.items() if not k.startswith(("encoder.", "quant."))}


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    is_offloaded: bool = False,
) -> TripoSG:
    """Load the three networks.

    Args:
        path: The folder that holds them as published (image_encoder_dinov2, transformer and vae),
            or the transformer's file in it.
        device: Where to run.
        dtype: float32, bfloat16 or float16.
        is_offloaded: Keep the networks in main memory and bring each to the device only while it
            runs: slower by the time that copying takes, and the device needs to hold one at a time.

    Raises:
        WeightsError: A file is missing, damaged or of another network.
    """
    folder = path if path.is_dir() else path.parent.parent
    home = torch.device("cpu") if is_offloaded else device
    encoder = build(lambda: PictureEncoder(14, 1024, 24, 16, grid=37))
    denoiser = build(lambda: Denoiser(Shape()))
    decoder = build(lambda: VecSetDecoder(vecset.Shape()))
    for net, name in ((encoder, _ENCODER), (denoiser, _DENOISER), (decoder, _DECODER)):
        file = folder / name
        take_on(net, map_checkpoint(read(file).tensors), file, home, dtype)
    return TripoSG(encoder, denoiser, decoder, device)


class TripoSG:
    """The loaded networks; make it with ``load``."""

    def __init__(
        self,
        encoder: PictureEncoder,
        denoiser: Denoiser,
        decoder: VecSetDecoder,
        device: torch.device,
    ) -> None:
        self._encoder = encoder.eval().requires_grad_(False)
        self._denoiser = denoiser.eval().requires_grad_(False)
        self._decoder = decoder.eval().requires_grad_(False)
        self._device = device

    def estimate(
        self,
        rgb: Floats,
        mask: Floats,
        report: Report,
        *,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        seed: int = 0,
        tokens: int = TOKENS,
        chunk: int | None = None,
        cells: int = LATTICE,
        advance: Callable[[float], None] | None = None,
    ) -> Reconstructed[VecSetField]:
        """Reconstruct the subject of a picture.

        Args:
            rgb: (H, W, 3) sRGB 0..1.
            mask: (H, W) 0..1 subject.
            report: Called several times per block, and by the field's queries; raises to cancel.
            steps: From noise to the solid; fewer are faster and rougher.
            guidance: How closely the picture is followed; 1 as learned, and twice as fast.
            seed: Another one gives another solid.
            tokens: Vectors of the solid; less needs less memory and gives less detail.
            chunk: Points decoded at once; less needs less memory. None: by the device.
            cells: Of the field's coarse look, along each side.
            advance: Called with the finished share of the steps, from 0 to 1.

        Raises:
            CutOutError: Nothing is cut out.
        """
        return next(
            self.variants(
                rgb,
                mask,
                [seed],
                report,
                steps=steps,
                guidance=guidance,
                tokens=tokens,
                chunk=chunk,
                cells=cells,
                advance=advance,
            )
        )

    def variants(
        self,
        rgb: Floats,
        mask: Floats,
        seeds: Sequence[int],
        report: Report,
        *,
        steps: int = STEPS,
        guidance: float = GUIDANCE,
        tokens: int = TOKENS,
        chunk: int | None = None,
        cells: int = LATTICE,
        advance: Callable[[float], None] | None = None,
    ) -> Iterator[Reconstructed[VecSetField]]:
        """Reconstruct the subject once for each seed; the picture is looked at once.

        Each result is made when it is asked for. See ``estimate`` for the arguments.
        """
        framed = frame_subject(rgb, mask)
        picture = self.look(framed.rgb, report)
        for number, seed in enumerate(seeds):
            start = number / len(seeds)

            def advanced(share: float, start: float = start) -> None:
                report()
                if advance is not None:
                    advance(start + share / len(seeds))

            latents = self.draw(picture, steps, guidance, seed, tokens, report, advanced)
            field = self.field(latents, report, chunk, cells)
            yield Reconstructed(field, framed.x0, framed.y0, framed.side, seed)

    def look(self, framed: Floats, report: Report) -> Tensor:
        """(1, 257, 1024) tokens of a framed picture (224, 224, 3)."""
        image = (framed - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
        tensor = torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1), np.float32))[None]
        with torch.inference_mode(), self._brought(self._encoder):
            weight = self._encoder.cls_token
            tensor = tensor.to(weight.device, weight.dtype)
            last = len(self._encoder.blocks) - 1
            return self._encoder.forward_taps(tensor, [last], report)[0]

    def draw(
        self,
        picture: Tensor,
        steps: int,
        guidance: float,
        seed: int,
        tokens: int,
        report: Report,
        advance: Callable[[float], None],
    ) -> Tensor:
        """(1, tokens, channels) float32 latent vectors of a solid; see ``estimate``."""
        with torch.inference_mode(), self._brought(self._denoiser):
            net = self._denoiser
            weight = net.proj_in.weight
            contexts = net.contexts(picture.to(weight.dtype))

            def towards(known: list[KeysValues] | None) -> Velocity:
                return lambda state, level: net(state.to(weight.dtype), level, known, report)

            noise = start_noise((1, tokens, weight.shape[1]), seed, self._device)
            velocity = guided(towards(contexts), towards(None), guidance)
            return follow_flow(noise, noise_levels(steps, SHIFT), velocity, advance)

    def field(
        self, latents: Tensor, report: Report, chunk: int | None = None, cells: int = LATTICE
    ) -> VecSetField:
        """The solid of latent vectors; the decoder stays on the device as long as it is used."""
        decoder = self._decoder.to(self._device)
        with torch.no_grad():  # not inference_mode: the field is derived by the points
            solid = decoder.solid(latents.to(decoder.post_quant.weight.dtype), report)
        if chunk is None:
            chunk = CHUNK_CPU if self._device.type == "cpu" else CHUNK_GPU
        return VecSetField(
            lambda points: decoder(points, solid),
            RADIUS,
            self._device,
            report,
            chunk=chunk,
            cells=cells,
        )

    @contextmanager
    def _brought(self, net: nn.Module) -> Iterator[None]:
        """Have a network on the device for a while."""
        home = next(net.parameters()).device
        net.to(self._device)
        try:
            yield
        finally:
            net.to(home)
