"""The command line as a user sees it: whole runs, interruptions, two at once, and mistakes."""

from __future__ import annotations

import json
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from kdbench.cli.app import main
from kdbench.records.store import Entry, read_runs
from kdbench.running.engines.events import Machine

Command = Callable[..., "subprocess.CompletedProcess[str]"]


QUIET = ("--no-mlflow",)


def entries(runs: Path) -> dict[str, Entry]:
    """All records, none corrupt."""
    found = list(read_runs(runs))
    assert all(isinstance(entry, Entry) for entry in found)
    return {entry.record.key: entry for entry in found if isinstance(entry, Entry)}


def evidence(runs: Path) -> dict[str, str | None]:
    return {key: entry.record.evidence_sha256 for key, entry in entries(runs).items()}


def start(tmp_path: Path, *arguments: str | Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "kdbench", "run", *map(str, arguments)],
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


@pytest.mark.slow
def test_the_second_run_finds_all_recorded(kdbench: Command, small_suite: Path, tmp_path: Path) -> None:
    first = kdbench("run", "--method", "kd", "--suite", small_suite)
    assert first.returncode == 0, first.stderr
    assert "Cells 4 (2 kd, 2 vanilla): 0 recorded" in first.stdout
    assert "[4/4]" in first.stdout
    assert "difference [95 %]" in first.stdout
    assert (tmp_path / "mlflow.db").is_file()
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")}
    assert len(before) == 4
    second = kdbench("run", "--method", "kd", "--suite", small_suite, "--json")
    assert second.returncode == 0
    assert "4 recorded in runs/small, 0 to train" in second.stderr
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "runs").rglob("record.json")} == before
    [row] = json.loads(second.stdout)["methods"]
    assert row["method"] == "kd"
    assert row["results"][0]["seeds"] == [0, 1]
    cells = entries(tmp_path / "runs")
    tops = [e.record.main.metrics.top1 for e in cells.values() if e.record.method.name == "kd"]
    assert row["results"][0]["method_top1"] == pytest.approx(sum(tops) / 2)


@pytest.mark.slow
def test_numbers_do_not_depend_on_the_number_of_workers(kdbench: Command, small_suite: Path, tmp_path: Path) -> None:
    for workers in ("1", "3"):
        done = kdbench(
            "run", "-m", "crd", "--suite", small_suite, "--workers", workers, "--out", workers, "--no-mlflow"
        )
        assert done.returncode == 0, done.stderr
    assert evidence(tmp_path / "1") == evidence(tmp_path / "3")
    assert len(evidence(tmp_path / "1")) == 4


@pytest.mark.slow
def test_kill_9_at_random_moments_ends_in_the_same_predictions(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    options = ("--suite", small_suite, "--no-mlflow", "--epochs", "40")
    assert here("run", "-m", "kd", *options, "--out", "whole").returncode == 0
    rng, kills = random.Random(0), 0
    for _ in range(2):
        process = start(tmp_path, "-m", "kd", *options, "--out", "cut")
        while process.poll() is None and not list((tmp_path / "cut").rglob("*.partial")):
            time.sleep(0.05)
        time.sleep(rng.uniform(0, 2.5))
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGKILL)
            kills += 1
        process.communicate()
    assert kills
    done = here("run", "-m", "kd", *options, "--out", "cut")
    assert done.returncode == 0, done.stderr
    assert evidence(tmp_path / "cut") == evidence(tmp_path / "whole")
    assert not [path for path in (tmp_path / "cut").rglob("*") if "partial" in path.name or "checkpoint" in path.name]


def test_workers_end_with_a_parent_that_was_killed(small_suite: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "-m", "kd", "--suite", small_suite, "--no-mlflow", "--epochs", "5000", "--seeds", "2")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "runs").rglob("*.partial")) and time.monotonic() < deadline:
        time.sleep(0.2)
    process.kill()
    process.communicate()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline:
        try:
            os.killpg(process.pid, 0)
        except ProcessLookupError:
            return
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGKILL)
    pytest.fail("workers outlived their parent")


def test_ctrl_c_says_what_was_kept_and_how_to_resume(small_suite: Path, tmp_path: Path) -> None:
    process = start(tmp_path, "-m", "kd", "--suite", small_suite, "--no-mlflow", "--epochs", "5000")
    deadline = time.monotonic() + 60
    while not list((tmp_path / "runs").rglob("checkpoint-*")) and time.monotonic() < deadline:
        time.sleep(0.2)
    os.killpg(process.pid, signal.SIGINT)
    started = time.monotonic()
    output, _ = process.communicate(timeout=120)
    assert time.monotonic() - started < 10
    assert process.returncode == 130
    assert "Stopped. 0 cells are recorded in runs" in output
    assert f"Resume: kdbench run -m kd --suite {small_suite}" in output
    assert "Traceback" not in output


def test_two_runs_at_once_share_the_work(small_suite: Path, tmp_path: Path) -> None:
    options = ("-m", "kd,crd", "--suite", small_suite, "--no-mlflow", "--workers", "1", "--epochs", "6")
    processes = [start(tmp_path, *options) for _ in range(2)]
    outputs = [process.communicate(timeout=480)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs
    assert len(entries(tmp_path / "runs")) == 6
    assert not list((tmp_path / "runs").rglob("*.aside-*"))
    assert all("over plain [95 %]" in output for output in outputs)


BROKEN = """
from kdbench import Method, Paper
import os, torch
class Broken(Method):
    '''Fails on one seed of two.'''
    name, version = "broken", 1
    paper = Paper("A title", "An Author", 2026)
    scheme, knowledge = "offline", ("response",)
    requires = {"student.logits"}
    def loss(self, batch, student, teacher):
        if batch.index[0] == FIRST_OF_SEED_1:
            ACTION
        return {"l": torch.nn.functional.cross_entropy(student.logits, batch.labels)}
"""


@pytest.mark.slow
@pytest.mark.parametrize(
    ("action", "said"), [("raise ValueError('no such luck')", "no such luck"), ("os._exit(7)", "exit code 7")]
)
def test_a_failed_cell_does_not_stop_the_others(
    action: str, said: str, kdbench: Command, small_suite: Path, tmp_path: Path, install_plugin: Callable[..., Path]
) -> None:
    from kdbench.data.stream import epoch_stream

    first = epoch_stream("small", 1, 0, 300, 9)[0][0]
    source = BROKEN.replace("FIRST_OF_SEED_1", str(first)).replace("ACTION", action)
    install_plugin("theirs", {"broken": "broken_method:Broken"}, broken_method=source)
    done = kdbench("run", "-m", "broken", "--suite", small_suite, "--no-mlflow")
    assert done.returncode == 1
    assert f"Failed: broken resnet8_w2 seed 1: {'ValueError: ' if 'luck' in said else ''}" in done.stdout
    assert said in done.stdout
    assert "Traceback (most recent" not in done.stdout + done.stderr
    assert len(entries(tmp_path / "runs")) == 3
    records = {e.record.method.name: e.record for e in entries(tmp_path / "runs").values()}
    assert (records["broken"].method.distribution, records["broken"].method.distribution_version) == ("theirs", "1.2")


MISTAKES = [
    (["-m", "crdd"], "Unknown method 'crdd'. Did you mean 'crd'?"),
    (["-m", "kd", "--suite", "digit"], "Did you mean 'digits'?"),
    (["-m", "kd", "--suite", "nowhere.toml"], "nowhere.toml"),
    (["-m", "kd", "--pair", "resnet8:resnet8_w3"], "--pair"),
    (["-m", "kd", "--device", "gpu"], "Unknown device 'gpu'"),
    (["-m", "kd", "--device", "cuda:99"], "No device 'cuda:99'"),
    (["-m", "kd", "--set", "temprature=2"], "Did you mean 'temperature'?"),
    (["-m", "kd", "--set", "temperature"], "name=value"),
    (["-m", "kd", "--set", "temperature=hot"], "temperature"),
    (["-m", "kd", "--set", "temperature=-1"], "greater than 0"),
    (["-m", "kd", "--set", "temperature=nan"], "temperature"),
    (["-m", "kd", "--set", "temperature=true"], "temperature"),
    (["-m", "crd", "--set", "negatives=1.5"], "negatives"),
    (["-m", "kd", "--seeds", "x"], "--seeds"),
    (["-m", "kd", "--seeds", "0"], "--seeds"),
    (["-m", "kd", "--set", "temperature=2#3"], "temperature"),
    (["-m", "kd", "--set", "temperature=2, 3"], "temperature"),
    (["-m", "kd", "--seeds", "20000"], "10000 is the most"),
    (["-m", "kd", "--set", "temperature=2", "--set", "temperature=8"], "'temperature' is given twice"),
    (["-m", "kd", "--no-mlflow", "--tracking-uri", "x"], "contradict each other"),
    (["-m", "kd", "--workers", "0"], "--workers"),
    (["-m", "kd", "--results", "nowhere"], "nowhere"),
    (["-m", ","], "at least one method"),
    (["-m", "kd", "--out", "/proc/nowhere"], "/proc/nowhere"),
    (["-m", "kd", "--time-limit", "0"], "--time-limit 0: give hours, minutes or seconds"),
    (["-m", "kd", "--time-limit", "90"], "Did you mean 90s?"),
    (["-m", "kd", "--shard", "9/8"], "--shard 9/8: write which part of how many, from 1/8 to 8/8"),
    (["-m", "kd", "--engine", "slrm"], "Unknown engine 'slrm' (--engine). Did you mean 'slurm'?"),
    (["-m", "kd", "--engine-option", "time=1h"], "--engine-option is of --engine ray and slurm"),
    (["-m", "kd", "--engine", "slurm"], "say how many jobs may run at a time"),
    (["-m", "kd", "--engine", "slurm", "--workers", "2", "--device", "cuda:1"], "chooses the GPU of a cell"),
    (["-m", "kd", "--engine", "slurm", "--workers", "2", "--engine-option", "gpu"], "write NAME=VALUE"),
]


@pytest.mark.parametrize(("arguments", "said"), MISTAKES, ids=[" ".join(a) for a, _ in MISTAKES])
def test_a_mistake_is_one_line_and_exit_code_2(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kdbench", "run", *arguments, *QUIET])
    with pytest.raises(SystemExit) as stopped:
        main()
    errors = capsys.readouterr().err
    assert stopped.value.code == 2
    assert said in errors
    assert errors.startswith("kdbench: ")
    assert len(errors.strip().splitlines()) == 1


def test_a_dry_run_writes_nothing(here: Command, tmp_path: Path) -> None:
    done = here("run", "-m", "crd", "--dry-run")
    assert done.returncode == 0
    assert "Cells 30 (15 crd, 15 vanilla): 0 recorded in runs/digits, 30 to train" in done.stdout
    assert list(tmp_path.iterdir()) == [] or not (tmp_path / "runs").exists()


def test_no_teacher_is_trained_that_no_cell_reads(here: Command, small_suite: Path, tmp_path: Path) -> None:
    cache = {"KDBENCH_CACHE": str(tmp_path / "cache")}
    done = here("run", "--method", "label_smoothing", "--suite", small_suite, "--no-mlflow", **cache)
    assert done.returncode == 0, done.stderr
    assert "Teachers to train first" not in done.stderr
    assert not (tmp_path / "cache" / "small" / "teachers").exists()
    quick = here("run", "--method", "mixup", "--suite", small_suite, "--no-mlflow", "--epochs", "1", **cache)
    assert "teachers: 1 epochs" not in quick.stdout + quick.stderr
    assert "label_smoothing: top-1 test accuracy" in done.stdout + done.stderr
    taught = here("run", "--method", "kd", "--suite", small_suite, "--no-mlflow", **cache)
    assert "2 recorded" in taught.stderr + taught.stdout  # the plain student, which is the same under any teacher


def test_time_that_is_up_before_the_teacher_leaves_what_is_there_in_the_report(
    here: Command, small_suite: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = {"KDBENCH_CACHE": str(tmp_path / "cache")}
    arguments = ("--suite", small_suite, "--no-mlflow")
    assert here("run", "--method", "mixup", *arguments, **cache).returncode == 0
    monkeypatch.setattr("kdbench.commands.run.train_teachers", lambda *_: {})
    for methods in ("kd", "kd,dkd,mixup"):
        done = here("run", "--method", methods, *arguments, **cache)
        assert done.returncode == 3, done.stderr
        assert "teachers first: resnet8" in done.stdout + done.stderr
    assert "mixup" in done.stdout


def test_quick_looks_train_quick_teachers_and_are_marked_as_off_protocol(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    arguments = (
        "run",
        "-m",
        "kd",
        "--suite",
        small_suite,
        "--epochs",
        "1",
        "--validate",
        "--no-mlflow",
        "--seeds",
        "1",
    )
    done = here(*arguments, KDBENCH_CACHE=str(tmp_path / "cache"))
    assert done.returncode == 0, done.stderr
    assert "Off protocol, not for the board: epochs: 1 instead of 4" in done.stdout
    for entry in entries(tmp_path / "runs").values():
        notes = ["epochs: 1 instead of 4", "reported on validation", "teachers: 1 epochs instead of 2"]
        assert entry.record.off_protocol == notes
        assert entry.evidence is not None
        assert len(entry.evidence.predicted) == 200


def test_show_and_lists_answer_for_people_and_programs(here: Command) -> None:
    shown = here("show", "crd")
    assert "Contrastive Representation Distillation" in shown.stdout
    assert "contrast_weight" in shown.stdout
    about = json.loads(here("show", "kd", "--json").stdout)
    assert about["paper"]["arxiv"] == "1503.02531"
    assert {p["parameter"]: p["default"] for p in about["parameters"]}["temperature"] == 4.0
    assert {row["name"] for row in json.loads(here("list", "methods", "--json").stdout)} >= {"kd", "crd"}
    assert {row["name"] for row in json.loads(here("list", "suites", "--json").stdout)} >= {"digits", "cifar100"}
    pairs = json.loads(here("list", "pairs", "--json").stdout)
    assert pairs[0]["pair"] == "resnet8:resnet8_w8"
    models = {row["name"]: row for row in json.loads(here("list", "models", "--json").stdout)}
    assert models["resnet8_w4"]["parameters"] == 5142
    model = json.loads(here("show", "model", "cifar_resnet20", "--json").stdout)
    assert (model["parameters"], model["embedding"]) == (278_324, 64)
    expected = [("16x32x32", "stem"), ("16x32x32", "0.33"), ("32x16x16", "0.67"), ("64x8x8", "1.00")]
    assert [(m["shape"], m["depth"]) for m in model["maps"]] == expected
    pair = json.loads(here("show", "pair", "cifar_resnet32x4:cifar_resnet8x4", "--json").stdout)
    layer1 = {"student": "layer1 (64x32x32)", "teacher": "layer1 (64x32x32)", "paired by": "position"}
    assert pair["maps"][0] == layer1
    other = json.loads(here("show", "pair", "cifar_resnet18:cifar_resnet8", "--json").stdout)
    assert [row["paired by"] for row in other["maps"]] == ["depth"] * 3
    names = {row["name"] for row in json.loads(here("list", "models", "cifar_*", "--json").stdout)}
    assert {"cifar_resnet110", "cifar_wrn_40_2", "cifar_vgg13", "cifar_shufflenetv2"} <= names
    assert "no model 'cifar_resnet21'" in here("show", "model", "cifar_resnet21").stderr
    assert "Write: show model NAME" in here("show", "model").stderr
    assert "Write: show pair T:S" in here("show", "pair").stderr


@pytest.mark.parametrize(("options", "stored"), [((), True), (("--live-teacher",), False)])
def test_a_teacher_is_asked_once_unless_it_is_to_be_live(
    options: tuple[str, ...], stored: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machines: list[Machine] = []

    def stop(cells: object, root: object, machine: Machine, *rest: object) -> None:
        machines.append(machine)
        raise KeyboardInterrupt

    monkeypatch.setattr("kdbench.commands.run.train", stop)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kdbench", "run", "--method", "kd", "--seeds", "1", "--no-mlflow", *options])
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 130
    assert [machine.stored for machine in machines] == [stored]
