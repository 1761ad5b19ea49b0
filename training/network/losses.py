"""What the network is asked to get right, and the numbers that say whether it does."""

from __future__ import annotations

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

from inference.models.bundled.two_sided_net import FRONT, LOG_DEPTH, MASK, NORMAL, THICKNESS

from .batches import Batch

WEIGHTS = {
    "mask": 1.0,
    "dice": 0.5,
    "front": 2.0,
    "edges": 2.0,
    "thickness": 1.5,
    "normals": 1.0,
    "up": 0.7,
    "object": 0.15,
    "depth": 1.0,
    "depth_edges": 1.0,
}
SCALES = 4  # at which slopes are compared


def masked_mean(values: Tensor, weight: Tensor) -> Tensor:
    """Average (B, 1, H, W) over each picture's weight, then over pictures that have any."""
    total = weight.sum((1, 2, 3))
    each = (values * weight).sum((1, 2, 3)) / total.clamp_min(1)
    return each.sum() / (total > 0).sum().clamp_min(1)


def centred(values: Tensor, weight: Tensor) -> Tensor:
    """Subtract each picture's weighted mean."""
    mean = (values * weight).sum((1, 2, 3), keepdim=True) / weight.sum(
        (1, 2, 3), keepdim=True
    ).clamp_min(1)
    return values - mean


def slope_error(error: Tensor, weight: Tensor, scales: int) -> Tensor:
    """Penalise errors that change from pixel to pixel, at several scales."""
    loss = error.new_zeros(())
    for scale in range(scales):
        step = 2**scale
        e, w = error[..., ::step, ::step], weight[..., ::step, ::step]
        across = (e[..., 1:] - e[..., :-1]).abs() * w[..., 1:] * w[..., :-1]
        down = (e[..., 1:, :] - e[..., :-1, :]).abs() * w[..., 1:, :] * w[..., :-1, :]
        loss = loss + (across.sum() + down.sum()) / w.sum().clamp_min(1)
    return loss / scales


def losses(maps: Tensor, pooled: Tensor, batch: Batch, scales: int = SCALES) -> dict[str, Tensor]:
    """Compute every loss, unweighted; slopes over 1, 2, 4... pixels, ``scales`` of them."""
    mask, is_object = batch.mask, batch.is_object
    share = (0.3 + 0.7 * is_object)[:, None, None, None]
    logit = maps[:, MASK : MASK + 1]
    found = torch.sigmoid(logit)
    overlap = (found * mask).sum((1, 2, 3))
    dice = 1 - (2 * overlap + 1) / (found.sum((1, 2, 3)) + mask.sum((1, 2, 3)) + 1)
    error = maps[:, FRONT : FRONT + 1] - centred(batch.front, mask)
    thick = F.softplus(maps[:, THICKNESS : THICKNESS + 1])
    surface = (batch.normals.square().sum(1, keepdim=True) > 0.25).float()
    direction = F.normalize(maps[:, NORMAL].float(), dim=1)
    cosine = (direction * F.normalize(batch.normals, dim=1)).sum(1, keepdim=True)
    everywhere = batch.has_depth[:, None, None, None].expand_as(mask)
    depth_error = maps[:, LOG_DEPTH : LOG_DEPTH + 1] - batch.log_depth
    depth_error = centred(depth_error, everywhere)
    return {
        "mask": (F.binary_cross_entropy_with_logits(logit, mask, reduction="none") * share).mean(),
        "dice": (dice * is_object).sum() / is_object.sum().clamp_min(1),
        "front": masked_mean(error.abs(), mask),
        "edges": slope_error(error, mask, scales),
        "thickness": masked_mean((thick - batch.thickness).abs(), mask),
        "normals": masked_mean(1 - cosine, surface * (0.3 + 0.7 * mask)),
        "up": (1 - F.cosine_similarity(pooled[:, :3], batch.up)).mean()
        + 0.1 * (pooled[:, :3] - batch.up).abs().mean(),
        "object": F.binary_cross_entropy_with_logits(pooled[:, 3], is_object, batch.counts),
        "depth": masked_mean(depth_error.abs(), everywhere),
        "depth_edges": slope_error(depth_error, everywhere, scales),
    }


@torch.inference_mode()
def scores(maps: Tensor, pooled: Tensor, batch: Batch) -> dict[str, float]:
    """Measure in plain units: IoU, half crop widths, degrees, share right, log-depth error."""
    mask, objects = batch.mask, batch.is_object > 0.5
    found = maps[:, MASK : MASK + 1] > 0
    both = (found & (mask > 0.5)).sum((1, 2, 3)).float()
    either = (found | (mask > 0.5)).sum((1, 2, 3)).float()
    parts = losses(maps, pooled, batch)
    direction = F.normalize(maps[:, NORMAL], dim=1)
    cosine = (direction * F.normalize(batch.normals, dim=1)).sum(1, keepdim=True)
    tilt = torch.rad2deg(torch.acos(F.cosine_similarity(pooled[:, :3], batch.up).clamp(-1, 1)))
    return {
        "mask_iou": float((both / either.clamp_min(1))[objects].mean()),
        "front_l1": float(parts["front"]),
        "thickness_l1": float(parts["thickness"]),
        "normal_deg": float(masked_mean(torch.rad2deg(torch.acos(cosine.clamp(-1, 1))), mask)),
        "up_deg_object": float(tilt[objects].mean()),
        "up_deg_scene": float(tilt[~objects].mean()) if (~objects).any() else 0.0,
        "object_right": float(((pooled[:, 3] > 0) == objects).float().mean()),
        "log_depth_l1": float(parts["depth"]),
    }
