"""What crosses the border between the worker thread and Blender.

Frozen dataclasses of NumPy arrays, nothing else: no tensors, no data-blocks, no context.

Frames. Everything here uses OpenCV axes: x right, y down, z forward (away from the viewer).
"Camera frame" has its origin in the camera. "World frame" stands the result upright: its lowest
point lies at y = 0 (up is -y), x = z = 0 is the middle of its footprint, and the viewer looks along
+z. Blender's axes appear only in ``operators/scene``. Pictures have row 0 on top; colour is sRGB.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

Engine = Literal["auto", "object", "scene"]
Detail = Literal["low", "medium", "high", "ultra"]
Device = Literal["auto", "cpu", "cuda", "mps"]
CutOutMode = Literal["auto", "alpha", "mask", "none"]
Symmetry = Literal["off", "auto", "x"]


@dataclass(frozen=True, slots=True)
class PictureFile:
    """A picture on disk; the worker reads it."""

    path: Path


@dataclass(frozen=True, slots=True)
class PicturePixels:
    """A picture that is already in memory, such as a Blender image.

    Attributes:
        pixels: (H, W, 4) uint8, sRGB-encoded, straight alpha, row 0 at the top.
        name: What the result is named after.
    """

    pixels: NDArray[np.uint8]
    name: str


@dataclass(frozen=True, slots=True)
class ModelChoices:
    """Which network runs at each stage, and where downloaded ones are kept.

    Each stage holds "auto", "bundled" (what the extension brings along) or an id of ``catalogue``.

    Attributes:
        cut_out: Finds the subject.
        depth: Sees a scene's depth.
        object: Sees a whole thing.
        views: Sees several pictures of one thing or place together.
        upscale: Makes textures finer.
        inpaint: Paints what no picture shows.
        pick: Finds what the artist clicks on.
        folder: The folder with downloaded models; None when there is none.
    """

    cut_out: str = "auto"
    depth: str = "auto"
    object: str = "auto"
    views: str = "auto"
    upscale: str = "auto"
    inpaint: str = "auto"
    pick: str = "auto"
    folder: Path | None = None


@dataclass(frozen=True, slots=True)
class Picks:
    """What an artist clicked on or framed, in an upright picture of any size.

    Attributes:
        points: Clicks: x and y from 0 to 1 of the picture's width and height, from its top left
            corner, and whether it is on the subject or on what is not the subject.
        box: Left, top, right and bottom of a frame around the subject, from 0 to 1, or None.
    """

    points: tuple[tuple[float, float, bool], ...] = ()
    box: tuple[float, float, float, float] | None = None

    def __post_init__(self) -> None:
        places = [value for x, y, _ in self.points for value in (x, y)] + list(self.box or ())
        if not all(0.0 <= value <= 1.0 for value in places):
            raise ValueError("clicks and boxes are given from 0 to 1 of the picture's sides")
        if self.box is not None and not (self.box[0] < self.box[2] and self.box[1] < self.box[3]):
            raise ValueError("a box is given as left, top, right, bottom")
        if self.box is None and not any(is_subject for _, _, is_subject in self.points):
            raise ValueError("there must be a click on the subject or a box around it")


@dataclass(frozen=True, slots=True)
class Shaping:
    """What can be changed about an object without asking a network again.

    Attributes:
        smoothness: Rounds of smoothing of the surface; 0 keeps it as extracted.
        thickness: Factor on the depth of the hidden side, > 0.
        depth_range: Factor on the relief of the side that the picture shows, >= 0.
        cut_threshold: Subject probability from which a pixel belongs to the subject, 0 to 1.
        level: How far outside of the fitted surface the mesh lies, in half widths of the subject;
            negative values lie inside.
        faces: Largest number of faces; 0 keeps what Detail gives.
        symmetry: Whether left and right halves are made alike: never, where the picture clearly shows
            a symmetric thing from straight ahead, or always.
        turn: With symmetry always: radians that the thing's front is turned away from the camera, to
            the picture's right where positive.
        is_neural: Fit a neural field to the observation instead of filling a grid: finer edges where
            the observation is exact, slower.
        delight: How much of the light is taken out of the colours, 0 to 1.
        bump: Height of the picture's fine brightness as relief in the normal map; 0 for none.
    """

    smoothness: int = 4
    thickness: float = 1.0
    depth_range: float = 1.0
    cut_threshold: float = 0.5
    level: float = 0.0
    faces: int = 0
    symmetry: Symmetry = "off"
    turn: float = 0.0
    is_neural: bool = False
    delight: float = 0.0
    bump: float = 0.0


@dataclass(frozen=True, slots=True)
class SceneShaping:
    """What can be changed about a scene without asking a network again.

    Attributes:
        depth_range: Exponent of depth over its median: 1 as seen, 0 flat, 2 twice as deep.
        cut_threshold: Share by which depth must differ across a steep cell for it to be cut.
        smoothness: Rounds in which slopes are calmed; jumps stay.
        fills_behind: Continue the background behind what stands before it; a solid has none.
        is_solid: Close the relief into a watertight solid.
        size_m: The same as ``Request.size_m``.
    """

    depth_range: float = 1.0
    cut_threshold: float = 0.08
    smoothness: int = 0
    fills_behind: bool = True
    is_solid: bool = False
    size_m: float = 1.0


@dataclass(frozen=True, slots=True)
class RefineRequest:
    """Shape a finished object again from what was kept with it.

    Attributes:
        archive: What ``Reconstruction.archive`` was.
        name: Base name of the result.
        shaping: The changes; of a scene if that was made.
        detail: How fine the mesh is.
        texture_size: Side of the square texture in pixels.
    """

    archive: bytes
    name: str
    shaping: Shaping | SceneShaping = Shaping()
    detail: Detail = "medium"
    texture_size: int = 2048


@dataclass(frozen=True, slots=True)
class Request:
    """Everything a run needs, read from Blender before the thread starts.

    Attributes:
        source: Where the picture comes from.
        engine: What to make; ``auto`` decides by the picture.
        detail: How fine the mesh is.
        mask: (H, W) uint8 cut-out given by the artist, 255 = subject, any size (it is scaled to the
            picture); None when there is none.
        picks: What the artist clicked on; it goes before every other cut-out. None when nothing was.
        cut_out: ``auto`` takes alpha if the picture has any, else the artist's mask, else the
            network; ``alpha`` and ``mask`` insist; ``none`` takes the whole picture.
        texture_size: Side of the square texture in pixels, 256 to 8192.
        size_m: Longest side of an object's bounding box in metres; a scene's depth of field scales
            with it too (a scene's median distance is ``size_m`` times four).
        is_solid: Close a scene's relief into a watertight solid.
        fills_behind: Continue a scene's background behind what stands before it; a solid has none.
        fov_x: Horizontal field of view of the picture in radians when the artist knows it.
        device: Where networks run.
        seed: Seed of every random choice.
        steps: Steps of networks that draw a solid out of noise; fewer are faster and rougher.
        guidance: How closely such networks follow the picture; 1 is as learned.
        models: Which networks run.
        shaping: How an object's shape and colours are made; the Refine panel starts from it. Objects
            that a network draws whole take only ``delight`` and ``bump``.
    """

    source: PictureFile | PicturePixels
    engine: Engine = "auto"
    detail: Detail = "medium"
    mask: NDArray[np.uint8] | None = None
    picks: Picks | None = None
    cut_out: CutOutMode = "auto"
    texture_size: int = 2048
    size_m: float = 1.0
    is_solid: bool = False
    fills_behind: bool = True
    fov_x: float | None = None
    device: Device = "auto"
    seed: int = 0
    steps: int = 50
    guidance: float = 7.0
    models: ModelChoices = ModelChoices()
    shaping: Shaping = Shaping()


@dataclass(frozen=True, slots=True)
class Place:
    """Where a photo says that it was taken.

    Attributes:
        latitude: Degrees, north of the equator is positive.
        longitude: Degrees, east of Greenwich is positive.
        error: Metres by which that may be wrong, by the camera's own account; None when it has none.
    """

    latitude: float
    longitude: float
    error: float | None = None


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture as every engine sees it: upright, sRGB, straight alpha.

    Attributes:
        pixels: (H, W, 4) uint8 sRGB, straight alpha (255 everywhere when the file has none).
        has_alpha: True when alpha separates something: neither all opaque nor all transparent.
        focal_px: Focal length in pixels of ``pixels`` from EXIF, None when unknown.
        name: Stem for data-block names.
        notes: Sentences for the artist, such as "Scaled from 20000 x 300 to 4096 x 61".
        place: Where it was taken, None when unknown.
        sha256: Of the file as it was read; empty when there is none.
    """

    pixels: NDArray[np.uint8]
    has_alpha: bool
    focal_px: float | None
    name: str
    notes: tuple[str, ...] = ()
    place: Place | None = None
    sha256: str = ""


@dataclass(frozen=True, slots=True)
class CutOut:
    """The subject of a picture.

    Attributes:
        mask: (H, W) float32, 0 background to 1 subject, same size as the picture.
        origin: Where it came from: "alpha", "mask", "picks", "network" or "none".
        picture: The picture it belongs to.
        networks: Labels of the downloaded networks that found it.
    """

    mask: NDArray[np.float32]
    origin: str
    picture: Picture
    networks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class MeshArrays:
    """A polygon mesh in the world frame, metres.

    Attributes:
        positions: (V, 3) float32.
        corners: (C,) int32 vertex of each face corner, faces one after another, counter-clockwise
            seen from outside in a right-handed frame.
        face_sizes: (F,) int32 corners of each face, 3 or 4; sums to C.
        corner_uvs: (C, 2) float32, origin at the bottom left.
    """

    positions: NDArray[np.float32]
    corners: NDArray[np.int32]
    face_sizes: NDArray[np.int32]
    corner_uvs: NDArray[np.float32]

    def __post_init__(self) -> None:
        count = self.corners.size
        if self.positions.ndim != 2 or self.positions.shape[1] != 3:
            raise ValueError(f"positions must be (V, 3), got {self.positions.shape}")
        if int(self.face_sizes.sum()) != count:
            raise ValueError(f"face_sizes sums to {self.face_sizes.sum()}, corners has {count}")
        if self.corner_uvs.shape != (count, 2):
            raise ValueError(f"corner_uvs must be ({count}, 2), got {self.corner_uvs.shape}")


@dataclass(frozen=True, slots=True)
class MaterialArrays:
    """Maps of one Principled BSDF.

    Attributes:
        base_color: (H, W, 3) uint8 sRGB, row 0 on top.
        roughness: (H, W) uint8 linear, 255 = 1; or one number from 0 to 1.
        metallic: The same for metallic.
        normal: (H, W, 3) uint8 tangent-space normal map (OpenGL convention, +Y up), or None.
        occlusion: (H, W) uint8 linear ambient occlusion, 255 = open to the whole sky, or None.

    Each map has its own size.
    """

    base_color: NDArray[np.uint8]
    roughness: NDArray[np.uint8] | float
    metallic: NDArray[np.uint8] | float = 0.0
    normal: NDArray[np.uint8] | None = None
    occlusion: NDArray[np.uint8] | None = None


@dataclass(frozen=True, slots=True)
class CameraArrays:
    """The camera that took the picture.

    Attributes:
        matrix: (4, 4) float64 camera-to-world, both in OpenCV axes, metres.
        fov_x: Horizontal field of view in radians.
        width: Picture width in pixels.
        height: Picture height in pixels. Pixels are square; the principal point is the middle.
    """

    matrix: NDArray[np.float64]
    fov_x: float
    width: int
    height: int


@dataclass(frozen=True, slots=True)
class StageCost:
    """What one stage took. ``peak_mb`` is the process's peak resident memory at its end."""

    name: str
    seconds: float
    peak_mb: float


@dataclass(frozen=True, slots=True)
class Reconstruction:
    """A finished result, ready to be built in Blender.

    Attributes:
        name: Base name for object, mesh, material and images.
        engine: The engine that ran: "object" or "scene".
        model: Network and revision, such as "two-sided 2 (3f9c2a71)".
        mesh: Geometry with UVs.
        material: Its maps.
        camera: The matched camera.
        picture: (H, W, 4) uint8 the picture as used (upright), for the camera's background.
        is_watertight: Whether the mesh is closed and manifold.
        notes: Sentences for the artist.
        stages: Time and memory of each stage.
        uses_seed: Whether another seed would have given another result.
        archive: What is needed to shape the object again, see ``archive.py``; None when the engine
            keeps nothing.
        self_intersections: How many faces pass through others; None where that was not looked for.
        picture_sha256: Of the picture's file as it was read; empty when there is none.
    """

    name: str
    engine: str
    model: str
    mesh: MeshArrays
    material: MaterialArrays
    camera: CameraArrays
    picture: NDArray[np.uint8]
    is_watertight: bool
    notes: tuple[str, ...] = ()
    stages: tuple[StageCost, ...] = field(default=())
    uses_seed: bool = False
    archive: bytes | None = None
    self_intersections: int | None = None
    picture_sha256: str = ""


@dataclass(frozen=True, slots=True)
class News:
    """The end of a job that puts nothing into the scene: ``lines`` are sentences for the artist."""

    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Progress:
    """One line for the status bar. ``fraction`` runs from 0 to 1."""

    fraction: float
    stage: str


@dataclass(frozen=True, slots=True)
class Done:
    """The run ended well."""

    result: Reconstruction | CutOut | News


@dataclass(frozen=True, slots=True)
class Failed:
    """``message`` is for the artist; ``details`` is the traceback for the report."""

    message: str
    details: str


@dataclass(frozen=True, slots=True)
class Cancelled:
    """The run stopped because it was asked to."""


Event = Progress | Done | Failed | Cancelled
