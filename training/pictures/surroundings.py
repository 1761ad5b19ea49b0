"""Image textures and panoramas: what surfaces look like and what lights them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

Floats = NDArray[np.float32]


def to_linear(srgb: NDArray[np.uint8] | Floats) -> Floats:
    """Turn sRGB (uint8 or 0..1) into linear light, with the 2.2 power."""
    scale = 255.0 if srgb.dtype == np.uint8 else 1.0
    return (np.asarray(srgb, np.float32) / scale) ** 2.2


def _harmonics(n: Floats) -> Floats:
    """Evaluate the nine real spherical harmonics up to order two at (N, 3) directions."""
    x, y, z = n.T
    one = np.ones_like(x)
    return np.stack(
        [
            0.282095 * one,
            0.488603 * y,
            0.488603 * z,
            0.488603 * x,
            1.092548 * x * y,
            1.092548 * y * z,
            0.315392 * (3 * z * z - 1),
            1.092548 * x * z,
            0.546274 * (x * x - y * y),
        ],
        1,
    ).astype(np.float32)


_COSINE = np.array([np.pi] + [2.094395] * 3 + [0.785398] * 5, np.float32)


@dataclass(frozen=True, slots=True)
class Panorama:
    """An equirectangular sky, z up.

    Attributes:
        sharp: (h, w, 3) linear radiance, median-normalised.
        soft: The same, small and blurred, for reflections.
        coefficients: (9, 3) of its irradiance without the sun.
        sun: (3,) direction to the brightest spot.
        sun_color: (3,) its irradiance.
    """

    sharp: Floats
    soft: Floats
    coefficients: Floats
    sun: Floats
    sun_color: Floats


def _directions(height: int, width: int) -> Floats:
    theta = (np.arange(height) + 0.5) / height * np.pi
    phi = (np.arange(width) + 0.5) / width * 2 * np.pi
    t, p = np.meshgrid(theta, phi, indexing="ij")
    return np.stack([np.sin(t) * np.cos(p), np.sin(t) * np.sin(p), np.cos(t)], -1).astype(
        np.float32
    )


def read_panorama(file: Path) -> Panorama:
    """Read an HDR file and work out its light."""
    image = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)[..., 2::-1].astype(np.float32)
    image = cv2.resize(image, (1024, 512), interpolation=cv2.INTER_AREA)
    image /= np.median(image) * 2 + 1e-6
    small = cv2.resize(image, (64, 32), interpolation=cv2.INTER_AREA)
    d = _directions(32, 64)
    area = np.sqrt(1 - d[..., 2] ** 2) * (np.pi / 32) * (2 * np.pi / 64)
    limit = np.percentile(small.max(-1), 97)
    sky = np.minimum(small, limit)
    excess = (small - sky) * area[..., None]
    light = excess.sum(-1)
    sun = (d * light[..., None]).reshape(-1, 3).sum(0)
    sun = sun / (np.linalg.norm(sun) + 1e-6) if light.sum() > 0 else np.array([0, 0, 1.0])
    basis = _harmonics(d.reshape(-1, 3))
    coefficients = (basis * area.reshape(-1, 1)).T @ sky.reshape(-1, 3) * _COSINE[:, None] / np.pi
    return Panorama(
        image,
        cv2.GaussianBlur(np.minimum(small, limit * 3), (0, 0), 1.2),
        coefficients.astype(np.float32),
        sun.astype(np.float32),
        np.clip(excess.reshape(-1, 3).sum(0) / np.pi, 0, 3).astype(np.float32),
    )


def irradiance(sky: Panorama, normals: Floats, yaw: float) -> Floats:
    """Give diffuse light / pi on (N, 3) normals under a sky turned by ``yaw``."""
    c, s = np.cos(-yaw), np.sin(-yaw)
    x, y = normals[:, 0], normals[:, 1]
    turned = np.stack([c * x - s * y, s * x + c * y, normals[:, 2]], 1)
    return np.maximum(_harmonics(turned) @ sky.coefficients, 0.01)


def look_up(image: Floats, directions: Floats, yaw: float) -> Floats:
    """Read a panorama picture along (N, 3) unit directions under a sky turned by ``yaw``."""
    h, w = image.shape[:2]
    phi = (np.arctan2(directions[:, 1], directions[:, 0]) - yaw) % (2 * np.pi)
    column = np.minimum((phi / (2 * np.pi) * w).astype(np.int32), w - 1)
    theta = np.arccos(np.clip(directions[:, 2], -1, 1))
    row = np.minimum((theta / np.pi * h).astype(np.int32), h - 1)
    return image[row, column]


class Surroundings:
    """Every tile and panorama of a folder, in memory."""

    def __init__(self, textures: Path) -> None:
        """Read ``textures``: JPEG tiles and HDR panoramas anywhere below it."""
        files = sorted(textures.rglob("*.jpg"))
        files = [f for f in files if "Normal" not in f.name and "Roughness" not in f.name]
        self.tiles = [self._tile(f) for f in files]
        self.skies = [read_panorama(f) for f in sorted(textures.rglob("*.hdr"))]
        if not self.tiles or not self.skies:
            raise SystemExit(f"{textures} needs JPEG tiles and HDR panoramas.")

    @staticmethod
    def _tile(file: Path) -> NDArray[np.uint8]:
        image = cv2.imread(str(file))[..., ::-1]
        return cv2.resize(image, (128, 128), interpolation=cv2.INTER_AREA)

    def tile(self, rng: Generator, texels: float) -> Floats:
        """Pick a linear tile whose repeat is about ``texels`` wide (8 to 128)."""
        tile = self.tiles[int(rng.integers(len(self.tiles)))]
        size = int(np.clip(texels, 8, 128))
        return to_linear(cv2.resize(tile, (size, size), interpolation=cv2.INTER_AREA))

    def sky(self, rng: Generator) -> Panorama:
        """Pick a panorama."""
        return self.skies[int(rng.integers(len(self.skies)))]
