"""Let a network of random weights say the true cameras of given pictures, and nothing else right.

Cameras of noise fit no pictures, so nothing could be made of several of them. The last layer of Depth
Anything 3's camera decoder is linear: with no more pictures than it has inputs, one solution of a small
system of equations makes it say any cameras. All else stays noise.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from .port import State, network

LAYERS = {"fc_t": slice(0, 3), "fc_qvec": slice(3, 7), "fc_fov.0": slice(7, 9)}


def aim_cameras(
    state: State,
    size: str,
    pictures: Sequence[NDArray[np.uint8]],
    matrices: Sequence[NDArray[np.float64]],
    fov: float,
) -> None:
    """Change weights in place so that the network places these pictures as they were taken.

    Args:
        state: Weights of a network for views, under published names.
        size: "small" or "base".
        pictures: Each (H, H, 3).
        matrices: Their (4, 4) camera-to-world matrices, OpenCV axes.
        fov: Field of view of all of them in radians, the same in both directions.
    """
    module = network("depth.depth_anything_3")
    net = module.ViewsNet(size)
    net.load_state_dict(module.map_checkpoint(state))
    seen: list[torch.Tensor] = []
    net.cam_dec.backbone.register_forward_hook(lambda _net, _given, made: seen.append(made))
    estimator: Any = module.DepthAnything3Views(net.eval())
    estimator.estimate_views([rgb.astype(np.float32) / 255 for rgb in pictures], lambda: None)
    wanted = np.array([[*m[:3, 3], *_quaternion(m[:3, :3]), fov, fov] for m in matrices])
    solution = np.linalg.pinv(seen[0].double().numpy()) @ wanted
    for layer, columns in LAYERS.items():
        key = next(key for key in state if key.endswith(f"cam_dec.{layer}.weight"))
        state[key] = torch.from_numpy(solution[:, columns].T.copy()).float()
        state[key.replace("weight", "bias")].zero_()


def _quaternion(rotation: NDArray[np.float64]) -> NDArray[np.float64]:
    """(3, 3) -> (x, y, z, w)."""
    turn = cv2.Rodrigues(rotation)[0].ravel()
    angle = float(np.linalg.norm(turn))
    axis = turn / max(angle, 1e-12)
    return np.array([*(axis * np.sin(angle / 2)), np.cos(angle / 2)])
