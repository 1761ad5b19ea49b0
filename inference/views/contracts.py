"""What goes into a reconstruction from several pictures, and what comes out.

Frames are those of ``inference.contracts``: OpenCV axes everywhere, row 0 on top. "Source world" is
the frame in which cameras were estimated or given; the finished result is in the world frame.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from ..contracts import (
    CameraArrays,
    Detail,
    Device,
    ModelChoices,
    PicturePixels,
    Place,
    Reconstruction,
)
from .cameras.mirrors import Mirror

Kind = Literal["auto", "object", "place"]
CameraSource = Literal["auto", "estimate", "existing", "turntable"]
Masks = Literal["auto", "files", "none"]
Surface = Literal["auto", "fused", "refined"]

VIDEO_EXTENSIONS = (
    ".mp4", ".mov", ".m4v", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".3gp", ".mts",
)  # fmt: skip
PICTURE_FOLDERS = ("images", "pictures", "photos", "rgb", "frames")  # where tools put pictures


@dataclass(frozen=True, slots=True)
class KnownView:
    """A picture whose camera the artist has already placed, such as a Blender camera.

    Attributes:
        picture: The picture.
        matrix: (4, 4) camera-to-world, both in OpenCV axes, metres.
        fov_x: Horizontal field of view in radians.
    """

    picture: Path | PicturePixels
    matrix: NDArray[np.float64]
    fov_x: float


@dataclass(frozen=True, slots=True)
class ViewsRequest:
    """Everything a reconstruction from several pictures needs.

    Attributes:
        inputs: Pictures, folders of pictures and videos, in the artist's order; pixels for images
            that have no file.
        known: Pictures with cameras; when there are any, ``inputs`` is not used and the result
            keeps the place and size that these cameras give it.
        kind: One thing, closed all round, or a place that is seen from within; ``auto`` decides by
            where the cameras look.
        cameras: ``auto`` takes a reconstruction that lies beside the pictures if there is one,
            else estimates; ``estimate`` and ``existing`` insist; ``turntable`` takes the pictures
            as the sides they are named after, or equal steps of a turn: front, left, back, right.
        masks: ``auto`` takes transparency or mask files, and cuts a thing out by itself where there
            are none; ``files`` insists on them for every picture; ``none`` uses whole pictures.
        surface: ``fused`` from depth maps and outlines; ``refined`` until it looks like the pictures,
            by volume rendering; ``auto`` refines things that masks, given or found, tell from the rest.
        turn_step: For ``turntable``: radians from each picture to the next, clockwise seen from
            above; None takes the sides' names, or equal steps of one turn.
        elevation: For ``turntable``: radians of the camera above the horizon.
        max_frames: At most so many frames of each video.
        detail: How fine the mesh is.
        texture_size: Side of the square texture in pixels.
        size_m: Longest side of the result in metres; None keeps the size the cameras give it, or
            takes that of the photos' GPS positions where the cameras have none of their own.
        is_measured: Find the size by the photos' GPS positions or by an installed network for metric
            depth instead; where that cannot be done, ``size_m`` counts.
        fov_x: Horizontal field of view in radians when the artist knows it, for all pictures.
        device: Where networks run.
        models: Which networks run.
        seed: Seed of every random choice.
        name: What the result is called; None takes the folder's or file's name.
        ignored: Files of the folders that are no photos, such as earlier results.
    """

    inputs: tuple[Path | PicturePixels, ...] = ()
    known: tuple[KnownView, ...] = ()
    kind: Kind = "auto"
    cameras: CameraSource = "auto"
    masks: Masks = "auto"
    surface: Surface = "auto"
    turn_step: float | None = None
    elevation: float = 0.0
    max_frames: int = 80
    detail: Detail = "medium"
    texture_size: int = 2048
    size_m: float | None = 1.0
    is_measured: bool = False
    fov_x: float | None = None
    device: Device = "auto"
    models: ModelChoices = field(default_factory=ModelChoices)
    seed: int = 0
    name: str | None = None
    ignored: frozenset[Path] = frozenset()


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture or video frame, read.

    Attributes:
        name: Of the file, or of the video and the frame's time.
        pixels: (H, W, 3) uint8 sRGB.
        mask: (H, W) float32, 0 background to 1 subject; None without one.
        focal_px: Focal length in pixels of ``pixels``; None when unknown.
        path: The file; None for pixels from memory and video frames.
        group: Pictures of one group come from one camera at one zoom.
        sequence: Number of the video or sequence it belongs to; -1 for single photos.
        place: Where it says that it was taken; None when it says nothing.
    """

    name: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32] | None
    focal_px: float | None
    path: Path | None
    group: str
    sequence: int = -1
    place: Place | None = None


@dataclass(frozen=True, slots=True)
class PictureStatus:
    """What became of one picture.

    Attributes:
        name: As in ``Photo.name``.
        is_used: Whether the result was made with it.
        sentence: Why not, or what is remarkable about it; empty when all is well.
    """

    name: str
    is_used: bool
    sentence: str = ""


@dataclass(frozen=True, slots=True)
class Lens:
    """How a camera maps directions to pixels; pixel (0.5, 0.5) is the middle of the first one.

    Attributes:
        width: Picture width in pixels.
        height: Picture height in pixels.
        focal_x: Pixels.
        focal_y: Pixels.
        centre_x: Principal point in pixels.
        centre_y: Principal point in pixels.
        distortion: OpenCV's coefficients: k1, k2, p1, p2, k3 ... or the four of a fisheye.
        is_fisheye: Which of the two models ``distortion`` belongs to.
    """

    width: int
    height: int
    focal_x: float
    focal_y: float
    centre_x: float
    centre_y: float
    distortion: tuple[float, ...] = ()
    is_fisheye: bool = False

    def scaled_to(self, width: int, height: int) -> Lens:
        """The same lens for a picture of another size."""
        x, y = width / self.width, height / self.height
        return Lens(
            width,
            height,
            self.focal_x * x,
            self.focal_y * y,
            self.centre_x * x,
            self.centre_y * y,
            self.distortion,
            self.is_fisheye,
        )


@dataclass(frozen=True, slots=True)
class Pose:
    """Where a picture was taken from.

    Attributes:
        lens: Of its camera.
        matrix: (4, 4) camera-to-source-world in OpenCV axes.
    """

    lens: Lens
    matrix: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class SparsePoints:
    """Points that features of several pictures agree on.

    Attributes:
        positions: (N, 3) float32.
        colours: (N, 3) uint8 sRGB.
    """

    positions: NDArray[np.float32]
    colours: NDArray[np.uint8]

    @classmethod
    def empty(cls) -> SparsePoints:
        return cls(np.zeros((0, 3), np.float32), np.zeros((0, 3), np.uint8))


@dataclass(frozen=True, slots=True)
class Solved:
    """Cameras as they were estimated or read, before pictures are undistorted.

    Attributes:
        poses: By ``Photo.name``; only of the pictures that have one.
        points: In the source world.
        reasons: Why a picture has no camera, by name.
        up: (3,) unit vector up in the source world when the source knows it.
        keeps_world: The source world is the artist's own; it must not be moved.
        origin: "pycolmap", "COLMAP folder", "transforms.json", "turntable" or "scene".
        error_px: Mean reprojection error of the points; None when unknown.
        doubts: What is doubtful about a picture's camera, by name.
        notes: Sentences about all cameras for the artist.
        mirrors: That the pictures show, in the source world; points seen in them are not in
            ``points``.
        ahead: (3,) unit vector in the source world along which one looks at the subject's front;
            None when it is the first picture that shows the front.
    """

    poses: dict[str, Pose]
    points: SparsePoints
    reasons: dict[str, str]
    up: NDArray[np.float64] | None
    keeps_world: bool
    origin: str
    error_px: float | None = None
    doubts: dict[str, str] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    mirrors: tuple[Mirror, ...] = ()
    ahead: NDArray[np.float64] | None = None


@dataclass(frozen=True, slots=True)
class View:
    """A picture with its camera, undistorted: square pixels, the principal point in the middle.

    Attributes:
        name: As in ``Photo.name``.
        pixels: (H, W, 3) uint8 sRGB.
        mask: (H, W) float32, 0 background to 1 subject; None without one.
        valid: (H, W) bool, False where undistortion found no pixel; None when all are valid.
        camera: The camera, in the frame of whatever holds the view.
        path: The file, if any.
    """

    name: str
    pixels: NDArray[np.uint8]
    mask: NDArray[np.float32] | None
    valid: NDArray[np.bool_] | None
    camera: CameraArrays
    path: Path | None

    @property
    def focal_px(self) -> float:
        return self.camera.width / 2 / float(np.tan(self.camera.fov_x / 2))


@dataclass(frozen=True, slots=True)
class ViewsReconstruction(Reconstruction):
    """A result with all its cameras; ``camera`` and ``picture`` are those of the best view.

    Attributes:
        views: The pictures used, in the world frame.
        points: Sparse points in the world frame.
        statuses: Of every picture that was given.
    """

    views: tuple[View, ...] = ()
    points: SparsePoints = field(default_factory=SparsePoints.empty)
    statuses: tuple[PictureStatus, ...] = ()
