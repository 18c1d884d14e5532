"""Timing: what an estimate counts, and what a cost record holds."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from kdbench.cli import app as cli
from kdbench.commands import estimate
from kdbench.commands.cost import cost, measure
from kdbench.commands.estimate import count_kinds, duration
from kdbench.commands.request import parse_device, parse_execution
from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.cost_record import CostRecord
from kdbench.running import cell as cell_module
from kdbench.running.cell import CellFailed, run_cell
from kdbench.running.engines.events import Machine
from kdbench.running.plan import plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.running.timing import random_dataset, time_steps, timed_trainer
from kdbench.suite import Suite
from tests.conftest import Command

CPU = torch.device("cpu")


def test_kinds_are_counted_once_a_student_for_a_method_without_a_teacher(digits: Suite) -> None:
    cells = plan_cells(digits, {"vanilla": {}, "kd": {}}, digits.pairs, range(5), {})
    assert sorted(count_kinds(cells).values()) == [5] * (3 + 4)


def test_cells_whose_teachers_are_still_to_be_trained_are_planned_and_await_them(digits: Suite) -> None:
    cells = plan_cells(digits, {"vanilla": {}, "kd": {}, "aekd": {}}, digits.pairs, range(5), {})
    assert len({cell.key for cell in cells}) == len(cells) == 5 * (3 + 4 + 4)
    assert {cell.awaits for cell in cells} == {(), ("resnet8",), ("vit",), ("resnet8", "vit"), ("vit", "resnet8")}
    assert next(str(cell) for cell in cells if cell.method == "kd") == "kd resnet8:resnet8_w4 seed 0"


def test_only_cells_that_are_still_to_be_trained_are_counted(digits: Suite) -> None:
    teachers = {name: find_teacher(digits, name, None, print) for name in ("resnet8", "vit")}
    cells = plan_cells(digits, {"vanilla": {}, "kd": {}}, digits.pairs, [0, 1], teachers)  # type: ignore[arg-type]
    assert sum(count_kinds(cells[1:]).values()) == len(cells) - 1


@pytest.mark.parametrize(
    ("seconds", "said"),
    [
        (0, "0 s"),
        (0.2, "less than a second"),
        (3.2, "3 s"),
        (600, "10 minutes"),
        (10_000, "2.8 hours"),
        (864_000, "10.0 days"),
    ],
)
def test_durations_are_in_a_persons_units(seconds: float, said: str) -> None:
    assert duration(seconds) == said


def test_a_timed_step_is_a_real_one(digits: Suite) -> None:
    trainer = timed_trainer(digits, digits.pairs[0], "kd", {}, random_dataset(digits.data), CPU)
    before = [p.detach().clone() for p in trainer.student.parameters()]
    assert time_steps(trainer, 2) > 0
    assert all(
        not torch.equal(p, q) for p, q in zip(trainer.student.parameters(), before, strict=True) if q.numel() > 1
    )


def test_a_cost_record_holds_both_steps_and_its_hash(digits: Suite) -> None:
    record = measure(digits, digits.pairs[0], "crd", {}, CPU, "eager", 2, print)
    assert record.method.parameters - record.plain.parameters == 10_496  # two linear embeddings
    assert record.plain.milliseconds < record.method.milliseconds  # a live teacher more
    content = json.loads(record.model_dump_json())
    assert content.pop("sha256") == digest(content)
    assert CostRecord.model_validate_json(record.model_dump_json()) == record


def test_the_command_shows_costs_and_writes_records(kdbench: Command, tmp_path: Path) -> None:
    done = kdbench("cost", "kd", "--pair", "resnet8:vit_w16", "--steps", "2", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert row["teacher:student"] == "resnet8:vit_w16"
    [path] = (tmp_path / "runs" / "digits" / "costs").iterdir()
    assert CostRecord.model_validate_json(path.read_text()).method.milliseconds == pytest.approx(
        row["method ms"], abs=0.006
    )


def test_a_dry_run_estimates_and_trains_nothing(kdbench: Command, tmp_path: Path) -> None:
    done = kdbench("run", "--method", "kd", "--seeds", "1", "--pair", "resnet8:vit_w16", "--dry-run", "--no-mlflow")
    assert done.returncode == 0, done.stderr
    assert "Estimated time" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_without_teachers_shows_the_plan_for_people_and_programs(
    kdbench: Command, small_suite: Path, tmp_path: Path
) -> None:
    done = kdbench(
        "run", "-m", "kd", "--suite", small_suite, "--dry-run", "--no-mlflow", "--json", KDBENCH_CACHE=str(tmp_path)
    )
    assert done.returncode == 0, done.stderr
    assert "Cells 4 (2 kd, 2 vanilla): 0 recorded" in done.stderr
    assert "Teachers to train first: resnet8, of 2 epochs each" in done.stderr
    cells = json.loads(done.stdout)["cells"]
    assert [(c["row"], c["teacher"], c["seed"]) for c in cells][:2] == [("kd", "resnet8", 0), ("kd", "resnet8", 1)]
    assert [c["key"] is None for c in cells] == [True, True, False, False]


def test_more_workers_than_cores_or_cells_do_not_shorten_the_estimate(
    digits: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(estimate, "time_kind", lambda *given: (0.064, 0.5, 30))  # 1.0 s + 0.5 s an epoch
    monkeypatch.setattr(estimate, "available_cores", lambda: 2)
    cells = plan_cells(digits, {"vanilla": {}}, digits.pairs[:1], range(5), {})

    def seconds(workers: int, count: int) -> float:
        machine, kinds = Machine(["cpu"], workers), count_kinds(cells[:count])
        return estimate.estimate_seconds(digits, {"vanilla": {}}, kinds, [], machine, Console(quiet=True))

    assert seconds(1, 5) == pytest.approx(5 * 45)
    assert seconds(1000, 1) == pytest.approx(45)
    assert seconds(1000, 5) == pytest.approx(5 * 45 / 2)


def test_a_device_without_memory_is_one_line_of_advice(
    digits: Suite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*arguments: object) -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(cell_module, "train_cell", full)
    [cell] = plan_cells(digits, {"vanilla": {}}, digits.pairs[:1], [0], {})
    with pytest.raises(CellFailed, match=r"cpu is out of memory: run fewer cells at a time \(--workers\)"):
        run_cell(cell, tmp_path, CPU, lambda *a: None, print)


def test_a_driver_that_is_too_old_is_named(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    import warnings

    def unavailable() -> bool:
        warnings.warn("The NVIDIA driver on your system is too old (found version 11040).\nPlease update", stacklevel=1)
        return False

    monkeypatch.setattr(torch.cuda, "is_available", unavailable)
    with pytest.raises(KdbenchError, match=r"finds 0 NVIDIA GPUs.*PyTorch says: The NVIDIA driver .* too old"):
        parse_device("cuda")
    assert parse_device("auto") == ["cpu"]
    said = capsys.readouterr().err
    assert said.startswith("kdbench: no GPU is used. PyTorch says: The NVIDIA driver on your system is too old")
    assert said.count("\n") == 1
    monkeypatch.setattr(torch.cuda, "is_available", lambda: unavailable() or True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert parse_device("auto") == ["cuda:0", "cuda:1"]
    assert capsys.readouterr().err == ""


def test_a_graph_wants_more_steps_than_run_before_its_capture(digits: Suite, tmp_path: Path) -> None:
    with pytest.raises(KdbenchError, match="--steps 3: with --graph, give more than 3"):
        cost(digits, {"kd": {}}, digits.pairs[:1], "cuda", "captured", 3, tmp_path, Console(), as_json=False)


def test_a_device_that_is_full_between_cells_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def full() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB.\nGPU 0 has ...")

    monkeypatch.setattr(cli, "app", full)
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 2
    assert capsys.readouterr().err.startswith("kdbench: the device is out of memory: free it of other programs")


def test_a_cuda_graph_on_a_cpu_is_refused() -> None:
    with pytest.raises(Exception, match="the device is a CPU"):
        parse_execution("captured", ["cpu"])
