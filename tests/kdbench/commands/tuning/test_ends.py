"""However a search ends, nothing that is finished is lost and the choice is the same."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from kdbench.commands import tune as tune_module
from kdbench.running import study
from kdbench.running.plan import Cell
from kdbench.suites import load_suite
from tests.kdbench.commands.tuning.searches import SPACE, Tune


def test_ctrl_c_keeps_what_is_finished(
    run: Tune, cells_here: list[Cell], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "STARTUP", 1)
    monkeypatch.setattr(sys, "argv", ["kdbench", "tune", "kd", "--space", SPACE])
    _, whole, _ = run("kd", sampler="tpe", trials=3, runs="whole")
    real = tune_module.train

    def interrupted(cells: Sequence[Cell], *rest: Any) -> None:
        real(cells[:1], *rest)
        raise KeyboardInterrupt

    monkeypatch.setattr(tune_module, "train", interrupted)
    code, found, said = run("kd", sampler="tpe", trials=3, runs="cut")
    assert (code, found) == (130, None)
    assert "Stopped. 1 cells of the search are recorded" in said
    assert f"Resume: kdbench tune kd --space {SPACE}" in said
    for _ in range(2):
        assert run("kd", sampler="tpe", trials=3, runs="cut")[0] == 130
    monkeypatch.setattr(tune_module, "train", real)
    code, found, _ = run("kd", sampler="tpe", trials=3, runs="cut")
    assert code == 0
    assert found["methods"] == whole["methods"]
    assert len(cells_here) == 8


BROKEN = """
from kdbench import Field, Method, NotApplicable, Paper
import torch
class Broken(Method):
    '''Fails with one value of two.'''
    name, version = "broken", 1
    paper = Paper("A title", "An Author", 2026)
    scheme, knowledge = "offline", ("response",)
    requires = {"student.logits"}
    class Params(Method.Params):
        depth: int = Field(1, ge=1, description="how deep")
    def build(self, setup):
        if self.params.depth == 7:
            raise NotApplicable("seven is too deep")
    def loss(self, batch, student, teacher):
        if self.params.depth == 2:
            raise ValueError("no such luck")
        return {"l": torch.nn.functional.cross_entropy(student.logits, batch.labels)}
"""


def test_a_failed_trial_does_not_stop_the_others(
    run: Tune, tmp_path: Path, install_plugin: Callable[..., Path]
) -> None:
    install_plugin("theirs", {"broken": "broken_method:Broken"}, broken_method=BROKEN)
    code, found, said = run("broken", space=["depth=2,3,7"], trials=3, out=tmp_path / "mine.toml")
    assert code == 1
    [broken] = found["methods"]
    assert [trial["accuracy"] is None for trial in broken["trials"]] == [False, True, False, True]
    assert [trial["lack"] for trial in broken["trials"]][1::2] == ["failed", "not applicable: seven is too deep"]
    assert broken["best"] == 0
    [failure] = found["failures"]
    assert failure["message"] == "ValueError: no such luck"
    assert "Failed: broken[depth=2] resnet8_w2 seed 0: ValueError: no such luck (traceback in" in said
    assert "Run the same command again to retry the failed cells." in said
    assert found["written"] is None
    assert not (tmp_path / "mine.toml").exists()
    code, found, said = run("broken", space=["depth=7"], trials=3)
    assert code == 0


def test_a_setting_that_diverges_is_no_choice_and_no_failure_of_the_search(
    run: Tune, tmp_path: Path, install_plugin: Callable[..., Path]
) -> None:
    wild = BROKEN.replace('"broken"', '"wild"').replace(
        'raise ValueError("no such luck")', 'return {"l": student.logits.sum() * float("inf")}'
    )
    assert '"wild"' in wild
    assert "inf" in wild
    install_plugin("others", {"wild": "wild_method:Broken"}, wild_method=wild)
    code, found, said = run("wild", space=["depth=2,3"], trials=2, out=tmp_path / "mine.toml")
    assert code == 0
    [method] = found["methods"]
    assert [trial["lack"] for trial in method["trials"]] == [None, "diverged", None]
    assert found["failures"][0]["message"].startswith("Diverged:")
    assert "retry" not in said
    assert load_suite(str(tmp_path / "mine.toml")).methods["wild"].trials == 2


def start(tmp_path: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kdbench", "tune", *map(str, arguments)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finished(runs: Path) -> dict[Path, int]:
    """When each record was written that is in its place; what a killed process left beside them is none."""
    return {path: path.stat().st_mtime_ns for path in runs.glob(f"*/*/{'?' * 16}/record.json")}


@pytest.mark.slow
def test_kill_9_ends_in_the_same_choice(quick_suite: Path, run: Tune, tmp_path: Path) -> None:
    _, whole, _ = run("kd", trials=3, seeds="2", runs="whole")
    options = ("kd", "--suite", quick_suite, "--space", SPACE, "--trials", "3", "--seeds", "2", "--sampler", "random")
    options = (*options, "--no-mlflow", "--json", "--workers", "1")
    process = start(tmp_path, *options)
    deadline = time.monotonic() + 300
    while not finished(tmp_path / "runs") and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.05)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    kept = finished(tmp_path / "runs")
    assert 0 < len(kept) < 8
    out, errors = start(tmp_path, *options).communicate(timeout=300)
    assert json.loads(out)["methods"] == whole["methods"], errors
    after = finished(tmp_path / "runs")
    assert len(after) == 8
    assert kept.items() <= after.items()
