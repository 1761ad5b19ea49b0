"""From clicks and a box to the subject: by an installed network, or by colours and the built-in one."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..contracts import Picks
from ..errors import CutOutError

if TYPE_CHECKING:
    from ..networks.run import Networks
    from ..picture.cut_out.masks import Mask

Stage = Callable[[str], Callable[[float], None]]

MARGIN = 0.15  # around a box, in its longer sides: what the built-in network is used to
LOOK_SIDE = 256  # pixels at which it looks at a box
SCALES = (0.7, 0.5, 0.35, 0.25)  # of the picture's longer side: looks around clicks
LEAST_TRUST = 0.4


def picked_mask(rgb: NDArray[np.uint8], picks: Picks, network: Networks, stage: Stage) -> Mask:
    """Find what the artist picked.

    Args:
        rgb: (H, W, 3) uint8 sRGB.
        picks: Clicks and a box.
        network: The networks that there are.
        stage: Begins a stage of the run.

    Returns:
        (H, W) from 0 to 1.

    Raises:
        CutOutError: Nothing is there.
    """
    from ..picture.cut_out import cutout

    found = network.picked(rgb, picks)
    if found is None:
        from ..picture.cut_out.picked import cut_picked

        prior = _rough_guess(rgb, picks, network, stage)
        report = stage("Cutting out the subject")
        found = cut_picked(rgb, picks, prior, lambda: report(0.7))
    if not (found >= 0.5).any():
        raise CutOutError(
            "Nothing stands out where you clicked: click on the middle of the subject, or draw a box"
            " around it."
        )
    return cutout.refine_mask(rgb, found)


def _rough_guess(
    rgb: NDArray[np.uint8], picks: Picks, network: Networks, stage: Stage
) -> Mask | None:
    """Where the built-in network sees a subject: in the box, or in the whole picture."""
    from ..picture.cut_out import cutout

    net = network.bundled()
    report = stage("Cutting out the subject")
    colours = rgb.astype(np.float32) / 255

    def close_look(square: tuple[float, float, float]) -> Mask:
        crop = cutout.sample_crop(colours, *square, LOOK_SIDE, None)
        return net.estimate_object(crop, None, lambda: report(0.5)).mask

    height, width = rgb.shape[:2]
    if picks.box is not None:
        left, top, right, bottom = np.array(picks.box) * (width, height, width, height)
        side = max(right - left, bottom - top) * (1 + 2 * MARGIN)
        square = (left + right - side) / 2, (top + bottom - side) / 2, side
        return cutout.place_crop(close_look(square), (height, width), *square)
    seen = net.estimate_scene(colours, lambda: report(0.2)).mask
    own = [(x, y) for x, y, is_subject in picks.points if is_subject]
    rows, columns = seen.shape
    if any(seen[int(y * (rows - 1)), int(x * (columns - 1))] >= 0.5 for x, y in own):
        return seen
    # Something else than the picture's subject: look closer and closer at where the clicks are.
    x, y = (sum(values) / len(own) for values in zip(*own, strict=True))
    best, found = LEAST_TRUST, None
    for scale in SCALES:
        side = scale * max(height, width)
        square = x * width - side / 2, y * height - side / 2, side
        mask = close_look(square)
        trust = _trust(mask)
        if trust > best:
            best, found = trust, cutout.place_crop(mask, (height, width), *square)
    return found


def _trust(mask: Mask) -> float:
    """How much a close look shows one whole thing in its middle: -1 to 1."""
    from ..picture.cut_out.masks import rim

    middle = len(mask) // 2
    inside = mask >= 0.5
    if not inside[middle, middle] or inside.all():
        return -1.0
    return float(mask[inside].mean() - mask[~inside].mean() - (rim(mask) >= 0.5).mean())
