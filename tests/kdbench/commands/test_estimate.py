"""Estimates: what is counted, how long it would take, and what a dry run says of it."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from threading import Event

import pytest
from rich.console import Console

from kdbench.commands import estimate
from kdbench.commands.estimate import count_kinds, duration, estimate_seconds
from kdbench.running.engines.events import Machine
from kdbench.running.plan import plan_cells
from kdbench.running.teachers import find_teacher
from kdbench.running.timing import Subject, time_steps
from kdbench.suite import Suite
from kdbench.training.trainer import Trainer
from tests.conftest import Command


def test_kinds_are_counted_once_a_student_for_a_method_without_a_teacher(digits: Suite) -> None:
    cells = plan_cells(digits, {"vanilla": {}, "kd": {}}, digits.pairs, range(5), {})
    assert sorted(count_kinds(cells).values()) == [5] * (3 + 3)


def test_cells_whose_teachers_are_still_to_be_trained_are_planned_and_await_them(digits: Suite) -> None:
    cells = plan_cells(digits, {"vanilla": {}, "kd": {}, "aekd": {}}, digits.pairs, [0, 11], {})
    assert len({cell.key for cell in cells}) == len(cells) == 2 * (3 + 3 + 3)
    assert {cell.awaits for cell in cells} == {
        *((), ("resnet8",), ("vit",), ("resnet8", "vit"), ("vit", "resnet8")),
        *(("resnet8@1",), ("vit@1",), ("resnet8@1", "vit@1"), ("vit@1", "resnet8@1")),
    }
    assert next(str(cell) for cell in cells if cell.method == "kd") == "kd resnet8:resnet8_w8 seed 0"


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


def test_a_dry_run_estimates_and_trains_nothing(here: Command, tmp_path: Path) -> None:
    done = here("run", "--method", "kd", "--seeds", "1", "--pair", "resnet8:vit_w32", "--dry-run", "--no-mlflow")
    assert done.returncode == 0, done.stderr
    assert "Estimated time" in done.stdout
    assert not (tmp_path / "runs").exists()


def test_a_dry_run_without_teachers_shows_the_plan_for_people_and_programs(
    here: Command, small_suite: Path, tmp_path: Path
) -> None:
    done = here(
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
    monkeypatch.setattr(estimate, "time_kind", lambda *given: (0.064, 15.0, 30))  # 0.3 s + 0.5 s an epoch
    monkeypatch.setattr(estimate, "available_cores", lambda: 2)
    cells = plan_cells(digits, {"vanilla": {}}, digits.pairs[:1], range(5), {})

    def seconds(workers: int, count: int) -> float:
        machine, kinds = Machine(["cpu"], workers), count_kinds(cells[:count])
        return estimate.estimate_seconds(digits, {"vanilla": {}}, kinds, [], machine, Console(quiet=True))

    assert seconds(1, 5) == pytest.approx(5 * 24)
    assert seconds(1000, 1) == pytest.approx(24)
    assert seconds(1000, 5) == pytest.approx(5 * 24 / 2)


def test_what_takes_long_to_time_is_named(digits: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    def said_after(seconds: float) -> str:
        text, said = StringIO(), Event()

        def print_line(line: str) -> None:
            text.write(line)
            said.set()

        def time_kind(subject: Subject) -> tuple[float, float, int]:
            assert said.wait(10)
            return 0.0, 0.0, 1

        monkeypatch.setattr(estimate, "PATIENCE", seconds)
        monkeypatch.setattr(estimate, "line_printer", lambda console: print_line)
        monkeypatch.setattr(estimate, "time_kind", time_kind if not seconds else lambda *given: (0.0, 0.0, 1))
        kinds = {("kd", digits.pairs[0]): 1}
        estimate_seconds(digits, {"kd": {}}, kinds, [], Machine(["cpu"], 1), Console(quiet=True))
        return text.getvalue()

    assert "Still timing kd on resnet8:resnet8_w8" in said_after(0)
    assert said_after(3600) == ""


def test_only_epochs_of_the_main_stage_are_followed_by_a_prediction(
    digits: Suite, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, seconds in (("time_steps", 0.0), ("time_between", 1.0), ("time_prediction", 100.0)):
        monkeypatch.setattr(estimate, name, lambda *given, seconds=seconds: seconds)
    cells = plan_cells(digits, {"ab": {"boundary_epochs": 3}}, digits.pairs[:1], [0], {})
    machine, given = Machine(["cpu"], 1), {"ab": {"boundary_epochs": 3}}
    found = estimate_seconds(digits, given, count_kinds(cells), [], machine, Console(quiet=True))
    assert found == (3 + 60) * 1.0 + 20 * 100.0  # one where 900 images were trained on, for 797


def test_single_networks_are_timed_with_batches_of_their_own(digits: Suite, monkeypatch: pytest.MonkeyPatch) -> None:
    student, teacher = digits.pairs[0].student, digits.pairs[0].teacher
    recipe = digits.recipe.model_copy(
        update={"students": {student: {"batch_size": 16}}, "teacher": {"batch_size": 128, "epochs": 7}}
    )
    suite = digits.model_copy(update={"recipe": recipe})

    def a_fifth_of_a_second_an_image(trainer: Trainer, steps: int) -> float:
        assert time_steps(trainer, 1) > 0  # it can take them
        return 0.2 * trainer.recipe.batch_size

    monkeypatch.setattr(estimate, "time_steps", a_fifth_of_a_second_an_image)
    monkeypatch.setattr(estimate, "time_prediction", lambda trainer: 0.0)
    monkeypatch.setattr(estimate, "time_between", lambda trainer: 0.0)
    machine, console = Machine(["cpu"], 1), Console(quiet=True)
    cells = plan_cells(suite, {"vanilla": {}}, suite.pairs[:1], [0], {})
    seconds = estimate_seconds(suite, {"vanilla": {}}, count_kinds(cells), [], machine, console)
    assert seconds == pytest.approx(0.2 * suite.learned_from * suite.recipe.epochs)
    seconds = estimate_seconds(suite, {}, {}, [teacher], machine, console)
    assert seconds == pytest.approx(0.2 * suite.data.train * 7)
