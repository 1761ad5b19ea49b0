"""Which network runs, and why: plain rules over what is installed and what fits.

Standard library only, so that a panel can say it before anything runs. What the artist chose is never
replaced by something else; Auto takes the best that is installed, fits and may be used for any purpose.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from typing import Literal

from ..hub.catalogue import TASKS, ModelEntry, Task, model, models_for
from ..machine.memory import Memory

Kind = Literal["object", "scene", "unknown"]

AUTO, BUNDLED = "auto", "bundled"

# What works without any download.
BUILT_IN: dict[Task, str] = {
    "cut-out": "The built-in network finds the subject",
    "depth": "The built-in network sees the depth",
    "object": "The built-in network sees front and back",
    "views": "Cameras are found by matching points, without a network",
    "upscale": "Textures keep the picture's own detail",
    "inpaint": "Hidden parts continue their surroundings, without a network",
    "pick": "Colours, edges and the built-in network tell what belongs to a click",
}


# What has no use for a network, whichever is chosen.
UNUSED: dict[tuple[Task, Kind], str] = {
    ("depth", "object"): "A single object needs no depth network.",
    ("object", "scene"): "A scene needs no object network.",
    ("cut-out", "scene"): "A scene is not cut out.",
    ("upscale", "scene"): "A scene shows the picture as it is.",
}


@dataclass(frozen=True, slots=True)
class Choice:
    """What runs at one stage.

    Attributes:
        model: Id of a catalogue entry; None for what is built in.
        sentence: Says what runs and why; or, if nothing can, what to do.
        is_possible: Whether it can run.
        is_plain: Whether it is what runs anyway: built in, because nothing else is there or wanted.
    """

    model: str | None
    sentence: str
    is_possible: bool = True
    is_plain: bool = False


def choose(
    task: Task, wanted: str, installed: Collection[str], memory: Memory, kind: Kind = "unknown"
) -> Choice:
    """Decide what runs at a stage.

    Args:
        task: The stage.
        wanted: "auto", "bundled" or the id of a catalogue entry.
        installed: Ids of the models that are there.
        memory: What is free, and whether there is a graphics card.
        kind: What the picture shows, as far as that is known.
    """
    if (task, kind) in UNUSED:
        return Choice(None, UNUSED[task, kind], is_plain=True)
    if wanted == AUTO:
        return _auto(task, installed, memory)
    if wanted == BUNDLED:
        return Choice(None, f"{BUILT_IN[task]}.", is_plain=True)
    try:
        entry = model(wanted)
    except KeyError:
        return Choice(
            None,
            f"There is no model called {wanted}: choose one of {', '.join(known(task))}.",
            is_possible=False,
        )
    if task not in entry.tasks:
        return Choice(
            None,
            f"{entry.label} is not made for this stage: choose one of {', '.join(known(task))}.",
            is_possible=False,
        )
    if wanted not in installed:
        return Choice(
            None,
            f"{entry.label} is not installed: download it in the preferences, or choose another model.",
            is_possible=False,
        )
    if lacks_package(entry):
        return Choice(
            None,
            f"{_needs_package(entry)}: install that zip, or choose another model.",
            is_possible=False,
        )
    return Choice(wanted, f"{entry.label} runs: you chose it{_warning(entry, memory)}.")


def lacks_package(entry: ModelEntry) -> bool:
    """Whether a Python package that a model needs is not installed; looks without importing it."""
    return bool(entry.package) and importlib.util.find_spec(entry.package) is None


def choose_all(
    wanted: Mapping[Task, str],
    installed: Collection[str],
    memory: Memory,
    kind: Kind = "unknown",
    is_filled: bool = True,
) -> dict[Task, Choice]:
    """Decide what runs at several stages, of which one may leave another nothing to do.

    Args:
        wanted: What is wanted at each stage; this and the others as for ``choose``.
        installed: Ids.
        memory: What is free.
        kind: What the picture shows.
        is_filled: Whether a scene's background goes on behind what stands before it.
    """
    choices: dict[Task, Choice] = {
        task: choose(task, name, installed, memory, kind) for task, name in wanted.items()
    }
    if kind == "scene" and not is_filled and "inpaint" in choices:
        choices["inpaint"] = Choice(
            None, "Without Fill Behind a scene has no hidden parts to paint."
        )
    drawn = choices.get("object")
    if kind == "object" and drawn is not None and drawn.model is not None and "inpaint" in choices:
        entry = model(drawn.model)
        if entry.has_colours:
            choices["inpaint"] = Choice(None, f"{entry.label} colours the far side itself.")
    return choices


def recommended(memory: Memory) -> tuple[ModelEntry, ...]:
    """What Auto would run at each stage if everything were installed; a model of several stages once."""
    everything = {entry.id for task in TASKS for entry in models_for(task)}
    chosen = (_auto(task, everything, memory).model for task in TASKS)
    return tuple(model(name) for name in dict.fromkeys(chosen) if name is not None)


def known(task: Task) -> tuple[str, ...]:
    """What can be wanted at a stage."""
    return (AUTO, BUNDLED, *(entry.id for entry in models_for(task)))


def _auto(task: Task, installed: Collection[str], memory: Memory) -> Choice:
    there = [entry for entry in models_for(task) if entry.id in installed]
    if not there:
        sentence = f"{BUILT_IN[task]}: no model for this is installed."
        return Choice(None, sentence, is_plain=True)
    free = [entry for entry in there if entry.is_commercial]
    if not free:
        return Choice(
            None,
            f"{BUILT_IN[task]}: Auto leaves out {there[0].label}, whose licence forbids commercial use.",
        )
    ready = [entry for entry in free if not lacks_package(entry)]
    if not ready:
        return Choice(None, f"{BUILT_IN[task]}: {_needs_package(free[0])}.")
    free = ready
    fitting = [entry for entry in free if _fits(entry, memory)]
    if not fitting:
        return Choice(None, f"{BUILT_IN[task]}: {_why_not(free[0], memory)}.")
    best = fitting[0]
    if memory.has_card is False:  # prefer one that does not take minutes
        best = next((entry for entry in fitting if not entry.is_heavy), best)
    if best is free[0]:
        reason = "the best that is installed" if len(free) > 1 else "the one that is installed"
    else:
        reason = _why_not(free[0], memory)
    does = "places the cameras where matching points fails" if task == "views" else "runs"
    return Choice(best.id, f"{best.label} {does}: {reason}.")


def _fits(entry: ModelEntry, memory: Memory) -> bool:
    """Whether a model fits into what is free, as far as that is known."""
    if memory.has_card is False:
        return not entry.needs_gpu and (memory.main is None or entry.cpu_mb <= memory.main)

    return memory.graphics is None or entry.gpu_mb <= memory.graphics


def _why_not(entry: ModelEntry, memory: Memory) -> str:
    if memory.has_card is False:
        if entry.needs_gpu:
            return f"{entry.label} needs a graphics card"
        if memory.main is not None and entry.cpu_mb > memory.main:
            return (
                f"{entry.label} needs {entry.cpu_mb / 1000:.1f} GB of memory, and"
                f" {memory.main / 1000:.1f} GB are free"
            )
        return f"{entry.label} would take minutes on the processor"
    return (
        f"{entry.label} needs {entry.gpu_mb / 1000:.1f} GB of graphics memory, and"
        f" {(memory.graphics or 0.0) / 1000:.1f} GB are free"
    )


def _needs_package(entry: ModelEntry) -> str:
    return f"{entry.label} needs the Python package {entry.package}, which the full zip brings"


def _warning(entry: ModelEntry, memory: Memory) -> str:
    if not entry.is_commercial:
        return f"; its licence ({entry.licence}) forbids commercial use"
    if not _fits(entry, memory):
        return f", though {_why_not(entry, memory)}"
    return ""
