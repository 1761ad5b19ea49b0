"""The networks of one run: the built-in one, and those that the artist has installed.

Which one runs at a stage is decided by ``choice``; here it is loaded, run within the memory there is,
and what it says is brought into one form.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from ..contracts import Detail, Picks, Request
from ..errors import WeightsError
from ..hub.catalogue import ModelEntry, Task, model
from ..machine.memory import Effort, free_memory, ladder, within_memory
from .choice import AUTO, Kind, choose
from .scene_depth import FINE, LOOKS, Look, SceneDepth

if TYPE_CHECKING:
    from ..field.protocol import Field
    from ..models.bundled.two_sided import TwoSidedNetwork

T = TypeVar("T")
Pixels = TypeVar("Pixels", NDArray[np.uint8], NDArray[np.float32])
Floats = NDArray[np.float32]
Stage = Callable[[str], Callable[[float], None]]

LONGEST = 1536  # pixels; a relief has no more vertices than this along its longer side
WORTH_UPSCALING = 1.5  # a texture less than this finer than the picture shows no gain
WORTH_TELLING = 1.1  # a surface coarser by less looks the same
TOKENS: dict[Detail, int] = {"low": 1024, "medium": 2048, "high": 2048, "ultra": 2048}  # TripoSG's


@dataclass(frozen=True, slots=True)
class ObjectField:
    """A solid that a network drew of a subject.

    Attributes:
        rgb: (H, W, 3) float32 0..1 the picture that it was drawn from.
        field: The solid in the network's own frame.
        axes: Whose frame that is.
        x0: Left edge of the square that the network saw, in pixels of the picture.
        y0: Its top edge.
        side: Its side.
    """

    rgb: Floats
    field: Field
    axes: Literal["triposr", "triposg"]
    x0: float
    y0: float
    side: float


@dataclass(frozen=True, slots=True)
class SeveralViews:
    """What an installed network says of several pictures of one thing or place; N pictures.

    Attributes:
        depth: (N, h, w) float32 > 0 along the optical axis, in the unit of the cameras' positions.
        confidence: (N, h, w) float32 from 1, a guess, upwards.
        camera_to_world: (N, 4, 4) in one frame, OpenCV axes.
        intrinsics: (N, 3, 3) in pixels of the pictures.
        to_picture: (N, 4) scale x, scale y, offset x, offset y from a map's pixels to the picture's.
        model: The network and its revision.
    """

    depth: Floats
    confidence: Floats
    camera_to_world: NDArray[np.float64]
    intrinsics: NDArray[np.float64]
    to_picture: NDArray[np.float64]
    model: str


class Networks:
    """Loads what a run needs, when it needs it.

    Attributes:
        notes: Sentences for the artist about what ran otherwise than asked.
        uses_seed: Whether a network that ran draws by seed.
    """

    def __init__(self, request: Request, stage: Stage) -> None:
        self.notes: list[str] = []
        self.uses_seed = False
        self._request = request
        self._stage = stage
        self._bundled: TwoSidedNetwork | None = None
        self._used: dict[str, str] = {}

    def name(self) -> str:
        """The networks that ran, with their revisions, for the result's record."""
        own = [] if self._bundled is None else [self._bundled.revision]
        return " + ".join([*self._used.values(), *own]) or "none"

    def labels(self) -> tuple[str, ...]:
        """The downloaded networks that ran, as the artist knows them."""
        return tuple(model(model_id).label for model_id in self._used)

    def bundled(self) -> TwoSidedNetwork:
        """The network that comes with the extension."""
        if self._bundled is None:
            self._stage("Loading the network")
            self._prepare()
            from ..models.bundled import two_sided

            self._bundled = two_sided.load(self._device())
        return self._bundled

    def chosen(self, task: Task, kind: Kind = "unknown") -> ModelEntry | None:
        """The installed model that runs at a stage; None for what is built in.

        Raises:
            WeightsError: The artist chose one that cannot run, with a sentence that says why.
        """
        from ..hub.weights import installed_ids

        wanted = getattr(self._request.models, task.replace("-", "_"))
        folder = self._request.models.folder
        there = installed_ids(folder)
        if wanted == AUTO and not there:
            return None
        if there:
            self._prepare()  # so that free memory on the graphics card is known
        choice = choose(task, wanted, there, free_memory(self._request.device), kind)
        if not choice.is_possible:
            raise WeightsError(choice.sentence)
        return None if choice.model is None else model(choice.model)

    def matte(self, rgb: NDArray[np.uint8]) -> Floats | None:
        """(H, W) how much of each pixel is the subject; None when no model for it is installed."""
        entry = self.chosen("cut-out")
        if entry is None:
            return None
        from ..picture.cut_out.matting import refine_alpha

        def attempt(effort: Effort) -> Floats:
            estimator = self._load(entry, effort)
            report = self._stage("Cutting out the subject")
            side = min(estimator.side, effort.max_side or estimator.side)
            alpha = estimator.estimate(rgb, lambda: report(0.3), max_side=effort.max_side)
            return refine_alpha(rgb, alpha, side, lambda: report(0.8))

        return self._within_memory(entry, attempt, max_sides=(768, 512))

    def picked(self, rgb: NDArray[np.uint8], picks: Picks) -> Floats | None:
        """(h, w) what the artist picked, of the whole picture; None without a model for it."""
        entry = self.chosen("pick")
        if entry is None:
            return None
        places = np.array([point[:2] for point in picks.points], np.float32).reshape(-1, 2)
        own = np.array([point[2] for point in picks.points], np.bool_)

        def attempt(effort: Effort) -> Floats:
            estimator = self._load(entry, effort)
            report = self._stage("Cutting out the subject")
            return estimator.estimate(
                rgb, places, own, picks.box, lambda: report(0.5), max_side=effort.max_side
            )

        return self._within_memory(entry, attempt, max_sides=(768, 512))

    def scene_depth(self, rgb: NDArray[np.uint8], fov_x: float | None) -> SceneDepth | None:
        """Depth of a whole (H, W, 3) picture; None when no model for it is installed."""
        entry = self.chosen("depth", "scene")
        if entry is None:
            return None
        look = LOOKS.get(entry.module)
        if look is None:
            raise WeightsError(f"{entry.label} cannot see depth: choose another model for Depth.")
        picture = _shrunk(_floats(rgb), LONGEST)
        fine_side = min(FINE[self._request.detail], max(picture.shape[:2]))

        def attempt(effort: Effort) -> SceneDepth:
            estimator = self._load(entry, effort)
            report = self._stage("Estimating the shape")
            fine = (
                fine_side if effort.max_side is None else 0
            )  # tiles are for where memory is enough
            how = Look(picture, fov_x, effort.max_side, fine, lambda: report(0.5))
            return look(estimator, how)

        return self._within_memory(entry, attempt, max_sides=(392, 266))

    def several_views(self, pictures: Sequence[NDArray[np.uint8]]) -> SeveralViews | None:
        """Cameras and depth of several (H, W, 3) pictures; None when no model for it is installed."""
        entry = self.chosen("views")
        if entry is None:
            return None

        def attempt(effort: Effort) -> SeveralViews:
            estimator = self._load(entry, effort)
            report = self._stage("Placing the cameras")
            options = {} if effort.max_side is None else {"long_side": effort.max_side}
            found = estimator.estimate_views(
                [_floats(_shrunk(rgb, LONGEST)) for rgb in pictures], lambda: report(0.5), **options
            )
            # The network saw smaller pictures: its places are scaled back to the whole ones.
            scales = np.array([max(1.0, max(rgb.shape[:2]) / LONGEST) for rgb in pictures])
            inner = np.stack([found.picture_intrinsics(index) for index in range(len(pictures))])
            inner[:, :2] *= scales[:, None, None]
            return SeveralViews(
                found.depth,
                found.confidence,
                found.camera_to_world,
                inner,
                found.to_picture * scales[:, None],
                f"{entry.id} ({(entry.revision or 'recorded')[:8]})",
            )

        return self._within_memory(entry, attempt, max_sides=(392, 266))

    def with_object_field(
        self, rgb: NDArray[np.uint8], mask: Floats, finish: Callable[[ObjectField], T]
    ) -> T | None:
        """Let an installed network draw the subject's solid, and make something of it.

        The field asks its network at every query, so ``finish`` runs within the memory there is too,
        and may run again.

        Args:
            rgb: (H, W, 3) the picture.
            mask: (H, W) 0..1 the subject.
            finish: Makes the result.

        Returns:
            The result, or None when no model for whole objects is installed.
        """
        entry = self.chosen("object", "object")
        if entry is None:
            return None
        draw = _DRAW.get(entry.module)
        if draw is None:
            raise WeightsError(f"{entry.label} cannot make objects: choose another for Object.")

        colours = _floats(rgb)

        def attempt(effort: Effort) -> T:
            estimator = self._load(entry, effort)
            report = self._stage("Estimating the shape")
            drawn = draw(estimator, colours, mask, effort, self._request, report)
            made = finish(drawn)
            coarsened.append(getattr(drawn.field, "coarsened", 1.0))
            return made

        coarsened: list[float] = []
        made = self._within_memory(entry, attempt, chunks=(1 << 15, 1 << 13))
        if coarsened[-1] > WORTH_TELLING:
            self.notes.append(
                f"{entry.label} drew so intricate a surface that it was followed"
                f" {coarsened[-1]:.1f} times more coarsely than Detail asks, to be done in minutes:"
                " a graphics card, more steps or another seed may do better."
            )
        return made

    def upscaled(self, rgb: NDArray[np.uint8], wanted: int) -> NDArray[np.uint8]:
        """Enlarge a picture whose longer side is well under ``wanted`` pixels, as far as that.

        Unchanged when no model for it is installed.
        """
        if max(rgb.shape[:2]) * WORTH_UPSCALING > wanted:
            return rgb
        entry = self.chosen("upscale")
        if entry is None:
            return rgb

        def attempt(effort: Effort) -> NDArray[np.uint8]:
            estimator = self._load(entry, effort)
            report = self._stage("Sharpening the picture")
            return estimator.estimate(rgb, lambda: report(0.5), tile=effort.chunk)

        larger = self._within_memory(entry, attempt, chunks=(192, 96))
        return _shrunk(larger, wanted)

    def filled(
        self,
        rgb: NDArray[np.uint8],
        hole: NDArray[np.bool_],
        stage: str = "Imagining the far side",
    ) -> NDArray[np.uint8] | None:
        """Paint the unknown pixels of a picture; None when no model for it is installed."""
        entry = self.chosen("inpaint")
        if entry is None:
            return None

        def attempt(effort: Effort) -> NDArray[np.uint8]:
            estimator = self._load(entry, effort)
            report = self._stage(stage)
            sides = {} if effort.max_side is None else {"max_side": effort.max_side}
            return estimator.estimate(rgb, hole, lambda: report(0.5), **sides)

        return self._within_memory(entry, attempt, max_sides=(384, 256))

    def _load(self, entry: ModelEntry, effort: Effort) -> Any:
        from .loaded import LOADED

        report = self._stage("Loading the network")
        folder = self._request.models.folder
        return LOADED.get(entry, folder, effort.device, effort.dtype, lambda part, _: report(part))

    def _within_memory(
        self,
        entry: ModelEntry,
        attempt: Callable[[Effort], T],
        max_sides: tuple[int, ...] = (),
        chunks: tuple[int, ...] = (),
    ) -> T:
        from .loaded import LOADED

        device = self._device()
        first = Effort(device, "float16" if device == "cuda" else "float32")
        steps = ladder(first, half="float16", max_sides=max_sides, chunks=chunks)
        self.uses_seed |= entry.draws_by_seed
        result, notes = within_memory(steps, attempt, entry.label, LOADED.free)
        self.notes += notes
        self._used[entry.id] = f"{entry.id} ({(entry.revision or 'recorded')[:8]})"
        return result

    def _prepare(self) -> None:
        from ..machine.native import import_torch

        import_torch()
        import torch  # noqa: F401 - free memory of the graphics card can be asked from now on

    def _device(self) -> str:
        from ..machine.device import best_device

        return best_device(self._request.device)


def _floats(pixels: NDArray[np.uint8]) -> Floats:
    return pixels.astype(np.float32) / 255


def _shrunk(rgb: Pixels, longest: int) -> Pixels:
    """(H, W, 3) of any type, its longer side at most ``longest`` pixels."""
    import cv2

    height, width = rgb.shape[:2]
    scale = longest / max(height, width)
    if scale >= 1:
        return rgb
    size = max(round(width * scale), 1), max(round(height * scale), 1)
    return cv2.resize(rgb, size, interpolation=cv2.INTER_AREA)  # pyright: ignore[reportReturnType]


def _triposr(
    estimator: Any,
    rgb: Floats,
    mask: Floats,
    effort: Effort,
    _request: Request,
    report: Callable[[float], None],
) -> ObjectField:
    chunk = {} if effort.chunk is None else {"chunk": effort.chunk}
    made = estimator.estimate(rgb, mask, lambda: report(0.5), **chunk)
    return ObjectField(rgb, made.field, "triposr", made.x0, made.y0, made.side)


def _triposg(
    estimator: Any,
    rgb: Floats,
    mask: Floats,
    effort: Effort,
    request: Request,
    report: Callable[[float], None],
) -> ObjectField:
    share = [0.0]  # queries of the field report too, and must not take the bar back

    def advance(done: float) -> None:
        share[0] = done
        report(done)

    made = estimator.estimate(
        rgb,
        mask,
        lambda: report(share[0]),
        steps=request.steps,
        guidance=request.guidance,
        seed=request.seed,
        tokens=TOKENS[request.detail],
        chunk=effort.chunk,
        advance=advance,
    )
    return ObjectField(rgb, made.field, "triposg", made.x0, made.y0, made.side)


Draw = Callable[[Any, Floats, Floats, Effort, Request, Callable[[float], None]], ObjectField]
_DRAW: dict[str, Draw] = {"solids.triposr": _triposr, "solids.triposg": _triposg}
