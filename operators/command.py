"""``blender --command image_to_mesh``: pictures to mesh files from a terminal."""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TextIO, cast

import bpy

from ..inference.contracts import Picks, PictureFile, Request, Shaping
from ..inference.errors import ImageToMeshError
from ..inference.hub.catalogue import Task, models_for
from ..inference.naming import shown
from ..inference.networks.choice import known
from ..inference.views.contracts import ViewsRequest
from . import session
from .batch.folder import Outcome, carry_out, of_pictures
from .batch.formats import SUFFIXES
from .batch.inputs import is_folder, pictures_in
from .batch.log import LOG_NAME, log_path
from .batch.names import Plan, named_plan, plan_outputs
from .photos.batch import of_photos, photo_sets
from .photos.reconstruct import PHOTO_STAGES
from .preferences import chosen_device
from .request import STAGES, device_named, model_choices

NAME = "image_to_mesh"
FAILED, WRONG_USE = 1, 2  # exit statuses


def run_cli(argv: Sequence[str]) -> int:
    """Turn the pictures on a command line into files.

    Args:
        argv: Arguments without the program's name.

    Returns:
        Exit status: 0 when every picture has its file, 1 when some failed, 2 for wrong arguments.
    """
    try:
        parser = _parser()
        arguments = parser.parse_args(list(argv))
        if bool(arguments.pictures) == bool(arguments.photos):
            parser.error("give either pictures, or --photos with folders of photos or videos")
        picks = _picks(parser, arguments)
    except SystemExit as end:  # argparse has told why; Blender must still shut down in order
        return end.code if isinstance(end.code, int) else WRONG_USE

    def tell(outcome: Outcome) -> None:
        if outcome.status == "error":
            _complain(f"{outcome.picture}: {outcome.message}")
            if outcome.details and arguments.verbose:
                for line in outcome.details.splitlines():
                    _complain(line)
        elif not arguments.quiet:
            kept = "kept" if outcome.status == "skipped" else f"{outcome.seconds:.1f} s"
            _say(
                sys.stdout, f"{outcome.picture} -> {outcome.output} ({outcome.faces} faces, {kept})"
            )
            if arguments.photos and outcome.message:  # which photos were left out, and why
                _say(sys.stdout, f"  {outcome.message}")

    reason = session.busy_reason()
    if reason is not None:
        _complain(f"{reason}.")
        return FAILED
    try:
        if arguments.photos:
            inputs, assign = _photo_sets(arguments), of_photos(_photo_template(arguments))
            is_one = len(inputs) == 1
        else:
            inputs, assign = _pictures(arguments), of_pictures(_template(arguments, picks))
            is_one = not is_folder(arguments.pictures[0])
        plans = _plans(arguments, inputs, is_one)
        _mention_log(plans[0].folder)
        outcomes = carry_out(
            plans,
            assign,
            _file_format(arguments),
            overwrite=arguments.overwrite,
            on_outcome=tell,
        )
    except ImageToMeshError as error:
        _complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        _complain("interrupted: run the same again to go on")
        return FAILED
    return FAILED if any(outcome.status == "error" for outcome in outcomes) else 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog=NAME,
        description="Turn pictures, or photos of one thing from many sides, into mesh files.",
        epilog="Exit status: 0 when every picture has its file, 1 when some failed, 2 for wrong"
        " arguments. Results made earlier with the same settings are kept.",
    )
    add = parser.add_argument
    add("pictures", nargs="*", type=Path, metavar="PICTURE", help="a picture, or a folder of them")
    add(
        "--photos",
        nargs="+",
        type=Path,
        default=[],
        metavar="PATH",
        help="instead of pictures: a folder of photos of one thing or place, a video, or a folder"
        " of such folders and videos; each becomes one mesh",
    )
    add("--output", "-o", type=Path, default=Path(), help="folder, or for one picture a file name")
    add("--format", choices=sorted(SUFFIXES), help="file format (glb, or what --output ends with)")
    add("--engine", choices=("auto", "object", "scene"), default="auto", help="what to make")
    add("--detail", choices=("low", "medium", "high", "ultra"), default="medium")
    add("--cut-out", choices=("auto", "alpha", "none"), default="auto", help="find the subject by")
    add(
        "--pick",
        action="append",
        type=_place,
        default=[],
        metavar="X,Y",
        help="a place on the subject, from 0 to 1 of the picture's width and height, from its top"
        " left corner; may be repeated, holds for every picture, and goes before --cut-out",
    )
    add(
        "--pick-not",
        action="append",
        type=_place,
        default=[],
        metavar="X,Y",
        help="a place that is not the subject; may be repeated",
    )
    add("--pick-box", type=_box, metavar="L,T,R,B", help="a box around the subject, from 0 to 1")
    add("--texture-size", type=_texture_size, default=2048, metavar="N", help="pixels, 256 to 8192")
    add("--size", type=_metres, default=1.0, metavar="M", help="longest side in metres")
    add("--solid", action="store_true", help="close a scene into a watertight solid")
    add(
        "--no-fill-behind",
        action="store_true",
        help="do not continue a scene's background behind what stands before it",
    )
    add("--symmetry", choices=("off", "auto", "x"), default="off", help="of an object's halves")
    add("--neural", action="store_true", help="fit a neural field to an object's shape")
    add("--delight", type=_share, default=0.0, metavar="S", help="light taken out, 0 to 1")
    add("--grain", type=_share, default=0.0, metavar="S", help="relief from brightness, 0 to 1")
    add("--fov", type=_degrees, metavar="DEG", help="horizontal field of view of the picture")
    add("--device", choices=("auto", "cpu", "cuda", "mps"), default="auto")
    add("--seed", type=int, default=0)
    add("--subject", choices=("auto", "thing", "place"), default="auto", help="of --photos")
    add(
        "--cameras",
        choices=("auto", "estimate", "existing", "sides"),
        default="auto",
        help="of --photos: where cameras come from",
    )
    add("--masks", choices=("auto", "files", "none"), default="auto", help="of --photos")
    add("--surface", choices=("auto", "fused", "refined"), default="auto", help="of --photos")
    add("--frames", type=_frames, default=80, metavar="N", help="of each video, at most")
    add("--views-model", type=_model_for("views"), default="auto", metavar="ID", help=_ids("views"))
    for stage in STAGES:
        task = cast("Task", stage.replace("_", "-"))
        add(
            f"--{task}-model",
            dest=f"{stage}_model",
            metavar="ID",
            type=_model_for(task),
            default="auto",
            help=_ids(task),
        )
    add("--overwrite", action="store_true", help="replace files that are in the way")
    add("--quiet", "-q", action="store_true", help="say nothing but errors")
    add("--verbose", "-v", action="store_true", help="add tracebacks to unexpected errors")
    return parser


def _ids(task: Task) -> str:
    return f"auto, bundled or one of {', '.join(entry.id for entry in models_for(task))}"


def _picks(parser: argparse.ArgumentParser, arguments: argparse.Namespace) -> Picks | None:
    """What is picked, None when nothing is; ends with a message when it makes no sense."""
    if not (arguments.pick or arguments.pick_not or arguments.pick_box):
        return None
    if arguments.photos:
        parser.error("--pick, --pick-not and --pick-box are for pictures, not for --photos")
    points = [(x, y, True) for x, y in arguments.pick]
    points += [(x, y, False) for x, y in arguments.pick_not]
    try:
        return Picks(tuple(points), arguments.pick_box)
    except ValueError as error:
        parser.error(f"{error}: see --pick, --pick-not and --pick-box")


def _shares(text: str, count: int, form: str) -> tuple[float, ...]:
    try:
        values = tuple(float(part) for part in text.split(","))
    except ValueError:
        values = ()
    if len(values) != count or not all(0.0 <= value <= 1.0 for value in values):
        raise argparse.ArgumentTypeError(f"must be {form} with numbers from 0 to 1")
    return values


def _place(text: str) -> tuple[float, float]:
    x, y = _shares(text, 2, "X,Y")
    return x, y


def _box(text: str) -> tuple[float, float, float, float]:
    left, top, right, bottom = _shares(text, 4, "L,T,R,B")
    if not (left < right and top < bottom):
        raise argparse.ArgumentTypeError("must be left, top, right, bottom")
    return left, top, right, bottom


def _frames(text: str) -> int:
    count = int(text)
    if not 2 <= count <= 1000:
        raise argparse.ArgumentTypeError("must be from 2 to 1000")
    return count


def _texture_size(text: str) -> int:
    size = int(text)
    if not 256 <= size <= 8192:
        raise argparse.ArgumentTypeError("must be from 256 to 8192")
    return size


def _model_for(task: Task) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in known(task):
            raise argparse.ArgumentTypeError(f"must be one of {', '.join(known(task))}")
        return text

    return parse


def _metres(text: str) -> float:
    size = float(text)
    if not 0.001 <= size <= 10000.0:
        raise argparse.ArgumentTypeError("must be from 0.001 to 10000")
    return size


def _share(text: str) -> float:
    share = float(text)
    if not 0.0 <= share <= 1.0:
        raise argparse.ArgumentTypeError("must be from 0 to 1")
    return share


def _degrees(text: str) -> float:
    angle = float(text)
    if not 2.0 <= angle <= 170.0:
        raise argparse.ArgumentTypeError("must be from 2 to 170")
    return math.radians(angle)


def _output_file_format(arguments: argparse.Namespace) -> str | None:
    """The format that --output names, when it is a file and not a folder."""
    if is_folder(arguments.output) or len(arguments.pictures) + len(arguments.photos) != 1:
        return None
    suffix = arguments.output.suffix.lower()
    return next((name for name, known in SUFFIXES.items() if known == suffix), None)


def _file_format(arguments: argparse.Namespace) -> str:
    return arguments.format or _output_file_format(arguments) or "glb"


def _pictures(arguments: argparse.Namespace) -> list[Path]:
    pictures: list[Path] = []
    for picture in arguments.pictures:
        pictures += pictures_in(picture) if is_folder(picture) else [picture]
    return pictures


def _photo_sets(arguments: argparse.Namespace) -> list[Path]:
    return [found for path in arguments.photos for found in photo_sets(path)]


def _plans(arguments: argparse.Namespace, inputs: list[Path], is_one: bool) -> list[Plan]:
    """Plan the inputs; if there ``is_one``, --output may name its file."""
    named = _output_file_format(arguments)
    if is_one and named is not None and named == _file_format(arguments):
        return [named_plan(inputs[0], arguments.output)]
    return plan_outputs(inputs, arguments.output)


def _photo_template(arguments: argparse.Namespace) -> ViewsRequest:
    subject, cameras = arguments.subject, arguments.cameras
    return ViewsRequest(
        kind="object" if subject == "thing" else subject,
        cameras="turntable" if cameras == "sides" else cameras,
        masks=arguments.masks,
        surface=arguments.surface,
        max_frames=arguments.frames,
        detail=arguments.detail,
        texture_size=arguments.texture_size,
        size_m=arguments.size,
        fov_x=arguments.fov,
        device=device_named(chosen_device(arguments.device)),
        models=model_choices({s: getattr(arguments, f"{s}_model") for s in PHOTO_STAGES}),
        seed=arguments.seed,
    )


def _template(arguments: argparse.Namespace, picks: Picks | None) -> Request:
    return Request(
        source=PictureFile(Path()),
        picks=picks,
        engine=arguments.engine,
        detail=arguments.detail,
        cut_out=arguments.cut_out,
        texture_size=arguments.texture_size,
        size_m=arguments.size,
        is_solid=arguments.solid,
        fills_behind=not arguments.no_fill_behind,
        fov_x=arguments.fov,
        device=device_named(chosen_device(arguments.device)),
        seed=arguments.seed,
        models=model_choices({stage: getattr(arguments, f"{stage}_model") for stage in STAGES}),
        shaping=Shaping(
            symmetry=arguments.symmetry,
            is_neural=arguments.neural,
            delight=arguments.delight,
            bump=arguments.grain,
        ),
    )


def _mention_log(folder: Path) -> None:
    """Tell when the log has another name than the documented one."""
    path = log_path(folder)
    if path.name != LOG_NAME:
        _complain(f"{LOG_NAME} is no ordinary file: the log goes to {path}.")


def _complain(sentence: str) -> None:
    _say(sys.stderr, f"{NAME}: {sentence}")


def _say(stream: TextIO | None, line: str) -> None:
    """Print a line, whatever is in it and wherever it goes; a night's work must not end here."""
    if stream is None:  # a program without a console
        return
    encoding = stream.encoding or "utf-8"
    text = shown(line).encode(encoding, "backslashreplace").decode(encoding)
    with suppress(OSError):  # nobody reads it any more
        stream.write(f"{text}\n")
        stream.flush()


_handles: list[object] = []


def register() -> None:
    _handles.append(bpy.utils.register_cli_command(NAME, run_cli))


def unregister() -> None:
    while _handles:
        bpy.utils.unregister_cli_command(_handles.pop())
