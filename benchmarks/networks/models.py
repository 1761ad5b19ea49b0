"""Time our networks against their references on the same weights: a Markdown table for each device.

python -m benchmarks.networks.models [--only ID ...] [--device cpu] [--heavy] [--threads 2] [--out FOLDER]

Every row comes from a process of its own, in which ours and the reference take turns. Memory is the
highest during a run less what was held before it: on the processor the process's, on a graphics card
what PyTorch allocated. On a busy machine take `--threads 1 --clock processor`. The reference comes
from a package (requirements-parity.txt); where it is not installed, or is in no package index, ours is
timed alone.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import json
import math
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..package import module_command
from .port import Port
from .ports import PORTS

KINDS = ("float32", "bfloat16", "float16")
CLOCKS = {"wall": time.perf_counter, "processor": time.process_time}
ROUNDS, MOST_ROUNDS = 3, 12  # a quick network runs more often
QUICK = 10.0  # seconds
Fact = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="models by their id")
    parser.add_argument("--device", choices=("cpu", "cuda", "mps"), help="all there are by default")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="types of numbers")
    parser.add_argument("--heavy", action="store_true", help="networks of gigabytes too")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--out", type=Path, help="folder for the table (models.md)")
    parser.add_argument(
        "--clock", choices=tuple(CLOCKS), default="wall", help="processor: for a busy machine"
    )
    parser.add_argument("--one", nargs=2, metavar=("ID", "KIND"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.one:
        name, kind = arguments.one
        port = next(port for port in PORTS if port.model == name)
        json.dump(measure(port, kind, arguments.device or "cpu", arguments.clock), sys.stdout)
        return 0
    chosen = [
        port
        for port in PORTS
        if (arguments.heavy or not port.is_heavy)
        and (not arguments.only or port.model in arguments.only)
    ]
    lines: list[str] = []
    for device in [arguments.device] if arguments.device else _devices():
        lines += [""] if lines else []
        for line in table(chosen, arguments.kinds, device, arguments.threads, arguments.clock):
            sys.stdout.write(f"{line}\n")
            sys.stdout.flush()
            lines.append(line)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "models.md").write_text("\n".join([*lines, ""]), encoding="utf-8")
    return 0


def _devices() -> list[str]:
    cards = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    return ["cpu", *(name for name, is_there in cards.items() if is_there)]


def table(
    ports: list[Port], kinds: list[str] | None, device: str, threads: int, clock: str
) -> Iterator[str]:
    """Lines of a table, each as soon as it is measured; ``kinds`` None takes what fits the device."""
    if kinds is None:
        kinds = ["float32", "bfloat16" if device == "cpu" else "float16"]
    yield _machine(device, threads, clock)
    yield ""
    yield "| network | input | numbers | ours | reference | faster | our peak | its peak | difference |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for port in ports:
        for kind in kinds:
            sys.stderr.write(f"{port.name}, {kind}\n")
            yield _row(port, kind, device, threads, clock)


def _row(port: Port, kind: str, device: str, threads: int, clock: str) -> str:
    size = f"{port.shape[2]} x {port.shape[3]}"
    found = _apart(port, kind, device, threads, clock)
    if isinstance(found, str):
        return f"| {port.name} | {size} | {kind} | {found} | | | | | |"
    ours, reference = found["ours"], found.get("reference")
    cells = [port.name, size, kind, f"{ours['seconds']:.3f} s"]
    if reference is None:
        reason = f"cannot run in {kind}"
        if port.reference is None:
            reason = "none in a package index"
        elif port.missing():
            reason = f"{' and '.join(port.missing())} not installed"
        cells += [reason, ""]
        cells += [_megabytes(ours), "", ""]
    else:
        cells += [
            f"{reference['seconds']:.3f} s",
            f"{reference['seconds'] / ours['seconds']:.2f} x",
        ]
        cells += [_megabytes(ours), _megabytes(reference), f"{reference['difference']:.1e}"]
    return f"| {' | '.join(cells)} |"


def _megabytes(fact: Fact) -> str:
    return f"{fact['peak_mb']:,.0f} MB"


def _apart(port: Port, kind: str, device: str, threads: int, clock: str) -> dict[str, Fact] | str:
    """Measure in a process of its own; a sentence when it fails."""
    command = [*module_command("networks.models"), "--one", port.model, kind]
    command += ["--device", device, "--threads", str(threads), "--clock", clock]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        sys.stderr.write(f"{reason}\n")
        return f"failed: {reason[:80]}"
    return json.loads(result.stdout.splitlines()[-1])


def measure(port: Port, kind: str, device: str, clock: str) -> dict[str, Fact]:
    """Seconds of the best of a few runs, and how much memory they took at most.

    Both sides take turns, so that whatever else the machine does meets both alike.

    Args:
        port: The row.
        kind: Type of numbers.
        device: Where to run.
        clock: A key of CLOCKS.

    Returns:
        "ours" and, if there is a reference, "reference", which also says the largest difference
        over the reference's spread; a reference that cannot run in that type is left out.
    """
    state = port.state()
    own: Any = port.ours(state)
    own.to(memory_format=torch.channels_last)  # as our networks are loaded
    sides: dict[str, tuple[nn.Module, Callable[[Any, Tensor], Tensor]]] = {"ours": (own, port.ask)}
    if port.reference is not None and not port.missing():
        reference = port.reference()
        reference.load_state_dict(state)
        sides["reference"] = (reference, port.ask_reference)
    del state
    for net, _ask in sides.values():
        net.eval().requires_grad_(False).to(device, getattr(torch, kind))
    x = torch.randn(port.shape, generator=torch.Generator().manual_seed(3))
    x = x.to(device, getattr(torch, kind))
    now = CLOCKS[clock]
    facts: dict[str, Fact] = {side: {"seconds": math.inf, "peak_mb": 0.0} for side in sides}
    results: dict[str, Tensor] = {}
    with torch.inference_mode():
        opened = time.perf_counter()
        for number in range(1 + MOST_ROUNDS):
            if number > ROUNDS and time.perf_counter() - opened > QUICK:
                break
            for side, (net, ask) in list(sides.items()):
                results.pop(side, None)
                before = _reset_peak(device)
                started = now()
                try:
                    results[side] = ask(net, x)
                except RuntimeError:
                    if side == "ours":
                        raise
                    del sides[side], facts[side]  # not every reference runs in every type
                    continue
                _synchronise(device)
                seconds = now() - started
                if number:
                    facts[side]["seconds"] = min(facts[side]["seconds"], seconds)
                    facts[side]["peak_mb"] = max(facts[side]["peak_mb"], _peak_mb(device) - before)
    if "reference" in results:
        ours, theirs = (results[side].float().cpu() for side in ("ours", "reference"))
        difference = (ours - theirs).abs().max() / theirs.std()
        facts["reference"]["difference"] = float(difference)
    return facts


def _reset_peak(device: str) -> float:
    """Start measuring memory; returns what is to be taken off."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return torch.cuda.memory_allocated() / 2**20
    with contextlib.suppress(OSError, AttributeError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)  # Linux: what was freed must not hide what is taken
    with contextlib.suppress(OSError):  # and the peak so far is forgotten
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_mb(device)


def _peak_mb(device: str) -> float:
    if device == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    try:
        for line in Path("/proc/self/status").read_text(encoding="ascii").splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1]) / 1024
    except OSError:
        pass
    return float("nan")


def _synchronise(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()
    elif device == "mps":
        torch.mps.synchronize()


def _machine(device: str, threads: int, clock: str) -> str:
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{threads or torch.get_num_threads()} threads"
    )
    return (
        f"PyTorch {torch.__version__}, {device} ({where}), {clock} time, best of {ROUNDS} or more"
        " runs after a first, in turns, random weights, peak above the loaded networks."
    )


if __name__ == "__main__":
    sys.exit(main())
