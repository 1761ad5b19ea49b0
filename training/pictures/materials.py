"""Albedo and gloss of a surface, chosen at random and independent of its shape."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from ..shapes.meshes import Mesh, random_rotation
from .surroundings import Surroundings, to_linear

Floats = NDArray[np.float32]


def palette(rng: Generator, count: int) -> Floats:
    """Pick (count, 3) linear colours that go together more often than not."""
    style = rng.random()
    if style < 0.3:
        colors = rng.uniform(0.02, 0.95, (count, 3))
    elif style < 0.5:
        grey = rng.uniform(0.03, 0.95, (count, 1))
        colors = grey * (1 + 0.15 * rng.normal(size=(count, 3)))
    else:
        base = rng.uniform(0.05, 0.9, 3)
        colors = base * rng.uniform(0.4, 1.4, (count, 1)) + 0.2 * rng.normal(size=(count, 3))
    return np.clip(colors, 0.02, 0.97).astype(np.float32)


def drawing(rng: Generator, size: int = 64) -> tuple[Floats, Floats]:
    """Draw random blobs, rings, strokes and letters: (s, s, 3) linear colour and (s, s) cover."""
    image = np.zeros((size, size, 3), np.float32)
    cover = np.zeros((size, size), np.float32)
    for _ in range(int(rng.integers(1, 6))):
        color = tuple(float(c) for c in rng.uniform(0, 1, 3) ** 2)
        if rng.random() < 0.4:
            color = (0.01, 0.01, 0.01) if rng.random() < 0.6 else (0.9, 0.9, 0.9)
        x, y = (int(v) for v in rng.integers(8, size - 8, 2))
        r = int(rng.integers(2, size // 4))
        thickness = -1 if rng.random() < 0.6 else int(rng.integers(1, 4))
        kind = rng.random()
        for target, value in ((image, color), (cover, 1.0)):
            if kind < 0.4:
                axes = (r, max(1, r // 2 + r // 3))
                cv2.ellipse(target, (x, y), axes, 30.0 * r, 0, 360, value, thickness)
                cv2.ellipse(target, (size - x, y), axes, 30.0 * r, 0, 360, value, thickness)
            elif kind < 0.6:
                cv2.rectangle(target, (x - r, y - r // 2), (x + r, y + r // 2), value, thickness)
            elif kind < 0.8:
                cv2.line(target, (x, y), (size - y, x), value, max(1, r // 3))
            else:
                text = chr(65 + (x * 7 + y) % 26) + chr(97 + (x + y * 5) % 26)
                cv2.putText(target, text, (x // 2, y), cv2.FONT_HERSHEY_SIMPLEX, r / 10, value, 2)
    return image, cover


def _triplanar(tile: Floats, points: Floats, normals: Floats, repeat: float) -> Floats:
    axis = np.abs(normals).argmax(1)
    u = np.where(axis == 0, points[:, 1], points[:, 0])
    v = np.where(axis == 2, points[:, 1], -points[:, 2])
    size = tile.shape[0]
    row = (v / repeat * size).astype(np.int32) % size
    column = (u / repeat * size).astype(np.int32) % size
    return tile[row, column]


def own_albedo(mesh: Mesh, faces: NDArray[np.int64], bary: Floats) -> Floats:
    """Give the mesh's own colours at (N,) faces and (N, 2) barycentric weights of corners 1, 2."""
    assert mesh.colors is not None
    albedo = mesh.colors[faces].astype(np.float32)
    if mesh.uvs is None or mesh.images is None:
        return albedo
    weights = np.column_stack([1 - bary.sum(1), bary])
    uv = (mesh.uvs[faces] * weights[..., None]).sum(1)
    image = mesh.images[faces]
    for index, texture in enumerate(mesh.textures):
        mine = image == index
        h, w = texture.shape[:2]
        row = ((1 - uv[mine, 1]) * h).astype(np.int32) % h
        column = (uv[mine, 0] * w).astype(np.int32) % w
        albedo[mine] = to_linear(texture[row, column])
    return albedo


class Material:
    """How one mesh is painted; a function of points, so that every view agrees."""

    def __init__(
        self, rng: Generator, mesh: Mesh, surroundings: Surroundings, is_flat: bool = False
    ) -> None:
        """Choose.

        Args:
            rng: Source of every choice.
            mesh: What is painted, in its own coordinates.
            surroundings: Where tiles come from.
            is_flat: Plain colours only, as in cartoons.
        """
        self._mesh = mesh
        count = int(mesh.parts.max()) + 1
        self._palette = palette(rng, count)
        self._uses_own = mesh.colors is not None and rng.random() < (0.75 if is_flat else 0.5)
        self._order = rng.permutation(3) if rng.random() < 0.3 else np.arange(3)
        self._gamma = rng.uniform(0.6, 1.5)
        self._tiles: list[tuple[Floats, float, NDArray[np.bool_], bool, Floats]] = []
        if not is_flat and rng.random() < 0.65:
            groups = int(rng.integers(1, 4))
            group = rng.integers(0, groups, count)
            for index in range(groups):
                if rng.random() < 0.75:
                    repeat = float(np.exp(rng.uniform(np.log(0.12), np.log(2.5))))
                    self._tiles.append(
                        (
                            surroundings.tile(rng, 110 * repeat),
                            repeat,
                            group == index,
                            rng.random() < 0.5,
                            random_rotation(rng) if rng.random() < 0.3 else np.eye(3, dtype="f4"),
                        )
                    )
        self._waves = None
        if rng.random() < (0.1 if is_flat else 0.3):
            self._waves = (
                (rng.normal(size=(3, 3)) * rng.uniform(1, 25)).astype(np.float32),
                rng.uniform(0, 6, 3).astype(np.float32),
                rng.random() < 0.5,
                rng.uniform(0.1, 0.6),
            )
        self._decals = []
        if rng.random() < 0.3:
            for _ in range(int(rng.integers(1, 4))):
                frame = random_rotation(rng)
                if rng.random() < 0.6:  # on the front
                    frame = np.array([[1, 0, 0], [0, 0, -1], [0, 1, 0]], np.float32)
                size = rng.uniform(0.2, 1.2)
                self._decals.append((frame, rng.uniform(-0.4, 0.4, 2), size, drawing(rng)))
        rough = rng.uniform(0.15, 1.0, count)
        self.roughness = rough.astype(np.float32)
        self.metal = (rng.random(count) < (0.0 if is_flat else 0.12)).astype(np.float32)
        self._bump = None
        if not is_flat and rng.random() < 0.25:
            self._bump = (
                (rng.normal(size=(3, 3)) * rng.uniform(8, 50)).astype(np.float32),
                rng.uniform(0.03, 0.2),
            )

    def albedo(
        self, faces: NDArray[np.int64], bary: Floats, points: Floats, normals: Floats
    ) -> Floats:
        """Give (N, 3) linear albedo at points of the mesh, in its own coordinates."""
        part = self._mesh.parts[faces]
        if self._uses_own:
            albedo = own_albedo(self._mesh, faces, bary)[:, self._order] ** self._gamma
        else:
            albedo = self._palette[part].copy()
        for tile, repeat, parts, is_product, frame in self._tiles:
            mine = parts[part]
            color = _triplanar(tile, points[mine] @ frame.T, normals[mine] @ frame.T, repeat)
            albedo[mine] = albedo[mine] * color / (tile.mean() + 0.02) if is_product else color
        if self._waves is not None:
            frequency, phase, is_sharp, strength = self._waves
            wave = np.sin(points @ frequency + phase).mean(1, keepdims=True)
            wave = np.sign(wave) if is_sharp else wave
            albedo = albedo * (1 + strength * wave)
        for frame, place, size, (image, cover) in self._decals:
            local = points @ frame.T
            facing = normals @ frame[2] > 0.2
            pixel = ((local[:, :2] - place) / size + 0.5) * len(cover)
            inside = facing & (pixel >= 0).all(1) & (pixel < len(cover)).all(1)
            column, row = pixel[inside].astype(np.int32).T
            alpha = cover[row, column][:, None]
            albedo[inside] = albedo[inside] * (1 - alpha) + image[row, column] * alpha
        return np.clip(albedo, 0.01, 1).astype(np.float32)

    def shading_normals(self, points: Floats, normals: Floats) -> Floats:
        """Disturb (N, 3) normals by relief too small for the mesh."""
        if self._bump is None:
            return normals
        frequency, strength = self._bump
        bent = normals + strength * np.sin(points @ frequency)
        return bent / np.linalg.norm(bent, axis=1, keepdims=True)
