"""Time our networks against their references on the same weights, and print one Markdown table.

python benchmarks/models.py [--only NAME ...] [--device cpu] [--heavy] [--threads 2] [--out FOLDER]

Every number comes from a process of its own, so that its peak memory is its own too. On the processor
that is the process's peak less what it held before the first run; on a graphics card what PyTorch
allocated. The reference comes from a package (requirements-parity.txt); where it is not installed, or
is in no package index, ours is timed alone.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from ports import PORTS, Port

KINDS = ("float32", "bfloat16", "float16")
ROUNDS = 3
Fact = dict[str, float]


def main() -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", nargs="+", metavar="ID", help="models by their id")
    parser.add_argument("--device", default="cpu", choices=("cpu", "cuda", "mps"))
    parser.add_argument("--kinds", nargs="+", choices=KINDS, help="types of numbers")
    parser.add_argument("--heavy", action="store_true", help="networks of gigabytes too")
    parser.add_argument("--threads", type=int, default=0, help="0: as many as there are cores")
    parser.add_argument("--out", type=Path, help="folder for the table (models.md)")
    parser.add_argument(
        "--one", nargs=4, metavar=("ID", "SIDE", "KIND", "FILE"), help=argparse.SUPPRESS
    )
    arguments = parser.parse_args()
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    if arguments.one:
        name, side, kind, file = arguments.one
        port = next(port for port in PORTS if port.model == name)
        json.dump(measure(port, side, kind, arguments.device, Path(file)), sys.stdout)
        return 0
    kinds = arguments.kinds or (
        ["float32", "bfloat16"] if arguments.device == "cpu" else ["float32", "float16"]
    )
    chosen = [
        port
        for port in PORTS
        if (arguments.heavy or not port.is_heavy)
        and (not arguments.only or port.model in arguments.only)
    ]
    text = table(chosen, kinds, arguments.device, arguments.threads)
    if arguments.out is not None:
        arguments.out.mkdir(parents=True, exist_ok=True)
        (arguments.out / "models.md").write_text(text, encoding="utf-8")
    sys.stdout.write(text)
    return 0


def table(ports: list[Port], kinds: list[str], device: str, threads: int) -> str:
    """Measure all rows and put them into a table."""
    lines = [
        f"{_machine(device, threads)}",
        "",
        "| network | input | numbers | ours | reference | faster | our peak | its peak | difference |",
        "|---|---|---|---|---|---|---|---|---|",
    ]
    for port in ports:
        for kind in kinds:
            sys.stderr.write(f"{port.name}, {kind}\n")
            lines.append(_row(port, kind, device, threads))
    return "\n".join(lines) + "\n"


def _row(port: Port, kind: str, device: str, threads: int) -> str:
    size = f"{port.shape[2]} x {port.shape[3]}"
    with tempfile.TemporaryDirectory() as folder:
        files = [Path(folder) / "ours.npy", Path(folder) / "reference.npy"]
        ours = _apart(port, "ours", kind, device, threads, files[0])
        reference: Fact | str
        if port.reference is None:
            reference = "none in a package index"
        elif port.missing():
            reference = f"{' and '.join(port.missing())} not installed"
        else:
            reference = _apart(port, "reference", kind, device, threads, files[1])
        cells = [port.name, size, kind]
        if isinstance(ours, str) or isinstance(reference, str):
            cells += [_seconds(ours), _seconds(reference), "", _megabytes(ours), "", ""]
        else:
            cells += [_seconds(ours), _seconds(reference)]
            cells.append(f"{reference['seconds'] / ours['seconds']:.2f} x")
            cells += [_megabytes(ours), _megabytes(reference), _difference(*files)]
    return f"| {' | '.join(cells)} |"


def _seconds(fact: Fact | str) -> str:
    return fact if isinstance(fact, str) else f"{fact['seconds']:.3f} s"


def _megabytes(fact: Fact | str) -> str:
    return "" if isinstance(fact, str) else f"{fact['peak_mb']:,.0f} MB"


def _difference(ours: Path, reference: Path) -> str:
    """The largest difference over the spread of the reference."""
    a, b = np.load(ours), np.load(reference)
    return f"{float(np.abs(a - b).max() / b.std()):.1e}"


def _apart(port: Port, side: str, kind: str, device: str, threads: int, file: Path) -> Fact | str:
    """Measure in a process of its own; a sentence when it fails."""
    command = [sys.executable, __file__, "--one", port.model, side, kind, str(file)]
    command += ["--device", device, "--threads", str(threads)]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    if result.returncode:
        reason = (result.stderr.strip().splitlines() or ["no reason given"])[-1]
        sys.stderr.write(f"{reason}\n")
        return f"failed: {reason[:80]}"
    return json.loads(result.stdout.splitlines()[-1])


def measure(port: Port, side: str, kind: str, device: str, file: Path) -> Fact:
    """Seconds of the best of a few runs, and how much memory they took at most.

    Args:
        port: The row.
        side: "ours" or "reference".
        kind: Type of numbers.
        device: Where to run.
        file: Takes the output, for the comparison.
    """
    state = port.state()
    if side == "ours":
        net, ask = port.ours(state), port.ask
    else:
        assert port.reference is not None
        net, ask = port.reference(), port.ask_reference
        net.load_state_dict(state)
    del state
    net = net.eval().requires_grad_(False).to(device, getattr(torch, kind))
    if side == "ours":
        net = net.to(memory_format=torch.channels_last)  # as our networks are loaded
    x = torch.randn(port.shape, generator=torch.Generator().manual_seed(3))
    x = x.to(device, getattr(torch, kind))
    before = _reset_peak(device)
    seconds = []
    with torch.inference_mode():
        for _round in range(1 + ROUNDS):
            started = time.perf_counter()
            result = ask(net, x)
            _synchronise(device)
            seconds.append(time.perf_counter() - started)
    peak = _peak_mb(device) - before
    np.save(file, result.float().cpu().numpy())
    return {"seconds": min(seconds[1:]), "peak_mb": peak}


def _reset_peak(device: str) -> float:
    """Start measuring memory; returns what is to be taken off."""
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
        return 0.0
    with contextlib.suppress(OSError):  # Linux: forget the peak of loading
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


def _machine(device: str, threads: int) -> str:
    where = (
        torch.cuda.get_device_name()
        if device == "cuda"
        else f"{threads or torch.get_num_threads()} threads"
    )
    return (
        f"PyTorch {torch.__version__}, {device} ({where}), best of {ROUNDS} runs after a first, random"
        " weights, peak above the loaded network" + (" included" if device == "cuda" else "") + "."
    )


if __name__ == "__main__":
    sys.exit(main())
