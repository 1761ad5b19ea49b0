"""SAM 2.1 for pictures: the thing that was clicked on, or framed by a box.

Ravi et al. 2024, "SAM 2: Segment Anything in Images and Videos". A Hiera backbone looks at the
picture once; a small transformer then answers each set of clicks within a moment. What only follows
things through videos (its memory) is left out. Modules carry the names of the published ``.pt``
checkpoints; the names of the ``model.safetensors`` beside them are understood too.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from .. import checkpoint
from ..matte import IMAGENET_MEAN, IMAGENET_STD
from .sam2_net import WHOLE, Look, Report, Sam2Net

Floats = NDArray[np.float32]

SIDE = 1024  # what the network was trained at
STRIDE = 32
STABLE, MARGIN = 0.98, 0.05  # a mask is stable when moving its threshold this far changes little

BACKGROUND, SUBJECT, FIRST_CORNER, LAST_CORNER, NOTHING = 0, 1, 2, 3, -1  # kinds of clicks


def best_mask(logits: Tensor, overlaps: Tensor, *, is_single: bool) -> Tensor:
    """Choose among the four masks, as published.

    Args:
        logits: (4, h, w), see ``MaskDecoder``.
        overlaps: (4,).
        is_single: Whether there was one click alone, which can mean several things.

    Returns:
        (h, w) logits: for one click the one of the last three that is thought to fit best; for
        more the first, unless it is unstable.
    """
    others = logits[1 + int(overlaps[1:].argmax())]
    if is_single:
        return others
    inner, outer = (logits[0] > MARGIN).sum(), (logits[0] > -MARGIN).sum()
    is_stable = bool(outer == 0) or float(inner / outer) >= STABLE
    return logits[0] if is_stable else others


class PickEstimator:
    """A loaded network; make it with ``load``. Remembers its look at the last picture."""

    def __init__(self, network: Sam2Net) -> None:
        self._network = network
        self._seen: tuple[NDArray[np.uint8], int] | None = None
        self._look: Look | None = None

    def estimate(
        self,
        rgb: NDArray[np.uint8],
        points: Floats,
        is_subject: NDArray[np.bool_],
        box: tuple[float, float, float, float] | None,
        report: Report,
        *,
        max_side: int | None = None,
    ) -> Floats:
        """Find what was picked.

        Args:
            rgb: (H, W, 3) uint8 sRGB of any size and shape.
            points: (N, 2) x and y of clicks, from 0 to 1 of the picture's sides.
            is_subject: (N,) whether each click is on the subject or on what is not.
            box: Left, top, right and bottom of a frame around the subject, from 0 to 1, or None.
            report: Called between blocks; may raise to cancel.
            max_side: Look at this many pixels a side at most, for less memory.

        Returns:
            (h, w) float32 how surely each place is the subject, 0 to 1; 0.5 is the outline. A map
            of the whole picture, a quarter as large as the network saw it.
        """
        side = SIDE if max_side is None else min(SIDE, max_side)
        side = max(STRIDE, side // STRIDE * STRIDE)
        with torch.inference_mode():
            look = self._looked(rgb, side, report)
            corners = np.array([] if box is None else box).reshape(-1, 2)
            places = np.concatenate([corners, points.reshape(-1, 2)]).astype(np.float32)
            kinds = [FIRST_CORNER, LAST_CORNER] if box is not None else []
            kinds += [SUBJECT if own else BACKGROUND for own in is_subject]
            # A click means the middle of a pixel.
            shifted = torch.from_numpy(places).to(look.image.device) + 0.5 / side
            logits, overlaps = self._network.answer(look, shifted, kinds)
            mask = best_mask(logits.float(), overlaps, is_single=len(kinds) == 1)
            report()
            return mask.sigmoid().cpu().numpy()

    def _looked(self, rgb: NDArray[np.uint8], side: int, report: Report) -> Look:
        if self._look is not None and self._seen is not None:
            seen, at = self._seen
            if at == side and np.array_equal(seen, rgb):
                return self._look
        self._look = self._seen = None  # two looks need not be in memory at once
        first = next(self._network.parameters())
        pixels = torch.from_numpy(np.ascontiguousarray(rgb)).to(first.device)
        picture = pixels.permute(2, 0, 1)[None].float()
        picture = F.interpolate(picture, (side, side), mode="bilinear", antialias=True) / 255.0
        mean, std = (picture.new_tensor(v).view(1, 3, 1, 1) for v in (IMAGENET_MEAN, IMAGENET_STD))
        report()
        look = self._network.look(((picture - mean) / std).to(first.dtype), report)
        self._look, self._seen = look, (rgb.copy(), side)
        return look


# The names of the model.safetensors files -> those of the .pt files, in this order.
_NAMES = (
    (r"^vision_encoder\.backbone\.", "image_encoder.trunk."),
    (r"^vision_encoder\.neck\.convs\.(\d)\.", r"image_encoder.neck.convs.\1.conv."),
    (r"^prompt_encoder\.shared_embedding\.positional_embedding",
     "sam_prompt_encoder.pe_layer.positional_encoding_gaussian_matrix"),
    (r"^prompt_encoder\.", "sam_prompt_encoder."),
    (r"^mask_decoder\.", "sam_mask_decoder."),
    (r"^no_memory_embedding", "no_mem_embed"),
    (r"patch_embed\.projection", "patch_embed.proj"),
    (r"\.layer_norm_final_attn", ".norm_final_attn"),
    (r"\.layer_norm(\d)", r".norm\1"),
    (r"\.o_proj\.", ".out_proj."),
    (r"\.upscale_conv1\.", ".output_upscaling.0."),
    (r"\.upscale_layer_norm\.", ".output_upscaling.1."),
    (r"\.upscale_conv2\.", ".output_upscaling.3."),
)  # fmt: skip
_USED = ("image_encoder.", "sam_prompt_encoder.", "sam_mask_decoder.", "no_mem_embed")
_USED_RENAMED = ("vision_encoder.", "prompt_encoder.", "mask_decoder.", "no_memory_embedding")
_UNUSED = (".mask_downscaling.", ".mask_embed.", ".pred_obj_score_head.")
_TRUNK_MLP = re.compile(r"(image_encoder\.trunk\..*\.mlp)\.layers\.([01])(\..*)")
_MLP = re.compile(r"(.*(?:mlp|mlps\.\d|head))\.(proj_in|proj_out|layers\.\d)(\..*)")


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Keep what pictures need of a published state, under the names of ``Sam2Net``.

    Takes the "model" of a ``.pt`` file, a ``model.safetensors`` or what this function returned.
    """
    is_renamed = any(key.startswith("vision_encoder.") for key in state)
    used = _USED_RENAMED if is_renamed else _USED
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        if not key.startswith(used) or any(part in key for part in _UNUSED):
            continue
        if is_renamed:
            for pattern, name in _NAMES:
                key = re.sub(pattern, name, key)
            if match := _MLP.fullmatch(key):
                key = f"{match[1]}.layers.{_layer(match[1], match[2])}{match[3]}"
        if match := _TRUNK_MLP.fullmatch(key):
            key = f"{match[1]}.fc{int(match[2]) + 1}{match[3]}"  # as timm calls them
        if key == "sam_prompt_encoder.point_embed.weight":
            for kind, row in enumerate(value):
                found[f"sam_prompt_encoder.point_embeddings.{kind}.weight"] = row[None]
        else:
            found[key] = value
    return found


def _layer(where: str, name: str) -> int:
    """The number of a perceptron's layer; between the ends they are counted from nought."""
    if name == "proj_in":
        return 0
    is_short = where.endswith("mlp")
    return (1 if is_short else 2) if name == "proj_out" else 1 + int(name.rpartition(".")[2])


def make_network(state: Mapping[str, Tensor]) -> Sam2Net:
    """Build, without its weights, the network that ``state`` (mapped keys) is for."""
    trunk = "image_encoder.trunk."
    first = state.get(f"{trunk}pos_embed")
    blocks = {int(key.split(".")[3]) for key in state if key.startswith(f"{trunk}blocks.")}
    depth = len(blocks)
    stages = next((stages for stages in WHOLE if sum(stages) == depth), (1, 2, 7, 2))
    return Sam2Net(96 if first is None else first.shape[1], stages)


def load(path: Path, device: torch.device, dtype: torch.dtype = torch.float32) -> PickEstimator:
    """Load SAM 2.1 Tiny or Small from a .safetensors file; which one, its tensors tell.

    Raises:
        WeightsError: The file is missing, damaged or another network's.
    """
    state = map_checkpoint(checkpoint.read(path).tensors)
    network = checkpoint.build(lambda: make_network(state))
    checkpoint.take_on(network, state, path, device, dtype)
    return PickEstimator(network)
