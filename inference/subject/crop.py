"""What networks say of the square around a subject: both its sides, finer, behind, without light."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..networks.run import Networks

if TYPE_CHECKING:
    from ..models.bundled.two_sided import ObjectGeometry, TwoSidedNetwork

Floats = NDArray[np.float32]

WIDER = 1.1  # side of the second, wider crop
FAR_SIDE = 512  # pixels of the square in which the far side is imagined, at most
RIM = 0.03  # of that side: how far the far side shows the outline's own colours


def looked_at_twice(
    net: TwoSidedNetwork,
    rgb: Floats,
    mask: Floats,
    square: tuple[float, float, float],
    report: Callable[[], None],
) -> ObjectGeometry:
    """Average what the network says of a crop and of a wider one; errors of the two differ.

    Args:
        net: The network.
        rgb: (H, W, 3) 0..1 the picture.
        mask: (H, W) 0..1 the subject.
        square: Left, top and side of the crop in pixels.
        report: Raises to cancel.
    """
    from ..models.bundled.two_sided import OBJECT_SIZE, ObjectGeometry
    from ..picture.cut_out.cutout import sample_crop

    x0, y0, side = square
    size, border = OBJECT_SIZE, side * (WIDER - 1) / 2

    def look(left: float, top: float, width: float) -> ObjectGeometry:
        colours = sample_crop(rgb, left, top, width, size, None)
        subject = sample_crop(mask[..., None], left, top, width, size, 0.0)[..., 0]
        return net.estimate_object(colours, subject, report)

    near, wide = look(x0, y0, side), look(x0 - border, y0 - border, side * WIDER)
    inset = size * (1 - 1 / WIDER) / 2
    stack = np.dstack([wide.front, wide.back, wide.normals])
    stack = sample_crop(stack, inset, inset, size / WIDER, size, None)
    weight = near.mask / max(float(near.mask.sum()), 1.0)
    front, back = stack[..., 0] * WIDER, stack[..., 1] * WIDER  # its unit is that much longer
    shift = float(((near.front - front) * weight).sum())
    normals = near.normals + stack[..., 2:]
    normals /= np.maximum(np.linalg.norm(normals, axis=-1, keepdims=True), 1e-6)
    up = near.up + wide.up
    return ObjectGeometry(
        mask=near.mask,
        front=(near.front + front + shift) / 2,
        back=(near.back + back + shift) / 2,
        normals=normals,
        up=up / max(float(np.linalg.norm(up)), 1e-6),
    )


def sharpened(
    network: Networks, rgb: Floats, square: tuple[float, float, float], wanted: int
) -> Floats | None:
    """A square of the picture as an installed network for finer textures draws it.

    Args:
        network: May know how to enlarge pictures.
        rgb: (H, W, 3) 0..1 the picture.
        square: Left, top and side in pixels.
        wanted: Side of the texture; the result has no more pixels.

    Returns:
        (S, S, 3) 0..1, or None when no such network is installed or it would show no more.
    """
    from ..image import as_bytes
    from ..picture.cut_out.cutout import sample_crop

    native = max(16, min(round(square[2]), wanted))
    larger = network.upscaled(as_bytes(sample_crop(rgb, *square, native, None)), wanted)
    return None if len(larger) == native else larger.astype(np.float32) / 255


def far_side(network: Networks, crop: Floats, mask: Floats) -> Floats | None:
    """What the far side may look like: the rim's colours, continued by an installed network.

    Args:
        network: May know how to fill holes.
        crop: (C, C, 3) 0..1 the subject's crop.
        mask: (M, M) subject probability of the crop.

    Returns:
        (B, B, 3) 0..1, or None when no such network is installed.
    """
    if network.chosen("inpaint") is None:
        return None
    from ..field.two_sided import nearest_inside, signed_pixels
    from ..image import as_bytes, enlarge, shrink

    size = min(len(crop), FAR_SIDE)
    depth = signed_pixels(
        enlarge(mask, size, size) if size > len(mask) else shrink(mask, size, size)
    )
    rim = (depth > 0) & (depth <= max(RIM * size, 2.0))
    colours = as_bytes(shrink(crop, size, size))
    # Nothing of the background may be taken up: outside, the rim's colours go on.
    colours = colours.reshape(-1, 3)[nearest_inside(rim)]
    filled = network.filled(colours, depth > max(RIM * size, 2.0))
    return None if filled is None else filled.astype(np.float32) / 255


def paint(
    net: TwoSidedNetwork,
    rgb: Floats,
    mask: Floats,
    square: tuple[float, float, float],
    report: Callable[[], None],
) -> Floats:
    """(A, A, 3) 0..1 what the network takes for the subject's paint; it goes on beyond the outline.

    Arguments as in ``looked_at_twice``.
    """
    from ..field.two_sided import nearest_inside
    from ..image import shrink
    from ..models.bundled.two_sided import OBJECT_SIZE
    from ..picture.cut_out.cutout import sample_crop

    colours = sample_crop(rgb, *square, OBJECT_SIZE, None)
    subject = sample_crop(mask[..., None], *square, OBJECT_SIZE, 0.0)[..., 0]
    albedo = net.estimate_appearance(colours, subject, report).albedo
    inside = shrink(subject, *albedo.shape[1::-1]) > 0.5
    return albedo.reshape(-1, 3)[nearest_inside(inside)] if inside.any() else albedo
