"""Find what a picture shows: one thing, cut out, or a whole place."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from ..contracts import CutOut, Picture, Request
from ..errors import CutOutError
from ..networks.run import Networks

if TYPE_CHECKING:
    from ..models.bundled.two_sided import SceneGeometry, TwoSidedNetwork

Stage = Callable[[str], Callable[[float], None]]
Floats = NDArray[np.float32]

CROP_MARGIN = 0.15  # free border on each side, in subject sizes: the middle of what training saw
OBJECT_SCORE = 0.6  # from which Auto makes an object
CLEAR_SCORE = 0.45  # the same when the cut-out is clear
CLEAR_COVER, CLEAR_EDGE = 0.04, 0.95  # share of the picture, and how sure its pixels are, 0 to 1
CLOSER_SIDE = 256  # pixels of the second look at the subject alone
CLOSER = 0.5  # how much that look counts beside the one at the whole picture
OTHER_SHAPE = 0.02  # share by which a mask's sides may deviate from the picture's ratio
DOUBT = 1.65  # the odds for the subject are divided by it: what else is seen is told too easily


@dataclass(frozen=True, slots=True)
class Subject:
    """What is to become a mesh.

    Attributes:
        cut_out: Its mask in the picture.
        scene: What the bundled network sees in the whole picture, when it has looked.
        is_matte: Whether the mask is soft where pixels are mixed, so that colours can be unmixed.
    """

    cut_out: CutOut
    scene: SceneGeometry | None
    is_matte: bool = False


def choose_engine(
    picture: Picture, request: Request, network: Networks, stage: Stage
) -> tuple[str, Subject | None]:
    """Give the engine to run, and the subject if it has been looked for.

    Raises:
        ImageToMeshError: With a sentence for the artist.
    """
    if request.engine == "scene" or (request.engine == "auto" and request.cut_out == "none"):
        return "scene", None
    try:
        subject = find_subject(picture, request, network, stage)
    except CutOutError:
        is_told = request.cut_out != "auto" or request.picks is not None
        is_told = is_told or request.mask is not None or picture.has_alpha
        if request.engine != "auto" or is_told:
            raise
        return "scene", None  # nothing stands out of a lawn or a wall
    if request.engine == "object" or subject.cut_out.origin in ("alpha", "mask", "picks"):
        return "object", subject
    if subject.scene is None:  # a plain background, cut out without the network
        return "object", subject
    if float(subject.cut_out.mask.max()) < 0.5:  # a network for cut-outs found nothing
        return "scene", subject
    least = CLEAR_SCORE if _is_clear(subject.cut_out.mask) else OBJECT_SCORE
    return ("object" if subject.scene.object_score > least else "scene"), subject


def _is_clear(mask: Floats) -> bool:
    """Whether a cut-out covers enough of the picture, and has hardly a pixel in doubt."""
    touched = mask[mask > 0.05]
    if (mask > 0.5).mean() < CLEAR_COVER:
        return False
    return float(np.abs(2 * touched - 1).mean()) > CLEAR_EDGE


def find_subject(picture: Picture, request: Request, network: Networks, stage: Stage) -> Subject:
    """Cut out by what the artist gave, else by alpha, else by what can be seen.

    Raises:
        CutOutError: When what was asked for is not there or nothing stands out.
    """
    from ..picture.cut_out import cutout

    rgb = picture.pixels[..., :3]
    height, width = rgb.shape[:2]
    if request.picks is not None:
        from .picking import picked_mask

        return Subject(
            CutOut(picked_mask(rgb, request.picks, network, stage), "picks", picture), None
        )
    mode = request.cut_out
    if mode == "none":
        return Subject(CutOut(np.ones((height, width), np.float32), "none", picture), None)
    if mode == "alpha" and not picture.has_alpha:
        raise CutOutError(
            "The picture has no transparency to cut out with: set Cut-Out to Automatic."
        )
    if mode == "mask" and request.mask is None:
        raise CutOutError("No mask was given: choose or paint one, or set Cut-Out to Automatic.")
    if request.mask is not None and mode != "alpha":
        _refuse_other_shapes(request.mask, height, width)
        given = cutout.resize_mask(request.mask.astype(np.float32) / 255, (height, width))
        return Subject(CutOut(given, "mask", picture), None)
    if picture.has_alpha:
        return Subject(CutOut(cutout.alpha_mask(picture), "alpha", picture), None)
    matte = network.matte(rgb)
    if matte is not None:
        scene = None
        if request.engine == "auto":
            scene = network.bundled().estimate_scene(rgb.astype(np.float32) / 255)
        return Subject(CutOut(matte, "network", picture), scene, is_matte=True)
    net = network.bundled()
    report = stage("Cutting out the subject")
    plain = mask_on_plain(net, rgb, report)
    if plain is not None:
        return Subject(CutOut(plain, "network", picture), None)
    mask, scene = bundled_mask(net, rgb, report)
    return Subject(CutOut(mask, "network", picture), scene)


def _refuse_other_shapes(mask: NDArray[np.uint8], height: int, width: int) -> None:
    """A mask may be larger or smaller than its picture, but not of another shape.

    Raises:
        CutOutError: When it is.
    """
    tall, wide = mask.shape[:2]
    expected = wide * height / width
    if abs(tall - expected) > 1.5 + OTHER_SHAPE * expected:
        raise CutOutError(
            f"The mask has {wide} x {tall} pixels and the picture, upright, {width} x {height}: choose"
            " the picture's own mask."
        )


def mask_on_plain(
    net: TwoSidedNetwork, rgb: NDArray[np.uint8], report: Callable[[float], None]
) -> Floats | None:
    """Cut out by colour before a plain background, if the bundled network does not object.

    Args:
        net: The network.
        rgb: (H, W, 3) uint8 sRGB.
        report: Called with the share done; raises to cancel.

    Returns:
        (H, W) 0..1 mask; None where the background is not plain, or not all of what stands before
        it is the subject.
    """
    from ..picture.cut_out.plain_background import (
        holds_another_thing,
        is_seen_whole,
        plain_background_mask,
    )

    def seen() -> Floats:
        return net.estimate_scene(rgb.astype(np.float32) / 255, lambda: report(0.0)).mask

    mask = plain_background_mask(rgb)
    if mask is not None:
        return None if holds_another_thing(mask, seen) else mask
    group = plain_background_mask(rgb, is_group=True)
    return group if group is not None and is_seen_whole(group, seen()) else None


def bundled_mask(
    net: TwoSidedNetwork, rgb: NDArray[np.uint8], report: Callable[[float], None]
) -> tuple[Floats, SceneGeometry]:
    """Cut out with the bundled network: the whole picture, a closer look, then along colours.

    Args:
        net: The network.
        rgb: (H, W, 3) uint8 sRGB.
        report: Called with the share done; raises to cancel.

    Returns:
        (H, W) 0..1 mask, and what the network sees in the whole picture.

    Raises:
        CutOutError: When nothing stands out.
    """
    from ..picture.cut_out import cutout
    from ..picture.cut_out.colour_cut import colour_cut
    from ..picture.cut_out.masks import denied_holes

    colours = rgb.astype(np.float32) / 255
    scene = net.estimate_scene(colours, lambda: report(0.0))
    height, width = rgb.shape[:2]
    whole = cutout.resize_mask(cutout.clean_mask(scene.mask), (height, width))
    x0, y0, side = cutout.crop_square(whole, CROP_MARGIN)
    crop = cutout.sample_crop(colours, x0, y0, side, CLOSER_SIDE, None)
    closer = net.estimate_object(crop, None, lambda: report(0.5)).mask
    placed = cutout.place_crop(closer, (height, width), x0, y0, side)
    whole = np.where(denied_holes(whole > 0.5, placed), placed, whole)
    rough = ((1 - CLOSER) * whole + CLOSER * placed).astype(np.float32)
    doubted = rough / (rough + DOUBT * (1 - rough))
    rough = doubted if doubted.max() >= 0.5 else rough
    cut = colour_cut(rgb, rough, lambda: report(0.6))
    return cutout.refine_mask(rgb, cutout.clean_mask(cut)), scene
