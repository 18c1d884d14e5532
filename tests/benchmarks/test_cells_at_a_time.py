"""What several cells at a time take: a table beside one cell alone, and names that are not there."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CPU = ("--device", "cpu")


def run(*options: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "benchmarks/cells_at_a_time.py", *options]
    env = {**os.environ, "PYTHONPATH": "."}
    return subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, timeout=300, check=False)


def test_the_yardstick_is_one_cell_alone() -> None:
    ended = run("--suite", "digits", "--pair", "resnet8:resnet8_w8", "--cells", "2", "--seconds", "0.2", *CPU)
    assert ended.returncode == 0, ended.stderr
    one, two = (line.split() for line in ended.stdout.splitlines()[-2:])
    assert (one[0], one[-1]) == ("1", "1.00")
    assert two[0] == "2"
    assert float(two[-1]) == pytest.approx(float(two[-2]) / float(one[-2]), abs=0.02)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--pair", "resnet8:nothing"), "Suite 'cifar100' has no pair 'resnet8:nothing'"),
        (("--cells", "0"), "--cells 0: give numbers of processes by commas"),
        (
            ("--suite", "digits", "--pair", "resnet8:resnet8_w8", "--method", "fsp", "--cells", "1"),
            "A process of 1 failed: ",
        ),
    ],
)
def test_what_is_wrong_is_one_line(options: tuple[str, ...], said: str) -> None:
    ended = run(*options, *CPU)
    assert ended.returncode == 2
    assert ended.stderr.startswith(f"cells_at_a_time: {said}")
    assert len(ended.stderr.splitlines()) == 1
