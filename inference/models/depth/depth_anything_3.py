"""Depth Anything 3 (Lin et al. 2025): depth of one or several pictures, and where they were taken.

The networks for views ("small", "base", "large") let the tokens of all pictures attend to each
other and say for each picture its depth, how sure that is, and its camera, all in one frame and
one unknown unit. The "mono" and "metric" networks look at one picture and know its sky.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ...errors import WeightsError
from ..backbones.dpt import PATCH
from ..backbones.vit import IMAGENET_MEAN, IMAGENET_STD
from ..checkpoint import build, read, take_on
from .depth_anything import VARIANTS, DepthEstimate
from .depth_anything_3_nets import Report, SkyNet, ViewsNet

Floats = NDArray[np.float32]

LONG_SIDE = 504  # what the networks were trained at
SKY = 0.3  # from which a pixel is sky
METRIC_FOCAL = 300.0  # the metric network's depth is for this focal length in pixels


@dataclass(frozen=True, slots=True)
class ViewsEstimate:
    """Several pictures in one frame; N pictures, all maps h x w, row 0 on top.

    Attributes:
        depth: (N, h, w) float32 depth along the optical axis, > 0, same unknown unit as the
            cameras' positions.
        confidence: (N, h, w) float32 from 1 (a guess) upwards.
        camera_to_world: (N, 4, 4) float64 rigid, OpenCV axes. The world is the frame of the
            picture that the network referred to.
        intrinsics: (N, 3, 3) float64 in pixels of the maps, where pixel centres lie at + 0.5.
        to_picture: (N, 4) float64 scale x, scale y, offset x, offset y: a place in the map, times
            the scale, plus the offset, is the place in the picture. The maps of pictures with
            another shape than the others show only their middle.
    """

    depth: Floats
    confidence: Floats
    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    to_picture: NDArray[np.float64]

    def picture_intrinsics(self, index: int) -> NDArray[np.float64]:
        """(3, 3) intrinsics of a picture in its own pixels."""
        scale_x, scale_y, offset_x, offset_y = self.to_picture[index]
        move = np.array([[scale_x, 0, offset_x], [0, scale_y, offset_y], [0, 0, 1]])
        return move @ self.intrinsics[index]


def map_checkpoint(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring a published state to the names of ``ViewsNet`` or ``SkyNet``.

    Drops what these do without: the encoder for known cameras, the rays and the Gaussian splats.
    """
    found: dict[str, Tensor] = {}
    for key, value in state.items():
        key = key.removeprefix("model.")
        if not key.startswith(("cam_enc.", "gs_head.", "gs_adapter.")) and "_aux." not in key:
            found[key] = value
    return found


def load(
    path: Path,
    device: torch.device,
    dtype: torch.dtype = torch.float32,
    is_metric: bool = False,
) -> DepthAnything3Views | DepthAnything3Sky:
    """Load any of the published networks; what the file holds decides which.

    Args:
        path: A .safetensors file with published or mapped names.
        device: Where to run.
        dtype: float32, bfloat16 or float16.
        is_metric: Whether it is the metric network; its keys are those of the mono network.

    Raises:
        WeightsError: The file is missing, damaged or of another network.
    """
    state = map_checkpoint(read(path).tensors)
    width = len(state.get("backbone.pretrained.norm.weight", ()))
    size = next((name for name, variant in VARIANTS.items() if variant.width == width), None)
    if size is None:
        raise WeightsError(
            f"The weights file {path.name} belongs to another network than Depth Anything 3: delete"
            " the model in the preferences and download it again."
        )
    if "backbone.pretrained.camera_token" in state:
        views = build(lambda: ViewsNet(size))
        take_on(views, state, path, device, dtype)
        return DepthAnything3Views(views)
    net = build(lambda: SkyNet(size))
    take_on(net, state, path, device, dtype)
    return DepthAnything3Sky(net, is_metric)


class DepthAnything3Views:
    """A loaded network for one or several pictures; make it with ``load``."""

    is_metric = False

    def __init__(self, net: ViewsNet) -> None:
        self._net = net

    def estimate_views(
        self,
        pictures: Sequence[Floats],
        report: Report,
        *,
        long_side: int = LONG_SIDE,
        chunk: int = 4,
    ) -> ViewsEstimate:
        """Estimate depth and cameras of pictures of one place or thing.

        Args:
            pictures: Each (H, W, 3) sRGB from 0 to 1; at least one. Time and memory grow with the
                square of their number.
            report: Called between blocks; raises to cancel.
            long_side: The pictures' longer sides become this long for the network; less is faster
                and needs less memory.
            chunk: Pictures whose maps are made at once.
        """
        sizes = [view_size(rgb.shape, long_side) for rgb in pictures]
        rows, columns = (min(sides) for sides in zip(*sizes, strict=True))
        weight = self._net.cam_dec.fc_t.weight
        images = torch.stack(
            [_middle(view_pixels(rgb, long_side), rows, columns) for rgb in pictures]
        )
        with torch.inference_mode():
            depth, confidence, cameras = self._net(
                images.to(weight.device, weight.dtype), report, chunk
            )
            report()
            depth, confidence = depth.cpu().numpy(), confidence.cpu().numpy()
        poses, intrinsics = cameras_from(cameras.cpu().numpy(), rows, columns)
        moves: list[list[float]] = []
        for rgb, (height, width) in zip(pictures, sizes, strict=True):
            scale_x, scale_y = rgb.shape[1] / width, rgb.shape[0] / height
            left, top = (width - columns) // 2, (height - rows) // 2
            moves.append([scale_x, scale_y, left * scale_x, top * scale_y])
        return ViewsEstimate(depth, confidence, poses, intrinsics, np.array(moves))

    def estimate(self, rgb: Floats, report: Report, *, long_side: int = LONG_SIDE) -> DepthEstimate:
        """Estimate the depth and field of view of one picture, depth with median 1."""
        views = self.estimate_views([rgb], report, long_side=long_side)
        depth = _enlarged(views.depth[0], rgb.shape)
        columns = views.depth.shape[2]
        fov_x = 2 * math.atan(columns / 2 / views.intrinsics[0, 0, 0])
        valid = np.ones(depth.shape, np.bool_)
        return DepthEstimate(depth / np.median(depth), None, valid, False, fov_x)


class DepthAnything3Sky:
    """A loaded mono or metric network; make it with ``load``."""

    def __init__(self, net: SkyNet, is_metric: bool) -> None:
        self._net = net
        self.is_metric = is_metric

    def estimate(
        self,
        rgb: Floats,
        report: Report,
        *,
        fov_x: float | None = None,
        long_side: int = LONG_SIDE,
    ) -> DepthEstimate:
        """Estimate the depth of a picture of any size.

        Args:
            rgb: (H, W, 3) sRGB from 0 to 1.
            report: Called between blocks; raises to cancel.
            fov_x: Horizontal field of view in radians. The metric network gives metres only if it
                is known; otherwise depth has median 1.
            long_side: The picture's longer side becomes this long for the network.
        """
        pixels = view_pixels(rgb, long_side)
        weight = self._net.head.scratch.output_conv1.weight
        with torch.inference_mode():
            images = torch.from_numpy(pixels)[None].to(weight.device, weight.dtype)
            depth, sky = (m[0].cpu().numpy() for m in self._net(images, report))
        report()
        valid = sky < SKY
        if 10 < valid.sum() < valid.size - 10:  # the sky is as far as what is farthest
            depth = np.where(valid, depth, np.float32(np.percentile(depth[valid], 99)))
        sky = _enlarged(sky, rgb.shape)
        depth = _enlarged(depth, rgb.shape)
        is_metric = self.is_metric and fov_x is not None
        if self.is_metric and fov_x is not None:
            focal = pixels.shape[2] / 2 / math.tan(fov_x / 2)
            depth = depth * np.float32(focal / METRIC_FOCAL)
        else:
            depth = depth / np.median(depth)
        return DepthEstimate(depth, None, sky < SKY, is_metric)


def view_size(shape: tuple[int, ...], long_side: int = LONG_SIDE) -> tuple[int, int]:
    """Rows and columns for the network: the long side scaled, both sides to the next 14."""
    scale = long_side / max(shape[:2])
    sides = (max(1, round(side * scale)) for side in shape[:2])
    rows, columns = (max(PATCH, (side + PATCH // 2) // PATCH * PATCH) for side in sides)
    return rows, columns


def view_pixels(rgb: Floats, long_side: int = LONG_SIDE) -> Floats:
    """(H, W, 3) sRGB from 0 to 1 as (3, rows, columns), normalised, like the published code.

    It scales twice: to the wanted size, and then to multiples of 14.
    """
    scale = long_side / max(rgb.shape[:2])
    height, width = (max(1, round(side * scale)) for side in rgb.shape[:2])
    pixels = rgb
    for rows, columns in ((height, width), view_size(rgb.shape, long_side)):
        if pixels.shape[:2] != (rows, columns):
            is_larger = rows > pixels.shape[0] or columns > pixels.shape[1]
            how = cv2.INTER_CUBIC if is_larger else cv2.INTER_AREA
            pixels = np.clip(cv2.resize(pixels, (columns, rows), interpolation=how), 0, 1)
    pixels = (pixels - np.array(IMAGENET_MEAN, np.float32)) / np.array(IMAGENET_STD, np.float32)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1), dtype=np.float32)


def cameras_from(
    encoded: Floats, rows: int, columns: int
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Camera-to-world matrices and intrinsics from what the network says.

    Args:
        encoded: (N, 9) position, quaternion (x, y, z, w), vertical and horizontal field of view.
        rows: Height of the network's picture.
        columns: Width of it.

    Returns:
        (N, 4, 4) and (N, 3, 3) in the network's pixels.
    """
    values = encoded.astype(np.float64)
    length = np.linalg.norm(values[:, 3:7], axis=1, keepdims=True)
    x, y, z, w = (values[:, 3:7] / np.maximum(length, 1e-12)).T
    poses = np.tile(np.eye(4), (len(values), 1, 1))
    poses[:, 0, :3] = np.stack(
        [1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w)], 1
    )
    poses[:, 1, :3] = np.stack(
        [2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w)], 1
    )
    poses[:, 2, :3] = np.stack(
        [2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y)], 1
    )
    poses[:, :3, 3] = values[:, :3]
    intrinsics = np.tile(np.eye(3), (len(values), 1, 1))
    half = np.array([columns, rows]) / 2
    tangent = np.maximum(np.tan(values[:, [8, 7]] / 2), 1e-6)
    intrinsics[:, 0, 0], intrinsics[:, 1, 1] = (half / tangent).T
    intrinsics[:, :2, 2] = half
    return poses, intrinsics


def _middle(pixels: Floats, rows: int, columns: int) -> Tensor:
    """Cut the middle out of (3, H, W)."""
    top, left = (pixels.shape[1] - rows) // 2, (pixels.shape[2] - columns) // 2
    return torch.from_numpy(pixels[:, top : top + rows, left : left + columns].copy())


def _enlarged(values: Floats, shape: tuple[int, ...]) -> Floats:
    size = (shape[1], shape[0])
    return np.asarray(cv2.resize(values, size, interpolation=cv2.INTER_LINEAR), np.float32)
