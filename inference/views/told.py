"""What the artist is told about a set of pictures, and what its result is called."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from .contracts import PICTURE_FOLDERS, PictureStatus, Solved, ViewsRequest
from .surface.shape import Shape


def statuses_after(read: dict[str, PictureStatus], solved: Solved) -> list[PictureStatus]:
    """What became of every picture, once cameras are known."""
    statuses = []
    for status in read.values():
        if status.is_used and status.name not in solved.poses:
            reason = solved.reasons.get(status.name, f"{status.name} has no camera.")
            if status.sentence:  # such as "is blurred", which is likely why
                reason = f"{reason} {status.sentence}"
            status = PictureStatus(status.name, False, reason)
        elif status.is_used and status.name in solved.doubts:
            sentence = f"{solved.doubts[status.name]} {status.sentence}".rstrip()
            status = PictureStatus(status.name, True, sentence)
        statuses.append(status)
    return statuses


def notes_on(statuses: Sequence[PictureStatus], solved: Solved, shape: Shape) -> list[str]:
    """Sentences on the set as a whole, and on the first few pictures that were left out."""
    used = sum(status.is_used for status in statuses)
    notes = [f"{used} of {len(statuses)} pictures used."]
    if len(solved.reasons) > used:
        notes.append(
            "Most pictures did not fit together: take more in between, in steps of 10 to 20 degrees,"
            " and keep each subject's pictures in a set of their own."
        )
    left_out = [status.sentence for status in statuses if not status.is_used]
    notes += left_out[:6]
    if len(left_out) > 6:
        notes.append(f"{len(left_out) - 6} more were left out: see the list of pictures.")
    if solved.error_px is not None and solved.error_px > 1.5:
        notes.append(
            f"The cameras fit only to {solved.error_px:.1f} pixels: expect a soft surface."
        )
    if shape.known < 0.1:
        notes.append(
            "Little depth could be measured (bare or shiny surface): the shape is mostly that of"
            " the outlines."
        )
    return notes


def name_of(request: ViewsRequest) -> str:
    """What was asked for; else the name of the file, or of the folder that says something."""
    if request.name:
        return request.name
    if request.known:
        return "Views"
    first = request.inputs[0]
    if not isinstance(first, Path):
        return first.name
    if first.is_dir():
        return first.name or "Views"
    if len(request.inputs) == 1:
        return first.stem
    folder = first.parent
    if folder.name.casefold() in PICTURE_FOLDERS:  # says nothing; the folder that it is in does
        folder = folder.parent
    return folder.name or "Views"
