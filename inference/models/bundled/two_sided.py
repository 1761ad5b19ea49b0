"""The bundled network: what one picture says about front, back and pose of what it shows.

From a picture and, if known, its mask the network predicts per pixel the mask, the first and the
last surface along the view ray and the normals of the first; for whole scenes the depth; and for
the picture as a whole which way is up and whether it shows one separable object. There are two of
its kind in the file: one for objects whose mask is known and one for whole pictures, because one
alone forgets the shapes of objects while it learns places (experiment 13). ``training/`` holds the
scripts that made the weights and ``docs/MODEL_CARD.md`` says what they can and cannot do.
"""

from __future__ import annotations

import hashlib
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from safetensors.torch import load as tensors_from_bytes
from torch import Tensor, nn

from ...errors import WeightsError
from ...stopping import chance_to_stop
from ..stoppable import let_stop
from .appearance import AppearanceDecoder
from .packed import unpacked
from .residual import fold_batch_norm
from .two_sided_net import FRONT, LOG_DEPTH, MASK, NORMAL, THICKNESS, TwoSidedNet

WEIGHTS = Path(__file__).parent / "weights" / "two_sided.safetensors"
OBJECT_SIZE = 256
SCENE_SIZE = 384
FAR = 8.0

# The file's networks; names of their tensors begin with these and a dot.
OBJECT, PICTURE, APPEARANCE = "object", "picture", "appearance"
STRIDE = 64  # the deepest features are this much smaller than the picture


@dataclass(frozen=True, slots=True)
class ObjectGeometry:
    """A thing seen by a crop's own camera (OpenCV axes); S is the side the network ran at.

    The unit of depth is half the crop's width at the object's mean front depth: with t the tangent
    of half the crop's field of view, depth z at crop coordinates u, v (-1 to 1) lies at
    D (1 + t z) (t u, t v, 1) for any distance D.

    Attributes:
        mask: (S, S) float32, 0 background to 1 subject.
        front: (S, S) float32 depth of the first surface along the view axis; its mean over the
            mask is zero.
        back: (S, S) float32 depth of the last surface, same zero, never less than ``front``.
        normals: (S, S, 3) float32 unit normals of the first surface; z < 0 faces the viewer.
        up: (3,) float32 unit vector; a level camera has (0, -1, 0).
    """

    mask: NDArray[np.float32]
    front: NDArray[np.float32]
    back: NDArray[np.float32]
    normals: NDArray[np.float32]
    up: NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ObjectAppearance:
    """What a thing in a crop is painted with, and how sure the network is of its shape.

    S is half the side that the network ran at; values outside of the mask mean nothing. Colours are
    sRGB from 0 to 1.

    Attributes:
        albedo: (S, S, 3) float32 colour of the near side without light.
        hidden: (S, S, 3) float32 colour of the far side behind each pixel, as if lit like the near
            side.
        roughness: (S, S) float32, 0 to 1.
        metallic: (S, S) float32, 0 to 1.
        front_error: (S, S) float32 expected absolute error of ``ObjectGeometry.front``.
        back_error: (S, S) float32 the same of ``back``.
        half_field: Tangent of half the crop's field of view.
        half_field_error: Expected absolute error of its natural logarithm.
    """

    albedo: NDArray[np.float32]
    hidden: NDArray[np.float32]
    roughness: NDArray[np.float32]
    metallic: NDArray[np.float32]
    front_error: NDArray[np.float32]
    back_error: NDArray[np.float32]
    half_field: float
    half_field_error: float


@dataclass(frozen=True, slots=True)
class SceneGeometry:
    """A whole picture at the size the network ran at, camera in OpenCV axes.

    Attributes:
        depth: (h, w) float32 z-depth without scale: median 1, at most 8 (sky, far away), > 0.
        up: (3,) float32 unit vector; a level camera has (0, -1, 0).
        mask: (h, w) float32 probability that a pixel belongs to the foreground subject.
        object_score: Probability that the picture shows one separable object, not a scene.
    """

    depth: NDArray[np.float32]
    up: NDArray[np.float32]
    mask: NDArray[np.float32]
    object_score: float


def _flipped_back(maps: Tensor, pooled: Tensor) -> tuple[Tensor, Tensor]:
    """Undo a left-right flip of the input in what the network made of it."""
    maps, pooled = maps.flip(3).clone(), pooled.clone()
    maps[:, NORMAL.start] *= -1
    pooled[:, 0] *= -1
    return maps, pooled


def _input(rgb: Tensor, mask: Tensor | None) -> Tensor:
    """(1, 4, H, W) what the network sees: 0 stands for an unknown mask."""
    if mask is not None:
        rgb = rgb * mask + 0.5 * (1 - mask)  # what lies behind a known cut-out says nothing
    alpha = mask if mask is not None else torch.full_like(rgb[:, :1], 0.5)
    return torch.cat([rgb, alpha], 1) * 2 - 1


def _unit(vector: NDArray[np.float32], axis: int = -1) -> NDArray[np.float32]:
    length = np.linalg.norm(vector, axis=axis, keepdims=True)
    return (vector / np.maximum(length, 1e-6)).astype(np.float32)


def _chw(pixels: NDArray[np.float32], device: str) -> Tensor:
    tensor = torch.from_numpy(np.ascontiguousarray(pixels, dtype=np.float32)).to(device)
    return tensor.permute(2, 0, 1)[None] if tensor.ndim == 3 else tensor[None, None]


def _resized(tensor: Tensor, height: int, width: int) -> Tensor:
    if tensor.shape[2:] == (height, width):
        return tensor
    return F.interpolate(
        tensor, size=(height, width), mode="bilinear", antialias=True, align_corners=False
    ).clamp(0, 1)


class TwoSidedNetwork:
    """The trained network, ready to run; make it with ``load``."""

    def __init__(
        self,
        of_objects: TwoSidedNet,
        of_pictures: TwoSidedNet,
        decoder: AppearanceDecoder,
        device: str,
        revision: str,
    ) -> None:
        self.revision = revision
        self._device = device
        self._of_objects = of_objects
        self._of_pictures = of_pictures
        self._decoder = decoder

    def _run(
        self, rgb: Tensor, mask: Tensor | None, report: Callable[[], None] | None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """Average the maps (7, H, W) and pooled values (4,) over the picture and its mirror."""
        x = _input(rgb, mask)
        net = self._of_pictures if mask is None else self._of_objects
        results: list[tuple[Tensor, Tensor]] = []
        with torch.inference_mode():
            for is_flipped in (False, True):
                if report is not None:
                    report()
                maps, pooled = net(x.flip(3) if is_flipped else x)
                results.append(_flipped_back(maps, pooled) if is_flipped else (maps, pooled))
        if report is not None:
            report()
        (maps_a, pooled_a), (maps_b, pooled_b) = results
        maps, pooled = (maps_a + maps_b) / 2, (pooled_a + pooled_b) / 2
        return maps[0].float().cpu().numpy(), pooled[0].float().cpu().numpy()

    def estimate_object(
        self,
        rgb: NDArray[np.float32],
        mask: NDArray[np.float32] | None = None,
        report: Callable[[], None] | None = None,
    ) -> ObjectGeometry:
        """Estimate both sides of the thing in a square crop.

        Args:
            rgb: (S, S, 3) sRGB from 0 to 1, any S; it is resized to 256.
            mask: (S, S) subject from 0 to 1, or None when the network is to find it.
            report: Called between passes; raises to cancel.
        """
        size = OBJECT_SIZE
        alpha = None if mask is None else _resized(_chw(mask, self._device), size, size)
        maps, pooled = self._run(_resized(_chw(rgb, self._device), size, size), alpha, report)
        found = 1 / (1 + np.exp(-maps[MASK])) if alpha is None else alpha[0, 0].cpu().numpy()
        weight = found.sum()
        centre = (maps[FRONT] * found).sum() / weight if weight > 1 else 0.0
        front = (maps[FRONT] - centre).astype(np.float32)
        thickness = np.logaddexp(0.0, maps[THICKNESS]).astype(np.float32)
        return ObjectGeometry(
            mask=found.astype(np.float32),
            front=front,
            back=front + thickness,
            normals=_unit(np.moveaxis(maps[NORMAL], 0, -1)),
            up=_unit(pooled[:3]),
        )

    def estimate_appearance(
        self,
        rgb: NDArray[np.float32],
        mask: NDArray[np.float32],
        report: Callable[[], None] | None = None,
    ) -> ObjectAppearance:
        """Estimate colours, gloss, certainty and lens of the thing in a square crop.

        Args:
            rgb: (S, S, 3) sRGB from 0 to 1, any S; it is resized to 256.
            mask: (S, S) subject from 0 to 1.
            report: Called between passes; raises to cancel.
        """
        size = OBJECT_SIZE
        pixels, alpha = (_resized(_chw(p, self._device), size, size) for p in (rgb, mask))
        x = _input(pixels, alpha)
        said: list[tuple[Tensor, Tensor]] = []
        with torch.inference_mode():
            for is_flipped in (False, True):
                if report is not None:
                    report()
                turned = x.flip(3) if is_flipped else x
                seen = self._of_objects.features(turned)
                found = self._decoder(turned, seen.fine, seen.skips, seen.decoded, seen.summary)
                gloss = torch.sigmoid(torch.cat([found.roughness, found.metal], 1))
                maps = torch.cat([found.albedo, found.hidden, gloss, found.spreads], 1)
                said.append((maps.flip(3) if is_flipped else maps, found.lens))
        if report is not None:
            report()
        both = ((said[0][0] + said[1][0]) / 2)[0].permute(1, 2, 0).float().cpu().numpy()
        lens = ((said[0][1] + said[1][1]) / 2)[0].exp().tolist()
        return ObjectAppearance(
            albedo=both[..., :3],
            hidden=both[..., 3:6],
            roughness=both[..., 6],
            metallic=both[..., 7],
            front_error=np.exp(both[..., 8]),
            back_error=np.exp(both[..., 9]),
            half_field=lens[0],
            half_field_error=lens[1],
        )

    def estimate_scene(
        self,
        rgb: NDArray[np.float32],
        report: Callable[[], None] | None = None,
    ) -> SceneGeometry:
        """Estimate the depth of everything in a picture.

        Args:
            rgb: (H, W, 3) sRGB from 0 to 1, any size; its long side is resized to 384.
            report: Called between passes; raises to cancel.
        """
        scale = SCENE_SIZE / max(rgb.shape[:2])
        height, width = (max(8, round(side * scale)) for side in rgb.shape[:2])
        pixels = _resized(_chw(rgb, self._device), height, width)
        below, right = -height % STRIDE, -width % STRIDE
        pixels = F.pad(pixels, (0, right, 0, below), mode="replicate")
        maps, pooled = self._run(pixels, None, report)
        maps = maps[:, :height, :width]
        log_depth = maps[LOG_DEPTH] - np.median(maps[LOG_DEPTH])
        return SceneGeometry(
            depth=np.exp(np.clip(log_depth, -np.log(20 * FAR), np.log(FAR))).astype(np.float32),
            up=_unit(pooled[:3]),
            mask=(1 / (1 + np.exp(-maps[MASK]))).astype(np.float32),
            object_score=float(1 / (1 + np.exp(-pooled[3]))),
        )


_loaded: dict[tuple[str, Path], TwoSidedNetwork] = {}
_lock = threading.Lock()


def load(device: str, weights: Path = WEIGHTS) -> TwoSidedNetwork:
    """Load the network once per device; later calls return the same one.

    Args:
        device: "cpu", "cuda" or "mps".
        weights: A safetensors file with its JSON of the same name beside it.

    Raises:
        WeightsError: The files are missing, damaged or do not belong together.
    """
    with _lock:
        if (device, weights) not in _loaded:
            _loaded[device, weights] = _read(device, weights)
        return _loaded[device, weights]


def _read(device: str, weights: Path) -> TwoSidedNetwork:
    repair = "Reinstall the extension to repair it."
    try:
        content = weights.read_bytes()
        card = json.loads(weights.with_suffix(".json").read_text(encoding="utf-8"))
        expected, name = str(card["sha256"]), str(card["name"])
    except OSError as error:
        raise WeightsError(f"The bundled network's file is missing: {error}. {repair}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"{weights.stem}.json is damaged. {repair}") from error
    chance_to_stop()
    digest = hashlib.sha256(content).hexdigest()
    if digest != expected:
        raise WeightsError(
            f"{weights.name} is damaged: its sha256 begins {digest[:8]} instead of "
            f"{expected[:8]}. {repair}"
        )
    chance_to_stop()
    of_objects = TwoSidedNet()
    chance_to_stop()
    of_pictures, decoder = TwoSidedNet(), AppearanceDecoder()
    try:
        tensors = unpacked(tensors_from_bytes(content))
        _fill(of_objects, part_of(tensors, OBJECT))
        _fill(of_pictures, part_of(tensors, PICTURE))
        _fill(decoder, part_of(tensors, APPEARANCE))
    except (RuntimeError, KeyError) as error:
        raise WeightsError(f"{weights.name} is of another version. {repair}") from error
    return TwoSidedNetwork(
        of_objects.to(device),
        of_pictures.to(device),
        decoder.to(device),
        device,
        f"{name} ({digest[:8]})",
    )


def part_of(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    """Pick what belongs to one network of the file, with its own names."""
    prefix = part + "."
    return {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}


def _fill(net: nn.Module, tensors: dict[str, Tensor]) -> None:
    """Load all weights and make the network ready to run; counters of BatchNorm are not stored."""
    counters = {k: v for k, v in net.state_dict().items() if not v.is_floating_point()}
    net.load_state_dict(tensors | counters)
    net.eval()
    fold_batch_norm(net)
    let_stop(net)
