"""Weights in 8 bits: a matrix or bank of kernels as int8 and one scale per output."""

from __future__ import annotations

import torch
from torch import Tensor

from ...stopping import chance_to_stop

SCALE = ".scale"  # what the name of a packed tensor's scales ends with
LEVELS = 127
CLIPS = torch.linspace(1.0, 0.7, 13)  # of the largest weight; where to cut off is chosen per output


def packed(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Round matrices and kernels to 8 bits and everything else to 16.

    Args:
        tensors: Name to floating-point tensor; those of 2 and 4 axes have their outputs first.

    Returns:
        int8 tensors of the same names, their scales (outputs,) float32 under name + ``SCALE``, and the
        other tensors as float16. Scales are those of ``CLIPS`` that leave the smallest squared error.
    """
    result: dict[str, Tensor] = {}
    for name, tensor in tensors.items():
        if tensor.ndim not in (2, 4):
            result[name] = tensor.half().contiguous()
            continue
        rows = tensor.float().reshape(len(tensor), -1)
        largest = rows.abs().amax(1).clamp_min(1e-12)
        scales = CLIPS[:, None] * largest / LEVELS
        errors = [(_rounded(rows, s) * s[:, None] - rows).square().sum(1) for s in scales]
        scale = scales[torch.stack(errors).argmin(0), torch.arange(len(rows))]
        result[name] = _rounded(rows, scale).to(torch.int8).reshape(tensor.shape)
        result[name + SCALE] = scale
    return result


def unpacked(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Undo ``packed``: everything as float32; a file without int8 tensors only becomes float32.

    Raises:
        KeyError: An int8 tensor has no scales.
    """
    result = {}
    for name, tensor in tensors.items():
        chance_to_stop()
        if tensor.dtype == torch.int8:
            scale = tensors[name + SCALE].float()
            result[name] = tensor.float() * scale.reshape(-1, *[1] * (tensor.ndim - 1))
        elif not name.endswith(SCALE):
            result[name] = tensor.float()
    return result


def _rounded(rows: Tensor, scale: Tensor) -> Tensor:
    return torch.round(rows / scale[:, None]).clamp(-LEVELS, LEVELS)
