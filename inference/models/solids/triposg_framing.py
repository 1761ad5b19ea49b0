"""The white square in which TripoSG sees a subject, as in its training."""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray

from .framing import Cover, FramedPicture

Floats = NDArray[np.float32]

MARGIN = 0.1  # free border on each side of the subject, in subject sizes
RESIZED, SEEN = 256, 224  # the framed picture's side, and how much of its middle is looked at


def frame_subject(rgb: Floats, mask: Floats) -> FramedPicture:
    """Cut a subject out and set it in the middle of a white square, as in training.

    Args:
        rgb: (H, W, 3) sRGB 0..1.
        mask: (H, W) 0..1 subject.

    Raises:
        CutOutError: Nothing is cut out.
    """
    found = Cover.of(mask)
    top, left = found.top, found.left
    height, width = found.bottom - top + 1, found.right - left + 1
    # Borders are rounded down as when it was trained, so the frame may miss a square by a pixel.
    if width > height:
        beside = int(width * MARGIN)
        above = int(beside + (width - height) / 2)
    else:
        above = int(height * MARGIN)
        beside = int(above + (height - width) / 2)
    part = (slice(top, top + height), slice(left, left + width))
    cover = found.alpha[part][..., None].astype(np.float32) / 255
    frame = np.ones((height + 2 * above, width + 2 * beside, 3), np.float32)
    frame[above : above + height, beside : beside + width] = rgb[part] * cover + (1 - cover)
    levels = torch.from_numpy(np.floor(np.clip(frame, 0, 1) * 255).transpose(2, 0, 1).copy())
    tall, wide = frame.shape[:2]
    scale = RESIZED / min(tall, wide)
    size = (RESIZED * tall // min(tall, wide), RESIZED * wide // min(tall, wide))
    small = F.interpolate(levels[None], size, mode="bicubic", antialias=True)[0]
    down, right = (size[0] - SEEN) // 2, (size[1] - SEEN) // 2
    seen = small[:, down : down + SEEN, right : right + SEEN].round().clamp(0, 255) / 255
    return FramedPicture(
        np.ascontiguousarray(seen.permute(1, 2, 0).numpy(), np.float32),
        left - beside + right / scale,
        top - above + down / scale,
        SEEN / scale,
    )
