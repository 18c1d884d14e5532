"""Timing: a step that is timed is a real one; what a cost record holds; devices that fail."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from rich.console import Console

from kdbench.cli import app as cli
from kdbench.commands.cost import cost, measure
from kdbench.commands.request import parse_device, parse_execution
from kdbench.errors import KdbenchError
from kdbench.hashing import digest
from kdbench.records.cost_record import CostRecord
from kdbench.running import cell as cell_module
from kdbench.running.cell import CellFailed, run_cell
from kdbench.running.plan import plan_cells
from kdbench.running.timing import Subject, eagerly_if_need_be, random_dataset, time_steps, timed_trainer
from kdbench.suite import Suite
from kdbench.tables import Execution
from kdbench.training.capture import CaptureFailed
from tests.conftest import Command

CPU = torch.device("cpu")


def test_a_timed_step_is_a_real_one(digits: Suite) -> None:
    trainer = timed_trainer(Subject(digits, digits.pairs[0], "kd", {}, random_dataset(digits.data), CPU))
    before = [p.detach().clone() for p in trainer.student.parameters()]
    assert time_steps(trainer, 2) > 0
    assert all(
        not torch.equal(p, q) for p, q in zip(trainer.student.parameters(), before, strict=True) if q.numel() > 1
    )


def test_a_cost_record_holds_both_steps_and_its_hash(digits: Suite) -> None:
    record = measure(Subject(digits, digits.pairs[0], "crd", {}, random_dataset(digits.data), CPU), 2, print)
    assert record.method.parameters - record.plain.parameters == 12_544  # two linear embeddings
    assert record.plain.milliseconds < record.method.milliseconds  # a live teacher more
    content = json.loads(record.model_dump_json())
    assert content.pop("sha256") == digest(content)
    assert CostRecord.model_validate_json(record.model_dump_json()) == record


def test_the_command_shows_costs_and_writes_records(here: Command, tmp_path: Path) -> None:
    done = here("cost", "kd", "--pair", "resnet8:vit_w32", "--steps", "2", "--json")
    assert done.returncode == 0, done.stderr
    [row] = json.loads(done.stdout)
    assert row["teacher:student"] == "resnet8:vit_w32"
    [path] = (tmp_path / "runs" / "digits" / "costs").iterdir()
    assert CostRecord.model_validate_json(path.read_text()).method.milliseconds == pytest.approx(
        row["method ms"], abs=0.006
    )


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


@pytest.mark.parametrize("execution", ["captured", "compiled"])
def test_a_graph_wants_more_steps_than_run_before_its_capture(
    execution: Execution, digits: Suite, tmp_path: Path
) -> None:
    with pytest.raises(KdbenchError, match="--steps 3: give more than 3, which run before the capture; or --eager"):
        cost(digits, {"kd": {}}, digits.pairs[:1], "cuda", execution, 3, tmp_path, Console(), as_json=False)


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


def test_a_gpu_captures_steps_unless_it_is_asked_not_to() -> None:
    assert parse_execution(None, ["cpu"]) == "eager"
    assert parse_execution(None, ["cuda:0", "cuda:1"]) == "captured"
    assert [parse_execution(how, ["cuda:0"]) for how in ("eager", "compiled")] == ["eager", "compiled"]
    with pytest.raises(KdbenchError, match="the device is a CPU"):
        parse_execution("captured", ["cpu"])


def test_what_cannot_be_captured_is_measured_eagerly_and_says_so(digits: Suite) -> None:
    subject = Subject(digits, digits.pairs[0], "kd", {}, random_dataset(digits.data), CPU, "captured")
    said: list[str] = []

    def measure_(subject: Subject) -> str:
        if subject.execution == "captured":
            raise CaptureFailed("The step of 'kd' cannot be captured and runs eagerly: not permitted")
        return subject.execution

    assert eagerly_if_need_be(subject, measure_, said.append) == "eager"
    assert said == ["The step of 'kd' cannot be captured and runs eagerly: not permitted"]
