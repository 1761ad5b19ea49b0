"""Scripts that run inside the bpy wheel end as any program does."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def run(*line: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", *line]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)


@pytest.mark.parametrize(
    "module",
    ["benchmarks.demo", "benchmarks.mesh", "benchmarks.peers.uv", "benchmarks.peers.web_viewer"],
)
def test_help_is_no_failure(module: str) -> None:
    ended = run(module, "--help")
    assert ended.returncode == 0, ended.stderr
    assert "usage:" in ended.stdout
    assert "Traceback" not in ended.stderr


def test_an_unknown_option_is_told_in_a_line_and_not_in_a_traceback() -> None:
    ended = run("benchmarks.demo", "--no-such-option")
    assert ended.returncode == 2
    assert "--no-such-option" in ended.stderr
    assert "Traceback" not in ended.stderr
