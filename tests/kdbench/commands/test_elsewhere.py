"""Estimates for devices that are not here."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import torch

from kdbench.cli.app import main
from kdbench.commands.elsewhere import (
    DEVICES,
    Device,
    OperationCounter,
    load_device,
    seconds_elsewhere,
    training_seconds,
)
from kdbench.commands.request import parse_pairs
from kdbench.errors import KdbenchError
from kdbench.plugins import load_method
from kdbench.running.plan import resolve_params
from kdbench.running.timing import Subject, random_dataset, timed_trainer
from kdbench.suite import Suite
from kdbench.suites import load_suite
from kdbench.tables import Execution

FLOPS_ALONE = Device(title="x", teraflops={"float32": 1e-6}, utilisation=1, eager_us=1e-9, captured_us=1e-9)
OPERATIONS_ALONE = Device(title="x", teraflops={"float32": 1e12}, utilisation=1, eager_us=10, captured_us=1)


def test_a_training_takes_its_flops_at_the_peak_and_a_while_for_each_operation(digits: Suite) -> None:
    torch.set_num_threads(1)
    images = digits.data.learned_from
    trainer = timed_trainer(
        Subject(digits, digits.pairs[0], "vanilla", {}, random_dataset(digits.data), torch.device("cpu"))
    )
    seconds = training_seconds(trainer, images, FLOPS_ALONE, "eager")  # at a million operations a second
    with_half_the_images = training_seconds(trainer, images // 2, FLOPS_ALONE, "eager")
    assert seconds / 2 < with_half_the_images < seconds  # the tests are as long
    eager, captured = (training_seconds(trainer, images, OPERATIONS_ALONE, how) for how in ("eager", "captured"))
    assert eager / 10 < captured < eager / 2  # tests run eagerly
    half = Device(**{**FLOPS_ALONE.model_dump(), "utilisation": 0.5})
    assert training_seconds(trainer, images, half, "eager") == pytest.approx(2 * seconds)


@pytest.mark.parametrize(
    ("pair", "method", "milliseconds"),  # of a step on an H100, under a live teacher: docs/gpus.md
    [
        ("vgg13:vgg8", "vanilla", {("captured", "bf16"): 0.88}),
        (
            "vgg13:vgg8",
            "kd",
            {
                ("eager", "float32"): 7.7,
                ("eager", "bf16"): 8.8,
                ("captured", "float32"): 3.7,
                ("captured", "bf16"): 1.3,
            },
        ),
        (
            "resnet32x4:resnet8x4",
            "kd",
            {
                ("eager", "float32"): 12.5,
                ("eager", "bf16"): 14.2,
                ("captured", "float32"): 8.7,
                ("captured", "bf16"): 2.2,
            },
        ),
    ],
)
def test_an_h100_is_foretold_within_a_fifth(
    pair: str, method: str, milliseconds: dict[tuple[Execution, str], float]
) -> None:
    suite = load_suite("cifar100")
    [found] = parse_pairs(suite, [pair])
    params, _ = resolve_params(load_method(method), suite, found, {})
    trainer = timed_trainer(Subject(suite, found, method, params, random_dataset(suite.data), torch.device("cpu")))
    with OperationCounter() as step:
        trainer.run_steps(trainer.feed(0).head(1))
    for (execution, precision), measured in milliseconds.items():
        seconds = DEVICES["h100"].seconds(step.flops, step.operations, precision, execution)
        assert 1000 * seconds == pytest.approx(measured, rel=0.2), (execution, precision)


def test_cells_and_missing_teachers_add_up(digits: Suite) -> None:
    kinds = {("vanilla", digits.pairs[0]): 1}
    one = seconds_elsewhere(digits, {}, kinds, [], DEVICES["h100"], "eager")
    three = seconds_elsewhere(digits, {}, dict.fromkeys(kinds, 3), [], DEVICES["h100"], "eager")
    assert three == pytest.approx(3 * one)
    assert seconds_elsewhere(digits, {}, kinds, ["resnet8"], DEVICES["h100"], "eager") > one


def test_a_method_that_cannot_be_captured_is_estimated_eagerly(digits: Suite) -> None:
    def seconds(method: str, how: Execution) -> float:
        return seconds_elsewhere(digits, {}, {(method, digits.pairs[0]): 1}, [], OPERATIONS_ALONE, how)

    assert seconds("dfad", "captured") == pytest.approx(seconds("dfad", "eager"))
    assert seconds("dfad", "compiled") == pytest.approx(seconds("dfad", "eager"))
    assert seconds("kd", "captured") < seconds("kd", "eager") / 2


def test_a_file_describes_a_device_of_ones_own(tmp_path: Path, digits: Suite) -> None:
    path = tmp_path / "l4.toml"
    path.write_text('title = "NVIDIA L4"\nteraflops = { bf16 = 121 }\nutilisation = 0.2\n')
    device = load_device(str(path))
    assert device is not None
    assert device.assumptions("bf16", "eager") == "20 % of 121 TFLOPS (bf16), 30 us an operation"
    with pytest.raises(KdbenchError, match="no peak for float32"):
        seconds_elsewhere(digits, {}, {}, [], device, "eager")
    path.write_text('title = "NVIDIA L4"\nteraflops = { bf16 = 121 }\nutilization = 0.2\n')
    with pytest.raises(KdbenchError, match="unknown key 'utilization'"):
        load_device(str(path))
    with pytest.raises(KdbenchError, match=r"Cannot read the device nowhere\.toml"):
        load_device("nowhere.toml")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--on", "h100"], "Add --dry-run"), (["--dry-run", "--on", "h10"], "Did you mean 'h100'?")],
)
def test_a_mistake_is_one_line(
    arguments: list[str], said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["kdbench", "run", "-m", "vanilla", "--no-mlflow", *arguments])
    with pytest.raises(SystemExit) as stopped:
        main()
    errors = capsys.readouterr().err
    assert (stopped.value.code, said in errors, len(errors.splitlines())) == (2, True, 1)


def test_a_dry_run_says_what_it_assumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    words = ["run", "-m", "kd", "--pair", "resnet8:resnet8_w8", "--no-mlflow", "--dry-run", "--on", "a100"]
    monkeypatch.setattr(sys, "argv", ["kdbench", *words])
    with pytest.raises(SystemExit) as stopped:
        main()
    said = "on one NVIDIA A100, cell after cell, assuming 30 % of 19.5 TFLOPS (float32), 4 us an operation: "
    assert (stopped.value.code, said in capsys.readouterr().out) == (0, True)
